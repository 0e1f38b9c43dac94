//! `skep tune` as it is typed, on hosts that are directories: four kinds of machine, what is found
//! on them, what is written, and that everything comes back byte for byte.

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)] // in a test, a panic is the report

#[path = "tune/hosts.rs"]
mod hosts;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use hosts::{HOSTS, host};
use nix::unistd::geteuid;
use serde_json::Value;
use skep::config::limits::TUNE_VALUE_BYTES_MAX;
use skep::config::{Host, Machine};
use tempfile::TempDir;

/// A user that owns nothing: `nobody`.
const NOBODY: u32 = 65_534;

/// A host, and a directory for the journal outside of it.
struct Bench {
    root: TempDir,
    state: TempDir,
}

impl Bench {
    fn new(name: &str) -> Bench {
        Bench {
            root: host(name),
            state: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    fn journal(&self) -> PathBuf {
        self.state.path().join("journal.json")
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
        let mut words = line.split_whitespace();
        let action = words.next().unwrap();
        command
            .args(["tune", action, "--root"])
            .arg(self.root.path());
        if ["apply", "revert"].contains(&action) && !line.contains("--state") {
            command.arg("--state").arg(self.state.path());
        }
        command.args(words).stdin(Stdio::null());
        command
    }

    /// Runs `skep tune LINE`; its exit code, standard output and standard error.
    #[track_caller]
    fn run(&self, line: &str) -> (i32, String, String) {
        finish(self.command(line))
    }

    /// Runs it; it has to end with this code and say nothing on standard error.
    #[track_caller]
    fn quiet(&self, line: &str, code: i32) -> String {
        let (ended, out, err) = self.run(line);
        // That irqbalance runs is said wherever it does.
        let err: Vec<_> = err
            .lines()
            .filter(|it| !it.contains("irqbalance"))
            .collect();
        assert_eq!((ended, err.as_slice()), (code, &[][..]), "{line}: {out}");
        out
    }

    /// Runs it; it has to end with this code and one line on standard error, and nothing else.
    #[track_caller]
    fn refusal(&self, line: &str, code: i32) -> String {
        let (ended, out, err) = self.run(line);
        assert_eq!((ended, out.as_str()), (code, ""), "{line}: {err}");
        assert_eq!(err.lines().count(), 1, "{line}: {err}");
        err.trim_end().to_owned()
    }

    #[track_caller]
    fn json(&self, line: &str, code: i32) -> Value {
        serde_json::from_str(&self.quiet(&format!("{line} --json"), code)).unwrap()
    }

    /// Every file and link is what it was, byte for byte.
    #[track_caller]
    fn is_again(&self, before: &BTreeMap<PathBuf, Vec<u8>>) {
        let now = self.everything();
        let all = now.keys().chain(before.keys());
        let differing = all.filter(|path| now.get(*path) != before.get(*path));
        assert_eq!(differing.collect::<Vec<_>>(), Vec::<&PathBuf>::new());
    }

    /// Every file and link below the root with its content.
    fn everything(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut dirs = vec![self.root.path().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_symlink() {
                    let target = fs::read_link(&path).unwrap();
                    found.insert(path, target.into_os_string().into_encoded_bytes());
                } else if path.is_dir() {
                    dirs.push(path);
                } else {
                    let bytes = fs::read(&path).unwrap();
                    found.insert(path, bytes);
                }
            }
        }
        found
    }
}

#[track_caller]
fn finish(mut command: Command) -> (i32, String, String) {
    let output: Output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let code = output.status.code().expect("an exit code");
    (code, text(output.stdout), text(output.stderr))
}

/// CPUs of a JSON list, as the kernel writes them.
fn list(cpus: &Value) -> String {
    let cpus = cpus.as_array().unwrap().iter();
    let cpus = cpus.map(|cpu| usize::try_from(cpu.as_u64().unwrap()).unwrap());
    cpus.collect::<skep::config::CpuSet>().to_string()
}

#[test]
fn layouts_of_four_machines() {
    // Housekeeping, interrupts, workers, idle; classes.
    let cases: [(&str, [&str; 4], &[(&str, &str)]); 4] = [
        ("vm-2", ["0", "0-1", "0-1", ""], &[("balanced", "0-1")]),
        (
            "smt-64",
            ["0,64,96-99", "32-35", "1-31,36-63", "65-95,100-127"],
            &[("latency", "1-31"), ("throughput", "36-63")],
        ),
        (
            "epyc-128",
            ["0", "1-8", "9-127", ""],
            &[("latency", "16-127"), ("throughput", "9-15")],
        ),
        ("arm-16", ["0", "1", "2-15", ""], &[("balanced", "2-15")]),
    ];
    for (name, roles, classes) in cases {
        let bench = Bench::new(name);
        let shown = bench.json("show", 0);
        let layout = &shown["layout"];
        let found = ["housekeeping", "interrupts", "workers", "idle"];
        let found = found.map(|role| list(&layout[role]["cpus"]));
        assert_eq!(found, roles, "{name}");
        let found: Vec<_> = layout["classes"].as_array().unwrap().iter().collect();
        let found: Vec<_> = found
            .iter()
            .map(|class| (class["profile"].as_str().unwrap(), list(&class["cpus"])))
            .collect();
        let found: Vec<_> = found
            .iter()
            .map(|(name, cpus)| (*name, cpus.as_str()))
            .collect();
        assert_eq!(found, classes, "{name}");
    }
}

#[test]
fn machines_are_shown() {
    let cases: [(&str, &[&str]); 4] = [
        (
            "vm-2",
            &[
                "  Linux 6.18.0-generic, 3935 MiB of memory\n",
                "  CPUs 0-1: 2 cores, no SMT\n",
                "  frequency driver: none: the hypervisor or firmware sets it\n",
                "  eth0: 1 receive and 1 transmit queues, any node, interrupts 37-39\n",
                "  housekeeping  0                shares the first worker's core\n",
                "  workers       0-1              every core has one: none of 2 can be spared\n",
                "[workers]\ncores = [0, 1]\nprofile = \"balanced\"\n",
            ],
        ),
        (
            "smt-64",
            &[
                "  CPUs 0-127: 64 cores, SMT on\n",
                "  node 1: CPUs 32-63,96-127\n",
                "  L3 caches: CPUs 0-31,64-95; CPUs 32-63,96-127\n",
                "  ens1f0: 32 receive and 32 transmit queues, node 1, interrupts 199-231\n",
                "  irqbalance runs: ",
                "  interrupts    32-35            on node 1 like ens1f0\n",
                "  idle          65-95,100-127    siblings of workers",
            ],
        ),
        (
            "epyc-128",
            &[
                "  CPUs 0-127: 128 cores, no SMT\n",
                "  L3 caches: 16: CPUs 0-7; CPUs 8-15; …\n",
            ],
        ),
        (
            "arm-16",
            &[
                "  L3 caches: not known\n",
                "  CPUs 0-15: 16 cores, no SMT\n",
            ],
        ),
    ];
    for (name, expected) in cases {
        let shown = Bench::new(name).quiet("show", 0);
        for text in expected {
            assert!(shown.contains(text), "{name}: no {text:?} in\n{shown}");
        }
    }
}

#[test]
fn the_configuration_that_is_shown_is_accepted() {
    for name in HOSTS {
        let bench = Bench::new(name);
        let shown = bench.json("show --profile latency", 0);
        let workers = shown["configuration"].as_str().unwrap();
        assert!(workers.lines().all(|line| line.len() <= 100), "{workers}");
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ok.wasm"), b"\0asm\x0d\0\x01\0").unwrap();
        let path = dir.path().join("skep.toml");
        let text = format!(
            "{workers}[listen]\nhttp = ['127.0.0.1:0']\n[[tenant]]\nname = 'a'\n\
             component = 'ok.wasm'\nhosts = ['a.test']\n"
        );
        fs::write(&path, text).unwrap();
        let online: Vec<_> = (0..128).collect();
        let machine = Machine {
            allowed: online.clone(),
            online,
        };
        let loaded = Host::load_for(&path, &machine).unwrap();
        let cores: skep::config::CpuSet = loaded.cores.iter().copied().collect();
        assert_eq!(cores.to_string(), list(&shown["layout"]["workers"]["cpus"]));
        assert_eq!(loaded.profile.slice_us, 500, "latency's");

        // And with it, the layout stays.
        let config = format!("show --config {}", path.display());
        let again = bench.json(&config, 0);
        assert_eq!(
            again["layout"]["workers"]["cpus"],
            shown["layout"]["workers"]["cpus"]
        );
        assert_eq!(again["configuration"], shown["configuration"]);
    }
}

#[test]
fn verdicts_on_four_machines() {
    // In the order of HOSTS.
    let cases = [
        ("max_map_count", ["ok", "ok", "ok", "ok"]),
        ("swappiness", ["differs", "differs", "ok", "differs"]),
        ("huge_pages", ["differs", "ok", "ok", "ok"]),
        ("huge_pages_defrag", ["ok", "ok", "differs", "ok"]),
        ("numa_balancing", ["ok", "differs", "ok", "ok"]),
        ("somaxconn", ["ok", "ok", "differs", "ok"]),
        ("tcp_max_syn_backlog", ["differs", "ok", "ok", "differs"]),
        ("ip_local_port_range", ["skipped"; 4]),
        (
            "nic_interrupts",
            ["skipped", "differs", "differs", "differs"],
        ),
        (
            "other_interrupts",
            ["skipped", "differs", "differs", "differs"],
        ),
        ("rps", ["skipped"; 4]),
        ("xps", ["skipped", "differs", "differs", "differs"]),
        ("open_files", ["ok", "ok", "advice", "ok"]),
        ("locked_memory", ["ok", "ok", "advice", "ok"]),
        ("io_uring", ["ok", "ok", "differs", "impossible"]),
        (
            "governor",
            ["impossible", "differs", "differs", "impossible"],
        ),
        ("sleep_latency", ["skipped"; 4]),
        ("nmi_watchdog", ["ok", "differs", "ok", "impossible"]),
        ("kernel_work", ["skipped", "differs", "differs", "differs"]),
        ("isolcpus", ["skipped"; 4]),
        ("smt", ["skipped"; 4]),
    ];
    for (index, name) in HOSTS.into_iter().enumerate() {
        let rows = Bench::new(name).json("check", 1);
        for (id, expected) in &cases {
            assert_eq!(row(&rows, id)["verdict"], expected[index], "{name}: {id}");
        }
    }
}

#[track_caller]
fn row<'a>(rows: &'a Value, id: &str) -> &'a Value {
    let mut rows = rows.as_array().unwrap().iter();
    rows.find(|row| row["id"] == id).expect(id)
}

