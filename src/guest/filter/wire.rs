//! How pairs and lists lie in memory. All numbers are little-endian `u32`.
//!
//! ```text
//! pairs   count │ (name size, value size) … │ name NUL value NUL …
//! list    count │ size …                    │ item NUL …
//! score   item = member, score (f64, little-endian)
//! ```
//!
//! The last NUL is there, too: SDKs insist on it.

/// The longest that pairs may be: four for the count, and ten a pair beside what it holds.
pub(super) const fn pairs_bytes_max(fields_bytes: usize) -> usize {
    4 + fields_bytes
}

/// Pairs as a guest reads them.
pub(super) fn pairs(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let sizes = pairs
        .iter()
        .map(|(name, value)| name.len() + value.len() + 10);
    let mut bytes = Vec::with_capacity(4 + sizes.sum::<usize>());
    put(&mut bytes, pairs.len());
    for (name, value) in pairs {
        put(&mut bytes, name.len());
        put(&mut bytes, value.len());
    }
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend_from_slice(text);
        bytes.push(0);
    }
    bytes
}

/// Pairs from a guest; `None` where they are not as above. Nothing at all is no pairs.
pub(super) fn parse_pairs(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let (count, rest) = take(bytes)?;
    let (mut sizes, mut rest) = rest.split_at_checked((count as usize).checked_mul(8)?)?;
    let mut pairs = Vec::with_capacity(count as usize);
    while !sizes.is_empty() {
        let (name_size, after) = take(sizes)?;
        let (value_size, after) = take(after)?;
        sizes = after;
        let (name, after) = item(rest, name_size)?;
        let (value, after) = item(after, value_size)?;
        rest = after;
        pairs.push((name, value));
    }
    rest.is_empty().then_some(pairs)
}

/// A list as a guest reads it.
pub(super) fn list<I: AsRef<[u8]>>(items: &[I]) -> Vec<u8> {
    let size: usize = items.iter().map(|item| item.as_ref().len() + 5).sum();
    let mut bytes = Vec::with_capacity(4 + size);
    put(&mut bytes, items.len());
    for item in items {
        put(&mut bytes, item.as_ref().len());
    }
    for item in items {
        bytes.extend_from_slice(item.as_ref());
        bytes.push(0);
    }
    bytes
}

/// Members of a sorted set and their scores, as items of a list.
pub(super) fn scored(members: &[(Vec<u8>, f64)]) -> Vec<u8> {
    let item = |(member, score): &(Vec<u8>, f64)| [&**member, &score.to_le_bytes()].concat();
    list(&members.iter().map(item).collect::<Vec<_>>())
}

/// What is longer than 4 GiB never comes here: memories and stores hold less.
fn put(bytes: &mut Vec<u8>, number: usize) {
    bytes.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
}

fn take(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*number), rest))
}

fn item(bytes: &[u8], size: u32) -> Option<(&[u8], &[u8])> {
    let (item, rest) = bytes.split_at_checked(size as usize)?;
    match rest.split_first()? {
        (0, rest) => Some((item, rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_as_the_sdk_writes_them() {
        let expected = b"\x02\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\0\0\0\0a\0bc\0d-e\0\0";
        let ab: [(&[u8], &[u8]); 2] = [(b"a", b"bc"), (b"d-e", b"")];
        assert_eq!(pairs(&ab), expected);
        assert_eq!(parse_pairs(expected), Some(ab.to_vec()));
        assert_eq!(pairs(&[]), [0; 4]);
        assert_eq!(parse_pairs(&[0; 4]), Some(vec![]));
        assert_eq!(parse_pairs(b""), Some(vec![]));
    }

    #[test]
    fn pairs_that_do_not_add_up_are_refused() {
        let good = pairs(&[(b"a", b"bc")]);
        for length in 1..good.len() {
            assert_eq!(parse_pairs(&good[..length]), None, "{length}");
        }
        assert_eq!(parse_pairs(&[&*good, b"x"].concat()), None);
        for (at, byte) in [
            (0, 2),
            (0, 0),
            (3, 0xff),
            (7, 0xff),
            (8, 1),
            (8, 3),
            (13, 1),
        ] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(parse_pairs(&bad), None, "{at}: {byte}");
        }
        assert_eq!(parse_pairs(&[0xff; 64]), None);
    }

    #[test]
    fn lists_end_every_item_with_nul() {
        assert_eq!(
            list(&["ab", "", "c"]),
            b"\x03\0\0\0\x02\0\0\0\0\0\0\0\x01\0\0\0ab\0\0c\0"
        );
        assert_eq!(list::<&str>(&[]), [0; 4]);
        assert_eq!(
            scored(&[(b"m".to_vec(), 1.5)]),
            b"\x01\0\0\0\x09\0\0\0m\0\0\0\0\0\0\xf8\x3f\0"
        );
    }
}
