//! Whose request it is: the connection's peer, or the client that a trusted proxy names in `X-Forwarded-For`.

use std::{net::IpAddr, rc::Rc};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::Network;

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// An address, and how headers have it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Party {
    pub(super) address: IpAddr,
    pub(super) text: HeaderValue,
}

impl Party {
    pub(super) fn new(address: IpAddr) -> Rc<Self> {
        let address = address.to_canonical();
        let text = HeaderValue::try_from(address.to_string()).expect("an address is ASCII");
        Rc::new(Self { address, text })
    }
}

/// What is believed of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// No proxies are named. Its `X-Forwarded-For` goes on, for the gateway cannot know where a balancer stands.
    Unknown,
    /// It is none of the proxies that are named: it says nothing of others.
    Stranger,
    /// It is one of them: what it says of the client goes on.
    Proxy,
}

impl Trust {
    pub(super) fn of(peer: IpAddr, proxies: &[Network]) -> Self {
        match proxies {
            [] => Self::Unknown,
            proxies if is_among(peer, proxies) => Self::Proxy,
            _ => Self::Stranger,
        }
    }
}

/// The client that a trusted proxy hands on: of its `X-Forwarded-For` the last address that is no proxy's. Entries before one that
/// is no address are not looked at.
pub(super) fn behind(proxy: &Rc<Party>, headers: &HeaderMap, proxies: &[Network]) -> Rc<Party> {
    let mut farthest = proxy.address;
    let lines: Vec<&HeaderValue> = headers.get_all(X_FORWARDED_FOR).iter().collect();
    let entries = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|&octet| octet == b','));
    for entry in entries {
        let Some(address) = address(entry.trim_ascii()) else { break };
        farthest = address;
        if !is_among(address, proxies) {
            break;
        }
    }
    if farthest == proxy.address { proxy.clone() } else { Party::new(farthest) }
}

/// The client that a gateway of another region names in `X-Real-IP`.
pub(super) fn stated(entry: &Rc<Party>, headers: &HeaderMap) -> Rc<Party> {
    let stated = headers.get(&X_REAL_IP).and_then(|value| address(value.as_bytes()));
    stated.map_or_else(|| entry.clone(), Party::new)
}

/// Some proxies add a port.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let bare = || text.parse().ok();
    let with_port = || text.parse().map(|address: std::net::SocketAddr| address.ip()).ok();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    bare().or_else(with_port).or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}

fn is_among(address: IpAddr, networks: &[Network]) -> bool {
    networks.iter().any(|network| network.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_last_address_that_is_no_proxys() {
        let proxies: Vec<Network> =
            ["10.0.0.0/8", "2001:db8::/32"].map(|text| text.to_owned().try_into().unwrap()).into();
        let check = |lines: &[&str], wanted: &str| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(X_FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
            }
            let found = behind(&Party::new("10.0.0.1".parse().unwrap()), &headers, &proxies);
            assert_eq!(found.text, wanted, "{lines:?}");
        };
        check(&[], "10.0.0.1");
        check(&["203.0.113.7"], "203.0.113.7");
        check(&["1.1.1.1, 203.0.113.7"], "203.0.113.7");
        check(&["1.1.1.1", "203.0.113.7"], "203.0.113.7");
        check(&["203.0.113.7, 10.0.0.2,10.0.0.3"], "203.0.113.7");
        check(&["203.0.113.7", "10.0.0.2"], "203.0.113.7");
        check(&["10.0.0.9, 10.0.0.2"], "10.0.0.9");
        check(&["203.0.113.7:4711, 10.0.0.2"], "203.0.113.7");
        check(&["2001:470::7, 2001:db8::1"], "2001:470::7");
        check(&["[2001:470::7]:4711"], "2001:470::7");
        check(&["[2001:470::7]"], "2001:470::7");
        check(&["::ffff:203.0.113.7"], "203.0.113.7");
        for garbage in ["unknown", "_hidden", "", "203.0.113.7;x", "999.1.1.1"] {
            check(&[&format!("1.1.1.1, {garbage}")], "10.0.0.1");
            check(&[&format!("1.1.1.1, {garbage}, 10.0.0.2")], "10.0.0.2");
        }
    }

    #[test]
    fn who_is_trusted() {
        let proxies: Vec<Network> = vec!["10.0.0.0/8".to_owned().try_into().unwrap()];
        let of = |peer: &str, proxies: &[Network]| Trust::of(peer.parse().unwrap(), proxies);
        assert_eq!(of("10.1.2.3", &[]), Trust::Unknown);
        assert_eq!(of("10.1.2.3", &proxies), Trust::Proxy);
        assert_eq!(of("11.1.2.3", &proxies), Trust::Stranger);
        assert_eq!(of("::1", &proxies), Trust::Stranger);
    }
}
