//! Where a published API can be called.

use hanse_management::Kind;
use hanse_topology::Name;
use serde_json::Value;

use crate::{client::Client, dev::DevState, import::Publication, render::text_of};

/// A line per environment and region, for people. Gateways' addresses are their own configuration; those of `hanse dev` are
/// in the file beside the client configuration.
pub(super) async fn places(client: &Client, publication: &Publication) -> anyhow::Result<String> {
    let dev = client.config_path.parent().and_then(|dir| DevState::read(dir).ok().flatten());
    let mut text = String::new();
    for environment in &publication.environments {
        let resource = client.get(&client.key(Kind::Environment, environment.clone()), false).await?;
        text += &format!("reachable in {environment} at\n");
        for region in regions(&resource, &publication.regions) {
            let gateways = dev.as_ref().map(|dev| dev.gateways(&region)).unwrap_or_default();
            let place = place(&resource, &gateways, &publication.context);
            text += &format!("  {region:12} {place}\n");
        }
    }
    Ok(text.trim_end().to_owned())
}

/// The environment's regions that the Binding picks.
fn regions(environment: &Value, picked: &[Name]) -> Vec<String> {
    let listed = environment["spec"]["regions"].as_array().into_iter().flatten().map(text_of);
    listed.filter(|region| picked.is_empty() || picked.iter().any(|name| name.as_str() == region)).collect()
}

fn place(environment: &Value, gateways: &[String], context: &str) -> String {
    let hosts: Vec<String> =
        environment["spec"]["hostnames"].as_array().into_iter().flatten().map(text_of).collect();
    let path = if context == "/" { "" } else { context };
    match (gateways, hosts.first()) {
        ([], None) => format!("{context} on every host name of the region's gateways"),
        ([], Some(_)) => {
            hosts.iter().map(|host| format!("https://{host}{path}")).collect::<Vec<_>>().join("  ")
        }
        (gateways, None) => {
            gateways.iter().map(|gateway| format!("{gateway}{path}")).collect::<Vec<_>>().join("  ")
        }
        (gateways, Some(host)) => {
            let all: Vec<_> = gateways.iter().map(|gateway| format!("{gateway}{path}")).collect();
            format!("{}  (header Host: {host})", all.join("  "))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_name_gateways_or_host_names() {
        let any = json!({"spec": {"regions": ["eu-west", "us-east"]}});
        let hosted =
            json!({"spec": {"regions": ["eu-west"], "hostnames": ["api.example.com", "b.example.com"]}});
        let gateways = ["http://127.0.0.1:8080".to_owned()];
        assert_eq!(place(&any, &gateways, "/orders"), "http://127.0.0.1:8080/orders");
        assert_eq!(place(&hosted, &gateways, "/"), "http://127.0.0.1:8080  (header Host: api.example.com)");
        assert_eq!(place(&hosted, &[], "/o"), "https://api.example.com/o  https://b.example.com/o");
        assert_eq!(place(&any, &[], "/o"), "/o on every host name of the region's gateways");
        assert_eq!(regions(&any, &[]), ["eu-west", "us-east"]);
        assert_eq!(regions(&any, &[Name::new("us-east").unwrap()]), ["us-east"]);
    }
}
