//! What the host keeps for tenants: stores, secrets, caches, configuration.

use super::*;

/// What is said of a host's data process that is stopped, and of one that has gone.
const LATE: &str = "error Error::Other(\"no answer within 3000 ms\")";
const GONE: &str = "error Error::Other(\"nobody keeps data at the moment\")";

#[test]
fn kv_here() {
    let flags = "{ name = 'default', shared = 'flags' }";
    let keeping = |name: &str, store: &str| {
        Tenant::new(name, "keyvalue")
            .limit("cpu_ms", 1_000)
            .line(&format!("kv = [{store}]"))
    };
    let host = TestHost::builder()
        .tenant(keeping("a", flags).limit("kv_keys", 2))
        .tenant(keeping("often", flags).limit("data_operations_per_s", 1))
        .tenant(keeping(
            "reader",
            "{ name = 'default', shared = 'flags', access = 'read' }",
        ))
        .tenant(
            Tenant::new("f", "fastedge")
                .limit("cpu_ms", 1_000)
                .line("kv = [{ name = 'S', shared = 'flags', access = 'read' }]"),
        )
        .tenant(
            Tenant::new("foften", "fastedge")
                .limit("cpu_ms", 1_000)
                .limit("data_operations_per_s", 1)
                .line("kv = [{ name = 'S', shared = 'flags', access = 'read' }]"),
        )
        .tenant(keeping("other", "{ name = 'default' }"))
        .tenant(Tenant::new("hello", "hello"))
        .start();
    assert_eq!(ask(&host, "a", "/set?key=k&value=1"), "ok");
    assert_eq!(ask(&host, "a", "/set?key=l&value=2"), "ok");
    assert_eq!(ask(&host, "other", "/set?key=k&value=own"), "ok");
    let kept = [
        ("a", "/get-many?key=k&key=l", "k some 1\nl some 2"),
        ("f", "/kv?store=S&op=get&key=k", "some 1"),
    ];
    let stage = Stage {
        host: &host,
        kept: &kept,
        others: &[("other", "/get?key=k", "some own"), HELLO],
    };
    let denied = "open error Error::AccessDenied";
    let full = "error Error::Other(\"the store would have more keys than it may\")";
    stage.check(&[
        ("not granted", ("a", "/get?key=k&store=no", denied)),
        (
            "not granted",
            ("reader", "/set?key=k&value=2", "error Error::AccessDenied"),
        ),
        ("not granted", ("f", "/kv?store=no&op=get&key=k", denied)),
        ("quota", ("a", "/set?key=m&value=3", full)),
        // A change is done as a whole or not at all.
        (
            "quota",
            ("a", "/set-many?key=k&value=9&key=m&value=3", full),
        ),
    ]);
    let rate = "error Error::Other(\"more than 1 operations a second\")";
    let (get, kv) = ("/get?key=k", "/kv?store=S&op=get&key=k");
    stage.check_rate(("often", get, rate), ("often", get, "some 1"));
    stage.check_rate(("foften", kv, rate), ("foften", kv, "some 1"));
    // Others that need no data.
    let stage = Stage {
        others: &[HELLO],
        ..stage
    };
    let asking = [("a", get), ("a", "/increment?key=n&delta=1"), ("f", kv)];
    check_data_process(&stage, &asking, LATE, GONE);
    assert_eq!(ask(&host, "other", get), "some own");
}

/// A file that is no store is said, left as it is, and keeps nobody else from what they have.
#[test]
fn no_kv_file() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let file = data.join("kv.redb");
    std::fs::write(&file, "no database at all").unwrap();
    let host = TestHost::builder()
        .line("data", &format!("dir = {data:?}"))
        .tenant(Tenant::new("a", "keyvalue").line("kv = [{ name = 'default' }]"))
        .tenant(
            Tenant::new("f", "fastedge")
                .limit("cpu_ms", 500)
                .line("kv = [{ name = 'S' }]"),
        )
        .tenant(Tenant::new("other", "fastedge").limit("cpu_ms", 500))
        .tenant(Tenant::new("hello", "hello"))
        .start();
    assert_eq!(ask(&host, "f", "/cache?op=set&key=k&value=v"), "ok");
    assert_eq!(ask(&host, "other", "/cache?op=set&key=k&value=own"), "ok");
    let get = "/cache?op=get&key=k";
    let stage = Stage {
        host: &host,
        kept: &[("f", get, "some v")],
        others: &[("other", get, "some own"), HELLO],
    };
    let none = "error Error::Other(\"the host cannot keep stores at the moment\")";
    stage.check(&[
        ("malformed", ("a", "/get?key=k", none)),
        ("malformed", ("a", "/set?key=k&value=1", none)),
        ("malformed", ("f", "/kv?store=S&op=get&key=k", none)),
    ]);
    let said = |line: &str| line.contains("kv.redb is damaged, or is none");
    host.wait_for_stderr(said);
    assert_eq!(std::fs::read(&file).unwrap(), b"no database at all");
}

