//! `skep kv`: shows and changes what a tenant's key-value store holds, on a running host.
//!
//! The host hands the connection over to the process that keeps data; from then on it carries what a
//! worker's stream does ([`frame`]).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use bytes::BytesMut;
use serde::Deserialize;

use super::admin::Admin;
use super::{Failure, Result};
use crate::cli::{KvArgs, KvCommand};
use crate::config::limits;
use crate::control::{AdminCall, AdminReply};
use crate::data::frame::{self, Call, Reply};
use crate::data::kv::{Answer, Change, Query, Scored};
use crate::data::{Ask, Given};

/// `skep kv`
pub fn kv(args: &KvArgs) -> Result {
    let mut store = Store::open(args)?;
    let mut out = io::stdout().lock();
    let done = match &args.command {
        KvCommand::Get { key } => store.get(key, &mut out),
        KvCommand::Set { key, value, file } => {
            let value = match file {
                Some(file) => read(file)?,
                None => value.clone().unwrap_or_default().into_bytes(),
            };
            store.change(Change::Set(vec![(key.clone(), value)]))
        }
        KvCommand::Delete { keys } => store.change(Change::Delete(keys.clone())),
        KvCommand::List { pattern } => store.list(pattern, &mut out),
        KvCommand::Zadd { key, score, member } => {
            let members = vec![(member.clone().into_bytes(), *score)];
            let key = key.clone();
            store.change(Change::AddMembers { key, members })
        }
        KvCommand::Zrange { key, min, max } => store.range(key, *min, *max, &mut out),
        KvCommand::BfAdd { key, items } => {
            let items = items.iter().map(|item| item.clone().into_bytes());
            let (key, items) = (key.clone(), items.collect());
            store.change(Change::AddItems { key, items })
        }
        KvCommand::BfExists { key, item } => store.may_contain(key, item, &mut out),
        KvCommand::Import { file } => store.import(file, &mut out),
    };
    Ok(done?)
}

/// A store of a tenant's.
struct Store<'a> {
    admin: Admin,
    tenant: &'a str,
    store: &'a str,
    calls: u64,
    read: BytesMut,
}

impl<'a> Store<'a> {
    fn open(args: &'a KvArgs) -> std::result::Result<Self, Failure> {
        let mut admin = Admin::connect(&args.config)?;
        let tenant = args.tenant.clone();
        match admin.call(&AdminCall::Data { tenant })? {
            AdminReply::Connected => {}
            AdminReply::Refused { error } => return Err(anyhow!("{error}").into()),
            AdminReply::Purged { .. } => return Err(anyhow!("the host answers another").into()),
        }
        Ok(Self {
            admin,
            tenant: &args.tenant,
            store: &args.store,
            calls: 0,
            read: BytesMut::new(),
        })
    }

    fn ask(&mut self, ask: Ask) -> anyhow::Result<Answer> {
        // What a guest would be told, too.
        ask.check()?;
        self.calls += 1;
        let (id, tenant) = (self.calls, self.tenant.to_owned());
        let mut message = Vec::new();
        frame::encode(&Call { id, tenant, ask }, &mut message).context("the call")?;
        let stream = &mut self.admin.stream;
        stream.write_all(&message).context("the host is gone")?;
        let mut piece = vec![0; limits::DATA_READ_BYTES];
        loop {
            if let Some(reply) = frame::decode::<Reply>(&mut self.read).context("the answer")? {
                return match reply.given {
                    Ok(Given::Kv(answer)) => Ok(answer),
                    Ok(_) => bail!("the host answers another question"),
                    Err(crate::data::Refused::NotGranted) => {
                        bail!("tenant {} has no store {}", self.tenant, self.store)
                    }
                    Err(refused) => Err(refused.into()),
                };
            }
            match stream
                .read(&mut piece)
                .context("the host does not answer")?
            {
                0 => bail!("the host is gone"),
                length => self.read.extend_from_slice(&piece[..length]),
            }
        }
    }

    fn query(&mut self, query: Query) -> anyhow::Result<Answer> {
        let store = self.store.to_owned();
        self.ask(Ask::Query { store, query })
    }

    fn change(&mut self, change: Change) -> anyhow::Result<()> {
        let store = self.store.to_owned();
        self.ask(Ask::Change { store, change }).map(|_| ())
    }

