//! What of a resource is accepted although it does not hold: Bindings that no gateway serves, Bindings with endpoints that the
//! egress of their Environment denies, hosts of Apis that no Environment has, requests that Bindings of several Organizations
//! ask for, Origins without agents, Upstreams that get no endpoints from an Origin, and GlobalHosts without addresses or owner.

use std::collections::{BTreeMap, BTreeSet};

use hanse_management::{
    Kind, ResourceKey, Spec, common_hosts,
    kinds::{ApiSpec, BindingSpec, Lifecycle},
};
use hanse_runtime::Area;
use hanse_topology::Name;

use super::{DeniedEndpoints, State, egress::DeniedUse, owned::Met};
use crate::{ChangeResult, Resource, admission::Warning, listed::listed};

/// How many items of a list a warning names.
pub(super) const NAMED: usize = 3;

impl State {
    /// All that a resource is warned of: by its spec alone, and because nothing serves it, or another Organization is asked, too.
    /// Resources of another Organization than `sight` are not named; `None`: all are.
    pub fn warnings(&self, key: &ResourceKey, sight: Option<&Name>) -> Vec<Warning> {
        let by_itself = self.get(key).map(|resource| Warning::of_spec(key, &resource.spec));
        let met = self.met(&BTreeSet::from([key.clone()]), 1);
        let told = self.unserved(key, &mut DeniedEndpoints::new(self, self)).into_iter();
        by_itself.into_iter().flatten().chain(told).chain(self.contested(key, &met, sight)).collect()
    }

    /// What is not served of the resources that `changes` name or reach, in the order of their keys. A Binding is reached by its
    /// Api and its Upstream, by a change of its Environment or of one of its regions, and by a HostGrant that goes or changes. `before`
    /// is the state before the changes. What others ask for is looked up until there are `most` warnings: of more, these may be
    /// missing.
    pub fn unserved_after(
        &self,
        before: &State,
        changes: &[ChangeResult],
        most: usize,
        sight: Option<&Name>,
    ) -> Vec<Warning> {
        let mut reached = BTreeSet::new();
        let mut regranted: BTreeMap<&Name, Vec<Area>> = BTreeMap::new();
        for ChangeResult { key, action, .. } in changes {
            let is_changed = *action != ChangeResult::UNCHANGED;
            match key.kind {
                Kind::Binding => {
                    reached.insert(key.clone());
                }
                Kind::Api => {
                    reached.insert(key.clone());
                    reached.extend(self.referrers_of_kind(key, Kind::Binding).cloned());
                }
                Kind::HostGrant => {
                    reached.insert(key.clone());
                    let old =
                        before.host_grant_spec(key).filter(|old| self.host_grant_spec(key) != Some(*old));
                    if let Some((spec, area)) = old.and_then(|spec| Some((spec, spec.area()?))) {
                        for environment in &spec.environments {
                            regranted.entry(environment).or_default().push(area.clone());
                        }
                    }
                }
                Kind::GlobalHost => {
                    reached.insert(key.clone());
                }
                Kind::Upstream => self.reach_upstream(key, &mut reached),
                Kind::Environment if is_changed => self.reach_environment(key, &mut reached),
                Kind::Region if is_changed => {
                    for environment in self.referrers_of_kind(key, Kind::Environment) {
                        self.reach_environment(environment, &mut reached);
                    }
                }
                Kind::Origin => {
                    reached.insert(key.clone());
                    for upstream in self.referrers_of_kind(key, Kind::Upstream) {
                        self.reach_upstream(upstream, &mut reached);
                    }
                    for state in [before, self] {
                        self.reach_served_from(state, key, &mut reached);
                    }
                }
                // No other kind says whether a Binding is served, or where its gateways connect.
                _other => {}
            }
        }
        for (environment, areas) in regranted {
            reached.extend(self.reached(environment, &areas));
        }
        let met = self.met(&reached, most);
        let (mut told, mut denied) = (Vec::new(), DeniedEndpoints::new(self, self));
        let mut grants = 0;
        for key in &reached {
            told.extend(self.unserved(key, &mut denied));
            // One HostGrant may have all Bindings of an Environment to look at.
            grants += usize::from(key.kind == Kind::HostGrant);
            if told.len() < most && grants <= most {
                told.extend(self.contested(key, &met, sight));
            }
        }
        told
    }

    /// The Bindings of an Environment, and their Apis; and its GlobalHosts.
    fn reach_environment(&self, environment: &ResourceKey, reached: &mut BTreeSet<ResourceKey>) {
        reached.extend(self.referrers_of_kind(environment, Kind::GlobalHost).cloned());
        for key in self.referrers_of_kind(environment, Kind::Binding) {
            if let Some(Spec::Binding(spec)) = self.get(key).map(|binding| &binding.spec) {
                reached.insert(key.sibling(Kind::Api, spec.api.clone()));
            }
            reached.insert(key.clone());
        }
    }

