//! Pointers, lengths and handles that make no sense, from every kind of program.

use super::*;

/// One call of a host function: what it is imported from, its name, and its arguments, whose first
/// letters tell its type: `i` is an `i32`, `l` an `i64`, `f` an `f64`; after `>`, what it returns.
type Call = (&'static str, &'static str, &'static str);

/// The imports of these calls, and the calls, each where `$n` is its number, with what is to be done
/// with what one returns.
fn imports_and_calls(calls: &[Call], returned: &str) -> (String, String) {
    let kind = |argument: &str| match &argument[..1] {
        "i" => "i32",
        "l" => "i64",
        _ => "f64",
    };
    let (mut imports, mut text) = (String::new(), String::new());
    for (number, (module, name, arguments)) in calls.iter().enumerate() {
        let (arguments, returns) = arguments.split_once('>').unwrap_or((arguments, ""));
        let (mut parameters, mut values) = (String::new(), String::new());
        for argument in arguments.split_whitespace() {
            parameters += &format!(" {}", kind(argument));
            values += &format!("({}.const {})", kind(argument), &argument[1..]);
        }
        let (result, returned) = match returns {
            "" => ("", ""),
            _ => ("(result i32)", returned),
        };
        imports += &format!(
            r#"(import "{module}" "{name}" (func $f{number} (param{parameters}) {result}))"#
        );
        text += &format!(
            "(if (i32.eq (local.get $n) (i32.const {number}))
                (then (call $f{number} {values}) {returned}))"
        );
    }
    (imports, text)
}

/// The number in a path such as `/07`, whose address is in `$path`; above 99 where it is none.
const NUMBER: &str = "(i32.add
    (i32.mul (i32.sub (i32.load8_u offset=1 (local.get $path)) (i32.const 48)) (i32.const 10))
    (i32.sub (i32.load8_u offset=2 (local.get $path)) (i32.const 48)))";

/// What calls find in memory: a store and a key at 512 and 513, no UTF-8 at 514, a URL at 516, the name
/// of a value of six bytes at 530; at 600 and 608, slices that are beyond the end and too long.
const DATA: &str = r#"
    (data (i32.const 512) "Sk\ff\ffhttp://a.test/SIX")
    (data (i32.const 600) "\c0\ff\ff\ff\40\00\00\00\00\02\00\00\ff\ff\ff\7f")"#;

