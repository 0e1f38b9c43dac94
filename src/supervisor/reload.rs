//! A new configuration while the host serves, and what it cannot change: what was given to processes
//! when they started.

use std::path::Path;

use crate::config::Host;
use crate::control::ToBroker;
use crate::supervisor::child::Message;
use crate::supervisor::messages;
use crate::supervisor::roster::Change;
use crate::supervisor::start::Supervisor;
use crate::sys::report;

/// Whether the workers that run, which keep the profiles they were started with, can carry the
/// tenants of a new configuration.
///
/// # Errors
/// Why not, in one line.
fn check_running(old: &Host, new: &Host) -> Result<(), String> {
    let running = Host {
        tenants: new.tenants.clone(),
        cells: new.cells.clone(),
        ..old.clone()
    };
    let carried = running
        .check_cells()
        .and_then(|()| running.check_room())
        .and_then(|()| running.check_fits());
    carried.map_err(|line| format!("not until a restart: {line}"))
}

/// The settings that differ and need a restart, as keys of the configuration file.
fn need_restart(old: &Host, new: &Host) -> Vec<&'static str> {
    let settings = [
        ("listen.http", old.listen_http != new.listen_http),
        ("workers.cores", old.cores != new.cores),
        ("workers.profile", old.profile != new.profile),
        ("workers.core", old.core_profiles != new.core_profiles),
        ("artifacts.dir", old.artifacts_dir != new.artifacts_dir),
        ("http", old.http != new.http),
        ("log", old.log != new.log),
        ("isolation.require", old.require != new.require),
        ("egress", old.network != new.network),
        ("data", old.data != new.data),
    ];
    settings
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(key, _)| key)
        .collect()
}

impl Supervisor {
    /// Reads the configuration again and serves its tenants; says what to report once all workers
    /// do.
    pub(super) fn reload(
        &mut self,
        load: &mut impl FnMut(&Path) -> Result<Host, String>,
    ) -> Option<String> {
        if let Some(broker) = &mut self.broker.child {
            messages::say(broker, &ToBroker::ReopenLog);
        }
        let loaded = load(&self.host.source)
            .and_then(|host| check_running(&self.host, &host).map(|()| host));
        let host = match loaded {
            Ok(host) => host,
            Err(errors) => {
                for error in errors.lines() {
                    report::line(format_args!("reload: {error}"));
                }
                report::line(format_args!("reload: refused, nothing changed"));
                return None;
            }
        };
        let ignored = need_restart(&self.host, &host);
        if !ignored.is_empty() {
            let keys = ignored.join(", ");
            report::line(format_args!("reload: ignored until a restart: {keys}"));
        }
        self.host.drain_ms = host.drain_ms;
        self.host.tenants = host.tenants;
        self.host.cells = host.cells;
        self.reload_geo(host.geo);
        let arranged = self.cells.arrange(&self.host.cells);
        let changes = self.roster.apply(&self.host.tenants, &self.cells);
        // First: a worker's next request goes by the new rules.
        self.tell_egress(&changes);
        self.tell_data(&changes);
        self.tell_workers(&changes);
        self.note_leaving(&changes, arranged.gone);
        if let Err(error) = self.arrange_groups() {
            report::line(format_args!("reload: limits of cells: {error}"));
        }
        for cell in arranged.added {
            self.start_cell(cell);
        }
        self.front.is_stale = true;
        if let Some(broker) = &mut self.broker.child {
            messages::tell_broker(broker, &changes);
        }
        let count = |wanted: fn(&Change) -> bool| changes.iter().filter(|c| wanted(c)).count();
        Some(format!(
            "reloaded: {} added, {} changed, {} removed; {} tenants",
            count(|change| matches!(change, Change::Add(_))),
            count(|change| matches!(change, Change::Replace(_) | Change::Move(..))),
            count(|change| matches!(change, Change::Remove(..))),
            self.roster.len()
        ))
    }

    /// Tells the workers of each cell what the changes are for them.
    fn tell_workers(&mut self, changes: &[Change]) {
        let mut told: Option<(usize, Vec<Message>)> = None;
        for (index, worker) in &mut self.workers {
            let cell = self.cells.of_worker(*index);
            let (_, messages) = match told.take().filter(|(known, _)| *known == cell) {
                Some(same) => told.insert(same),
                None => told.insert((cell, messages::for_cell(changes, cell, &self.cells))),
            };
            if let Some(child) = &mut worker.slot.child {
                messages::tell_worker(child, messages);
            }
        }
    }

    /// Starts the workers of a new cell.
    fn start_cell(&mut self, cell: usize) {
        if let Err(error) = self.add_workers(cell) {
            // Out of descriptors: its tenants are not served until the next reload or restart.
            report::line(format_args!("cell {cell}: making mailboxes: {error}"));
        }
        for index in self.cells.workers(cell) {
            if self.workers.contains_key(&index) {
                self.try_start_worker(index);
            }
        }
    }
}
