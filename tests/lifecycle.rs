//! How a host lives and ends: drains, deaths and restarts of its processes, and new configurations
//! while it serves.

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)] // in a test, a panic is the report

mod common;

use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Builder, Client, PATIENCE, Response, Tenant, TestHost, cores, guest, pin_thread};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A tenant that answers its environment's `NAME`.
fn named(name: &str, answer: &str) -> Tenant {
    Tenant::new(name, "tenantname").env("NAME", answer)
}

/// `a` and `k` on worker 0, `b` on worker 1; all on the only worker of a machine with one core.
fn builder() -> Builder {
    let workers = cores().len().min(2);
    TestHost::builder()
        .workers(workers)
        .tenant(named("a", "a").on_workers(&[0]))
        .tenant(named("b", "b").on_workers(&[workers - 1]))
        .tenant(
            Tenant::new("k", "kitchen")
                .on_workers(&[0])
                .limit("wall_ms", 120_000),
        )
}

/// Whether what needs two workers is to be skipped.
fn one_core_only() -> bool {
    let one = cores().len() < 2;
    if one {
        eprintln!("skipped: two workers need two cores");
    }
    one
}

#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "still not so: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether there is such a process, and it is not a zombie.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).expect("sending a signal");
}

/// The newest process of that name, as the host's lines say: `broker`, `worker 0`.
fn said_pid(host: &TestHost, who: &str) -> u32 {
    let lines = host.stderr_lines();
    let mut found = lines.iter().rev().filter_map(|line| {
        let rest = line.strip_prefix("skep: ")?.strip_prefix(who)?;
        let (core, pid) = rest.split_once(" pid ")?;
        (core.is_empty() || core.starts_with(" (core ")).then(|| pid.parse().ok())?
    });
    found
        .next()
        .unwrap_or_else(|| panic!("no pid of {who}: {lines:#?}"))
}

/// Waits for a line about `who` with this in it.
#[track_caller]
fn wait_for_line(host: &TestHost, who: &str, what: &str) -> String {
    host.wait_for_stderr(|line| line.contains(who) && line.contains(what))
}

/// A request that is certainly being served: its guest has asked for the body.
#[track_caller]
fn in_flight(host: &TestHost) -> Client {
    let mut client = host.connect();
    client.send(
        "POST /upload HTTP/1.1\r\nhost: k.test\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n",
    );
    assert_eq!(client.read_response().status, 100);
    client
}

/// Sends the rest of [`in_flight`]'s request, and reads the answer.
#[track_caller]
fn finish(client: &mut Client) -> Response {
    client.send("hello");
    let response = client.read_response().expect(200);
    assert!(response.text().starts_with("bytes 5\n"), "{response:?}");
    response
}

fn get(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")
}

/// Sets a flag however the scope ends.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `client` again and again on a thread of its own while `work` runs, three times at least
/// before it begins and after it is done. What `client` panics of fails the test.
fn while_hammering<T>(mut client: impl FnMut() + Send, work: impl FnOnce() -> T) -> T {
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let hammer = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                client();
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
        let stop_at_last = SetOnDrop(&stop);
        let more = |what: &str| {
            let end = done.load(Ordering::Relaxed) + 3;
            wait_until(what, || {
                hammer.is_finished() || done.load(Ordering::Relaxed) >= end
            });
        };
        more("requests before");
        let result = work();
        more("requests after");
        drop(stop_at_last);
        result
    })
}

// Draining.

