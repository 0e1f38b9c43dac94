//! What became of a request, for the `Cache-Status` field (RFC 9211).

use http::{HeaderValue, StatusCode};

/// Why a request went to the origin (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The cache is not asked about such requests.
    Bypass,
    /// The method needs the origin.
    Method,
    /// Nothing is stored for the URL.
    UriMiss,
    /// Something is stored for the URL, and for other requests than this one.
    VaryMiss,
    /// What is stored is fresh, and the request wants the origin's word.
    Request,
    /// What is stored is stale.
    Stale,
}

impl Forward {
    /// The token of RFC 9211.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
        }
    }
}

/// One member of `Cache-Status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStatus {
    /// Why the origin was asked for this answer; `None`: it was not, a hit.
    pub forward: Option<Forward>,
    /// What the origin said, where the answer has another status.
    pub forward_status: Option<StatusCode>,
    /// Whether another request's answer is this one's, too.
    pub collapsed: bool,
    /// Whether the origin's answer is stored, or was to be when its head came.
    pub stored: bool,
    /// How long the answer is fresh, in seconds; negative: since when it is stale.
    pub ttl_s: Option<i64>,
    /// A word of what is particular.
    pub detail: Option<&'static str>,
}

impl CacheStatus {
    /// An answer from what is stored.
    pub(super) fn hit(ttl_s: i64) -> Self {
        Self {
            ttl_s: Some(ttl_s),
            ..Self::default()
        }
    }

    /// An answer of the origin.
    pub fn forwarded(forward: Forward) -> Self {
        Self {
            forward: Some(forward),
            ..Self::default()
        }
    }

    /// Whether the origin answered this very request.
    pub(super) fn is_first_hand(&self) -> bool {
        self.forward.is_some() && !self.collapsed && self.detail.is_none()
    }

    /// The member as text. `cache` names the cache, and is a token. It is appended to what the field has.
    pub fn value(&self, cache: &str) -> Option<HeaderValue> {
        use std::fmt::Write;
        let mut text = cache.to_owned();
        // Writing to a String succeeds.
        let _ = match self.forward {
            None => write!(text, "; hit"),
            Some(forward) => write!(text, "; fwd={}", forward.as_str()),
        };
        if let Some(status) = self.forward_status {
            let _ = write!(text, "; fwd-status={}", status.as_u16());
        }
        if let Some(ttl_s) = self.ttl_s {
            let _ = write!(text, "; ttl={ttl_s}");
        }
        for (flag, name) in [(self.stored, "stored"), (self.collapsed, "collapsed")] {
            if flag {
                let _ = write!(text, "; {name}");
            }
        }
        if let Some(detail) = self.detail {
            let _ = write!(text, "; detail={detail}");
        }
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_as_text() {
        for (status, expected) in [
            (CacheStatus::hit(30), "skep; hit; ttl=30"),
            (CacheStatus::hit(-4), "skep; hit; ttl=-4"),
            (CacheStatus::forwarded(Forward::Bypass), "skep; fwd=bypass"),
            (
                CacheStatus {
                    forward_status: Some(StatusCode::NOT_MODIFIED),
                    collapsed: true,
                    stored: true,
                    detail: Some("x"),
                    ..CacheStatus::forwarded(Forward::Stale)
                },
                "skep; fwd=stale; fwd-status=304; stored; collapsed; detail=x",
            ),
        ] {
            assert_eq!(status.value("skep").unwrap(), expected);
        }
    }
}
