//! Hosts to be tuned, from descriptions of one file each (`tests/hosts/*.host`):
//!
//! ```text
//! /proc/sys/vm/swappiness: 60                 a file, with a line's end; \t is a tab
//! /proc/interrupts +: 38: 0 virtio2-input.0   one more line of it
//! /sys/class/net/eth0 -> ../../devices/…      a symbolic link
//! for n in 0-63: /sys/…/cpu{n}/…: {n},{n+64}  so many of either; + - * / % from left to right
//! # a comment
//! ```

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

/// Every description.
pub const HOSTS: [&str; 4] = ["vm-2", "smt-64", "epyc-128", "arm-16"];

/// One of [`HOSTS`] as a directory.
#[track_caller]
pub fn host(name: &str) -> TempDir {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/hosts/{name}.host"));
    let text = fs::read_to_string(&path).unwrap();
    let root = tempfile::tempdir().unwrap();
    for line in text.lines() {
        match line.strip_prefix("for n in ") {
            Some(rest) => {
                let (range, line) = rest.split_once(": ").expect(line);
                let (first, last) = range.split_once('-').expect(line);
                for n in number(first)..=number(last) {
                    make(root.path(), &filled(line, n));
                }
            }
            None if line.is_empty() || line.starts_with('#') => {}
            None => make(root.path(), line),
        }
    }
    root
}

fn make(root: &Path, line: &str) {
    let at = |path: &str| {
        let path = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    if let Some((path, text)) = line.split_once(" +: ") {
        let file = File::options().create(true).append(true).open(at(path));
        writeln!(file.unwrap(), "{text}").unwrap();
    } else if let Some((path, target)) = line.split_once(" -> ") {
        symlink(target, at(path)).unwrap();
    } else {
        let (path, text) = line.split_once(": ").expect(line);
        fs::write(at(path), format!("{}\n", text.replace("\\t", "\t"))).unwrap();
    }
}

/// Replaces every `{n…}` by its value.
fn filled(line: &str, n: usize) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("{n") {
        let (expression, after) = after.split_once('}').expect(line);
        out.push_str(before);
        out.push_str(&value(n, expression).to_string());
        rest = after;
    }
    out + rest
}

fn value(n: usize, mut expression: &str) -> usize {
    let mut value = n;
    while let Some(operator) = expression.chars().next() {
        let operand = &expression[1..];
        let end = operand.find(|c: char| !c.is_ascii_digit());
        let (digits, rest) = operand.split_at(end.unwrap_or(operand.len()));
        let operand = number(digits);
        value = match operator {
            '+' => value + operand,
            '-' => value - operand,
            '*' => value * operand,
            '/' => value / operand,
            '%' => value % operand,
            other => panic!("operator {other}"),
        };
        expression = rest;
    }
    value
}

fn number(text: &str) -> usize {
    text.parse().expect(text)
}
