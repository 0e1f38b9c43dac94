//! Checks that a file looks like a component before anything compiles it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::limits::COMPONENT_BYTES_MAX;

/// Version and layer of a component's preamble; a core module's are 1 and 0.
const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";
const CORE_MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";

/// Looks at the file's kind, size and first eight bytes.
///
/// # Errors
/// What is wrong, and what would be right.
pub(super) fn check(path: &Path) -> Result<(), (String, &'static str)> {
    let fail = |wrong: String, right| Err((wrong, right));
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            return fail(
                format!("cannot open {}: {error}", path.display()),
                "the path of a component, relative to this file",
            );
        }
    };
    if !metadata.is_file() {
        return fail("not a file".to_owned(), "the path of a component's .wasm");
    }
    if metadata.len() > COMPONENT_BYTES_MAX {
        let mib = COMPONENT_BYTES_MAX >> 20;
        return fail(
            format!("{} bytes are more than {mib} MiB", metadata.len()),
            "a smaller component: strip its debug sections with `wasm-tools strip`",
        );
    }
    let mut head = Vec::with_capacity(COMPONENT.len());
    let read = File::open(path).and_then(|file| {
        let mut start = file.take(COMPONENT.len() as u64);
        start.read_to_end(&mut head)
    });
    match read {
        Ok(_) if head == CORE_MODULE && has_handler(path).is_ok_and(|has| has) => Ok(()),
        Ok(_) => recognize(&head).map_err(|(wrong, right)| (wrong.to_owned(), right)),
        Err(error) => fail(
            format!("cannot read {}: {error}", path.display()),
            "a file that this user may read",
        ),
    }
}

/// What the exports of core modules contain that can be served: programs for Gcore FastEdge, of which
/// components are made, and filters.
const CORE_EXPORTS: [&[u8]; 2] = [
    b"gcore:fastedge/http-handler#process",
    b"proxy_abi_version_",
];

/// The longest of them.
const CORE_EXPORT_BYTES: usize = CORE_EXPORTS[0].len();

/// Whether a core module seems to have one of them. Whether it does, the compiler says.
fn has_handler(path: &Path) -> std::io::Result<bool> {
    let mut file = File::open(path)?.take(COMPONENT_BYTES_MAX);
    let mut seen = Vec::with_capacity(SCAN_BYTES + CORE_EXPORT_BYTES);
    loop {
        let kept = seen.len();
        if file
            .by_ref()
            .take(SCAN_BYTES as u64)
            .read_to_end(&mut seen)?
            == 0
        {
            return Ok(false);
        }
        debug_assert!(kept < CORE_EXPORT_BYTES);
        let has = |name: &[u8]| seen.windows(name.len()).any(|it| it == name);
        if CORE_EXPORTS.iter().copied().any(has) {
            return Ok(true);
        }
        // It may be cut here.
        let passed = seen.len().saturating_sub(CORE_EXPORT_BYTES - 1);
        seen.drain(..passed);
    }
}

/// Read at once while looking for it.
const SCAN_BYTES: usize = 1 << 20;

/// Tells a component from what is mistaken for one.
fn recognize(head: &[u8]) -> Result<(), (&'static str, &'static str)> {
    if head == COMPONENT {
        return Ok(());
    }
    let wrong = if head == CORE_MODULE {
        (
            "a core module, not a component",
            "build for wasm32-wasip2, or wrap it with `wasm-tools component new`",
        )
    } else if head.starts_with(b"\x7fELF") {
        (
            "compiled code (.cwasm or another ELF file)",
            "the .wasm it was made from: skep compiles and keeps artifacts itself",
        )
    } else if head.starts_with(b"(compone") || head.starts_with(b"(module") {
        (
            "WebAssembly in text form",
            "its binary form: `wasm-tools parse app.wat -o app.wasm`",
        )
    } else if head.starts_with(b"\0asm") {
        (
            "a WebAssembly file of another version",
            "a component of the current binary format",
        )
    } else {
        ("not WebAssembly", "a component's .wasm")
    };
    Err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let cases: [(&[u8], Option<&str>); 7] = [
            (b"\0asm\x0d\0\x01\0", None),
            (b"\0asm\x01\0\0\0", Some("a core module, not a component")),
            (
                b"\x7fELF\x02\x01\x01\0",
                Some("compiled code (.cwasm or another ELF file)"),
            ),
            (b"(compone", Some("WebAssembly in text form")),
            (
                b"\0asm\x0a\0\x01\0",
                Some("a WebAssembly file of another version"),
            ),
            (b"", Some("not WebAssembly")),
            (b"hello, w", Some("not WebAssembly")),
        ];
        for (head, expected) in cases {
            let wrong = recognize(head).err().map(|(wrong, _)| wrong);
            assert_eq!(wrong, expected, "{head:?}");
        }
    }
}
