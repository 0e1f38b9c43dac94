//! Names by which an origin lets many responses be purged at once.

use std::rc::Rc;

use http::header::{HeaderMap, HeaderName};

use crate::config::limits::{HTTP_CACHE_TAG_BYTES_MAX, HTTP_CACHE_TAGS_MAX};

/// Tags, parted by white space.
pub const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// Tags, parted by commas.
pub const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");

/// The tags of a response, sorted, each once. `None`: more or longer ones than are kept.
pub(super) fn tags(headers: &HeaderMap) -> Option<Box<[Rc<str>]>> {
    let mut tags: Vec<Rc<str>> = Vec::new();
    let by_comma = (&CACHE_TAG, b',');
    let by_space = (&SURROGATE_KEY, b' ');
    for (name, separator) in [by_comma, by_space] {
        for line in headers.get_all(name) {
            let is_between =
                |byte: &u8| *byte == separator || (separator == b' ' && *byte == b'\t');
            for tag in line.as_bytes().split(is_between) {
                let tag = tag.trim_ascii();
                if tag.is_empty() {
                    continue;
                }
                if tag.len() > HTTP_CACHE_TAG_BYTES_MAX || tags.len() == HTTP_CACHE_TAGS_MAX {
                    return None;
                }
                tags.push(std::str::from_utf8(tag).ok()?.into());
            }
        }
    }
    tags.sort_unstable();
    tags.dedup();
    Some(tags.into())
}

/// Takes out of a response's fields what was meant for this cache alone.
pub fn strip(headers: &mut HeaderMap) {
    headers.remove(SURROGATE_KEY);
    headers.remove(CACHE_TAG);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_both_fields() {
        let long = "x".repeat(HTTP_CACHE_TAG_BYTES_MAX);
        let too_long = "x".repeat(HTTP_CACHE_TAG_BYTES_MAX + 1);
        let numbered = |count: usize| (0..count).map(|n| format!("t{n}")).collect::<Vec<_>>();
        let most = numbered(HTTP_CACHE_TAGS_MAX).join(" ");
        let more = numbered(HTTP_CACHE_TAGS_MAX + 1).join(",");
        for (name, value, count) in [
            ("surrogate-key", "a  b\tc a", Some(3)),
            ("surrogate-key", "a,b", Some(1)),
            ("cache-tag", "a b, c,,", Some(2)),
            ("cache-tag", "", Some(0)),
            ("x-tag", "a", Some(0)),
            ("surrogate-key", &long, Some(1)),
            ("surrogate-key", &too_long, None),
            ("surrogate-key", &most, Some(HTTP_CACHE_TAGS_MAX)),
            ("cache-tag", &more, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
            assert_eq!(
                tags(&headers).map(|tags| tags.len()),
                count,
                "{name}: {value}"
            );
            strip(&mut headers);
            assert_eq!(headers.is_empty(), name != "x-tag");
        }
    }
}
