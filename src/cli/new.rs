//! `skep new`.

use clap::Args;

pub(super) const EXAMPLES: &str = "\
Writes a directory NAME with the sources of a program that works, and prints how to build and run
it. Without --template it lists the templates.

Examples:
  skep new
  skep new shop --template wasi-http-rust
  skep new thumbnails --template image-resize";

/// Arguments of `skep new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// The program, and the directory that is made for it: lower-case letters, digits and hyphens
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// What to begin with; `skep new` lists them
    #[arg(long, value_name = "TEMPLATE", requires = "name")]
    pub template: Option<String>,
}
