//! `skep new`: a program from a template.

use std::path::Path;

use anyhow::Context;

use super::{Failure, Result};
use crate::cli::NewArgs;
use crate::templates::{self, TEMPLATES};

/// `skep new`
pub fn new(args: &NewArgs) -> Result {
    let Some(wanted) = &args.template else {
        list();
        return match &args.name {
            Some(name) => wrong(format!(
                "{name} of what? --template with one of these is right"
            )),
            None => Ok(()),
        };
    };
    let name = args.name.as_deref().unwrap_or_default();
    let Some(template) = templates::named(wanted) else {
        let names: Vec<_> = TEMPLATES.iter().map(|it| it.name).collect();
        let right = names.join(", ");
        return wrong(format!(
            "no template is named {wanted}; one of {right} is right"
        ));
    };
    if let Err(why) = template.check_name(name) {
        return wrong(format!("{name}: {why}"));
    }
    let dir = Path::new(name);
    if !is_free(dir)? {
        return wrong(format!(
            "{name}: is there already; the name of a new directory is right"
        ));
    }
    template
        .write(dir, name)
        .with_context(|| format!("writing {name}"))?;
    println!("cd {name}");
    for line in template.commands(name) {
        println!("{line}");
    }
    Ok(())
}

fn list() {
    let width = TEMPLATES.iter().map(|it| it.name.len()).max();
    let width = width.unwrap_or_default();
    for template in TEMPLATES {
        println!("{:width$}  {}", template.name, template.about);
    }
}

fn wrong(line: String) -> Result {
    Err(Failure::Wrong(format!("skep: new: {line}")))
}

/// Whether nothing is there, or an empty directory.
fn is_free(dir: &Path) -> anyhow::Result<bool> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(error).with_context(|| dir.display().to_string()),
    }
}
