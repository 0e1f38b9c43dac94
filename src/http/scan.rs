//! Finds where a head ends, and refuses early what can never become one.
//!
//! The scan reads left to right and decides on the first byte that settles the matter, so more bytes
//! never change an answer once it is given: a TLS ClientHello on a plaintext port, a target that is
//! too long or an unknown version is refused without waiting for the rest.
//!
//! It checks what the header parser behind it would let pass, or would report too late: line ends
//! are CR LF and nothing else (RFC 9112 §2.2 allows a bare LF; proxies in front may not agree), the
//! request line is three words with one space between them (§3), and each has a limit.

use super::head::HeadLimits;
use crate::fault::Reason;

/// Empty lines tolerated before a request line: one is left by old clients after a body (RFC 9112
/// §2.2), one more for luck.
const EMPTY_LINES_MAX: usize = 2;

/// Longest method in bytes; the longest registered one (UPDATEREDIRECTREF) has 17.
const METHOD_BYTES_MAX: usize = 32;

/// Longest target that [`http::Uri`] can hold.
const TARGET_BYTES_CEILING: usize = (u16::MAX - 1) as usize;

/// Why a scan did not reach the end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// All bytes so far are fine; there are not enough of them.
    Partial,
    /// No continuation can make this valid.
    Refused(Reason),
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

/// Returns the length of the head at the front of `buf`, its final empty line included.
pub(super) fn head_end(buf: &[u8], limits: &HeadLimits) -> Result<usize, Stop> {
    let window = &buf[..buf.len().min(limits.head_bytes_max)];
    match request_line_end(window, limits).and_then(|fields| field_section_end(window, fields)) {
        Err(Stop::Partial) if buf.len() >= limits.head_bytes_max => {
            Err(Reason::HeadTooLarge.into())
        }
        end => end,
    }
}

/// Returns where the field section that starts at `at` ends, its final empty line included.
///
/// Only line ends are looked at; names and values are the parser's business.
pub(super) fn field_section_end(bytes: &[u8], mut at: usize) -> Result<usize, Stop> {
    loop {
        let line_end = at + find_line_break(&bytes[at..]).ok_or(Stop::Partial)?;
        match bytes[line_end..] {
            [b'\r', b'\n', ..] if line_end == at => return Ok(line_end + 2),
            [b'\r', b'\n', ..] => at = line_end + 2,
            [b'\r'] => return Err(Stop::Partial),
            _ => return Err(Reason::MalformedRequest.into()),
        }
    }
}

/// Returns where the first CR or LF is.
fn find_line_break(bytes: &[u8]) -> Option<usize> {
    // Blocks without a branch inside become vector compares: a head that trickles in is rescanned
    // with every segment.
    const BLOCK: usize = 16;
    let is_break = |byte: u8| (byte == b'\r') | (byte == b'\n');
    let clean = bytes
        .as_chunks::<BLOCK>()
        .0
        .iter()
        .take_while(|block| !block.iter().fold(false, |hit, &byte| hit | is_break(byte)))
        .count()
        * BLOCK;
    bytes[clean..]
        .iter()
        .position(|&byte| is_break(byte))
        .map(|offset| clean + offset)
}

/// Returns where the request line ends, the empty lines before it and its line end included.
fn request_line_end(bytes: &[u8], limits: &HeadLimits) -> Result<usize, Stop> {
    let mut at = empty_lines_len(bytes)?;
    at += method_len(&bytes[at..])? + 1;
    at += target_len(
        &bytes[at..],
        limits.target_bytes_max.min(TARGET_BYTES_CEILING),
    )? + 1;
    at += version_line_len(&bytes[at..])?;
    Ok(at)
}

fn empty_lines_len(bytes: &[u8]) -> Result<usize, Stop> {
    let mut at = 0;
    while at < 2 * EMPTY_LINES_MAX {
        match bytes[at..] {
            [b'\r', b'\n', ..] => at += 2,
            [b'\r'] => return Err(Stop::Partial),
            _ => break,
        }
    }
    Ok(at)
}