#[test]
fn what_is_missing_is_impossible_and_says_why() {
    let bench = Bench::new("arm-16");
    let check = bench.quiet("check", 1);
    for line in [
        "impossible governor            /sys/devices",
        "(16 files)",
        "impossible io_uring            does not exist: kernels before 6.6 always allow io_uring\n",
        "impossible nmi_watchdog        does not exist: this machine has no hard lockup detector\n",
    ] {
        let line = line.replace("/sys/devices", "does not exist: the hypervisor");
        assert!(check.contains(&line), "no {line:?} in\n{check}");
    }
    // A machine without a card.
    fs::remove_file(bench.path("/sys/class/net/eth0")).unwrap();
    let rows = bench.json("check", 1);
    let interrupts = row(&rows, "nic_interrupts");
    assert_eq!(interrupts["verdict"], "impossible");
    assert_eq!(interrupts["places"][0]["note"], "no network card was found");
}

#[test]
fn profiles_and_names_decide_what_is_wanted() {
    let bench = Bench::new("epyc-128");
    let verdict = |line: &str, id: &str| {
        let rows = bench.json(line, 1);
        row(&rows, id)["verdict"].as_str().unwrap().to_owned()
    };
    let cases = [
        ("check", "sleep_latency", "skipped"),
        ("check --profile latency", "sleep_latency", "differs"),
        (
            "check --profile latency --without sleep_latency",
            "sleep_latency",
            "skipped",
        ),
        ("check --with sleep_latency", "sleep_latency", "differs"),
        // Its command line has the first two already.
        ("check --profile latency", "isolcpus", "ok"),
        ("check --profile latency", "rcu_nocbs", "ok"),
        ("check --with nohz_full", "nohz_full", "advice"),
        ("check --with smt", "smt", "ok"),
        ("check --with busy_poll", "busy_poll", "differs"),
        // 281,024 mappings: more than 262,144.
        ("check --profile density", "max_map_count", "differs"),
    ];
    for (line, id, expected) in cases {
        assert_eq!(verdict(line, id), expected, "{line}: {id}");
    }
}

