//! The bombs, each made by code.

use std::fmt::Write as _;

use super::binary::{self, with_module};
use super::binary::{component, core, functions, leb, module, outer, section, sized, text, vector};

/// What becomes of a bomb.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// It is refused, with this in the reason.
    Refused(&'static str),
    /// It is large, and no more than that: it gets its artifact.
    Compiled,
    /// One of the two, by the machine's speed and memory.
    Limited,
}

/// A name, the bytes, and what becomes of them.
pub type Bomb = (&'static str, fn() -> Vec<u8>, End);

pub const BOMBS: &[Bomb] = &[
    ("deep-blocks", deep_blocks, End::Limited),
    ("deep-operands", deep_operands, End::Limited),
    ("many-functions", many_functions, End::Limited),
    ("huge-locals", huge_locals, End::Limited),
    ("wide-tables", wide_tables, End::Limited),
    ("data-segments", || data_segments(100_000), End::Compiled),
    (
        "too-many-data-segments",
        || data_segments(100_001),
        End::Refused("data segments"),
    ),
    ("elements", elements, End::Limited),
    ("globals", globals, End::Limited),
    ("module-of-64-mib-code", large_code, End::Limited),
    ("module-of-64-mib-data", large_data, End::Limited),
    ("types", || types(1_000_000), End::Limited),
    ("too-many-types", || types(1_000_001), End::Refused("types")),
    ("type-doubling", type_doubling, End::Refused("type size")),
    ("type-nesting", type_nesting, End::Refused("nesting")),
    ("component-nesting", component_nesting, End::Limited),
    ("instance-doubling", instance_doubling, End::Limited),
    ("component-doubling", component_doubling, End::Limited),
    ("adapters", adapters, End::Limited),
    ("imports", imports, End::Limited),
    ("exports", exports, End::Limited),
    ("long-names", long_names, End::Refused("string size")),
    (
        "custom-section-of-64-mib",
        || {
            component(&section(
                outer::CUSTOM,
                &[&[4][..], b"name", &vec![0xff; 64 << 20]].concat(),
            ))
        },
        End::Compiled,
    ),
    ("start", || with_module(&start()), End::Compiled),
    (
        "random",
        || random(1 << 20),
        End::Refused("not a WebAssembly component: "),
    ),
    (
        "random-sections",
        random_sections,
        End::Refused("not a WebAssembly component: "),
    ),
];

const BLOCK: [u8; 2] = [0x02, 0x40];
const LOOP: [u8; 2] = [0x03, 0x40];
const END: u8 = 0x0b;

/// A million blocks inside each other.
fn deep_blocks() -> Vec<u8> {
    let depth = 600_000;
    let body = [&[0][..], &BLOCK.repeat(depth), &vec![END; depth], &[END]].concat();
    with_module(&functions(1, &body))
}

/// A million operands on the stack before one is used.
fn deep_operands() -> Vec<u8> {
    let depth = 600_000;
    let body = [
        &[0][..],
        &[0x41, 1].repeat(depth),
        &vec![0x1a; depth],
        &[END],
    ]
    .concat();
    with_module(&functions(1, &body))
}

fn many_functions() -> Vec<u8> {
    // `(drop (i32.mul (i32.add 1 2) (i32.add 3 4)))`, each function on its own.
    let body = [
        0, 0x41, 1, 0x41, 2, 0x6a, 0x41, 3, 0x41, 4, 0x6a, 0x6c, 0x1a, END,
    ];
    with_module(&functions(50_000, &body))
}

/// As many locals as there may be, each carried through thousands of loops.
fn huge_locals() -> Vec<u8> {
    let (locals, loops) = (49_000, 4_000);
    let mut body = vec![2, 1, 0x7f];
    body.extend(leb(locals));
    body.push(0x7e);
    for _ in 0..loops {
        body.extend(LOOP);
        body.extend([0x20, 0, 0x0d, 0, END]);
    }
    for local in 1..=locals {
        body.push(0x20);
        body.extend(leb(local));
        body.push(0x1a);
    }
    body.push(END);
    with_module(&functions(1, &body))
}

/// Functions of one `br_table` each, of 65,000 targets.
fn wide_tables() -> Vec<u8> {
    let depth = 100;
    let mut body = vec![0];
    body.extend(BLOCK.repeat(depth));
    body.extend([0x41, 7, 0x0e]);
    body.extend(vector(65_000, (0..65_000).map(|n| leb(n % depth))));
    body.push(0);
    body.extend(vec![END; depth]);
    body.push(END);
    with_module(&functions(30, &body))
}

fn data_segments(count: usize) -> Vec<u8> {
    let passive = [&[1][..], &sized(b"x")].concat();
    with_module(&module(&[
        section(core::MEMORY, &[1, 0, 1]),
        section(core::DATA_COUNT, &leb(count)),
        section(
            core::DATA,
            &vector(count, (0..count).map(|_| passive.clone())),
        ),
    ]))
}

/// A million elements of one function.
fn elements() -> Vec<u8> {
    let count = 1_000_000;
    let passive = [&[1, 0][..], &vector(count, (0..count).map(|_| vec![0]))].concat();
    with_module(&module(&[
        section(core::TYPE, &[1, 0x60, 0, 0]),
        section(core::FUNCTION, &[1, 0]),
        section(core::TABLE, &[1, 0x70, 0, 1]),
        section(core::ELEMENT, &vector(1, [passive])),
        section(core::CODE, &vector(1, [sized(&[0, END])])),
    ]))
}

fn globals() -> Vec<u8> {
    let count = 1_000_000;
    let global = vec![0x7f, 1, 0x41, 0, END];
    with_module(&module(&[section(
        core::GLOBAL,
        &vector(count, (0..count).map(|_| global.clone())),
    )]))
}

fn large_code() -> Vec<u8> {
    let body = [&[0][..], &vec![0x01; 7 << 20], &[END]].concat();
    with_module(&functions(9, &body))
}

fn large_data() -> Vec<u8> {
    let active = [&[0, 0x41, 0, END][..], &sized(&vec![1; 64 << 20])].concat();
    with_module(&module(&[
        section(core::MEMORY, &[&[1, 0][..], &leb(1_100)].concat()),
        section(core::DATA, &vector(1, [active])),
    ]))
}

fn types(count: usize) -> Vec<u8> {
    with_module(&module(&[section(
        core::TYPE,
        &vector(count, (0..count).map(|_| vec![0x60, 0, 0])),
    )]))
}

/// Each type is twice the one before.
fn type_doubling() -> Vec<u8> {
    let mut more = String::from("(type $t0 (tuple u32 u32))");
    for n in 1..60 {
        let _ = write!(more, "(type $t{n} (tuple $t{} $t{}))", n - 1, n - 1);
    }
    text(&more)
}

/// Lists of lists.
fn type_nesting() -> Vec<u8> {
    let mut more = String::from("(type $t0 (list u32))");
    for n in 1..20_000 {
        let _ = write!(more, "(type $t{n} (list $t{}))", n - 1);
    }
    text(&more)
}

fn component_nesting() -> Vec<u8> {
    let empty = b"\0asm\x0d\0\x01\0";
    let mut inner = empty.to_vec();
    for _ in 0..5_000 {
        inner = [&empty[..], &section(outer::COMPONENT, &inner)].concat();
    }
    component(&section(outer::COMPONENT, &inner))
}

/// Each instance exports the one before twice: a billion at the end.
fn instance_doubling() -> Vec<u8> {
    let mut more = String::from("(instance $i0)");
    for n in 1..30 {
        let of = n - 1;
        let _ = write!(
            more,
            r#"(instance $i{n} (export "a" (instance $i{of})) (export "b" (instance $i{of})))"#
        );
    }
    more.push_str(r#"(export "all" (instance $i29))"#);
    text(&more)
}

/// Each component makes two instances of the one before: a billion modules at the end.
fn component_doubling() -> Vec<u8> {
    let mut inner =
        String::from("(component $c (core module $m (memory 1)) (core instance (instantiate $m)))");
    for _ in 1..30 {
        inner = format!(
            "(component $c {inner} (instance (instantiate $c)) (instance (instantiate $c)))"
        );
    }
    text(&format!("{inner} (instance (instantiate $c))"))
}

/// Hundreds of functions between two components, each with as many strings as it may have.
fn adapters() -> Vec<u8> {
    let record = format!(
        "(record{})",
        (0..400)
            .map(|n| format!(r#" (field "f{n}" string)"#))
            .collect::<String>()
    );
    let (mut lifts, mut lowers) = (String::new(), String::new());
    for n in 0..150 {
        let _ = write!(
            lifts,
            r#"(func (export "f{n}") (param "r" (list $r))
            (canon lift (core func $i "f") (memory (core memory $i "m")) (realloc (core func $i "r")) string-encoding=utf16))"#
        );
        let _ = write!(
            lowers,
            r#"(alias export $from "f{n}" (func $f{n}))
            (core func (canon lower (func $f{n}) (memory (core memory $l "m")) string-encoding=utf8))"#
        );
    }
    let declared: String = (0..150)
        .map(|n| format!(r#"(export "f{n}" (func (param "r" (list $r))))"#))
        .collect();
    text(&format!(
        r#"(component $to (type $r' {record}) (export $r "r" (type $r'))
            (core module $m (memory (export "m") 1) (func (export "f") (param i32 i32))
                (func (export "r") (param i32 i32 i32 i32) (result i32) unreachable))
            (core instance $i (instantiate $m)) {lifts})
        (component $with (import "from" (instance $from (type $r' {record}) (export "r" (type $r (eq $r'))) {declared}))
            (core module $l (memory (export "m") 1)) (core instance $l (instantiate $l)) {lowers})
        (instance $t (instantiate $to)) (instance (instantiate $with (with "from" (instance $t))))"#
    ))
}

fn imports() -> Vec<u8> {
    let count = 200_000;
    let import = |n: usize| [sized(b"m"), sized(format!("f{n}").as_bytes()), vec![0, 0]].concat();
    with_module(&module(&[
        section(core::TYPE, &[1, 0x60, 0, 0]),
        section(core::IMPORT, &vector(count, (0..count).map(import))),
    ]))
}

fn exports() -> Vec<u8> {
    let count = 200_000;
    let export = |n: usize| [sized(format!("f{n}").as_bytes()), vec![0, 0]].concat();
    with_module(&module(&[
        section(core::TYPE, &[1, 0x60, 0, 0]),
        section(core::FUNCTION, &[1, 0]),
        section(core::EXPORT, &vector(count, (0..count).map(export))),
        section(core::CODE, &vector(1, [sized(&[0, END])])),
    ]))
}

/// A name above what any may have.
fn long_names() -> Vec<u8> {
    let export = [sized(&[b'x'; 100_001]), vec![0, 0]].concat();
    with_module(&module(&[
        section(core::TYPE, &[1, 0x60, 0, 0]),
        section(core::FUNCTION, &[1, 0]),
        section(core::EXPORT, &vector(1, [export])),
        section(core::CODE, &vector(1, [sized(&[0, END])])),
    ]))
}

/// A start function that never ends: nothing runs while it is compiled.
fn start() -> Vec<u8> {
    module(&[
        section(core::TYPE, &[1, 0x60, 0, 0]),
        section(core::FUNCTION, &[1, 0]),
        section(8, &[0]),
        section(
            core::CODE,
            &vector(1, [sized(&[0, 0x03, 0x40, 0x0c, 0, END, END])]),
        ),
    ])
}

/// Bytes that mean nothing, the same every time (SplitMix64).
fn noise(seed: u64) -> impl FnMut() -> u8 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)) as u8
    }
}

fn random(length: usize) -> Vec<u8> {
    let mut next = noise(11);
    component(&(0..length).map(|_| next()).collect::<Vec<u8>>())
}

/// Sections of every kind, in order, whose contents are noise.
fn random_sections() -> Vec<u8> {
    let mut next = noise(23);
    let mut sections = Vec::new();
    for round in 0..40 {
        for id in 0..=11 {
            let content: Vec<u8> = (0..round * 7 + usize::from(id))
                .map(|_| next() & 0x7f)
                .collect();
            sections.extend(section(id, &content));
        }
    }
    binary::component(&sections)
}
