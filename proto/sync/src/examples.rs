//! What the tests of this crate are made of.

use std::sync::Arc;

use bytes::Bytes;
use hanse_proto::{
    nested,
    sync::{
        PublisherMessage, ScopeFacts, SubscriberMessage, begin::Kind, publisher_message, subscriber_message,
    },
};
use hanse_topology::{Lineage, Position, ScopeId};

use crate::{BootId, ContentRoot, Replica, ReplicaMap};

/// The process of every subscriber here.
pub(crate) const BOOT: BootId = BootId::new([8; 16]);

pub(crate) fn in_generation(generation: u64, revision: u64) -> Position {
    let id = [u8::try_from(generation).expect("small"); 16];
    Position { lineage: Lineage { generation, id, parent: None }, revision }
}

/// A position of the first lineage.
pub(crate) fn at(revision: u64) -> Position {
    in_generation(1, revision)
}

/// A position of another lineage of the first generation.
pub(crate) fn of_an_impostor(revision: u64) -> Position {
    Position { lineage: Lineage { generation: 1, id: [99; 16], parent: None }, revision }
}

pub(crate) fn puts(pairs: &[(&str, &str)]) -> Vec<(Arc<str>, Bytes)> {
    pairs.iter().map(|(key, value)| (Arc::from(*key), Bytes::copy_from_slice(value.as_bytes()))).collect()
}

pub(crate) fn keys(keys: &[&str]) -> Vec<Arc<str>> {
    keys.iter().map(|key| Arc::from(*key)).collect()
}

/// `runtime/r/ENVIRONMENT`.
pub(crate) fn scope(environment: &str) -> ScopeId {
    format!("runtime/r/{environment}").parse().expect("a scope")
}

/// One scope, `runtime/r/e`.
pub(crate) fn holding(replica: Replica) -> ReplicaMap {
    ReplicaMap::from([(scope("e"), replica)])
}

/// a=1 at 10, b=1 at 11, a=2 at 12, b gone at 13.
pub(crate) fn replica() -> Replica {
    let mut replica = Replica::new();
    replica.advance(at(10), puts(&[("a", "1")]), vec![]).unwrap();
    replica.advance(at(11), puts(&[("b", "1")]), vec![]).unwrap();
    replica.advance(at(12), puts(&[("a", "2")]), vec![]).unwrap();
    replica.advance(at(13), vec![], keys(&["b"])).unwrap();
    replica
}

/// The example as it was at `revision`, between 10 and 13.
pub(crate) fn replica_at(revision: u64) -> Replica {
    let content: &[_] = match revision {
        10 => &[("a", "1")],
        11 => &[("a", "1"), ("b", "1")],
        12 => &[("a", "2"), ("b", "1")],
        13 => &[("a", "2")],
        _ => panic!("the example has no {revision}"),
    };
    let mut replica = Replica::new();
    replica.replace(at(revision), puts(content)).unwrap();
    replica
}

fn point(position: Option<&hanse_proto::sync::Position>) -> String {
    match position.map(|position| Position::try_from(position).expect("well formed")) {
        None => "nowhere".to_owned(),
        Some(position) if position.lineage == at(0).lineage => position.revision.to_string(),
        Some(position) => format!("{}:{}", position.lineage.generation, position.revision),
    }
}

fn root(bytes: &[u8]) -> String {
    match bytes.len() {
        0 => "none".to_owned(),
        _ => hex::encode(&bytes[..4]),
    }
}

/// The first digits of a root, as the descriptions have them.
pub(crate) fn short(of: ContentRoot) -> String {
    root(&of.0)
}

/// A publisher's message in one line.
pub(crate) fn describe(message: &PublisherMessage) -> String {
    use publisher_message::Body;
    match message.body.as_ref().expect("a body") {
        Body::Welcome(welcome) => {
            format!("welcome to {} as of {}", welcome.scopes.join(" "), point(welcome.position.as_ref()))
        }
        Body::Begin(begin) => match begin.kind() {
            Kind::Delta => format!("delta {} to {}", begin.from, point(begin.to.as_ref())),
            Kind::Snapshot => format!("snapshot {}: {}", point(begin.to.as_ref()), begin.reason),
            Kind::Unspecified => "a transfer of no kind".to_owned(),
        },
        Body::Chunk(chunk) => {
            let upserts = chunk
                .upserts
                .iter()
                .map(|upsert| format!(" {}={}", upsert.key, String::from_utf8_lossy(&upsert.value)));
            let removals = chunk.removals.iter().map(|key| format!(" -{key}"));
            let last_good = chunk
                .last_good
                .iter()
                .map(|upsert| format!(" {}~{}", upsert.key, String::from_utf8_lossy(&upsert.value)));
            format!("chunk{}", upserts.chain(removals).chain(last_good).collect::<String>())
        }
        Body::End(end) => format!("end {} {}", point(end.to.as_ref()), root(&end.root)),
        Body::Bookmark(bookmark) => {
            let quorum = if bookmark.quorum { "" } else { " without quorum" };
            let position = point(bookmark.position.as_ref());
            format!("bookmark {position} {} age {}{quorum}", root(&bookmark.root), bookmark.as_of_age_ms)
        }
        Body::Behind(behind) => format!("behind at {}", point(behind.position.as_ref())),
        Body::Refused(refused) => format!("refused {}: {}", refused.scope, refused.reason),
        Body::Superseded(_) => "superseded".to_owned(),
        Body::Places(places) => format!("places: {}", places.rows.len()),
    }
}

/// A subscriber's message in one line.
pub(crate) fn describe_request(message: &SubscriberMessage) -> String {
    use subscriber_message::Body;
    match message.body.as_ref().expect("a body") {
        Body::Introduction(_) => "introduction".to_owned(),
        Body::Hello(hello) => {
            format!("hello {} at {} {}", hello.scope, point(hello.position.as_ref()), root(&hello.root))
        }
        Body::Ack(ack) => {
            let facts: ScopeFacts = nested::read("facts", &ack.facts).expect("facts");
            format!("ack {} {}", facts.scope, point(facts.effective.as_ref()))
        }
        Body::Report(report) => format!("report of {} octets", report.facts.len() + report.below.len()),
        Body::Leave(leave) => format!("leave {}", leave.scope),
    }
}
