//! A request and its answer, as filters see and change them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};

use super::properties::Properties;

/// When a filter is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// `proxy_on_request_headers`.
    RequestHeaders,
    /// `proxy_on_request_body`.
    RequestBody,
    /// `proxy_on_response_headers`.
    ResponseHeaders,
    /// `proxy_on_response_body`.
    ResponseBody,
}

impl Phase {
    /// Every phase, in the order of a request's life.
    pub const ALL: [Self; 4] = [
        Self::RequestHeaders,
        Self::RequestBody,
        Self::ResponseHeaders,
        Self::ResponseBody,
    ];

    /// The export that is called.
    pub const fn export(self) -> &'static str {
        match self {
            Self::RequestHeaders => "proxy_on_request_headers",
            Self::RequestBody => "proxy_on_request_body",
            Self::ResponseHeaders => "proxy_on_response_headers",
            Self::ResponseBody => "proxy_on_response_body",
        }
    }

    /// Whether it is about the answer.
    pub const fn is_response(self) -> bool {
        matches!(self, Self::ResponseHeaders | Self::ResponseBody)
    }

    /// Whether it is about a body.
    pub const fn is_body(self) -> bool {
        matches!(self, Self::RequestBody | Self::ResponseBody)
    }
}

/// What the filters of one request see and change; it outlives their instances.
#[derive(Debug, Default)]
pub struct Exchange {
    /// `:method`.
    pub method: Method,
    /// `:scheme`: `http` or `https`.
    pub scheme: String,
    /// `:authority`.
    pub authority: String,
    /// `:path`, with the query.
    pub path: String,
    /// The request's fields, without pseudo-fields.
    pub request_headers: HeaderMap,
    /// What there is now of the request's body.
    pub request_body: Bytes,
    /// `:status`.
    pub status: StatusCode,
    /// The answer's fields.
    pub response_headers: HeaderMap,
    /// What there is now of the answer's body.
    pub response_body: Bytes,
    /// Who sent the request.
    pub client_ip: Option<IpAddr>,
    /// What is known of the client, by the names of properties: `request.country` and the like.
    pub facts: BTreeMap<String, String>,
    /// The authority that `proxy_http_call` goes to where the filter names none.
    pub upstream: String,
    /// Where the request is to go instead: set by a filter that writes the property `request.url`.
    pub reroute: Option<String>,
    /// Properties that filters set.
    pub properties: Properties,
}

/// What a filter decides.
#[derive(Debug)]
pub enum Verdict {
    /// On with it.
    Continue,
    /// Of a body phase: it waits for more of the body.
    Pause,
    /// This is the answer.
    Answer(Response<Bytes>),
    /// Whoever is connected gets no answer.
    Close,
}
