//! Addresses that other nodes and clients are told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest `host:port`, in bytes: a DNS name of 253, a colon, and a port. Brackets of IPv6 addresses take less.
pub const MAX_ADDRESS_BYTES: usize = 253 + ":65535".len();

/// An address that others can dial, `host:port`, if this is one. An IP of no host, such as that of a listener for all interfaces, and
/// the port 0 say nothing to others.
pub fn dialable(address: &str) -> Option<&str> {
    let (host, port) = address.rsplit_once(':')?;
    let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_host = match ip_of(host) {
        Some(ip) => of_no_host(ip).is_none(),
        None => !host.is_empty() && host.bytes().all(is_name),
    };
    (address.len() <= MAX_ADDRESS_BYTES && is_port && is_host).then_some(address)
}

/// Whether an address, `host:port`, leads each node to itself.
pub fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    ip_of(host).map_or_else(|| host.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback())
}

/// Why this is the address of no host; `None`: it is that of one.
pub fn of_no_host(address: IpAddr) -> Option<&'static str> {
    if address.to_canonical() != address {
        Some("is an IPv4 address in IPv6: give it as IPv4")
    } else if address.is_unspecified() {
        Some("leads nowhere")
    } else if address.is_multicast() {
        Some("is of a group of hosts")
    } else {
        None
    }
}

/// An IPv4 address, or an IPv6 address in brackets. One that stands for an IPv4 address is that.
fn ip_of(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(|ip| ip.to_canonical()),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port_that_others_can_dial() {
        for address in ["a.example:7443", "10.0.0.7:1", "[fd00::7]:65535", "localhost:7443"] {
            assert_eq!(dialable(address), Some(address));
        }
        for address in [
            "",
            "a.example",
            ":7443",
            "a.example:",
            "a.example:0",
            "a.example:65536",
            "0.0.0.0:7443",
            "224.0.0.1:7443",
            "[ff02::1]:7443",
            "[::]:7443",
            "::7443",
            "fd00::7",
            "a b:1",
            "http://a.example:1",
            "user@a.example:1",
            "a\n:1",
            "ä:1",
            "a!b:1",
            "[::ffff:0.0.0.0]:1",
            "[[::1]]:1",
            "[::1:1",
            "[10.0.0.7]:1",
        ] {
            assert_eq!(dialable(address), None, "{address}");
        }
        for address in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "LocalHost:1"] {
            assert!(is_loopback(address), "{address}");
        }
        for address in ["10.0.0.7:1", "[fd00::1]:1", "localhost.example:1", ""] {
            assert!(!is_loopback(address), "{address}");
        }
        let longest = format!("{}:65535", "a".repeat(253));
        assert!(dialable(&longest).is_some() && dialable(&format!("a{longest}")).is_none());
    }

    #[test]
    fn an_address_of_a_host_has_one_form() {
        for (address, why) in [
            ("192.0.2.7", None),
            ("127.0.0.2", None),
            ("2001:db8::7", None),
            ("0.0.0.0", Some("nowhere")),
            ("::", Some("nowhere")),
            ("224.0.0.1", Some("group")),
            ("ff02::1", Some("group")),
            ("::ffff:10.0.0.1", Some("as IPv4")),
        ] {
            let found = of_no_host(address.parse().unwrap());
            assert!(
                found.is_some() == why.is_some() && found.unwrap_or("").contains(why.unwrap_or("")),
                "{address}"
            );
        }
    }
}
