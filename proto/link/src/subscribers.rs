//! What a publisher knows of its subscribers. Soft state: nothing of it outlives the process.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use hanse_proto::sync::{Ack, Report, ScopeStatus, SubscriberStatus};
use hanse_sync::{Position, Quarantine};
use hanse_topology::ScopeId;
use hanse_transport::Identity;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::watch;

/// A subscriber not heard for so long has no lease: writes do not wait for it. Fifteen missed proofs of life.
pub const LEASE: Duration = Duration::from_secs(15);
/// How much of a report names what is in quarantine, in octets: a thousand names, and a small part of what a message may
/// carry, also where a control node passes on the reports of all its agents.
const REPORTED_NAMES_BYTES: usize = 256 << 10;
/// How long one that left stays listed, so that people see what is missing.
const KEEP_ABSENT: Duration = Duration::from_secs(3600);

/// What a subscriber acknowledged of one scope.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScopeAck {
    /// In use.
    pub effective: Option<Position>,
    /// Survives its restart.
    pub durable: Option<Position>,
    /// What of it is not in use as received.
    pub quarantine: Quarantine,
}

impl ScopeAck {
    /// As the subscriber says it.
    pub(crate) fn to_message(&self, scope: &ScopeId) -> Ack {
        Ack {
            scope: scope.to_string(),
            effective: self.effective.map(Into::into),
            durable: self.durable.map(Into::into),
            quarantined: self.quarantine.named().to_vec(),
            quarantined_total: self.quarantine.total(),
            quarantined_digests: self.quarantine.digests(),
        }
    }

    /// As whoever heard it reports it.
    pub fn to_status(&self, scope: &ScopeId) -> ScopeStatus {
        ScopeStatus {
            scope: scope.to_string(),
            effective: self.effective.map(Into::into),
            durable: self.durable.map(Into::into),
            quarantined: self.quarantine.named().to_vec(),
            quarantined_total: self.quarantine.total(),
        }
    }
}

/// What is known of one subscriber.
#[derive(Debug, Clone)]
pub struct SubscriberRecord {
    /// Who it is.
    pub identity: Identity,
    /// Whether it has a stream open.
    pub connected: bool,
    /// When its last message came.
    pub last_heard: Instant,
    /// What it acknowledged.
    pub scopes: BTreeMap<ScopeId, ScopeAck>,
    /// Its last report and when it came.
    pub report: Option<(Report, Instant)>,
}

impl SubscriberRecord {
    /// Whether it was heard within its lease, as seen at `now`.
    pub fn is_live(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_heard) < LEASE
    }
}

/// The subscribers of a node, by identity. Cloning shares the table.
#[derive(Clone)]
pub struct Subscribers(Arc<Table>);

struct Table {
    records: Mutex<Records>,
    version: watch::Sender<u64>,
}

#[derive(Default)]
struct Records {
    by_identity: BTreeMap<Identity, Row>,
    streams: u64,
}

struct Row {
    record: SubscriberRecord,
    /// The latest stream. An older one that ends late changes nothing.
    stream: u64,
}

impl Default for Subscribers {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Subscribers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.snapshot()).finish()
    }
}

impl Subscribers {
    /// An empty table.
    pub fn new() -> Self {
        Self(Arc::new(Table { records: Mutex::default(), version: watch::Sender::new(0) }))
    }

    /// Everything known, ordered by identity.
    pub fn snapshot(&self) -> Vec<SubscriberRecord> {
        self.0.records.lock().by_identity.values().map(|row| row.record.clone()).collect()
    }

    /// Fires when somebody comes, goes, acknowledges something new or reports something new; not for proofs of life.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    /// The table as an agent reports it. When its gateways have much in quarantine, the first are named and the rest counted.
    pub fn to_report(&self, now: Instant) -> Report {
        let mut names_left = REPORTED_NAMES_BYTES;
        let mut scope_status = |(scope, ack): (&ScopeId, &ScopeAck)| {
            let mut status = ack.to_status(scope);
            let size: usize = status.quarantined.iter().map(|quarantined| quarantined.encoded_len()).sum();
            match names_left.checked_sub(size) {
                Some(left) => names_left = left,
                None => status.quarantined.clear(),
            }
            status
        };
        let subscribers = self.snapshot().into_iter().map(|record| {
            let heard = now.saturating_duration_since(record.last_heard);
            SubscriberStatus {
                name: record.identity.name.to_string(),
                role: record.identity.role.to_string(),
                region: record.identity.region.map(String::from).unwrap_or_default(),
                scopes: record.scopes.iter().map(&mut scope_status).collect(),
                heard_ms_ago: u64::try_from(heard.as_millis()).unwrap_or(u64::MAX),
                connected: record.connected,
                trust: record.report.and_then(|(report, _)| report.trust),
                key: Default::default(), // the agent adds it
            }
        });
        Report { subscribers: subscribers.collect(), ..Report::default() }
    }