/// `vm.max_map_count` is one for every process: the core that needs most decides.
#[test]
fn a_core_with_a_profile_of_its_own_is_tuned_for() {
    let bench = Bench::new("vm-2");
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ok.wasm"), b"\0asm\x0d\0\x01\0").unwrap();
    let config = dir.path().join("skep.toml");
    for (own, expected) in [
        ("", "ok"),
        ("[[workers.core]]\nid = 1\nprofile = 'density'\n", "differs"),
    ] {
        let text = format!(
            "[listen]\nhttp = ['127.0.0.1:0']\n[workers]\ncores = [0, 1]\n{own}\
             [[tenant]]\nname = 'a'\ncomponent = 'ok.wasm'\nhosts = ['a.test']\n"
        );
        fs::write(&config, text).unwrap();
        let rows = bench.json(&format!("check --config {}", config.display()), 1);
        assert_eq!(row(&rows, "max_map_count")["verdict"], expected, "{own}");
    }
}

#[test]
fn a_profile_of_ones_own_is_tuned_for() {
    let bench = Bench::new("vm-2");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.toml");
    fs::write(
        &path,
        "extends = \"density\"\nslots = 10000\nrunning_max = 9000\nwarm_slots = 0\n",
    )
    .unwrap();
    // With a configuration that names it, it is left to that.
    fs::write(dir.path().join("ok.wasm"), b"\0asm\x0d\0\x01\0").unwrap();
    let config = dir.path().join("skep.toml");
    let text = "[listen]\nhttp = ['127.0.0.1:0']\n[workers]\ncores = [1]\nprofile = './mine.toml'\n\
                [[tenant]]\nname = 'a'\ncomponent = 'ok.wasm'\nhosts = ['a.test']\n";
    fs::write(&config, text).unwrap();
    let shown = bench.json(&format!("show --config {}", config.display()), 0);
    assert_eq!(shown["configuration"], "[workers]\ncores = [1]\n");
    let rows = bench.json(&format!("check --config {}", config.display()), 1);
    let count = row(&rows, "max_map_count");
    assert_eq!(
        count["places"][0]["wanted"], "at least 121028",
        "one tenant"
    );
    assert_eq!(row(&rows, "other_interrupts")["places"][0]["wanted"], "0");

    let named = format!("--profile {}", path.display());
    let shown = bench.json(&format!("show {named}"), 0);
    let line = format!("\nprofile = \"{}\"\n", path.display());
    assert!(shown["configuration"].as_str().unwrap().ends_with(&line));
    let rows = bench.json(&format!("check {named}"), 1);
    let count = row(&rows, "max_map_count");
    assert_eq!(count["places"][0]["wanted"], "at least 161024");
}

