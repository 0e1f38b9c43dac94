//! A filter in front of an origin: requests need a token, and responses say who let them through.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel};

/// The request header with the token, and the token.
const TOKEN: (&str, &str) = ("x-token", "letmein");

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_http_context(|_, _| Box::new(Filter));
}}

struct Filter;

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let (name, token) = TOKEN;
        if self.get_http_request_header(name).as_deref() != Some(token) {
            self.send_http_response(
                403,
                vec![("content-type", "text/plain")],
                Some(b"no token\n"),
            );
            return Action::Pause;
        }
        // The origin has no use for it.
        self.set_http_request_header(name, None);
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.set_http_response_header("x-filtered-by", Some("skep-template"));
        Action::Continue
    }
}