/// A program in FastEdge's form, a core module, that makes the call whose number its path is. With any
/// other path it answers what the key `k` of the store `S` holds. It has opened the store twice: handle
/// 1 is FastEdge's, 2 that of `wasi:keyvalue`.
fn program(calls: &[Call]) -> Vec<u8> {
    let (imports, calls) = imports_and_calls(calls, "(drop)");
    let text = format!(
        r#"(module
            {imports}
            (import "gcore:fastedge/key-value" "[static]store.open"
                (func $open (param i32 i32 i32)))
            (import "gcore:fastedge/key-value" "[method]store.get"
                (func $get (param i32 i32 i32 i32)))
            (import "wasi:keyvalue/store@0.2.0-draft2" "open" (func $open2 (param i32 i32 i32)))
            (memory (export "memory") 32)
            {DATA}
            (global $free (mut i32) (i32.const 65536))
            ;; What has six bytes is put where there is no memory.
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (if (i32.eq (local.get 3) (i32.const 6)) (then (return (i32.const -64))))
                (global.set $free (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
                (global.get $free)
                (global.set $free (i32.add (global.get $free) (local.get 3))))
            (func (export "gcore:fastedge/http-handler#process")
                (param i32) (param $path i32) (param i32 i32 i32 i32 i32 i32) (result i32)
                (local $n i32)
                (call $open (i32.const 512) (i32.const 1) (i32.const 1024))
                (call $open2 (i32.const 512) (i32.const 1) (i32.const 1036))
                (if (i32.or
                        (i32.ne (i32.load (i32.const 1028)) (i32.const 1))
                        (i32.ne (i32.load (i32.const 1040)) (i32.const 2)))
                    (then (unreachable)))
                (local.set $n {NUMBER})
                {calls}
                (call $get (i32.const 1) (i32.const 513) (i32.const 1) (i32.const 1024))
                (if (i32.load8_u (i32.const 1024)) (then (unreachable)))
                ;; A status, no fields, the value as the body.
                (i32.store (i32.const 2048) (i32.const 200))
                (memory.copy (i32.const 2064) (i32.const 1028) (i32.const 12))
                (i32.const 2048)))"#
    );
    let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"));
    let mut resolve = wit_parser::Resolve::default();
    for package in [
        include_str!("../../wit/fastedge.wit"),
        include_str!("../../wit/keyvalue.wit"),
        include_str!("../guests/fastedge/wit/config.wit"),
        // As much of it as is called.
        "package wasi:http@0.2.0;
         interface types {
           variant header-error { invalid-syntax, forbidden, immutable }
           resource fields {
             from-list: static func(entries: list<tuple<string, list<u8>>>)
               -> result<fields, header-error>;
           }
           resource outgoing-request {
             constructor(headers: fields);
             set-authority: func(authority: option<string>) -> result;
           }
         }",
    ] {
        resolve.push_str("a.wit", package).unwrap();
    }
    let world = "package skep:junk;
        world junk {
          include gcore:fastedge/app;
          import wasi:keyvalue/store@0.2.0-draft2;
          import wasi:keyvalue/batch@0.2.0-draft2;
          import wasi:config/store@0.2.0-rc.1;
          import wasi:http/types@0.2.0;
        }";
    let package = resolve.push_str("junk.wit", world).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, &resolve, world, encoding).unwrap();
    module
}

