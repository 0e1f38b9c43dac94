//! Reading and writing of [`HostPattern`]s.

use std::fmt;
use std::net::Ipv4Addr;

use super::HostPattern;
use super::limits::{HOST_BYTES_MAX, HOST_LABEL_BYTES_MAX};

/// Why a text is no host pattern, and what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{wrong}; {right}")]
pub struct HostError {
    /// What is wrong.
    pub wrong: &'static str,
    /// What would be right.
    pub right: &'static str,
}

impl HostPattern {
    /// Reads `name.example`, `*.name.example` or an IPv4 address.
    ///
    /// Labels are of lower-case letters, digits and inner hyphens (RFC 952, RFC 1123), at most 63
    /// bytes; the name has at most 253 bytes and no port. Internationalized names are written in
    /// their `xn--` form.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn parse(text: &str) -> Result<HostPattern, HostError> {
        let (name, below) = match text.strip_prefix("*.") {
            Some(suffix) => (suffix, true),
            None => (text, false),
        };
        check_characters(name)?;
        if name.len() > HOST_BYTES_MAX {
            return fail("longer than 253 bytes", "a DNS name");
        }
        name.split('.').try_for_each(check_label)?;
        // A name whose last label is a number is an address to every client (WHATWG URL).
        let numeric = name.rsplit('.').next().is_some_and(is_number);
        match (numeric, below) {
            (true, true) => fail(
                "an address has nothing below it",
                "the address without `*.`",
            ),
            (true, false) if name.parse::<Ipv4Addr>().is_err() => {
                fail("not an IPv4 address", "four numbers from 0 to 255")
            }
            (_, true) => Ok(HostPattern::Below(name.to_owned())),
            (_, false) => Ok(HostPattern::Exact(name.to_owned())),
        }
    }
}

impl HostPattern {
    /// Whether a name in lower case, without a trailing dot, is one of these.
    pub fn covers(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact == name,
            Self::Below(suffix) => name
                .strip_suffix(suffix.as_str())
                .is_some_and(|label| label.len() > 1 && label.ends_with('.')),
        }
    }
}

/// Finds the mistakes that deserve a message of their own.
fn check_characters(name: &str) -> Result<(), HostError> {
    if name.is_empty() {
        return fail("empty", "a name such as shop.example or *.shop.example");
    }
    if name.starts_with('[') || name.matches(':').count() > 1 {
        return fail("an IPv6 address", "a name or an IPv4 address");
    }
    if name.contains("://") || name.contains('/') {
        return fail("a URL", "only the host: shop.example");
    }
    if name.contains(':') {
        return fail("has a port", "only the host: requests match on any port");
    }
    if name.contains('*') {
        return fail(
            "`*` inside a name",
            "`*.` at the start only: *.shop.example",
        );
    }
    if !name.is_ascii() {
        return fail("not ASCII", "its punycode form: xn--…");
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return fail("upper-case letters", "the name in lower case");
    }
    if name.ends_with('.') {
        return fail("ends in a dot", "the name without it");
    }
    Ok(())
}

fn check_label(label: &str) -> Result<(), HostError> {
    if label.is_empty() {
        return fail("an empty label", "one dot between labels");
    }
    if label.len() > HOST_LABEL_BYTES_MAX {
        return fail("a label is longer than 63 bytes", "a DNS name");
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !label.bytes().all(allowed) {
        return fail(
            "a character that no host has",
            "letters, digits, hyphens and dots",
        );
    }
    if label.starts_with('-') || label.ends_with('-') {
        return fail(
            "a label starts or ends in a hyphen",
            "hyphens inside labels only",
        );
    }
    Ok(())
}

fn is_number(label: &str) -> bool {
    label.bytes().all(|byte| byte.is_ascii_digit())
}

fn fail<T>(wrong: &'static str, right: &'static str) -> Result<T, HostError> {
    Err(HostError { wrong, right })
}

impl fmt::Display for HostPattern {
    /// Writes the text that [`HostPattern::parse`] reads; `*` for [`HostPattern::Any`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exact(name) => f.write_str(name),
            HostPattern::Below(suffix) => write!(f, "*.{suffix}"),
            HostPattern::Any => f.write_str("*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let label = "a".repeat(63);
        let name_253 = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        let accepted = [
            "a",
            "localhost",
            "hello.localhost",
            "*.hello.test",
            "*.test",
            "127.0.0.1",
            "1.example",
            "a-b--c.example",
            "xn--bcher-kva.example",
            label.as_str(),
            name_253.as_str(),
        ];
        for text in accepted {
            let pattern = HostPattern::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(pattern.to_string(), text);
        }
    }

    #[test]
    fn refusals() {
        let label_64 = "a".repeat(64);
        let name_254 = format!("{}.aa", ["a".repeat(62).as_str(); 4].join("."));
        assert_eq!(name_254.len(), 254);
        let cases = [
            ("", "empty"),
            ("*.", "empty"),
            ("*", "`*` inside a name"),
            ("a.*.b", "`*` inside a name"),
            ("*a.b", "`*` inside a name"),
            ("Shop.example", "upper-case letters"),
            ("shop.example:80", "has a port"),
            ("[::1]", "an IPv6 address"),
            ("::1", "an IPv6 address"),
            ("http://shop.example", "a URL"),
            ("bücher.example", "not ASCII"),
            ("shop.example.", "ends in a dot"),
            ("a..b", "an empty label"),
            (".a", "an empty label"),
            ("-a.b", "a label starts or ends in a hyphen"),
            ("a-.b", "a label starts or ends in a hyphen"),
            ("a_b.example", "a character that no host has"),
            ("a b", "a character that no host has"),
            ("127.0.0.256", "not an IPv4 address"),
            ("1.2.3", "not an IPv4 address"),
            ("*.127.0.0.1", "an address has nothing below it"),
            (label_64.as_str(), "a label is longer than 63 bytes"),
            (name_254.as_str(), "longer than 253 bytes"),
        ];
        for (text, wrong) in cases {
            let refused = HostPattern::parse(text).map_err(|error| error.wrong);
            assert_eq!(refused, Err(wrong), "{text}");
        }
    }
}
