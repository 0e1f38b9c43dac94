//! A filter with a path for each group of host functions. It answers by itself, with a line for what each
//! call gave; other paths go on to the origin.
//!
//! ```text
//!   /properties   request.path, .query, .method, .country, one that it sets, one that there is not
//!   /fields       each field of the request, a line each
//!   /services     a secret, the dictionary, a store, the cache
//!   /shared       shared data: a counter
//!   /metrics      a metric of its own
//!   /refused      what the host refuses: gRPC, queues, foreign functions
//!   /log          writes to the log in both ways
//!   /config       its configuration
//!   /panic        panics
//!   /spin         computes for ever
//!   /pause        waits for nothing
//!   /close        closes the connection
//!   /elsewhere?U  sends the request to another URL
//! ```

use std::time::Duration;

use fastedge::proxywasm::{cache, dictionary, key_value, secret, utils};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, MetricType};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|_| Box::new(Root { configuration: String::new() }));
}}

struct Root {
    configuration: String,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        let bytes = self.get_plugin_configuration().unwrap_or_default();
        self.configuration = String::from_utf8_lossy(&bytes).into_owned();
        self.set_tick_period(Duration::from_secs(1));
        true
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        let configuration = self.configuration.clone();
        Some(Box::new(Filter { configuration }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Filter {
    configuration: String,
}

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let target = self.get_http_request_header(":path").unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let text = match path {
            "/properties" => self.properties(),
            "/fields" => self.fields(),
            "/services" => services(),
            "/shared" => self.shared(),
            "/metrics" => metrics(),
            "/refused" => self.refused(),
            "/log" => log(),
            "/config" => self.configuration.clone(),
            "/panic" => panic!("the filter was asked to panic"),
            "/spin" => loop {
                std::hint::black_box(path);
            },
            "/pause" => return Action::Pause,
            "/close" => {
                let _ = hostcalls::close_downstream();
                return Action::Pause;
            }
            "/elsewhere" => {
                self.set_property(vec!["request.url"], Some(query.as_bytes()));
                return Action::Continue;
            }
            _ => {
                self.set_property(vec!["seen"], Some(path.as_bytes()));
                return Action::Continue;
            }
        };
        self.send_http_response(200, vec![("x-filter", "yes")], Some(text.as_bytes()));
        Action::Pause
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        // Properties outlive the instance that set them.
        let seen = self.get_property(vec!["seen"]).unwrap_or_default();
        let status = self.get_property(vec!["response.status"]).unwrap_or_default();
        self.set_http_response_header("x-seen", Some(&String::from_utf8_lossy(&seen)));
        self.set_http_response_header("x-status", Some(&format!("{status:?}")));
        Action::Continue
    }
}

impl Filter {
    fn properties(&self) -> String {
        self.set_property(vec!["mine"], Some(b"set"));
        let names = [
            vec!["request.path"],
            vec!["request", "path"],
            vec!["request.query"],
            vec!["request.method"],
            vec!["request.country"],
            vec!["mine"],
            vec!["absent"],
        ];
        let line = |path: Vec<&str>| {
            let value = self.get_property(path);
            let value = value.map(|value| String::from_utf8_lossy(&value).into_owned());
            format!("{value:?}\n")
        };
        names.into_iter().map(line).collect()
    }

    fn fields(&self) -> String {
        let fields = self.get_http_request_headers();
        let line = |(name, value)| format!("{name}: {value}\n");
        fields.into_iter().map(line).collect()
    }

    fn shared(&self) -> String {
        let (value, cas) = self.get_shared_data("count");
        let count = value.and_then(|value| value.first().copied()).unwrap_or(0);
        let set = self.set_shared_data("count", Some(&[count + 1]), cas);
        let stale = self.set_shared_data("count", Some(b"x"), Some(cas.unwrap_or(0) + 1_000));
        format!("{count} {set:?} {stale:?}\n")
    }

    fn refused(&self) -> String {
        let timeout = Duration::from_secs(1);
        let grpc = self.dispatch_grpc_call("up", "service", "method", vec![], None, timeout);
        let queue = self.resolve_shared_queue("vm", "queue");
        let foreign = self.call_foreign_function("function", None);
        format!("{grpc:?} {queue:?} {foreign:?}\n")
    }
}

fn services() -> String {
    let secret = secret::get("key").map(|value| value.map(text));
    let absent = secret::get("absent");
    let known = dictionary::get("NAME");
    let mut lines = format!("{secret:?} {absent:?}\n{known:?}\n");
    match key_value::Store::open("shop") {
        Ok(store) => {
            let value = store.get("key").map(|value| value.map(text));
            lines += &format!("{value:?} {:?}\n", store.scan("*").map(|keys| keys.len()));
        }
        Err(error) => lines += &format!("{error}\n"),
    }
    let denied = key_value::Store::open("another").err();
    let set = cache::set("a", b"1", Some(60_000));
    let sum = cache::incr("a", 4);
    utils::set_user_diag("services");
    lines + &format!("{denied:?}\n{set:?} {sum:?} {:?}\n", cache::get("a").map(|value| value.map(text)))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn metrics() -> String {
    let id = hostcalls::define_metric(MetricType::Counter, "count");
    let id = id.expect("a metric");
    let _ = hostcalls::record_metric(id, 5);
    format!("{:?}\n", hostcalls::get_metric(id))
}

fn log() -> String {
    println!("by standard output");
    let _ = hostcalls::log(LogLevel::Info, "by the log");
    let _ = hostcalls::log(LogLevel::Error, "by the log, an error");
    "logged\n".to_owned()
}
