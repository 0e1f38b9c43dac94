//! What FastEdge's SDKs add: the dictionary, secrets and the word for the access log.

use crate::guest::fastedge::bindings::gcore::fastedge::{dictionary, secret, utils};
use crate::guest::filter::memory::{Guest, Place};
use crate::guest::filter::status::{Answer, Status};

pub(super) async fn dictionary(
    guest: &mut Guest<'_>,
    key: u32,
    length: u32,
    data: u32,
    size: u32,
) -> Answer {
    let key = guest.text(key, length)?;
    let value = dictionary::Host::get(guest.state(), key)?;
    let value = value.ok_or(Status::NotFound)?;
    guest.give(value.as_bytes(), Place::new(data, size)).await
}

pub(super) async fn secret(
    guest: &mut Guest<'_>,
    key: u32,
    length: u32,
    data: u32,
    size: u32,
) -> Answer {
    let key = guest.text(key, length)?;
    let value = secret::Host::get(guest.state(), key).await?;
    give_secret(guest, value, Place::new(data, size)).await
}

pub(super) async fn secret_at(
    guest: &mut Guest<'_>,
    key: u32,
    length: u32,
    at: u32,
    data: u32,
    size: u32,
) -> Answer {
    let key = guest.text(key, length)?;
    let value = secret::Host::get_effective_at(guest.state(), key, at).await?;
    give_secret(guest, value, Place::new(data, size)).await
}

async fn give_secret(
    guest: &mut Guest<'_>,
    value: Result<Option<String>, secret::Error>,
    place: Place,
) -> Answer {
    let value = value.map_err(|error| match error {
        secret::Error::AccessDenied => Status::BadArgument,
        secret::Error::DecryptError | secret::Error::Other(_) => Status::InternalFailure,
    })?;
    let value = value.ok_or(Status::NotFound)?;
    guest.give(value.as_bytes(), place).await
}

pub(super) fn diag(guest: &mut Guest<'_>, value: u32, size: u32) -> Answer {
    let text = guest.text(value, size)?;
    note(guest, text)
}

/// Notes the word for the access log.
pub(super) fn note(guest: &mut Guest<'_>, text: String) -> Answer {
    Ok(utils::Host::set_user_diag(guest.state(), text)?)
}
