//! What can be typed after `skep run`; where `fastedge-run http` has a flag for the same, its name is one, too.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;

use super::DEFAULT_ADDRESS;
use crate::config::{Budget, Compat, Destination, Egress, EgressRule, Facts, Store};

pub(super) const EXAMPLES: &str = "\
Needs no privileges and no configuration. The component answers for every host; what it prints
goes to this terminal.

Examples:
  skep run app.wasm
  skep run app.wasm --env GREETING=hi --env DEBUG=1
  skep run app.wasm --watch --build 'cargo build --release --target wasm32-wasip2'
  skep run app.wasm --addr 127.0.0.1:9000 --cpu-ms 50 --memory-mib 128
  skep run app.wasm --egress https://api.example.com --egress 10.0.0.0/8
  skep run app.wasm --kv default --secret API_KEY=s3cret --config REGION=eu
  skep run filter.wasm --origin https://origin.example
  skep run fastedge.wasm --compat fastedge --dotenv --geo LU --kv stats=redis://127.0.0.1
  skep run -p 8080 -w fastedge.wasm -e GREETING=hi -s API_KEY=s3cret";

/// Arguments of `skep run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The component
    #[arg(value_name = "APP.wasm", required_unless_present = "wasm")]
    component: Option<PathBuf>,
    /// The component, by a flag
    #[arg(short, long, value_name = "APP.wasm", conflicts_with = "component")]
    wasm: Option<PathBuf>,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDR:PORT", default_value = DEFAULT_ADDRESS)]
    addr: SocketAddr,
    /// Port to listen on, at 127.0.0.1
    #[arg(short, long, value_name = "PORT", conflicts_with = "addr")]
    port: Option<u16>,
    /// Server that requests are passed on to, through the component, which is a filter then; may be
    /// repeated
    #[arg(long, value_name = "URL", value_parser = parse_origin)]
    pub origin: Vec<Destination>,
    /// Environment variable of the component; may be repeated, the last of a name counts
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = parse_variable)]
    pub env: Vec<(String, String)>,
    /// What the component may connect to, as in egress.allow; may be repeated. `allow-all` is everything,
    /// this machine and private networks included
    #[arg(long, value_name = "RULE|allow-all", value_parser = parse_egress)]
    egress: Vec<EgressFlag>,
    /// File of certificates that TLS trusts, in PEM [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Value that the component reads as configuration (wasi:config, FastEdge's dictionary); may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub config: Vec<(String, String)>,
    /// Secret of the component; may be repeated
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub secret: Vec<(String, String)>,
    /// Key-value store of the component: in memory, in a directory, or on a Redis server
    /// (`redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]`); may be repeated
    #[arg(long, visible_alias = "kv-stores", value_name = "NAME[=memory|DIR|redis://...]", value_parser = parse_store)]
    pub kv: Vec<StoreFlag>,
    /// Header field of every request, instead of what the client says in it; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub headers: Vec<(String, String)>,
    /// Header field of every answer, instead of what the component says in it; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub rsp_headers: Vec<(String, String)>,
    /// Read `.env`, `.env.variables`, `.env.secrets`, `.env.req_headers`, `.env.rsp_headers` and
    /// `.env.kv_stores` of a directory; flags come before them [default: the current directory]
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = ".")]
    pub dotenv: Option<PathBuf>,
    /// Every client, and this host, is in this country (`geoip-*` and `pop-*`); implies --compat fastedge.
    /// Without a code: Luxembourg, in the words of fastedge-run
    #[arg(long, value_name = "CC", num_args = 0..=1, default_missing_value = "", value_parser = parse_geo)]
    pub geo: Option<Facts>,
    /// Serve the component anew when its file changes
    #[arg(long)]
    pub watch: bool,
    /// Command that makes the component: run at the start, and when a file below the current directory
    /// changes
    #[arg(long, value_name = "CMD", requires = "watch")]
    pub build: Option<String>,
    /// Answer as the host does that the component is made for
    #[arg(long, value_name = "fastedge", value_parser = parse_compat)]
    compat: Option<Compat>,
    /// CPU time of one request, in milliseconds [default: 30000]
    #[arg(long, value_name = "N")]
    cpu_ms: Option<u64>,
    /// Wall time of one request, in milliseconds [default: 600000]
    #[arg(long, visible_alias = "max-duration", value_name = "N")]
    wall_ms: Option<u64>,
    /// Memory of one instance, in MiB [default: 512]
    #[arg(long, value_name = "N")]
    memory_mib: Option<u64>,
    /// The same in bytes, rounded up
    #[arg(short = 'm', value_name = "BYTES", conflicts_with = "memory_mib")]
    memory_bytes: Option<u64>,
    /// The kind of a component is seen in its file
    #[arg(long, value_name = "BOOL", hide = true)]
    wasi_http: Option<bool>,
}

