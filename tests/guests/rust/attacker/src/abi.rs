//! Says to the host what no bindings would: wrong handles, pointers, lengths, discriminants and text.

use std::ptr;

use wasip2::http::types::Fields;

use crate::{Attack, Left, reply};

#[link(wasm_import_module = "wasi:http/types@0.2.4")]
unsafe extern "C" {
    #[link_name = "[resource-drop]fields"]
    fn drop_fields(handle: i32);
    #[link_name = "[resource-drop]incoming-request"]
    fn drop_request(handle: i32);
    #[link_name = "[method]fields.append"]
    fn append(
        handle: i32,
        name: *const u8,
        name_len: usize,
        value: *const u8,
        value_len: usize,
        result: *mut u8,
    );
    #[link_name = "[static]fields.from-list"]
    fn from_list(entries: *const u8, len: usize, result: *mut u8);
    #[link_name = "[method]outgoing-request.set-method"]
    fn set_method(handle: i32, case: i32, text: *const u8, text_len: usize) -> i32;
    #[link_name = "[method]fields.entries"]
    fn entries(handle: i32, result: *mut u8);
}

const OUT_OF_MEMORY: usize = 0xffff_0000;

pub fn run(attack: Attack) -> Left {
    let fields = Fields::new();
    let handle = fields.handle() as i32;
    let mut room = [0_u64; 4];
    let result = room.as_mut_ptr().cast::<u8>();
    let far = ptr::without_provenance::<u8>(OUT_OF_MEMORY);
    let name = b"x";
    // SAFETY: none of these is sound for a program; that is what they are for. The host has to refuse each.
    unsafe {
        match attack.path() {
            "/abi-unknown-handle" => drop_fields(0x7fff_ffff),
            "/abi-negative-handle" => drop_fields(-1),
            "/abi-zero-handle" => drop_fields(0),
            "/abi-dropped-twice" => {
                drop_fields(handle);
                drop_fields(handle);
            }
            "/abi-used-after-drop" => {
                drop_fields(handle);
                append(handle, name.as_ptr(), 1, name.as_ptr(), 1, result);
            }
            "/abi-wrong-type" => drop_request(handle),
            "/abi-name-far" => append(handle, far, 1 << 20, name.as_ptr(), 1, result),
            "/abi-value-far" => append(handle, name.as_ptr(), 1, far, 1 << 20, result),
            "/abi-length-huge" => append(handle, name.as_ptr(), usize::MAX, far, 0, result),
            "/abi-result-far" => append(handle, name.as_ptr(), 1, name.as_ptr(), 1, far.cast_mut()),
            "/abi-result-unaligned" => entries(handle, result.add(1)),
            "/abi-not-utf8" => append(
                handle,
                [0xff_u8, 0xfe].as_ptr(),
                2,
                name.as_ptr(),
                1,
                result,
            ),
            "/abi-surrogate" => {
                append(
                    handle,
                    [0xed_u8, 0xa0, 0x80].as_ptr(),
                    3,
                    name.as_ptr(),
                    1,
                    result,
                );
            }
            // More elements than memory could hold; their size overflows 32 bits.
            "/abi-list-huge" => from_list(result, usize::MAX / 8, result),
            "/abi-list-unaligned" => from_list(result.add(1), 1, result),
            // A list whose elements lie over each other: short to send, large to hold.
            "/abi-list-shared" => shared_list(result),
            "/abi-method-unknown" => {
                let request = wasip2::http::types::OutgoingRequest::new(fields);
                set_method(request.handle() as i32, 99, ptr::null(), 0);
            }
            _ => return Some(attack),
        }
    }
    reply::text(attack.out, "the host took it\n");
    None
}

/// A thousand entries that are all the same 64 KiB: the host would hold 64 MiB of it.
unsafe fn shared_list(result: *mut u8) {
    let value = vec![b'x'; 64 << 10];
    let name = b"x";
    let entry = (name.as_ptr(), 1_usize, value.as_ptr(), value.len());
    let list = vec![entry; 1000];
    // SAFETY: four words each, as the canonical ABI lays out a tuple of a string and a list.
    unsafe { from_list(list.as_ptr().cast(), list.len(), result) };
}
