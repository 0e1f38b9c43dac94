//! The socket that commands to a running host come by: a line of JSON each way.
//!
//! ```text
//! skep purge ──AdminCall──► supervisor ──Purge──► each worker of the tenant
//!            ◄─AdminReply──            ◄─Purged── how many
//! ```
//!
//! A command about stores is answered by the data process, which the connection is handed to.
//!
//! Who may write to the socket's file may command: it is made for its owner alone.

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::rc::Rc;

use nix::sys::stat::{Mode, umask};

use crate::config::limits;
use crate::control::{AdminCall, AdminReply, Purge, ToData, ToWorker, cache_key};
use crate::supervisor::child::Message;
use crate::supervisor::messages;
use crate::supervisor::roster::cell_of;
use crate::supervisor::start::Supervisor;
use crate::sys::clock::monotonic_ns;

/// The socket and the calls that came by it.
#[derive(Debug, Default)]
pub(super) struct Admin {
    listener: Option<UnixListener>,
    calls: Vec<Call>,
    /// The number of the last call that workers were asked about.
    last: u64,
}

/// One connection.
#[derive(Debug)]
struct Call {
    stream: UnixStream,
    read: Vec<u8>,
    /// What workers were asked; `None` until the call is read.
    asked: Option<Asked>,
    deadline_ns: u64,
}

#[derive(Debug)]
struct Asked {
    id: u64,
    /// Workers that have not answered yet.
    waiting: Vec<usize>,
    purged: u64,
    workers: usize,
}

impl Admin {
    /// Listens at `path`, if there is one. A socket that nobody listens at any more is replaced.
    ///
    /// # Errors
    /// When something else is there, or the socket cannot be made.
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let listener = path.map(listen).transpose()?;
        Ok(Self {
            listener,
            ..Self::default()
        })
    }

    /// What to wait for.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let has_room = self.calls.len() < limits::ADMIN_CALLS_MAX;
        let listener = self.listener.iter().filter(move |_| has_room);
        let reading = self.calls.iter().filter(|call| call.asked.is_none());
        let reading = reading.map(|call| call.stream.as_fd());
        listener.map(AsFd::as_fd).chain(reading)
    }

    /// When the next call is given up.
    pub(super) fn deadline_ns(&self) -> Option<u64> {
        self.calls.iter().map(|call| call.deadline_ns).min()
    }

    /// A worker has done what it was asked to.
    pub(super) fn purged(&mut self, worker: usize, id: u64, count: u64) {
        let asked = self.calls.iter_mut().filter_map(|call| call.asked.as_mut());
        for asked in asked.filter(|asked| asked.id == id) {
            if asked.waiting.contains(&worker) {
                asked.waiting.retain(|it| *it != worker);
                asked.purged += count;
            }
        }
    }

    fn accept(&mut self) {
        while self.calls.len() < limits::ADMIN_CALLS_MAX
            && let Some(Ok((stream, _))) = self.listener.as_ref().map(UnixListener::accept)
        {
            if stream.set_nonblocking(true).is_ok() {
                self.calls.push(Call {
                    stream,
                    read: Vec::new(),
                    asked: None,
                    deadline_ns: monotonic_ns() + limits::ADMIN_CALL_MS * 1_000_000,
                });
            }
        }
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    if fs::metadata(path).is_ok_and(|it| it.file_type().is_socket())
        && UnixStream::connect(path).is_err()
    {
        fs::remove_file(path)?;
    }
    // Nobody else can connect before its mode is changed: the process has one thread.
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    let listener = listener?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Call {
    /// Reads on; the call once it is whole.
    fn read(&mut self) -> Option<Result<AdminCall, String>> {
        let mut piece = [0; 4096];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Some(Err("the call ended before its line did".to_owned())),
                Ok(length) => self.read.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => return Some(Err(error.to_string())),
            }
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let call = serde_json::from_slice(&self.read[..end]);
                return Some(call.map_err(|error| format!("not a call: {error}")));
            }
            if self.read.len() > limits::ADMIN_CALL_BYTES_MAX {
                return Some(Err("the call is too long".to_owned()));
            }
        }
    }

    /// Says what came of it; whoever asked may be gone.
    fn reply(&mut self, reply: &AdminReply) {
        let mut line = serde_json::to_vec(reply).unwrap_or_default();
        line.push(b'\n');
        let _ = self.stream.write_all(&line);
    }
}

