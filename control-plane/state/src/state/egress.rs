//! Which addresses Bindings use. Names are not looked up here: gateways judge what they resolve to.

use std::{collections::BTreeMap, net::IpAddr};

use hanse_management::{Kind, ResourceKey, Spec, kinds::UpstreamSpec};
use hanse_runtime::{Egress, EndpointUrl};
use hanse_topology::Name;

use super::{State, query::as_binding};
use crate::{Resource, validate::consistency::upstream_of};

/// What Environments of one state say of addresses, each read once.
#[derive(Debug, Default)]
pub(crate) struct EgressRules(BTreeMap<Name, Egress>);

/// An endpoint with an address in place of a name, as a Binding uses it in one region.
#[derive(Debug)]
pub(crate) struct AddressUse {
    pub(crate) region: Name,
    pub(crate) address: IpAddr,
    pub(crate) url: String,
    /// The resource and the field that say it.
    pub(crate) field: String,
}

impl EgressRules {
    pub(crate) fn of(&mut self, state: &State, environment: &Name) -> &Egress {
        self.0.entry(environment.clone()).or_insert_with(|| {
            state.environment(environment).map(|spec| spec.egress.rules()).unwrap_or_default()
        })
    }
}

impl State {
    /// The endpoints that a Binding uses by an address that is picked, in the order of its ApiRevisions and their endpoints. Empty for
    /// anything but a Binding.
    pub(crate) fn address_uses(&self, binding: &Resource, picks: impl Fn(IpAddr) -> bool) -> Vec<AddressUse> {
        let Some((_, spec)) = as_binding(binding) else { return Vec::new() };
        let mut regions: BTreeMap<ResourceKey, Vec<Name>> = BTreeMap::new();
        for region in self.regions_of(binding) {
            if let Some(revision) = self.bound_revision(binding, &region) {
                regions.entry(revision.key.clone()).or_default().push(region);
            }
        }
        let mut uses = Vec::new();
        for (revision, regions) in regions {
            let Some(revision) = self.get(&revision) else { continue };
            let Some((name, upstream)) = upstream_of(self, binding, spec, revision) else { continue };
            for (at, endpoint) in upstream.endpoints.iter().enumerate() {
                // Admission has brought it to its one form.
                let address = EndpointUrl::parse(&endpoint.url).and_then(|url| url.address());
                let Some(address) = address.filter(|address| picks(*address)) else { continue };
                let serving = regions.iter().filter(|region| endpoint.serves(region, &spec.environment));
                uses.extend(serving.map(|region| AddressUse {
                    region: region.clone(),
                    address,
                    url: endpoint.url.clone(),
                    field: format!(
                        "{}.endpoints[{at}].url",
                        self.place_of_upstream(revision, name, upstream)
                    ),
                }));
            }
        }
        uses
    }

    /// Where an operator finds an Upstream that a Binding uses: the Upstream itself, or the ApiRevision that embeds what it was.
    fn place_of_upstream(&self, revision: &Resource, name: &Name, used: &UpstreamSpec) -> String {
        let upstream = revision.key.sibling(Kind::Upstream, name.clone());
        match self.get(&upstream).map(|upstream| &upstream.spec) {
            Some(Spec::Upstream(present)) if present == used => format!("{upstream}: spec"),
            _changed_or_gone => format!("{}: spec.upstreams.{name}", revision.key),
        }
    }
}
