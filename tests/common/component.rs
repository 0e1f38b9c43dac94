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

/// Writes a component where a host can find it: in a directory that lives as long as the tests.
pub fn written(name: &str, bytes: &[u8]) -> PathBuf {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = dir.join(format!("{name}-{}.wasm", std::process::id()));
    std::fs::write(&path, bytes).expect("writing a component");
    path
}
