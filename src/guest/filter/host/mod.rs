//! The functions of the module `env` that filters import.
//!
//! Each gets its guest and the numbers that it was called with, and ends with a status
//! ([`status`](super::status)).

mod buffers;
mod calls;
mod fastedge;
mod general;
mod maps;
mod refused;
mod services;

use wasmtime::{Caller, Linker};

use super::memory::Guest;
use super::status::code;
use crate::guest::State;

/// Links functions that end at once.
macro_rules! link {
    ($linker:expr, $($name:literal => $function:path, $($arg:ident: $kind:ty),* ;)*) => {
        $($linker.func_wrap(
            "env",
            $name,
            |caller: Caller<'_, State>, $($arg: $kind),*| -> wasmtime::Result<u32> {
                code($function(&mut Guest::new(caller), $($arg),*))
            },
        )?;)*
    };
}

/// Links functions that wait for something: for others, or for the guest to allocate.
macro_rules! link_async {
    ($linker:expr, $($name:literal => $function:path, $($arg:ident: $kind:ty),* ;)*) => {
        $($linker.func_wrap_async(
            "env",
            $name,
            |caller: Caller<'_, State>, ($($arg,)*): ($($kind,)*)| {
                Box::new(async move {
                    let answer = $function(&mut Guest::new(caller), $($arg),*).await;
                    code(answer)
                })
            },
        )?;)*
    };
}

pub(super) fn link(l: &mut Linker<State>) -> wasmtime::Result<()> {
    link!(l,
        "proxy_log" => general::log, level: u32, at: u32, length: u32;
        "proxy_get_log_level" => general::log_level, to: u32;
        "proxy_get_current_time_nanoseconds" => general::now, to: u32;
        "proxy_set_tick_period_milliseconds" => general::tick, period_ms: u32;
        "proxy_set_effective_context" => general::effective_context, context: u32;
        "proxy_done" => general::done,;
        "proxy_clear_route_cache" => general::done,;
        "proxy_set_property" => general::set_property, path: u32, length: u32, value: u32, size: u32;
        "proxy_set_shared_data" => general::set_shared, key: u32, length: u32, value: u32, size: u32, cas: u32;
        "proxy_define_metric" => general::define_metric, kind: u32, name: u32, length: u32, to: u32;
        "proxy_get_metric" => general::metric, id: u32, to: u32;
        "proxy_record_metric" => general::record_metric, id: u32, value: u64;
        "proxy_increment_metric" => general::increment_metric, id: u32, by: i64;

        "proxy_get_header_map_size" => maps::size, map: u32, to: u32;
        "proxy_set_header_map_pairs" => maps::set_pairs, map: u32, at: u32, length: u32;
        "proxy_add_header_map_value" => maps::add, map: u32, name: u32, length: u32, value: u32, size: u32;
        "proxy_replace_header_map_value" => maps::replace, map: u32, name: u32, length: u32, value: u32, size: u32;
        "proxy_remove_header_map_value" => maps::remove, map: u32, name: u32, length: u32;

        "proxy_get_buffer_status" => buffers::status, buffer: u32, length: u32, flags: u32;
        "proxy_set_buffer_bytes" => buffers::set, buffer: u32, start: u32, size: u32, value: u32, length: u32;

        "proxy_continue_stream" => calls::continue_stream, stream: u32;
        "proxy_close_stream" => calls::close_stream, stream: u32;
        "proxy_send_local_response" => calls::local_response,
            status: u32, details: u32, details_length: u32, body: u32, body_length: u32,
            headers: u32, headers_length: u32, grpc_status: i32;
        "proxy_http_call" => calls::http_call,
            upstream: u32, upstream_length: u32, headers: u32, headers_length: u32, body: u32,
            body_length: u32, trailers: u32, trailers_length: u32, timeout_ms: u32, token: u32;

        "stats_set_user_diag" => fastedge::diag, value: u32, size: u32;
    );
    link_async!(l,
        "proxy_get_status" => general::status, status: u32, data: u32, size: u32;
        "proxy_get_property" => general::property, path: u32, length: u32, data: u32, size: u32;
        "proxy_get_shared_data" => general::shared, key: u32, length: u32, data: u32, size: u32, cas: u32;
        "proxy_get_header_map_value" => maps::value, map: u32, name: u32, length: u32, data: u32, size: u32;
        "proxy_get_header_map_pairs" => maps::pairs, map: u32, data: u32, size: u32;
        "proxy_get_buffer_bytes" => buffers::bytes, buffer: u32, start: u32, length: u32, data: u32, size: u32;

        "proxy_dictionary_get" => fastedge::dictionary, key: u32, length: u32, data: u32, size: u32;
        "proxy_secret_get" => fastedge::secret, key: u32, length: u32, data: u32, size: u32;
        "proxy_get_secret" => fastedge::secret, key: u32, length: u32, data: u32, size: u32;
        "proxy_secret_get_effective_at" => fastedge::secret_at, key: u32, length: u32, at: u32, data: u32, size: u32;
        "proxy_get_effective_at_secret" => fastedge::secret_at, key: u32, length: u32, at: u32, data: u32, size: u32;

        "proxy_kv_store_open" => services::open, name: u32, length: u32, handle: u32;
        "proxy_kv_store_get" => services::get, handle: u32, key: u32, length: u32, data: u32, size: u32;
        "proxy_kv_store_scan" => services::scan, handle: u32, pattern: u32, length: u32, data: u32, size: u32;
        "proxy_kv_store_zrange_by_score" => services::zrange_by_score,
            handle: u32, key: u32, length: u32, min: f64, max: f64, data: u32, size: u32;
        "proxy_kv_store_zscan" => services::zscan,
            handle: u32, key: u32, length: u32, pattern: u32, pattern_length: u32, data: u32, size: u32;
        "proxy_kv_store_bf_exists" => services::bf_exists,
            handle: u32, key: u32, length: u32, item: u32, item_length: u32, to: u32;

        "proxy_cache_get" => services::cache_get, key: u32, length: u32, data: u32, size: u32;
        "proxy_cache_set" => services::cache_set, key: u32, length: u32, value: u32, size: u32, ttl_ms: u64;
        "proxy_cache_delete" => services::cache_delete, key: u32, length: u32;
        "proxy_cache_exists" => services::cache_exists, key: u32, length: u32, to: u32;
        "proxy_cache_incr" => services::cache_incr, key: u32, length: u32, delta: i64, to: u32;
        "proxy_cache_expire" => services::cache_expire, key: u32, length: u32, ttl_ms: u64, to: u32;
        "proxy_cache_purge" => services::cache_purge, to: u32;
        "proxy_cache_purge_prefix" => services::cache_purge_prefix, prefix: u32, length: u32, to: u32;
    );
    refused::link(l)
}
