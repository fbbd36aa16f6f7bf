//! Origins: their specs, and what of them is accepted although it does not hold yet.

use hanse_management::{ResourceKey, Spec, kinds::OriginSpec};

use super::State;
use crate::member::agent_identity;

impl State {
    /// The spec of an Origin.
    pub(crate) fn origin_spec(&self, key: &ResourceKey) -> Option<&OriginSpec> {
        if let Spec::Origin(spec) = &self.get(key)?.spec { Some(spec) } else { None }
    }

    /// The holders of an Origin that cannot publish, and its Environments that have no gateways in its region: each field, and why.
    pub(super) fn idle_parts(&self, spec: &OriginSpec) -> Vec<(String, String)> {
        let region = &spec.region;
        let environments = spec.environments.iter().enumerate().filter_map(|(at, name)| {
            let is_there =
                self.environment(name).is_none_or(|environment| environment.regions.contains(region));
            let detail = format!(
                "served nowhere: Environment {name} is not in region {region}; add {region} to its `regions`"
            );
            (!is_there).then(|| (format!("environments[{at}]"), detail))
        });
        let holders = spec.holders.iter().enumerate().filter_map(|(at, name)| {
            let identity = agent_identity(name, region);
            let detail = if self.is_revoked(&identity) {
                format!("{identity} is revoked, and publishes nothing; name another agent")
            } else if self.member(&identity).is_none() {
                format!("no agent has joined as {identity}: until it joins, it publishes nothing")
            } else {
                return None;
            };
            Some((format!("holders[{at}]"), detail))
        });
        environments.chain(holders).collect()
    }
}

#[cfg(test)]
mod tests {
    use hanse_management::ProblemName;

    use crate::{
        fixture::{World, key},
        validate::origins::MAX_ORIGINS,
    };

    fn origin(name: &str, environments: &str) -> String {
        format!(
            "{{kind: Origin, name: {name}, spec: {{region: eu-west, environments: [{environments}], organizations: [default], \
             kinds: [Route], holders: [agent-1]}}}}"
        )
    }

    #[test]
    fn holders_that_cannot_publish_and_environments_elsewhere_are_told() {
        let mut world = World::with_orders();
        world.put("{kind: Region, name: north, spec: {}}");
        world.put("{kind: Environment, name: cold, spec: {regions: [north]}}");
        let told = |world: &World| {
            let warnings = world.state.warnings(&key("Origin east"), None);
            warnings.iter().map(|one| format!("{}: {}", one.field, one.detail)).collect::<Vec<_>>()
        };
        let accepted = world.put(&origin("east", "production, cold"));
        let elsewhere = "spec.environments[1]: served nowhere: Environment cold is not in region eu-west; add eu-west to its `regions`";
        let absent = "spec.holders[0]: no agent has joined as agent-1.agent.eu-west.hanse.internal: until it joins, it publishes nothing";
        assert_eq!(told(&world), [elsewhere, absent]);
        let after = world.state.unserved_after(&world.state, &accepted.changes, usize::MAX, None);
        assert_eq!(after.len(), 2, "an apply tells it, too");

        world.put("{kind: Environment, name: cold, spec: {regions: [north, eu-west]}}");
        world.join_agent("agent-1", 7);
        assert_eq!(told(&world), [] as [String; 0]);
        world.revoke("agent-1.agent.eu-west.hanse.internal");
        assert!(told(&world)[0].contains("is revoked"), "{:?}", told(&world));
    }

    #[test]
    fn an_environment_has_so_many_origins_of_one_region() {
        let mut world = World::with_orders();
        world.put("{kind: Region, name: north, spec: {}}");
        for at in 0..MAX_ORIGINS {
            world.put(&origin(&format!("o-{at}"), "production"));
        }
        let problem = world.refused(&origin("more", "sandbox, production"));
        assert_eq!(
            (problem.name, &*problem.field),
            (ProblemName::TooLarge, "Origin more: spec.environments[1]")
        );
        let message = "Environment production would have 17 Origins in region eu-west, more than 16";
        assert_eq!(problem.detail, message);
        // Two that come at once, and share an Environment with those that are there.
        let two = format!("{}\n---\n{}", origin("more", "sandbox"), origin("too-many", "production"));
        assert_eq!(&*world.refused(&two).field, "Origin too-many: spec.environments[0]");
        world.put(&origin("more", "sandbox"));
        world.put(&origin("more", "production").replace("eu-west", "north"));
        world.put(&origin("o-0", "production").replace("agent-1", "agent-2"));
    }
}
