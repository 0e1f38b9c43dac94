//! Configuration: what is refused, with which words; limits at their ends; the generated document.

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)] // in a test, a panic is the report

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use skep::config::limits::{self, Limit};
use skep::config::{
    Budget, Cores, Egress, EgressRule, Errors, HOOKS, Host, HostPattern, Machine, Origin,
    OriginFilter, OriginHost, Profile, Store, Tenant,
};
use skep::control::ToBroker;
use tempfile::TempDir;

/// Six lines that are right; cases add to them from line 7.
const BASE: &str = r#"[listen]
http = ["127.0.0.1:8080"]
[[tenant]]
name = "a"
component = "ok.wasm"
hosts = ["a.test"]
"#;

const OTHER_TENANT: &str = "[[tenant]]\ncomponent = 'ok.wasm'\n";

/// A directory with one file of each kind that a component can be, or be mistaken for.
fn directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let files: [(&str, &[u8]); 5] = [
        ("ok.wasm", b"\0asm\x0d\0\x01\0"),
        ("core.wasm", b"\0asm\x01\0\0\0"),
        ("app.cwasm", b"\x7fELF\x02\x01\x01\0\0\0"),
        ("text.wat", b"(component)\n"),
        ("short.wasm", b"\0asm"),
    ];
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let huge = fs::File::create(dir.path().join("huge.wasm")).unwrap();
    huge.set_len(limits::COMPONENT_BYTES_MAX + 1).unwrap();
    dir
}

fn machine() -> Machine {
    Machine {
        online: vec![0, 1, 2, 3, 8],
        allowed: vec![1, 2, 8],
    }
}

fn load(dir: &Path, text: &str) -> Result<Host, Errors> {
    let path = dir.join("skep.toml");
    fs::write(&path, text).unwrap();
    Host::load_for(&path, &machine())
}

/// What is wrong, without the directory's name.
fn complaints(dir: &Path, text: &str) -> String {
    match load(dir, text) {
        Ok(_) => String::new(),
        Err(errors) => errors
            .to_string()
            .replace(&format!("{}/", dir.display()), ""),
    }
}

