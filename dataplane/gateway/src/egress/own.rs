//! The gateway's own listeners. A gateway that connects to one of them calls itself.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use hanse_runtime::forms;
use nix::ifaddrs::getifaddrs;

/// How long the addresses of this machine hold: they change seldom, and a container that gets one more has it known soon.
const REFRESH: Duration = Duration::from_secs(3);

/// The addresses that this process listens on for clients and operators. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct OwnListeners(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    bound: OnceLock<Vec<SocketAddr>>,
    machine: Mutex<Machine>,
}

/// The addresses of this machine. Only asked for at a port that is bound at every address.
#[derive(Debug, Default)]
struct Machine {
    /// `None`: they were never read.
    addresses: Option<Vec<IpAddr>>,
    /// When they were read last, or could not be.
    read: Option<Instant>,
}

impl OwnListeners {
    /// Known from the beginning.
    #[cfg(test)]
    pub(crate) fn of(bound: Vec<SocketAddr>) -> Self {
        let own = Self::default();
        own.set(bound);
        own
    }

    /// Says where the process listens, once it does. The first call counts.
    pub(crate) fn set(&self, bound: Vec<SocketAddr>) {
        let _ = self.0.bound.set(bound);
    }

    /// Whether a connection to this address, in any of its forms, would meet one of them.
    pub(crate) fn have(&self, address: SocketAddr) -> bool {
        let bound = self.0.bound.get().map(Vec::as_slice).unwrap_or_default();
        bound.iter().filter(|bound| bound.port() == address.port()).any(|bound| {
            forms(address.ip())
                .any(|form| meets(bound.ip().to_canonical(), form, |address| self.is_of_machine(address)))
        })
    }

    /// Whether the machine has the address. Every address counts as its own while its addresses cannot be read.
    fn is_of_machine(&self, address: IpAddr) -> bool {
        if address.is_loopback() {
            return true;
        }
        let mut machine = self.0.machine.lock().unwrap_or_else(PoisonError::into_inner);
        if machine.read.is_none_or(|read| read.elapsed() >= REFRESH) {
            machine.read = Some(Instant::now());
            match addresses_of_machine() {
                Ok(addresses) => machine.addresses = Some(addresses),
                Err(error) => tracing::warn!(%error, "the addresses of this machine cannot be read"),
            }
        }
        machine.addresses.as_ref().is_none_or(|addresses| addresses.contains(&address))
    }
}

/// Whether a connection to `address` meets a socket that is bound to `bound`, both at one port.
fn meets(bound: IpAddr, address: IpAddr, is_of_machine: impl FnOnce(IpAddr) -> bool) -> bool {
    match bound.is_unspecified() {
        // A socket of IPv6 takes connections of both families.
        true => (bound.is_ipv6() || address.is_ipv4()) && is_of_machine(address),
        false => bound == address,
    }
}

fn addresses_of_machine() -> io::Result<Vec<IpAddr>> {
    let addresses = getifaddrs()?.filter_map(|interface| {
        let address = interface.address?;
        let four = address.as_sockaddr_in().map(|four| IpAddr::from(four.ip()));
        four.or_else(|| address.as_sockaddr_in6().map(|six| IpAddr::from(six.ip())))
    });
    Ok(addresses.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_bound_address_is_met_by_itself_and_every_address_by_those_of_the_machine() {
        let machine = ["127.0.0.1", "10.0.0.5", "fd00::5"].map(ip);
        let is_met = |bound: &str, address: &str| {
            meets(ip(bound), ip(address), |address| address.is_loopback() || machine.contains(&address))
        };
        for (bound, met, missed) in [
            ("127.0.0.1", vec!["127.0.0.1"], vec!["127.0.0.2", "10.0.0.5", "::1"]),
            ("0.0.0.0", vec!["127.0.0.1", "127.9.9.9", "10.0.0.5"], vec!["10.0.0.6", "::1", "fd00::5"]),
            ("::", vec!["127.0.0.1", "10.0.0.5", "::1", "fd00::5"], vec!["10.0.0.6", "fd00::6"]),
        ] {
            met.iter().for_each(|address| assert!(is_met(bound, address), "{bound} {address}"));
            missed.iter().for_each(|address| assert!(!is_met(bound, address), "{bound} {address}"));
        }
    }

    #[test]
    fn a_listener_is_known_in_every_form_of_its_address_and_at_its_port_alone() {
        let own = OwnListeners::of(vec!["127.0.0.1:8080".parse().unwrap(), "0.0.0.0:9090".parse().unwrap()]);
        let has = |address: &str| own.have(address.parse().unwrap());
        for address in [
            "127.0.0.1:8080",
            "0.0.0.0:8080",
            "[::ffff:127.0.0.1]:8080",
            "[64:ff9b::7f00:1]:8080",
            "127.1.2.3:9090",
            "0.0.0.0:9090",
            "[::ffff:127.0.0.1]:9090",
        ] {
            assert!(has(address), "{address}");
        }
        for address in ["127.0.0.1:8081", "127.0.0.2:8080", "192.0.2.1:9090", "[::1]:9090"] {
            assert!(!has(address), "{address}");
        }
        assert!(!OwnListeners::default().have("127.0.0.1:8080".parse().unwrap()), "it listens nowhere yet");
    }

    #[test]
    fn the_addresses_of_the_machine_are_read_of_its_interfaces() {
        let addresses = addresses_of_machine().unwrap();
        assert!(addresses.contains(&ip("127.0.0.1")), "{addresses:?}");
        let own = OwnListeners::of(vec!["[::]:9090".parse().unwrap()]);
        for address in addresses {
            assert!(own.have(SocketAddr::new(address, 9090)), "{address}");
        }
    }
}
