//! What a subscriber says of itself in one scope.

use bytes::Bytes;
use hanse_proto::{
    InvalidMessage, nested,
    sync::{Ack, InQuarantine, ScopeFacts},
};
use hanse_topology::{Position, ScopeId};

use crate::Quarantine;

/// The most that facts of one scope may take, in octets: five times what they take. They go up as received, whatever is in them.
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
    /// Reads what came, and keeps it.
    pub fn of_message(ack: Ack) -> Result<(ScopeId, Self), InvalidMessage> {
        let Ack { facts, in_quarantine, quarantined_keys } = ack;
        bounded("ack.facts", &facts, MAX_FACTS_BYTES)?;
        bounded("ack.in_quarantine", &in_quarantine, MAX_IN_QUARANTINE_BYTES)?;
        let said: ScopeFacts = nested::read("ack.facts", &facts)?;
        let named = nested::read::<InQuarantine>("ack.in_quarantine", &in_quarantine)?.named;
        let read = Self {
            effective: said.effective.as_ref().map(Position::try_from).transpose()?,
            durable: said.durable.as_ref().map(Position::try_from).transpose()?,
            quarantine: Quarantine::received(named, said.quarantined_total, quarantined_keys),
            // Copied: what is kept must not keep the buffer it came in.
            said: Some(Ack {
                facts: Bytes::copy_from_slice(&facts),
                in_quarantine: Bytes::copy_from_slice(&in_quarantine),
                quarantined_keys: Vec::new(),
            }),
        };
        Ok((said.scope.parse()?, read))
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

fn bounded(name: &'static str, bytes: &[u8], most: usize) -> Result<(), InvalidMessage> {
    match bytes.len() {
        length if length <= most => Ok(()),
        length => Err(InvalidMessage::new(name, format!("it takes {length} bytes; at most {most} are read"))),
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
    fn what_cannot_be_read_or_is_too_much_to_pass_on_is_refused() {
        let of = |facts: Vec<u8>, in_quarantine: Vec<u8>| {
            let ack = Ack { facts: facts.into(), in_quarantine: in_quarantine.into(), ..Default::default() };
            ScopeAck::of_message(ack).map(|(scope, _)| scope.to_string())
        };
        let facts = nested::to_bytes(&ScopeFacts { scope: "runtime/r/e".into(), ..Default::default() });
        assert_eq!(of(facts.to_vec(), vec![]).unwrap(), "runtime/r/e");
        assert!(of(vec![], vec![]).is_err(), "there is no scope");
        assert!(of(vec![0xff], vec![]).is_err());
        assert!(of(facts.to_vec(), vec![0xff]).is_err());
        // An unknown field of so many bytes.
        let unknown = |bytes: usize| {
            let mut field = vec![0xfa, 0x07, (bytes & 0x7f) as u8 | 0x80, (bytes >> 7 & 0x7f) as u8 | 0x80];
            field.push((bytes >> 14) as u8);
            field.extend(vec![0; bytes]);
            field
        };
        of([facts.to_vec(), unknown(900)].concat(), unknown(100 << 10)).unwrap();
        of([facts.to_vec(), unknown(MAX_FACTS_BYTES)].concat(), vec![]).unwrap_err();
        of(facts.to_vec(), unknown(MAX_IN_QUARANTINE_BYTES)).unwrap_err();
    }
}
