//! Whether the kernel gives a run what it needs: `nofile`, `ports`, `io-uring`.

use std::path::Path;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{Finding, Plan};
use crate::kernel_files::{field, number, text};
use crate::limits::{DESCRIPTORS_RESERVE, TIME_WAIT_REUSED_S, TIME_WAIT_S};

pub(super) fn look(root: &Path, plan: &Plan) -> Vec<Finding> {
    [open_files(root, plan), ports(root, plan), io_uring(root)]
        .into_iter()
        .flatten()
        .collect()
}

/// A soft limit that is too low is raised; only a hard one needs the operator.
fn open_files(root: &Path, plan: &Plan) -> Option<Finding> {
    let limits = text(root, "proc/self/limits")?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    let mut fields = line
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(u64::MAX));
    let (soft, hard) = (fields.next()?, fields.next()?);
    let needed = plan.connections as u64 + DESCRIPTORS_RESERVE;
    if needed <= soft || (needed <= hard && raise_open_files(needed)) {
        return None;
    }
    Some(Finding::refusal(
        "nofile",
        format!(
            "{} connections need {needed} open files, and the limit is {hard}",
            plan.connections
        ),
        format!("ulimit -Hn {needed} as root, or LimitNOFILE={needed} in the service; then again"),
    ))
}

/// Raises this process's soft limit to its hard one; says whether `needed` fit then.
fn raise_open_files(needed: u64) -> bool {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return false;
    };
    soft >= needed || (hard >= needed && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok())
}

/// Connections to one address and port each need a local port of their own, and the side that
/// closes first keeps it for [`TIME_WAIT_S`] (RFC 9293, 3.6.1).
fn ports(root: &Path, plan: &Plan) -> Option<Finding> {
    let range = text(root, "proc/sys/net/ipv4/ip_local_port_range")?;
    let mut bounds = range.split_whitespace().map(str::parse::<u64>);
    let (low, high) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
    let ports = (high + 1).saturating_sub(low);
    if plan.connections as u64 > ports {
        return Some(Finding::refusal(
            "ports",
            format!(
                "{} connections to one address need a port each, and {low}–{high} are {ports}",
                plan.connections
            ),
            "sudo sysctl -w net.ipv4.ip_local_port_range='1024 65535', or several addresses",
        ));
    }
    let reused = match number(root, "proc/sys/net/ipv4/tcp_tw_reuse") {
        Some(1) => true,
        Some(2) => plan.target.ip().is_loopback(),
        _ => false,
    };
    let held_s = if reused {
        TIME_WAIT_REUSED_S
    } else {
        TIME_WAIT_S
    };
    let held = plan.connections as f64 + plan.connects_per_s * held_s;
    (held > ports as f64).then(|| {
        Finding::warning(
            "ports",
            format!(
                "{:.0} new connections a second keep up to {held:.0} ports for {held_s:.0} s each when \
                 this side closes first, and {low}–{high} are {ports}",
                plan.connects_per_s
            ),
            "sudo sysctl -w net.ipv4.tcp_tw_reuse=1 net.ipv4.ip_local_port_range='1024 65535'",
        )
    })
}

/// Since Linux 6.6 (`Documentation/admin-guide/sysctl/kernel.rst`): 1 leaves io_uring to processes
/// with CAP_SYS_ADMIN and to a group, 2 to nobody.
fn io_uring(root: &Path) -> Option<Finding> {
    let disabled: u32 = number(root, "proc/sys/kernel/io_uring_disabled")?;
    let allowed = match disabled {
        0 => true,
        1 => is_admin(root) || is_in_group(root),
        _ => false,
    };
    (!allowed).then(|| {
        Finding::refusal(
            "io-uring",
            format!("kernel.io_uring_disabled is {disabled}, and the generators need io_uring"),
            "sudo sysctl -w kernel.io_uring_disabled=0",
        )
    })
}

