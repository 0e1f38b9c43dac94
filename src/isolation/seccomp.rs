//! System calls by list: everything that is not on it fails with `EPERM`.
//!
//! An error and not the process's end: a C library may try a newer call first and fall back when it
//! is refused, and a worker that dies of that takes its core's requests with it. For a hostile one
//! the two are the same: the call did not happen.
//!
//! The filter is classic BPF (`seccomp(2)`), built by `seccompiler`. It also refuses every call of
//! another architecture's table.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter_all_threads,
};

/// One allowed system call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allow {
    call: i64,
    /// The call is allowed where all checks of one of these hold; with none, always.
    any_of: &'static [&'static [Check]],
}

/// One check of an argument (its low 32 bits, which is what flags and descriptors are).
#[derive(Clone, Copy, Debug)]
pub(super) enum Check {
    /// Argument `.0` is `.1`.
    Is(u8, u32),
    /// No bit of `.1` is set in argument `.0`.
    Without(u8, u32),
}

/// Allows a system call whatever its arguments.
pub(super) const fn allow(call: libc::c_long) -> Allow {
    Allow { call, any_of: &[] }
}

/// Allows a system call where all checks of one list hold.
pub(super) const fn allow_if(call: libc::c_long, any_of: &'static [&'static [Check]]) -> Allow {
    Allow { call, any_of }
}

/// Restricts every thread of this process to the calls of `tables`.
///
/// # Errors
/// When the kernel has no filters, or a thread cannot be reached.
pub(super) fn restrict(tables: &[&[Allow]]) -> Result<(), String> {
    let program = program(tables)?;
    apply_filter_all_threads(&program).map_err(|error| error.to_string())
}

fn program(tables: &[&[Allow]]) -> Result<BpfProgram, String> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut always = Vec::new();
    for allowed in tables.iter().copied().flatten() {
        if allowed.any_of.is_empty() {
            always.push(allowed.call);
        }
        let known = rules.entry(allowed.call).or_default();
        for checks in allowed.any_of {
            let conditions: Result<Vec<_>, _> = checks.iter().map(condition).collect();
            let rule = conditions.and_then(SeccompRule::new);
            known.push(rule.map_err(|error| error.to_string())?);
        }
    }
    // What one table allows always, another does not take back.
    for call in always {
        rules.insert(call, Vec::new());
    }
    let arch = std::env::consts::ARCH
        .try_into()
        .map_err(|error: seccompiler::BackendError| error.to_string())?;
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, arch);
    filter
        .and_then(BpfProgram::try_from)
        .map_err(|error| error.to_string())
}

fn condition(check: &Check) -> Result<SeccompCondition, seccompiler::BackendError> {
    let (argument, operation, value) = match *check {
        Check::Is(argument, value) => (argument, SeccompCmpOp::Eq, value),
        Check::Without(argument, bits) => (argument, SeccompCmpOp::MaskedEq(u64::from(bits)), 0),
    };
    SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        operation,
        u64::from(value),
    )
}

/// Memory is writable or executable, never both: for `mmap` and `mprotect`, whose third argument is
/// the protection.
pub(super) const NOT_WRITABLE_CODE: &[&[Check]] = &[
    &[Check::Without(2, libc::PROT_WRITE as u32)],
    &[Check::Without(2, libc::PROT_EXEC as u32)],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_make_a_program() {
        let tables: &[&[Allow]] = &[
            &[allow_if(libc::SYS_mmap, NOT_WRITABLE_CODE)],
            &[
                allow(libc::SYS_read),
                allow_if(libc::SYS_read, &[&[Check::Is(0, 1)]]),
            ],
        ];
        assert!(program(tables).unwrap().len() > 8);
    }
}
