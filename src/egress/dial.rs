//! Connecting to one of several addresses: the next is tried when one fails or is slow (after
//! Happy Eyeballs, RFC 8305 §5), and the first that answers is taken.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::config::limits;
use crate::control::DialError;

/// A connection to the first of `addresses` that answers. Dropping the future gives it up.
///
/// # Errors
/// What the last of them said, when none answered.
pub async fn dial(addresses: &[SocketAddr]) -> Result<TcpStream, DialError> {
    let mut waiting = addresses.iter().copied().take(limits::DIAL_ADDRESSES_MAX);
    let mut tries = JoinSet::new();
    let mut last = DialError::NotFound;
    loop {
        let is_last = match waiting.next() {
            Some(address) => {
                tries.spawn_local(connect(address));
                false
            }
            None => true,
        };
        let next = async {
            match is_last {
                true => std::future::pending().await,
                false => sleep(Duration::from_millis(limits::DIAL_STAGGER_MS)).await,
            }
        };
        tokio::select! {
            result = tries.join_next() => match result {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => last = of(&error),
                Some(Err(error)) => last = DialError::Failed(error.to_string()),
                None => return Err(last),
            },
            () = next => {}
        }
    }
}

/// A connection that waits in its calls, as a worker's ring wants it.
async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_nodelay(true)?;
    let stream = socket.connect(address).await?.into_std()?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn of(error: &io::Error) -> DialError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => DialError::Refused,
        io::ErrorKind::TimedOut => DialError::TimedOut,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            DialError::Unreachable
        }
        _ => DialError::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn run<T>(task: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, task)
    }

    /// An address that refuses: its listener is gone.
    fn refusing() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    }

    #[test]
    fn the_first_that_answers_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stream = run(dial(&[refusing(), refusing(), address])).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
    }

    #[test]
    fn when_none_answers_the_last_one_says_why() {
        assert_eq!(run(dial(&[refusing()])).unwrap_err(), DialError::Refused);
        assert_eq!(run(dial(&[])).unwrap_err(), DialError::NotFound);
        // The broadcast address takes no connections.
        let address = SocketAddr::from(([255, 255, 255, 255], 9));
        assert!(run(dial(&[address])).is_err());
    }
}
