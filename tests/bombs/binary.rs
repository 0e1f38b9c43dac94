//! WebAssembly's binary format, as far as bombs need it: quick to write where text would be large.

/// An unsigned LEB128 number.
pub fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A length, and that many bytes.
pub fn sized(bytes: &[u8]) -> Vec<u8> {
    [leb(bytes.len()), bytes.to_vec()].concat()
}

/// A number, and that many items, one after the other.
pub fn vector<I: IntoIterator<Item = Vec<u8>>>(count: usize, items: I) -> Vec<u8> {
    let mut bytes = leb(count);
    items.into_iter().for_each(|item| bytes.extend(item));
    bytes
}

/// A section of a module or a component.
pub fn section(id: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![id];
    bytes.extend(leb(content.len()));
    bytes.extend_from_slice(content);
    bytes
}

/// Sections of a core module.
pub mod core {
    pub const TYPE: u8 = 1;
    pub const IMPORT: u8 = 2;
    pub const FUNCTION: u8 = 3;
    pub const TABLE: u8 = 4;
    pub const MEMORY: u8 = 5;
    pub const GLOBAL: u8 = 6;
    pub const EXPORT: u8 = 7;
    pub const ELEMENT: u8 = 9;
    pub const CODE: u8 = 10;
    pub const DATA: u8 = 11;
    pub const DATA_COUNT: u8 = 12;
}

/// Sections of a component.
pub mod outer {
    pub const CUSTOM: u8 = 0;
    pub const CORE_MODULE: u8 = 1;
    pub const COMPONENT: u8 = 4;
}

/// A core module of these sections.
pub fn module(sections: &[Vec<u8>]) -> Vec<u8> {
    [b"\0asm\x01\0\0\0".to_vec(), sections.concat()].concat()
}

/// A core module with so many functions `() -> ()` of that body, which ends with its `end`.
pub fn functions(count: usize, body: &[u8]) -> Vec<u8> {
    let code = sized(body);
    module(&[
        section(core::TYPE, &[1, 0x60, 0, 0]),
        section(core::FUNCTION, &vector(count, (0..count).map(|_| vec![0]))),
        section(core::CODE, &vector(count, (0..count).map(|_| code.clone()))),
    ])
}

/// A component that is served, and gives no answer; and more sections.
pub fn component(sections: &[u8]) -> Vec<u8> {
    [text(""), sections.to_vec()].concat()
}

/// The same, with more in text form.
pub fn text(more: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (import "wasi:http/types@0.2.0" (instance $types
                (export "incoming-request" (type (sub resource)))
                (export "response-outparam" (type (sub resource)))))
            (alias export $types "incoming-request" (type $request))
            (alias export $types "response-outparam" (type $outparam))
            (core module $served (func (export "handle") (param i32 i32)))
            (core instance $serving (instantiate $served))
            (func $handle (param "request" (own $request)) (param "response-out" (own $outparam))
                (canon lift (core func $serving "handle")))
            (instance $handler (export "handle" (func $handle)))
            (export "wasi:http/incoming-handler@0.2.0" (instance $handler))
            {more})"#
    );
    wat::parse_str(text).expect("valid text")
}

/// A component with that core module in it. Nothing makes an instance of it: it is compiled.
pub fn with_module(module: &[u8]) -> Vec<u8> {
    component(&section(outer::CORE_MODULE, module))
}
