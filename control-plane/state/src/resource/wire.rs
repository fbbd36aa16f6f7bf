//! Resources as they are sent and stored.

use std::sync::Arc;

use hanse_management::{ResourceKey, Spec};
use hanse_proto::{InvalidMessage, control as proto};
use hanse_topology::Labels;

use super::{Metadata, Resource};

impl Resource {
    /// As it is stored.
    pub fn to_proto(&self) -> proto::Resource {
        proto::Resource {
            key: Some(self.key.to_proto()),
            labels: self.metadata.labels.0.clone(),
            spec: self.spec.to_json_bytes().into(),
            revision: self.metadata.revision,
            created_at_ms: self.metadata.created_at_ms,
            updated_at_ms: self.metadata.updated_at_ms,
            uses: self.metadata.uses,
            used_by: self.metadata.used_by.iter().map(|identity| identity.to_string()).collect(),
            api_revision: self.metadata.api_revision,
            served: self.metadata.served.clone(),
            protected: self.metadata.protected,
        }
    }

    /// As it was stored.
    pub fn from_proto(resource: proto::Resource) -> Result<Self, InvalidMessage> {
        let key = ResourceKey::from_proto(
            resource.key.ok_or_else(|| InvalidMessage::new("Resource", "it has no key"))?,
        )?;
        let spec = spec_from_proto(&key, &resource.spec)?;
        let metadata = Metadata {
            labels: Labels(resource.labels),
            revision: resource.revision,
            created_at_ms: resource.created_at_ms,
            updated_at_ms: resource.updated_at_ms,
            uses: resource.uses,
            used_by: resource.used_by.into_iter().map(Arc::from).collect(),
            api_revision: resource.api_revision,
            served: resource.served,
            protected: resource.protected,
        };
        Ok(Self { key, metadata, spec })
    }
}

/// The spec of the resource named `key`.
pub(crate) fn spec_from_proto(key: &ResourceKey, json: &[u8]) -> Result<Spec, InvalidMessage> {
    Spec::from_json_bytes(key.kind, json).map_err(|problem| {
        InvalidMessage::new("spec", format!("{key}: {}: {}", problem.field, problem.detail))
    })
}
