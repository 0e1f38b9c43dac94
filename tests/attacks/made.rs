//! Components that no compiler makes, from text.

/// A component with `wasi:http`'s handler.
///
/// `before` stands in front of its core module, and may import and lower what `module` imports with `args`.
/// The module has to export `handle`; `options` are those of its lift.
pub fn component(before: &str, module: &str, args: &str, options: &str, after: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (import "wasi:http/types@0.2.0" (instance $types
                (export "incoming-request" (type (sub resource)))
                (export "response-outparam" (type (sub resource)))))
            (alias export $types "incoming-request" (type $request))
            (alias export $types "response-outparam" (type $out))
            {before}
            (core module $m {module})
            (core instance $i (instantiate $m {args}))
            (func $handle (param "request" (own $request)) (param "response-out" (own $out))
                (canon lift (core func $i "handle") {options}))
            (instance $handler (export "handle" (func $handle)))
            {after}
            (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
}

/// The same where the module imports nothing: `body` is that of `handle`, `items` what stands beside it.
pub fn handler(items: &str, body: &str) -> Vec<u8> {
    let handle = format!(r#"(func (export "handle") (param i32 i32) {body})"#);
    component("", &format!("{items} {handle}"), "", "", "")
}

/// A component that asks for random bytes, whose `realloc` has this body.
pub fn with_realloc(body: &str) -> Vec<u8> {
    with_realloc_and(body, "(i64.const 64)")
}

/// The same for so many bytes.
pub fn with_realloc_and(body: &str, length: &str) -> Vec<u8> {
    let before = format!(
        r#"
        (import "wasi:random/random@0.2.0" (instance $random
            (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
        (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
            (export "now" (func (result u64)))))
        (alias export $random "get-random-bytes" (func $get))
        (alias export $clock "now" (func $now))
        (core func $now (canon lower (func $now)))
        (core module $libc
            (import "host" "now" (func $now (result i64)))
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) {body}))
        (core instance $libc (instantiate $libc
            (with "host" (instance (export "now" (func $now))))))
        (alias core export $libc "memory" (core memory $memory))
        (alias core export $libc "realloc" (core func $realloc))
        (core func $get (canon lower (func $get) (memory (core memory $memory)) (realloc (core func $realloc))))"#
    );
    let module = format!(
        r#"(import "host" "get" (func $get (param i64 i32)))
        (func (export "handle") (param i32 i32) (call $get {length} (i32.const 0)))"#
    );
    let args = r#"(with "host" (instance (export "get" (func $get))))"#;
    component(&before, &module, args, "", "")
}
