//! Maps of fields.
//!
//! | map | in the request's phases | in the answer's phases |
//! |---|---|---|
//! | 0, the request | read, write | read, write (what was sent was sent) |
//! | 2, the answer | nothing in it; to write is `BadArgument` | read, write |
//! | 6, the answer to a call | read, once there is one | the same |
//! | 1, 3, 4, 5, 7: trailers, gRPC | nothing in it; to write is `BadArgument` | the same |

use crate::config::{Compat, limits};
use crate::guest::filter::active::Active;
use crate::guest::filter::headers::{self, Fields};
use crate::guest::filter::memory::{Guest, Place};
use crate::guest::filter::status::{Answer, Status, Stop};
use crate::guest::filter::wire;

const REQUEST: u32 = 0;
const RESPONSE: u32 = 2;
const CALL: u32 = 6;
/// The highest number of a map.
const MAX: u32 = 7;

/// What a map is about, where there is something in it.
enum Map {
    Request,
    Response,
    Call,
    Nothing,
}

fn map(active: &Active, number: u32) -> Answer<Map> {
    let phase = active.phase;
    match number {
        REQUEST if phase.is_some() => Ok(Map::Request),
        RESPONSE if phase.is_some_and(|phase| phase.is_response()) => Ok(Map::Response),
        CALL if active.calls.answered.is_some() => Ok(Map::Call),
        0..=MAX => Ok(Map::Nothing),
        _ => Err(Status::BadArgument.into()),
    }
}

pub(super) async fn value(
    guest: &mut Guest<'_>,
    number: u32,
    name: u32,
    length: u32,
    data: u32,
    size: u32,
) -> Answer {
    let name = field_name(guest, name, length)?;
    let compat = guest.peek().grants.compat;
    let place = Place::new(data, size);
    let found = lookup(guest.active(), number, &name, compat)?;
    match (found, compat) {
        (Some(value), _) => guest.give(&value, place).await,
        (None, Compat::Fastedge) => guest.give(b"", place).await,
        (None, Compat::None) => Err(Status::NotFound.into()),
    }
}

fn lookup(active: &Active, number: u32, name: &[u8], compat: Compat) -> Answer<Option<Vec<u8>>> {
    let exchange = &active.exchange;
    Ok(match (map(active, number)?, &active.calls.answered) {
        (Map::Request, _) => headers::request_value(exchange, name, compat),
        (Map::Response, _) => {
            headers::response_value(exchange.status, &exchange.response_headers, name, compat)
        }
        (Map::Call, Some(called)) => {
            headers::response_value(called.status, &called.headers, name, compat)
        }
        (Map::Call | Map::Nothing, _) => None,
    })
}

fn all(active: &Active, number: u32) -> Answer<Vec<u8>> {
    let exchange = &active.exchange;
    Ok(match (map(active, number)?, &active.calls.answered) {
        (Map::Request, _) => headers::request_pairs(exchange),
        (Map::Response, _) => headers::response_pairs(exchange.status, &exchange.response_headers),
        (Map::Call, Some(called)) => headers::response_pairs(called.status, &called.headers),
        (Map::Call | Map::Nothing, _) => wire::pairs(&[]),
    })
}

pub(super) async fn pairs(guest: &mut Guest<'_>, number: u32, data: u32, size: u32) -> Answer {
    let pairs = all(guest.active(), number)?;
    guest.give(&pairs, Place::new(data, size)).await
}

/// How many pairs there are at Gcore, how many bytes they have elsewhere.
pub(super) fn size(guest: &mut Guest<'_>, number: u32, to: u32) -> Answer {
    let active = guest.active();
    let exchange = &active.exchange;
    let count = match (map(active, number)?, &active.calls.answered) {
        (Map::Request, _) => headers::request_count(exchange),
        (Map::Response, _) => headers::response_count(&exchange.response_headers),
        (Map::Call, Some(called)) => headers::response_count(&called.headers),
        (Map::Call | Map::Nothing, _) => 0,
    };
    let bytes = all(active, number)?.len() - 4 - 10 * count;
    let size = match guest.peek().grants.compat {
        Compat::Fastedge => count,
        Compat::None => bytes,
    };
    guest.write_u32(to, u32::try_from(size).unwrap_or(u32::MAX))
}

/// Changes one of the maps that can be changed.
fn change(
    guest: &mut Guest<'_>,
    number: u32,
    change: impl FnOnce(&mut Fields<'_>) -> Answer,
) -> Answer {
    let compat = guest.peek().grants.compat;
    let active = guest.active();
    match map(active, number)? {
        Map::Request => change(&mut Fields::of_request(&mut active.exchange, compat)),
        Map::Response => change(&mut Fields::of_response(&mut active.exchange, compat)),
        Map::Call | Map::Nothing => Err(Stop::Status(Status::BadArgument)),
    }
}

/// Longer ones are in no map.
fn field_name(guest: &mut Guest<'_>, at: u32, length: u32) -> Answer<Vec<u8>> {
    let what = "a field's name";
    guest.read_at_most(at, length, limits::FIELDS_BYTES, what)
}

fn field_value(guest: &mut Guest<'_>, at: u32, length: u32) -> Answer<Vec<u8>> {
    let what = "a field's value";
    guest.read_at_most(at, length, limits::FIELDS_BYTES, what)
}

/// Copies pairs out.
pub(super) fn read_pairs(guest: &mut Guest<'_>, at: u32, length: u32) -> Answer<Vec<u8>> {
    let max = wire::pairs_bytes_max(limits::FIELDS_BYTES);
    guest.read_at_most(at, length, max, "a filter's header map")
}

pub(super) fn set_pairs(guest: &mut Guest<'_>, number: u32, at: u32, length: u32) -> Answer {
    let bytes = read_pairs(guest, at, length)?;
    let pairs = wire::parse_pairs(&bytes).ok_or(Status::BadArgument)?;
    change(guest, number, |fields| fields.replace_all(&pairs))
}

pub(super) fn add(
    guest: &mut Guest<'_>,
    number: u32,
    name: u32,
    length: u32,
    value: u32,
    size: u32,
) -> Answer {
    let name = field_name(guest, name, length)?;
    let value = field_value(guest, value, size)?;
    change(guest, number, |fields| fields.add(&name, &value))
}

pub(super) fn replace(
    guest: &mut Guest<'_>,
    number: u32,
    name: u32,
    length: u32,
    value: u32,
    size: u32,
) -> Answer {
    let name = field_name(guest, name, length)?;
    let value = field_value(guest, value, size)?;
    change(guest, number, |fields| fields.replace(&name, &value))
}

pub(super) fn remove(guest: &mut Guest<'_>, number: u32, name: u32, length: u32) -> Answer {
    let name = field_name(guest, name, length)?;
    change(guest, number, |fields| fields.remove(&name))
}
