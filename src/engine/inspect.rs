//! What is read of a component before it is compiled: which flavour it is, from the names of its exports,
//! and how much the host would have to do at every instantiation.

use thiserror::Error;
use wasmparser::{
    BinaryReaderError, CanonicalFunction, CanonicalOption, ConstExpr, DataKind, Element,
    ElementItems, ElementKind, Encoding, Parser, Payload,
};

use crate::config::limits;
use crate::control::Flavour;

/// Why a file is not a component that skep can serve.
#[derive(Debug, Error, PartialEq)]
pub enum InspectError {
    /// The bytes are not a valid component.
    #[error("not a WebAssembly component: {0}")]
    Malformed(String),
    /// A filter for another version of proxy-wasm's ABI.
    #[error(
        "a proxy-wasm filter for another ABI than 0.2.0 and 0.2.1 (it exports {0}): build it with an SDK \
         for 0.2.1"
    )]
    OtherAbi(String),
    /// A core module, which has no interfaces.
    #[error(
        "a core WebAssembly module, neither a component nor a proxy-wasm filter: build it for \
         wasm32-wasip2, or wrap it with `wasm-tools component new`"
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
        "the component exports none of wasi:http/incoming-handler@0.2, wasi:http/handler@0.3 and \
         gcore:fastedge/http-handler (it exports: {exports})"
    )]
    NoHandler {
        /// What it does export, separated by commas.
        exports: String,
    },
    /// Its instantiation would hold up the core.
    #[error(
        "its constant expressions and element segments have more than {} instructions and entries, \
         which are executed at every request",
        limits::INSTANTIATION_STEPS_MAX
    )]
    TooMuchToInstantiate,
}

/// The handler of programs for Gcore FastEdge; the interface has no version.
pub(super) const FASTEDGE_HANDLER: &str = "gcore:fastedge/http-handler";

/// Prefixes of the other handlers' names.
pub(super) const HANDLERS: [&str; 2] =
    ["wasi:http/handler@0.3.", "wasi:http/incoming-handler@0.2."];

/// What a filter exports to say which ABI it is made for; the two differ in nothing that is called here.
const FILTER_ABIS: [&str; 2] = ["proxy_abi_version_0_2_1", "proxy_abi_version_0_2_0"];

/// What such an export's name begins with.
const ABI: &str = "proxy_abi_version_";

