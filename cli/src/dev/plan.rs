//! Which processes a federation has, and where each listens. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    io,
};

use hanse_topology::{Exposure, Name};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::pattern::Pattern;

/// Control-plane nodes, unless told otherwise: the fewest that survive the loss of one.
pub(super) const CONTROL_NODES: u8 = 3;
/// Regions, unless told otherwise.
pub(super) const REGIONS: u8 = 2;
/// Every process listens on this address.
pub(super) const HOST: &str = "127.0.0.1";
/// Between the preferred ports of the first process of a role and those of the next.
const STRIDE: u16 = 100;

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// A control-plane node.
    Server,
    /// A region's agent.
    Agent,
    /// A gateway.
    Gateway,
    /// A DNS responder.
    Dns,
    /// The sample upstream.
    Upstream,
}

/// Something a process listens for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Face {
    /// The operator API.
    Api,
    /// Syncing.
    Federation,
    /// Other control-plane nodes.
    Raft,
    /// Joining.
    Enrolment,
    /// Health and metrics.
    Admin,
    /// Clients, in plain HTTP.
    Http,
    /// Clients, over TLS.
    Https,
    /// Queries, over UDP and TCP.
    Dns,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessSpec {
    pub(super) role: Role,
    pub(super) name: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) region: Option<Name>,
    /// The host of its pattern that carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<String>,
    /// Of a gateway: who its clients are.
    #[serde(default)]
    pub(super) exposure: Exposure,
    /// Where it listens; empty until ports are chosen.
    #[serde(default)]
    pub(super) ports: BTreeMap<Face, u16>,
}

/// Every process of a federation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Whether the federation was ready once; until then it is thrown away and made anew.
    pub(super) complete: bool,
    /// Whether gateways write an access log, in this run.
    #[serde(skip)]
    pub(super) access_logs: bool,
    /// The arrangement that it follows; `None`: control nodes, and an agent, a gateway and a responder for each region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pattern: Option<Pattern>,
    pub(super) processes: Vec<ProcessSpec>,
}

impl Role {
    /// The subcommand that runs it.
    pub(super) const fn command(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Agent => "agent",
            Self::Gateway => "gateway",
            Self::Dns => "dns",
            Self::Upstream => "upstream",
        }
    }

    /// What it listens for, with the port the first one prefers (`DESIGN` has the list; 7449 and 9000 are dev's own).
    const fn faces(self) -> &'static [(Face, u16)] {
        match self {
            Self::Server => &[
                (Face::Api, 7443),
                (Face::Federation, 7444),
                (Face::Raft, 7445),
                (Face::Enrolment, 7446),
                (Face::Admin, 7449),
            ],
            // Its federation and enrolment faces are like a server's, and come after those of the servers.
            Self::Agent => &[(Face::Federation, 7454), (Face::Enrolment, 7456), (Face::Admin, 7460)],
            Self::Gateway => &[(Face::Http, 8080), (Face::Https, 8443), (Face::Admin, 7470)],
            Self::Dns => &[(Face::Dns, 7453), (Face::Admin, 7480)],
            Self::Upstream => &[(Face::Http, 9000)],
        }
    }

    /// Whether others keep the address for good: members of the Raft group know each other by theirs.
    pub(super) const fn keeps(self, face: Face) -> bool {
        matches!((self, face), (Self::Server, Face::Api | Face::Federation | Face::Raft))
    }
}

impl ProcessSpec {
    pub(super) fn new(role: Role, name: String, region: Option<&Name>) -> Self {
        let name = Name::new(name).expect("planned names are made of names, words and small numbers");
        let (region, host, exposure) = (region.cloned(), None, Exposure::default());
        Self { role, name, region, host, exposure, ports: BTreeMap::new() }
    }

    /// `127.0.0.1:PORT`.
    pub(super) fn address(&self, face: Face) -> Option<String> {
        self.ports.get(&face).map(|port| format!("{HOST}:{port}"))
    }

    /// Chooses a port for each face that has none. `pick` gets the port preferred and answers with one that is free.
    fn choose(&mut self, index: u16, pick: &mut impl FnMut(u16) -> io::Result<u16>) -> io::Result<()> {
        for &(face, preferred) in self.role.faces() {
            if let Entry::Vacant(vacant) = self.ports.entry(face) {
                vacant.insert(pick(preferred.saturating_add(index * STRIDE))?);
            }
        }
        Ok(())
    }
}

