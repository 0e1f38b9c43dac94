//! Advisories about what skep does not have: shown to be absent, and to stay so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use skep::control::Flavour::{P2, P3};
use wasmtime::{Config, Engine, Strategy};

use crate::common::{Tenant, TestHost};
use crate::worker::{Worker, core};

/// What `Cargo.lock` says that skep is made of: names and versions.
fn crates() -> BTreeMap<String, BTreeSet<String>> {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    let lock: toml::Table = std::fs::read_to_string(lock).unwrap().parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    // A dependency is `NAME`, or `NAME VERSION` where there are several.
    let mut left = VecDeque::from(["skep".to_owned()]);
    while let Some(dependency) = left.pop_front() {
        let (name, version) = dependency.split_once(' ').unwrap_or((&dependency, ""));
        for package in packages.iter().filter(|package| {
            package["name"].as_str() == Some(name)
                && (version.is_empty() || package["version"].as_str() == Some(version))
        }) {
            let version = package["version"].as_str().unwrap().to_owned();
            if found.entry(name.to_owned()).or_default().insert(version)
                && let Some(dependencies) = package.get("dependencies")
            {
                for dependency in dependencies.as_array().unwrap() {
                    left.push_back(dependency.as_str().unwrap().to_owned());
                }
            }
        }
    }
    found
}

/// The numbers of a version.
fn numbers(version: &str) -> Vec<u64> {
    let version = version.split(['-', '+']).next().unwrap();
    version.split('.').map(|n| n.parse().unwrap()).collect()
}

/// Fails where a crate is older than the first version without the fault.
fn check_floor(name: &str, floor: &str) {
    let found = crates();
    for version in found.get(name).unwrap_or_else(|| panic!("no {name}")) {
        assert!(
            numbers(version) >= numbers(floor),
            "{name} {version} < {floor}"
        );
    }
}

/// All of those whose fix is in the engine alone: RUSTSEC-2026-0090 (GHSA-hfr4), -0096 (GHSA-jhxm,
/// aarch64), and every other one of this file.
#[test]
fn rustsec_2026_0090_0096_ghsa_hfr4_jhxm_the_engine_has_every_fix_of_its_line() {
    for name in [
        "wasmtime",
        "wasmtime-wasi",
        "wasmtime-wasi-http",
        "wasmtime-wasi-io",
        "wasmtime-internal-cranelift",
    ] {
        check_floor(name, "48.0.8");
    }
}

#[test]
fn rustsec_2026_0096_ghsa_jhxm_artifacts_are_for_this_machine_only() {
    let artifact = Worker::new("balanced", P2).compile("").unwrap();
    // `e_machine` of the ELF header.
    let machine = u16::from_le_bytes([artifact[18], artifact[19]]);
    let expected = if cfg!(target_arch = "x86_64") {
        62
    } else {
        183
    };
    assert_eq!(machine, expected);
}

/// Winch: GHSA-xx5w, -f984, -q49f, -m9w2.
#[test]
fn rustsec_2026_0086_0089_0094_0095_ghsa_xx5w_there_is_no_winch() {
    let error = Engine::new(Config::new().strategy(Strategy::Winch)).unwrap_err();
    assert!(error.to_string().contains("not compiled in"), "{error}");
    let winch: Vec<_> = crates()
        .into_keys()
        .filter(|name| name.contains("winch"))
        .collect();
    assert_eq!(winch, [""; 0]);
}

#[test]
fn rustsec_2025_0118_ghsa_hc7m_there_is_no_shared_memory() {
    for flavour in [P2, P3] {
        let worker = Worker::new("balanced", flavour);
        for (module, wanted) in [
            ("(memory 1 1 shared)", "threads"),
            (r#"(import "" "m" (memory 1 1 shared))"#, "threads"),
            (
                "(memory 1) (func (drop (i32.atomic.load (i32.const 0))))",
                "threads",
            ),
        ] {
            let reason = worker
                .compile(&format!("(core module {module})"))
                .unwrap_err();
            assert!(reason.contains(wanted), "{module}: {reason}");
        }
        assert!(worker.compile(&core("(memory 1)", &[])).is_ok());
    }
}

/// A core module has preview 1, and with it `fd_renumber`, only through an adapter inside its
/// component: of the host it can import nothing of the kind.
#[test]
fn rustsec_2025_0046_2026_0182_ghsa_3p27_fm79_there_is_no_preview_1() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("preview1.wasm");
    let text = r#"(module
        (import "wasi_snapshot_preview1" "fd_renumber" (func (param i32 i32) (result i32)))
        (func (export "_start")))"#;
    std::fs::write(&path, wat::parse_str(text).unwrap()).unwrap();
    let (_, stderr) = TestHost::builder()
        .tenant(Tenant::with_component("a", path))
        .start_refused();
    assert!(
        stderr.contains("a core module, not a component"),
        "{stderr}"
    );
    // Both names are below what is linked: a component that imports them does not load.
    let path = dir.path().join("imports.wasm");
    let text = r#"(component
        (import "wasi-snapshot-preview1" (instance (export "fd-renumber" (func (param "a" u32)))))
        (instance $none) (export "wasi:http/incoming-handler@0.2.0" (instance $none)))"#;
    std::fs::write(&path, wat::parse_str(text).unwrap()).unwrap();
    let host = TestHost::builder()
        .private_artifacts()
        .tenant(Tenant::with_component("a", path))
        .start();
    assert_eq!(
        host.get("a.test", "/").expect(502).reason(),
        "component_rejected"
    );
}

