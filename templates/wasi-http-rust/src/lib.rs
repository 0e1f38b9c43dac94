//! Greets, and sends bodies back as they come.

use std::env;

use anyhow::Result;
use wstd::http::{Body, Method, Request, Response, StatusCode};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => Ok(text(StatusCode::OK, greeting())),
        // The body is passed on while it still arrives: memory stays the same, whatever its size.
        (&Method::POST, "/echo") => Ok(Response::new(request.into_body())),
        (_, "/" | "/echo") => Ok(text(StatusCode::METHOD_NOT_ALLOWED, "no such method\n")),
        _ => Ok(text(StatusCode::NOT_FOUND, "nothing here\n")),
    }
}

fn greeting() -> String {
    let greeting = env::var("GREETING").unwrap_or_else(|_| "Hello".to_owned());
    format!("{greeting} from skep-template\n")
}

fn text(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(text.into().into());
    *response.status_mut() = status;
    response
}
