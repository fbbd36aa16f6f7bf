//! Commands and outcomes as they are sent and stored.

use bytes::Bytes;
use hanse_management::{Problem, ResourceKey, kinds::TokenRole, manifest::Restored};
use hanse_proto::{InvalidMessage, control as proto, sync};
use hanse_topology::{Labels, Name};

use super::{
    Accepted, Action, Change, ChangeResult, Command, CommandBody, JournalEntry, MintedToken, NeighbourAt,
    Origin, Outcome, ResealedValue,
};
use crate::{
    Incumbent, Lineage, RootCertificate, SeatAsked, federation_key, resource::wire::spec_from_proto,
};

impl Command {
    /// As it is sent and stored.
    pub fn to_proto(&self) -> proto::Command {
        proto::Command {
            actor: self.actor.clone(),
            request_id: self.request_id.clone(),
            time_ms: self.time_ms,
            idempotency_key: self.idempotency_key.clone().unwrap_or_default(),
            only_in_term: self.only_in_term.unwrap_or_default(),
            force_grants: self.force_grants,
            origin: self.origin.to_proto(),
            body: Some(self.body.to_proto()),
        }
    }

    /// As it was sent or stored.
    pub fn from_proto(command: proto::Command) -> Result<Self, InvalidMessage> {
        let body = command.body.ok_or_else(|| InvalidMessage::new("Command", "it has no body"))?;
        Ok(Self {
            actor: command.actor,
            request_id: command.request_id,
            time_ms: command.time_ms,
            idempotency_key: Some(command.idempotency_key).filter(|key| !key.is_empty()),
            only_in_term: Some(command.only_in_term).filter(|term| *term != 0),
            force_grants: command.force_grants,
            origin: command.origin.map(Origin::from_proto).transpose()?.unwrap_or_default(),
            body: CommandBody::from_proto(body)?,
        })
    }
}

impl Origin {
    /// `None`: it says nothing.
    pub(crate) fn to_proto(&self) -> Option<proto::Origin> {
        (*self != Self::default()).then(|| proto::Origin {
            owner: self.owner.clone(),
            role: self.role.map(|role| role.as_str().to_owned()).unwrap_or_default(),
            organization: self.organization.as_ref().map(Name::to_string).unwrap_or_default(),
            from: self.from.clone(),
            reason: self.reason.clone(),
        })
    }

    pub(crate) fn from_proto(origin: proto::Origin) -> Result<Self, InvalidMessage> {
        let invalid = |why: String| InvalidMessage::new("Origin", why);
        let role = Some(origin.role).filter(|role| !role.is_empty());
        let role =
            role.map(|role| TokenRole::parse(&role).ok_or_else(|| invalid(format!("{role:?} is no role"))));
        let organization = Some(origin.organization).filter(|name| !name.is_empty()).map(Name::new);
        Ok(Self {
            owner: origin.owner,
            role: role.transpose()?,
            organization: organization.transpose().map_err(|error| invalid(error.to_string()))?,
            from: origin.from,
            reason: origin.reason,
        })
    }
}

