//! One range of bytes of a stored response (RFC 9110 §14).

use http::header::{HeaderMap, RANGE};

/// What of a body a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: no `Range`, or one that is to be passed over.
    Whole,
    /// The bytes from the first up to and without the second.
    Part(u64, u64),
    /// A range that has nothing of it: 416.
    Nothing,
    /// Several ranges, which are not served here.
    Several,
}

/// Reads `Range` for a body of `length` bytes.
pub(super) fn wanted(request: &HeaderMap, length: u64) -> Wanted {
    let mut lines = request.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Wanted::Whole;
    };
    let line = line.as_bytes();
    let Some((unit, set)) = line
        .iter()
        .position(|byte| *byte == b'=')
        .map(|at| line.split_at(at))
    else {
        return Wanted::Whole;
    };
    // Another unit, or what is no range, is passed over (§14.2).
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return Wanted::Whole;
    }
    let set = &set[1..];
    if set.contains(&b',') {
        return Wanted::Several;
    }
    one(set.trim_ascii(), length).unwrap_or(Wanted::Whole)
}

fn one(range: &[u8], length: u64) -> Option<Wanted> {
    let dash = range.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (&range[..dash], &range[dash + 1..]);
    if first.is_empty() {
        let suffix = digits(last)?;
        return Some(match suffix.min(length) {
            0 => Wanted::Nothing,
            suffix => Wanted::Part(length - suffix, length),
        });
    }
    let first = digits(first)?;
    let end = match last {
        b"" => length,
        last => {
            let last = digits(last)?;
            if last < first {
                return None;
            }
            last.saturating_add(1).min(length)
        }
    };
    Some(match first < length {
        true => Wanted::Part(first, end),
        false => Wanted::Nothing,
    })
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = text.iter().map(|digit| u64::from(digit - b'0'));
    Some(digits.fold(0_u64, |value, digit| {
        value.saturating_mul(10).saturating_add(digit)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Wanted::{Nothing, Part, Several, Whole};

    #[test]
    fn ranges_of_ten_bytes() {
        for (range, expected) in [
            ("bytes=0-3", Part(0, 4)),
            ("BYTES=0-3", Part(0, 4)),
            ("bytes= 2-2 ", Part(2, 3)),
            ("bytes=0-99999999999999999999999", Part(0, 10)),
            ("bytes=9-", Part(9, 10)),
            ("bytes=10-", Nothing),
            ("bytes=99999999999999999999-", Nothing),
            ("bytes=-3", Part(7, 10)),
            ("bytes=-30", Part(0, 10)),
            ("bytes=-0", Nothing),
            ("bytes=5-4", Whole),
            ("bytes=-", Whole),
            ("bytes=a-b", Whole),
            ("bytes=+1-2", Whole),
            ("bytes", Whole),
            ("lines=0-3", Whole),
            ("bytes=0-1,3-4", Several),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(RANGE, range.parse().unwrap());
            assert_eq!(wanted(&headers, 10), expected, "{range}");
            headers.append(RANGE, range.parse().unwrap());
            assert_eq!(wanted(&headers, 10), Whole, "two lines");
        }
        let mut headers = HeaderMap::new();
        assert_eq!(wanted(&headers, 0), Whole);
        headers.append(RANGE, "bytes=0-".parse().unwrap());
        assert_eq!(wanted(&headers, 0), Nothing);
    }
}
