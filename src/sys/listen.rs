//! Listening sockets: one per worker and address, so that no two workers share an accept queue.
//!
//! ```text
//!            ┌─ SO_REUSEPORT group of 127.0.0.1:8080 ─┐
//! SYN on CPU 0 ──► listener 0 (SO_INCOMING_CPU 0) ──► worker 0
//! SYN on CPU 1 ──► listener 1 (SO_INCOMING_CPU 1) ──► worker 1
//! ```

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::limits;

/// Opens one listener for each entry of `cores`, all of one address, and says that address: with
/// port 0 the kernel picks one port for all of them.
///
/// The listeners are non-blocking and close-on-exec, prefer connections that arrive on their core
/// (`None`: any), and hand `TCP_NODELAY` down to what they accept.
///
/// `AddrInUse` when any other socket listens there, `SO_REUSEPORT` or not: two hosts that shared
/// an address by accident would each get half of its requests.
pub fn listeners(
    address: SocketAddr,
    cores: &[Option<usize>],
) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    if address.port() != 0 {
        // Without SO_REUSEPORT the kernel refuses an address that anybody listens on.
        let probe = socket(address)?;
        probe.bind(&address.into())?;
    }
    let mut bound = address;
    let mut listeners = Vec::with_capacity(cores.len());
    for &core in cores {
        let socket = socket(bound)?;
        socket.set_reuse_port(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(core) = core {
            socket.set_cpu_affinity(core)?;
        }
        socket.bind(&bound.into())?;
        socket.listen(limits::LISTEN_BACKLOG as i32)?;
        let listener = TcpListener::from(socket);
        bound = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok((bound, listeners))
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    // Socket::new sets SOCK_CLOEXEC.
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    // Connections of an earlier run in TIME_WAIT do not keep the address.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // [::]:80 and 0.0.0.0:80 are two addresses, each listened on when it is configured.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn port_0_is_one_port_for_all() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (address, listeners) = listeners(any, &[Some(0), None, None]).unwrap();
        assert_ne!(address.port(), 0);
        for listener in &listeners {
            assert_eq!(listener.local_addr().unwrap(), address);
            assert_eq!(
                listener.accept().unwrap_err().kind(),
                io::ErrorKind::WouldBlock
            );
        }
        TcpStream::connect(address).unwrap();
    }

    #[test]
    fn an_address_that_is_taken_is_refused() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (address, _held) = listeners(any, &[None]).unwrap();
        assert_eq!(
            listeners(address, &[None]).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
    }
}
