//! A filter that asks somebody else, by way of the field `x-ask` (an authority), what to put into
//! `x-answer`: the status and the body of `GET http://…/answer`. It goes on where the host calls the hook
//! again and where it does not.

use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

proxy_wasm::main! {{
    proxy_wasm::set_http_context(|_, _| Box::new(Ask { has_asked: false }));
}}

struct Ask {
    has_asked: bool,
}

impl Context for Ask {
    fn on_http_call_response(&mut self, _: u32, fields: usize, size: usize, _: usize) {
        let answer = match fields {
            0 => "none".to_owned(),
            _ => {
                let status = self.get_http_call_response_header(":status");
                let body = self.get_http_call_response_body(0, size);
                let body = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
                format!("{} {}", status.unwrap_or_default(), body.trim())
            }
        };
        self.set_http_request_header("x-answer", Some(&answer));
        self.resume_http_request();
    }
}

impl HttpContext for Ask {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let whom = self.get_http_request_header("x-ask").unwrap_or_default();
        if whom.is_empty() || std::mem::replace(&mut self.has_asked, true) {
            return Action::Continue;
        }
        let fields = vec![
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", &*whom),
            (":path", "/answer"),
        ];
        let timeout = Duration::from_secs(5);
        match self.dispatch_http_call(&whom, fields, None, vec![], timeout) {
            Ok(_) => Action::Pause,
            Err(status) => {
                let body = format!("no call: {status:?}\n");
                self.send_http_response(502, vec![], Some(body.as_bytes()));
                Action::Pause
            }
        }
    }
}
