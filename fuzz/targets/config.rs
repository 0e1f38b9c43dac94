//! A configuration file: whatever is in it, it is a host or a list of problems, a line each.

use std::path::PathBuf;

use skep::config::{Host, Machine};
use tempfile::TempDir;

thread_local! {
    /// Where the file is; in memory, because it is written for each input. Gone with its thread.
    static DIR: TempDir = {
        let memory = PathBuf::from("/dev/shm");
        let dir = tempfile::Builder::new()
            .prefix("skep-fuzz-")
            .tempdir_in(if memory.is_dir() {
                memory
            } else {
                std::env::temp_dir()
            })
            .expect("a directory");
        // What a tenant's `component` may name: a component's preamble is all that is looked at.
        std::fs::write(dir.path().join("a.wasm"), b"\0asm\x0d\0\x01\0").expect("a component");
        std::fs::write(dir.path().join("m.wasm"), b"\0asm\x01\0\0\0").expect("a module");
        dir
    };
}

pub fn run(data: &[u8]) {
    let path = DIR.with(|dir| dir.path().join("skep.toml"));
    std::fs::write(&path, data).expect("writing the file");
    let machine = Machine {
        online: (0..8).collect(),
        allowed: vec![0, 1, 2, 5],
    };
    let lines = data.iter().filter(|byte| **byte == b'\n').count() + 1;
    match Host::load_for(&path, &machine) {
        Ok(host) => {
            assert!(!host.cores.is_empty());
            assert!(host.cores.iter().all(|core| machine.allowed.contains(core)));
            let _ = (host.check_fits(), host.check_room(), host.workers());
            // It travels to other processes as JSON.
            let sent = serde_json::to_vec(&host).expect("JSON");
            assert_eq!(serde_json::from_slice::<Host>(&sent).expect("a host"), host);
        }
        Err(errors) => {
            assert!(!errors.problems().is_empty());
            for problem in errors.problems() {
                let line = problem.to_string();
                assert!(!line.chars().any(char::is_control), "{line:?}");
                assert!(
                    !problem.wrong.is_empty() && !problem.right.is_empty(),
                    "{line}"
                );
                assert!(
                    problem.file == path
                        || problem.file.as_os_str().is_empty()
                        || problem.line.is_none()
                        || problem.file.exists(),
                    "{line}"
                );
                assert!(
                    problem.file != path || problem.line.is_none_or(|at| (1..=lines).contains(&at)),
                    "{line}"
                );
            }
        }
    }
}
