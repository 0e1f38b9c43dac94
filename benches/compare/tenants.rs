//! skep with many tenants that are hit uniformly, against itself with one of them.

use std::time::{Duration, Instant};

use anyhow::bail;

use crate::harness::server::{self, Server};
use crate::harness::skep::Site;
use crate::harness::{distinct, free_port, guest};
use crate::load::{self, Target};
use crate::{Arguments, Measured, progress};

/// Measures one tenant and `count` tenants, in turn and in the same processes.
///
/// # Errors
/// When the server does not start or a tenant does not come up.
pub fn measure(arguments: &Arguments, count: usize) -> anyhow::Result<Vec<Measured>> {
    let hello = std::fs::read(guest("hello")?)?;
    let mut site = Site::new("balanced", "off")?;
    for index in 0..count {
        site.tenant(&format!("t{index}"), &distinct(&hello, index))?;
    }
    let cases = [
        ("1 tenant".to_owned(), 1),
        (format!("{count} tenants"), count),
    ];
    let mut measured: Vec<Measured> = cases
        .iter()
        .map(|(name, _)| Measured {
            name: name.clone(),
            rounds: Vec::new(),
        })
        .collect();
    for round in 1..=arguments.rounds {
        let port = free_port()?;
        site.configure(port)?;
        let server = Server::start(site.command(), port, "t0.test", site.messages()?)?;
        wait_for_all(&server, count)?;
        for ((name, tenants), measured) in cases.iter().zip(&mut measured) {
            let target = Target::Tenants(*tenants);
            load::run(&server, target, arguments.warm_up)?;
            let result = load::run(&server, target, arguments.seconds)?;
            progress(round, name, &result);
            measured.rounds.push(result);
        }
        let pss_mib = server.pss_kib() / 1024;
        eprintln!("round {round} · the server's processes hold {pss_mib} MiB");
    }
    Ok(measured)
}

/// Waits until every tenant has answered: the first time, each is compiled.
fn wait_for_all(server: &Server, count: usize) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(600);
    for index in 0..count {
        let host = format!("t{index}.test");
        while server::get(server.address, &host)?.status != 200 {
            if Instant::now() > deadline {
                bail!("{host} does not come up");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}
