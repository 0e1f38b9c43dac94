//! Landlock: what of the file system, of TCP and of other processes is left.
//!
//! Best effort by design: rights that a later kernel knows are taken where it knows them.

use std::os::fd::OwnedFd;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus,
    PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::State;

/// The newest interface that skep was tried with: scoped signals and abstract sockets (Linux 6.12).
const NEWEST: ABI = ABI::V6;

/// A directory or file, and what may be done in or with it.
#[derive(Debug)]
pub(super) struct Rule {
    /// Open on it; `O_PATH` is enough.
    pub(super) fd: OwnedFd,
    /// What is allowed.
    pub(super) access: BitFlags<AccessFs>,
}

/// Reads files and nothing else.
pub(super) fn read_files() -> BitFlags<AccessFs> {
    AccessFs::ReadFile.into()
}

/// Reads files and lists directories.
pub(super) fn read_tree() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::ReadDir
}

/// Everything that keeps a directory of files.
pub(super) fn keep_files() -> BitFlags<AccessFs> {
    read_tree()
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer
}

/// Writes to a file that is there.
pub(super) fn write_file() -> BitFlags<AccessFs> {
    AccessFs::WriteFile.into()
}

/// Runs programs.
pub(super) fn execute() -> BitFlags<AccessFs> {
    AccessFs::Execute | AccessFs::ReadFile
}

/// What TCP is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tcp {
    /// None.
    None,
    /// It connects, and listens to nobody.
    Connect,
}

/// Restricts the calling thread, and those it starts, to `rules` and `tcp`: no other file, no signal and
/// no abstract socket outside.
pub(super) fn restrict(rules: Vec<Rule>, tcp: Tcp) -> State {
    match try_restrict(rules, tcp) {
        Ok(state) => state,
        Err(error) => State::Impossible(error.to_string()),
    }
}

fn try_restrict(rules: Vec<Rule>, tcp: Tcp) -> Result<State, landlock::RulesetError> {
    let taken = match tcp {
        Tcp::None => AccessNet::from_all(NEWEST),
        Tcp::Connect => AccessNet::BindTcp.into(),
    };
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(taken)?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    for rule in rules {
        ruleset = ruleset.add_rule(PathBeneath::new(rule.fd, rule.access))?;
    }
    let status = ruleset.restrict_self()?;
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, LandlockStatus::NotEnabled) => {
            State::Impossible("disabled at boot: not in the kernel's lsm= list".into())
        }
        (RulesetStatus::NotEnforced, _) => State::Impossible("the kernel has none".into()),
        (RulesetStatus::PartiallyEnforced, _) => {
            State::On("this kernel's part: scopes need Linux 6.12, TCP 6.7".into())
        }
        (RulesetStatus::FullyEnforced, _) => State::on(),
    })
}
