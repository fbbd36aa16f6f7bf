//! Entries as they are hashed, sent and stored.

use hanse_management::{ResourceKey, kinds::TokenRole};
use hanse_proto::{InvalidMessage, control as proto};
use hanse_topology::Name;
use prost::Message;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{AuditChange, AuditEntry, AuditField, AuditHash, LeftOut};
use crate::{Origin, command::wire::fixed};

/// What the hash of an entry begins with: no other hash of Hanse does.
const DOMAIN: &[u8] = b"hanse audit entry 1\0";

/// The hash of an entry as it is stored, behind one that has the hash `previous`.
pub(super) fn hash(message: &[u8], previous: &AuditHash) -> AuditHash {
    Sha256::new().chain_update(DOMAIN).chain_update(previous).chain_update(message).finalize().into()
}

impl AuditEntry {
    /// Its hash in the chain, behind an entry that has the hash `previous`.
    pub fn hash(&self, previous: &AuditHash) -> AuditHash {
        hash(&self.to_proto().encode_to_vec(), previous)
    }

    /// As it is hashed and stored.
    pub(crate) fn to_proto(&self) -> proto::AuditEntry {
        let Origin { owner, role, organization, from, reason } = &self.origin;
        proto::AuditEntry {
            number: self.number,
            revision: self.revision,
            time_ms: self.time_ms,
            actor: self.actor.clone(),
            owner: owner.clone(),
            role: role.map(|role| role.as_str().to_owned()).unwrap_or_default(),
            organization: organization.as_ref().map(Name::to_string).unwrap_or_default(),
            from: from.clone(),
            request_id: self.request_id.clone(),
            what: self.what.clone(),
            changes: self.changes.iter().map(AuditChange::to_proto).collect(),
            reason: reason.clone(),
        }
    }

    pub(super) fn decode(message: &[u8]) -> Result<Self, InvalidMessage> {
        let invalid = |error: prost::DecodeError| InvalidMessage::new("AuditEntry", error.to_string());
        Self::from_proto(proto::AuditEntry::decode(message).map_err(invalid)?)
    }

    /// As it was stored.
    pub(crate) fn from_proto(entry: proto::AuditEntry) -> Result<Self, InvalidMessage> {
        let invalid = |why: String| InvalidMessage::new("AuditEntry", why);
        let role = Some(entry.role).filter(|role| !role.is_empty());
        let role =
            role.map(|role| TokenRole::parse(&role).ok_or_else(|| invalid(format!("{role:?} is no role"))));
        let organization = Some(entry.organization).filter(|name| !name.is_empty()).map(Name::new);
        Ok(Self {
            number: entry.number,
            revision: entry.revision,
            time_ms: entry.time_ms,
            actor: entry.actor,
            origin: Origin {
                owner: entry.owner,
                role: role.transpose()?,
                organization: organization.transpose().map_err(|error| invalid(error.to_string()))?,
                from: entry.from,
                reason: entry.reason,
            },
            request_id: entry.request_id,
            what: entry.what,
            changes: entry.changes.into_iter().map(AuditChange::from_proto).collect::<Result<_, _>>()?,
        })
    }
}

impl AuditChange {
    pub(super) fn to_proto(&self) -> proto::AuditChange {
        proto::AuditChange {
            key: Some(self.key.to_proto()),
            action: self.action.clone(),
            fields: self.fields.iter().map(AuditField::to_proto).collect(),
            left_out: self.left_out.map(LeftOut::to_proto),
        }
    }

    fn from_proto(change: proto::AuditChange) -> Result<Self, InvalidMessage> {
        let key = change.key.ok_or_else(|| InvalidMessage::new("AuditChange", "it has no key"))?;
        Ok(Self {
            key: ResourceKey::from_proto(key)?,
            action: change.action,
            fields: change.fields.into_iter().map(AuditField::from_proto).collect::<Result<_, _>>()?,
            left_out: change.left_out.map(LeftOut::from_proto).transpose()?,
        })
    }
}

impl AuditField {
    pub(super) fn to_proto(&self) -> proto::AuditField {
        let text = |value: &Option<Value>| value.as_ref().map(Value::to_string).unwrap_or_default();
        proto::AuditField {
            pointer: self.pointer.clone(),
            before: text(&self.before),
            after: text(&self.after),
        }
    }

    fn from_proto(field: proto::AuditField) -> Result<Self, InvalidMessage> {
        let value = |text: String| {
            let text = Some(text).filter(|text| !text.is_empty());
            let read = text.map(|text| serde_json::from_str(&text)).transpose();
            read.map_err(|error| InvalidMessage::new("AuditField", error.to_string()))
        };
        Ok(Self { pointer: field.pointer, before: value(field.before)?, after: value(field.after)? })
    }
}

impl LeftOut {
    fn to_proto(self) -> proto::AuditLeftOut {
        proto::AuditLeftOut { bytes: self.bytes, sha256: self.sha256.to_vec().into() }
    }

    fn from_proto(left_out: proto::AuditLeftOut) -> Result<Self, InvalidMessage> {
        let proto::AuditLeftOut { bytes, sha256 } = left_out;
        Ok(Self { bytes, sha256: fixed("AuditLeftOut", &sha256)? })
    }
}
