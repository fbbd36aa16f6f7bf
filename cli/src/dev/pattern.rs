//! Arrangements that companies run, small enough for one machine. Pure.
//!
//! A pattern says which *host* carries which process. A host is a machine of its own in production; here it is a name, by which `hanse dev
//! kill` ends all that it carries. `deploy/patterns/` says how each is deployed.

use clap::ValueEnum;
use hanse_topology::Exposure;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::plan::{ProcessSpec, Role, region_name};

/// Which pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Pattern {
    /// Two hosts that carry everything, and a witness
    #[value(name = "1")]
    #[serde(rename = "1")]
    Pair,
    /// Gateways that come and go on their own
    #[value(name = "2")]
    #[serde(rename = "2")]
    Scale,
    /// Internal and external gateways apart
    #[value(name = "4")]
    #[serde(rename = "4")]
    Apart,
}

impl Pattern {
    /// Its number.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Pair => 1,
            Self::Scale => 2,
            Self::Apart => 4,
        }
    }

    /// Its processes. All are of one region.
    pub(super) fn processes(self) -> Vec<ProcessSpec> {
        let hosts: &[(&str, &[(Role, &str)])] = match self {
            // A third voter on a small host of its own: with two, the loss of either would stop changes.
            Self::Pair => &[
                (
                    "host-1",
                    &[
                        (Role::Server, "cp-1"),
                        (Role::Agent, "agent-1"),
                        (Role::Gateway, "gateway-1"),
                        (Role::Dns, "dns-1"),
                    ],
                ),
                (
                    "host-2",
                    &[
                        (Role::Server, "cp-2"),
                        (Role::Agent, "agent-2"),
                        (Role::Gateway, "gateway-2"),
                        (Role::Dns, "dns-2"),
                    ],
                ),
                ("witness", &[(Role::Server, "cp-3")]),
            ],
            // Gateways have hosts of their own, so their number follows the load and nothing else.
            Self::Scale => &[
                ("control-1", &[(Role::Server, "cp-1"), (Role::Agent, "agent-1"), (Role::Dns, "dns-1")]),
                ("control-2", &[(Role::Server, "cp-2"), (Role::Agent, "agent-2")]),
                ("control-3", &[(Role::Server, "cp-3")]),
                ("gateway-1", &[(Role::Gateway, "gateway-1")]),
                ("gateway-2", &[(Role::Gateway, "gateway-2")]),
            ],
            Self::Apart => &[
                ("control-1", &[(Role::Server, "cp-1"), (Role::Agent, "agent-1")]),
                ("control-2", &[(Role::Server, "cp-2")]),
                ("control-3", &[(Role::Server, "cp-3")]),
                ("dmz", &[(Role::Gateway, "gateway-external"), (Role::Dns, "dns-1")]),
                ("inside", &[(Role::Gateway, "gateway-internal")]),
            ],
        };
        let region = region_name(1);
        let process = |host: &str, (role, name): (Role, &str)| {
            let of = (role != Role::Server).then_some(&region);
            let mut process = ProcessSpec::new(role, name.to_owned(), of);
            process.host = Some(host.to_owned());
            process.exposure = if host == "inside" { Exposure::Internal } else { Exposure::External };
            process
        };
        let carried = hosts.iter().flat_map(|(host, all)| all.iter().map(|one| process(host, *one)));
        std::iter::once(ProcessSpec::new(Role::Upstream, "upstream".to_owned(), None))
            .chain(carried)
            .collect()
    }

    /// What a new federation is told beside what every other one is told.
    pub(super) fn resources(self) -> Vec<Value> {
        match self {
            Self::Pair | Self::Scale => Vec::new(),
            Self::Apart => {
                let spec = json!({"regions": [region_name(1)], "exposure": Exposure::Internal, "hostnames": ["internal.localhost"]});
                vec![json!({"kind": "Environment", "name": "internal", "spec": spec})]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::dev::plan::Plan;

    /// Which host carries which roles, as `deploy/patterns/README.md` says it.
    fn carried(pattern: Pattern) -> BTreeMap<String, BTreeSet<&'static str>> {
        let mut hosts = BTreeMap::<String, BTreeSet<&str>>::new();
        for process in pattern.processes() {
            if let Some(host) = process.host {
                hosts.entry(host).or_default().insert(process.role.command());
            }
        }
        hosts
    }

    #[test]
    fn each_pattern_has_its_processes_on_its_hosts() {
        let check = |pattern, expected: &[(&str, &[&'static str])]| {
            let expected =
                expected.iter().map(|(host, roles)| ((*host).to_owned(), roles.iter().copied().collect()));
            assert_eq!(carried(pattern), expected.collect(), "{pattern:?}");
        };
        let all = ["server", "agent", "gateway", "dns"];
        check(Pattern::Pair, &[("host-1", &all), ("host-2", &all), ("witness", &["server"])]);
        check(
            Pattern::Scale,
            &[
                ("control-1", &["server", "agent", "dns"]),
                ("control-2", &["server", "agent"]),
                ("control-3", &["server"]),
                ("gateway-1", &["gateway"]),
                ("gateway-2", &["gateway"]),
            ],
        );
        check(
            Pattern::Apart,
            &[
                ("control-1", &["server", "agent"]),
                ("control-2", &["server"]),
                ("control-3", &["server"]),
                ("dmz", &["gateway", "dns"]),
                ("inside", &["gateway"]),
            ],
        );
    }

    #[test]
    fn the_loss_of_a_host_leaves_a_quorum() {
        for pattern in Pattern::value_variants() {
            let plan = Plan::of_pattern(*pattern);
            let voters = |host: Option<&str>| {
                plan.of_role(Role::Server)
                    .filter(|server| server.host.as_deref() == host || host.is_none())
                    .count()
            };
            for host in carried(*pattern).keys() {
                assert!(voters(Some(host)) * 2 < voters(None), "{pattern:?} loses {host}");
            }
        }
    }
}
