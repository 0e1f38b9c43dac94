//! What the server's replies mean.

use redis::{RedisError, ServerError, Value as Reply};

use crate::config::limits;
use crate::data::kv::{KvError, Scored, Value};

/// The code of the error that stands for what was too long, see [`super::bounded`].
pub(super) const TOO_LARGE: &str = "TOOLARGE";

/// The backend cannot be used for the reason given.
pub(super) fn unavailable(reason: impl AsRef<str>) -> KvError {
    KvError::Unavailable(one_line(reason.as_ref()))
}

/// What went wrong with a connection, which is then of no use.
pub(super) fn broken(error: &RedisError) -> KvError {
    match error.kind() {
        redis::ErrorKind::Io => unavailable("the connection to redis broke"),
        _ => KvError::Malformed(one_line(error.detail().unwrap_or(error.category()))),
    }
}

/// The reply, unless it is an error.
pub(super) fn accepted(reply: Reply) -> Result<Reply, KvError> {
    match reply {
        Reply::ServerError(error) => Err(refused(&error)),
        reply => Ok(reply),
    }
}

fn refused(error: &ServerError) -> KvError {
    let said = error.details().unwrap_or_default();
    match error.code() {
        "WRONGTYPE" => KvError::WrongType,
        TOO_LARGE => KvError::TooLarge(limits::KV_ANSWER_BYTES_MAX),
        "ERR" if is_about_integers(said) => KvError::NotAnInteger,
        code => unavailable(format!("redis: {code} {said}")),
    }
}

/// What INCRBY says of a value that is no number, and of one that would be none.
fn is_about_integers(said: &str) -> bool {
    said.starts_with("value is not an integer") || said.ends_with("would overflow")
}

/// Whether the server does not know the command.
pub(super) fn is_unknown_command(reply: &Reply) -> bool {
    let Reply::ServerError(error) = reply else {
        return false;
    };
    error.code() == "ERR"
        && error
            .details()
            .is_some_and(|said| said.starts_with("unknown command"))
}

/// A string; `None` where there is none.
pub(super) fn bytes(reply: Reply) -> Result<Option<Value>, KvError> {
    match accepted(reply)? {
        Reply::BulkString(bytes) => Ok(Some(bytes)),
        Reply::Nil => Ok(None),
        other => Err(unexpected("a string", &other)),
    }
}

/// A word.
pub(super) fn status(reply: Reply) -> Result<String, KvError> {
    match accepted(reply)? {
        Reply::SimpleString(word) => Ok(word),
        other => Err(unexpected("a status", &other)),
    }
}

/// A number.
pub(super) fn integer(reply: Reply) -> Result<i64, KvError> {
    match accepted(reply)? {
        Reply::Int(number) => Ok(number),
        other => Err(unexpected("a number", &other)),
    }
}

/// A list.
pub(super) fn list(reply: Reply) -> Result<Vec<Reply>, KvError> {
    match accepted(reply)? {
        Reply::Array(replies) => Ok(replies),
        other => Err(unexpected("a list", &other)),
    }
}

/// A cursor and what was found on the way to it.
pub(super) fn step(reply: Reply) -> Result<(u64, Reply), KvError> {
    let pair: Result<[Reply; 2], _> = list(reply)?.try_into();
    let Ok([cursor, found]) = pair else {
        return Err(KvError::Malformed("a cursor came without a list".into()));
    };
    Ok((number(cursor)?, found))
}

/// Members and their scores, one after the other.
pub(super) fn members(reply: Reply) -> Result<Vec<Scored>, KvError> {
    let mut replies = list(reply)?.into_iter();
    let mut members = Vec::with_capacity(replies.len() / 2);
    while let Some(member) = replies.next() {
        let Some(score) = replies.next() else {
            return Err(KvError::Malformed("a member came without a score".into()));
        };
        let (member, score) = (present(member)?, number::<f64>(score)?);
        if score.is_nan() {
            return Err(KvError::Malformed("a score is not a number".into()));
        }
        members.push((member, score));
    }
    Ok(members)
}

/// A string that must be there.
pub(super) fn present(reply: Reply) -> Result<Value, KvError> {
    bytes(reply)?.ok_or_else(|| unexpected("a string", &Reply::Nil))
}

/// A number that is written in a string.
fn number<N: std::str::FromStr>(reply: Reply) -> Result<N, KvError> {
    let bytes = present(reply)?;
    let number = str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.parse().ok());
    number.ok_or_else(|| KvError::Malformed("a string is no number".into()))
}

/// What a member and its score count for, in bytes.
pub(super) fn scored_bytes(member: &[u8]) -> usize {
    member.len() + size_of::<f64>()
}

/// What members count for.
pub(super) fn members_bytes(members: &[Scored]) -> usize {
    members.iter().map(|(member, _)| scored_bytes(member)).sum()
}

/// An answer of so many bytes must not be too large.
pub(super) fn fits(bytes: usize) -> Result<(), KvError> {
    match bytes as u64 > limits::KV_ANSWER_BYTES_MAX {
        true => Err(KvError::TooLarge(limits::KV_ANSWER_BYTES_MAX)),
        false => Ok(()),
    }
}

fn unexpected(wanted: &str, reply: &Reply) -> KvError {
    let kind = match reply {
        Reply::Nil => "nothing",
        Reply::Int(_) => "a number",
        Reply::BulkString(_) => "a string",
        Reply::Array(_) => "a list",
        Reply::SimpleString(_) | Reply::Okay => "a status",
        _ => "something else",
    };
    KvError::Malformed(format!("{wanted} was due, and {kind} came"))
}

/// Text of somebody else's as it may stand in a message: in one line, and not too long.
pub(super) fn one_line(text: &str) -> String {
    let mut line: String = text.chars().filter(|char| !char.is_control()).collect();
    line.truncate(line.floor_char_boundary(limits::KV_REDIS_ERROR_BYTES_MAX));
    line
}
