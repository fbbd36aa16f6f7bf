//! How much a subscriber may say.

use std::{cmp::Reverse, collections::BTreeSet, fmt, time::Instant};

use hanse_proto::{
    InvalidMessage, nested,
    sync::{Ack, Heard, Report},
};
use hanse_sync::ScopeAck;
use hanse_topology::Role;

use crate::{Below, traffic::MAX_TRAFFIC_BYTES};

/// The most that a Report may take, encoded: eight thousand gateways at 500 octets each, which is one in two environments with what it
/// serves, and what it uses and keeps in each. Two such reports fit into one message between
/// control nodes (12 MiB), so what was accepted can always be passed on.
pub const MAX_REPORT_BYTES: usize = 4 << 20;
/// The most gateways that a Report may name. A control node remembers each for an hour.
pub const MAX_REPORTED: usize = 10_000;
/// The most scopes that all gateways of a report may stand in: four environments for each. Empty ones take one octet and a hundred
/// times that in memory.
const MAX_SCOPES: usize = 4 * MAX_REPORTED;
/// How much of a report names what is in quarantine, in octets: a thousand names, and a small part of what a message may
/// carry, also where a control node passes on the reports of all its agents.
pub(crate) const MAX_NAMES_BYTES: usize = 256 << 10;
/// The most that an agent may say of itself: names of missing gateways (17 KB), of revoked ones with their keys (26 KB), its own roots.
pub const MAX_FACTS_BYTES: usize = 64 << 10;
/// The most that a report of one that is no agent may take: it speaks of itself, and what it says goes up as received.
pub const MAX_CONSUMER_REPORT_BYTES: usize = 4 << 10;

/// The largest message that a control node or a relay takes from an agent: a Report with its envelope and traffic.
pub const MAX_AGENT_MESSAGE_BYTES: usize = MAX_REPORT_BYTES + (64 << 10);
/// The largest message that an agent takes from a gateway: an Ack that names 64 resources of a scope at 2 KiB each, and the keys of
/// 448 more at 222 octets each, which is as long as keys get.
pub const MAX_GATEWAY_MESSAGE_BYTES: usize = 256 << 10;

/// How large a report is. Of more than 10,000 gateways, or 40,000 scopes, the first are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ReportSize {
    bytes: usize,
    facts: usize,
    traffic: usize,
    subscribers: usize,
    scopes: usize,
    names: usize,
}

impl ReportSize {
    /// The size of a report, read entry by entry: nothing of it is kept.
    pub(crate) fn of(report: &Report) -> Result<Self, InvalidMessage> {
        let Report { facts, below, traffic } = report;
        let (bytes, traffic) = (facts.len() + below.len(), traffic.as_ref().map_or(0, bytes::Bytes::len));
        let mut size = Self { bytes, facts: facts.len(), traffic, ..Self::default() };
        for heard in nested::of_row("report.below", below).take(MAX_REPORTED + 1) {
            size.subscribers += 1;
            let heard: Heard = nested::read("report.below", heard?)?;
            for ack in nested::of_row("heard.acks", &heard.acks).take(MAX_SCOPES + 1 - size.scopes) {
                let ack = ack?;
                size.scopes += 1;
                size.names += match ack.len() {
                    length if length > ScopeAck::MAX_PASSED_ON_BYTES => length,
                    _ => nested::read::<Ack>("heard.acks", ack)?.in_quarantine.len(),
                };
            }
            if size.scopes > MAX_SCOPES {
                break;
            }
        }
        Ok(size)
    }

    /// Whether one of this role may say so much.
    pub(crate) fn check(self, role: Role) -> Result<(), ReportTooLarge> {
        let most = if role == Role::Agent { MAX_REPORT_BYTES } else { MAX_CONSUMER_REPORT_BYTES };
        let fits = self.bytes <= most
            && self.facts <= MAX_FACTS_BYTES
            && self.traffic <= MAX_TRAFFIC_BYTES
            && self.subscribers <= MAX_REPORTED
            && self.scopes <= MAX_SCOPES
            && self.names <= MAX_NAMES_BYTES;
        if fits { Ok(()) } else { Err(ReportTooLarge { size: self, most }) }
    }
}

