//! Pid files, for programs that watch or signal skep's processes: `supervisor.pid`, `broker.pid`,
//! `worker-0.pid`, …, each one line with one number.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The directory of pid files; none when nobody asked for them. Its files go with this value.
#[derive(Debug, Default)]
pub(super) struct PidFiles {
    dir: Option<PathBuf>,
    written: Vec<PathBuf>,
}

impl PidFiles {
    /// In `dir`, which is created when it is not there, with this process's own file.
    pub(super) fn new(dir: Option<&Path>) -> io::Result<Self> {
        let mut files = Self::default();
        if let Some(dir) = dir {
            fs::create_dir_all(dir)?;
            files.dir = Some(dir.to_owned());
            files.write("supervisor", std::process::id())?;
        }
        Ok(files)
    }

    /// Says that `who` is process `pid` now.
    pub(super) fn write(&mut self, who: &str, pid: u32) -> io::Result<()> {
        let Some(dir) = &self.dir else {
            return Ok(());
        };
        let path = dir.join(who).with_extension("pid");
        // Renamed into place: whoever reads it finds the old number or the new one.
        let new = path.with_extension("pid.new");
        fs::write(&new, format!("{pid}\n"))?;
        fs::rename(&new, &path)?;
        if !self.written.contains(&path) {
            self.written.push(path);
        }
        Ok(())
    }
}

impl Drop for PidFiles {
    fn drop(&mut self) {
        for path in &self.written {
            // Whoever removed it first had a reason.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_hold_the_newest_pid_and_go_in_the_end() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("run");
        let mut files = PidFiles::new(Some(&dir)).unwrap();
        files.write("worker-0", 11).unwrap();
        files.write("worker-0", 12).unwrap();
        let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
        assert_eq!(read("worker-0.pid"), "12\n");
        assert_eq!(read("supervisor.pid"), format!("{}\n", std::process::id()));
        drop(files);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    }

    #[test]
    fn without_a_directory_nothing_is_written() {
        PidFiles::new(None).unwrap().write("worker-0", 1).unwrap();
    }
}
