//! Lines for the operator, on standard error.

use std::fmt;
use std::io::Write;

/// Writes `skep: ` and one line, in a single write so that lines of several processes do not mix.
/// Control characters become spaces: parts of a line may be a tenant's words. A closed standard
/// error is no reason to stop.
pub fn line(text: fmt::Arguments<'_>) {
    let mut line = String::from("skep: ");
    line.extend(
        text.to_string()
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c }),
    );
    line.push('\n');
    let _ = std::io::stderr().write_all(line.as_bytes());
}