#[test]
fn sigterm_finishes_what_is_in_flight() {
    let mut host = builder().start();
    let mut held = in_flight(&host);
    let mut idle = host.connect();
    idle.get("k.test", "/twice").expect(200);
    let mut sleeping = host.connect();
    sleeping.send(get("k.test", "/sleep?ms=300"));
    let mut half = host.connect();
    half.send("GET /twice HTTP/1.1\r\nho");
    // The worker has read all that was sent before this.
    host.get("k.test", "/twice").expect(200);

    host.signal(Signal::SIGTERM);
    wait_for_line(&host, "SIGTERM", "draining, 10000 ms at most");
    idle.expect_close();
    wait_until("new connections are refused", || {
        let error = TcpStream::connect(host.addr()).err();
        error.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    });

    assert_eq!(
        sleeping.read_response().expect(200).text(),
        "slept 300 ms\n"
    );
    sleeping.expect_close();
    half.send("st: k.test\r\n\r\n");
    let response = half.read_response().expect(200);
    assert_eq!(response.header("connection"), Some("close"));
    half.expect_close();
    let response = finish(&mut held);
    assert_eq!(response.header("connection"), Some("close"));
    held.expect_close();
    assert_eq!(host.wait_for_exit().code(), Some(0));
    assert!(!host.stderr_lines().iter().any(|line| line.contains("died")));
}

#[test]
fn a_guest_that_runs_on_after_its_response_is_waited_for() {
    let mut host = builder().start();
    assert_eq!(host.get("k.test", "/hold?ms=400").text(), "held\n");
    assert_eq!(host.stop().code(), Some(0));
    let lines = host.log_lines();
    let held = lines.iter().any(|line| line["line"] == "held for 400 ms");
    assert!(held, "{lines:?}");
}

#[test]
fn every_request_sent_before_sigterm_is_answered() {
    if one_core_only() {
        return;
    }
    for _ in 0..5 {
        let mut host = builder().start();
        // Kept alive at one worker, the next request for the other; and new ones.
        let mut clients = Vec::new();
        for core in &cores()[..2] {
            pin_thread(*core);
            for index in 0..50 {
                let (first, second) = [("a", "b"), ("b", "a")][index % 2];
                let mut client = host.connect();
                if index < 25 {
                    client.get(&format!("{first}.test"), "/").expect(200);
                }
                clients.push((client, second));
            }
        }
        for (client, name) in &mut clients {
            client.send(get(&format!("{name}.test"), "/"));
        }
        host.signal(Signal::SIGTERM);
        let mut lost = Vec::new();
        for (index, (client, name)) in clients.iter_mut().enumerate() {
            match client.try_read_response() {
                Ok(response) => assert_eq!(response.expect(200).text(), *name),
                Err(error) => lost.push((index, error.to_string())),
            }
        }
        assert!(lost.is_empty(), "without an answer: {lost:?}");
        assert_eq!(host.wait_for_exit().code(), Some(0));
    }
}

#[test]
fn a_drain_ends_at_its_deadline() {
    let spin = Tenant::new("spin", "spin")
        .limit("cpu_ms", 600_000)
        .limit("wall_ms", 600_000);
    let mut host = builder()
        .line("workers", "drain_ms = 300")
        .tenant(spin)
        .cold()
        .start();
    wait_until("compiled", || host.get("k.test", "/twice").status == 200);
    let mut held = in_flight(&host);
    let mut spinning = host.connect();
    spinning.send(get("spin.test", "/"));
    assert_eq!(host.get("k.test", "/hold?ms=60000").text(), "held\n");

    let before = Instant::now();
    let status = host.stop();
    assert_eq!(status.code(), Some(0));
    assert!(
        before.elapsed() >= Duration::from_millis(300),
        "it did not wait"
    );
    assert!(held.read_to_end().is_empty());
    assert!(spinning.read_to_end().is_empty());
    // The workers ended by themselves.
    let lines = host.stderr_lines();
    let killed = |line: &String| line.contains("died") || line.contains("its time is over");
    assert!(!lines.iter().any(killed), "{lines:#?}");
}

#[test]
fn a_second_signal_ends_a_drain() {
    let mut host = builder().line("workers", "drain_ms = 600000").start();
    let mut held = in_flight(&host);
    let pids = [host.worker_pids(), vec![host.broker_pid().unwrap()]].concat();
    host.signal(Signal::SIGINT);
    wait_for_line(&host, "SIGINT", "draining, 600000 ms at most");
    assert!(is_alive(pids[0]));
    host.signal(Signal::SIGTERM);
    assert_eq!(host.wait_for_exit().code(), Some(0));
    wait_for_line(&host, "second SIGTERM", "killing what is left");
    assert!(held.read_to_end().is_empty());
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
}

