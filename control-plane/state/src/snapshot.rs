//! The state at rest: a sequence of records, from which the same state is built again.

use std::sync::Arc;

use hanse_proto::{InvalidMessage, control as proto};
use hanse_topology::Name;

use crate::{
    Accepted, AuditEntry, AuditLink, AuditLog, FederationKeys, JournalEntry, Lineage, Member, Proposal,
    Resource, Revocation, Root, RootCertificate, Seat, State, UnknownVersion, Version,
    apply::IdempotentResult,
    command::wire::{all_fixed, fixed, many, version_number},
    proposal::Proposals,
    root::Roots,
};

/// Why a snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It does not begin with a header, or has several.
    #[error("the snapshot does not have exactly one header, at its beginning")]
    Header,
    /// It is of a version that this build does not know; nothing beyond its header was read.
    #[error(transparent)]
    Version(#[from] UnknownVersion),
    /// Its audit does not end as its header says.
    #[error("the audit of the snapshot does not end with the hash that its header names")]
    Audit,
    /// A record cannot be read.
    #[error("record {at} of the snapshot cannot be read")]
    Record {
        /// Which, the header being 0.
        at: usize,
        /// Why.
        #[source]
        source: InvalidMessage,
    },
}

impl State {
    /// Its records. Computed as they are taken: a clone can be written on another thread.
    pub fn to_records(&self) -> impl Iterator<Item = proto::SnapshotRecord> + '_ {
        use proto::snapshot_record::Record;
        let header = Record::Header(proto::SnapshotHeader {
            version: self.version.number(),
            release: self.version.release().to_owned(),
            lineage: self.lineage.as_ref().map(Lineage::to_proto),
            revision: self.revision,
            time_ms: self.time_ms,
            revoked_revision: self.revoked_revision,
            roots_revision: self.roots.revision,
            dropped_roots: self.roots.dropped.iter().map(|key| key.to_vec().into()).collect(),
            audit_dropped: self.audit.start().number,
            audit_start: self.audit.start().hash.to_vec().into(),
            audit_head: self.audit.head().hash.to_vec().into(),
            proposals_made: self.proposals.made,
            dns_revision: self.dns_revision,
            issuing_root: self.issuing_root().map(|key| key.to_vec()).unwrap_or_default().into(),
        });
        let resources = self.resources.values().map(|resource| Record::Resource(resource.to_proto()));
        let journal = self.journal.values().map(|entry| Record::Journal(entry.to_proto()));
        let idempotent = self.idempotent.iter().map(|(actor, key, result)| {
            Record::Idempotent(proto::IdempotentResult {
                actor: actor.to_owned(),
                key: key.to_owned(),
                time_ms: result.time_ms,
                request_digest: result.request_digest.to_vec().into(),
                key_version: result.key_version,
                outcome: Some(proto::Outcome {
                    result: Some(proto::outcome::Result::Accepted(result.accepted.to_proto())),
                }),
            })
        });
        let counters = self.api_counters.iter().map(|((organization, api), last)| {
            Record::ApiCounter(proto::ApiCounter {
                organization: organization.to_string(),
                api: api.to_string(),
                last: *last,
            })
        });
        let members = self.members.iter().map(|(identity, member)| {
            Record::Member(proto::Member {
                identity: identity.to_string(),
                token: member.token.as_ref().map(Name::to_string).unwrap_or_default(),
                key_digest: member.key_digest.to_vec().into(),
                environments: member.environments.iter().map(Name::to_string).collect(),
                node_id: member.seat.map_or(0, |seat| seat.node_id),
                forced: member.seat.is_some_and(|seat| seat.forced),
                earlier_keys: many(&member.earlier_keys),
                address: member.address.clone(),
                relay: member.relay,
            })
        });
        let revocations = self.revocations.iter().map(|(identity, revocation)| {
            Record::Revocation(proto::Revocation {
                identity: identity.to_string(),
                actor: revocation.actor.clone(),
                time_ms: revocation.time_ms,
                keys: many(&revocation.keys),
            })
        });
        let roots = self.roots().iter().map(|root| {
            Record::Root(proto::Root {
                root: Some(root.root.to_proto()),
                actor: root.actor.clone(),
                time_ms: root.time_ms,
            })
        });
        let federation_keys = self.federation_keys.to_proto().map(Record::FederationKeys);
        let audit = self.audit.stored().map(Record::Audit);
        let recorded = self.minted.iter().map(|(agent, recorded)| {
            Record::RecordedTokens(proto::RecordedTokens {
                agent: agent.to_string(),
                ids: recorded.iter().map(|(id, _)| id.to_string()).collect(),
                times_ms: recorded.iter().map(|(_, at)| *at).collect(),
            })
        });
        let proposals = self.proposals().map(|proposal| Record::Proposal(proposal.to_proto()));
        let records = std::iter::once(header)
            .chain(resources)
            .chain(journal)
            .chain(idempotent)
            .chain(counters)
            .chain(members)
            .chain(revocations)
            .chain(roots)
            .chain(federation_keys)
            .chain(audit)
            .chain(recorded)
            .chain(proposals);
        #[cfg(feature = "next")]
        let records = records.chain(self.motto_record());
        records.map(|record| proto::SnapshotRecord { record: Some(record) })
    }

    /// The state that gave these records.
    pub fn from_records(
        records: impl IntoIterator<Item = proto::SnapshotRecord>,
    ) -> Result<Self, SnapshotError> {
        let mut records = records.into_iter().enumerate();
        let header = match records.next() {
            Some((
                _,
                proto::SnapshotRecord { record: Some(proto::snapshot_record::Record::Header(header)) },
            )) => header,
            _ => return Err(SnapshotError::Header),
        };
        let audit_head = header.audit_head.clone();
        let mut state = from_header(header)?;
        for (at, record) in records {
            let invalid = |source| SnapshotError::Record { at, source };
            let record =
                record.record.ok_or_else(|| invalid(InvalidMessage::new("SnapshotRecord", "it is empty")))?;
            if matches!(record, proto::snapshot_record::Record::Header(_)) {
                return Err(SnapshotError::Header);
            }
            state.restore(record).map_err(invalid)?;
        }
        if state.audit.head().hash != *audit_head {
            return Err(SnapshotError::Audit);
        }
        state.rebuild();
        Ok(state)
    }

    fn restore(&mut self, record: proto::snapshot_record::Record) -> Result<(), InvalidMessage> {
        use proto::snapshot_record::Record;
        match record {
            Record::Header(_) => {}
            Record::Resource(resource) => self.store(Resource::from_proto(resource)?),
            Record::Journal(entry) => self.restore_journal(JournalEntry::from_proto(entry)?),
            Record::Idempotent(result) => {
                let invalid = |why: &str| InvalidMessage::new("IdempotentResult", why);
                let Some(proto::outcome::Result::Accepted(accepted)) =
                    result.outcome.and_then(|outcome| outcome.result)
                else {
                    return Err(invalid("it is not of an accepted command"));
                };
                let digest = result.request_digest.as_ref().try_into();
                let result_of_key = IdempotentResult {
                    time_ms: result.time_ms,
                    request_digest: digest.map_err(|_| invalid("its digest does not have 32 bytes"))?,
                    accepted: Accepted::from_proto(accepted)?,
                    key_version: result.key_version,
                };
                self.idempotent.insert(&result.actor, &result.key, result_of_key);
            }
            Record::ApiCounter(counter) => {
                let name = |text: &str| {
                    Name::new(text).map_err(|error| InvalidMessage::new("ApiCounter", error.to_string()))
                };
                self.api_counters.insert((name(&counter.organization)?, name(&counter.api)?), counter.last);
            }
            Record::Member(member) => {
                let invalid = |why: String| InvalidMessage::new("Member", why);
                let name = |text: &String| Name::new(text).map_err(|error| invalid(error.to_string()));
                let digest = member.key_digest.as_ref().try_into();
                let identity = member.identity.clone();
                let restored = Member {
                    token: Some(&member.token).filter(|token| !token.is_empty()).map(name).transpose()?,
                    key_digest: digest
                        .map_err(|_| invalid("its key digest does not have 32 bytes".into()))?,
                    environments: member.environments.iter().map(name).collect::<Result<_, _>>()?,
                    seat: (member.node_id != 0)
                        .then_some(Seat { node_id: member.node_id, forced: member.forced }),
                    earlier_keys: all_fixed("Member", &member.earlier_keys)?,
                    address: member.address,
                    relay: member.relay,
                };
                self.set_member(&identity, restored);
            }
            Record::Revocation(revocation) => {
                let proto::Revocation { identity, actor, time_ms, keys } = revocation;
                let keys = all_fixed("Revocation", &keys)?;
                self.revocations
                    .insert(identity.as_str().into(), Arc::new(Revocation { actor, time_ms, keys }));
            }
            Record::Root(root) => {
                let proto::Root { root, actor, time_ms } = root;
                let root = root.ok_or_else(|| InvalidMessage::new("Root", "it has no certificate"))?;
                let root = Root { root: RootCertificate::from_proto(root)?, actor, time_ms };
                Arc::make_mut(&mut self.roots).believed.push(root);
            }
            Record::FederationKeys(keys) => {
                self.federation_keys = Arc::new(FederationKeys::from_proto(keys)?);
            }
            Record::RecordedTokens(recorded) => {
                let invalid = |why: String| InvalidMessage::new("RecordedTokens", why);
                let name = |id: &String| Name::new(id).map_err(|error| invalid(error.to_string()));
                let ids = recorded.ids.iter().map(name).collect::<Result<Vec<_>, _>>()?;
                if ids.len() != recorded.times_ms.len() {
                    return Err(invalid(format!(
                        "{} names and {} times",
                        ids.len(),
                        recorded.times_ms.len()
                    )));
                }
                let recorded_at = ids.into_iter().zip(recorded.times_ms).collect();
                self.minted.insert(recorded.agent.as_str().into(), Arc::new(recorded_at));
            }
            Record::Proposal(proposal) => self.proposals.insert(Proposal::from_proto(proposal)?),
            Record::Audit(entry) => {
                let entry = AuditEntry::from_proto(entry)?;
                if entry.number != self.audit.head().number + 1 {
                    let why = format!("entry {} stands behind {}", entry.number, self.audit.head().number);
                    return Err(InvalidMessage::new("AuditEntry", why));
                }
                self.audit.push(&entry);
            }
            #[cfg(feature = "next")]
            Record::Motto(proto::Motto { motto }) => self.motto = motto,
        }
        Ok(())
    }
}

