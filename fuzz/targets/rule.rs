//! Rules of `egress.allow`: what is read is written the same way, and no rule that does not name a
//! private network reaches one.

use std::net::IpAddr;

use skep::config::{Egress, EgressRule, Scheme, is_special};

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(rule) = text.parse::<EgressRule>() else {
        return;
    };
    let written = rule.to_string();
    assert_eq!(written.parse::<EgressRule>().as_ref(), Ok(&rule), "{text}");
    let egress = Egress { allow: vec![rule] };
    let addresses: [IpAddr; 4] = [
        [8, 8, 8, 8].into(),
        [169, 254, 169, 254].into(),
        [0, 0, 0, 0, 0, 0, 0, 1].into(),
        [0, 0, 0, 0, 0, 0xffff, 0x7f00, 1].into(),
    ];
    for address in addresses {
        for port in [80, 443, 8443] {
            let allowed = egress.allows_resolved(Scheme::Https, address, port);
            // Only an address can have named it.
            let has_digits = text
                .bytes()
                .any(|byte| byte.is_ascii_digit() || byte == b':');
            assert!(!allowed || !is_special(address) || has_digits, "{text}");
        }
    }
}
