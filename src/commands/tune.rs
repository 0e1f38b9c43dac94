//! What each action of `skep tune` does, in terms of `tune`.

mod search;

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Failure, Result};
use crate::cli::{ApplyArgs, RevertArgs, ShownArgs, TargetArgs, TuneAction, TuneArgs};
use crate::config::{Errors, Host, Machine, Profile};
use crate::sys::tree::Tree;
use crate::tune::apply::{self, Outcome};
use crate::tune::check::{self, Checked, Named, Verdict};
use crate::tune::journal::Journal;
use crate::tune::layout::Layout;
use crate::tune::rules::{CUSTOM, Context, Needs};
use crate::tune::settings::Settings;
use crate::tune::topology::Topology;
use crate::tune::{plan, show};

/// Where the journal is kept, below the root.
const STATE_DIR: &str = "var/lib/skep/tune";

/// `skep tune`
pub fn tune(args: &TuneArgs) -> Result {
    match &args.action {
        TuneAction::Show(args) => show(args),
        TuneAction::Check(args) => check(args),
        TuneAction::Plan(args) => plan(args),
        TuneAction::Apply(args) => apply(args),
        TuneAction::Revert(args) => revert(args),
        TuneAction::Search(args) => search::search(args),
    }
}

/// A host with everything that its settings depend on.
struct Session {
    tree: Tree,
    topology: Topology,
    layout: Layout,
    needs: Needs,
    settings: Settings,
    named: Named,
    /// The profile as it was given.
    profile: Option<String>,
}

impl Session {
    fn open(args: &TargetArgs) -> std::result::Result<Session, Errors> {
        let settings = Settings::load(args.settings.as_deref())?;
        settings.know("--with", &args.with)?;
        settings.know("--without", &args.without)?;
        let tree = open_root(&args.root)?;
        let topology = Topology::read(&tree).map_err(|error| {
            let wrong = format!("/sys/devices/system/cpu/online cannot be read: {error}");
            let right = "the root of a Linux system, or a copy of its /sys and /proc";
            Errors::flag("--root", wrong, args.root.display(), right)
        })?;
        let host = match &args.config {
            Some(path) => Some(Host::load_for(path, &machine(&topology))?),
            None => None,
        };
        let profile = match (&args.profile, &host) {
            (Some(name), _) => Profile::find(name, Path::new("."))?,
            (None, Some(host)) => host.profile.clone(),
            (None, None) => Profile::find("balanced", Path::new("."))?,
        };
        let needs = Needs::of(&profile, host.as_ref());
        Ok(Session {
            layout: Layout::propose(&topology, needs.workers.as_deref()),
            profile: args.profile.clone(),
            named: Named {
                with: args.with.clone(),
                without: args.without.clone(),
            },
            tree,
            topology,
            needs,
            settings,
        })
    }

    /// The profile's name for a configuration; `None` when that names one of its own already.
    fn profile(&self) -> Option<&str> {
        let built_in = Some(self.needs.profile.as_str()).filter(|name| *name != CUSTOM);
        self.profile.as_deref().or(built_in)
    }

    fn check(&self) -> Vec<Checked<'_>> {
        let context = Context {
            topology: &self.topology,
            layout: &self.layout,
            needs: &self.needs,
        };
        check::check(&self.tree, context, &self.settings, &self.named)
    }
}

/// The machine below the root, as a configuration is checked for it.
fn machine(topology: &Topology) -> Machine {
    let online: Vec<_> = topology.online().iter().collect();
    Machine {
        allowed: online.clone(),
        online,
    }
}

fn open_root(root: &Path) -> std::result::Result<Tree, Errors> {
    Tree::open(root).map_err(|error| {
        let wrong = format!("cannot be opened: {error}");
        Errors::flag("--root", wrong, root.display(), "a directory")
    })
}

