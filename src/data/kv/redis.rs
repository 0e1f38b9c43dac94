//! Keys on a Redis server of the operator's, or on one that speaks its protocol (RESP2).
//!
//! ```text
//! query, change ──► at most KV_REDIS_CALLS_MAX ──► link: one connection, dialled when it is needed
//!                                                    │  commands, pipelined
//!      Answer ◄── answers: values, errors ◄── bounded: what is too long is dropped as it comes
//! ```
//!
//! A key is `{prefix}{namespace}:{key}` on the server (`names.rs`), so that two tenants never meet there.
//!
//! The server decides what may be held. Nobody can count the bytes of one namespace on a server that
//! others use too, so a [`Quota`] bounds one change here, and not what all of them come to: give a
//! tenant whose store must be bounded the embedded backend, or a server with a `maxmemory`.
//!
//! It runs in a [`LocalSet`](tokio::task::LocalSet). A caller may go away at any time; what it asked
//! for still happens, and its answer is dropped.

#![forbid(unsafe_code)]

mod answers;
mod bloom;
mod bounded;
mod link;
mod names;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use redis::{Cmd, Pipeline, Value as Reply, cmd};
use tokio::net::TcpStream;

use self::link::{Link, Session, Times};
use self::names::Names;
use super::{Answer, Change, KvError, Namespace, Query, Quota, Scored, Value, What};
use crate::config::limits;

/// A connection that is being made.
pub type Dialling = Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>;

/// Makes connections to the server.
pub trait Dial {
    /// A stream to the server with `TCP_NODELAY` set; nothing has been said on it.
    fn dial(&self) -> Dialling;
}

impl<F: Fn() -> Dialling> Dial for F {
    fn dial(&self) -> Dialling {
        self()
    }
}

/// How one logs in to the server, and which keys are ours there.
#[derive(Clone, Default)]
pub struct Server {
    /// Who logs in; `None` is the server's default user.
    pub username: Option<String>,
    /// With what; nobody logs in where it is `None`.
    pub password: Option<String>,
    /// The number of the database.
    pub db: u32,
    /// Stands before every key.
    pub prefix: String,
    /// The namespace is no part of a key, which is `{prefix}{key}`: for a database that others fill.
    /// All who may use it then share its keys.
    pub raw: bool,
}

/// The keys on one server.
pub struct Redis {
    link: Rc<Link>,
}

impl Redis {
    /// Says nothing to the server before it is first asked.
    pub fn new(server: Server, dial: Rc<dyn Dial>) -> Self {
        Self::with_times(server, dial, Times::LIMITS)
    }

    fn with_times(server: Server, dial: Rc<dyn Dial>, times: Times) -> Self {
        Self {
            link: Rc::new(Link::new(server, dial, times)),
        }
    }

    /// Asks the server. Keys that are no UTF-8 are never found.
    ///
    /// # Errors
    /// As [`KvError`] says; [`KvError::Unavailable`] after at most `KV_REDIS_CONNECT_MS` and
    /// `KV_REDIS_ANSWER_MS`, or `KV_REDIS_SCAN_MS` for what goes through all keys.
    pub async fn query(&self, namespace: &Namespace, query: &Query) -> Result<Answer, KvError> {
        let _call = self.link.enter()?;
        let names = &Names::new(self.link.server(), namespace);
        let session = &self.link.session().await?;
        match query {
            Query::Get(keys) => get(session, names, keys).await,
            Query::Exists(key) => {
                let found = session.one(cmd("EXISTS").arg(names.key(key))).await?;
                Ok(Answer::Bool(answers::integer(found)? > 0))
            }
            Query::List { cursor } => scan::page(session, names, cursor.as_deref()).await,
            Query::Scan { pattern } => scan::keys(session, names, pattern).await,
            Query::RangeByScore { key, min, max } => {
                range(session, &names.key(key), *min, *max).await
            }
            Query::ScanMembers { key, pattern } => {
                scan::members(session, &names.key(key), pattern).await
            }
            Query::MayContain { key, item } => {
                bloom::may_contain(session, &names.key(key), item).await
            }
        }
    }

