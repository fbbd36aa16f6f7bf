//! A resource as people see it.

use hanse_management::Known;
use serde_json::{Map, Value};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Metadata, Resource};

impl Resource {
    /// Its envelope as the API shows it: `{kind, name, organization?, labels, spec, revision, createdAt, updatedAt,
    /// status?}`. Digests of secrets are shortened; sent back that way, they mean the digest that is there.
    pub fn to_json(&self) -> Value {
        let mut envelope = Map::new();
        envelope.insert("kind".into(), self.key.kind.as_str().into());
        envelope.insert("name".into(), self.key.name.as_str().into());
        if let Some(organization) = &self.key.organization {
            envelope.insert("organization".into(), organization.as_str().into());
        }
        let labels = self.metadata.labels.0.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
        envelope.insert("labels".into(), Value::Object(labels.collect()));
        envelope.insert("spec".into(), self.spec.shown());
        envelope.insert("revision".into(), self.metadata.revision.into());
        envelope.insert("createdAt".into(), rfc3339(self.metadata.created_at_ms).into());
        envelope.insert("updatedAt".into(), rfc3339(self.metadata.updated_at_ms).into());
        if let Some(status) = self.status() {
            envelope.insert("status".into(), status);
        }
        Value::Object(envelope)
    }

    fn status(&self) -> Option<Value> {
        let Metadata { uses, used_by, api_revision, .. } = &self.metadata;
        let used_by = used_by.iter().take(Known::USERS).map(|by| &**by).collect();
        self.spec.status(&Known { uses: *uses, used_by, latest_revision: *api_revision })
    }
}

/// `2026-01-31T12:00:00.25Z`.
pub(crate) fn rfc3339(unix_ms: u64) -> String {
    /// The end of the year 9999: RFC 3339 knows no later one.
    const LAST_MS: u64 = 253_402_300_799_999;
    let nanos = i128::from(unix_ms.min(LAST_MS)) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .expect("every moment up to the year 9999 has an RFC 3339 form")
}
