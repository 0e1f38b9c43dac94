//! What our keys are called on the server.

use super::Server;
use crate::data::kv::Namespace;

/// The names of one namespace's keys.
///
/// ```text
/// {prefix}{namespace}:{key}        a `:` or `%` of the namespace is written `%3A`, `%25`, so that
///                                  `a` and `b:c` is another name than `a:b` and `c`
/// ```
pub(super) struct Names {
    before: String,
}

impl Names {
    /// The names on `server`.
    pub(super) fn new(server: &Server, namespace: &Namespace) -> Self {
        let mut before = server.prefix.clone();
        if !server.raw {
            for char in namespace.chars() {
                match char {
                    ':' => before.push_str("%3A"),
                    '%' => before.push_str("%25"),
                    char => before.push(char),
                }
            }
            before.push(':');
        }
        Self { before }
    }

    /// The name of a key.
    pub(super) fn key(&self, key: &str) -> String {
        [&self.before, key].concat()
    }

    /// A pattern for the names of keys that match `pattern`, and of no others.
    pub(super) fn pattern(&self, pattern: &str) -> String {
        let mut whole = String::with_capacity(self.before.len() + pattern.len());
        for char in self.before.chars() {
            if matches!(char, '*' | '?' | '[' | ']' | '\\') {
                whole.push('\\');
            }
            whole.push(char);
        }
        whole + pattern
    }

    /// The key that has a name; `None` where it is none of ours.
    pub(super) fn own(&self, name: Vec<u8>) -> Option<String> {
        let key = name.strip_prefix(self.before.as_bytes())?;
        String::from_utf8(key.to_vec()).ok()
    }
}
