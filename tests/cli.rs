//! The command line, as it is typed: what each subcommand prints, serves and exits with.

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)] // in a test, a panic is the report

mod common;

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use common::{Client, PATIENCE, Response, cores, guest};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

/// A user that owns nothing: `nobody`.
const NOBODY: u32 = 65_534;

/// A directory that everybody may read, with a cache and a `TMPDIR` that are the test's alone.
fn directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    for name in ["cache", "tmp"] {
        let path = dir.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
    }
    dir
}

/// `skep ARGUMENTS` in that directory.
fn skep(dir: &TempDir, arguments: &[&str]) -> Command {
    command(dir, Path::new(env!("CARGO_BIN_EXE_skep")), arguments)
}

fn command(dir: &TempDir, program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(dir.path())
        .env("XDG_CACHE_HOME", dir.path().join("cache"))
        .env("TMPDIR", dir.path().join("tmp"))
        .stdin(Stdio::null());
    command
}

/// Runs it to its end.
#[track_caller]
fn run(dir: &TempDir, arguments: &[&str]) -> Output {
    let skep = env!("CARGO_BIN_EXE_skep");
    // A command that serves where it should refuse would never end.
    let bounded = [&["60", skep], arguments].concat();
    let output = command(dir, Path::new("timeout"), &bounded).output();
    output.expect("timeout(1)")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Runs it; it has to refuse with this status and one line on standard error, and say nothing else.
#[track_caller]
fn refusal(dir: &TempDir, arguments: &[&str], status: i32) -> String {
    let output = run(dir, arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {err}");
    assert_eq!(out, "", "{arguments:?}");
    assert_eq!(err.lines().count(), 1, "{arguments:?}: {err}");
    err.trim_end().to_owned()
}

/// A command that serves. Killed when it is dropped.
struct Running {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

impl Running {
    fn start(mut command: Command) -> Running {
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.expect("starting skep");
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        Running { child, out, err }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("a signal");
    }

    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for `skep run` to say where it serves.
    #[track_caller]
    fn address(&self) -> SocketAddr {
        let line = line_with(&self.err, "serving ");
        let (_, address) = line.rsplit_once(" on http://").expect("an address");
        address.parse().expect("an address")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a pipe, byte for byte.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe
            .read_until(b'\n', &mut line)
            .is_ok_and(|length| length > 0)
        {
            let end = line.strip_suffix(b"\n").unwrap_or(&line);
            if sender
                .send(String::from_utf8_lossy(end).into_owned())
                .is_err()
            {
                return;
            }
            line.clear();
        }
    });
    receiver
}

/// The next line with this in it.
#[track_caller]
fn line_with(lines: &Receiver<String>, what: &str) -> String {
    let mut seen = Vec::new();
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) if line.contains(what) => return line,
            Ok(line) => seen.push(line),
            Err(error) => panic!("no line with {what:?} ({error}): {seen:#?}"),
        }
    }
}

#[track_caller]
fn get(address: SocketAddr, host: &str, path: &str) -> Response {
    Client::connect(address).get(host, path)
}

fn path_of(guest_name: &str) -> String {
    guest(guest_name).display().to_string()
}

// Usage.

