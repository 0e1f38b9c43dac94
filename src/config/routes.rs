//! Finds who answers for a host.
//!
//! ```text
//! a.b.shop.example   exact?  → below b.shop.example? → below shop.example? → below example? → any?
//! ```

use rustc_hash::FxHashMap;

use super::HostPattern;

/// A routing table. Lookups take one hash per label at most and allocate nothing.
#[derive(Clone, Debug)]
pub struct Routes<T> {
    exact: FxHashMap<Box<str>, T>,
    below: FxHashMap<Box<str>, T>,
    any: Option<T>,
}

impl<T> Default for Routes<T> {
    fn default() -> Routes<T> {
        Routes {
            exact: FxHashMap::default(),
            below: FxHashMap::default(),
            any: None,
        }
    }
}

impl<T: Clone> Routes<T> {
    /// Builds the table. Of two equal patterns the later one wins; a validated host has none.
    pub fn new(patterns: &[(HostPattern, T)]) -> Routes<T> {
        let mut routes = Routes::default();
        for (pattern, target) in patterns {
            let target = target.clone();
            match pattern {
                HostPattern::Exact(name) => {
                    routes.exact.insert(name.as_str().into(), target);
                }
                HostPattern::Below(suffix) => {
                    routes.below.insert(suffix.as_str().into(), target);
                }
                HostPattern::Any => routes.any = Some(target),
            }
        }
        routes
    }
}

impl<T> Routes<T> {
    /// Who answers for `host`: its own entry, else that of the longest suffix, else the one that
    /// answers for every host.
    ///
    /// `host` is in lower case, without port and without a trailing dot.
    pub fn lookup(&self, host: &str) -> Option<&T> {
        self.exact
            .get(host)
            .or_else(|| self.lookup_below(host))
            .or(self.any.as_ref())
    }

    fn lookup_below(&self, host: &str) -> Option<&T> {
        if self.below.is_empty() || host.starts_with('.') {
            return None;
        }
        let mut rest = host;
        while let Some((_, suffix)) = rest.split_once('.') {
            if let Some(target) = self.below.get(suffix) {
                return Some(target);
            }
            rest = suffix;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(patterns: &[&'static str]) -> Routes<&'static str> {
        let read = |text: &&'static str| match *text {
            "*" => (HostPattern::Any, "*"),
            text => (HostPattern::parse(text).unwrap(), text),
        };
        Routes::new(&patterns.iter().map(read).collect::<Vec<_>>())
    }

    #[test]
    fn the_most_specific_pattern_wins() {
        let some = [
            "shop.test",
            "*.shop.test",
            "*.b.shop.test",
            "x.b.shop.test",
            "10.0.0.1",
        ];
        let cases = [
            ("shop.test", Some("shop.test")),
            ("a.shop.test", Some("*.shop.test")),
            ("a.b.c.shop.test", Some("*.shop.test")),
            ("b.shop.test", Some("*.shop.test")),
            ("a.b.shop.test", Some("*.b.shop.test")),
            ("x.b.shop.test", Some("x.b.shop.test")),
            ("10.0.0.1", Some("10.0.0.1")),
            ("ashop.test", None),
            (".shop.test", None),
            ("test", None),
            ("", None),
            (".", None),
        ];
        let some = routes(&some);
        let every = routes(&["*", "shop.test"]);
        for (host, expected) in cases {
            assert_eq!(some.lookup(host).copied(), expected, "{host}");
        }
        assert_eq!(every.lookup("else.test").copied(), Some("*"));
        assert_eq!(every.lookup("shop.test").copied(), Some("shop.test"));
    }
}
