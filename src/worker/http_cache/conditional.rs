//! Conditions: a client's held against a stored response, and this cache's own for the origin
//! (RFC 9110 §13, RFC 9111 §4.3).

use std::time::{Duration, SystemTime};

use http::header::{
    AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, DATE,
    ETAG, EXPIRES, HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, SET_COOKIE, TRANSFER_ENCODING, VARY,
};

use super::directives::CDN_CACHE_CONTROL;
use super::list::members;
use super::policy::date;

/// Whether the client has what the response would send: then the answer is 304 (RFC 9111 §4.3.2).
/// `received` stands for a date that the response does not have.
pub(super) fn not_modified(request: &HeaderMap, stored: &HeaderMap, received: SystemTime) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        let etag = stored.get(ETAG).map(|etag| opaque(etag.as_bytes()));
        let mut listed = request
            .get_all(IF_NONE_MATCH)
            .iter()
            .flat_map(|line| members(line.as_bytes(), false));
        return listed.any(|tag| tag == b"*" || Some(opaque(tag)) == etag);
    }
    let Some(since) = request.get(IF_MODIFIED_SINCE).and_then(date) else {
        return false;
    };
    let changed = stored.get(LAST_MODIFIED).or(stored.get(DATE));
    changed.and_then(date).unwrap_or(received) <= since
}

/// Whether a range of the stored response is what the client wants, as `If-Range` has it (RFC 9110 §13.1.5).
pub(super) fn range_applies(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let Some(condition) = request.get(IF_RANGE) else {
        return true;
    };
    if condition.as_bytes().contains(&b'"') {
        let is_strong = !condition.as_bytes().starts_with(b"W/");
        return is_strong && stored.get(ETAG) == Some(condition);
    }
    // A date is a strong validator if nothing could change within its second (§8.8.2.2).
    let changed = stored.get(LAST_MODIFIED).and_then(date);
    let written = stored.get(DATE).and_then(date);
    let age = changed
        .zip(written)
        .and_then(|(changed, written)| written.duration_since(changed).ok());
    changed == date(condition) && age.is_some_and(|age| age >= Duration::from_secs(1))
}

/// Makes a request ask for the whole response, whatever condition the client had.
pub(super) fn make_unconditional(request: &mut HeaderMap) {
    for name in [
        IF_MATCH,
        IF_NONE_MATCH,
        IF_MODIFIED_SINCE,
        IF_UNMODIFIED_SINCE,
        IF_RANGE,
        RANGE,
    ] {
        request.remove(name);
    }
}

/// Makes a request ask whether a stored response is still good (RFC 9111 §4.3.1). Whether there is
/// anything to ask by.
pub(super) fn validate(request: &mut HeaderMap, stored: &HeaderMap) -> bool {
    make_unconditional(request);
    let etag = stored.get(ETAG);
    let changed = stored.get(LAST_MODIFIED);
    if let Some(etag) = etag {
        request.insert(IF_NONE_MATCH, etag.clone());
    }
    if let Some(changed) = changed {
        request.insert(IF_MODIFIED_SINCE, changed.clone());
    }
    etag.is_some() || changed.is_some()
}

/// Whether a 304 is about the stored response that was asked about (RFC 9111 §4.3.4).
pub(super) fn is_about(not_modified: &HeaderMap, stored: &HeaderMap) -> bool {
    if let Some(etag) = not_modified.get(ETAG) {
        let etag = etag.as_bytes();
        return stored.get(ETAG).is_some_and(|stored| {
            let is_strong = !etag.starts_with(b"W/");
            opaque(stored.as_bytes()) == opaque(etag)
                && (!is_strong || !stored.as_bytes().starts_with(b"W/"))
        });
    }
    match not_modified.get(LAST_MODIFIED) {
        Some(changed) => stored.get(LAST_MODIFIED) == Some(changed),
        None => true,
    }
}

