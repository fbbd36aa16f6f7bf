//! Where an Api is served, in which revision, and by which gateways. Pure.

use std::collections::{BTreeMap, BTreeSet};

use hanse_api::answer::{Convergence, ConvergenceState, GatewayConvergence, Resource};
use hanse_management::text_of;
use hanse_topology::Name;

use crate::{
    publish::Bound,
    render::{self, Beside},
};

/// How many gateways are named in a cell.
const NAMED: usize = 5;

/// The column of a list of Apis that says which revision each environment serves: `production:r6,sandbox:r7`.
pub(crate) fn environments(bindings: &[Resource]) -> Beside {
    let mut cells: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for binding in bindings {
        let serving = binding.status.as_ref().and_then(|status| status["serving"].as_u64());
        let serving = serving.map_or_else(|| "none".to_owned(), |number| format!("r{number}"));
        let cell = format!("{}:{serving}", text_of(&binding.spec["environment"]));
        cells.entry(text_of(&binding.spec["api"])).or_default().insert(cell);
    }
    let joined = |cell: BTreeSet<String>| cell.into_iter().collect::<Vec<_>>().join(",");
    let cells = cells.into_iter().map(|(api, cell)| (api, joined(cell)));
    Beside { title: "ENVIRONMENTS", cells: cells.collect() }
}

/// A row per Binding and region. `url_in` says where a Binding is called in a region. `None`: there is no Binding.
pub(crate) fn table(
    bindings: &[Bound],
    convergence: &Convergence,
    url_in: impl Fn(&Bound, &Name) -> String,
) -> Option<String> {
    let header =
        ["ENVIRONMENT", "BINDING", "SERVES", "REGION", "URL", "GATEWAYS"].map(str::to_owned).to_vec();
    let mut rows = Vec::new();
    for bound in bindings {
        let start = || vec![bound.spec.environment.to_string(), bound.name.to_string(), revision(bound)];
        if bound.regions.is_empty() {
            rows.push([start(), vec!["none".to_owned()]].concat());
        }
        for region in &bound.regions {
            let environment = &bound.spec.environment;
            let place =
                vec![region.to_string(), url_in(bound, region), gateways(convergence, region, environment)];
            rows.push([start(), place].concat());
        }
    }
    (!rows.is_empty()).then(|| render::table(header, rows.into_iter()))
}

/// `r6`, and what else there is to say of it.
fn revision(bound: &Bound) -> String {
    let Some(now) = bound.serving else { return "nothing".to_owned() };
    match bound.rolled_back_from() {
        Some(highest) => format!("r{now} (rolled back from r{highest})"),
        None if bound.follows_latest() => format!("r{now} (follows latest)"),
        None => format!("r{now}"),
    }
}

/// The gateways of a region that serve all changes of an environment, and those that do not yet.
fn gateways(convergence: &Convergence, region: &Name, environment: &Name) -> String {
    let is_here = |gateway: &&GatewayConvergence| {
        gateway.region == region.as_str() && gateway.environment == environment.as_str()
    };
    let mut serving: Vec<&str> = Vec::new();
    let mut others: Vec<String> = Vec::new();
    for gateway in convergence.gateways.iter().filter(is_here) {
        if gateway.state == ConvergenceState::Effective {
            serving.push(&gateway.name);
        } else {
            let reason = gateway.reason.as_deref().unwrap_or("it has not said why");
            others.push(format!("{} {}: {reason}", gateway.name, gateway.state));
        }
    }
    let more = serving.len().saturating_sub(NAMED);
    serving.truncate(NAMED);
    let mut said: Vec<String> = Vec::new();
    match (serving.as_slice(), more) {
        ([], _) => {}
        (named, 0) => said.push(named.join(",")),
        (named, more) => said.push(format!("{} and {more} more", named.join(","))),
    }
    said.extend(others);
    if said.is_empty() { "none".to_owned() } else { said.join("; ") }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::client::tests::resource;

    fn binding(name: &str, environment: &str, revision: Value, served: &[u64]) -> Resource {
        resource(json!({
            "kind": "Binding", "name": name,
            "spec": {"api": "orders", "environment": environment, "revision": revision},
            "status": {"serving": served.last(), "served": served},
        }))
    }

    #[test]
    fn each_environment_has_its_revision() {
        let bindings = [
            binding("a", "sandbox", json!("latest"), &[7]),
            binding("b", "production", json!(6), &[6]),
            binding("c", "production", json!(5), &[5]),
            binding("d", "staging", json!("latest"), &[]),
        ];
        let cells = environments(&bindings).cells;
        assert_eq!(cells["orders"], "production:r5,production:r6,sandbox:r7,staging:none");
        assert_eq!(cells.get("other"), None);
    }

    #[test]
    fn places_have_revision_url_and_gateways() {
        let name = |text: &str| Name::new(text).unwrap();
        let bound = |resource: Resource, regions: &[&str]| {
            Bound::read(&resource, |_| regions.iter().map(|region| name(region)).collect()).unwrap()
        };
        let bindings = [
            bound(binding("orders-production", "production", json!(6), &[6, 7, 6]), &["eu-west", "us-east"]),
            bound(binding("orders-sandbox", "sandbox", json!("latest"), &[7]), &["eu-west"]),
            bound(binding("orders-moon", "moon", json!("latest"), &[]), &[]),
        ];
        let gateway = |name: &str, region: &str, state: &str, reason: Option<&str>| GatewayConvergence {
            name: name.into(),
            region: region.into(),
            environment: "production".into(),
            state: state.to_owned().into(),
            revision: Some(12),
            reason: reason.map(Into::into),
        };
        let mut gateways: Vec<_> =
            (1..8).map(|number| gateway(&format!("g{number}"), "us-east", "effective", None)).collect();
        gateways.push(gateway("h", "eu-west", "effective", None));
        gateways.push(gateway("i", "eu-west", "behind", Some("silent for 4.0 s")));
        let convergence =
            Convergence { revision: 12, converged: false, gateways, silent: vec![], partial: vec![] };
        let url = |bound: &Bound, region: &Name| format!("https://{region}.{}/o", bound.spec.environment);
        insta::assert_snapshot!(table(&bindings, &convergence, url).unwrap(), @r"
        ENVIRONMENT  BINDING            SERVES                    REGION   URL                           GATEWAYS
        production   orders-production  r6 (rolled back from r7)  eu-west  https://eu-west.production/o  h; i behind: silent for 4.0 s
        production   orders-production  r6 (rolled back from r7)  us-east  https://us-east.production/o  g1,g2,g3,g4,g5 and 2 more
        sandbox      orders-sandbox     r7 (follows latest)       eu-west  https://eu-west.sandbox/o     none
        moon         orders-moon        nothing                   none     -                             -
        ");
        assert_eq!(table(&[], &convergence, url), None);
    }
}
