//! Calling the host without end: what costs it most, what tells it least, what could wait for ever.

use crate::arena;
use crate::case::{Case, Threat, get};

pub const THREAT: Threat = Threat {
    name: "hostcalls",
    cases: CASES,
    lines: &[],
};

const STOPPED: &str = "504 cpu_exhausted";
const WAITED: &str = "504 wall_exhausted";
const EXHAUSTED: &str = "500 resource_exhausted";

/// Whether the head is out by then is a matter of time.
const CUT: &str = "200 cut or 500 trapped or 504 cpu_exhausted";

const CASES: &[Case] = &[
    get("now", "/now", STOPPED),
    get("wall-clock", "/wall", STOPPED),
    get("random", "/random", STOPPED),
    get("random-none", "/random-none", STOPPED),
    get("random-insecure", "/random-insecure", STOPPED),
    get("random-huge", "/random-huge", "500 trapped"),
    get("new-fields", "/new-fields", STOPPED),
    get("fields-entries", "/entries", STOPPED),
    get("path", "/path", STOPPED),
    get("environment", "/environment", STOPPED),
    get("preopens", "/preopens", STOPPED),
    get("sockets", "/sockets", STOPPED),
    get("outgoing", "/outgoing", STOPPED),
    get("stdin", "/stdin", STOPPED),
    get("zero-read", "/zero-read", STOPPED),
    get("zero-read-blocking", "/zero-read-blocking", STOPPED),
    get("skip-zero", "/skip-zero", STOPPED),
    get("read-max", "/read-max", STOPPED),
    get("zero-write", "/zero-write", CUT),
    get("zeroes-none", "/zeroes-none", CUT),
    get("zeroes-huge", "/zeroes-huge", CUT),
    get("check-write", "/check-write", CUT),
    get("flush", "/flush", CUT),
    get("flush-blocking", "/flush-blocking", CUT),
    get("write-unasked", "/write-unasked", CUT),
    get("write-subscribe", "/write-subscribe", CUT),
    get("sleep-0", "/sleep-0", WAITED).with(&[("wall_ms", 300)]),
    get("sleep-1", "/sleep-1", WAITED).with(&[("wall_ms", 300)]),
    get("sleep-past", "/sleep-past", WAITED).with(&[("wall_ms", 300)]),
    get("sleep-for-ever", "/sleep-for-ever", WAITED).with(&[("wall_ms", 300)]),
    get("subscribe", "/subscribe", STOPPED),
    get("poll-none", "/poll-none", "500 trapped"),
    get("poll-list", "/poll-list?n=500", STOPPED),
    get("poll-list-waiting", "/poll-list-waiting?n=500", STOPPED),
    get("poll-list-long", "/poll-list?n=100000", EXHAUSTED),
    get("poll-many", "/poll-many?n=400", STOPPED),
    get("poll-too-many", "/poll-many?n=5000", EXHAUSTED),
];

#[test]
fn hostcalls() {
    arena::run(&THREAT);
}