impl CommandBody {
    pub(crate) fn to_proto(&self) -> proto::command::Body {
        use proto::command::Body;
        match self {
            Self::Apply(changes) => {
                Body::Apply(proto::Apply { changes: changes.iter().map(Change::to_proto).collect() })
            }
            Self::UseJoinToken { token, secret_digest, joiner, key_digest, seat } => {
                let incumbent = seat.map_or(proto::Incumbent::Unspecified, |seat| seat.incumbent.to_proto());
                Body::UseJoinToken(proto::UseJoinToken {
                    token: token.to_string(),
                    secret_digest: secret_digest.to_vec().into(),
                    joiner: joiner.clone(),
                    key_digest: key_digest.to_vec().into(),
                    node_id: seat.map_or(0, |seat| seat.node_id),
                    incumbent: incumbent.into(),
                })
            }
            Self::RecordServer { identity, key_digest, node_id } => Body::RecordServer(proto::RecordServer {
                identity: identity.clone(),
                key_digest: key_digest.to_vec().into(),
                node_id: *node_id,
            }),
            Self::StartLineage(lineage) => {
                Body::StartLineage(proto::StartLineage { lineage: Some(lineage.to_proto()) })
            }
            Self::Revoke { identity, control_nodes, keys, known_keys } => Body::Revoke(proto::Revoke {
                identity: identity.clone(),
                control_nodes: control_nodes.iter().map(Name::to_string).collect(),
                keys: many(keys),
                known_keys: many(known_keys),
            }),
            Self::RefuseKeys { identity, keys } => {
                Body::RefuseKeys(proto::RefuseKeys { identity: identity.clone(), keys: many(keys) })
            }
            Self::ForgetResults => Body::ForgetResults(proto::ForgetResults {}),
            Self::Propose { changes, reason } => Body::Propose(proto::Propose {
                changes: changes.iter().map(Change::to_proto).collect(),
                reason: reason.clone(),
            }),
            Self::Approve { number, judged_ms } => {
                Body::Approve(proto::Approve { number: *number, judged_ms: *judged_ms })
            }
            Self::Reject { number, reason } => {
                Body::Reject(proto::Reject { number: *number, reason: reason.clone() })
            }
            Self::RecordMinted { agent, token } => Body::RecordMinted(proto::RecordMinted {
                agent: agent.clone(),
                token: Some(token.to_proto()),
            }),
            Self::SetNeighbours { region, agents } => Body::SetNeighbours(proto::SetNeighbours {
                region: region.to_string(),
                agents: agents.iter().map(NeighbourAt::to_proto).collect(),
            }),
            Self::DropAudit { through, hash } => {
                Body::DropAudit(proto::DropAudit { through: *through, hash: hash.to_vec().into() })
            }
            #[cfg(feature = "next")]
            Self::SetMotto(motto) => Body::SetMotto(proto::SetMotto { motto: motto.clone() }),
            Self::Finalize { version, release } => {
                Body::Finalize(proto::Finalize { version: *version, release: release.clone() })
            }
            Self::Readmit { identity } => Body::Readmit(proto::Readmit { identity: identity.clone() }),
            Self::TrustRoot { present, fresh } => Body::TrustRoot(proto::TrustRoot {
                present: Some(present.to_proto()),
                fresh: Some(fresh.to_proto()),
            }),
            Self::UseRoot(key) => Body::UseRoot(proto::UseRoot { key: key.to_vec().into() }),
            Self::DropRoot(key) => Body::DropRoot(proto::DropRoot { key: key.to_vec().into() }),
            Self::SetRecoveryKey { recovery, wrapped, replace } => {
                Body::SetRecoveryKey(proto::SetRecoveryKey {
                    recovery: Some(recovery.to_proto()),
                    wrapped: wrapped.iter().map(|wrapped| wrapped.clone().into()).collect(),
                    replace: *replace,
                })
            }
            Self::AddKey { version, digest, recipient, wrapped, maker, rotate_after } => {
                Body::AddKey(proto::AddKey {
                    version: *version,
                    digest: digest.to_vec().into(),
                    recipient: recipient.to_vec().into(),
                    wrapped: wrapped.clone().into(),
                    maker: maker.clone(),
                    rotate_after: *rotate_after,
                })
            }
            Self::UseKey { version } => Body::UseKey(proto::UseKey { version: *version }),
            Self::RotateKey => Body::RotateKey(proto::RotateKey {}),
            Self::Reseal(values) => {
                Body::Reseal(proto::Reseal { values: values.iter().map(ResealedValue::to_proto).collect() })
            }
        }
    }

