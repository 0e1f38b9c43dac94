//! Programs for Gcore FastEdge, as its SDKs build them: core modules, components, JavaScript.

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is the report"
)]

mod common;

use common::{Origin, Response, Tenant, TestHost, database};

/// A tenant with the guest that uses every interface.
fn tenant() -> Tenant {
    Tenant::new("a", "fastedge").limit("cpu_ms", 500)
}

fn host_of(tenant: Tenant) -> TestHost {
    TestHost::builder().tenant(tenant).start()
}

/// What the guest answers with 200.
#[track_caller]
fn text(host: &TestHost, path: &str) -> String {
    host.get("a.test", path).expect(200).text()
}

/// Like [`TestHost::get`], with header fields.
fn get_with(host: &TestHost, path: &str, fields: &str) -> Response {
    let mut client = host.connect();
    client.send(format!(
        "GET {path} HTTP/1.1\r\nhost: a.test\r\n{fields}\r\n"
    ));
    client.read_response()
}

#[test]
fn requests_and_responses_are_whole() {
    let host = host_of(tenant());
    assert_eq!(text(&host, "/"), "Hello from skep\n");
    let echoed = host
        .connect()
        .post("a.test", "/echo?x=1", b"some body")
        .expect(200);
    let expected = "method POST\nuri /echo?x=1\ncontent-length: 9\nhost: a.test\nbody 9\nsome body";
    assert_eq!(echoed.text(), expected);
    let none = host.get("a.test", "/none").expect(200);
    assert_eq!(
        (none.text().as_str(), none.header("content-length")),
        ("", Some("0"))
    );
    assert_eq!(
        host.get("a.test", "/status?code=418").expect(418).text(),
        "status 418\n"
    );
    let big = host.get("a.test", "/big?bytes=3000000").expect(200);
    assert_eq!(big.body.len(), 3_000_000);
    assert!(
        big.body
            .iter()
            .enumerate()
            .all(|(at, byte)| at % 251 == usize::from(*byte))
    );
    // The macro of the SDK makes an answer of a handler's error.
    let error = host.get("a.test", "/error").expect(500);
    assert!(error.text().contains("asked to fail") && error.header("x-skep-reason").is_none());
}

#[test]
fn bodies_have_a_limit_and_methods_a_name() {
    let host = host_of(tenant().limit("whole_body_bytes", 1_000));
    let post = |bytes| host.connect().post("a.test", "/none", &vec![b'x'; bytes]);
    post(1_000).expect(200);
    assert_eq!(post(1_001).expect(413).reason(), "body_too_large");
    let mut client = host.connect();
    client.send("POST /echo HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n");
    for _ in 0..3 {
        let _ = client.try_send(format!("190\r\n{}\r\n", "x".repeat(400)));
    }
    assert_eq!(client.read_response().reason(), "body_too_large");
    assert_eq!(
        host.get("a.test", "/big?bytes=1000").expect(200).body.len(),
        1_000
    );
    let long = host.get("a.test", "/big?bytes=1001").expect(502);
    assert_eq!(long.reason(), "bad_response");
    let mut client = host.connect();
    client.send("TRACE / HTTP/1.1\r\nhost: a.test\r\n\r\n");
    assert_eq!(client.read_response().reason(), "method_not_implemented");
}

#[test]
fn configuration_comes_before_the_environment() {
    let tenant = tenant()
        .env("ONE", "from env")
        .env("TWO", "two")
        .line("config = { ONE = 'from config', 'a name' = 'with spaces' }");
    let host = host_of(tenant);
    for (path, told) in [
        ("/dictionary?key=ONE", "some from config\n"),
        ("/dictionary?key=TWO", "some two\n"),
        ("/dictionary?key=a%20name", "some with spaces\n"),
        ("/dictionary?key=THREE", "none\n"),
        ("/env?key=ONE", "some from env\n"),
        ("/env?key=a%20name", "none\n"),
    ] {
        assert_eq!(text(&host, path), told, "{path}");
    }
}

