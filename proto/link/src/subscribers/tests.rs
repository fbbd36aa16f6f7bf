use hanse_sync::Quarantine;
use hanse_topology::{Lineage, Name, Position};

use super::*;

fn gateway(name: &str) -> Identity {
    Identity::gateway(Name::new(name).unwrap(), Name::new("eu-west").unwrap())
}

fn position(revision: u64) -> Position {
    Position { lineage: Lineage { generation: 1, id: [1; 16], parent: None }, revision }
}

/// What a report says of them.
fn below(table: &Subscribers, now: Instant) -> Vec<Heard> {
    let row = Below::of(&table.snapshot(), now, |_| None).row;
    nested::of_row("below", &row).map(|heard| nested::read("heard", heard.unwrap()).unwrap()).collect()
}

fn acks(heard: &Heard) -> Vec<(ScopeId, ScopeAck)> {
    let read = |ack: &[u8]| ScopeAck::of_message(nested::read("ack", ack).unwrap()).unwrap();
    nested::of_row("acks", &heard.acks).map(|ack| read(ack.unwrap())).collect()
}

#[test]
fn a_record_follows_the_latest_stream() {
    let start = Instant::now();
    let scope: ScopeId = "runtime/eu-west/production".parse().unwrap();
    let table = Subscribers::new();
    let mut changed = table.changed();
    let ack = |stream, revision| {
        table.heard(&gateway("g1"), stream, start, |record| {
            let ack = ScopeAck { effective: Some(position(revision)), ..Default::default() };
            record.scopes.insert(scope.clone(), ack.clone()) != Some(ack)
        });
    };
    let first = table.arrived(&gateway("g1"), None, start).number;
    ack(first, 5);
    let second = table.arrived(&gateway("g1"), None, start).number;
    let effective = || table.snapshot()[0].scopes[&scope].effective;
    assert_eq!(effective(), None, "the new process has acknowledged nothing yet");
    ack(first, 6);
    assert_eq!(effective(), None);
    ack(second, 7);
    table.left(&gateway("g1"), first);
    assert!(table.snapshot()[0].connected);
    changed.mark_unchanged();
    ack(second, 7);
    assert!(!changed.has_changed().unwrap(), "a proof of life is no change");
    ack(second, 8);
    assert!(changed.has_changed().unwrap());
    table.left(&gateway("g1"), second);
    let record = &table.snapshot()[0];
    assert!(!record.connected);
    assert_eq!(effective(), Some(position(8)));
    let heard = below(&table, start + Duration::from_secs(2)).remove(0);
    assert_eq!((heard.identity.as_str(), heard.heard_ms_ago), ("g1.gateway.eu-west.hanse.internal", 2000));
    let (of, ack) = acks(&heard).remove(0);
    assert_eq!((of, ack.effective), (scope, Some(position(8))));
}

#[test]
fn the_newest_stream_ends_the_older_and_another_process_is_told_apart() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let (a, b) = (Some(BootId::new([1; 16])), Some(BootId::new([2; 16])));
    let table = Subscribers::new();
    let record = || table.snapshot().remove(0);
    let mut first = table.arrived(&gateway("g1"), a, at(0));
    let mut again = table.arrived(&gateway("g1"), a, at(1));
    assert_eq!(first.successor.try_recv(), Ok(Successor::SameProcess));
    let mut other = table.arrived(&gateway("g1"), b, at(20));
    assert_eq!(again.successor.try_recv(), Ok(Successor::AnotherProcess));
    assert_eq!((record().boot, other.twins), (b, false), "so far it may be a restart");
    // The end of an older stream touches nothing of the newer one's, and the end of the newer leaves no process unheard for good.
    table.left(&gateway("g1"), again.number);
    assert!(record().connected);
    table.heard(&gateway("g1"), other.number, at(45), |_| false);
    table.left(&gateway("g1"), other.number);
    assert!(!record().connected);
    let back = table.arrived(&gateway("g1"), a, at(51));
    assert!(record().connected && back.twins, "it was there all the time");
    assert!(other.successor.try_recv().is_err(), "it had ended by itself");
    assert!(!table.arrived(&gateway("g1"), b, at(82)).twins, "told of a moment ago");
    assert!(table.arrived(&gateway("g1"), a, at(113)).twins);
    assert_eq!(below(&table, at(113))[0].boot_id, vec![1; 16]);
}

#[test]
fn however_much_is_in_quarantine_a_report_stays_small() {
    let now = Instant::now();
    let table = Subscribers::new();
    let quarantined = |index: usize| hanse_proto::sync::Quarantined {
        key: format!("subscription/default/{index}"),
        received: vec![1; 32].into(),
        effective: vec![2; 32].into(),
        field: "plan".into(),
        reason: "x".repeat(10_000),
    };
    let quarantine = Quarantine::of((0..100).map(quarantined));
    for index in 0..1_000 {
        let identity = gateway(&format!("g{index}"));
        let stream = table.arrived(&identity, None, now).number;
        table.heard(&identity, stream, now, |record| {
            let scope = "runtime/eu-west/production".parse().unwrap();
            let ack = ScopeAck { quarantine: quarantine.clone(), ..Default::default() };
            record.scopes.insert(scope, ack).is_none()
        });
    }
    let row = Below::of(&table.snapshot(), now, |_| None).row;
    assert!(row.len() < 1 << 20, "{} octets", row.len());
    let heard = below(&table, now);
    let quarantines: Vec<Quarantine> = heard.iter().map(|heard| acks(heard).remove(0).1.quarantine).collect();
    assert!(quarantines.len() == 1_000 && quarantines.iter().all(|quarantine| quarantine.total() == 100));
    assert_eq!(quarantines[0].named().len(), 64);
    assert!(quarantines.iter().all(|quarantine| [0, 64].contains(&quarantine.named().len())));
}

#[test]
fn leases_end_and_the_absent_are_forgotten_after_an_hour() {
    let start = Instant::now();
    let table = Subscribers::new();
    let stream = table.arrived(&gateway("g1"), None, start).number;
    table.left(&gateway("g1"), stream);
    let record = &table.snapshot()[0];
    assert!(record.is_live(start + LEASE - Duration::from_millis(1)));
    assert!(!record.is_live(start + LEASE));
    table.arrived(&gateway("g2"), None, start + KEEP_ABSENT - Duration::from_secs(1));
    assert_eq!(table.snapshot().len(), 2);
    table.arrived(&gateway("g2"), None, start + KEEP_ABSENT);
    assert_eq!(table.snapshot().len(), 1);
}
