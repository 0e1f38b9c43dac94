//! Writes to the log what would flood it, or be taken for somebody else's lines.

use std::io::Write as _;

use crate::{Attack, Left, reply};

pub fn run(attack: Attack) -> Left {
    match attack.path() {
        "/log-long" => print(attack, &b"x".repeat(1 << 20), 1),
        "/log-empty" => print(attack, b"\n", 20_000),
        "/log-short" => print(attack, b"x\n", 20_000),
        "/log-binary" => {
            let all: Vec<u8> = (0..=255).collect();
            print(attack, &all, 4);
        }
        "/log-forged" => print(attack, FORGED, 1),
        "/log-escapes" => print(attack, ESCAPES, 1),
        "/log-for-ever" => loop {
            let _ = std::io::stdout().write_all(&[b'x'; 4096]);
        },
        "/log-panic" => panic!("\n{}\u{1b}[2J", String::from_utf8_lossy(FORGED)),
        _ => return Some(attack),
    }
    None
}

/// Looks like lines of the log itself.
const FORGED: &[u8] = b"x\n{\"time\":0,\"kind\":\"access\",\"tenant\":\"victim\",\"status\":500}\n\
    \",\"tenant\":\"victim\",\"line\":\"\r\n\\\",\\\"tenant\\\":\\\"victim\\\"}\n";

/// What a terminal would obey, and what some parsers take for the end of a line.
const ESCAPES: &[u8] =
    b"\x1b[2J\x1b]0;owned\x07\x08\x7f\x0b\x0c\xc2\x85\xe2\x80\xa8\xe2\x80\xae\xed\xa0\x80\xff\xfe\r";

fn print(attack: Attack, bytes: &[u8], times: usize) {
    for _ in 0..times {
        let _ = std::io::stdout().write_all(bytes);
        let _ = std::io::stderr().write_all(bytes);
    }
    reply::text(attack.out, "printed\n");
}
