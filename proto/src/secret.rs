//! Messages that are secrets.

use std::fmt;

use crate::{raft::FederationKey, runtime::Secret};

impl fmt::Debug for FederationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FederationKey(secret)")
    }
}

impl fmt::Debug for Secret {
    /// Without data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { organization, name, r#type, data } = self;
        let fields: Vec<&String> = data.keys().collect();
        f.debug_struct("Secret")
            .field("organization", organization)
            .field("name", name)
            .field("type", r#type)
            .field("data", &fields)
            .finish()
    }
}