#[test]
fn a_drain_needs_no_broker() {
    let mut host = builder().start();
    let mut held = in_flight(&host);
    host.signal(Signal::SIGTERM);
    wait_for_line(&host, "SIGTERM", "draining");
    send(host.broker_pid().unwrap(), Signal::SIGKILL);
    wait_for_line(&host, "broker", "died (SIGKILL)");
    finish(&mut held);
    assert_eq!(host.wait_for_exit().code(), Some(0));
}

#[test]
fn a_drain_does_not_wait_for_the_compiler() {
    let mut host = builder()
        .tenant(Tenant::new("js", "js"))
        .private_artifacts()
        .cold()
        .start();
    let mut job = 0;
    wait_until("a compile job", || {
        job = host.compile_job_pids().first().copied().unwrap_or(0);
        job != 0
    });
    assert_eq!(host.stop().code(), Some(0));
    wait_until("the job has ended", || !is_alive(job));
}

// Deaths.

#[test]
fn a_killed_worker_is_started_again() {
    if one_core_only() {
        return;
    }
    let host = builder().start();
    let mut lost = in_flight(&host);
    let (first, other) = (said_pid(&host, "worker 0"), said_pid(&host, "worker 1"));
    assert_eq!(host.worker_pids(), [first, other]);

    let mut kept = host.connect();
    kept.get("b.test", "/").expect(200);
    let hammer = || assert_eq!(kept.get("b.test", "/").expect(200).text(), "b");
    while_hammering(hammer, || {
        send(first, Signal::SIGKILL);
        assert!(lost.read_to_end().is_empty());
        wait_for_line(
            &host,
            &format!("worker 0 (core {}) pid {first}", cores()[0]),
            "died (SIGKILL)",
        );
        // Whoever accepts, and whoever is meant.
        for core in &cores()[..2] {
            pin_thread(*core);
            for name in ["a", "b", "a", "b"] {
                assert_eq!(
                    host.get(&format!("{name}.test"), "/").expect(200).text(),
                    name
                );
            }
        }
    });
    let second = said_pid(&host, "worker 0");
    assert_ne!(second, first);
    assert_eq!(said_pid(&host, "worker 1"), other);
    assert_eq!(host.worker_pids(), [other, second]);
    finish(&mut in_flight(&host));
}

#[test]
fn requests_that_a_killed_worker_had_not_begun_are_served_by_the_next() {
    if one_core_only() {
        return;
    }
    let mut host = builder().start();
    let worker = said_pid(&host, "worker 0");
    let connect = |core: usize| {
        pin_thread(cores()[core]);
        host.connect()
    };
    // Kept alive at worker 1, which will hand them to the mailbox of the other.
    let mut clients: Vec<Client> = (0..20).map(|_| connect(1)).collect();
    for client in &mut clients {
        client.get("b.test", "/").expect(200);
    }
    send(worker, Signal::SIGSTOP);
    // New ones that either worker may accept.
    clients.extend((0..40).map(|index| connect(index % 2)));
    for client in &mut clients {
        client.send(get("a.test", "/"));
    }
    send(worker, Signal::SIGKILL);
    let mut lost = Vec::new();
    for (index, client) in clients.iter_mut().enumerate() {
        match client.try_read_response() {
            Ok(response) => assert_eq!(response.expect(200).text(), "a"),
            Err(error) => lost.push((index, error.to_string())),
        }
    }
    // All that waited in its mailbox and in its queue are there; the one that its ring was already
    // accepting died with it.
    assert!(
        lost.len() <= 1 && lost.iter().all(|(index, _)| *index >= 20),
        "{lost:?}"
    );
    assert_eq!(host.stop().code(), Some(0));
}

