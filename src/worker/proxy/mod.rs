//! Requests that are passed on: to the servers that the operator names as a tenant's origin.
//!
//! ```text
//! request ──► forward: fields of proxies ──► origin: which server? ──► its answer, streamed
//!                                             ▲         │ gone, slow, broken
//!                                             └─────────┘ another one, where that does no harm
//! ```
//!
//! It takes the place of a guest: what waits here is the request's own future, and what comes of it is
//! answered, logged and charged as a guest's answer is.

mod forward;
mod origin;
mod upload;

use std::net::IpAddr;

use http_body_util::BodyExt;

pub use self::origin::Origin;
use self::upload::Upload;
use crate::guest::{Failure, Invocation};
use crate::worker::inbound::RequestBody;

/// Passes a request on, and gives its answer to whoever waits for it.
///
/// # Errors
/// When no server answered it.
pub async fn pass_on(
    origin: &Origin,
    client: Option<IpAddr>,
    call: Invocation<RequestBody>,
) -> Result<(), Failure> {
    let (mut parts, body) = call.request.into_parts();
    forward::request(&mut parts, client)?;
    let mut response = origin.send(parts, Upload::new(body.boxed_unsync())).await?;
    forward::response(&mut response);
    // Nobody is waiting any more when the client is gone or the time is up.
    let _ = call.respond.send(Ok(response));
    Ok(())
}
