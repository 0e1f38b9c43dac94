//! `/fetch`: outgoing requests.

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingBody,
    OutgoingRequest, RequestOptions, ResponseOutparam, Scheme,
};

use crate::reply;
use crate::request::{self, Target};

/// How much of the origin's body is repeated.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Answers `status N`, the length and the body that came, or `error NAME`, the name as WIT spells it in lower case.
///
/// With `n=COUNT` it requests so often, one after the other, and tells what came of the last; with `at_once=COUNT` all
/// are under way before it looks at the first. `send=BYTES` posts a body of the pattern; `connect_ms`, `first_byte_ms`
/// and `between_bytes_ms` are the request's options.
pub fn fetch(target: &Target, out: ResponseOutparam) {
    let url = decoded(target.value("url").unwrap_or_default());
    let at_once = target.number("at_once", 0);
    let text = match at_once {
        0 => {
            let last = target.number("n", 1).max(1) - 1;
            (0..last).for_each(|_| drop(exchange(&url, target)));
            exchange(&url, target)
        }
        count => {
            let sent: Vec<_> = (0..count).map(|_| send(&url, target)).collect();
            let all: Vec<_> = sent.into_iter().map(|sent| answer(sent?)).collect();
            let failed = all.iter().filter_map(|one| one.as_ref().err()).next();
            failed.map_or_else(
                || Ok(format!("all {}\n", all.len())),
                |error| Err(error.clone()),
            )
        }
    };
    match text {
        Ok(text) => reply::text(out, 200, &text),
        Err(error) => reply::text(out, 200, &format!("error {}\n", name(&error))),
    }
}

fn exchange(url: &str, target: &Target) -> Result<String, ErrorCode> {
    Ok(told(&answer(send(url, target)?)?))
}

/// Waits for the head of an answer.
fn answer(response: FutureIncomingResponse) -> Result<IncomingResponse, ErrorCode> {
    response.subscribe().block();
    response
        .get()
        .expect("a response that is ready")
        .expect("the first taking of a response")
}

fn send(url: &str, target: &Target) -> Result<FutureIncomingResponse, ErrorCode> {
    let (scheme, rest) = url
        .split_once("://")
        .ok_or(ErrorCode::HttpRequestUriInvalid)?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&scheme)).map_err(invalid)?;
    request.set_authority(Some(authority)).map_err(invalid)?;
    request
        .set_path_with_query(Some(if path.is_empty() { "/" } else { path }))
        .map_err(invalid)?;
    let bytes = target.number("send", 0);
    if bytes > 0 {
        request.set_method(&Method::Post).map_err(invalid)?;
    }
    let body = request.body().map_err(invalid)?;
    let response = outgoing_handler::handle(request, options(target))?;
    match bytes {
        0 => OutgoingBody::finish(body, None)?,
        bytes => reply::pattern(body, bytes, 64 * 1024),
    }
    Ok(response)
}

fn options(target: &Target) -> Option<RequestOptions> {
    const NS_PER_MS: u64 = 1_000_000;
    let options = RequestOptions::new();
    let duration = |name| Some(target.value(name)?.parse::<u64>().ok()? * NS_PER_MS);
    let set = [
        duration("connect_ms").map(|it| options.set_connect_timeout(Some(it))),
        duration("first_byte_ms").map(|it| options.set_first_byte_timeout(Some(it))),
        duration("between_bytes_ms").map(|it| options.set_between_bytes_timeout(Some(it))),
    ];
    set.iter().any(Option::is_some).then_some(options)
}

fn told(response: &IncomingResponse) -> String {
    let body = response
        .consume()
        .expect("the first use of a response's body");
    let (mut bytes, mut kept) = (0, Vec::new());
    let whole = request::read_all(&body, |piece| {
        bytes += piece.len();
        kept.extend_from_slice(&piece[..piece.len().min(BODY_BYTES_MAX - kept.len())]);
    });
    let end = if whole { "" } else { " cut short" };
    format!(
        "status {}\nbytes {bytes}{end}\n{}",
        response.status(),
        String::from_utf8_lossy(&kept)
    )
}

/// `ErrorCode::DnsError(DnsErrorPayload { … })` becomes `dns-error`.
fn name(error: &ErrorCode) -> String {
    let shown = format!("{error:?}");
    let shown = shown.trim_start_matches("ErrorCode::");
    let mut name = String::new();
    for letter in shown.chars().take_while(char::is_ascii_alphanumeric) {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// Undoes percent-encoding; what is not one stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let pair = after
            .get(..2)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
