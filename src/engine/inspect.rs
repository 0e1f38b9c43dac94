//! Which flavour a component is, read from the names of its exports.

use thiserror::Error;
use wasmparser::{CanonicalFunction, CanonicalOption, Encoding, Parser, Payload};

use crate::control::Flavour;

/// Why a file is not a component that skep can serve.
#[derive(Debug, Error, PartialEq)]
pub enum InspectError {
    /// The bytes are not a valid component.
    #[error("not a WebAssembly component: {0}")]
    Malformed(String),
    /// A core module, which has no interfaces.
    #[error(
        "a core WebAssembly module, not a component: build it for wasm32-wasip2, \
         or wrap it with `wasm-tools component new`"
    )]
    CoreModule,
    /// A component that consists of others which call each other without waiting. Each such part may
    /// block on a stack of its own, and a request has [`STACKS_PER_CONCURRENT`] of them.
    ///
    /// [`STACKS_PER_CONCURRENT`]: crate::config::limits::STACKS_PER_CONCURRENT
    #[error(
        "a component composed of others with async functions between them, \
         which needs more stacks than one request has: make it one component"
    )]
    Composed,
    /// A component without an HTTP handler.
    #[error(
        "the component exports neither wasi:http/incoming-handler@0.2 nor wasi:http/handler@0.3 \
         (it exports: {exports})"
    )]
    NoHandler {
        /// What it does export, separated by commas.
        exports: String,
    },
}

/// Finds the handler a component exports. A component with both is served through 0.3.
///
/// # Errors
/// See [`InspectError`].
pub fn flavour(bytes: &[u8]) -> Result<Flavour, InspectError> {
    let malformed = |e: wasmparser::BinaryReaderError| InspectError::Malformed(e.to_string());
    let mut exports = Vec::new();
    let mut depth = 0_usize;
    let mut inner = Inner::default();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(malformed)? {
            Payload::Version { encoding, .. } => {
                if depth == 0 && encoding == Encoding::Module {
                    return Err(InspectError::CoreModule);
                }
                depth += 1;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    exports.push(export.map_err(malformed)?.name.name.to_owned());
                }
            }
            Payload::ComponentCanonicalSection(section) if depth > 1 => {
                for function in section {
                    inner.note(&function.map_err(malformed)?);
                }
            }
            _ => {}
        }
    }
    if inner.lifts && inner.is_async {
        return Err(InspectError::Composed);
    }
    let any = |prefix: &str| exports.iter().any(|name| name.starts_with(prefix));
    if any("wasi:http/handler@0.3.") {
        Ok(Flavour::P3)
    } else if any("wasi:http/incoming-handler@0.2.") {
        Ok(Flavour::P2)
    } else {
        let exports = if exports.is_empty() {
            "nothing".to_owned()
        } else {
            exports.join(", ")
        };
        Err(InspectError::NoHandler { exports })
    }
}

/// What the components within a component do. Synchronous calls between them stay on one stack.
#[derive(Default)]
struct Inner {
    /// One has functions of its own, so that it can be called.
    lifts: bool,
    /// One calls or is called without waiting.
    is_async: bool,
}

impl Inner {
    fn note(&mut self, function: &CanonicalFunction) {
        let (CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. }) =
            function
        else {
            return;
        };
        self.lifts |= matches!(function, CanonicalFunction::Lift { .. });
        self.is_async |= options.contains(&CanonicalOption::Async);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wat(text: &str) -> Vec<u8> {
        wat::parse_str(text).expect("valid text")
    }

    #[test]
    fn flavour_follows_the_export() {
        let handler = |name: &str| {
            wat(&format!(
                r#"(component (instance $i) (export "{name}" (instance $i)))"#
            ))
        };
        let cases = [
            ("wasi:http/incoming-handler@0.2.0", Ok(Flavour::P2)),
            ("wasi:http/incoming-handler@0.2.12", Ok(Flavour::P2)),
            ("wasi:http/handler@0.3.0", Ok(Flavour::P3)),
            (
                "wasi:cli/run@0.2.0",
                Err(InspectError::NoHandler {
                    exports: "wasi:cli/run@0.2.0".into(),
                }),
            ),
        ];
        for (name, expected) in cases {
            assert_eq!(flavour(&handler(name)), expected, "{name}");
        }
    }

    /// Parts that call each other hold a stack each while they block: where calls do not wait for their
    /// end, that is several at once.
    #[test]
    fn composed_components_are_synchronous() {
        let composed = |callee: &str, caller: &str| {
            wat(&format!(
                r#"(component
                    (component $callee
                        (core module $m (func (export "f")))
                        (core instance $i (instantiate $m))
                        (func (export "f") async (canon lift (core func $i "f") {callee})))
                    (component $caller
                        (import "f" (func $f async))
                        (core func (canon lower (func $f) {caller})))
                    (instance $a (instantiate $callee))
                    (instance (instantiate $caller (with "f" (func $a "f"))))
                    (instance $h)
                    (export "wasi:http/handler@0.3.0" (instance $h)))"#
            ))
        };
        assert_eq!(flavour(&composed("", "")), Ok(Flavour::P3));
        assert_eq!(flavour(&composed("", "async")), Err(InspectError::Composed));
    }

    #[test]
    fn what_is_no_component_is_named() {
        assert_eq!(flavour(&wat("(module)")), Err(InspectError::CoreModule));
        assert!(matches!(
            flavour(b"#!/bin/sh\n"),
            Err(InspectError::Malformed(_))
        ));
        assert!(matches!(
            flavour(&wat("(component)")),
            Err(InspectError::NoHandler { .. })
        ));
    }
}
