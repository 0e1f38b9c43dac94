//! The real binary as a child process, with everything it says.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::{Builder, Client, PATIENCE, Response, Tenant, process};

/// A running `skep serve`. Dropping it kills it and its children.
#[derive(Debug)]
pub struct TestHost {
    dir: TempDir,
    artifacts: PathBuf,
    addr: SocketAddr,
    child: Child,
    stdout: Arc<Lines>,
    stderr: Arc<Lines>,
}

impl TestHost {
    /// A host to be described and started.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The supervisor's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The workers' processes, in the order they were started.
    pub fn worker_pids(&self) -> Vec<u32> {
        process::children(self.pid(), "worker")
    }

    /// What the pid file of `who` says.
    pub fn pid_file(&self, who: &str) -> Option<u32> {
        let path = self.dir.path().join("pids").join(who).with_extension("pid");
        fs::read_to_string(path).ok()?.trim().parse().ok()
    }

    /// The broker's process, while there is one.
    pub fn broker_pid(&self) -> Option<u32> {
        process::children(self.pid(), "broker").pop()
    }

    /// The process that keeps data, while there is one.
    pub fn data_pid(&self) -> Option<u32> {
        process::children(self.pid(), "data").pop()
    }

    /// The process that connects for the workers, while there is one.
    pub fn egress_pid(&self) -> Option<u32> {
        process::children(self.pid(), "egress").pop()
    }

    /// The front's process, while there is one.
    pub fn front_pid(&self) -> Option<u32> {
        process::children(self.pid(), "front").pop()
    }

    /// The processes that compile now.
    pub fn compile_job_pids(&self) -> Vec<u32> {
        let broker = self.broker_pid();
        broker.map_or_else(Vec::new, |pid| process::children(pid, "compile-job"))
    }

    /// The directory of its configuration file, `skep.toml`.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where its artifacts are.
    pub fn artifacts(&self) -> &Path {
        &self.artifacts
    }

    /// A new connection.
    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect(self.addr)
    }

    /// GET on a new connection.
    #[track_caller]
    pub fn get(&self, host: &str, path: &str) -> Response {
        self.connect().get(host, path)
    }

    /// The JSON lines that were logged so far. Workers gather lines for some milliseconds: to see
    /// one, [`wait_for_log`](Self::wait_for_log).
    pub fn log_lines(&self) -> Vec<Value> {
        let lines = self.stdout.snapshot();
        lines.iter().filter_map(|line| json(line)).collect()
    }

    /// What it wrote to standard output so far: the ready line, then the log.
    pub fn stdout_lines(&self) -> Vec<String> {
        self.stdout.snapshot()
    }

    /// Waits for a log line, which may have come already.
    #[track_caller]
    pub fn wait_for_log(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_for_log_after(0, wanted)
    }

    /// How much was logged so far: a mark for [`wait_for_log_after`](Self::wait_for_log_after).
    pub fn log_mark(&self) -> usize {
        self.stdout.snapshot().len()
    }

    /// Waits for a log line after a mark.
    #[track_caller]
    pub fn wait_for_log_after(&self, mark: usize, wanted: impl Fn(&Value) -> bool) -> Value {
        let is_wanted = |line: &str| json(line).is_some_and(|json| wanted(&json));
        json(&self.stdout.wait(mark, is_wanted)).expect("JSON")
    }

    /// Waits for the access line of a request with this path and query.
    #[track_caller]
    pub fn wait_for_access(&self, path: &str) -> Value {
        self.wait_for_log(|line| line["kind"] == "access" && line["path"] == path)
    }

    /// What it wrote to standard error so far.
    pub fn stderr_lines(&self) -> Vec<String> {
        self.stderr.snapshot()
    }

    /// Waits for a line on standard error, which may have come already.
    #[track_caller]
    pub fn wait_for_stderr(&self, wanted: impl Fn(&str) -> bool) -> String {
        self.stderr.wait(0, wanted)
    }

    /// Waits for a line on standard error after the first `skip` ones.
    #[track_caller]
    pub fn wait_for_stderr_after(&self, skip: usize, wanted: impl Fn(&str) -> bool) -> String {
        self.stderr.wait(skip, wanted)
    }

    /// Loads another configuration (SIGHUP); returns the line that says what came of it. Sections
    /// other than the tenants should stay as they are.
    #[track_caller]
    pub fn reload(&self, config: &Builder) -> String {
        self.reload_text(&config.text(&self.artifacts))
    }

    /// The same with the file's text.
    #[track_caller]
    pub fn reload_text(&self, text: &str) -> String {
        let path = self.dir.path().join("skep.toml");
        fs::write(&path, text).expect("writing the configuration");
        let skip = self.stderr_lines().len();
        self.signal(Signal::SIGHUP);
        self.wait_for_stderr_after(skip, |line| {
            line.contains("reloaded: ") || line.contains("reload: refused")
        })
    }

    /// Sends the supervisor a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid() as i32);
        nix::sys::signal::kill(pid, signal).expect("signalling the host");
    }

    /// Sends SIGTERM and waits for the end.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait_for_exit()
    }

    /// Waits for the end.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("waiting for the host") {
                return status;
            }
            assert!(Instant::now() < deadline, "the host does not end");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Asks every tenant until its program is not being compiled any more, and until that is logged.
    fn warm(&self, config: &Builder) {
        for host in config.tenants.iter().flat_map(Tenant::all_hosts) {
            let host = host.replace('*', "warm");
            let deadline = Instant::now() + 4 * PATIENCE;
            let is_compiling = || {
                let mut client = self.connect();
                client.send(format!("GET /warm HTTP/1.1\r\nhost: {host}\r\n\r\n"));
                // An answer that is cut off is the program's, too.
                let response = client.try_read_response();
                response.is_ok_and(|it| it.reason() == "compiling")
            };
            while is_compiling() {
                assert!(Instant::now() < deadline, "{host} does not get compiled");
            }
            if config.access == "all" {
                self.wait_for_log(|line| line["host"] == *host && line["reason"] != "compiling");
            }
        }
    }
}