/// One `--egress`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EgressFlag {
    /// `allow-all`
    All,
    /// A rule.
    Rule(EgressRule),
}

fn parse_egress(text: &str) -> Result<EgressFlag, String> {
    match text {
        "allow-all" => Ok(EgressFlag::All),
        rule => match rule.parse() {
            Ok(rule) => Ok(EgressFlag::Rule(rule)),
            Err(error) => Err(format!("{error}")),
        },
    }
}

fn parse_origin(text: &str) -> Result<Destination, String> {
    let server = text.parse();
    server.map_err(|wrong| {
        format!("{wrong}; https://origin.example or http://10.0.0.5:8080 is right")
    })
}

fn parse_compat(text: &str) -> Result<Compat, String> {
    match text {
        "fastedge" => Ok(Compat::Fastedge),
        _ => Err("fastedge is right".to_owned()),
    }
}

pub(super) fn parse_variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// `NAME=VALUE`, of any text.
fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("NAME=VALUE is right".to_owned()),
    }
}

fn parse_geo(text: &str) -> Result<Facts, String> {
    if !text.is_empty() {
        return Facts::of_country(text);
    }
    let said = |text: &str| Some(text.to_owned());
    Ok(Facts {
        asn: None,
        latitude: Some(49.6113),
        longitude: Some(6.1294),
        region: said("lu"),
        continent: said("eu"),
        country_code: said("lu"),
        country_name: said("luxembourg"),
        city: said("luxembourg"),
    })
}

/// One `--kv`.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreFlag {
    /// The store.
    pub store: Store,
    /// The directory that it is kept in.
    pub dir: Option<PathBuf>,
}

impl StoreFlag {
    /// The store `name` at `place`, written as after `NAME=`.
    ///
    /// # Errors
    /// What would be right.
    pub fn at(name: &str, place: &str) -> Result<Self, String> {
        let store = Store::named(name)?;
        match place {
            "memory" => Ok(Self { store, dir: None }),
            "" => Err("memory, a directory or redis://... is right".to_owned()),
            _ if place.starts_with("redis://") => {
                let store = store.on_redis(place)?;
                Ok(Self { store, dir: None })
            }
            dir => Ok(Self {
                store,
                dir: Some(dir.into()),
            }),
        }
    }
}

fn parse_store(text: &str) -> Result<StoreFlag, String> {
    let (name, place) = text.split_once('=').unwrap_or((text, "memory"));
    StoreFlag::at(name, place)
}

impl RunArgs {
    /// The component's file.
    pub fn component(&self) -> &Path {
        let given = self.component.as_deref().or(self.wasm.as_deref());
        given.unwrap_or(Path::new("")) // one of them is required
    }

    /// Where to listen.
    pub fn address(&self) -> SocketAddr {
        let port = self.port.map(|port| (Ipv4Addr::LOCALHOST, port).into());
        port.unwrap_or(self.addr)
    }

    /// Whose host's answers and header fields it has.
    pub fn compat(&self) -> Compat {
        match self.compat {
            Some(compat) => compat,
            None if self.geo.is_some() => Compat::Fastedge,
            None => Compat::None,
        }
    }

    /// What was allowed.
    pub fn egress(&self) -> Egress {
        let mut egress = Egress::default();
        for flag in &self.egress {
            match flag {
                EgressFlag::All => egress.allow.extend(Egress::allow_all().allow),
                EgressFlag::Rule(rule) => egress.allow.push(rule.clone()),
            }
        }
        egress
    }

    /// The budgets that were given.
    pub fn budget(&self) -> Budget {
        let mib = self.memory_bytes.map(|bytes| bytes.div_ceil(1 << 20));
        Budget {
            cpu_ms: self.cpu_ms,
            wall_ms: self.wall_ms,
            memory_mib: self.memory_mib.or(mib),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_split_at_the_first_equals_sign() {
        let cases = [
            ("A=1", Ok(("A".to_owned(), "1".to_owned()))),
            ("A=", Ok(("A".to_owned(), String::new()))),
            ("A=b=c", Ok(("A".to_owned(), "b=c".to_owned()))),
            ("A", Err("write NAME=VALUE".to_owned())),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_variable(text), expected);
        }
    }

    #[test]
    fn places_are_a_country_or_that_of_fastedge_run() {
        let facts = parse_geo("de").unwrap();
        assert_eq!(facts.country_code.as_deref(), Some("DE"));
        assert_eq!(facts.city, None);
        assert_eq!(parse_geo("").unwrap().city.as_deref(), Some("luxembourg"));
    }
}
