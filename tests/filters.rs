//! Filters on the way to an origin: what they see, change, answer and break; with both SDKs.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is the report"
)]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use common::{Builder, Client, Origin, Response, Tenant, TestHost, database, guest};
use ring::hmac;

/// A tenant whose requests pass these filters.
fn behind(origin: &Origin, filters: &[&str]) -> Tenant {
    let filters: Vec<_> = filters.iter().map(|name| entry(name, "")).collect();
    Tenant::passed_on("a", &[&origin.url()])
        .line(&format!("origin.filter = [{}]", filters.join(", ")))
        .limit("cpu_ms", 1_000)
}

fn entry(name: &str, more: &str) -> String {
    format!("{{ component = {:?}{more} }}", guest(name))
}

fn start(tenant: Tenant) -> TestHost {
    let host = TestHost::builder().tenant(tenant).cold().start();
    ready(&host);
    host
}

/// Waits until the filters are compiled.
fn ready(host: &TestHost) {
    while host.get("a.test", "/hello").status == 503 {}
}

fn ask(host: &TestHost, head: &str) -> Response {
    let mut client = host.connect();
    client.send(format!("{head}\r\nhost: a.test\r\n\r\n"));
    client.read_response()
}

/// The head that the origin got.
fn seen(host: &TestHost, fields: &str) -> String {
    let head = format!("GET /head HTTP/1.1{fields}");
    ask(host, &head).expect(200).text().to_lowercase()
}

#[test]
fn fields_are_changed_both_ways() {
    let origin = Origin::start();
    let host = start(behind(&origin, &["filter-headers"]));
    let mut client = host.connect();
    let answer = client.get("a.test", "/head").expect(200);
    assert!(answer.text().contains("x-filter-count: "), "{answer:?}");
    let count: usize = answer.header("x-filter-count").unwrap().parse().unwrap();
    assert!(count >= 4, "four of them have a colon before their names");
    // Bodies of any length pass by a filter that leaves them alone.
    for path in ["/big", "/big-chunked"] {
        let answer = client.get("a.test", path).expect(200);
        assert_eq!(answer.body.len(), 1 << 20, "{path}");
    }
    let body = vec![b'y'; 300_000];
    let echoed = client.post("a.test", "/echo", &body).expect(200);
    assert!(echoed.body == body);
}

#[test]
fn bodies_are_changed_both_ways() {
    let origin = Origin::start();
    for compat in ["none", "fastedge"] {
        let tenant = behind(&origin, &["filter-body"]).limit("whole_body_bytes", 100_000);
        let host = start(tenant.line(&format!("compat = {compat:?}")));
        let mut client = host.connect();
        let answer = client.post("a.test", "/echo", b"some text").expect(200);
        assert_eq!(answer.text(), "[SOME TEXT]", "{compat}");
        client.send(
            "POST /echo HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n\
             4\r\nsome\r\n5\r\n text\r\n0\r\n\r\n",
        );
        assert_eq!(client.read_response().expect(200).text(), "[SOME TEXT]");
        assert_eq!(client.get("a.test", "/hello").expect(200).text(), "[hello]");
        // What is too long to be had whole.
        assert_eq!(host.get("a.test", "/big").reason(), "bad_response");
        let answer = host.connect().post("a.test", "/echo", &[b'x'; 100_001]);
        assert_eq!((answer.status, answer.reason()), (413, "body_too_large"));
    }
}

#[test]
fn filters_of_a_chain_meet_requests_in_order_and_answers_in_the_other() {
    let origin = Origin::start();
    let host = start(behind(
        &origin,
        &["filter-body", "filter-headers", "filter"],
    ));
    let answer = host.connect().post("a.test", "/echo", b"text").expect(200);
    assert_eq!(answer.text(), "[TEXT]");
    assert!(answer.header("x-filter-count").is_some());
    assert_eq!(answer.header("x-seen"), Some("/echo"));
    // One that answers is the last.
    let answer = host.get("a.test", "/config").expect(200);
    assert_eq!(answer.header("x-filter"), Some("yes"));
    assert_eq!(answer.header("x-filter-count"), None);
}

#[test]
fn a_filter_is_called_where_the_operator_says() {
    let origin = Origin::start();
    let filter = entry("filter-body", ", on = ['request_body']");
    let tenant = Tenant::passed_on("a", &[&origin.url()]);
    let host = start(tenant.line(&format!("origin.filter = [{filter}]")));
    let answer = host.connect().post("a.test", "/echo", b"text").expect(200);
    assert_eq!(answer.text(), "TEXT");
}