/// Finds the handler a component exports, and whether a core module is a filter. A component with both
/// handlers is served through 0.3.
///
/// # Errors
/// See [`InspectError`].
pub fn flavour(bytes: &[u8]) -> Result<Flavour, InspectError> {
    // It may have a dump of bytes in it, a line each.
    let malformed = |e: BinaryReaderError| {
        InspectError::Malformed(
            e.to_string()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
        )
    };
    let mut exports = Vec::new();
    let mut steps = 0;
    let mut depth = 0_usize;
    let mut inner = Inner::default();
    let (mut is_core, mut abi) = (false, None);
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(malformed)?;
        steps += instantiation_steps(&payload).map_err(malformed)?;
        if steps > limits::INSTANTIATION_STEPS_MAX {
            return Err(InspectError::TooMuchToInstantiate);
        }
        match payload {
            Payload::Version { encoding, .. } => {
                is_core |= depth == 0 && encoding == Encoding::Module;
                depth += 1;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ExportSection(section) if is_core => {
                for export in section {
                    let name = export.map_err(malformed)?.name;
                    let is_better = abi.is_none() || FILTER_ABIS.contains(&name);
                    if name.starts_with(ABI) && is_better {
                        abi = Some(name.to_owned());
                    }
                }
            }
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
    if is_core {
        return match abi {
            Some(abi) if FILTER_ABIS.contains(&&*abi) => Ok(Flavour::Filter),
            Some(abi) => Err(InspectError::OtherAbi(abi.escape_debug().to_string())),
            None => Err(InspectError::CoreModule),
        };
    }
    if inner.lifts && inner.is_async {
        return Err(InspectError::Composed);
    }
    let any = |prefix: &str| exports.iter().any(|name| name.starts_with(prefix));
    let [p3, p2] = HANDLERS;
    if any(p3) {
        Ok(Flavour::P3)
    } else if any(p2) || any(FASTEDGE_HANDLER) {
        Ok(Flavour::P2)
    } else {
        let exports = if exports.is_empty() {
            "nothing".to_owned()
        } else {
            // Names are the tenant's words: on one line, and nothing that a terminal obeys.
            exports.join(", ").escape_debug().to_string()
        };
        Err(InspectError::NoHandler { exports })
    }
}

/// What the host executes of a section whenever its module is instantiated, in instructions of constant
/// expressions and entries of element segments. No tick interrupts it.
fn instantiation_steps(payload: &Payload<'_>) -> Result<usize, BinaryReaderError> {
    let mut steps = 0;
    match payload {
        Payload::GlobalSection(section) => {
            for global in section.clone() {
                steps += instructions(&global?.init_expr)?;
            }
        }
        Payload::ElementSection(section) => {
            for element in section.clone() {
                steps += entries(&element?)?;
            }
        }
        Payload::DataSection(section) => {
            for data in section.clone() {
                if let DataKind::Active { offset_expr, .. } = data?.kind {
                    steps += instructions(&offset_expr)?;
                }
            }
        }
        _ => {}
    }
    Ok(steps)
}

fn instructions(expression: &ConstExpr<'_>) -> Result<usize, BinaryReaderError> {
    let mut count = 0;
    for operator in expression.get_operators_reader() {
        operator?;
        count += 1;
    }
    Ok(count)
}

/// Segments that nothing places are not executed, but their expressions may be.
fn entries(element: &Element<'_>) -> Result<usize, BinaryReaderError> {
    let mut steps = match &element.kind {
        ElementKind::Active { offset_expr, .. } => instructions(offset_expr)?,
        ElementKind::Passive | ElementKind::Declared => 0,
    };
    match &element.items {
        ElementItems::Functions(functions) => steps += functions.count() as usize,
        ElementItems::Expressions(_, expressions) => {
            for expression in expressions.clone() {
                steps += instructions(&expression?)?;
            }
        }
    }
    Ok(steps)
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

    #[test]
    fn what_instantiation_would_execute_is_bounded() {
        // A global costs its one instruction and the end; a segment its entries and its place.
        let half = limits::INSTANTIATION_STEPS_MAX / 2;
        let component = |globals: usize, entries: usize| {
            let (globals, entries) = (
                "(global i32 (i32.const 0))".repeat(globals),
                "$f ".repeat(entries),
            );
            let elements =
                format!("(table 1 funcref) (func $f) (elem (i32.const 0) func {entries})");
            wat(&format!("(component (core module {globals} {elements}))"))
        };
        let nothing = |result| matches!(result, Err(InspectError::NoHandler { .. }));
        assert!(nothing(flavour(&component(half - 1, 0))));
        assert!(nothing(flavour(&component(0, 2 * half - 2))));
        assert_eq!(
            flavour(&component(half, 0)),
            Err(InspectError::TooMuchToInstantiate)
        );
        assert_eq!(
            flavour(&component(half / 2, half)),
            Err(InspectError::TooMuchToInstantiate)
        );
    }

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
    fn a_filter_is_known_by_its_abi() {
        let module = |name: &str| wat(&format!(r#"(module (func (export "{name}")))"#));
        for abi in FILTER_ABIS {
            assert_eq!(flavour(&module(abi)), Ok(Flavour::Filter), "{abi}");
        }
        for abi in ["proxy_abi_version_0_1_0", "proxy_abi_version_0_3_0"] {
            assert_eq!(
                flavour(&module(abi)),
                Err(InspectError::OtherAbi(abi.to_owned()))
            );
        }
        let name = FILTER_ABIS[0];
        let globals = "(global i32 (i32.const 0))".repeat(limits::INSTANTIATION_STEPS_MAX / 2 + 1);
        assert_eq!(
            flavour(&wat(&format!(
                r#"(module {globals} (func (export "{name}")))"#
            ))),
            Err(InspectError::TooMuchToInstantiate)
        );
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
