//! Workers of one host with different profiles: each runs code that was compiled for its own.

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)] // in a test, a panic is the report

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use common::{Builder, PATIENCE, Tenant, TestHost, cores, guest, pin_thread};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use skep::broker::component::artifact_name;
use skep::config::Profile;
use skep::engine::settings;
use tempfile::TempDir;

/// What the second worker is tuned to: other code, and room for small tenants only.
const SMALL: &str = "\
extends = 'balanced'
slots = 64
running_max = 32
warm_slots = 64
memory_mib_max = 64
memory_reservation_mib = 64
memory_guard_kib = 64
";

/// Most memory of a tenant that the second worker can hold, in MiB.
const SMALL_MIB: u64 = 64;

/// The two profiles, and a directory for artifacts.
struct Setting {
    dir: TempDir,
    small: PathBuf,
}

impl Setting {
    /// `None` on a machine with one core.
    fn new() -> Option<Setting> {
        if cores().len() < 2 {
            eprintln!("skipped: two workers need two cores");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let small = dir.path().join("small.toml");
        fs::write(&small, SMALL).unwrap();
        Some(Setting { dir, small })
    }

    /// Two workers, the second with the small profile.
    fn builder(&self) -> Builder {
        let (core, small) = (cores()[1], &self.small);
        self.plain().line(
            "workers",
            &format!("[[workers.core]]\nid = {core}\nprofile = {small:?}"),
        )
    }

    /// Two workers of the same profile.
    fn plain(&self) -> Builder {
        TestHost::builder()
            .workers(2)
            .artifacts_in(&self.dir.path().join("artifacts"))
    }

    /// The file of a guest's artifact for a worker.
    fn artifact(&self, guest_name: &str, worker: usize) -> PathBuf {
        let profile = match worker {
            0 => Profile::find("balanced", Path::new("")).unwrap(),
            _ => Profile::find("small.toml", self.dir.path()).unwrap(),
        };
        let compatibility = settings::compatibility(&profile).unwrap();
        let name = artifact_name(&guest(guest_name), &compatibility).unwrap();
        self.dir.path().join(format!("artifacts/{name}.cwasm"))
    }

    /// Which workers a guest's artifact was made for.
    fn made_for(&self, guest_name: &str) -> Vec<usize> {
        let exists = |worker: &usize| self.artifact(guest_name, *worker).exists();
        [0, 1].into_iter().filter(exists).collect()
    }
}

/// A tenant that answers its name.
fn named(name: &str) -> Tenant {
    Tenant::new(name, "tenantname")
        .env("NAME", name)
        .limit("memory_mib", SMALL_MIB)
}

fn check_answer(host: &TestHost, name: &str) {
    let response = host.get(&format!("{name}.test"), "/").expect(200);
    assert_eq!(response.text(), name);
}

#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "still not so: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The artifacts whose code a process can run: their inodes.
fn runnable(pid: u32) -> BTreeSet<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let artifacts = maps.lines().filter(|line| line.contains(".cwasm"));
    let fields = artifacts.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let code = fields.filter(|fields| fields[1].starts_with("r-xp"));
    code.map(|fields| fields[4].parse().unwrap()).collect()
}

/// Asks for a tenant on every core, so that every worker accepts and serves it.
fn ask_on_every_core(host: &TestHost, name: &str) {
    for core in &cores()[..2] {
        thread::scope(|scope| {
            scope.spawn(|| {
                pin_thread(*core);
                check_answer(host, name);
            });
        });
    }
}

#[test]
fn every_worker_runs_code_that_was_compiled_for_its_profile() {
    let Some(setting) = Setting::new() else {
        return;
    };
    let config = || {
        setting
            .builder()
            .tenant(named("first").on_workers(&[0]))
            .tenant(named("second").on_workers(&[1]))
            .tenant(named("both").cores(2))
    };
    let host = config().start();
    let core = cores()[1];
    host.wait_for_stderr(|line| {
        line.contains(&format!("worker 1 (core {core}, ")) && line.contains("small.toml")
    });
    for name in ["first", "second", "both"] {
        check_answer(&host, name);
    }
    assert_eq!(setting.made_for("tenantname"), [0, 1]);
    let codes = [0, 1].map(|worker| {
        let file = setting.artifact("tenantname", worker);
        BTreeSet::from([fs::metadata(file).unwrap().ino()])
    });
    assert_ne!(codes[0], codes[1]);
    let pids = host.worker_pids();
    wait_until("both serve the tenant that is on both", || {
        ask_on_every_core(&host, "both");
        [0, 1].map(|worker| runnable(pids[worker])) == codes
    });

    // Those that are started again get the same.
    kill(Pid::from_raw(pids[1] as i32), Signal::SIGKILL).unwrap();
    let old_broker = host.broker_pid().unwrap();
    kill(Pid::from_raw(old_broker as i32), Signal::SIGKILL).unwrap();
    let new = || {
        host.worker_pids()
            .into_iter()
            .find(|pid| !pids.contains(pid))
    };
    wait_until("another worker and another broker", || {
        new().is_some() && host.broker_pid().is_some_and(|pid| pid != old_broker)
    });
    wait_until("the new worker serves", || {
        let response = host.get("second.test", "/");
        response.status == 200 && new().is_some_and(|pid| runnable(pid) == codes[1])
    });
    assert_eq!(runnable(pids[0]), codes[0]);
}

