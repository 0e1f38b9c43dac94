//! The real bench: candidates as files, `skep-load` as a program, the running `skep` as the server.
//!
//! ```text
//! TMP/skep-search-…/
//! ├── candidate-0.toml …     extends = "balanced", and what differs
//! └── trial-…/               temporary files of skep-load and its server; gone after each trial
//! ```

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use tempfile::TempDir;

use super::candidate::Candidate;
use super::objective::{Objective, Score};
use super::tool::{self, Ended, Runner};
use super::trial::{self, Bench, Effort, Measured, Missed};
use crate::config::limits::{TUNE_SEARCH_RESULTS_BYTES_MAX, TUNE_SEARCH_TRIAL_S_MAX};
use crate::config::{Errors, Profile};

/// Longest complaint of `skep-load` that is passed on, in characters.
const COMPLAINT_MAX: usize = 500;
/// Exit code of `skep-load` for wrong usage and wrong scenarios.
const WRONG: i32 = 2;

/// How `skep-load` is run.
#[derive(Clone, Debug)]
pub struct How {
    /// The program.
    pub tool: PathBuf,
    /// The server's program.
    pub skep: PathBuf,
    /// The scenario.
    pub scenario: PathBuf,
    /// Cores of the generators.
    pub load_cores: String,
    /// Cores of the server.
    pub server_cores: String,
    /// Further variables of the scenario.
    pub set: Vec<(String, String)>,
    /// Measure although its preflight refuses.
    pub force: bool,
}

/// A candidate that is ready.
#[derive(Debug)]
struct Ready {
    candidate: Candidate,
    path: PathBuf,
    profile: Profile,
}

/// Candidates and the program that tries them.
#[derive(Debug)]
pub struct ToolBench {
    runner: Runner,
    how: How,
    objective: Objective,
    dir: TempDir,
    /// A built-in name or an absolute path.
    base: String,
    base_profile: Profile,
    ready: Vec<Ready>,
}

impl ToolBench {
    /// A bench without candidates. `base` is a built-in name or an absolute path.
    ///
    /// # Errors
    /// When the base is no profile.
    pub fn new(
        how: How,
        objective: &Objective,
        base: &str,
        runner: Runner,
        dir: TempDir,
    ) -> Result<ToolBench, Errors> {
        Ok(ToolBench {
            runner,
            how,
            objective: objective.clone(),
            base_profile: Profile::find(base, Path::new("."))?,
            base: base.to_owned(),
            dir,
            ready: Vec::new(),
        })
    }

    /// The command line after the program's name.
    fn words(&self, profile: &Path, effort: &Effort, seed: u64, out: &Path) -> Vec<OsString> {
        let how = &self.how;
        let mut words: Vec<OsString> = vec![self.objective.subcommand().into()];
        words.push(how.scenario.clone().into());
        words.extend(["--start", "--quiet", "--cores"].map(OsString::from));
        words.push(how.load_cores.clone().into());
        words.extend(["--seed".into(), seed.to_string().into()]);
        words.extend(["--stretch".into(), effort.stretch.to_string().into()]);
        match self.objective.score {
            Score::Metric(_) => words.extend(["--out".into(), out.into()]),
            Score::Rate | Score::Variable { .. } => {
                words.extend(["--json".into(), "--within".into()]);
                words.push(effort.within.to_string().into());
                words.extend(["--trials".into(), effort.trials.to_string().into()]);
            }
        }
        if how.force {
            words.push("--force".into());
        }
        let own = [
            ("skep", how.skep.as_os_str()),
            ("server_cores", how.server_cores.as_ref()),
            ("profile", profile.as_os_str()),
        ];
        let given = how.set.iter().map(|(name, value)| (name, value.as_ref()));
        for (name, value) in own.into_iter().chain(given.map(|(n, v)| (n.as_str(), v))) {
            let mut word = OsString::from(name);
            word.push("=");
            word.push(value);
            words.extend(["--set".into(), word]);
        }
        words.extend(self.objective.arguments());
        words
    }

    /// The score in what a run left behind.
    fn read(&self, output: &Output, out: &Path) -> Result<Measured, Missed> {
        if output.status.code() == Some(WRONG) {
            return Err(Missed::Wrong(complaint(&output.stderr, 1)));
        }
        let json = match self.objective.score {
            Score::Metric(_) => results_in(out).map_err(Missed::Failed)?,
            Score::Rate | Score::Variable { .. } => output.stdout.clone(),
        };
        match trial::score(&self.objective, &json) {
            Some(found) => found.map_err(Missed::Failed),
            None => Err(Missed::Failed(unexplained(output))),
        }
    }
}

impl Bench for ToolBench {
    fn prepare(&mut self, candidate: &Candidate) -> Result<(), String> {
        let name = format!("candidate-{}.toml", self.ready.len());
        let path = self.dir.path().join(name);
        std::fs::write(&path, candidate.profile(&self.base))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let profile =
            Profile::find(&path.to_string_lossy(), Path::new(".")).map_err(|it| in_short(&it))?;
        // As `serve` does, for the fewest tenants there can be.
        profile.check_mappings(0, false)?;
        if profile == self.base_profile {
            return Err("is what the base has already".to_owned());
        }
        if let Some(same) = self.ready.iter().find(|ready| ready.profile == profile) {
            return Err(format!("is the same as {}", same.candidate.label("")));
        }
        self.ready.push(Ready {
            candidate: candidate.clone(),
            path,
            profile,
        });
        Ok(())
    }

