//! `skep secret`: keys, and secrets sealed with them.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use zeroize::Zeroizing;

use super::{Failure, Result};
use crate::cli::{SealArgs, SecretAction, SecretArgs};
use crate::config::limits;
use crate::data::sealed::{self, Key};

/// `skep secret`
pub fn secret(args: &SecretArgs) -> Result {
    let done = match &args.action {
        SecretAction::NewKey { file } => new_key(file),
        SecretAction::Seal(args) => seal(args),
    };
    done.map_err(Failure::Failed)
}

fn new_key(path: &Path) -> anyhow::Result<()> {
    let text = Key::generate()?.to_text();
    let mut options = OpenOptions::new();
    // A key that is lost is every secret that was sealed with it.
    let opened = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = opened.with_context(|| path.display().to_string())?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(())
}

fn seal(args: &SealArgs) -> anyhow::Result<()> {
    let mut text = Zeroizing::new(String::with_capacity(limits::SECRET_KEY_BYTES_MAX));
    let file = File::open(&args.key).with_context(|| args.key.display().to_string())?;
    file.take(limits::SECRET_KEY_BYTES_MAX as u64)
        .read_to_string(&mut text)
        .with_context(|| args.key.display().to_string())?;
    let key = Key::parse(&text).with_context(|| args.key.display().to_string())?;
    let room = limits::SECRET_BYTES_MAX + 2;
    let mut plain = Zeroizing::new(Vec::with_capacity(room));
    std::io::stdin().take(room as u64).read_to_end(&mut plain)?;
    let plain = plain.strip_suffix(b"\n").unwrap_or(&plain);
    if plain.is_empty() {
        bail!("nothing came on standard input; the secret is right");
    }
    let context = sealed::Context {
        tenant: &args.tenant,
        name: &args.name,
    };
    println!("{}", sealed::seal(&key, context, plain)?.trim_end());
    Ok(())
}
