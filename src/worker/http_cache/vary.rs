//! Which requests a response is for (RFC 9111 §4.1).

use std::rc::Rc;

use http::header::{HeaderMap, HeaderName, VARY};
use serde_bytes::ByteBuf;

use super::list::members;
use crate::config::limits::HTTP_CACHE_VARY_NAMES_MAX;
use crate::data::http_cache as kept;

/// The names of a response's `Vary`, sorted, each once.
pub(super) type Names = Rc<[HeaderName]>;

/// The names of `Vary`. `None`: `*`, what is no name, or more than are compared.
pub(super) fn names(headers: &HeaderMap) -> Option<Names> {
    let mut names = Vec::new();
    for line in headers.get_all(VARY) {
        for member in members(line.as_bytes(), true) {
            // `*` is a name by its syntax.
            let name = HeaderName::from_bytes(member).ok();
            names.push(name.filter(|name| name != "*")?);
        }
    }
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    (names.len() <= HTTP_CACHE_VARY_NAMES_MAX).then(|| names.into())
}

/// What a request has in the fields that a response varies by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selection {
    pub(super) names: Names,
    values: Box<[Option<Box<[u8]>>]>,
}

impl Selection {
    pub(super) fn of(names: Names, request: &HeaderMap) -> Self {
        let values = names.iter().map(|name| joined(request, name));
        Self {
            values: values.collect(),
            names,
        }
    }

    /// Whether a request has the same: values of several lines are joined, white space around them counts
    /// for nothing.
    pub(super) fn matches(&self, request: &HeaderMap) -> bool {
        let mut pairs = self.names.iter().zip(&*self.values);
        pairs.all(|(name, value)| {
            let mut lines = request.get_all(name).iter();
            match (value, lines.next(), lines.next()) {
                (None, None, _) => true,
                (Some(value), Some(line), None) => **value == *line.as_bytes().trim_ascii(),
                (Some(_), Some(_), Some(_)) => joined(request, name) == *value,
                _ => false,
            }
        })
    }

    /// As it is kept.
    pub(super) fn to_kept(&self) -> kept::Selection {
        let values = self.values.iter();
        kept::Selection {
            names: self.names.iter().map(HeaderName::to_string).collect(),
            values: values
                .map(|value| value.as_ref().map(|value| ByteBuf::from(&**value)))
                .collect(),
        }
    }

    /// `None`: it is none.
    pub(super) fn from_kept(kept: kept::Selection) -> Option<Self> {
        let names = kept.names.into_iter().map(HeaderName::try_from);
        let names: Vec<_> = names.collect::<Result<_, _>>().ok()?;
        let values = kept.values.into_iter();
        let values: Box<[_]> = values
            .map(|value| value.map(|value| value.into_vec().into()))
            .collect();
        (names.len() == values.len()).then(|| Self {
            names: names.into(),
            values,
        })
    }

    /// What it costs in memory.
    pub(super) fn bytes(&self) -> u64 {
        let values = self.values.iter().map(|value| {
            let text = value.as_ref().map_or(0, |value| value.len());
            size_of::<(HeaderName, Option<Box<[u8]>>)>() + text
        });
        values.sum::<usize>() as u64
    }
}

fn joined(request: &HeaderMap, name: &HeaderName) -> Option<Box<[u8]>> {
    let mut lines = request.get_all(name).iter();
    let mut value = lines.next()?.as_bytes().trim_ascii().to_vec();
    for line in lines {
        value.extend_from_slice(b", ");
        value.extend_from_slice(line.as_bytes().trim_ascii());
    }
    Some(value.into())
}

/// Whether two requests have the same in these fields.
pub(super) fn same(names: &Names, one: &HeaderMap, other: &HeaderMap) -> bool {
    let mut names = names.iter();
    names.all(|name| joined(one, name) == joined(other, name))
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

    #[test]
    fn names_of_vary() {
        let many = "a, b, c, d, e, f, g, h, i";
        for (lines, expected) in [
            (&[][..], Some(&[][..])),
            (
                &[("vary", "Accept, accept-ENCODING")],
                Some(&["accept", "accept-encoding"]),
            ),
            (&[("vary", "b"), ("vary", "a, B,")], Some(&["a", "b"])),
            (&[("vary", "*")], None),
            (&[("vary", "a, *")], None),
            (&[("vary", "a"), ("vary", "*")], None),
            (&[("vary", "a b")], None),
            (&[("vary", many)], None),
        ] {
            let found = names(&headers(lines));
            let found = found.map(|names| names.iter().map(ToString::to_string).collect());
            let expected: Option<Vec<String>> =
                expected.map(|names| names.iter().map(ToString::to_string).collect());
            assert_eq!(found, expected, "{lines:?}");
        }
    }

    #[test]
    fn requests_that_are_the_same() {
        for (one, other, expected) in [
            (&[][..], &[][..], true),
            (&[("a", "1")], &[("a", "1"), ("c", "2")], true),
            (&[("a", "1")], &[("a", "2")], false),
            (&[("a", "1")], &[], false),
            (&[], &[("a", "")], false),
            (&[("a", "1"), ("a", "2")], &[("a", "1, 2")], true),
            (&[("a", "1"), ("a", "2")], &[("a", "1")], false),
            (&[("a", "1"), ("b", "2")], &[("a", "1"), ("b", "2")], true),
            (&[("a", "1"), ("b", "2")], &[("a", "1"), ("b", "3")], false),
        ] {
            let (one, other) = (headers(one), headers(other));
            let names = names(&headers(&[("vary", "a, b")])).unwrap();
            assert_eq!(same(&names, &one, &other), expected);
            assert_eq!(
                Selection::of(Rc::clone(&names), &one).matches(&other),
                expected
            );
            assert_eq!(Selection::of(names, &other).matches(&one), expected);
        }
    }
}
