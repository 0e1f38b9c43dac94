//! HTTP/1.1 as a pure codec: bytes in, heads and body chunks out, and the other way round.
//!
//! Nothing here reads a socket, awaits, or knows a tenant. The connection loop owns the buffer:
//!
//! ```text
//!             ┌─ peek_host ─► which worker (the bytes stay in the socket)
//!   socket ───┤
//!             └─ buf ─ parse_request ─► RequestHead ─► BodyDecoder ─► chunks, trailers
//!
//!   socket ◄─── dst ◄─ encode_head · encode_chunk · encode_last_chunk · encode_fault
//! ```
//!
//! The codec is strict where leniency would let two parsers disagree about where a message ends
//! (request smuggling, RFC 9112 §11.2): it refuses, and an error always ends the connection. What it
//! accepts is smaller than the grammar: see [`parse_request`] for the list.
//!
//! Invariants, each kept by a test in `tests/`:
//! * How the bytes are cut into segments never changes the result.
//! * [`peek_host`] and [`parse_request`] say the same about every input.
//! * Every buffer that a peer can fill is bounded by a limit, and the limit has its own reason.

#![forbid(unsafe_code)]

mod body;
mod chunked;
mod client;
mod date;
mod fields;
mod framing;
mod head;
mod host;
mod names;
mod response;
mod scan;
mod target;
#[cfg(test)]
mod tests;

pub use body::{BodyDecoder, Chunk, LengthDecoder};
pub use chunked::ChunkedDecoder;
pub use client::{
    AnswerHead, AnswerLength, BadAnswer, RequestFraming, encode_request, parse_answer,
    request_framing,
};
pub use date::DateCache;
pub use framing::{ResponseFraming, choose_framing};
pub use head::{
    BodyLength, HeadLimits, Parsed, Peek, RequestHead, Version, parse_request, peek_host,
};
pub use host::routing_key;
pub use response::{
    CHUNK_END, CONTINUE_100, encode_chunk, encode_chunk_start, encode_fault, encode_head,
    encode_last_chunk,
};
