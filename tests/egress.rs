//! Requests of guests to others: to local servers, by local names, with every way to fail.

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is the report"
)]

mod common;

use std::io::Read;
use std::net::TcpListener;
use std::time::Instant;

use common::{Builder, Names, Origin, PATIENCE, Tenant, TestHost};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A tenant that may connect to this.
fn allowed(rules: &[&str]) -> Tenant {
    let rules: Vec<_> = rules.iter().map(|rule| format!("{rule:?}")).collect();
    let line = format!("egress.allow = [{}]", rules.join(", "));
    Tenant::new("a", "kitchen").line(&line)
}

/// What the guest says about a request, with more parameters than its URL.
#[track_caller]
fn fetch(host: &TestHost, url: &str, more: &str) -> String {
    host.get("a.test", &format!("/fetch?url={url}{more}"))
        .expect(200)
        .text()
}

fn local() -> Builder {
    TestHost::builder().tenant(allowed(&["127.0.0.0/8"]))
}

#[test]
fn answers_come_as_they_are_sent() {
    let origin = Origin::start();
    let host = local().start();
    for (path, told) in [
        ("/hello", "status 200\nbytes 5\nhello"),
        ("/chunked", "status 200\nbytes 5\nhello"),
        ("/close", "status 200\nbytes 5\nhello"),
        // Redirects are the guest's business.
        ("/redirect", "status 302\nbytes 0\n"),
    ] {
        let answer = fetch(&host, &format!("{}{path}", origin.url()), "");
        assert_eq!(answer, told, "{path}");
    }
    let big = fetch(&host, &format!("{}/big", origin.url()), "");
    assert!(
        big.starts_with("status 200\nbytes 1048576\nxxx"),
        "{:.60}",
        big
    );
    let echoed = fetch(&host, &format!("{}/echo", origin.url()), "&send=300000");
    assert!(
        echoed.starts_with("status 200\nbytes 300000\n"),
        "{:.60}",
        echoed
    );
}

#[test]
fn what_the_origin_sees_is_the_hosts_own_framing() {
    let origin = Origin::start();
    let host = local().start();
    let seen = fetch(&host, &format!("{}/head", origin.url()), "");
    let head = seen.split_once('\n').unwrap().1.split_once('\n').unwrap().1;
    let expected = format!(
        "GET /head HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n",
        origin.port()
    );
    assert!(head.starts_with(&expected), "{head}");
    assert!(!head.contains("transfer-encoding"), "{head}");
    let seen = fetch(&host, &format!("{}/head", origin.url()), "&send=10");
    assert!(seen.contains("POST /head HTTP/1.1"), "{seen}");
}

