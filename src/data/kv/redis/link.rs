//! The one connection to the server: made when it is needed, and again when it broke.
//!
//! ```text
//!   Idle ──a call──► Dialling ──it answers──► Up ──it breaks──► Idle
//!    ▲                  │ it fails            │ it is silent
//!    │                  ▼                     ▼
//!    └──the next call── Down, for KV_REDIS_PAUSE_MS, in which calls fail at once
//! ```
//!
//! All who call while it is dialled wait for the same attempt, which goes on when they leave.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Pipeline, ProtocolVersion, RedisConnectionInfo, Value};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::answers::{self, accepted, unavailable};
use super::bounded::{Bounded, Progress};
use super::{Dial, Dialling, Server};
use crate::config::limits;
use crate::data::kv::KvError;

/// How long things may take.
#[derive(Clone, Copy)]
pub(super) struct Times {
    /// From a dial to the answer that lets one in.
    pub(super) connect: Duration,
    /// From a question to its answer.
    pub(super) answer: Duration,
    /// All steps of going through keys.
    pub(super) scan: Duration,
    /// How long calls fail at once after the server was found to be gone.
    pub(super) pause: Duration,
}

impl Times {
    /// They are no others outside of tests.
    pub(super) const LIMITS: Self = Self {
        connect: Duration::from_millis(limits::KV_REDIS_CONNECT_MS),
        answer: Duration::from_millis(limits::KV_REDIS_ANSWER_MS),
        scan: Duration::from_millis(limits::KV_REDIS_SCAN_MS),
        pause: Duration::from_millis(limits::KV_REDIS_PAUSE_MS),
    };
}

/// The way to the server.
pub(super) struct Link {
    server: Server,
    dial: Rc<dyn Dial>,
    times: Times,
    state: RefCell<State>,
    /// A dial has come to its end.
    dialled: Notify,
    /// Calls under way.
    calls: Cell<usize>,
}

enum State {
    Idle,
    Dialling,
    Up(Rc<Connection>),
    Down { since: Instant, error: KvError },
}

/// A call under way; dropped when it is over.
pub(super) struct Call<'l>(&'l Cell<usize>);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Link {
    /// There is no connection yet.
    pub(super) fn new(server: Server, dial: Rc<dyn Dial>, times: Times) -> Self {
        Self {
            server,
            dial,
            times,
            state: RefCell::new(State::Idle),
            dialled: Notify::new(),
            calls: Cell::new(0),
        }
    }

    /// Where it leads.
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Begins a call, unless there are enough.
    pub(super) fn enter(&self) -> Result<Call<'_>, KvError> {
        if self.calls.get() >= limits::KV_REDIS_CALLS_MAX {
            let calls = limits::KV_REDIS_CALLS_MAX;
            let why = format!("redis is busy: {calls} calls wait for it");
            return Err(unavailable(why));
        }
        self.calls.set(self.calls.get() + 1);
        Ok(Call(&self.calls))
    }

    /// The connection, once there is one.
    pub(super) async fn session(self: &Rc<Self>) -> Result<Session, KvError> {
        loop {
            // Made before the look, so that no end of a dial goes unseen.
            let dialled = self.dialled.notified();
            if let Some(known) = self.look() {
                return known;
            }
            dialled.await;
        }
    }

    /// What is known now; dials where nothing is, and nobody does.
    fn look(self: &Rc<Self>) -> Option<Result<Session, KvError>> {
        let mut state = self.state.borrow_mut();
        match &*state {
            State::Up(connection) if connection.is_open() => {
                return Some(Ok(Session {
                    link: Rc::clone(self),
                    connection: Rc::clone(connection),
                }));
            }
            State::Down { since, error } if since.elapsed() < self.times.pause => {
                return Some(Err(error.clone()));
            }
            State::Dialling => return None,
            State::Idle | State::Up(_) | State::Down { .. } => {}
        }
        *state = State::Dialling;
        tokio::task::spawn_local(Rc::clone(self).connect());
        None
    }

    async fn connect(self: Rc<Self>) {
        let time = self.times.connect;
        let opened = timeout(time, open(&self.server, self.dial.dial())).await;
        let opened = opened.unwrap_or_else(|_| {
            let ms = time.as_millis();
            Err(unavailable(format!("redis lets nobody in within {ms} ms")))
        });
        match opened {
            Ok(connection) => *self.state.borrow_mut() = State::Up(Rc::new(connection)),
            Err(error) => self.set_down(error),
        }
        self.dialled.notify_waiters();
    }

    fn set_down(&self, error: KvError) {
        *self.state.borrow_mut() = State::Down {
            since: Instant::now(),
            error,
        };
    }

    /// Gives up a connection on which nothing comes any more. What others wait for on it, they wait
    /// for until their own time is over.
    fn give_up(&self, connection: &Rc<Connection>, error: &KvError) {
        let is_current =
            matches!(&*self.state.borrow(), State::Up(current) if Rc::ptr_eq(current, connection));
        if is_current {
            self.set_down(error.clone());
        }
    }
}

