//! Requests that are passed on: to the servers that the operator names as a tenant's origin.
//!
//! ```text
//! request ──► filters ──► forward: fields of proxies ──► origin: which server? ──► its answer
//!   answer ◄── filters ◄──────────────── streamed ◄──────┤ gone, slow, broken:      │
//!                                                        └ another, if it harms none ┘
//! ```
//!
//! It takes the place of a guest: what waits here is the request's own future, and what comes of it is
//! answered, logged and charged as a guest's answer is.

mod below;
mod cached;
mod channel;
mod filtered;
mod filters;
mod forward;
mod origin;
mod upload;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use http_body_util::BodyExt;

pub use self::below::Disk;
use self::filtered::Client;
use self::filters::Chain;
pub use self::origin::Origin;
use self::upload::Upload;
use crate::engine::Program;
use crate::guest::{Failure, Invocation};
use crate::worker::inbound::RequestBody;
use crate::worker::tenant::Hooks;

/// How a tenant's requests are passed on.
pub struct Way {
    /// Where they go.
    pub origin: Rc<Origin>,
    /// What they meet on the way.
    pub filters: Vec<(Rc<Program>, Hooks)>,
    /// Who sends this one.
    pub client: Option<IpAddr>,
    /// What is known of that one, by names of properties.
    pub facts: BTreeMap<String, String>,
}

/// Passes a request on, and gives its answer to whoever waits for it.
///
/// # Errors
/// When no server answered it, or a filter failed.
pub async fn pass_on(way: Way, call: Invocation<RequestBody>) -> Result<(), Failure> {
    if !way.filters.is_empty() {
        let chain = Chain::new(way.filters, call.context);
        let client = Client {
            address: way.client,
            facts: way.facts,
        };
        // On the heap, so that what meets none has no future as large.
        let serve = filtered::serve(&way.origin, client, chain, call.request, call.respond);
        return Box::pin(serve).await;
    }
    let (mut parts, body) = call.request.into_parts();
    forward::request(&mut parts, way.client)?;
    let upload = Upload::new(body.boxed_unsync());
    let mut response = cached::send(&way.origin, parts, upload).await?;
    forward::response(response.headers_mut());
    // Nobody is waiting any more when the client is gone or the time is up.
    let _ = call.respond.send(Ok(response));
    Ok(())
}