#[test]
fn what_was_not_given_is_denied() {
    let host = host_of(tenant().limit("cache_bytes", 0));
    for (path, told) in [
        (
            "/kv?store=S&op=get&key=a",
            "open error Error::AccessDenied\n",
        ),
        ("/cache?op=get&key=a", "error Error::AccessDenied\n"),
        ("/secret?name=a", "error Error::AccessDenied\n"),
    ] {
        assert_eq!(text(&host, path), told, "{path}");
    }
}

#[test]
fn requests_to_others_are_whole_too() {
    let origin = Origin::start();
    let host = host_of(tenant().line("egress.allow = ['127.0.0.0/8']"));
    let fetch = |path: &str| text(&host, &format!("/fetch?url={}{path}", origin.url()));
    let told = fetch("/hello");
    assert!(
        told.starts_with("status 200\n") && told.ends_with("body 5\nhello"),
        "{told}"
    );
    assert!(fetch("/chunked").ends_with("hello"));
    assert!(fetch("/redirect").starts_with("status 302\n"));
    let path = format!("/post?url={}/echo", origin.url());
    let posted = host.connect().post("a.test", &path, b"a body").expect(200);
    assert!(
        posted.text().ends_with("body 6\na body"),
        "{}",
        posted.text()
    );
    for path in ["/cut", "/drop", "/garbage"] {
        assert!(fetch(path).contains("request-error"), "{path}");
    }
}

#[test]
fn a_refused_request_says_why_except_to_those_who_expect_otherwise() {
    let origin = Origin::start();
    let denied = format!("/fetch?url={}/hello", origin.url());
    let cases = [
        (denied.as_str(), "destination-not-allowed"),
        ("/fetch?url=ftp://127.0.0.1/", "invalid-url"),
        ("/fetch?url=/hello", "invalid-url"),
    ];
    let plain = host_of(tenant().line("egress.allow = ['10.0.0.0/8']"));
    let compat = host_of(tenant().line("compat = 'fastedge'"));
    for (path, told) in cases {
        assert!(
            text(&plain, path).contains(told),
            "{path}: {}",
            text(&plain, path)
        );
        assert!(text(&compat, path).contains("request-error"), "{path}");
    }
    let none = tenant()
        .limit("subrequests", 0)
        .line("egress.allow = ['127.0.0.0/8']");
    assert!(text(&host_of(none), &denied).contains("too-many-requests"));
    let small = tenant()
        .limit("whole_body_bytes", 1_000)
        .line("egress.allow = ['127.0.0.0/8']");
    let long = format!("/fetch?url={}/big", origin.url());
    assert!(text(&host_of(small), &long).contains("request-error"));
}

#[test]
fn failures_have_fastedges_statuses_where_they_are_asked_for() {
    let failing = || tenant().limit("memory_mib", 32);
    let plain = host_of(failing());
    let compat = host_of(failing().line("compat = 'fastedge'"));
    for (path, status, reason, compat_status, internal, body) in [
        ("/panic", 500, "trapped", 533, "3003", "App failed"),
        ("/exit?code=3", 502, "exited", 533, "3002", "App failed"),
        (
            "/spin",
            504,
            "cpu_exhausted",
            532,
            "3010",
            "Execution timeout",
        ),
        (
            "/oom?mib=64",
            507,
            "memory_exhausted",
            531,
            "3020",
            "Out of memory",
        ),
        (
            "/status?code=101",
            502,
            "bad_response",
            530,
            "3001",
            "Execute error",
        ),
    ] {
        let answer = plain.get("a.test", path).expect(status);
        assert_eq!(
            (answer.reason(), answer.header("x-cdn-internal-status")),
            (reason, None)
        );
        let answer = compat.get("a.test", path).expect(compat_status);
        assert_eq!(
            answer.header("x-cdn-internal-status"),
            Some(internal),
            "{path}"
        );
        assert_eq!(answer.text(), format!("fastedge: {body}"), "{path}");
        assert_eq!(answer.reason(), reason, "{path}");
    }
    // Ending well without an answer is none there.
    let path = "/exit?code=0";
    assert_eq!(plain.get("a.test", path).expect(502).reason(), "exited");
    let mut client = compat.connect();
    for _ in 0..2 {
        let answer = client.get("a.test", path).expect(200);
        assert_eq!((answer.text().as_str(), answer.reason()), ("", ""));
        assert_eq!(answer.header("content-length"), Some("0"));
    }
    let line = compat.wait_for_access(path);
    assert!(line["reason"].is_null(), "{line}");
    let is_fault =
        |it: &serde_json::Value| it["kind"] == "fault" && it["request"] == line["request"];
    assert!(!compat.log_lines().iter().any(is_fault), "{line}");
    let line = compat.wait_for_access("/panic");
    assert_eq!(line["status"], 533, "{line}");
}

