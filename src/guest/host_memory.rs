//! What a guest has its host keep for it: the stock functions, after their part of the host's memory
//! was charged to the request.
//!
//! A guest that makes header fields, or requests with long methods and bodies, uses memory that is not
//! its own. The stock functions bound each piece (fields by 64 KiB, a method by what one host call
//! copies), and a guest may have as many pieces as it may have handles: gigabytes for each request.
//! Here a request has one allowance for all of them, which what is dropped does not give back.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance, Resource};
use wasmtime_wasi_http::p2::bindings::http::types as p2;
use wasmtime_wasi_http::p2::types as held;
use wasmtime_wasi_http::p3::bindings::http::types as p3;
use wasmtime_wasi_http::{FieldMap, FieldMapError, WasiHttpView};

use super::State;
use crate::config::limits;

/// What the host needs for a field beside its name and value, in bytes: its entry in a hash map that is
/// half empty, and two allocations.
const FIELD_BYTES: usize = 128;

/// What a body holds until it is read, in bytes: a chunk on its way, and one behind it.
const BODY_BYTES: usize = 2 * limits::GUEST_BODY_CHUNK_BYTES;

/// Host memory that a request may still take, in bytes.
#[derive(Debug)]
pub(super) struct Allowance(usize);

impl Default for Allowance {
    fn default() -> Self {
        Self(limits::HOST_BYTES)
    }
}

impl Allowance {
    /// Takes this many bytes of what one request may have its host keep.
    ///
    /// # Errors
    /// When there are not as many left.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), FieldMapError> {
        let left = self.0.checked_sub(bytes);
        self.0 = left.ok_or(FieldMapError::TotalSizeTooBig)?;
        Ok(())
    }
}

impl Allowance {
    /// The answer to a request of the guest's own: its fields, and what its body holds.
    pub(super) fn take_answer(&mut self, headers: &http::HeaderMap) -> Result<(), FieldMapError> {
        let costs = headers
            .iter()
            .map(|(name, value)| cost(name.as_str(), value.as_bytes()));
        self.take(costs.sum::<usize>() + BODY_BYTES)
    }
}

fn cost(name: &str, value: &[u8]) -> usize {
    name.len() + value.len() + FIELD_BYTES
}

fn cost_of_copy(fields: &FieldMap) -> usize {
    let costs = fields
        .iter()
        .map(|(name, value)| cost(name.as_str(), value.as_bytes()));
    // Its index is as large as it ever was.
    costs.sum::<usize>() + FIELD_BYTES + 8 * fields.capacity()
}

/// Links what adds fields, for one version of `wasi:http/types`.
macro_rules! link_fields {
    ($instance:expr, $types:ident) => {{
        use $types::{HeaderError, HostFields};

        type Made<T> = wasmtime::Result<(Result<T, HeaderError>,)>;
        let instance: &mut LinkerInstance<'_, State> = $instance;
        instance.func_wrap(
            "[static]fields.from-list",
            |mut store: StoreContextMut<'_, State>,
             (entries,): (Vec<(String, Vec<u8>)>,)|
             -> Made<Resource<FieldMap>> {
                let state = store.data_mut();
                let costs = entries.iter().map(|(name, value)| cost(name, value));
                state.host_memory.take(costs.sum())?;
                match HostFields::from_list(&mut state.http(), entries) {
                    Ok(fields) => Ok((Ok(fields),)),
                    Err(error) => Ok((Err(error.downcast()?),)),
                }
            },
        )?;
        instance.func_wrap(
            "[method]fields.append",
            |mut store: StoreContextMut<'_, State>,
             (fields, name, value): (Resource<FieldMap>, String, Vec<u8>)|
             -> Made<()> {
                let state = store.data_mut();
                state.host_memory.take(cost(&name, &value))?;
                match HostFields::append(&mut state.http(), fields, name, value) {
                    Ok(()) => Ok((Ok(()),)),
                    Err(error) => Ok((Err(error.downcast()?),)),
                }
            },
        )?;
        instance.func_wrap(
            "[method]fields.set",
            |mut store: StoreContextMut<'_, State>,
             (fields, name, values): (Resource<FieldMap>, String, Vec<Vec<u8>>)|
             -> Made<()> {
                let state = store.data_mut();
                let costs = values.iter().map(|value| cost(&name, value));
                state.host_memory.take(costs.sum())?;
                match HostFields::set(&mut state.http(), fields, name, values) {
                    Ok(()) => Ok((Ok(()),)),
                    Err(error) => Ok((Err(error.downcast()?),)),
                }
            },
        )?;
        instance.func_wrap(
            "[method]fields.clone",
            |mut store: StoreContextMut<'_, State>,
             (fields,): (Resource<FieldMap>,)|
             -> wasmtime::Result<(Resource<FieldMap>,)> {
                let state = store.data_mut();
                // It shares its fields until either changes; then all of them are copied.
                let copied = cost_of_copy(state.table.get(&fields)?);
                state.host_memory.take(copied)?;
                Ok((HostFields::clone(&mut state.http(), fields)?,))
            },
        )?;
    }};
}

