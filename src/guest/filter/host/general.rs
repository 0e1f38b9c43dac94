//! The log, clocks, properties, shared data and metrics.

use crate::config::limits;
use crate::guest::filter::memory::{Guest, Place};
use crate::guest::filter::properties::{self, Written};
use crate::guest::filter::status::{Answer, Status};
use crate::guest::filter::{ROOT, STREAM};
use crate::guest::{Stream, filter};

/// The lowest level that goes to standard error: warnings.
const WARN: u32 = 3;
/// The highest one.
const CRITICAL: u32 = 5;

pub(super) fn log(guest: &mut Guest<'_>, level: u32, at: u32, length: u32) -> Answer {
    if level > CRITICAL {
        return Err(Status::BadArgument.into());
    }
    let mut message = guest.read(at, length)?;
    message.push(b'\n');
    let stream = match level {
        WARN.. => Stream::Stderr,
        _ => Stream::Stdout,
    };
    guest.state().output.write(stream, &message);
    Ok(())
}

/// All of them: how much of it is kept is a limit in bytes.
pub(super) fn log_level(guest: &mut Guest<'_>, to: u32) -> Answer {
    guest.write_u32(to, 0)
}

pub(super) fn now(guest: &mut Guest<'_>, to: u32) -> Answer {
    let now_ns = guest.state().clock().wall_ns();
    guest.write_u64(to, now_ns)
}

/// Taken, and nothing comes of it: there is no root context between two requests.
pub(super) fn tick(_: &mut Guest<'_>, _period_ms: u32) -> Answer {
    Ok(())
}

/// There are two of them, and both are about the one request.
pub(super) fn effective_context(_: &mut Guest<'_>, context: u32) -> Answer {
    match context {
        ROOT | STREAM => Ok(()),
        _ => Err(Status::BadArgument.into()),
    }
}

/// Nothing is to be done.
pub(super) fn done(_: &mut Guest<'_>) -> Answer {
    Ok(())
}

/// That of the last gRPC call, of which there are none.
pub(super) async fn status(guest: &mut Guest<'_>, status: u32, data: u32, size: u32) -> Answer {
    guest.write_u32(status, 0)?;
    guest.give_or_null(None, Place::new(data, size)).await
}

fn name(guest: &mut Guest<'_>, at: u32, length: u32) -> Answer<String> {
    guest.name(at, length, limits::FILTER_NAME_BYTES_MAX)
}

pub(super) async fn property(
    guest: &mut Guest<'_>,
    path: u32,
    length: u32,
    data: u32,
    size: u32,
) -> Answer {
    let name = properties::name(&name(guest, path, length)?);
    let compat = guest.peek().grants.compat;
    let active = guest.active();
    let value = properties::get(&active.exchange, active.phase, compat, &name);
    let value = value.ok_or(Status::NotFound)?;
    guest.give(&value, Place::new(data, size)).await
}

pub(super) fn set_property(
    guest: &mut Guest<'_>,
    path: u32,
    length: u32,
    value: u32,
    size: u32,
) -> Answer {
    let name = properties::name(&name(guest, path, length)?);
    let value = guest.read(value, size)?;
    let compat = guest.peek().grants.compat;
    let active = guest.active();
    match properties::set(&mut active.exchange, active.phase, compat, name, value)? {
        Written::Done => Ok(()),
        Written::Diag(text) => super::fastedge::note(guest, text),
    }
}

pub(super) async fn shared(
    guest: &mut Guest<'_>,
    key: u32,
    length: u32,
    data: u32,
    size: u32,
    cas: u32,
) -> Answer {
    let key = shared_key(guest, key, length)?;
    guest.check(cas, 4)?;
    let (value, number) = table(guest)?.get(&key).ok_or(Status::NotFound)?;
    guest.give(&value, Place::new(data, size)).await?;
    guest.write_u32(cas, number)
}

pub(super) fn set_shared(
    guest: &mut Guest<'_>,
    key: u32,
    length: u32,
    value: u32,
    size: u32,
    cas: u32,
) -> Answer {
    let key = shared_key(guest, key, length)?;
    let value = guest.read(value, size)?;
    Ok(table(guest)?.set(&key, value, cas)?)
}

fn shared_key(guest: &mut Guest<'_>, key: u32, length: u32) -> Answer<Vec<u8>> {
    guest.check(key, length)?;
    if length as usize > limits::FILTER_NAME_BYTES_MAX {
        return Err(Status::BadArgument.into());
    }
    guest.read(key, length)
}

fn table<'g>(guest: &'g Guest<'_>) -> Answer<&'g filter::SharedData> {
    let shared = guest.peek().shared.as_deref();
    Ok(shared.ok_or(Status::InternalFailure)?)
}

/// A counter, a gauge or a histogram, which are the same here.
const HISTOGRAM: u32 = 2;

pub(super) fn define_metric(
    guest: &mut Guest<'_>,
    kind: u32,
    at: u32,
    length: u32,
    to: u32,
) -> Answer {
    let name = name(guest, at, length)?;
    if kind > HISTOGRAM {
        return Err(Status::BadArgument.into());
    }
    guest.check(to, 4)?;
    let id = guest.active().metrics.define(name)?;
    guest.write_u32(to, id)
}

pub(super) fn metric(guest: &mut Guest<'_>, id: u32, to: u32) -> Answer {
    let value = *guest.active().metrics.value(id)?;
    guest.write_u64(to, value)
}

pub(super) fn record_metric(guest: &mut Guest<'_>, id: u32, value: u64) -> Answer {
    *guest.active().metrics.value(id)? = value;
    Ok(())
}

pub(super) fn increment_metric(guest: &mut Guest<'_>, id: u32, by: i64) -> Answer {
    let value = guest.active().metrics.value(id)?;
    *value = value.wrapping_add_signed(by);
    Ok(())
}