#[test]
fn connections_are_kept_and_a_stale_one_is_replaced() {
    let origin = Origin::start();
    let host = local().start();
    let url = format!("{}/count", origin.url());
    // Of one request, and of the next one.
    assert_eq!(fetch(&host, &url, "&n=3"), "status 200\nbytes 1\n3");
    assert_eq!(fetch(&host, &url, ""), "status 200\nbytes 1\n4");
    assert_eq!(origin.connections(), 1);
    // One that must not be used again is not.
    fetch(&host, &format!("{}/close", origin.url()), "");
    assert_eq!(fetch(&host, &url, ""), "status 200\nbytes 1\n1");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn rules_say_where_guests_connect_to() {
    let origin = Origin::start();
    let names = Names::start(&[
        ("origin.test", "127.0.0.1"),
        ("mapped.test", "::ffff:127.0.0.1"),
        ("both.test", "10.255.255.1"),
        ("both.test", "127.0.0.1"),
    ]);
    let port = origin.port();
    let url = |host: &str| format!("http://{host}:{port}/hello");
    const HELLO: &str = "status 200\nbytes 5\nhello";
    let any_name = format!("*:{port}");
    let origin_only = format!("http://origin.test:{port}");
    let cases: &[(&[&str], String, &str)] = &[
        (&["127.0.0.0/8"], url("127.0.0.1"), HELLO),
        (&["*:*"], url("127.0.0.1"), "error http-request-denied\n"),
        (
            &["10.0.0.0/8"],
            url("127.0.0.1"),
            "error http-request-denied\n",
        ),
        (
            &["https://127.0.0.1"],
            url("127.0.0.1"),
            "error http-request-denied\n",
        ),
        // A name, and what it leads to.
        (&[&origin_only, "127.0.0.1"], url("origin.test"), HELLO),
        (&[&origin_only, "127.0.0.1"], url("Origin.Test."), HELLO),
        (
            &[&any_name],
            url("origin.test"),
            "error destination-ip-prohibited\n",
        ),
        (
            &[&any_name],
            url("mapped.test"),
            "error destination-ip-prohibited\n",
        ),
        (&[&any_name, "127.0.0.1"], url("both.test"), HELLO),
        (
            &[&any_name],
            url("localhost"),
            "error destination-ip-prohibited\n",
        ),
        (&[&any_name], url("none.test"), "error dns-error\n"),
        (
            &["127.0.0.1"],
            url("secret.test"),
            "error http-request-denied\n",
        ),
    ];
    for (rules, url, told) in cases {
        let host = TestHost::builder()
            .tenant(allowed(rules))
            .line("egress", &names.line())
            .start();
        assert_eq!(&fetch(&host, url, ""), told, "{rules:?} {url}");
    }
    let asked = names.asked();
    assert!(asked.iter().any(|name| name == "none.test"));
    assert!(
        !asked.iter().any(|name| name.contains("secret")),
        "{asked:?}"
    );
}

#[test]
fn tls_is_for_the_name_and_by_whom_is_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::start_tls(&["origin.test", "127.0.0.1"]);
    let names = Names::start(&[("origin.test", "127.0.0.1"), ("other.test", "127.0.0.1")]);
    let rules = ["https://*:*", "127.0.0.1"];
    let trusting = TestHost::builder()
        .tenant(allowed(&rules))
        .line("egress", &names.line())
        .line("egress", &format!("ca_file = {:?}", origin.ca_file(&dir)))
        .start();
    let url = |host: &str, path: &str| format!("https://{host}:{}{path}", origin.port());
    let hello = fetch(&trusting, &url("origin.test", "/hello"), "");
    assert_eq!(hello, "status 200\nbytes 5\nhello");
    // Kept alive, longer than one record, both ways.
    let big = fetch(&trusting, &url("origin.test", "/big"), "");
    assert!(
        big.starts_with("status 200\nbytes 1048576\n"),
        "{:.60}",
        big
    );
    let echoed = fetch(&trusting, &url("origin.test", "/echo"), "&send=300000");
    assert!(
        echoed.starts_with("status 200\nbytes 300000\n"),
        "{:.60}",
        echoed
    );
    assert_eq!(origin.connections(), 1);
    // The end of the connection is the end of the body only where TLS says so.
    let cut = fetch(&trusting, &url("origin.test", "/close"), "");
    assert!(cut.starts_with("status 200\nbytes 5 cut short\n"), "{cut}");
    let told = fetch(&trusting, &url("other.test", "/hello"), "");
    assert_eq!(told, "error tls-certificate-error\n");
    let by_address = fetch(&trusting, &url("127.0.0.1", "/hello"), "");
    assert_eq!(by_address, "status 200\nbytes 5\nhello");
    drop(trusting);
    // The system's certificates do not vouch for it.
    let host = TestHost::builder()
        .tenant(allowed(&rules))
        .line("egress", &names.line())
        .start();
    let told = fetch(&host, &url("origin.test", "/hello"), "");
    assert_eq!(told, "error tls-certificate-error\n");
    // Nor is it an answer when the other side does not speak TLS.
    let plain = Origin::start();
    let told = fetch(
        &host,
        &format!("https://127.0.0.1:{}/garbage", plain.port()),
        "&connect_ms=500",
    );
    assert!(told.starts_with("error "), "{told}");
}

#[test]
fn every_failure_has_its_error_and_harms_nobody() {
    let origin = Origin::start();
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let hanging_up = TcpListener::bind("127.0.0.1:0").unwrap();
    let hangs_up = hanging_up.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in hanging_up.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4_096]);
        }
    });
    let host = local().tenant(Tenant::new("victim", "hello")).start();
    let path = |path: &str| format!("{}{path}", origin.url());
    for (url, more, told) in [
        (format!("http://{gone}/"), "", "error connection-refused\n"),
        (path("/drop"), "", "error connection-terminated\n"),
        // It hangs up in the middle of the handshake.
        (
            format!("https://{hangs_up}/"),
            "",
            "error connection-terminated\n",
        ),
        (path("/garbage"), "", "error http-protocol-error\n"),
        (path("/two-lengths"), "", "error http-protocol-error\n"),
        (
            path("/never"),
            "&first_byte_ms=50",
            "error connection-read-timeout\n",
        ),
        (path("/cut"), "", "status 200\nbytes 5 cut short\nhello"),
        (
            path("/stalls"),
            "&between_bytes_ms=50",
            "status 200\nbytes 5 cut short\nhello",
        ),
        (
            "http://127.0.0.1:0/".to_owned(),
            "",
            "error http-request-uri-invalid\n",
        ),
        (
            "ftp://127.0.0.1/".to_owned(),
            "",
            "error http-protocol-error\n",
        ),
        (path("/hello"), "", "status 200\nbytes 5\nhello"),
    ] {
        assert_eq!(fetch(&host, &url, more), told, "{url}");
        host.get("victim.test", "/").expect(200);
    }
}