#[test]
fn too_many_requests_are_told_nothing_more() {
    let limited = || {
        tenant()
            .limit("requests_per_s", 1)
            .limit("request_burst", 1)
    };
    for (tenant, body) in [
        (limited(), "rate_limited: "),
        (limited().line("compat = 'fastedge'"), ""),
    ] {
        let host = host_of(tenant);
        let mut client = host.connect();
        let answer = loop {
            let answer = client.get("a.test", "/none");
            if answer.status == 429 {
                break answer;
            }
        };
        assert_eq!(answer.reason(), "rate_limited");
        assert_eq!(answer.header("x-cdn-internal-status"), None);
        let text = answer.text();
        assert!(
            text.starts_with(body) && text.is_empty() == body.is_empty(),
            "{text}"
        );
    }
}

#[test]
fn requests_say_who_the_client_is() {
    let host = host_of(tenant().line("compat = 'fastedge'"));
    let told = get_with(
        &host,
        "/headers",
        "x-real-ip: 10.0.0.1\r\ngeoip-city: nowhere\r\n",
    )
    .text();
    for line in [
        "x-real-ip: 127.0.0.1",
        "server_name: a.test",
        "server_addr: 127.0.0.1",
    ] {
        assert!(told.lines().any(|it| it == line), "{line}: {told}");
    }
    assert!(!told.contains("nowhere"), "{told}");
    // Other tenants' requests are as their clients sent them.
    let told = get_with(&host_of(tenant()), "/headers", "x-real-ip: 10.0.0.1\r\n").text();
    assert!(
        told.contains("x-real-ip: 10.0.0.1\n") && !told.contains("server_name"),
        "{told}"
    );
}

