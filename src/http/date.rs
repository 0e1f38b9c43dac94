//! The `Date` of responses, written once a second.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use httpdate::HttpDate;

/// Seconds from 1970 to the last one of the year 9999: what four digits can hold.
const LAST_SECOND: u64 = 253_402_300_799;

/// The current time as an IMF-fixdate (RFC 9110 §5.6.7), for example `Sun, 06 Nov 1994 08:49:37 GMT`.
#[derive(Debug)]
pub struct DateCache {
    second: u64,
    text: [u8; 29],
}

impl DateCache {
    /// Starts with the time that the clock shows now.
    pub fn new(now: SystemTime) -> Self {
        let second = second_of(now);
        Self {
            second,
            text: imf_fixdate(second),
        }
    }

    /// The text for `now`; written anew only when the second is another than at the last call, earlier
    /// or later.
    pub fn at(&mut self, now: SystemTime) -> &[u8; 29] {
        let second = second_of(now);
        if second != self.second {
            *self = Self {
                second,
                text: imf_fixdate(second),
            };
        }
        &self.text
    }
}

/// Whole seconds since 1970, for a clock that may be set to anything.
fn second_of(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs().min(LAST_SECOND))
}

fn imf_fixdate(second: u64) -> [u8; 29] {
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    let date = HttpDate::from(UNIX_EPOCH + Duration::from_secs(second));
    // Exactly as long for every year from 1970 to 9999, so it always fits.
    let _fits = write!(&mut text[..], "{date}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_clock_in_both_directions() {
        let at = |second| UNIX_EPOCH + Duration::from_millis(second * 1000 + 999);
        let mut cache = DateCache::new(at(784_111_777));
        let mut check = |second, expected: &[u8; 29]| assert_eq!(cache.at(at(second)), expected);
        check(784_111_777, b"Sun, 06 Nov 1994 08:49:37 GMT");
        check(784_111_778, b"Sun, 06 Nov 1994 08:49:38 GMT");
        check(951_782_400, b"Tue, 29 Feb 2000 00:00:00 GMT");
        check(0, b"Thu, 01 Jan 1970 00:00:00 GMT");
        check(LAST_SECOND, b"Fri, 31 Dec 9999 23:59:59 GMT");
        check(LAST_SECOND + 1, b"Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn a_clock_before_1970_shows_1970() {
        let mut cache = DateCache::new(UNIX_EPOCH - Duration::from_secs(5));
        assert_eq!(
            cache.at(UNIX_EPOCH - Duration::from_secs(1)),
            b"Thu, 01 Jan 1970 00:00:00 GMT"
        );
    }
}
