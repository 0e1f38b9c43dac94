//! What a case is: who attacks, how, and the answer that it has to get.

use std::path::PathBuf;

use crate::arena::Stage;

/// Limits of the attacker's tenant, as in `[tenant.limits]`.
pub type Limits = &'static [(&'static str, u64)];

/// One attack.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name, and its tenant's.
    pub name: &'static str,
    /// What it does, for people.
    pub what: &'static str,
    /// How it has to be answered. Of a [`Attack::Get`], the status and the reason: `504 cpu_exhausted`,
    /// or several with ` or ` between them.
    pub answer: &'static str,
    /// Its tenant's limits, beside [`LIMITS`].
    pub limits: Limits,
    /// Its program.
    pub program: Program,
    /// What is done, again and again.
    pub attack: Attack,
}

/// The program of a case's tenant.
#[derive(Clone, Copy)]
pub enum Program {
    /// A guest of `tests/guests`: mostly `attacker`.
    Guest(&'static str),
    /// A component that is made for this case.
    Made(fn() -> Vec<u8>),
}

/// What an attacker does.
#[derive(Clone, Copy)]
pub enum Attack {
    /// Asks for this path, and is answered with [`Case::answer`].
    Get(&'static str),
    /// Something else, which checks its answers itself.
    Run(fn(&Stage<'_>)),
}

/// What every case's tenant has unless its own limits say otherwise. The CPU time is long enough to be felt
/// by the victim if the attacker was not interrupted.
pub const LIMITS: Limits = &[("cpu_ms", 100), ("wall_ms", 20_000), ("memory_mib", 96)];

/// The attacker guest is asked for a path.
pub const fn get(name: &'static str, path: &'static str, answer: &'static str) -> Case {
    Case {
        name,
        what: path,
        answer,
        limits: &[],
        program: Program::Guest("attacker"),
        attack: Attack::Get(path),
    }
}

/// A component of its own is asked for `/`.
pub const fn made(
    name: &'static str,
    what: &'static str,
    make: fn() -> Vec<u8>,
    answer: &'static str,
) -> Case {
    Case {
        name,
        what,
        answer,
        limits: &[],
        program: Program::Made(make),
        attack: Attack::Get("/"),
    }
}

/// A client does something.
pub const fn run(
    name: &'static str,
    what: &'static str,
    attack: fn(&Stage<'_>),
    answer: &'static str,
) -> Case {
    Case {
        name,
        what,
        answer,
        limits: &[],
        program: Program::Guest("attacker"),
        attack: Attack::Run(attack),
    }
}

impl Case {
    /// The same asked of another guest.
    pub const fn of(mut self, guest: &'static str) -> Self {
        self.program = Program::Guest(guest);
        self
    }

    /// The same with these limits.
    pub const fn with(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// The cases of one threat, and what their host is like.
pub struct Threat {
    /// Its name: that of its file.
    pub name: &'static str,
    /// Its cases.
    pub cases: &'static [Case],
    /// Lines of the configuration: section and line.
    pub lines: &'static [(&'static str, &'static str)],
}

impl std::fmt::Debug for Threat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Where a made component of a case lies.
pub fn component_path(dir: &std::path::Path, case: &Case) -> PathBuf {
    dir.join(case.name).with_extension("wasm")
}
