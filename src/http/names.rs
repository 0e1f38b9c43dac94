//! Which fields belong to whom: to the connection, to the message, to this host.

/// What happens to a trailer field.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum TrailerRule {
    /// Handed on.
    Keep,
    /// Left out: it would have to be known before the body to mean anything.
    Drop,
    /// An attempt to change framing or routing after the fact.
    Refuse,
}

/// Whether the field is about one connection and not about the message (RFC 9110 §7.6.1).
///
/// `name` is in lower case here and below. `trailer` is not in the list: it announces fields of the
/// message (§6.6.2), which are handed on.
pub(super) fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Whether the host speaks this request field for the guest, so that the guest does not see it:
/// hop-by-hop fields, and `expect`, which is answered here (RFC 9110 §10.1.1).
pub(super) fn is_consumed_in_request(name: &str) -> bool {
    is_hop_by_hop(name) || name == "expect"
}

/// Whether the host writes this response field itself, or not at all: hop-by-hop fields, framing,
/// and the fields that say whose fault an error is, which a guest must not forge.
pub(super) fn is_reserved_in_response(name: &str) -> bool {
    is_hop_by_hop(name)
        || matches!(
            name,
            "content-length" | crate::fault::FAULT_HEADER | crate::fault::REASON_HEADER
        )
}

/// Whether `Connection` may not name this field, because every recipient needs it (RFC 9110 §7.6.1:
/// "A sender MUST NOT send a connection option corresponding to a field that is intended for all
/// recipients").
///
/// Without this, a client could have its proxy's `X-Forwarded-For` or its own `Host` removed here,
/// after others have decided by it.
pub(super) fn is_end_to_end(name: &str) -> bool {
    matches!(
        name,
        "authorization"
            | "cache-control"
            | "cookie"
            | "date"
            | "expect"
            | "forwarded"
            | "host"
            | "origin"
            | "proxy-authorization"
            | "range"
            | "referer"
            | "transfer-encoding"
            | "user-agent"
            | "via"
            | "x-real-ip"
            | "x-request-id"
    ) || ["accept", "content-", "if-", "sec-", "x-forwarded-"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// What happens to a trailer field of this name (RFC 9110 §6.5.1).
pub(super) fn trailer_rule(name: &str) -> TrailerRule {
    match name {
        "content-length" | "host" | "transfer-encoding" => TrailerRule::Refuse,
        // Request modifiers, authentication, response control, content format: each in §6.5.1; and
        // what proxies say about the client.
        "age"
        | "authorization"
        | "cache-control"
        | "content-encoding"
        | "content-range"
        | "content-type"
        | "cookie"
        | "date"
        | "expect"
        | "expires"
        | "forwarded"
        | "location"
        | "max-forwards"
        | "pragma"
        | "proxy-authenticate"
        | "proxy-authorization"
        | "range"
        | "retry-after"
        | "set-cookie"
        | "trailer"
        | "vary"
        | "via"
        | "warning"
        | "www-authenticate"
        | "x-real-ip" => TrailerRule::Drop,
        _ if is_hop_by_hop(name) || name.starts_with("if-") || name.starts_with("x-forwarded-") => {
            TrailerRule::Drop
        }
        _ => TrailerRule::Keep,
    }
}
