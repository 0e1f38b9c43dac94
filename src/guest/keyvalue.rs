//! `wasi:keyvalue`: stores, atomic changes, batches.

use wasmtime::component::{HasSelf, Linker, Resource};

use self::bindings::wasi::keyvalue::{atomics, batch, store};
use super::State;
use crate::data::kv::{Answer, Change, Query};
use crate::data::{Ask, Given, Refused};

/// What `bindgen` makes of `wit/keyvalue.wit`.
mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/keyvalue.wit",
        world: "imports",
        imports: { default: async | trappable },
        with: {
            "wasi:keyvalue/store.bucket": super::Bucket,
            "wasi:keyvalue/atomics.cas": super::Cas,
        },
    });
}

/// A store that a guest has opened.
#[derive(Debug)]
pub struct Bucket {
    store: String,
}

/// A key whose value was looked at, to be swapped if it is still the same.
#[derive(Debug)]
pub struct Cas {
    store: String,
    key: String,
    seen: Option<Vec<u8>>,
}

/// Links the interfaces.
///
/// # Errors
/// When one cannot be defined.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    fn it(state: &mut State) -> &mut State {
        state
    }
    store::add_to_linker::<_, HasSelf<State>>(linker, it)?;
    atomics::add_to_linker::<_, HasSelf<State>>(linker, it)?;
    batch::add_to_linker::<_, HasSelf<State>>(linker, it)
}

/// What the interfaces' functions return.
type Result<T, E = store::Error> = wasmtime::Result<std::result::Result<T, E>>;

fn error(refused: Refused) -> store::Error {
    match refused {
        Refused::NotGranted | Refused::ReadOnly => store::Error::AccessDenied,
        refused => store::Error::Other(refused.to_string()),
    }
}

/// An answer of another kind than was asked for: never, unless the two processes are of different builds.
fn unexpected<T>() -> std::result::Result<T, store::Error> {
    Err(store::Error::Other(
        "the host's answer is of another kind".to_owned(),
    ))
}

impl State {
    fn store_of(&self, bucket: &Resource<Bucket>) -> wasmtime::Result<String> {
        Ok(self.table.get(bucket)?.store.clone())
    }

    /// Keeps what a guest has looked at, which is charged to its request.
    fn keep(&mut self, cas: Cas) -> wasmtime::Result<Resource<Cas>> {
        let seen = cas.seen.as_ref().map_or(0, Vec::len);
        self.host_memory
            .take(cas.store.len() + cas.key.len() + seen)?;
        Ok(self.table.push(cas)?)
    }

    async fn query(
        &mut self,
        store: String,
        query: Query,
    ) -> std::result::Result<Answer, store::Error> {
        match self.ask(Ask::Query { store, query }).await {
            Ok(Given::Kv(answer)) => Ok(answer),
            Ok(_) => unexpected(),
            Err(refused) => Err(error(refused)),
        }
    }

    async fn change(
        &mut self,
        store: String,
        change: Change,
    ) -> std::result::Result<Answer, store::Error> {
        match self.ask(Ask::Change { store, change }).await {
            Ok(Given::Kv(answer)) => Ok(answer),
            Ok(_) => unexpected(),
            Err(refused) => Err(error(refused)),
        }
    }

    async fn values(
        &mut self,
        store: String,
        keys: Vec<String>,
    ) -> std::result::Result<Vec<Option<Vec<u8>>>, store::Error> {
        let asked = keys.len();
        match self.query(store, Query::Get(keys)).await? {
            Answer::Values(values) if values.len() == asked => Ok(values),
            _ => unexpected(),
        }
    }

    async fn value(
        &mut self,
        store: String,
        key: String,
    ) -> std::result::Result<Option<Vec<u8>>, store::Error> {
        let mut values = self.values(store, vec![key]).await?;
        Ok(values.pop().flatten())
    }
}

impl store::Host for State {
    async fn open(&mut self, identifier: String) -> Result<Resource<Bucket>> {
        if !self.grants.stores.contains(&identifier) {
            return Ok(Err(store::Error::AccessDenied));
        }
        Ok(Ok(self.table.push(Bucket { store: identifier })?))
    }
}

