//! UPDATE (RFC 2136): changes of a zone at its primary, all or none, under conditions.

use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, Name, RData, Record, RecordType},
};

use crate::{EncodeError, Reply, message, request::Request, tsig::Key};

/// What has to be true at the primary before anything is changed (§2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prerequisite {
    /// The RRset has exactly these values, compared without TTL and order (§2.4.2). One value at least:
    /// [`EncodeError::NoValues`](crate::EncodeError::NoValues).
    RrsetIs {
        /// Its name.
        name: Name,
        /// Its values, of one type.
        values: Vec<RData>,
    },
    /// There is no such RRset (§2.4.3).
    NoRrset {
        /// Its name.
        name: Name,
        /// Its type.
        record_type: RecordType,
    },
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
    ///
    /// Fails for a record that cannot be encoded, for records that do not fit into 64 KiB, and for a prerequisite without values.
    pub fn request(&self, key: Option<&Key>, now: u64) -> Result<Request, EncodeError> {
        let prerequisites: Vec<_> =
            self.prerequisites.iter().map(Prerequisite::records).collect::<Result<_, _>>()?;
        let changes: Vec<Record> = self.changes.iter().map(Change::record).collect();
        let sections = [&prerequisites.concat()[..], &changes[..]];
        Request::new((message::UPDATE, 0), &self.zone, RecordType::SOA, sections, None, key, now)
    }
}

impl Prerequisite {
    fn records(&self) -> Result<Vec<Record>, EncodeError> {
        match self {
            // Their class is that of the zone.
            Self::RrsetIs { name, values } if !values.is_empty() => {
                Ok(values.iter().map(|value| Record::from_rdata(name.clone(), 0, value.clone())).collect())
            }
            Self::RrsetIs { name, .. } => Err(EncodeError::NoValues { name: name.clone() }),
            Self::NoRrset { name, record_type } => Ok(vec![empty(name, *record_type, DNSClass::NONE)]),
        }
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

/// The response code of the reply to an [`Update`] (§2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The changes are made.
    NoError,
    /// Nothing was changed: an RRset is not as [`Prerequisite::RrsetIs`] says. Read the records again.
    NxRrset,
    /// Nothing was changed: there is an RRset that [`Prerequisite::NoRrset`] excludes. Read the records again.
    YxRrset,
    /// Nothing was changed, for another reason. REFUSED: the primary does not let this key write here. NOTAUTH: the server is no primary of
    /// the zone. NOTZONE: a name is not in the zone.
    Error(ResponseCode),
}

impl Outcome {
    /// What a reply says (§2.2, §3.8).
    pub fn of(reply: &Reply) -> Self {
        match reply.code {
            ResponseCode::NoError => Self::NoError,
            ResponseCode::NXRRSet => Self::NxRrset,
            ResponseCode::YXRRSet => Self::YxRrset,
            // NXDOMAIN and YXDOMAIN are of prerequisites about names, which are not sent.
            other => Self::Error(other),
        }
    }
}

#[cfg(test)]
mod tests;
