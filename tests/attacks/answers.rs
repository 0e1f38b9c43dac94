//! Answers that would hurt the client, or whoever reads its connection next.

use crate::arena::{self, Stage};
use crate::case::{Case, Threat, get, run};
use crate::common::Response;

pub const THREAT: Threat = Threat {
    name: "answers",
    cases: CASES,
    lines: &[],
};

const BAD: &str = "502 bad_response";

const CASES: &[Case] = &[
    get("error", "/error", BAD),
    get("error-text", "/error-text", BAD),
    get(
        "length-too-long",
        "/length?cl=50",
        "502 bad_response or 200 cut",
    ),
    get(
        "length-too-short",
        "/length?cl=1",
        "502 bad_response or 200 cut",
    ),
    get(
        "length-huge",
        "/length?cl=18446744073709551615",
        "502 bad_response or 200 cut",
    ),
    run(
        "length-junk",
        "a content-length of +5, 5, 5 and twice",
        length_junk,
        "200; the field is refused",
    ),
    run(
        "split",
        "CR, LF and NUL in a field's name and value",
        split,
        "200; the field is refused",
    ),
    run(
        "forbidden",
        "hop-by-hop fields",
        forbidden,
        "200; every one is refused",
    ),
    run(
        "forged-reason",
        "the host's own x-skep-* fields",
        forged_reason,
        "200 without them",
    ),
    run(
        "forged-trailers",
        "trailers that are no trailers",
        forged_trailers,
        "200 with the harmless one",
    ),
    run(
        "status",
        "statuses that are none, or that are interim",
        status,
        "502 bad_response, or refused by the host",
    ),
    run(
        "body-where-none-is",
        "a response in the body of HEAD, 204 and 304",
        body_where_none_is,
        "no byte of it",
    ),
];

#[test]
fn answers() {
    arena::run(&THREAT);
}

fn ask(stage: &Stage<'_>, path: &str) -> Response {
    stage.host.get(&stage.authority(), path)
}

fn length_junk(stage: &Stage<'_>) {
    for path in ["/length-junk", "/length-list", "/length-twice"] {
        let response = ask(stage, path).expect(200);
        assert!(
            response.text().starts_with("refused "),
            "{path}: {response:?}"
        );
    }
}

fn split(stage: &Stage<'_>) {
    let paths = [
        "/crlf",
        "/lf",
        "/nul",
        "/crlf-name",
        "/space-name",
        "/empty-name",
    ];
    for path in paths {
        let response = ask(stage, path).expect(200);
        assert!(
            response.text().starts_with("refused "),
            "{path}: {response:?}"
        );
        assert_eq!(response.header("x-injected"), None, "{path}");
    }
}

fn forbidden(stage: &Stage<'_>) {
    assert_eq!(ask(stage, "/forbidden").expect(200).text(), "taken []\n");
}

fn forged_reason(stage: &Stage<'_>) {
    let response = ask(stage, "/forged").expect(200);
    assert_eq!(response.text(), "five\n");
    for name in ["x-skep-fault", "x-skep-reason", "te"] {
        assert_eq!(response.header(name), None, "{response:?}");
    }
}

fn forged_trailers(stage: &Stage<'_>) {
    let response = ask(stage, "/trailers").expect(200);
    assert_eq!(response.trailers, [("x-kept".to_owned(), "yes".to_owned())]);
}

fn status(stage: &Stage<'_>) {
    for code in [0, 1, 99, 1000, 65_535] {
        let response = ask(stage, &format!("/status?code={code}")).expect(200);
        assert_eq!(response.text(), "refused status\n", "{code}");
    }
    for code in [100, 101, 102, 103, 199] {
        stage.check(&ask(stage, &format!("/status?code={code}")), BAD);
    }
    // Odd, but three digits: a client can read it.
    for code in [299, 418, 600, 999] {
        ask(stage, &format!("/status?code={code}")).expect(code);
    }
}

fn body_where_none_is(stage: &Stage<'_>) {
    for (method, code) in [("HEAD", 200), ("GET", 204), ("GET", 304)] {
        let mut client =
            stage.send(stage.head(&format!("{method} /body-of-head?code={code}")) + "\r\n");
        let response = client.read_response_to_head().expect(code);
        // What comes next is the answer to the next request, and nothing else.
        let next = client.get(&stage.authority(), "/");
        assert_eq!(next.expect(200).text(), "ready\n", "{method} {response:?}");
    }
}
