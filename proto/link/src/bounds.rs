//! How much a subscriber may say.

use std::{cmp::Reverse, collections::BTreeSet, time::Instant};

use hanse_proto::sync::{Report, SubscriberStatus, TrustStatus};
use prost::Message as _;

/// The most that a Report may take, encoded: ten thousand gateways at 400 octets each, which is one in two environments with what it
/// uses and what it keeps in each. Two such reports fit into one message between control nodes (8 MiB), so what was accepted can
/// always be passed on.
pub const MAX_REPORT_BYTES: usize = 4 << 20;
/// The most gateways that a Report may name. A control node remembers each for an hour.
pub const MAX_REPORTED: usize = 10_000;
/// The most scopes that all gateways of a report may stand in, and the most names in quarantine: four environments and one name
/// for each gateway. Empty ones take two octets and a hundred times that in memory.
const MAX_SCOPES: usize = 4 * MAX_REPORTED;
/// See [`MAX_SCOPES`].
const MAX_NAMED: usize = 4 * MAX_REPORTED;
/// The most gateways that a report may name as missing, or as revoked with their keys.
const MAX_MISSING: usize = 256;
/// Kept free in a report for what an agent adds to its gateways: names of missing ones (17 KB), of revoked ones with their
/// keys (26 KB), its own roots.
const RESERVED_BYTES: usize = 64 << 10;
/// What an entry of a report takes beside itself: a tag and a length, and the key that the agent adds to it.
const ENTRY_BYTES: usize = 48;

/// The largest message that a control node takes from an agent: a Report with its envelope.
pub const MAX_AGENT_MESSAGE_BYTES: usize = MAX_REPORT_BYTES + (64 << 10);
/// The largest message that an agent takes from a gateway: an Ack that names 64 resources of a scope at 2 KiB each, and the keys of
/// 448 more at 222 octets each, which is as long as keys get.
pub const MAX_GATEWAY_MESSAGE_BYTES: usize = 256 << 10;

/// Roots that a process may say it believes: while one takes another's place there are two or three.
const MAX_BELIEVED: usize = 16;
/// The SHA-256 of a key.
const KEY_BYTES: usize = 32;

/// A report that is larger than it may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the report has {bytes} bytes and names {subscribers} gateways in {scopes} scopes with {named} resources; at most \
     {MAX_REPORT_BYTES} bytes and {MAX_REPORTED} gateways in {MAX_SCOPES} scopes with {MAX_NAMED} resources are taken: give the \
     region another agent"
)]
pub(crate) struct ReportTooLarge {
    bytes: usize,
    subscribers: usize,
    scopes: usize,
    named: usize,
}

/// The report as it may be kept and passed on. What is said of roots and is no key is left out; so are more missing gateways than an
/// agent names.
pub(crate) fn accepted(mut report: Report) -> Result<Report, ReportTooLarge> {
    let (bytes, subscribers) = (report.encoded_len(), report.subscribers.len());
    let all_scopes = || report.subscribers.iter().flat_map(|subscriber| &subscriber.scopes);
    let scopes = all_scopes().count();
    let named = all_scopes().map(|scope| scope.quarantined.len()).sum();
    if bytes > MAX_REPORT_BYTES || subscribers > MAX_REPORTED || scopes > MAX_SCOPES || named > MAX_NAMED {
        return Err(ReportTooLarge { bytes, subscribers, scopes, named });
    }
    report.unheard.truncate(MAX_MISSING);
    report.revoked_gateways.truncate(MAX_MISSING);
    let said = report.subscribers.iter_mut().map(|subscriber| &mut subscriber.trust);
    said.chain([&mut report.trust]).flatten().for_each(bound_trust);
    Ok(report)
}

fn bound_trust(trust: &mut TrustStatus) {
    trust.believed.retain(|key| key.len() == KEY_BYTES);
    trust.believed.truncate(MAX_BELIEVED);
    if trust.shown.len() != KEY_BYTES {
        trust.shown.clear();
    }
}

