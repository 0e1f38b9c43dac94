//! What workers are told of places: databases, one in memory for all of them.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::config::GeoPlaces;
use crate::control::ToWorker;
use crate::geo;
use crate::supervisor::child::Message;
use crate::supervisor::start::Supervisor;
use crate::sys::report;

/// Databases that were read.
pub(super) type Databases = Vec<Rc<OwnedFd>>;

/// Reads the databases.
///
/// # Errors
/// Which one cannot be read, and why.
pub(super) fn read(places: &GeoPlaces) -> io::Result<Databases> {
    let read = places
        .databases
        .iter()
        .map(|path| geo::load(path).map(Rc::new));
    read.collect::<Result<_, _>>().map_err(io::Error::other)
}

impl Supervisor {
    /// What a worker is told.
    pub(super) fn geo_message(&self) -> io::Result<Message> {
        let pop = self.host.geo.pop.clone();
        Message::new(&ToWorker::Geo { pop }, self.databases.clone())
    }

    /// Reads the databases again, which may be other ones now, and tells every worker. Where one cannot
    /// be read, all stay as they are.
    pub(super) fn reload_geo(&mut self, places: GeoPlaces) {
        if places.is_empty() && self.host.geo.is_empty() {
            return;
        }
        let told = read(&places).and_then(|databases| {
            self.databases = databases;
            self.host.geo = places;
            self.geo_message()
        });
        let message = match told {
            Ok(message) => message,
            Err(error) => {
                report::line(format_args!("reload: geo stays as it was: {error}"));
                return;
            }
        };
        for worker in self.workers.values_mut() {
            if let Some(child) = &mut worker.slot.child {
                child.say(message.clone());
            }
        }
    }
}
