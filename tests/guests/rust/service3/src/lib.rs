//! A WASI 0.3 service: `wasi:http/handler`, with async calls and streams of the component model.
//!
//! ```text
//!   /          Hello from skep              /sleep?ms=N   waits, then answers
//!   /echo      the request's body stream,   /spin         computes for ever
//!              handed on as it is           /trap         executes `unreachable`
//!   /trailers  a body, then trailers        /write?n=BYTES a body in one write
//!   /fetch?url=URL requests it             /upload       reads the body, then answers
//!                                           /clocks       reads the clocks for 5 ms, waits for both timers
//! ```

use wasip3::clocks::{monotonic_clock, system_clock};
use wasip3::exports::http::handler::Guest;
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Request, Response, Scheme, Trailers};
use wasip3::{wit_bindgen, wit_future, wit_stream};

const NS_PER_MS: u64 = 1_000_000;

struct Service;

wasip3::http::service::export!(Service);

impl Guest for Service {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        match path {
            "/" => text(200, "Hello from skep\n", None),
            "/echo" => echo(request),
            "/upload" => upload(request).await,
            "/sleep" => {
                let ms = query
                    .strip_prefix("ms=")
                    .and_then(|ms| ms.parse().ok())
                    .unwrap_or(0);
                monotonic_clock::wait_for(ms * NS_PER_MS).await;
                text(200, &format!("slept {ms} ms\n"), None)
            }
            "/spin" => spin(),
            "/clocks" => clocks().await,
            "/trap" => core::arch::wasm32::unreachable(),
            "/trailers" => {
                let trailers = fields(&[("x-trailer", "the end")])?;
                text(200, "trailers follow\n", Some(trailers))
            }
            "/fetch" => {
                let url = query.strip_prefix("url=").unwrap_or_default();
                match fetch(url).await {
                    Ok(told) => text(200, &told, None),
                    Err(error) => text(200, &format!("error {error:?}\n"), None),
                }
            }
            "/write" => {
                let n = query
                    .strip_prefix("n=")
                    .and_then(|n| n.parse().ok())
                    .unwrap_or(0);
                write(n)
            }
            other => text(404, &format!("no route {other}\n"), None),
        }
    }
}

/// The unit of all times that each clock told, their resolutions, and how often a wait ended too early.
async fn clocks() -> Result<Response, ErrorCode> {
    let end = monotonic_clock::now() + 5 * NS_PER_MS;
    let (mut monotonic, mut wall, mut last) = (0, 0, 0);
    while last < end {
        last = monotonic_clock::now();
        monotonic = gcd(monotonic, last);
        let time = system_clock::now();
        wall = gcd(wall, time.seconds as u64 * 1_000_000_000 + u64::from(time.nanoseconds));
    }
    let (wait, mut early) = (NS_PER_MS + 50_000, 0);
    for _ in 0..5 {
        let end = monotonic_clock::now() + wait;
        monotonic_clock::wait_for(wait).await;
        early += u32::from(monotonic_clock::now() < end);
        let end = monotonic_clock::now() + wait;
        monotonic_clock::wait_until(end).await;
        early += u32::from(monotonic_clock::now() < end);
    }
    let resolutions = (monotonic_clock::get_resolution(), system_clock::get_resolution());
    text(200, &format!("monotonic {monotonic} {}\nwall {wall} {}\nearly {early}\n", resolutions.0, resolutions.1), None)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A response of text, with `content-length` unless trailers follow. The body is written while the host reads it.
fn text(status: u16, text: &str, trailers: Option<Trailers>) -> Result<Response, ErrorCode> {
    let length = text.len().to_string();
    let last = if trailers.is_some() {
        ("trailer", "x-trailer")
    } else {
        ("content-length", length.as_str())
    };
    let headers = fields(&[("content-type", "text/plain"), last])?;
    let (mut body, body_out) = wit_stream::new();
    let (end, end_out) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(headers, Some(body_out), end_out);
    response
        .set_status_code(status)
        .map_err(|()| ErrorCode::InternalError(None))?;
    let bytes = text.as_bytes().to_vec();
    wit_bindgen::spawn_local(async move {
        if body.write_all(bytes).await.is_empty() {
            drop(body);
            let _ = end.write(Ok(trailers)).await;
        }
    });
    Ok(response)
}

/// Requests `http://AUTHORITY/PATH`; tells the status and the body that came.
async fn fetch(url: &str) -> Result<String, ErrorCode> {
    let rest = url.strip_prefix("http://").ok_or(ErrorCode::HttpRequestUriInvalid)?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // The request ends when its trailers are known: none.
    let (end, end_out) = wit_future::new(|| Ok(None));
    drop(end);
    let (request, _sent) = Request::new(fields(&[])?, None, end_out, None);
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    request.set_scheme(Some(&Scheme::Http)).map_err(invalid)?;
    request.set_authority(Some(authority)).map_err(invalid)?;
    request.set_path_with_query(Some(path)).map_err(invalid)?;
    let response = client::send(request).await?;
    let status = response.get_status_code();
    let (_received, received_out) = wit_future::new(|| Ok(()));
    let (body, trailers) = Response::consume_body(response, received_out);
    let body = body.collect().await;
    trailers.await?;
    Ok(format!("status {status}\n{}", String::from_utf8_lossy(&body)))
}

/// Reads the whole body, then says how long it was.
async fn upload(request: Request) -> Result<Response, ErrorCode> {
    let (_received, received_out) = wit_future::new(|| Ok(()));
    let (body, _trailers) = Request::consume_body(request, received_out);
    let bytes = body.collect().await.len();
    text(200, &format!("{bytes} bytes\n"), None)
}

/// A body that is offered to the host in one piece.
fn write(bytes: usize) -> Result<Response, ErrorCode> {
    let (mut body, body_out) = wit_stream::new();
    let (_end, end_out) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(fields(&[])?, Some(body_out), end_out);
    wit_bindgen::spawn_local(async move {
        body.write_all(vec![b'x'; bytes]).await;
    });
    Ok(response)
}

/// The host moves the bytes: the streams of the request become those of the response.
fn echo(request: Request) -> Result<Response, ErrorCode> {
    let repeated: Vec<_> = ["content-type", "trailer"]
        .into_iter()
        .flat_map(|name| {
            request
                .get_headers()
                .get(name)
                .into_iter()
                .map(move |value| (name.to_owned(), value))
        })
        .collect();
    let headers = Fields::from_list(&repeated).map_err(|_| ErrorCode::InternalError(None))?;
    let (_received, received_out) = wit_future::new(|| Ok(()));
    let (body, trailers) = Request::consume_body(request, received_out);
    let (response, _sent) = Response::new(headers, Some(body), trailers);
    Ok(response)
}

fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = core::hint::black_box(turns.wrapping_add(1));
    }
}

fn fields(list: &[(&str, &str)]) -> Result<Fields, ErrorCode> {
    let list: Vec<_> = list
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .collect();
    Fields::from_list(&list).map_err(|_| ErrorCode::InternalError(None))
}