#[test]
fn a_plan_is_a_script_and_writes_nothing() {
    let bench = Bench::new("vm-2");
    let before = bench.everything();
    let plan = bench.quiet("plan --with ip_local_port_range --with nohz_full", 0);
    let commands: Vec<_> = plan
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let expected = [
        "sysctl -w vm.swappiness=1",
        "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        "sysctl -w net.ipv4.tcp_max_syn_backlog=4096",
        "sysctl -w net.core.netdev_max_backlog=4096",
        "sysctl -w net.ipv4.ip_local_port_range='16384 65535'",
        "sysctl -w kernel.timer_migration=0",
        "sysctl -w vm.stat_interval=10",
    ];
    assert_eq!(commands, expected);
    assert!(plan.starts_with("#!/bin/sh\n# skep tune plan, profile balanced, "));
    bench.is_again(&before);
    assert!(!bench.journal().exists());
}

#[test]
fn plans_of_large_machines() {
    let bench = Bench::new("smt-64");
    let plan = bench.quiet("plan --profile latency --with smt", 0);
    for line in [
        "echo 32 > /proc/irq/199/smp_affinity_list",
        "echo 32 > /proc/irq/200/smp_affinity_list",
        "echo 33 > /proc/irq/201/smp_affinity_list",
        "echo 35 > /proc/irq/231/smp_affinity_list",
        "echo ffffffff,ffffffff,0000000f,00000001 > /proc/irq/default_smp_affinity",
        // The first of 59 workers on 32 queues, the 33rd, which is CPU 37.
        "echo 20,00000002 > /sys/class/net/ens1f0/queues/tx-0/xps_cpus",
        "echo performance > /sys/devices/system/cpu/cpu127/cpufreq/scaling_governor",
        "echo 10 > /sys/devices/system/cpu/cpu63/power/pm_qos_resume_latency_us",
        "echo off > /sys/devices/system/cpu/smt/control",
        "#   isolcpus: add `isolcpus=1-31,36-63` to the kernel's command line and reboot",
    ] {
        assert!(plan.lines().any(|it| it == line), "no {line:?} in\n{plan}");
    }
    let last = plan.lines().rfind(|line| line.starts_with("echo"));
    assert_eq!(last, Some("echo off > /sys/devices/system/cpu/smt/control"));

    let mut shell = Command::new("sh");
    let path = bench.state.path().join("plan.sh");
    fs::write(&path, plan).unwrap();
    shell.arg("-n").arg(&path);
    assert_eq!(finish(shell), (0, String::new(), String::new()), "a script");
}

