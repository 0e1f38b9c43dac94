//! Flooding the log, and writing into it what would be taken for somebody else's lines. That every line is
//! one JSON object, and none of the victim's is wrong, is checked after all of them (`arena.rs`).

use serde_json::Value;

use crate::arena::{self, Stage};
use crate::case::{Case, Threat, get, made, run};
use crate::made::handler;

pub const THREAT: Threat = Threat {
    name: "logs",
    cases: CASES,
    lines: &[],
};

/// The default `log_bytes_per_request`.
const REQUEST_BYTES: usize = 65_536;
/// What a line costs beside its text.
const OVERHEAD_BYTES: usize = 96;
/// The default `log_line_bytes`.
const LINE_BYTES: usize = 4_096;

const CASES: &[Case] = &[
    run(
        "long-line",
        "one line of 1 MiB, on each stream",
        long_line,
        "200; lines of 4096 bytes; the rest counted",
    ),
    run(
        "empty-lines",
        "20,000 empty lines, on each stream",
        empty_lines,
        "200; 682 lines at most; the rest counted",
    ),
    run(
        "short-lines",
        "20,000 lines of one byte, on each stream",
        short_lines,
        "200; 675 lines at most; the rest counted",
    ),
    get("for-ever", "/log-for-ever", "504 cpu_exhausted"),
    run(
        "binary",
        "every byte there is",
        binary,
        "200; one JSON string per line",
    ),
    run(
        "forged-lines",
        "text that looks like lines of the log",
        forged,
        "200; lines of the attacker's",
    ),
    run(
        "escapes",
        "what a terminal obeys, and other ends of lines",
        escapes,
        "200; nothing but printable text",
    ),
    get("forged-panic", "/log-panic", "500 trapped"),
    made(
        "forged-names",
        "functions whose names look like lines of the log",
        || {
            handler(
                r#"(func $f (@name "f\0aforged\1b[2J\",\"tenant\":\"victim\",\22") unreachable)"#,
                "(call $f)",
            )
        },
        "500 trapped",
    ),
    made(
        "forged-exports",
        "an export whose name looks like the operator's lines",
        || {
            wat::parse_str(r#"(component (instance $i) (export "f\0aforged: all is well\1b[2J\c2\9b2J" (instance $i)))"#)
            .expect("valid text")
        },
        "502 component_rejected",
    ),
    run(
        "forged-target",
        "a request target that looks like the end of a line",
        forged_target,
        "200 or 400; a path in the log",
    ),
];

#[test]
fn logs() {
    arena::run(&THREAT);
}

/// The attack, and the lines that its own guest wrote by then.
fn printed(stage: &Stage<'_>, path: &str) -> Vec<Value> {
    let response = stage.host.get(&stage.authority(), path);
    assert_eq!(response.expect(200).text(), "printed\n");
    let own = |line: &Value| line["tenant"] == stage.name && line["kind"] == "output";
    stage.host.wait_for_log(own);
    stage.host.log_lines().into_iter().filter(own).collect()
}

fn dropped(stage: &Stage<'_>) {
    stage.host.wait_for_log(|line| {
        let detail = line["detail"].as_str().unwrap_or_default();
        line["tenant"] == stage.name && detail.contains("over log_bytes_per_request")
    });
}

fn long_line(stage: &Stage<'_>) {
    for line in printed(stage, "/log-long") {
        assert!(line["line"].as_str().expect("a text").len() <= LINE_BYTES);
    }
    dropped(stage);
}

/// How many lines one request wrote, at most: requests are told apart by where they begin.
fn lines_per_request(stage: &Stage<'_>, path: &str, text: &str) -> usize {
    let lines = printed(stage, path);
    assert!(lines.iter().all(|line| line["line"] == text), "{path}");
    dropped(stage);
    let requests = stage.host.log_lines().into_iter().filter(|line| {
        let detail = line["detail"].as_str().unwrap_or_default();
        line["tenant"] == stage.name && detail.contains("over log_bytes_per_request")
    });
    // Two are under way, each of which may have written but not ended; of this one the line that says
    // so may be on its way.
    lines.len() / (requests.count() + 3)
}

fn empty_lines(stage: &Stage<'_>) {
    assert!(lines_per_request(stage, "/log-empty", "") <= REQUEST_BYTES / OVERHEAD_BYTES);
}

fn short_lines(stage: &Stage<'_>) {
    assert!(lines_per_request(stage, "/log-short", "x") <= REQUEST_BYTES / (OVERHEAD_BYTES + 1));
}

fn binary(stage: &Stage<'_>) {
    let lines = printed(stage, "/log-binary");
    assert!(lines.iter().any(|line| {
        let text = line["line"].as_str().unwrap_or_default();
        text.starts_with("\0\u{1}\u{2}") || text.starts_with('\u{b}')
    }));
}

fn forged(stage: &Stage<'_>) {
    let lines = printed(stage, "/log-forged");
    assert!(lines.iter().any(|line| {
        let text = line["line"].as_str().unwrap_or_default();
        text.starts_with(r#"{"time":0,"kind":"access","tenant":"victim""#)
    }));
}

fn escapes(stage: &Stage<'_>) {
    let lines = printed(stage, "/log-escapes");
    let text = lines[0]["line"].as_str().expect("a text");
    assert!(
        text.starts_with("\u{1b}[2J"),
        "what was written is there: {text:?}"
    );
}

fn forged_target(stage: &Stage<'_>) {
    let target = "/\",\"tenant\":\"victim\",\"status\":500,\"x\":\"\\u001b[2J";
    let response = stage.host.get(&stage.authority(), target);
    stage.check(&response, "200 or 400 malformed_request");
    stage.host.wait_for_log(|line| {
        line["kind"] == "access" && line["path"] == target || response.status == 400
    });
}