fn from_header(header: proto::SnapshotHeader) -> Result<State, SnapshotError> {
    let invalid = |source| SnapshotError::Record { at: 0, source };
    let number = version_number("SnapshotHeader", header.version).map_err(invalid)?;
    let version = Version::read(number, &header.release)?;
    let lineage = header.lineage.map(Lineage::from_proto).transpose();
    let issuing = match header.issuing_root.as_ref() {
        [] => [0; 32],
        key => fixed("SnapshotHeader", key).map_err(invalid)?,
    };
    let dropped = header.dropped_roots.iter().map(|key| fixed("SnapshotHeader", key));
    let dropped = dropped.collect::<Result<_, _>>().map_err(invalid)?;
    let start = fixed("SnapshotHeader", &header.audit_start).map_err(invalid)?;
    let start = AuditLink { number: header.audit_dropped, hash: start };
    let roots = Roots { believed: Vec::new(), issuing, dropped, revision: header.roots_revision };
    Ok(State {
        lineage: lineage.map_err(invalid)?,
        revision: header.revision,
        time_ms: header.time_ms,
        version,
        revoked_revision: header.revoked_revision,
        dns_revision: header.dns_revision,
        roots: Arc::new(roots),
        audit: AuditLog::after(start),
        proposals: Proposals::after(header.proposals_made),
        ..State::default()
    })
}

#[cfg(test)]
mod tests;
