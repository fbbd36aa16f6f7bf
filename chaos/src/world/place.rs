//! Addresses for nodes.

use std::{
    net::Ipv4Addr,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};

use crate::netns::Network;

/// Where nodes live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Each at a loopback address of its own.
    Loopback,
    /// Each in a network namespace: needs root.
    Namespaces,
}

/// Counts the federations of this process.
static WORLDS: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
pub(super) enum Places {
    Loopback { net: [u8; 2], taken: u8 },
    Namespaces(Network),
}

impl Places {
    pub(super) fn new(placement: Placement) -> Result<Self> {
        Ok(match placement {
            Placement::Namespaces => Self::Namespaces(Network::new()?),
            Placement::Loopback => {
                let number = process::id().wrapping_add(WORLDS.fetch_add(1, Ordering::Relaxed));
                Self::Loopback { net: loopback_net(number), taken: 1 }
            }
        })
    }

    /// An address for a node of that name, and its namespace.
    pub(super) fn place(&mut self, name: &str) -> Result<(Ipv4Addr, Option<String>)> {
        match self {
            Self::Loopback { net, taken } => {
                *taken = taken.checked_add(1).context("a federation on loopback has at most 254 nodes")?;
                Ok((Ipv4Addr::new(127, net[0], net[1], *taken), None))
            }
            Self::Namespaces(network) => {
                let place = network.place(name)?;
                Ok((place.address, Some(place.namespace)))
            }
        }
    }

    pub(super) fn own_address(&self) -> Ipv4Addr {
        match self {
            Self::Loopback { net, .. } => Ipv4Addr::new(127, net[0], net[1], 1),
            Self::Namespaces(network) => network.own_address(),
        }
    }

    pub(super) fn network(&self) -> Option<&Network> {
        match self {
            Self::Loopback { .. } => None,
            Self::Namespaces(network) => Some(network),
        }
    }
}

/// The middle of a loopback address, away from 127.0: two harnesses at once rarely meet, as their numbers come from process ids.
fn loopback_net(number: u32) -> [u8; 2] {
    const FIRST: u8 = 64;
    let [.., high, low] = number.to_be_bytes();
    [FIRST | (high & 0x3f), low]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_on_loopback_have_addresses_of_their_own() {
        let mut places = Places::new(Placement::Loopback).unwrap();
        let (first, namespace) = places.place("a").unwrap();
        let (second, _) = places.place("b").unwrap();
        assert!(first.is_loopback() && namespace.is_none());
        assert_ne!(first, second);
        assert_ne!(first, places.own_address());
        assert_ne!(loopback_net(1), loopback_net(2));
    }
}