#[test]
fn every_mistake_is_named_with_its_line() {
    let dir = directory();
    // What is added to BASE, and everything that is said about it.
    let cases: &[(&str, &str)] = &[
        ("", ""),
        // Shape.
        ("cpus = 2", "skep.toml:7: tenant.a.cpus: unknown key; known here: name, component, origin, hosts, cell, cores, env, config, compat, weight, cpu_share_max, egress, kv, secret, limits"),
        ("[lisen]\nhttp = []", "skep.toml:7: lisen: unknown key; known here: listen, workers, artifacts, http, log, isolation, egress, geo, data, admin, cell, tenant"),
        ("[tenant.limits]\ncpu = 2", "skep.toml:8: tenant.a.limits.cpu: unknown key; known here: cpu_ms, fuel, wall_ms, memory_mib, concurrency, queue, queue_ms, requests_per_s, request_burst, quarantine_failures, quarantine_window_s, quarantine_max_s, request_body_bytes, whole_body_bytes, log_line_bytes, log_bytes_per_request, log_bytes_per_s, log_burst_bytes, subrequests, subrequest_concurrency, subrequest_bytes, subrequest_connect_ms, subrequest_first_byte_ms, subrequest_between_bytes_ms, kv_keys, kv_bytes, cache_bytes, http_cache_bytes, http_cache_object_bytes, http_cache_disk_bytes, data_operations_per_s, handles, hostcall_bytes, table_elements"),
        ("[workers]\ndrain_ms = 'long'", "skep.toml:8: workers.drain_ms: wrong type (got 'long'); an integer"),
        ("[workers]\ndrain_ms = 1.5", "skep.toml:8: workers.drain_ms: wrong type (got 1.5); an integer"),
        ("[workers]\ncores = 'all'", "skep.toml:8: workers.cores: wrong value (got 'all'); \"auto\" or a list of core numbers: [0, 1]"),
        ("cores = 'all'", "skep.toml:7: tenant.a.cores: wrong value (got 'all'); a number of workers or a list of core numbers: [0, 1]"),
        ("env = { A = 1 }", "skep.toml:7: tenant.a.env.A: wrong type (got 1); a string"),
        ("[log]\naccess = 'some'", "skep.toml:8: log.access: unknown value (got 'some'); off, faults, all"),
        ("[http]\nx = 1\ny = 2\nheaders_max = 0", "\
skep.toml:8: http.x: unknown key; known here: head_timeout_ms, idle_timeout_ms, body_timeout_ms, head_bytes_max, target_bytes_max, headers_max, connections_max
skep.toml:9: http.y: unknown key; known here: head_timeout_ms, idle_timeout_ms, body_timeout_ms, head_bytes_max, target_bytes_max, headers_max, connections_max
skep.toml:10: http.headers_max: out of range (got 0); 8 to 128 fields"),
        // Workers and profiles.
        ("[workers]\ncores = [0, 4, 0, -1]", "\
skep.toml:8: workers.cores: core 4 is not online here (got [0, 4, 0, -1]); some of 0-3, 8
skep.toml:8: workers.cores: core 0 is listed twice (got [0, 4, 0, -1]); each core once
skep.toml:8: workers.cores: core -1 is not online here (got [0, 4, 0, -1]); some of 0-3, 8"),
        ("[workers]\ncores = []", "skep.toml:8: workers.cores: empty (got []); \"auto\" or at least one core"),
        ("[workers]\nprofile = 'fast'", "skep.toml:8: workers.profile: no such profile (got 'fast'); one of balanced, latency, throughput, density, striped, paranoid, local, or the path of a .toml file"),
        ("[workers]\nprofile = 'my.toml'", "skep.toml:8: workers.profile: cannot open the file: No such file or directory (os error 2) (got 'my.toml'); one of balanced, latency, throughput, density, striped, paranoid, local, or the path of a .toml file"),
        ("[workers]\nprofile = 'density'\n[[tenant]]\nname = 'b'\ncomponent = 'ok.wasm'\nhosts = ['b.test']\nlimits.memory_mib = 129", "skep.toml:13: tenant.b.limits.memory_mib: above the profile's memory_mib_max of 128 (got 129); less, or a profile with more"),
        ("[workers]\ncpu = 1", "skep.toml:8: workers.cpu: unknown key; known here: cores, profile, core, drain_ms"),
        // Cores with a profile of their own.
        ("[[workers.core]]\nid = 2\nprofile = 'density'\n[[workers.core]]\nid = 8\nprofile = 'latency'", ""),
        ("[[workers.core]]\nid = 0\nprofile = 'density'", "skep.toml:8: workers.core[0].id: core 0 has no worker (got 0); one of workers.cores: 1-2, 8"),
        ("[[workers.core]]\nid = -1\nprofile = 'density'", "skep.toml:8: workers.core[0].id: core -1 has no worker (got -1); one of workers.cores: 1-2, 8"),
        ("[workers]\ncores = [0, 3]\n[[workers.core]]\nid = 2\nprofile = 'density'", "skep.toml:10: workers.core[0].id: core 2 has no worker (got 2); one of workers.cores: 0, 3"),
        ("[[workers.core]]\nid = 2\nprofile = 'density'\n[[workers.core]]\nid = 2\nprofile = 'latency'", "skep.toml:11: workers.core[1].id: already used in line 8 (got 2); each core at most once"),
        ("[[workers.core]]\nid = 2\nprofile = 'dense'", "skep.toml:9: workers.core[0].profile: no such profile (got 'dense'); one of balanced, latency, throughput, density, striped, paranoid, local, or the path of a .toml file"),
        ("[[workers.core]]\nid = 2\nprofile = './dense.toml'", "skep.toml:9: workers.core[0].profile: cannot open the file: No such file or directory (os error 2) (got './dense.toml'); one of balanced, latency, throughput, density, striped, paranoid, local, or the path of a .toml file"),
        ("[[workers.core]]", "\
skep.toml:7: workers.core[0].id: missing; one of workers.cores: 1-2, 8
skep.toml:7: workers.core[0].profile: missing; one of balanced, latency, throughput, density, striped, paranoid, local, or the path of a .toml file"),
        ("[[workers.core]]\nid = 'two'\nprofile = 3\ncores = 1", "\
skep.toml:8: workers.core[0].id: wrong type (got 'two'); an integer
skep.toml:9: workers.core[0].profile: wrong type (got 3); a string
skep.toml:10: workers.core[0].cores: unknown key; known here: id, profile"),
        ("[workers]\ncores = []\n[[workers.core]]\nid = 5\nprofile = 'density'", "skep.toml:8: workers.cores: empty (got []); \"auto\" or at least one core"),
        // What tenants need of the profiles: 512 MiB fit on cores 1 and 8, 128 everywhere.
        ("cores = 2\nlimits.memory_mib = 512\n[[workers.core]]\nid = 2\nprofile = 'density'", ""),
        ("cores = [1, 8]\nlimits.memory_mib = 512\n[[workers.core]]\nid = 2\nprofile = 'density'", ""),
        ("cores = 3\nlimits.memory_mib = 129\n[[workers.core]]\nid = 2\nprofile = 'density'", "skep.toml:8: tenant.a.limits.memory_mib: 3 workers are wanted and 2 can hold it (cores: 1, 8) (got 129); less, fewer cores, or profiles with more"),
        ("cores = [1, 2]\nlimits.memory_mib = 129\n[[workers.core]]\nid = 2\nprofile = 'density'", "skep.toml:8: tenant.a.limits.memory_mib: above the memory_mib_max of core 2's profile, 128 (got 129); less, other cores, or a profile with more"),
        ("limits.memory_mib = 513\n[[workers.core]]\nid = 2\nprofile = 'density'", "skep.toml:7: tenant.a.limits.memory_mib: above the memory_mib_max of every core's profile, 512 at most (got 513); less, or a profile with more"),
        ("[log]\nfile = 'none/log.jsonl'", "skep.toml:8: log.file: its directory does not exist (got 'none/log.jsonl'); a file in a directory that exists"),
        ("[log]\nfile = '.'", "skep.toml:8: log.file: a directory (got '.'); the path of a file"),
        // Cells.
        ("cell = 'gold'", ""),
        ("[[cell]]\nname = 'gold'\nmemory_max_mib = 64\ncpu_max = 1", ""),
        ("[[cell]]\nname = 'default'\ncpu_max = 0.1", ""),
        ("cell = 'Gold'", "skep.toml:7: tenant.a.cell: not a cell's name (got 'Gold'); 1 to 63 lower-case letters, digits and inner hyphens, starting with a letter"),
        ("cell = ''", "skep.toml:7: tenant.a.cell: not a cell's name (got ''); 1 to 63 lower-case letters, digits and inner hyphens, starting with a letter"),
        ("cell = 'glod'\n[[cell]]\nname = 'gold'\n[[cell]]\nname = 'iron'", "skep.toml:7: tenant.a.cell: no such cell (got 'glod'); the name of a [[cell]]: default, gold, iron"),
        ("[[cell]]\nmemory_max_mib = 63\ncpu_max = 0.09", "\
skep.toml:7: cell[0].name: missing; 1 to 63 lower-case letters, digits and inner hyphens, starting with a letter
skep.toml:8: cell[0].memory_max_mib: out of range (got 63); 64 to 1048576 MiB
skep.toml:9: cell[0].cpu_max: out of range (got 0.09); 0.1 to 120 cores"),
        ("[[cell]]\nname = 'gold'\ncpu_max = nan\n[[cell]]\nname = 'gold'\nweight = 1", "\
skep.toml:9: cell.gold.cpu_max: out of range (got nan); 0.1 to 120 cores
skep.toml:11: cell.gold.name: already used in line 8 (got 'gold'); one that no other cell has
skep.toml:12: cell.gold.weight: unknown key; known here: name, memory_max_mib, cpu_max"),
        ("[[cell]]\nname = 'g g'\ncpu_max = 'all'", "\
skep.toml:8: cell[0].name: not a cell's name (got 'g g'); 1 to 63 lower-case letters, digits and inner hyphens, starting with a letter
skep.toml:9: cell.g g.cpu_max: wrong type (got 'all'); a number"),
        // Tenants.
        ("cores = 4", "skep.toml:7: tenant.a.cores: not a number of workers of this host (got 4); 1 to 3, the number of workers.cores"),
        ("cores = 0", "skep.toml:7: tenant.a.cores: not a number of workers of this host (got 0); 1 to 3, the number of workers.cores"),
        ("cores = [1, 1, 0]", "\
skep.toml:7: tenant.a.cores: core 1 is listed twice (got [1, 1, 0]); each core once
skep.toml:7: tenant.a.cores: core 0 has no worker (got [1, 1, 0]); some of workers.cores: 1-2, 8"),
        ("cores = []", "skep.toml:7: tenant.a.cores: empty (got []); a number, or at least one core"),
        ("env = { '1A' = 'x' }", "skep.toml:7: tenant.a.env.1A: not a variable's name (got '1A'); letters, digits and `_`, not starting with a digit"),
        ("env = { A = \"a\\u0000\" }", "skep.toml:7: tenant.a.env.A: a control character (got \"a\\u0000\"); text; of control characters only tab and newline"),
        ("egress.allow = ['https://a.test', '*.b:8443', '10.0.0.0/8', '*']", ""),
        ("egress.allow = ['a.test', 'ftp://a', '10.0.0.1/8', 'a.test', 'a.test/x']", "\
skep.toml:7: tenant.a.egress.allow: not a scheme of HTTP (got 'ftp://a'); http:// or https://, or neither
skep.toml:7: tenant.a.egress.allow: an address inside the network (got '10.0.0.1/8'); its first one: 10.0.0.0/8
skep.toml:7: tenant.a.egress.allow: listed twice (got 'a.test'); each rule once
skep.toml:7: tenant.a.egress.allow: more than an origin (got 'a.test/x'); \"https://api.example.com\", \"*.internal:8443\", \"10.0.0.0/8\" or \"*\" for every public host"),
        ("egress.deny = []", "skep.toml:7: tenant.a.egress.deny: unknown key; known here: allow"),
        ("[egress]\nresolvers = ['127.0.0.1']\nca_file = 'ok.wasm'", "\
skep.toml:8: egress.resolvers: not an address (got '127.0.0.1'); an address and port: [\"127.0.0.53:53\"]
skep.toml:9: egress.ca_file: ok.wasm: it has no certificate (got 'ok.wasm'); a file of certificates in PEM"),
        ("weight = 0", "skep.toml:7: tenant.a.weight: out of range (got 0); 1 to 1000 shares"),
        ("cpu_share_max = 'all'", "skep.toml:7: tenant.a.cpu_share_max: wrong type (got 'all'); a number"),
        ("cpu_share_max = 0.009", "skep.toml:7: tenant.a.cpu_share_max: out of range (got 0.009); 0.01 to 1.0, a fraction of a core"),
        ("cpu_share_max = 1.1", "skep.toml:7: tenant.a.cpu_share_max: out of range (got 1.1); 0.01 to 1.0, a fraction of a core"),
        ("cpu_share_max = nan", "skep.toml:7: tenant.a.cpu_share_max: out of range (got nan); 0.01 to 1.0, a fraction of a core"),
        ("origin.servers = []", "\
skep.toml:5: tenant.a.component: a component beside an origin (got \"ok.wasm\"); one of them; what looks at requests on their way is an [[tenant.origin.filter]]
skep.toml:7: tenant.a.origin.servers: empty (got []); at least one server: [\"https://origin.example\"]"),
        ("[tenant.limits]\ncpu_ms = 0", "skep.toml:8: tenant.a.limits.cpu_ms: out of range (got 0); 1 to 600000 ms"),
        ("[tenant.limits]\ncpu_ms = -5", "skep.toml:8: tenant.a.limits.cpu_ms: out of range (got -5); 1 to 600000 ms"),
        ("[tenant.limits]\ncpu_ms = 10001", "skep.toml:8: tenant.a.limits.cpu_ms: cpu_ms 10001 exceeds wall_ms 10000 (got 10001); cpu_ms at most wall_ms"),
        ("[tenant.limits]\nwall_ms = 49", "skep.toml:8: tenant.a.limits.wall_ms: cpu_ms 50 exceeds wall_ms 49 (got 49); cpu_ms at most wall_ms"),
        ("[tenant.limits]\nmemory_mib = 513", "skep.toml:8: tenant.a.limits.memory_mib: above the profile's memory_mib_max of 512 (got 513); less, or a profile with more"),
        ("[http]\nhead_bytes_max = 4096", "skep.toml:8: http.head_bytes_max: a target is part of the head and cannot be longer (got 4096); target_bytes_max at most head_bytes_max"),
        ("[[tenant]]", "\
skep.toml:7: tenant[1].name: missing; 1 to 63 lower-case letters, digits and inner hyphens, starting with a letter
skep.toml:7: tenant[1].component: missing; the path of a component, relative to this file, or an origin
skep.toml:7: tenant[1].hosts: missing; at least one host: [\"shop.example\", \"*.shop.example\"]"),
        ("[[tenant]]\nname = 'a'\ncomponent = 'ok.wasm'\nhosts = ['*.a.test', 'a.test']", "\
skep.toml:8: tenant.a.name: already used in line 4 (got 'a'); one that no other tenant has
skep.toml:10: tenant.a.hosts: already used in line 6 (got 'a.test'); one that no other tenant has"),
    ];
    for (added, expected) in cases {
        let text = format!("{BASE}{added}\n");
        assert_eq!(complaints(dir.path(), &text), *expected, "{added}");
    }
}

#[test]
fn a_problem_is_one_line_whatever_is_in_a_path() {
    let dir = directory();
    let text = BASE.replace("ok.wasm", "no\\nsuch\\u001b[2J");
    let told = complaints(dir.path(), &text);
    assert!(told.contains("no\\nsuch\\u{1b}[2J"), "{told}");
    assert!(!told.chars().any(char::is_control), "{told:?}");
}

#[test]
fn files_without_the_right_beginning() {
    let dir = directory();
    let tenant = |lines: &str| format!("[listen]\nhttp = ['[::]:80']\n[[tenant]]\n{lines}\n");
    let component = |file: &str| tenant(&format!("name='b'\nhosts=['b']\ncomponent = '{file}'"));
    let named = |name: &str| {
        tenant(&format!(
            "component='ok.wasm'\nhosts=['b']\nname = '{name}'"
        ))
    };
    const NAME: &str =
        "1 to 63 lower-case letters, digits and inner hyphens, starting with a letter";
    let cases: &[(String, String)] = &[
        (String::new(), "skep.toml: listen.http: missing; an address and port: [\"127.0.0.1:8080\"] or [\"[::]:80\"]".into()),
        ("[listen]\nhttp = []".into(), "skep.toml:2: listen.http: empty (got []); an address and port: [\"127.0.0.1:8080\"] or [\"[::]:80\"]".into()),
        ("[listen]\nhttp = '127.0.0.1:80'".into(), "skep.toml:2: listen.http: wrong type (got '127.0.0.1:80'); a list: [\"…\"]".into()),
        ("[listen]\nhttp = [\n '1.2.3.4:80', '1.2.3.4:80',\n 'localhost:80', 3]".into(), "\
skep.toml:3: listen.http: listed twice (got '1.2.3.4:80'); each address once
skep.toml:4: listen.http: wrong type (got 3); a string
skep.toml:4: listen.http: not an address (got 'localhost:80'); an address and port: [\"127.0.0.1:8080\"] or [\"[::]:80\"]".into()),
        ("[listen]\nhttp = ['1.2.3.4:80'\n[workers]\n".into(), "skep.toml:3: missing comma between array elements, expected `,`; write TOML (https://toml.io)".into()),
        (component("core.wasm"), "skep.toml:6: tenant.b.component: a core module, not a component (got 'core.wasm'); build for wasm32-wasip2, or wrap it with `wasm-tools component new`".into()),
        (component("app.cwasm"), "skep.toml:6: tenant.b.component: compiled code (.cwasm or another ELF file) (got 'app.cwasm'); the .wasm it was made from: skep compiles and keeps artifacts itself".into()),
        (component("text.wat"), "skep.toml:6: tenant.b.component: WebAssembly in text form (got 'text.wat'); its binary form: `wasm-tools parse app.wat -o app.wasm`".into()),
        (component("short.wasm"), "skep.toml:6: tenant.b.component: a WebAssembly file of another version (got 'short.wasm'); a component of the current binary format".into()),
        (component("skep.toml"), "skep.toml:6: tenant.b.component: not WebAssembly (got 'skep.toml'); a component's .wasm".into()),
        (component("."), "skep.toml:6: tenant.b.component: not a file (got '.'); the path of a component's .wasm".into()),
        (component("no.wasm"), "skep.toml:6: tenant.b.component: cannot open no.wasm: No such file or directory (os error 2) (got 'no.wasm'); the path of a component, relative to this file".into()),
        (component("huge.wasm"), "skep.toml:6: tenant.b.component: 268435457 bytes are more than 256 MiB (got 'huge.wasm'); a smaller component: strip its debug sections with `wasm-tools strip`".into()),
        (named("B"), format!("skep.toml:6: tenant.B.name: not a tenant's name (got 'B'); {NAME}")),
        (named("b-"), format!("skep.toml:6: tenant.b-.name: not a tenant's name (got 'b-'); {NAME}")),
        (named("1b"), format!("skep.toml:6: tenant.1b.name: not a tenant's name (got '1b'); {NAME}")),
        (named(""), format!("skep.toml:6: tenant[0].name: not a tenant's name (got ''); {NAME}")),
        (named("b.c"), format!("skep.toml:6: tenant.b.c.name: not a tenant's name (got 'b.c'); {NAME}")),
    ];
    for (text, expected) in cases {
        assert_eq!(complaints(dir.path(), text), *expected, "{text}");
    }
}

#[test]
fn profiles_name_their_own_lines() {
    let dir = directory();
    let cases: &[(&str, &str)] = &[
        ("extends = 'latency'\nslots = 257", ""),
        ("extends = 'latency'\nslots = 256", "\
mine.toml:2: slots: the pool can run out under running requests (got 256); running_max + decommit_batch at most slots"),
        ("extends = 'balanced'\ntick_us = 501", "mine.toml:2: tick_us: the ticker is too slow to end a slice in time (got 501); tick_us at most half of slice_us"),
        ("extends = 'balanced'\nasync_stack_kib = 508", "mine.toml:2: async_stack_kib: no room for host frames above the guest's stack (got 508); async_stack_kib at least wasm_stack_kib + 256"),
        ("extends = 'balanced'\nmemory_reservation_mib = 511", "mine.toml:2: memory_reservation_mib: a memory would outgrow its reservation (got 511); memory_mib_max at most memory_reservation_mib"),
        ("extends = 'balanced'\nslots = 11000", "mine.toml:2: slots: the pools of all engines need more than 80 TiB of address space (got 11000); slots * 6 * (memory_reservation_mib + guard) at most 80 TiB: fewer slots, or a smaller reservation"),
        ("extends = 'balanced'\nring_entries = 1000\nmemory_guard_kib = 65", "\
mine.toml:2: ring_entries: not a power of two (got 1000); a power of two, as io_uring_setup(2) rounds to one
mine.toml:3: memory_guard_kib: not whole pages (got 65); a multiple of 4 KiB"),
        ("extends = 'balanced'\nslots = 15\npagemap_scan = 1\nticks = 2", "\
mine.toml:2: slots: out of range (got 15); 16 to 1000000 slots
mine.toml:3: pagemap_scan: wrong type (got 1); true or false
mine.toml:4: ticks: unknown key; known here: extends, slots, running_max, memory_mib_max, memory_reservation_mib, memory_guard_kib, memory_protection_keys, memory_keep_resident_kib, table_keep_resident_kib, pagemap_scan, warm_slots, decommit_batch, wasm_stack_kib, async_stack_kib, slice_us, tick_us, clock_us, ring_entries, read_buffer_bytes, body_chunk_bytes"),
        ("extends = 3", "mine.toml:1: extends: wrong type (got 3); one of balanced, latency, throughput, density, striped, paranoid, local, or the path of a .toml file"),
        ("extends = 'no.toml'", "mine.toml:1: extends: cannot open the file: No such file or directory (os error 2) (got 'no.toml'); one of balanced, latency, throughput, density, striped, paranoid, local, or the path of a .toml file"),
        ("slots = 20\nextends = './mine.toml'", "mine.toml:2: extends: the profile extends itself (got './mine.toml'); another profile, or no `extends` and every key"),
        ("extends = 'fast'", "mine.toml:1: extends: no such profile (got 'fast'); one of balanced, latency, throughput, density, striped, paranoid, local, or the path of a .toml file"),
    ];
    for (profile, expected) in cases {
        fs::write(dir.path().join("mine.toml"), profile).unwrap();
        let text = format!("{BASE}[workers]\nprofile = 'mine.toml'\n");
        assert_eq!(complaints(dir.path(), &text), *expected, "{profile}");
    }
    fs::write(dir.path().join("mine.toml"), "slots = 20").unwrap();
    let text = format!("{BASE}[workers]\nprofile = 'mine.toml'\n");
    let said = complaints(dir.path(), &text);
    assert_eq!(said.lines().count(), 18, "{said}");
    assert!(said.contains("tick_us: missing; 50 to 5000 µs, or `extends = \"balanced\"`"));
}

/// Writes profiles that extend each other, each the next one; says what is wrong with the first.
fn chain(dir: &Path, files: &[(&str, &str)]) -> String {
    for (name, extends) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("extends = '{extends}'\n")).unwrap();
    }
    let text = format!("{BASE}[workers]\nprofile = '{}'\n", files[0].0);
    complaints(dir, &text)
}

#[test]
fn profiles_extend_each_other_up_to_a_limit_and_in_no_circle() {
    const NAMES: &str = "one of balanced, latency, throughput, density, striped, paranoid, local, or the path of a .toml file";
    let dir = directory();
    // Paths are relative to the file that has them; a shipped profile is one more file.
    let four = [
        ("one.toml", "sub/two.toml"),
        ("sub/two.toml", "../three.toml"),
        ("three.toml", "balanced"),
    ];
    assert_eq!(chain(dir.path(), &four), "");
    let five = [&four[..2], &[("three.toml", "latency")]].concat();
    assert_eq!(
        chain(dir.path(), &five),
        "one.toml:1: extends: the chain of profiles is too long (got 'sub/two.toml'); at most 4 files that extend each other"
    );
    let circle = [&four[..2], &[("three.toml", "sub/../one.toml")]].concat();
    assert_eq!(
        chain(dir.path(), &circle),
        "sub/../three.toml:1: extends: a circle: that file extends this one (got 'sub/../one.toml'); a profile that does not lead back to this one"
    );
    let lost = [("one.toml", "sub/two.toml"), ("sub/two.toml", "three.toml")];
    assert_eq!(
        chain(dir.path(), &lost),
        format!(
            "sub/two.toml:1: extends: cannot open the file: No such file or directory (os error 2) (got 'three.toml'); {NAMES}"
        )
    );
}

#[test]
fn a_profile_that_is_wrong_is_reported_once() {
    let dir = directory();
    fs::write(dir.path().join("mine.toml"), "extends = 'fast'").unwrap();
    let mine = |id| format!("[[workers.core]]\nid = {id}\nprofile = 'mine.toml'\n");
    let said = complaints(dir.path(), &format!("{BASE}{}{}", mine(1), mine(2)));
    assert!(said.starts_with("mine.toml:1: extends: no such profile"));
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn each_core_has_its_profile() {
    let dir = directory();
    fs::write(
        dir.path().join("mine.toml"),
        "extends = 'density'\nslots = 16000",
    )
    .unwrap();
    let text = format!(
        "{BASE}[workers]\nprofile = 'latency'\n[[workers.core]]\nid = 8\nprofile = 'mine.toml'\n"
    );
    let host = load(dir.path(), &text).unwrap();
    let latency = Profile::find("latency", Path::new("")).unwrap();
    let mine = Profile::find("mine.toml", dir.path()).unwrap();
    assert_eq!(mine.slots, 16_000);
    let profiles: Vec<_> = host.cores.iter().map(|it| host.profile_of(*it)).collect();
    assert_eq!(profiles, [&latency, &latency, &mine]);
    assert_eq!(host.core_profiles[&8].name, "mine.toml");
    let workers: Vec<_> = host
        .workers()
        .iter()
        .map(|it| (it.core, it.memory_mib_max))
        .collect();
    assert_eq!(workers, [(1, 512), (2, 512), (8, 128)]);
}

/// What a shipped profile's own file says.
fn shipped(name: &str) -> toml::Table {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join(format!("tuning/profiles/{name}.toml"));
    fs::read_to_string(path).unwrap().parse().unwrap()
}

#[test]
fn shipped_profiles_say_only_what_differs_from_balanced() {
    let resolved = |name| {
        let profile = Profile::find(name, Path::new("")).unwrap();
        toml::Table::try_from(&profile).unwrap()
    };
    let balanced = resolved("balanced");
    assert_eq!(shipped("balanced"), balanced, "it extends nothing");
    for name in Profile::names().filter(|name| *name != "balanced") {
        let mut own = shipped(name);
        assert_eq!(own.remove("extends"), Some("balanced".into()), "{name}");
        let mut expected = balanced.clone();
        for (key, value) in own {
            assert_ne!(balanced[&key], value, "{name}: {key}");
            expected.insert(key, value);
        }
        assert_eq!(resolved(name), expected, "{name}");
    }
}

#[test]
fn built_in_profiles_are_right() {
    for name in Profile::names() {
        if let Err(errors) = Profile::find(name, Path::new("")) {
            panic!("{errors}");
        }
    }
}

#[test]
fn a_configuration_is_completed() {
    let dir = directory();
    let host = load(dir.path(), BASE).unwrap();
    let expected = Tenant {
        name: "a".into(),
        component: Some(dir.path().join("ok.wasm")),
        origin: None,
        hosts: vec![HostPattern::Exact("a.test".into())],
        ..Tenant::default()
    };
    assert_eq!(host.tenants, [expected]);
    assert_eq!(
        host.cores,
        [1, 2, 8],
        "auto: the cores this process may use"
    );
    assert_eq!(
        host.profile,
        Profile::find("balanced", Path::new("")).unwrap()
    );
    assert!(host.artifacts_dir.is_absolute() && host.source.is_absolute());

    let more = "[artifacts]\ndir = 'cache'\n[log]\nfile = 'log.jsonl'\n";
    let host = load(dir.path(), &format!("{BASE}{more}")).unwrap();
    assert_eq!(host.artifacts_dir, dir.path().join("cache"));
    assert_eq!(host.log.file, Some(dir.path().join("log.jsonl")));
}

/// What another limit must be for one to reach its end.
fn companion(limit: &Limit, value: u64) -> &'static str {
    match limit.name {
        "cpu_ms" if value > limits::WALL_MS.default => "wall_ms = 86400000\n",
        "wall_ms" if value < limits::CPU_MS.default => "cpu_ms = 1\n",
        "head_bytes_max" if value < limits::TARGET_BYTES_MAX.default => "target_bytes_max = 256\n",
        _ => "",
    }
}

#[test]
fn limits_hold_at_both_ends() {
    let dir = directory();
    let profile = "extends = 'balanced'\nmemory_mib_max = 4096\n";
    fs::write(dir.path().join("large.toml"), profile).unwrap();
    let sections = [
        ("tenant", limits::TENANT_SHARE),
        ("tenant.limits", limits::TENANT),
        ("http", limits::HTTP),
        ("workers", limits::WORKERS),
    ];
    for (section, table) in sections {
        let accepts = |limit: &Limit, value: i64| {
            let companion = companion(limit, value.unsigned_abs());
            let line = format!("{} = {value}\n{companion}", limit.name);
            let large = "profile = 'large.toml'\n";
            let text = match section {
                "workers" => format!("{BASE}[workers]\n{large}{line}"),
                "tenant" => format!("{BASE}{line}[workers]\n{large}"),
                _ => format!("{BASE}[{section}]\n{line}[workers]\n{large}"),
            };
            load(dir.path(), &text).is_ok()
        };
        for limit in table {
            let (min, max) = (limit.min as i64, limit.max as i64);
            assert!(accepts(limit, min), "{} = {min}", limit.name);
            assert!(accepts(limit, max), "{} = {max}", limit.name);
            assert!(!accepts(limit, min - 1), "{} = {min} - 1", limit.name);
            assert!(!accepts(limit, max + 1), "{} = {max} + 1", limit.name);
        }
    }
}

#[test]
fn a_share_of_a_core_is_a_fraction() {
    let dir = directory();
    for (text, permille) in [("0.01", 10), ("0.25", 250), ("1.0", 1000), ("1", 1000)] {
        let host = load(dir.path(), &format!("{BASE}cpu_share_max = {text}\n")).unwrap();
        let share = host.tenants[0].share;
        assert_eq!(share.cpu_share_max_permille, Some(permille), "{text}");
    }
}

#[test]
fn counts_hold_at_their_limit() {
    let dir = directory();
    let hosts = |count: usize| {
        let list: Vec<_> = (0..count).map(|n| format!("'h{n}.test'")).collect();
        format!(
            "{BASE}{OTHER_TENANT}name = 'b'\nhosts = [{}]\n",
            list.join(",")
        )
    };
    let name = |bytes: usize| {
        let name = "n".repeat(bytes);
        format!("{BASE}{OTHER_TENANT}name = '{name}'\nhosts = ['b.test']\n")
    };
    let tenants = |count: usize| {
        let mut text = BASE.to_owned();
        for n in 1..count {
            let _ = write!(text, "{OTHER_TENANT}name = 't{n}'\nhosts = ['h{n}.test']\n");
        }
        text
    };
    let variables = |count: usize| {
        let list: Vec<_> = (0..count).map(|n| format!("V{n} = ''")).collect();
        format!("{BASE}env = {{ {} }}\n", list.join(", "))
    };
    let env_bytes = |bytes: usize| {
        format!(
            "{BASE}env = {{ A = '{}' }}\n",
            "x".repeat(bytes - "A".len())
        )
    };
    let listen = |count: usize| {
        let list: Vec<_> = (1..=count).map(|n| format!("'127.0.0.1:{n}'")).collect();
        format!("[listen]\nhttp = [{}]\n", list.join(","))
    };
    type Text<'a> = &'a dyn Fn(usize) -> String;
    let cases: [(Text<'_>, usize, &str); 6] = [
        (&hosts, limits::HOSTS_PER_TENANT_MAX, "too many hosts"),
        (&name, limits::TENANT_NAME_BYTES_MAX, "not a tenant's name"),
        (
            &tenants,
            limits::TENANTS_MAX,
            "10001 tenants are too many; at most 10000",
        ),
        (
            &variables,
            limits::ENV_VARIABLES_MAX,
            "257 variables are too many; at most 256",
        ),
        (
            &env_bytes,
            limits::ENV_BYTES_MAX,
            "names and values have 65537 bytes; at most 65536 bytes",
        ),
        (&listen, limits::LISTEN_ADDRESSES_MAX, "too many addresses"),
    ];
    for (text, limit, wrong) in cases {
        assert_eq!(complaints(dir.path(), &text(limit)), "");
        let said = complaints(dir.path(), &text(limit + 1));
        assert!(
            said.contains(wrong) && said.lines().count() == 1,
            "{wrong}: {said}"
        );
    }
}

#[test]
fn cells_are_those_of_their_sections_or_those_that_tenants_name() {
    let dir = directory();
    let tenant = |name: &str, cell: &str| {
        format!("{OTHER_TENANT}name = '{name}'\nhosts = ['{name}.test']\ncell = '{cell}'\n")
    };
    let names = |text: &str| -> Vec<String> {
        let host = load(dir.path(), &format!("{BASE}{text}")).unwrap();
        host.cells.into_iter().map(|cell| cell.name).collect()
    };
    assert_eq!(names(""), ["default"]);
    let three = [
        ("b", "gold"),
        ("c", "default"),
        ("d", "gold"),
        ("e", "iron"),
    ];
    let three: String = three.map(|(name, cell)| tenant(name, cell)).concat();
    assert_eq!(names(&three), ["default", "gold", "iron"]);
    let sections = "[[cell]]\nname = 'iron'\n[[cell]]\nname = 'gold'\n[[cell]]\nname = 'idle'\n";
    assert_eq!(
        names(&format!("{three}{sections}")),
        ["default", "iron", "gold", "idle"]
    );

    let own = "[[cell]]\nname = 'default'\ncpu_max = 2\n";
    let host = load(dir.path(), &format!("{BASE}{own}")).unwrap();
    assert_eq!(host.cells.len(), 1);
    assert_eq!(host.cells[0].cpu_max, Some(2.0));
    assert_eq!(host.cells[0].memory_max_mib, None);
}

#[test]
fn there_are_as_many_cells_as_have_room() {
    let dir = directory();
    let path = dir.path().join("skep.toml");
    let complaint = |cells: usize, cores: usize| {
        let sections = (1..cells).map(|index| format!("[[cell]]\nname = 'c{index}'\n"));
        fs::write(&path, format!("{BASE}{}", sections.collect::<String>())).unwrap();
        let online: Vec<usize> = (0..cores).collect();
        let machine = Machine {
            allowed: online.clone(),
            online,
        };
        let loaded = Host::load_for(&path, &machine);
        loaded.map_or_else(|errors| errors.to_string(), |_| String::new())
    };
    assert_eq!(complaint(limits::CELLS_MAX, 7), "");
    let wrong = complaint(limits::CELLS_MAX + 1, 1);
    assert!(
        wrong.ends_with("cell: 17 cells are too many; at most 16, the default one included"),
        "{wrong}"
    );
    assert_eq!(complaint(2, 60), "");
    let wrong = complaint(2, 61);
    assert!(
        wrong.contains("cell: 2 cells on 61 cores are 122 workers, which are too many; "),
        "{wrong}"
    );
}

#[test]
fn the_largest_tenant_fits_a_control_message() {
    let host = |n: usize| {
        let label = "h".repeat(limits::HOST_LABEL_BYTES_MAX);
        let pattern = format!("{n:063}.{label}.{label}.{}", &label[2..]);
        assert_eq!(pattern.len(), limits::HOST_BYTES_MAX);
        HostPattern::parse(&pattern).unwrap()
    };
    let longest_rule: EgressRule = format!("https://*.{}:65535", &host(0).to_string()[2..])
        .parse()
        .unwrap();
    let longest_store = Store::named(&"s".repeat(limits::STORE_NAME_BYTES_MAX)).unwrap();
    let tenant = Tenant {
        name: "n".repeat(limits::TENANT_NAME_BYTES_MAX),
        component: Some(PathBuf::from("\\".repeat(4096))),
        origin: Some(Origin {
            servers: (0..limits::ORIGIN_SERVERS_MAX)
                .map(|n| format!("https://{}:65535", host(n)).parse().unwrap())
                .collect(),
            host: OriginHost::Name(host(0).to_string()),
            filters: vec![
                OriginFilter {
                    component: PathBuf::from("\\".repeat(4096)),
                    on: [true; HOOKS.len()],
                };
                limits::FILTERS_MAX
            ],
        }),
        hosts: (0..limits::HOSTS_PER_TENANT_MAX).map(host).collect(),
        cell: "c".repeat(limits::TENANT_NAME_BYTES_MAX),
        cores: Cores::List((0..limits::WORKERS_MAX).collect()),
        env: [("A".to_owned(), "\n".repeat(limits::ENV_BYTES_MAX - 1))].into(),
        share: Default::default(),
        egress: Egress {
            allow: vec![longest_rule; limits::EGRESS_RULES_MAX],
        },
        stores: vec![longest_store; limits::STORES_PER_TENANT_MAX],
        ..Tenant::default()
    };
    let message = serde_json::to_vec(&tenant).unwrap();
    // Room for the placement that goes with it.
    let room = limits::WORKERS_MAX * 4 + 256;
    assert!(message.len() + room <= limits::CONTROL_MESSAGE_BYTES_MAX);
}

#[test]
fn the_profiles_of_all_workers_fit_a_control_message() {
    let profile = Profile::find("density", Path::new("")).unwrap();
    let start = ToBroker::Start {
        artifacts_dir: PathBuf::from("\\".repeat(4096)),
        log_file: Some(PathBuf::from("\\".repeat(4096))),
        log_dir: Some(skep::config::LogDir {
            dir: PathBuf::from("\\".repeat(4096)),
            rotate_bytes: u64::MAX,
            keep: usize::MAX,
        }),
        profiles: vec![profile; limits::WORKERS_MAX],
        require: Vec::new(),
    };
    let message = serde_json::to_vec(&start).unwrap();
    // Larger numbers have a few digits more.
    let room = limits::WORKERS_MAX * 64;
    assert!(message.len() + room <= limits::CONTROL_MESSAGE_BYTES_MAX);
}

#[test]
fn a_single_application_answers_for_every_host() {
    let dir = directory();
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let single = |file: &str, env: &[(&str, &str)], budget| {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Host::single(
            dir.path().join(file),
            address,
            env.collect(),
            budget,
            Egress::default(),
        )
    };
    let host = single("ok.wasm", &[("A", "1")], Budget::default()).unwrap();
    assert_eq!(host.tenants[0].hosts, [HostPattern::Any]);
    assert_eq!(host.cores.len(), 1);
    assert!(host.tenants[0].limits.memory_mib <= host.profile.memory_mib_max);

    let cpu = |cpu_ms| Budget {
        cpu_ms: Some(cpu_ms),
        ..Budget::default()
    };
    let refused = single("ok.wasm", &[], cpu(0)).unwrap_err().to_string();
    assert_eq!(refused, "--cpu-ms: out of range (got 0); 1 to 600000 ms");
    let refused = single("ok.wasm", &[("1", "")], cpu(1)).unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("--env: not a variable's name (got 1)")
    );
    let refused = single("core.wasm", &[], cpu(1)).unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("component: a core module, not a component")
    );
}

#[test]
fn the_demo_has_four_tenants() {
    let dir = directory();
    let address = "127.0.0.1:0".parse().unwrap();
    assert!(Host::for_demo(dir.path(), address).is_err());
    for name in ["hello", "echo", "spin", "trap"] {
        let file = dir.path().join(name).with_extension("wasm");
        fs::copy(dir.path().join("ok.wasm"), file).unwrap();
    }
    let host = Host::for_demo(dir.path(), address).unwrap();
    let hosts: Vec<_> = host
        .tenants
        .iter()
        .map(|it| it.hosts[0].to_string())
        .collect();
    assert_eq!(
        hosts,
        [
            "hello.localhost",
            "echo.localhost",
            "spin.localhost",
            "trap.localhost"
        ]
    );
}

#[test]
fn the_command_refuses_with_status_2() {
    let dir = directory();
    let check = |text: &str| {
        fs::write(dir.path().join("skep.toml"), text).unwrap();
        let skep = env!("CARGO_BIN_EXE_skep");
        let arguments = ["check", "--config", "skep.toml"];
        let mut command = Command::new(skep);
        let output = command.args(arguments).current_dir(dir.path()).output();
        let output = output.unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), errors)
    };
    let (status, errors) = check(BASE);
    assert_eq!(status, Some(0), "{errors}");
    let cases = [
        (
            format!("{BASE}[tenant.limits]\ncpu_ms = 0\n"),
            "skep.toml:8: tenant.a.limits.cpu_ms: out of range (got 0); 1 to 600000 ms\n",
        ),
        (
            format!("{BASE}[log]\nlevel = 1\naccess = 'no'\n"),
            "skep.toml:8: log.level: unknown key; known here: access, file, dir, rotate_kib, keep\n\
             skep.toml:9: log.access: unknown value (got 'no'); off, faults, all\n",
        ),
        (
            BASE.replace("ok.wasm", "core.wasm"),
            "skep.toml:5: tenant.a.component: a core module, not a component \
             (got \"core.wasm\"); build for wasm32-wasip2, or wrap it with \
             `wasm-tools component new`\n",
        ),
        (
            BASE.replace("a.test", "A.test"),
            "skep.toml:6: tenant.a.hosts: upper-case letters (got \"A.test\"); \
             the name in lower case\n",
        ),
    ];
    for (text, expected) in cases {
        let (status, errors) = check(&text);
        assert_eq!(status, Some(2), "{text}");
        assert!(errors.contains(expected), "{text}\n{errors}");
    }
}

#[test]
fn the_document_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CONFIG.md");
    let generated = skep::config::docs::markdown().unwrap();
    if std::env::var_os("SKEP_BLESS").is_some() {
        fs::write(&path, &generated).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == generated,
        "docs/CONFIG.md differs from the code: SKEP_BLESS=1 cargo test --test config"
    );
}

#[test]
fn the_documented_example_is_accepted() {
    let dir = directory();
    for name in ["hello.wasm", "authorize.wasm", "resize.wasm"] {
        fs::copy(dir.path().join("ok.wasm"), dir.path().join(name)).unwrap();
    }
    let document = skep::config::docs::markdown().unwrap();
    let mut examples = document
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let whole = examples.next().unwrap();
    assert_eq!(complaints(dir.path(), whole), "");
    let origin = format!("{BASE}{}", examples.next().unwrap());
    assert_eq!(complaints(dir.path(), &origin), "");
    fs::write(dir.path().join("mine.toml"), examples.next().unwrap()).unwrap();
    let profile = Profile::find("mine.toml", dir.path()).unwrap();
    assert_eq!(profile.running_max, 128);
    let text = format!("{BASE}{}", examples.next().unwrap());
    let host = load(dir.path(), &text).unwrap();
    assert_eq!(host.profile_of(2).slots, 20_000);
}