    fn from_proto(body: proto::command::Body) -> Result<Self, InvalidMessage> {
        use proto::command::Body;
        Ok(match body {
            Body::Apply(apply) => {
                Self::Apply(apply.changes.into_iter().map(Change::from_proto).collect::<Result<_, _>>()?)
            }
            Body::UseJoinToken(join) => Self::UseJoinToken {
                token: Name::new(&join.token)
                    .map_err(|error| InvalidMessage::new("UseJoinToken", error.to_string()))?,
                secret_digest: fixed("UseJoinToken", &join.secret_digest)?,
                seat: (join.node_id != 0)
                    .then(|| SeatAsked { node_id: join.node_id, incumbent: join.incumbent().into() }),
                joiner: join.joiner,
                key_digest: fixed("UseJoinToken", &join.key_digest)?,
            },
            Body::RecordServer(record) => Self::RecordServer {
                identity: record.identity,
                key_digest: fixed("RecordServer", &record.key_digest)?,
                node_id: record.node_id,
            },
            Body::StartLineage(start) => Self::StartLineage(Lineage::from_proto(
                start.lineage.ok_or_else(|| InvalidMessage::new("StartLineage", "it has no lineage"))?,
            )?),
            Body::Revoke(revoke) => Self::Revoke {
                identity: revoke.identity,
                control_nodes: revoke
                    .control_nodes
                    .iter()
                    .map(Name::new)
                    .collect::<Result<_, _>>()
                    .map_err(|error| InvalidMessage::new("Revoke", error.to_string()))?,
                keys: all_fixed("Revoke", &revoke.keys)?,
                known_keys: all_fixed("Revoke", &revoke.known_keys)?,
            },
            Body::RefuseKeys(refuse) => {
                Self::RefuseKeys { identity: refuse.identity, keys: all_fixed("RefuseKeys", &refuse.keys)? }
            }
            Body::ForgetResults(proto::ForgetResults {}) => Self::ForgetResults,
            Body::Propose(propose) => Self::Propose {
                changes: propose.changes.into_iter().map(Change::from_proto).collect::<Result<_, _>>()?,
                reason: propose.reason,
            },
            Body::Approve(proto::Approve { number, judged_ms }) => Self::Approve { number, judged_ms },
            Body::Reject(proto::Reject { number, reason }) => Self::Reject { number, reason },
            Body::RecordMinted(minted) => {
                let missing = || InvalidMessage::new("RecordMinted", "it has no token");
                let token = MintedToken::from_proto(minted.token.ok_or_else(missing)?)?;
                Self::RecordMinted { agent: minted.agent, token }
            }
            Body::SetNeighbours(set) => Self::SetNeighbours {
                region: Name::new(&set.region)
                    .map_err(|error| InvalidMessage::new("SetNeighbours", error.to_string()))?,
                agents: set.agents.into_iter().map(NeighbourAt::from_proto).collect::<Result<_, _>>()?,
            },
            Body::DropAudit(drop) => {
                Self::DropAudit { through: drop.through, hash: fixed("DropAudit", &drop.hash)? }
            }
            Body::Finalize(proto::Finalize { version, release }) => {
                Self::Finalize { version: version_number("Finalize", version)?, release }
            }
            #[cfg(feature = "next")]
            Body::SetMotto(proto::SetMotto { motto }) => Self::SetMotto(motto),
            Body::Readmit(readmit) => Self::Readmit { identity: readmit.identity },
            Body::TrustRoot(trust) => {
                let missing = || InvalidMessage::new("TrustRoot", "it lacks one of its two roots");
                Self::TrustRoot {
                    present: RootCertificate::from_proto(trust.present.ok_or_else(missing)?)?,
                    fresh: RootCertificate::from_proto(trust.fresh.ok_or_else(missing)?)?,
                }
            }
            Body::UseRoot(wanted) => Self::UseRoot(fixed("UseRoot", &wanted.key)?),
            Body::DropRoot(wanted) => Self::DropRoot(fixed("DropRoot", &wanted.key)?),
            Body::SetRecoveryKey(set) => federation_key::wire::set_recovery_key(set)?,
            Body::AddKey(add) => federation_key::wire::add_key(add)?,
            Body::UseKey(proto::UseKey { version }) => Self::UseKey { version },
            Body::RotateKey(proto::RotateKey {}) => Self::RotateKey,
            Body::Reseal(reseal) => Self::Reseal(
                reseal.values.into_iter().map(ResealedValue::from_proto).collect::<Result<_, _>>()?,
            ),
        })
    }
}

impl NeighbourAt {
    fn to_proto(&self) -> proto::NeighbourAt {
        proto::NeighbourAt { name: self.name.to_string(), address: self.address.clone(), relay: self.relay }
    }

    fn from_proto(agent: proto::NeighbourAt) -> Result<Self, InvalidMessage> {
        let proto::NeighbourAt { name, address, relay } = agent;
        let name = Name::new(&name).map_err(|error| InvalidMessage::new("NeighbourAt", error.to_string()))?;
        Ok(Self { name, address, relay })
    }
}

impl MintedToken {
    fn to_proto(&self) -> sync::MintedToken {
        sync::MintedToken {
            id: self.id.to_string(),
            minted_at: self.minted_at,
            role: self.role.clone(),
            environments: self.environments.iter().map(Name::to_string).collect(),
            environments_total: self.environments_total,
        }
    }

