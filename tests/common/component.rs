//! Components as text: guests that are only their core module.

use std::path::PathBuf;

/// A component with the handler of WASI 0.2 whose core module is `module`, which must export
/// `handle`, called with two handles. It never answers: when `handle` returns, the request's reason
/// is `no_response`.
pub fn component(module: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (import "wasi:http/types@0.2.0" (instance $types
                (export "incoming-request" (type (sub resource)))
                (export "response-outparam" (type (sub resource)))))
            (alias export $types "incoming-request" (type $request))
            (alias export $types "response-outparam" (type $out))
            {module}
            (func $handle (param "request" (own $request)) (param "response-out" (own $out))
                (canon lift (core func $i "handle")))
            (instance $handler (export "handle" (func $handle)))
            (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#
    );
    wat::parse_str(text).expect("valid text")
}

/// The same from the parts of one core module: what it declares, and the body of `handle`.
pub fn core_module(declares: &str, body: &str) -> Vec<u8> {
    component(&format!(
        r#"(core module $m {declares} (func (export "handle") (param i32 i32) {body}))
           (core instance $i (instantiate $m))"#
    ))
}

/// A component with the handler of WASI 0.3. `types` are further exports of `wasi:http/types`; `module` is
/// what follows its types, among them `$types`, `$request`, `$response` and `$error`, and ends with the
/// core instance `$i`, which exports its memory, a `realloc`, and `handle`, called with one handle.
pub fn service(types: &str, module: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (import "wasi:http/types@0.3.0" (instance $types
            (export (;0;) "request" (type (sub resource)))
            (export (;1;) "response" (type (sub resource)))
            (type (;2;) (option string))
            (type (;3;) (option u16))
            (type (;4;) (record (field "rcode" 2) (field "info-code" 3)))
            (export (;5;) "DNS-error-payload" (type (eq 4)))
            (type (;6;) (option u8))
            (type (;7;) (record (field "alert-id" 6) (field "alert-message" 2)))
            (export (;8;) "TLS-alert-received-payload" (type (eq 7)))
            (type (;9;) (option u32))
            (type (;10;) (record (field "field-name" 2) (field "field-size" 9)))
            (export (;11;) "field-size-payload" (type (eq 10)))
            (type (;12;) (option u64))
            (type (;13;) (option 11))
            (type (;14;) (variant (case "DNS-timeout")
                (case "DNS-error" 5)
                (case "destination-not-found")
                (case "destination-unavailable")
                (case "destination-IP-prohibited")
                (case "destination-IP-unroutable")
                (case "connection-refused")
                (case "connection-terminated")
                (case "connection-timeout")
                (case "connection-read-timeout")
                (case "connection-write-timeout")
                (case "connection-limit-reached")
                (case "TLS-protocol-error")
                (case "TLS-certificate-error")
                (case "TLS-alert-received" 8)
                (case "HTTP-request-denied")
                (case "HTTP-request-length-required")
                (case "HTTP-request-body-size" 12)
                (case "HTTP-request-method-invalid")
                (case "HTTP-request-URI-invalid")
                (case "HTTP-request-URI-too-long")
                (case "HTTP-request-header-section-size" 9)
                (case "HTTP-request-header-size" 13)
                (case "HTTP-request-trailer-section-size" 9)
                (case "HTTP-request-trailer-size" 11)
                (case "HTTP-response-incomplete")
                (case "HTTP-response-header-section-size" 9)
                (case "HTTP-response-header-size" 11)
                (case "HTTP-response-body-size" 12)
                (case "HTTP-response-trailer-section-size" 9)
                (case "HTTP-response-trailer-size" 11)
                (case "HTTP-response-transfer-coding" 2)
                (case "HTTP-response-content-coding" 2)
                (case "HTTP-response-timeout")
                (case "HTTP-upgrade-failed")
                (case "HTTP-protocol-error")
                (case "loop-detected")
                (case "configuration-error")
                (case "internal-error" 2)))
            (export (;15;) "error-code" (type (eq 14)))
            {types}))
            (alias export $types "request" (type $request))
            (alias export $types "response" (type $response))
            (alias export $types "error-code" (type $error))
            {module}
            (func $handle async
                (param "request" (own $request))
                (result (result (own $response) (error $error)))
                (canon lift (core func $i "handle")
                    (memory (core memory $i "memory"))
                    (realloc (core func $i "realloc"))))
            (instance $handler (export "handle" (func $handle)))
            (export "wasi:http/handler@0.3.0" (instance $handler)))"#
    );
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// A component with the handler of WASI 0.3 that needs two stacks: a timer of 1 ms runs out, whose end
/// is told on a second stack, while the first blocks for 300 ms. Its answer is no answer: its reason is
/// `trapped`.
pub fn two_stacks() -> Vec<u8> {
    service(
        "",
        r#"(import "wasi:clocks/monotonic-clock@0.3.0" (instance $clock
                (export "wait-for" (func async (param "how-long" u64)))))
            (alias export $clock "wait-for" (func $wait-for))
            (core func $block (canon lower (func $wait-for)))
            (core func $start (canon lower (func $wait-for) async))
            (core module $m
                (import "" "block" (func $block (param i64)))
                (import "" "start" (func $start (param i64) (result i32)))
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
                (func (export "handle") (param i32) (result i32)
                    (drop (call $start (i64.const 1000000)))
                    (call $block (i64.const 300000000))
                    (i32.const 16)))
            (core instance $i (instantiate $m (with "" (instance
                (export "block" (func $block))
                (export "start" (func $start))))))"#,
    )
}

/// Writes a component where a host can find it: in a directory that lives as long as the tests.
pub fn written(name: &str, bytes: &[u8]) -> PathBuf {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = dir.join(format!("{name}-{}.wasm", std::process::id()));
    std::fs::write(&path, bytes).expect("writing a component");
    path
}
