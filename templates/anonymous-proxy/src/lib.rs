//! Fetches the URL of the parameter `url` without telling who asked: of the client's request only the body goes on.
//! Answers how long the fetched body is, and of what type.

use anyhow::{anyhow, Error, Result};
use fastedge::body::Body;
use fastedge::http::{Method, Request, Response, StatusCode};

#[fastedge::http]
fn main(request: Request<Body>) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let url = match parts.uri.query().map(url) {
        Some(Ok(url)) => url,
        Some(Err(error)) => return answer(StatusCode::BAD_REQUEST, format!("{error}\n")),
        None => return answer(StatusCode::BAD_REQUEST, "missing uri query parameter\n"),
    };
    println!("url = {url:?}");
    let Ok(request) = Request::builder().uri(url).method(Method::GET).body(body) else {
        return answer(StatusCode::BAD_REQUEST, "the parameter url is no URL\n");
    };
    match fastedge::send_request(request) {
        Ok(response) => {
            let content_type = response.headers().get("Content-Type");
            let length = response.body().len();
            answer(
                StatusCode::OK,
                format!("len = {length}, content-type = {content_type:?}\n"),
            )
        }
        Err(error) => answer(StatusCode::BAD_GATEWAY, format!("{error}\n")),
    }
}

/// The parameter `url` of a query.
fn url(query: &str) -> Result<String> {
    let parameters = querystring::querify(query);
    let found = parameters.iter().find(|(name, _)| *name == "url");
    let (_, value) = found.ok_or_else(|| anyhow!("missing url parameter"))?;
    Ok(urlencoding::decode(value)?.into_owned())
}

fn answer(status: StatusCode, text: impl Into<String>) -> Result<Response<Body>> {
    let response = Response::builder().status(status);
    response.body(Body::from(text.into())).map_err(Error::msg)
}
