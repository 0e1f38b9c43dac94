//! Compiled artifacts: made once, kept, shared between workers, and refused when anybody touched
//! them.

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)] // in a test, a panic is the report

mod common;

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use common::{Builder, PATIENCE, Tenant, TestHost, cores, guest, pin_thread};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use skep::broker::component::artifact_name;
use skep::broker::store::Store;
use skep::config::Profile;
use skep::engine::settings;
use tempfile::TempDir;

#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "still not so: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A directory for artifacts that outlives the hosts that use it.
struct Shelf {
    _parent: TempDir,
    dir: PathBuf,
    compatibility: String,
}

impl Shelf {
    fn new() -> Shelf {
        let parent = tempfile::tempdir().unwrap();
        let profile = Profile::find("balanced", Path::new("")).unwrap();
        Shelf {
            dir: parent.path().join("artifacts"),
            _parent: parent,
            compatibility: settings::compatibility(&profile).unwrap(),
        }
    }

    /// The name of a component's artifact.
    fn name(&self, component: &Path) -> String {
        artifact_name(component, &self.compatibility).unwrap()
    }

    /// The file that is mapped.
    fn code(&self, guest_name: &str) -> PathBuf {
        self.dir.join(self.name(&guest(guest_name)) + ".cwasm")
    }

    fn tag(&self, guest_name: &str) -> PathBuf {
        self.code(guest_name).with_extension("tag")
    }

    /// Every file and its inode, and the open files, so that no inode is used for another.
    fn files(&self) -> (BTreeSet<(String, u64)>, Vec<File>) {
        let entries = fs::read_dir(&self.dir).expect("the artifacts");
        let paths = entries.map(|entry| entry.unwrap().path());
        let open = |path: PathBuf| {
            let file = File::open(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            ((name, file.metadata().unwrap().ino()), file)
        };
        paths.map(open).unzip()
    }
}

/// The artifacts that a process has mapped, for whatever purpose: their inodes.
fn mapped(pid: u32) -> BTreeSet<u64> {
    mapped_as(pid, "")
}

/// The artifacts whose code a process can run. A slot that is kept warm has the data of a program
/// mapped for longer.
fn runnable(pid: u32) -> BTreeSet<u64> {
    mapped_as(pid, "r-xp")
}

fn mapped_as(pid: u32, permissions: &str) -> BTreeSet<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("a process's mappings");
    let artifacts = maps.lines().filter(|line| line.contains(".cwasm"));
    let fields = artifacts.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let wanted = fields.filter(|fields| fields[1].starts_with(permissions));
    wanted.map(|fields| fields[4].parse().unwrap()).collect()
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

/// One tenant for each of these guests, of its name.
fn tenants_of(guests: &[&str]) -> Builder {
    guests.iter().fold(TestHost::builder(), |builder, name| {
        builder.tenant(Tenant::new(name, name).env("NAME", name))
    })
}

/// Fails the test unless the tenant does what its guest does.
#[track_caller]
fn check_answer(host: &TestHost, name: &str) {
    let path = if name == "kitchen" { "/twice" } else { "/" };
    let response = host.connect().post(&format!("{name}.test"), path, b"hello");
    let (status, text) = match name {
        "tenantname" => (200, "tenantname"),
        "kitchen" => (200, "1\n"),
        "echo" => (200, "hello"),
        "spin" => (504, ""),
        "trap" => (500, ""),
        _ => (200, "Hello"),
    };
    assert_eq!(response.status, status, "{name}: {response:?}");
    assert!(response.text().starts_with(text), "{name}: {response:?}");
}

#[test]
fn a_component_is_compiled_once() {
    let shelf = Shelf::new();
    let start = || {
        // Two tenants with the same component have one artifact.
        tenants_of(&["hello", "kitchen"])
            .tenant(Tenant::new("same", "kitchen"))
            .artifacts_in(&shelf.dir)
            .start()
    };
    let mut host = start();
    let (before, _held) = shelf.files();
    let mut expected = BTreeSet::from(["key".to_owned()]);
    for name in ["hello", "kitchen"] {
        let name = shelf.name(&guest(name));
        expected.extend([format!("{name}.cwasm"), format!("{name}.tag")]);
    }
    let names: BTreeSet<String> = before.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, expected);
    assert!(host.stop().success());