#[test]
fn pid_files_name_the_processes_that_are_there() {
    let mut host = builder().start();
    assert_eq!(host.pid_file("supervisor"), Some(host.pid()));
    assert_eq!(host.pid_file("broker"), host.broker_pid());
    let first = host.worker_pids()[0];
    assert_eq!(host.pid_file("worker-0"), Some(first));
    send(first, Signal::SIGKILL);
    wait_until("the next worker has the file", || {
        host.pid_file("worker-0").is_some_and(|pid| pid != first)
    });
    assert!(
        host.worker_pids()
            .contains(&host.pid_file("worker-0").unwrap())
    );
    assert_eq!(host.stop().code(), Some(0));
    for who in ["supervisor", "broker", "worker-0"] {
        assert_eq!(host.pid_file(who), None, "{who}");
    }
}

#[test]
fn a_killed_broker_is_started_again() {
    let host = builder().start();
    let first = said_pid(&host, "broker");
    assert_eq!(host.broker_pid(), Some(first));
    let mut kept = host.connect();
    let hammer = || assert_eq!(kept.get("a.test", "/").expect(200).text(), "a");
    while_hammering(hammer, || {
        send(first, Signal::SIGKILL);
        wait_for_line(&host, &format!("broker pid {first}"), "died (SIGKILL)");
        wait_until("another broker", || said_pid(&host, "broker") != first);
    });
    // What is logged arrives again.
    let mut asked = 0;
    wait_until("a line about a request", || {
        asked += 1;
        host.get("k.test", &format!("/log?n=1&after={asked}"))
            .expect(200);
        let lines = host.log_lines();
        lines.iter().any(|line| {
            line["kind"] == "access"
                && line["path"]
                    .as_str()
                    .is_some_and(|it| it.contains("after="))
        })
    });
    // What has to be compiled is compiled.
    let line = host.reload(&builder().tenant(Tenant::new("new", "hello")));
    assert!(
        line.contains("reloaded: 1 added, 0 changed, 0 removed; 4 tenants"),
        "{line}"
    );
    host.get("new.test", "/").expect(200);
    // And a worker that starts after the broker gets its artifacts.
    let worker = said_pid(&host, "worker 0");
    send(worker, Signal::SIGKILL);
    wait_until("another worker", || said_pid(&host, "worker 0") != worker);
    assert_eq!(host.get("a.test", "/").expect(200).text(), "a");
}

#[test]
fn a_broker_that_dies_while_compiling_compiles_again() {
    let host = TestHost::builder()
        .tenant(Tenant::new("k", "kitchen"))
        .private_artifacts()
        .cold()
        .start();
    let mut job = 0;
    wait_until("a compile job", || {
        job = host.compile_job_pids().first().copied().unwrap_or(0);
        job != 0
    });
    send(job, Signal::SIGSTOP);
    send(said_pid(&host, "broker"), Signal::SIGKILL);
    wait_until("the job died with its broker", || !is_alive(job));
    wait_until("compiled", || host.get("k.test", "/twice").status == 200);
}

#[test]
fn nobody_outlives_the_supervisor() {
    let mut host = builder()
        .tenant(Tenant::new("js", "js"))
        .private_artifacts()
        .cold()
        .start();
    wait_until("a compile job", || !host.compile_job_pids().is_empty());
    let mut pids = host.worker_pids();
    pids.push(host.broker_pid().unwrap());
    pids.extend(host.compile_job_pids());
    assert!(pids.len() >= 4, "{pids:?}");
    host.signal(Signal::SIGKILL);
    host.wait_for_exit();
    wait_until("all have ended", || pids.iter().all(|pid| !is_alive(*pid)));
}

// Reloads.

