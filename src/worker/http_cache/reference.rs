//! URLs that an answer names, resolved against that of its request (RFC 3986 §5.2).

/// The URL that a reference names, without its fragment, if it has the origin of `base`: scheme, host and
/// port. `base` is the key of a request, with its scheme and authority in lower case.
pub(super) fn same_origin(base: &str, reference: &str) -> Option<String> {
    let (scheme, rest) = base.split_once("://")?;
    let path_at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, base_path) = rest.split_at(path_at);
    let reference = reference.split('#').next()?.trim();
    let local = match split_scheme(reference) {
        Some((other, after)) => {
            let other = other.eq_ignore_ascii_case(scheme);
            after.strip_prefix("//").filter(|_| other)?
        }
        None if reference.starts_with("//") => &reference[2..],
        None => {
            let (path, query) = in_path(base_path, reference);
            let path = without_dots(&path);
            return Some(format!("{scheme}://{authority}{path}{query}"));
        }
    };
    let path_at = local.find(['/', '?']).unwrap_or(local.len());
    let (other, path) = local.split_at(path_at);
    if default_port(scheme, &other.to_ascii_lowercase()) != authority {
        return None;
    }
    let (path, query) = split_query(path);
    Some(format!(
        "{scheme}://{authority}{}{query}",
        without_dots(path)
    ))
}

/// The authority without a port that its scheme has anyway.
fn default_port<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let port = match scheme {
        "https" => ":443",
        _ => ":80",
    };
    authority.strip_suffix(port).unwrap_or(authority)
}

/// A scheme and what follows its colon.
fn split_scheme(reference: &str) -> Option<(&str, &str)> {
    let (scheme, after) = reference.split_once(':')?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme.then_some((scheme, after))
}

/// The query with its question mark.
fn split_query(path: &str) -> (&str, &str) {
    path.split_at(path.find('?').unwrap_or(path.len()))
}

/// Path and query of a relative reference.
fn in_path<'a>(base: &'a str, reference: &'a str) -> (String, &'a str) {
    let (path, query) = split_query(reference);
    let (base_path, base_query) = split_query(base);
    if path.is_empty() {
        let query = if query.is_empty() { base_query } else { query };
        return (base_path.to_owned(), query);
    }
    if path.starts_with('/') {
        return (path.to_owned(), query);
    }
    let directory = &base_path[..base_path.rfind('/').map_or(0, |at| at + 1)];
    let directory = if directory.is_empty() { "/" } else { directory };
    (format!("{directory}{path}"), query)
}

/// RFC 3986 §5.2.4. The root where nothing is left.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments = path.strip_prefix('/').unwrap_or(path);
    let mut ends_in_directory = false;
    for segment in segments.split('/') {
        ends_in_directory = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    if ends_in_directory {
        kept.push("");
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_of_the_same_origin() {
        let base = "https://a.test/b/c?q";
        for (reference, expected) in [
            ("/x?y#z", Some("https://a.test/x?y")),
            ("d", Some("https://a.test/b/d")),
            ("../d/./e/..", Some("https://a.test/d/")),
            ("../../../d", Some("https://a.test/d")),
            (".", Some("https://a.test/b/")),
            ("?z", Some("https://a.test/b/c?z")),
            ("", Some("https://a.test/b/c?q")),
            ("#z", Some("https://a.test/b/c?q")),
            ("d?a:b", Some("https://a.test/b/d?a:b")),
            ("https://A.test/x", Some("https://a.test/x")),
            ("HTTPS://a.test:443", Some("https://a.test/")),
            ("https://a.test?x", Some("https://a.test/?x")),
            ("//a.test/x", Some("https://a.test/x")),
            ("http://a.test/x", None),
            ("https://a.test:8443/x", None),
            ("https://b.test/x", None),
            ("//b.test/x", None),
            ("https:/x", None),
            ("mailto:a@a.test", None),
        ] {
            assert_eq!(
                same_origin(base, reference).as_deref(),
                expected,
                "{reference}"
            );
        }
        assert_eq!(
            same_origin("http://a:1", "x").as_deref(),
            Some("http://a:1/x")
        );
        assert_eq!(same_origin("no url", "x"), None);
    }
}