    /// As an agent said it.
    pub fn from_proto(token: sync::MintedToken) -> Result<Self, InvalidMessage> {
        let name = |text: &String| {
            Name::new(text).map_err(|error| InvalidMessage::new("MintedToken", error.to_string()))
        };
        Ok(Self {
            id: name(&token.id)?,
            minted_at: token.minted_at,
            role: token.role,
            environments: token.environments.iter().map(name).collect::<Result<_, _>>()?,
            environments_total: token.environments_total,
        })
    }
}

impl Incumbent {
    fn to_proto(self) -> proto::Incumbent {
        match self {
            Self::Unknown => proto::Incumbent::Unspecified,
            Self::None => proto::Incumbent::None,
            Self::Silent => proto::Incumbent::Silent,
            Self::Heard => proto::Incumbent::Heard,
        }
    }
}

impl From<proto::Incumbent> for Incumbent {
    fn from(incumbent: proto::Incumbent) -> Self {
        match incumbent {
            proto::Incumbent::Unspecified => Self::Unknown,
            proto::Incumbent::None => Self::None,
            proto::Incumbent::Silent => Self::Silent,
            proto::Incumbent::Heard => Self::Heard,
        }
    }
}

impl RootCertificate {
    pub(crate) fn to_proto(&self) -> proto::RootCertificate {
        proto::RootCertificate {
            key: self.key.to_vec().into(),
            certificate: self.certificate.clone().into(),
            endorsement: self.endorsement.clone().into(),
        }
    }

    pub(crate) fn from_proto(root: proto::RootCertificate) -> Result<Self, InvalidMessage> {
        let (certificate, endorsement) = (root.certificate.to_vec(), root.endorsement.to_vec());
        Ok(Self { key: fixed("RootCertificate", &root.key)?, certificate, endorsement })
    }
}

impl Change {
    pub(crate) fn to_proto(&self) -> proto::Change {
        use proto::change::Action as Wire;
        let action = match &self.action {
            Action::Put { labels, spec, protected } => Wire::Put(proto::Put {
                labels: labels.0.clone(),
                spec: spec.to_json_bytes().into(),
                protected: *protected,
                restored: None,
            }),
            Action::Restore { labels, spec, protected, restored } => Wire::Put(proto::Put {
                labels: labels.0.clone(),
                spec: spec.to_json_bytes().into(),
                protected: Some(*protected),
                restored: Some(proto::Restored {
                    api_revision: restored.api_revision,
                    served: restored.served.clone(),
                }),
            }),
            Action::Delete { cascade } => Wire::Delete(proto::Delete { cascade: *cascade }),
            Action::Expect { api_revision } => Wire::Expect(proto::Expect { api_revision: *api_revision }),
        };
        proto::Change { key: Some(self.key.to_proto()), action: Some(action), if_revision: self.if_revision }
    }

    pub(crate) fn from_proto(change: proto::Change) -> Result<Self, InvalidMessage> {
        use proto::change::Action as Wire;
        let missing = |what: &str| InvalidMessage::new("Change", format!("it has no {what}"));
        let key = ResourceKey::from_proto(change.key.ok_or_else(|| missing("key"))?)?;
        let action = match change.action.ok_or_else(|| missing("action"))? {
            Wire::Put(put) => {
                let (spec, labels) = (spec_from_proto(&key, &put.spec)?, Labels(put.labels));
                match put.restored {
                    Some(proto::Restored { api_revision, served }) => Action::Restore {
                        labels,
                        spec,
                        protected: put.protected.unwrap_or_default(),
                        restored: Restored { api_revision, served },
                    },
                    None => Action::Put { labels, spec, protected: put.protected },
                }
            }
            Wire::Delete(delete) => Action::Delete { cascade: delete.cascade },
            Wire::Expect(expect) => Action::Expect { api_revision: expect.api_revision },
        };
        Ok(Self { key, action, if_revision: change.if_revision })
    }
}

impl Outcome {
    /// As it is sent and stored.
    pub fn to_proto(&self) -> proto::Outcome {
        use proto::outcome::Result as Wire;
        let result = match self {
            Self::Accepted(accepted) => Wire::Accepted(accepted.to_proto()),
            Self::Rejected(problem) => Wire::Rejected(problem.to_proto()),
        };
        proto::Outcome { result: Some(result) }
    }

