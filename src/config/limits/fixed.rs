//! Limits that are not configurable, each with its reason.

/// One limit that is not configurable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// The name of its constant, in lower case.
    pub name: &'static str,
    /// Its value.
    pub value: u64,
    /// What it counts.
    pub unit: &'static str,
    /// Why it is what it is, in one line.
    pub reason: &'static str,
}

/// Defines the constants and the table that lists them.
macro_rules! fixed {
    ($($name:ident: $type:ty = $value:expr, $unit:literal, $reason:literal;)*) => {
        $(
            #[doc = concat!("In ", $unit, ". ", $reason)]
            pub const $name: $type = $value;
        )*
        /// Every limit that is not configurable.
        pub const FIXED: &[Fixed] = &[
            $(Fixed { name: stringify!($name), value: $value as u64, unit: $unit, reason: $reason },)*
        ];
    };
}

fixed! {
    // Configuration.
    SOCKET_PATH_BYTES_MAX: usize = 107, "bytes", "Path of a Unix socket: sockaddr_un has 108, with the NUL at its end.";
    FILTERS_MAX: usize = 8, "filters", "On the way to one tenant's origin; each has an instance in each of its requests.";
    ORIGIN_SERVERS_MAX: usize = 16, "servers", "Origin servers of one tenant; more belong behind a name or a balancer of their own.";
    CONFIG_FILE_BYTES_MAX: u64 = 16 << 20, "bytes", "A configuration or profile file; 10,000 tenants of 1 KiB each fit.";
    LISTEN_ADDRESSES_MAX: usize = 16, "addresses", "Listening sockets of a host; each is one descriptor in every worker.";
    WORKERS_MAX: usize = 120, "workers", "Of all cells together; a worker gets the mailbox of each of its cell in one message, which carries 253 descriptors.";
    CELLS_MAX: usize = 16, "cells", "The default one included; each has a worker process, with a pool of its own, on every core.";
    TENANTS_MAX: usize = 10_000, "tenants", "A loaded component takes four mappings in a worker, of 65,530 by default.";
    TENANT_NAME_BYTES_MAX: usize = 63, "bytes", "A name can be a DNS label (RFC 1035).";
    HOSTS_PER_TENANT_MAX: usize = 128, "hosts", "A tenant travels to a worker in one control message.";
    HOST_BYTES_MAX: usize = 253, "bytes", "The longest host name in text form (RFC 1035).";
    HOST_LABEL_BYTES_MAX: usize = 63, "bytes", "The longest label of a host name (RFC 1035).";
    ENV_VARIABLES_MAX: usize = 256, "variables", "Environment of one tenant.";
    ENV_BYTES_MAX: usize = 64 << 10, "bytes", "Names and values of one tenant's environment and configuration; the environment is copied into every instance that asks for it.";
    CONFIG_NAME_BYTES_MAX: usize = 256, "bytes", "The name of one value of a tenant's configuration.";
    PROFILE_EXTENDS_MAX: usize = 4, "files", "Length of a chain of profiles that extend each other: in a longer one nobody finds a value. A circle is refused by itself.";
    CONFIG_ERRORS_MAX: usize = 100, "errors", "Errors reported for one configuration.";

    // Tuning the host.
    CPUS_MAX: usize = 8_192, "CPUs", "The most that Linux can be built for on x86-64 (NR_CPUS); a larger number in a file is a mistake.";
    TUNE_FILE_BYTES_MAX: usize = 16 << 20, "bytes", "A file below /proc or /sys; /proc/interrupts of 512 CPUs and 2,000 interrupts has 12 MB.";
    TUNE_VALUE_BYTES_MAX: usize = 4 << 10, "bytes", "The value of one setting: a sysfs file has at most one page.";
    TUNE_SETTINGS_MAX: usize = 256, "settings", "Settings of one directory; the built-in ones are two dozen.";
    TUNE_PLACES_MAX: usize = 65_536, "files", "Files that one setting stands for: every queue of every NIC of a large host.";
    TUNE_JOURNAL_BYTES_MAX: usize = 32 << 20, "bytes", "The journal of changed values; 65,536 entries of 300 bytes and room.";

    // Searching for a profile.
    TUNE_SEARCH_CANDIDATES_MAX: usize = 128, "candidates", "Changes tried in the first round of `skep tune search`; the built-in space has three dozen.";
    TUNE_SEARCH_COMBINED_MAX: usize = 6, "changes", "Changes that are combined, the best first: 15 pairs and all of them together.";
    TUNE_SEARCH_ROUNDS_MAX: usize = 7, "rounds", "Each halves what is left: 128 candidates are one after seven.";
    TUNE_SEARCH_PAIRS: usize = 10, "pairs", "Of runs in which the winner is held against its base: Student's t for 9 degrees of freedom is 2.26.";
    TUNE_SEARCH_PAIRS_QUICK: usize = 5, "pairs", "The same with --quick; fewer say nothing (t is 2.78 here, 12.7 for two pairs).";
    TUNE_SEARCH_TRIAL_S_MAX: u64 = 7_200, "s", "One measurement; a search for a capacity of 15 points, 5 runs of 40 s each, takes 50 minutes.";
    TUNE_SEARCH_STOP_S: u64 = 20, "s", "From SIGTERM to SIGKILL for a measurement that is ended; it gives its own server 15 s.";
    TUNE_SEARCH_RESULTS_BYTES_MAX: u64 = 256 << 20, "bytes", "The results of one measurement; ten thousand tenants over minutes are below 10 MB.";

    // Components and artifacts.
    COMPONENT_BYTES_MAX: u64 = 256 << 20, "bytes", "A component's file; a componentize-py one is 18 MB.";
    INSTANTIATION_STEPS_MAX: usize = 500_000, "steps", "Instructions of constant expressions and entries of element segments of a component: executed at every instantiation, which no tick interrupts, in 4 ns each; a module has at most 100,000 elements in a table.";
    ARTIFACT_BYTES_MAX: u64 = 1 << 30, "bytes", "A compiled artifact; about twice its component's size.";
    ARTIFACT_WAIT_MS: u64 = 5_000, "ms", "How long a request waits for its tenant's artifact, then 503.";
    ARTIFACT_WAITERS_MAX: usize = 1_024, "requests", "Requests of one worker that wait for artifacts; above it 503.";
    COMPILE_WALL_MS: u64 = 120_000, "ms", "One compile job; a 12 MB JavaScript component takes 13 s on one core.";
    COMPILE_CPU_S: u64 = 20, "s", "CPU time of one compile job, whatever its component's size, ten times what a program of 1 MB takes.";
    COMPILE_CPU_S_PER_MIB: u64 = 10, "s", "More of it for each MiB of the component, up to twice compile_wall_ms: JavaScript and Python ones take 1 s.";
    COMPILE_QUICK_CPU_S: u64 = 2, "s", "CPU time of a small component's first try; who needs more waits behind the large ones and starts again.";
    COMPILE_QUICK_WALL_MS: u64 = 10_000, "ms", "Wall time of that try: on a busy core a job of the lowest priority gets a fifth of it, or less.";
    COMPILE_DEBT_HALF_LIFE_S: u64 = 600, "s", "Of tenants that wait to be compiled the one with the least compile time lately is next; this long ago counts half.";
    COMPILE_KILLED_RETRY_MS: u64 = 5_000, "ms", "Pause before a compile job that the host killed, mostly for want of memory, is tried once more.";
    COMPILE_MEMORY_MIB: u64 = 4_096, "MiB", "Address space of one compile job; a component that needs more is refused.";
    COMPILE_JOBS_MAX: usize = 1, "jobs", "Compile jobs at once in each of two lanes, quick and slow, so that a new tenant does not starve the workers.";
    COMPILE_SMALL_BYTES: u64 = 2 << 20, "bytes", "A component up to this is tried in the quick lane first: it never waits behind one that takes 20 s.";

    // Processes.
    CONTROL_MESSAGE_BYTES_MAX: usize = 192 << 10, "bytes", "A control message; below the kernel's default send buffer of 212,992.";
    CONTROL_FDS_MAX: usize = 253, "descriptors", "Descriptors in one message (SCM_MAX_FD in include/net/scm.h).";
    HANDOVER_BYTES_MAX: usize = 160 << 10, "bytes", "A connection's unserved bytes when it is handed to another worker: the longest head and what is pipelined behind it.";
    HANDOVER_HOPS_AT_ONCE: u8 = 3, "hops", "Hand-overs of a connection between two served requests without a pause: more mean that the routing tables of two workers differ, as they do during a reload.";
    HANDOVER_HOPS_MAX: u8 = 14, "hops", "After those, each waits twice as long as the one before, 1 ms to 1 s, 2 s in all; then 503.";
    MAILBOX_BATCH: usize = 32, "messages", "Hand-overs taken from the mailbox in one ring turn.";
    WORKER_START_MS: u64 = 10_000, "ms", "From a process's start to its Ready; then it is killed and started again.";
    WORKER_RESTART_MIN_MS: u64 = 50, "ms", "First pause before a dead worker is started again.";
    WORKER_RESTART_MAX_MS: u64 = 5_000, "ms", "The pause doubles with every death in a row up to this.";
    WORKER_RESTART_RESET_MS: u64 = 60_000, "ms", "A worker that lived this long starts again without a pause history.";
    CELL_CPU_PERIOD_US: u64 = 10_000, "us", "The period of a cell's cpu_max (cgroup v2 cpu.max): a cell that used its share stands still for the rest of one.";
    CELL_PIDS_PER_WORKER: usize = 64, "tasks", "Threads in a cell's control group for each of its workers: the worker, its ticker, and the kernel's threads of its ring.";
    CELL_LEAVE_MS: u64 = 2_000, "ms", "How long a tenant's old workers still serve it when it moves to another cell: what was on its way to them, and connections that end with their next answer.";
    KILL_GRACE_MS: u64 = 1_000, "ms", "After the drain's end, before SIGKILL.";

    // Connections and HTTP/1.1.
    LISTEN_BACKLOG: u32 = 4_096, "connections", "Queue of a listening socket; the default net.core.somaxconn.";
    PEEK_BYTES_MAX: usize = 4_096, "bytes", "Peeked to find the host before a connection is handed over; a later host is found after reading.";
    PEEK_WAIT_MS: u64 = 250, "ms", "How often a silent new connection is looked at, so that a drain does not wait for it.";
    FRONT_WAITING_MAX: usize = 8_192, "connections", "Connections in the front whose head is not complete; one more takes the place of the oldest, so that silence keeps nobody out. Fewer where RLIMIT_NOFILE is low.";
    FRONT_DESCRIPTORS: usize = 512, "descriptors", "Of the front, beside connections: listeners, a mailbox of each worker, twice while a table changes.";
    FRONT_PAUSE_MS: u64 = 1, "ms", "From the front's first look at a head that is not complete to the second; each pause is twice the one before, so that bytes that trickle in cost little.";
    FRONT_PAUSE_MAX_MS: u64 = 500, "ms", "The longest such pause, and so the latest that a head's last byte is seen.";
    HEADERS_CAPACITY: usize = 128, "fields", "The head parser's fixed array; headers_max lies within it.";
    PIPELINED_BYTES_MAX: usize = 64 << 10, "bytes", "Read ahead of the request being served; then reading pauses.";
    CHUNK_LINE_BYTES_MAX: usize = 512, "bytes", "Chunk size, extension and line end; above it 400. Extensions are read and dropped.";
    CHUNK_EXTENSION_BYTES_TOTAL_MAX: usize = 16 << 10, "bytes", "Chunk extensions of one body together; above it 400 (CVE-2023-39326).";
    TRAILER_BYTES_MAX: usize = 8 << 10, "bytes", "Trailer section of a body; above it 431.";
    TRAILERS_MAX: usize = 32, "fields", "Trailer fields of a body; above it 431.";
    DISCARD_BYTES_MAX: u64 = 64 << 10, "bytes", "Unread request body that is read and dropped to keep a connection; above it the connection closes.";
    DISCARD_WAIT_MS: u64 = 1_000, "ms", "Longest wait for the rest of such a body.";
    ACCEPT_RETRY_MS: u64 = 10, "ms", "Pause after a failed accept, which mostly means that descriptors ran out.";
    HANDOVER_TRIES: u32 = 100, "tries", "A full mailbox is tried again every millisecond this often; then 503.";
    DRAIN_POLL_MS: u64 = 5, "ms", "How often a drain looks whether everything is finished.";
    LINGER_BYTES_MAX: usize = 256 << 10, "bytes", "Read and dropped meanwhile; above it the socket closes.";
    LINGER_MS: u64 = 1_000, "ms", "After an error answer, before the socket closes: the client reads the answer first (RFC 9112 section 9.6).";
    RETRY_AFTER_S: u64 = 1, "s", "The Retry-After of a 503 where nothing better is known.";
    QUARANTINE_FIRST_S: u64 = 1, "s", "First pause of a tenant that fails all the time; it doubles up to quarantine_max_s.";

    // Guests.
    CPU_SHARE_MIN_PERMILLE: u64 = 10, "‰ of a core", "The smallest cpu_share_max: a slice of 1 ms is then followed by a wait of 100 ms.";
    CPU_SHARE_BURST_MS: u64 = 10, "ms", "CPU time that a tenant with a cpu_share_max may use at once after a pause: a few requests, or a fifth of the default cpu_ms.";
    INTERACTIVE_SHARE_PERCENT: u64 = 20, "% of a core", "A tenant of the default weight whose short guests use less than this goes before those that compute: some thousand small requests per second.";
    INTERACTIVE_BURST_MS: u64 = 10, "ms", "CPU time above that share that it may use at once: a burst of a hundred small requests, or those that came while something could not be interrupted.";
    INTERACTIVE_LONG_US: u64 = 500, "µs", "CPU time above which an interrupted request computes, where half a slice is less: one whose code and data have left the caches takes 350 instead of 25, and a tenant that waits behind a hundred others must be able to show that its requests are short.";
    INTERACTIVE_STANDING_MIN: u32 = 1, "requests", "Short requests that a tenant must have served before it is taken for an interactive one, while none of those computes out of turn.";
    INTERACTIVE_STANDING_MAX: u32 = 4_096, "requests", "Short requests that count; a power of two times the smallest. A hundred tenants that earned as much have a slice each before all others, once, and have used twelve seconds of the core for it.";
    INTERACTIVE_BAR_MS: u64 = 100, "ms", "How long until a bar that was doubled is halved: of those that earn their standing to abuse it, one goes first that often.";
    LEAD_MS_MAX: u64 = 2, "ms", "How far interactive use puts a tenant's virtual clock ahead of the others: its first long request waits no longer than for as much of each.";
    SLOTS_PER_FREE_SLOT: usize = 2, "slots", "A tenant may take another of a worker's slots while it holds fewer than this for each that is free: one tenant gets two thirds of them, and a hundred leave the last one seven of 1,500.";
    FIELDS_BYTES: usize = 64 << 10, "bytes", "All header fields of one wasi:http fields resource; twice the default head_bytes_max.";
    HOST_BYTES: usize = 16 << 20, "bytes", "What one request has its host keep, all together: header fields, methods and names of requests, bodies that are not read yet (128 KiB each). An eighth of the default memory_mib, and 100 bodies.";
    GUEST_BODY_CHUNK_BYTES: usize = 64 << 10, "bytes", "Written by a guest in one piece; two are buffered for each open body.";
    GUEST_STDIO_CHUNK_BYTES: usize = 4 << 10, "bytes", "Written by a guest to its output in one piece.";
    DIAG_BYTES_MAX: usize = 256, "bytes", "What a guest says about its request for the access log (gcore:fastedge/utils); the rest is cut.";
    FILTER_NAME_BYTES_MAX: usize = 1 << 10, "bytes", "The name of a property, of a metric and of shared data of a filter.";
    FILTER_PROPERTIES_BYTES: usize = 64 << 10, "bytes", "Properties that the filters of one request set: names, values and 64 bytes each; as much as fields may have.";
    FILTER_METRICS_MAX: usize = 64, "metrics", "That one instance of a filter defines; they end with it.";
    FILTER_IOVECS_MAX: u32 = 1_024, "pieces", "Of what a filter writes at once to its output; IOV_MAX of Linux.";
    SHARED_DATA_KEYS_MAX: usize = 4_096, "keys", "Shared data of a tenant's filters on one worker.";
    SHARED_DATA_BYTES_MAX: usize = 1 << 20, "bytes", "Keys and values of the same, together.";
    RANDOM_BYTES: u64 = 64 << 10, "bytes", "Random bytes of one call.";
    CORE_INSTANCES_PER_COMPONENT: u32 = 20, "instances", "Core instances of one component; adapter-made ones have 3 or 4.";
    MEMORIES_PER_COMPONENT: u32 = 2, "memories", "Linear memories of one component; the pool has as many for every slot, so that it cannot run out.";
    MEMORY_PROTECTION_KEYS_MAX: u64 = 15, "keys", "Protection keys of one process: the processor has 16, and key 0 is all other memory's (pkeys(7)).";
    TABLES_PER_COMPONENT: u32 = 16, "tables", "Tables of one component.";
    POOL_TABLES_PER_MODULE: u32 = 4, "tables", "Tables of one core module.";
    POOL_TABLE_ELEMENTS: usize = 100_000, "elements", "Elements of one table; large Go and C# programs exceed Wasmtime's default of 20,000.";
    STACKS_PER_CONCURRENT: usize = 2, "stacks", "Of one request where the component-model-async machinery is on: the guest's, and one for what completes while it blocks. So half as many such requests run at once as there are slots.";
    FLAVOURS: u64 = 3, "engines", "Engines of a worker, each with a pool of its own, made when a tenant needs it: WASI 0.2, 0.3, and either with fuel.";

    // Requests of guests to others.
    EGRESS_RULES_MAX: usize = 32, "rules", "egress.allow of one tenant; it travels in one control message, with hosts and environment.";
    EGRESS_RESOLVERS_MAX: usize = 8, "servers", "egress.resolvers; resolv.conf(5) has three.";
    DIALS_MAX: usize = 512, "calls", "Connections being made at once for all tenants; each holds up to five descriptors, one for each address that is tried and one for the query.";
    DIALS_PER_TENANT_MAX: usize = 32, "calls", "Of one tenant: eight that connect to nowhere leave half of them to others.";
    DIALS_PER_WORKER_MAX: usize = 256, "calls", "Of one worker, until it has read the answer: one that reads none holds up nobody else.";
    EGRESS_MOVE_S: u64 = 60, "s", "How long a cell may connect for a tenant that has moved to another one: it finishes what is in flight.";
    EGRESS_EXCHANGES_MAX: usize = 2_048, "requests", "To others at once, of one worker: the descriptors and buffers of clients are not theirs to take.";
    DIAL_MS_MAX: u64 = 60_000, "ms", "The longest subrequest_connect_ms.";
    DIAL_ADDRESSES_MAX: usize = 4, "addresses", "Of one name that are tried; beyond, few are answered in time.";
    DIAL_STAGGER_MS: u64 = 250, "ms", "Until the next address is tried beside one that does not answer (RFC 8305, section 8).";
    DNS_CACHE_RECORDS: u64 = 4_096, "records", "Answers that are kept, of all tenants.";
    DNS_TRY_MS: u64 = 1_000, "ms", "Until a server is asked again, or the next one.";
    DNS_RETRIES: usize = 2, "tries", "Of a server that does not answer; subrequest_connect_ms holds for all of them.";
    DNS_TTL_S_MAX: u64 = 300, "s", "How long an answer is kept at the most: a mistake in a zone is over then.";
    DNS_NEGATIVE_TTL_S_MAX: u64 = 30, "s", "The same, where there was none.";
    ORIGIN_TRIES_MAX: usize = 3, "servers", "Tried for one request: each may take as long as its timeouts.";
    ORIGIN_FAILURES_MAX: u32 = 3, "failures", "In a row, and an origin's server is left alone for 1 s; twice as long after each one more.";
    ORIGIN_ALONE_S_MAX: u64 = 60, "s", "The longest pause of an origin's server: it is used again within a minute of its repair.";
    PROXY_VISITS_MAX: usize = 3, "visits", "How often cdn-loop may name this software before a request is taken to go in circles: two tiers of it pass on to each other.";

    // Commands to a running host.
    ADMIN_CALLS_MAX: usize = 16, "calls", "Under way at once; others wait in the socket's queue.";
    ADMIN_CALL_MS: u64 = 5_000, "ms", "From the connection to the reply; a worker in a long turn answers within 100.";
    ADMIN_CALL_BYTES_MAX: usize = 64 << 10, "bytes", "A call's line; the longest has one URL.";

    // Answers of origins that are kept.
    HTTP_CACHE_WORKER_BYTES: u64 = 256 << 20, "bytes", "Of one worker's response caches together.";
    HTTP_CACHE_ENTRY_OVERHEAD_BYTES: u64 = 1_024, "bytes", "What a stored response costs beside key, fields, tags and body: its record, its places in the tables, its ghost, an empty HeaderMap.";
    HTTP_CACHE_FIELD_OVERHEAD_BYTES: u64 = 256, "bytes", "What a stored field costs beside its name and value: a bucket of HeaderMap, which may have as many free ones, and the name's allocation.";
    HTTP_CACHE_TAG_OVERHEAD_BYTES: u64 = 128, "bytes", "What a tag of one response costs beside its text.";
    HTTP_CACHE_CHUNK_OVERHEAD_BYTES: u64 = 64, "bytes", "What a piece of a body costs beside its bytes: a Bytes and its allocation.";
    HTTP_CACHE_KEY_BYTES_MAX: usize = 8 << 10, "bytes", "A longer URL is not cached.";
    HTTP_CACHE_VARIANTS_MAX: usize = 16, "responses", "Below one URL, told apart by Vary; the oldest gives way. Each is compared at a lookup.";
    HTTP_CACHE_VARY_NAMES_MAX: usize = 8, "fields", "In one Vary; a response with more is not stored.";
    HTTP_CACHE_TAGS_MAX: usize = 64, "tags", "Of one response; one with more is not stored, for a purge would miss it.";
    HTTP_CACHE_TAG_BYTES_MAX: usize = 256, "bytes", "One tag; a response with a longer one is not stored.";
    HTTP_CACHE_FILLS_MAX: usize = 256, "fills", "Of one tenant on one worker, under way at once; above it requests pass through.";
    HTTP_CACHE_WAITERS_MAX: usize = 4_096, "requests", "That wait for one fill; above it they pass through.";
    HTTP_CACHE_PURGED_TAGS_MAX: usize = 64, "tags", "Purged while one fill waits for its answer; with more, the answer is not stored.";
    HTTP_CACHE_RELOOKUPS_MAX: u8 = 3, "lookups", "Of one request whose fill turned out to be of no use to it (another variant, say); then it passes through.";
    HTTP_CACHE_PASS_MS: u64 = 5_000, "ms", "After an answer that is not to be stored, requests for its URL pass through at once and together; then one tries again.";
    HTTP_CACHE_PASS_MARKS_MAX: usize = 4_096, "URLs", "That are so marked, of one tenant; the oldest mark is dropped.";
    HTTP_CACHE_ERROR_PAUSE_MS: u64 = 1_000, "ms", "After an error that a stale response stood in for, it stands in without asking the origin.";
    HTTP_CACHE_HEURISTIC_S_MAX: u64 = 86_400, "s", "The longest lifetime that is guessed from Last-Modified (RFC 9111 §4.2.2).";
    HTTP_CACHE_WINDOW_BYTES: u64 = 256 << 10, "bytes", "That a fill which is too large to be stored reads ahead of its slowest reader.";
    HTTP_CACHE_SEGMENT_BYTES: usize = 16 << 10, "bytes", "Smaller pieces of a body are joined to pieces of this size when it is stored.";
    HTTP_CACHE_DISK_OBJECT_BYTES_MAX: u64 = 4 << 20, "bytes", "Fields and body of one answer that is kept on disk: it travels in one message, and copying that takes a millisecond of a worker.";
    HTTP_CACHE_DISK_FIELDS_MAX: usize = 4_096, "fields", "Of one answer on disk; what a worker says is not believed.";
    HTTP_CACHE_DISK_PIECES_MAX: usize = 4_096, "pieces", "Of one body on disk; those of a worker have 16 KiB.";
    HTTP_CACHE_DISK_SELECTION_BYTES_MAX: usize = 64 << 10, "bytes", "What a request has in the fields that an answer on disk varies by.";
    HTTP_CACHE_DISK_QUEUED_KIB: usize = 16 << 10, "KiB", "Answers that wait to be kept; above it none is.";
    HTTP_CACHE_DISK_FORGETS_MAX: usize = 4_096, "orders", "That wait to be done; above it everything is forgotten. As many are remembered, against answers that were asked for before.";
    HTTP_CACHE_DISK_PAUSE_MS: u64 = 1_000, "ms", "After a disk that was too slow, a worker does not ask it for a tenant.";
    HTTP_CACHE_DISK_OVERHEAD_BYTES: u64 = 512, "bytes", "What an answer on disk costs beside itself and its URL: its rows in the other tables.";
    HTTP_CACHE_DISK_MEMORY_BYTES: usize = 32 << 20, "bytes", "Pages of the file in memory, beside the kernel's.";
    HTTP_CACHE_DISK_WAITING_MAX: usize = 256, "orders", "That wait for the thread of the file; above it the origin is asked, and nothing is kept.";
    HTTP_CACHE_DISK_COMMIT_MS: u64 = 1_000, "ms", "After which what was kept is on disk.";
    HTTP_CACHE_DISK_COMMIT_BYTES: u64 = 16 << 20, "bytes", "After which it is, too.";
    HTTP_CACHE_DISK_FIND_MS: u64 = 100, "ms", "The longest wait for an answer on disk; the origin is asked then.";
    HTTP_CACHE_GIVEN_BYTES_MIN: u64 = 64 << 10, "bytes", "The largest cache of a worker gives an eighth, and this at least, when all together are too large: fewer looks for the largest.";

    EGRESS_IDLE_MS: u64 = 30_000, "ms", "How long a connection to others waits for its next request; many servers close theirs after 60 s.";
    EGRESS_IDLE_PER_TENANT_MAX: usize = 64, "connections", "That wait, of one tenant on one worker.";
    EGRESS_HEAD_BYTES_MAX: usize = 64 << 10, "bytes", "Head of an answer; as long as the longest head_bytes_max.";
    EGRESS_READ_BYTES: usize = 32 << 10, "bytes", "Read at once of an answer.";
    TLS_READ_BYTES: usize = 17 << 10, "bytes", "Read at once of an encrypted connection: the longest record (RFC 8446, section 5.2).";
    TLS_SESSIONS_PER_TENANT: usize = 32, "sessions", "Remembered by one worker, so that the next handshake is short.";
    TLS_ROOTS_MAX: usize = 4_096, "certificates", "Trusted; a system has some 150.";
    TLS_ROOTS_BYTES_MAX: u64 = 4 << 20, "bytes", "egress.ca_file; the bundle of a system has 230 KB.";

    // What the host keeps for tenants.
    STORES_PER_TENANT_MAX: usize = 16, "stores", "Of one tenant; it travels in one control message.";
    STORE_NAME_BYTES_MAX: usize = 64, "bytes", "The name of a store.";
    STORE_ADDRESS_BYTES_MAX: usize = 1 << 10, "bytes", "The address of a store's Redis server and its prefix.";
    SECRETS_PER_TENANT_MAX: usize = 64, "slots", "Of all secrets of one tenant; each is a descriptor in one control message, which carries 253.";
    SECRET_NAME_BYTES_MAX: usize = 128, "bytes", "The name of a secret; as in FastEdge.";
    SECRET_BYTES_MAX: usize = 32 << 10, "bytes", "A secret; FastEdge allows 4,096 characters, a certificate chain with its key has some 10 KB.";
    SECRET_FILE_BYTES_MAX: usize = 44 << 10, "bytes", "A secret's file: the longest sealed secret has 43,774 bytes, and a line end.";
    SECRET_KEY_BYTES_MAX: usize = 256, "bytes", "The file of the key that secrets are sealed with.";
    DATA_KEY_BYTES_MAX: usize = 1 << 10, "bytes", "A key of a store or a cache; FastEdge allows 256 bytes.";
    DATA_VALUE_BYTES_MAX: usize = 1 << 20, "bytes", "A value, a member of a sorted set, an item; one that is set in a full cache evicts for some milliseconds.";
    DATA_BATCH_MAX: usize = 1_000, "items", "Keys, pairs or members of one call.";
    DATA_MESSAGE_BYTES_MAX: usize = 12 << 20, "bytes", "A call or an answer: 8 MiB of data and what says what it is.";
    DATA_READ_BYTES: usize = 64 << 10, "bytes", "Read at once of the stream between a worker and the data process.";
    DATA_CALLS_PER_WORKER_MAX: usize = 1_024, "calls", "Of one worker at once; above it the guest is told.";
    DATA_CALLS_PER_TENANT: usize = 16, "calls", "For stores, of one tenant under way at once; further ones wait. Each may have an answer of 8 MiB on its way.";
    DATA_KIB_PER_WORKER_MAX: usize = 64 << 10, "KiB", "Calls of one worker under way, together; then it is not listened to until one is answered.";
    DATA_REPLIES_WAITING_MAX: usize = 64, "answers", "That wait to be written to one worker.";
    DATA_QUEUED_BYTES_MAX: usize = 32 << 20, "bytes", "Of calls that a worker has not written to the data process yet; above it the guest is told.";
    DATA_CALL_MS: u64 = 3_000, "ms", "The longest wait for an answer; the guest is then told. Redis has a second for a scan.";
    CACHE_ENTRY_OVERHEAD_BYTES: usize = 320, "bytes", "What a cache entry costs beside key and value: 279 to 303 measured, its ghost and expiry included.";
    CACHE_EVICTION_ROUNDS: usize = 64, "rounds", "In which the largest cache gives an eighth when all together are too large: from there to nothing in 64.";
    KEYS_PER_PAGE_MAX: usize = 1_000, "keys", "One page of a list.";
    KV_ANSWER_BYTES_MAX: u64 = 8 << 20, "bytes", "Keys, values, members and scores (8 bytes each) of one answer.";
    KV_SCAN_ROWS_MAX: usize = 100_000, "rows", "What one query looks at; 100,000 keys take 12 to 40 ms.";
    KV_SCAN_STEPS_MAX: u64 = 50_000_000, "steps", "Glob matching in one query, about 1 ns a step; without it a pattern of many stars on long keys takes minutes.";
    KV_CACHE_BYTES: usize = 64 << 20, "bytes", "The embedded store's page cache.";
    KV_BLOOM_ITEMS: u16 = 100, "items", "The first layer of a new Bloom filter; each further one has twice as many.";
    KV_SWEEP_ROWS: usize = 1_000, "rows", "Garbage taken away in one commit, beyond as many rows as it wrote.";
    KV_REOPEN_MS: u64 = 1_000, "ms", "Pause before a file that has failed (say, the disk was full) is opened again.";
    KV_CHANGES_WAITING_MAX: usize = 4_096, "changes", "That wait for a commit; above it the guest is told.";
    KV_CHANGES_PER_COMMIT: usize = 256, "changes", "That share one commit and its syncs of the disk.";
    KV_REDIS_CONNECT_MS: u64 = 200, "ms", "Connecting to a Redis server, logging in and its first answer, together.";
    KV_REDIS_ANSWER_MS: u64 = 250, "ms", "One answer; a server that is silent for so long is given up.";
    KV_REDIS_SCAN_MS: u64 = 1_000, "ms", "All steps of one scan.";
    KV_REDIS_PAUSE_MS: u64 = 100, "ms", "After a failure, calls fail at once.";
    KV_REDIS_CALLS_MAX: usize = 256, "calls", "Under way at once on one server; further ones fail at once.";
    KV_REDIS_SCAN_COUNT: usize = 1_000, "rows", "One step of a scan; the server answers others between two.";
    KV_REDIS_READ_BYTES: usize = 16 << 10, "bytes", "Read at once.";
    KV_REDIS_LINE_BYTES_MAX: usize = 4 << 10, "bytes", "A status or error line of a server.";
    KV_REDIS_VALUES_MAX: usize = 256 << 10, "values", "In one reply; 100,001 members with scores are 200,003.";
    KV_REDIS_LISTS_MAX: usize = 8, "lists", "In one reply; that of a scan has two, and nesting is bounded.";
    KV_REDIS_ERROR_BYTES_MAX: usize = 200, "bytes", "Of a server's error that are repeated.";
    KV_REDIS_FILTER_ITEMS: u64 = 100_000, "items", "Of a Bloom filter on a server without a module for them, at an error of 1 %.";
    KV_REDIS_FILTER_BITS: u64 = 1 << 20, "bits", "Of such a filter; 958,506 give 1 % at 100,000 items.";
    KV_REDIS_FILTER_HASHES: u64 = 7, "hashes", "Of such a filter: the best number for 9.6 bits an item.";

    // Places.
    GEO_DATABASE_BYTES_MAX: u64 = 512 << 20, "bytes", "A database of [geo]; GeoLite2-City has 60 MiB.";
    GEO_READ_BYTES: usize = 1 << 20, "bytes", "Of a database, read at once.";

    // The local tool.
    WATCH_POLL_MS: u64 = 100, "ms", "Between two looks of `skep run --watch` at files.";
    WATCH_FILES_MAX: usize = 20_000, "files", "Sources below the current directory that `--build` looks at; others are not seen.";

    // Logs.
    LOG_LINE_OVERHEAD_BYTES: usize = 128, "bytes", "What a line costs beside its text, charged to log_bytes_per_request: empty lines are not free.";
    LOG_BATCH_BYTES_MAX: usize = 128 << 10, "bytes", "One datagram of log lines; below the default send buffer.";
    ACCESS_TARGET_BYTES_MAX: usize = 1 << 10, "bytes", "A request target in an access line; the rest is cut.";
    FAULT_DETAIL_BYTES_MAX: usize = 2 << 10, "bytes", "A trap's message and backtrace in a log line; the rest is cut.";
    LOG_DROPPED_SAID_MS: u64 = 1_000, "ms", "From the first line over log_bytes_per_s to the line that says how many there were.";
    LOG_TENANT_FILES_OPEN: usize = 64, "files", "Tenants' log files that the broker has open at once (log.dir); the one idle for longest is closed.";
    LOG_FOLLOW_POLL_MS: u64 = 100, "ms", "Between two looks of `skep logs --follow` for more.";
    LOG_READ_BYTES: usize = 64 << 10, "bytes", "Read at once by `skep logs`.";
    LOG_SHOWN_LINES_MAX: usize = 1_000_000, "lines", "`skep logs --lines` at most.";
    LOG_BATCH_WAIT_MS: u64 = 20, "ms", "Longest time a line waits in a worker for others.";
}
