//! `skep serve` as a server under test: one worker on the server's core.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::SERVER_CORE;

/// A directory with a configuration, its components and artifacts.
#[derive(Debug)]
pub struct Site {
    dir: tempfile::TempDir,
    profile: String,
    access: &'static str,
    tenants: Vec<Tenant>,
    /// A line of every tenant's section.
    line: String,
}

/// One tenant's section.
#[derive(Debug)]
struct Tenant {
    name: String,
    /// Its component, or its origin.
    program: String,
    limits: String,
}

impl Site {
    /// A site without tenants; `access` is which requests are logged. For `profile` see
    /// [`Site::profile`].
    ///
    /// # Errors
    /// When no directory can be made.
    pub fn new(profile: &str, access: &'static str) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("skep-bench-").tempdir()?;
        let mut site = Self {
            dir,
            profile: String::new(),
            access,
            tenants: Vec::new(),
            line: String::new(),
        };
        site.profile(profile)?;
        Ok(site)
    }

    /// Sets the profile: its name, or what its file says.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn profile(&mut self, profile: &str) -> anyhow::Result<()> {
        self.profile = profile.to_owned();
        if profile.contains('=') {
            self.profile = "profile.toml".into();
            fs::write(self.file(&self.profile), profile)?;
        }
        Ok(())
    }

    /// Sets a line of every tenant's section.
    pub fn line(&mut self, line: &str) {
        line.clone_into(&mut self.line);
    }

    /// Adds a tenant that answers for `NAME.test`.
    ///
    /// # Errors
    /// When its component cannot be written.
    pub fn tenant(&mut self, name: &str, component: &[u8]) -> anyhow::Result<()> {
        let path = self.dir.path().join(name).with_extension("wasm");
        fs::write(&path, component)?;
        self.tenant_at(name, &path);
        Ok(())
    }

    /// Adds a tenant with a component that is there already.
    pub fn tenant_at(&mut self, name: &str, component: &Path) {
        self.tenants.push(Tenant {
            name: name.to_owned(),
            program: format!("component = {component:?}"),
            limits: String::new(),
        });
    }

    /// Adds a tenant whose requests are passed on, with these lines of its section and of its limits.
    pub fn origin(&mut self, name: &str, lines: &str, limits: &str) {
        self.tenants.push(Tenant {
            name: name.to_owned(),
            program: lines.to_owned(),
            limits: limits.to_owned(),
        });
    }

    /// Writes the configuration, for a server at `port`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(&self, port: u16) -> anyhow::Result<()> {
        let mut config = format!(
            "[listen]\nhttp = [\"127.0.0.1:{port}\"]\n\
             [workers]\ncores = [{SERVER_CORE}]\nprofile = \"{}\"\n\
             [artifacts]\ndir = \"artifacts\"\n\
             [data]\ndir = \"data\"\n\
             [log]\naccess = \"{}\"\nfile = \"log\"\n",
            self.profile, self.access,
        );
        for tenant in &self.tenants {
            let Tenant {
                name,
                program,
                limits,
            } = tenant;
            let line = &self.line;
            write!(
                config,
                "[[tenant]]\nname = \"{name}\"\nhosts = [\"{name}.test\"]\n{line}\n{program}\n\
                 [tenant.limits]\ncpu_ms = 10000\nwall_ms = 60000\n{limits}\n"
            )?;
        }
        Ok(fs::write(self.file("skep.toml"), config)?)
    }

    /// The command that serves it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command
            .args(["serve", "--config"])
            .arg(self.file("skep.toml"));
        command
    }

    /// The log that the server writes.
    pub fn log(&self) -> PathBuf {
        self.file("log")
    }

    /// Where the server's own messages go.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn messages(&self) -> std::io::Result<fs::File> {
        fs::File::options()
            .create(true)
            .append(true)
            .open(self.file("messages"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// The skep under test: this build's, or the one that `SKEP` names.
fn binary() -> PathBuf {
    std::env::var_os("SKEP").map_or_else(|| env!("CARGO_BIN_EXE_skep").into(), PathBuf::from)
}
