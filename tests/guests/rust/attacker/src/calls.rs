//! Calls the host without end, in the ways that cost it most or tell it least.

use std::hint::black_box;

use wasip2::cli::{environment, stdin};
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::filesystem::preopens;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingRequest};
use wasip2::io::poll::{self, Pollable};
use wasip2::io::streams::{InputStream, OutputStream};
use wasip2::random::{insecure, random};
use wasip2::sockets::network::IpAddressFamily;
use wasip2::sockets::{instance_network, ip_name_lookup, tcp_create_socket, udp_create_socket};

use crate::{Attack, Left, reply};

const AN_HOUR_NS: u64 = 3_600_000_000_000;

pub fn run(attack: Attack) -> Left {
    match attack.path() {
        "/now" => for_ever(monotonic_clock::now),
        "/wall" => for_ever(wall_clock::now),
        "/random" => for_ever(|| random::get_random_bytes(64 << 10)),
        "/random-none" => for_ever(|| random::get_random_bytes(0)),
        "/random-insecure" => for_ever(|| insecure::get_insecure_random_bytes(64 << 10)),
        "/random-huge" => drop(random::get_random_bytes(attack.number("n", u64::MAX))),
        "/new-fields" => for_ever(Fields::new),
        "/entries" => {
            let value = vec![b'x'; 60_000];
            let fields = reply::fields(&[("x-big", &value)]).expect("fields of 60,000 bytes");
            for_ever(|| fields.entries());
        }
        "/path" => for_ever(|| attack.request.path_with_query()),
        "/environment" => for_ever(environment::get_environment),
        "/preopens" => for_ever(preopens::get_directories),
        "/sockets" => sockets(),
        "/outgoing" => for_ever(|| {
            let request = OutgoingRequest::new(Fields::new());
            let _ = request.set_authority(Some("169.254.169.254"));
            outgoing_handler::handle(request, None).is_err()
        }),
        "/stdin" => {
            let stream = stdin::get_stdin();
            for_ever(|| stream.blocking_read(1 << 20).is_err());
        }
        "/read-all" => read_all(attack),
        "/zero-read" => body_of(&attack.request, |stream| stream.read(0).is_ok()),
        "/zero-read-blocking" => body_of(&attack.request, |stream| stream.blocking_read(0).is_ok()),
        "/skip-zero" => body_of(&attack.request, |stream| stream.skip(0).is_ok()),
        "/read-max" => body_of(&attack.request, |stream| stream.read(u64::MAX).is_ok()),
        "/zero-write" => response(attack, |stream| stream.write(&[]).is_ok()),
        "/zeroes-none" => response(attack, |stream| stream.write_zeroes(0).is_ok()),
        "/zeroes-huge" => response(attack, |stream| stream.write_zeroes(u64::MAX).is_ok()),
        "/check-write" => response(attack, |stream| stream.check_write().is_ok()),
        "/flush" => response(attack, |stream| stream.flush().is_ok()),
        "/flush-blocking" => response(attack, |stream| stream.blocking_flush().is_ok()),
        "/write-unasked" => response(attack, |stream| stream.write(&vec![b'x'; 1 << 20]).is_ok()),
        "/write-subscribe" => response(attack, |stream| drop(stream.subscribe())),
        "/sleep" => {
            monotonic_clock::subscribe_duration(attack.number("ms", 0) * 1_000_000).block();
            reply::text(attack.out, "slept\n");
        }
        "/hold" => {
            let hold = monotonic_clock::subscribe_duration(attack.number("ms", 0) * 1_000_000);
            reply::text(attack.out, "held\n");
            hold.block();
        }
        "/sleep-0" => for_ever(|| monotonic_clock::subscribe_duration(0).block()),
        "/sleep-1" => for_ever(|| monotonic_clock::subscribe_duration(1).block()),
        "/sleep-past" => for_ever(|| monotonic_clock::subscribe_instant(0).block()),
        "/sleep-for-ever" => monotonic_clock::subscribe_duration(u64::MAX).block(),
        "/subscribe" => for_ever(|| monotonic_clock::subscribe_duration(AN_HOUR_NS)),
        "/poll-none" => drop(poll::poll(&[])),
        "/poll-list" => poll_list(attack.number("n", 100_000) as usize, 0),
        "/poll-list-waiting" => poll_list(attack.number("n", 100_000) as usize, 1_000_000),
        "/poll-many" => poll_many(attack.number("n", 900)),
        _ => return Some(attack),
    }
    None
}

fn for_ever<T>(call: impl Fn() -> T) {
    loop {
        black_box(call());
    }
}

fn body_of(request: &IncomingRequest, call: impl Fn(&InputStream) -> bool) {
    let body = request.consume().expect("the first use of a body");
    let stream = body.stream().expect("the first stream of a body");
    for_ever(|| call(&stream));
}

/// Reads the body to its end, then answers.
fn read_all(attack: Attack) {
    let body = attack.request.consume().expect("the first use of a body");
    let stream = body.stream().expect("the first stream of a body");
    while stream.blocking_read(64 << 10).is_ok() {}
    reply::text(attack.out, "read\n");
}

fn response<T>(attack: Attack, call: impl Fn(&OutputStream) -> T) {
    let body = reply::start(attack.out, 200, Fields::new());
    let stream = body.write().expect("the first stream of a body");
    for_ever(|| call(&stream));
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

/// Tries every way to a socket.
fn sockets() {
    for_ever(|| {
        for family in [IpAddressFamily::Ipv4, IpAddressFamily::Ipv6] {
            let tcp = tcp_create_socket::create_tcp_socket(family);
            assert!(tcp.is_err(), "a TCP socket");
            let udp = udp_create_socket::create_udp_socket(family);
            assert!(udp.is_err(), "a UDP socket");
        }
        let network = instance_network::instance_network();
        let names = ip_name_lookup::resolve_addresses(&network, "localhost");
        assert!(names.is_err(), "a name");
    });
}

/// The same pollable many times in one list, again and again.
fn poll_list(length: usize, wait_ns: u64) {
    for_ever(|| {
        let one = monotonic_clock::subscribe_duration(wait_ns);
        let list: Vec<&Pollable> = vec![&one; length];
        poll::poll(&list)
    });
}

/// As many timers as there may be, again and again.
fn poll_many(count: u64) {
    for_ever(|| {
        let all: Vec<_> = (1..=count)
            .map(|ms| monotonic_clock::subscribe_duration(ms * 1_000))
            .collect();
        let list: Vec<&Pollable> = all.iter().collect();
        poll::poll(&list)
    });
}
