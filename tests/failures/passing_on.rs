//! Requests that are passed on: origins, and the filters on the way.

use super::*;

#[test]
fn origins() {
    let origin = Origin::start();
    let passing = |name: &str, servers: &[&str]| {
        Tenant::passed_on(name, servers).limit("subrequest_first_byte_ms", 300)
    };
    let gone = format!("http://{}", nobody());
    let senseless = format!("https://{}", saying(b"no TLS at all\r\n\r\n"));
    let host = TestHost::builder()
        .tenant(passing("a", &[&origin.url()]))
        .tenant(passing("gone", &[&gone]))
        .tenant(passing("senseless", &[&senseless]))
        .tenant(
            passing("one", &[&origin.url()])
                .limit("concurrency", 1)
                .limit("queue", 0),
        )
        .tenant(passing("other", &[&origin.url()]))
        .start();
    let stage = Stage {
        host: &host,
        kept: &[
            ("a", "/hello", "hello"),
            ("a", "/chunked", "hello"),
            ("one", "/hello", "hello"),
        ],
        others: &[("other", "/hello", "hello")],
    };
    stage.check(&[
        ("slow", ("a", "/never", "504 origin_timeout")),
        ("gone", ("gone", "/hello", "502 origin_unreachable")),
        ("gone", ("a", "/drop", "502 origin_failed")),
        ("malformed", ("a", "/garbage", "502 origin_failed")),
        (
            "malformed",
            ("senseless", "/hello", "502 origin_unreachable"),
        ),
        ("malformed", ("a", "/two-lengths", "502 origin_failed")),
    ]);
    let slow = sent(&host, "one", "/never");
    stage.until("quota", ("one", "/hello", "503 tenant_busy"));
    stage.others_are_answered("quota");
    let mut slow = slow;
    assert_eq!(told(&slow.read_response()), "504 origin_timeout");
    stage.is_well("quota");
}

/// What the host keeps, as filters have it.
#[test]
fn filters() {
    let origin = Origin::start();
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "not sealed").unwrap();
    let filter = format!("origin.filter = [{{ component = {:?} }}]", guest("filter"));
    let behind = |name: &str| {
        Tenant::passed_on(name, &[&origin.url()])
            .line(&filter)
            .limit("cpu_ms", 100)
            .limit("wall_ms", 2_000)
    };
    let given = |name: &str| {
        behind(name)
            .line("kv = [{ name = 'shop' }]")
            .line(&sealed(dir.path(), name, &[("key", "s3cret")]))
            .env("NAME", "shop")
    };
    let host = TestHost::builder()
        .tenant(given("a"))
        .tenant(given("often").limit("data_operations_per_s", 1))
        .tenant(behind("none").limit("cache_bytes", 0))
        .tenant(
            behind("broken")
                .line("kv = [{ name = 'shop' }]")
                .line(&format!("secret = [{{ name = 'key', file = {plain:?} }}]"))
                .env("NAME", "shop"),
        )
        .tenant(given("other"))
        .tenant(Tenant::new("hello", "hello"))
        .line(
            "data",
            &format!("secret_key = {:?}", dir.path().join("key")),
        )
        .start();
    let path = "/services";
    let fine = "Ok(Some(\"s3cret\")) Ok(None)\nSome(\"shop\")\nOk(None) Ok(0)\nSome(AccessDenied)\n\
                Ok(()) Ok(5) Ok(Some(\"5\"))";
    let stage = Stage {
        host: &host,
        kept: &[("a", path, fine), ("a", "/hello", "hello")],
        others: &[("other", path, fine), HELLO],
    };
    let none = "Err(2) Err(2)\nNone\naccess denied\nSome(AccessDenied)\n\
                Err(AccessDenied) Err(AccessDenied) Err(AccessDenied)";
    let failed = "Some(\"shop\")\nErr(Other(\"unexpected status: 10\")) \
                  Err(Other(\"unexpected status: 10\"))\nSome(AccessDenied)\n\
                  Err(InternalError) Err(InternalError) Err(InternalError)";
    let gone = format!("Err(10) Err(10)\n{failed}");
    let elsewhere = format!("/elsewhere?{}/hello", Origin::start().url());
    let unreadable = fine.replace("Ok(Some(\"s3cret\"))", "Err(10)");
    stage.check(&[
        ("not granted", ("none", path, none)),
        ("not granted", ("a", &elsewhere, "502 bad_response")),
        ("quota", ("a", "/spin", "504 cpu_exhausted")),
        ("malformed", ("broken", path, &unreadable)),
    ]);
    // It is told of one secret, and of nothing else in this second.
    let rate = format!("Ok(Some(\"s3cret\")) Err(10)\n{failed}");
    stage.check_rate(("often", path, &rate), ("often", "/hello", "hello"));
    let stage = Stage {
        others: &[HELLO],
        ..stage
    };
    // Each call may take 3 s, the request has 2 s.
    check_data_process(&stage, &[("a", path)], "504 wall_exhausted", &gone);
}