#[test]
fn a_plan_does_what_apply_does() {
    for name in HOSTS {
        let (planned, applied) = (Bench::new(name), Bench::new(name));
        let line = "--profile latency --with smt --with ip_local_port_range";
        let plan = planned.quiet(&format!("plan {line}"), 0);
        // The same commands, one directory down.
        let root = planned.root.path().display();
        let sysctl = format!(
            "sysctl() {{ echo \"${{2#*=}}\" > {root}/proc/sys/$(echo \"${{2%%=*}}\" | tr . /); }}\n"
        );
        let script = sysctl + &plan.replace(" > /", &format!(" > {root}/"));
        let path = planned.state.path().join("plan.sh");
        fs::write(&path, script).unwrap();
        let mut shell = Command::new("sh");
        shell.arg("-eu").arg(&path);
        assert_eq!(finish(shell), (0, String::new(), String::new()), "{name}");

        applied.quiet(&format!("apply {line}"), 0);
        let files = |bench: &Bench| {
            let all = bench.everything().into_iter();
            let below = |path: PathBuf| path.strip_prefix(bench.root.path()).unwrap().to_owned();
            all.map(|(path, bytes)| (below(path), bytes))
                .collect::<Vec<_>>()
        };
        assert!(files(&planned) == files(&applied), "{name}");
    }
}

#[test]
fn the_example_of_the_documentation_is_real() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/TUNING.md");
    let docs = fs::read_to_string(docs).unwrap();
    let shown = Bench::new("vm-2").quiet("show", 0);
    assert!(docs.contains(&format!("```text\n{shown}```\n")), "{shown}");
}

#[test]
fn apply_and_revert_byte_for_byte() {
    for name in HOSTS {
        let bench = Bench::new(name);
        let before = bench.everything();
        bench.quiet("check", 1);
        let applied = bench.quiet("apply", 0);
        assert!(applied.contains("changed "), "{name}: {applied}");
        assert_ne!(bench.everything(), before, "{name}");
        bench.quiet("check", 0);
        assert!(bench.quiet("plan", 0).contains("# Nothing to change.\n"));

        let reverted = bench.quiet("revert", 0);
        assert!(reverted.lines().all(|line| line.starts_with("put back ")));
        bench.is_again(&before);
        assert!(!bench.journal().exists());
        assert_eq!(bench.quiet("revert", 0), "nothing was applied\n");
    }
}

#[test]
fn what_is_applied() {
    let bench = Bench::new("smt-64");
    let applied = bench.quiet("apply --profile throughput --with smt", 0);
    for line in [
        "changed nic_interrupts: 33 files",
        "changed swappiness: 60 -> 1",
    ] {
        assert!(applied.contains(line), "no {line:?} in\n{applied}");
    }
    let cases = [
        ("/proc/sys/vm/swappiness", "1\n"),
        ("/proc/sys/kernel/numa_balancing", "0\n"),
        ("/proc/irq/216/smp_affinity_list", "32\n"),
        (
            "/sys/devices/system/cpu/cpu5/cpufreq/scaling_governor",
            "performance\n",
        ),
        ("/sys/devices/system/cpu/smt/control", "off\n"),
        // As many queues as CPUs for interrupts and more: RPS stays off and untouched.
        (
            "/sys/class/net/ens1f0/queues/rx-0/rps_cpus",
            "00000000,00000000,00000000,00000000\n",
        ),
    ];
    for (path, expected) in cases {
        let text = fs::read_to_string(bench.path(path)).unwrap();
        assert_eq!(text, expected, "{path}");
    }
}

