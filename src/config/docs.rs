//! Writes `docs/CONFIG.md` from the tables that the checks use.

use std::fmt::Write;
use std::path::Path;

use super::limits::{self, Limit};
use super::profile::KEYS;
use super::{Errors, Profile};

/// Everything before the tables; its example is a configuration that `skep check` accepts.
const HEAD: &str = include_str!("docs/head.md");

/// The whole document.
///
/// # Errors
/// When a built-in profile is broken.
pub fn markdown() -> Result<String, Errors> {
    let mut out = String::from(HEAD);
    section(&mut out, "[workers]", limits::WORKERS);
    section(&mut out, "[http]", limits::HTTP);
    section(&mut out, "[[tenant]]", limits::TENANT_SHARE);
    section(&mut out, "[[cell]]", limits::CELL);
    section(&mut out, "[data]", limits::DATA);
    section(&mut out, "[log]", limits::LOG);
    section(&mut out, "[tenant.limits]", limits::TENANT);
    profiles(&mut out)?;
    fixed(&mut out);
    Ok(out)
}

/// Writing to a `String` cannot fail; this keeps the results out of sight.
fn line(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(arguments);
    out.push('\n');
}

fn section(out: &mut String, name: &str, table: &[Limit]) {
    line(out, format_args!("\n## Numbers of `{name}`\n"));
    line(out, format_args!("| key | unit | default | range | why |"));
    line(out, format_args!("|---|---|--:|---|---|"));
    for limit in table {
        line(
            out,
            format_args!(
                "| `{}` | {} | {} | {} to {} | {} |",
                limit.name,
                limit.unit,
                grouped(limit.default),
                grouped(limit.min),
                grouped(limit.max),
                limit.reason
            ),
        );
    }
}

fn profiles(out: &mut String) -> Result<(), Errors> {
    out.push_str(include_str!("docs/profiles.md"));
    let mut columns = Vec::new();
    for name in Profile::names() {
        let profile = Profile::find(name, Path::new(""))?;
        columns.push((name, toml::Table::try_from(&profile).unwrap_or_default()));
    }
    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    line(
        out,
        format_args!("| key | {} | range | what it is |", names.join(" | ")),
    );
    line(
        out,
        format_args!("|---|{}---|---|", "--:|".repeat(names.len())),
    );
    for key in KEYS {
        let values = columns.iter().map(|(_, table)| match table.get(key.name) {
            Some(toml::Value::Integer(number)) => grouped(number.unsigned_abs()),
            Some(value) => value.to_string(),
            None => String::new(),
        });
        let values: Vec<_> = values.collect();
        let range = match key.is_switch() {
            true => key.range(),
            false => format!("{} to {} {}", grouped(key.min), grouped(key.max), key.unit),
        };
        let values = values.join(" | ");
        let (name, meaning) = (key.name, key.meaning);
        line(
            out,
            format_args!("| `{name}` | {values} | {range} | {meaning} |"),
        );
    }
    Ok(())
}

fn fixed(out: &mut String) {
    line(out, format_args!("\n## Limits that are not configurable\n"));
    line(out, format_args!("| limit | value | unit | why |"));
    line(out, format_args!("|---|--:|---|---|"));
    for limit in limits::FIXED {
        let (value, unit, reason) = (grouped(limit.value), limit.unit, limit.reason);
        line(
            out,
            format_args!("| `{}` | {value} | {unit} | {reason} |", limit.name),
        );
    }
}

/// A number with a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ];
        for (number, text) in cases {
            assert_eq!(grouped(number), text);
        }
    }
}
