//! Core modules that are programs all the same: made components of before they are compiled.
//!
//! The crate `fastedge` builds core modules for WASI preview 1 that say in custom sections what their
//! component's interfaces are. `wasm-tools component new` does the same by hand.

use std::borrow::Cow;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

/// The export of a core module that handles requests through `gcore:fastedge/http-handler`.
const FASTEDGE_HANDLER: &str = "gcore:fastedge/http-handler#process";

/// A component of what may be a core module; everything else stays as it is.
///
/// # Errors
/// Why none can be made of it, in words.
pub(super) fn adapt(bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if !is_program(bytes) {
        return Ok(Cow::Borrowed(bytes));
    }
    let adapter = WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
    let component = ComponentEncoder::default()
        .module(bytes)
        .and_then(|it| it.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter))
        .and_then(|mut it| it.encode());
    component
        .map(Cow::Owned)
        .map_err(|error| format!("no component can be made of this core module: {error:#}"))
}

/// Whether this is a core module with the handler. What is malformed is none: the compiler says why.
fn is_program(bytes: &[u8]) -> bool {
    if !Parser::is_core_wasm(bytes) {
        return false;
    }
    let exports = |payload| match payload {
        Ok(Payload::ExportSection(section)) => Some(section),
        _ => None,
    };
    let mut sections = Parser::new(0).parse_all(bytes).filter_map(exports);
    sections.next().is_some_and(|section| {
        let named = |name: &str| name == FASTEDGE_HANDLER;
        section
            .into_iter()
            .flatten()
            .any(|export| named(export.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_are_adapted() {
        let wat = |text: &str| wat::parse_str(text).unwrap();
        for other in [
            wat("(module)"),
            wat("(module (func (export \"process\")))"),
            wat("(component)"),
            b"\0asm\x01\0\0\0\x07\xff".to_vec(),
            b"hello".to_vec(),
        ] {
            assert!(matches!(adapt(&other), Ok(Cow::Borrowed(_))));
        }
        // It does not say what its interfaces are: the component has none, and is refused as such.
        let bare = wat(&format!("(module (func (export \"{FASTEDGE_HANDLER}\")))"));
        let component = adapt(&bare).unwrap();
        assert!(Parser::is_component(&component));
        // What it imports is nothing that the adapter has.
        let odd = "(import \"wasi_snapshot_preview1\" \"no_such_call\" (func))";
        let odd = format!("(module {odd} (func (export \"{FASTEDGE_HANDLER}\")))");
        let error = adapt(&wat(&odd)).unwrap_err();
        assert!(error.starts_with("no component can be made"), "{error}");
    }
}
