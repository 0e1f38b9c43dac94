//! What the host keeps for tenants: stores on this host and on Redis, caches, secrets, configuration.

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is the report"
)]

mod common;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::{PATIENCE, Redis, Tenant, TestHost};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A tenant with the guest that writes.
fn writer(name: &str, stores: &str) -> Tenant {
    Tenant::new(name, "keyvalue")
        .limit("cpu_ms", 1_000)
        .line(&format!("kv = [{stores}]"))
}

const OWN: &str = "{ name = 'default' }";

#[track_caller]
fn ask(host: &TestHost, tenant: &str, path: &str) -> String {
    let answer = host.get(&format!("{tenant}.test"), path).expect(200).text();
    answer.trim_end_matches('\n').to_owned()
}

/// Every function of `wasi:keyvalue`, whoever keeps the store.
#[test]
fn stores_answer_alike_on_both_backends() {
    let redis = Redis::start();
    for store in [
        OWN.to_owned(),
        format!("{{ name = 'default', redis = '{}' }}", redis.url()),
    ] {
        let host = TestHost::builder().tenant(writer("a", &store)).start();
        for (path, told) in [
            ("/get?key=a", "none"),
            ("/set?key=a&value=1", "ok"),
            ("/get?key=a", "some 1"),
            ("/increment?key=a&delta=41", "42"),
            ("/increment?key=new&delta=-3", "-3"),
            ("/cas?key=a&value=7", "swapped"),
            ("/cas?key=a&value=8&meanwhile=other", "failed: some other"),
            (
                "/increment?key=a&delta=1",
                "error Error::Other(\"the value is not an integer of 64 bits, or would be none afterwards\")",
            ),
            ("/set-many?key=x&value=1&key=y&value=2", "ok"),
            ("/get-many?key=x&key=z&key=y", "x some 1\nz none\ny some 2"),
            ("/exists?key=x", "true"),
            ("/delete-many?key=x&key=z", "ok"),
            ("/exists?key=x", "false"),
            ("/list", "count 3\na\nnew\ny"),
            ("/delete?key=a", "ok"),
            ("/delete?key=a", "ok"),
            ("/get?key=a", "none"),
        ] {
            let answer = ask(&host, "a", path);
            let mut lines: Vec<_> = answer.lines().collect();
            if path == "/list" {
                lines[1..].sort_unstable(); // in an order that the backend keeps
            }
            assert_eq!(lines.join("\n"), told, "{path} of {store}");
        }
        ask(&host, "a", "/fill?from=0&to=1500");
        let first = ask(&host, "a", "/list");
        let cursor = first
            .lines()
            .last()
            .unwrap()
            .strip_prefix("cursor ")
            .expect("more keys");
        let mut keys: Vec<_> = first
            .lines()
            .filter(|it| it.starts_with("key-"))
            .map(str::to_owned)
            .collect();
        let mut cursor = Some(cursor.to_owned());
        while let Some(at) = cursor {
            let next = ask(&host, "a", &format!("/list?cursor={at}"));
            keys.extend(
                next.lines()
                    .filter(|it| it.starts_with("key-"))
                    .map(str::to_owned),
            );
            cursor = next
                .lines()
                .last()
                .and_then(|it| it.strip_prefix("cursor "))
                .map(str::to_owned);
        }
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 1_500, "{store}");
    }
}

/// Sorted sets and Bloom filters are filled by an operator; FastEdge's programs read them.
#[test]
fn fastedges_stores_are_read_from_redis() {
    let redis = Redis::start();
    let store = format!(
        "kv = [{{ name = 'S', redis = '{}', raw_keys = true, prefix = 'p:' }}]",
        redis.url()
    );
    for command in [
        &["SET", "p:one", "1"][..],
        &["SET", "p:other", "2"],
        &["SET", "elsewhere", "3"],
        &["ZADD", "p:z", "1", "x", "2.5", "y", "-inf", "low"],
    ] {
        redis.say(command);
    }
    for guest in ["fastedge", "fastedge-wasi", "fastedge-js"] {
        let tenant = Tenant::new("a", guest).limit("cpu_ms", 2_000).line(&store);
        let host = TestHost::builder().tenant(tenant).start();
        let kv = |query: &str| ask(&host, "a", &format!("/kv?store=S&{query}"));
        assert_eq!(kv("op=get&key=one"), "some 1", "{guest}");
        assert_eq!(kv("op=get&key=none"), "none");
        assert_eq!(kv("op=scan&pattern=o*"), "count 2\none\nother");
        assert_eq!(kv("op=zrange&key=z&min=1&max=3"), "count 2\nx 1\ny 2.5");
        assert_eq!(
            kv("op=zscan&key=z&pattern=*"),
            match guest {
                "fastedge-js" => "count 3\nlow -Infinity\nx 1\ny 2.5",
                _ => "count 3\nlow -inf\nx 1\ny 2.5",
            }
        );
        assert_eq!(kv("op=bf&key=none&item=x"), "false");
    }
}