#[test]
fn applying_twice_keeps_the_first_values() {
    for name in HOSTS {
        let bench = Bench::new(name);
        let before = bench.everything();
        bench.quiet("apply", 0);
        assert!(bench.quiet("apply", 0).starts_with("nothing to change\n"));
        // Another profile wants more, and somebody has meddled meanwhile.
        let changed = match name {
            "epyc-128" => "/proc/sys/net/core/somaxconn",
            _ => "/proc/sys/vm/swappiness",
        };
        fs::write(bench.path(changed), "77\n").unwrap();
        bench.quiet("apply --profile density --with busy_poll", 0);
        bench.quiet("revert", 0);
        bench.is_again(&before);
    }
}

#[test]
fn an_interrupted_apply_can_be_taken_back() {
    for name in HOSTS {
        let bench = Bench::new(name);
        let before = bench.everything();
        bench.quiet("apply", 0);
        // As if it had stopped after the journal and every other change.
        let changed = bench.everything();
        let changed = changed
            .into_iter()
            .filter(|(path, now)| before[path] != *now);
        for (path, _) in changed.step_by(2) {
            fs::write(&path, &before[&path]).unwrap();
        }
        // With a second one on top, or without.
        if name != "vm-2" {
            bench.quiet("apply --profile latency", 0);
        }
        bench.quiet("revert", 0);
        bench.is_again(&before);
        assert!(!bench.journal().exists());
    }
}

#[test]
fn revert_says_what_somebody_else_has_changed() {
    let bench = Bench::new("vm-2");
    bench.quiet("apply", 0);
    fs::write(bench.path("/proc/sys/vm/swappiness"), "77\n").unwrap();
    let reverted = bench.quiet("revert", 0);
    let line = "put back swappiness: /proc/sys/vm/swappiness (meanwhile it held 77)\n";
    assert!(reverted.contains(line), "{reverted}");
    // The last change is taken back first.
    let first = reverted.lines().next();
    assert_eq!(
        first,
        Some("put back stat_interval: /proc/sys/vm/stat_interval")
    );
}

#[test]
fn what_cannot_be_written_is_said_and_the_rest_is_done() {
    let bench = Bench::new("vm-2");
    let everybody = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
    everybody(bench.root.path(), 0o755).unwrap();
    everybody(bench.state.path(), 0o777).unwrap();
    for (path, _) in bench.everything() {
        if path.is_file() {
            everybody(&path, 0o666).unwrap();
        }
    }
    let before = bench.everything();
    everybody(&bench.path("/proc/sys/vm/swappiness"), 0o444).unwrap();
    let as_nobody = |line: &str| {
        let mut command = bench.command(line);
        if geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        finish(command)
    };

    let (code, out, err) = as_nobody("apply");
    assert_eq!(code, 1, "{err}");
    let refused = "skep: swappiness: /proc/sys/vm/swappiness: cannot be set to 1: Permission denied (os error 13) (run as root)\n";
    assert_eq!(err, refused);
    assert!(out.contains("changed stat_interval: 1 -> 10\n"), "{out}");

    // A file that is not there any more stays in the journal until it can be put back.
    let gone = bench.path("/proc/sys/vm/stat_interval");
    fs::remove_file(&gone).unwrap();
    let (code, _, err) = as_nobody("revert");
    assert_eq!(code, 1);
    assert_eq!(err.lines().count(), 1);
    assert!(
        err.starts_with(
            "skep: stat_interval: /proc/sys/vm/stat_interval: cannot be read: No such file"
        ),
        "{err}"
    );
    fs::write(&gone, "10\n").unwrap();
    everybody(&gone, 0o666).unwrap();
    let (code, out, _) = as_nobody("revert");
    let line = "put back stat_interval: /proc/sys/vm/stat_interval\n";
    assert_eq!((code, out.as_str()), (0, line));
    bench.is_again(&before);
}

