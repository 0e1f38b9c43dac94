//! Every limit of the product, once: name, unit, default, range and the reason for it.
//!
//! Configurable ones are [`Limit`] constants, listed in [`TENANT_SHARE`], [`TENANT`], [`HTTP`], [`WORKERS`]
//! and [`CELL`];
//! `docs/CONFIG.md` is generated from those lists. Fixed ones are plain constants, listed in
//! [`FIXED`]. A configured value outside its range is refused, never clamped.

mod fixed;

pub use fixed::*;

/// One configurable limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its key in the configuration file.
    pub name: &'static str,
    /// What it counts: `ms`, `MiB`, `bytes` or a plural noun.
    pub unit: &'static str,
    /// Its value when the file does not say.
    pub default: u64,
    /// Smallest value accepted.
    pub min: u64,
    /// Largest value accepted.
    pub max: u64,
    /// Why the default and the range are what they are, in one line.
    pub reason: &'static str,
}

impl Limit {
    /// Whether `value` is within the range, ends included.
    pub const fn allows(&self, value: u64) -> bool {
        self.min <= value && value <= self.max
    }
}

/// Defines the limits of one section and the table that lists them.
macro_rules! limits {
    ($(#[$doc:meta])* $table:ident: $($name:ident $key:literal, $unit:literal, $default:expr, $min:expr, $max:expr, $reason:literal;)*) => {
        $(
            #[doc = concat!("`", $key, "`, in ", $unit, ". ", $reason)]
            pub const $name: Limit = Limit {
                name: $key,
                unit: $unit,
                default: $default,
                min: $min,
                max: $max,
                reason: $reason,
            };
        )*
        $(#[$doc])*
        pub const $table: &[Limit] = &[$($name),*];
    };
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

limits! {
    /// Numeric keys of `[[tenant]]`.
    TENANT_SHARE:
    WEIGHT "weight", "shares", 100, 1, 1_000,
        "CPU time beside other tenants of the worker who want it, in proportion; 100 leaves room below and above.";
}

limits! {
    /// Keys of `[tenant.limits]`, in the order they are documented.
    TENANT:
    CPU_MS "cpu_ms", "ms", 50, 1, 10 * MINUTE_MS,
        "CPU time of one request: a Rust hello takes 0.01 ms, a JavaScript one 2 ms, so 50 is work and not a loop.";
    FUEL "fuel", "units", 0, 0, 1_000_000_000_000_000,
        "Work of one request, about one unit an instruction, the same on every machine and in every run; 0 counts none. Counting slows computing by about 10 %; cpu_ms holds beside it.";
    WALL_MS "wall_ms", "ms", 10_000, 10, 24 * HOUR_MS,
        "Time from admission to the last response byte; raise it for large uploads and downloads.";
    MEMORY_MIB "memory_mib", "MiB", 128, 1, 4096,
        "Linear memory of one instance; also bounded by the profile's memory_mib_max.";
    CONCURRENCY "concurrency", "requests", 64, 1, 100_000,
        "Requests that run at once over all the tenant's workers: memory_mib times this is its worst case.";
    QUEUE "queue", "requests", 128, 0, 100_000,
        "Requests that wait for a place; twice the concurrency absorbs a burst without long waits.";
    QUEUE_MS "queue_ms", "ms", 1_000, 0, MINUTE_MS,
        "Longest wait for a place: an early 503 is worth more to a client than a late answer.";
    REQUESTS_PER_S "requests_per_s", "requests/s", 0, 0, 1_000_000,
        "Requests let in over all the tenant's workers, above it 429; 0 is no limit, the default: what requests cost is bounded already, and no figure fits a health check and an API.";
    REQUEST_BURST "request_burst", "requests", 100, 1, 1_000_000,
        "Requests let in at once before requests_per_s holds; a browser opens a page with some dozens.";
    QUARANTINE_FAILURES "quarantine_failures", "failures", 20, 0, 1_000,
        "So many traps and exhausted budgets on one worker within the window, and at least half of the requests: then 503 without running. 0 is never.";
    QUARANTINE_WINDOW_S "quarantine_window_s", "s", 10, 1, 3_600,
        "The window that failures are counted in: two a second are no accident.";
    QUARANTINE_MAX_S "quarantine_max_s", "s", 60, 1, 3_600,
        "Pauses double from 1 s up to this; a program that was mended is served again within a minute.";
    REQUEST_BODY_BYTES "request_body_bytes", "bytes", GIB, 0, 16 * GIB,
        "Bodies are streamed in constant memory, so this bounds bandwidth and not memory; 1 GiB lets media uploads pass.";
    WHOLE_BODY_BYTES "whole_body_bytes", "bytes", 5 * MIB, 0, 64 * MIB,
        "A body that a guest has whole because its interface streams none (gcore:fastedge/http), above it 413; the host keeps it beside memory_mib. FastEdge's own limits are 1 and 5 MB.";
    LOG_LINE_BYTES "log_line_bytes", "bytes", 4 * KIB, 64, 16 * KIB,
        "A longer line is cut; escaped as JSON the longest still fits one log batch.";
    LOG_BYTES_PER_REQUEST "log_bytes_per_request", "bytes", 64 * KIB, 0, 16 * MIB,
        "What is over is dropped and counted, so that a loop around a print fills no disk.";
    LOG_BYTES_PER_S "log_bytes_per_s", "bytes/s", 256 * KIB, KIB, GIB,
        "Output and faults over all the tenant's workers, with 128 bytes more a line; what is over is dropped and counted. A day of it is 22 GB.";
    LOG_BURST_BYTES "log_burst_bytes", "bytes", MIB, 128 * KIB, GIB,
        "Written at once before log_bytes_per_s holds: sixteen requests' whole share of log_bytes_per_request.";
    SUBREQUESTS "subrequests", "requests", 32, 0, 10_000,
        "Requests that one request may send to others; a page made of a dozen calls fits.";
    SUBREQUEST_CONCURRENCY "subrequest_concurrency", "requests", 64, 1, 10_000,
        "Requests to others that are under way at once over all the tenant's workers: each holds a connection and its buffers. As many as concurrency; each worker has one at least.";
    SUBREQUEST_BYTES "subrequest_bytes", "bytes", 64 * MIB, 0, 16 * GIB,
        "Bodies that one request sends to others and gets from them, together: what a tenant can have this host load from somebody else.";
    SUBREQUEST_CONNECT_MS "subrequest_connect_ms", "ms", 3_000, 10, MINUTE_MS,
        "Looking a name up, connecting and the TLS handshake; a lost SYN is repeated after 1 s, and after 3.";
    SUBREQUEST_FIRST_BYTE_MS "subrequest_first_byte_ms", "ms", 10_000, 10, 24 * HOUR_MS,
        "From the end of a request to others to the head of its answer; wall_ms holds beside it.";
    SUBREQUEST_BETWEEN_BYTES_MS "subrequest_between_bytes_ms", "ms", 10_000, 10, 24 * HOUR_MS,
        "Longest wait for more of a body, either way.";
    KV_KEYS "kv_keys", "keys", 1_000_000, 0, 1_000_000_000,
        "Of each of the tenant's stores on this host; on a Redis server, its own limits hold.";
    KV_BYTES "kv_bytes", "bytes", 256 * MIB, 0, 1024 * GIB,
        "Keys and values of each of the tenant's stores on this host; the file takes two to three times as much.";
    CACHE_BYTES "cache_bytes", "bytes", 4 * MIB, 0, 64 * GIB,
        "Keys and values of the tenant's cache, and 320 bytes an entry; what is over is evicted (S3-FIFO). 0 is no cache.";
    HTTP_CACHE_BYTES "http_cache_bytes", "bytes", 32 * MIB, 0, 64 * GIB,
        "Answers of the tenant's origin that each of its workers keeps, with their fields and overhead; what is over is evicted (S3-FIFO). 0 is no cache.";
    HTTP_CACHE_OBJECT_BYTES "http_cache_object_bytes", "bytes", 8 * MIB, 0, GIB,
        "The body of one answer that is kept; larger ones pass through. Scripts, pages and most pictures fit.";
    HTTP_CACHE_DISK_BYTES "http_cache_disk_bytes", "bytes", 1_024 * MIB, 0, 1_024 * GIB,
        "Answers of the tenant's origin on disk, for all its workers and the next start, where data.http_cache_mib_max is not 0; the oldest gives way. 0 is none.";
    DATA_OPERATIONS_PER_S "data_operations_per_s", "operations/s", 20_000, 1, 10_000_000,
        "Calls for stores, cache and secrets, over all the tenant's workers; one takes 5 to 20 µs of a core that tenants share. A scan counts as 200, a page of keys as 20, a batch as one for 8 items and one for 16 KiB.";
    HANDLES "handles", "handles", 1_024, 16, 65_536,
        "Host resources alive at once in one instance; a hello makes about 10; Wasmtime's own default is 100,000.";
    HOSTCALL_BYTES "hostcall_bytes", "bytes", 8 * MIB, 128 * KIB, 128 * MIB,
        "Bytes one host call may copy out of the guest; above the largest header block and body chunk.";
    TABLE_ELEMENTS "table_elements", "elements", 100_000, 0, (POOL_TABLE_ELEMENTS as u64) * (TABLES_PER_COMPONENT as u64),
        "All tables of one instance; one table has at most 100,000, which large Go and C# programs fit in.";
}

limits! {
    /// Numeric keys of `[http]`.
    HTTP:
    HEAD_TIMEOUT_MS "head_timeout_ms", "ms", 10_000, 100, 2 * MINUTE_MS,
        "A request head must be complete this long after its first byte or the accept, else 408: slow heads hold connections.";
    IDLE_TIMEOUT_MS "idle_timeout_ms", "ms", 60_000, 1_000, HOUR_MS,
        "A kept-alive connection without a request is closed after this; longer than most clients' own limit.";
    BODY_TIMEOUT_MS "body_timeout_ms", "ms", 30_000, 100, 10 * MINUTE_MS,
        "Longest wait for the next bytes of a request body, or for the client to take response bytes.";
    HEAD_BYTES_MAX "head_bytes_max", "bytes", 32 * KIB, KIB, 64 * KIB,
        "Request line and header section together, above it 431; servers commonly allow 8 to 64 KiB.";
    TARGET_BYTES_MAX "target_bytes_max", "bytes", 8 * KIB, 256, 32 * KIB,
        "Request target, above it 414; RFC 9112 section 3 recommends at least 8,000.";
    HEADERS_MAX "headers_max", "fields", 100, 8, HEADERS_CAPACITY as u64,
        "Header fields of a request, above it 431; the parser has a fixed array of 128.";
    CONNECTIONS_MAX "connections_max", "connections", 16_384, 1, 1_000_000,
        "Open client connections of one worker; at the limit accepting pauses. Each holds a descriptor and a read buffer.";
}

limits! {
    /// Numeric keys of `[workers]`.
    WORKERS:
    DRAIN_MS "drain_ms", "ms", 10_000, 0, 10 * MINUTE_MS,
        "How long a drain waits for requests in flight; as long as the default wall_ms.";
}

limits! {
    /// Numeric keys of `[[cell]]`; what is not said is not limited.
    CELL:
    CELL_MEMORY_MAX_MIB "memory_max_mib", "MiB", 1_024 * 1_024, 64, 1_024 * 1_024,
        "All memory of the cell's workers, guests and host together; a worker that has loaded nothing takes 15 to 27 MiB. Above it the kernel kills a worker of the cell.";
}

limits! {
    /// Numeric keys of `[log]`.
    LOG:
    LOG_ROTATE_KIB "rotate_kib", "KiB", 16 * 1_024, 128, 1_024 * 1_024,
        "A tenant's file in log.dir; with more it is kept under a number and a new one begun. A batch of lines fits the least.";
    LOG_KEEP "keep", "files", 4, 0, 99,
        "Files of one tenant in log.dir beside the current one; the oldest is removed. With the defaults a tenant takes 80 MiB at most.";
}

limits! {
    /// Numeric keys of `[data]`.
    DATA:
    CACHE_MIB_MAX "cache_mib_max", "MiB", 256, 1, 1_024 * 1_024,
        "All tenants' caches together; above it the largest one gives an eighth of what it has.";
    HTTP_CACHE_MIB_MAX "http_cache_mib_max", "MiB", 0, 0, 64 * 1_024 * 1_024,
        "Answers of all tenants' origins on disk together, in data.dir; above it the tenant that has most gives its oldest. The file takes up to twice as much. 0 is none: a host writes to its disk what it is told to.";
}

/// `cpu_max` of `[[cell]]`, in cores, at the least: 1 ms, the kernel's smallest quota, in each period.
pub const CELL_CPU_MIN: f64 = 1_000.0 / CELL_CPU_PERIOD_US as f64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_lies_within_its_range() {
        let configurable = TENANT.iter().chain(TENANT_SHARE).chain(HTTP);
        for limit in configurable
            .chain(WORKERS)
            .chain(CELL)
            .chain(DATA)
            .chain(LOG)
        {
            assert!(limit.allows(limit.default), "{}", limit.name);
            assert!(!limit.allows(limit.max + 1), "{}", limit.name);
        }
    }

    #[test]
    fn the_longest_log_line_fits_one_batch_when_escaped() {
        // JSON writes a control character as six bytes.
        assert!(LOG_LINE_BYTES.max as usize * 6 < LOG_BATCH_BYTES_MAX);
    }

    #[test]
    fn a_handover_carries_the_longest_head_and_pipelined_bytes() {
        // One byte counts the hops.
        let longest = 1 + HEAD_BYTES_MAX.max as usize + PIPELINED_BYTES_MAX;
        assert!(longest <= HANDOVER_BYTES_MAX);
        const { assert!(HANDOVER_BYTES_MAX <= CONTROL_MESSAGE_BYTES_MAX) };
    }
}
