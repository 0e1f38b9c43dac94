//! `skep tune search` as it is typed, with a load tool whose figures are known: a shell script that
//! reads the candidate's profile and prints what `skep-load` would.

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)] // in a test, a panic is the report

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use skep::config::Profile;
use tempfile::TempDir;

/// Reads the command line of `skep-load` into `$profile`, `$out`, `$command` and `$seed`.
const READ: &str = r#"#!/bin/sh
command=$1
while [ $# -gt 0 ]; do
  case $1 in
    --set) case $2 in profile=*) profile=${2#profile=} ;; esac ;;
    --out) out=$2 ;;
    --seed) seed=$2 ;;
    --objective) objectives="$objectives $2" ;;
  esac
  shift
done
"#;

/// Prints a capacity of `$rate`.
const CAPACITY: &str = r#"
echo "{\"scenario\": \"s\", \"best\": 1.0, \"missed\": 1.1, \"rate\": $rate, \"points\": []}"
"#;

/// A large effect of one change, a small one of another, and the scatter of seeds.
const EFFECT: &str = r#"
rate=$((10000 + seed / 1000 % 7))
grep -q '^decommit_batch = 64$' "$profile" 2>/dev/null && rate=$((rate + 3000))
grep -q '^slice_us = 500$' "$profile" 2>/dev/null && rate=$((rate + 1500))
"#;

const SCENARIO: &str = "profile = \"${profile:-balanced}\"\n";

const SPACE: &str = "\
[[key]]
name = \"decommit_batch\"
values = [1, 64, 1024]
why = \"the base has 1, and no room for 1024 with all slots running\"
[[key]]
name = \"slice_us\"
values = [500, 2000]
with = { tick_us = [250, 1000] }
why = \"moves with the tick\"
[[key]]
name = \"warm_slots\"
values = [0]
why = \"no effect\"
";

struct Bench(TempDir);

impl Bench {
    fn new(script: &str) -> Bench {
        let bench = Bench(tempfile::tempdir().unwrap());
        bench.write("scenario.toml", SCENARIO);
        bench.write("space.toml", SPACE);
        bench.write("skep-load", &format!("{READ}{script}"));
        let executable = Permissions::from_mode(0o755);
        fs::set_permissions(bench.path("skep-load"), executable).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, objective: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
        command
            .current_dir(self.0.path())
            .args(["tune", "search", "--scenario", "scenario.toml"])
            .args(["-o", "mine.toml", "--quick", "--objective", objective])
            .args(more)
            .stdin(Stdio::null());
        command
    }

    fn search(&self, objective: &str, more: &[&str]) -> (i32, String, String) {
        let tool = ["--load-tool", "./skep-load", "--space", "space.toml"];
        let mut command = self.command(objective, &tool);
        finish(command.args(more))
    }

    fn evidence(&self) -> Value {
        let text = fs::read(self.path("mine.toml.evidence.json")).expect("evidence");
        serde_json::from_slice(&text).unwrap()
    }

    fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }
}

fn finish(command: &mut Command) -> (i32, String, String) {
    let output: Output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let code = output.status.code().expect("an exit code");
    (code, text(output.stdout), text(output.stderr))
}

const RATE: &str = "max rate with p99_ms <= 5";

