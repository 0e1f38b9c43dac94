//! FastEdge's services by path, in text that a test can compare, for an app of either kind.
//!
//! ```text
//!   /dictionary?key=K               some VALUE, or none
//!   /env?key=K                      the same of the process's environment; all of it without a key
//!   /secret?name=N                  some VALUE, or none; effective at a time with at=UNIX_SECONDS
//!   /kv?store=S&op=get&key=K        some VALUE, or none
//!     scan&pattern=P                count N, then a line for each key
//!     zrange&key=K&min=A&max=B      count N, then a line for each member: VALUE SCORE
//!     zscan&key=K&pattern=P         the same
//!     bf&key=K&item=I               true or false
//!   /cache?op=get&key=K             some VALUE, or none
//!     set&key=K&value=V[&ttl=MS]    ok
//!     delete&key=K                  ok
//!     exists&key=K                  true or false
//!     incr&key=K&delta=D            the number
//!     expire&key=K&ttl=MS           true or false
//!     purge                         how many there were
//!     purge-prefix&key=PREFIX       the same
//!   /diag?text=T                    ok: every text given becomes the request's diagnostic, in turn
//!   /print?text=T                   ok: a line on stdout
//!   /eprint?text=T                  ok: a line on stderr
//! ```
//!
//! Each answer ends with a newline. An error of the service is `error` and how Rust prints it, such as
//! `error Error::AccessDenied`; of opening a store, `open error`.

mod query;

use std::env;
use std::fmt::{Debug, Display};

use anyhow::{bail, Result};
use fastedge::key_value::Store;
use fastedge::{cache, dictionary, secret, utils};

pub use query::Query;

/// Answers a path of the table; `None` for any other.
pub fn answer(path: &str, query: &Query) -> Result<Option<String>> {
    let text = match path {
        "/dictionary" => option(dictionary::get(query.need("key")?)),
        "/env" => environment(query),
        "/secret" => of_secret(query)?,
        "/kv" => of_store(query)?,
        "/cache" => of_cache(query)?,
        "/diag" => {
            query.values("text").for_each(utils::set_user_diag);
            ok(())
        }
        "/print" => {
            println!("{}", query.need("text")?);
            ok(())
        }
        "/eprint" => {
            eprintln!("{}", query.need("text")?);
            ok(())
        }
        _ => return Ok(None),
    };
    Ok(Some(text + "\n"))
}

fn environment(query: &Query) -> String {
    match query.value("key") {
        Some(key) => match env::var(key) {
            Err(env::VarError::NotPresent) => option(None::<String>),
            value => result(value.map(Some), option),
        },
        None => {
            let mut lines: Vec<_> = env::vars()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            lines.sort();
            list(lines)
        }
    }
}

fn of_secret(query: &Query) -> Result<String> {
    let name = query.need("name")?;
    let value = match query.number("at")? {
        Some(at) => secret::get_effective_at(name, at),
        None => secret::get(name),
    };
    Ok(result(value, option))
}

fn of_store(query: &Query) -> Result<String> {
    let store = match Store::open(query.need("store")?) {
        Ok(store) => store,
        Err(error) => return Ok(format!("open error {error:?}")),
    };
    let members = |members: Vec<(Vec<u8>, f64)>| {
        list(
            members
                .iter()
                .map(|(value, score)| format!("{} {score}", lossy(value))),
        )
    };
    Ok(match query.need("op")? {
        "get" => result(store.get(query.need("key")?), option),
        "scan" => result(store.scan(query.need("pattern")?), list),
        "zrange" => {
            let (min, max) = (query.need_number("min")?, query.need_number("max")?);
            result(store.zrange_by_score(query.need("key")?, min, max), members)
        }
        "zscan" => result(
            store.zscan(query.need("key")?, query.need("pattern")?),
            members,
        ),
        "bf" => result(
            store.bf_exists(query.need("key")?, query.need("item")?),
            plain,
        ),
        other => bail!("no operation {other}"),
    })
}

fn of_cache(query: &Query) -> Result<String> {
    let op = query.need("op")?;
    if op == "purge" {
        return Ok(result(cache::purge(), plain));
    }
    let key = query.need("key")?;
    Ok(match op {
        "get" => result(cache::get(key), option),
        "set" => {
            let value = query.need("value")?.as_bytes();
            result(cache::set(key, value, query.number("ttl")?), ok)
        }
        "delete" => result(cache::delete(key), ok),
        "exists" => result(cache::exists(key), plain),
        "incr" => result(cache::incr(key, query.need_number("delta")?), plain),
        "expire" => result(cache::expire(key, query.need_number("ttl")?), plain),
        "purge-prefix" => result(cache::purge_prefix(key), plain),
        other => bail!("no operation {other}"),
    })
}

fn result<T, E: Debug>(result: Result<T, E>, tell: impl FnOnce(T) -> String) -> String {
    result.map_or_else(|error| format!("error {error:?}"), tell)
}

fn option(value: Option<impl AsRef<[u8]>>) -> String {
    value.map_or("none".to_owned(), |value| {
        format!("some {}", lossy(value.as_ref()))
    })
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| format!("\n{item}")).collect();
    format!("count {}{}", items.len(), items.concat())
}

fn plain(value: impl Display) -> String {
    value.to_string()
}

fn ok((): ()) -> String {
    "ok".to_owned()
}

fn lossy(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}
