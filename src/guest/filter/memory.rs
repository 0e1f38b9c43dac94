//! Reading, writing and allocating in a filter's memory.
//!
//! ```text
//!   proxy_get_property(path, size, &data, &size)
//!   host ── copies the path out ── looks it up ── calls proxy_on_memory_allocate(n) on a second stack
//!        ── copies the value in ── writes its address to &data and n to &size
//! ```
//!
//! Every pointer and length is the guest's word: a range outside its memory is a status and no fault,
//! and what is copied out at once is bounded.

use wasmtime::{AsContext, Caller, Extern, Memory};

use super::active::Active;
use super::status::{Answer, Status, Stop, TooMuch};
use crate::guest::State;

/// The guest that has called a host function.
pub(super) struct Guest<'a> {
    caller: Caller<'a, State>,
}

/// Where the guest wants a value's address and size.
#[derive(Clone, Copy)]
pub(super) struct Place {
    data: u32,
    size: u32,
}

impl Place {
    pub(super) fn new(data: u32, size: u32) -> Self {
        Self { data, size }
    }
}

impl<'a> Guest<'a> {
    pub(super) fn new(caller: Caller<'a, State>) -> Self {
        Self { caller }
    }

    pub(super) fn state(&mut self) -> &mut State {
        self.caller.data_mut()
    }

    pub(super) fn active(&mut self) -> &mut Active {
        self.caller.data_mut().filter()
    }

    /// Its memory: known once it was instantiated, looked up while it is.
    fn memory(&mut self) -> Answer<Memory> {
        if let Some(memory) = self.active().memory {
            return Ok(memory);
        }
        match self.caller.get_export("memory") {
            Some(Extern::Memory(memory)) => Ok(memory),
            _ => Err(Status::InvalidMemoryAccess.into()),
        }
    }

    fn range(&mut self, at: u32, length: u32) -> Answer<&mut [u8]> {
        let memory = self.memory()?;
        let start = at as usize;
        // Both are below 2^32.
        let range = start..start + length as usize;
        let bytes = memory.data_mut(&mut self.caller).get_mut(range);
        bytes.ok_or(Stop::Status(Status::InvalidMemoryAccess))
    }

    /// Whether all of it lies within the memory.
    pub(super) fn check(&mut self, at: u32, length: u32) -> Answer {
        self.range(at, length).map(|_| ())
    }

    /// Copies bytes out, of which one call may have so many.
    pub(super) fn read(&mut self, at: u32, length: u32) -> Answer<Vec<u8>> {
        let max = self.state().grants.hostcall_bytes;
        self.read_at_most(at, length, max, "what one host call copies")
    }

    pub(super) fn read_at_most(
        &mut self,
        at: u32,
        length: u32,
        max: usize,
        what: &'static str,
    ) -> Answer<Vec<u8>> {
        let bytes = self.range(at, length)?;
        if bytes.len() > max {
            let unit = "bytes";
            return Err(TooMuch { what, max, unit }.into());
        }
        Ok(bytes.to_vec())
    }

    /// Copies text out.
    pub(super) fn text(&mut self, at: u32, length: u32) -> Answer<String> {
        let bytes = self.read(at, length)?;
        String::from_utf8(bytes).map_err(|_| Stop::Status(Status::BadArgument))
    }

    /// Copies a name out: text of at most `max` bytes.
    pub(super) fn name(&mut self, at: u32, length: u32, max: usize) -> Answer<String> {
        self.check(at, length)?;
        if length as usize > max {
            return Err(Status::BadArgument.into());
        }
        self.text(at, length)
    }

    pub(super) fn read_u32(&mut self, at: u32) -> Answer<u32> {
        let bytes = self.range(at, 4)?;
        let bytes = <[u8; 4]>::try_from(&*bytes);
        Ok(bytes.map_or(0, u32::from_le_bytes))
    }

    pub(super) fn write(&mut self, at: u32, bytes: &[u8]) -> Answer {
        let length = u32::try_from(bytes.len()).map_err(|_| Status::InvalidMemoryAccess)?;
        self.range(at, length)?.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn write_u32(&mut self, at: u32, value: u32) -> Answer {
        self.write(at, &value.to_le_bytes())
    }

    pub(super) fn write_u64(&mut self, at: u32, value: u64) -> Answer {
        self.write(at, &value.to_le_bytes())
    }

    /// Gives a value in memory that the guest allocates; an empty one, too, has an address.
    pub(super) async fn give(&mut self, bytes: &[u8], place: Place) -> Answer {
        self.check(place.data, 4)?;
        self.check(place.size, 4)?;
        let length = u32::try_from(bytes.len()).map_err(|_| Status::InternalFailure)?;
        let at = self.allocate(length).await?;
        if at == 0 && length > 0 {
            return Err(Status::InvalidMemoryAccess.into());
        }
        self.write(at, bytes)?;
        self.write_u32(place.data, at)?;
        self.write_u32(place.size, length)
    }

    /// Gives a value that may be absent, which is an address of 0.
    pub(super) async fn give_or_null(&mut self, bytes: Option<&[u8]>, place: Place) -> Answer {
        match bytes {
            Some(bytes) => self.give(bytes, place).await,
            None => {
                self.write_u32(place.data, 0)?;
                self.write_u32(place.size, 0)
            }
        }
    }

    /// Has the guest allocate. Its allocator may call the host, but not for more memory: each such call
    /// would take one more stack.
    async fn allocate(&mut self, size: u32) -> Answer<u32> {
        let active = self.active();
        let allocate = active.allocate.clone();
        let allocate = allocate.ok_or(Status::InternalFailure)?;
        if std::mem::replace(&mut active.allocating, true) {
            return Err(Status::InternalFailure.into());
        }
        let at = allocate.call_async(&mut self.caller, size).await;
        self.active().allocating = false;
        Ok(at?)
    }

    /// The data of the store, to look at.
    pub(super) fn peek(&self) -> &State {
        self.caller.as_context().data()
    }
}
