//! A host's configuration, built up by a test.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::cores;

/// The path of a guest that `tests/guests/build` made.
pub fn guest(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/guests/{name}.wasm"));
    assert!(
        path.exists(),
        "{} is missing: run tests/guests/build",
        path.display()
    );
    path
}

/// One `[[tenant]]`.
#[derive(Clone, Debug)]
pub struct Tenant {
    pub(super) hosts: Vec<String>,
    name: String,
    component: Option<PathBuf>,
    cell: Option<String>,
    cores: Option<String>,
    env: Vec<(String, String)>,
    lines: Vec<String>,
    limits: Vec<(String, u64)>,
}

impl Tenant {
    /// A tenant with the guest of that name (`kitchen`); it answers for `NAME.test` until told
    /// otherwise.
    pub fn new(name: &str, guest_name: &str) -> Self {
        Self::with_component(name, guest(guest_name))
    }

    /// A tenant with any file as its component.
    pub fn with_component(name: &str, component: impl Into<PathBuf>) -> Self {
        Self {
            hosts: Vec::new(),
            name: name.to_owned(),
            component: Some(component.into()),
            cell: None,
            cores: None,
            env: Vec::new(),
            lines: Vec::new(),
            limits: Vec::new(),
        }
    }

    /// A tenant without a component: its requests are passed on to these servers.
    pub fn passed_on(name: &str, servers: &[&str]) -> Self {
        Self {
            component: None,
            ..Self::with_component(name, "")
        }
        .line(&format!("origin.servers = {servers:?}"))
    }

    /// One more host.
    pub fn host(mut self, host: &str) -> Self {
        self.hosts.push(host.to_owned());
        self
    }

    /// The cell it belongs to.
    pub fn cell(mut self, name: &str) -> Self {
        self.cell = Some(name.to_owned());
        self
    }

    /// How many workers it is pinned to.
    pub fn cores(mut self, count: usize) -> Self {
        self.cores = Some(count.to_string());
        self
    }

    /// The workers it is pinned to, by their place among the host's workers.
    pub fn on_workers(mut self, places: &[usize]) -> Self {
        let all = cores();
        let list: Vec<_> = places.iter().map(|place| all[*place]).collect();
        self.cores = Some(format!("{list:?}"));
        self
    }

    /// One environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A line of its section: `line("weight = 300")`.
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// One key of `[tenant.limits]`.
    pub fn limit(mut self, key: &str, value: u64) -> Self {
        self.limits.retain(|(known, _)| known != key);
        self.limits.push((key.to_owned(), value));
        self
    }

    /// The hosts, or the default one.
    pub(super) fn all_hosts(&self) -> Vec<String> {
        if self.hosts.is_empty() {
            vec![format!("{}.test", self.name)]
        } else {
            self.hosts.clone()
        }
    }

    fn write(&self, out: &mut String) {
        let (name, hosts) = (&self.name, self.all_hosts());
        let _ = writeln!(out, "[[tenant]]\nname = {name:?}\nhosts = {hosts:?}");
        if let Some(component) = &self.component {
            let _ = writeln!(out, "component = {component:?}");
        }
        if let Some(cell) = &self.cell {
            let _ = writeln!(out, "cell = {cell:?}");
        }
        if let Some(cores) = &self.cores {
            let _ = writeln!(out, "cores = {cores}");
        }
        for line in &self.lines {
            let _ = writeln!(out, "{line}");
        }
        if !self.env.is_empty() {
            out.push_str("[tenant.env]\n");
            for (name, value) in &self.env {
                let _ = writeln!(out, "{name:?} = {value:?}");
            }
        }
        out.push_str("[tenant.limits]\n");
        for (key, value) in &self.limits {
            let _ = writeln!(out, "{key} = {value}");
        }
    }
}

/// A host to be started, or a configuration to be loaded into one that runs.
#[derive(Clone, Debug)]
pub struct Builder {
    pub(super) tenants: Vec<Tenant>,
    pub(super) private_artifacts: bool,
    pub(super) artifacts: Option<PathBuf>,
    pub(super) warm: bool,
    workers: Vec<usize>,
    pub(super) access: String,
    lines: Vec<(String, String)>,
    cells: Vec<String>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            tenants: Vec::new(),
            private_artifacts: false,
            artifacts: None,
            warm: true,
            workers: cores()[..1].to_vec(),
            access: "all".to_owned(),
            lines: Vec::new(),
            cells: Vec::new(),
        }
    }
}

impl Builder {
    /// This many workers, on the first cores that the test may use; 1 by default.
    pub fn workers(mut self, count: usize) -> Self {
        let all = cores();
        assert!(count <= all.len(), "{count} workers on {all:?}");
        self.workers = all[..count].to_vec();
        self
    }

    /// One more tenant.
    pub fn tenant(mut self, tenant: Tenant) -> Self {
        self.tenants.push(tenant);
        self
    }

    /// A line of a section: `line("http", "head_timeout_ms = 300")`. Not for `[listen]`,
    /// `[artifacts]`, `workers.cores` and `log.access`.
    pub fn line(mut self, section: &str, line: &str) -> Self {
        self.lines.push((section.to_owned(), line.to_owned()));
        self
    }

    /// One `[[cell]]`, with these lines beside its name.
    pub fn cell(mut self, name: &str, lines: &str) -> Self {
        self.cells
            .push(format!("[[cell]]\nname = {name:?}\n{lines}\n"));
        self
    }

    /// Which requests are logged: `all` unless told otherwise.
    pub fn access(mut self, which: &str) -> Self {
        which.clone_into(&mut self.access);
        self
    }

    /// An empty artifacts directory of its own, instead of `target/test-artifacts`, which saves the
    /// compile.
    pub fn private_artifacts(mut self) -> Self {
        self.private_artifacts = true;
        self
    }

    /// This artifacts directory, to start another host with it.
    pub fn artifacts_in(mut self, dir: &Path) -> Self {
        self.artifacts = Some(dir.to_owned());
        self.private_artifacts = true;
        self
    }

    /// Does not wait until every tenant has its artifact.
    pub fn cold(mut self) -> Self {
        self.warm = false;
        self
    }

    /// The file's text.
    pub(super) fn text(&self, artifacts: &Path) -> String {
        let mut out =
            format!("[listen]\nhttp = [\"127.0.0.1:0\"]\n[artifacts]\ndir = {artifacts:?}\n");
        let cores = format!("cores = {:?}", self.workers);
        let access = format!("access = {:?}", self.access);
        // Beside the configuration: two hosts cannot keep their stores in one place.
        let is_said = |(name, line): &(String, String)| name == "data" && line.starts_with("dir");
        let data = match self.lines.iter().any(is_said) {
            true => "",
            false => "dir = 'data'",
        };
        for (section, own) in [
            ("workers", cores.as_str()),
            ("log", &access),
            ("http", ""),
            ("isolation", ""),
            ("egress", ""),
            ("geo", ""),
            ("admin", ""),
            ("data", data),
        ] {
            let _ = writeln!(out, "[{section}]\n{own}");
            for (_, line) in self.lines.iter().filter(|(name, _)| name == section) {
                let _ = writeln!(out, "{line}");
            }
        }
        self.cells.iter().for_each(|cell| out.push_str(cell));
        self.tenants
            .iter()
            .for_each(|tenant| tenant.write(&mut out));
        out
    }
}
