//! A plain `wasi:http` app with `wasi:keyvalue` and `wasi:config`: a path for every function.
//!
//! ```text
//!   /get?key=K                      some VALUE, or none
//!   /set?key=K&value=V              ok             /set?key=K&bytes=N  a value of N bytes
//!   /delete?key=K                   ok             /exists?key=K       true or false
//!   /list[?cursor=C]                count N, a line for each key; then "cursor C" where there are more
//!   /increment?key=K&delta=D        the number
//!   /cas?key=K&value=V[&meanwhile=W]  swaps, after another write where asked: swapped, or failed: NOW
//!   /get-many?key=K&key=L           a line for each: K some VALUE, or K none
//!   /set-many?key=K&value=V&key=L&value=W    ok    /delete-many?key=K&key=L    ok
//!   /fill?from=A&to=B               sets "key-A" to "key-(B-1)", one by one: ok
//!   /config?key=K                   some VALUE, or none     /config    count N, then K=V sorted
//! ```
//!
//! Each takes `store=S`; without it, the store is "default". An error is `error` and how Rust prints it.

use anyhow::{bail, Result};
use services::Query;
use wstd::http::{Body, Request, Response};

mod bindings {
    wit_bindgen::generate!({
        inline: r#"
            package skep:keyvalue-guest;
            world guest {
                import wasi:keyvalue/store@0.2.0-draft2;
                import wasi:keyvalue/atomics@0.2.0-draft2;
                import wasi:keyvalue/batch@0.2.0-draft2;
                import wasi:config/store@0.2.0-rc.1;
            }
        "#,
        path: ["../../../../wit/keyvalue.wit", "../wit/config.wit"],
        generate_all,
    });
}

use bindings::wasi::config::store as config;
use bindings::wasi::keyvalue::{atomics, batch, store};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>> {
    let query = Query::of(request.uri().query());
    let text = match request.uri().path() {
        "/config" => configuration(&query)?,
        path => match store::open(query.value("store").unwrap_or("default")) {
            Ok(bucket) => answer(path, &bucket, &query)?,
            Err(error) => format!("open error {error:?}"),
        },
    };
    Ok(Response::new((text + "\n").into()))
}

fn answer(path: &str, bucket: &store::Bucket, query: &Query) -> Result<String> {
    let key = || query.need("key").map(str::to_owned);
    let keys = || -> Vec<String> { query.values("key").map(str::to_owned).collect() };
    Ok(match path {
        "/get" => told(bucket.get(&key()?), option),
        "/set" => told(bucket.set(&key()?, &value(query)?), ok),
        "/delete" => told(bucket.delete(&key()?), ok),
        "/exists" => told(bucket.exists(&key()?), |there| there.to_string()),
        "/list" => told(bucket.list_keys(query.value("cursor")), page),
        "/increment" => {
            let delta = query.need_number("delta")?;
            told(atomics::increment(bucket, &key()?, delta), |now| now.to_string())
        }
        "/cas" => cas(bucket, &key()?, query)?,
        "/get-many" => told(batch::get_many(bucket, &keys()), |pairs| {
            let lines = pairs.into_iter().map(|(key, value)| format!("{key} {}", option(value)));
            lines.collect::<Vec<_>>().join("\n")
        }),
        "/set-many" => {
            let values = query.values("value").map(|value| value.as_bytes().to_vec());
            let pairs: Vec<_> = keys().into_iter().zip(values).collect();
            told(batch::set_many(bucket, &pairs), ok)
        }
        "/delete-many" => told(batch::delete_many(bucket, &keys()), ok),
        "/fill" => {
            for number in query.need_number::<u64>("from")?..query.need_number("to")? {
                if let Err(error) = bucket.set(&format!("key-{number}"), b"x") {
                    return Ok(format!("error {error:?}"));
                }
            }
            "ok".to_owned()
        }
        other => bail!("no route {other}"),
    })
}

fn value(query: &Query) -> Result<Vec<u8>> {
    match query.number::<usize>("bytes")? {
        Some(bytes) => Ok(vec![b'x'; bytes]),
        None => Ok(query.need("value")?.as_bytes().to_vec()),
    }
}

fn cas(bucket: &store::Bucket, key: &str, query: &Query) -> Result<String> {
    let seen = match atomics::Cas::new(bucket, key) {
        Ok(seen) => seen,
        Err(error) => return Ok(format!("error {error:?}")),
    };
    if let Some(meanwhile) = query.value("meanwhile") {
        bucket.set(key, meanwhile.as_bytes())?;
    }
    Ok(match atomics::swap(seen, query.need("value")?.as_bytes()) {
        Ok(()) => "swapped".to_owned(),
        Err(atomics::CasError::CasFailed(now)) => format!("failed: {}", told(now.current(), option)),
        Err(atomics::CasError::StoreError(error)) => format!("error {error:?}"),
    })
}

fn configuration(query: &Query) -> Result<String> {
    let Some(key) = query.value("key") else {
        let mut all = config::get_all()?;
        all.sort();
        let lines = all.iter().map(|(key, value)| format!("\n{key}={value}"));
        return Ok(format!("count {}{}", all.len(), lines.collect::<String>()));
    };
    Ok(option(config::get(key)?.map(String::into_bytes)))
}

fn told<T>(result: std::result::Result<T, store::Error>, tell: impl Fn(T) -> String) -> String {
    result.map_or_else(|error| format!("error {error:?}"), tell)
}

fn ok(_: ()) -> String {
    "ok".to_owned()
}

fn option(value: Option<Vec<u8>>) -> String {
    match value {
        Some(value) => format!("some {}", String::from_utf8_lossy(&value)),
        None => "none".to_owned(),
    }
}

fn page(page: store::KeyResponse) -> String {
    let keys = page.keys.iter().map(|key| format!("\n{key}")).collect::<String>();
    let cursor = page.cursor.map(|cursor| format!("\ncursor {cursor}")).unwrap_or_default();
    format!("count {}{keys}{cursor}", page.keys.len())
}