fn is_admin(root: &Path) -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    text(root, "proc/self/status")
        .and_then(|status| u64::from_str_radix(field(&status, "CapEff")?, 16).ok())
        .is_some_and(|capabilities| capabilities >> CAP_SYS_ADMIN & 1 == 1)
}

fn is_in_group(root: &Path) -> bool {
    let group: i64 = number(root, "proc/sys/kernel/io_uring_group").unwrap_or(-1);
    let status = text(root, "proc/self/status").unwrap_or_default();
    let own = ["Gid", "Groups"].map(|key| field(&status, key).unwrap_or_default());
    own.iter()
        .flat_map(|list| list.split_whitespace())
        .any(|id| id.parse() == Ok(group))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_files::fake::tree;
    use crate::preflight::fake::{ids, plan};

    #[test]
    fn open_files_are_raised_to_the_hard_limit_and_refused_beyond() {
        let root = tree(&[(
            "proc/self/limits",
            "Limit                     Soft Limit           Hard Limit           Units\n\
             Max open files            100                  1000                 files\n",
        )]);
        for (connections, refused) in [(36, false), (37, false), (937, true)] {
            let plan = Plan {
                connections,
                ..plan()
            };
            let finding = open_files(root.path(), &plan);
            assert_eq!(finding.is_some(), refused, "{connections}");
        }
        let plan = Plan {
            connections: 2000,
            ..plan()
        };
        assert_eq!(
            open_files(root.path(), &plan).unwrap().found,
            "2000 connections need 2064 open files, and the limit is 1000"
        );
    }

    #[test]
    fn ports_by_connections_churn_and_reuse() {
        for (connections, connects_per_s, target, reuse, expected) in [
            (1000, 0.0, [127, 0, 0, 1], "0", vec![]),
            (1001, 0.0, [127, 0, 0, 1], "0", vec!["ports refusal"]),
            (10, 17.0, [127, 0, 0, 1], "0", vec!["ports warning"]),
            (10, 16.0, [127, 0, 0, 1], "0", vec![]),
            (10, 17.0, [127, 0, 0, 1], "2", vec![]),
            (10, 17.0, [192, 0, 2, 1], "2", vec!["ports warning"]),
            (10, 17.0, [192, 0, 2, 1], "1", vec![]),
            (10, 991.0, [127, 0, 0, 1], "1", vec!["ports warning"]),
        ] {
            let root = tree(&[
                ("proc/sys/net/ipv4/ip_local_port_range", "32768\t33767\n"),
                ("proc/sys/net/ipv4/tcp_tw_reuse", reuse),
            ]);
            let plan = Plan {
                connections,
                connects_per_s,
                ..Plan::new((target, 80).into())
            };
            let findings = look(root.path(), &plan);
            assert_eq!(ids(&findings), expected, "{plan:?} reuse {reuse}");
        }
    }

    #[test]
    fn io_uring_by_setting_capability_and_group() {
        const NOBODY: &str = "CapEff:\t0000000000000000\nGid:\t5 5 5 5\nGroups:\t5 27\n";
        const ADMIN: &str = "CapEff:\t0000000000200000\nGid:\t5 5 5 5\nGroups:\t5\n";
        for (disabled, group, status, expected) in [
            ("0", "-1", NOBODY, vec![]),
            ("1", "-1", NOBODY, vec!["io-uring refusal"]),
            ("1", "27", NOBODY, vec![]),
            ("1", "-1", ADMIN, vec![]),
            ("2", "27", ADMIN, vec!["io-uring refusal"]),
        ] {
            let root = tree(&[
                ("proc/sys/kernel/io_uring_disabled", disabled),
                ("proc/sys/kernel/io_uring_group", group),
                ("proc/self/status", status),
            ]);
            let findings = look(root.path(), &plan());
            assert_eq!(ids(&findings), expected, "{disabled} {group}");
        }
    }
}
