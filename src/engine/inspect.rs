//! Which flavour a component is, read from the names of its exports.

use thiserror::Error;
use wasmparser::{Encoding, Parser, Payload};

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
    // It may have a dump of bytes in it, a line each.
    let malformed = |e: wasmparser::BinaryReaderError| {
        InspectError::Malformed(
            e.to_string()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
        )
    };
    let mut exports = Vec::new();
    let mut depth = 0_usize;
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
            _ => {}
        }
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

    #[test]
    fn a_reason_is_one_line() {
        let other_magic = b"\0asm\x0d\0\x01\0\x01\x08\x01asm\x01\0\0\0";
        let reason = flavour(other_magic).unwrap_err().to_string();
        assert!(
            reason.contains("magic") && !reason.contains('\n'),
            "{reason:?}"
        );
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
