//! Where a threat's cases run: one host with one worker, a tenant for each case, and the victim beside them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use std::{fs, thread};

use crate::case::{Attack, Case, LIMITS, Program, Threat, component_path};
use crate::common::{Client, PATIENCE, Response, Tenant, TestHost};
use crate::victim::{self, EndOnDrop, Watch};

/// Connections that attack at once.
const ATTACKERS: usize = 2;

/// Descriptors of the worker that may be left of an attack for a while: connections that linger.
const DESCRIPTORS_OVER_MAX: usize = 4;

/// A tenant that failed too often is not served for a while: an answer to an attack, too, but not the first.
const QUARANTINED: &str = "quarantined";

/// A profile `few.toml` with as few slots as there may be, so that every one is used again at once.
const FEW_SLOTS: &str =
    "extends = \"balanced\"\nslots = 16\nrunning_max = 15\nwarm_slots = 16\ndecommit_batch = 1\n";

/// One threat at a time: a victim's time says nothing when two hosts share the core.
static CORE: Mutex<()> = Mutex::new(());

/// What an attack has to work with.
pub struct Stage<'a> {
    /// The host.
    pub host: &'a TestHost,
    /// The name of the attacker's tenant, and the first label of its host.
    pub name: &'static str,
    /// What the victim is told.
    pub watch: &'a Watch,
    /// Whether the attack was answered as it has to be.
    answered: AtomicBool,
}

impl Stage<'_> {
    /// The attacker's own host.
    pub fn authority(&self) -> String {
        format!("{}.test", self.name)
    }

    /// A request's head for the attacker's own guest, without its last line.
    pub fn head(&self, line: &str) -> String {
        format!("{line} HTTP/1.1\r\nhost: {}\r\n", self.authority())
    }

    /// A connection on which this was sent.
    pub fn send(&self, bytes: impl AsRef<[u8]>) -> Client {
        let mut client = self.host.connect();
        // What the host has had enough of is not sent to its end.
        let _ = client.try_send(bytes);
        client
    }

    /// Fails unless that is how the response reads: `504 cpu_exhausted`, or one of several. Once it did, the
    /// tenant may be quarantined.
    pub fn check(&self, response: &Response, answer: &str) {
        if response.reason() == QUARANTINED && self.answered.load(Ordering::Relaxed) {
            return;
        }
        let got = format!("{} {}", response.status, response.reason());
        let wanted = |one: &str| one == got.trim_end();
        assert!(answer.split(" or ").any(wanted), "{answer}: {response:?}");
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Waits for something that has to come true.
    pub fn wait_until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "still not so: {what}");
            thread::yield_now();
        }
    }
}

/// Runs all cases of a threat; fails with the names of those that failed.
pub fn run(threat: &Threat) {
    let _core = CORE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().expect("a directory");
    let host = host(threat, dir.path());
    let worker = host.worker_pids();
    let descriptors = descriptors(worker[0]);
    let only = std::env::var("CASE").ok();
    let chosen = |case: &&Case| only.as_ref().is_none_or(|only| only == case.name);
    let failed: Vec<_> = threat
        .cases
        .iter()
        .filter(chosen)
        .filter(|case| {
            let name = format!("{}/{}", threat.name, case.name);
            let started = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let report = attack(&host, case);
                report.check();
                assert_eq!(host.worker_pids(), worker, "the worker was started again");
                report
            }));
            match outcome {
                Ok(report) => {
                    let took = started.elapsed();
                    eprintln!("{name}: {} after {took:.0?}; {report:.1?}", case.answer);
                    false
                }
                Err(_) => {
                    eprintln!("{name}: FAILED");
                    last_fault(&host, case);
                    true
                }
            }
        })
        .map(|case| case.name)
        .collect();
    assert!(failed.is_empty(), "{}: failed: {failed:?}", threat.name);
    check_log(&host);
    for line in host.stderr_lines() {
        assert!(
            !line.contains(is_obeyed) && !line.starts_with("forged"),
            "{line:?}"
        );
    }
    let stage = Stage {
        host: &host,
        name: victim::NAME,
        watch: &Watch::default(),
        answered: AtomicBool::default(),
    };
    stage.wait_until("every connection is gone", || {
        self::descriptors(worker[0]) <= descriptors + DESCRIPTORS_OVER_MAX
    });
}

