//! TLS as a client: the state of one connection between its two halves, and what to trust.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::config::limits;

/// The protocol that is spoken inside (RFC 7301).
const ALPN: &[u8] = b"http/1.1";

/// What one tenant's connections have in common: whom they trust, and their sessions. Sessions are
/// nobody else's: they would tell a server that two tenants share a host.
///
/// # Errors
/// When the provider of ciphers lacks what TLS 1.2 and 1.3 take, which is a mistake in this program.
pub fn client_config(roots: Arc<RootCertStore>) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let mut config = builder
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::in_memory_sessions(limits::TLS_SESSIONS_PER_TENANT);
    Ok(config)
}

/// The state of one connection. No socket: records in, records out.
#[derive(Debug)]
pub struct Tls {
    connection: RefCell<ClientConnection>,
    /// Received and not decrypted yet: rustls keeps only so much plain text.
    records: RefCell<BytesMut>,
}

impl Tls {
    /// A connection to `server` that has not begun.
    ///
    /// # Errors
    /// When the configuration does not fit.
    pub fn new(
        config: Arc<ClientConfig>,
        server: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        Ok(Self {
            connection: RefCell::new(ClientConnection::new(config, server)?),
            records: RefCell::default(),
        })
    }

    /// Whether the handshake is not complete.
    pub fn is_shaking_hands(&self) -> bool {
        self.connection.borrow().is_handshaking()
    }

    /// Takes records of the other side; none are the end of its stream.
    ///
    /// # Errors
    /// When they are not what they should be; a [`rustls::Error`] is inside.
    pub fn give(&self, records: &[u8]) -> io::Result<()> {
        if records.is_empty() {
            self.connection.borrow_mut().read_tls(&mut io::empty())?;
            return Ok(());
        }
        self.records.borrow_mut().extend_from_slice(records);
        self.decrypt()
    }

    /// Decrypts until there is something to take.
    fn decrypt(&self) -> io::Result<()> {
        let mut connection = self.connection.borrow_mut();
        let mut records = self.records.borrow_mut();
        while !records.is_empty() {
            let read = connection.read_tls(&mut &records[..])?;
            records.advance(read);
            let state = connection.process_new_packets();
            let state = state.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if read == 0 || state.plaintext_bytes_to_read() > 0 {
                break;
            }
        }
        Ok(())
    }

    /// Appends up to `bytes` decrypted ones to `buf`. `None`: there are none yet; 0: none will come.
    ///
    /// # Errors
    /// When the stream ended and the other side has not said that it would: it may have been cut.
    pub fn take(&self, buf: &mut BytesMut, bytes: usize) -> io::Result<Option<usize>> {
        loop {
            let start = buf.len();
            buf.resize(start + bytes, 0);
            let read = self
                .connection
                .borrow_mut()
                .reader()
                .read(&mut buf[start..]);
            buf.truncate(start + *read.as_ref().unwrap_or(&0));
            let waiting = self.records.borrow().len();
            match read {
                Ok(read) => return Ok(Some(read)),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if waiting == 0 => return Ok(None),
                Err(_) => {}
            }
            self.decrypt()?;
            let is_stuck = self.records.borrow().len() == waiting;
            if is_stuck {
                return Ok(None);
            }
        }
    }

    /// Whether nothing came that was not taken, and the other side has not said that it ends.
    pub fn is_quiet(&self) -> bool {
        let state = self.connection.borrow_mut().process_new_packets();
        let is_open =
            |it: rustls::IoState| it.plaintext_bytes_to_read() == 0 && !it.peer_has_closed();
        self.records.borrow().is_empty() && state.is_ok_and(is_open)
    }

    /// Encrypts `bytes`; [`records`](Self::records) has them then.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn seal(&self, bytes: &[u8]) -> io::Result<()> {
        let mut connection = self.connection.borrow_mut();
        // Whoever writes here is bounded already.
        connection.set_buffer_limit(None);
        connection.writer().write_all(bytes)
    }

    /// What is to be written.
    ///
    /// # Errors
    /// None that a vector has.
    pub fn records(&self) -> io::Result<Vec<u8>> {
        let mut connection = self.connection.borrow_mut();
        let mut records = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut records)?;
        }
        Ok(records)
    }
}
