//! What an environment accepts.

use hanse_proto::runtime;
use hanse_topology::{Exposure, Name};

use crate::{Egress, Grants, HostPattern, Unusable, regions};

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
    /// The regions whose gateways may tunnel requests to those of this one.
    pub tunnel_peers: Vec<Name>,
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
            tunnel_peers: regions::or_none("tunnel_peers", &listener.tunnel_peers)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_region_may_tunnel_that_is_not_named() {
        let read = |peers: &[&str]| {
            let tunnel_peers = peers.iter().map(|&peer| peer.to_owned()).collect();
            Listener::new(&runtime::Listener { tunnel_peers, ..Default::default() })
        };
        assert!(read(&[]).unwrap().tunnel_peers.is_empty());
        assert_eq!(read(&["us-east", "ap-south"]).unwrap().tunnel_peers.len(), 2);
        let many: Vec<String> = (0..100).map(|at| format!("r{at}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(read(&many).unwrap().tunnel_peers.len(), 100, "permissions void no Listener");
        for (peers, field) in [(["us-east", "*"], "tunnel_peers[1]"), (["eu", "eu"], "tunnel_peers[1]")] {
            assert_eq!(read(&peers).unwrap_err().field, field);
        }
    }
}