    let host = start();
    for name in ["hello", "kitchen"] {
        check_answer(&host, name);
    }
    assert_eq!(host.get("same.test", "/twice").expect(200).text(), "1\n");
    assert_eq!(shelf.files().0, before);
}

#[test]
fn nobody_else_may_read_or_write_them() {
    let shelf = Shelf::new();
    let _host = tenants_of(&["hello"]).artifacts_in(&shelf.dir).start();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&shelf.dir), 0o700);
    assert_eq!(mode(&shelf.dir.join("key")), 0o600);
    assert_eq!(mode(&shelf.code("hello")), 0o444);
    assert_eq!(mode(&shelf.tag("hello")), 0o444);
}

/// Overwrites a file that is read-only, in place.
fn overwrite(path: &Path, bytes: &[u8]) {
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o444)).unwrap();
}

/// What is done to the artifact of a guest, and why it is then refused.
type Damage = (&'static str, fn(&Shelf, &str), &'static str);

const DAMAGES: [Damage; 8] = [
    ("hello", flip_a_bit, "its tag does not match"),
    ("echo", cut, "its tag does not match"),
    ("tenantname", take_anothers, "its tag does not match"),
    ("c", take_anothers_bytes, "its tag does not match"),
    ("trap", take_the_tag_away, "it has no tag"),
    ("spin", let_the_group_write, "its mode is 420, not 444"),
    ("kitchen", link_to_a_copy, "it cannot be read: "),
    ("service3", give_another_name, "it has 2 names, not 1"),
];

fn flip_a_bit(shelf: &Shelf, name: &str) {
    let path = shelf.code(name);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    overwrite(&path, &bytes);
}

fn cut(shelf: &Shelf, name: &str) {
    let path = shelf.code(name);
    let bytes = fs::read(&path).unwrap();
    overwrite(&path, &bytes[..bytes.len() / 2]);
}

/// Another tenant's artifact, whole and with the tag that fits it.
fn take_anothers(shelf: &Shelf, name: &str) {
    overwrite(
        &shelf.code(name),
        &fs::read(shelf.code("service3")).unwrap(),
    );
    overwrite(&shelf.tag(name), &fs::read(shelf.tag("service3")).unwrap());
}

fn take_anothers_bytes(shelf: &Shelf, name: &str) {
    overwrite(
        &shelf.code(name),
        &fs::read(shelf.code("service3")).unwrap(),
    );
}

fn take_the_tag_away(shelf: &Shelf, name: &str) {
    fs::remove_file(shelf.tag(name)).unwrap();
}

fn let_the_group_write(shelf: &Shelf, name: &str) {
    fs::set_permissions(shelf.code(name), Permissions::from_mode(0o420)).unwrap();
}

fn link_to_a_copy(shelf: &Shelf, name: &str) {
    let (path, copy) = (shelf.code(name), shelf.dir.join("../copy"));
    fs::copy(&path, &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o444)).unwrap();
    fs::remove_file(&path).unwrap();
    symlink(&copy, &path).unwrap();
}

fn give_another_name(shelf: &Shelf, name: &str) {
    fs::hard_link(shelf.code(name), shelf.dir.join("../another-name")).unwrap();
}

/// The lines that say that the artifact of a guest was refused; one at least.
#[track_caller]
fn refusals(host: &TestHost, shelf: &Shelf, name: &str) -> Vec<String> {
    let start = format!("skep: artifact refused: {}: ", shelf.name(&guest(name)));
    host.wait_for_stderr(|line| line.starts_with(&start));
    let lines = host.stderr_lines().into_iter();
    lines.filter(|line| line.starts_with(&start)).collect()
}