#[test]
fn a_reload_loses_no_request() {
    let workers = cores().len().min(2);
    let base = || {
        TestHost::builder()
            .workers(workers)
            .tenant(named("a", "a").on_workers(&[0]))
    };
    let last = workers - 1;
    let b = |answer: &str| named("b", answer).on_workers(&[last]);
    let host = base().tenant(b("b")).start();
    let mut kept = host.connect();
    let mut turn = 0;
    let hammer = || {
        turn += 1;
        let name = ["a", "b"][turn % 2];
        let response = kept.get(&format!("{name}.test"), "/").expect(200);
        let text = response.text();
        let known =
            text == name || name == "b" && ["b2", "b3", "Hello from skep"].contains(&text.trim());
        assert!(known, "{response:?}");
    };
    let says = |line: String, what: &str| assert!(line.contains(what), "{line}");
    while_hammering(hammer, || {
        for round in 0..3 {
            // Environment: in force as soon as the host says so.
            says(
                host.reload(&base().tenant(b("b2"))),
                "0 added, 1 changed, 0 removed; 2 tenants",
            );
            assert_eq!(
                host.get("b.test", "/").expect(200).text(),
                "b2",
                "round {round}"
            );
            // Nothing at all.
            says(
                host.reload(&base().tenant(b("b2"))),
                "0 added, 0 changed, 0 removed; 2 tenants",
            );
            // A limit.
            says(
                host.reload(&base().tenant(b("b2").limit("request_body_bytes", 4))),
                "0 added, 1 changed, 0 removed",
            );
            let refused = host.connect().post("b.test", "/", b"12345").expect(413);
            assert_eq!(refused.reason(), "body_too_large");
            host.connect().post("b.test", "/", b"1234").expect(200);
            // A new tenant, and one more host for another.
            let c = Tenant::new("c", "hello").cores(workers);
            let more = base()
                .tenant(b("b3").host("b.test").host("*.b.test"))
                .tenant(c);
            says(
                host.reload(&more),
                "1 added, 1 changed, 0 removed; 3 tenants",
            );
            host.get("c.test", "/").expect(200);
            assert_eq!(host.get("www.b.test", "/").expect(200).text(), "b3");
            // Another component.
            let other = Tenant::new("b", "hello").on_workers(&[last]);
            says(
                host.reload(&base().tenant(other)),
                "0 added, 1 changed, 1 removed; 2 tenants",
            );
            assert_eq!(host.get("c.test", "/").expect(404).reason(), "unknown_host");
            assert_eq!(
                host.get("www.b.test", "/").expect(404).reason(),
                "unknown_host"
            );
            wait_until("the other component", || {
                host.get("b.test", "/")
                    .expect(200)
                    .text()
                    .starts_with("Hello")
            });
            says(
                host.reload(&base().tenant(b("b"))),
                "0 added, 1 changed, 0 removed",
            );
            wait_until("the first one again", || {
                host.get("b.test", "/").expect(200).text() == "b"
            });
        }
    });
}

#[test]
fn a_tenant_that_moves_to_another_worker_loses_no_request() {
    if one_core_only() {
        return;
    }
    let at = |place: usize| {
        TestHost::builder()
            .workers(2)
            .tenant(named("a", "a").on_workers(&[0]))
            .tenant(named("b", "b").on_workers(&[place]))
    };
    let host = at(1).start();
    let mut kept = [host.connect(), host.connect()];
    let hammer = || {
        for name in ["a", "b", "b"] {
            for client in &mut kept {
                assert_eq!(
                    client.get(&format!("{name}.test"), "/").expect(200).text(),
                    name
                );
            }
        }
        assert_eq!(host.get("b.test", "/").expect(200).text(), "b");
    };
    while_hammering(hammer, || {
        for round in 0..30 {
            let line = host.reload(&at(round % 2));
            assert!(line.contains("0 added, 1 changed, 0 removed"), "{line}");
        }
    });
}

/// Puts another file in a component's place, all at once.
fn replace(component: &Path, guest_name: &str) {
    let new = component.with_extension("new");
    fs::copy(guest(guest_name), &new).expect("copying a guest");
    fs::rename(new, component).expect("renaming it");
}

