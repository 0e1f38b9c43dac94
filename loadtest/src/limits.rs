//! Every limit of the harness, named once, with its reason.

/// Longest latency that is told apart: an hour. A run is over before.
pub const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// Tenants of one population. Each costs about 100 bytes a generator, and 1 KiB more where its latency
/// is kept.
pub const TENANTS_MAX: usize = 1_000_000;

/// Tenants of a population whose latency is kept one by one; of larger populations only counts are.
pub const TENANT_HISTOGRAMS_MAX: usize = 20_000;

/// Tenants times phases whose share of answers is kept, for fairness; 8 bytes each.
pub const FAIRNESS_CELLS_MAX: usize = 4_000_000;

/// Shapes of request of one population.
pub const REQUESTS_MAX: usize = 65_535;

/// Tenants listed in the results, busiest first.
pub const TENANT_ROWS_MAX: usize = 200;

/// Of those, how many are chosen for their errors and latency when there are more.
pub const TENANT_WORST_ROWS: usize = 20;

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

/// Bytes read at once once a response has filled a whole read.
pub const READ_BYTES_LARGE: usize = 256 * 1024;

/// Longest wait for answers after the last phase, in seconds.
pub const DRAIN_S: u64 = 10;

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

/// How long the check phase waits for the answers of a server that was just started to become right,
/// in seconds.
pub const CHECK_PATIENCE_S: u64 = 60;

/// Longest wait for a scenario's own server to end after SIGTERM, in seconds; then SIGKILL.
pub const SERVER_STOP_S: u64 = 15;

/// How often a repeated action may happen in its phase; every ten seconds of a day is 8,640.
pub const ACTION_REPEATS_MAX: f64 = 10_000.0;

/// Longest time that an action of a phase may take, in seconds.
pub const ACTION_S: u64 = 30;

/// A request that was due this long before its generator came to it, at the 99th percentile, makes
/// the run invalid: in milliseconds.
pub const LATENESS_P99_MS_MAX: f64 = 1.0;

/// Bytes read of one of the kernel's text files; `/proc/cpuinfo` of 1,000 cores is 2 MB.
pub const KERNEL_FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Cores of a machine: what Linux can be built for (`NR_CPUS` of x86).
pub const CORES_MAX: usize = 8192;

/// Processes of a server that are sampled; more are left out.
pub const SERVER_PROCESSES_MAX: usize = 4096;

/// A server's proportional memory is read as long as one process takes less than this, in
/// microseconds: the kernel walks its page tables with the address space locked against mapping.
pub const PSS_READ_US_MAX: u64 = 5_000;

/// How long preflight watches the machine, in milliseconds: 20 of the kernel's clock ticks, so that
/// 10 % of a core is told from 5 %.
pub const PREFLIGHT_WATCH_MS: u64 = 200;

/// Other load on the generators' cores, as a share of their time.
pub const OTHER_LOAD_SHARE_MAX: f64 = 0.10;

/// Load average of a minute, for each core.
pub const LOADAVG_PER_CORE_MAX: f64 = 0.5;

/// Time stolen by other virtual machines, as a share of all cores' time.
pub const STEAL_SHARE_MAX: f64 = 0.01;

/// Waking from a deeper idle state than this shows in a p50 of 50 µs: in microseconds.
pub const IDLE_EXIT_US_MAX: u64 = 20;

/// Descriptors beside the connections: rings, logs, pipes to a scenario's own server, `/proc`.
pub const DESCRIPTORS_RESERVE: u64 = 64;

/// How long a closed connection keeps its local port, in seconds (`TCP_TIMEWAIT_LEN` of Linux).
pub const TIME_WAIT_S: f64 = 60.0;

/// The same where `net.ipv4.tcp_tw_reuse` applies, in seconds.
pub const TIME_WAIT_REUSED_S: f64 = 1.0;

/// Results on one side of a comparison.
pub const COMPARE_RUNS_MAX: usize = 100;

/// Resamples of a bootstrap: the ends of a 95 % interval then rest on 250 of them each.
pub const COMPARE_RESAMPLES: usize = 10_000;

/// Seconds of a phase below which one run says nothing about its own variation.
pub const COMPARE_SECONDS_MIN: usize = 10;

/// Steps that a phase is resampled in; of longer phases each step is several seconds.
pub const COMPARE_STEPS_MAX: usize = 600;

/// A change smaller than this is not told from none, in percent: twice what three digits of a
/// histogram may round.
pub const COMPARE_RESOLUTION_PERCENT: f64 = 0.2;

/// An interval around no change that is wider than this, in percent, shows nothing at all.
pub const COMPARE_INTERVAL_PERCENT_MAX: f64 = 50.0;

/// Share of a phase, 0 to 1, that the server's samples must cover to say what it cost.
pub const SERVER_COVER_MIN: f64 = 0.8;

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
