//! Requests to others: by every interface, and on the way there.

use super::*;

#[test]
fn wasi_http() {
    let origin = Origin::start();
    let allowed = |name: &str, guest: &str| {
        Tenant::new(name, guest)
            .line("egress.allow = ['127.0.0.0/8']")
            .limit("subrequests", 2)
            .limit("subrequest_first_byte_ms", 200)
    };
    let host = TestHost::builder()
        .tenant(allowed("two", "kitchen"))
        .tenant(allowed("three", "service3"))
        .tenant(allowed("spent", "service3").limit("subrequests", 0))
        .tenant(Tenant::new("none2", "kitchen"))
        .tenant(Tenant::new("none3", "service3"))
        .tenant(allowed("other", "kitchen"))
        .start();
    let to = |path: &str| format!("/fetch?url={}{path}", origin.url());
    let (hello, echo) = (to("/hello"), to("/echo") + "&send=3");
    let hello2 = "status 200\nbytes 5\nhello";
    let stage = Stage {
        host: &host,
        kept: &[
            ("two", &hello, hello2),
            ("two", &echo, "status 200\nbytes 3\n\0\u{1}\u{2}"),
            ("three", &hello, "status 200\nhello"),
        ],
        others: &[("other", &hello, hello2)],
    };
    let gone = format!("/fetch?url=http://{}/", nobody());
    stage.check(&[
        (
            "not granted",
            ("none2", &hello, "error http-request-denied"),
        ),
        (
            "not granted",
            ("none3", &hello, "error ErrorCode::HttpRequestDenied"),
        ),
        (
            "quota",
            (
                "two",
                &(hello.clone() + "&n=3"),
                "error connection-limit-reached",
            ),
        ),
        (
            "quota",
            ("spent", &hello, "error ErrorCode::ConnectionLimitReached"),
        ),
        (
            "slow",
            ("two", &to("/never"), "error connection-read-timeout"),
        ),
        (
            "slow",
            (
                "three",
                &to("/never"),
                "error ErrorCode::ConnectionReadTimeout",
            ),
        ),
        ("gone", ("two", &gone, "error connection-refused")),
        (
            "gone",
            ("three", &gone, "error ErrorCode::ConnectionRefused"),
        ),
        ("gone", ("two", &to("/drop"), "error connection-terminated")),
        (
            "gone",
            (
                "three",
                &to("/drop"),
                "error ErrorCode::ConnectionTerminated",
            ),
        ),
        (
            "malformed",
            ("two", &to("/garbage"), "error http-protocol-error"),
        ),
        (
            "malformed",
            (
                "three",
                &to("/garbage"),
                "error ErrorCode::HttpProtocolError",
            ),
        ),
    ]);
}

/// Name servers and the process that connects are between a program and whom it asks.
#[test]
fn the_way_there() {
    let origin = Origin::start();
    let names = UdpSocket::bind("127.0.0.1:0").unwrap();
    let line = format!("resolvers = [\"{}\"]", names.local_addr().unwrap());
    let allowed = |name: &str| {
        Tenant::new(name, "kitchen")
            .line("egress.allow = ['127.0.0.0/8', '*:*']")
            .limit("subrequest_connect_ms", 300)
    };
    let host = TestHost::builder()
        .line("egress", &line)
        .tenant(allowed("a"))
        .tenant(allowed("other"))
        .start();
    let to = |scheme: &str, authority: &str| format!("/fetch?url={scheme}://{authority}/hello");
    let known = to("http", &format!("127.0.0.1:{}", origin.port()));
    let fine = "status 200\nbytes 5\nhello";
    let stage = Stage {
        host: &host,
        kept: &[("a", &known, fine)],
        others: &[("other", &known, fine)],
    };
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = to("https", &silent.local_addr().unwrap().to_string());
    let senseless = to("https", &saying(b"no TLS at all\r\n\r\n"));
    let named = to("http", "name.test:8080");
    stage.check(&[
        ("slow", ("a", &silent, "error connection-timeout")),
        ("malformed", ("a", &senseless, "error tls-protocol-error")),
        ("slow", ("a", &named, "error dns-timeout")),
    ]);
    // What is no answer is not taken for one.
    let address = names.local_addr().unwrap();
    let babbles = thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, client)) = names.recv_from(&mut query)
            && query[..length] != *b"stop"
        {
            let _ = names.send_to(b"no answer", client);
        }
    });
    stage.check(&[("malformed", ("a", &named, "error dns-timeout"))]);
    let stop = UdpSocket::bind("127.0.0.1:0").unwrap();
    stop.send_to(b"stop", address).unwrap();
    babbles.join().unwrap();
    stage.check(&[("gone", ("a", &named, "error dns-timeout"))]);
    // Connections that there are need nobody who connects.
    let fresh = Origin::start();
    let fresh = to("http", &format!("127.0.0.1:{}", fresh.port()));
    let stopped = Stopped::now(host.egress_pid());
    let late = ("a", &*fresh, "error connection-timeout");
    stage.check_while("slow", &[late], || {});
    let gone = ("a", &*fresh, "error destination-unavailable");
    stage.check_while("gone", &[gone], || stopped.kill());
    stage.is_well("gone");
    stage.until("gone", ("a", &fresh, fine));
}

