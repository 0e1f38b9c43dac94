//! What a reload cannot change: it was given to processes when they started.

use crate::config::Host;

/// Whether the workers that run, which keep the profiles they were started with, can carry the
/// tenants of a new configuration.
///
/// # Errors
/// Why not, in one line.
pub(super) fn check_running(old: &Host, new: &Host) -> Result<(), String> {
    let running = Host {
        tenants: new.tenants.clone(),
        ..old.clone()
    };
    let carried = running.check_room().and_then(|()| running.check_fits());
    carried.map_err(|line| format!("not until a restart: {line}"))
}

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
        ("isolation.require", old.require != new.require),
    ];
    settings
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(key, _)| key)
        .collect()
}