#[test]
fn what_somebody_touched_is_refused_and_compiled_again() {
    let shelf = Shelf::new();
    let guests: Vec<&str> = DAMAGES.iter().map(|damage| damage.0).collect();
    let start = || tenants_of(&guests).artifacts_in(&shelf.dir).start();
    let mut host = start();
    assert!(host.stop().success());
    for (name, damage, _) in DAMAGES {
        damage(&shelf, name);
    }
    let damaged: Vec<u64> = guests.iter().map(|name| inode(&shelf.code(name))).collect();
    let (_, _held) = shelf.files();

    let host = start();
    let store = Store::open(&shelf.dir).unwrap();
    for (name, _, reason) in DAMAGES {
        check_answer(&host, name);
        let lines = refusals(&host, &shelf, name);
        let found = lines
            .iter()
            .any(|line| line.contains(reason) && line.ends_with("; recompiling"));
        assert!(found && lines.len() == 1, "{name}: {reason}: {lines:#?}");
        let whole = store.get(&shelf.name(&guest(name)));
        assert!(matches!(whole, Ok(Some(_))), "{name}: {whole:?}");
        let now = inode(&shelf.code(name));
        assert!(
            !damaged.contains(&now),
            "{name}: the damaged file is still there"
        );
        assert!(
            mapped(host.worker_pids()[0]).contains(&now),
            "{name} is not mapped"
        );
    }
    let mapped = mapped(host.worker_pids()[0]);
    assert!(
        damaged.iter().all(|inode| !mapped.contains(inode)),
        "a damaged one is mapped"
    );
}

#[test]
fn a_tag_that_is_not_the_one_is_refused() {
    let shelf = Shelf::new();
    let start = || tenants_of(&["hello"]).artifacts_in(&shelf.dir).start();
    let mut host = start();
    let tag = fs::read_to_string(shelf.tag("hello")).unwrap();
    for (other, reason) in [
        (String::new(), "its tag is not `"),
        (
            "skep-artifact-2 p2 trust me\n".to_owned(),
            "its tag is not `",
        ),
        (tag.replace(" p2 ", " p3 "), "its tag does not match"),
        (tag.clone() + &tag, "more than 128"),
    ] {
        assert!(host.stop().success());
        overwrite(&shelf.tag("hello"), other.as_bytes());
        host = start();
        check_answer(&host, "hello");
        let lines = refusals(&host, &shelf, "hello");
        assert!(
            lines.len() == 1 && lines[0].contains(reason),
            "{other:?}: {lines:#?}"
        );
        assert_eq!(fs::read_to_string(shelf.tag("hello")).unwrap(), tag);
    }
}

#[test]
fn another_key_makes_every_artifact_foreign() {
    let shelf = Shelf::new();
    let guests = ["hello", "tenantname"];
    let start = || tenants_of(&guests).artifacts_in(&shelf.dir).start();
    let mut host = start();
    assert!(host.stop().success());
    fs::write(shelf.dir.join("key"), [7; 32]).unwrap();
    let (before, _held) = shelf.files();
    let host = start();
    for name in guests {
        check_answer(&host, name);
        let lines = refusals(&host, &shelf, name);
        assert!(
            lines.len() == 1 && lines[0].contains("made with another key"),
            "{lines:#?}"
        );
        assert!(
            !before
                .iter()
                .any(|(_, old)| *old == inode(&shelf.code(name)))
        );
    }
}

/// `skep serve` that is not expected to start; killed when it does.
fn serve_in_vain(config: &Path) -> Output {
    let skep = env!("CARGO_BIN_EXE_skep");
    let arguments = ["60", skep, "serve", "--config"];
    let mut command = Command::new("timeout");
    command
        .args(arguments)
        .arg(config)
        .output()
        .expect("timeout(1)")
}

#[test]
fn a_directory_that_is_not_ours_alone_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let artifacts = dir.path().join("artifacts");
    let config = dir.path().join("skep.toml");
    let text = format!(
        "[listen]\nhttp = ['127.0.0.1:0']\n[artifacts]\ndir = {artifacts:?}\n\
         [workers]\ncores = [{}]\n",
        cores()[0]
    );
    fs::write(&config, text).unwrap();
    fs::create_dir(&artifacts).unwrap();
    let check = |wanted: &str| {
        let output = serve_in_vain(&config);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(
            stderr.lines().any(|line| line.contains(wanted)),
            "{wanted}: {stderr}"
        );
    };
    for mode in [0o770, 0o701, 0o755] {
        fs::set_permissions(&artifacts, Permissions::from_mode(mode)).unwrap();
        check(&format!(
            "mode {mode:o} and owner {} let others in",
            nix::unistd::geteuid()
        ));
    }
    fs::set_permissions(&artifacts, Permissions::from_mode(0o700)).unwrap();
    for key in [&b"short"[..], &[0; 33]] {
        fs::write(artifacts.join("key"), key).unwrap();
        check("is damaged: remove it, and artifacts are compiled again");
    }
}

