//! The addresses of one name, in the order in which they are to be tried.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::atomic::{AtomicUsize, Ordering},
};

/// The addresses of one name; never none.
#[derive(Debug)]
pub(super) struct Addresses {
    /// Of the family that goes first. The connector gives it a short start over the other.
    first: Vec<IpAddr>,
    second: Vec<IpAddr>,
    /// How often they were given out.
    turn: AtomicUsize,
}

impl Addresses {
    /// Both families, IPv6 first if there is a route to it, as the system's rules have it (RFC 6724). `None` if there is
    /// no address. One that is found twice has one turn: a line of `hosts` may have a name in two spellings.
    pub(super) fn new(found: impl IntoIterator<Item = IpAddr>) -> Option<Self> {
        let mut met = BTreeSet::new();
        let found = found.into_iter().filter(|address| met.insert(*address));
        let (second, first): (Vec<_>, Vec<_>) = found.partition(IpAddr::is_ipv4);
        let (first, second) = match first.first() {
            Some(address) if second.is_empty() || has_route(*address) => (first, second),
            _ => (second, first),
        };
        if first.is_empty() {
            return None;
        }
        Some(Self { first, second, turn: AtomicUsize::new(0) })
    }

    /// The same name's, found later: the turns go on.
    pub(super) fn after(mut self, before: Option<&Self>) -> Self {
        *self.turn.get_mut() = before.map_or(0, |before| before.turn.load(Ordering::Relaxed));
        self
    }

    /// All, each time another one of its family at the front.
    pub(super) fn in_turn(&self) -> Vec<SocketAddr> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let rotated = |family: &'_ [IpAddr]| -> Vec<SocketAddr> {
            let at = turn.checked_rem(family.len()).unwrap_or(0);
            // The connector puts in the port.
            family[at..].iter().chain(&family[..at]).map(|address| SocketAddr::new(*address, 0)).collect()
        };
        let mut all = rotated(&self.first);
        all.extend(rotated(&self.second));
        all
    }
}

/// Whether packets could be sent there at all. Sends none.
pub(super) fn has_route(address: IpAddr) -> bool {
    const DISCARD: u16 = 9;
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect((address, DISCARD))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(addresses: &Addresses) -> Vec<String> {
        addresses.in_turn().iter().map(|address| address.ip().to_string()).collect()
    }

    #[test]
    fn addresses_take_turns_also_after_they_were_found_again() {
        let found =
            || Addresses::new(["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|ip| ip.parse().unwrap())).unwrap();
        let addresses = found();
        assert_eq!(shown(&addresses), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        assert_eq!(shown(&addresses), ["10.0.0.2", "10.0.0.3", "10.0.0.1"]);
        let later = found().after(Some(&addresses));
        assert_eq!(shown(&later), ["10.0.0.3", "10.0.0.1", "10.0.0.2"]);
        assert_eq!(shown(&later), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    }

    #[test]
    fn an_address_that_is_found_twice_has_one_turn() {
        let found = ["10.0.0.2", "10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
        let addresses = Addresses::new(found).unwrap();
        assert_eq!(shown(&addresses), ["10.0.0.2", "10.0.0.1"]);
        assert_eq!(shown(&addresses), ["10.0.0.1", "10.0.0.2"]);
    }

    #[test]
    fn both_families_are_there_and_one_without_a_route_comes_last() {
        assert!(Addresses::new([]).is_none());
        // A link-local address without its interface has a route nowhere.
        let both = Addresses::new(["10.0.0.1", "fe80::1"].map(|ip| ip.parse().unwrap())).unwrap();
        assert_eq!(shown(&both), ["10.0.0.1", "fe80::1"]);
        let only_v6 = Addresses::new(["fe80::1".parse().unwrap()]).unwrap();
        assert_eq!(shown(&only_v6), ["fe80::1"]);
    }
}
