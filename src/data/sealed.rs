//! Secrets at rest: a line of text that only the host's key opens, for one tenant and one name.
//!
//! ```text
//! skep-sealed-v1:5d41402a:bm9uY2U…
//! format         key id   base64url of  nonce 24 ‖ ciphertext ‖ tag 16 ‖ check 4
//!                                                  └ XChaCha20-Poly1305 ┘ └ BLAKE3 of all before it
//! ```
//!
//! The associated data are the format, the tenant and the secret's name: a line that was copied to
//! another tenant does not open there. Nonces are random; of 24 bytes, none comes twice
//! (draft-irtf-cfrg-xchacha-03). The check says that a line was cut or mistyped, which the
//! tag cannot tell from one for another tenant. It keeps nobody out.

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Deref;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use data_encoding::BASE64URL_NOPAD;
use zeroize::{Zeroize, Zeroizing};

use crate::config::limits::SECRET_BYTES_MAX;

/// What a line of this format begins with.
const PREFIX: &str = "skep-sealed-v1:";

/// What a line of any format begins with, later ones included.
const ANY_PREFIX: &str = "skep-sealed-";

const KEY_PREFIX: &str = "skep-key-v1:";

/// For BLAKE3's key derivation; never used for anything else.
const KEY_ID_CONTEXT: &str = "skep 2026-01 id of a key that seals secrets";

const KEY_BYTES: usize = 32;
/// A key in base64url.
const KEY_CHARS: usize = 43;
/// A key's id in hexadecimal.
const KEY_ID_CHARS: usize = 8;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
const CHECK_BYTES: usize = 4;

/// The longest line, without its end.
pub const SEALED_BYTES_MAX: usize = {
    let inner = NONCE_BYTES + SECRET_BYTES_MAX + TAG_BYTES + CHECK_BYTES;
    PREFIX.len() + KEY_ID_CHARS + 1 + (inner * 4).div_ceil(3)
};

/// A secret in the clear. It is erased when it is dropped, and never printed.
pub struct Plaintext(Zeroizing<Vec<u8>>);

impl Deref for Plaintext {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Plaintext {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What a sealed secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context<'a> {
    /// The tenant's name.
    pub tenant: &'a str,
    /// The secret's name.
    pub name: &'a str,
}

impl Context<'_> {
    /// Each part with its length before it, so that no two contexts have the same bytes.
    fn associated_data(&self) -> Vec<u8> {
        let mut data = Vec::new();
        for part in [PREFIX, self.tenant, self.name] {
            data.extend_from_slice(&(part.len() as u64).to_le_bytes());
            data.extend_from_slice(part.as_bytes());
        }
        data
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is something else.
    #[error("it is not a key; `{KEY_PREFIX}` and {KEY_CHARS} characters of base64url would be one")]
    NotAKey,
    /// The kernel gives none.
    #[error("there are no random bytes: {0}")]
    Random(getrandom::Error),
}

/// Why nothing was sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It is too long.
    #[error("it has {0} bytes; a secret has at most {SECRET_BYTES_MAX}")]
    TooLarge(usize),
    /// The kernel gives none.
    #[error("there are no random bytes: {0}")]
    Random(getrandom::Error),
}

/// Why a line does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealedError {
    /// It is something else.
    #[error("it is not sealed; a sealed secret begins with `{PREFIX}`")]
    NotSealed,
    /// It is sealed otherwise.
    #[error(
        "it is sealed in a format that this version does not know; `{PREFIX}` is the one it knows"
    )]
    UnknownFormat,
    /// It is not as it was written.
    #[error("it is damaged: the line was cut or changed since it was sealed; seal it again")]
    Damaged,
    /// The key's id is another.
    #[error("it is sealed with key {sealed_with}; the key of this host is {key}")]
    WrongKey {
        /// The id of the key that would open it.
        sealed_with: String,
        /// The id of the key that there is.
        key: String,
    },
    /// The tag does not match, though nothing was cut or mistyped.
    #[error(
        "it is sealed for another tenant or under another name, or forged; seal it for this one"
    )]
    WrongContext,
}

/// The key that seals and opens all secrets of a host. It is erased when it is dropped, and never
/// printed by `Debug`.
pub struct Key(Zeroizing<[u8; KEY_BYTES]>);

impl Key {
    /// A new one, of the kernel's random bytes.
    ///
    /// # Errors
    /// When there are none.
    pub fn generate() -> Result<Self, KeyError> {
        let mut key = Self::zero();
        getrandom::fill(&mut *key.0).map_err(KeyError::Random)?;
        Ok(key)
    }

