//! The kinds of attackers, and the scenario that sets each beside the victim.

use std::fmt::Write as _;

/// Requests a second to the victim.
pub const VICTIM_RATE: u32 = 2_000;

/// A kind of neighbour.
#[derive(Debug)]
pub struct Attacker {
    /// What it is called.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// How many tenants of the kind there are.
    tenants: u32,
    /// Their component, from the repository's root.
    component: &'static str,
    /// Their limits: what an operator might give, and what keeps them attacking.
    limits: &'static str,
    /// What is sent to them.
    path: &'static str,
    /// How it is sent.
    load: &'static str,
}

/// Without quarantine they attack for as long as the run lasts: the worst case.
pub const ATTACKERS: &[Attacker] = &[
    Attacker {
        name: "spinning",
        about: "100 tenants compute until their budget ends",
        tenants: 100,
        component: "demo/spin.wasm",
        limits: "cpu_ms = 50, quarantine_failures = 0",
        path: "/",
        load: "arrival = { process = \"closed\" }\nconnections = 100",
    },
    Attacker {
        name: "growing",
        about: "20 tenants allocate until their memory limit",
        tenants: 20,
        component: "target/guests/attacker.wasm",
        limits: "memory_mib = 64, quarantine_failures = 0",
        path: "/alloc",
        load: "arrival = { process = \"closed\" }\nconnections = 20",
    },
    Attacker {
        name: "trapping",
        about: "20 tenants trap as fast as they are asked",
        tenants: 20,
        component: "demo/trap.wasm",
        limits: "quarantine_failures = 0",
        path: "/",
        load: "arrival = { process = \"closed\" }\nconnections = 20",
    },
    Attacker {
        name: "logging",
        about: "20 tenants write lines until their budget ends",
        tenants: 20,
        component: "target/guests/attacker.wasm",
        limits: "cpu_ms = 50, quarantine_failures = 0",
        path: "/log-for-ever",
        load: "arrival = { process = \"closed\" }\nconnections = 20",
    },
    Attacker {
        name: "cold",
        about: "1,000 idle tenants are started cold, 400 a second",
        tenants: 1_000,
        component: "demo/hello.wasm",
        limits: "quarantine_failures = 0",
        path: "/",
        load: "arrival = { process = \"poisson\", rate = 400 }\nconnections = 32\nweights = \"round-robin\"\nrequests_per_connection = 1",
    },
];

/// The scenario: the victim alone, then beside the attackers.
///
/// # Errors
/// None: text is written to memory.
pub fn scenario(attacker: &Attacker, profile: &str, seconds: u64) -> anyhow::Result<String> {
    let Attacker {
        name,
        about,
        tenants,
        component,
        limits,
        path,
        load,
    } = attacker;
    let mut text = String::new();
    write!(
        text,
        r#"name = "neighbours"
about = "A victim beside {tenants} {name} tenants: {about}."
target = "${{target}}"

[server]
command = ["taskset", "-c", "${{server_cores}}", "${{skep}}", "serve", "--config", "${{dir}}/skep.toml"]

[[server.file]]
path = "skep.toml"
text = '''
[listen]
http = ["${{target}}"]
[workers]
cores = "auto"
profile = "{profile}"
[artifacts]
dir = "${{dir}}/artifacts"
[log]
access = "off"
file = "${{dir}}/log"
[[tenant]]
name = "victim"
component = "${{root}}/demo/hello.wasm"
hosts = ["victim.test"]
'''
[[server.file.each]]
count = {tenants}
text = '''
[[tenant]]
name = "attacker-{{n}}"
component = "${{root}}/{component}"
hosts = ["attacker-{{n}}.test"]
limits = {{ {limits} }}
'''

[[population]]
name = "victim"
hosts = ["victim.test"]
arrival = {{ process = "constant", rate = {VICTIM_RATE} }}
connections = 32
[[population.request]]
expect = {{ status = 200, body_contains = "Hello" }}

[[population]]
name = "attackers"
hosts = {{ pattern = "attacker-{{n}}.test", count = {tenants} }}
{load}
[[population.request]]
path = "{path}"
expect = {{ status = [200, 500, 502, 503, 504, 507] }}

[[phase]]
name = "warm-up"
kind = "warm-up"
seconds = 3
populations = ["victim"]

[[phase]]
name = "alone"
seconds = {seconds}
populations = ["victim"]

[[phase]]
name = "beside"
kind = "disturb"
seconds = {seconds}
"#
    )?;
    Ok(text)
}
