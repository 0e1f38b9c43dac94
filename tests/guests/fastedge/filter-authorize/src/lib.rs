//! A filter that lets in who signed the path with the secret `key`: `authorization: HEX`, where that is
//! HMAC-SHA256 of the path and query. Others get 401.

use fastedge::proxywasm::secret;
use hmac::{Hmac, Mac};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use sha2::Sha256;

proxy_wasm::main! {{
    proxy_wasm::set_http_context(|_, _| Box::new(Authorize));
}}

struct Authorize;

impl Context for Authorize {}

impl HttpContext for Authorize {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        match self.check() {
            Ok(()) => {
                self.set_http_request_header("authorization", None);
                Action::Continue
            }
            Err(why) => {
                let fields = vec![("content-type", "text/plain")];
                self.send_http_response(401, fields, Some(format!("{why}\n").as_bytes()));
                Action::Pause
            }
        }
    }
}

impl Authorize {
    fn check(&self) -> Result<(), &'static str> {
        let key = secret::get("key").ok().flatten().ok_or("no key")?;
        let path = self.get_http_request_header(":path").unwrap_or_default();
        let given = self.get_http_request_header("authorization");
        let given = unhex(&given.unwrap_or_default()).ok_or("no signature")?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| "no such key")?;
        mac.update(path.as_bytes());
        mac.verify_slice(&given).map_err(|_| "the signature is wrong")
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = pairs.map(byte).collect();
    bytes.filter(|bytes| !bytes.is_empty())
}
