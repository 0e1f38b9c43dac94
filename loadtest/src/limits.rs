//! Every limit of the harness, named once, with its reason.

/// Longest latency that is told apart: an hour. A run is over before.
pub const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// Tenants of one population. Each costs about 100 bytes a generator, and 420 more a phase.
pub const TENANTS_MAX: usize = 1_000_000;

/// Tenants whose latency is kept one by one, in each phase; of larger populations each row is a group.
pub const TENANT_HISTOGRAMS_MAX: usize = 20_000;

/// Tenants listed in the results, busiest first.
pub const TENANT_ROWS_MAX: usize = 200;

/// Rows of a population's heat map; more tenants share rows.
pub const HEAT_ROWS_MAX: usize = 40;

/// Columns of a heat map; longer runs have wider columns.
pub const HEAT_COLUMNS_MAX: usize = 120;

/// Populations in a scenario.
pub const POPULATIONS_MAX: usize = 32;

/// Phases in a scenario.
pub const PHASES_MAX: usize = 64;

/// Longest run, in seconds: a week, for `soak`.
pub const RUN_SECONDS_MAX: f64 = 604_800.0;

/// Requests a second of one population; far above what a core can send.
pub const RATE_MAX: f64 = 10_000_000.0;

/// Connections of one population over all generators.
pub const CONNECTIONS_MAX: usize = 100_000;

/// Requests that wait for a free connection, per population and generator; later ones are errors
/// of kind `backlog`. At 10,000/s it holds 6 s of a stalled server.
pub const BACKLOG_MAX: usize = 65_536;

/// Bytes of one request body.
pub const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of a response head.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Headers of a response.
pub const HEADERS_MAX: usize = 64;

/// Bytes read at once from a connection.
pub const READ_BYTES: usize = 16 * 1024;

/// Bytes of a response body that the check phase keeps.
pub const CHECK_BODY_BYTES_MAX: usize = 1024 * 1024;

/// Entries of a generator's submission queue; completions get four times as many.
pub const RING_ENTRIES: u32 = 4096;

/// Bytes of a scenario file.
pub const SCENARIO_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Bytes of a results file.
pub const RESULTS_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Lines of a replayed log.
pub const REPLAY_LINES_MAX: usize = 10_000_000;

/// Longest wait for a scenario's own server to accept connections, in seconds.
pub const SERVER_READY_S: u64 = 120;

/// Longest wait for a scenario's own server to end after SIGTERM, in seconds; then SIGKILL.
pub const SERVER_STOP_S: u64 = 15;

/// Longest time that an action of a phase may take, in seconds.
pub const ACTION_S: u64 = 30;

/// A request that was due this long before its generator came to it, at the 99th percentile, makes
/// the run invalid: in milliseconds.
pub const LATENESS_P99_MS_MAX: f64 = 1.0;

/// Points of one line of a report's time series; longer runs are thinned out, to what a screen shows.
pub const REPORT_SERIES_POINTS_MAX: usize = 600;

/// Points of one line of a report's latency by percentile.
pub const REPORT_CURVE_POINTS_MAX: usize = 200;

/// Populations that a report draws: as many as there are colours that can be told apart. The tables
/// have every one.
pub const REPORT_POPULATIONS_MAX: usize = 8;

/// Phases that a report draws as curves of one population, the disturbed and measured ones first.
pub const REPORT_CURVES_MAX: usize = 6;

/// Rows of each of a report's lists of tenants.
pub const REPORT_TENANTS_MAX: usize = 10;

/// Bytes of the scenario, and of any one text, that a report shows.
pub const REPORT_TEXT_BYTES_MAX: usize = 64 * 1024;
