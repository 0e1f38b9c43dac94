//! Greets as the app's configuration says.

use anyhow::Result;
use fastedge::body::Body;
use fastedge::dictionary;
use fastedge::http::{Method, Request, Response, StatusCode};

#[fastedge::http]
fn main(request: Request<Body>) -> Result<Response<Body>> {
    let response = Response::builder();
    if request.method() != Method::GET {
        return Ok(response
            .status(StatusCode::METHOD_NOT_ALLOWED)
            .header("allow", "GET")
            .body(Body::empty())?);
    }
    // An app variable of FastEdge: `config` of a tenant here.
    let greeting = dictionary::get("GREETING").unwrap_or_else(|| "hello".to_owned());
    println!("greeting {}", request.uri());
    Ok(response
        .header("content-type", "text/plain")
        .body(Body::from(format!("{greeting} from skep-template\n")))?)
}
