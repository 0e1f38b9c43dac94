//! Does what security advisories of WASI hosts were about, and answers with what came of it, a line each.
//!
//! ```text
//!   /flood?kind=KIND&n=N     holds N resources of a kind            /room       how much each stream takes at once
//!   /fields?n=N              N names in one fields resource         /paths      which request targets may be set
//!   /random?n=BYTES          random bytes of one call               /timeouts   a request with every timeout zero
//!   /forbidden               which fields may be sent, as headers   /udp        a datagram socket: made, bound, connected
//!                            and as trailers                        /fs         how many directories there are
//!   /lengths                 two content-lengths                    /poll?n=N   waits for N timers at once, for ever
//! ```

use std::fmt::Write as _;

use wasip2::clocks::monotonic_clock;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::filesystem::preopens;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingRequest, OutgoingResponse, RequestOptions,
    ResponseOutparam, Scheme,
};
use wasip2::io::poll;
use wasip2::random::random;
use wasip2::sockets::network::{IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
use wasip2::sockets::{instance_network, tcp_create_socket, udp_create_socket};

struct Advisory;

wasip2::http::proxy::export!(Advisory);

impl Guest for Advisory {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let value = |name: &str| {
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value)
        };
        let n = value("n").and_then(|n| n.parse().ok()).unwrap_or(1);
        match path {
            "/room" => room(out),
            "/forbidden" => forbidden(value("name").unwrap_or_default(), out),
            _ => answer(
                out,
                &match path {
                    "/flood" => flood(value("kind").unwrap_or_default(), n),
                    "/fields" => fields(n),
                    "/random" => format!("bytes {}\n", random::get_random_bytes(n).len()),
                    "/lengths" => lengths(),
                    "/paths" => paths(),
                    "/timeouts" => timeouts(),
                    "/udp" => udp(),
                    "/fs" => format!("preopens {}\n", preopens::get_directories().len()),
                    "/poll" => wait(n),
                    other => format!("no route {other}\n"),
                },
            ),
        }
    }
}

