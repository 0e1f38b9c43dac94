//! The parts of a request that routes look at: path, query, body.

use wasip2::http::types::{IncomingBody, IncomingRequest};
use wasip2::io::streams::StreamError;

/// The most that one read asks for.
const READ_BYTES_MAX: u64 = 64 * 1024;

/// A request's path and query.
pub struct Target(String);

impl Target {
    /// Takes it from a request; one without a path counts as `/`.
    pub fn of(request: &IncomingRequest) -> Self {
        Self(request.path_with_query().unwrap_or_else(|| "/".to_owned()))
    }

    /// What stands before the `?`.
    pub fn path(&self) -> &str {
        self.0.split('?').next().unwrap_or_default()
    }

    /// The value of a query parameter, as sent.
    pub fn value(&self, name: &str) -> Option<&str> {
        let (_, query) = self.0.split_once('?')?;
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// A query parameter as a number; `default` where it is absent or is none.
    pub fn number(&self, name: &str, default: u64) -> u64 {
        self.value(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    }
}

/// Reads a body to its end, giving each piece to `each`. Tells whether the end was reached.
pub fn read_all(body: &IncomingBody, mut each: impl FnMut(&[u8])) -> bool {
    let stream = body.stream().expect("the first stream of a body");
    loop {
        match stream.blocking_read(READ_BYTES_MAX) {
            Ok(piece) => each(&piece),
            Err(StreamError::Closed) => return true,
            Err(StreamError::LastOperationFailed(_)) => return false,
        }
    }
}
