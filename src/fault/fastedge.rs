//! How Gcore FastEdge's host answers when a program fails, for tenants with `compat = "fastedge"`.
//!
//! | what happened | status | `X-CDN-Internal-Status` | body |
//! |---|---|---|---|
//! | it cannot be run | 530 | 3000 | `fastedge: context error` |
//! | it gave no answer that can be sent | 530 | 3001 | `fastedge: Execute error` |
//! | out of memory | 531 | 3020 | `fastedge: Out of memory` |
//! | out of CPU time | 532 | 3010 | `fastedge: Execution timeout` |
//! | out of time | 532 | 3011 | `fastedge: Execution timeout` |
//! | it ended itself | 533 | 3002 | `fastedge: App failed` |
//! | it crashed | 533 | 3003 | `fastedge: App failed` |
//! | too many requests a second | 429 | none | none |
//!
//! A program that ends itself with exit code 0 and has given no answer is no failure: 200, no body
//! (`worker/exchange.rs`).
//!
//! A Rust panic is a crash here; FastEdge takes the trap that it ends in for a lack of memory.

use http::StatusCode;

use super::Reason;

/// Names the field with FastEdge's own number for what happened.
pub const INTERNAL_STATUS_HEADER: &str = "x-cdn-internal-status";

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    status: u16,
    /// What [`INTERNAL_STATUS_HEADER`] says.
    pub internal_status: Option<u16>,
    /// The body.
    pub body: &'static str,
}

impl Look {
    /// How this reason looks there; `None`: as everywhere.
    pub const fn of(reason: Reason) -> Option<Self> {
        let (status, internal_status, body) = match reason {
            Reason::ComponentRejected => (530, 3000, "fastedge: context error"),
            Reason::NoResponse | Reason::BadResponse | Reason::ResourceExhausted => {
                (530, 3001, "fastedge: Execute error")
            }
            Reason::MemoryExhausted => (531, 3020, "fastedge: Out of memory"),
            Reason::CpuExhausted | Reason::FuelExhausted => {
                (532, 3010, "fastedge: Execution timeout")
            }
            Reason::WallExhausted => (532, 3011, "fastedge: Execution timeout"),
            Reason::Exited => (533, 3002, "fastedge: App failed"),
            Reason::Trapped => (533, 3003, "fastedge: App failed"),
            Reason::RateLimited => {
                return Some(Self {
                    status: 429,
                    internal_status: None,
                    body: "",
                });
            }
            _ => return None,
        };
        Some(Self {
            status,
            internal_status: Some(internal_status),
            body,
        })
    }

    /// The status.
    pub fn status(self) -> StatusCode {
        // Every row is in range (a test reads them all), so the default is never taken.
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;

    #[test]
    fn only_a_programs_failures_look_different_and_all_can_be_sent() {
        for &reason in Reason::ALL {
            let Some(look) = Look::of(reason) else {
                continue;
            };
            assert_eq!(reason.fault(), Fault::Tenant, "{reason}");
            assert_eq!(look.status().as_u16(), look.status, "{reason}");
            assert!(
                (530..=533).contains(&look.status) || look.internal_status.is_none(),
                "{reason}"
            );
        }
        assert_eq!(Look::of(Reason::TenantBusy), None);
    }
}