    /// As it was sent or stored.
    pub fn from_proto(outcome: proto::Outcome) -> Result<Self, InvalidMessage> {
        use proto::outcome::Result as Wire;
        match outcome.result.ok_or_else(|| InvalidMessage::new("Outcome", "it has no result"))? {
            Wire::Accepted(accepted) => Accepted::from_proto(accepted).map(Self::Accepted),
            Wire::Rejected(problem) => Problem::from_proto(problem).map(Self::Rejected),
        }
    }
}

impl Accepted {
    pub(crate) fn to_proto(&self) -> proto::Accepted {
        let changes = self.changes.iter().map(|change| proto::ChangeResult {
            key: Some(change.key.to_proto()),
            action: change.action.to_owned(),
            revision: change.revision,
        });
        proto::Accepted {
            revision: self.revision,
            changes: changes.collect(),
            proposal: self.proposal.unwrap_or_default(),
        }
    }

    pub(crate) fn from_proto(accepted: proto::Accepted) -> Result<Self, InvalidMessage> {
        let changes = accepted.changes.into_iter().map(|change| {
            let invalid = |why: String| InvalidMessage::new("ChangeResult", why);
            let action = action(&change.action)
                .ok_or_else(|| invalid(format!("{:?} is not an action", change.action)))?;
            let key =
                ResourceKey::from_proto(change.key.ok_or_else(|| invalid("it has no key".to_owned()))?)?;
            Ok::<_, InvalidMessage>(ChangeResult { key, action, revision: change.revision })
        });
        Ok(Self {
            revision: accepted.revision,
            changes: changes.collect::<Result<_, _>>()?,
            proposal: Some(accepted.proposal).filter(|number| *number != 0),
        })
    }
}

/// The action that is spelled so.
pub(crate) fn action(text: &str) -> Option<&'static str> {
    ChangeResult::ACTIONS.into_iter().find(|action| *action == text)
}

impl JournalEntry {
    pub(crate) fn to_proto(&self) -> proto::JournalEntry {
        proto::JournalEntry {
            revision: self.revision,
            time_ms: self.time_ms,
            keys: self.keys.iter().map(ResourceKey::to_proto).collect(),
        }
    }

    pub(crate) fn from_proto(entry: proto::JournalEntry) -> Result<Self, InvalidMessage> {
        let keys = entry.keys.into_iter().map(ResourceKey::from_proto).collect::<Result<_, _>>()?;
        Ok(Self { revision: entry.revision, time_ms: entry.time_ms, keys })
    }
}

impl Lineage {
    /// As it is sent and stored.
    pub fn to_proto(&self) -> sync::Lineage {
        let (parent_id, parent_revision) = match &self.parent {
            Some((id, revision)) => (id.to_vec(), *revision),
            None => (Vec::new(), 0),
        };
        sync::Lineage {
            generation: self.generation,
            id: self.id.to_vec().into(),
            parent_id: parent_id.into(),
            parent_revision,
        }
    }

    /// As it was sent or stored.
    pub fn from_proto(lineage: sync::Lineage) -> Result<Self, InvalidMessage> {
        let parent = match lineage.parent_id.as_ref() {
            [] => None,
            id => Some((fixed("Lineage", id)?, lineage.parent_revision)),
        };
        Ok(Self { generation: lineage.generation, id: fixed("Lineage", &lineage.id)?, parent })
    }
}

/// Digests as they are sent and stored.
pub(crate) fn many(digests: &[[u8; 32]]) -> Vec<Bytes> {
    digests.iter().map(|digest| digest.to_vec().into()).collect()
}

/// Digests as they were sent or stored.
pub(crate) fn all_fixed(message: &'static str, digests: &[Bytes]) -> Result<Vec<[u8; 32]>, InvalidMessage> {
    digests.iter().map(|digest| fixed(message, digest)).collect()
}

/// A version's number as it was sent or stored: from 1 on.
pub(crate) fn version_number(message: &'static str, number: u32) -> Result<u32, InvalidMessage> {
    if number == 0 { Err(InvalidMessage::new(message, "it has no version")) } else { Ok(number) }
}

pub(crate) fn fixed<const N: usize>(message: &'static str, bytes: &[u8]) -> Result<[u8; N], InvalidMessage> {
    bytes
        .try_into()
        .map_err(|_| InvalidMessage::new(message, format!("{} bytes instead of {N}", bytes.len())))
}