    /// The Bindings that get endpoints from an Origin as `state` has it, also by the copy of an Upstream in an ApiRevision.
    fn reach_served_from(&self, state: &State, origin: &ResourceKey, reached: &mut BTreeSet<ResourceKey>) {
        let Some(spec) = state.origin_spec(origin) else { return };
        for environment in &spec.environments {
            let environment = ResourceKey::global(Kind::Environment, environment.clone());
            let bindings = self.referrers_of_kind(&environment, Kind::Binding);
            let served = |key: &&ResourceKey| {
                self.get(key).is_some_and(|binding| self.served_from(binding, &origin.name).is_some())
            };
            reached.extend(bindings.filter(served).cloned());
        }
    }

    /// An Upstream, and the Bindings that use it.
    fn reach_upstream(&self, upstream: &ResourceKey, reached: &mut BTreeSet<ResourceKey>) {
        let apis = self.referrers_of_kind(upstream, Kind::Api);
        let users = apis.chain(std::iter::once(upstream));
        let bindings = users.flat_map(|user| self.referrers_of_kind(user, Kind::Binding));
        reached.extend(bindings.cloned());
        reached.insert(upstream.clone());
    }

    fn unserved<'a>(&'a self, key: &ResourceKey, denied: &mut DeniedEndpoints<'a>) -> Vec<Warning> {
        let Some(resource) = self.get(key) else { return Vec::new() };
        let found = match (&resource.spec, &key.organization) {
            (Spec::Api(spec), _) => self.hosts_of_no_environment(spec),
            (Spec::HostGrant(spec), _) => self.grants_no_host(spec),
            (Spec::GlobalHost(spec), _) => self.unanswered(spec),
            (Spec::Origin(spec), _) => self.idle_parts(spec),
            (Spec::Upstream(spec), Some(organization)) => {
                self.idle_endpoints(organization, spec).into_iter().collect()
            }
            (Spec::Binding(spec), Some(organization)) => {
                let mut found = self.unserved_binding(resource, organization, spec);
                found.extend(cut_off(denied.of(resource), &spec.environment));
                found.extend(self.without_endpoints(resource, organization, spec));
                found
            }
            _never_served => Vec::new(),
        };
        warnings(key, found)
    }

    /// What other Organizations ask for, or own.
    fn contested(&self, key: &ResourceKey, met: &Met, sight: Option<&Name>) -> Vec<Warning> {
        let found = match self.get(key).map(|resource| &resource.spec) {
            Some(Spec::HostGrant(spec)) => self.ask_in_vain(spec, sight),
            Some(Spec::Binding(_)) => self.disputed(key, met, sight),
            _has_no_hosts => Vec::new(),
        };
        warnings(key, found)
    }

    fn hosts_of_no_environment(&self, api: &ApiSpec) -> Vec<(String, String)> {
        let is_had = |host: &String| {
            self.list(Kind::Environment, None).any(|environment| match &environment.spec {
                Spec::Environment(spec) => has_host(&spec.hostnames, host),
                _not_listed => false,
            })
        };
        let without = api.hosts.iter().enumerate().filter(|(_, host)| !is_had(host));
        without
            .map(|(at, host)| {
                let detail = format!(
                    "no Environment has the host {host}: add it to `hostnames` of one, or leave it out here"
                );
                (format!("hosts[{at}]"), detail)
            })
            .collect()
    }

    fn unserved_binding(
        &self,
        binding: &Resource,
        organization: &Name,
        spec: &BindingSpec,
    ) -> Vec<(String, String)> {
        let BindingSpec { api, environment: name, .. } = spec;
        let Some(environment) = self.environment(name) else { return Vec::new() };
        let mut found = Vec::new();
        let mut tell = |field: &str, detail| found.push((field.to_owned(), detail));
        if environment.regions.is_empty() {
            let detail =
                format!("served nowhere: Environment {name} has no region; add one to its `regions`");
            tell("environment", detail);
        } else if self.regions_of(binding).is_empty() {
            let regions = listed(environment.regions.iter(), NAMED);
            let detail = format!(
                "served nowhere: no region of Environment {name} ({regions}) has these labels; label one, or name it"
            );
            tell("regions", detail);
        }
        let lifecycle = self.api(organization, api).map(|api| api.lifecycle);
        if let Some(not_served) = lifecycle.and_then(not_served) {
            let detail =
                format!("served nowhere: Api {api} is `{not_served}`; set its `lifecycle` to `published`");
            tell("api", detail);
        }
        let revision = self.named_revision(binding);
        if let Some(Spec::ApiRevision(revision)) = revision.map(|revision| &revision.spec)
            && let hosts = &revision.spec.hosts
            && !hosts.is_empty()
            && !hosts.iter().any(|host| has_host(&environment.hostnames, host))
        {
            let detail = format!(
                "served nowhere: r{} of Api {api} is for {}, and Environment {name} is for {}; add a host to one of them",
                revision.number,
                listed(hosts.iter(), NAMED),
                listed(environment.hostnames.iter(), NAMED)
            );
            tell("environment", detail);
        }
        found
    }
}

