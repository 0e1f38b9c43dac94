//! Everything that can go wrong with a request, once: its name, its status, whose fault it is.
//!
//! A [`Reason`] is what the client is answered, what the metrics count and what the log says. The
//! response carries it in two header fields, so that nobody has to guess from a status code:
//!
//! ```text
//!   HTTP/1.1 504 Gateway Timeout
//!   x-skep-fault: tenant
//!   x-skep-reason: cpu_exhausted
//!
//!   cpu_exhausted: the program used up its CPU time for one request
//! ```

#![forbid(unsafe_code)]

pub mod fastedge;

use std::fmt;

use http::StatusCode;

use crate::config::Compat;
use crate::config::limits::RETRY_AFTER_S;

/// Names the response field that says whose fault it is: the value is [`Fault::as_str`].
pub const FAULT_HEADER: &str = "x-skep-fault";

/// Names the response field that says what went wrong: the value is [`Reason::code`].
pub const REASON_HEADER: &str = "x-skep-reason";

/// Whose fault it is. Decides the metric label, the log level and who gets called at night.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Fault {
    /// The request broke the protocol or a limit; nothing here needs mending.
    Client,
    /// The tenant's program failed or went over its budget.
    Tenant,
    /// This host could not do what it promises.
    Host,
}

impl Fault {
    /// The name in header fields, metric labels and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Tenant => "tenant",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a reason stands for: one row of the table.
struct Row {
    fault: Fault,
    status: u16,
    code: &'static str,
    explain: &'static str,
}

/// Defines [`Reason`] from the table below: variant, status, code, explanation.
macro_rules! reasons {
    ($($fault:ident { $($variant:ident $status:literal $code:literal $explain:literal;)* })*) => {
        /// Why a request was not answered by the program that it was meant for.
        #[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
        pub enum Reason {
            $($(#[doc = concat!("`", $code, "`, ", $status, ": ", $explain, ".")] $variant,)*)*
        }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &[Self] = &[$($(Self::$variant,)*)*];

            const fn row(self) -> Row {
                match self {
                    $($(Self::$variant => Row {
                        fault: Fault::$fault,
                        status: $status,
                        code: $code,
                        explain: $explain,
                    },)*)*
                }
            }
        }
    };
}

reasons! {
    Client {
        MalformedRequest      400 "malformed_request" "the request line or a header field is not valid HTTP/1.1";
        ConflictingFraming    400 "conflicting_framing" "Content-Length and Transfer-Encoding do not agree on where the body ends";
        BadChunk              400 "bad_chunk" "the chunked body is not validly encoded";
        BadHost               400 "bad_host" "the Host is missing, repeated or not a valid host name";
        UnknownHost           404 "unknown_host" "no program is deployed here under this host name";
        HeadTimeout           408 "head_timeout" "the request head did not arrive in time";
        BodyTimeout           408 "body_timeout" "the request body did not arrive in time";
        BodyTooLarge          413 "body_too_large" "the request body is larger than allowed";
        UriTooLong            414 "uri_too_long" "the request target is longer than allowed";
        ExpectationFailed     417 "expectation_failed" "the only expectation that can be met is 100-continue";
        Misdirected           421 "misdirected" "the request asks for an https resource on a plaintext connection, or for a host that this connection does not serve";
        HeadTooLarge          431 "head_too_large" "the header or trailer fields are larger or more numerous than allowed";
        ClientGone            499 "client_gone" "the client closed the connection before the answer was complete";
        UnknownTransferCoding 501 "unknown_transfer_coding" "the only transfer coding that is understood is chunked";
        MethodNotImplemented  501 "method_not_implemented" "the method is CONNECT, or longer than any that exists";
        VersionNotSupported   505 "version_not_supported" "the protocol version is neither HTTP/1.0 nor HTTP/1.1";
    }
    Tenant {
        Trapped               500 "trapped" "the program crashed";
        ResourceExhausted     500 "resource_exhausted" "the program used up its handles, tables or host calls";
        NoResponse            502 "no_response" "the program ended without giving a response";
        BadResponse           502 "bad_response" "the program gave a response that cannot be sent";
        ComponentRejected     502 "component_rejected" "the deployed program is not one that can run here";
        Exited                502 "exited" "the program ended itself before it gave a response";
        OriginUnreachable     502 "origin_unreachable" "none of the servers behind this host could be connected to";
        OriginFailed          502 "origin_failed" "the server behind this host broke the exchange off or gave an answer that cannot be read";
        OriginTimeout         504 "origin_timeout" "the server behind this host did not answer in time";
        LoopDetected          508 "loop_detected" "the request has come through this host already";
        TenantBusy            503 "tenant_busy" "the program already has as many requests running and waiting as it may";
        QueueTimeout          503 "queue_timeout" "the request waited for its turn for as long as it may";
        RateLimited           429 "rate_limited" "the program gets more requests a second than it may";
        Quarantined           503 "quarantined" "the program failed too often and is left alone for a while";
        CpuExhausted          504 "cpu_exhausted" "the program used up its CPU time for one request";
        FuelExhausted         504 "fuel_exhausted" "the program used up its fuel for one request";
        WallExhausted         504 "wall_exhausted" "the program did not finish within its time for one request";
        MemoryExhausted       507 "memory_exhausted" "the program asked for more memory than it may have";
    }
    Host {
        Internal              500 "internal" "the host failed; the request may or may not have been processed";
        NoSlot                503 "no_slot" "the host has no room for another running program";
        Compiling             503 "compiling" "the program is being compiled for its first use";
        HandoverFailed        503 "handover_failed" "the connection could not be passed to the worker that runs the program";
        Draining              503 "draining" "the host is shutting down; another connection will be served";
    }
}

impl Reason {
    /// The name in header fields, metric labels and logs: `[a-z_]+`, never changed once released.
    pub const fn code(self) -> &'static str {
        self.row().code
    }

    /// The status to answer with. 499 is only ever logged: nobody is left to read it.
    pub fn status(self) -> StatusCode {
        // Every row is in range (a test reads them all), so the default is never taken.
        StatusCode::from_u16(self.row().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Whose fault it is.
    pub const fn fault(self) -> Fault {
        self.row().fault
    }

    /// One line for the response body, to be read by whoever sent the request.
    pub const fn explain(self) -> &'static str {
        self.row().explain
    }

    /// Seconds for `Retry-After` where nothing better is known (RFC 9110 §10.2.3): present on every
    /// 503 and 429, and only there.
    pub const fn retry_after_s(self) -> Option<u32> {
        match self.row().status {
            503 | 429 => Some(RETRY_AFTER_S as u32),
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl std::error::Error for Reason {}

/// A reason, and when it is worth trying again.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Refusal {
    /// Why the request is refused.
    pub reason: Reason,
    /// Seconds for `Retry-After`.
    pub retry_after_s: Option<u32>,
    /// Whose host's answer it is.
    pub compat: Compat,
}

impl Refusal {
    /// The status.
    pub fn status(&self) -> StatusCode {
        let own = || self.reason.status();
        self.look().map_or_else(own, fastedge::Look::status)
    }

    /// How it looks, where that is not as everywhere.
    pub const fn look(&self) -> Option<fastedge::Look> {
        match self.compat {
            Compat::None => None,
            Compat::Fastedge => fastedge::Look::of(self.reason),
        }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            retry_after_s: reason.retry_after_s(),
            compat: Compat::None,
        }
    }
}

/// The table as markdown, for the documentation.
pub fn table_markdown() -> String {
    let mut table = String::from("| reason | status | fault | meaning |\n|---|---|---|---|\n");
    for reason in Reason::ALL {
        let Row {
            fault,
            status,
            code,
            explain,
            ..
        } = reason.row();
        table.push_str(&format!("| `{code}` | {status} | {fault} | {explain} |\n"));
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_row_can_be_sent() {
        for reason in Reason::ALL {
            assert_eq!(reason.status().as_u16(), reason.row().status, "{reason}");
            assert!(
                reason
                    .code()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{reason}"
            );
            assert!(!reason.explain().contains(['\r', '\n', '|']), "{reason}");
        }
    }

    #[test]
    fn codes_are_unique() {
        let codes: HashSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
    }

    #[test]
    fn exactly_the_503s_and_429s_say_when_to_retry() {
        for reason in Reason::ALL {
            assert_eq!(
                reason.retry_after_s().is_some(),
                matches!(reason.row().status, 503 | 429),
                "{reason}"
            );
        }
    }

    #[test]
    fn a_client_fault_is_not_a_server_error_except_not_implemented() {
        for reason in Reason::ALL {
            let status = reason.row().status;
            match reason.fault() {
                Fault::Client => assert!(status < 500 || matches!(status, 501 | 505), "{reason}"),
                // The limit is the tenant's, for all of its clients together; 429 is what tells a
                // client to slow down (RFC 6585 §4).
                Fault::Tenant if *reason == Reason::RateLimited => assert_eq!(status, 429),
                Fault::Tenant | Fault::Host => assert!(status >= 500, "{reason}"),
            }
        }
    }

    #[test]
    fn the_table_has_a_line_for_each_reason() {
        let table = table_markdown();
        assert_eq!(table.lines().count(), 2 + Reason::ALL.len());
        let row =
            "| `cpu_exhausted` | 504 | tenant | the program used up its CPU time for one request |";
        assert!(table.lines().any(|line| line == row));
    }
}
