//! What was acknowledged is there after the process was killed, and after the power was lost.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::model::Random;
use super::*;

/// Where the process that is to be killed works; the test does nothing without it.
const DIR: &str = "SKEP_KV_CRASH_DIR";

/// How often the process is killed.
const KILLS: u64 = 20;

/// Keys that are set in turn.
const KEYS: u64 = 500;

/// All that happens in round `number`: one commit.
fn round(number: u64) -> Vec<Change> {
    let mut random = Random::new(number);
    let mut changes = vec![increment("n", 1), set(&key(number), number.to_string())];
    let member = format!("{}", random.below(300));
    changes.push(add_members("set", &[(&member, number as f64)]));
    changes.push(add_items("filter", &[&number.to_string()]));
    // Something large comes and goes.
    let large = "x".repeat(random.below(40_000) as usize);
    changes.push(match number % 3 {
        0 => set("large", large),
        1 => delete("large"),
        _ => add_members("large", &[("m", 1.0), (&large, 2.0)]),
    });
    if number.is_multiple_of(50) {
        changes.push(delete("set"));
    }
    changes
}

fn key(number: u64) -> String {
    format!("key {}", number % KEYS)
}

fn run(store: &Embedded, number: u64) {
    let changes = round(number);
    let changes: Vec<_> = changes
        .iter()
        .map(|change| ("a/b", PLENTY, change))
        .collect();
    for answer in store.apply(&changes).unwrap() {
        answer.unwrap();
    }
}

/// How many rounds there were: those that were acknowledged, and perhaps one more.
fn check(store: &Embedded, acknowledged: u64) -> u64 {
    check_whole(store);
    let Ok(Answer::Values(values)) = query(store, get("n")) else {
        panic!("no answer");
    };
    let text = values[0].as_deref().map(String::from_utf8_lossy);
    let rounds = text.map_or(0, |text| text.parse().unwrap());
    assert!(
        (acknowledged..=acknowledged + 1).contains(&rounds),
        "{rounds} of {acknowledged}"
    );
    for number in (1..=rounds).rev().take(KEYS as usize) {
        assert_eq!(query(store, get(&key(number))), value(&number.to_string()));
    }
    for number in 1..=rounds {
        let found = query(store, may_contain("filter", &number.to_string()));
        assert_eq!(found, Ok(Answer::Bool(true)), "{number} of {rounds}");
    }
    rounds
}

/// Says each round that was acknowledged.
#[test]
fn rounds_until_killed() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let store = Embedded::open(Path::new(&dir)).unwrap();
    let Ok(Answer::Count(done)) = change(&store, increment("n", 0)) else {
        panic!("no answer");
    };
    for number in done as u64 + 1.. {
        run(&store, number);
        // One call: the line is whole, or not there.
        std::io::stdout()
            .write_all(format!("\nround {number}\n").as_bytes())
            .unwrap();
        std::io::stdout().flush().unwrap();
    }
}

fn start(dir: &Path) -> Child {
    let (_, module) = module_path!().split_once("::").unwrap();
    let test = format!("{module}::rounds_until_killed");
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_process_that_is_killed_loses_nothing() {
    let dir = TempDir::new().unwrap();
    let mut random = Random::new(std::process::id().into());
    let mut rounds = 0;
    for kill in 0..KILLS {
        let mut child = start(dir.path());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = rounds;
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(number) = line.strip_prefix("round ") {
                    acknowledged = number.parse().unwrap();
                }
            }
            acknowledged
        });
        std::thread::sleep(Duration::from_millis(20 + random.below(300)));
        child.kill().unwrap();
        child.wait().unwrap();
        let acknowledged = reader.join().unwrap();
        let store = Embedded::open(dir.path()).unwrap();
        let before = rounds;
        rounds = check(&store, acknowledged);
        println!("kill {kill}: rounds {before} to {rounds}, {acknowledged} acknowledged");
    }
    assert!(rounds > KILLS, "{rounds} rounds");
}

/// Of what was not synced, any sectors may be on the disk when the power goes.
#[test]
fn a_machine_without_power_loses_nothing() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let (store, disk) = new();
        let acknowledged = random.below(30);
        for number in 1..=acknowledged {
            run(&store, number);
        }
        // The power goes in the middle of the next commit.
        disk.fill(Some(random.below(12) as usize));
        let next = round(acknowledged + 1);
        let next: Vec<_> = next.iter().map(|change| ("a/b", PLENTY, change)).collect();
        let is_acknowledged = store.apply(&next).is_ok();
        let acknowledged = acknowledged + u64::from(is_acknowledged);
        for _ in 0..5 {
            let kept = random.below(101);
            let left = disk.without_power(|| random.below(100) < kept);
            check(&left.open().unwrap(), acknowledged);
        }
    }
}
