//! Upstreams that get endpoints from an Origin: what of them is accepted although no gateway gets the endpoints.

use hanse_management::{
    Kind, ResourceKey,
    kinds::{BindingSpec, EndpointsFromSpec, OriginKind, OriginSpec, UpstreamSpec},
};
use hanse_topology::Name;

use super::State;
use crate::{Resource, validate::consistency::upstream_of};

impl State {
    /// Why no gateway uses the endpoints that an Upstream refers to: the field, and what to do.
    pub(super) fn idle_endpoints(
        &self,
        organization: &Name,
        spec: &UpstreamSpec,
    ) -> Option<(String, String)> {
        let EndpointsFromSpec { origin, name } = spec.endpoints_from.as_ref()?;
        let missing = self.does_not_allow(self.origin_of(origin)?, organization)?;
        let detail = format!("endpoints {name} of Origin {origin} are not used: the Origin has no {missing}");
        Some(("endpointsFrom.origin".to_owned(), detail))
    }

    /// The regions in which a Binding has no endpoint, and can get none from an Origin: the field, and what to do.
    pub(super) fn without_endpoints(
        &self,
        binding: &Resource,
        organization: &Name,
        spec: &BindingSpec,
    ) -> Option<(String, String)> {
        let environment = &spec.environment;
        let cut_off = self.regions_of(binding).into_iter().filter_map(|region| {
            let revision = self.bound_revision(binding, &region)?;
            let (name, upstream) = upstream_of(self, binding, spec, revision)?;
            let from = upstream.endpoints_from.as_ref()?;
            let comes = self.origin_of(&from.origin).is_some_and(|origin| {
                origin.region == region
                    && origin.environments.contains(environment)
                    && self.does_not_allow(origin, organization).is_none()
            });
            let has_own = upstream.endpoints_for(&region, environment).next().is_some();
            (!comes && !has_own).then_some((region, name, from))
        });
        let cut_off: Vec<(Name, &Name, &EndpointsFromSpec)> = cut_off.collect();
        let (first, name, EndpointsFromSpec { origin, .. }) = cut_off.first()?;
        let more = match cut_off.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let detail = format!(
            "cut off in region {first}{more}: Upstream {name} has no endpoint there, and Origin {origin} brings none to Environment \
             {environment} there; give it one with `region: {first}`, or leave {first} out of spec.regions"
        );
        Some(("upstream".to_owned(), detail))
    }

    fn origin_of(&self, origin: &Name) -> Option<&OriginSpec> {
        self.origin_spec(&ResourceKey::global(Kind::Origin, origin.clone()))
    }

    /// What an Origin lacks to bring endpoints of an Organization.
    fn does_not_allow(&self, origin: &OriginSpec, organization: &Name) -> Option<String> {
        if !origin.kinds.contains(&OriginKind::Endpoints) {
            return Some("`Endpoints` in its `kinds`; add it".to_owned());
        }
        let has = origin.organizations.contains(organization);
        (!has).then(|| format!("Organization {organization} in its `organizations`; add it"))
    }
}

#[cfg(test)]
mod tests {
    use hanse_management::ProblemName;

    use crate::fixture::{World, key};

    fn origin(region: &str, kinds: &str, organizations: &str) -> String {
        format!(
            "{{kind: Origin, name: east, spec: {{region: {region}, environments: [production], organizations: [{organizations}], \
             kinds: [{kinds}], holders: [agent-1]}}}}"
        )
    }

    const REFERS: &str = "{kind: Upstream, name: backend, spec: {endpoints: [{url: 'http://a', region: us-east}], endpointsFrom: {origin: east, name: pets}}}";

    #[test]
    fn the_origin_exists_for_as_long_as_an_upstream_refers_to_it() {
        let mut world = World::with_orders();
        let problem = world.refused(REFERS);
        assert_eq!(
            (problem.name, &*problem.field),
            (ProblemName::MissingReference, "Upstream default/backend: spec.endpointsFrom.origin")
        );
        world.put(&origin("eu-west", "Endpoints", "default"));
        world.put(REFERS);
        for cascade in [false, true] {
            let problem = world.delete("Origin east", cascade).unwrap_err();
            assert_eq!(problem.name, ProblemName::InUse);
            let remedy = "take it out of Upstream default/backend: spec.endpointsFrom.origin first";
            assert!(problem.to_string().contains(remedy), "{problem}");
        }
        world.put("{kind: Upstream, name: backend, spec: {endpoints: [{url: 'http://a'}]}}");
        world.delete("Origin east", false).unwrap();
    }

    #[test]
    fn endpoints_that_no_gateway_gets_are_told() {
        let mut world = World::with_orders();
        world.put("{kind: Region, name: north, spec: {}}");
        world.put("{kind: Organization, name: toys, spec: {}}");
        world.put(&origin("eu-west", "Endpoints", "default"));
        world.put(REFERS);
        let told = |world: &World, of: &str| -> Vec<String> {
            let warnings = world.state.warnings(&key(of), None);
            warnings.into_iter().map(|one| format!("{}: {}", one.field, one.detail)).collect()
        };
        let none: [String; 0] = [];
        assert_eq!(told(&world, "Upstream backend"), none);
        assert_eq!(told(&world, "Binding orders-production"), none);

        let accepted = world.put(&origin("eu-west", "Route", "default"));
        let idle = "spec.endpointsFrom.origin: endpoints pets of Origin east are not used: the Origin has no";
        let kinds = format!("{idle} `Endpoints` in its `kinds`; add it");
        assert_eq!(told(&world, "Upstream backend"), std::slice::from_ref(&kinds));
        let after = world.state.unserved_after(&world.state, &accepted.changes, usize::MAX, None);
        assert!(after.iter().any(|one| kinds.ends_with(&one.detail)), "{after:?}");

        world.put(&origin("eu-west", "Endpoints", "toys"));
        assert_eq!(
            told(&world, "Upstream backend"),
            [format!("{idle} Organization default in its `organizations`; add it")]
        );
        world.put(&origin("north", "Endpoints", "default"));
        assert_eq!(told(&world, "Upstream backend"), none);
    }

    #[test]
    fn a_binding_without_any_endpoint_in_a_region_is_told() {
        let mut world = World::with_orders();
        world.put("{kind: Region, name: north, spec: {}}");
        world.put(&origin("eu-west", "Endpoints", "default"));
        world.put("{kind: Upstream, name: own, spec: {endpointsFrom: {origin: east, name: pets}}}");
        let bind = |upstream: &str| {
            format!(
                "{{kind: Binding, name: orders-production, spec: {{api: orders, environment: production, upstream: {upstream}, regions: {{names: [eu-west]}}}}}}"
            )
        };
        world.put(&bind("own"));
        let told = |world: &World| -> Vec<String> {
            let warnings = world.state.warnings(&key("Binding orders-production"), None);
            warnings.into_iter().map(|one| format!("{}: {}", one.field, one.detail)).collect()
        };
        let none: [String; 0] = [];
        assert_eq!(told(&world), none);
        world.put(&origin("north", "Endpoints", "default"));
        let [told_once] = &told(&world)[..] else { panic!("{:?}", told(&world)) };
        assert!(
            told_once.starts_with("spec.upstream: cut off in region eu-west: Upstream own has no endpoint"),
            "{told_once}"
        );
        world.put("{kind: Upstream, name: own, spec: {endpoints: [{url: 'http://a'}], endpointsFrom: {origin: east, name: pets}}}");
        assert_eq!(told(&world), none);
    }
}
