//! `hanse agent region` for people.

use hanse_agent::{AgentShown, GatewayShown, RegionPage, RelayShown, TrafficShown};

use super::table;

/// Stands for rows that are summed.
const OTHERS: &str = "(others)";

/// What an agent knows of its region.
pub(crate) fn region(page: &RegionPage) -> String {
    let mut text = format!("region {}, as {} knows it\n", page.region, page.agent);
    page.relays.iter().for_each(|relay| text += &format!("{}\n", source(relay)));
    if page.relays.is_empty() {
        text += "no other relay is known: these are the agents and gateways that it hears itself\n";
    }
    text.push('\n');
    text += &table(
        titles(&["AGENT", "GATEWAY", "STATE", "SERVES", "URLS"]),
        page.agents.iter().flat_map(|agent| gateways(agent, &page.region)),
    );
    for agent in page.agents.iter().filter(|agent| agent.left_out > 0) {
        text += &format!("\n{}: {} more gateways are not named", agent.name, agent.left_out);
    }
    if !page.traffic.is_empty() {
        text += "\n\n";
        text += &table(titles(&["ENVIRONMENT", "HOST", "REQUESTS/S"]), page.traffic.iter().map(requests));
    }
    text
}

/// How a relay was heard.
fn source(relay: &RelayShown) -> String {
    let age = match relay.age_seconds {
        Some(age) => format!("heard {age} s ago"),
        None => "not heard".to_owned(),
    };
    let failure = relay.last_failure.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("relay {}: {age}{failure}", relay.name)
}

fn gateways<'a>(agent: &'a AgentShown, region: &'a str) -> Vec<Vec<String>> {
    let name = if agent.live { agent.name.clone() } else { format!("{} (gone)", agent.name) };
    let row = |gateway: &GatewayShown| {
        let serves: Vec<_> = gateway.scopes.iter().map(|scope| short(scope, region)).collect();
        let more = gateway.scopes_total.map(|total| format!(", {total} in all")).unwrap_or_default();
        vec![name.clone(), gateway.name.clone(), state(gateway), serves.join(", ") + &more, urls(gateway)]
    };
    match agent.gateways.is_empty() {
        true => vec![vec![name]],
        false => agent.gateways.iter().map(row).collect(),
    }
}

fn urls(gateway: &GatewayShown) -> String {
    let internal = gateway.internal_urls.iter().map(|url| format!("{url} (internal)"));
    gateway.urls.iter().cloned().chain(internal).collect::<Vec<_>>().join(" ")
}

fn state(gateway: &GatewayShown) -> String {
    match (gateway.live, gateway.ready, &gateway.not_ready) {
        (false, _, _) => "gone".to_owned(),
        (true, None, _) => "unknown".to_owned(),
        (true, Some(true), _) => "ready".to_owned(),
        (true, Some(false), why) => format!("not ready: {}", why.as_deref().unwrap_or("it does not say why")),
    }
}

/// `ENVIRONMENT` for what comes from the control plane, `ENVIRONMENT/ORIGIN` for a local scope.
fn short(scope: &str, region: &str) -> String {
    let of_region = |kind: &str| scope.strip_prefix(kind)?.strip_prefix(region)?.strip_prefix('/');
    of_region("runtime/").or_else(|| of_region("local/")).unwrap_or(scope).to_owned()
}

fn requests(row: &TrafficShown) -> Vec<String> {
    let named = |name: &Option<String>| name.clone().unwrap_or_else(|| OTHERS.to_owned());
    vec![named(&row.environment), named(&row.host), format!("{:.1}", row.requests_per_second)]
}

fn titles(titles: &[&str]) -> Vec<String> {
    titles.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> RegionPage {
        serde_json::from_value(serde_json::json!({
            "region": "eu-west",
            "agent": "b",
            "relays": [{"name": "a", "ageSeconds": 0},
                       {"name": "c", "ageSeconds": 21, "lastFailure": "nothing was heard for 5s"}],
            "agents": [
                {"name": "b", "live": true, "gateways": [
                    {"name": "gateway-3", "live": true, "ready": true, "urls": [],
                     "scopes": ["local/eu-west/production/pods", "runtime/eu-west/production"]},
                ]},
                {"name": "a", "live": true, "leftOut": 2, "gateways": [
                    {"name": "gateway-1", "live": true, "ready": true, "scopes": ["runtime/eu-west/production"],
                     "scopesTotal": 9, "urls": ["https://api.example.com"], "internalUrls": ["http://10.0.0.7:8080"]},
                    {"name": "gateway-2", "live": true, "ready": false, "notReady": "no configuration yet",
                     "scopes": [], "urls": []},
                ]},
                {"name": "c", "live": false, "gateways": [
                    {"name": "gateway-4", "live": false, "ready": false, "scopes": [], "urls": []},
                ]},
                {"name": "d", "live": true, "gateways": [
                    {"name": "gateway-5", "live": true, "scopes": [], "urls": []},
                ]},
                {"name": "e", "live": true, "gateways": []},
            ],
            "traffic": [
                {"environment": "production", "host": "*.example.com", "requestsPerSecond": 1234.56},
                {"environment": "production", "requestsPerSecond": 0.5},
                {"requestsPerSecond": 1.0},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn gateways_and_traffic_are_tables() {
        insta::assert_snapshot!(region(&page()), @"
        region eu-west, as b knows it
        relay a: heard 0 s ago
        relay c: heard 21 s ago: nothing was heard for 5s

        AGENT     GATEWAY    STATE                            SERVES                       URLS
        b         gateway-3  ready                            production/pods, production  -
        a         gateway-1  ready                            production, 9 in all         https://api.example.com http://10.0.0.7:8080 (internal)
        a         gateway-2  not ready: no configuration yet  -                            -
        c (gone)  gateway-4  gone                             -                            -
        d         gateway-5  unknown                          -                            -
        e         -          -                                -                            -
        a: 2 more gateways are not named

        ENVIRONMENT  HOST           REQUESTS/S
        production   *.example.com  1234.6
        production   (others)       0.5
        (others)     (others)       1.0
        ");
    }

    #[test]
    fn each_relay_has_a_line() {
        let mut page = page();
        let relay = RelayShown { name: "c".into(), age_seconds: None, last_failure: Some("it stops".into()) };
        page.relays = vec![relay];
        assert_eq!(region(&page).lines().nth(1), Some("relay c: not heard: it stops"));
        page.relays.clear();
        assert!(region(&page).lines().nth(1).unwrap().starts_with("no other relay is known"));
    }
}