const JUNK_OF_PROGRAMS: &[(&str, &[(&str, &str)])] = &[
    // Beyond the end, too long, no UTF-8, a result beyond the end, and at an address that is not aligned;
    // and a result for which there is no memory.
    (
        "gcore:fastedge/dictionary",
        &[
            ("get", "i-64 i64 i1024"),
            ("get", "i512 i2147483647 i1024"),
            ("get", "i514 i2 i1024"),
            ("get", "i512 i1 i-64"),
            ("get", "i512 i1 i1025"),
            ("get", "i530 i3 i1024"),
        ],
    ),
    (
        "wasi:config/store@0.2.0-rc.1",
        &[
            ("get", "i-64 i64 i1024"),
            ("get", "i512 i2147483647 i1024"),
            ("get", "i512 i1 i-64"),
            ("get", "i530 i3 i1024"),
            ("get-all", "i-64"),
        ],
    ),
    (
        "gcore:fastedge/secret",
        &[
            ("get", "i-64 i64 i1024"),
            ("get", "i512 i2147483647 i1024"),
            ("get", "i512 i1 i-64"),
            ("get-effective-at", "i-64 i64 i0 i1024"),
            ("get-effective-at", "i512 i1 i0 i-64"),
        ],
    ),
    (
        "gcore:fastedge/key-value",
        &[
            ("[static]store.open", "i-64 i64 i1024"),
            ("[static]store.open", "i512 i1 i-64"),
            // Handles that are none, and that are another's.
            ("[method]store.get", "i77 i513 i1 i1024"),
            ("[method]store.get", "i2 i513 i1 i1024"),
            ("[method]store.get", "i1 i-64 i64 i1024"),
            ("[method]store.get", "i1 i513 i1 i-64"),
            ("[method]store.scan", "i1 i512 i2147483647 i1024"),
            ("[method]store.zrange-by-score", "i1 i-64 i64 f0 f1 i1024"),
            ("[method]store.zscan", "i1 i513 i1 i-64 i64 i1024"),
            ("[method]store.bf-exists", "i1 i513 i1 i-64 i64 i1024"),
        ],
    ),
    (
        "wasi:keyvalue/store@0.2.0-draft2",
        &[
            ("open", "i-64 i64 i1024"),
            ("[method]bucket.get", "i1 i513 i1 i1024"),
            ("[method]bucket.get", "i2 i513 i1 i-64"),
            ("[method]bucket.set", "i2 i513 i1 i-64 i64 i1024"),
            ("[method]bucket.set", "i2 i513 i1 i512 i2147483647 i1024"),
            ("[method]bucket.delete", "i2 i-64 i64 i1024"),
            ("[method]bucket.list-keys", "i2 i7 i512 i1 i1024"),
        ],
    ),
    (
        "wasi:keyvalue/batch@0.2.0-draft2",
        &[
            ("get-many", "i2 i-64 i3 i1024"),
            ("set-many", "i2 i512 i268435456 i1024"),
            ("set-many", "i2 i600 i1 i1024"),
            ("delete-many", "i2 i600 i1 i1024"),
        ],
    ),
    (
        "gcore:fastedge/cache-sync",
        &[
            ("get", "i-64 i64 i1024"),
            ("get", "i512 i1 i-64"),
            ("set", "i513 i1 i-64 i64 i0 l0 i1024"),
            ("set", "i513 i1 i512 i2147483647 i0 l0 i1024"),
            ("set", "i513 i1 i512 i1 i7 l0 i1024"),
            ("delete", "i-64 i64 i1024"),
            ("incr", "i514 i2 l1 i1024"),
            ("purge", "i-64"),
            ("purge-prefix", "i-64 i64 i1024"),
        ],
    ),
    (
        "gcore:fastedge/http-client",
        &[
            ("send-request", "i0 i-64 i64 i0 i0 i0 i0 i0 i1024"),
            ("send-request", "i99 i516 i14 i0 i0 i0 i0 i0 i1024"),
            ("send-request", "i0 i516 i14 i512 i268435456 i0 i0 i0 i1024"),
            ("send-request", "i0 i516 i14 i0 i0 i1 i-64 i64 i1024"),
            ("send-request", "i0 i516 i14 i0 i0 i0 i0 i0 i-64"),
        ],
    ),
    (
        "wasi:http/types@0.2.0",
        &[
            ("[static]fields.from-list", "i-64 i1 i1024"),
            ("[static]fields.from-list", "i512 i268435456 i1024"),
            ("[constructor]outgoing-request", "i77>i"),
            ("[method]outgoing-request.set-authority", "i1 i1 i516 i6>i"),
        ],
    ),
    ("gcore:fastedge/utils", &[("set-user-diag", "i-64 i64")]),
    (
        "wasi_snapshot_preview1",
        &[
            ("fd_write", "i1 i-64 i1 i1024>i"),
            ("fd_write", "i1 i600 i1 i1024>i"),
            ("fd_write", "i2 i608 i1 i1024>i"),
            ("fd_write", "i1 i600 i-1 i-64>i"),
            ("random_get", "i-64 i64>i"),
            ("environ_get", "i-64 i-64>i"),
        ],
    ),
];

/// What is found, as the tenant's log has it.
const FOUND: &[&str] = &[
    "pointer/length out of bounds of memory",
    "pointer out of bounds",
    "pointer not aligned",
    "realloc return: beyond end of memory",
    "unknown handle index",
    "used with the wrong type",
    "discriminant",
    "invalid utf-8",
    "out of bounds memory access",
];

