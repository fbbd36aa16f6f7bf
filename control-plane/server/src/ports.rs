//! How many connections each port of a control node takes, by how many descriptors the process has.

use hanse_identity::Bounds;
use hanse_process::share_of;

/// Descriptors for everything but accepted connections: the log, snapshots and the store (some 30), connections to other
/// control nodes (three to each), sockets of listeners, and connections that are being closed.
const RESERVE: usize = 320;
/// Connections from other control nodes: three from each of six, as many that broke and are not noticed yet, and handshakes.
const RAFT: usize = 128;
/// Connections to the admin port: probes and a few Prometheus servers.
const ADMIN: usize = 64;
/// No listener has fewer, however few descriptors there are.
const LEAST: usize = 32;
/// Of the rest, for the operator API and for enrolment. Agents get what these leave.
const API_PERCENT: usize = 25;
const ENROLMENT_PERCENT: usize = 15;
/// Connections of operators' clients at most. An idle one holds some 40 KB, and anyone may open one: 40 MB.
const API_MOST: usize = 1_024;
/// Connections of joiners at most: they stay for milliseconds, and anyone may open one.
const ENROLMENT_MOST: usize = 1_024;
/// Connections of agents at most, 40 KB each: more than a federation has agents.
const FEDERATION_MOST: usize = 65_536;
/// Raft's call that takes a stream of messages; each part of it has its own time.
const RAFT_STREAMS: &[&str] = &["/hanse.raft.v1.Raft/InstallSnapshot"];

/// The bounds of a control node's ports.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) api: Bounds,
    pub(crate) federation: Bounds,
    pub(crate) raft: Bounds,
    pub(crate) enrolment: Bounds,
    pub(crate) admin: Bounds,
}

impl Ports {
    /// Of a process that may open so many files.
    pub(crate) fn of(descriptors: usize) -> Self {
        let reserve = RESERVE + RAFT + ADMIN;
        let api = share_of(descriptors, reserve, API_PERCENT, LEAST, API_MOST);
        let enrolment = share_of(descriptors, reserve, ENROLMENT_PERCENT, LEAST, ENROLMENT_MOST);
        let federation = share_of(descriptors, reserve + api + enrolment, 100, LEAST, FEDERATION_MOST);
        Self {
            api: Bounds::of_api(api),
            // An agent could certify any number of names of its region.
            federation: Bounds { by_authority: true, ..Bounds::of_federation(federation) },
            raft: Bounds::of_raft(RAFT, RAFT_STREAMS),
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
        let check = |descriptors: usize, shares: [usize; 3]| {
            let Ports { api, federation, raft, enrolment, admin } = Ports::of(descriptors);
            assert_eq!([api.connections, enrolment.connections, federation.connections], shares);
            assert_eq!((raft.connections, admin.connections), (RAFT, ADMIN));
        };
        check(256, [LEAST; 3]);
        check(1_024, [128, 76, 308]);
        check(20_000, [1_024, 1_024, 17_440]);
        check(1 << 20, [1_024, 1_024, 65_536]);
    }

    #[test]
    fn all_of_them_together_leave_the_reserve() {
        for descriptors in [1_024, 4_096, 65_536] {
            let Ports { api, federation, raft, enrolment, admin } = Ports::of(descriptors);
            let all = [&api, &federation, &raft, &enrolment, &admin];
            let taken: usize = all.iter().map(|bounds| bounds.connections).sum();
            assert!(taken + RESERVE <= descriptors, "{taken} of {descriptors}");
        }
    }
}
