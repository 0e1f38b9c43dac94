//! Log lines as JSON that can be shown: whatever a guest or a client wrote, a line has no character that
//! a terminal obeys or that a reader takes for the end of a line.
//!
//! JSON itself escapes only what is below U+0020. DEL and the C1 controls, U+009B (which begins a control
//! sequence) and U+0085 (a line end) among them, could stand in it as they are; so could the separators
//! U+2028 and U+2029, and the marks that make text read from right to left (Trojan Source, CVE-2021-42574).

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// Appends `value` to `out`.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn write(out: &mut Vec<u8>, value: &impl Serialize) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(out, Showable))
}

struct Showable;

impl Formatter for Showable {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        mut rest: &str,
    ) -> io::Result<()> {
        while let Some(at) = rest.find(is_obeyed) {
            let (before, from) = rest.split_at(at);
            out.write_all(before.as_bytes())?;
            let mut letters = from.chars();
            if let Some(letter) = letters.next() {
                write!(out, "\\u{:04x}", u32::from(letter))?; // all of them are below U+10000
            }
            rest = letters.as_str();
        }
        out.write_all(rest.as_bytes())
    }
}

fn is_obeyed(letter: char) -> bool {
    matches!(letter,
        '\u{7f}'..='\u{9f}'
        | '\u{61c}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        write(&mut out, &text).expect("a string");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_the_rest_is_not() {
        for (text, line) in [
            (
                "plain \u{e9} \u{4e16} \u{1f41d}",
                "\"plain \u{e9} \u{4e16} \u{1f41d}\"",
            ),
            ("\u{1b}[2J\n", r#""\u001b[2J\n""#),
            ("a\u{7f}b\u{9b}2J", r#""a\u007fb\u009b2J""#),
            ("\u{85}\u{2028}\u{202e}", r#""\u0085\u2028\u202e""#),
            ("\u{a0}", "\"\u{a0}\""),
        ] {
            assert_eq!(written(text), line);
            assert_eq!(serde_json::from_str::<String>(line).expect("JSON"), text);
        }
    }
}
