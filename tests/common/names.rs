//! A name server that says what a test wants.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

/// A server on a free port, for as long as the process lives.
#[derive(Debug)]
pub struct Names {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

/// Query types (RFC 1035, RFC 3596).
const A: u16 = 1;
const AAAA: u16 = 28;

impl Names {
    /// Knows these names, and says of every other one that there is none.
    pub fn start(known: &[(&str, &str)]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("an address");
        let mut names: HashMap<String, Vec<IpAddr>> = HashMap::new();
        for (name, address) in known {
            let addresses = names.entry((*name).to_owned()).or_default();
            addresses.push(address.parse().expect("an address"));
        }
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut query) {
                if let Some((name, answer)) = answer(&query[..length], &names) {
                    log.lock().expect("the log").push(name);
                    let _ = socket.send_to(&answer, client);
                }
            }
        });
        Self { address, asked }
    }

    /// The line of `[egress]` that names it.
    pub fn line(&self) -> String {
        format!("resolvers = [\"{}\"]", self.address)
    }

    /// What it was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("the log").clone()
    }
}

/// The name that is asked for, and the answer (RFC 1035, section 4.1).
fn answer(query: &[u8], names: &HashMap<String, Vec<IpAddr>>) -> Option<(String, Vec<u8>)> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    let question = query.get(12..at + 4)?;
    let name = labels.join(".");
    let records: Vec<Vec<u8>> = names
        .get(&name)
        .into_iter()
        .flatten()
        .filter_map(|address| match (address, kind) {
            (IpAddr::V4(address), A) => Some(address.octets().to_vec()),
            (IpAddr::V6(address), AAAA) => Some(address.octets().to_vec()),
            _ => None,
        })
        .collect();
    // A response, recursion available; NXDOMAIN for a name that is not known.
    let code = if names.contains_key(&name) { 0 } else { 3 };
    let mut out = vec![query[0], query[1], 0x81, 0x80 | code, 0, 1, 0];
    out.push(u8::try_from(records.len()).ok()?);
    out.extend([0; 4]);
    out.extend_from_slice(question);
    for data in records {
        // The name is the question's; class IN; a minute.
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 60]);
        out.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        out.extend(data);
    }
    Some((name, out))
}