    fn measure(
        &mut self,
        candidate: &Candidate,
        effort: &Effort,
        seed: u64,
    ) -> Result<Measured, Missed> {
        let failed = |error: std::io::Error| Missed::Failed(error.to_string());
        let found = self
            .ready
            .iter()
            .find(|ready| ready.candidate == *candidate);
        let profile = match found {
            Some(ready) => ready.path.clone(),
            None => PathBuf::from(&self.base),
        };
        let dir = tempfile::Builder::new()
            .prefix("trial-")
            .tempdir_in(self.dir.path())
            .map_err(failed)?;
        let out = dir.path().join("out");
        let words = self.words(&profile, effort, seed, &out);
        let ended = self.runner.run(&self.how.tool, &words, dir.path());
        match ended {
            Ok(Ended::Exited(output)) => self.read(&output, &out),
            Ok(Ended::TooLate) => Err(Missed::Failed(format!(
                "not done after {TUNE_SEARCH_TRIAL_S_MAX} s"
            ))),
            Ok(Ended::Interrupted) => Err(Missed::Interrupted),
            Err(error) => {
                let tool = self.how.tool.display();
                Err(Missed::Failed(format!("{tool} does not start: {error}")))
            }
        }
    }
}

/// The only JSON file of a directory; empty when there is none, because the run did not begin.
fn results_in(dir: &Path) -> Result<Vec<u8>, String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths = entries.map(|entry| entry.path());
    let Some(path) = paths.find(|path| path.extension().is_some_and(|it| it == "json")) else {
        return Ok(Vec::new());
    };
    let read = || {
        let length = std::fs::metadata(&path)?.len();
        match length > TUNE_SEARCH_RESULTS_BYTES_MAX {
            true => Err(std::io::Error::other(format!("{length} bytes of results"))),
            false => std::fs::read(&path),
        }
    };
    read().map_err(|error| error.to_string())
}

/// Why there is no JSON.
fn unexplained(output: &Output) -> String {
    let said = complaint(&output.stderr, usize::MAX);
    let name = tool::NAME;
    match (said.is_empty(), output.status.signal()) {
        (false, _) => said,
        (true, Some(signal)) => format!("{name} was ended by signal {signal}"),
        (true, None) => format!("{name} said nothing, and {}", output.status),
    }
}

/// The first lines of what a program says on standard error, as one.
fn complaint(stderr: &[u8], lines: usize) -> String {
    let text = String::from_utf8_lossy(stderr);
    let said = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = said.take(lines).collect::<Vec<_>>().join("; ");
    let line = ["error: ", "skep-load: "]
        .iter()
        .fold(line.as_str(), |line, start| {
            line.strip_prefix(start).unwrap_or(line)
        });
    match line.char_indices().nth(COMPLAINT_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// What is wrong with a candidate, without the path of its temporary file.
fn in_short(errors: &Errors) -> String {
    let problems = errors.problems().iter();
    let lines: Vec<_> = problems
        .map(|problem| format!("{}: {}; {}", problem.key, problem.wrong, problem.right))
        .collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::search::candidate::tests::change;

    fn bench(objective: &str) -> ToolBench {
        let how = How {
            tool: "/bin/false".into(),
            skep: "/bin/skep".into(),
            scenario: "s.toml".into(),
            load_cores: "1".into(),
            server_cores: "0".into(),
            set: vec![("tenants".into(), "9".into())],
            force: true,
        };
        let objective = Objective::parse(objective).unwrap();
        let dir = tempfile::tempdir().unwrap();
        ToolBench::new(how, &objective, "balanced", Runner::new().unwrap(), dir).unwrap()
    }

    #[test]
    fn command_lines() {
        let effort = Effort {
            stretch: 0.5,
            within: 5.0,
            trials: 3,
        };
        let check = |objective, expected: &str| {
            let profile = Path::new("p.toml");
            let words = bench(objective).words(profile, &effort, 7, Path::new("out"));
            let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
            assert_eq!(words.join(" "), expected);
        };
        const SET: &str =
            "--set skep=/bin/skep --set server_cores=0 --set profile=p.toml --set tenants=9";
        check(
            "max rate with p99_ms <= 5",
            &format!(
                "capacity s.toml --start --quiet --cores 1 --seed 7 --stretch 0.5 --json --within 5 --trials 3 --force {SET} --objective p99_ms <= 5"
            ),
        );
        check(
            "min p99_ms",
            &format!(
                "run s.toml --start --quiet --cores 1 --seed 7 --stretch 0.5 --out out --force {SET} --objective p99_ms >= 0"
            ),
        );
    }

    #[test]
    fn what_need_not_or_cannot_be_tried() {
        let mut bench = bench("min p99_ms");
        let cases = [
            (change("decommit_batch", 32), Ok(())),
            (
                change("decommit_batch", 32),
                Err("is the same as decommit_batch=32"),
            ),
            (
                change("decommit_batch", 1),
                Err("is what the base has already"),
            ),
            (
                change("tick_us", 600),
                Err("tick_us: the ticker is too slow"),
            ),
            (
                change("ring_entries", 100),
                Err("ring_entries: not a power of two"),
            ),
        ];
        for (change, expected) in cases {
            let found = bench.prepare(&Candidate::single(&change));
            match (found, expected) {
                (Ok(()), Ok(())) => {}
                (Err(found), Err(expected)) => assert!(found.starts_with(expected), "{found}"),
                (found, expected) => panic!("{change}: {found:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn complaints_are_one_line() {
        let cases = [
            ("error: invalid\n\nFor more", 1, "invalid"),
            (
                "skep-load: this would\n  load: 3\n",
                usize::MAX,
                "this would; load: 3",
            ),
            ("", 1, ""),
        ];
        for (text, lines, expected) in cases {
            assert_eq!(complaint(text.as_bytes(), lines), expected);
        }
        assert_eq!(
            complaint("ä".repeat(600).as_bytes(), 1).chars().count(),
            501
        );
    }
}
