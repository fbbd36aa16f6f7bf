//! How many connections each port takes of a process that admits others, by how many descriptors the process has.

use hanse_process::share_of;

use super::Bounds;

/// Connections to the admin port: probes and a few Prometheus servers.
pub const ADMIN_CONNECTIONS: usize = 64;
/// No listener has fewer, however few descriptors there are.
const LEAST: usize = 32;
/// Connections of those who may come without a certificate at most: joiners stay for milliseconds, an idle client of the API
/// holds some 40 KB, and anyone may open one: 40 MB.
const ANYONE_MOST: usize = 1_024;
/// Connections of subscribers at most, 40 KB each: more than a federation has agents, or a region gateways.
const FEDERATION_MOST: usize = 65_536;

/// The bounds of the ports that control nodes and agents have alike, beside the admin port. Subscribers get what the others leave.
#[derive(Debug)]
pub struct Ports {
    /// Where subscribers follow.
    pub federation: Bounds,
    /// Where others join and renew.
    pub enrolment: Bounds,
}

impl Ports {
    /// Of a process that may open so many files, of which `reserve` are for everything but these ports. Of the rest, so many
    /// percent are for enrolment.
    pub fn of(descriptors: usize, reserve: usize, enrolment_percent: usize) -> Self {
        let enrolment = for_anyone(descriptors, reserve, enrolment_percent);
        Self::sharing(descriptors, reserve, enrolment)
    }

    /// The same of a process that serves the operator API as well, with so many percent for it; and its bounds.
    pub fn with_api(
        descriptors: usize,
        reserve: usize,
        enrolment_percent: usize,
        api_percent: usize,
    ) -> (Self, Bounds) {
        let enrolment = for_anyone(descriptors, reserve, enrolment_percent);
        let api = for_anyone(descriptors, reserve, api_percent);
        (Self::sharing(descriptors, reserve + api, enrolment), Bounds::of_api(api))
    }

    fn sharing(descriptors: usize, reserve: usize, enrolment: usize) -> Self {
        let taken = reserve + ADMIN_CONNECTIONS + enrolment;
        let federation = share_of(descriptors, taken, 100, LEAST, FEDERATION_MOST);
        Self { federation: Bounds::of_federation(federation), enrolment: Bounds::of_enrolment(enrolment) }
    }
}

/// Connections of a port that anyone may come to.
fn for_anyone(descriptors: usize, reserve: usize, percent: usize) -> usize {
    share_of(descriptors, reserve + ADMIN_CONNECTIONS, percent, LEAST, ANYONE_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESERVE: usize = 192;

    #[test]
    fn ports_share_what_there_is() {
        let check = |descriptors: usize, shares: [usize; 3]| {
            let (ports, api) = Ports::with_api(descriptors, RESERVE, 15, 25);
            let Ports { federation, enrolment } = ports;
            let admin = Bounds::of_admin(ADMIN_CONNECTIONS);
            assert_eq!([api.connections, enrolment.connections, federation.connections], shares);
            let taken: usize = [federation, enrolment, admin, api].iter().map(|port| port.connections).sum();
            assert!(descriptors < 1_024 || taken + RESERVE <= descriptors, "{taken} of {descriptors}");
        };
        check(256, [LEAST; 3]);
        check(1_024, [192, 115, 461]);
        check(20_000, [1_024, 1_024, 17_696]);
        check(1 << 20, [1_024, 1_024, 65_536]);
    }

    #[test]
    fn without_an_api_subscribers_have_its_share() {
        let check = |descriptors: usize, shares: [usize; 2]| {
            let Ports { enrolment, federation, .. } = Ports::of(descriptors, RESERVE, 20);
            assert_eq!([enrolment.connections, federation.connections], shares);
        };
        check(256, [LEAST; 2]);
        check(1_024, [153, 615]);
        check(1 << 20, [1_024, 65_536]);
    }
}