    /// Notes a new stream of `identity`, which supersedes an older one. What an earlier stream acknowledged counts no
    /// more, since the process may be another; it counts as behind in those scopes. Its report stays until the next,
    /// with its age: those it speaks of did not go away. Says the stream's number.
    pub(crate) fn arrived(&self, identity: &Identity, now: Instant) -> u64 {
        let stream = {
            let mut records = self.0.records.lock();
            records.streams += 1;
            let stream = records.streams;
            let fresh = || SubscriberRecord {
                identity: identity.clone(),
                connected: true,
                last_heard: now,
                scopes: BTreeMap::new(),
                report: None,
            };
            let row = records
                .by_identity
                .entry(identity.clone())
                .or_insert_with(|| Row { record: fresh(), stream });
            row.stream = stream;
            row.record.connected = true;
            row.record.last_heard = now;
            row.record.scopes.values_mut().for_each(|ack| *ack = ScopeAck::default());
            records.by_identity.retain(|_, row| {
                row.record.connected || now.saturating_duration_since(row.record.last_heard) < KEEP_ABSENT
            });
            stream
        };
        self.tell();
        stream
    }

    /// Notes that `stream` is alive, and what it changed. `change` says whether it did.
    pub(crate) fn heard(
        &self,
        identity: &Identity,
        stream: u64,
        now: Instant,
        change: impl FnOnce(&mut SubscriberRecord) -> bool,
    ) {
        self.heard_of(identity, stream, |record| {
            record.last_heard = now;
            change(record)
        });
    }

    /// Notes what changed for `stream` without its doing. `change` says whether it did.
    pub(crate) fn heard_of(
        &self,
        identity: &Identity,
        stream: u64,
        change: impl FnOnce(&mut SubscriberRecord) -> bool,
    ) {
        let changed = match self.0.records.lock().by_identity.get_mut(identity) {
            Some(row) if row.stream == stream => change(&mut row.record),
            Some(_) | None => false,
        };
        if changed {
            self.tell();
        }
    }

    /// Notes that `stream` ended.
    pub(crate) fn left(&self, identity: &Identity, stream: u64) {
        if let Some(row) = self.0.records.lock().by_identity.get_mut(identity)
            && row.stream == stream
        {
            row.record.connected = false;
        }
        self.tell();
    }

    fn tell(&self) {
        self.0.version.send_modify(|version| *version += 1);
    }
}

#[cfg(test)]
mod tests {
    use hanse_sync::Lineage;
    use hanse_topology::Name;

    use super::*;

    fn gateway(name: &str) -> Identity {
        Identity::gateway(Name::new(name).unwrap(), Name::new("eu-west").unwrap())
    }

    fn position(revision: u64) -> Position {
        Position { lineage: Lineage { generation: 1, id: [1; 16], parent: None }, revision }
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
        let first = table.arrived(&gateway("g1"), start);
        ack(first, 5);
        let second = table.arrived(&gateway("g1"), start);
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
        let report = table.to_report(start + Duration::from_secs(2));
        assert_eq!(report.subscribers[0].heard_ms_ago, 2000);
        assert_eq!(report.subscribers[0].scopes[0].scope, "runtime/eu-west/production");
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
            let stream = table.arrived(&identity, now);
            table.heard(&identity, stream, now, |record| {
                let scope = "runtime/eu-west/production".parse().unwrap();
                let ack = ScopeAck { quarantine: quarantine.clone(), ..Default::default() };
                record.scopes.insert(scope, ack).is_none()
            });
        }
        let report = table.to_report(now);
        assert!(report.encoded_len() < 1 << 20, "{} octets", report.encoded_len());
        assert!(report.subscribers.iter().all(|status| status.scopes[0].quarantined_total == 100));
        assert_eq!(report.subscribers[0].scopes[0].quarantined.len(), 64);
    }

    #[test]
    fn leases_end_and_the_absent_are_forgotten_after_an_hour() {
        let start = Instant::now();
        let table = Subscribers::new();
        let stream = table.arrived(&gateway("g1"), start);
        table.left(&gateway("g1"), stream);
        let record = &table.snapshot()[0];
        assert!(record.is_live(start + LEASE - Duration::from_millis(1)));
        assert!(!record.is_live(start + LEASE));
        table.arrived(&gateway("g2"), start + KEEP_ABSENT - Duration::from_secs(1));
        assert_eq!(table.snapshot().len(), 2);
        table.arrived(&gateway("g2"), start + KEEP_ABSENT);
        assert_eq!(table.snapshot().len(), 1);
    }
}
