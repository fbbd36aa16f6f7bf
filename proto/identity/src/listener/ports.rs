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

/// The bounds of the ports that control nodes and agents have alike. Subscribers get what the others leave.
#[derive(Debug)]
pub struct Ports {
    /// Where subscribers follow.
    pub federation: Bounds,
    /// Where others join and renew.
    pub enrolment: Bounds,
    /// For probes.
    pub admin: Bounds,
    /// Where operators' clients come, if they come here: the connections of the operator API.
    pub api: Bounds,
}

impl Ports {
    /// Of a process that may open so many files, of which `reserve` are for everything but these ports. Of the rest, so many
    /// percent are for enrolment and for the operator API; 0: it has none.
    pub fn of(descriptors: usize, reserve: usize, enrolment_percent: usize, api_percent: usize) -> Self {
        let reserve = reserve + ADMIN_CONNECTIONS;
        let for_anyone = |percent| share_of(descriptors, reserve, percent, LEAST, ANYONE_MOST);
        let enrolment = for_anyone(enrolment_percent);
        let api = if api_percent == 0 { 0 } else { for_anyone(api_percent) };
        let federation = share_of(descriptors, reserve + api + enrolment, 100, LEAST, FEDERATION_MOST);
        Self {
            federation: Bounds::of_federation(federation),
            enrolment: Bounds::of_enrolment(enrolment),
            admin: Bounds::of_admin(ADMIN_CONNECTIONS),
            api: Bounds::of_api(api),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESERVE: usize = 192;

    #[test]
    fn ports_share_what_there_is() {
        let check = |descriptors: usize, shares: [usize; 3]| {
            let Ports { federation, enrolment, admin, api } = Ports::of(descriptors, RESERVE, 15, 25);
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
            let Ports { federation, enrolment, api, .. } = Ports::of(descriptors, RESERVE, 20, 0);
            assert_eq!(
                [enrolment.connections, federation.connections, api.connections],
                [shares[0], shares[1], 0]
            );
        };
        check(256, [LEAST; 2]);
        check(1_024, [153, 615]);
        check(1 << 20, [1_024, 65_536]);
    }
}
