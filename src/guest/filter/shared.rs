//! `proxy_get_shared_data`: what the instances of one tenant's filters on one worker share.

use std::cell::RefCell;
use std::collections::HashMap;

use super::status::Status;
use crate::config::limits;

/// Values by key, of one tenant on one worker; gone when the worker ends.
#[derive(Debug, Default)]
pub struct SharedData(RefCell<Table>);

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<Vec<u8>, Entry>,
    bytes: usize,
    /// The last number that was given to a change.
    changes: u32,
}

#[derive(Debug)]
struct Entry {
    value: Vec<u8>,
    cas: u32,
}

impl SharedData {
    /// The value of a key, and the number of its last change.
    pub(super) fn get(&self, key: &[u8]) -> Option<(Vec<u8>, u32)> {
        let table = self.0.borrow();
        let entry = table.entries.get(key)?;
        Some((entry.value.clone(), entry.cas))
    }

    /// Sets a value; with a `cas` other than 0 only if that is the number of its last change.
    pub(super) fn set(&self, key: &[u8], value: Vec<u8>, cas: u32) -> Result<(), Status> {
        let table = &mut *self.0.borrow_mut();
        let known = table.entries.get(key);
        if cas != 0 && known.map(|entry| entry.cas) != Some(cas) {
            return Err(Status::CasMismatch);
        }
        let old = known.map_or(0, |entry| key.len() + entry.value.len());
        let is_new = known.is_none();
        let bytes = table.bytes - old + key.len() + value.len();
        let is_full = is_new && table.entries.len() >= limits::SHARED_DATA_KEYS_MAX;
        if is_full || bytes > limits::SHARED_DATA_BYTES_MAX {
            return Err(Status::InternalFailure);
        }
        table.bytes = bytes;
        // 0 is no number of a change.
        table.changes = table.changes.checked_add(1).unwrap_or(1);
        let cas = table.changes;
        table.entries.insert(key.to_vec(), Entry { value, cas });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_needs_the_number_of_the_last_one() {
        let shared = SharedData::default();
        assert_eq!(shared.get(b"a"), None);
        assert_eq!(shared.set(b"a", b"0".to_vec(), 7), Err(Status::CasMismatch));
        assert_eq!(shared.set(b"a", b"1".to_vec(), 0), Ok(()));
        let (value, cas) = shared.get(b"a").unwrap();
        assert_eq!(value, b"1");
        assert_eq!(shared.set(b"a", b"2".to_vec(), cas), Ok(()));
        assert_eq!(
            shared.set(b"a", b"3".to_vec(), cas),
            Err(Status::CasMismatch)
        );
        assert_eq!(shared.get(b"a").unwrap().0, b"2");
    }

    #[test]
    fn keys_and_bytes_are_bounded_to_the_last_one() {
        let shared = SharedData::default();
        for number in 0..limits::SHARED_DATA_KEYS_MAX as u32 {
            assert_eq!(shared.set(&number.to_le_bytes(), vec![], 0), Ok(()));
        }
        assert_eq!(
            shared.set(b"one more", vec![], 0),
            Err(Status::InternalFailure)
        );
        assert_eq!(shared.set(&0_u32.to_le_bytes(), b"x".to_vec(), 0), Ok(()));
        let shared = SharedData::default();
        let most = vec![0; limits::SHARED_DATA_BYTES_MAX - 1];
        assert_eq!(shared.set(b"k", most.clone(), 0), Ok(()));
        assert_eq!(shared.set(b"k", most.clone(), 0), Ok(()), "in its place");
        assert_eq!(shared.set(b"l", vec![], 0), Err(Status::InternalFailure));
        let more = [&*most, b"x"].concat();
        assert_eq!(shared.set(b"k", more, 0), Err(Status::InternalFailure));
        assert_eq!(shared.get(b"k").unwrap().0.len(), most.len());
    }
}
