//! A run's record: printed, and kept as JSON and Markdown in `benches/runs/<date>-<host kind>/`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use super::machine::Machine;

/// A table as it is printed and kept.
#[derive(Debug)]
pub struct Table {
    /// Columns at the left that hold words; the others hold numbers.
    words: usize,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns, of which the first `words` hold words.
    pub fn new(words: usize, head: &[&str]) -> Self {
        Self {
            words,
            head: head.iter().map(ToString::to_string).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// As Markdown, aligned for a terminal.
    pub fn markdown(&self) -> String {
        let lines = || std::iter::once(&self.head).chain(&self.rows);
        let width = |column: usize| {
            lines()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let mut text = String::new();
        for (index, row) in lines().enumerate() {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                text += &match column < self.words {
                    true => format!("| {cell:width$} "),
                    false => format!("| {cell:>width$} "),
                };
            }
            text += "|\n";
            if index == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let right = if column < self.words { '-' } else { ':' };
                    text += &format!("|{}{right}", "-".repeat(width + 1));
                }
                text += "|\n";
            }
        }
        text
    }
}

/// Prints a run and keeps it.
///
/// # Errors
/// When it cannot be written.
pub fn keep(
    name: &str,
    machine: &Machine,
    report: &str,
    data: &impl Serialize,
    dir: Option<&Path>,
) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct File<'a, T> {
        machine: &'a Machine,
        data: &'a T,
    }
    let text = format!("{}\n\n{report}", machine.lines());
    println!("\n{text}");
    let default = || {
        let kind = format!("{}-{}", machine.date, machine.kind());
        super::root().join("benches/runs").join(kind)
    };
    let dir = dir.map_or_else(default, PathBuf::from);
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let json = serde_json::to_string_pretty(&File { machine, data })?;
    fs::write(dir.join(name).with_extension("json"), json + "\n")?;
    fs::write(
        dir.join(name).with_extension("md"),
        format!("# {name}\n\n{text}"),
    )?;
    println!("kept in {}/{name}.{{md,json}}", dir.display());
    Ok(())
}
