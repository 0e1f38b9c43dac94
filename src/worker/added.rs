//! Header fields that the person who runs one app adds to every request, and to every answer of its program.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The fields; none, for tenants of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Added {
    /// Instead of what the client says in them.
    request: Vec<(HeaderName, HeaderValue)>,
    /// Instead of what the program says in them.
    response: Vec<(HeaderName, HeaderValue)>,
}

impl Added {
    /// Fields by their names.
    ///
    /// # Errors
    /// Which is no field, or one of the connection; one line.
    pub fn new(
        request: impl IntoIterator<Item = (String, String)>,
        response: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, String> {
        Ok(Self {
            request: all(request).map_err(|wrong| format!("--headers: {wrong}"))?,
            response: all(response).map_err(|wrong| format!("--rsp-headers: {wrong}"))?,
        })
    }

    /// Adds a request's.
    pub(super) fn to_request(&self, fields: &mut HeaderMap) {
        put(&self.request, fields);
    }

    /// Adds an answer's.
    pub(super) fn to_response(&self, fields: &mut HeaderMap) {
        put(&self.response, fields);
    }
}

fn put(added: &[(HeaderName, HeaderValue)], fields: &mut HeaderMap) {
    for (name, value) in added {
        // A message has so many fields already that one more does not fit: it goes without.
        let _ = fields.try_insert(name.clone(), value.clone());
    }
}

type Fields = Vec<(HeaderName, HeaderValue)>;

fn all(fields: impl IntoIterator<Item = (String, String)>) -> Result<Fields, String> {
    fields.into_iter().map(field).collect()
}

fn field((name, value): (String, String)) -> Result<(HeaderName, HeaderValue), String> {
    // What says where a message ends, or is about the connection, is the host's.
    const OWN: [&str; 8] = [
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "transfer-encoding",
        "upgrade",
    ];
    let parsed = HeaderName::try_from(&name).ok();
    let parsed = parsed.filter(|it| !OWN.contains(&it.as_str()));
    match (parsed, HeaderValue::try_from(&value)) {
        (Some(name), Ok(value)) => Ok((name, value)),
        (None, _) => Err(format!(
            "{name} cannot be added; a field of the message is right"
        )),
        (_, Err(_)) => Err(format!("{name}: a line of text is right")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> [(String, String); 1] {
        [(name.to_owned(), value.to_owned())]
    }

    #[test]
    fn fields_replace_those_of_the_same_name() {
        let added = Added::new(pair("X-A", "1"), pair("x-b", "2")).unwrap();
        let mut fields = HeaderMap::new();
        fields.insert("x-a", HeaderValue::from_static("theirs"));
        added.to_request(&mut fields);
        added.to_response(&mut fields);
        assert_eq!(
            (&fields["x-a"], &fields["x-b"]),
            (&"1".parse().unwrap(), &"2".parse().unwrap())
        );
        assert_eq!(fields.len(), 2);
    }

    #[test]
    fn what_is_the_hosts_is_refused() {
        for (name, value) in [
            ("Content-Length", "1"),
            ("transfer-encoding", "chunked"),
            ("a b", "1"),
            ("x-a", "1\r\nx-b: 2"),
        ] {
            let refused = Added::new(pair(name, value), []).unwrap_err();
            assert!(
                refused.starts_with(&format!("--headers: {name}")),
                "{refused}"
            );
        }
    }
}
