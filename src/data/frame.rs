//! How calls and answers travel between a worker and the process that keeps data.
//!
//! ```text
//! length (u32, little endian) │ postcard: Call or Reply
//! ```
//!
//! One stream for each worker; answers come in any order.

use std::io;

use bytes::{Buf, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Ask, Given, Refused};
use crate::config::limits;

/// Worker to data process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Call {
    /// The worker's number for it, which the reply has.
    pub id: u64,
    /// Whose data.
    pub tenant: String,
    /// What is asked.
    pub ask: Ask,
}

/// Data process to worker.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reply {
    /// The number of the [`Call`] that it answers.
    pub id: u64,
    /// The answer.
    pub given: Result<Given, Refused>,
}

const LENGTH_BYTES: usize = 4;

/// Appends a message to `dst`.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] when it is too long; nothing is appended then.
pub fn encode(message: &impl Serialize, dst: &mut Vec<u8>) -> io::Result<()> {
    let start = dst.len();
    dst.extend_from_slice(&[0; LENGTH_BYTES]);
    let encoded = postcard::to_io(message, &mut *dst).map(|_| ());
    let length = dst.len() - start - LENGTH_BYTES;
    if encoded.is_err() || length > limits::DATA_MESSAGE_BYTES_MAX {
        dst.truncate(start);
        return Err(io::ErrorKind::InvalidInput.into());
    }
    dst[start..start + LENGTH_BYTES].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(())
}

/// Takes the next message off `src`; `None` while it is not complete.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`]: the stream cannot be understood any more.
pub fn decode<M: DeserializeOwned>(src: &mut BytesMut) -> io::Result<Option<M>> {
    let Some(length) = src.first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length > limits::DATA_MESSAGE_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let end = LENGTH_BYTES + length;
    if src.len() < end {
        src.reserve(end - src.len());
        return Ok(None);
    }
    let message = postcard::from_bytes(&src[LENGTH_BYTES..end]);
    src.advance(end);
    message
        .map(Some)
        .map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: u64, bytes: usize) -> Call {
        let (tenant, name) = ("a".to_owned(), "x".repeat(bytes));
        let ask = Ask::Secret { name, at: None };
        Call { id, tenant, ask }
    }

    #[test]
    fn messages_come_out_as_they_went_in_however_they_are_cut() {
        let mut stream = Vec::new();
        for id in 0..3 {
            encode(&call(id, id as usize * 1_000), &mut stream).unwrap();
        }
        for cut in [1, 2, 3, 5, 700, stream.len()] {
            let (mut buf, mut ids) = (BytesMut::new(), Vec::new());
            for piece in stream.chunks(cut) {
                buf.extend_from_slice(piece);
                while let Some(message) = decode::<Call>(&mut buf).unwrap() {
                    assert_eq!(
                        message.ask,
                        call(message.id, message.id as usize * 1_000).ask
                    );
                    ids.push(message.id);
                }
            }
            assert_eq!((ids, buf.len()), (vec![0, 1, 2], 0), "{cut}");
        }
    }

    #[test]
    fn what_is_too_long_or_no_message_is_refused() {
        let mut stream = vec![7];
        assert!(encode(&call(0, limits::DATA_MESSAGE_BYTES_MAX), &mut stream).is_err());
        assert_eq!(stream, [7]);
        let mut long = BytesMut::from(&u32::MAX.to_le_bytes()[..]);
        assert!(decode::<Call>(&mut long).is_err());
        let mut junk = BytesMut::from(&[2, 0, 0, 0, 255, 255][..]);
        assert!(decode::<Call>(&mut junk).is_err());
    }
}
