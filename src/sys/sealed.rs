//! Memory that is written once and then by nobody any more: memfd_create(2) with seals, mapped read-only.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::slice;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// Neither its bytes nor its length change any more, and that cannot be taken back.
const SEALS: SealFlag = SealFlag::F_SEAL_SEAL
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE);

/// Makes memory of what `write` writes.
///
/// # Errors
/// Those of `write`, and of memfd_create(2).
pub fn make(name: &CStr, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create(name, flags)?);
    write(&mut file)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS))?;
    Ok(file.into())
}

/// Sealed memory, mapped. Its pages are those of every process that maps it.
#[derive(Debug)]
pub struct Sealed {
    start: NonNull<u8>,
    length: usize,
}

impl Sealed {
    /// Maps memory that [`make`] made, here or in another process.
    ///
    /// # Errors
    /// `InvalidInput` for what is not sealed or is empty; those of mmap(2).
    pub fn map(memory: BorrowedFd<'_>) -> io::Result<Self> {
        let seals = fcntl(memory, FcntlArg::F_GET_SEALS)?;
        let is_sealed = SealFlag::from_bits_truncate(seals).contains(SEALS);
        let file = File::from(memory.try_clone_to_owned()?);
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        let Some(size) = std::num::NonZero::new(length).filter(|_| is_sealed) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not sealed, or empty",
            ));
        };
        // SAFETY: a new mapping at a place of the kernel's choice, which nothing else of this process
        // uses.
        let start = unsafe {
            mmap(
                None,
                size,
                ProtFlags::PROT_READ,
                MapFlags::MAP_PRIVATE,
                file.as_fd(),
                0,
            )
        }?;
        Ok(Self {
            start: start.cast(),
            length,
        })
    }
}

impl AsRef<[u8]> for Sealed {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: mapped for as long as `self` lives, `length` bytes, and sealed: nobody writes to it
        // and nobody makes it shorter.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        // SAFETY: the whole of the mapping that `map` made; no slice of it outlives `self`.
        let _ = unsafe { munmap(self.start.cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_was_written_is_there_and_stays() {
        let memory = make(c"t", |file| file.write_all(b"some bytes")).unwrap();
        let mapped = Sealed::map(memory.as_fd()).unwrap();
        let mut file = File::from(memory);
        assert!(file.write_all(b"others").is_err());
        assert!(file.set_len(3).is_err() && file.set_len(99).is_err());
        drop(file);
        assert_eq!(mapped.as_ref(), b"some bytes");
    }

    #[test]
    fn what_is_not_sealed_is_not_mapped() {
        let plain = memfd_create(c"t", MFdFlags::MFD_CLOEXEC).unwrap();
        let file = File::from(plain);
        (&file).write_all(b"some bytes").unwrap();
        assert!(Sealed::map(file.as_fd()).is_err());
        let empty = make(c"t", |_| Ok(())).unwrap();
        assert!(Sealed::map(empty.as_fd()).is_err());
        let other = tempfile::tempfile().unwrap();
        assert!(Sealed::map(other.as_fd()).is_err());
    }
}
