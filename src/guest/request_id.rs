//! What tells a request from all others, in log lines.
//!
//! It is this host's own: what a client calls its request (`x-request-id`, `traceparent`) says nothing
//! that can be relied upon.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use serde::{Serialize, Serializer};

/// A request's name: 64 bits, written as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Makes the names of one worker's requests: a keyed hash (SipHash) of a counter, with a key of this
/// process. Two workers hardly ever make the same one, and a tenant cannot count others' requests by its
/// own. No system call, no allocation.
#[derive(Debug, Default)]
pub struct RequestIds {
    key: RandomState,
    made: Cell<u64>,
}

impl RequestIds {
    /// The next one.
    pub fn next(&self) -> RequestId {
        let number = self.made.get();
        self.made.set(number.wrapping_add(1));
        RequestId(self.key.hash_one(number))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_request_has_its_own_also_in_another_worker() {
        let (one, other) = (RequestIds::default(), RequestIds::default());
        let all: HashSet<_> = (0..1_000)
            .flat_map(|_| [one.next(), other.next()])
            .collect();
        assert_eq!(all.len(), 2_000);
    }

    #[test]
    fn it_is_written_with_all_its_digits() {
        let text = serde_json::to_string(&RequestId(0x2a)).unwrap();
        assert_eq!(text, "\"000000000000002a\"");
    }
}