/// The stored fields, replaced by those of a 304 (RFC 9111 §3.2), except for what says how the stored body
/// is coded, and cookies, which are for one client.
pub(super) fn merged(stored: &HeaderMap, not_modified: &HeaderMap) -> HeaderMap {
    let mut headers = stored.clone();
    // They were true of the old answer: one without a date is of now (RFC 9110 §6.6.1).
    headers.remove(AGE);
    headers.remove(DATE);
    for name in not_modified.keys() {
        if [
            CONTENT_LENGTH,
            CONTENT_ENCODING,
            CONTENT_RANGE,
            TRANSFER_ENCODING,
            SET_COOKIE,
        ]
        .contains(name)
        {
            continue;
        }
        headers.remove(name);
        for value in not_modified.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

/// The fields of a 304 made of a stored response (RFC 9110 §15.4.5).
pub(super) fn not_modified_fields(stored: &HeaderMap) -> HeaderMap {
    let mut kept: Vec<HeaderName> = vec![
        CACHE_CONTROL,
        CDN_CACHE_CONTROL,
        CONTENT_LOCATION,
        DATE,
        ETAG,
        EXPIRES,
        VARY,
    ];
    if !stored.contains_key(ETAG) {
        kept.push(LAST_MODIFIED);
    }
    let mut headers = HeaderMap::with_capacity(kept.len());
    for name in kept {
        for value in stored.get_all(&name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

/// An entity tag without its mark of weakness, for the weak comparison (RFC 9110 §8.8.3.2).
fn opaque(etag: &[u8]) -> &[u8] {
    etag.strip_prefix(b"W/").unwrap_or(etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const OLD_850: &str = "Sunday, 06-Nov-94 08:49:37 GMT";
    const OLD_ASCTIME: &str = "Sun Nov  6 08:49:37 1994";
    const NEW: &str = "Mon, 07 Nov 1994 08:49:37 GMT";

    #[test]
    fn when_a_client_has_what_is_stored() {
        let both = &[("etag", "\"a\""), ("last-modified", NEW)][..];
        let weak = &[("etag", "W/\"a\"")][..];
        for (request, stored, expected) in [
            (&[][..], both, false),
            (&[("if-none-match", "\"a\"")], both, true),
            (&[("if-none-match", "W/\"a\"")], both, true),
            (&[("if-none-match", "\"a\"")], weak, true),
            (&[("if-none-match", "\"b\"")], both, false),
            (&[("if-none-match", "\"b\", \"a\"")], both, true),
            (&[("if-none-match", "\"x,\\\", \"a\"")], both, true),
            (
                &[("if-none-match", "\"b\""), ("if-none-match", "\"a\"")],
                both,
                true,
            ),
            (&[("if-none-match", "*")], both, true),
            (&[("if-none-match", "a")], both, false),
            (
                &[("if-none-match", "\"a\"")],
                &[("last-modified", NEW)],
                false,
            ),
            (&[("if-modified-since", NEW)], both, true),
            (&[("if-modified-since", OLD)], both, false),
            // If-None-Match goes before the date.
            (
                &[("if-none-match", "\"b\""), ("if-modified-since", NEW)],
                both,
                false,
            ),
            (&[("if-modified-since", "soon")], both, false),
            (
                &[("if-modified-since", OLD_850)],
                &[("last-modified", OLD)],
                true,
            ),
            (
                &[("if-modified-since", OLD_ASCTIME)],
                &[("last-modified", OLD)],
                true,
            ),
            (&[("if-modified-since", NEW)], &[("date", OLD)], true),
            (&[("if-modified-since", OLD)], &[("date", NEW)], false),
            (&[("if-modified-since", OLD)], &[], false),
        ] {
            let now = date(&NEW.parse().unwrap()).unwrap();
            let found = not_modified(&headers(request), &headers(stored), now);
            assert_eq!(found, expected, "{request:?} {stored:?}");
        }
    }

    #[test]
    fn when_a_part_is_wanted() {
        let strong = &[("etag", "\"a\""), ("last-modified", OLD), ("date", NEW)][..];
        for (condition, stored, expected) in [
            ("\"a\"", strong, true),
            ("\"b\"", strong, false),
            ("W/\"a\"", strong, false),
            ("W/\"a\"", &[("etag", "W/\"a\"")], false),
            (OLD, strong, true),
            (NEW, strong, false),
            (OLD, &[("last-modified", OLD), ("date", OLD)], false),
            (OLD, &[("last-modified", OLD)], false),
            ("x", &[], false),
        ] {
            let request = headers(&[("if-range", condition)]);
            assert_eq!(
                range_applies(&request, &headers(stored)),
                expected,
                "{condition}"
            );
        }
        assert!(range_applies(&HeaderMap::new(), &headers(strong)));
    }

    #[test]
    fn what_the_origin_is_asked() {
        let client = headers(&[
            ("if-none-match", "\"client\""),
            ("if-match", "\"x\""),
            ("range", "bytes=0-1"),
            ("if-range", "\"x\""),
            ("accept", "*/*"),
        ]);
        for (stored, expected, conditional) in [
            (
                &[("etag", "\"a\"")][..],
                &[("accept", "*/*"), ("if-none-match", "\"a\"")][..],
                true,
            ),
            (
                &[("etag", "W/\"a\""), ("last-modified", OLD)],
                &[
                    ("accept", "*/*"),
                    ("if-none-match", "W/\"a\""),
                    ("if-modified-since", OLD),
                ],
                true,
            ),
            (&[], &[("accept", "*/*")], false),
        ] {
            let mut request = client.clone();
            assert_eq!(validate(&mut request, &headers(stored)), conditional);
            assert_eq!(request, headers(expected));
        }
    }

    #[test]
    fn which_304_is_about_which_response() {
        for (answer, stored, expected) in [
            (&[][..], &[][..], true),
            (&[], &[("etag", "\"a\"")], true),
            (&[("etag", "\"a\"")], &[("etag", "\"a\"")], true),
            (&[("etag", "W/\"a\"")], &[("etag", "\"a\"")], true),
            (&[("etag", "\"a\"")], &[("etag", "W/\"a\"")], false),
            (&[("etag", "\"b\"")], &[("etag", "\"a\"")], false),
            (&[("etag", "\"a\"")], &[("last-modified", OLD)], false),
            (&[("last-modified", OLD)], &[("last-modified", OLD)], true),
            (&[("last-modified", NEW)], &[("last-modified", OLD)], false),
        ] {
            assert_eq!(
                is_about(&headers(answer), &headers(stored)),
                expected,
                "{answer:?} {stored:?}"
            );
        }
    }

    #[test]
    fn a_304_replaces_and_adds_fields() {
        let stored = headers(&[
            ("x-a", "1"),
            ("x-a", "2"),
            ("x-b", "1"),
            ("content-encoding", "gzip"),
            ("age", "7"),
        ]);
        let answer = headers(&[
            ("x-a", "3"),
            ("x-c", "4"),
            ("x-c", "5"),
            ("content-encoding", "br"),
            ("set-cookie", "s"),
            ("content-length", "0"),
        ]);
        let expected = headers(&[
            ("x-a", "3"),
            ("x-b", "1"),
            ("x-c", "4"),
            ("x-c", "5"),
            ("content-encoding", "gzip"),
        ]);
        assert_eq!(merged(&stored, &answer), expected);
    }
}
