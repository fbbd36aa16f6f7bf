//! Which endpoints of Bindings the egress of their Environments denies. Names are not looked up here: gateways judge the addresses
//! that names lead to.

use std::{collections::BTreeMap, net::IpAddr, rc::Rc};

use hanse_management::{
    Kind, ResourceKey, Spec,
    kinds::{EndpointSpec, UpstreamSpec},
};
use hanse_runtime::{Egress, EndpointUrl};
use hanse_topology::Name;

use super::{State, query::as_binding};
use crate::{Resource, validate::consistency::upstream_of};

/// Places in the list of endpoints, with their addresses.
type Places = Rc<[(usize, IpAddr)]>;

/// The denied endpoints of Upstreams. Each Upstream is judged once for each Environment, however many Bindings use it.
#[derive(Debug)]
pub(crate) struct DeniedEndpoints<'a> {
    /// Has the Environments.
    rules: &'a State,
    /// Has the Bindings and the Upstreams.
    state: &'a State,
    egress: BTreeMap<&'a Name, Egress>,
    /// By the resource that has the Upstream, the name of the Upstream, and the Environment.
    denied: BTreeMap<(ResourceKey, &'a Name, &'a Name), Places>,
}

/// An endpoint that a Binding uses, and that the egress denies.
#[derive(Debug)]
pub(crate) struct DeniedUse<'a> {
    pub(crate) address: IpAddr,
    /// The first region in which the Binding uses it.
    pub(crate) region: Name,
    pub(crate) endpoint: &'a EndpointSpec,
    place: usize,
    upstream: (&'a Name, &'a UpstreamSpec),
    revision: &'a Resource,
}

impl<'a> DeniedEndpoints<'a> {
    /// Judges what Bindings of `state` use by the Environments of `rules`.
    pub(crate) fn new(rules: &'a State, state: &'a State) -> Self {
        Self { rules, state, egress: BTreeMap::new(), denied: BTreeMap::new() }
    }

    /// What the egress of an Environment says.
    pub(crate) fn egress(&mut self, environment: &'a Name) -> &Egress {
        self.egress.entry(environment).or_insert_with(|| {
            self.rules.environment(environment).map(|spec| spec.egress.rules()).unwrap_or_default()
        })
    }

    /// The denied endpoints that a Binding uses, in the order of its ApiRevisions and their endpoints. Empty for anything but a Binding.
    pub(crate) fn of(&mut self, binding: &'a Resource) -> Vec<DeniedUse<'a>> {
        let Some((_, spec)) = as_binding(binding) else { return Vec::new() };
        let state = self.state;
        let mut regions: BTreeMap<&ResourceKey, (&'a Resource, Vec<Name>)> = BTreeMap::new();
        for region in state.regions_of(binding) {
            if let Some(revision) = state.bound_revision(binding, &region) {
                regions.entry(&revision.key).or_insert((revision, Vec::new())).1.push(region);
            }
        }
        let mut uses = Vec::new();
        for (revision, regions) in regions.into_values() {
            let Some(upstream) = upstream_of(state, binding, spec, revision) else { continue };
            let holder = match &spec.upstream {
                Some(own) => binding.key.sibling(Kind::Upstream, own.clone()),
                None => revision.key.clone(),
            };
            for &(place, address) in self.denied(holder, upstream, &spec.environment).iter() {
                let Some(endpoint) = upstream.1.endpoints.get(place) else { continue };
                let region = regions.iter().find(|region| endpoint.serves(region, &spec.environment));
                uses.extend(region.map(|region| DeniedUse {
                    address,
                    region: region.clone(),
                    endpoint,
                    place,
                    upstream,
                    revision,
                }));
            }
        }
        uses
    }

    fn denied(
        &mut self,
        holder: ResourceKey,
        (name, upstream): (&'a Name, &UpstreamSpec),
        environment: &'a Name,
    ) -> Places {
        let key = (holder, name, environment);
        if let Some(known) = self.denied.get(&key) {
            return known.clone();
        }
        let egress = self.egress(environment);
        let addresses = upstream.endpoints.iter().map(|endpoint| EndpointUrl::literal(&endpoint.url));
        let denied = addresses.enumerate().filter_map(|(place, address)| Some((place, address?)));
        let denied: Places = denied.filter(|(_, address)| egress.judge(*address).is_err()).collect();
        self.denied.insert(key, denied.clone());
        denied
    }
}

impl DeniedUse<'_> {
    /// The resource and the field where an operator finds the URL: the Upstream, or the ApiRevision that embeds what the Upstream was.
    pub(crate) fn field(&self, state: &State) -> String {
        let (name, used) = self.upstream;
        let upstream = self.revision.key.sibling(Kind::Upstream, name.clone());
        let resource = match state.get(&upstream).map(|upstream| &upstream.spec) {
            Some(Spec::Upstream(present)) if present == used => format!("{upstream}: spec"),
            _changed_or_gone => format!("{}: spec.upstreams.{name}", self.revision.key),
        };
        format!("{resource}.endpoints[{}].url", self.place)
    }
}
