//! What a subscriber says of itself in one scope.

use bytes::Bytes;
use hanse_proto::{
    InvalidMessage, nested,
    sync::{self, Ack, InQuarantine, ScopeFacts},
};
use hanse_topology::{Position, ScopeId};

use crate::Quarantine;

/// The most that facts of one scope may take, in octets: five times what they take. They go up as received, unknown fields included.
const MAX_FACTS_BYTES: usize = 1 << 10;
/// The most that names of what is in quarantine may take: 64 at 2 KiB each, and their lengths.
const MAX_IN_QUARANTINE_BYTES: usize = 160 << 10;

/// What a subscriber acknowledged of one scope.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScopeAck {
    /// In use.
    pub effective: Option<Position>,
    /// Survives its restart.
    pub durable: Option<Position>,
    /// What of it is not in use as received.
    pub quarantine: Quarantine,
    /// As received, to be passed on: without the keys, which are for the publisher that hears them alone. `None`: it did not come in
    /// a message.
    pub said: Option<Ack>,
}

impl ScopeAck {
    /// The most that one takes, encoded, as it is passed on.
    pub const MAX_PASSED_ON_BYTES: usize = MAX_FACTS_BYTES + MAX_IN_QUARANTINE_BYTES + 16;

    /// Reads what came, and keeps it. Only the scope must be readable. A position that is not readable counts as none: the subscriber is
    /// behind. Names that are too long or not readable are left out, and their number stays. Facts that are too long are not passed on
    /// as received.
    pub fn of_message(ack: Ack) -> Result<(ScopeId, Self), InvalidMessage> {
        let Ack { facts, in_quarantine, quarantined_keys } = ack;
        let read: ScopeFacts = nested::read("ack.facts", &facts)?;
        let named = (in_quarantine.len() <= MAX_IN_QUARANTINE_BYTES)
            .then(|| nested::read::<InQuarantine>("ack.in_quarantine", &in_quarantine).ok())
            .flatten();
        // Copied: what is kept must not keep the buffer it came in.
        let in_quarantine = named.as_ref().map(|_| Bytes::copy_from_slice(&in_quarantine));
        let said = (facts.len() <= MAX_FACTS_BYTES).then(|| Ack {
            facts: Bytes::copy_from_slice(&facts),
            in_quarantine: in_quarantine.unwrap_or_default(),
            quarantined_keys: Vec::new(),
        });
        let position = |said: Option<&sync::Position>| said.and_then(|said| Position::try_from(said).ok());
        let named = named.unwrap_or_default().named;
        let ack = Self {
            effective: position(read.effective.as_ref()),
            durable: position(read.durable.as_ref()),
            quarantine: Quarantine::received(named, read.quarantined_total, quarantined_keys),
            said,
        };
        Ok((read.scope.parse()?, ack))
    }

    /// As it came, or as this node says it.
    pub fn to_message(&self, scope: &ScopeId) -> Ack {
        self.said.clone().unwrap_or_else(|| {
            let facts = ScopeFacts {
                scope: scope.to_string(),
                effective: self.effective.map(Into::into),
                durable: self.durable.map(Into::into),
                quarantined_total: self.quarantine.total(),
            };
            let in_quarantine = InQuarantine { named: self.quarantine.named().to_vec() };
            Ack {
                facts: nested::to_bytes(&facts),
                in_quarantine: nested::to_bytes(&in_quarantine),
                quarantined_keys: self.quarantine.others().to_vec(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use hanse_proto::sync::Quarantined;
    use hanse_topology::Lineage;

    use super::*;

    #[test]
    fn what_came_is_read_and_goes_on_as_it_came() {
        let scope: ScopeId = "runtime/r/e".parse().unwrap();
        let quarantined = (0..100).map(|n| Quarantined { key: format!("plan/o/{n}"), ..Default::default() });
        let lineage = Lineage { generation: 1, id: [1; 16], parent: None };
        let own = ScopeAck {
            effective: Some(Position { lineage, revision: 4 }),
            quarantine: Quarantine::of(quarantined),
            ..ScopeAck::default()
        };
        let mut ack = own.to_message(&scope);
        ack.facts = [&ack.facts[..], b"\xfa\x07\x01x"].concat().into(); // field 127, which is not known here
        let (read_scope, read) = ScopeAck::of_message(ack.clone()).unwrap();
        assert_eq!((&read_scope, &ScopeAck { said: None, ..read.clone() }), (&scope, &own));
        assert_eq!(read.to_message(&scope), Ack { quarantined_keys: Vec::new(), ..ack });
    }

    #[test]
    fn what_cannot_be_read_or_is_too_much_to_pass_on_is_left_out() {
        let of = |facts: Vec<u8>, in_quarantine: Vec<u8>| {
            ScopeAck::of_message(Ack {
                facts: facts.into(),
                in_quarantine: in_quarantine.into(),
                ..Ack::default()
            })
        };
        let facts = ScopeFacts { scope: "runtime/r/e".into(), quarantined_total: 3, ..Default::default() };
        let facts = nested::to_bytes(&facts).to_vec();
        let damaged = sync::Position::default();
        let damaged =
            ScopeFacts { scope: "runtime/r/e".into(), effective: Some(damaged), ..Default::default() };
        assert_eq!(
            of(nested::to_bytes(&damaged).to_vec(), vec![]).unwrap().1.effective,
            None,
            "it is behind"
        );
        assert!(of(vec![], vec![]).is_err(), "there is no scope");
        assert!(of(vec![0xff], vec![]).is_err());
        // An unknown field of so many bytes.
        let unknown = |bytes: usize| {
            let mut field = vec![0xfa, 0x07, (bytes & 0x7f) as u8 | 0x80, (bytes >> 7 & 0x7f) as u8 | 0x80];
            field.push((bytes >> 14) as u8);
            field.extend(vec![0; bytes]);
            field
        };
        let said = |facts: Vec<u8>, in_quarantine: Vec<u8>| {
            let (_, read) = of(facts, in_quarantine).unwrap();
            assert_eq!(read.quarantine.total(), 3);
            read.said.map(|said| (said.facts.len(), said.in_quarantine.len()))
        };
        let (length, long) = (facts.len(), unknown(MAX_IN_QUARANTINE_BYTES));
        assert_eq!(said(facts.clone(), vec![0xff]), Some((length, 0)));
        assert_eq!(said(facts.clone(), long), Some((length, 0)));
        let (more, names) = ([facts.clone(), unknown(900)].concat(), unknown(100 << 10));
        assert_eq!(said(more.clone(), names.clone()), Some((more.len(), names.len())));
        let most = Ack { facts: vec![0; MAX_FACTS_BYTES].into(), ..Ack::default() };
        let most = Ack { in_quarantine: vec![0; MAX_IN_QUARANTINE_BYTES].into(), ..most };
        assert!(nested::to_bytes(&most).len() <= ScopeAck::MAX_PASSED_ON_BYTES);
        assert_eq!(said([facts, unknown(MAX_FACTS_BYTES)].concat(), vec![]), None);
    }
}
