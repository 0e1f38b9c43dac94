//! `gcore:fastedge/secret`, `key-value` and `cache-sync`: what the host keeps for a tenant.

use wasmtime::component::Resource;

use super::bindings::gcore::fastedge::{cache_sync, cache_types, key_value, secret};
use crate::data::kv::{Answer, Query, Scored};
use crate::data::{Ask, CacheAsk, Given, Refused};
use crate::guest::State;

/// An answer of another kind than was asked for: never, unless the two processes are of different builds.
const UNEXPECTED: &str = "the host's answer is of another kind";

impl secret::Host for State {
    async fn get(
        &mut self,
        key: String,
    ) -> wasmtime::Result<Result<Option<String>, secret::Error>> {
        Ok(self.secret(key, None).await)
    }

    async fn get_effective_at(
        &mut self,
        key: String,
        at: u32,
    ) -> wasmtime::Result<Result<Option<String>, secret::Error>> {
        Ok(self.secret(key, Some(at.into())).await)
    }
}

impl State {
    async fn secret(
        &mut self,
        name: String,
        at: Option<u64>,
    ) -> Result<Option<String>, secret::Error> {
        match self.ask(Ask::Secret { name, at }).await {
            Ok(Given::Value(None)) => Ok(None),
            Ok(Given::Value(Some(value))) => match String::from_utf8(value) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(secret::Error::Other("the secret is not text".to_owned())),
            },
            Ok(_) => Err(secret::Error::Other(UNEXPECTED.to_owned())),
            Err(Refused::NotGranted) => Err(secret::Error::AccessDenied),
            Err(Refused::Undecryptable) => Err(secret::Error::DecryptError),
            Err(refused) => Err(secret::Error::Other(refused.to_string())),
        }
    }
}

/// A store that a guest has opened.
#[derive(Debug)]
pub struct Bucket {
    store: String,
}

impl key_value::Host for State {}

