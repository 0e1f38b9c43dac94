//! A filter that only looks at fields: the answer says how many the request had, and `server` is gone.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

proxy_wasm::main! {{
    proxy_wasm::set_http_context(|_, _| Box::new(Headers));
}}

struct Headers;

impl Context for Headers {}

impl HttpContext for Headers {
    fn on_http_request_headers(&mut self, count: usize, _: bool) -> Action {
        self.set_http_request_header("x-filter-count", Some(&count.to_string()));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        let count = self.get_http_request_header("x-filter-count");
        self.add_http_response_header("x-filter-count", &count.unwrap_or_default());
        self.set_http_response_header("server", None);
        Action::Continue
    }
}
