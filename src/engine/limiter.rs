//! What one instance may allocate: memory summed over its memories, and table elements.

use wasmtime::ResourceLimiter;

use crate::config::limits;

/// The allowance of one instance. Denied growth is remembered, because a guest that is refused
/// memory usually aborts, and the abort alone would look like any trap.
#[derive(Debug)]
pub struct Allowance {
    memory_bytes_left: usize,
    table_elements_left: usize,
    memory_denied: bool,
    table_denied: bool,
}

impl Allowance {
    /// An allowance of this many bytes of linear memory and table elements.
    pub fn new(memory_bytes: usize, table_elements: usize) -> Self {
        Self {
            memory_bytes_left: memory_bytes,
            table_elements_left: table_elements,
            memory_denied: false,
            table_denied: false,
        }
    }

    /// Whether the guest asked for more memory than it may have.
    pub fn memory_denied(&self) -> bool {
        self.memory_denied
    }

    /// Whether the guest asked for more table elements than it may have.
    pub fn table_denied(&self) -> bool {
        self.table_denied
    }
}

/// Takes `desired - current` from `left`, if it is there.
fn take(left: &mut usize, current: usize, desired: usize) -> bool {
    match left.checked_sub(desired.saturating_sub(current)) {
        Some(rest) => {
            *left = rest;
            true
        }
        None => false,
    }
}

impl ResourceLimiter for Allowance {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = take(&mut self.memory_bytes_left, current, desired);
        self.memory_denied |= !granted;
        Ok(granted)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory_denied = true;
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = take(&mut self.table_elements_left, current, desired);
        self.table_denied |= !granted;
        Ok(granted)
    }

    fn instances(&self) -> usize {
        limits::CORE_INSTANCES_PER_COMPONENT as usize
    }

    fn memories(&self) -> usize {
        limits::MEMORIES_PER_COMPONENT as usize
    }

    fn tables(&self) -> usize {
        limits::TABLES_PER_COMPONENT as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_summed_over_all_memories_and_exact() {
        let mut allowance = Allowance::new(3 << 20, 0);
        assert!(allowance.memory_growing(0, 1 << 20, None).expect("asked"));
        assert!(allowance.memory_growing(0, 2 << 20, None).expect("asked"));
        assert!(!allowance.memory_denied());
        assert!(
            !allowance
                .memory_growing(2 << 20, (2 << 20) + 1, None)
                .expect("asked")
        );
        assert!(allowance.memory_denied());
    }

    #[test]
    fn tables_are_summed_too() {
        let mut allowance = Allowance::new(0, 10);
        assert!(allowance.table_growing(0, 10, None).expect("asked"));
        assert!(!allowance.table_growing(10, 11, None).expect("asked"));
        assert!(allowance.table_denied() && !allowance.memory_denied());
    }
}