#[test]
fn a_filter_asks_others_before_the_request_goes_on() {
    let (origin, other) = (Origin::start(), Origin::start());
    for compat in ["none", "fastedge"] {
        let tenant = behind(&origin, &["filter-call"])
            .line("egress.allow = ['127.0.0.0/8']")
            .line(&format!("compat = {compat:?}"));
        let host = start(tenant);
        let asked = seen(&host, &format!("\r\nx-ask: 127.0.0.1:{}", other.port()));
        // It knows no such path, and ends the connection: no answer.
        assert!(asked.contains("x-answer: none"), "{compat}: {asked}");
        assert!(other.connections() > 0);
        let plain = seen(&host, "");
        assert!(!plain.contains("x-answer"), "{plain}");
    }
    // Nobody has allowed it.
    let host = start(behind(&origin, &["filter-call"]));
    let answer = ask(&host, "GET /head HTTP/1.1\r\nx-ask: 127.0.0.1:1");
    assert!(
        answer.status == 502 || answer.text().contains("x-answer: none"),
        "{answer:?}"
    );
}

#[test]
fn failures_have_names_and_harm_nobody_else() {
    let origin = Origin::start();
    let tenant = behind(&origin, &["filter"])
        .limit("cpu_ms", 50)
        .limit("quarantine_failures", 0);
    let host = start(tenant);
    for (path, status, reason) in [
        ("/panic", 500, "trapped"),
        ("/spin", 504, "cpu_exhausted"),
        ("/pause", 502, "no_response"),
        ("/close", 502, "exited"),
        ("/elsewhere?https://example.com/x", 502, "bad_response"),
    ] {
        let answer = host.get("a.test", path);
        assert_eq!((answer.status, answer.reason()), (status, reason), "{path}");
        assert_eq!(host.get("a.test", "/hello").expect(200).text(), "hello");
    }
}

#[test]
fn a_request_goes_where_a_filter_sends_it() {
    let (origin, other) = (Origin::start(), Origin::start());
    let tenant = behind(&origin, &["filter"]).line("egress.allow = ['127.0.0.0/8']");
    let host = start(tenant);
    // Another path of the same site, and of the origin by its own name.
    for url in [
        "http://a.test/hello".to_owned(),
        format!("{}/hello", origin.url()),
    ] {
        let answer = host.get("a.test", &format!("/elsewhere?{url}")).expect(200);
        assert_eq!(answer.text(), "hello");
    }
    assert_eq!(other.connections(), 0);
    let answer = host.get("a.test", &format!("/elsewhere?{}/hello", other.url()));
    assert_eq!(answer.expect(200).text(), "hello");
    assert_eq!(other.connections(), 1);
}

#[test]
fn state_is_of_the_request_or_of_the_hook() {
    let origin = Origin::start();
    for (compat, status) in [
        ("none", "[200, 0, 0, 0, 0, 0, 0, 0]"),
        ("fastedge", "[0, 200]"),
    ] {
        let host = start(behind(&origin, &["filter"]).line(&format!("compat = {compat:?}")));
        let answer = host.get("a.test", "/hello").expect(200);
        assert_eq!(answer.header("x-seen"), Some("/hello"), "{compat}");
        assert_eq!(answer.header("x-status"), Some(status), "{compat}");
        // What instances share outlives them.
        for count in 0..3 {
            let text = host.get("a.test", "/shared").expect(200).text();
            assert!(text.starts_with(&format!("{count} Ok")), "{text}");
        }
    }
}

