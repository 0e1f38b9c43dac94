//! A database for tests, as small as one can be: MaxMind DB 2.0, 24-bit records.

use std::net::IpAddr;

use serde_json::Value;

/// A database that says of each address what stands beside it.
pub fn database(records: &[(&str, Value)]) -> Vec<u8> {
    // A node: what follows for a bit of 0 and of 1.
    let mut nodes: Vec<[Next; 2]> = vec![[Next::Nothing; 2]];
    let mut data = Vec::new();
    for (address, record) in records {
        let bits = match address.parse::<IpAddr>().expect("an address") {
            // IPv4 is below ::/96.
            IpAddr::V4(ip) => u128::from(u32::from(ip)),
            IpAddr::V6(ip) => u128::from(ip),
        };
        let mut at = 0;
        for bit in (0..128).rev() {
            let side = (bits >> bit & 1) as usize;
            if bit == 0 {
                nodes[at][side] = Next::Data(data.len());
            } else if let Next::Node(next) = nodes[at][side] {
                at = next;
            } else {
                nodes.push([Next::Nothing; 2]);
                nodes[at][side] = Next::Node(nodes.len() - 1);
                at = nodes.len() - 1;
            }
        }
        encode("", record, &mut data);
    }
    let mut out = Vec::new();
    for next in nodes.iter().flatten() {
        let number = match *next {
            Next::Nothing => nodes.len(),
            Next::Node(node) => node,
            Next::Data(offset) => nodes.len() + 16 + offset,
        };
        out.extend_from_slice(&(number as u32).to_be_bytes()[1..]);
    }
    out.extend_from_slice(&[0; 16]);
    out.extend(data);
    out.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let metadata = serde_json::json!({
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1,
        "database_type": "Test-City",
        "description": { "en": "a test" },
        "ip_version": 6,
        "languages": ["en"],
        "node_count": nodes.len(),
        "record_size": 24,
    });
    encode("", &metadata, &mut out);
    out
}

#[derive(Clone, Copy)]
enum Next {
    Nothing,
    Node(usize),
    Data(usize),
}

/// A value of the data section, which stands at `key`: its type and length, then itself.
fn encode(key: &str, value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Number(number) if number.is_f64() => {
            control(3, 8, out);
            out.extend_from_slice(&number.as_f64().expect("a number").to_be_bytes());
        }
        Value::Number(number) => {
            let number = number.as_u64().expect("not negative");
            // Readers expect the very type.
            match key {
                "build_epoch" => {
                    control(9, 8, out);
                    out.extend_from_slice(&number.to_be_bytes());
                }
                "node_count" | "geoname_id" | "autonomous_system_number" => {
                    control(6, 4, out);
                    out.extend_from_slice(&(number as u32).to_be_bytes());
                }
                _ => {
                    control(5, 2, out);
                    out.extend_from_slice(&(number as u16).to_be_bytes());
                }
            }
        }
        Value::String(text) => {
            control(2, text.len(), out);
            out.extend_from_slice(text.as_bytes());
        }
        Value::Array(values) => {
            control(11, values.len(), out);
            values.iter().for_each(|value| encode(key, value, out));
        }
        Value::Object(pairs) => {
            control(7, pairs.len(), out);
            for (key, value) in pairs {
                encode("", &Value::String(key.clone()), out);
                encode(key, value, out);
            }
        }
        _ => panic!("{value}"),
    }
}

fn control(kind: u8, length: usize, out: &mut Vec<u8>) {
    assert!(length < 285);
    let small = length.min(29) as u8;
    match kind {
        ..8 => out.push(kind << 5 | small),
        _ => out.extend_from_slice(&[small, kind - 7]),
    }
    if small == 29 {
        out.push((length - 29) as u8);
    }
}