    fn get(&mut self, key: &str, out: &mut impl Write) -> anyhow::Result<()> {
        let answer = self.query(Query::Get(vec![key.to_owned()]))?;
        let Answer::Values(mut values) = answer else {
            bail!("the host answers another question");
        };
        let value = values.pop().flatten();
        let value = value.with_context(|| format!("no key {key} in store {}", self.store))?;
        out.write_all(&value)?;
        // A line for whoever looks; a file or a pipe gets the value and nothing else.
        if io::IsTerminal::is_terminal(&io::stdout()) {
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn list(&mut self, pattern: &str, out: &mut impl Write) -> anyhow::Result<()> {
        let pattern = pattern.to_owned();
        let Answer::Keys(keys) = self.query(Query::Scan { pattern })? else {
            bail!("the host answers another question");
        };
        for key in keys {
            writeln!(out, "{key}")?;
        }
        Ok(())
    }

    fn range(&mut self, key: &str, min: f64, max: f64, out: &mut impl Write) -> anyhow::Result<()> {
        let key = key.to_owned();
        let Answer::Members(members) = self.query(Query::RangeByScore { key, min, max })? else {
            bail!("the host answers another question");
        };
        for (member, score) in members {
            write!(out, "{score}\t")?;
            out.write_all(&member)?;
            writeln!(out)?;
        }
        Ok(())
    }

    fn may_contain(&mut self, key: &str, item: &str, out: &mut impl Write) -> anyhow::Result<()> {
        let (key, item) = (key.to_owned(), item.as_bytes().to_vec());
        let Answer::Bool(may) = self.query(Query::MayContain { key, item })? else {
            bail!("the host answers another question");
        };
        Ok(writeln!(out, "{may}")?)
    }

    /// Values that follow each other are set together.
    fn import(&mut self, file: &Path, out: &mut impl Write) -> anyhow::Result<()> {
        let (mut pairs, mut bytes, mut count) = (Vec::new(), 0, 0);
        let place = file.display();
        for (at, line) in BufReader::new(open(file)?).lines().enumerate() {
            let line = line.with_context(|| place.to_string())?;
            if line.trim().is_empty() {
                continue;
            }
            let number = at + 1;
            let right = "{\"key\": …} with \"value\", \"members\": [[score, member], …] or \"items\": […] is right";
            let line: Line = serde_json::from_str(&line)
                .map_err(|error| anyhow!("{place}:{number}: {error}; {right}"))?;
            let imported = match line.what {
                What::Value(value) => {
                    bytes += line.key.len() + value.len();
                    pairs.push((line.key, value.into_bytes()));
                    match pairs.len() >= limits::DATA_BATCH_MAX || bytes >= SET_BYTES {
                        true => self.set(&mut pairs, &mut bytes),
                        false => Ok(()),
                    }
                }
                other => self
                    .set(&mut pairs, &mut bytes)
                    .and_then(|()| self.add(&line.key, other)),
            };
            imported.with_context(|| format!("{place}:{number}"))?;
            count += 1;
        }
        self.set(&mut pairs, &mut bytes)
            .with_context(|| place.to_string())?;
        Ok(writeln!(out, "imported {count} lines")?)
    }

    fn set(&mut self, pairs: &mut Vec<(String, Vec<u8>)>, bytes: &mut usize) -> anyhow::Result<()> {
        *bytes = 0;
        match std::mem::take(pairs) {
            pairs if pairs.is_empty() => Ok(()),
            pairs => self.change(Change::Set(pairs)),
        }
    }

    fn add(&mut self, key: &str, what: What) -> anyhow::Result<()> {
        match what {
            What::Value(_) => {}
            What::Members(members) => {
                let members: Vec<Scored> = members
                    .into_iter()
                    .map(|(score, member)| (member.into_bytes(), score))
                    .collect();
                for members in batches(members, |(member, _)| member.len()) {
                    let key = key.to_owned();
                    self.change(Change::AddMembers { key, members })?;
                }
            }
            What::Items(items) => {
                let items: Vec<Vec<u8>> = items.into_iter().map(String::into_bytes).collect();
                for items in batches(items, Vec::len) {
                    let key = key.to_owned();
                    self.change(Change::AddItems { key, items })?;
                }
            }
        }
        Ok(())
    }
}

/// As many at once as one call may have.
fn batches<T>(all: Vec<T>, bytes: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut batches: Vec<Vec<T>> = Vec::new();
    let mut room = 0;
    for one in all {
        let length = bytes(&one);
        match batches.last_mut() {
            Some(last) if last.len() < limits::DATA_BATCH_MAX && length <= room => {
                room -= length;
                last.push(one);
            }
            _ => {
                room = SET_BYTES.saturating_sub(length);
                batches.push(vec![one]);
            }
        }
    }
    batches
}

/// A line of a file that is imported.
#[derive(Deserialize)]
struct Line {
    key: String,
    #[serde(flatten)]
    what: What,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Value(String),
    Members(Vec<(f64, String)>),
    Items(Vec<String>),
}

/// Keys and values that are set together, far below what one message may have.
const SET_BYTES: usize = limits::DATA_MESSAGE_BYTES_MAX / 4;

/// `-` is standard input.
fn open(file: &Path) -> anyhow::Result<Box<dyn Read>> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let opened = File::open(file).with_context(|| file.display().to_string())?;
    Ok(Box::new(opened))
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut value = Vec::new();
    // One byte more, so that what is too long is seen to be.
    let most = limits::DATA_VALUE_BYTES_MAX as u64 + 1;
    open(file)?
        .take(most)
        .read_to_end(&mut value)
        .with_context(|| file.display().to_string())?;
    Ok(value)
}
