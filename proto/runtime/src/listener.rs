//! What an environment accepts.

use hanse_proto::runtime;
use hanse_topology::Exposure;

use crate::{Egress, Grants, HostPattern, Unusable};

/// What an environment accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Requests in the clear.
    pub http: bool,
    /// Requests over TLS.
    pub https: bool,
    /// At which addresses of a gateway it is served.
    pub exposure: Exposure,
    /// The hosts it answers to.
    pub hosts: Vec<HostPattern>,
    /// Where its gateways may connect.
    pub egress: Egress,
    /// Which Organizations own which of its requests.
    pub grants: Grants,
}

impl Listener {
    pub(crate) fn new(listener: &runtime::Listener) -> Result<Self, Unusable> {
        Ok(Self {
            http: listener.http,
            https: listener.https,
            exposure: if listener.internal { Exposure::Internal } else { Exposure::External },
            hosts: HostPattern::parse_all("hostnames", &listener.hostnames)?,
            egress: Egress::from_wire(listener.egress.as_ref()).map_err(|bad| bad.within("egress"))?,
            grants: Grants::read(&listener.grants)?,
        })
    }
}