/// Programs are components, also those that were core modules: the canonical ABI looks at every number
/// before the host has it, and the program crashes.
#[test]
fn junk() {
    let calls = JUNK_OF_PROGRAMS.iter().flat_map(|(module, calls)| {
        let named = |(name, arguments): &(&'static str, &'static str)| (*module, *name, *arguments);
        calls.iter().map(named)
    });
    let calls: Vec<Call> = calls.collect();
    let host = TestHost::builder()
        .tenant(
            Tenant::with_component("junk", written("junk-program", &program(&calls)))
                .line("kv = [{ name = 'S', shared = 'flags' }]")
                .line("config = { SIX = 'sixsix' }")
                .line("egress.allow = ['127.0.0.0/8']")
                .env("NAME", "value")
                .limit("quarantine_failures", 0),
        )
        .tenant(
            Tenant::new("other", "keyvalue")
                .limit("cpu_ms", 500)
                .line("kv = [{ name = 'default', shared = 'flags' }]"),
        )
        .start();
    assert_eq!(ask(&host, "other", "/set?key=k&value=kept"), "ok");
    let stage = Stage {
        host: &host,
        kept: &[("junk", "/ok", "kept")],
        others: &[("other", "/get?key=k", "some kept")],
    };
    for (number, (module, name, arguments)) in calls.iter().enumerate() {
        let cell = format!("{module} {name}({arguments})");
        let path = format!("/{number:02}");
        stage.check(&[(&cell, ("junk", &path, "500 trapped"))]);
        check_found(&host, "junk", &path, &cell);
    }
}

/// A tenant's request ended because of what it passed.
#[track_caller]
fn check_found(host: &TestHost, tenant: &str, path: &str, cell: &str) {
    let access = host.wait_for_log(|line| {
        line["tenant"] == *tenant && line["kind"] == "access" && line["path"] == *path
    });
    let fault = host.wait_for_log(|line| {
        line["reason"] == "trapped"
            && line["kind"] == "fault"
            && line["request"] == access["request"]
    });
    let detail = fault["detail"].as_str().unwrap();
    let is_found = FOUND.iter().any(|it| detail.contains(it));
    assert!(is_found, "{cell}: {detail}");
}

/// A program of WASI 0.3 that makes this call, whatever it is asked; handle 1 is its request.
fn service_that(calls: &str) -> Vec<u8> {
    let types = r#"
        (export "fields" (type $fields (sub resource)))
        (type $why (variant (case "invalid-syntax") (case "forbidden") (case "immutable")
            (case "size-exceeded") (case "other" (option string))))
        (export "header-error" (type $header-error (eq $why)))
        (export "[static]fields.from-list" (func
            (param "entries" (list (tuple string (list u8))))
            (result (result (own $fields) (error $header-error)))))"#;
    let module = format!(
        r#"(import "wasi:http/client@0.3.0" (instance $client
                (export "send" (func async (param "request" (own $request))
                    (result (result (own $response) (error $error)))))))
        (core module $libc
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
        (core instance $libc (instantiate $libc))
        (alias core export $libc "memory" (core memory $memory))
        (alias core export $libc "realloc" (core func $realloc))
        (alias export $client "send" (func $send))
        (alias export $types "[static]fields.from-list" (func $from-list))
        (core func $from-list (canon lower (func $from-list)
            (memory (core memory $memory)) (realloc (core func $realloc))))
        (core func $send (canon lower (func $send)
            (memory (core memory $memory)) (realloc (core func $realloc))))
        (core func $start (canon lower (func $send) async
            (memory (core memory $memory)) (realloc (core func $realloc))))
        (core module $m
            (import "" "memory" (memory 1))
            (import "" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
            (import "" "from-list" (func $from-list (param i32 i32 i32)))
            (import "" "send" (func $send (param i32 i32)))
            (import "" "start" (func $start (param i32 i32) (result i32)))
            (export "memory" (memory 0))
            (export "realloc" (func $realloc))
            (func (export "handle") (param $request i32) (result i32) {calls} (unreachable)))
        (core instance $i (instantiate $m (with "" (instance
            (export "memory" (memory $memory))
            (export "realloc" (func $realloc))
            (export "from-list" (func $from-list))
            (export "send" (func $send))
            (export "start" (func $start))))))"#
    );
    service(types, &module)
}

