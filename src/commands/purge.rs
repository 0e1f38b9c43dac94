//! `skep purge`: has a running host forget answers that it keeps of a tenant's origin.

use anyhow::anyhow;

use super::Result;
use super::admin::Admin;
use crate::cli::PurgeArgs;
use crate::control::{AdminCall, AdminReply, Purge};

/// `skep purge`
pub fn purge(args: &PurgeArgs) -> Result {
    let reply = Admin::connect(&args.config)?.call(&AdminCall::Purge {
        tenant: args.tenant.clone(),
        what: what(args),
        soft: args.soft,
    })?;
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
        AdminReply::Connected => Err(anyhow!("the host answers something else").into()),
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