/// Length of the method, a token (RFC 9112 §3.1), up to the space behind it.
fn method_len(bytes: &[u8]) -> Result<usize, Stop> {
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b' ' if at > 0 => return Ok(at),
            _ if !is_token_byte(byte) => return Err(Reason::MalformedRequest.into()),
            // RFC 9112 §3: "a method longer than any it implements SHOULD [be answered] 501".
            _ if at == METHOD_BYTES_MAX => return Err(Reason::MethodNotImplemented.into()),
            _ => {}
        }
    }
    Err(Stop::Partial)
}

/// Length of the request target (RFC 9112 §3.2), up to the space behind it.
fn target_len(bytes: &[u8], target_bytes_max: usize) -> Result<usize, Stop> {
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b' ' if at > 0 => return Ok(at),
            // A target has no fragment: `http::Uri` would cut it off in silence.
            b'#' | ..=b' ' | 0x7f.. => return Err(Reason::MalformedRequest.into()),
            _ if at == target_bytes_max => return Err(Reason::UriTooLong.into()),
            _ => {}
        }
    }
    Err(Stop::Partial)
}

/// Length of `HTTP/1.0` or `HTTP/1.1` and its line end; any other `HTTP/x.y` is well-formed but not
/// spoken here (RFC 9112 §2.3). Includes the preface of HTTP/2, `PRI * HTTP/2.0`.
fn version_line_len(bytes: &[u8]) -> Result<usize, Stop> {
    const SHAPE: &[u8] = b"HTTP/d.d\r\n";
    for (&byte, &shape) in bytes.iter().zip(SHAPE) {
        let fits = if shape == b'd' {
            byte.is_ascii_digit()
        } else {
            byte == shape
        };
        if !fits {
            return Err(Reason::MalformedRequest.into());
        }
    }
    match bytes {
        [_, _, _, _, _, b'1', _, b'0' | b'1', _, _, ..] => Ok(SHAPE.len()),
        [_, _, _, _, _, _, _, _, _, _, ..] => Err(Reason::VersionNotSupported.into()),
        _ => Err(Stop::Partial),
    }
}

/// Whether `byte` may be in a token: `tchar` of RFC 9110 §5.6.2.
pub(super) const fn is_token_byte(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0u8;
        while byte < 128 {
            table[byte as usize] = byte.is_ascii_alphanumeric();
            byte += 1;
        }
        let mut marks: &[u8] = b"!#$%&'*+-.^_`|~";
        while let [mark, rest @ ..] = marks {
            table[*mark as usize] = true;
            marks = rest;
        }
        table
    };
    TABLE[byte as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_line_break_anywhere() {
        for len in 0..70 {
            let mut bytes = vec![b'a'; len];
            assert_eq!(find_line_break(&bytes), None);
            for at in (0..len).rev() {
                bytes[at] = if at % 2 == 0 { b'\r' } else { b'\n' };
                assert_eq!(find_line_break(&bytes), Some(at));
            }
        }
    }

    #[test]
    fn ends_a_field_section_at_its_empty_line() {
        let check = |input: &[u8], expected| assert_eq!(field_section_end(input, 0), expected);
        check(b"\r\n", Ok(2));
        check(b"a: b\r\n\r\nbody\n", Ok(8));
        check(b"a: b\r\n\r", Err(Stop::Partial));
        check(b"a: b\r\n", Err(Stop::Partial));
        check(b"", Err(Stop::Partial));
        check(b"a: b\n\n", Err(Stop::Refused(Reason::MalformedRequest)));
        check(b"a: b\r\n\n", Err(Stop::Refused(Reason::MalformedRequest)));
        check(
            b"a: \rb\r\n\r\n",
            Err(Stop::Refused(Reason::MalformedRequest)),
        );
        check(
            b"a: b\r\r\n\r\n",
            Err(Stop::Refused(Reason::MalformedRequest)),
        );
    }

    #[test]
    fn token_bytes_are_those_of_the_rfc() {
        let tokens: Vec<u8> = (0..=255).filter(|&byte| is_token_byte(byte)).collect();
        let expected =
            b"!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~";
        assert_eq!(tokens, expected);
    }
}