/// The report on these subscribers, each with when it was heard last. Where they are too many, those heard last are named and the
/// others counted.
pub(crate) fn report_on(subscribers: Vec<(Instant, SubscriberStatus)>) -> Report {
    let mut latest: Vec<usize> = (0..subscribers.len()).collect();
    latest.sort_by_key(|index| Reverse(subscribers[*index].0));
    let mut left = MAX_REPORT_BYTES - RESERVED_BYTES;
    let mut fits = |index: &usize| {
        let size = subscribers[*index].1.encoded_len() + ENTRY_BYTES;
        let rest = left.checked_sub(size);
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    let named: BTreeSet<usize> =
        latest.into_iter().take(MAX_REPORTED).take_while(|index| fits(index)).collect();
    let left_out = (subscribers.len() - named.len()) as u64;
    let all = subscribers.into_iter().enumerate();
    let subscribers = all.filter(|(index, _)| named.contains(index)).map(|(_, (_, status))| status).collect();
    Report { subscribers, left_out, ..Report::default() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hanse_proto::sync::ScopeStatus;

    use super::*;

    fn named(name: String) -> SubscriberStatus {
        SubscriberStatus { name, ..Default::default() }
    }

    #[test]
    fn those_heard_last_are_named_in_order_and_the_others_counted() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let large = |letter: &str| named(letter.repeat(MAX_REPORT_BYTES / 3));
        let report = report_on(vec![(at(3), large("a")), (at(1), large("b")), (at(2), large("c"))]);
        let names: Vec<&str> = report.subscribers.iter().map(|status| &status.name[..1]).collect();
        assert_eq!((names, report.left_out), (vec!["a", "c"], 1));
        assert!(report.encoded_len() <= MAX_REPORT_BYTES - RESERVED_BYTES);
        let small = |count: usize| (0..count).map(|n| (start, named(n.to_string()))).collect();
        assert_eq!(report_on(small(MAX_REPORTED)).left_out, 0);
        let many = report_on(small(MAX_REPORTED + 7));
        assert_eq!((many.subscribers.len(), many.left_out), (MAX_REPORTED, 7));
        accepted(many).expect("what a node makes another takes");
    }

    #[test]
    fn a_report_is_taken_whole_or_not_at_all() {
        let of = |subscribers: Vec<SubscriberStatus>| Report { subscribers, ..Report::default() };
        let heavy = of(vec![named("x".repeat(MAX_REPORT_BYTES))]);
        let refused = accepted(heavy).unwrap_err().to_string();
        assert!(refused.contains("at most 4194304 bytes and 10000 gateways in"), "{refused}");
        accepted(of(vec![named("x".repeat(MAX_REPORT_BYTES - 100))])).unwrap();
        accepted(of(vec![named(String::new()); MAX_REPORTED + 1])).unwrap_err();
    }

    #[test]
    fn what_is_small_on_the_wire_and_large_in_memory_is_refused() {
        let scopes = |count| vec![ScopeStatus::default(); count];
        let of = |scopes| Report {
            subscribers: vec![SubscriberStatus { scopes, ..Default::default() }],
            ..Report::default()
        };
        accepted(of(scopes(MAX_SCOPES))).unwrap();
        let refused = accepted(of(scopes(MAX_SCOPES + 1))).unwrap_err().to_string();
        assert!(refused.contains("in 40001 scopes"), "{refused}");
        let named =
            ScopeStatus { quarantined: vec![Default::default(); MAX_NAMED + 1], ..Default::default() };
        accepted(of(vec![named])).unwrap_err();
        let missing = Report { unheard: vec!["g".into(); 100_000], ..Report::default() };
        assert_eq!(accepted(missing).unwrap().unheard.len(), MAX_MISSING);
    }

    #[test]
    fn what_is_no_key_is_left_out() {
        let believed = std::iter::repeat_n(vec![1; 32].into(), 100).chain([vec![1; 500].into()]);
        let trust = Some(TrustStatus { believed: believed.rev().collect(), shown: vec![1; 500].into() });
        let subscribers = vec![SubscriberStatus { trust: trust.clone(), ..Default::default() }];
        let report = accepted(Report { subscribers, trust, ..Report::default() }).unwrap();
        let bounded = TrustStatus { believed: vec![vec![1; 32].into(); MAX_BELIEVED], shown: vec![].into() };
        assert_eq!(report.trust, Some(bounded.clone()));
        assert_eq!(report.subscribers[0].trust, Some(bounded));
    }
}
