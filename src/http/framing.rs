//! How the end of a response body is marked, decided once per response.

use http::{Method, StatusCode};

use super::head::Version;

/// How the end of a response body is marked (RFC 9112 §6.3).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum ResponseFraming {
    /// There is no body and no word about one: 1xx, 204, 304, HEAD of unknown length.
    None,
    /// There is no body, but a `Content-Length` says how long that of a GET would be: HEAD.
    LengthOnly(u64),
    /// By a `Content-Length`; may be 0.
    Length(u64),
    /// By the last chunk.
    Chunked,
    /// By closing the connection, for HTTP/1.0.
    UntilClose,
}

impl ResponseFraming {
    /// Whether body bytes may follow the head. Where they may not, the guest's body is dropped.
    pub const fn has_body(self) -> bool {
        match self {
            Self::None | Self::LengthOnly(_) => false,
            Self::Length(length) => length > 0,
            Self::Chunked | Self::UntilClose => true,
        }
    }
}

/// Decides the framing of a response, and whether the connection stays open after it.
///
/// `known_length` is the length of the body where it is known before the head is sent; for HEAD it is
/// the length that the guest gives for the body it would have sent. The caller must then send exactly
/// that many bytes or close the connection.
pub fn choose_framing(
    version: Version,
    method: &Method,
    status: StatusCode,
    known_length: Option<u64>,
    keep_alive: bool,
) -> (ResponseFraming, bool) {
    let framing = match (status, known_length, version) {
        _ if status.is_informational() => ResponseFraming::None,
        (StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED, ..) => ResponseFraming::None,
        (_, None, _) if method == Method::HEAD => ResponseFraming::None,
        (_, Some(length), _) if method == Method::HEAD => ResponseFraming::LengthOnly(length),
        // RFC 9110 §15.3.6: 205 has no content, but its end is marked.
        (StatusCode::RESET_CONTENT, ..) => ResponseFraming::Length(0),
        (_, Some(length), _) => ResponseFraming::Length(length),
        (_, None, Version::Http11) => ResponseFraming::Chunked,
        (_, None, Version::Http10) => ResponseFraming::UntilClose,
    };
    (
        framing,
        keep_alive && framing != ResponseFraming::UntilClose,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_table_of_the_rfc() {
        use ResponseFraming::{Chunked, Length, LengthOnly, None as NoBody, UntilClose};
        use Version::{Http10, Http11};
        const SOME: Option<u64> = Some(5);
        for (version, method, status, known_length, keep_alive, expected) in [
            (Http11, Method::GET, 200, SOME, true, (Length(5), true)),
            (Http11, Method::GET, 200, SOME, false, (Length(5), false)),
            (Http11, Method::GET, 200, Some(0), true, (Length(0), true)),
            (Http11, Method::GET, 200, None, true, (Chunked, true)),
            (Http11, Method::GET, 200, None, false, (Chunked, false)),
            (Http11, Method::POST, 500, None, true, (Chunked, true)),
            (Http11, Method::HEAD, 200, SOME, true, (LengthOnly(5), true)),
            (Http11, Method::HEAD, 200, None, true, (NoBody, true)),
            (Http11, Method::HEAD, 304, SOME, true, (NoBody, true)),
            (Http11, Method::GET, 103, None, true, (NoBody, true)),
            (Http11, Method::GET, 204, SOME, true, (NoBody, true)),
            (Http11, Method::GET, 205, SOME, true, (Length(0), true)),
            (Http11, Method::HEAD, 205, None, true, (NoBody, true)),
            (Http11, Method::GET, 304, SOME, true, (NoBody, true)),
            (Http10, Method::GET, 200, SOME, true, (Length(5), true)),
            (Http10, Method::GET, 200, None, true, (UntilClose, false)),
            (Http10, Method::HEAD, 200, None, true, (NoBody, true)),
            (Http10, Method::GET, 204, None, true, (NoBody, true)),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let actual = choose_framing(version, &method, status, known_length, keep_alive);
            assert_eq!(
                actual, expected,
                "{version:?} {method} {status} {known_length:?}"
            );
        }
    }
}
