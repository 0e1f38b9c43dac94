//! `skep tune search`: finds a core profile that beats another on a stated objective, or says that
//! none was found.
//!
//! ```text
//! objective ─┐
//! space ─────┼─► candidate ──► halving ──► held_out ──► profile     beats: a file, with its reasons
//! base ──────┘                   │            │   └───► evidence    always: everything that was tried
//!                                └── session ─┘
//!                                       │ a trial
//!                         bench ──► tool: skep-load ──► skep serve with the candidate's profile
//! ```
//!
//! `skep-load` is a program like any other: only its command line and its JSON are known here.

pub mod bench;
pub mod candidate;
pub mod evidence;
pub mod halving;
pub mod held_out;
mod machine;
pub mod objective;
mod output;
pub mod plan;
pub mod profile;
pub mod random;
pub mod report;
pub mod session;
pub mod space;
pub mod statistics;
pub mod tool;
pub mod trial;

#[cfg(test)]
mod synthetic;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bench::{How, ToolBench};
use candidate::Candidate;
use evidence::{Evidence, HeldOut, NotTried, Row, Verdict};
use objective::{FORMS, Objective};
use output::Output;
use plan::Plan;
use session::{Session, Stop};
use space::Space;
use tool::Runner;

use crate::config::Errors;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The scenario's file.
    pub scenario: PathBuf,
    /// The objective as written.
    pub objective: String,
    /// Where the profile goes.
    pub output: PathBuf,
    /// Replace what is there.
    pub overwrite: bool,
    /// The base: a built-in name or a path.
    pub base: String,
    /// A space of one's own.
    pub space: Option<PathBuf>,
    /// Cores of the generators, as `skep-load` reads them.
    pub load_cores: String,
    /// Cores of the server, as the scenario reads them.
    pub server_cores: String,
    /// Further variables of the scenario.
    pub set: Vec<(String, String)>,
    /// What the random numbers begin with.
    pub seed: u32,
    /// Changes tried at most, chosen at random; none is all.
    pub candidates: Option<usize>,
    /// A short search.
    pub quick: bool,
    /// Measure although preflight refuses.
    pub force: bool,
    /// `skep-load`, where it is named.
    pub load_tool: Option<PathBuf>,
    /// The command line, for the record.
    pub command: Vec<String>,
}

/// Searches; `say` gets what a person follows it by. Whether a profile was found and written.
///
/// # Errors
/// When the search cannot begin or go on. What was measured until then is kept.
pub fn run(request: &Request, say: &mut dyn FnMut(&str)) -> Result<bool, Stop> {
    let objective = Objective::parse(&request.objective).ok_or_else(|| {
        let wrong = "not an objective";
        refused(Errors::flag(
            "--objective",
            wrong,
            &request.objective,
            FORMS,
        ))
    })?;
    let mut output = Output::new(&request.output, request.overwrite, say)?;
    uses_a_profile(&request.scenario)?;
    if request.set.iter().any(|(name, _)| name == "profile") {
        let line = "--set: profile is what is searched for; name the one to start from with --base";
        return Err(Stop::Wrong(line.to_owned()));
    }
    let space = Space::load(request.space.as_deref()).map_err(refused)?;
    let base = profile::base(&request.base)?;
    let mut bench = bench(request, &objective, &base)?;
    let evidence = begin(request, &objective, space);
    let mut session = Session::new(&mut bench, &mut output, &objective, evidence);
    let done = stages(&mut session, request.candidates, &Plan::new(request.quick));
    let Session { mut evidence, .. } = session;
    let ended = match done {
        Ok(found) => conclude(&mut evidence, &objective, found, &output, &base),
        Err(stop) => {
            evidence.ending = match &stop {
                Stop::Wrong(line) | Stop::Failed(line) => line.clone(),
                Stop::Interrupted => "interrupted".to_owned(),
            };
            Err(stop)
        }
    };
    output.finish(&evidence).map_err(Stop::Failed)?;
    ended
}

fn refused(errors: Errors) -> Stop {
    Stop::Wrong(errors.to_string())
}