/// The same of WASI 0.3: each of these programs does it at every request, and nothing else.
#[test]
fn junk3() {
    let cases = [
        "(call $from-list (i32.const -64) (i32.const 64) (i32.const 1024))",
        "(call $from-list (i32.const 512) (i32.const 268435456) (i32.const 1024))",
        "(call $from-list (i32.const 512) (i32.const 0) (i32.const -64))",
        "(call $send (i32.const 77) (i32.const 1024))",
        "(call $send (local.get $request) (i32.const -64))",
        "(drop (call $start (i32.const 77) (i32.const 1024)))",
        "(drop (call $start (local.get $request) (i32.const -64)))",
    ];
    let names: Vec<_> = (0..cases.len()).map(|at| format!("junk{at}")).collect();
    let mut config = TestHost::builder().tenant(Tenant::new("three", "service3"));
    for (name, calls) in names.iter().zip(cases) {
        let path = written(&format!("service-{name}"), &service_that(calls));
        config = config.tenant(Tenant::with_component(name, path));
    }
    let host = config.tenant(Tenant::new("hello", "hello")).start();
    let stage = Stage {
        host: &host,
        kept: &[("three", "/", "Hello from skep")],
        others: &[HELLO, ("three", "/", "Hello from skep")],
    };
    for (name, calls) in names.iter().zip(cases) {
        for _ in 0..2 {
            stage.check(&[(calls, (name, "/", "500 trapped"))]);
        }
        check_found(&host, name, "/", calls);
    }
}