fn answer(out: ResponseOutparam, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("the first body of a response");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("the first stream of a body");
    for piece in text.as_bytes().chunks(4096) {
        if stream.blocking_write_and_flush(piece).is_err() {
            return;
        }
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

fn hold<T>(n: u64, mut make: impl FnMut() -> T) -> usize {
    let held: Vec<T> = (0..n).map(|_| make()).collect();
    held.len()
}

/// What a guest can make without anybody's leave.
fn flood(kind: &str, n: u64) -> String {
    let held = match kind {
        "fields" => hold(n, Fields::new),
        "requests" => hold(n, || OutgoingRequest::new(Fields::new())),
        "responses" => hold(n, || OutgoingResponse::new(Fields::new())),
        "options" => hold(n, RequestOptions::new),
        "timers" => hold(n, || monotonic_clock::subscribe_duration(u64::MAX)),
        "outputs" => hold(n, wasip2::cli::stdout::get_stdout),
        "inputs" => hold(n, wasip2::cli::stdin::get_stdin),
        "networks" => hold(n, instance_network::instance_network),
        "tcp" => hold(n, || {
            tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4)
        }),
        "udp" => hold(n, || {
            udp_create_socket::create_udp_socket(IpAddressFamily::Ipv4)
        }),
        other => return format!("no kind {other}\n"),
    };
    format!("held {held}\n")
}

fn fields(n: u64) -> String {
    let fields = Fields::new();
    for count in 0..n {
        if let Err(error) = fields.append(&format!("x-{count}"), b"") {
            return format!("{count} fields, then {error:?}\n");
        }
    }
    format!("{n} fields\n")
}

/// Answers with trailers of that name; where they are refused, with the header `refused`.
fn forbidden(name: &str, out: ResponseOutparam) {
    let list = [(name.to_owned(), b"1".to_vec())];
    let as_header = match Fields::from_list(&list) {
        Ok(_) => "set",
        Err(_) => "refused",
    };
    let late = Fields::new();
    let as_trailer = match late.append(&list[0].0, &list[0].1) {
        Ok(()) => "set",
        Err(_) => "refused",
    };
    let told = [
        ("header".to_owned(), as_header.into()),
        ("trailer".to_owned(), b"x".to_vec()),
        ("appended".to_owned(), as_trailer.into()),
    ];
    let response = OutgoingResponse::new(Fields::from_list(&told).expect("plain fields"));
    let body = response.body().expect("the first body of a response");
    ResponseOutparam::set(out, Ok(response));
    let _ = OutgoingBody::finish(body, Some(late));
}

fn lengths() -> String {
    let twice = ["content-length"; 2].map(|name| (name.to_owned(), b"1".to_vec()));
    let list = Fields::from_list(&twice).is_ok();
    let fields = Fields::new();
    let first = fields.append("content-length", b"1").is_ok();
    let second = fields.append("content-length", b"2").is_ok();
    let set = Fields::new()
        .set("content-length", &[b"1".to_vec(), b"2".to_vec()])
        .is_ok();
    format!("list {list}\nappended {first} {second}\nset {set}\n")
}

fn paths() -> String {
    let mut text = String::new();
    for path in [
        "/ok?q",
        "http://evil.test/",
        "//evil.test/",
        "evil.test/",
        "@evil.test",
        "*",
        "/a b",
        "/a\r\nhost: evil.test",
        "/ HTTP/1.1\r\n\r\nGET /",
        "",
    ] {
        let request = OutgoingRequest::new(Fields::new());
        let _ = request.set_scheme(Some(&Scheme::Http));
        let _ = request.set_authority(Some("good.test"));
        let set = request.set_path_with_query(Some(path));
        let sent = set.is_ok().then(|| outgoing_handler::handle(request, None));
        let _ = match sent {
            None => writeln!(text, "refused {path:?}"),
            Some(Err(error)) => writeln!(text, "{error:?} {path:?}"),
            Some(Ok(_)) => writeln!(text, "SENT {path:?}"),
        };
    }
    text
}

fn timeouts() -> String {
    let options = RequestOptions::new();
    let set = [
        options.set_connect_timeout(Some(0)).is_ok(),
        options.set_first_byte_timeout(Some(0)).is_ok(),
        options.set_between_bytes_timeout(Some(0)).is_ok(),
    ];
    let request = OutgoingRequest::new(Fields::new());
    let _ = request.set_authority(Some("good.test"));
    match outgoing_handler::handle(request, Some(options)) {
        Ok(response) => {
            response.subscribe().block();
            format!("{set:?} sent\n")
        }
        Err(error) => format!("{set:?} {error:?}\n"),
    }
}

fn udp() -> String {
    let network = instance_network::instance_network();
    let any = IpSocketAddress::Ipv4(Ipv4SocketAddress {
        port: 9,
        address: (127, 0, 0, 1),
    });
    let udp = match udp_create_socket::create_udp_socket(IpAddressFamily::Ipv4) {
        Err(error) => format!("{error:?}"),
        Ok(socket) => {
            let bound = socket
                .start_bind(&network, any)
                .and_then(|()| socket.finish_bind());
            let connected = socket.stream(Some(any)).map(|_| ());
            format!("bind {bound:?} connect {connected:?}")
        }
    };
    let tcp = match tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4) {
        Err(error) => format!("{error:?}"),
        Ok(socket) => {
            let connected = socket.start_connect(&network, any).and_then(|()| {
                socket.subscribe().block();
                socket.finish_connect().map(|_| ())
            });
            format!("connect {connected:?}")
        }
    };
    format!("udp {udp}\ntcp {tcp}\n")
}

/// How many bytes each output takes at once, by what it says and by what it does.
fn room(out: ResponseOutparam) {
    let mut text = String::new();
    let (stdout, stderr) = (
        wasip2::cli::stdout::get_stdout(),
        wasip2::cli::stderr::get_stderr(),
    );
    for (name, stream) in [("stdout", &stdout), ("stderr", &stderr)] {
        let _ = writeln!(text, "{name} {}", stream.check_write().unwrap_or(0));
    }
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("the first body of a response");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("the first stream of a body");
    let _ = writeln!(text, "body {}", stream.check_write().unwrap_or(0));
    let _ = stream.blocking_write_and_flush(text.as_bytes());
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

fn wait(n: u64) -> String {
    let timers: Vec<_> = (0..n)
        .map(|_| monotonic_clock::subscribe_duration(u64::MAX))
        .collect();
    let all: Vec<_> = timers.iter().collect();
    format!("ready {}\n", poll::poll(&all).len())
}