#[test]
fn what_is_damaged_while_a_host_serves_is_not_given_to_a_new_worker() {
    let shelf = Shelf::new();
    let host = tenants_of(&["hello"]).artifacts_in(&shelf.dir).start();
    // A copy: what is mapped must not change.
    let path = shelf.code("hello");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let copy = shelf.dir.join("damaged");
    fs::write(&copy, bytes).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o444)).unwrap();
    fs::rename(&copy, &path).unwrap();
    let (damaged, _held) = (inode(&path), File::open(&path).unwrap());

    let worker = host.worker_pids()[0];
    kill(Pid::from_raw(worker as i32), Signal::SIGKILL).unwrap();
    wait_until("a new worker", || {
        let pids = host.worker_pids();
        pids.first().is_some_and(|pid| *pid != worker)
    });
    check_answer(&host, "hello");
    let lines = refusals(&host, &shelf, "hello");
    assert!(
        lines.len() == 1 && lines[0].contains("its tag does not match"),
        "{lines:#?}"
    );
    let now = inode(&path);
    assert_ne!(now, damaged);
    assert_eq!(mapped(host.worker_pids()[0]), BTreeSet::from([now]));
}

#[test]
fn workers_share_the_pages_of_an_artifact() {
    if cores().len() < 2 {
        eprintln!("skipped: two workers need two cores");
        return;
    }
    let shelf = Shelf::new();
    let host = TestHost::builder()
        .workers(2)
        .tenant(Tenant::new("hello", "hello").cores(2))
        .artifacts_in(&shelf.dir)
        .start();
    let pids = host.worker_pids();
    let expected = BTreeSet::from([inode(&shelf.code("hello"))]);
    // A worker maps it with its first request; connections go to the worker of their core.
    wait_until("both have mapped it", || {
        for core in &cores()[..2] {
            thread::scope(|scope| {
                scope.spawn(|| {
                    pin_thread(*core);
                    check_answer(&host, "hello");
                });
            });
        }
        pids.iter().all(|pid| mapped(*pid) == expected)
    });
}

#[test]
fn a_changed_component_is_served_after_a_reload() {
    let shelf = Shelf::new();
    let dir = tempfile::tempdir().unwrap();
    let component = dir.path().join("app.wasm");
    let put = |name: &str| {
        let new = component.with_extension("new");
        fs::copy(guest(name), &new).unwrap();
        fs::rename(&new, &component).unwrap();
    };
    // A slot that waits to be reset in a batch keeps its last program mapped, even one that is gone.
    let profile = dir.path().join("profile.toml");
    fs::write(&profile, "extends = 'balanced'\ndecommit_batch = 1\n").unwrap();
    let with_profile = |builder: Builder| {
        let line = format!("profile = {profile:?}");
        builder.line("workers", &line).artifacts_in(&shelf.dir)
    };
    let config = || {
        let app = Tenant::with_component("app", &component);
        with_profile(TestHost::builder().tenant(app))
    };
    // Told apart by how they fail.
    let (trap, spin) = ("trap", "spin");
    let fails = |host: &TestHost| host.get("app.test", "/").reason().to_owned();
    let code = |name: &str| BTreeSet::from([inode(&shelf.code(name))]);
    put(trap);
    let mut host = config().start();
    let worker = host.worker_pids()[0];
    assert_eq!(fails(&host), "trapped");
    assert_eq!(runnable(worker), code(trap));

    // Changed on disk, without and with a word.
    put(spin);
    assert_eq!(fails(&host), "trapped");
    let line = host.reload(&config());
    assert!(line.contains("0 added, 1 changed, 0 removed"), "{line}");
    wait_until("the new version", || fails(&host) == "cpu_exhausted");
    assert!(runnable(worker).is_superset(&code(spin)));

    // Back again: its artifact is still there.
    let (before, _held) = shelf.files();
    put(trap);
    host.reload(&config());
    wait_until("the first version", || fails(&host) == "trapped");
    assert!(runnable(worker).is_superset(&code(trap)));
    assert_eq!(shelf.files().0, before);

    // Nobody's tenant any more.
    host.reload(&with_profile(tenants_of(&["hello"])));
    check_answer(&host, "hello");
    assert!(runnable(worker).is_superset(&code("hello")));
    assert!(host.stop().success());
}
