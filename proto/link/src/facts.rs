//! What a node says of itself.

use std::net::IpAddr;

use bytes::Bytes;
use hanse_identity::{LiveCredentials, LiveTrust, TrustAnchor};
use hanse_proto::{
    nested,
    sync::{Facts, Report, TrustStatus},
};

/// A DNS name of 253 bytes, a colon, and a port; brackets of IPv6 addresses take less.
const MAX_ADDRESS_BYTES: usize = 261;

/// What a process of any role says of itself; agents add to it.
pub fn own_facts(trust: TrustStatus) -> Facts {
    Facts {
        trust: Some(trust),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        #[cfg(feature = "next")]
        mood: "curious".to_owned(),
        ..Facts::default()
    }
}

/// A report of one that says this of itself, and this of its subscribers.
pub fn report_of(facts: &Facts, below: Bytes) -> Report {
    Report { facts: nested::to_bytes(facts), below }
}

/// An address that others can dial, `host:port`, if this is one. An unspecified IP, such as that of a listener for all interfaces, and
/// the port 0 say nothing to others.
pub fn dialable(address: &str) -> Option<&str> {
    let (host, port) = address.rsplit_once(':')?;
    let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_host = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'@' | b'?' | b'#'))
        && ip.map_or(!host.contains(':'), |ip| !ip.is_unspecified());
    (address.len() <= MAX_ADDRESS_BYTES && is_port && is_host).then_some(address)
}

/// What a process believes now, and the root that its certificate comes from.
pub fn trust_status(trust: &LiveTrust, own: &LiveCredentials) -> TrustStatus {
    let key = |anchor: &TrustAnchor| anchor.spki_sha256().to_vec().into();
    TrustStatus {
        believed: trust.current().anchors().iter().map(key).collect(),
        shown: own.current().trust_anchor().map(|anchor| key(&anchor)).unwrap_or_default(),
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
            "[::]:7443",
            "::7443",
            "fd00::7",
            "a b:1",
            "http://a.example:1",
            "user@a.example:1",
            "a\n:1",
            "ä:1",
        ] {
            assert_eq!(dialable(address), None, "{address}");
        }
        let longest = format!("{}:65535", "a".repeat(255));
        assert!(dialable(&longest).is_some() && dialable(&format!("a{longest}")).is_none());
    }
}
