//! A filter with two uses of a CDN: `x-country` by where the client is, with 451 for one country; and a picture of more than
//! 1,000,000 pixels is not passed on, but a placeholder, with its size in `x-image-size`.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

proxy_wasm::main! {{
    proxy_wasm::set_http_context(|_, _| Box::new(Uses { is_png: false }));
}}

/// Pixels of a picture that is passed on.
const PIXELS_MAX: u64 = 1_000_000;

struct Uses {
    is_png: bool,
}

impl Context for Uses {}

impl HttpContext for Uses {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let country = self.get_property(vec!["request.country"]).unwrap_or_default();
        let country = String::from_utf8_lossy(&country).into_owned();
        if country == "XX" {
            self.send_http_response(451, vec![], Some(b"not in your country\n"));
            return Action::Pause;
        }
        self.set_http_request_header("x-country", Some(&country));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.is_png = self.get_http_response_header("content-type").as_deref() == Some("image/png");
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if !self.is_png {
            return Action::Continue;
        }
        if !end_of_stream {
            return Action::Pause;
        }
        let head = self.get_http_response_body(0, 24).unwrap_or_default();
        if let Some((width, height)) = png_size(&head) {
            self.set_http_response_header("x-image-size", Some(&format!("{width}x{height}")));
            if u64::from(width) * u64::from(height) > PIXELS_MAX {
                self.set_http_response_header("content-type", Some("text/plain"));
                self.set_http_response_body(0, size, b"a picture of that size is too large\n");
            }
        }
        Action::Continue
    }
}

/// Width and height, from the first chunk of a PNG file.
fn png_size(head: &[u8]) -> Option<(u32, u32)> {
    let rest = head.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    let number = |at: usize| Some(u32::from_be_bytes(rest.get(at..at + 4)?.try_into().ok()?));
    Some((number(8)?, number(12)?))
}
