//! What a scenario does to the server while it is loaded: signals, and programs.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::limits::ACTION_S;
use crate::processes;
use crate::scenario::{Deed, Scenario, Whom};

/// One thing to do at a time of the run.
#[derive(Clone, Debug)]
struct Planned {
    at_s: f64,
    phase: usize,
    deed: Deed,
}

/// The actions of a run, done when their time has come.
#[derive(Debug)]
pub struct Actions {
    planned: Vec<Planned>,
    next: usize,
    reported: usize,
    server: Option<u32>,
    done: Receiver<(usize, String)>,
    tell: Sender<(usize, String)>,
}

impl Actions {
    /// Of a scenario whose server is this process.
    pub fn new(scenario: &Scenario, server: Option<u32>) -> Self {
        let mut planned = Vec::new();
        for (number, (phase, start)) in scenario.phases.iter().zip(scenario.starts()).enumerate() {
            for action in &phase.actions {
                let mut at = action.at_s;
                while at < phase.seconds {
                    planned.push(Planned {
                        at_s: start + at,
                        phase: number,
                        deed: action.what.clone(),
                    });
                    match action.every_s {
                        Some(every) => at += every,
                        None => break,
                    }
                }
            }
        }
        planned.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        let (tell, done) = channel();
        Self {
            planned,
            next: 0,
            reported: 0,
            server,
            done,
            tell,
        }
    }

    /// Begins everything that is due at `now_s`, each in a thread of its own: a slow program delays
    /// nothing else.
    pub fn due(&mut self, now_s: f64) {
        while let Some(planned) = self
            .planned
            .get(self.next)
            .filter(|planned| planned.at_s <= now_s)
        {
            self.next += 1;
            let (planned, server, tell) = (planned.clone(), self.server, self.tell.clone());
            std::thread::spawn(move || {
                let outcome = act(&planned.deed, server);
                let text = format!("{:.2} s: {outcome}", planned.at_s);
                // The receiver is gone only when the run is.
                let _ = tell.send((planned.phase, text));
            });
        }
    }

    /// How many have begun and not ended.
    pub fn under_way(&self) -> usize {
        self.next - self.reported
    }

    /// What was done since the last call: phase, and a sentence.
    pub fn reports(&mut self) -> Vec<(usize, String)> {
        let reports: Vec<_> = self.done.try_iter().collect();
        self.reported += reports.len();
        reports
    }
}

fn act(deed: &Deed, server: Option<u32>) -> String {
    let outcome = match deed {
        Deed::Run(command) => run(command),
        Deed::Signal(signal, whom) => send(*signal, whom, server),
    };
    outcome.unwrap_or_else(|why| format!("FAILED: {why}"))
}

fn send(signal: Signal, whom: &Whom, server: Option<u32>) -> Result<String, String> {
    let root = || server.ok_or("the server's pid is not known; give --server-pid or --start");
    let pid = match whom {
        Whom::Server => root()?,
        Whom::PidFile(file) => std::fs::read_to_string(file)
            .map_err(|error| format!("{}: {error}", file.display()))?
            .trim()
            .parse()
            .map_err(|_| format!("{} holds no pid", file.display()))?,
        Whom::Child(word) => child(root()?, word)?,
    };
    // 0 and negative numbers would mean whole groups of processes.
    let raw = i32::try_from(pid)
        .ok()
        .filter(|pid| *pid > 1)
        .ok_or("no process has that pid")?;
    kill(Pid::from_raw(raw), signal).map_err(|error| format!("{signal} to pid {pid}: {error}"))?;
    Ok(format!("{signal} to pid {pid}"))
}

/// The first process below `root` that was started with `word` as an argument.
fn child(root: u32, word: &str) -> Result<u32, String> {
    processes::tree(Path::new("/"), &[root])
        .into_iter()
        .filter(|pid| *pid != root)
        .find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0)
                .any(|argument| argument == word.as_bytes())
        })
        .ok_or_else(|| format!("no process below {root} was started with \"{word}\""))
}

fn run(command: &[String]) -> Result<String, String> {
    let began = Instant::now();
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot start \"{}\": {error}", command[0]))?;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => {
                return Ok(format!(
                    "ran {} ({:.0} ms)",
                    command.join(" "),
                    began.elapsed().as_secs_f64() * 1e3
                ));
            }
            Ok(Some(status)) => return Err(format!("{}: {status}", command.join(" "))),
            Ok(None) if began.elapsed() < Duration::from_secs(ACTION_S) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!(
                    "{} took longer than {ACTION_S} s and was ended",
                    command.join(" ")
                ));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}
