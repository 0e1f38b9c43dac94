//! An app for FastEdge's own HTTP interface (`gcore:fastedge/http-handler`), a core module: a path for everything that its
//! host gives and everything that can go wrong.
//!
//! ```text
//!   /                  Hello from skep
//!   /echo              method, uri, the headers sorted, the body's length; then the body itself
//!   /headers           the headers, sorted, a line each
//!   /none              neither headers nor body
//!   /fetch?url=U       requests the URL: status, number of headers, the body's length; then the body
//!   /post?url=U        the same, with the request's body and its content-type, by POST
//!   /status?code=N     that status                  /big?bytes=N    a body of N bytes: the one at offset i is i % 251
//!   /error             the handler returns an error /panic          panics
//!   /exit?code=N       exits the process            /spin           computes for ever
//!   /alloc?mib=N       allocates and touches up to N MiB, until refused: how many it got
//!   /oom?mib=N         the same, but a refusal ends it
//! ```
//!
//! Those of the services are in `services/src/lib.rs`.

mod routes;

use anyhow::{bail, Result};
use fastedge::body::Body;
use fastedge::http::{Method, Request, Response};
use services::Query;

#[fastedge::http]
fn main(request: Request<Body>) -> Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let query = Query::of(head.uri.query());
    let path = head.uri.path();
    if let Some(text) = services::answer(path, &query)? {
        return routes::text(text);
    }
    match path {
        "/" => routes::text("Hello from skep\n"),
        "/echo" => routes::echo(&head, &body),
        "/headers" => routes::text(routes::lines(&head.headers)),
        "/none" => Ok(Response::new(Body::empty())),
        "/fetch" => routes::fetch(Request::builder().uri(query.need("url")?).body(body)?),
        "/post" => {
            let request = Request::builder()
                .method(Method::POST)
                .uri(query.need("url")?);
            let content_type = head.headers.get("content-type");
            routes::fetch(
                content_type
                    .into_iter()
                    .fold(request, |request, value| {
                        request.header("content-type", value)
                    })
                    .body(body)?,
            )
        }
        "/status" => routes::status(query.need_number("code")?),
        "/big" => routes::big(query.need_number("bytes")?),
        "/error" => bail!("the guest was asked to fail"),
        "/panic" => panic!("the guest was asked to panic"),
        "/exit" => std::process::exit(query.need_number("code")?),
        "/spin" => routes::spin(),
        "/alloc" => routes::alloc(query.need_number("mib")?),
        "/oom" => routes::oom(query.need_number("mib")?),
        other => bail!("no route {other}"),
    }
}
