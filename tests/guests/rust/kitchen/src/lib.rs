//! One guest with a route for every behaviour that the host's tests need: well-behaved, slow, greedy, broken.
//!
//! ```text
//!   /headers                    the request, as text lines            /spin          computes for ever
//!   /stream?n=BYTES&chunk=BYTES a body without content-length         /spin?ms=N     computes for N ms
//!   /download?n=BYTES           a body with content-length            /alloc?mib=N   allocates and touches N MiB
//!   /upload                     reads the body: count and FNV-1a      /trap          executes `unreachable`
//!   /early                      answers, the body unread              /panic         panics
//!   /trailers                   a body, then trailers                 /recurse       recurses for ever
//!   /short?cl=N&n=M             says N bytes, sends M                 /handles?n=N   makes N header resources
//!   /status?code=N              that status                           /exit?code=N   exits the process
//!   /bigheader?n=BYTES          one header of that size               /noresponse    returns without an answer
//!   /twice                      how many requests this instance saw   /late-trap     sends 1000 bytes, then traps
//!   /env  /random  /clock  /fs  what WASI gives                       /sleep?ms=N    waits, then answers
//!   /log?n=LINES&len=BYTES      lines on stdout and stderr            /hold?ms=N     answers, then waits
//!   /fetch?url=URL              requests the URL; tells what came     /pingpong?us=N computes N µs and gives way, for ever or `times`
//!                                                                    /ticks?ms=N    reads the clocks for N ms
//!   /naps?us=N&n=COUNT          waits so often, by both kinds of timer: how often it woke too early
//! ```
//!
//! Bodies of `/stream` and `/download` are a pattern: the byte at offset `i` is `i % 251`.

mod fetch;
mod reply;
mod request;
mod routes;
mod time;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

use request::Target;

struct Kitchen;

wasip2::http::proxy::export!(Kitchen);

impl Guest for Kitchen {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = Target::of(&request);
        match target.path() {
            "/headers" => routes::headers(&request, out),
            "/stream" => routes::stream(&target, out),
            "/download" => routes::download(&target, out),
            "/upload" => routes::upload(&request, out),
            "/early" => routes::early(request, out),
            "/trailers" => routes::trailers(out),
            "/short" => routes::short(&target, out),
            "/status" => routes::status(&target, out),
            "/bigheader" => routes::big_header(&target, out),
            "/twice" => routes::twice(out),
            "/ticks" => time::ticks(&target, out),
            "/naps" => time::naps(&target, out),
            "/env" => routes::env(out),
            "/random" => routes::random(out),
            "/clock" => routes::clock(out),
            "/fs" => routes::fs(out),
            "/log" => routes::log(&target, out),
            "/fetch" => fetch::fetch(&target, out),
            "/spin" => routes::spin(&target, out),
            "/pingpong" => routes::ping_pong(&target, out),
            "/alloc" => routes::alloc(&target, out),
            "/handles" => routes::handles(&target, out),
            "/sleep" => routes::sleep(&target, out),
            "/hold" => routes::hold(&target, out),
            "/trap" => core::arch::wasm32::unreachable(),
            "/panic" => panic!("the guest was asked to panic"),
            "/recurse" => routes::recurse(out),
            "/exit" => std::process::exit(target.number("code", 1) as i32),
            "/noresponse" => drop(out),
            "/late-trap" => routes::late_trap(out),
            other => reply::text(out, 404, &format!("no route {other}\n")),
        }
    }
}
