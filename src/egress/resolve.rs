//! Names to addresses: an ordinary stub resolver, which reads its files before the lock-down.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::system_conf;

use crate::config::limits;
use crate::control::DialError;

/// Looks names up, as they are: no search domain is ever appended.
pub(super) struct Resolver(TokioResolver);

impl Resolver {
    /// Asks `servers`; those of `/etc/resolv.conf` where there are none. `/etc/hosts` goes first.
    ///
    /// # Errors
    /// When the system's configuration cannot be read.
    pub(super) fn new(servers: &[SocketAddr]) -> io::Result<Self> {
        let (config, mut options) = match servers {
            [] => system_conf::read_system_conf().map_err(io::Error::other)?,
            servers => (
                ResolverConfig::from_name_servers(servers.iter().map(server).collect()),
                ResolverOpts::default(),
            ),
        };
        options.cache_size = limits::DNS_CACHE_RECORDS;
        options.timeout = Duration::from_millis(limits::DNS_TRY_MS);
        options.attempts = limits::DNS_RETRIES;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.positive_max_ttl = Some(Duration::from_secs(limits::DNS_TTL_S_MAX));
        options.negative_max_ttl = Some(Duration::from_secs(limits::DNS_NEGATIVE_TTL_S_MAX));
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        Ok(Self(builder.build().map_err(io::Error::other)?))
    }

    /// All addresses of `name`, which has no trailing dot; never empty.
    ///
    /// # Errors
    /// [`DialError::NotFound`] when it has none; what kept the servers from saying so.
    pub(super) async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, DialError> {
        let found = self.0.lookup_ip(format!("{name}.")).await;
        let addresses: Vec<_> = found.map_err(of)?.iter().collect();
        match addresses.is_empty() {
            true => Err(DialError::NotFound),
            false => Ok(addresses),
        }
    }
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let connection = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    NameServerConfig::new(
        address.ip(),
        true,
        vec![
            connection(ConnectionConfig::udp()),
            connection(ConnectionConfig::tcp()),
        ],
    )
}

fn of(error: NetError) -> DialError {
    match error {
        NetError::Timeout => DialError::DnsTimeout,
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => DialError::NotFound,
            ResponseCode::NoError => DialError::Dns("NODATA".to_owned()),
            code => DialError::Dns(code.to_str().to_owned()),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => DialError::Dns(code.to_str().to_owned()),
        // What exactly is this host's business.
        _ => DialError::Dns("no answer".to_owned()),
    }
}