/// A report that is larger than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the report has {size}; at most {most} bytes, {MAX_FACTS_BYTES} of them on who reports, {MAX_REPORTED} gateways in {MAX_SCOPES} \
     scopes with {MAX_NAMES_BYTES} bytes of names, and {MAX_TRAFFIC_BYTES} bytes of traffic are taken: give the region another agent"
)]
pub(crate) struct ReportTooLarge {
    size: ReportSize,
    most: usize,
}

impl fmt::Display for ReportSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, facts, traffic, subscribers, scopes, names } = self;
        write!(f, "{bytes} bytes, {facts} of them on who reports, ")?;
        write!(f, "{subscribers} gateways in {scopes} scopes with {names} bytes of names, ")?;
        write!(f, "and {traffic} bytes of traffic")
    }
}

/// An entry for a report.
pub(crate) struct Entry {
    /// When its subscriber was heard last.
    pub(crate) heard: Instant,
    /// In how many scopes it stands.
    pub(crate) scopes: usize,
    /// A `Heard`, after its length.
    pub(crate) bytes: Vec<u8>,
}

/// The row of a report. Where the entries are too many, those heard last are in the row and the others counted.
pub(crate) fn that_fit(entries: Vec<Entry>) -> Below {
    let mut latest: Vec<usize> = (0..entries.len()).collect();
    latest.sort_by_key(|index| Reverse(entries[*index].heard));
    let (mut bytes, mut scopes) = (MAX_REPORT_BYTES - MAX_FACTS_BYTES, MAX_SCOPES);
    let mut fits = |index: &usize| {
        let entry = &entries[*index];
        let left = bytes.checked_sub(entry.bytes.len()).zip(scopes.checked_sub(entry.scopes));
        (bytes, scopes) = left.unwrap_or((bytes, scopes));
        left.is_some()
    };
    let named: BTreeSet<usize> =
        latest.into_iter().take(MAX_REPORTED).take_while(|index| fits(index)).collect();
    let row: Vec<&[u8]> = named.iter().map(|index| &*entries[*index].bytes).collect();
    Below { row: row.concat().into(), left_out: (entries.len() - named.len()) as u64 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prost::Message as _;

    use super::*;

    fn named(identity: String) -> Heard {
        Heard { identity, ..Default::default() }
    }

    fn accepted(report: Report) -> Result<(), ReportTooLarge> {
        ReportSize::of(&report).unwrap().check(Role::Agent)
    }

    fn on(subscribers: &[Heard]) -> Report {
        Report { below: nested::in_a_row(subscribers), ..Default::default() }
    }

    #[test]
    fn those_heard_last_are_named_in_order_and_the_others_counted() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let entry = |heard, of: Heard| {
            let scopes = nested::of_row("acks", &of.acks).count();
            Entry { heard, scopes, bytes: of.encode_length_delimited_to_vec() }
        };
        let large = |letter: &str| named(letter.repeat(MAX_REPORT_BYTES / 3));
        let below =
            that_fit(vec![entry(at(3), large("a")), entry(at(1), large("b")), entry(at(2), large("c"))]);
        assert_eq!((&below.row, below.left_out), (&on(&[large("a"), large("c")]).below, 1));
        assert!(below.row.len() <= MAX_REPORT_BYTES - MAX_FACTS_BYTES);
        let small = |count: usize| (0..count).map(|n| entry(start, named(n.to_string()))).collect();
        assert_eq!(that_fit(small(MAX_REPORTED)).left_out, 0);
        let many = that_fit(small(MAX_REPORTED + 7));
        assert_eq!((nested::of_row("row", &many.row).count(), many.left_out), (MAX_REPORTED, 7));
        let facts = vec![0; MAX_FACTS_BYTES].into();
        accepted(Report { facts, below: many.row, ..Default::default() })
            .expect("what a node makes another takes");
        // A thousand gateways that subscribed to 41 scopes each and acknowledged none yet.
        let in_scopes = Heard { acks: vec![0; 41].into(), ..Default::default() };
        let below = that_fit((0..1_000).map(|_| entry(start, in_scopes.clone())).collect());
        assert_eq!(below.left_out, 1_000 - (MAX_SCOPES / 41) as u64);
        accepted(Report { below: below.row, ..Default::default() }).expect("what a node makes another takes");
    }

    #[test]
    fn a_report_is_taken_whole_or_not_at_all() {
        let refused = accepted(on(&[named("x".repeat(MAX_REPORT_BYTES))])).unwrap_err().to_string();
        assert!(
            refused.contains("at most 4194304 bytes") && refused.contains("10000 gateways in"),
            "{refused}"
        );
        accepted(on(&[named("x".repeat(MAX_REPORT_BYTES - 100))])).unwrap();
        accepted(on(&vec![named(String::new()); MAX_REPORTED])).unwrap();
        accepted(on(&vec![named(String::new()); MAX_REPORTED + 1])).unwrap_err();
        let of_itself = |bytes| Report { facts: vec![0; bytes].into(), ..Default::default() };
        accepted(of_itself(MAX_FACTS_BYTES)).unwrap();
        accepted(of_itself(MAX_FACTS_BYTES + 1)).unwrap_err();
        let of_gateway = |bytes| ReportSize::of(&of_itself(bytes)).unwrap().check(Role::Gateway);
        of_gateway(MAX_CONSUMER_REPORT_BYTES).unwrap();
        of_gateway(MAX_CONSUMER_REPORT_BYTES + 1).unwrap_err();
        let busy =
            |bytes| Report { traffic: Some(vec![0; bytes].into()), ..of_itself(MAX_CONSUMER_REPORT_BYTES) };
        let of_gateway = |bytes| ReportSize::of(&busy(bytes)).unwrap().check(Role::Gateway);
        of_gateway(MAX_TRAFFIC_BYTES).unwrap();
        let refused = of_gateway(MAX_TRAFFIC_BYTES + 1).unwrap_err().to_string();
        assert!(refused.contains("and 32769 bytes of traffic; at most"), "{refused}");
    }

    /// As large as a message may be, and of nothing but empty entries: a million gateways, or a million scopes of one.
    #[test]
    fn what_is_small_on_the_wire_and_large_in_memory_is_refused() {
        let empty = || vec![0; MAX_REPORT_BYTES - 100];
        let size = ReportSize::of(&Report { below: empty().into(), ..Default::default() }).unwrap();
        assert_eq!(size.subscribers, MAX_REPORTED + 1, "the rest is not read");
        size.check(Role::Agent).unwrap_err();
        let in_scopes = |count| on(&[Heard { acks: vec![0; count].into(), ..Default::default() }]);
        accepted(in_scopes(MAX_SCOPES)).unwrap();
        let refused = accepted(in_scopes(MAX_SCOPES + 1)).unwrap_err().to_string();
        assert!(refused.contains("in 40001 scopes"), "{refused}");
        accepted(in_scopes(empty().len())).unwrap_err();
        let with_names = |bytes: usize| {
            let half = |bytes| Ack { in_quarantine: vec![0; bytes].into(), ..Default::default() };
            let acks = nested::in_a_row(&[half(bytes / 2), half(bytes - bytes / 2)]);
            on(&[Heard { acks, ..Default::default() }])
        };
        accepted(with_names(MAX_NAMES_BYTES)).unwrap();
        accepted(with_names(MAX_NAMES_BYTES + 1)).unwrap_err();
        ReportSize::of(&Report { below: vec![9].into(), ..Default::default() }).unwrap_err();
    }
}
