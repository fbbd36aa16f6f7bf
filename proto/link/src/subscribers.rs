//! What a publisher knows of its subscribers. Soft state: nothing of it outlives the process.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hanse_identity::KeyDigest;
use hanse_proto::{
    nested,
    sync::{Ack, Heard, Report},
};
use hanse_sync::{BootId, Boots, ScopeAck};
use hanse_topology::{Identity, LEASE, ScopeId};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::{oneshot, watch};

use crate::bounds::{self, MAX_NAMES_BYTES};

/// Twins that take turns are told of again after so long: once for each few of their turns.
const TOLD_AGAIN: Duration = Duration::from_secs(60);
/// How long one that left stays listed, so that people see what is missing.
const KEEP_ABSENT: Duration = Duration::from_secs(3600);

/// What is known of one subscriber.
#[derive(Debug, Clone)]
pub struct SubscriberRecord {
    /// Who it is.
    pub identity: Identity,
    /// Which process it is; `None`: it did not say.
    pub boot: Option<BootId>,
    /// Whether it has a stream open.
    pub connected: bool,
    /// When its last message came.
    pub last_heard: Instant,
    /// What it acknowledged.
    pub scopes: BTreeMap<ScopeId, ScopeAck>,
    /// Its last report, as received, and when it came.
    pub report: Option<(Report, Instant)>,
}

impl SubscriberRecord {
    /// Whether it was heard within its lease, as seen at `now`.
    pub fn is_live(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_heard) < LEASE
    }

    /// What goes up of it: what it said, as it said it. `key` is the one it joined with. What is in quarantine is named as long as there
    /// is room for `names_left` octets.
    pub fn to_heard(&self, now: Instant, key: Option<KeyDigest>, names_left: &mut usize) -> Heard {
        let ms =
            |at: Instant| u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX);
        let acks: Vec<Ack> =
            self.scopes.iter().map(|(scope, ack)| shortened(ack.to_message(scope), names_left)).collect();
        let report = self.report.as_ref();
        Heard {
            identity: self.identity.to_string(),
            connected: self.connected,
            heard_ms_ago: ms(self.last_heard),
            reported_ms_ago: report.map(|(_, came)| ms(*came)).unwrap_or_default(),
            boot_id: BootId::to_message(self.boot),
            key: key.map(|key| key.to_vec().into()).unwrap_or_default(),
            acks: nested::in_a_row(&acks),
            // Traffic ends at its hearer.
            report: report.map(|(report, _)| Report { traffic: None, ..report.clone() }),
        }
    }
}

/// An Ack as it is passed on: without names where there is no room for them, and without keys.
fn shortened(ack: Ack, names_left: &mut usize) -> Ack {
    let left = names_left.checked_sub(ack.in_quarantine.len());
    *names_left = left.unwrap_or(*names_left);
    let in_quarantine = left.map(|_| ack.in_quarantine).unwrap_or_default();
    Ack { facts: ack.facts, in_quarantine, quarantined_keys: Vec::new() }
}

/// What a node passes on of its subscribers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Below {
    /// For a [`Report`].
    pub row: Bytes,
    /// How many there was no room for: those heard longest ago.
    pub left_out: u64,
}

impl Below {
    /// What a report says of these. `key_of` gives the key that one joined with. When they have much in quarantine, that of the first is
    /// named and the rest counted.
    pub fn of(
        subscribers: &[SubscriberRecord],
        now: Instant,
        key_of: impl Fn(&Identity) -> Option<KeyDigest>,
    ) -> Self {
        let mut names_left = MAX_NAMES_BYTES;
        let heard = subscribers.iter().map(|record| {
            let heard = record.to_heard(now, key_of(&record.identity), &mut names_left);
            let (heard_at, scopes) = (record.last_heard, record.scopes.len());
            bounds::Entry { heard: heard_at, scopes, bytes: heard.encode_length_delimited_to_vec() }
        });
        bounds::that_fit(heard.collect())
    }

