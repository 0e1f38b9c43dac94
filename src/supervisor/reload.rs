//! What a reload cannot change: it was given to processes when they started.

use crate::config::Host;

/// The settings that differ and need a restart, as keys of the configuration file.
pub(super) fn need_restart(old: &Host, new: &Host) -> Vec<&'static str> {
    let settings = [
        ("listen.http", old.listen_http != new.listen_http),
        ("workers.cores", old.cores != new.cores),
        ("workers.profile", old.profile != new.profile),
        ("workers.core", old.core_profiles != new.core_profiles),
        ("artifacts.dir", old.artifacts_dir != new.artifacts_dir),
        ("http", old.http != new.http),
        ("log", old.log != new.log),
    ];
    settings
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(key, _)| key)
        .collect()
}