/// GHSA-vqjp, -2r75, -4ch3, -c2f5, and of 48.0.x: renaming to a name with a trailing slash,
/// overflow in `set-times`. All of them take a directory that a tenant was given.
#[test]
fn rustsec_2026_0149_0188_ghsa_vqjp_no_tenant_has_a_directory() {
    let host = TestHost::builder()
        .tenant(Tenant::new("a", "advisory"))
        .tenant(Tenant::new("k", "kitchen"))
        .start();
    assert_eq!(host.get("a.test", "/fs").expect(200).text(), "preopens 0\n");
    let text = host.get("k.test", "/fs").expect(200).text();
    assert!(text.starts_with("preopens 0\n/etc/passwd "), "{text}");
    assert!(!text.contains("opened"), "{text}");
    check_floor("cap-primitives", "4.0.3");
}

#[test]
fn wasmtime_48_no_tenant_has_a_socket() {
    let host = TestHost::builder()
        .tenant(Tenant::new("a", "advisory"))
        .start();
    let text = host.get("a.test", "/udp").expect(200).text();
    for socket in ["udp", "tcp"] {
        let line = text.lines().find(|line| line.starts_with(socket));
        assert!(line.unwrap().contains("access-denied"), "{text}");
    }
    assert!(!text.contains("Ok"), "{text}");
}

/// RUSTSEC-2026-0049, -0098, -0099, -0104 (rustls-webpki: lists of revoked certificates, which are
/// not used here, and name constraints), 2024-0336 (rustls: a loop after the end of the stream),
/// 2025-0009 (ring: overflow), 2025-0006 (hickory-proto: DNSSEC, which is not used here).
#[test]
fn rustsec_2026_0049_0098_0099_0104_what_speaks_tls_and_dns_has_its_fixes() {
    check_floor("rustls-webpki", "0.103.13");
    check_floor("rustls", "0.23.5");
    check_floor("ring", "0.17.12");
    check_floor("hickory-proto", "0.25.0");
}

/// RUSTSEC-2024-0003, -0332, 2026-0258 (h2), 2026-0037, -0185 (quinn-proto). h2 is there, as a part of hyper that `wasmtime-wasi-http` has for
/// its error type; but no connection becomes one of HTTP/2.
#[test]
fn rustsec_2024_0003_2026_0258_there_is_no_http_2_and_no_quic() {
    let found = crates();
    for name in ["quinn", "quinn-proto"] {
        assert!(!found.contains_key(name), "{name}: {:?}", found[name]);
    }
    let host = TestHost::builder()
        .tenant(Tenant::new("a", "hello"))
        .start();
    let settings = "\0\0\0\u{4}\0\0\0\0\0";
    let answer = |bytes: &str| {
        let mut client = host.connect();
        client.send(bytes);
        client.finish_sending();
        client.read_to_end()
    };
    let preface = answer(&format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{settings}"));
    assert!(
        preface.starts_with(b"HTTP/1.1 505 "),
        "{}",
        preface.escape_ascii()
    );
    let upgrade = answer(
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    );
    assert!(
        upgrade.starts_with(b"HTTP/1.1 200 "),
        "{}",
        upgrade.escape_ascii()
    );
    // A TLS ClientHello is no request.
    let hello = answer("\u{16}\u{3}\u{1}\0\u{5}\u{1}\0\0\u{1}\0\r\n\r\n");
    assert!(
        hello.starts_with(b"HTTP/1.1 400 "),
        "{}",
        hello.escape_ascii()
    );
}