#[test]
fn without_a_journal_nothing_is_written() {
    let bench = Bench::new("vm-2");
    let before = bench.everything();
    let file = bench.state.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = bench.refusal(&format!("apply --state {}/x", file.display()), 1);
    assert!(refused.contains("file/x: cannot be made: "), "{refused}");
    bench.is_again(&before);
}

#[test]
fn a_damaged_journal_is_one_clear_line_and_changes_nothing() {
    let bench = Bench::new("vm-2");
    bench.quiet("apply", 0);
    let applied = bench.everything();
    let whole = fs::read_to_string(bench.journal()).unwrap();
    let cases = [
        ("", "damaged (EOF"),
        ("{", "damaged (EOF"),
        ("\0\u{1}", "damaged (expected value"),
        (&whole[..whole.len() - 20], "damaged (EOF"),
        (
            &whole.replace("60", "61"),
            "damaged (its digest is not that of its entries)",
        ),
    ];
    for (text, expected) in cases {
        fs::write(bench.journal(), text).unwrap();
        for line in ["revert", "apply --profile density"] {
            let refused = bench.refusal(line, 1);
            let expected = format!("skep: {}: {expected}", bench.journal().display());
            assert!(refused.starts_with(&expected), "{line}: {refused}");
        }
        bench.is_again(&applied);
    }
    fs::write(bench.journal(), whole).unwrap();
    bench.quiet("revert", 0);

    // Another root's journal.
    let other = Bench::new("arm-16");
    bench.quiet("apply", 0);
    let refused = other.refusal(
        &format!("revert --state {}", bench.state.path().display()),
        1,
    );
    assert!(refused.contains(": is about /"), "{refused}");
}

#[test]
fn nothing_outside_the_root_is_written() {
    let bench = Bench::new("vm-2");
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("swappiness");
    fs::write(&victim, "60\n").unwrap();
    let link = bench.path("/proc/sys/vm/swappiness");
    fs::remove_file(&link).unwrap();
    // The way up out of the root, as deep as it lies.
    let up = "../".repeat(12);
    for target in [
        victim.clone(),
        Path::new(&up).join(victim.strip_prefix("/").unwrap()),
    ] {
        symlink(&target, &link).unwrap();
        let rows = bench.json("check", 1);
        let note = &row(&rows, "swappiness")["places"][0]["note"];
        assert!(
            note.as_str().unwrap().contains("a link leads out of "),
            "{note}"
        );
        bench.quiet("apply", 0);
        bench.quiet("revert", 0);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "60\n");
        fs::remove_file(&link).unwrap();
    }

    // A pipe has no content, and nobody waits for one.
    nix::unistd::mkfifo(&link, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let rows = bench.json("check", 1);
    let note = &row(&rows, "swappiness")["places"][0]["note"];
    assert_eq!(note, "cannot be read: not a regular file");
}

