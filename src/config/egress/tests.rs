use super::*;

fn rules(texts: &[&str]) -> Egress {
    let rule = |text: &&str| match text.parse() {
        Ok(rule) => rule,
        Err(error) => panic!("{text}: {error}"),
    };
    Egress {
        allow: texts.iter().map(rule).collect(),
    }
}

/// What is asked: a URL's origin, and for a name the address that it has.
fn allows(egress: &Egress, origin: &str, resolved: &str) -> bool {
    let (scheme, rest) = match origin.split_once("://") {
        Some(("https", rest)) => (Scheme::Https, rest),
        Some((_, rest)) => (Scheme::Http, rest),
        None => panic!("{origin}"),
    };
    let (host, port) = match split_port(rest) {
        Ok((host, port)) => (host, port.unwrap_or(scheme.default_port())),
        Err(error) => panic!("{origin}: {error}"),
    };
    match host.parse::<IpAddr>() {
        Ok(address) => egress.allows_address(scheme, address, port),
        Err(_) => {
            let address = resolved.parse().unwrap();
            egress.allows_name(scheme, host, port) && egress.allows_resolved(scheme, address, port)
        }
    }
}

/// Public addresses of nobody in particular.
const PUBLIC: &str = "8.8.8.8";

#[test]
fn what_rules_allow() {
    let cases: &[(&[&str], &str, &str, bool)] = &[
        // Nothing by default.
        (&[], "https://api.example.com", PUBLIC, false),
        (&[], "http://8.8.8.8", "", false),
        // Scheme, host and port together.
        (
            &["https://api.example.com"],
            "https://api.example.com",
            PUBLIC,
            true,
        ),
        (
            &["https://api.example.com"],
            "https://api.example.com:443",
            PUBLIC,
            true,
        ),
        (
            &["https://api.example.com"],
            "http://api.example.com",
            PUBLIC,
            false,
        ),
        (
            &["https://api.example.com"],
            "https://api.example.com:8443",
            PUBLIC,
            false,
        ),
        (
            &["https://api.example.com"],
            "https://example.com",
            PUBLIC,
            false,
        ),
        (
            &["https://api.example.com"],
            "https://a.api.example.com",
            PUBLIC,
            false,
        ),
        (
            &["https://api.example.com:*"],
            "https://api.example.com:8443",
            PUBLIC,
            true,
        ),
        // Either scheme.
        (&["api.example.com"], "http://api.example.com", PUBLIC, true),
        (
            &["api.example.com"],
            "https://api.example.com",
            PUBLIC,
            true,
        ),
        (
            &["api.example.com"],
            "http://api.example.com:443",
            PUBLIC,
            false,
        ),
        // Below a name, not the name.
        (&["*.example.com"], "https://a.b.example.com", PUBLIC, true),
        (&["*.example.com"], "https://example.com", PUBLIC, false),
        (&["*.example.com"], "https://evilexample.com", PUBLIC, false),
        // Every public host.
        (&["*"], "https://anything.test", PUBLIC, true),
        (&["*"], "http://8.8.8.8", "", true),
        (&["*"], "http://8.8.8.8:8080", "", false),
        (&["*:*"], "http://8.8.8.8:8080", "", true),
        (&["*"], "http://[2606:4700::1]", "", true),
        // A name that leads to what is not public (DNS rebinding).
        (&["*"], "https://rebound.test", "127.0.0.1", false),
        (&["*"], "https://rebound.test", "::1", false),
        (&["*"], "https://rebound.test", "169.254.169.254", false),
        (&["*"], "https://rebound.test", "10.0.0.1", false),
        (&["*"], "https://rebound.test", "168.63.129.16", false),
        (&["*"], "https://rebound.test", "::ffff:10.0.0.1", false),
        (&["*"], "https://rebound.test", "64:ff9b::7f00:1", false),
        (&["*"], "https://rebound.test", "::127.0.0.1", false),
        (&["*"], "https://rebound.test", "2002:7f00:1::", false),
        (&["*"], "https://rebound.test", "2001:0:7f00:1::", false),
        (&["*"], "https://rebound.test", "fd00:ec2::254", false),
        (&["*"], "https://rebound.test", "fe80::1", false),
        (&["*"], "https://rebound.test", "100.100.100.200", false),
        (&["*"], "https://rebound.test", "0.0.0.0", false),
        (&["*"], "https://rebound.test", "255.255.255.255", false),
        // Special addresses by name of their network.
        (&["10.0.0.0/8"], "http://10.1.2.3", "", true),
        (&["10.0.0.0/8"], "http://10.1.2.3:9000", "", true),
        (&["10.0.0.0/8"], "http://11.1.2.3", "", false),
        (&["10.0.0.0/8"], "http://[::ffff:10.1.2.3]", "", true),
        (&["10.0.0.0/8:9000"], "http://10.1.2.3:9000", "", true),
        (&["10.0.0.0/8:9000"], "http://10.1.2.3", "", false),
        (&["https://10.0.0.0/8"], "http://10.1.2.3", "", false),
        (&["169.254.169.254"], "http://169.254.169.254", "", true),
        (&["::1"], "http://[::1]:8080", "", true),
        (&["[fd00::/8]:8443"], "https://[fd00::7]:8443", "", true),
        (&["[fd00::/8]:8443"], "https://[fd00::7]", "", false),
        (&["::ffff:0:0/96"], "http://127.0.0.1", "", false),
        // A name needs a rule of its own, and its addresses another.
        (&["10.0.0.0/8"], "http://db.internal", "10.1.2.3", false),
        (
            &["*.internal:8443"],
            "https://db.internal:8443",
            "10.1.2.3",
            false,
        ),
        (
            &["*.internal:8443", "10.0.0.0/8"],
            "https://db.internal:8443",
            "10.1.2.3",
            true,
        ),
        (
            &["*.internal:8443", "10.0.0.0/8:80"],
            "https://db.internal:8443",
            "10.1.2.3",
            false,
        ),
        (
            &["*.internal:8443", "10.0.0.0/8"],
            "https://db.internal:8443",
            PUBLIC,
            true,
        ),
        // The whole internet is not this machine.
        (&["0.0.0.0/0", "::/0"], "http://8.8.8.8:81", "", true),
        (&["0.0.0.0/0", "::/0"], "http://127.0.0.1", "", false),
        (&["0.0.0.0/0", "::/0"], "http://169.254.169.254", "", false),
        (&["0.0.0.0/0", "::/0"], "http://[::1]", "", false),
        (&["0.0.0.0/0", "::/0"], "http://[2606:4700::1]", "", true),
    ];
    for (texts, origin, resolved, expected) in cases {
        let allowed = allows(&rules(texts), origin, resolved);
        assert_eq!(allowed, *expected, "{texts:?} {origin} {resolved}");
    }
}

