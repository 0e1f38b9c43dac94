//! URLs whose last answer was not to be stored: "hit for miss". For a short time requests for them pass
//! through together, instead of each waiting for the one before to find out the same.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::time::Now;
use crate::config::limits::{HTTP_CACHE_PASS_MARKS_MAX, HTTP_CACHE_PASS_MS};

/// See above.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// When each ends.
    ends: HashMap<Rc<str>, Instant>,
    /// In the order in which they were set; one that was set again or taken since has another end or none.
    order: VecDeque<(Rc<str>, Instant)>,
}

impl Marks {
    pub(super) fn set(&mut self, key: &Rc<str>, now: Now) {
        let end = now.instant + Duration::from_millis(HTTP_CACHE_PASS_MS);
        self.ends.insert(Rc::clone(key), end);
        self.order.push_back((Rc::clone(key), end));
        while let Some((key, end)) = self.order.front() {
            if self.order.len() <= HTTP_CACHE_PASS_MARKS_MAX && *end > now.instant {
                break;
            }
            if self.ends.get(key) == Some(end) {
                self.ends.remove(key);
            }
            self.order.pop_front();
        }
    }

    pub(super) fn take(&mut self, key: &str) {
        self.ends.remove(key);
    }

    pub(super) fn is_set(&self, key: &str, now: Now) -> bool {
        self.ends.get(key).is_some_and(|end| now.instant < *end)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn marks_end_and_are_bounded() {
        let start = Now {
            instant: Instant::now(),
            wall: SystemTime::UNIX_EPOCH,
        };
        let after = |ms| Now {
            instant: start.instant + Duration::from_millis(ms),
            ..start
        };
        let mut marks = Marks::default();
        let key = |number: usize| Rc::from(number.to_string());
        marks.set(&key(0), start);
        assert!(marks.is_set("0", after(HTTP_CACHE_PASS_MS - 1)) && !marks.is_set("1", start));
        assert!(!marks.is_set("0", after(HTTP_CACHE_PASS_MS)));
        marks.set(&key(0), after(1));
        marks.set(&key(1), after(HTTP_CACHE_PASS_MS));
        assert!(marks.is_set("0", after(HTTP_CACHE_PASS_MS)), "set again");
        for number in 1..=HTTP_CACHE_PASS_MARKS_MAX {
            marks.set(&key(number), after(10));
        }
        assert!(!marks.is_set("0", after(10)) && marks.is_set("1", after(10)));
        assert!(marks.ends.len() <= HTTP_CACHE_PASS_MARKS_MAX);
        assert_eq!(marks.order.len(), HTTP_CACHE_PASS_MARKS_MAX);
        marks.take("1");
        assert!(!marks.is_set("1", after(10)));
        marks.clear();
        assert!(!marks.is_set("2", after(10)));
    }
}