#[test]
fn requests_say_where_the_client_and_the_host_are() {
    let record = |code: &str| serde_json::json!({ "country": { "iso_code": code } });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("places.mmdb");
    let write = |code| {
        let bytes = database(&[("127.0.0.1", record(code))]);
        std::fs::write(&file, bytes).unwrap();
    };
    write("LU");
    let config = |pop: &str| {
        TestHost::builder()
            .line("geo", &format!("database = {file:?}"))
            .line(
                "geo",
                &format!("pop = {{ country_code = 'DE', city = '{pop}' }}"),
            )
            .tenant(tenant().line("compat = 'fastedge'"))
            .tenant(Tenant::new("b", "fastedge"))
    };
    let host = config("Frankfurt").start();
    let told = |name: &str| {
        let fields = "geoip-country-code: XX\r\npop-reg: XX\r\n";
        let mut client = host.connect();
        client.send(format!(
            "GET /headers HTTP/1.1\r\nhost: {name}.test\r\n{fields}\r\n"
        ));
        let text = client.read_response().expect(200).text();
        let is_place = |line: &&str| line.starts_with("geoip-") || line.starts_with("pop-");
        let mut lines: Vec<_> = text.lines().filter(is_place).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(
        told("a"),
        [
            "geoip-country-code: LU",
            "pop-city: Frankfurt",
            "pop-country-code: DE"
        ]
    );
    assert_eq!(told("b"), ["geoip-country-code: XX", "pop-reg: XX"]);
    // Both the file and what is said of the host are read again.
    write("FR");
    host.reload(&config("Berlin"));
    let expected = [
        "geoip-country-code: FR",
        "pop-city: Berlin",
        "pop-country-code: DE",
    ];
    let deadline = std::time::Instant::now() + common::PATIENCE;
    while told("a") != expected {
        assert!(std::time::Instant::now() < deadline, "{:?}", told("a"));
    }
    std::fs::write(&file, "no database").unwrap();
    let line = host.reload(&config("Paris"));
    assert!(line.contains("reload: refused"), "{line}");
    assert!(
        host.stderr_lines()
            .iter()
            .any(|line| line.contains("geo.database")),
        "{:?}",
        host.stderr_lines()
    );
    assert_eq!(told("a"), expected);
}

#[test]
fn output_and_diagnostics_are_logged() {
    let host = TestHost::builder().access("all").tenant(tenant()).start();
    text(&host, "/diag?text=checkout");
    assert_eq!(
        host.wait_for_access("/diag?text=checkout")["diag"],
        "checkout"
    );
    text(&host, "/print?text=to%20stdout");
    text(&host, "/eprint?text=to%20stderr");
    for (line, stream) in [("to stdout", "stdout"), ("to stderr", "stderr")] {
        let logged = host.wait_for_log(|it| it["line"] == line);
        assert_eq!(logged["stream"], stream, "{logged}");
    }
}

/// The example of the article that FastEdge was introduced with, as it is printed there.
#[test]
fn the_anonymous_proxy_asks_over_https() {
    let origin = Origin::start_tls(&["origin.test", "127.0.0.1"]);
    let dir = tempfile::tempdir().unwrap();
    let tenant = Tenant::new("a", "anonymous-proxy").line("egress.allow = ['127.0.0.0/8']");
    let host = TestHost::builder()
        .line("egress", &format!("ca_file = {:?}", origin.ca_file(&dir)))
        .tenant(tenant)
        .start();
    let told = text(
        &host,
        &format!("/?url=https://127.0.0.1:{}/big", origin.port()),
    );
    assert!(told.starts_with("len = 1048576, content-type = "), "{told}");
}

#[test]
fn components_have_the_interfaces_beside_wasi_http() {
    let origin = Origin::start();
    let tenant = Tenant::new("a", "fastedge-wasi")
        .line("egress.allow = ['127.0.0.0/8']")
        .line("config = { ONE = 'from config' }");
    let host = TestHost::builder().access("all").tenant(tenant).start();
    assert_eq!(text(&host, "/"), "Hello from skep\n");
    assert_eq!(text(&host, "/dictionary?key=ONE"), "some from config\n");
    assert_eq!(
        text(&host, &format!("/fetch?url={}/hello", origin.url())),
        "hello"
    );
    let echoed = host
        .connect()
        .post("a.test", "/echo", b"some body")
        .expect(200);
    assert_eq!(echoed.text(), "some body");
    text(&host, "/diag?text=checkout");
    assert_eq!(
        host.wait_for_access("/diag?text=checkout")["diag"],
        "checkout"
    );
}

#[test]
fn javascript_runs_as_its_sdk_builds_it() {
    let origin = Origin::start();
    let tenant = Tenant::new("a", "fastedge-js")
        .env("ONE", "from env")
        .limit("cpu_ms", 2_000)
        .line("egress.allow = ['127.0.0.0/8']")
        .line("compat = 'fastedge'");
    let host = host_of(tenant);
    assert_eq!(text(&host, "/"), "Hello from skep\n");
    assert_eq!(text(&host, "/env?key=ONE"), "some from env\n");
    assert!(text(&host, "/kv?store=S&op=get&key=a").contains("Access denied"));
    assert_eq!(
        text(&host, &format!("/fetch?url={}/hello", origin.url())),
        "hello"
    );
    assert!(text(&host, "/stream?ms=1").ends_with("chunk 5\n"));
    // This version of the SDK has no `event.client` yet.
    let told = text(&host, "/client");
    assert!(told.contains(r#""x-real-ip":"127.0.0.1""#), "{told}");
    let redirect = host
        .get("a.test", "/redirect?url=https://b.test/x")
        .expect(302);
    assert_eq!(redirect.header("location"), Some("https://b.test/x"));
    text(&host, "/later?ms=20&text=afterwards");
    host.wait_for_log(|it| {
        it["line"]
            .as_str()
            .is_some_and(|line| line.contains("afterwards"))
    });
}