/// Stands between a host and a Redis server, and does what its mode says with what comes from the host.
struct Between {
    url: String,
    mode: Arc<AtomicU8>,
}

const PASSES: u8 = 0;
const SILENT: u8 = 1;
const HANGS_UP: u8 = 2;
const SENSELESS: u8 = 3;

impl Between {
    fn start(redis: &Redis) -> Self {
        let server = redis.url().replace("redis://", "");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("redis://{}", listener.local_addr().expect("an address"));
        let mode = Arc::new(AtomicU8::new(PASSES));
        let known = Arc::clone(&mode);
        thread::spawn(move || {
            for host in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else {
                    return;
                };
                let (host_end, server_end) = (host.try_clone(), server.try_clone());
                let mode = Arc::clone(&known);
                thread::spawn(move || pass(host, server, &mode));
                thread::spawn(move || std::io::copy(&mut server_end?, &mut host_end?));
            }
        });
        Self { url, mode }
    }

    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }
}

fn pass(mut host: TcpStream, mut server: TcpStream, mode: &AtomicU8) {
    let mut piece = [0; 16 * 1024];
    while let Ok(length @ 1..) = host.read(&mut piece) {
        let passed = match mode.load(Ordering::SeqCst) {
            PASSES => server.write_all(&piece[..length]),
            SILENT => Ok(()),
            SENSELESS => host.write_all(b"!!\r\n"),
            _ => break,
        };
        if passed.is_err() {
            break;
        }
    }
    let _ = host.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

#[test]
fn kv_redis() {
    let redis = Redis::start();
    let between = Between::start(&redis);
    let on = |name: &str, url: &str| {
        format!("kv = [{{ name = '{name}', redis = '{url}', raw_keys = true, prefix = 'p:' }}]")
    };
    let keeping = |name: &str, guest: &str, store: &str| {
        Tenant::new(name, guest)
            .limit("cpu_ms", 1_000)
            .line(&on(store, &between.url))
    };
    let host = TestHost::builder()
        .tenant(keeping("a", "keyvalue", "default").limit("kv_bytes", 100))
        .tenant(keeping("f", "fastedge", "S"))
        .tenant(keeping("often", "keyvalue", "default").limit("data_operations_per_s", 1))
        .tenant(keeping("foften", "fastedge", "S").limit("data_operations_per_s", 1))
        .tenant(
            Tenant::new("other", "keyvalue")
                .limit("cpu_ms", 1_000)
                .line(&on("default", &redis.url())),
        )
        .tenant(
            Tenant::new("own", "keyvalue")
                .limit("cpu_ms", 1_000)
                .line("kv = [{ name = 'default' }]"),
        )
        .start();
    assert_eq!(ask(&host, "a", "/set?key=k&value=1"), "ok");
    assert_eq!(ask(&host, "own", "/set?key=k&value=own"), "ok");
    let (get, kv) = ("/get?key=k", "/kv?store=S&op=get&key=k");
    let stage = Stage {
        host: &host,
        kept: &[("a", get, "some 1"), ("f", kv, "some 1")],
        // One is on the same server, and reaches it.
        others: &[("other", get, "some 1"), ("own", get, "some own")],
    };
    let denied = "open error Error::AccessDenied";
    let large = "error Error::Other(\"the store would have more bytes than it may\")";
    stage.check(&[
        ("not granted", ("a", "/get?key=k&store=no", denied)),
        ("not granted", ("f", "/kv?store=no&op=get&key=k", denied)),
        ("quota", ("a", "/set?key=k&bytes=100", large)),
    ]);
    let rate = "error Error::Other(\"more than 1 operations a second\")";
    stage.check_rate(("often", get, rate), ("often", get, "some 1"));
    stage.check_rate(("foften", kv, rate), ("foften", kv, "some 1"));
    for (cell, mode, why) in [
        ("slow", SILENT, "redis did not answer within 250 ms"),
        ("gone", HANGS_UP, "the connection to redis broke"),
        (
            "malformed",
            SENSELESS,
            "the server's answer makes no sense: it does not speak RESP2",
        ),
    ] {
        for (tenant, path) in [("a", get), ("a", "/set?key=k&value=2"), ("f", kv)] {
            between.set(mode);
            let failing = format!("error Error::Other(\"{why}\")");
            stage.check_while(cell, &[(tenant, path, &failing)], || {});
            between.set(PASSES);
            stage.is_well_again(cell);
        }
    }
}

#[test]
fn secrets() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "not sealed").unwrap();
    let with = |name: &str| {
        let secrets = sealed(dir.path(), name, &[("KEY", "s3cret")]);
        let broken = format!(", {{ name = 'BROKEN', file = {plain:?} }}]");
        Tenant::new(name, "fastedge")
            .limit("cpu_ms", 500)
            .line(&secrets.replace(']', &broken))
    };
    let host = TestHost::builder()
        .tenant(with("a"))
        .tenant(with("often").limit("data_operations_per_s", 1))
        .tenant(with("other"))
        .tenant(Tenant::new("none", "fastedge").limit("cpu_ms", 500))
        .tenant(Tenant::new("hello", "hello"))
        .line(
            "data",
            &format!("secret_key = {:?}", dir.path().join("key")),
        )
        .start();
    let (now, then) = ("/secret?name=KEY", "/secret?name=KEY&at=1000000000");
    let stage = Stage {
        host: &host,
        kept: &[("a", now, "some s3cret"), ("a", then, "some s3cret")],
        others: &[("other", now, "some s3cret"), HELLO],
    };
    let (denied, unreadable) = ("error Error::AccessDenied", "error Error::DecryptError");
    stage.check(&[
        ("not granted", ("none", now, denied)),
        ("not granted", ("none", then, denied)),
        ("not granted", ("a", "/secret?name=OTHER", "none")),
        ("malformed", ("a", "/secret?name=BROKEN", unreadable)),
        (
            "malformed",
            ("a", "/secret?name=BROKEN&at=1000000000", unreadable),
        ),
    ]);
    let rate = "error Error::Other(\"more than 1 operations a second\")";
    for path in [now, then] {
        stage.check_rate(("often", path, rate), ("often", path, "some s3cret"));
    }
    let stage = Stage {
        others: &[HELLO],
        ..stage
    };
    check_data_process(&stage, &[("a", now), ("a", then)], LATE, GONE);
    assert_eq!(ask(&host, "other", now), "some s3cret");
}

