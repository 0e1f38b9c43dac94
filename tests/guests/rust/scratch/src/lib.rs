//! The run time of the smallest guests: an allocator, and a panic that is a trap.
//!
//! The allocator is a pointer that only moves up, and that starts over whenever nothing is allocated any more:
//! enough for a program that answers one request at a time, in a fresh instance or in one that is used again.
//!
//! ```text
//!   data and stack │ block │ block │ free …                │ memory.grow
//!                  ▲ __heap_base   ▲ next                  ▲ memory.size
//! ```

#![no_std]

extern crate alloc;

use alloc::alloc::{alloc, handle_alloc_error, realloc};
use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32;
use core::cell::Cell;
use core::ptr;

const PAGE_BYTES: usize = 64 * 1024;

/// A bump allocator over linear memory above `__heap_base`.
struct Scratch {
    /// Address of the first free byte; zero before the first allocation.
    next: Cell<usize>,
    /// Blocks handed out and not yet returned.
    live: Cell<usize>,
}

#[global_allocator]
static SCRATCH: Scratch = Scratch {
    next: Cell::new(0),
    live: Cell::new(0),
};

// SAFETY: an instance of these guests has one thread.
unsafe impl Sync for Scratch {}

unsafe extern "C" {
    static __heap_base: u8;
}

// SAFETY: `next` only moves up while a block is live, so no two live blocks overlap; the block ends below the end of
// memory, because memory is grown first.
unsafe impl GlobalAlloc for Scratch {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.live.get() == 0 {
            self.next.set(&raw const __heap_base as usize);
        }
        let start = self.next.get().next_multiple_of(layout.align());
        let Some(end) = start.checked_add(layout.size()) else {
            return ptr::null_mut();
        };
        let have = wasm32::memory_size(0) * PAGE_BYTES;
        if end > have && wasm32::memory_grow(0, (end - have).div_ceil(PAGE_BYTES)) == usize::MAX {
            return ptr::null_mut();
        }
        self.next.set(end);
        self.live.set(self.live.get() + 1);
        start as *mut u8
    }

    unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {
        self.live.set(self.live.get() - 1);
    }
}

/// What the canonical ABI calls to place a list or a string in this memory (its `realloc` option).
///
/// # Safety
///
/// `old` is null, or a block of `old_size` bytes aligned to `align` that this function returned.
#[unsafe(no_mangle)]
unsafe extern "C" fn cabi_realloc(
    old: *mut u8,
    old_size: usize,
    align: usize,
    size: usize,
) -> *mut u8 {
    if size == 0 {
        return ptr::without_provenance_mut(align);
    }
    // SAFETY: the ABI gives a power of two for `align`, and sizes below 4 GiB.
    let layout = unsafe { Layout::from_size_align_unchecked(size, align) };
    let block = if old_size == 0 {
        // SAFETY: `size` is not zero.
        unsafe { alloc(layout) }
    } else {
        // SAFETY: as above, and `old` is as this function's contract says.
        unsafe {
            realloc(
                old,
                Layout::from_size_align_unchecked(old_size, align),
                size,
            )
        }
    };
    if block.is_null() {
        handle_alloc_error(layout);
    }
    block
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    wasm32::unreachable()
}
