//! `skep secret`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

pub(super) const EXAMPLES: &str = "\
A sealed secret opens for one tenant and one name. Keep the key where only root reads it, or in a
systemd credential.

Examples:
  skep secret new-key /etc/skep/secret.key
  printf %s hunter2 | skep secret seal --key /etc/skep/secret.key --tenant shop --name API_KEY > api-key.sealed";

/// Arguments of `skep secret`.
#[derive(Debug, Args)]
pub struct SecretArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: SecretAction,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum SecretAction {
    /// Write a new key to a file that is not there yet, for its owner alone
    NewKey {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Seal what comes on standard input, without the line end that may follow it
    Seal(SealArgs),
}

/// Arguments of `skep secret seal`.
#[derive(Debug, Args)]
pub struct SealArgs {
    /// The file of the key: data.secret_key of the host's configuration
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The tenant whose secret it is
    #[arg(long, value_name = "NAME")]
    pub tenant: String,
    /// The secret's name
    #[arg(long, value_name = "NAME")]
    pub name: String,
}
