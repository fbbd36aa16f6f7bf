//! A host that a region does not serve, and the regions that do.

use hanse_proto::runtime::{self, shift::Of};
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
        let runtime::Shift { of, regions, epoch } = shift;
        // A host that a later release names in another way must not come to mean every host.
        let unnamed =
            || Unusable::new("of", "names no host, and not every host: upgrade, if a later release made it");
        let host = match of.ok_or_else(unnamed)? {
            Of::Host(host) => Some(field::domain_name("host", &host)?),
            Of::EveryHost(runtime::EveryHost {}) => None,
        };
        Ok(Self { host, regions: regions::regions("regions", &regions)?, epoch: Epoch::read(epoch)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_names_where_requests_go() {
        let every = Of::EveryHost(runtime::EveryHost {});
        let host = |host: &str| Of::Host(host.to_owned());
        let shift = |of: Of, regions: &[&str]| runtime::Shift {
            of: Some(of),
            regions: regions.iter().map(|&region| region.to_owned()).collect(),
            epoch: Some(runtime::Epoch { generation: 1, revision: 7 }),
        };
        let of_host = Shift::new(shift(host("orders.gslb.example.com"), &["us-east"])).unwrap();
        assert_eq!(of_host.host.unwrap().as_str(), "orders.gslb.example.com");
        assert_eq!((of_host.regions.len(), of_host.epoch.revision), (1, 7));
        assert_eq!(Shift::new(shift(every.clone(), &["us-east"])).unwrap().host, None, "of a drained region");
        let check = |field: &str, shift: runtime::Shift| {
            assert_eq!(Shift::new(shift.clone()).unwrap_err().field, field, "{shift:?}");
        };
        check("host", shift(host(""), &["us-east"]));
        check("host", shift(host("Orders.example.com"), &["us-east"]));
        check("host", shift(host("*.example.com"), &["us-east"]));
        check("of", runtime::Shift { of: None, ..shift(every.clone(), &["us-east"]) });
        check("regions", shift(every.clone(), &[]));
        check("regions[1]", shift(every.clone(), &["us-east", "us-east"]));
        check("epoch", runtime::Shift { epoch: None, ..shift(every, &["us-east"]) });
    }
}