impl key_value::HostStore for State {
    async fn open(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Resource<Bucket>, key_value::Error>> {
        if !self.grants.stores.contains(&name) {
            return Ok(Err(key_value::Error::AccessDenied));
        }
        Ok(Ok(self.table.push(Bucket { store: name })?))
    }

    async fn get(
        &mut self,
        this: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, key_value::Error>> {
        let answer = self.ask_store(&this, Query::Get(vec![key])).await?;
        Ok(answer.and_then(|answer| match answer {
            Answer::Values(mut values) => Ok(values.pop().flatten()),
            _ => Err(key_value::Error::InternalError),
        }))
    }

    async fn scan(
        &mut self,
        this: Resource<Bucket>,
        pattern: String,
    ) -> wasmtime::Result<Result<Vec<String>, key_value::Error>> {
        let answer = self.ask_store(&this, Query::Scan { pattern }).await?;
        Ok(answer.and_then(|answer| match answer {
            Answer::Keys(keys) => Ok(keys),
            _ => Err(key_value::Error::InternalError),
        }))
    }

    async fn zrange_by_score(
        &mut self,
        this: Resource<Bucket>,
        key: String,
        min: f64,
        max: f64,
    ) -> wasmtime::Result<Result<Vec<Scored>, key_value::Error>> {
        let query = Query::RangeByScore { key, min, max };
        let answer = self.ask_store(&this, query).await?;
        Ok(answer.and_then(members))
    }

    async fn zscan(
        &mut self,
        this: Resource<Bucket>,
        key: String,
        pattern: String,
    ) -> wasmtime::Result<Result<Vec<Scored>, key_value::Error>> {
        let query = Query::ScanMembers { key, pattern };
        let answer = self.ask_store(&this, query).await?;
        Ok(answer.and_then(members))
    }

    async fn bf_exists(
        &mut self,
        this: Resource<Bucket>,
        key: String,
        item: String,
    ) -> wasmtime::Result<Result<bool, key_value::Error>> {
        let item = item.into_bytes();
        let answer = self
            .ask_store(&this, Query::MayContain { key, item })
            .await?;
        Ok(answer.and_then(|answer| match answer {
            Answer::Bool(there) => Ok(there),
            _ => Err(key_value::Error::InternalError),
        }))
    }

    async fn drop(&mut self, this: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

fn members(answer: Answer) -> Result<Vec<Scored>, key_value::Error> {
    match answer {
        Answer::Members(members) => Ok(members),
        _ => Err(key_value::Error::InternalError),
    }
}

impl State {
    async fn ask_store(
        &mut self,
        bucket: &Resource<Bucket>,
        query: Query,
    ) -> wasmtime::Result<Result<Answer, key_value::Error>> {
        let store = self.table.get(bucket)?.store.clone();
        Ok(match self.ask(Ask::Query { store, query }).await {
            Ok(Given::Kv(answer)) => Ok(answer),
            Ok(_) => Err(key_value::Error::InternalError),
            // A reload may have taken it away.
            Err(Refused::NotGranted) => Err(key_value::Error::AccessDenied),
            Err(refused) => Err(key_value::Error::Other(refused.to_string())),
        })
    }
}

impl cache_types::Host for State {}

impl cache_sync::Host for State {
    async fn get(
        &mut self,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, cache_types::Error>> {
        let given = self.cache(CacheAsk::Get { key }).await;
        Ok(given.and_then(|given| match given {
            Given::Value(value) => Ok(value),
            _ => Err(cache_types::Error::InternalError),
        }))
    }

    async fn set(
        &mut self,
        key: String,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> wasmtime::Result<Result<(), cache_types::Error>> {
        let given = self.cache(CacheAsk::Set { key, value, ttl_ms }).await;
        Ok(given.map(|_| ()))
    }

    async fn delete(&mut self, key: String) -> wasmtime::Result<Result<(), cache_types::Error>> {
        let given = self.cache(CacheAsk::Delete { key }).await;
        Ok(given.map(|_| ()))
    }

    async fn exists(&mut self, key: String) -> wasmtime::Result<Result<bool, cache_types::Error>> {
        Ok(self
            .cache(CacheAsk::Exists { key })
            .await
            .and_then(yes_or_no))
    }

    async fn incr(
        &mut self,
        key: String,
        delta: i64,
    ) -> wasmtime::Result<Result<i64, cache_types::Error>> {
        let given = self.cache(CacheAsk::Increment { key, delta }).await;
        Ok(given.and_then(count))
    }

    async fn expire(
        &mut self,
        key: String,
        ttl_ms: u64,
    ) -> wasmtime::Result<Result<bool, cache_types::Error>> {
        let given = self.cache(CacheAsk::Expire { key, ttl_ms }).await;
        Ok(given.and_then(yes_or_no))
    }

    async fn purge(&mut self) -> wasmtime::Result<Result<u64, cache_types::Error>> {
        let given = self.cache(CacheAsk::Purge).await;
        Ok(given.and_then(count).map(i64::cast_unsigned))
    }

    async fn purge_prefix(
        &mut self,
        prefix: String,
    ) -> wasmtime::Result<Result<u64, cache_types::Error>> {
        let given = self.cache(CacheAsk::PurgePrefix { prefix }).await;
        Ok(given.and_then(count).map(i64::cast_unsigned))
    }
}

fn yes_or_no(given: Given) -> Result<bool, cache_types::Error> {
    match given {
        Given::Bool(answer) => Ok(answer),
        _ => Err(cache_types::Error::InternalError),
    }
}

fn count(given: Given) -> Result<i64, cache_types::Error> {
    match given {
        Given::Count(count) => Ok(count),
        _ => Err(cache_types::Error::InternalError),
    }
}

impl State {
    async fn cache(&mut self, ask: CacheAsk) -> Result<Given, cache_types::Error> {
        let given = self.ask(Ask::Cache(ask)).await;
        given.map_err(|refused| match refused {
            Refused::NotGranted => cache_types::Error::AccessDenied,
            refused => cache_types::Error::Other(refused.to_string()),
        })
    }
}
