//! Takes uploads from those who know the token, and puts them into an S3 bucket as they come.
//!
//! ```text
//!   PUT /a/cat.jpg                      PUT /uploads/a/cat.jpg?X-Amz-Signature=…
//!   authorization: Bearer TOKEN   ──►   (no token)                               ──►  S3
//!   body  ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─►    body  ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─►
//! ```

mod bucket;

use anyhow::Result;
use bucket::Bucket;
use fastedge::secret;
use subtle::ConstantTimeEq;
use wstd::http::{Body, Client, Method, Request, Response, StatusCode};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>> {
    if request.method() != Method::PUT {
        return text(StatusCode::METHOD_NOT_ALLOWED, "PUT a file\n");
    }
    if !knows_token(&request)? {
        return text(
            StatusCode::UNAUTHORIZED,
            "authorization: Bearer TOKEN is right\n",
        );
    }
    let key = request.uri().path().trim_start_matches('/').to_owned();
    if !is_key(&key) {
        return text(
            StatusCode::BAD_REQUEST,
            "letters, digits, - _ . and / make a name\n",
        );
    }
    if !request.headers().contains_key("content-length") {
        return text(StatusCode::LENGTH_REQUIRED, "S3 wants to know the length\n");
    }
    let put = Bucket::from_env()?.put(&key, request)?;
    // The body has not been read: it passes through while S3 takes it.
    let stored = Client::new().send(put).await?;
    if stored.status() != StatusCode::OK {
        eprintln!("{key}: the bucket answers {}", stored.status());
        return text(StatusCode::BAD_GATEWAY, "the bucket does not take it\n");
    }
    text(StatusCode::CREATED, &format!("{key}\n"))
}

fn knows_token(request: &Request<Body>) -> Result<bool> {
    let given = request.headers().get("authorization");
    let given = given.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    let token = required(secret::get("UPLOAD_TOKEN"), "UPLOAD_TOKEN")?;
    Ok(given.is_some_and(|given| given.ct_eq(token.as_bytes()).into()))
}

/// The rest would have to be escaped, or would lead out of the bucket (`..`).
fn is_key(key: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_segment = |it: &str| !matches!(it, "" | "." | "..") && it.bytes().all(is_plain);
    key.len() <= 1024 && key.split('/').all(is_segment)
}

/// A secret that has to be there and not empty: an empty token would let everybody in.
fn required(secret: Result<Option<String>, secret::Error>, name: &str) -> Result<String> {
    match secret {
        Ok(Some(value)) if !value.is_empty() => Ok(value),
        Ok(_) => anyhow::bail!("no secret {name}"),
        Err(error) => anyhow::bail!("secret {name}: {error:?}"),
    }
}

fn text(status: StatusCode, text: &str) -> Result<Response<Body>> {
    Ok(Response::builder().status(status).body(text.into())?)
}