fn show(args: &ShownArgs) -> Result {
    let session = Session::open(&args.target)?;
    let Session {
        topology, layout, ..
    } = &session;
    match args.json {
        true => print_json(&show::Shown {
            topology,
            layout,
            configuration: show::configuration(layout, session.profile()),
        }),
        false => print(&show::show(topology, layout, session.profile())),
    }
}

fn check(args: &ShownArgs) -> Result {
    let session = Session::open(&args.target)?;
    let checked = session.check();
    match args.json {
        true => print_json(&show::rows(&checked))?,
        false => print(&show::check(&checked))?,
    }
    match checked.iter().any(|it| it.verdict() == Verdict::Differs) {
        true => Err(Failure::Told),
        false => Ok(()),
    }
}

fn plan(args: &ShownArgs) -> Result {
    let session = Session::open(&args.target)?;
    let checked = session.check();
    if args.json {
        let open = checked.into_iter();
        let open = open.filter(|it| matches!(it.verdict(), Verdict::Differs | Verdict::Advice));
        return print_json(&show::rows(&open.collect::<Vec<_>>()));
    }
    let title = format!(
        "skep tune plan, profile {}, workers on CPUs {}",
        session.profile().unwrap_or(CUSTOM),
        session.layout.workers.cpus
    );
    print(&plan::script(&title, &checked))
}

fn apply(args: &ApplyArgs) -> Result {
    let session = Session::open(&args.target)?;
    let mut journal = open_journal(&session.tree, args.state.as_deref())?;
    if session.topology.irqbalance {
        eprintln!("skep: irqbalance runs: {}", show::IRQBALANCE);
    }
    let outcome = apply::apply(&session.tree, &session.check(), &mut journal).map_err(failed)?;
    tell(&outcome)
}

fn revert(args: &RevertArgs) -> Result {
    let tree = open_root(&args.root)?;
    if !Journal::lies_in(&state_dir(&tree, args.state.as_deref())?) {
        return print("nothing was applied\n");
    }
    let mut journal = open_journal(&tree, args.state.as_deref())?;
    let outcome = apply::revert(&tree, &mut journal);
    match journal.entries.is_empty() {
        true => journal.remove().map_err(failed)?,
        false => journal.save().map_err(failed)?,
    }
    tell(&outcome)
}

/// Opens the journal about this root.
fn open_journal(tree: &Tree, state: Option<&Path>) -> std::result::Result<Journal, Failure> {
    let root = std::fs::canonicalize(tree.path())?;
    Journal::open(&state_dir(tree, state)?, &root).map_err(failed)
}

/// The directory that was named; or the one below the root, unless a link on the way leads
/// somewhere else.
fn state_dir(tree: &Tree, named: Option<&Path>) -> std::result::Result<PathBuf, Failure> {
    if let Some(dir) = named {
        return Ok(dir.to_owned());
    }
    let root = std::fs::canonicalize(tree.path())?;
    let mut dir = root.clone();
    for part in Path::new(STATE_DIR).components() {
        dir.push(part);
        // On the host itself /var may well be a link.
        if root != Path::new("/") && dir.is_symlink() {
            let line = format!("{}: a link; name a directory with --state", dir.display());
            return Err(failed(line));
        }
    }
    Ok(dir)
}

fn failed(line: String) -> Failure {
    Failure::Failed(anyhow::Error::msg(line))
}

/// Says what came of it.
fn tell(outcome: &Outcome) -> Result {
    let mut done = outcome.done.join("\n");
    if !done.is_empty() {
        done.push('\n');
    }
    print(&done)?;
    for line in &outcome.failed {
        eprintln!("skep: {line}");
    }
    match outcome.failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::Told),
    }
}

fn print_json<T: Serialize>(value: &T) -> Result {
    let text = serde_json::to_string_pretty(value).map_err(anyhow::Error::from)?;
    print(&format!("{text}\n"))
}

/// To standard output; a reader that has seen enough is no failure.
fn print(text: &str) -> Result {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
