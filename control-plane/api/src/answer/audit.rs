//! The audit: entries in a chain of hashes, as they are answered, exported and verified.

use std::collections::{BTreeMap, BTreeSet};

use hanse_management::{Digest, Kind, ResourceKey, kinds::TokenRole};
use hanse_state::{AuditHash, LeftOut, Origin, rfc3339};
use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A part of the audit log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// The entries, in the order of their numbers.
    pub items: Vec<AuditEntry>,
    /// The last entry that was dropped, where the chain begins. Its number is 0 where none was.
    pub start: AuditLink,
    /// The last entry of the log.
    pub head: AuditLink,
    /// The number that the next part begins with; absent in the last part.
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next: Option<u64>,
    /// The state's revision.
    pub revision: u64,
}

/// An entry's place in the chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditLink {
    /// The entry's number.
    pub number: u64,
    /// The entry's hash: 64 hexadecimal digits.
    pub hash: String,
}

/// One command that was accepted and changed something.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Its place in the chain, from 1 on.
    pub number: u64,
    /// The state's revision after it.
    pub revision: u64,
    /// When: the state's time.
    #[schema(format = DateTime)]
    pub time: String,
    /// The same in Unix milliseconds.
    pub time_ms: u64,
    /// Who asked: a Token's name or a node's identity.
    pub actor: String,
    /// Who answers for the token; absent where a node acted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub owner: String,
    /// The role of the token.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub role: String,
    /// The organization of the token.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub organization: String,
    /// The client's address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub from: String,
    /// Why, as the operator said it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub reason: String,
    /// The request's id.
    pub request_id: String,
    /// What was asked: `apply`, or `revoke IDENTITY`.
    pub what: String,
    /// What happened to resources. Each is named.
    pub changes: Vec<AuditChange>,
    /// The hash of the entry before it.
    pub previous: String,
    /// Its own hash, over `previous` and all that it says.
    pub hash: String,
}

/// What happened to one resource.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditChange {
    /// Its kind.
    pub kind: String,
    /// Its owner; kinds that are not global have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub organization: Option<String>,
    /// Its name.
    pub name: String,
    /// `created`, `updated`, `deleted` or `moved`.
    pub action: String,
    /// What differs, as it was: by JSON pointer. A secret is `(redacted)`, and a long value a text with its size and SHA-256.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false, value_type = Object)]
    pub before: BTreeMap<String, Value>,
    /// What differs, as it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false, value_type = Object)]
    pub after: BTreeMap<String, Value>,
    /// In the place of fields that did not fit: size and digest of what the resource is, or of what it was when it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub left_out: Option<AuditLeftOut>,
}

/// A content that did not fit into an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditLeftOut {
    /// How many bytes it has: labels and protection as a JSON object, behind it the spec as JSON, without secrets.
    pub bytes: u64,
    /// The digest of these bytes: `sha256:…`.
    pub digest: String,
}

/// Which entries to drop: all up to one, by its number and hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DropAudit {
    /// The number of the last entry that goes.
    pub through: u64,
    /// Its hash, as it was exported.
    pub hash: String,
}

/// Entries were dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditDropped {
    /// The last entry that went.
    pub through: u64,
    /// The state's revision after it.
    pub revision: u64,
}

impl From<hanse_state::AuditLink> for AuditLink {
    fn from(link: hanse_state::AuditLink) -> Self {
        Self { number: link.number, hash: hex::encode(link.hash) }
    }
}

impl AuditEntry {
    pub(crate) fn of(entry: hanse_state::AuditEntry, previous: AuditHash, hash: AuditHash) -> Self {
        let Origin { owner, role, organization, from, reason } = entry.origin;
        Self {
            number: entry.number,
            revision: entry.revision,
            time: rfc3339(entry.time_ms),
            time_ms: entry.time_ms,
            actor: entry.actor,
            owner,
            role: role.map(|role| role.as_str().to_owned()).unwrap_or_default(),
            organization: organization.map(|name| name.to_string()).unwrap_or_default(),
            from,
            reason,
            request_id: entry.request_id,
            what: entry.what,
            changes: entry.changes.into_iter().map(AuditChange::from).collect(),
            previous: hex::encode(previous),
            hash: hex::encode(hash),
        }
    }

    /// The hash that it must have behind an entry with the hash `previous`. `None`: it was not written by a control node.
    pub(crate) fn computed(&self, previous: &AuditHash) -> Option<AuditHash> {
        let name = |text: &String| Some(text).filter(|text| !text.is_empty()).map(Name::new).transpose().ok();
        let role = match self.role.as_str() {
            "" => None,
            role => Some(TokenRole::parse(role)?),
        };
        let entry = hanse_state::AuditEntry {
            number: self.number,
            revision: self.revision,
            time_ms: self.time_ms,
            actor: self.actor.clone(),
            origin: Origin {
                owner: self.owner.clone(),
                role,
                organization: name(&self.organization)?,
                from: self.from.clone(),
                reason: self.reason.clone(),
            },
            request_id: self.request_id.clone(),
            what: self.what.clone(),
            changes: self.changes.iter().map(AuditChange::read).collect::<Option<_>>()?,
        };
        Some(entry.hash(previous))
    }
}

impl From<hanse_state::AuditChange> for AuditChange {
    fn from(change: hanse_state::AuditChange) -> Self {
        let hanse_state::AuditChange { key, action, fields, left_out } = change;
        let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
        for field in fields {
            before.extend(field.before.map(|value| (field.pointer.clone(), value)));
            after.extend(field.after.map(|value| (field.pointer, value)));
        }
        Self {
            kind: key.kind.to_string(),
            organization: key.organization.map(|name| name.to_string()),
            name: key.name.to_string(),
            action,
            before,
            after,
            left_out: left_out.map(AuditLeftOut::from),
        }
    }
}

impl AuditChange {
    fn read(&self) -> Option<hanse_state::AuditChange> {
        let pointers: BTreeSet<&String> = self.before.keys().chain(self.after.keys()).collect();
        let field = |pointer: &String| hanse_state::AuditField {
            pointer: pointer.clone(),
            before: self.before.get(pointer).cloned(),
            after: self.after.get(pointer).cloned(),
        };
        let left_out = self.left_out.as_ref();
        Some(hanse_state::AuditChange {
            key: ResourceKey {
                kind: Kind::ALL.into_iter().find(|kind| kind.as_str() == self.kind)?,
                organization: self.organization.as_ref().map(Name::new).transpose().ok()?,
                name: Name::new(&self.name).ok()?,
            },
            action: self.action.clone(),
            fields: pointers.into_iter().map(field).collect(),
            left_out: left_out.map_or(Some(None), |left_out| left_out.read().map(Some))?,
        })
    }
}

impl From<LeftOut> for AuditLeftOut {
    fn from(left_out: LeftOut) -> Self {
        let LeftOut { bytes, sha256 } = left_out;
        Self { bytes, digest: Digest(sha256).to_string() }
    }
}

impl AuditLeftOut {
    fn read(&self) -> Option<LeftOut> {
        let digest = Digest::try_from(self.digest.clone()).ok().filter(|digest| !digest.is_shortened())?;
        Some(LeftOut { bytes: self.bytes, sha256: digest.0 })
    }
}