/// The endpoints of a Binding that the egress of its Environment denies, as a field and its detail.
fn cut_off(denied: Vec<DeniedUse<'_>>, environment: &Name) -> Option<(String, String)> {
    let urls: BTreeSet<&str> = denied.iter().map(|used| &*used.endpoint.url).collect();
    (!urls.is_empty()).then(|| {
        let detail = format!(
            "cut off: `egress` of Environment {environment} denies {}; change the endpoints, or `egress`",
            listed(urls.into_iter(), NAMED)
        );
        ("environment".to_owned(), detail)
    })
}

fn warnings(key: &ResourceKey, found: Vec<(String, String)>) -> Vec<Warning> {
    let warning = |(field, detail)| Warning { key: key.clone(), field: format!("spec.{field}"), detail };
    found.into_iter().map(warning).collect()
}

/// The lifecycles in which an Api is served nowhere, as they are written.
const fn not_served(lifecycle: Lifecycle) -> Option<&'static str> {
    match lifecycle {
        Lifecycle::Created => Some("created"),
        Lifecycle::Retired => Some("retired"),
        Lifecycle::Published | Lifecycle::Deprecated | Lifecycle::Blocked => None,
    }
}

/// Whether an Environment with these `hostnames` answers to `host`, or to some below `*.suffix`.
pub(super) fn has_host(hostnames: &[String], host: &str) -> bool {
    hostnames.is_empty() || hostnames.iter().any(|own| common_hosts(own, host).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{World, delete, key};

    /// What is told of a resource, a line for each.
    fn told(world: &World, of: &str) -> Vec<String> {
        world.state.warnings(&key(of), None).iter().map(line).collect()
    }

    impl World {
        fn unserved_after(&self, accepted: &crate::Accepted) -> Vec<Warning> {
            self.state.unserved_after(&self.state, &accepted.changes, usize::MAX, None)
        }
    }

    fn line(warning: &Warning) -> String {
        format!("{}: {}: {}", warning.key, warning.field, warning.detail)
    }

    const BINDING: &str = "Binding orders-production";

    fn environment(more: &str) -> String {
        format!("{{kind: Environment, name: production, spec: {{{more}}}}}")
    }

    fn orders(more: &str) -> String {
        format!(
            "{{kind: Api, name: orders, spec: {{context: /orders/v1, version: '1', upstream: backend, operations: [], {more}}}}}"
        )
    }

    fn binding(more: &str) -> String {
        format!(
            "{{kind: Binding, name: orders-production, spec: {{api: orders, environment: production, {more}}}}}"
        )
    }

    #[test]
    fn a_binding_that_is_served_nowhere_is_told_with_the_reason() {
        let world = World::with_orders();
        assert!(told(&world, BINDING).is_empty() && told(&world, "Api orders").is_empty());
        let check = |yaml: &str, expected: &[&str]| {
            assert_eq!(told(&world.clone().with(yaml), BINDING), expected, "{yaml}");
        };
        check(
            &environment("regions: []"),
            &[
                "Binding default/orders-production: spec.environment: served nowhere: Environment production has no region; \
               add one to its `regions`",
            ],
        );
        check(
            &binding("regions: {labels: {tier: nix}}"),
            &[
                "Binding default/orders-production: spec.regions: served nowhere: no region of Environment production \
               (eu-west, us-east) has these labels; label one, or name it",
            ],
        );
        check(&binding("regions: {labels: {tier: edge}}"), &[]);
        for lifecycle in ["created", "retired"] {
            let expected = format!(
                "Binding default/orders-production: spec.api: served nowhere: Api orders is `{lifecycle}`; set its \
                 `lifecycle` to `published`"
            );
            check(&orders(&format!("lifecycle: {lifecycle}")), &[&expected]);
        }
        for lifecycle in ["published", "deprecated", "blocked"] {
            check(&orders(&format!("lifecycle: {lifecycle}")), &[]);
        }
    }

    #[test]
    fn a_binding_that_is_cut_off_is_told_with_its_endpoints() {
        let mut world = World::with_orders();
        let denied = world.put(&environment("regions: [eu-west, us-east], egress: {deny: [10.0.0.0/8]}"));
        let expected = "Binding default/orders-production: spec.environment: cut off: `egress` of Environment production denies \
             http://10.0.0.7:8080; change the endpoints, or `egress`";
        let warned: Vec<String> = world.unserved_after(&denied).iter().map(line).collect();
        assert_eq!(warned, [expected]);
        assert_eq!(told(&world, BINDING), [expected]);
        let allowed = world.put(&environment(
            "regions: [eu-west, us-east], egress: {allow: [10.0.0.7/32], deny: [10.0.0.0/8]}",
        ));
        assert!(world.unserved_after(&allowed).is_empty() && told(&world, BINDING).is_empty());
    }

    #[test]
    fn hosts_that_do_not_meet_are_told() {
        let world = World::with_orders();
        let check = |hosts: &str, hostnames: &str, expected: &[&str]| {
            let world = world
                .clone()
                .with(&environment(&format!("regions: [eu-west], hostnames: {hostnames}")))
                .with("{kind: Environment, name: sandbox, spec: {regions: [eu-west], hostnames: [sandbox.example]}}")
                .with(&orders(&format!("hosts: {hosts}")));
            let told = [told(&world, "Api orders"), told(&world, BINDING)].concat();
            assert_eq!(told, expected, "{hosts} {hostnames}");
        };
        check("[a.example]", "[]", &[]);
        check("[a.example]", "['*.example']", &[]);
        check("['*.example']", "[a.example]", &[]);
        check("['*.b.example']", "['*.example']", &[]);
        check("[]", "[a.example]", &[]);
        check(
            "[a.example, b.example]",
            "[a.example]",
            &[
                "Api default/orders: spec.hosts[1]: no Environment has the host b.example: add it to `hostnames` of one, or \
               leave it out here",
            ],
        );
        // Another Environment has the host: only the Binding is wrong.
        check(
            "[sandbox.example]",
            "[a.example, b.example, c.example, d.example]",
            &[
                "Binding default/orders-production: spec.environment: served nowhere: r2 of Api orders is for sandbox.example, \
               and Environment production is for a.example, b.example, c.example and 1 more; add a host to one of them",
            ],
        );
    }

    #[test]
    fn a_change_tells_of_all_that_it_reaches() {
        let check = |changed: &str, expected: &[&str]| {
            let mut world = World::with_orders();
            world.put(&binding("regions: {labels: {tier: edge}}"));
            let accepted = world.put(changed);
            let told: Vec<String> = world.unserved_after(&accepted).iter().map(line).collect();
            let fields: Vec<&str> = told.iter().map(|line| line.split(": served").next().unwrap()).collect();
            assert_eq!(fields, expected, "{changed}");
        };
        check("{kind: Region, name: eu-west}", &["Binding default/orders-production: spec.regions"]);
        check(&environment("regions: []"), &["Binding default/orders-production: spec.environment"]);
        check(&orders("lifecycle: created"), &["Binding default/orders-production: spec.api"]);
        check(
            &binding("regions: {labels: {tier: nix}}"),
            &["Binding default/orders-production: spec.regions"],
        );
        check("{kind: Plan, name: silver}", &[]);

        // What stays as it is, is told of again: an apply that is repeated says the same.
        let mut world = World::with_orders().with(&environment("regions: []"));
        let again = world.put(&binding("regions: {}"));
        assert_eq!(world.unserved_after(&again).len(), 1);
        let unchanged = world.put(&environment("regions: []"));
        assert!(world.unserved_after(&unchanged).is_empty(), "it changed nothing");
        let deleted = world.change(vec![delete(BINDING, false)]).unwrap();
        assert!(world.unserved_after(&deleted).is_empty(), "what is gone is told of no more");
    }

    /// The hosts of an Environment are told with the Apis that lose one.
    #[test]
    fn an_environment_that_changes_its_hosts_tells_of_its_apis() {
        let mut world = World::with_orders()
            .with(&environment("regions: [eu-west], hostnames: [a.example]"))
            .with("{kind: Environment, name: sandbox, spec: {regions: [], hostnames: [b.example]}}")
            .with(&orders("hosts: [a.example]"));
        let accepted = world.put(&environment("regions: [eu-west], hostnames: [c.example]"));
        let told = world.unserved_after(&accepted);
        assert_eq!(
            told.iter().map(|warning| format!("{} {}", warning.key, warning.field)).collect::<Vec<_>>(),
            ["Api default/orders spec.hosts[0]", "Binding default/orders-production spec.environment"]
        );
    }
}
