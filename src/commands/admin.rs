//! The end of the admin socket that commands have.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::Failure;
use crate::config::{Host, limits};
use crate::control::{AdminCall, AdminReply};

/// The longest wait for a reply.
const PATIENCE: Duration = Duration::from_millis(2 * limits::ADMIN_CALL_MS);

/// A connection to the running host of a configuration.
pub struct Admin {
    /// The connection.
    pub stream: UnixStream,
    socket: PathBuf,
}

impl Admin {
    /// Connects to the host that serves this configuration.
    ///
    /// # Errors
    /// What is wrong with the configuration, and that no host listens.
    pub fn connect(config: &Path) -> Result<Self, Failure> {
        let host = Host::load(config)?;
        let Some(socket) = host.admin_socket else {
            let file = config.display();
            let wrong = "admin.socket is not set; the socket of the running host is right";
            return Err(anyhow!("{file}: {wrong}").into());
        };
        let place = socket.display();
        let stream = UnixStream::connect(&socket)
            .with_context(|| format!("{place}: no host listens there"))?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .with_context(|| place.to_string())?;
        Ok(Self { stream, socket })
    }

    /// Has the host do something. Nothing behind the reply is read.
    ///
    /// # Errors
    /// When the host does not answer.
    pub fn call(&mut self, call: &AdminCall) -> anyhow::Result<AdminReply> {
        let place = self.socket.display().to_string();
        let mut line = serde_json::to_vec(call).context("the call")?;
        line.push(b'\n');
        self.stream
            .write_all(&line)
            .with_context(|| place.clone())?;
        let mut reply = Vec::new();
        let mut byte = [0];
        while reply.len() < limits::ADMIN_CALL_BYTES_MAX {
            self.stream
                .read_exact(&mut byte)
                .with_context(|| format!("{place}: the host does not answer"))?;
            match byte {
                [b'\n'] => break,
                [byte] => reply.push(byte),
            }
        }
        serde_json::from_slice(&reply).with_context(|| format!("{place}: what it answers"))
    }
}
