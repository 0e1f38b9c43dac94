//! `skep purge`: has a running host forget answers that it keeps of a tenant's origin.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::Result;
use crate::cli::PurgeArgs;
use crate::config::{Host, limits};
use crate::control::{AdminCall, AdminReply, Purge};

/// `skep purge`
pub fn purge(args: &PurgeArgs) -> Result {
    let host = Host::load(&args.config)?;
    let file = args.config.display();
    let Some(socket) = host.admin_socket else {
        let wrong = "admin.socket is not set; the socket of the running host is right";
        return Err(anyhow!("{file}: {wrong}").into());
    };
    let place = socket.display();
    let mut stream =
        UnixStream::connect(&socket).with_context(|| format!("{place}: no host listens there"))?;
    let patience = Duration::from_millis(2 * limits::ADMIN_CALL_MS);
    stream
        .set_read_timeout(Some(patience))
        .with_context(|| place.to_string())?;
    let call = AdminCall::Purge {
        tenant: args.tenant.clone(),
        what: what(args),
        soft: args.soft,
    };
    let mut line = serde_json::to_vec(&call).context("the call")?;
    line.push(b'\n');
    stream.write_all(&line).with_context(|| place.to_string())?;
    let mut reply = String::new();
    BufReader::new(stream)
        .take(limits::ADMIN_CALL_BYTES_MAX as u64)
        .read_line(&mut reply)
        .with_context(|| format!("{place}: the host does not answer"))?;
    let reply =
        serde_json::from_str(&reply).with_context(|| format!("{place}: what it answers"))?;
    match reply {
        AdminReply::Purged {
            purged,
            workers,
            silent: 0,
        } => {
            println!("purged {purged} answers on {workers} workers");
            Ok(())
        }
        AdminReply::Purged { silent, .. } => {
            let wrong = "workers did not answer in time: once more is right";
            Err(anyhow!("{silent} {wrong}").into())
        }
        AdminReply::Refused { error } => Err(anyhow!("{error}").into()),
    }
}

fn what(args: &PurgeArgs) -> Purge {
    match (&args.url, &args.prefix, &args.tag) {
        (Some(url), _, _) => Purge::Url(url.clone()),
        (_, Some(prefix), _) => Purge::Prefix(prefix.clone()),
        (_, _, Some(tag)) => Purge::Tag(tag.clone()),
        _ => Purge::All,
    }
}
