//! An app for FastEdge as a component: `wasi:http` served with `wstd`, and FastEdge's services beside it.
//!
//! ```text
//!   /                  Hello from skep
//!   /echo              sends the body back as it comes
//!   /headers           the headers, sorted, a line each
//!   /fetch?url=U       requests the URL and sends its body on as it comes, with its status
//!   /error             the handler returns an error
//!   /panic             panics
//! ```
//!
//! Those of the services are in `services/src/lib.rs`.

use anyhow::{bail, Result};
use services::Query;
use wstd::http::{Body, Client, Request, Response};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>> {
    let uri = request.uri().clone();
    let query = Query::of(uri.query());
    if let Some(text) = services::answer(uri.path(), &query)? {
        return Ok(Response::new(text.into()));
    }
    match uri.path() {
        "/" => Ok(Response::new("Hello from skep\n".to_owned().into())),
        "/echo" => Ok(Response::new(request.into_body())),
        "/headers" => Ok(Response::new(headers(&request).into())),
        "/fetch" => {
            let request = Request::get(query.need("url")?).body(Body::empty())?;
            let (head, body) = Client::new().send(request).await?.into_parts();
            Ok(Response::builder().status(head.status).body(body)?)
        }
        "/error" => bail!("the guest was asked to fail"),
        "/panic" => panic!("the guest was asked to panic"),
        other => bail!("no route {other}"),
    }
}

fn headers(request: &Request<Body>) -> String {
    let mut lines: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    lines.sort();
    lines.concat()
}
