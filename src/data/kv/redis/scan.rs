//! Going through keys, or through the members of a sorted set, step by step.
//!
//! A step looks at some `KV_REDIS_SCAN_COUNT` of them, whoever's they are, and gives those that match;
//! the server does something else between two steps. What was there all the time is found, perhaps
//! twice; here it is found once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Instant;

use redis::{Cmd, cmd};
use tokio::time::timeout;

use super::answers::{self, fits, scored_bytes, unavailable};
use super::link::Session;
use super::names::Names;
use crate::config::limits;
use crate::data::kv::{Answer, KvError, Scored};

/// Steps in which `KV_SCAN_ROWS_MAX` are looked at.
const STEPS_MAX: usize = limits::KV_SCAN_ROWS_MAX.div_ceil(limits::KV_REDIS_SCAN_COUNT);

/// There are more of them than are looked at.
pub(super) fn too_many(what: &str) -> KvError {
    let rows = limits::KV_SCAN_ROWS_MAX;
    unavailable(format!("redis has more than {rows} {what} to go through"))
}

async fn in_time(
    session: &Session,
    steps: impl Future<Output = Result<Answer, KvError>>,
) -> Result<Answer, KvError> {
    let time = session.scan_time();
    timeout(time, steps).await.unwrap_or_else(|_| {
        let ms = time.as_millis();
        let why = format!("redis did not get through within {ms} ms");
        Err(unavailable(why))
    })
}

fn step(cursor: u64, pattern: &[u8]) -> Cmd {
    let mut command = cmd("SCAN");
    command.arg(cursor);
    options(&mut command, pattern);
    command
}

fn options(command: &mut Cmd, pattern: &[u8]) {
    command.arg("MATCH").arg(pattern);
    command.arg("COUNT").arg(limits::KV_REDIS_SCAN_COUNT);
}

/// The keys that one step finds, and where the next one begins.
async fn next_keys(
    session: &Session,
    names: &Names,
    pattern: &str,
    cursor: u64,
) -> Result<(u64, BTreeSet<String>), KvError> {
    let (next, found) = answers::step(session.one(&step(cursor, pattern.as_bytes())).await?)?;
    let mut keys = BTreeSet::new();
    for name in answers::list(found)? {
        keys.extend(names.own(answers::present(name)?));
    }
    Ok((next, keys))
}

/// All keys that match.
pub(super) async fn keys(
    session: &Session,
    names: &Names,
    pattern: &str,
) -> Result<Answer, KvError> {
    let pattern = names.pattern(pattern);
    in_time(session, async {
        let (mut cursor, mut keys, mut bytes) = (0, BTreeSet::new(), 0);
        for _ in 0..STEPS_MAX {
            let (next, found) = next_keys(session, names, &pattern, cursor).await?;
            for key in found {
                let key_bytes = key.len();
                if keys.insert(key) {
                    bytes += key_bytes;
                }
            }
            fits(bytes)?;
            if next == 0 {
                return Ok(Answer::Keys(keys.into_iter().collect()));
            }
            cursor = next;
        }
        Err(too_many("keys"))
    })
    .await
}

/// Where a page begins, as its cursor says it: at a step, and behind a key of it.
struct Place<'c> {
    step: u64,
    after: Option<&'c str>,
}

impl<'c> Place<'c> {
    /// What [`Place::written`] wrote; nothing else is one.
    fn read(cursor: &'c str) -> Option<Self> {
        let (step, after) = match cursor.split_once(':') {
            Some((step, after)) => (step, Some(after)),
            None => (cursor, None),
        };
        let step = step.parse().ok()?;
        Some(Self { step, after })
    }

    fn written(&self) -> String {
        match self.after {
            Some(after) => format!("{}:{after}", self.step),
            None => self.step.to_string(),
        }
    }
}

/// The keys behind a cursor; none where it is not one of ours. A page may be empty, and another one
/// come after it.
pub(super) async fn page(
    session: &Session,
    names: &Names,
    cursor: Option<&str>,
) -> Result<Answer, KvError> {
    let Some(mut at) = Place::read(cursor.unwrap_or("0")) else {
        return Ok(Answer::Page(Vec::new(), None));
    };
    let pattern = names.pattern("*");
    let begun = Instant::now();
    in_time(session, async {
        let mut page = BTreeSet::new();
        for _ in 0..STEPS_MAX {
            let (next, mut found) = next_keys(session, names, &pattern, at.step).await?;
            if let Some(after) = at.after.take() {
                found = found
                    .range::<str, _>((Excluded(after), Unbounded))
                    .cloned()
                    .collect();
            }
            if found.len() > limits::KEYS_PER_PAGE_MAX - page.len() {
                return Ok(full(page, found, at.step));
            }
            page.append(&mut found);
            if next == 0 {
                return Ok(Answer::Page(page.into_iter().collect(), None));
            }
            at.step = next;
            // It is full enough: the next one goes on from here.
            if page.len() == limits::KEYS_PER_PAGE_MAX || begun.elapsed() > session.scan_time() / 2
            {
                break;
            }
        }
        Ok(Answer::Page(page.into_iter().collect(), Some(at.written())))
    })
    .await
}

/// A page for which the last step found too many keys: it is gone through again for the next page.
fn full(page: BTreeSet<String>, found: BTreeSet<String>, step: u64) -> Answer {
    if !page.is_empty() {
        let next = Place { step, after: None };
        return Answer::Page(page.into_iter().collect(), Some(next.written()));
    }
    let page: Vec<_> = found.into_iter().take(limits::KEYS_PER_PAGE_MAX).collect();
    let next = Place {
        step,
        after: page.last().map(String::as_str),
    };
    let next = next.written();
    Answer::Page(page, Some(next))
}

/// All members of a sorted set that match.
pub(super) async fn members(
    session: &Session,
    key: &str,
    pattern: &str,
) -> Result<Answer, KvError> {
    in_time(session, async {
        let (mut cursor, mut members, mut bytes) = (0_u64, BTreeMap::new(), 0);
        for _ in 0..STEPS_MAX {
            let mut command = cmd("ZSCAN");
            command.arg(key).arg(cursor);
            options(&mut command, pattern.as_bytes());
            let (next, found) = answers::step(session.one(&command).await?)?;
            for (member, score) in answers::members(found)? {
                let member_bytes = scored_bytes(&member);
                if members.insert(member, score).is_none() {
                    bytes += member_bytes;
                }
            }
            fits(bytes)?;
            if next == 0 {
                return Ok(Answer::Members(by_score(members.into_iter().collect())));
            }
            cursor = next;
        }
        Err(too_many("members"))
    })
    .await
}

/// In the order of their scores; those with the same one stay as they are.
fn by_score(mut members: Vec<Scored>) -> Vec<Scored> {
    // Positive and negative zero are the same score, and there is no NaN.
    members.sort_by(|(_, left), (_, right)| (left + 0.0).total_cmp(&(right + 0.0)));
    members
}