/// What FastEdge's SDK says of an error of `http-client`.
fn http_error(code: u8, name: &str) -> String {
    format!("error BindgenHttpError(Error {{ code: {code}, name: \"{name}\", message: \"\" }})")
}

#[test]
fn http_client() {
    let origin = Origin::start();
    let allowed = |name: &str| {
        Tenant::new(name, "fastedge")
            .line("egress.allow = ['127.0.0.0/8']")
            .limit("cpu_ms", 500)
            .limit("subrequest_first_byte_ms", 200)
    };
    let host = TestHost::builder()
        .tenant(allowed("a"))
        .tenant(allowed("spent").limit("subrequests", 0))
        .tenant(Tenant::new("none", "fastedge").limit("cpu_ms", 500))
        .tenant(allowed("other"))
        .start();
    let to = |path: &str| format!("/fetch?url={}{path}", origin.url());
    let hello = to("/hello");
    let fine = "status 200\nheaders 1\nbody 5\nhello";
    let stage = Stage {
        host: &host,
        kept: &[("a", &hello, fine)],
        others: &[("other", &hello, fine)],
    };
    let gone = format!("/fetch?url=http://{}/", nobody());
    let (denied, failed) = (
        http_error(1, "destination-not-allowed"),
        http_error(3, "request-error"),
    );
    let spent = http_error(5, "too-many-requests");
    stage.check(&[
        ("not granted", ("none", &hello, &denied)),
        ("quota", ("spent", &hello, &spent)),
        ("slow", ("a", &to("/never"), &failed)),
        ("gone", ("a", &gone, &failed)),
        ("gone", ("a", &to("/drop"), &failed)),
        ("malformed", ("a", &to("/garbage"), &failed)),
    ]);
}

#[test]
fn proxy_http_call() {
    let origin = Origin::start();
    let filter = format!(
        "origin.filter = [{{ component = {:?} }}]",
        guest("filter-call")
    );
    let behind = |name: &str| {
        Tenant::passed_on(name, &[&origin.url()])
            .line(&filter)
            .limit("cpu_ms", 500)
            .limit("subrequest_first_byte_ms", 200)
    };
    let allowed = |name: &str| behind(name).line("egress.allow = ['127.0.0.0/8']");
    let host = TestHost::builder()
        .tenant(allowed("a"))
        .tenant(allowed("spent").limit("subrequests", 0))
        .tenant(behind("none"))
        .tenant(allowed("other"))
        .start();
    let good = Origin::of_files(&[("/answer", "text/plain", b"yes")]);
    // Nobody takes what waits in its queue.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let asking = |authority: String| format!("/head x-ask: {authority}");
    let fine = asking(format!("127.0.0.1:{}", good.port()));
    let stage = Stage {
        host: &host,
        kept: &[
            ("a", &fine, "x-answer: 200 yes"),
            ("a", "/hello", "hello"),
            ("spent", "/hello", "hello"),
        ],
        others: &[("other", &fine, "x-answer: 200 yes")],
    };
    let (slow, gone) = (
        asking(silent.local_addr().unwrap().to_string()),
        asking(nobody()),
    );
    let (hangs_up, senseless) = (
        asking(saying(b"")),
        asking(saying(b"no HTTP at all\r\n\r\n")),
    );
    stage.check(&[
        ("not granted", ("none", &fine, "no call: InternalFailure")),
        ("quota", ("spent", &fine, "no call: InternalFailure")),
        ("slow", ("a", &slow, "x-answer: none")),
        ("gone", ("a", &gone, "x-answer: none")),
        ("gone", ("a", &hangs_up, "x-answer: none")),
        ("malformed", ("a", &senseless, "x-answer: none")),
    ]);
}
