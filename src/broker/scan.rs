//! Refuses machine code that could change its own protection keys.
//!
//! A guest of a striped worker may touch its own memories alone because of a register, PKRU, that
//! two instructions can write: `WRPKRU`, and `XRSTOR` from memory. Cranelift makes neither. An
//! artifact that holds one comes of a compiler that was led astray; it is not kept, for whichever
//! worker it was meant. The broker looks, once, before it signs: the compile job has run on the
//! tenant's bytes, and a worker has no time.
//!
//! What counts is the instruction, not its bytes in another's operand, in a jump table or across
//! two instructions (those of `WRPKRU` are in every sixteenth megabyte by chance): only code that has
//! lost its way could run these. So this is a second look at Cranelift's work, and no proof against
//! a job that chooses every byte. A constant behind a function's code that reads like one of the two
//! is refused as well: there is no telling. Code is followed as a processor would:
//!
//! ```text
//! function ─┬─ from its start, along every branch and jump table
//!           └─ from its start to its end, jump tables passed over
//! ```

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::Range;

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, OpKind};
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSymbol, ReadCache, SectionKind, SymbolKind};

/// Why an artifact is not kept, in words.
pub(super) fn check(artifact: &File) -> Result<(), String> {
    let unreadable = |error: object::Error| format!("its artifact cannot be read: {error}");
    let cache = ReadCache::new(artifact);
    let elf: ElfFile64<'_, object::Endianness, _> = ElfFile64::parse(&cache).map_err(unreadable)?;
    for section in elf.sections() {
        // Wasmtime runs the section of that name, whatever its kind.
        let is_named = section.name().is_ok_and(|name| name == ".text");
        if section.kind() != SectionKind::Text && !is_named {
            continue;
        }
        let text = section.data().map_err(unreadable)?;
        let base = section.address();
        let mut functions = Vec::new();
        for symbol in elf.symbols() {
            let inside = symbol.section_index() == Some(section.index());
            if inside && symbol.kind() == SymbolKind::Text {
                let start = symbol.address().saturating_sub(base) as usize;
                functions.push(start..start.saturating_add(symbol.size() as usize));
            }
        }
        if let Some((name, at)) = forbidden(text, functions) {
            return Err(format!(
                "its code has the instruction {name} at {at:#x}, which could change protection keys"
            ));
        }
    }
    Ok(())
}

/// The first instruction that writes PKRU, and where it is.
fn forbidden(text: &[u8], functions: Vec<Range<usize>>) -> Option<(&'static str, usize)> {
    let pieces = pieces(text.len(), functions);
    pieces
        .into_iter()
        .filter(|piece| may_hold(&text[padded(piece, text.len())]))
        .find_map(|piece| Piece::new(text, piece).forbidden())
}

/// The functions and what lies between them, in order: nothing of the text is left out.
fn pieces(length: usize, mut functions: Vec<Range<usize>>) -> Vec<Range<usize>> {
    functions.sort_by_key(|it| (it.start, it.end));
    let mut pieces = Vec::with_capacity(2 * functions.len() + 1);
    let mut end = 0;
    for function in functions {
        let function = function.start.min(length)..function.end.min(length);
        if end < function.start {
            pieces.push(end..function.start);
        }
        end = end.max(function.end);
        pieces.push(function);
    }
    if end < length {
        pieces.push(end..length);
    }
    pieces
}

/// A piece and the end of an instruction that begins in it.
fn padded(piece: &Range<usize>, length: usize) -> Range<usize> {
    piece.start..(piece.end + INSTRUCTION_BYTES_MAX).min(length)
}

/// Longest x86 instruction, in bytes.
const INSTRUCTION_BYTES_MAX: usize = 15;

/// Whether the bytes of such an instruction are there at all: most code need not be decoded.
fn may_hold(code: &[u8]) -> bool {
    code.windows(3).any(|bytes| match bytes {
        [0x0f, 0x01, 0xef] => true,
        // /5 with a memory operand; with a register it is LFENCE.
        [0x0f, 0xae, modrm] => modrm >> 3 & 7 == 5 && modrm >> 6 != 3,
        _ => false,
    })
}

/// One function, or what lies between two.
struct Piece<'a> {
    text: &'a [u8],
    range: Range<usize>,
}

impl<'a> Piece<'a> {
    fn new(text: &'a [u8], range: Range<usize>) -> Self {
        Self { text, range }
    }

    fn forbidden(&self) -> Option<(&'static str, usize)> {
        self.followed().or_else(|| self.swept())
    }

    /// Looks along every branch.
    fn followed(&self) -> Option<(&'static str, usize)> {
        let mut seen = BTreeSet::new();
        let mut ahead = vec![self.range.start];
        while let Some(start) = ahead.pop() {
            let mut at = start;
            while self.range.contains(&at) && seen.insert(at) {
                let instruction = self.decode(at);
                if let Some(name) = writes_pkru(&instruction) {
                    return Some((name, at));
                }
                if instruction.op0_kind() == OpKind::NearBranch64 {
                    ahead.push(instruction.near_branch64() as usize);
                }
                at = instruction.next_ip() as usize;
                match instruction.code() {
                    Code::Jmp_rm64 => {
                        ahead.extend(self.table(at).1);
                        break;
                    }
                    Code::Jmp_rel8_64 | Code::Jmp_rel32_64 | Code::Retnq | Code::Ud2 => break,
                    Code::INVALID => break,
                    _ => {}
                }
            }
        }
        None
    }