    /// Reads what [`Key::to_text`] wrote, with or without its line end.
    ///
    /// # Errors
    /// [`KeyError::NotAKey`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        let encoded = line.strip_prefix(KEY_PREFIX).ok_or(KeyError::NotAKey)?;
        if encoded.len() != KEY_CHARS {
            return Err(KeyError::NotAKey);
        }
        let mut key = Self::zero();
        match BASE64URL_NOPAD.decode_mut(encoded.as_bytes(), &mut *key.0) {
            Ok(_) => Ok(key),
            Err(_) => Err(KeyError::NotAKey),
        }
    }

    /// One line for a file that only its owner may read.
    pub fn to_text(&self) -> Zeroizing<String> {
        // It never grows: what it holds is in one place, which is erased.
        let mut text = Zeroizing::new(String::with_capacity(KEY_PREFIX.len() + KEY_CHARS + 1));
        text.push_str(KEY_PREFIX);
        BASE64URL_NOPAD.encode_append(&*self.0, &mut text);
        text.push('\n');
        text
    }

    /// Tells keys apart, and nothing else about them: eight hexadecimal digits.
    pub fn id(&self) -> String {
        let mut hasher = blake3::Hasher::new_derive_key(KEY_ID_CONTEXT);
        hasher.update(&*self.0);
        let id = hasher.finalize().to_hex();
        hasher.zeroize();
        id.chars().take(KEY_ID_CHARS).collect()
    }

    fn zero() -> Self {
        Self(Zeroizing::new([0; KEY_BYTES]))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.0).into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// Seals a secret for one tenant and name: a line without its end, other bytes every time.
///
/// # Errors
/// When it has more than [`SECRET_BYTES_MAX`] bytes, or there are no random bytes.
pub fn seal(key: &Key, context: Context<'_>, plaintext: &[u8]) -> Result<String, SealError> {
    let too_large = || SealError::TooLarge(plaintext.len());
    if plaintext.len() > SECRET_BYTES_MAX {
        return Err(too_large());
    }
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(SealError::Random)?;
    seal_with_nonce(key, context, plaintext, nonce).ok_or_else(too_large)
}

fn seal_with_nonce(
    key: &Key,
    context: Context<'_>,
    plaintext: &[u8],
    nonce: [u8; NONCE_BYTES],
) -> Option<String> {
    let payload = Payload {
        msg: plaintext,
        aad: &context.associated_data(),
    };
    let ciphertext = key.cipher().encrypt(&nonce.into(), payload).ok()?;
    let mut text = format!("{PREFIX}{}:", key.id());
    let mut inner = [&nonce[..], &ciphertext].concat();
    inner.extend(check(&text, &inner));
    BASE64URL_NOPAD.encode_append(&inner, &mut text);
    Some(text)
}

/// Opens a line that was sealed with this key, for this tenant and name.
///
/// # Errors
/// All of [`SealedError`]; none has anything of the secret.
pub fn open(key: &Key, context: Context<'_>, text: &str) -> Result<Plaintext, SealedError> {
    let Some(rest) = text.strip_prefix(PREFIX) else {
        return Err(match is_sealed(text.as_bytes()) {
            true => SealedError::UnknownFormat,
            false => SealedError::NotSealed,
        });
    };
    let (sealed_with, encoded) = rest.split_once(':').ok_or(SealedError::Damaged)?;
    let head = &text[..text.len() - encoded.len()];
    let ciphertext = intact(head, encoded).ok_or(SealedError::Damaged)?;
    let id = key.id();
    if sealed_with != id {
        return Err(SealedError::WrongKey {
            sealed_with: sealed_with.escape_default().take(KEY_ID_CHARS).collect(),
            key: id,
        });
    }
    let (nonce, ciphertext) = ciphertext
        .split_first_chunk::<NONCE_BYTES>()
        .ok_or(SealedError::Damaged)?;
    let payload = Payload {
        msg: ciphertext,
        aad: &context.associated_data(),
    };
    let opened = key.cipher().decrypt(nonce.into(), payload);
    opened
        .map(Plaintext::from)
        .map_err(|_| SealedError::WrongContext)
}

/// Whether it is to be opened, be it in a format that this version does not know.
pub fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(ANY_PREFIX.as_bytes())
}

/// Nonce, ciphertext and tag, if the check matches.
fn intact(head: &str, encoded: &str) -> Option<Vec<u8>> {
    let mut inner = BASE64URL_NOPAD.decode(encoded.as_bytes()).ok()?;
    let (rest, found) = inner.split_last_chunk::<CHECK_BYTES>()?;
    let (length, matches) = (rest.len(), *found == check(head, rest));
    inner.truncate(length);
    matches.then_some(inner)
}

fn check(head: &str, inner: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(head.as_bytes()).update(inner);
    let mut check = [0; CHECK_BYTES];
    hasher.finalize_xof().fill(&mut check);
    check
}