/// An operator fills the stores of this host; FastEdge's programs, which only read, find it there.
#[test]
fn an_operator_fills_a_store_of_this_host() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("admin.sock");
    let store = "kv = [{ name = 'S', access = 'read' }]";
    let tenant = |name: &str| {
        let tenant = Tenant::new(name, "fastedge").limit("cpu_ms", 2_000);
        tenant.line(store)
    };
    let host = TestHost::builder()
        .line("admin", &format!("socket = {socket:?}"))
        .tenant(tenant("a"))
        .tenant(tenant("b"))
        .start();
    let skep = |args: &[&str]| {
        let mut skep = Command::new(env!("CARGO_BIN_EXE_skep"));
        let config = host.dir().join("skep.toml");
        let skep = skep.arg("kv").args(args).arg("--config").arg(config);
        let mut child = skep
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = "\n{\"key\": \"one\", \"value\": \"1\"}\n{\"key\": \"other\", \"value\": \"2\"}\n\
            {\"key\": \"z\", \"members\": [[1, \"x\"], [2.5, \"y\"]]}\n\
            {\"key\": \"b\", \"items\": [\"x\", \"y\"]}\n{\"key\": \"last\", \"value\": \"\"}\n";
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), lines.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.success(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let done = |args: &[&str]| {
        let (is_good, out, error) = skep(args);
        assert!(is_good, "{args:?}: {error}");
        out
    };
    assert_eq!(done(&["a", "S", "import", "-"]), "imported 5 lines\n");
    done(&["a", "S", "zadd", "z", "-inf", "low"]);
    done(&["a", "S", "set", "text", "a value"]);
    done(&["a", "S", "bf-add", "b", "z"]);
    done(&["a", "S", "delete", "last", "none"]);
    assert_eq!(done(&["a", "S", "get", "text"]), "a value");
    assert_eq!(done(&["a", "S", "list", "[ot]*"]), "one\nother\ntext\n");
    assert_eq!(done(&["a", "S", "list"]), "b\none\nother\ntext\nz\n");
    assert_eq!(
        done(&["a", "S", "zrange", "z", "-inf", "1"]),
        "-inf\tlow\n1\tx\n"
    );
    assert_eq!(done(&["a", "S", "bf-exists", "b", "y"]), "true\n");

    let kv = |query: &str| ask(&host, "a", &format!("/kv?store=S&{query}"));
    assert_eq!(kv("op=get&key=one"), "some 1");
    assert_eq!(kv("op=scan&pattern=o*"), "count 2\none\nother");
    assert_eq!(kv("op=zrange&key=z&min=1&max=3"), "count 2\nx 1\ny 2.5");
    assert_eq!(
        kv("op=zscan&key=z&pattern=*"),
        "count 3\nlow -inf\nx 1\ny 2.5"
    );
    assert_eq!(kv("op=bf&key=b&item=z"), "true");
    assert_eq!(kv("op=bf&key=b&item=none"), "false");
    assert_eq!(ask(&host, "b", "/kv?store=S&op=get&key=one"), "none");

    for (args, wrong) in [
        (&["none", "S", "list"][..], "no tenant none is served"),
        (&["a", "T", "list"], "tenant a has no store T"),
        (&["a", "S", "get", "none"], "no key none in store S"),
        (
            &["a", "S", "get", "z"],
            "the key holds something of another kind",
        ),
        (
            &["a", "S", "zadd", "one", "1", "x"],
            "the key holds something of another kind",
        ),
        (
            &["a", "S", "import", "/none"],
            "/none: No such file or directory (os error 2)",
        ),
    ] {
        let (is_good, _, error) = skep(args);
        assert!(!is_good && error.contains(wrong), "{args:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let file = dir.path().join("wrong.jsonl");
    std::fs::write(
        &file,
        "{\"key\": \"good\", \"value\": \"1\"}\n{\"key\": \"bad\"}\n",
    )
    .unwrap();
    let (is_good, _, error) = skep(&["a", "S", "import", file.to_str().unwrap()]);
    assert!(!is_good && error.contains("wrong.jsonl:2: "), "{error}");
}

#[test]
fn a_tenant_has_what_it_was_given() {
    let shared = "{ name = 'flags', shared = 'flags' }";
    let reads = "{ name = 'flags', shared = 'flags', access = 'read' }";
    let host = TestHost::builder()
        .tenant(writer("a", &format!("{OWN}, {shared}")))
        .tenant(writer("b", &format!("{OWN}, {reads}")))
        .tenant(writer("none", ""))
        .start();
    ask(&host, "a", "/set?key=k&value=of-a");
    ask(&host, "b", "/set?key=k&value=of-b");
    assert_eq!(ask(&host, "a", "/get?key=k"), "some of-a");
    assert_eq!(ask(&host, "b", "/get?key=k"), "some of-b");
    ask(&host, "a", "/set?key=k&value=on&store=flags");
    assert_eq!(ask(&host, "b", "/get?key=k&store=flags"), "some on");
    assert_eq!(
        ask(&host, "b", "/set?key=k&value=off&store=flags"),
        "error Error::AccessDenied"
    );
    assert_eq!(ask(&host, "a", "/get?key=k&store=flags"), "some on");
    for (tenant, store) in [
        ("none", "default"),
        ("a", "other"),
        ("none", "flags"),
        ("a", ""),
    ] {
        let told = ask(&host, tenant, &format!("/get?key=k&store={store}"));
        assert_eq!(told, "open error Error::AccessDenied", "{tenant} {store}");
    }
}

#[test]
fn quotas_hold_to_the_key_and_the_byte() {
    let tenant = writer("a", OWN)
        .limit("kv_keys", 3)
        .limit("kv_bytes", 1_000)
        .limit("data_operations_per_s", 1_000);
    let host = TestHost::builder().tenant(tenant).start();
    for key in ["a", "b", "c"] {
        assert_eq!(ask(&host, "a", &format!("/set?key={key}&bytes=9")), "ok");
    }
    assert!(ask(&host, "a", "/set?key=d&bytes=9").contains("more keys than it may"));
    assert_eq!(ask(&host, "a", "/set?key=a&bytes=979"), "ok"); // 980 of a, 10 of each other
    assert!(ask(&host, "a", "/set?key=b&bytes=10").contains("more bytes than it may"));
    assert_eq!(ask(&host, "a", "/get?key=b"), "some xxxxxxxxx");
    assert_eq!(ask(&host, "a", "/delete?key=c"), "ok");
    assert_eq!(ask(&host, "a", "/set?key=b&bytes=19"), "ok");
    let long = "k".repeat(1_025);
    assert!(
        ask(&host, "a", &format!("/get?key={long}")).contains("a key has more than 1024 bytes")
    );
    assert!(
        ask(&host, "a", "/set?key=a&bytes=1048577").contains("a value has more than 1048576 bytes")
    );
    // More at once than there may be in a second.
    let fill = ask(&host, "a", "/fill?from=0&to=5000");
    assert!(
        fill.contains("than it may") || fill.contains("operations a second"),
        "{fill}"
    );
}

#[test]
fn operations_have_a_rate() {
    let tenant = writer("a", OWN).limit("data_operations_per_s", 5);
    let host = TestHost::builder().tenant(tenant).start();
    let fill = ask(&host, "a", "/fill?from=0&to=50");
    assert_eq!(
        fill,
        "error Error::Other(\"more than 5 operations a second\")"
    );
}

/// `kill -9` of the process that keeps data, under write load: what was acknowledged is there.
#[test]
fn no_acknowledged_write_is_lost() {
    let host = TestHost::builder().tenant(writer("a", OWN)).start();
    let mut acknowledged = 0_u32;
    for round in 0..5 {
        let pid = host.data_pid().expect("a data process");
        let written = AtomicU32::new(acknowledged);
        std::thread::scope(|scope| {
            let (host, written) = (&host, &written);
            let load = scope.spawn(move || {
                let mut client = host.connect();
                let mut set = |number| {
                    let path = format!("/set?key=n{number}&value={number}");
                    client.get("a.test", &path).text() == "ok\n"
                };
                // Until one fails: the process is gone.
                while set(written.load(Ordering::Relaxed)) {
                    written.fetch_add(1, Ordering::Relaxed);
                }
            });
            let mark = host.stderr_lines().len();
            // At another moment of a commit each time.
            while written.load(Ordering::Relaxed) < acknowledged + 5 {
                assert!(!load.is_finished(), "a write failed by itself");
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_micros(700 * round));
            kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
            load.join().unwrap();
            acknowledged = written.load(Ordering::Relaxed);
            host.wait_for_stderr_after(mark, |line| line.starts_with("skep: data pid "));
        });
        let started = Instant::now();
        while ask(&host, "a", "/exists?key=n0") != "true" {
            assert!(
                started.elapsed() < PATIENCE,
                "the data process does not come back"
            );
        }
        for number in 0..acknowledged {
            assert_eq!(
                ask(&host, "a", &format!("/get?key=n{number}")),
                format!("some {number}")
            );
        }
    }
}

#[test]
fn a_store_outlives_its_host() {
    let dir = tempfile::tempdir().unwrap();
    let line = format!("dir = {:?}", dir.path().join("data"));
    for round in 0..3 {
        let mut host = TestHost::builder()
            .line("data", &line)
            .tenant(writer("a", OWN))
            .start();
        assert_eq!(
            ask(&host, "a", "/increment?key=starts&delta=1"),
            format!("{}", round + 1)
        );
        host.stop();
    }
}

/// Slow, gone and senseless servers cost whoever asks a bounded time, and nobody else anything.
#[test]
fn a_broken_server_is_an_error_and_no_standstill() {
    let redis = Redis::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("redis://{}", silent.local_addr().unwrap());
    let host = TestHost::builder()
        .tenant(writer(
            "a",
            &format!("{{ name = 'default', redis = '{}' }}", redis.url()),
        ))
        .tenant(writer(
            "silent",
            &format!("{{ name = 'default', redis = '{silent_url}' }}"),
        ))
        .tenant(writer("own", OWN))
        .start();
    assert_eq!(ask(&host, "a", "/set?key=k&value=1"), "ok");
    let redis = redis.restart(|| {
        for _ in 0..20 {
            let started = Instant::now();
            let told = ask(&host, "a", "/get?key=k");
            assert!(told.starts_with("error Error::Other("), "{told}");
            assert!(
                started.elapsed() < Duration::from_secs(2),
                "{:?}",
                started.elapsed()
            );
            assert_eq!(ask(&host, "own", "/get?key=k"), "none");
        }
    });
    let started = Instant::now();
    while ask(&host, "a", "/get?key=k") != "none" {
        assert!(
            started.elapsed() < PATIENCE,
            "the server is back, and not asked"
        );
    }
    drop(redis);
    let started = Instant::now();
    let told = ask(&host, "silent", "/get?key=k");
    assert!(told.starts_with("error Error::Other("), "{told}");
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn caches_are_bounded_and_each_tenants_own() {
    let tenant = |name: &str| Tenant::new(name, "fastedge").limit("cpu_ms", 500);
    let host = TestHost::builder()
        .workers(2)
        .tenant(tenant("a").cores(2))
        .tenant(tenant("b"))
        .tenant(tenant("small").limit("cache_bytes", 2_000))
        .tenant(tenant("none").limit("cache_bytes", 0))
        .start();
    let cache = |tenant: &str, query: &str| ask(&host, tenant, &format!("/cache?op={query}"));
    assert_eq!(cache("a", "set&key=k&value=v"), "ok");
    // Another worker of the same tenant sees the same.
    for _ in 0..8 {
        assert_eq!(cache("a", "get&key=k"), "some v");
    }
    assert_eq!(cache("b", "get&key=k"), "none");
    assert_eq!(cache("a", "incr&key=n&delta=5"), "5");
    assert_eq!(cache("a", "incr&key=n&delta=-7"), "-2");
    assert!(cache("a", "incr&key=k&delta=1").starts_with("error Error::Other("));
    assert_eq!(cache("a", "set&key=short&value=v&ttl=1"), "ok");
    let started = Instant::now();
    while cache("a", "exists&key=short") == "true" {
        assert!(started.elapsed() < PATIENCE, "it does not expire");
    }
    assert_eq!(cache("a", "expire&key=k&ttl=100000"), "true");
    assert_eq!(cache("a", "expire&key=none&ttl=100000"), "false");
    assert_eq!(cache("a", "set&key=k2&value=v"), "ok");
    assert_eq!(cache("a", "purge-prefix&key=k"), "2");
    assert_eq!(cache("a", "delete&key=n"), "ok");
    assert_eq!(cache("a", "purge"), "0");
    for number in 0..20 {
        assert_eq!(cache("small", &format!("set&key=k{number}&value=v")), "ok");
    }
    let kept = (0..20).filter(|number| cache("small", &format!("get&key=k{number}")) == "some v");
    assert!((1..=6).contains(&kept.count()));
    let big = "v".repeat(2_000);
    assert!(cache("small", &format!("set&key=big&value={big}")).starts_with("error Error::Other("));
    assert_eq!(cache("none", "get&key=k"), "error Error::AccessDenied");
}

/// Seals a secret with the real command.
fn seal(key: &Path, tenant: &str, name: &str, value: &str) -> Vec<u8> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_skep"))
        .args([
            "secret", "seal", "--tenant", tenant, "--name", name, "--key",
        ])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), value.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

#[test]
fn secrets_are_sealed_have_slots_and_rotate() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let new_key = |name: &str| {
        let made = Command::new(env!("CARGO_BIN_EXE_skep"))
            .args(["secret", "new-key"])
            .arg(path(name))
            .status();
        assert!(made.unwrap().success());
    };
    new_key("key");
    new_key("other-key");
    let put = |file: &str, bytes: Vec<u8>| std::fs::write(path(file), bytes).unwrap();
    put("one", seal(&path("key"), "a", "ONE", "first value\n"));
    put("later", seal(&path("key"), "a", "ONE", "later value"));
    put(
        "stolen",
        seal(&path("key"), "b", "TWO", "of another tenant"),
    );
    put(
        "lost",
        seal(&path("other-key"), "a", "THREE", "of another key"),
    );
    put("plain", b"not sealed".to_vec());
    let secret = |name: &str, file: &str, more: &str| {
        format!("{{ name = '{name}', file = {:?}{more} }}", path(file))
    };
    let secrets = [
        secret("ONE", "one", ""),
        secret("ONE", "later", ", from = 2100-01-01T00:00:00Z"),
        secret("TWO", "stolen", ""),
        secret("THREE", "lost", ""),
        secret("FOUR", "plain", ""),
    ];
    let tenant = Tenant::new("a", "fastedge").line(&format!("secret = [{}]", secrets.join(", ")));
    let config = TestHost::builder()
        .line("data", &format!("secret_key = {:?}", path("key")))
        .tenant(tenant)
        .tenant(Tenant::new("b", "fastedge"));
    let host = config.clone().start();
    for (query, told) in [
        ("name=ONE", "some first value"),
        ("name=ONE&at=4102444799", "some first value"),
        ("name=ONE&at=4102444800", "some later value"),
        ("name=NONE", "none"),
        ("name=TWO", "error Error::DecryptError"),
        ("name=THREE", "error Error::DecryptError"),
        ("name=FOUR", "error Error::DecryptError"),
    ] {
        assert_eq!(
            ask(&host, "a", &format!("/secret?{query}")),
            told,
            "{query}"
        );
    }
    assert_eq!(
        ask(&host, "b", "/secret?name=ONE"),
        "error Error::AccessDenied"
    );
    let said = host.stderr_lines().join("\n");
    for line in [
        "secret TWO of tenant a: ",
        "secret THREE of tenant a: ",
        "secret FOUR of tenant a: the file is not sealed",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    // Rotated without a restart; the configuration is as it was.
    put("one", seal(&path("key"), "a", "ONE", "second value"));
    host.reload(&config);
    let started = Instant::now();
    while ask(&host, "a", "/secret?name=ONE") != "some second value" {
        assert!(started.elapsed() < PATIENCE, "the new value is not served");
    }
    // Nothing that anybody can look at has it.
    let mut pids = host.worker_pids();
    pids.extend(host.data_pid());
    for pid in pids.into_iter().chain([host.pid()]) {
        for file in ["cmdline", "environ"] {
            let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            assert!(
                !bytes.windows(12).any(|it| it == b"second value"),
                "{pid} {file}"
            );
        }
    }
    let logged = format!("{:?}{:?}", host.stdout_lines(), host.stderr_lines());
    assert!(!logged.contains("first value") && !logged.contains("second value"));
}

#[test]
fn configuration_is_what_the_file_says() {
    let tenant = Tenant::new("a", "keyvalue")
        .line("config = { B = '2', A = '1' }")
        .env("C", "3");
    let host = TestHost::builder().tenant(tenant).start();
    assert_eq!(ask(&host, "a", "/config"), "count 2\nA=1\nB=2");
    assert_eq!(ask(&host, "a", "/config?key=B"), "some 2");
    assert_eq!(ask(&host, "a", "/config?key=C"), "none");
}
