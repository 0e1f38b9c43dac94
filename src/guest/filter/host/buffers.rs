//! Buffers: bodies, the answer to a call, the configuration.

use bytes::Bytes;

use crate::guest::filter::active::Active;
use crate::guest::filter::exchange::Phase;
use crate::guest::filter::memory::{Guest, Place};
use crate::guest::filter::status::{Answer, Status, TooMuch};

const REQUEST_BODY: u32 = 0;
const RESPONSE_BODY: u32 = 1;
const CALL_BODY: u32 = 4;
const VM_CONFIGURATION: u32 = 6;
const CONFIGURATION: u32 = 7;

/// A buffer's bytes, where it has some now.
fn buffer(active: &Active, number: u32) -> Answer<Bytes> {
    let body = |phase, body: &Bytes| match active.phase == Some(phase) {
        true => Ok(body.clone()),
        false => Err(Status::NotFound),
    };
    let bytes = match number {
        REQUEST_BODY => body(Phase::RequestBody, &active.exchange.request_body),
        RESPONSE_BODY => body(Phase::ResponseBody, &active.exchange.response_body),
        CALL_BODY => match &active.calls.answered {
            Some(called) => Ok(called.body.clone()),
            None => Err(Status::NotFound),
        },
        VM_CONFIGURATION => Ok(Bytes::new()),
        CONFIGURATION => Ok(active.configuration.clone()),
        // TCP, gRPC and foreign functions have buffers, too.
        2..=8 => Err(Status::NotFound),
        _ => Err(Status::BadArgument),
    };
    Ok(bytes?)
}

/// As many bytes as there are of those that are asked for. No bytes are an address of 0, as elsewhere.
pub(super) async fn bytes(
    guest: &mut Guest<'_>,
    number: u32,
    start: u32,
    length: u32,
    data: u32,
    size: u32,
) -> Answer {
    let buffer = buffer(guest.active(), number)?;
    let start = (start as usize).min(buffer.len());
    let end = start.saturating_add(length as usize).min(buffer.len());
    let part = &buffer[start..end];
    let part = (!part.is_empty()).then_some(part);
    guest.give_or_null(part, Place::new(data, size)).await
}

pub(super) fn status(guest: &mut Guest<'_>, number: u32, length: u32, flags: u32) -> Answer {
    let buffer = buffer(guest.active(), number)?;
    guest.check(flags, 4)?;
    guest.write_u32(length, u32::try_from(buffer.len()).unwrap_or(u32::MAX))?;
    guest.write_u32(flags, 0)
}

/// Puts bytes in the place of a part of a body: before it (0, 0), in its place (0, all), behind it.
pub(super) fn set(
    guest: &mut Guest<'_>,
    number: u32,
    start: u32,
    size: u32,
    value: u32,
    length: u32,
) -> Answer {
    let max = guest.peek().grants.whole_body_bytes;
    guest.check(value, length)?;
    let too_much = TooMuch {
        what: "a body",
        max,
        unit: "bytes",
    };
    if length as usize > max {
        return Err(too_much.into());
    }
    let value = guest.read(value, length)?;
    let active = guest.active();
    let body = match (number, active.phase) {
        (REQUEST_BODY, Some(Phase::RequestBody)) => &mut active.exchange.request_body,
        (RESPONSE_BODY, Some(Phase::ResponseBody)) => &mut active.exchange.response_body,
        _ => return Err(Status::BadArgument.into()),
    };
    let start = (start as usize).min(body.len());
    let end = start.saturating_add(size as usize).min(body.len());
    if start == 0 && end == body.len() {
        *body = value.into();
        return Ok(());
    }
    if body.len() - (end - start) + value.len() > max {
        return Err(too_much.into());
    }
    *body = [&body[..start], &value, &body[end..]].concat().into();
    Ok(())
}
