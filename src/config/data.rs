//! What the host keeps for tenants: `[data]`, `[[tenant.kv]]`, `[[tenant.secret]]`.

mod check;

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use self::check::{REDIS_RIGHT, STORE_NAME_RIGHT, is_store_name, redis};

/// How the host keeps what it keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// Where stores are kept.
    pub dir: PathBuf,
    /// Bytes of all caches together.
    pub cache_bytes_max: u64,
    /// Bytes of origins' answers on disk, of all tenants together; 0: none are kept there.
    pub http_cache_bytes_max: u64,
    /// The file of the key that secrets are sealed with.
    pub secret_key: Option<PathBuf>,
    /// Whether stores outlive the process: all but those of `skep run` without a directory.
    pub is_lasting: bool,
}

/// A key-value store of one tenant's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Store {
    /// The name that guests open it by.
    pub name: String,
    /// What they may do.
    pub access: Access,
    /// The name that other tenants may have the same store by; `None`: it is the tenant's own.
    #[serde(skip)]
    pub shared: Option<String>,
    /// Who keeps it. Workers are not told.
    #[serde(skip)]
    pub backend: Backend,
}

impl Store {
    /// A store of this host's, to be read and changed.
    ///
    /// # Errors
    /// What a name is.
    pub fn named(name: &str) -> Result<Self, String> {
        if !is_store_name(name) {
            return Err(format!("not a store's name: {STORE_NAME_RIGHT} are right"));
        }
        Ok(Self {
            name: name.to_owned(),
            access: Access::ReadWrite,
            shared: None,
            backend: Backend::Embedded,
        })
    }

    /// The store on this server.
    ///
    /// # Errors
    /// What an address is.
    pub fn on_redis(mut self, address: &str) -> Result<Self, String> {
        let server = redis(address).map_err(|wrong| format!("{wrong}: {REDIS_RIGHT} is right"))?;
        self.backend = Backend::Redis(server);
        Ok(self)
    }

    /// Host and port of the server that keeps it, if one does.
    pub fn server(&self) -> Option<(&str, u16)> {
        match &self.backend {
            Backend::Redis(server) => Some((&server.host, server.port)),
            Backend::Embedded => None,
        }
    }
}

/// What a tenant may do with a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Read and change it.
    #[default]
    ReadWrite,
    /// Read it.
    Read,
}

/// Who keeps a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Backend {
    /// A file of this host's.
    #[default]
    Embedded,
    /// A Redis server.
    Redis(RedisServer),
}

/// A Redis server, and how one logs in.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RedisServer {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who logs in.
    pub username: Option<String>,
    /// With what.
    pub password: Option<String>,
    /// The number of the database.
    pub db: u32,
    /// Stands before every key.
    pub prefix: String,
    /// Keys are what guests say, after the prefix: for a database that others fill.
    pub raw: bool,
}

/// Without the password.
impl std::fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "redis://{}:{}/{}", self.host, self.port, self.db)
    }
}

/// A slot of a tenant's secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Secret {
    /// The secret's name.
    pub name: String,
    /// Where it is.
    pub source: SecretSource,
    /// When it begins to be in force, in Unix seconds.
    pub from_s: u64,
}

impl Secret {
    /// A secret that is on no disk, in force since ever, and the file that holds it while it is open.
    ///
    /// # Errors
    /// The kernel's.
    pub fn in_memory(name: &str, value: &[u8]) -> std::io::Result<(OwnedFd, Self)> {
        let file = memfd_create(c"skep-secret", MFdFlags::MFD_CLOEXEC)?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let mut file = File::from(file);
        file.write_all(value)?;
        let secret = Self {
            name: name.to_owned(),
            source: SecretSource::Credential(path.into()),
            from_s: 0,
        };
        Ok((file.into(), secret))
    }
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq)]
pub enum SecretSource {
    /// A file, sealed.
    File(PathBuf),
    /// A credential of systemd's (systemd.exec(5), `LoadCredential=`), by its path.
    Credential(PathBuf),
}

impl SecretSource {
    /// The file.
    pub fn path(&self) -> &std::path::Path {
        match self {
            Self::File(path) | Self::Credential(path) => path,
        }
    }
}