impl store::HostBucket for State {
    async fn get(&mut self, this: Resource<Bucket>, key: String) -> Result<Option<Vec<u8>>> {
        let store = self.store_of(&this)?;
        Ok(self.value(store, key).await)
    }

    async fn set(&mut self, this: Resource<Bucket>, key: String, value: Vec<u8>) -> Result<()> {
        let store = self.store_of(&this)?;
        let changed = self.change(store, Change::Set(vec![(key, value)])).await;
        Ok(changed.map(|_| ()))
    }

    async fn delete(&mut self, this: Resource<Bucket>, key: String) -> Result<()> {
        let store = self.store_of(&this)?;
        let changed = self.change(store, Change::Delete(vec![key])).await;
        Ok(changed.map(|_| ()))
    }

    async fn exists(&mut self, this: Resource<Bucket>, key: String) -> Result<bool> {
        let store = self.store_of(&this)?;
        let answer = self.query(store, Query::Exists(key)).await;
        Ok(answer.and_then(|answer| match answer {
            Answer::Bool(there) => Ok(there),
            _ => unexpected(),
        }))
    }

    async fn list_keys(
        &mut self,
        this: Resource<Bucket>,
        cursor: Option<String>,
    ) -> Result<store::KeyResponse> {
        let store = self.store_of(&this)?;
        let answer = self.query(store, Query::List { cursor }).await;
        Ok(answer.and_then(|answer| match answer {
            Answer::Page(keys, cursor) => Ok(store::KeyResponse { keys, cursor }),
            _ => unexpected(),
        }))
    }

    async fn drop(&mut self, this: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl atomics::Host for State {
    async fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: i64,
    ) -> Result<i64> {
        let store = self.store_of(&bucket)?;
        let answer = self.change(store, Change::Increment { key, delta }).await;
        Ok(answer.and_then(|answer| match answer {
            Answer::Count(count) => Ok(count),
            _ => unexpected(),
        }))
    }

    async fn swap(&mut self, cas: Resource<Cas>, value: Vec<u8>) -> Result<(), atomics::CasError> {
        let Cas { store, key, seen } = self.table.delete(cas)?;
        let change = Change::Swap {
            key: key.clone(),
            expected: seen,
            value,
        };
        let swapped = self.change(store.clone(), change).await;
        let failed = match swapped {
            Ok(Answer::Bool(true)) => return Ok(Ok(())),
            Ok(Answer::Bool(false)) => self.value(store.clone(), key.clone()).await,
            Ok(_) => unexpected(),
            Err(error) => Err(error),
        };
        // It was another one meanwhile: the guest may look at that, and try again.
        Ok(Err(match failed {
            Ok(seen) => atomics::CasError::CasFailed(self.keep(Cas { store, key, seen })?),
            Err(error) => atomics::CasError::StoreError(error),
        }))
    }
}

impl atomics::HostCas for State {
    async fn new(&mut self, bucket: Resource<Bucket>, key: String) -> Result<Resource<Cas>> {
        let store = self.store_of(&bucket)?;
        let seen = match self.value(store.clone(), key.clone()).await {
            Ok(seen) => seen,
            Err(error) => return Ok(Err(error)),
        };
        Ok(Ok(self.keep(Cas { store, key, seen })?))
    }

    async fn current(&mut self, this: Resource<Cas>) -> Result<Option<Vec<u8>>> {
        Ok(Ok(self.table.get(&this)?.seen.clone()))
    }

    async fn drop(&mut self, this: Resource<Cas>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

/// Keys, and the value of each where there is one.
type Pairs = Vec<(String, Option<Vec<u8>>)>;

impl batch::Host for State {
    async fn get_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Result<Pairs> {
        let store = self.store_of(&bucket)?;
        let values = self.values(store, keys.clone()).await;
        Ok(values.map(|values| keys.into_iter().zip(values).collect()))
    }

    async fn set_many(
        &mut self,
        bucket: Resource<Bucket>,
        key_values: Vec<(String, Vec<u8>)>,
    ) -> Result<()> {
        let store = self.store_of(&bucket)?;
        Ok(self
            .change(store, Change::Set(key_values))
            .await
            .map(|_| ()))
    }

    async fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Result<()> {
        let store = self.store_of(&bucket)?;
        Ok(self.change(store, Change::Delete(keys)).await.map(|_| ()))
    }
}
