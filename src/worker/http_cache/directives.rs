//! Cache-Control of requests and responses (RFC 9111 §5.2), and CDN-Cache-Control (RFC 9213).
//!
//! Both become the same [`Directives`]. Where a value cannot be understood, what is taken is what stores or
//! reuses less.

use http::HeaderMap;
use http::header::{CACHE_CONTROL, HeaderName, PRAGMA};

use super::list::{is_open, members};
use super::structured::{self, Item};

/// The field of RFC 9213 that this cache is a target of.
pub(super) const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// The largest number of seconds that is told apart (RFC 9111 §1.2.2).
const SECONDS_MAX: u32 = 1 << 31;

/// What one message says, of requests and responses alike. Times are in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // they are independent, as they are on the wire
pub(super) struct Directives {
    pub(super) no_store: bool,
    /// With or without names of fields: both forbid to reuse it without asking.
    pub(super) no_cache: bool,
    /// With or without names of fields: a part that is private makes all of it so.
    pub(super) private: bool,
    pub(super) public: bool,
    pub(super) must_revalidate: bool,
    pub(super) proxy_revalidate: bool,
    pub(super) must_understand: bool,
    pub(super) only_if_cached: bool,
    pub(super) max_age: Option<u32>,
    pub(super) s_maxage: Option<u32>,
    pub(super) min_fresh: Option<u32>,
    /// Without a value, any time.
    pub(super) max_stale: Option<u32>,
    /// RFC 5861 §3.
    pub(super) stale_while_revalidate: Option<u32>,
    /// RFC 5861 §4.
    pub(super) stale_if_error: Option<u32>,
}

impl Directives {
    /// Of a request. `Pragma: no-cache` counts where there is no Cache-Control (RFC 9111 §5.4).
    pub(super) fn of_request(headers: &HeaderMap) -> Self {
        let mut directives = Self::read(headers);
        if !headers.contains_key(CACHE_CONTROL) {
            let lines = headers.get_all(PRAGMA).iter();
            directives.no_cache = lines
                .flat_map(|line| members(line.as_bytes(), true))
                .any(|member| member.eq_ignore_ascii_case(b"no-cache"));
        }
        directives
    }

    /// Of a response, and whether they came from CDN-Cache-Control, which replaces Cache-Control and Expires
    /// where it is there, valid and not empty (RFC 9213 §2.1).
    pub(super) fn of_response(headers: &HeaderMap) -> (Self, bool) {
        match Self::read_targeted(headers) {
            Some(targeted) => (targeted, true),
            None => (Self::read(headers), false),
        }
    }

    fn read(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for line in headers.get_all(CACHE_CONTROL) {
            for member in members(line.as_bytes(), true) {
                let (name, value) = match member.iter().position(|byte| *byte == b'=') {
                    Some(at) => (&member[..at], Some(&member[at + 1..])),
                    None => (member, None),
                };
                let name = name.trim_ascii().to_ascii_lowercase();
                // A quote that does not end may hide anything.
                directives.no_store |= is_open(member);
                directives.set(&name, value.map(|value| number(value).unwrap_or(0)));
            }
        }
        directives
    }

    fn read_targeted(headers: &HeaderMap) -> Option<Self> {
        let lines: Vec<&[u8]> = headers
            .get_all(CDN_CACHE_CONTROL)
            .iter()
            .map(http::HeaderValue::as_bytes)
            .collect();
        let dictionary = structured::dictionary(&lines.join(&b", "[..]))?;
        if dictionary.is_empty() {
            return None;
        }
        let mut directives = Self::default();
        for (name, item) in dictionary {
            match item {
                Item::Boolean(false) => {}
                Item::Boolean(true) => directives.set(&name, None),
                Item::Integer(value) => directives.set(&name, Some(seconds(value))),
                // The wrong type: of a flag it is the flag, of a time it is none.
                Item::Other => directives.set(&name, Some(0)),
            }
        }
        Some(directives)
    }

    /// Adds one. `value` is 0 where it is no number.
    fn set(&mut self, name: &[u8], value: Option<u32>) {
        let (time, default) = match name {
            b"no-store" => return self.no_store = true,
            b"no-cache" => return self.no_cache = true,
            b"private" => return self.private = true,
            b"public" => return self.public = true,
            b"must-revalidate" => return self.must_revalidate = true,
            b"proxy-revalidate" => return self.proxy_revalidate = true,
            b"must-understand" => return self.must_understand = true,
            b"only-if-cached" => return self.only_if_cached = true,
            b"max-age" => (&mut self.max_age, 0),
            b"s-maxage" => (&mut self.s_maxage, 0),
            b"min-fresh" => (&mut self.min_fresh, 0),
            b"max-stale" => (&mut self.max_stale, u32::MAX),
            b"stale-while-revalidate" => (&mut self.stale_while_revalidate, 0),
            b"stale-if-error" => (&mut self.stale_if_error, 0),
            _ => return,
        };
        let value = value.unwrap_or(default);
        // Two that differ are none (RFC 9111 §4.2.1).
        *time = match *time {
            Some(before) if before != value => Some(0),
            _ => Some(value),
        };
    }
}