#[test]
fn help_names_everything() {
    let dir = directory();
    let cases: [(&[&str], &[&str]); 7] = [
        (
            &[],
            &["demo", "serve", "run", "check", "compile", "Exit codes"],
        ),
        (
            &["demo"],
            &["--addr <ADDR:PORT>", "[default: 127.0.0.1:8080]"],
        ),
        (&["serve"], &["-c, --config <FILE>", "SIGTERM", "SIGHUP"]),
        (
            &["new"],
            &["[NAME]", "--template <TEMPLATE>", "skep new shop"],
        ),
        (&["check"], &["-c, --config <FILE>"]),
        (
            &["run"],
            &[
                "<APP.wasm>",
                "--addr",
                "--env <NAME=VALUE>",
                "--cpu-ms",
                "--wall-ms",
                "--memory-mib",
            ],
        ),
        (
            &["compile"],
            &[
                "<APP.wasm>",
                "-o, --output <APP.cwasm>",
                "--profile <PROFILE>",
            ],
        ),
    ];
    for (subcommand, wanted) in cases {
        for flag in ["--help", "-h"] {
            let output = run(&dir, &[subcommand, &[flag]].concat());
            let (out, err) = (text(&output.stdout), text(&output.stderr));
            assert_eq!(output.status.code(), Some(0), "{subcommand:?}: {err}");
            assert_eq!(err, "", "{subcommand:?}");
            for what in wanted {
                assert!(
                    out.contains(what),
                    "{subcommand:?} {flag}: no {what} in {out}"
                );
            }
            // What skep starts itself is nobody's to type.
            let hidden = ["worker  ", "broker", "compile-job"];
            assert!(!hidden.iter().any(|name| out.contains(name)), "{out}");
        }
    }
    let version = text(&run(&dir, &["--version"]).stdout);
    assert_eq!(version, format!("skep {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_is_status_2() {
    let dir = directory();
    let cases: [(&[&str], &str); 12] = [
        (&[], "Usage: skep <COMMAND>"),
        (&["sevre"], "unrecognized subcommand 'sevre'"),
        (&["serve"], "--config <FILE>"),
        (&["serve", "skep.toml"], "unexpected argument 'skep.toml'"),
        (&["check", "--config"], "a value is required"),
        (
            &["demo", "--addr", "localhost"],
            "invalid value 'localhost' for '--addr",
        ),
        (&["demo", "--port", "1"], "unexpected argument '--port'"),
        (
            &["new", "--template", "image-resize"],
            "arguments were not provided",
        ),
        (&["run"], "<APP.wasm>"),
        (&["run", "a.wasm", "--env", "A"], "write NAME=VALUE"),
        (
            &["run", "a.wasm", "--cpu-ms", "soon"],
            "invalid value 'soon'",
        ),
        (&["compile", "a.wasm"], "--output <APP.cwasm>"),
    ];
    for (arguments, wanted) in cases {
        let output = run(&dir, arguments);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {err}");
        assert!(err.contains(wanted), "{arguments:?}: no {wanted} in {err}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn what_skep_starts_itself_says_so_when_typed() {
    let dir = directory();
    for subcommand in ["worker", "broker", "compile-job"] {
        let line = refusal(&dir, &[subcommand], 1);
        assert!(
            line.contains("this subcommand is started by skep itself"),
            "{line}"
        );
    }
}

// `skep compile`.

#[test]
fn compile_writes_an_artifact() {
    let dir = directory();
    for (name, flavour) in [("hello", "P2"), ("service3", "P3")] {
        let output = run(&dir, &["compile", &path_of(name), "-o", "app.cwasm"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let bytes = fs::read(dir.path().join("app.cwasm")).unwrap();
        assert_eq!(
            text(&output.stdout),
            format!("app.cwasm: {flavour}, {} bytes\n", bytes.len())
        );
        assert!(bytes.starts_with(b"\x7fELF"), "{name}");
    }
}

#[test]
fn compile_refuses_what_cannot_be_served() {
    let dir = directory();
    let put = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    put(
        "core.wasm",
        &wat::parse_str("(module (func (export \"main\")))").unwrap(),
    );
    put("empty.wasm", b"");
    put("text.wasm", b"(component)");
    put("bare.wasm", &wat::parse_str("(component)").unwrap());
    let whole = fs::read(guest("kitchen")).unwrap();
    put("half.wasm", &whole[..whole.len() / 2]);
    put("kept.cwasm", b"what was there before");
    let cases = [
        (
            "core.wasm",
            "a core WebAssembly module, neither a component nor a proxy-wasm filter: build it for wasm32-wasip2",
        ),
        ("empty.wasm", "not a WebAssembly component"),
        ("text.wasm", "not a WebAssembly component"),
        (
            "bare.wasm",
            "exports none of wasi:http/incoming-handler@0.2, wasi:http/handler@0.3",
        ),
        ("half.wasm", "not a WebAssembly component: "),
        (
            "nowhere.wasm",
            "opening nowhere.wasm: No such file or directory",
        ),
    ];
    for (component, wanted) in cases {
        let line = refusal(&dir, &["compile", component, "-o", "kept.cwasm"], 1);
        assert!(
            line.starts_with("skep: ") && line.contains(component),
            "{line}"
        );
        assert!(line.contains(wanted), "{component}: {line}");
        let kept = fs::read(dir.path().join("kept.cwasm")).unwrap();
        assert_eq!(kept, b"what was there before", "{component}");
    }
    let (hello, profile) = (path_of("hello"), ["--profile", "fast"]);
    let arguments = [&["compile", &hello, "-o", "new.cwasm"], &profile[..]].concat();
    let line = refusal(&dir, &arguments, 2);
    assert!(line.contains("no such profile (got fast)"), "{line}");
    assert!(!dir.path().join("new.cwasm").exists());
    let line = refusal(
        &dir,
        &["compile", &path_of("hello"), "-o", "no/such.cwasm"],
        1,
    );
    assert!(line.contains("creating no/such.cwasm"), "{line}");
}

// `skep new`; what it writes is built and served in tests/templates.rs.

#[test]
fn new_lists_templates() {
    let dir = directory();
    let output = run(&dir, &["new"]);
    assert_eq!(output.status.code(), Some(0));
    let listed = text(&output.stdout);
    let names: Vec<_> = listed
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let templates: Vec<_> = skep::templates::TEMPLATES
        .iter()
        .map(|it| it.name)
        .collect();
    assert_eq!(names, templates);
    // Who gave a name wants more than a list.
    let output = run(&dir, &["new", "shop"]);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(2), listed)
    );
    let said = "skep: new: shop of what? --template with one of these is right\n";
    assert_eq!(text(&output.stderr), said);
}

#[test]
fn new_writes_into_a_directory_where_nothing_is() {
    let dir = directory();
    let make = ["new", "shop", "--template", "wasi-http-rust"];
    // An empty directory is as good as none.
    fs::create_dir(dir.path().join("shop")).unwrap();
    let output = run(&dir, &make);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let printed = "cd shop\ncargo build --release --target wasm32-wasip2\n\
                   skep run target/wasm32-wasip2/release/shop.wasm\n";
    assert_eq!(text(&output.stdout), printed);
    let manifest = dir.path().join("shop/Cargo.toml");
    let written = fs::read_to_string(&manifest).unwrap();
    assert!(
        written.starts_with("[package]\nname = \"shop\"\n"),
        "{written}"
    );

    fs::write(&manifest, "mine").unwrap();
    let said = "skep: new: shop: is there already; the name of a new directory is right";
    assert_eq!(refusal(&dir, &make, 2), said);
    assert_eq!(fs::read_to_string(&manifest).unwrap(), "mine");
    fs::write(dir.path().join("file"), "").unwrap();
    let said = "skep: new: file: is there already; the name of a new directory is right";
    assert_eq!(
        refusal(&dir, &["new", "file", "--template", "wasi-http-rust"], 2),
        said
    );
}

#[test]
fn new_says_in_one_line_why_not() {
    let dir = directory();
    for (name, template, said) in [
        (
            "shop",
            "image",
            "no template is named image; one of wasi-http-rust, ",
        ),
        (
            "../shop",
            "wasi-http-rust",
            "../shop: not a name; 1 to 63 lower-case letters, ",
        ),
        (
            "fn",
            "wasi-http-rust",
            "fn: a word of Rust or Cargo; another name is right",
        ),
        (
            "wstd",
            "wasi-http-rust",
            "wstd: a crate that the program needs; another name is right",
        ),
    ] {
        let line = refusal(&dir, &["new", name, "--template", template], 2);
        assert!(line.starts_with(&format!("skep: new: {said}")), "{line}");
        assert!(!dir.path().join(name).exists(), "{name}");
    }
}

// `skep run`.

#[test]
fn run_prints_what_the_program_prints() {
    let dir = directory();
    let kitchen = path_of("kitchen");
    let app = Running::start(skep(&dir, &["run", &kitchen, "--addr", "127.0.0.1:0"]));
    let address = app.address();
    // Any host is this program's.
    let logged = get(address, "anything.example", "/log?n=3&len=4").expect(200);
    assert_eq!(logged.text(), "lines 3\n");
    for index in 0..3 {
        // Raw: the whole line is the program's.
        assert_eq!(line_with(&app.out, ""), format!("out {index} xxxx"));
        assert_eq!(line_with(&app.err, ""), format!("err {index} xxxx"));
    }
    // What went wrong is said in words.
    get(address, "localhost", "/trap").expect(500);
    let line = line_with(&app.err, "trapped");
    assert!(line.starts_with("skep: trapped: "), "{line}");
}

#[test]
fn run_takes_an_environment_and_budgets() {
    let dir = directory();
    let named = path_of("tenantname");
    let arguments = [
        "--env",
        "NAME=first",
        "--env",
        "OTHER=1",
        "--env",
        "NAME=a=b",
    ];
    let base = ["run", &named, "--addr", "127.0.0.1:0"];
    let app = Running::start(skep(&dir, &[&base[..], &arguments].concat()));
    assert_eq!(
        get(app.address(), "localhost", "/").expect(200).text(),
        "a=b"
    );

    let spin = path_of("spin");
    let base = ["run", &spin, "--addr", "127.0.0.1:0", "--cpu-ms", "10"];
    let app = Running::start(skep(&dir, &base));
    let response = get(app.address(), "localhost", "/").expect(504);
    assert_eq!(response.reason(), "cpu_exhausted");
    line_with(&app.err, "skep: cpu_exhausted: ");

    let kitchen = path_of("kitchen");
    let limits = ["--wall-ms", "50", "--memory-mib", "16", "--cpu-ms", "20"];
    let base = ["run", &kitchen, "--addr", "127.0.0.1:0"];
    let app = Running::start(skep(&dir, &[&base[..], &limits].concat()));
    let address = app.address();
    let response = get(address, "localhost", "/sleep?ms=60000").expect(504);
    assert_eq!(response.reason(), "wall_exhausted");
    let response = get(address, "localhost", "/alloc?mib=64");
    assert_ne!(response.text(), "mib 64\n", "{response:?}");

    for (flag, value, right) in [
        ("--cpu-ms", "0", "1 to 600000 ms"),
        ("--wall-ms", "1", "10 to 86400000 ms"),
        ("--memory-mib", "513", "1 to 512 MiB"),
        ("--env", "1=x", ""),
    ] {
        let line = refusal(&dir, &["run", &kitchen, flag, value], 2);
        assert!(line.starts_with(flag) && line.contains(right), "{line}");
    }
}

#[test]
fn run_has_the_flags_and_files_of_fastedge_run() {
    let dir = directory();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write(
        ".env",
        "ONE=file\nTWO=\"a # b\"\nFASTEDGE_VAR_SECRET_KEY=sealed\n",
    );
    write(".env.req_headers", "x-added=to requests\n");
    write(".env.rsp_headers", "x-said=to clients\n");
    let app = path_of("fastedge");
    let flags = [
        "run",
        "-p",
        "0",
        "-w",
        &app,
        "-e",
        "ONE=flag",
        "--dotenv",
        "--geo",
        "de",
        "-m",
        "128000000",
    ];
    let app = Running::start(skep(&dir, &flags));
    let address = app.address();
    let told = |path: &str| get(address, "a.test", path).expect(200).text();
    assert_eq!(told("/env?key=ONE"), "some flag\n");
    assert_eq!(told("/env?key=TWO"), "some a # b\n");
    assert!(
        told("/secret?name=KEY").contains("sealed"),
        "{}",
        told("/secret?name=KEY")
    );
    let fields = get(address, "a.test", "/headers").expect(200);
    assert_eq!(fields.header("x-said"), Some("to clients"));
    for line in [
        "x-added: to requests",
        "geoip-country-code: DE",
        "pop-country-code: DE",
    ] {
        assert!(
            fields.text().lines().any(|it| it == line),
            "{line}: {}",
            fields.text()
        );
    }
    let line = refusal(
        &dir,
        &["run", &path_of("fastedge"), "--headers", "Host=a"],
        2,
    );
    assert!(line.starts_with("--headers: Host"), "{line}");
}

/// The command copies the component whose path stands in a source.
#[test]
fn run_watches_builds_and_keeps_what_it_has() {
    let dir = directory();
    let sources = dir.path().join("sources");
    fs::create_dir(&sources).unwrap();
    let which = |path: &str| fs::write(sources.join("which"), path).unwrap();
    which(&path_of("tenantname"));
    let mut command = skep(
        &dir,
        &[
            "run",
            "app.wasm",
            "--addr",
            "127.0.0.1:0",
            "--env",
            "NAME=one",
            "--watch",
            "--build",
            "echo made > made; echo build of $(cat which) >&2; cp $(cat which) new.wasm && mv new.wasm app.wasm",
        ],
    );
    command.current_dir(&sources);
    let app = Running::start(command);
    let address = app.address();
    let answer = || get(address, "localhost", "/twice").expect(200).text();
    assert_eq!(answer(), "one");
    which("no/such.wasm");
    line_with(&app.err, "build of no/such.wasm");
    line_with(&app.err, "skep: --build: ");
    assert_eq!(answer(), "one");
    let broken = dir.path().join("broken.wasm");
    fs::write(&broken, b"\0asm\x0d\0\x01\0broken").unwrap();
    which(broken.to_str().unwrap());
    line_with(&app.err, "skep: not reloaded: ");
    assert_eq!(answer(), "one");
    which(&path_of("kitchen"));
    line_with(&app.err, "skep: reloaded");
    assert_eq!(answer(), "1\n");
    // Without the command, too: the file alone.
    fs::copy(guest("tenantname"), sources.join("next.wasm")).unwrap();
    fs::rename(sources.join("next.wasm"), sources.join("app.wasm")).unwrap();
    line_with(&app.err, "skep: reloaded");
    assert_eq!(answer(), "one");

    let mut command = skep(
        &dir,
        &["run", "none.wasm", "--watch", "--build", "echo no; false"],
    );
    let output = command.current_dir(&sources).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr).lines().next(), Some("no"));
}

#[test]
fn run_needs_no_privileges() {
    if !geteuid().is_root() {
        eprintln!("skipped: run_needs_no_privileges gives up root's, and this is not root");
        return;
    }
    let dir = directory();
    // Where the program and its host can be read by everybody.
    let (program, component) = (dir.path().join("skep"), dir.path().join("app.wasm"));
    fs::copy(env!("CARGO_BIN_EXE_skep"), &program).unwrap();
    fs::copy(guest("kitchen"), &component).unwrap();
    for path in [&program, &component] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    let as_nobody = |cache: PathBuf| {
        let mut command = command(
            &dir,
            &program,
            &["run", "app.wasm", "--addr", "127.0.0.1:0"],
        );
        // The standard library gives up the groups, too.
        command.uid(NOBODY).gid(NOBODY).env("XDG_CACHE_HOME", cache);
        Running::start(command)
    };
    let app = as_nobody(dir.path().join("cache"));
    let status = fs::read_to_string(format!("/proc/{}/status", app.child.id())).unwrap();
    assert!(
        status.contains(&format!("Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}")),
        "{status}"
    );
    let address = app.address();
    assert_eq!(
        get(address, "localhost", "/twice").expect(200).text(),
        "1\n"
    );
    get(address, "localhost", "/log?n=1&len=1").expect(200);
    assert_eq!(line_with(&app.out, ""), "out 0 x");

    // Not even a place to keep what it compiled.
    let app = as_nobody(PathBuf::from("/proc/nowhere"));
    line_with(&app.err, "not keeping the compiled program");
    assert_eq!(
        get(app.address(), "localhost", "/twice").expect(200).text(),
        "1\n"
    );
}

#[test]
fn run_says_in_one_line_why_not() {
    let dir = directory();
    fs::write(
        dir.path().join("core.wasm"),
        wat::parse_str("(module)").unwrap(),
    )
    .unwrap();
    let whole = fs::read(guest("hello")).unwrap();
    fs::write(dir.path().join("half.wasm"), &whole[..whole.len() / 2]).unwrap();
    for (component, status, wanted) in [
        ("nowhere.wasm", 2, "cannot open"),
        ("core.wasm", 2, "a core module, not a component"),
        ("half.wasm", 1, "not a WebAssembly component"),
    ] {
        let arguments = ["run", component, "--addr", "127.0.0.1:0"];
        let line = refusal(&dir, &arguments, status);
        assert!(line.contains(component) && line.contains(wanted), "{line}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let line = refusal(&dir, &["run", &path_of("hello"), "--addr", &address], 1);
    assert!(line.contains(&address) && line.contains("in use"), "{line}");
}

// `skep demo`.

#[test]
fn demo_serves_what_it_says() {
    let dir = directory();
    let mut demo = Running::start(skep(&dir, &["demo", "--addr", "127.0.0.1:0"]));
    let mut addresses = Vec::new();
    for name in ["hello", "echo", "spin", "trap"] {
        let line = line_with(&demo.out, "curl ");
        let host = format!("-H 'Host: {name}.localhost' http://");
        let (before, after) = line
            .split_once(&host)
            .unwrap_or_else(|| panic!("{name}: {line}"));
        assert!(before.starts_with("curl -i "), "{line}");
        let (address, rest) = after.split_once('/').expect("a URL");
        assert!(rest.starts_with("   # "), "{line}");
        let address: SocketAddr = address.parse().expect("an address");
        assert_ne!(address.port(), 0);
        addresses.push(address);
    }
    let address = addresses[0];
    assert!(addresses.iter().all(|other| *other == address));

    let ask = |name: &str| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let host = format!("{name}.localhost");
            let response = Client::connect(address).post(&host, "/", b"a body");
            if response.reason() != "compiling" || Instant::now() > deadline {
                return response;
            }
        }
    };
    assert!(
        ask("hello")
            .expect(200)
            .text()
            .starts_with("Hello from skep")
    );
    assert_eq!(ask("echo").expect(200).text(), "a body");
    assert_eq!(ask("spin").expect(504).reason(), "cpu_exhausted");
    assert_eq!(ask("trap").expect(500).reason(), "trapped");
    assert_eq!(ask("nobody").expect(404).reason(), "unknown_host");

    demo.signal(Signal::SIGHUP);
    line_with(&demo.err, "reload: refused, nothing changed");
    ask("hello").expect(200);
    demo.signal(Signal::SIGINT);
    assert_eq!(demo.wait().code(), Some(0));
    let left = fs::read_dir(dir.path().join("tmp")).unwrap().count();
    assert_eq!(left, 0, "files left behind");
}

#[test]
fn demo_says_in_one_line_that_the_address_is_taken() {
    let dir = directory();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let line = refusal(&dir, &["demo", "--addr", &address], 1);
    assert!(
        line.starts_with(&format!("skep: cannot listen on {address}: ")),
        "{line}"
    );
    assert!(line.contains("another process listens there"), "{line}");
    assert_eq!(
        fs::read_dir(dir.path().join("tmp")).unwrap().count(),
        0,
        "files left behind"
    );
}

// `skep serve` and `skep check`.

/// A configuration with one tenant; it is served on this address.
fn configuration(dir: &TempDir, address: &str) -> String {
    let component = guest("hello");
    format!(
        "[listen]\nhttp = [{address:?}]\n[workers]\ncores = [{}]\n[artifacts]\ndir = {:?}\n\
         [[tenant]]\nname = 'a'\ncomponent = {component:?}\nhosts = ['a.test']\n",
        cores()[0],
        dir.path().join("artifacts"),
    )
}

#[test]
fn serve_says_in_one_line_that_the_address_is_taken() {
    let dir = directory();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    fs::write(dir.path().join("skep.toml"), configuration(&dir, &address)).unwrap();
    let line = refusal(&dir, &["serve", "--config", "skep.toml"], 1);
    assert!(
        line.starts_with(&format!("skep: cannot listen on {address}: ")),
        "{line}"
    );
    assert!(
        line.ends_with("(another process listens there: `ss -ltnp` names it)"),
        "{line}"
    );
    // Nor two hosts that both would share it.
    drop(taken);
    let mut first = Running::start(skep(&dir, &["serve", "--config", "skep.toml"]));
    line_with(&first.out, &format!("ready http://{address}"));
    let line = refusal(&dir, &["serve", "--config", "skep.toml"], 1);
    assert!(line.contains("another process listens there"), "{line}");
    first.signal(Signal::SIGTERM);
    assert_eq!(first.wait().code(), Some(0));
}

#[test]
fn a_configuration_that_is_missing_or_wrong_is_status_2() {
    let dir = directory();
    let right = configuration(&dir, "127.0.0.1:0");
    fs::write(dir.path().join("right.toml"), &right).unwrap();
    let wrong = right.replace("a.test", "a_test") + "[tenant.limits]\ncpu_ms = 0\n";
    fs::write(dir.path().join("wrong.toml"), wrong).unwrap();
    for subcommand in ["serve", "check"] {
        let line = refusal(&dir, &[subcommand, "--config", "nowhere.toml"], 2);
        assert!(line.starts_with("nowhere.toml: "), "{line}");
        assert!(line.contains("No such file or directory"), "{line}");
        let output = run(&dir, &[subcommand, "-c", "wrong.toml"]);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{err}");
        // All of them, in the order of their lines.
        let said: Vec<_> = err.lines().collect();
        assert_eq!(said.len(), 2, "{err}");
        assert!(
            said[0].starts_with("wrong.toml:10: tenant.a.hosts: "),
            "{err}"
        );
        assert!(
            said[1].starts_with("wrong.toml:12: tenant.a.limits.cpu_ms: "),
            "{err}"
        );
    }
    let output = run(&dir, &["check", "-c", "right.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(
        text(&output.stdout),
        "right.toml: ok, 1 tenants on 1 workers\n"
    );
    assert!(
        !dir.path().join("artifacts").exists(),
        "a check makes nothing"
    );
}