/// Refuses a scenario that would start the same server for every candidate.
fn uses_a_profile(scenario: &Path) -> Result<(), Stop> {
    let shown = scenario.display();
    let text = std::fs::read_to_string(scenario)
        .map_err(|error| Stop::Wrong(format!("--scenario: {shown}: {error}")))?;
    match text.contains("${profile") {
        true => Ok(()),
        false => Err(Stop::Wrong(format!(
            "--scenario: {shown}: its server's configuration does not say `profile = \
             \"${{profile}}\"`, so every candidate would be the same"
        ))),
    }
}

fn bench(request: &Request, objective: &Objective, base: &str) -> Result<ToolBench, Stop> {
    let io = |error: std::io::Error| Stop::Failed(error.to_string());
    let skep = std::env::current_exe().map_err(io)?;
    let named = request.load_tool.as_deref();
    let how = How {
        tool: tool::find(named, &skep, std::env::var_os("PATH")).map_err(Stop::Failed)?,
        skep,
        scenario: request.scenario.clone(),
        load_cores: request.load_cores.clone(),
        server_cores: request.server_cores.clone(),
        set: request.set.clone(),
        force: request.force,
    };
    let dir = tempfile::Builder::new().prefix("skep-search-").tempdir();
    let runner = Runner::new().map_err(io)?;
    ToolBench::new(how, objective, base, runner, dir.map_err(io)?).map_err(refused)
}

fn begin(request: &Request, objective: &Objective, space: Space) -> Evidence {
    Evidence {
        schema: evidence::SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        command: request.command.clone(),
        started: httpdate::fmt_http_date(SystemTime::now()),
        machine: machine::read(),
        scenario: request.scenario.clone(),
        objective: objective.text.clone(),
        base: request.base.clone(),
        seed: request.seed,
        space,
        not_tried: Vec::new(),
        trials: Vec::new(),
        rounds: Vec::new(),
        held_out: None,
        verdict: Verdict::Unfinished,
        ending: String::new(),
    }
}

/// What the stages found: the best of the last round, and what became of it in the held-out run.
type Found = Option<(Row, Option<HeldOut>)>;

/// Everything that measures.
fn stages(session: &mut Session<'_>, most: Option<usize>, plan: &Plan) -> Result<Found, Stop> {
    let changes: Vec<_> = session.evidence.space.changes().cloned().collect();
    let singles = changes.iter().map(Candidate::single).collect();
    let mut field = halving::ready(session, singles);
    let refused = report::not_tried(&session.evidence.not_tried);
    let all = field.len();
    if let Some(most) = most.filter(|most| *most < field.len()) {
        session.random.shuffle(&mut field);
        let base = session.evidence.base.clone();
        let left_out = field.drain(most..).map(|candidate| NotTried {
            candidate: candidate.label(&base),
            reason: format!("left out at random by --candidates {most}"),
        });
        session.evidence.not_tried.extend(left_out);
    }
    let opening = report::search(&session.evidence, field.len(), all);
    session.witness.say(&format!("{opening}{refused}"));
    if field.is_empty() {
        let line = "nothing to try: every value of the space is the base's own or goes with none";
        return Err(Stop::Failed(line.to_owned()));
    }
    let Some(best) = halving::run(session, field, plan)? else {
        return Ok(None);
    };
    // What did not even look better when it was chosen need not be measured again.
    if session.objective.direction().advantage(best.ratio.ln()) <= 0.0 {
        return Ok(Some((best, None)));
    }
    let held_out = held_out::run(session, &best.candidate, plan)?;
    Ok(Some((best, held_out)))
}

/// Says what came of it; writes the profile when something did. Whether it did.
fn conclude(
    evidence: &mut Evidence,
    objective: &Objective,
    found: Found,
    output: &Output<'_>,
    base: &str,
) -> Result<bool, Stop> {
    let beats = match &found {
        Some((_, Some(held_out))) => held_out.beats,
        _ => false,
    };
    evidence.verdict = match beats {
        true => Verdict::Beats,
        false => Verdict::DoesNotBeat,
    };
    evidence.ending = report::ending(evidence, objective.direction(), found.as_ref());
    let Some((best, Some(held_out))) = found else {
        return Ok(false);
    };
    if beats {
        let place = (base, output.dir());
        let text = profile::text(evidence, objective, &best.candidate, &held_out, place);
        output.write_profile(&text).map_err(Stop::Failed)?;
    }
    evidence.held_out = Some(held_out);
    Ok(beats)
}
