//! A host that a region does not serve, and the regions that do.

use hanse_proto::runtime;
use hanse_topology::Name;

use crate::{DomainName, Epoch, Unusable, field, regions};

/// Says that this region does not serve a host, and which regions do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shift {
    /// The host; `None`: every host that has no Shift of its own.
    pub host: Option<DomainName>,
    /// The regions that serve it: at least one.
    pub regions: Vec<Name>,
    /// Of the decision.
    pub epoch: Epoch,
}

impl Shift {
    pub(crate) fn new(shift: runtime::Shift) -> Result<Self, Unusable> {
        let runtime::Shift { host, regions, epoch } = shift;
        let named = Some(host).filter(|host| !host.is_empty());
        Ok(Self {
            host: named.map(|host| field::domain_name("host", &host)).transpose()?,
            regions: regions::regions("regions", &regions)?,
            epoch: Epoch::read(epoch)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_names_where_requests_go() {
        let shift = |host: &str, regions: &[&str]| runtime::Shift {
            host: host.to_owned(),
            regions: regions.iter().map(|&region| region.to_owned()).collect(),
            epoch: Some(runtime::Epoch { generation: 1, revision: 7 }),
        };
        let of_host = Shift::new(shift("orders.gslb.example.com", &["us-east"])).unwrap();
        assert_eq!(of_host.host.unwrap().as_str(), "orders.gslb.example.com");
        assert_eq!((of_host.regions.len(), of_host.epoch.revision), (1, 7));
        assert_eq!(Shift::new(shift("", &["us-east"])).unwrap().host, None, "of a drained region");
        let check = |field: &str, shift: runtime::Shift| {
            assert_eq!(Shift::new(shift.clone()).unwrap_err().field, field, "{shift:?}");
        };
        check("host", shift("Orders.example.com", &["us-east"]));
        check("host", shift("*.example.com", &["us-east"]));
        check("regions", shift("", &[]));
        check("regions[1]", shift("", &["us-east", "us-east"]));
        check("epoch", runtime::Shift { epoch: None, ..shift("", &["us-east"]) });
    }
}
