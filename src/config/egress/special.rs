//! Addresses that are not on the public internet.
//!
//! After the IANA registries of special-purpose addresses (RFC 6890; the registries as of 2024) and of
//! IPv6 unicast space. What embeds an IPv4 address is as special as that one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// IPv4: network, length, what it is.
const SPECIAL_V4: &[([u8; 4], u8)] = &[
    ([0, 0, 0, 0], 8),        // this host, this network
    ([10, 0, 0, 0], 8),       // private
    ([100, 64, 0, 0], 10),    // shared by carriers
    ([127, 0, 0, 0], 8),      // loopback
    ([168, 63, 129, 16], 32), // the metadata service of a cloud, in nobody's registry
    ([169, 254, 0, 0], 16),   // link-local, and the metadata services of clouds
    ([172, 16, 0, 0], 12),    // private
    ([192, 0, 0, 0], 24),     // protocol assignments
    ([192, 0, 2, 0], 24),     // documentation
    ([192, 31, 196, 0], 24),  // AS112
    ([192, 52, 193, 0], 24),  // multicast relays
    ([192, 88, 99, 0], 24),   // relays of 6to4, given up
    ([192, 168, 0, 0], 16),   // private
    ([192, 175, 48, 0], 24),  // AS112
    ([198, 18, 0, 0], 15),    // benchmarks
    ([198, 51, 100, 0], 24),  // documentation
    ([203, 0, 113, 0], 24),   // documentation
    ([224, 0, 0, 0], 4),      // multicast
    ([240, 0, 0, 0], 4),      // reserved, and broadcast
];

/// IPv6, but for what is outside of [`GLOBAL_V6`].
const SPECIAL_V6: &[([u16; 8], u8)] = &[
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), // protocol assignments, Teredo among them
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), // documentation
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), // 6to4
    ([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48), // AS112
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), // documentation
];

/// What is outside of it is no global unicast address.
const GLOBAL_V6: ([u16; 8], u8) = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// IPv4 addresses inside IPv6 ones: mapped (RFC 4291 §2.5.5.2), translated (RFC 6052 §2.1).
const EMBEDDING_V6: &[([u16; 8], u8)] = &[
    ([0, 0, 0, 0, 0, 0xffff, 0, 0], 96),
    ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96),
];

fn v4(&(octets, length): &([u8; 4], u8)) -> Option<Ipv4Net> {
    Ipv4Net::new(Ipv4Addr::from(octets), length).ok()
}

fn v6(&(segments, length): &([u16; 8], u8)) -> Option<Ipv6Net> {
    Ipv6Net::new(Ipv6Addr::from(segments), length).ok()
}

/// The IPv4 address inside an IPv6 address that stands for it.
pub fn embedded(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else {
        return None;
    };
    let inside = |net: Ipv6Net| net.contains(&address);
    let [.., a, b, c, d] = address.octets();
    let is_embedding = EMBEDDING_V6.iter().filter_map(v6).any(inside);
    is_embedding.then(|| Ipv4Addr::new(a, b, c, d).into())
}

/// Whether an address is not on the public internet: private, loopback, link-local, multicast, reserved
/// or a stand-in for such a one.
pub fn is_special(address: IpAddr) -> bool {
    match embedded(address).unwrap_or(address) {
        IpAddr::V4(address) => SPECIAL_V4
            .iter()
            .filter_map(v4)
            .any(|net| net.contains(&address)),
        IpAddr::V6(address) => {
            let holds = |net: Ipv6Net| net.contains(&address);
            let is_global = v6(&GLOBAL_V6).is_some_and(holds);
            !is_global || SPECIAL_V6.iter().filter_map(v6).any(holds)
        }
    }
}

/// Whether all addresses of a network are special ones.
pub(super) fn contains_net(net: &IpNet) -> bool {
    match net {
        IpNet::V4(net) => SPECIAL_V4
            .iter()
            .filter_map(v4)
            .any(|special| special.contains(net)),
        IpNet::V6(net) => {
            let inside = |it: Ipv6Net| it.contains(net);
            let is_outside = v6(&GLOBAL_V6)
                .is_some_and(|global| !global.contains(net) && !net.contains(&global));
            is_outside || SPECIAL_V6.iter().filter_map(v6).any(inside)
        }
    }
}

/// Networks that hold all special addresses and no other.
pub(super) fn ranges() -> impl Iterator<Item = IpNet> {
    // Seven eighths of the space are not global unicast.
    let not_global = (0..8u16)
        .filter(|eighth| *eighth != 1)
        .filter_map(|eighth| {
            let segments = [eighth << 13, 0, 0, 0, 0, 0, 0, 0];
            v6(&(segments, 3))
        });
    let in_global = SPECIAL_V6.iter().filter_map(v6);
    let v6 = not_global.chain(in_global).map(IpNet::from);
    SPECIAL_V4.iter().filter_map(v4).map(IpNet::from).chain(v6)
}
