//! Messages that are secrets.

use std::fmt;

use crate::raft::FederationKey;

impl fmt::Debug for FederationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FederationKey(secret)")
    }
}