/// A connection that somebody uses.
pub(super) struct Session {
    link: Rc<Link>,
    connection: Rc<Connection>,
}

impl Session {
    /// Sends a command and waits for its reply, which is no error.
    pub(super) async fn one(&self, command: &Cmd) -> Result<Value, KvError> {
        accepted(self.ask(command).await?)
    }

    /// The same, where the reply may be an error.
    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value, KvError> {
        let mut channel = self.connection.channel.clone();
        self.answered(channel.send_packed_command(command)).await
    }

    /// Sends commands together, and gives a reply to each, which may be an error. What others ask may
    /// come between them.
    pub(super) async fn each(&self, commands: &Pipeline) -> Result<Vec<Value>, KvError> {
        let mut channel = self.connection.channel.clone();
        let asked = channel.send_packed_commands(commands, 0, commands.len());
        self.answered(asked).await
    }

    async fn answered<T>(
        &self,
        asked: impl Future<Output = redis::RedisResult<T>>,
    ) -> Result<T, KvError> {
        let before = self.connection.progress.answers();
        let time = self.link.times.answer;
        match timeout(time, asked).await {
            Ok(Ok(replies)) => Ok(replies),
            Ok(Err(error)) => Err(self.connection.broken(&error)),
            Err(_) => {
                let ms = time.as_millis();
                let error = unavailable(format!("redis did not answer within {ms} ms"));
                if self.connection.progress.answers() == before {
                    self.link.give_up(&self.connection, &error);
                }
                Err(error)
            }
        }
    }

    /// How long all steps of a scan may take.
    pub(super) fn scan_time(&self) -> Duration {
        self.link.times.scan
    }

    /// What is known of the server's own filters.
    pub(super) fn has_filters(&self) -> &Cell<Option<bool>> {
        &self.connection.has_filters
    }
}

/// A connection to which one has logged in.
struct Connection {
    channel: MultiplexedConnection,
    driver: Driver,
    progress: Arc<Progress>,
    has_filters: Cell<Option<bool>>,
}

/// Reads and writes for as long as the connection is kept.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    fn is_open(&self) -> bool {
        !self.driver.0.is_finished()
    }

    fn broken(&self, error: &redis::RedisError) -> KvError {
        match self.progress.nonsense() {
            Some(why) => KvError::Malformed(why.to_owned()),
            None => answers::broken(error),
        }
    }

    /// Says who we are, and sees whether the server would answer questions.
    async fn log_in(&self, server: &Server) -> Result<(), KvError> {
        let mut commands = Pipeline::new();
        if let Some(password) = &server.password {
            commands.cmd("AUTH").arg(&server.username).arg(password);
        }
        if server.db != 0 {
            commands.cmd("SELECT").arg(server.db);
        }
        commands.cmd("PING");
        let mut channel = self.channel.clone();
        let asked = channel.send_packed_commands(&commands, 0, commands.len());
        let replies = asked.await.map_err(|error| self.broken(&error))?;
        // A server that does not know AUTH repeats its arguments: nobody else is to read them.
        if let (Some(_), Some(Value::ServerError(error))) = (&server.password, replies.first()) {
            let code = error.code();
            return Err(unavailable(format!("redis refuses the password: {code}")));
        }
        replies
            .into_iter()
            .try_for_each(|reply| accepted(reply).map(drop))
    }
}

async fn open(server: &Server, dialling: Dialling) -> Result<Connection, KvError> {
    let stream = dialling.await;
    let stream = stream.map_err(|error| unavailable(format!("redis is out of reach: {error}")))?;
    let progress = Arc::new(Progress::default());
    let bounded = Bounded::new(stream, Arc::clone(&progress));
    // It must say nothing by itself: one logs in below, and a refusal is told in the server's words.
    let info = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP2)
        .set_skip_set_lib_name();
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(limits::KV_REDIS_CALLS_MAX);
    let (channel, driver) = MultiplexedConnection::new_with_config(&info, bounded, config)
        .await
        .map_err(|error| answers::broken(&error))?;
    let connection = Connection {
        channel,
        driver: Driver(tokio::task::spawn_local(driver)),
        progress,
        has_filters: Cell::new(None),
    };
    connection.log_in(server).await?;
    Ok(connection)
}
