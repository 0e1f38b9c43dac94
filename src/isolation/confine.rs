//! The steps that every kind of process takes the same way, while it has one thread.

use std::os::fd::BorrowedFd;

use caps::CapSet;
use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

use super::landlock::{self, Rule, Tcp};
use super::seccomp::{self, Allow};
use super::{Layer, Report, State};
use crate::sys::namespaces;
use crate::sys::ring;

/// The namespaces of a process that needs nothing of the host.
const APART: CloneFlags = CloneFlags::CLONE_NEWNET
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWUTS);

/// Another user, namespaces of its own, an empty root.
pub(super) fn leave_the_host(report: &mut Report) {
    leave(report, APART);
}

/// The same for a process that is there to reach the network.
pub(super) fn leave_the_host_for_the_network(report: &mut Report) {
    leave(report, APART.difference(CloneFlags::CLONE_NEWNET));
    let why = "it connects for the workers; landlock and seccomp say how".to_owned();
    report.note(Layer::Netns, State::Off(why));
}

fn leave(report: &mut Report, apart: CloneFlags) {
    note_pid_namespace(report);
    if let Err(error) = namespaces::become_nobody() {
        tracing::warn!("this process keeps its user: {error}");
    }
    // Changing the user lowered what was effective; without a user namespace, it is needed once more.
    let _ = raise_effective();
    let namespaces = apart | CloneFlags::CLONE_NEWNS;
    let as_user = namespaces::enter_as_user(namespaces);
    let entered = match &as_user {
        Ok(()) => Ok(()),
        Err(_) => namespaces::enter(namespaces),
    };
    report.note(Layer::Userns, State::of(as_user));
    note_apart(report, &entered);
    let root = entered.and_then(|()| namespaces::empty_root());
    report.note(Layer::Root, State::of(root));
    let _ = namespaces::die_with_parent();
}

/// Namespaces without another root, and without another user where that works: for a process that
/// keeps files.
pub(super) fn leave_the_network(report: &mut Report) {
    note_pid_namespace(report);
    let (entered, user) = match namespaces::enter(APART) {
        Ok(()) => (
            Ok(()),
            State::Off("its files belong to the host's user".into()),
        ),
        Err(_) => {
            let entered = namespaces::enter_as_user(APART);
            let user = match &entered {
                Ok(()) => State::on(),
                Err(error) => State::Impossible(error.to_string()),
            };
            (entered, user)
        }
    };
    report.note(Layer::Userns, user);
    note_apart(report, &entered);
    let why = "it keeps files; landlock says which".to_owned();
    report.note(Layer::Root, State::Off(why));
    let _ = namespaces::die_with_parent();
}

fn note_pid_namespace(report: &mut Report) {
    let state = if namespaces::is_first_process() {
        State::on()
    } else {
        State::Impossible("the process that started it may not make one".into())
    };
    report.note(Layer::Pidns, state);
}

fn note_apart(report: &mut Report, entered: &std::io::Result<()>) {
    let state = match entered {
        Ok(()) => State::on(),
        Err(error) => State::Impossible(error.to_string()),
    };
    for layer in [Layer::Netns, Layer::Ipcns, Layer::Utsns] {
        report.note(layer, state.clone());
    }
}

/// Makes every permitted capability effective.
fn raise_effective() -> Result<(), caps::errors::CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    caps::set(None, CapSet::Effective, &permitted)
}

/// No file, and of TCP what a caller needs.
pub(super) fn restrict_files_of_a_caller(report: &mut Report) {
    report.note(
        Layer::Landlock,
        landlock::restrict(Vec::new(), Tcp::Connect),
    );
}

/// Restricts what files are left to `rules`.
pub(super) fn restrict_files(report: &mut Report, rules: Vec<Rule>) {
    report.note(Layer::Landlock, landlock::restrict(rules, Tcp::None));
}

/// Gives every capability up, and every way to get one back.
pub(super) fn drop_capabilities(report: &mut Report) {
    report.note(Layer::Capabilities, State::of(try_drop_capabilities()));
}

fn try_drop_capabilities() -> Result<(), String> {
    let text = |error: caps::errors::CapsError| error.to_string();
    prctl::set_no_new_privs().map_err(|error| error.to_string())?;
    // Without CAP_SETPCAP the bounding set stays; nothing can be gained from it any more.
    let _ = caps::clear(None, CapSet::Bounding);
    let _ = caps::clear(None, CapSet::Ambient);
    caps::clear(None, CapSet::Inheritable).map_err(text)?;
    caps::clear(None, CapSet::Effective).map_err(text)?;
    caps::clear(None, CapSet::Permitted).map_err(text)
}

/// Keeps the ring to `operations`, and enables it.
///
/// # Errors
/// When a ring that was made disabled cannot be enabled: without it, nothing works.
pub(super) fn restrict_ring(
    report: &mut Report,
    fd: BorrowedFd<'_>,
    operations: &[u8],
) -> std::io::Result<()> {
    report.note(Layer::Ring, State::of(ring::restrict(fd, operations)));
    ring::enable(fd)
}

/// No core dump, nobody looks in, and only the listed system calls, for every thread.
pub(super) fn seal(report: &mut Report, calls: &[&[Allow]]) {
    let no_core = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let undumpable = no_core.and_then(|()| prctl::set_dumpable(false));
    report.note(Layer::Undumpable, State::of(undumpable));
    report.note(Layer::Seccomp, State::of(seccomp::restrict(calls)));
}
