//! Whether a connection to an upstream may be made: what the environment's Listener says, and never to this gateway itself.
//!
//! An environment has one [`EgressGuard`] for as long as anything of it is in use. Tables and connections share it, so a change holds
//! for the next connection of any of them, from the moment on at which its table is served. Without a Listener nothing is allowed.

mod own;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use hanse_runtime::{Denied, Egress};

pub use own::OwnListeners;

/// Where the connections of one environment may go.
#[derive(Debug)]
pub struct EgressGuard {
    /// `None`: no Listener is in force.
    rules: ArcSwapOption<Egress>,
    /// Raised after each change of the rules. A connection that an earlier generation allowed is used no more.
    generation: AtomicU64,
    own: OwnListeners,
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EgressDenied {
    /// The environment's egress denies it.
    #[error(transparent)]
    Network(#[from] Denied),
    /// The gateway would call itself.
    #[error("{0} is a listener of this gateway")]
    Own(SocketAddr),
    /// The environment has no Listener that can be used.
    #[error("no Listener says where this environment may connect")]
    NoListener,
}

impl EgressGuard {
    /// Allows nothing yet, and never these listeners.
    pub(crate) fn new(own: OwnListeners) -> Self {
        Self { rules: ArcSwapOption::empty(), generation: AtomicU64::new(0), own }
    }

    /// Has these rules hold from now on; `None`: nothing is allowed.
    pub(crate) fn set(&self, rules: Option<&Egress>) {
        if self.rules.load().as_deref() != rules {
            self.rules.store(rules.cloned().map(Arc::new));
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Which rules hold. Asked before [`judge`](Self::judge), it is never a later generation than the one that judges.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Judges the address of a connection that is to be made.
    pub(crate) fn judge(&self, address: SocketAddr) -> Result<(), EgressDenied> {
        if self.own.have(address) {
            return Err(EgressDenied::Own(address));
        }
        self.rules.load().as_ref().ok_or(EgressDenied::NoListener)?.judge(address.ip())?;
        Ok(())
    }

    /// Those of these addresses that may be connected to, at this port; the first reason if there is none.
    pub(crate) fn allowed(
        &self,
        addresses: impl IntoIterator<Item = SocketAddr>,
        port: u16,
    ) -> Result<Vec<SocketAddr>, EgressDenied> {
        let mut first = None;
        let mut is_allowed = |address: &SocketAddr| match self.judge(SocketAddr::new(address.ip(), port)) {
            Ok(()) => true,
            Err(denied) => {
                first.get_or_insert(denied);
                false
            }
        };
        let allowed: Vec<SocketAddr> = addresses.into_iter().filter(&mut is_allowed).collect();
        match first {
            Some(denied) if allowed.is_empty() => Err(denied),
            _ => Ok(allowed),
        }
    }
}

impl EgressDenied {
    /// The denial that an error is, below all that wraps it.
    pub(crate) fn of<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
    }
}

#[cfg(test)]
mod tests {
    use hanse_runtime::Cidr;

    use super::*;

    fn deny(network: &str) -> Egress {
        Egress::new([], [Cidr::parse(network).unwrap()])
    }

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    #[test]
    fn without_a_listener_nothing_is_allowed() {
        let guard = EgressGuard::new(OwnListeners::default());
        assert_eq!(guard.judge(at("10.0.0.1:80")), Err(EgressDenied::NoListener));
        guard.set(Some(&Egress::default()));
        assert_eq!(guard.judge(at("10.0.0.1:80")), Ok(()));
        guard.set(None);
        assert_eq!(guard.judge(at("10.0.0.1:80")), Err(EgressDenied::NoListener));
    }

    #[test]
    fn a_change_of_the_rules_is_another_generation_and_the_same_rules_are_none() {
        let guard = EgressGuard::new(OwnListeners::default());
        let mut generations = vec![guard.generation()];
        for rules in [deny("10.0.0.0/8"), deny("10.0.0.0/8"), Egress::default()] {
            guard.set(Some(&rules));
            generations.push(guard.generation());
        }
        assert_eq!(generations, [0, 1, 1, 2]);
    }

    #[test]
    fn of_several_addresses_those_that_are_allowed_are_used() {
        let guard = EgressGuard::new(OwnListeners::of(vec![at("10.0.0.9:80")]));
        guard.set(Some(&deny("10.1.0.0/16")));
        let allowed = |addresses: &[&str]| guard.allowed(addresses.iter().map(|text| at(text)), 80);
        assert_eq!(allowed(&["10.1.0.1:0", "10.0.0.1:0"]), Ok(vec![at("10.0.0.1:0")]));
        assert_eq!(allowed(&["10.0.0.9:0", "10.1.0.1:0"]), Err(EgressDenied::Own(at("10.0.0.9:80"))));
        assert!(matches!(allowed(&["10.1.0.1:0"]), Err(EgressDenied::Network(_))));
    }
}