/// The compile job that runs, stopped.
fn stopped_job(host: &TestHost) -> u32 {
    let mut job = 0;
    wait_until("a compile job", || {
        job = host.compile_job_pids().first().copied().unwrap_or(0);
        job != 0
    });
    send(job, Signal::SIGSTOP);
    job
}

#[test]
fn a_changed_component_is_served_as_it_was_until_it_is_compiled() {
    let dir = tempfile::tempdir().unwrap();
    let component = dir.path().join("app.wasm");
    replace(&component, "tenantname");
    let config = || {
        let tenant = Tenant::with_component("app", &component).env("NAME", "old");
        TestHost::builder().tenant(tenant).private_artifacts()
    };
    let host = config().start();
    assert_eq!(host.get("app.test", "/twice").expect(200).text(), "old");
    replace(&component, "kitchen");
    // Not before somebody says so.
    assert_eq!(host.get("app.test", "/twice").expect(200).text(), "old");
    let line = host.reload(&config());
    assert!(line.contains("0 added, 1 changed, 0 removed"), "{line}");
    let job = stopped_job(&host);
    let mut kept = host.connect();
    for _ in 0..100 {
        assert_eq!(kept.get("app.test", "/twice").expect(200).text(), "old");
    }
    send(job, Signal::SIGCONT);
    wait_until("the new version", || {
        let text = kept.get("app.test", "/twice").expect(200).text();
        assert!(["old", "1\n"].contains(&text.as_str()), "{text}");
        text == "1\n"
    });
}

#[test]
fn a_changed_component_that_was_never_asked_for_is_served_as_it_was_too() {
    let dir = tempfile::tempdir().unwrap();
    let component = dir.path().join("app.wasm");
    replace(&component, "tenantname");
    let config = || {
        let tenant = Tenant::with_component("app", &component).env("NAME", "old");
        TestHost::builder()
            .tenant(tenant)
            .private_artifacts()
            .cold()
    };
    let host = config().start();
    // The worker has its artifact once it has one that was asked for later.
    wait_until("its artifact", || {
        let entries = fs::read_dir(host.artifacts()).expect("the artifacts");
        entries
            .filter_map(Result::ok)
            .any(|it| it.path().extension().is_some_and(|it| it == "tag"))
    });
    host.reload(&config().tenant(Tenant::new("later", "hello")));
    host.get("later.test", "/").expect(200);

    replace(&component, "kitchen");
    host.reload(&config());
    let job = stopped_job(&host);
    assert_eq!(host.get("app.test", "/twice").expect(200).text(), "old");
    send(job, Signal::SIGCONT);
    wait_until("the new version", || {
        host.get("app.test", "/twice").expect(200).text() == "1\n"
    });
}

#[test]
fn a_changed_component_that_cannot_be_compiled_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let component = dir.path().join("app.wasm");
    replace(&component, "tenantname");
    let config =
        || TestHost::builder().tenant(Tenant::with_component("app", &component).env("NAME", "old"));
    let host = config().start();
    let whole = fs::read(guest("kitchen")).unwrap();
    fs::write(&component, &whole[..whole.len() / 2]).unwrap();
    let line = host.reload(&config());
    assert!(line.contains("0 added, 1 changed, 0 removed"), "{line}");
    wait_for_line(&host, "tenant app", "has no artifact");
    for _ in 0..20 {
        assert_eq!(host.get("app.test", "/").expect(200).text(), "old");
    }
    replace(&component, "kitchen");
    host.reload(&config());
    wait_until("the next version", || {
        host.get("app.test", "/twice").expect(200).text() == "1\n"
    });
}

