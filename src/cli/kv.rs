//! Arguments of `skep kv`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Examples of `skep kv`.
pub(super) const EXAMPLES: &str = "\
Needs admin.socket in the configuration. A store is named as the tenant names it, and may be one that its
programs can only read. What is set is durable when the command ends.

A file to import has a line of JSON for each key:
  {\"key\": \"logo\", \"value\": \"text\"}
  {\"key\": \"top\", \"members\": [[1.5, \"a\"], [2, \"b\"]]}
  {\"key\": \"seen\", \"items\": [\"a\", \"b\"]}

Examples:
  skep kv shop prices set apple 1.20
  skep kv shop prices get apple
  skep kv shop prices list 'a*'
  skep kv shop prices import prices.jsonl --config /etc/skep/skep.toml";

/// Arguments of `skep kv`.
#[derive(Debug, Args)]
pub struct KvArgs {
    /// The tenant
    #[arg(value_name = "TENANT")]
    pub tenant: String,
    /// Its store, by the name that the tenant has for it
    #[arg(value_name = "STORE")]
    pub store: String,
    /// The configuration file
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "skep.toml",
        global = true
    )]
    pub config: PathBuf,
    /// What is done
    #[command(subcommand)]
    pub command: KvCommand,
}

/// What `skep kv` does.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the names say it")]
pub enum KvCommand {
    /// Print a value
    Get { key: String },
    /// Set a value
    Set {
        key: String,
        /// The value
        #[arg(required_unless_present = "file", conflicts_with = "file")]
        value: Option<String>,
        /// Read the value from a file; `-` is standard input
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Delete keys, whatever they hold
    Delete {
        #[arg(required = true)]
        keys: Vec<String>,
    },
    /// Print the keys that match a pattern of `*`, `?` and `[a-z]`
    List {
        #[arg(default_value = "*")]
        pattern: String,
    },
    /// Add a member to a sorted set, or change its score
    Zadd {
        key: String,
        #[arg(allow_hyphen_values = true)]
        score: f64,
        member: String,
    },
    /// Print the members whose score lies between two, with their scores
    Zrange {
        key: String,
        #[arg(allow_hyphen_values = true)]
        min: f64,
        #[arg(allow_hyphen_values = true)]
        max: f64,
    },
    /// Add items to a Bloom filter
    BfAdd {
        key: String,
        #[arg(required = true)]
        items: Vec<String>,
    },
    /// Print whether a Bloom filter may have an item
    BfExists { key: String, item: String },
    /// Set everything that a file says, a line of JSON for each key; `-` is standard input
    Import { file: PathBuf },
}
