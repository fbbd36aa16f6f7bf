//! UPDATE (RFC 2136): changes of a zone at its primary, all or none, under conditions.

use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, Name, RData, Record, RecordType},
};

use crate::{Reply, message, request::Request, tsig::Key};

/// What has to be true at the primary before anything is changed (§2.4): the RRset of this name and type has exactly these values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prerequisite {
    /// The name.
    pub name: Name,
    /// The type, which the values have, too.
    pub record_type: RecordType,
    /// Compared without TTL and order (§2.4.2). None: there must be no such RRset (§2.4.3).
    pub values: Vec<RData>,
}

/// A change (§2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Deletes the RRset, if it is there (§2.5.2).
    DeleteRrset(Name, RecordType),
    /// Adds the record. One with the same value gets its TTL (§2.5.1).
    Add(Record),
}

/// Changes of one zone. The primary makes all of them in their order, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The zone at the primary.
    pub zone: Name,
    /// All of these have to be true.
    pub prerequisites: Vec<Prerequisite>,
    /// In this order.
    pub changes: Vec<Change>,
}

impl Update {
    /// The request. It is sent over TCP; `now` is in seconds since 1970.
    pub fn request(&self, key: Option<&Key>, now: u64) -> Request {
        let prerequisites: Vec<Record> = self.prerequisites.iter().flat_map(Prerequisite::records).collect();
        let changes: Vec<Record> = self.changes.iter().map(Change::record).collect();
        let sections = [&prerequisites[..], &changes[..]];
        Request::new((message::UPDATE, 0), &self.zone, RecordType::SOA, sections, None, key, now)
    }
}

impl Prerequisite {
    fn records(&self) -> Vec<Record> {
        if self.values.is_empty() {
            return vec![empty(&self.name, self.record_type, DNSClass::NONE)];
        }
        // Their class is that of the zone.
        self.values.iter().map(|value| Record::from_rdata(self.name.clone(), 0, value.clone())).collect()
    }
}

impl Change {
    fn record(&self) -> Record {
        match self {
            Self::DeleteRrset(name, record_type) => empty(name, *record_type, DNSClass::ANY),
            Self::Add(record) => record.clone(),
        }
    }
}

fn empty(name: &Name, record_type: RecordType, class: DNSClass) -> Record {
    let mut record = Record::update0(name.clone(), 0, record_type);
    record.dns_class = class;
    record
}

/// What became of an [`Update`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The changes are made.
    Done,
    /// A prerequisite is not true, so nothing was changed: read the records again.
    Overtaken,
    /// Nothing was changed, for this reason. REFUSED: the primary does not let this key write here. NOTAUTH: the server is no primary of the
    /// zone. NOTZONE: a name is not in the zone.
    Refused(ResponseCode),
}

impl Outcome {
    /// What a reply says (§2.2, §3.8).
    pub fn of(reply: &Reply) -> Self {
        match reply.code {
            ResponseCode::NoError => Self::Done,
            // NXDOMAIN and YXDOMAIN are of prerequisites about names, which are not sent.
            ResponseCode::NXRRSet | ResponseCode::YXRRSet => Self::Overtaken,
            other => Self::Refused(other),
        }
    }
}

#[cfg(test)]
mod tests;