#[test]
fn a_wrong_configuration_is_refused_as_a_whole() {
    let host = builder().start();
    let text = fs::read_to_string(host.dir().join("skep.toml")).unwrap();
    let mut kept = host.connect();
    let cases = [
        (
            "nonsense = 1\n".to_owned() + &text,
            ":1: nonsense: unknown key",
        ),
        (
            text.replace("\"b.test\"", "\"a.test\""),
            "tenant.b.hosts: already used",
        ),
        (
            format!("{text}cpu_ms = 0\n"),
            "tenant.k.limits.cpu_ms: out of range (got 0)",
        ),
        ("[listen\n".to_owned(), ":1: "),
        (
            text.replace("kitchen.wasm", "nowhere.wasm"),
            "tenant.k.component: cannot open",
        ),
    ];
    for (wrong, complaint) in cases {
        let skip = host.stderr_lines().len();
        let line = host.reload_text(&wrong);
        assert!(
            line.contains("reload: refused, nothing changed"),
            "{complaint}: {line}"
        );
        let said = &host.stderr_lines()[skip..];
        let found = |line: &String| line.starts_with("skep: reload: ") && line.contains(complaint);
        assert!(said.iter().any(found), "{complaint}: {said:#?}");
        for name in ["a", "b"] {
            assert_eq!(
                kept.get(&format!("{name}.test"), "/").expect(200).text(),
                name
            );
        }
    }
    let line = host.reload_text(&text);
    assert!(
        line.contains("reloaded: 0 added, 0 changed, 0 removed; 3 tenants"),
        "{line}"
    );
}

#[test]
fn what_needs_a_restart_is_said_and_the_rest_is_done() {
    let host = TestHost::builder().tenant(named("a", "a")).start();
    let text = fs::read_to_string(host.dir().join("skep.toml")).unwrap();
    let cases = [
        ("[http]", "[http]\nhead_timeout_ms = 300", "http"),
        (
            "[workers]",
            "[workers]\nprofile = 'latency'",
            "workers.profile",
        ),
        ("[log]\naccess = \"all\"", "[log]\naccess = 'off'", "log"),
        ("127.0.0.1:0", "127.0.0.2:0", "listen.http"),
        ("[artifacts]\n", "[artifacts]\n#", "artifacts.dir"),
    ];
    for (round, (old, new, key)) in cases.into_iter().enumerate() {
        let changed = text.replace(old, new);
        assert_ne!(changed, text, "{key}");
        let answer = format!("a{round}");
        let skip = host.stderr_lines().len();
        let line = host
            .reload_text(&changed.replace("\"NAME\" = \"a\"", &format!("\"NAME\" = {answer:?}")));
        assert!(
            line.contains("reloaded: 0 added, 1 changed, 0 removed"),
            "{key}: {line}"
        );
        let said = &host.stderr_lines()[skip..];
        let expected = format!("skep: reload: ignored until a restart: {key}");
        assert!(said.contains(&expected), "{expected}: {said:#?}");
        assert_eq!(host.get("a.test", "/").expect(200).text(), answer);
    }
    if !one_core_only() {
        let line = host.reload(&TestHost::builder().workers(2).tenant(named("a", "last")));
        assert!(line.contains("1 changed"), "{line}");
        wait_for_line(&host, "ignored until a restart", "workers.cores");
        assert_eq!(host.get("a.test", "/").expect(200).text(), "last");
    }
}

#[test]
fn a_reload_opens_the_log_file_again() {
    let config = || builder().line("log", "file = 'log.jsonl'").cold();
    let host = config().start();
    let (log, rotated) = (host.dir().join("log.jsonl"), host.dir().join("log.1"));
    let has = |path: &Path, what: &str| {
        fs::read_to_string(path).is_ok_and(|text| text.contains(&format!("\"path\":\"{what}\"")))
    };
    host.get("k.test", "/twice?before").expect(200);
    wait_until("a line before", || has(&log, "/twice?before"));
    fs::rename(&log, &rotated).unwrap();
    host.reload(&config());
    wait_until("a new file", || log.exists());
    host.get("k.test", "/twice?after").expect(200);
    wait_until("a line after", || has(&log, "/twice?after"));
    assert!(!has(&rotated, "/twice?after"));
}
