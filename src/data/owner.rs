//! A tenant, as the process that keeps its data knows it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::config::{Origin, SecretSource, Tenant};
use crate::control::{OwnedSecret, OwnedStore, Owner};
use crate::sys::report;

/// A tenant as the data process knows it, with its secrets' files. One that cannot be opened is reported.
pub fn owner(tenant: &Tenant, cell: usize) -> (Owner, Vec<File>) {
    let mut files = Vec::new();
    let mut secrets = Vec::new();
    for secret in &tenant.secrets {
        let opened = open_regular(secret.source.path()).inspect_err(|error| {
            let (name, path) = (&secret.name, secret.source.path().display());
            report::line(format_args!(
                "tenant {}: secret {name}: {path}: {error}",
                tenant.name
            ));
        });
        secrets.push(OwnedSecret {
            name: secret.name.clone(),
            from_s: secret.from_s,
            is_credential: matches!(secret.source, SecretSource::Credential(_)),
            is_open: opened.is_ok(),
        });
        files.extend(opened);
    }
    let stores = tenant.stores.iter().map(|store| OwnedStore {
        name: store.name.clone(),
        namespace: match &store.shared {
            // No tenant has an empty name.
            Some(shared) => format!("/{shared}"),
            None => format!("{}/{}", tenant.name, store.name),
        },
        access: store.access,
        backend: store.backend.clone(),
        keys: tenant.limits.kv_keys,
        bytes: tenant.limits.kv_bytes,
    });
    let owner = Owner {
        name: tenant.name.clone(),
        cell,
        stores: stores.collect(),
        cache_bytes: tenant.limits.cache_bytes,
        site: tenant.origin.as_ref().map(Origin::site),
        http_cache_disk_bytes: match tenant.limits.http_cache_bytes {
            0 => 0, // nothing is looked for, and so nothing forgotten
            _ => tenant.limits.http_cache_disk_bytes,
        },
        secrets,
        operations_per_s: tenant.limits.data_operations_per_s,
    };
    (owner, files)
}

/// Opens a regular file. A FIFO would wait for its writer, and the supervisor with it.
///
/// # Errors
/// The kernel's, and that it is something else.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        )),
    }
}
