//! Whole runs of the real binary against a small server that behaves, stalls, errs and dies.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[path = "common/server.rs"]
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use server::Server;
use skep_load::results::{PhaseFigures, Population, Results};
use tempfile::TempDir;

/// A run: its output, and its results where there are any.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
    directory: TempDir,
}

impl Run {
    fn of(command: &mut Command, directory: TempDir) -> Self {
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().unwrap();
        Self {
            code: status.code().unwrap(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
            directory,
        }
    }

    fn results(&self) -> Results {
        let json = find(self.directory.path(), "json")
            .unwrap_or_else(|| panic!("no results: {}", self.stderr));
        Results::read(&json).unwrap()
    }
}

fn find(directory: &Path, extension: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory.join("out")).ok()?;
    entries
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|found| found == extension))
}

fn skep_load() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skep-load"));
    // A test machine is busy, and that is no concern of these tests.
    command.env_remove("RUST_BACKTRACE").stdin(Stdio::null());
    command
}

fn prepared(scenario: &str, arguments: &[&str]) -> (Command, TempDir) {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("scenario.toml");
    std::fs::write(&file, scenario).unwrap();
    let mut command = skep_load();
    command
        .arg("run")
        .arg(&file)
        .args(["--quiet", "--force", "--out"])
        .arg(directory.path().join("out"))
        .args(arguments);
    (command, directory)
}

fn run(scenario: &str, arguments: &[&str]) -> Run {
    let (mut command, directory) = prepared(scenario, arguments);
    Run::of(&mut command, directory)
}

fn scenario(target: &str, population: &str, seconds: f64) -> String {
    format!(
        "name = \"t\"\ntarget = \"{target}\"\n[[population]]\nname = \"p\"\n{population}\n[[phase]]\nname = \"measure\"\nseconds = {seconds}\n"
    )
}

fn only(results: &Results) -> (&Population, &PhaseFigures) {
    (&results.populations[0], &results.populations[0].phases[0])
}

#[test]
fn a_closed_loop_counts_what_the_server_counts() {
    let server = Server::start();
    let text = scenario(
        &server.address(),
        "arrival = { process = \"closed\" }\nconnections = 4",
        0.5,
    );
    let run = run(&text, &[]);
    let results = run.results();
    let (_, figures) = only(&results);
    assert!(figures.succeeded > 50, "{}", run.stdout);
    assert_eq!(figures.errors_total(), 0, "{:?}", figures.errors);
    // The check phase asked once.
    assert_eq!(figures.succeeded + 1, server.requests());
    assert_eq!(
        (figures.connects, figures.statuses[&200]),
        (4, figures.succeeded)
    );
    assert_eq!(figures.latency.count(), figures.succeeded);
    assert!(find(run.directory.path(), "html").is_some());
    let per_second: u64 = results.populations[0]
        .seconds
        .iter()
        .map(|second| second.succeeded)
        .sum();
    assert_eq!(per_second, figures.succeeded);
}

#[test]
fn a_stalled_server_is_seen_in_full() {
    let server = Server::start();
    let text = scenario(
        &server.address(),
        "arrival = { process = \"constant\", rate = 200 }\nconnections = 4\n[[population.request]]\npath = \"/stall\"",
        3.0,
    );
    let (mut command, directory) = prepared(&text, &["--unchecked"]);
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(|| Run::of(&mut command, directory));
        until(|| server.requests() > 100);
        server.stall(true);
        std::thread::sleep(Duration::from_secs(1));
        server.stall(false);
        run.join().unwrap()
    });
    let results = run.results();
    let (_, figures) = only(&results);
    assert_eq!(
        (figures.intended, figures.succeeded),
        (600, 600),
        "{}",
        run.stdout
    );
    // 200 requests were due while nothing was answered; half of them waited half a second or more.
    // With four connections, only four requests were under way: what a closed loop would have seen.
    let slow = |latency: &skep_load::histogram::Latency| {
        let inner = latency.inner();
        inner
            .iter_recorded()
            .filter(|value| value.value_iterated_to() > 450_000_000)
            .map(|value| value.count_at_value())
            .sum::<u64>()
    };
    assert!(
        (80..=260).contains(&slow(&figures.latency)),
        "{}",
        slow(&figures.latency)
    );
    assert!(slow(&figures.service) <= 8, "{}", slow(&figures.service));
}

