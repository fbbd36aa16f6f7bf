//! What an environment accepts.

use hanse_proto::runtime;

use crate::{Grants, HostPattern, Unusable};

/// What an environment accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Requests in the clear.
    pub http: bool,
    /// Requests over TLS.
    pub https: bool,
    /// The hosts it answers to.
    pub hosts: Vec<HostPattern>,
    /// Which Organizations own which of its requests.
    pub grants: Grants,
}

impl Listener {
    pub(crate) fn new(listener: &runtime::Listener) -> Result<Self, Unusable> {
        Ok(Self {
            http: listener.http,
            https: listener.https,
            hosts: HostPattern::parse_all("hostnames", &listener.hostnames)?,
            grants: Grants::read(&listener.grants)?,
        })
    }
}