#[test]
fn a_change_that_beats_the_base_is_written_with_its_reasons() {
    let bench = Bench::new(&format!("{EFFECT}{CAPACITY}"));
    let (code, out, err) = bench.search(RATE, &[]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("beats balanced: 1.4"), "{out}");

    let path = bench.path("mine.toml");
    let text = fs::read_to_string(&path).unwrap();
    for part in [
        "# Found by `skep tune search`: beats balanced",
        "\n# objective  max rate with p99_ms <= 5\n",
        "\n# scenario   scenario.toml\n",
        "\n# machine    ",
        "\n# command    skep tune search --scenario scenario.toml ",
        "\n# held out   1.4",
        "\nextends = \"balanced\"\n",
        "\n# alone 1.300 of balanced's requests/s: ",
        "\ndecommit_batch = 64\n",
        "\nslice_us = 500\n",
        "\ntick_us = 250 # moves with slice_us\n",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(!text.contains("warm_slots = "), "{text}");
    let profile = Profile::find(path.to_str().unwrap(), Path::new(".")).unwrap();
    let found = (profile.decommit_batch, profile.slice_us, profile.tick_us);
    assert_eq!(found, (64, 500, 250));

    let evidence = bench.evidence();
    assert_eq!(evidence["verdict"], "beats");
    assert_eq!(evidence["held_out"]["pairs"].as_array().unwrap().len(), 5);
    let low = evidence["held_out"]["ratio"]["low"].as_f64().unwrap();
    assert!((1.4..1.46).contains(&low), "{low}");
    let reasons: Vec<_> = evidence["not_tried"].as_array().unwrap().iter().collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert_eq!(reasons[0]["candidate"], "decommit_batch=1");
    assert_eq!(reasons[1]["candidate"], "decommit_batch=1024");
    let reason = reasons[1]["reason"].as_str().unwrap();
    assert!(reason.contains("the pool can run out"), "{reason}");
    let rounds = evidence["rounds"].as_array().unwrap();
    assert_eq!(rounds[0]["joined"][0], "decommit_batch=64 slice_us=500");
    assert!(rounds[0]["control"]["noise"].as_f64().unwrap() > 0.095);
    let trials = evidence["trials"].as_array().unwrap().len();
    let lines = out
        .lines()
        .filter(|it| it.starts_with("round ") || it.starts_with("held-out"));
    let lines = lines
        .filter(|it| it.contains('/') && !it.contains(':'))
        .count();
    assert_eq!(lines, trials, "a line for every trial: {out}");
}

#[test]
fn where_nothing_has_an_effect_no_profile_is_written_and_it_is_said() {
    let bench = Bench::new(&format!("rate=$((10000 + seed / 1000 % 7))\n{CAPACITY}"));
    let (code, out, err) = bench.search(RATE, &[]);
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    let last = out.lines().rev().nth(1).unwrap();
    assert!(
        last.contains("beat") && last.contains("no profile is written"),
        "{last}"
    );
    assert!(!bench.has("mine.toml"));
    assert_eq!(bench.evidence()["verdict"], "does-not-beat");
}

#[test]
fn the_smallest_metric_comes_from_the_results_of_a_run() {
    let script = r#"
[ "$command" = run ] && [ "$objectives" = " cpu_us_per_request >= 0 errors == 0" ] || exit 1
cpu=20.$((seed / 1000 % 7))
grep -q '^slice_us = 2000$' "$profile" 2>/dev/null && cpu=15.$((seed / 1000 % 7))
mkdir -p "$out"
cat > "$out/s.json" <<EOF
{"validity": {"valid": true, "reasons": []}, "objectives": [
 {"text": "cpu_us_per_request >= 0", "measured": $cpu, "met": true},
 {"text": "errors == 0", "measured": 0, "met": true}]}
EOF
exit 1
"#;
    let bench = Bench::new(script);
    let (code, out, err) = bench.search("min cpu_us_per_request with errors == 0", &[]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let text = fs::read_to_string(bench.path("mine.toml")).unwrap();
    assert!(text.contains("\nslice_us = 2000\ntick_us = 1000"), "{text}");
    assert!(text.contains("lower is better"), "{text}");
}

#[test]
fn what_is_there_is_kept_unless_it_may_be_overwritten() {
    let bench = Bench::new(&format!("{EFFECT}{CAPACITY}"));
    for name in ["mine.toml", "mine.toml.evidence.json"] {
        bench.write(name, "mine");
        let (code, out, err) = bench.search(RATE, &[]);
        assert_eq!((code, out.as_str()), (2, ""));
        let expected = format!("--output: {name} is there already; --overwrite replaces it\n");
        assert!(err == expected, "{err}");
        assert_eq!(fs::read_to_string(bench.path(name)).unwrap(), "mine");
        fs::remove_file(bench.path(name)).unwrap();
    }
    bench.write("mine.toml", "mine");
    let (code, _, err) = bench.search(RATE, &["--overwrite"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        fs::read_to_string(bench.path("mine.toml"))
            .unwrap()
            .contains("extends")
    );
}

#[test]
fn a_base_of_ones_own_is_extended_by_its_path() {
    let bench = Bench::new(&format!("{EFFECT}{CAPACITY}"));
    bench.write("base.toml", "extends = \"latency\"\nwarm_slots = 7\n");
    let (code, out, err) = bench.search(RATE, &["--base", "base.toml"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let path = bench.path("mine.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("extends = \"./base.toml\""), "{text}");
    let profile = Profile::find(path.to_str().unwrap(), Path::new(".")).unwrap();
    assert_eq!((profile.warm_slots, profile.decommit_batch), (7, 64));
}

#[test]
fn mistakes_are_one_line_and_leave_nothing() {
    let bench = Bench::new(&format!("{EFFECT}{CAPACITY}"));
    bench.write("fixed.toml", "profile = \"balanced\"\n");
    bench.write(
        "bad.toml",
        "[[key]]\nname = \"slots\"\nvalues = [1]\nwhy = \"\"\n",
    );
    let cases: [(&str, &[&str], i32, &str); 4] = [
        (
            "max speed",
            &[],
            2,
            "--objective: not an objective (got max speed); write `max rate with OBJ",
        ),
        (
            RATE,
            &["--base", "balancd"],
            2,
            "profile: no such profile (got balancd)",
        ),
        (
            RATE,
            &["--base", "./no.toml"],
            2,
            "--base: ./no.toml: No such file",
        ),
        (
            RATE,
            &["--set", "profile=latency"],
            2,
            "--set: profile is what is searched for",
        ),
    ];
    for (objective, more, expected, part) in cases {
        let (code, _, err) = bench.search(objective, more);
        assert_eq!(code, expected, "{more:?}: {err}");
        assert!(err.starts_with(part), "{more:?}: {err}");
    }
    let bare = |objective, scenario: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
        command
            .current_dir(bench.0.path())
            .args(["tune", "search", "-o", "mine.toml"]);
        command
            .args(["--scenario", scenario, "--objective", objective])
            .args(more);
        let (code, _, err) = finish(command.env("PATH", "").stdin(Stdio::null()));
        assert_eq!(err.lines().count(), 1, "{err}");
        (code, err)
    };
    let tool = ["--load-tool", "./skep-load"];
    let (code, err) = bare(RATE, "fixed.toml", &tool);
    assert!(
        code == 2 && err.contains("does not say `profile = \"${profile}\"`"),
        "{err}"
    );
    let (code, err) = bare(RATE, "no.toml", &tool);
    assert!(
        code == 2 && err.starts_with("--scenario: no.toml: "),
        "{err}"
    );
    let (code, err) = bare(RATE, "scenario.toml", &["--space", "bad.toml"]);
    assert!(
        code == 2 && err.starts_with("bad.toml:3: key.slots.values: out of range"),
        "{err}"
    );
    let (code, err) = bare(RATE, "scenario.toml", &["--load-tool", "./no-tool"]);
    assert!(
        code == 1 && err == "skep: --load-tool: ./no-tool: no program\n",
        "{err}"
    );
    assert!(!bench.has("mine.toml") && !bench.has("mine.toml.evidence.json"));
}

#[test]
fn without_the_load_tool_it_is_said_where_it_was_looked_for() {
    let bench = Bench::new("");
    fs::remove_file(bench.path("skep-load")).unwrap();
    // Not beside the tests' own skep, where skep-load may be.
    let alone = bench.path("skep");
    fs::copy(env!("CARGO_BIN_EXE_skep"), &alone).unwrap();
    let mut command = Command::new(&alone);
    command
        .current_dir(bench.0.path())
        .args(["tune", "search", "-o", "mine.toml"]);
    command
        .args(["--scenario", "scenario.toml", "--objective", RATE])
        .env("PATH", "");
    let (code, _, err) = finish(&mut command);
    assert_eq!((code, err.lines().count()), (1, 1), "{err}");
    assert!(
        err.starts_with("skep: no skep-load beside ") && err.contains("--load-tool"),
        "{err}"
    );
}

#[test]
fn what_the_load_tool_refuses_is_passed_on_in_one_line() {
    let bench =
        Bench::new("printf 'error: \"speed <= 5\": unknown metric\\n\\nFor more\\n' >&2; exit 2\n");
    let (code, _, err) = bench.search("max rate with speed <= 5", &[]);
    assert_eq!(
        (code, err.as_str()),
        (2, "\"speed <= 5\": unknown metric\n")
    );
    assert!(!bench.has("mine.toml.evidence.json"));
}

#[test]
fn a_base_that_cannot_be_measured_ends_the_search() {
    let bench = Bench::new("echo 'skep-load: the server does not start' >&2; exit 1\n");
    let (code, out, err) = bench.search(RATE, &[]);
    assert_eq!((code, err.lines().count()), (1, 1), "{err}");
    assert!(
        err.contains("balanced failed twice") && err.contains("the server does not start"),
        "{err}"
    );
    assert_eq!(
        out.lines()
            .filter(|it| it.contains("failed: the server"))
            .count(),
        2,
        "{out}"
    );
}

#[test]
fn a_generator_that_is_late_is_no_score_and_a_bound_that_is_met_is_said() {
    let late = r#"echo '{"best": 1.0, "missed": 2.0, "rate": 9, "points": [{"value": 2.0, "trials": [{"met": false, "valid": false}]}]}'"#;
    let bound = r#"echo '{"best": 9.0, "missed": null, "rate": 9, "points": []}'"#;
    for (script, part) in [
        (late, "the generator was late"),
        (bound, "largest value allowed"),
    ] {
        let (code, _, err) = Bench::new(script).search(RATE, &[]);
        assert!(code == 1 && err.contains(part), "{err}");
    }
}

/// Waits, at most ten seconds, for what has to become true.
#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(10), "not {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn a_signal_ends_everything_and_what_was_measured_is_kept() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // The third measurement lasts, with a server of its own.
        let script = format!(
            r#"
count=$(cat count 2>/dev/null || echo 0)
echo $((count + 1)) > count
if [ "$count" = 2 ]; then
  sleep 600 &
  echo $! > server.new && mv server.new server
  wait
fi
rate=10000
{CAPACITY}"#
        );
        let bench = Bench::new(&script);
        let tool = ["--load-tool", "./skep-load", "--space", "space.toml"];
        let mut child: Child = bench
            .command(RATE, &tool)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        until("measuring", || bench.has("server"));
        let text = fs::read_to_string(bench.path("server")).unwrap();
        let server: i32 = text.trim().parse().unwrap();
        assert!(lives(server));
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        let mut status = None;
        until("ended", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(1));
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.stderr, b"skep: interrupted\n");
        until("without a server", || !lives(server));
        let evidence = bench.evidence();
        assert_eq!(evidence["verdict"], "unfinished");
        assert_eq!(evidence["trials"].as_array().unwrap().len(), 2);
        assert!(!bench.has("mine.toml"));
    }
}