#[test]
fn every_failure_has_its_kind() {
    let server = Server::start();
    for (path, kind) in [
        ("/500", "status"),
        ("/close", "closed"),
        ("/reset", "reset"),
        ("/garbage", "malformed"),
        ("/silence", "timeout"),
    ] {
        let population = format!(
            "arrival = {{ process = \"constant\", rate = 20 }}\nconnections = 20\ntimeout_ms = 300\nobjectives = [\"errors == 0\"]\n[[population.request]]\npath = \"{path}\""
        );
        let run = run(
            &scenario(&server.address(), &population, 0.5),
            &["--unchecked"],
        );
        let results = run.results();
        let (_, figures) = only(&results);
        assert_eq!(
            (figures.intended, figures.succeeded),
            (10, 0),
            "{path}: {}",
            run.stdout
        );
        assert_eq!(
            figures.errors.get(kind),
            Some(&10),
            "{path}: {:?}",
            figures.errors
        );
        assert_eq!(run.code, 1, "the objective is missed");
    }
}

#[test]
fn a_body_of_another_length_is_an_error() {
    let server = Server::start();
    let population = "arrival = { process = \"constant\", rate = 20 }\n[[population.request]]\npath = \"/chunked\"\nexpect = { body_bytes = 3 }";
    let run = run(
        &scenario(&server.address(), population, 0.5),
        &["--unchecked"],
    );
    assert_eq!(only(&run.results()).1.errors.get("body"), Some(&10));
}

#[test]
fn the_check_phase_comes_first_and_names_what_is_wrong() {
    let server = Server::start();
    for (request, part) in [
        ("path = \"/500\"", "status 500, expected 200; body \"no\""),
        (
            "expect = { body = \"yes\" }",
            "body \"ok\", expected \"yes\"",
        ),
        (
            "expect = { headers = { x-test = \"no\" } }",
            "header x-test: \"yes\", expected \"no\"",
        ),
        ("path = \"/garbage\"", "the response is malformed"),
    ] {
        let before = server.requests();
        let population =
            format!("arrival = {{ process = \"closed\" }}\n[[population.request]]\n{request}");
        let run = run(&scenario(&server.address(), &population, 5.0), &[]);
        assert_eq!(run.code, 1);
        assert!(
            run.stderr.contains(part) && run.stderr.contains("population \"p\", request"),
            "{}",
            run.stderr
        );
        assert!(
            find(run.directory.path(), "json").is_none(),
            "nothing was measured"
        );
        assert_eq!(server.requests(), before + 1);
    }
}

#[test]
fn hosts_take_turns_and_bodies_arrive() {
    let server = Server::start();
    let population = "hosts = { pattern = \"h{n}.test\", count = 10 }\nweights = \"round-robin\"\nrequests_per_connection = 5\narrival = { process = \"constant\", rate = 100 }\n[[population.request]]\nmethod = \"POST\"\nbody = { bytes = 1000 }";
    let run = run(
        &scenario(&server.address(), population, 1.0),
        &["--unchecked"],
    );
    let results = run.results();
    let (population, figures) = only(&results);
    assert_eq!(figures.succeeded, 100, "{}", run.stdout);
    server.seen(|seen| {
        assert_eq!(
            seen.hosts.values().copied().collect::<Vec<_>>(),
            [10; 10],
            "{:?}",
            seen.hosts
        );
        assert_eq!(seen.body_bytes, 100_000);
        assert_eq!(seen.connections, 20, "five requests each");
    });
    assert_eq!(population.tenants.len(), 10);
    assert!(
        population
            .tenants
            .iter()
            .all(|tenant| tenant.succeeded == 10)
    );
    assert_eq!(population.fairness, Some(1.0));
}

#[test]
fn a_log_is_sent_again_as_it_was_recorded() {
    let server = Server::start();
    let directory = TempDir::new().unwrap();
    let log = directory.path().join("access.jsonl");
    let lines: String = (0..40)
        .map(|n| {
            format!(
                "{{\"time\":{},\"host\":\"h{}.test\",\"method\":\"GET\",\"path\":\"/host\"}}\n",
                100.0 + f64::from(n) * 0.05,
                n % 2
            )
        })
        .collect();
    std::fs::write(&log, lines).unwrap();
    let population = format!(
        "arrival = {{ process = \"replay\", file = \"{}\", speed = 2.0 }}",
        log.display()
    );
    let run = run(
        &scenario(&server.address(), &population, 2.0),
        &["--unchecked"],
    );
    assert_eq!(only(&run.results()).1.succeeded, 40, "{}", run.stdout);
    server.seen(|seen| assert_eq!(seen.hosts.values().copied().collect::<Vec<_>>(), [20, 20]));
}