#[test]
fn cache() {
    let with = |name: &str| Tenant::new(name, "fastedge").limit("cpu_ms", 500);
    let host = TestHost::builder()
        .tenant(with("a").limit("cache_bytes", 2_000))
        .tenant(with("often").limit("data_operations_per_s", 1))
        .tenant(with("none").limit("cache_bytes", 0))
        .tenant(with("other"))
        .tenant(Tenant::new("hello", "hello"))
        .start();
    let get = "/cache?op=get&key=k";
    let set = "/cache?op=set&key=k&value=v";
    assert_eq!(ask(&host, "a", set), "ok");
    assert_eq!(ask(&host, "other", set), "ok");
    let stage = Stage {
        host: &host,
        kept: &[("a", get, "some v")],
        others: &[("other", get, "some v"), HELLO],
    };
    let large = format!("{set}{}", "v".repeat(2_000));
    const LARGE: &str =
        "error Error::Other(\"the entry would have 2322 bytes, the whole cache has 2000\")";
    stage.check(&[
        ("not granted", ("none", get, "error Error::AccessDenied")),
        ("not granted", ("none", set, "error Error::AccessDenied")),
        ("quota", ("a", &large, LARGE)),
    ]);
    let rate = "error Error::Other(\"more than 1 operations a second\")";
    stage.check_rate(("often", set, rate), ("often", set, "ok"));
    // It may forget: what is promised is that it answers, and of the same tenant.
    let stage = Stage {
        kept: &[("a", set, "ok"), ("a", get, "some v")],
        others: &[HELLO],
        ..stage
    };
    check_data_process(&stage, &[("a", get), ("a", set)], LATE, GONE);
    assert_eq!(ask(&host, "other", get), "none");
}

/// It travels with the tenant: nobody else has to be there for it.
#[test]
fn config() {
    let with = |name: &str, guest: &str| {
        Tenant::new(name, guest)
            .limit("cpu_ms", 500)
            .line("config = { KEY = 'value' }")
    };
    let config = TestHost::builder()
        .tenant(with("a", "keyvalue"))
        .tenant(with("f", "fastedge"))
        .tenant(Tenant::new("none", "keyvalue"))
        .tenant(Tenant::new("fnone", "fastedge").limit("cpu_ms", 500))
        .tenant(Tenant::new("hello", "hello"));
    let host = config.clone().start();
    let (get, of_dictionary) = ("/config?key=KEY", "/dictionary?key=KEY");
    let stage = Stage {
        host: &host,
        kept: &[("a", get, "some value"), ("f", of_dictionary, "some value")],
        others: &[HELLO],
    };
    stage.check(&[
        ("not granted", ("none", get, "none")),
        ("not granted", ("none", "/config", "count 0")),
        ("not granted", ("fnone", of_dictionary, "none")),
    ]);
    let large = format!("config = {{ KEY = '{}' }}", "x".repeat(64 << 10));
    let refused = config.tenant(Tenant::new("large", "hello").line(&large));
    let line = host.reload(&refused);
    assert!(line.contains("reload: refused"), "{line}");
    let why = "have 65539 bytes; at most 256 values and 65536 bytes";
    host.wait_for_stderr(|line| line.ends_with(why));
    stage.is_well("quota");
    let _stopped = [host.data_pid(), host.egress_pid(), host.broker_pid()].map(Stopped::now);
    stage.is_well("nobody else is there");
}
