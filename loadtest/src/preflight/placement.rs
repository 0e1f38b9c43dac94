//! Whether generators and server stay out of each other's way: `cores`, `smt`, `shared-core`.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Finding, Plan};
use crate::cores;
use crate::kernel_files::text;
use crate::processes::allowed_cores;

const CPU: &str = "sys/devices/system/cpu";

pub(super) fn look(root: &Path, plan: &Plan, server: &[u32]) -> Vec<Finding> {
    let threads = allowed_cores(root, server);
    let mut findings = Vec::new();
    findings.extend(offline(root, &plan.generator_cores));
    findings.extend(shared_core(plan, &threads));
    findings.extend(siblings(root, plan, &threads));
    findings
}

fn offline(root: &Path, generators: &[usize]) -> Option<Finding> {
    let online = cores::parse(&text(root, format!("{CPU}/online"))?).ok()?;
    let missing: Vec<usize> = generators
        .iter()
        .copied()
        .filter(|core| !online.contains(core))
        .collect();
    (!missing.is_empty()).then(|| {
        Finding::refusal(
            "cores",
            format!(
                "generators are to run on core {}, and online are {}",
                cores::format(&missing),
                cores::format(&online)
            ),
            format!("--cores with some of {}", cores::format(&online)),
        )
    })
}

/// A thread that may only run on a generator's core waits for the generator, and the generator for it.
fn shared_core(plan: &Plan, threads: &[Vec<usize>]) -> Option<Finding> {
    let generators = &plan.generator_cores;
    if plan.loopback && plan.server_pid.is_none() {
        return Some(Finding::warning(
            "shared-core",
            "the server is on this machine, and which cores it runs on is not known",
            "--server-pid PID",
        ));
    }
    if plan.server_pid.is_some() && generators.is_empty() && !threads.is_empty() {
        return Some(Finding::warning(
            "shared-core",
            "generators are not pinned and may run on the server's cores",
            "--cores LIST, and the server on the others: taskset -a -cp OTHERS PID",
        ));
    }
    let forced = threads
        .iter()
        .filter(|allowed| allowed.iter().all(|core| generators.contains(core)))
        .count();
    let free = threads
        .iter()
        .filter(|allowed| allowed.iter().any(|core| generators.contains(core)))
        .count()
        - forced;
    let (all, on) = (threads.len(), cores::format(generators));
    let remedy = format!(
        "taskset -a -cp OTHERS {}, or other --cores than {on}",
        plan.server_pid.unwrap_or(0)
    );
    match (forced, free) {
        (0, 0) => None,
        (0, _) => Some(Finding::warning(
            "shared-core",
            format!("{free} of the server's {all} threads may run on the generators' core {on}"),
            remedy,
        )),
        _ => Some(Finding::refusal(
            "shared-core",
            format!(
                "{forced} of the server's {all} threads can run only on the generators' core {on}"
            ),
            remedy,
        )),
    }
}

/// Siblings share a core's execution units: each slows the other by an amount that nobody chose.
fn siblings(root: &Path, plan: &Plan, threads: &[Vec<usize>]) -> Option<Finding> {
    let generators = &plan.generator_cores;
    let servers: BTreeSet<usize> = threads.iter().flatten().copied().collect();
    let mut shared = Vec::new();
    for &core in generators {
        let path = format!("{CPU}/cpu{core}/topology/thread_siblings_list");
        let list = text(root, path).and_then(|list| cores::parse(&list).ok());
        for sibling in list.unwrap_or_default() {
            if sibling == core {
                continue;
            }
            if generators.contains(&sibling) {
                if core < sibling {
                    shared.push(format!("{core} and {sibling} are both generators"));
                }
            } else if servers.contains(&sibling) {
                shared.push(format!(
                    "{core} is a generator and the server may use {sibling}"
                ));
            }
        }
    }
    (!shared.is_empty()).then(|| {
        Finding::warning(
            "smt",
            format!("SMT siblings share a core: {}", shared.join("; ")),
            "echo off | sudo tee /sys/devices/system/cpu/smt/control, or --cores without siblings",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_files::fake::tree;
    use crate::preflight::fake::{ids, plan};

    #[test]
    fn what_the_server_may_use_decides() {
        let files = [
            ("sys/devices/system/cpu/online", "0-7\n"),
            (
                "sys/devices/system/cpu/cpu1/topology/thread_siblings_list",
                "1,5\n",
            ),
            (
                "sys/devices/system/cpu/cpu5/topology/thread_siblings_list",
                "1,5\n",
            ),
            (
                "sys/devices/system/cpu/cpu2/topology/thread_siblings_list",
                "2,6\n",
            ),
            ("proc/70/task/70/status", "Cpus_allowed_list:\t3-4\n"),
            ("proc/70/task/71/status", "Cpus_allowed_list:\t2-3,6\n"),
        ];
        let root = tree(&files);
        for (generators, expected) in [
            (vec![0], vec![]),
            (vec![9], vec!["cores refusal"]),
            (vec![4], vec!["shared-core warning"]),
            (vec![3, 4], vec!["shared-core refusal"]),
            (vec![1, 5], vec!["smt warning"]),
            (vec![2], vec!["shared-core warning", "smt warning"]),
            (vec![], vec!["shared-core warning"]),
        ] {
            let plan = Plan {
                generator_cores: generators.clone(),
                server_pid: Some(70),
                ..plan()
            };
            let findings = look(root.path(), &plan, &[70]);
            assert_eq!(ids(&findings), expected, "{generators:?}");
        }
    }

    #[test]
    fn a_refusal_says_how_many_threads_and_where() {
        let threads = [vec![1], vec![1], vec![0, 1]];
        let plan = Plan {
            generator_cores: vec![1],
            server_pid: Some(70),
            ..plan()
        };
        let finding = shared_core(&plan, &threads).unwrap();
        assert_eq!(
            finding.found,
            "2 of the server's 3 threads can run only on the generators' core 1"
        );
        assert!(finding.remedy.contains("taskset -a -cp OTHERS 70"));
    }

    #[test]
    fn a_local_server_that_is_not_named_is_a_warning_and_a_remote_one_is_not() {
        assert_eq!(
            shared_core(&plan(), &[]).unwrap().remedy,
            "--server-pid PID"
        );
        let remote = Plan::new(([192, 0, 2, 1], 80).into());
        assert_eq!(shared_core(&remote, &[]), None);
    }
}
