//! How answers of origins are named in caches: by what the client asked for, under the name that it knows.

/// The key of what is asked for of a host in the cache of answers.
pub fn of(host: &str, target: &str) -> String {
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix(":80").unwrap_or(&host);
    format!("http://{host}{target}")
}

/// The key of a URL, or of its beginning, as an operator writes it: with a scheme or without.
pub fn of_written(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let host = |host| match scheme {
        "https" => str::strip_suffix(host, ":443").unwrap_or(host),
        _ => host,
    };
    match rest.find(['/', '?']) {
        Some(end) if rest[end..].starts_with('/') => of(host(&rest[..end]), &rest[end..]),
        Some(end) => of(host(&rest[..end]), &format!("/{}", &rest[end..])),
        None => of(host(rest), "/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_operators_write_them() {
        for (written, expected) in [
            ("https://Shop.Example/a?b", "http://shop.example/a?b"),
            ("http://shop.example:80/a", "http://shop.example/a"),
            ("https://shop.example:443/a", "http://shop.example/a"),
            ("shop.example/a/", "http://shop.example/a/"),
            ("shop.example", "http://shop.example/"),
            ("shop.example?q", "http://shop.example/?q"),
            ("http://shop.example:8080", "http://shop.example:8080/"),
        ] {
            assert_eq!(of_written(written), expected);
        }
    }
}