#[test]
fn a_slow_client_writes_and_reads_a_few_bytes_at_a_time() {
    let server = Server::start();
    let population = "arrival = { process = \"constant\", rate = 10 }\n[[population.request]]\nmethod = \"POST\"\nbody = { bytes = 500 }\npace = { write_bytes = 100, write_every_ms = 20 }";
    let run = run(
        &scenario(&server.address(), population, 1.0),
        &["--unchecked"],
    );
    let results = run.results();
    let (_, figures) = only(&results);
    assert_eq!(figures.succeeded, 10, "{}", run.stdout);
    server.seen(|seen| assert_eq!(seen.body_bytes, 5000));
    assert!(
        figures.latency.percentile_ms(1.0) >= 100.0,
        "six pieces, 20 ms apart"
    );
}

#[test]
fn a_slow_reader_is_slow_from_its_first_byte_on_every_request() {
    let server = Server::start();
    let population = "arrival = { process = \"constant\", rate = 4 }\nconnections = 1\n[[population.request]]\npace = { read_bytes = 10, read_every_ms = 20 }";
    let run = run(
        &scenario(&server.address(), population, 1.0),
        &["--unchecked"],
    );
    let results = run.results();
    let (_, figures) = only(&results);
    assert_eq!(
        (figures.succeeded, figures.connects),
        (4, 1),
        "{}",
        run.stdout
    );
    // 51 bytes of response are six reads.
    let least = figures.service.inner().min() as f64 / 1e6;
    assert!(least >= 95.0, "{least}");
}

#[test]
fn an_action_at_the_very_end_is_awaited() {
    let server = Server::start();
    let text = scenario(
        &server.address(),
        "arrival = { process = \"constant\", rate = 20 }",
        0.5,
    ) + "[[phase.action]]\nat_s = 0.499\nrun = [\"sh\", \"-c\", \"sleep 0.3; exit 7\"]\n";
    let results = run(&text, &[]).results();
    assert!(
        results.phases[0].actions[0].contains("FAILED") && !results.validity.valid,
        "{:?}",
        results.phases[0].actions
    );
}

#[test]
fn a_closed_standard_output_loses_no_results() {
    let server = Server::start();
    let text = scenario(&server.address(), "arrival = { process = \"closed\" }", 0.2);
    let (command, directory) = prepared(&text, &[]);
    let line = format!("{command:?} | true").replacen("env -u RUST_BACKTRACE ", "", 1);
    assert!(
        Command::new("sh")
            .args(["-c", &line])
            .status()
            .unwrap()
            .success()
    );
    assert!(find(directory.path(), "json").is_some(), "{line}");
}

#[test]
fn actions_happen_and_are_recorded() {
    let server = Server::start();
    let directory = TempDir::new().unwrap();
    let mark = directory.path().join("mark");
    let text = scenario(
        &server.address(),
        "arrival = { process = \"constant\", rate = 20 }",
        1.0,
    ) + &format!(
        "[[phase.action]]\nat_s = 0.2\nevery_s = 0.5\nrun = [\"sh\", \"-c\", \"echo x >> {}\"]\n[[phase.action]]\nat_s = 0.3\nsignal = \"HUP\"\nchild = \"no-such-word\"\n",
        mark.display()
    );
    let run = run(&text, &[&format!("--server-pid={}", std::process::id())]);
    assert_eq!(std::fs::read_to_string(&mark).unwrap(), "x\nx\n");
    let results = run.results();
    let actions = &results.phases[0].actions;
    assert_eq!(actions.len(), 3, "{actions:?}");
    assert!(
        actions
            .iter()
            .any(|action| action.starts_with("0.20 s: ran sh")),
        "{actions:?}"
    );
    assert!(!results.validity.valid, "an action failed");
    assert!(
        results
            .validity
            .reasons
            .iter()
            .any(|reason| reason.contains("no-such-word")),
        "{:?}",
        results.validity
    );
    assert!(results.server.last().unwrap().rss_bytes > 0);
}