/// Links what sets a part of a request, for one version of `wasi:http/types`.
macro_rules! link_request {
    ($instance:expr, $types:ident, $host:ident, $request:ty, $($name:literal => $set:ident($value:ty) of $text:expr;)*) => {{
        let instance: &mut LinkerInstance<'_, State> = $instance;
        $(instance.func_wrap(
            $name,
            |mut store: StoreContextMut<'_, State>,
             (request, value): (Resource<$request>, $value)|
             -> wasmtime::Result<(Result<(), ()>,)> {
                let state = store.data_mut();
                let text: fn(&$value) -> Option<&String> = $text;
                state.host_memory.take(text(&value).map_or(0, String::len))?;
                Ok(($types::$host::$set(&mut state.http(), request, value)?,))
            },
        )?;)*
    }};
}

/// Links them for `wasi:http@0.2`.
///
/// # Errors
/// When the interface cannot be defined.
pub(super) fn link_p2(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut types = linker.instance("wasi:http/types@0.2.12")?;
    link_fields!(&mut types, p2);
    link_request!(&mut types, p2, HostOutgoingRequest, held::HostOutgoingRequest,
        "[method]outgoing-request.set-method" => set_method(p2::Method) of |method| match method {
            p2::Method::Other(name) => Some(name),
            _ => None,
        };
        "[method]outgoing-request.set-scheme" => set_scheme(Option<p2::Scheme>) of |scheme| match scheme {
            Some(p2::Scheme::Other(name)) => Some(name),
            _ => None,
        };
        "[method]outgoing-request.set-authority" => set_authority(Option<String>) of Option::as_ref;
        "[method]outgoing-request.set-path-with-query" => set_path_with_query(Option<String>) of Option::as_ref;
    );
    type Body =
        wasmtime::Result<(Result<Resource<wasmtime_wasi_http::p2::body::HostOutgoingBody>, ()>,)>;
    types.func_wrap(
        "[method]outgoing-request.body",
        |mut store: StoreContextMut<'_, State>,
         (request,): (Resource<held::HostOutgoingRequest>,)|
         -> Body {
            let state = store.data_mut();
            state.host_memory.take(BODY_BYTES)?;
            Ok((p2::HostOutgoingRequest::body(&mut state.http(), request)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-response.body",
        |mut store: StoreContextMut<'_, State>,
         (response,): (Resource<held::HostOutgoingResponse>,)|
         -> Body {
            let state = store.data_mut();
            state.host_memory.take(BODY_BYTES)?;
            Ok((p2::HostOutgoingResponse::body(&mut state.http(), response)?,))
        },
    )
}

/// Links them for `wasi:http@0.3`. A body is a stream there, and nothing of it is kept.
///
/// # Errors
/// When the interface cannot be defined.
pub(super) fn link_p3(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut types = linker.instance("wasi:http/types@0.3.0")?;
    link_fields!(&mut types, p3);
    link_request!(&mut types, p3, HostRequest, wasmtime_wasi_http::p3::Request,
        "[method]request.set-method" => set_method(p3::Method) of |method| match method {
            p3::Method::Other(name) => Some(name),
            _ => None,
        };
        "[method]request.set-scheme" => set_scheme(Option<p3::Scheme>) of |scheme| match scheme {
            Some(p3::Scheme::Other(name)) => Some(name),
            _ => None,
        };
        "[method]request.set-authority" => set_authority(Option<String>) of Option::as_ref;
        "[method]request.set-path-with-query" => set_path_with_query(Option<String>) of Option::as_ref;
    );
    Ok(())
}
