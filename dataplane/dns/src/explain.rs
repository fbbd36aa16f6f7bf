//! Why a host is answered as it is: each rule with what it looked at. For people.

use std::net::IpAddr;

use hanse_dns_wire::Name;
use hanse_steering::{Client, Family, Line, Places, Seen, rules};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    geo::GeoDatabase,
    places::PlacesNow,
    steer::LastAnswers,
    zones::{Found, ServedHost, Zones},
};

/// How a responder would answer a client now, rule by rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// The host.
    pub host: String,
    /// The client's network.
    pub client: String,
    /// The number that chance decided by. The same number gives the same answer.
    pub draw: u64,
    /// In the order in which they applied.
    pub rules: Vec<RuleTrace>,
    /// The answer: of the family that was asked for, or of both.
    pub addresses: Vec<IpAddr>,
    /// Whether clients of other networks may get others.
    pub by_client: bool,
    /// How long resolvers may keep it, in seconds.
    pub ttl: u32,
}

/// A rule that applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleTrace {
    /// Its name: `down`.
    pub rule: String,
    /// The place of the policy's step, counted from 0, where the rule is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// What it looked at.
    pub looked_at: String,
    /// The regions that it left.
    pub left: Vec<hanse_topology::Name>,
}

/// Why there is nothing to explain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unexplained {
    #[error("this responder has no zones yet; /readyz says why")]
    Unready,
    #[error("{0} is in no zone of this responder: it is refused; /config lists the zones")]
    Elsewhere(Name),
    #[error("{0}: a GlobalHost that may have this name cannot be used; /config names it")]
    Unusable(Name),
    #[error("{0} is no host of a GlobalHost")]
    NoHost(Name),
}

/// Explains the answer for a name to a client of this network.
pub(crate) fn explain(
    zones: Option<&Zones>,
    places: &PlacesNow,
    name: &Name,
    client: IpNet,
    family: Option<Family>,
    geo: Option<&GeoDatabase>,
    draw: u64,
) -> Result<Explained, Unexplained> {
    let zones = zones.ok_or(Unexplained::Unready)?;
    let host = match zones.find(name) {
        Found::Elsewhere => return Err(Unexplained::Elsewhere(name.clone())),
        Found::Nowhere(zone) if zone.may_lack(None) => return Err(Unexplained::Unusable(name.clone())),
        Found::Here(zone, node) if zone.may_lack(Some(node)) => {
            return Err(Unexplained::Unusable(name.clone()));
        }
        Found::Nowhere(_) => None,
        Found::Here(_, node) => node.host.as_deref(),
    };
    host.map(|host| of_host(host, places, client, family, geo, draw))
        .ok_or_else(|| Unexplained::NoHost(name.clone()))
}

fn of_host(
    host: &ServedHost,
    places: &PlacesNow,
    client: IpNet,
    family: Option<Family>,
    geo: Option<&GeoDatabase>,
    draw: u64,
) -> Explained {
    let unknown = Places::new();
    let seen = Seen { places: places.seen.get(&host.model.environment).unwrap_or(&unknown), now: places.now };
    let mut lines: Vec<Line> = Vec::new();
    let asked = Client { prefix: Some(client), family, spot: None, draw };
    let steered = LastAnswers::default().steer(host, seen, &asked, geo, &mut lines);
    let mut rules: Vec<_> = lines.into_iter().map(RuleTrace::from).collect();
    if steered.fell_back {
        let answers =
            |of: &&hanse_runtime::Candidate| of.addresses.iter().any(|one| steered.addresses.contains(one));
        rules.push(RuleTrace {
            rule: rules::NEVER_EMPTY.to_owned(),
            step: None,
            looked_at: "the policy panicked or gave no address; a thread that has answered before gives its last answer".to_owned(),
            left: host.model.candidates.iter().filter(answers).map(|of| of.region.clone()).collect(),
        });
    }
    let of_family = |address: &IpAddr| family.is_none_or(|family| family.has(address));
    Explained {
        host: host.model.host.to_string(),
        client: client.to_string(),
        draw,
        addresses: steered.addresses.into_iter().filter(of_family).collect(),
        by_client: steered.by_client,
        ttl: host.ttl(),
        rules,
    }
}

impl From<Line> for RuleTrace {
    fn from(line: Line) -> Self {
        let Line { rule, step, looked_at, remaining } = line;
        Self { rule: rule.to_owned(), step, looked_at, left: remaining }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hanse_dns_wire::absolute;

    use super::*;
    use crate::{
        testbed::{host, host_entry, zone, zone_entry},
        zones::ScopeIndex,
    };

    #[test]
    fn each_rule_says_what_it_looked_at() {
        let mut orders =
            host("orders.gslb.example.com", &[("eu-west", &["192.0.2.1"]), ("us-east", &["192.0.2.2"])]);
        orders.candidates[1].percent = 0;
        orders.candidates[1].why = "drained: new racks".to_owned();
        let content = vec![zone_entry(zone("gslb.example.com")), host_entry(orders)];
        let zones = ScopeIndex::default().hold(content, Vec::new(), &BTreeMap::new());
        let ask = |zones, name| {
            explain(
                zones,
                &PlacesNow::default(),
                &absolute(name).unwrap(),
                "10.1.0.0/16".parse().unwrap(),
                None,
                None,
                7,
            )
        };
        let explained = ask(Some(&zones), "Orders.gslb.example.com").unwrap();
        assert_eq!(explained.addresses, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        let rule = explained.rules.iter().find(|rule| rule.rule == "not-serving").unwrap();
        assert!(rule.looked_at.contains("us-east 0% (drained: new racks)"), "{rule:?}");
        assert_eq!(rule.left.iter().map(|region| region.as_str()).collect::<Vec<_>>(), ["eu-west"]);
        let text = serde_json::to_string(&explained).unwrap();
        assert_eq!(serde_json::from_str::<Explained>(&text).unwrap(), explained);

        let fell_back =
            hanse_process::bring_back("policy-panics", || ask(Some(&zones), "orders.gslb.example.com"));
        let fell_back = fell_back.unwrap();
        assert_eq!(fell_back.addresses, explained.addresses, "as clients are answered");
        assert_eq!(fell_back.rules.last().unwrap().rule, "never-empty");

        for (name, why) in [
            ("www.example.org", "in no zone"),
            ("nothing.gslb.example.com", "no host"),
            ("gslb.example.com", "no host"),
        ] {
            let error = ask(Some(&zones), name).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert_eq!(ask(None, "orders.gslb.example.com"), Err(Unexplained::Unready));
    }
}
