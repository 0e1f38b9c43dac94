//! Programs for Gcore FastEdge: the `gcore:fastedge` interfaces, each an adapter over what other guests
//! have, too.
//!
//! | interface | implementation |
//! |---|---|
//! | `http-handler` | [`handler`]: the request's body is gathered first, the answer has one |
//! | `http-client` | [`client`]: the worker's client, as for `wasi:http` |
//! | `dictionary` | the tenant's `config`, then its `env` |
//! | `utils` | one word for the access log |
//!
//! A component may import them beside `wasi:http`, whichever of the two it exports.

mod client;
pub(super) mod handler;
mod services;

use http::HeaderMap;
use http_body::Body;
use http_body_util::BodyExt;
use wasmtime::component::{HasSelf, Linker};

use self::bindings::gcore::fastedge::{
    cache_sync, cache_types, dictionary, http as types, http_client, key_value, secret, utils,
};
use super::State;
use crate::config::limits;

/// What `bindgen` makes of `wit/fastedge.wit`.
#[expect(missing_docs, reason = "generated")]
pub(super) mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/fastedge.wit",
        world: "app",
        imports: {
            "gcore:fastedge/dictionary": trappable,
            "gcore:fastedge/utils": trappable,
            default: async | trappable,
        },
        exports: { default: async },
        with: { "gcore:fastedge/key-value.store": super::services::Bucket },
    });
}

pub use bindings::AppPre;
pub use handler::empty_response;

/// Links the interfaces.
///
/// # Errors
/// When one cannot be defined.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    fn it(state: &mut State) -> &mut State {
        state
    }
    types::add_to_linker::<_, HasSelf<State>>(linker, it)?;
    http_client::add_to_linker::<_, HasSelf<State>>(linker, it)?;
    dictionary::add_to_linker::<_, HasSelf<State>>(linker, it)?;
    utils::add_to_linker::<_, HasSelf<State>>(linker, it)?;
    secret::add_to_linker::<_, HasSelf<State>>(linker, it)?;
    key_value::add_to_linker::<_, HasSelf<State>>(linker, it)?;
    cache_types::add_to_linker::<_, HasSelf<State>>(linker, it)?;
    cache_sync::add_to_linker::<_, HasSelf<State>>(linker, it)
}

impl types::Host for State {}

impl dictionary::Host for State {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        let found = self.grants.config.get(&key);
        Ok(found.or_else(|| self.grants.env.get(&key)).cloned())
    }
}

impl utils::Host for State {
    fn set_user_diag(&mut self, name: String) -> wasmtime::Result<()> {
        let cut = name.floor_char_boundary(limits::DIAG_BYTES_MAX);
        self.notes.set_diag(&name[..cut]);
        Ok(())
    }
}

/// Why a body cannot be had whole.
pub(super) enum Unwhole {
    /// It is longer than it may be.
    TooLong,
    /// It did not come to its end.
    Broken,
}

/// The whole of a body, of at most `bytes_max`.
pub(super) async fn whole<B: Body<Data = bytes::Bytes>>(
    body: B,
    bytes_max: usize,
) -> Result<Vec<u8>, Unwhole> {
    let mut body = std::pin::pin!(body);
    // A length that is too long is not waited for.
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(Unwhole::TooLong);
    }
    let mut gathered = Vec::new();
    while let Some(frame) = body.frame().await {
        // Trailers have no place in these interfaces.
        let Ok(data) = frame.map_err(|_| Unwhole::Broken)?.into_data() else {
            continue;
        };
        if gathered.len() + data.len() > bytes_max {
            return Err(Unwhole::TooLong);
        }
        gathered.extend_from_slice(&data);
    }
    Ok(gathered)
}

/// Fields as these interfaces have them; a value that is not text has no place there.
fn to_pairs(fields: &HeaderMap) -> Vec<(String, String)> {
    let text = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let value = std::str::from_utf8(value.as_bytes()).ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    };
    fields.iter().filter_map(text).collect()
}

/// Fields from a guest; `None` where one is not a field.
fn from_pairs(pairs: Vec<(String, String)>) -> Option<HeaderMap> {
    // It has at most 32,768 places, and would panic.
    let mut fields = HeaderMap::try_with_capacity(pairs.len()).ok()?;
    for (name, value) in pairs {
        let name = http::HeaderName::from_bytes(name.as_bytes()).ok()?;
        fields.try_append(name, value.try_into().ok()?).ok()?;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_fields_than_a_map_holds_are_no_panic() {
        for (count, fits) in [(1_000, true), (24_577, false), (100_000, false)] {
            let pairs = (0..count).map(|number| (format!("x-{number}"), String::new()));
            assert_eq!(from_pairs(pairs.collect()).is_some(), fits, "{count}");
        }
        for bad in [("", "x"), ("a b", "x"), ("a", "x\r\ny: z")] {
            assert!(
                from_pairs(vec![(bad.0.to_owned(), bad.1.to_owned())]).is_none(),
                "{bad:?}"
            );
        }
    }
}