#[test]
fn a_tenant_is_placed_where_its_memory_fits() {
    let Some(setting) = Setting::new() else {
        return;
    };
    // Of four, two would go to each worker.
    let large = |name: &str| Tenant::new(name, "hello").limit("memory_mib", SMALL_MIB + 1);
    let config = ["l1", "l2", "l3", "l4"]
        .into_iter()
        .fold(setting.builder(), |builder, name| {
            builder.tenant(large(name))
        });
    let small = Tenant::new("small", "kitchen").limit("memory_mib", SMALL_MIB);
    let host = config.tenant(small).start();
    for name in ["l1", "l2", "l3", "l4"] {
        host.get(&format!("{name}.test"), "/").expect(200);
    }
    host.get("small.test", "/twice").expect(200);
    assert_eq!(setting.made_for("hello"), [0]);
    // The worker with the fewest tenants.
    assert_eq!(setting.made_for("kitchen"), [1]);
}

#[test]
fn a_tenant_that_moves_to_another_profile_is_compiled_for_it() {
    let Some(setting) = Setting::new() else {
        return;
    };
    let on = |worker| setting.builder().tenant(named("a").on_workers(&[worker]));
    let host = on(0).start();
    check_answer(&host, "a");
    assert_eq!(setting.made_for("tenantname"), [0]);
    let line = host.reload(&on(1));
    assert!(line.contains("0 added, 1 changed, 0 removed"), "{line}");
    wait_until("it is served by the other worker", || {
        let response = host.get("a.test", "/");
        response.status == 200 && setting.made_for("tenantname") == [0, 1]
    });
    wait_until("its code is that of the other worker", || {
        let code = fs::metadata(setting.artifact("tenantname", 1)).unwrap();
        check_answer(&host, "a");
        runnable(host.worker_pids()[1]) == BTreeSet::from([code.ino()])
    });
}

#[test]
fn what_cannot_be_compiled_is_said_once() {
    let Some(setting) = Setting::new() else {
        return;
    };
    let component = setting.dir.path().join("empty.wasm");
    fs::write(&component, wat::parse_str("(component)").unwrap()).unwrap();
    let empty = Tenant::with_component("empty", &component)
        .cores(2)
        .limit("memory_mib", SMALL_MIB);
    let host = setting.builder().tenant(empty).tenant(named("a")).start();
    ask_until_rejected(&host);
    let lines = host.stderr_lines();
    let said = lines
        .iter()
        .filter(|it| it.contains("tenant empty has no artifact"));
    assert_eq!(said.count(), 1, "{lines:#?}");
    check_answer(&host, "a");
}

/// Both workers have heard that there will be no artifact.
fn ask_until_rejected(host: &TestHost) {
    for core in &cores()[..2] {
        thread::scope(|scope| {
            scope.spawn(|| {
                pin_thread(*core);
                wait_until("it is rejected", || {
                    host.get("empty.test", "/").reason() == "component_rejected"
                });
            });
        });
    }
}

#[test]
fn a_reload_keeps_the_profiles_that_run() {
    let Some(setting) = Setting::new() else {
        return;
    };
    let a = || Tenant::new("a", "tenantname").on_workers(&[1]);
    let with = |builder: Builder, answer: &str, mib: u64| {
        builder.tenant(a().env("NAME", answer).limit("memory_mib", mib))
    };
    let host = setting
        .builder()
        .tenant(named("a").on_workers(&[1]))
        .start();
    check_answer(&host, "a");

    // What runs cannot be changed, and the rest is done.
    let line = host.reload(&with(setting.plain(), "other", SMALL_MIB));
    assert!(line.contains("1 changed"), "{line}");
    host.wait_for_stderr(|line| line.ends_with("ignored until a restart: workers.core"));
    assert_eq!(host.get("a.test", "/").expect(200).text(), "other");

    // The new profile would hold it, the one that runs does not.
    let line = host.reload(&with(setting.plain(), "large", SMALL_MIB + 1));
    assert!(line.contains("reload: refused, nothing changed"), "{line}");
    let core = cores()[1];
    let expected = format!(
        "skep: reload: not until a restart: tenant.a.limits.memory_mib: above the memory_mib_max of \
         core {core}'s profile, 64 (got 65); less, other cores, or a profile with more"
    );
    host.wait_for_stderr(|line| line == expected);
    assert_eq!(host.get("a.test", "/").expect(200).text(), "other");
}

#[test]
fn a_profile_with_too_many_mappings_is_refused_at_the_start_and_by_a_reload() {
    // vm.max_map_count is one of the machine, and not for a test to change.
    let limit = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    let density = Profile::find("density", Path::new("")).unwrap();
    if density.check_mappings(1, false).is_ok() {
        eprintln!("skipped: vm.max_map_count of {} is enough", limit.trim());
        return;
    }
    let core = cores()[0];
    let dense = format!("[[workers.core]]\nid = {core}\nprofile = 'density'");
    let tenant = || Tenant::new("a", "tenantname").env("NAME", "a");
    let config = || TestHost::builder().tenant(tenant()).line("workers", &dense);
    let expected = format!(
        "core {core}: 20000 slots and 1 tenants need 241028 memory mappings in its worker, \
         vm.max_map_count is {}; run `sysctl -w vm.max_map_count=262144`, or choose a profile with \
         fewer slots",
        limit.trim()
    );
    let (status, said) = config().start_refused();
    assert_eq!(status.code(), Some(1));
    assert_eq!(said, format!("skep: {expected}"));

    let host = TestHost::builder().tenant(tenant()).start();
    let line = host.reload(&config());
    assert!(line.contains("reload: refused, nothing changed"), "{line}");
    host.wait_for_stderr(|line| line == format!("skep: reload: {expected}"));
    check_answer(&host, "a");
}