impl Plan {
    /// A federation of that size.
    pub(super) fn new(control_nodes: u8, regions: u8) -> Self {
        let mut processes = vec![ProcessSpec::new(Role::Upstream, "upstream".into(), None)];
        processes
            .extend((1..=control_nodes).map(|n| ProcessSpec::new(Role::Server, format!("cp-{n}"), None)));
        for region in (1..=regions).map(region_name) {
            processes.push(ProcessSpec::new(Role::Agent, format!("agent-{region}"), Some(&region)));
            processes.push(ProcessSpec::new(Role::Gateway, format!("gateway-{region}"), Some(&region)));
            processes.push(ProcessSpec::new(Role::Dns, format!("dns-{region}"), Some(&region)));
        }
        Self { complete: false, access_logs: false, pattern: None, processes }
    }

    /// A federation of that arrangement.
    pub(super) fn of_pattern(pattern: Pattern) -> Self {
        Self { complete: false, access_logs: false, pattern: Some(pattern), processes: pattern.processes() }
    }

    /// Chooses a port for every face that has none.
    pub(super) fn choose_ports(&mut self, mut pick: impl FnMut(u16) -> io::Result<u16>) -> io::Result<()> {
        let mut counts: [u16; 5] = [0; 5];
        for process in &mut self.processes {
            let index = &mut counts[process.role as usize];
            process.choose(*index, &mut pick)?;
            *index += 1;
        }
        Ok(())
    }

    pub(super) fn find(&self, name: &str) -> Option<&ProcessSpec> {
        self.processes.iter().find(|process| process.name == *name)
    }

    pub(super) fn of_role(&self, role: Role) -> impl Iterator<Item = &ProcessSpec> {
        self.processes.iter().filter(move |process| process.role == role)
    }

    /// The agents of a region.
    pub(super) fn agents<'a>(&'a self, region: &'a Name) -> impl Iterator<Item = &'a ProcessSpec> {
        self.of_role(Role::Agent).filter(move |agent| agent.region.as_ref() == Some(region))
    }

    /// Whether this agent makes the join token of that gateway or responder: the agent of the same host, or else the first one of the region.
    pub(super) fn admits(&self, agent: &ProcessSpec, node: &ProcessSpec) -> bool {
        let of_region = || node.region.iter().flat_map(|region| self.agents(region));
        let of_host = of_region().find(|agent| agent.host == node.host);
        of_host.or_else(|| of_region().next()).is_some_and(|admits| admits.name == agent.name)
    }

    /// The processes of that name, or those that the host of that name carries.
    pub(super) fn named(&self, name: &str) -> Vec<Name> {
        let is_it = |process: &&ProcessSpec| match self.find(name) {
            Some(found) => process.name == found.name,
            None => process.host.as_deref() == Some(name),
        };
        self.processes.iter().filter(is_it).map(|process| process.name.clone()).collect()
    }

    /// The regions, in the order they were planned, each once.
    pub(super) fn regions(&self) -> impl Iterator<Item = &Name> {
        let mut seen = BTreeSet::new();
        self.of_role(Role::Agent)
            .filter_map(|agent| agent.region.as_ref())
            .filter(move |region| seen.insert(*region))
    }

    /// How many control-plane nodes and regions it has.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.of_role(Role::Server).count(), self.regions().count())
    }

    /// Another gateway for a region, with a name and no ports yet.
    pub(super) fn another_gateway(&self, region: &Name) -> ProcessSpec {
        let name = (2_u32..)
            .map(|n| format!("gateway-{region}-{n}"))
            .find(|name| self.find(name).is_none())
            .expect("there are more numbers than gateways");
        ProcessSpec::new(Role::Gateway, name, Some(region))
    }

    /// Chooses the ports of a process that is about to be added.
    pub(super) fn choose_for(
        &self,
        process: &mut ProcessSpec,
        mut pick: impl FnMut(u16) -> io::Result<u16>,
    ) -> io::Result<()> {
        let index = self.of_role(process.role).count();
        process.choose(u16::try_from(index).unwrap_or(u16::MAX / STRIDE), &mut pick)
    }

    /// What a new federation is told first: everything but its join tokens.
    pub(super) fn resources(&self) -> Vec<Value> {
        let regions: Vec<_> = self.regions().collect();
        let mut resources = vec![
            json!({"kind": "Organization", "name": "default", "spec": {"displayName": "Default organization"}}),
        ];
        resources.extend(regions.iter().enumerate().map(|(index, region)| {
            let location = location(index);
            json!({"kind": "Region", "name": region, "spec": {"location": location, "provider": "cloud"}})
        }));
        resources.push(json!({"kind": "Environment", "name": "production", "spec": {"regions": regions}}));
        let sandbox = json!({"regions": regions, "hostnames": ["sandbox.localhost"]});
        resources.push(json!({"kind": "Environment", "name": "sandbox", "spec": sandbox}));
        resources.extend(self.pattern.into_iter().flat_map(Pattern::resources));
        for (name, requests) in
            [("unlimited", None), ("gold", Some(5_000)), ("silver", Some(2_000)), ("bronze", Some(1_000))]
        {
            let spec = requests.map_or_else(
                || json!({}),
                |requests| json!({"rate": {"requests": requests, "per": "minute"}}),
            );
            resources.push(json!({"kind": "Plan", "name": name, "organization": "default", "spec": spec}));
        }
        resources
    }
}

