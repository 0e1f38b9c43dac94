//! The front's look at a head that stays in the socket: it says the same as the whole parser.

use bytes::BytesMut;
use skep::http::{HeadLimits, Parsed, Peek, parse_request, peek_host, routing_key};

const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: 1024,
    target_bytes_max: 300,
    headers_max: 20,
    body_bytes_max: 2048,
};

pub fn run(data: &[u8]) {
    let data = &data[..data.len().min(4096)];
    for end in [data.len(), data.len() / 2, data.len().saturating_sub(1)] {
        check(&data[..end]);
    }
}

fn check(bytes: &[u8]) {
    let mut buf = BytesMut::from(bytes);
    let parsed = parse_request(&mut buf, &LIMITS);
    match (parsed, peek_host(bytes, &LIMITS)) {
        (Ok(Parsed::Partial), Ok(Peek::Partial)) => assert_eq!(buf, bytes),
        (Ok(Parsed::Complete(head)), Ok(Peek::Host(host))) => {
            assert_eq!(head.host, host);
            assert_eq!([&head.raw[..], &buf[..]].concat(), bytes);
            // A host is looked up as it is: lower case, no port.
            let again = routing_key(&host);
            assert!(
                host.is_empty() || again.is_ok_and(|again| again == host),
                "{host}"
            );
        }
        (Err(parsed), Err(peeked)) => assert_eq!(parsed, peeked),
        (parsed, peeked) => panic!("{parsed:?} but {peeked:?}"),
    }
}