#[test]
fn limits_hold_per_request_and_per_tenant() {
    let origin = Origin::start();
    let limited = |key: &str, value: u64| {
        let tenant = allowed(&["127.0.0.0/8"]).limit(key, value);
        TestHost::builder().tenant(tenant).start()
    };
    let hello = format!("{}/hello", origin.url());
    const HELLO: &str = "status 200\nbytes 5\nhello";

    let host = limited("subrequests", 3);
    assert_eq!(fetch(&host, &hello, "&n=3"), HELLO);
    assert_eq!(
        fetch(&host, &hello, "&n=4"),
        "error connection-limit-reached\n"
    );
    assert_eq!(
        fetch(&host, &hello, "&n=3"),
        HELLO,
        "each request has its own"
    );

    let host = limited("subrequest_concurrency", 3);
    assert_eq!(fetch(&host, &hello, "&at_once=3"), "all 3\n");
    assert_eq!(
        fetch(&host, &hello, "&at_once=4"),
        "error connection-limit-reached\n"
    );

    let host = limited("subrequest_bytes", 1 << 20);
    let big = |path: &str, more: &str| fetch(&host, &format!("{}{path}", origin.url()), more);
    assert!(big("/big", "").starts_with("status 200\nbytes 1048576\n"));
    assert_eq!(big("/big", "&send=1"), "error http-response-body-size\n");
    assert!(big("/big-chunked", "&send=1").contains("cut short"));
    assert_eq!(
        big("/echo", "&send=1048577"),
        "error http-request-body-size\n"
    );
    assert!(big("/echo", "&send=524288").starts_with("status 200\nbytes 524288\n"));

    let host = limited("subrequest_first_byte_ms", 50);
    let never = format!("{}/never", origin.url());
    assert_eq!(fetch(&host, &never, ""), "error connection-read-timeout\n");
    // No longer than that, whatever the guest asks for.
    let told = fetch(&host, &never, "&first_byte_ms=60000");
    assert_eq!(told, "error connection-read-timeout\n");
}

#[test]
fn waiting_costs_no_cpu_time() {
    let origin = Origin::start();
    let tenant = allowed(&["127.0.0.0/8"]).limit("cpu_ms", 20);
    let host = TestHost::builder().tenant(tenant).start();
    let started = Instant::now();
    let told = fetch(
        &host,
        &format!("{}/never", origin.url()),
        "&first_byte_ms=300",
    );
    assert_eq!(told, "error connection-read-timeout\n");
    assert!(started.elapsed().as_millis() >= 300);
    let line = host.wait_for_log(|line| {
        let path = line["path"].as_str().unwrap_or_default();
        line["kind"] == "access" && path.contains("/never")
    });
    assert!(line["cpu_us"].as_u64() < Some(20_000), "{line}");
}

#[test]
fn a_guest_of_wasi_0_3_fetches() {
    let origin = Origin::start();
    let host = TestHost::builder()
        .tenant(Tenant::new("b", "service3").line("egress.allow = [\"127.0.0.0/8\"]"))
        .tenant(Tenant::new("c", "service3"))
        .start();
    for (path, told) in [
        ("/hello", "status 200\nhello"),
        ("/chunked", "status 200\nhello"),
    ] {
        let answer = host.get("b.test", &format!("/fetch?url={}{path}", origin.url()));
        assert_eq!(answer.expect(200).text(), told, "{path}");
    }
    let denied = host.get("c.test", &format!("/fetch?url={}/hello", origin.url()));
    assert_eq!(
        denied.expect(200).text(),
        "error ErrorCode::HttpRequestDenied\n"
    );
}

#[test]
fn the_egress_process_may_die() {
    let origin = Origin::start();
    let host = local().start();
    let url = format!("{}/count", origin.url());
    assert_eq!(fetch(&host, &url, ""), "status 200\nbytes 1\n1");
    let pid = host.egress_pid().expect("an egress process");
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
    host.wait_for_stderr(|line| line.contains("egress pid") && line.contains("died"));
    // What was connected stays so.
    assert_eq!(fetch(&host, &url, ""), "status 200\nbytes 1\n2");
    let deadline = Instant::now() + PATIENCE;
    let other = Origin::start();
    let hello = format!("{}/hello", other.url());
    while fetch(&host, &hello, "") != "status 200\nbytes 5\nhello" {
        assert!(Instant::now() < deadline, "nobody connects any more");
    }
    assert_ne!(host.egress_pid(), Some(pid));
}

#[test]
fn a_reload_changes_where_guests_connect_to() {
    let origin = Origin::start();
    let host = TestHost::builder()
        .tenant(Tenant::new("a", "kitchen"))
        .start();
    let url = format!("{}/hello", origin.url());
    assert_eq!(fetch(&host, &url, ""), "error http-request-denied\n");
    assert!(host.reload(&local()).contains("1 changed"));
    assert_eq!(fetch(&host, &url, ""), "status 200\nbytes 5\nhello");
    // A connection that was kept does not outlive its permission.
    let narrower = TestHost::builder().tenant(allowed(&["10.0.0.0/8"]));
    assert!(host.reload(&narrower).contains("1 changed"));
    assert_eq!(fetch(&host, &url, ""), "error http-request-denied\n");
}
