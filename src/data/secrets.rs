//! The secrets of one tenant: values under names, each from a time on.
//!
//! ```text
//!   api-key   ├── slot from 0 ──────────────┤├── slot from 1,767,225,600 ───────►  unix seconds
//!                        ▲ get(at) gives the slot that is in force at that time
//! ```
//!
//! A value comes from an open file: a credential that systemd passes, which may be plain, or any other
//! file, which must be [sealed]. No error says anything of what is in it.

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};

use zeroize::Zeroizing;

use super::sealed::{self, Context, Key, Plaintext, SEALED_BYTES_MAX, SealedError};
use crate::config::limits::{SECRET_BYTES_MAX, SECRET_FILE_BYTES_MAX};

/// The largest secret fits into a file, sealed and with a line end.
const _: () = assert!(SEALED_BYTES_MAX < SECRET_FILE_BYTES_MAX);

/// Secrets of one tenant.
#[derive(Debug, Default)]
pub struct Secrets {
    /// By name, then by the unix second from which on they are in force.
    slots: BTreeMap<String, BTreeMap<u64, Plaintext>>,
}

impl Secrets {
    /// Adds a value that is in force from this unix second on, until a later one is. It takes the place
    /// of one from the same second.
    pub fn put(&mut self, name: &str, effective_from: u64, value: Plaintext) {
        let slots = self.slots.entry(name.to_owned()).or_default();
        slots.insert(effective_from, value);
    }

    /// The value that is in force at this unix second; `None` where there is none yet, or no such name.
    pub fn get(&self, name: &str, at: u64) -> Option<&[u8]> {
        let slots = self.slots.get(name)?;
        let (_, value) = slots.range(..=at).next_back()?;
        Some(value)
    }
}

impl Secrets {
    /// Since which unix second the value is in force that [`Secrets::get`] gives; `None` where there is none.
    pub fn since(&self, name: &str, at: u64) -> Option<u64> {
        let slots = self.slots.get(name)?;
        slots.range(..=at).next_back().map(|(from, _)| *from)
    }
}

/// Who passes a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// systemd, in memory that is not swapped (systemd.exec(5), `LoadCredential=`): plaintext is
    /// allowed.
    SystemdCredential,
    /// Anybody, on a disk: it must be sealed.
    File,
}

/// Why there is no secret, and whose.
#[derive(Debug, thiserror::Error)]
#[error("secret {name} of tenant {tenant}: {wrong}")]
pub struct SecretError {
    /// The tenant's name.
    pub tenant: String,
    /// The secret's name.
    pub name: String,
    /// What is wrong, and what would be right.
    pub wrong: Wrong,
}

/// What is wrong with a secret's file.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// The kernel says so.
    #[error("the file cannot be read: {0}")]
    Unreadable(io::Error),
    /// There is nothing in it.
    #[error("it is empty; a secret has 1 to {SECRET_BYTES_MAX} bytes")]
    Empty,
    /// It, or what it is when opened, is too long.
    #[error("it is too long; a secret has 1 to {SECRET_BYTES_MAX} bytes")]
    TooLarge,
    /// It is plain, and on a disk.
    #[error("the file is not sealed; seal it, or pass it as a systemd credential")]
    NotSealed,
    /// It is sealed, and there is no key.
    #[error("the file is sealed and the host has no key; pass the key that it was sealed with")]
    NoKey,
    /// It does not open.
    #[error(transparent)]
    Sealed(#[from] SealedError),
}

/// Reads one secret from an open file, without the line end that may follow it.
///
/// # Errors
/// When the file cannot be read, is empty, has more than [`SECRET_FILE_BYTES_MAX`] bytes or a secret of
/// more than [`SECRET_BYTES_MAX`]; when it is not sealed and must be, or does not open.
pub fn read(
    file: &mut impl Read,
    origin: Origin,
    key: Option<&Key>,
    context: Context<'_>,
) -> Result<Plaintext, SecretError> {
    let bytes = read_all(file).and_then(|bytes| {
        let line_end = bytes.strip_suffix(b"\n");
        decode(line_end.unwrap_or(&bytes), origin, key, context)
    });
    bytes.map_err(|wrong| SecretError {
        tenant: context.tenant.to_owned(),
        name: context.name.to_owned(),
        wrong,
    })
}

fn read_all(file: &mut impl Read) -> Result<Zeroizing<Vec<u8>>, Wrong> {
    // It never grows: what was read is in one place, which is erased.
    let mut bytes = Zeroizing::new(vec![0; SECRET_FILE_BYTES_MAX + 1]);
    let mut length = 0;
    while length < bytes.len() {
        match file.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Wrong::Unreadable(error)),
        }
    }
    if length > SECRET_FILE_BYTES_MAX {
        return Err(Wrong::TooLarge);
    }
    bytes.truncate(length);
    Ok(bytes)
}

fn decode(
    bytes: &[u8],
    origin: Origin,
    key: Option<&Key>,
    context: Context<'_>,
) -> Result<Plaintext, Wrong> {
    let value = if sealed::is_sealed(bytes) {
        let key = key.ok_or(Wrong::NoKey)?;
        let text = std::str::from_utf8(bytes).map_err(|_| SealedError::Damaged)?;
        sealed::open(key, context, text)?
    } else if bytes.is_empty() || origin == Origin::SystemdCredential {
        Plaintext::from(bytes.to_vec())
    } else {
        return Err(Wrong::NotSealed);
    };
    match value.len() {
        0 => Err(Wrong::Empty),
        1..=SECRET_BYTES_MAX => Ok(value),
        _ => Err(Wrong::TooLarge),
    }
}
