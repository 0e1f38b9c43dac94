//! Functions that a filter can link and that come to nothing, by what they return: what SDKs take for an
//! answer and not for a reason to crash.
//!
//! | function | status | why |
//! |---|---|---|
//! | `proxy_grpc_call`, `proxy_grpc_stream` | `InternalFailure` | the host speaks HTTP/1.1 to others |
//! | `proxy_grpc_send`, `_cancel`, `_close` | `NotFound` | there is no such call |
//! | `proxy_register_shared_queue` | `Unimplemented` | no filter outlives its request to read one |
//! | `proxy_resolve_shared_queue`, `_enqueue_`, `_dequeue_` | `NotFound` | there is no such queue |
//! | `proxy_call_foreign_function` | `NotFound` | there are none |

use wasmtime::{FuncType, Linker, Val, ValType};

use crate::guest::State;
use crate::guest::filter::status::Status;

/// A function's name, how many numbers it takes, and its status.
const REFUSED: [(&str, usize, Status); 10] = [
    ("proxy_grpc_call", 12, Status::InternalFailure),
    ("proxy_grpc_stream", 9, Status::InternalFailure),
    ("proxy_grpc_send", 4, Status::NotFound),
    ("proxy_grpc_cancel", 1, Status::NotFound),
    ("proxy_grpc_close", 1, Status::NotFound),
    ("proxy_register_shared_queue", 3, Status::Unimplemented),
    ("proxy_resolve_shared_queue", 5, Status::NotFound),
    ("proxy_enqueue_shared_queue", 3, Status::NotFound),
    ("proxy_dequeue_shared_queue", 3, Status::NotFound),
    ("proxy_call_foreign_function", 6, Status::NotFound),
];

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for (name, numbers, status) in REFUSED {
        let i32s = |count| std::iter::repeat_n(ValType::I32, count);
        let function = FuncType::new(linker.engine(), i32s(numbers), i32s(1));
        linker.func_new("env", name, function, move |_, _, results| {
            results.fill(Val::I32(status as i32));
            Ok(())
        })?;
    }
    // What AssemblyScript calls where nothing else was said: the runtime's own error.
    linker.func_wrap(
        "env",
        "abort",
        |_: u32, _: u32, line: u32, column: u32| -> wasmtime::Result<()> {
            Err(wasmtime::format_err!(
                "abort() was called, line {line}, column {column} of its source"
            ))
        },
    )?;
    Ok(())
}