#[test]
fn a_server_that_dies_ends_the_run_and_what_was_measured_is_kept() {
    let server = Server::start();
    let text = scenario(
        &server.address(),
        "requests_per_connection = 1\narrival = { process = \"constant\", rate = 50 }",
        60.0,
    );
    let (mut command, directory) = prepared(&text, &["--unchecked"]);
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(|| Run::of(&mut command, directory));
        until(|| server.requests() > 50);
        server.end();
        run.join().unwrap()
    });
    assert_eq!(run.code, 1);
    assert!(
        run.stderr
            .contains("has refused every connection for 5 s at"),
        "{}",
        run.stderr
    );
    let results = run.results();
    let (_, figures) = only(&results);
    assert!(
        figures.succeeded >= 50 && results.duration_s < 30.0,
        "{}",
        run.stdout
    );
    assert!(
        figures.errors.contains_key("connect"),
        "{:?}",
        figures.errors
    );
    assert!(!results.validity.valid);
}

#[test]
fn an_interrupted_run_keeps_what_it_measured() {
    let server = Server::start();
    let text = scenario(
        &server.address(),
        "arrival = { process = \"constant\", rate = 50 }",
        60.0,
    );
    let (mut command, directory) = prepared(&text, &["--unchecked"]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until(|| server.requests() > 20);
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let results = Results::read(&find(directory.path(), "json").unwrap()).unwrap();
    assert!(only(&results).1.succeeded >= 20);
    assert!(
        results.validity.reasons[0].starts_with("interrupted at"),
        "{:?}",
        results.validity
    );
}

#[test]
fn capacity_finds_the_rate_that_one_place_of_4_ms_carries() {
    let server = Server::start();
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("scenario.toml");
    // One request at a time, 4 ms each: 250 a second at most.
    let population = "arrival = { process = \"constant\", rate = 10 }\nconnections = 32\nobjectives = [\"p99_ms <= 200\", \"errors == 0\"]\n[[population.request]]\npath = \"/nap\"";
    std::fs::write(&file, scenario(&server.address(), population, 2.0)).unwrap();
    let output = skep_load()
        .arg("capacity")
        .arg(&file)
        .args([
            "--force", "--json", "--quiet", "--trials", "1", "--within", "20",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let found: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"));
    let points = found["points"].as_array().unwrap();
    assert!(points.len() >= 4, "{text}");
    // A busy machine makes generators late and naps longer; more than one place carries is never met.
    for point in points {
        let met = point["trials"][0]["met"].as_bool().unwrap();
        assert!(!(met && point["value"].as_f64().unwrap() > 27.0), "{text}");
    }
}

#[test]
fn objectives_of_the_command_line_replace_those_of_populations_with_a_schedule() {
    let server = Server::start();
    let arrival = "arrival = { process = \"constant\", rate = 50 }\nobjectives = [\"p99_ms < 0\"]";
    let scheduled = scenario(&server.address(), arrival, 0.5);
    let objectives = ["--objective", "mean_ms >= 0", "--objective", "errors == 0"];
    let results = run(&scheduled, &objectives).results();
    let texts: Vec<_> = results.objectives.iter().map(|it| &it.text).collect();
    assert_eq!(texts, ["mean_ms >= 0", "errors == 0"]);
    assert!(results.objectives[0].measured.unwrap() > 0.0);

    let closed = scenario(&server.address(), "arrival = { process = \"closed\" }", 0.5);
    let refused = run(&closed, &objectives);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("no population has a schedule"),
        "{}",
        refused.stderr
    );
}

#[test]
fn what_is_wrong_with_a_scenario_is_said_at_once_and_exits_with_2() {
    let good = "name = \"t\"\ntarget = \"127.0.0.1:1\"\n[[population]]\nname = \"p\"\narrival = { process = \"closed\" }\n[[phase]]\nname = \"m\"\nseconds = 1\n";
    for (from, to, parts) in [
        (
            "seconds = 1",
            "seconds = 1\nlenght = 2",
            &["scenario.toml:9: unknown field `lenght`"][..],
        ),
        ("name = \"t\"", "name = ", &["scenario.toml:1: "]),
        (
            "\"closed\"",
            "\"constant\", rate = 0",
            &["population \"p\": arrival.rate: is 0, so nothing would be sent"],
        ),
        (
            "\"closed\"",
            "\"poisson\", rate = 1e9",
            &["1000000000; has to be 0 to 10000000 requests/s"],
        ),
        (
            "\"closed\"",
            "\"poisson\", rate = \"fast\"",
            &["a rate is a number, { from, to }"],
        ),
        (
            "127.0.0.1:1",
            "no-such-host.invalid:80",
            &["target: \"no-such-host.invalid:80\" does not resolve"],
        ),
        (
            "127.0.0.1:1",
            "https://127.0.0.1:443",
            &["TLS is not supported"],
        ),
        (
            "seconds = 1",
            "seconds = -1\npopulations = [\"q\"]",
            &["phase \"m\": seconds: -1; has to be", "phase \"m\""],
        ),
        (
            "seconds = 1",
            "seconds = 1\npopulations = [\"q\"]",
            &["phase \"m\": populations: \"q\" is none; there are p"],
        ),
        (
            "name = \"p\"",
            "name = \"p\"\nconnections = 0\nobjectives = [\"p99 < 5\"]",
            &[
                "connections: 0; has to be 1 to 100000",
                "unknown metric \"p99\"; one of p50_ms",
            ],
        ),
        (
            "name = \"p\"",
            "name = \"p\"\nobjectives = [\"errors == 0 in warm\"]",
            &["no phase \"warm\"; there are m"],
        ),
        (
            "name = \"p\"",
            "name = \"p\"\nhosts = { pattern = \"a.test\", count = 3 }",
            &["has no {n}, so all 3 hosts would be the same"],
        ),
        (
            "name = \"p\"",
            "name = \"p\"\nweights = { explicit = [1, 2] }",
            &["2 weights for 1 hosts"],
        ),
        (
            "name = \"p\"",
            "name = \"${who}\"",
            &["scenario.toml:4: variable \"who\" has no value; give one with --set who=VALUE"],
        ),
        (
            "seconds = 1\n",
            "seconds = 1\n[[phase.action]]\nsignal = \"NONE\"\n",
            &["\"NONE\" is no signal"],
        ),
        (
            "seconds = 1\n",
            "seconds = 1000\n[[phase.action]]\nevery_s = 0.05\nsignal = \"HUP\"\n",
            &["every_s: repeats it 20000 times in the phase; at most 10000"],
        ),
        (
            "seconds = 1\n",
            "seconds = 1\n[[phase.action]]\nat_s = 2\nrun = [\"x\"]\n",
            &["at_s: 2; has to be 0 to less than 1 s, the phase's length"],
        ),
        (
            "[[phase]]\n",
            "[[population.request]]\npath = \"x y\"\nheaders = { host = \"a\" }\n[[phase]]\n",
            &[
                "path \"x y\" has to start with",
                "\"host\" is written by the harness",
            ],
        ),
    ] {
        assert!(good.contains(from));
        let run = run(&good.replacen(from, to, 1), &[]);
        assert_eq!(run.code, 2, "{to}: {}", run.stderr);
        for part in parts {
            assert!(run.stderr.contains(part), "{to}: {}", run.stderr);
        }
        assert!(
            run.stderr
                .lines()
                .all(|line| line.contains("scenario.toml")),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn a_url_needs_no_scenario() {
    let server = Server::start();
    let directory = TempDir::new().unwrap();
    let run = Run::of(
        skep_load()
            .arg("url")
            .arg(format!("http://{}/host?a=${{b}}", server.address()))
            .args([
                "--rate",
                "100",
                "--constant",
                "--seconds",
                "0.5",
                "--host",
                "app.test",
                "--header",
                "x-a: 1",
            ])
            .args(["--quiet", "--force", "--out"])
            .arg(directory.path().join("out")),
        directory,
    );
    let results = run.results();
    assert_eq!(
        results.populations[0].phases[1].succeeded, 50,
        "{}{}",
        run.stdout, run.stderr
    );
    server.seen(|seen| assert_eq!(seen.hosts.keys().collect::<Vec<_>>(), ["app.test"]));
    assert!(run.stdout.contains("measure"), "{}", run.stdout);
}

fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "it did not come to that");
        std::thread::sleep(Duration::from_millis(5));
    }
}
