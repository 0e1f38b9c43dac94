//! Where each tenant's log lines are kept: the names of the files, for who writes and who reads them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::limits;
use super::raw;
use super::validate::Checker;

/// A directory with a few files for each tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogDir {
    /// The directory.
    pub dir: PathBuf,
    /// Most bytes of one file; the next line begins a new one.
    pub rotate_bytes: u64,
    /// Files kept of each tenant beside the current one.
    pub keep: usize,
}

impl LogDir {
    /// The file that is written to.
    pub fn current(&self, tenant: &str) -> PathBuf {
        self.dir.join(format!("{tenant}.log"))
    }

    /// The `number`th file before it; the current one is number 0.
    pub fn numbered(&self, tenant: &str, number: usize) -> PathBuf {
        match number {
            0 => self.current(tenant),
            _ => self.dir.join(format!("{tenant}.log.{number}")),
        }
    }
}

impl Checker<'_, '_> {
    /// `log.dir`, `log.rotate_kib` and `log.keep`.
    pub(super) fn log_dir(&mut self, raw: &raw::Log) -> Option<LogDir> {
        const KEY: &str = "log.dir";
        const RIGHT: &str = "a directory, or one to be made in a directory that exists";
        let rotate_kib = self.limit("log", &raw.rotate_kib, &limits::LOG_ROTATE_KIB);
        let keep = self.limit("log", &raw.keep, &limits::LOG_KEEP) as usize;
        let name = raw.dir.as_ref()?;
        let dir = self.dir.join(name.get_ref());
        let report = &mut self.report;
        if dir.exists() && !dir.is_dir() {
            report.value(name.span(), KEY, "not a directory", RIGHT);
        } else if !dir.exists() && !dir.parent().is_some_and(Path::is_dir) {
            report.value(name.span(), KEY, "its parent does not exist", RIGHT);
        }
        Some(LogDir {
            dir,
            rotate_bytes: rotate_kib << 10,
            keep,
        })
    }
}