    /// Changes keys on the server.
    ///
    /// # Errors
    /// As for [`query`](Self::query), and when `change` alone is more than `quota` allows.
    pub async fn change(
        &self,
        namespace: &Namespace,
        quota: Quota,
        change: &Change,
    ) -> Result<Answer, KvError> {
        within(quota, change)?;
        let _call = self.link.enter()?;
        let names = &Names::new(self.link.server(), namespace);
        let session = &self.link.session().await?;
        match change {
            Change::Set(pairs) => set(session, names, pairs).await,
            Change::Delete(keys) => delete(session, names, keys).await,
            Change::Increment { key, delta } => increment(session, &names.key(key), *delta).await,
            Change::Swap {
                key,
                expected,
                value,
            } => swap(session, &names.key(key), expected.as_deref(), value).await,
            Change::AddMembers { key, members } => {
                add_members(session, &names.key(key), members).await
            }
            Change::AddItems { key, items } => bloom::add(session, &names.key(key), items).await,
        }
    }
}

/// What one change brings must fit by itself.
fn within(quota: Quota, change: &Change) -> Result<(), KvError> {
    let (keys, bytes) = match change {
        Change::Set(pairs) => {
            // Of a key that comes twice, the later.
            let pairs: BTreeMap<_, _> = pairs.iter().map(|(key, value)| (key, value)).collect();
            let bytes = pairs.iter().map(|(key, value)| key.len() + value.len());
            (pairs.len(), bytes.sum())
        }
        Change::Delete(_) => (0, 0),
        Change::Increment { key, .. } => (1, key.len()),
        Change::Swap { key, value, .. } => (1, key.len() + value.len()),
        Change::AddMembers { key, members } => (1, key.len() + answers::members_bytes(members)),
        Change::AddItems { key, .. } => (1, key.len()),
    };
    if keys as u64 > quota.keys {
        return Err(KvError::OverQuota(What::Keys));
    }
    if bytes as u64 > quota.bytes {
        return Err(KvError::OverQuota(What::Bytes));
    }
    Ok(())
}

async fn get(session: &Session, names: &Names, keys: &[String]) -> Result<Answer, KvError> {
    few(keys.len(), "keys")?;
    let values = match keys {
        [] => Vec::new(),
        [key] => vec![value(session.one(cmd("GET").arg(names.key(key))).await?)?],
        keys => get_all(session, names, keys).await?,
    };
    Ok(Answer::Values(values))
}

/// The values of several keys are one answer, so that its bound holds for all of them. To MGET a key
/// of another kind is none: so their kinds are asked for as well. (GETs between MULTI and EXEC would be
/// refused by a server that is out of memory.)
async fn get_all(
    session: &Session,
    names: &Names,
    keys: &[String],
) -> Result<Vec<Option<Value>>, KvError> {
    let mut pipeline = Pipeline::new();
    let mut command = cmd("MGET");
    for key in keys {
        command.arg(names.key(key));
    }
    pipeline.add_command(command);
    for key in keys {
        pipeline.cmd("TYPE").arg(names.key(key));
    }
    let mut replies = session.each(&pipeline).await?.into_iter();
    let found = answers::list(replies.next().unwrap_or(Reply::Nil))?;
    if found.len() != keys.len() || replies.len() != keys.len() {
        let why = "MGET gave another number of values";
        return Err(KvError::Malformed(why.into()));
    }
    let one = |(found, kind)| match (value(found)?, answers::status(kind)?.as_str()) {
        (Some(value), _) => Ok(Some(value)),
        (None, "none" | "string") => Ok(None),
        (None, _) => Err(KvError::WrongType),
    };
    found.into_iter().zip(replies).map(one).collect()
}

/// The value that a reply is; a filter of ours is none.
fn value(reply: Reply) -> Result<Option<Value>, KvError> {
    let value = answers::bytes(reply)?;
    match value.as_deref() {
        Some(value) if bloom::is_filter(value) => Err(KvError::WrongType),
        _ => Ok(value),
    }
}