    /// Looks from the start to the end.
    fn swept(&self) -> Option<(&'static str, usize)> {
        let mut at = self.range.start;
        while at < self.range.end {
            let instruction = self.decode(at);
            if let Some(name) = writes_pkru(&instruction) {
                return Some((name, at));
            }
            at = match instruction.code() {
                Code::INVALID => at + 1,
                Code::Jmp_rm64 => self.table(instruction.next_ip() as usize).0,
                _ => instruction.next_ip() as usize,
            };
        }
        None
    }

    /// The jump table that Cranelift puts behind an indirect jump: where it ends, and its targets.
    /// Its entries are distances from its start, and it ends where the first target begins.
    fn table(&self, start: usize) -> (usize, Vec<usize>) {
        let (mut at, mut end) = (start, self.range.end);
        let mut targets = Vec::new();
        while at + 4 <= end {
            let Some(Ok(entry)) = self.text.get(at..at + 4).map(<[u8; 4]>::try_from) else {
                break;
            };
            let target = start.wrapping_add_signed(i32::from_le_bytes(entry) as isize);
            if !self.range.contains(&target) || (start..at + 4).contains(&target) {
                break;
            }
            if target > start {
                end = end.min(target);
            }
            targets.push(target);
            at += 4;
        }
        (at, targets)
    }

    fn decode(&self, at: usize) -> Instruction {
        Decoder::with_ip(64, &self.text[at..], at as u64, DecoderOptions::NONE).decode()
    }
}

/// The name of an instruction that writes PKRU.
fn writes_pkru(instruction: &Instruction) -> Option<&'static str> {
    match instruction.code() {
        Code::Wrpkru => Some("WRPKRU"),
        Code::Xrstor_mem | Code::Xrstor64_mem => Some("XRSTOR"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;

    use super::*;
    use crate::config::Profile;
    use crate::engine::settings;

    /// What is tried, its bytes, and what is found where.
    type Case = (&'static str, Vec<u8>, Option<(&'static str, usize)>);

    #[test]
    fn instructions_count_and_bytes_do_not() {
        // jmp rax · a table of two entries, to 10 and 2 + `second` · code
        let table = |second, code: [u8; 6]| {
            let mut text = vec![0xff, 0xe0, 8, 0, 0, 0, second, 0, 0, 0];
            text.extend(code);
            text
        };
        let cases: [Case; 10] = [
            (
                "wrpkru",
                vec![0x90, 0x0f, 0x01, 0xef, 0xc3],
                Some(("WRPKRU", 1)),
            ),
            (
                "rex wrpkru",
                vec![0x48, 0x0f, 0x01, 0xef],
                Some(("WRPKRU", 0)),
            ),
            (
                "xrstor [rdi]",
                vec![0x0f, 0xae, 0x2f, 0xc3],
                Some(("XRSTOR", 0)),
            ),
            (
                "xrstor64 [rdi]",
                vec![0x48, 0x0f, 0xae, 0x2f],
                Some(("XRSTOR", 0)),
            ),
            ("lfence", vec![0x0f, 0xae, 0xe8, 0xc3], None),
            ("rdpkru", vec![0x0f, 0x01, 0xee, 0xc3], None),
            (
                "mov eax, its bytes",
                vec![0xb8, 0x0f, 0x01, 0xef, 0, 0xc3],
                None,
            ),
            // jmp over one byte of 0xb8, which hides it from a look at one instruction after another.
            (
                "behind a byte of data",
                vec![0xeb, 0x01, 0xb8, 0x0f, 0x01, 0xef, 0, 0xc3],
                Some(("WRPKRU", 3)),
            ),
            (
                "reached by a table",
                table(10, [0x90, 0xc3, 0x0f, 0x01, 0xef, 0xc3]),
                Some(("WRPKRU", 12)),
            ),
            (
                "a table and an operand",
                table(8, [0xb8, 0x0f, 0x01, 0xef, 0, 0xc3]),
                None,
            ),
        ];
        for (what, text, expected) in cases {
            let whole = 0..text.len();
            assert_eq!(forbidden(&text, vec![whole]), expected, "{what}");
        }
    }

    #[test]
    fn nothing_of_the_text_is_left_out() {
        let whole = Range { start: 0, end: 10 };
        assert_eq!(pieces(10, vec![]), std::slice::from_ref(&whole));
        assert_eq!(
            pieces(10, vec![6..8, 2..4]),
            [0..2, 2..4, 4..6, 6..8, 8..10]
        );
        assert_eq!(pieces(10, vec![0..6, 2..4, 6..99]), [0..6, 2..4, 6..10]);
    }

    /// A real artifact passes; with one instruction in any of its functions it does not.
    #[test]
    fn artifacts_are_looked_through() {
        let profile = Profile::find("striped", Path::new("")).unwrap();
        let component = include_bytes!("../engine/stripes/neighbour.p2.wasm");
        let (_, artifact) = settings::compile_component(component, &profile).unwrap();
        let checked = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            check(&file)
        };
        assert_eq!(checked(&artifact), Ok(()));
        let elf: ElfFile64<'_> = ElfFile64::parse(&*artifact).unwrap();
        let text = elf.section_by_name(".text").unwrap();
        let (offset, _) = text.file_range().unwrap();
        let functions: Vec<usize> = elf
            .symbols()
            .filter(|it| it.kind() == SymbolKind::Text && it.size() >= 3)
            .map(|it| (it.address() - text.address()) as usize)
            .collect();
        assert!(functions.len() > 3, "{functions:?}");
        for at in functions {
            let mut broken = artifact.clone();
            let start = offset as usize + at;
            broken[start..start + 3].copy_from_slice(&[0x0f, 0x01, 0xef]);
            let refused = checked(&broken).unwrap_err();
            assert!(
                refused.contains(&format!("WRPKRU at {at:#x},")),
                "{refused}"
            );
        }
    }
}