fn host(threat: &Threat, dir: &std::path::Path) -> TestHost {
    fs::write(dir.join("few.toml"), FEW_SLOTS).expect("writing a profile");
    let mut builder = TestHost::builder().tenant(victim::tenant());
    for (section, line) in threat.lines {
        let line = line.replace("few.toml", &dir.join("few.toml").display().to_string());
        builder = builder.line(section, &line);
    }
    for case in threat.cases {
        let tenant = match case.program {
            Program::Guest(guest) => Tenant::new(case.name, guest),
            Program::Made(make) => {
                let path = component_path(dir, case);
                fs::write(&path, make()).expect("writing a component");
                Tenant::with_component(case.name, path)
            }
        };
        let others = LIMITS
            .iter()
            .filter(|(key, _)| case.limits.iter().all(|(own, _)| own != key));
        let limits = case.limits.iter().chain(others);
        let tenant = limits.fold(tenant, |tenant, (key, value)| tenant.limit(key, *value));
        builder = builder.tenant(tenant);
    }
    builder.start()
}

/// Repeats an attack on several connections until the victim was served often enough.
fn attack(host: &TestHost, case: &Case) -> victim::Report {
    let watch = Watch::default();
    let stage = Stage {
        host,
        name: case.name,
        watch: &watch,
        answered: AtomicBool::default(),
    };
    thread::scope(|scope| {
        let victim = scope.spawn(|| victim::serve(host, &watch));
        {
            let _over = EndOnDrop(&watch);
            let attackers: Vec<_> = (0..ATTACKERS)
                .map(|_| scope.spawn(|| attack_until_satisfied(&stage, case)))
                .collect();
            for attacker in attackers {
                attacker.join().expect("the attacker's answer");
            }
        }
        victim.join().expect("the victim is served")
    })
}

fn attack_until_satisfied(stage: &Stage<'_>, case: &Case) {
    let mut times = 0;
    while times == 0 || !stage.watch.is_satisfied() {
        match case.attack {
            Attack::Get(path) => {
                let response = answer(&mut stage.host.connect(), &stage.authority(), path);
                stage.check(&response, case.answer);
            }
            Attack::Run(attack) => attack(stage),
        }
        times += 1;
    }
    // Where new connections had to wait, they need not any more.
    stage.watch.keep_connection.store(false, Ordering::Relaxed);
}

/// The answer; where the connection ends before it does, its status is that of the head and its reason `cut`.
fn answer(client: &mut Client, authority: &str, path: &str) -> Response {
    client.send(format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\n\r\n"));
    let mut response = client.read_head().expect("a head");
    let mut body = Vec::new();
    let read = client.read_body(&mut response, |piece| {
        // Enough to see what it is.
        body.extend_from_slice(&piece[..piece.len().min(4096)]);
    });
    if read.is_err() {
        response
            .headers
            .push(("x-skep-reason".into(), "cut".into()));
    }
    response.body = body;
    response
}

/// Whoever wrote to it, the log is one JSON object per line, and nobody but the host says whose it is.
fn check_log(host: &TestHost) {
    for line in host.stdout_lines().iter().skip(1) {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(line);
        let parsed = parsed.unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert!(parsed["kind"].is_string(), "{line:?}");
        assert!(!line.contains(is_obeyed), "{line:?}");
        // The victim asks for `/`; before that, its program was compiled.
        let victims = parsed["tenant"] == victim::NAME && parsed["path"] != "/warm";
        let served = parsed["kind"] == "access" && parsed["status"] == 200;
        assert!(!victims || served, "nothing went wrong with it: {line:?}");
    }
}

/// What a terminal obeys, or a reader takes for the end of a line.
fn is_obeyed(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}'..='\u{202e}')
}

/// What the host says was wrong with the attacker: the reader of a failure wants to know.
fn last_fault(host: &TestHost, case: &Case) {
    // The worker's lines keep their order.
    host.get("victim.test", "/last");
    host.wait_for_access("/last");
    let lines = host.log_lines();
    let of_case =
        |line: &&serde_json::Value| line["tenant"] == case.name && line["kind"] == "fault";
    if let Some(line) = lines.iter().rev().find(of_case) {
        eprintln!("{line}");
    }
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}