#[test]
fn the_journal_lies_below_the_root_unless_named() {
    let bench = Bench::new("vm-2");
    let default = |action: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
        command
            .args(["tune", action, "--root"])
            .arg(bench.root.path());
        finish(command)
    };
    let (code, out, _) = default("apply");
    assert_eq!(code, 0);
    let journal = bench.path("/var/lib/skep/tune/journal.json");
    assert!(journal.is_file());
    assert!(
        out.contains(&format!("is kept in {}\n", journal.display())),
        "{out}"
    );
    assert_eq!(default("revert").0, 0);
    assert!(!journal.exists());

    // Without a journal nothing is made, neither here nor there.
    fs::remove_dir_all(bench.path("/var")).unwrap();
    assert_eq!(default("revert").1, "nothing was applied\n");
    assert!(!bench.path("/var").exists());

    // A link on the way there could lead anywhere.
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), bench.path("/var")).unwrap();
    let (code, _, err) = default("apply");
    assert_eq!(code, 1);
    assert!(
        err.ends_with("/var: a link; name a directory with --state\n"),
        "{err}"
    );
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn bad_usage_is_one_line_and_exit_code_2() {
    let bench = Bench::new("vm-2");
    let dir = tempfile::tempdir().unwrap();
    let settings = dir.path().join("mine.toml");
    let setting = "[[setting]]\nid = 'a'\npath = '/proc/sys/vm/swappiness'\nvalue = '1'\nwhy = 'w'\nsource = 's'\ncost = 'c'\nundo = 'u'\n";
    fs::write(&settings, format!("{setting}prio = 1\n")).unwrap();
    let at = dir.path().display();
    let cases = [
        (
            format!("check --settings {at}"),
            format!("{at}/mine.toml:9: setting.a.prio: unknown key; known here: id, "),
        ),
        (
            format!("check --settings {at}/none"),
            "--settings: cannot be read: ".to_owned(),
        ),
        (
            "check --profile fast".to_owned(),
            "profile: no such profile (got fast); one of ".to_owned(),
        ),
        (
            "plan --with a".to_owned(),
            "--with: no such setting (got a); one of max_map_count, ".to_owned(),
        ),
        (
            "apply --without a".to_owned(),
            "--without: no such setting (got a); one of ".to_owned(),
        ),
        (
            "show --config none.toml".to_owned(),
            "none.toml: cannot open the file: ".to_owned(),
        ),
    ];
    for (line, expected) in cases {
        let refused = bench.refusal(&line, 2);
        assert!(refused.starts_with(&expected), "{line}: {refused}");
    }

    // Roots that are none.
    let empty = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.toml");
    for (root, expected) in [
        (Path::new("/nowhere"), "--root: cannot be opened: "),
        (&file, "--root: cannot be opened: "),
        (
            empty.path(),
            "--root: /sys/devices/system/cpu/online cannot be read: ",
        ),
    ] {
        for action in ["show", "check", "plan", "apply"] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
            command.args(["tune", action, "--root"]).arg(root);
            let (code, out, err) = finish(command);
            assert_eq!((code, out.as_str()), (2, ""), "{action}: {err}");
            assert!(err.starts_with(expected), "{action}: {err}");
            assert_eq!(err.lines().count(), 1);
        }
    }
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);

    // Settings of one's own replace the others.
    fs::write(&settings, setting).unwrap();
    let rows = bench.json(&format!("check --settings {at}"), 1);
    assert_eq!(rows.as_array().unwrap().len(), 1);
    assert_eq!(row(&rows, "a")["subject"], "mine");
}

#[test]
fn contents_that_make_no_sense_are_left_alone() {
    let bench = Bench::new("epyc-128");
    let cases: [(&str, &str, &[u8], &str); 4] = [
        (
            "/proc/sys/net/core/somaxconn",
            "somaxconn",
            b"many\n",
            "holds many, which is no number",
        ),
        (
            "/proc/irq/default_smp_affinity",
            "other_interrupts",
            b"xyz\n",
            "holds xyz, which is no set of CPUs",
        ),
        (
            "/proc/sys/kernel/io_uring_disabled",
            "io_uring",
            b"\xff\xfe",
            "cannot be read: not text",
        ),
        (
            "/sys/kernel/mm/transparent_hugepage/defrag",
            "huge_pages_defrag",
            b"[always] sometimes\n",
            "offers only [always] sometimes",
        ),
    ];
    for (path, _, bytes, _) in cases {
        fs::write(bench.path(path), bytes).unwrap();
    }
    // A page at most; space is no value.
    let long = |bytes: usize| {
        let path = bench.path("/proc/sys/vm/max_map_count");
        fs::write(path, format!("{:bytes$}", 70_000)).unwrap();
        row(&bench.json("check", 1), "max_map_count")["verdict"].clone()
    };
    assert_eq!(long(TUNE_VALUE_BYTES_MAX), "ok");
    assert_eq!(long(TUNE_VALUE_BYTES_MAX + 1), "impossible");
    let rows = bench.json("check", 1);
    for (_, id, _, note) in cases {
        let row = row(&rows, id);
        assert_eq!(row["verdict"], "impossible", "{id}");
        assert_eq!(row["places"][0]["note"], note, "{id}");
    }
    bench.quiet("apply", 0);
    for (path, _, bytes, _) in cases {
        assert_eq!(fs::read(bench.path(path)).unwrap(), bytes, "{path}");
    }
}

#[test]
fn this_machine_can_be_looked_at() {
    for action in ["show", "check", "plan"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
        command.args(["tune", action, "--json"]);
        let (code, out, err) = finish(command);
        assert!(
            code == 0 || (code == 1 && action == "check"),
            "{action}: {err}"
        );
        let parsed: Result<Value, _> = serde_json::from_str(&out);
        assert!(parsed.is_ok(), "{action}: {out}");
    }
}