#[test]
fn all_is_all() {
    let all = Egress::allow_all();
    for address in [
        "127.0.0.1",
        "::1",
        "10.0.0.1",
        PUBLIC,
        "fe80::1",
        "2002::1",
        "::ffff:127.0.0.1",
    ] {
        assert!(
            all.allows_address(Scheme::Http, address.parse().unwrap(), 8080),
            "{address}"
        );
        assert!(
            all.allows_resolved(Scheme::Http, address.parse().unwrap(), 8080),
            "{address}"
        );
    }
    assert!(all.allows_name(Scheme::Https, "any.test", 1));
}

#[test]
fn rules_are_written_as_they_are_read() {
    for text in [
        "https://api.example.com",
        "*.internal:8443",
        "10.0.0.0/8",
        "*",
        "*:*",
        "http://*:8080",
        "fd00::/8",
        "[fd00::/8]:8443",
        "https://[fd00::/8]:*",
    ] {
        let rule: EgressRule = text
            .parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(rule.to_string(), text);
    }
}

#[test]
fn refusals() {
    for (text, wrong) in [
        ("", "empty"),
        ("ftp://example.com", "not a scheme of HTTP"),
        ("https://example.com/", "more than an origin"),
        ("https://example.com/path", "more than an origin"),
        ("user@example.com", "more than an origin"),
        ("example.com:0", "not a port"),
        ("example.com:99999", "not a port"),
        ("example.com:http", "not a port"),
        ("[fd00::1", "a bracket that is not closed"),
        ("[fd00::/8]8443", "no `:` after the bracket"),
        ("[::1]x:443", "no `:` after the bracket"),
        ("[*]", "brackets around what is no IPv6 address"),
        ("[a.test]:80", "brackets around what is no IPv6 address"),
        ("10.0.0.1/8", "an address inside the network"),
        ("10.0.0.0/33", "not a network"),
        ("a.*.example", "`*` inside a name"),
        ("Example.com", "upper-case letters"),
        ("10.0.0.256", "not an IPv4 address"),
    ] {
        let refused = text.parse::<EgressRule>().map_err(|error| error.wrong);
        assert_eq!(refused, Err(wrong.to_owned()), "{text}");
    }
}
