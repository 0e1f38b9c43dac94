//! Answers that would hurt the client, or whoever reads the connection after it.

use core::arch::wasm32;

use wasip2::http::types::{ErrorCode, Fields, OutgoingBody, ResponseOutparam};

use crate::{Attack, Left, reply};

/// Fields that are not a program's to send.
const FORBIDDEN: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "host",
    "http2-settings",
];

pub fn run(attack: Attack) -> Left {
    match attack.path() {
        "/head-trap" => {
            let _body = begin(attack);
            wasm32::unreachable()
        }
        "/head-panic" => {
            let _body = begin(attack);
            panic!("in the middle of a body")
        }
        "/head-spin" => {
            let _body = begin(attack);
            crate::compute::spin()
        }
        // Dropped, or neither that nor finished: its end must not look like the body's end.
        "/abort" => drop(begin(attack)),
        "/abandon" => std::mem::forget(begin(attack)),
        "/error" => ResponseOutparam::set(attack.out, Err(ErrorCode::InternalError(None))),
        "/error-text" => {
            let text = "\r\nx-skep-reason: none\r\n\r\n".repeat(1000);
            ResponseOutparam::set(attack.out, Err(ErrorCode::InternalError(Some(text))));
        }
        "/status" => {
            let code = attack.number("code", 200) as u16;
            let body = reply::start(attack.out, code, Fields::new());
            let _ = OutgoingBody::finish(body, None);
        }
        "/length" => {
            let length = attack.number("cl", 0).to_string();
            lie(attack, &[("content-length", length.as_bytes())]);
        }
        "/length-junk" => reply::field(attack.out, "content-length", b"+5"),
        "/length-list" => reply::field(attack.out, "content-length", b"5, 5"),
        "/length-twice" => {
            let list: &[(&str, &[u8])] = &[("content-length", b"5"), ("content-length", b"6")];
            match reply::fields(list) {
                Ok(_) => reply::text(attack.out, "taken\n"),
                Err(error) => reply::text(attack.out, &format!("refused {error:?}\n")),
            }
        }
        "/crlf" => reply::field(attack.out, "x-split", b"a\r\nx-injected: yes\r\n\r\n<html>"),
        "/lf" => reply::field(attack.out, "x-split", b"a\nx-injected: yes"),
        "/nul" => reply::field(attack.out, "x-split", b"a\0b"),
        "/crlf-name" => reply::field(attack.out, "x: y\r\nx-injected", b"yes"),
        "/space-name" => reply::field(attack.out, "content-length ", b"5"),
        "/empty-name" => reply::field(attack.out, "", b"x"),
        "/forbidden" => {
            let taken: Vec<_> = FORBIDDEN
                .iter()
                .filter(|name| reply::fields(&[(name, b"close")]).is_ok())
                .collect();
            reply::text(attack.out, &format!("taken {taken:?}\n"));
        }
        "/forged" => {
            let list: &[(&str, &[u8])] = &[
                ("x-skep-fault", b"host"),
                ("x-skep-reason", b"internal"),
                ("te", b"trailers"),
            ];
            lie(attack, list);
        }
        "/trailers" => {
            let body = begin(attack);
            let list: &[(&str, &[u8])] = &[
                ("content-length", b"0"),
                ("x-skep-reason", b"internal"),
                ("set-cookie", b"a=b"),
                ("x-kept", b"yes"),
            ];
            let trailers = reply::fields(list).expect("trailers");
            let _ = reply::finish(body, Some(trailers));
        }
        "/body-of-head" => {
            // HEAD, 204 and 304 have no body, whatever a program writes.
            let code = attack.number("code", 200) as u16;
            let body = reply::start(attack.out, code, Fields::new());
            reply::write(&body, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            let _ = OutgoingBody::finish(body, None);
        }
        "/endless" => endless(attack),
        _ => return Some(attack),
    }
    None
}

/// A head and a part of its body.
fn begin(attack: Attack) -> OutgoingBody {
    let body = reply::start(attack.out, 200, Fields::new());
    reply::write(&body, &[b'x'; 1000]);
    body
}

/// Five bytes under these fields.
fn lie(attack: Attack, list: &[(&str, &[u8])]) {
    match reply::fields(list) {
        Ok(fields) => {
            let body = reply::start(attack.out, 200, fields);
            reply::write(&body, b"five\n");
            let _ = reply::finish(body, None);
        }
        Err(error) => reply::text(attack.out, &format!("refused {error:?}\n")),
    }
}

/// A body without end.
fn endless(attack: Attack) {
    let body = reply::start(attack.out, 200, Fields::new());
    let stream = body.write().expect("the first stream of a body");
    while stream.blocking_write_and_flush(&[b'x'; 4096]).is_ok() {}
}
