//! A guest that means harm: a path for every attack of `tests/attacks`, whose README says what each is answered.
//!
//! ```text
//!   compute     /spin /recurse /fill /copy /chase                      compute.rs
//!   hoard       /alloc /grow /fields /pollables /clones …              hoard.rs
//!   call        /now /random /zero-write /poll-list /sleep-0 …         calls.rs
//!   answer      /head-trap /short /crlf /forbidden /status?code=N …    answers.rs
//!   lie         /abi-…: what no bindings would pass                    abi.rs
//!   print       /log-long /log-empty /log-binary /log-forged           logs.rs
//!   look around /plant /search /clock-steps                            secrets.rs, clocks.rs
//! ```
//!
//! `/` answers `ready`.

mod abi;
mod answers;
mod calls;
mod clocks;
mod compute;
mod hoard;
mod logs;
mod reply;
mod secrets;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct Attacker;

wasip2::http::proxy::export!(Attacker);

/// One attack: what it is asked for with, and where its answer would go.
pub struct Attack {
    pub request: IncomingRequest,
    pub target: String,
    pub out: ResponseOutparam,
}

impl Attack {
    /// The path without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The number of a query `?name=N`, or the default.
    pub fn number(&self, name: &str, default: u64) -> u64 {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .and_then(|(_, value)| value.parse().ok())
            .unwrap_or(default)
    }
}

impl Guest for Attacker {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let attack = Attack {
            request,
            target,
            out,
        };
        // Each takes the attack if the path is one of its own.
        let attack = compute::run(attack)
            .and_then(hoard::run)
            .and_then(calls::run)
            .and_then(answers::run)
            .and_then(abi::run)
            .and_then(logs::run)
            .and_then(secrets::run)
            .and_then(clocks::run);
        if let Some(attack) = attack {
            match attack.path() {
                "/" => reply::text(attack.out, "ready\n"),
                _ => reply::text(attack.out, "no such attack\n"),
            }
        }
    }
}

/// What is left when an attack was not one of a module's own.
pub type Left = Option<Attack>;