/// A number of seconds, as a token or quoted (RFC 9111 §5.2).
pub(super) fn number(text: &[u8]) -> Option<u32> {
    let text = text.trim_ascii();
    let text = text
        .strip_prefix(b"\"")
        .and_then(|text| text.strip_suffix(b"\""))
        .unwrap_or(text);
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = text.iter().map(|digit| u32::from(digit - b'0'));
    let value = digits.fold(0_u32, |value, digit| {
        value.saturating_mul(10).saturating_add(digit)
    });
    Some(value.min(SECONDS_MAX))
}

fn seconds(value: i64) -> u32 {
    u32::try_from(value.max(0)).map_or(SECONDS_MAX, |value| value.min(SECONDS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                *name,
                http::HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        headers
    }

    fn response(lines: &[&str]) -> Directives {
        let fields: Vec<_> = lines.iter().map(|line| ("cache-control", *line)).collect();
        Directives::of_response(&headers(&fields)).0
    }

    #[test]
    fn flags_are_found_however_they_are_written() {
        for line in [
            "private",
            "PRIVATE",
            "public, Private",
            "max-age=5,private",
            "private=\"x-a, x-b\"",
            " , private , ",
            "foo=\"a, b\", private",
            "foo=\"\\\"\", private",
            "é, private",
        ] {
            assert!(response(&[line]).private, "{line}");
        }
        for line in [
            "x-private",
            "foo=\"private\"",
            "foo=\"a, private\"",
            "priv",
            "",
        ] {
            assert!(!response(&[line]).private, "{line}");
        }
        assert!(response(&["max-age=1", "no-store"]).no_store);
        assert!(
            response(&["foo=\"a, max-age=1"]).no_store,
            "it may hide anything"
        );
    }

    #[test]
    fn times_are_numbers_or_nothing() {
        for (lines, expected) in [
            (&["max-age=60"][..], Some(60)),
            (&["Max-Age=60"], Some(60)),
            (&["max-age=\"60\""], Some(60)),
            (&["max-age = 60"], Some(60)),
            (&["max-age=0060"], Some(60)),
            (&["max-age=99999999999999999999"], Some(SECONDS_MAX)),
            (&["max-age=60, max-age=60"], Some(60)),
            (&["max-age=60, max-age=61"], Some(0)),
            (&["max-age=60", "max-age=0"], Some(0)),
            (&["max-age=-1"], Some(0)),
            (&["max-age=1.5"], Some(0)),
            (&["max-age=60s"], Some(0)),
            (&["max-age="], Some(0)),
            (&["max-age"], Some(0)),
            (&["maxage=60"], None),
            (&["x=\"max-age=60\""], None),
        ] {
            assert_eq!(response(lines).max_age, expected, "{lines:?}");
        }
        assert_eq!(response(&["max-stale"]).max_stale, Some(u32::MAX));
        assert_eq!(
            response(&["stale-while-revalidate"]).stale_while_revalidate,
            Some(0)
        );
    }

    #[test]
    fn the_targeted_field_replaces_the_other_where_it_is_valid() {
        for (targeted, expected, is_targeted) in [
            (&["max-age=60"][..], Some(60), true),
            (&["max-age=60;x=1, no-cache=?0"], Some(60), true),
            (&["no-store"], None, true),
            (&["max-age=60", "max-age=70"], Some(70), true),
            (&["max-age=\"60\""], Some(0), true),
            (&["max-age=1.5"], Some(0), true),
            (&["max-age=-5"], Some(0), true),
            (&["x=(1 \"a)\" 2), max-age=9"], Some(9), true),
            // Not valid, or nothing: Cache-Control counts.
            (&[""], Some(1), false),
            (&["Max-Age=60"], Some(1), false),
            (&["max-age=60,"], Some(1), false),
            (&["max-age=60 no-store"], Some(1), false),
            (&["max-age="], Some(1), false),
            (&["max-age=\"6"], Some(1), false),
        ] {
            let mut fields = vec![("cache-control", "max-age=1")];
            fields.extend(targeted.iter().map(|line| ("cdn-cache-control", *line)));
            let (directives, was_targeted) = Directives::of_response(&headers(&fields));
            assert_eq!(
                (directives.max_age, was_targeted),
                (expected, is_targeted),
                "{targeted:?}"
            );
        }
    }

    #[test]
    fn pragma_counts_without_cache_control() {
        for (fields, expected) in [
            (&[("pragma", "no-cache")][..], true),
            (&[("pragma", "x, No-Cache")], true),
            (
                &[("pragma", "no-cache"), ("cache-control", "max-age=5")],
                false,
            ),
            (&[("cache-control", "no-cache")], true),
            (&[("pragma", "x")], false),
        ] {
            assert_eq!(
                Directives::of_request(&headers(fields)).no_cache,
                expected,
                "{fields:?}"
            );
        }
    }
}