impl Supervisor {
    /// Takes calls, and answers those that are settled.
    pub(super) fn administer(&mut self) {
        let mut admin = std::mem::take(&mut self.admin);
        admin.accept();
        let now_ns = monotonic_ns();
        let mut calls = std::mem::take(&mut admin.calls);
        calls.retain_mut(|call| {
            if call.asked.is_none() {
                match call.read() {
                    None => {}
                    Some(Ok(AdminCall::Purge { tenant, what, soft })) => {
                        admin.last += 1;
                        self.forget_on_disk(&tenant, &what);
                        let purge = ToWorker::Purge {
                            id: admin.last,
                            tenant: tenant.clone(),
                            what,
                            soft,
                        };
                        match self.ask_workers(&tenant, &purge) {
                            Ok(waiting) => {
                                call.asked = Some(Asked {
                                    id: admin.last,
                                    workers: waiting.len(),
                                    waiting,
                                    purged: 0,
                                });
                            }
                            Err(error) => {
                                call.reply(&AdminReply::Refused { error });
                                return false;
                            }
                        }
                    }
                    Some(Ok(AdminCall::Data { tenant })) => {
                        self.hand_over(&tenant, call);
                        return false;
                    }
                    Some(Err(error)) => {
                        call.reply(&AdminReply::Refused { error });
                        return false;
                    }
                }
            }
            let is_late = now_ns >= call.deadline_ns;
            match &call.asked {
                Some(asked) if asked.waiting.is_empty() || is_late => {
                    let (purged, workers) = (asked.purged, asked.workers - asked.waiting.len());
                    let silent = asked.waiting.len();
                    call.reply(&AdminReply::Purged {
                        purged,
                        workers,
                        silent,
                    });
                    false
                }
                _ => !is_late,
            }
        });
        // Those who came meanwhile are none: nobody else accepts.
        admin.calls = calls;
        self.admin = admin;
    }

    /// Whoever keeps answers on disk hears of a purge from here, too: workers may be missing.
    fn forget_on_disk(&mut self, tenant: &str, what: &Purge) {
        let which = match what {
            Purge::Url(url) => Purge::Url(cache_key::of_written(url)),
            Purge::Prefix(prefix) => Purge::Prefix(cache_key::of_written(prefix)),
            other => other.clone(),
        };
        let tenant = tenant.to_owned();
        if let Some(data) = &mut self.data.child {
            messages::say(data, &ToData::Forget { tenant, which });
            data.flush();
        }
    }

    /// Has the data process answer a call from now on.
    fn hand_over(&mut self, tenant: &str, call: &mut Call) {
        let refused = |error: String| AdminReply::Refused { error };
        if !self.roster.tenants().any(|it| it.tenant.name == tenant) {
            call.reply(&refused(format!("no tenant {tenant} is served")));
            return;
        }
        let Some(data) = &mut self.data.child else {
            call.reply(&refused("nobody keeps data at the moment".to_owned()));
            return;
        };
        let stream = call.stream.try_clone().map(OwnedFd::from);
        let message = stream.and_then(|fd| Message::new(&ToData::Operator, vec![Rc::new(fd)]));
        match message {
            Ok(message) => {
                call.reply(&AdminReply::Connected);
                data.say(message);
                data.flush();
            }
            Err(error) => call.reply(&refused(error.to_string())),
        }
    }

    /// Asks the workers of a tenant's cell, of which more than those that it is placed on may keep
    /// something of it; the places of those who are there.
    fn ask_workers(&mut self, tenant: &str, message: &ToWorker) -> Result<Vec<usize>, String> {
        let placed = self.roster.tenants().find(|it| it.tenant.name == tenant);
        let cell = placed.map(|it| cell_of(it, &self.cells));
        let cell = cell.ok_or_else(|| format!("no tenant {tenant} is served"))?;
        let message = Message::new(message, Vec::new()).map_err(|error| error.to_string())?;
        let mut asked = Vec::new();
        for (index, worker) in &mut self.workers {
            // One that is being started has nothing kept yet.
            if self.cells.of_worker(*index) == cell
                && let Some(child) = &mut worker.slot.child
            {
                child.say(message.clone());
                child.flush();
                asked.push(*index);
            }
        }
        Ok(asked)
    }
}
