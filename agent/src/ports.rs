//! How many connections each port of an agent takes, by how many descriptors the process has.

use hanse_identity::Bounds;
use hanse_process::share_of;

/// Descriptors for everything but accepted connections: the store and small files, connections to control nodes, sockets of
/// listeners, and connections that are being closed.
const RESERVE: usize = 192;
/// Connections to the admin port: probes and a few Prometheus servers.
const ADMIN: usize = 64;
/// No listener has fewer, however few descriptors there are.
const LEAST: usize = 32;
/// Of the rest, for enrolment. Gateways get what it leaves.
const ENROLMENT_PERCENT: usize = 20;
/// Connections of joiners at most: they stay for milliseconds, and anyone may open one.
const ENROLMENT_MOST: usize = 1_024;
/// Connections of gateways at most, 40 KB each: more than a region has gateways.
const FEDERATION_MOST: usize = 65_536;

/// The bounds of an agent's ports.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) federation: Bounds,
    pub(crate) enrolment: Bounds,
    pub(crate) admin: Bounds,
}

impl Ports {
    /// Of a process that may open so many files.
    pub(crate) fn of(descriptors: usize) -> Self {
        let reserve = RESERVE + ADMIN;
        let enrolment = share_of(descriptors, reserve, ENROLMENT_PERCENT, LEAST, ENROLMENT_MOST);
        let federation = share_of(descriptors, reserve + enrolment, 100, LEAST, FEDERATION_MOST);
        Self {
            federation: Bounds::of_federation(federation),
            enrolment: Bounds::of_enrolment(enrolment),
            admin: Bounds::of_admin(ADMIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_share_what_there_is() {
        let check = |descriptors: usize, shares: [usize; 2]| {
            let Ports { federation, enrolment, admin } = Ports::of(descriptors);
            assert_eq!([enrolment.connections, federation.connections], shares);
            let taken = federation.connections + enrolment.connections + admin.connections;
            assert!(descriptors < 1_024 || taken + RESERVE <= descriptors);
        };
        check(256, [LEAST; 2]);
        check(1_024, [153, 615]);
        check(1 << 20, [1_024, 65_536]);
    }
}