/// There is a value in the answer for each of them, and an answer must not have too many.
fn few(count: usize, what: &str) -> Result<(), KvError> {
    match count > limits::KV_SCAN_ROWS_MAX {
        true => Err(scan::too_many(what)),
        false => Ok(()),
    }
}

async fn range(session: &Session, key: &str, min: f64, max: f64) -> Result<Answer, KvError> {
    if min.is_nan() || max.is_nan() {
        return Err(KvError::NotAScore);
    }
    let mut command = cmd("ZRANGEBYSCORE");
    command.arg(key).arg(score(min)).arg(score(max));
    command.arg("WITHSCORES").arg("LIMIT").arg(0);
    command.arg(limits::KV_SCAN_ROWS_MAX + 1);
    let members = answers::members(session.one(&command).await?)?;
    few(members.len(), "members")?;
    answers::fits(answers::members_bytes(&members))?;
    Ok(Answer::Members(members))
}

/// A score as the server reads it, without loss.
fn score(score: f64) -> String {
    match score {
        f64::INFINITY => "+inf".to_owned(),
        f64::NEG_INFINITY => "-inf".to_owned(),
        score => format!("{score:e}"),
    }
}

async fn set(
    session: &Session,
    names: &Names,
    pairs: &[(String, Value)],
) -> Result<Answer, KvError> {
    if pairs.is_empty() {
        return Ok(Answer::Done);
    }
    let mut command = cmd("MSET");
    for (key, value) in pairs {
        command.arg(names.key(key)).arg(value);
    }
    session.one(&command).await?;
    Ok(Answer::Done)
}

async fn delete(session: &Session, names: &Names, keys: &[String]) -> Result<Answer, KvError> {
    if keys.is_empty() {
        return Ok(Answer::Done);
    }
    let mut command = cmd("DEL");
    for key in keys {
        command.arg(names.key(key));
    }
    session.one(&command).await?;
    Ok(Answer::Done)
}

async fn increment(session: &Session, key: &str, delta: i64) -> Result<Answer, KvError> {
    let added = session.one(cmd("INCRBY").arg(key).arg(delta)).await;
    match added {
        Ok(count) => Ok(Answer::Count(answers::integer(count)?)),
        // A filter is a string to the server, and of another kind to us.
        Err(KvError::NotAnInteger) => Err(match bloom::is_at(session, key).await? {
            true => KvError::WrongType,
            false => KvError::NotAnInteger,
        }),
        Err(error) => Err(error),
    }
}

/// `ARGV`: the mark of a filter, whether a value is expected, that value, the next one.
const SWAP: &str = "\
local now = redis.pcall('GET', KEYS[1])
if type(now) == 'table' then return now end
if now and string.sub(now, 1, #ARGV[1]) == ARGV[1] then
  return redis.error_reply('WRONGTYPE the key holds a filter')
end
if ARGV[2] == '0' then
  if now then return 0 end
elseif now ~= ARGV[3] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[4])
return 1";

async fn swap(
    session: &Session,
    key: &str,
    expected: Option<&[u8]>,
    value: &[u8],
) -> Result<Answer, KvError> {
    let mut command = script(SWAP, key);
    command.arg(bloom::MARK).arg(u8::from(expected.is_some()));
    command.arg(expected.unwrap_or_default()).arg(value);
    let swapped = session.one(&command).await?;
    Ok(Answer::Bool(answers::integer(swapped)? > 0))
}

/// The call of a script for one key, without its arguments.
fn script(text: &str, key: &str) -> Cmd {
    let mut command = cmd("EVAL");
    command.arg(text).arg(1).arg(key);
    command
}

async fn add_members(session: &Session, key: &str, members: &[Scored]) -> Result<Answer, KvError> {
    if members.iter().any(|(_, score)| score.is_nan()) {
        return Err(KvError::NotAScore);
    }
    let mut command = match members {
        // Nothing is to be done, but not to a key of another kind.
        [] => cmd("ZCARD"),
        _ => cmd("ZADD"),
    };
    command.arg(key);
    for (member, at) in members {
        command.arg(score(*at)).arg(member);
    }
    session.one(&command).await?;
    Ok(Answer::Done)
}