impl Builder {
    /// Starts the host and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> TestHost {
        // One host at a time fills the shared directory, or all compile the same guests.
        let lock = File::create(shared_artifacts().with_extension("lock")).expect("a lock file");
        if !self.private_artifacts {
            lock.lock().expect("the lock");
        }
        let mut host = self.spawn();
        let ready = host
            .stdout
            .wait(0, |line| line.starts_with("ready http://"));
        host.addr = ready["ready http://".len()..].parse().expect("an address");
        if self.warm {
            host.warm(&self);
        }
        host
    }

    /// Starts a host that is to give up; returns its exit status and its standard error.
    #[track_caller]
    pub fn start_refused(self) -> (ExitStatus, String) {
        let mut host = self.spawn();
        let status = host.wait_for_exit();
        (status, host.stderr.all().join("\n"))
    }

    fn spawn(&self) -> TestHost {
        let dir = tempfile::tempdir().expect("a directory");
        let artifacts = if let Some(own) = &self.artifacts {
            own.clone()
        } else if self.private_artifacts {
            dir.path().join("artifacts")
        } else {
            shared_artifacts()
        };
        let config = dir.path().join("skep.toml");
        fs::write(&config, self.text(&artifacts)).expect("writing the configuration");
        let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
        command.args(["serve", "--config"]).arg(&config);
        command.arg("--pid-dir").arg(dir.path().join("pids"));
        let mut child = spawn(command);
        TestHost {
            dir,
            artifacts,
            addr: ([127, 0, 0, 1], 0).into(),
            stdout: Lines::read(child.stdout.take().expect("a pipe")),
            stderr: Lines::read(child.stderr.take().expect("a pipe")),
            child,
        }
    }
}

/// Compiled guests that all tests share, in a directory that skep accepts: nobody else's.
fn shared_artifacts() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-artifacts");
    let _ = fs::DirBuilder::new().mode(0o700).create(&path);
    path
}

impl Drop for TestHost {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What its processes have still to say of what went wrong.
            let _ = kill(Pid::from_raw(self.pid() as i32), Signal::SIGTERM);
            let patience = Instant::now() + PATIENCE;
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < patience {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        // It may have ended; its children are in its group.
        let _ = killpg(Pid::from_raw(self.pid() as i32), Signal::SIGKILL);
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the host's standard error:");
            self.stderr
                .snapshot()
                .iter()
                .for_each(|line| eprintln!("{line}"));
            eprintln!("--- the host's last log lines:");
            let lines = self.stdout.snapshot();
            let last = lines.len().saturating_sub(40);
            lines[last..].iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

fn json(line: &str) -> Option<Value> {
    line.starts_with('{')
        .then(|| serde_json::from_str(line).ok())?
}

/// Starts a process in a group of its own that dies with this process. A parent-death signal comes
/// when the *thread* that forked ends, so one thread that never does starts them all.
fn spawn(command: Command) -> Child {
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let orders = SPAWNER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, reply) in inbox {
                command
                    .process_group(0)
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped());
                // SAFETY: one system call, which is safe between fork and exec.
                unsafe {
                    command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?));
                }
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (reply, child) = mpsc::channel();
    let sent = orders.lock().expect("the spawner").send((command, reply));
    sent.expect("the spawner's thread");
    child.recv().expect("a reply").expect("starting skep")
}

/// The lines of a pipe, collected in the background.
#[derive(Debug, Default)]
struct Lines {
    state: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

impl Lines {
    fn read(pipe: impl Read + Send + 'static) -> Arc<Self> {
        let lines = Arc::new(Self::default());
        let filled = Arc::clone(&lines);
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            loop {
                let mut line = Vec::new();
                let end = !matches!(pipe.read_until(b'\n', &mut line), Ok(length) if length > 0);
                let mut state = filled.state.lock().expect("lines");
                if end {
                    state.1 = true;
                } else {
                    state
                        .0
                        .push(String::from_utf8_lossy(&line).trim_end().to_owned());
                }
                filled.changed.notify_all();
                if end {
                    return;
                }
            }
        });
        lines
    }

    fn snapshot(&self) -> Vec<String> {
        self.state.lock().expect("lines").0.clone()
    }

    /// All lines to the end of the pipe.
    fn all(&self) -> Vec<String> {
        let state = self.state.lock().expect("lines");
        let state = self.changed.wait_while(state, |(_, ended)| !*ended);
        state.expect("lines").0.clone()
    }

    #[track_caller]
    fn wait(&self, skip: usize, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = skip;
        let mut state = self.state.lock().expect("lines");
        loop {
            while seen < state.0.len() {
                if wanted(&state.0[seen]) {
                    return state.0[seen].clone();
                }
                seen += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.1 || left.is_zero() {
                let (why, lines) = (
                    if state.1 { "the end" } else { "time is up" },
                    state.0.clone(),
                );
                drop(state);
                panic!("no such line ({why}):\n{}", lines.join("\n"));
            }
            state = self.changed.wait_timeout(state, left).expect("lines").0;
        }
    }
}