/// A filter that makes the call whose number its path is, and answers its status as two digits. Other
/// paths go on. Its allocator gives six bytes where there is no memory.
fn filter(calls: &[Call]) -> Vec<u8> {
    let (imports, calls) = imports_and_calls(calls, "(local.set $status)");
    let text = format!(
        r#"(module
            {imports}
            (import "env" "proxy_get_header_map_value"
                (func $field (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_send_local_response"
                (func $answer (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_kv_store_open" (func $open (param i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            {DATA}
            (data (i32.const 700) ":path")
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32)
                (select (i32.const -64) (i32.const 4096) (i32.eq (local.get 0) (i32.const 6))))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (local $n i32) (local $path i32) (local $status i32)
                (drop (call $field (i32.const 0) (i32.const 700) (i32.const 5) (i32.const 1024) (i32.const 1028)))
                (local.set $path (i32.load (i32.const 1024)))
                (local.set $n {NUMBER})
                (if (i32.gt_u (local.get $n) (i32.const 99)) (then (return (i32.const 0))))
                (drop (call $open (i32.const 512) (i32.const 1) (i32.const 1032)))
                {calls}
                (i32.store8 (i32.const 720)
                    (i32.add (i32.div_u (local.get $status) (i32.const 10)) (i32.const 48)))
                (i32.store8 (i32.const 721)
                    (i32.add (i32.rem_u (local.get $status) (i32.const 10)) (i32.const 48)))
                (drop (call $answer (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 720) (i32.const 2)
                    (i32.const 0) (i32.const 0) (i32.const -1)))
                (i32.const 1)))"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
}

/// `InvalidMemoryAccess` of proxy-wasm, and `EFAULT` of WASI.
const OUTSIDE: &str = "06";
const FAULT: &str = "21";

const JUNK_OF_FILTERS: &[(&str, &str, &str)] = &[
    // The first two are fine.
    ("proxy_cache_set", "i513 i1 i513 i1 l0>i", "00"),
    ("proxy_cache_get", "i513 i1 i1024 i1028>i", "00"),
    ("proxy_log", "i2 i-64 i64>i", OUTSIDE),
    ("proxy_log", "i2 i512 i2147483647>i", OUTSIDE),
    (
        "proxy_http_call",
        "i-64 i64 i0 i0 i0 i0 i0 i0 i1000 i1024>i",
        OUTSIDE,
    ),
    (
        "proxy_http_call",
        "i523 i6 i-64 i64 i0 i0 i0 i0 i1000 i1024>i",
        OUTSIDE,
    ),
    (
        "proxy_http_call",
        "i523 i6 i0 i0 i-64 i64 i0 i0 i1000 i1024>i",
        OUTSIDE,
    ),
    (
        "proxy_http_call",
        "i523 i6 i0 i0 i0 i0 i0 i0 i1000 i-2>i",
        OUTSIDE,
    ),
    ("proxy_secret_get", "i-64 i64 i1024 i1028>i", OUTSIDE),
    (
        "proxy_secret_get_effective_at",
        "i512 i2147483647 i0 i1024 i1028>i",
        OUTSIDE,
    ),
    ("proxy_dictionary_get", "i-64 i64 i1024 i1028>i", OUTSIDE),
    ("proxy_dictionary_get", "i530 i3 i1024 i1028>i", OUTSIDE),
    ("proxy_kv_store_open", "i-64 i64 i1024>i", OUTSIDE),
    ("proxy_kv_store_open", "i512 i1 i-2>i", OUTSIDE),
    ("proxy_kv_store_get", "i77 i513 i1 i1024 i1028>i", "02"),
    ("proxy_kv_store_get", "i0 i-64 i64 i1024 i1028>i", OUTSIDE),
    ("proxy_kv_store_get", "i0 i513 i1 i-2 i-2>i", OUTSIDE),
    (
        "proxy_kv_store_scan",
        "i0 i512 i2147483647 i1024 i1028>i",
        OUTSIDE,
    ),
    (
        "proxy_kv_store_bf_exists",
        "i0 i513 i1 i-64 i64 i1024>i",
        OUTSIDE,
    ),
    ("proxy_cache_get", "i-64 i64 i1024 i1028>i", OUTSIDE),
    ("proxy_cache_get", "i514 i2 i1024 i1028>i", "02"),
    ("proxy_cache_get", "i513 i1 i-2 i-2>i", OUTSIDE),
    ("proxy_cache_set", "i513 i1 i-64 i64 l0>i", OUTSIDE),
    ("proxy_cache_set", "i513 i1 i512 i2147483647 l0>i", OUTSIDE),
    ("proxy_cache_incr", "i513 i1 l1 i-2>i", OUTSIDE),
    ("proxy_cache_purge", "i-2>i", OUTSIDE),
    ("fd_write", "i1 i-64 i1 i1024>i", FAULT),
    ("fd_write", "i1 i600 i1 i1024>i", FAULT),
    ("fd_write", "i2 i608 i1 i1024>i", FAULT),
];

/// For filters it is the host that looks, function by function; that each of them does, with every kind
/// of number, is tested beside them.
#[test]
fn junk_filters() {
    let origin = Origin::start();
    let call = |(name, arguments, _): &(&'static str, &'static str, &'static str)| -> Call {
        match name.starts_with("fd_") {
            true => ("wasi_snapshot_preview1", name, arguments),
            false => ("env", name, arguments),
        }
    };
    let calls: Vec<_> = JUNK_OF_FILTERS.iter().map(call).collect();
    let component = written("junk-filter", &filter(&calls));
    let secret = tempfile::tempdir().unwrap();
    let host = TestHost::builder()
        .line(
            "data",
            &format!("secret_key = {:?}", secret.path().join("key")),
        )
        .tenant(
            Tenant::passed_on("junk", &[&origin.url()])
                .line(&format!(
                    "origin.filter = [{{ component = {component:?} }}]"
                ))
                .line("kv = [{ name = 'S' }]")
                .line("config = { SIX = 'sixsix' }")
                .line("egress.allow = ['127.0.0.0/8']")
                .line(&sealed(secret.path(), "junk", &[("KEY", "s3cret")])),
        )
        .tenant(Tenant::passed_on("other", &[&origin.url()]))
        .start();
    assert_eq!(ask(&host, "junk", "/00"), "00");
    let stage = Stage {
        host: &host,
        kept: &[("junk", "/hello", "hello"), ("junk", "/01", "00")],
        others: &[("other", "/hello", "hello")],
    };
    for (number, (name, arguments, status)) in JUNK_OF_FILTERS.iter().enumerate() {
        let cell = format!("{name}({arguments})");
        let path = format!("/{number:02}");
        stage.check(&[(&cell, ("junk", &path, status))]);
    }
}