#[test]
fn filters_have_the_tenants_services() {
    let origin = Origin::start();
    let tenant = behind(&origin, &["filter"])
        .env("NAME", "shop")
        .line("kv = [{ name = 'shop' }]")
        .line("config = { colour = 'blue' }");
    let host = start(tenant);
    let told = host.get("a.test", "/services").expect(200).text();
    assert!(told.contains("Some(\"shop\")"), "{told}");
    assert!(told.contains("Ok(None)"), "{told}");
    let config = host.get("a.test", "/config").expect(200).text();
    assert_eq!(config, r#"{"colour":"blue"}"#);
    host.get("a.test", "/log").expect(200);
    for line in ["by standard output", "by the log"] {
        host.wait_for_log(|it| it["line"].as_str().is_some_and(|text| text.contains(line)));
    }
}

#[test]
fn filters_in_assemblyscript() {
    let origin = Origin::start();
    let tenant = behind(&origin, &["filter-as"])
        .env("NAME", "shop")
        .line("config = { a = 'b' }");
    let host = start(tenant);
    let answer = host.get("a.test", "/head").expect(200);
    assert!(answer.text().contains("x-as: /head shop"), "{answer:?}");
    assert_eq!(answer.header("x-as"), Some(r#"{"a":"b"}"#));
    let answer = host.get("a.test", "/denied").expect(403);
    assert_eq!(answer.text(), "denied\n");
}

/// The article's uses: who may download, who may upload, what depends on where the client is.
#[test]
fn downloads_and_uploads_are_let_in_by_signature() {
    let origin = Origin::start();
    let dir = tempfile::tempdir().unwrap();
    let config = signed(dir.path(), &origin);
    let host = config.cold().start();
    ready(&host);
    // HMAC-SHA256 of the path with the key, in hex.
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"the key");
    let sign = |path: &str| {
        let tag = hmac::sign(&key, path.as_bytes());
        let digits = tag.as_ref().iter().map(|byte| format!("{byte:02x}"));
        digits.collect::<String>()
    };
    let mut client = host.connect();
    let get = |client: &mut Client, path: &str, signature: &str| {
        client.send(format!(
            "GET {path} HTTP/1.1\r\nhost: a.test\r\nauthorization: {signature}\r\n\r\n"
        ));
        client.read_response()
    };
    let before = origin.connections();
    assert_eq!(get(&mut client, "/hello", "00").status, 401);
    assert_eq!(get(&mut client, "/hello", "").status, 401);
    assert_eq!(get(&mut client, "/big", &sign("/hello")).status, 401);
    assert_eq!(origin.connections(), before, "nothing of it went on");
    assert_eq!(
        get(&mut client, "/hello", &sign("/hello"))
            .expect(200)
            .text(),
        "hello"
    );
    let head = get(&mut client, "/head", &sign("/head")).expect(200).text();
    assert!(!head.contains("authorization"), "{head}");
    for (signature, status) in [(sign("/echo"), 200), ("00".to_owned(), 401)] {
        let mut client = host.connect();
        client.send(format!(
            "POST /echo HTTP/1.1\r\nhost: a.test\r\nauthorization: {signature}\r\n\
             content-length: 6\r\n\r\nupload"
        ));
        let answer = client.read_response().expect(status);
        assert_eq!(answer.text() == "upload", status == 200);
    }
}

fn signed(dir: &Path, origin: &Origin) -> Builder {
    let run = |args: &[&str], input: &[u8]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_skep"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input).unwrap();
        child.wait_with_output().unwrap().stdout
    };
    let (key, sealed) = (dir.join("host.key"), dir.join("sealed"));
    let key_text = key.to_str().unwrap();
    run(&["secret", "new-key", key_text], b"");
    let args = [
        "secret", "seal", "--tenant", "a", "--name", "key", "--key", key_text,
    ];
    write_private(&sealed, &run(&args, b"the key"));
    let tenant = behind(origin, &["filter-authorize"])
        .line(&format!("secret = [{{ name = 'key', file = {sealed:?} }}]"));
    TestHost::builder()
        .line("data", &format!("secret_key = {key:?}"))
        .tenant(tenant)
}

fn write_private(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let options = options.write(true).create(true).mode(0o600);
    std::io::Write::write_all(&mut options.open(path).unwrap(), bytes).unwrap();
}

#[test]
fn filters_know_where_the_client_is() {
    let origin = Origin::start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("places.mmdb");
    let record = serde_json::json!({ "country": { "iso_code": "LU" } });
    std::fs::write(&file, database(&[("127.0.0.1", record)])).unwrap();
    let host = TestHost::builder()
        .line("geo", &format!("database = {file:?}"))
        .tenant(behind(&origin, &["filter"]))
        .cold()
        .start();
    ready(&host);
    let told = host.get("a.test", "/properties").expect(200).text();
    assert!(told.contains("LU"), "{told}");
}

/// What a filter makes of a request depends on where it comes from, and of an answer on what is in it.
#[test]
fn fields_by_place_and_bodies_by_the_size_of_a_picture() {
    let png = |width: u32, height: u32| {
        let head = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR";
        let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
        [&head[..], &size, &[8, 6, 0, 0, 0], &[0; 50_000]].concat()
    };
    let (small, large) = (png(1_000, 1_000), png(1_001, 1_000));
    let origin = Origin::of_files(&[
        ("/small.png", "image/png", &small),
        ("/large.png", "image/png", &large),
        ("/large.bin", "application/octet-stream", &large),
    ]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("places.mmdb");
    let write = |code: &str| {
        let record = serde_json::json!({ "country": { "iso_code": code } });
        std::fs::write(&file, database(&[("127.0.0.1", record)])).unwrap();
    };
    write("LU");
    let config = TestHost::builder()
        .line("geo", &format!("database = {file:?}"))
        .tenant(behind(&origin, &["filter-uses"]))
        .cold();
    let host = config.clone().start();
    ready(&host);
    let seen = seen(&host, "");
    assert!(seen.contains("x-country: lu"), "{seen}");
    let answer = host.get("a.test", "/small.png").expect(200);
    assert_eq!(answer.header("x-image-size"), Some("1000x1000"));
    assert!(answer.body == small);
    let answer = host.get("a.test", "/large.png").expect(200);
    assert_eq!(answer.header("x-image-size"), Some("1001x1000"));
    assert_eq!(answer.header("content-type"), Some("text/plain"));
    assert_eq!(answer.text(), "a picture of that size is too large\n");
    let answer = host.get("a.test", "/large.bin").expect(200);
    assert!(answer.body == large, "what is no picture is passed on");
    write("XX");
    host.reload(&config);
    while host.get("a.test", "/hello").status != 451 {}
}