    /// What other agents of the region hear of these: who they are, whether they are there, and what they say of themselves. Keys and
    /// what they acknowledged are for control nodes.
    pub fn for_neighbours(subscribers: &[SubscriberRecord], now: Instant) -> Self {
        let heard = subscribers.iter().map(|record| {
            let heard = Heard { acks: Bytes::new(), ..record.to_heard(now, None, &mut 0) };
            let bytes = heard.encode_length_delimited_to_vec();
            bounds::Entry { heard: record.last_heard, scopes: 0, bytes }
        });
        bounds::that_fit(heard.collect())
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
    /// The latest stream. An older one has been told to end, and changes nothing any more.
    stream: u64,
    /// Ends that stream.
    end: Option<oneshot::Sender<Successor>>,
    /// The processes of late.
    boots: Boots,
    /// When twins were told of last.
    told: Option<Instant>,
}

impl Row {
    /// Whether two processes take turns, if that is to be told now.
    fn twins_to_tell(&mut self, now: Instant) -> bool {
        let told = |at: Instant| now.saturating_duration_since(at) < TOLD_AGAIN;
        let is_news = self.boots.twins(now).is_some() && !self.told.is_some_and(told);
        if is_news {
            self.told = Some(now);
        }
        is_news
    }
}

/// What takes a stream's place: of one identity, the newest stream is the one that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Successor {
    /// A newer stream of the same process, as far as is known.
    SameProcess,
    /// A stream of another process with the same identity.
    AnotherProcess,
}

/// A stream that counts from now on.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// Its number among the streams of this node.
    pub(crate) number: u64,
    /// Says that it counts no more, and why.
    pub(crate) successor: oneshot::Receiver<Successor>,
    /// Whether it shows that two processes have this identity.
    pub(crate) twins: bool,
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

    /// Fires when a subscriber comes, goes, acknowledges something new or reports something new; not for proofs of life.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    /// Notes a new stream of `identity`, which supersedes an older one: that is told to end at once. What an earlier stream
    /// acknowledged counts no more, since the process may be another; it counts as behind in those scopes. Its report stays until the
    /// next, with its age: those it speaks of did not go away.
    pub(crate) fn arrived(&self, identity: &Identity, boot: Option<BootId>, now: Instant) -> Arrival {
        let (end, successor) = oneshot::channel();
        let arrival = {
            let mut records = self.0.records.lock();
            records.streams += 1;
            let number = records.streams;
            let fresh = || SubscriberRecord {
                identity: identity.clone(),
                boot,
                connected: true,
                last_heard: now,
                scopes: BTreeMap::new(),
                report: None,
            };
            let row = records.by_identity.entry(identity.clone()).or_insert_with(|| Row {
                record: fresh(),
                stream: number,
                end: None,
                boots: Boots::default(),
                told: None,
            });
            let another = row.record.boot.zip(boot).is_some_and(|(before, now)| before != now);
            if let Some(earlier) = row.end.replace(end) {
                let by = if another { Successor::AnotherProcess } else { Successor::SameProcess };
                let _ = earlier.send(by); // it may have ended by itself
            }
            row.stream = number;
            row.record.boot = boot;
            row.record.connected = true;
            row.record.last_heard = now;
            row.record.scopes.values_mut().for_each(|ack| *ack = ScopeAck::default());
            boot.iter().for_each(|boot| row.boots.heard(*boot, now));
            let twins = row.twins_to_tell(now);
            records.by_identity.retain(|_, row| {
                row.record.connected || now.saturating_duration_since(row.record.last_heard) < KEEP_ABSENT
            });
            Arrival { number, successor, twins }
        };
        self.tell();
        arrival
    }

    /// Notes that `stream` is alive, and what it changed. `change` says whether it did.
    pub(crate) fn heard(
        &self,
        identity: &Identity,
        stream: u64,
        now: Instant,
        change: impl FnOnce(&mut SubscriberRecord) -> bool,
    ) {
        self.change(identity, stream, |row| {
            row.record.last_heard = now;
            row.record.boot.iter().for_each(|boot| row.boots.heard(*boot, now));
            change(&mut row.record)
        });
    }

    /// Notes what changed for `stream` without its doing. `change` says whether it did.
    pub(crate) fn heard_of(
        &self,
        identity: &Identity,
        stream: u64,
        change: impl FnOnce(&mut SubscriberRecord) -> bool,
    ) {
        self.change(identity, stream, |row| change(&mut row.record));
    }

    fn change(&self, identity: &Identity, stream: u64, change: impl FnOnce(&mut Row) -> bool) {
        let changed = match self.0.records.lock().by_identity.get_mut(identity) {
            Some(row) if row.stream == stream => change(row),
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
            row.end = None;
        }
        self.tell();
    }

    fn tell(&self) {
        self.0.version.send_modify(|version| *version += 1);
    }
}

#[cfg(test)]
mod tests;