pub(super) fn region_name(number: u8) -> Name {
    let name = match number {
        1 => "eu-west".to_owned(),
        2 => "us-east".to_owned(),
        n => format!("region-{n}"),
    };
    Name::new(name).expect("a word and a number are a name")
}

/// Where the regions lie: Ireland and Virginia; further ones go round the world.
fn location(index: usize) -> Value {
    match index {
        0 => json!({"latitude": 53.35, "longitude": -6.26, "country": "IE", "continent": "EU"}),
        1 => json!({"latitude": 38.95, "longitude": -77.45, "country": "US", "continent": "NA"}),
        2 => json!({"latitude": 1.35, "longitude": 103.82, "country": "SG", "continent": "AS"}),
        3 => json!({"latitude": -23.55, "longitude": -46.63, "country": "BR", "continent": "SA"}),
        _ => json!({"latitude": -33.87, "longitude": 151.21, "country": "AU", "continent": "OC"}),
    }
}

#[cfg(test)]
mod tests {
    use hanse_management::{Kind, Spec};

    use super::*;

    #[test]
    fn a_federation_as_designed() {
        let mut plan = Plan::new(CONTROL_NODES, REGIONS);
        plan.choose_ports(Ok).unwrap();
        let names: Vec<_> = plan.processes.iter().map(|process| process.name.as_str()).collect();
        let expected = [
            "upstream",
            "cp-1",
            "cp-2",
            "cp-3",
            "agent-eu-west",
            "gateway-eu-west",
            "dns-eu-west",
            "agent-us-east",
            "gateway-us-east",
            "dns-us-east",
        ];
        assert_eq!(names, expected);
        assert_eq!(plan.size(), (3, 2));
        let address = |name: &str, face| plan.find(name).unwrap().address(face).unwrap();
        assert_eq!(address("cp-1", Face::Api), "127.0.0.1:7443");
        assert_eq!(address("cp-3", Face::Raft), "127.0.0.1:7645");
        assert_eq!(address("gateway-us-east", Face::Http), "127.0.0.1:8180");
        assert_eq!(address("dns-us-east", Face::Dns), "127.0.0.1:7553");
        assert_eq!(Plan::new(1, 3).regions().last().unwrap().as_str(), "region-3");
    }

    #[test]
    fn no_two_faces_prefer_one_port() {
        let mut plan = Plan::new(7, 16);
        let mut taken = std::collections::BTreeSet::new();
        plan.choose_ports(|port| {
            taken.insert(port);
            Ok(port)
        })
        .unwrap();
        let faces: usize = plan.processes.iter().map(|process| process.ports.len()).sum();
        // Collisions are legal, the picker solves them; within the default size there are none.
        assert!(taken.len() > faces / 2);
        let mut plan = Plan::new(CONTROL_NODES, REGIONS);
        taken.clear();
        plan.choose_ports(|port| {
            assert!(taken.insert(port), "{port} twice");
            Ok(port)
        })
        .unwrap();
    }

    #[test]
    fn ports_chosen_once_are_kept() {
        let mut plan = Plan::new(1, 1);
        plan.choose_ports(|_| Ok(1)).unwrap();
        plan.choose_ports(|_| panic!("all are chosen")).unwrap();
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }

    #[test]
    fn more_gateways_get_numbers() {
        let mut plan = Plan::new(1, 1);
        let region = plan.regions().next().unwrap().clone();
        for expected in ["gateway-eu-west-2", "gateway-eu-west-3"] {
            let another = plan.another_gateway(&region);
            assert_eq!(another.name.as_str(), expected);
            plan.processes.push(another);
        }
    }

    #[test]
    fn what_a_federation_is_told_can_be_read() {
        for resource in Plan::new(3, 5).resources() {
            let kind: Kind = resource["kind"].as_str().unwrap().parse().unwrap();
            assert!(Spec::from_json(kind, &resource["spec"]).is_ok(), "{resource}");
        }
    }
}
