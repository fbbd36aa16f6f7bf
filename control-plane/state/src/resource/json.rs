//! A resource's facts as people see them.

use hanse_management::Known;
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Metadata, Resource};

impl Resource {
    /// What is shown beside the spec, where the kind has such a thing.
    pub fn status(&self) -> Option<Value> {
        let Metadata { uses, used_by, api_revision, served, .. } = &self.metadata;
        let used_by = used_by.iter().take(Known::USERS).map(|by| &**by).collect();
        self.spec.status(&Known { uses: *uses, used_by, latest_revision: *api_revision, served })
    }
}

impl Metadata {
    /// When it was first written, as RFC 3339 has it.
    pub fn created_at(&self) -> String {
        rfc3339(self.created_at_ms)
    }

    /// When it was last changed, as RFC 3339 has it.
    pub fn updated_at(&self) -> String {
        rfc3339(self.updated_at_ms)
    }
}

/// Unix milliseconds as RFC 3339 has them: `2026-01-31T12:00:00.25Z`.
pub fn rfc3339(unix_ms: u64) -> String {
    /// The end of the year 9999: RFC 3339 knows no later one.
    const LAST_MS: u64 = 253_402_300_799_999;
    let nanos = i128::from(unix_ms.min(LAST_MS)) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .expect("every moment up to the year 9999 has an RFC 3339 form")
}
