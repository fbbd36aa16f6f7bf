//! Where a published API can be called.

use hanse_management::Kind;
use serde::Deserialize;

use crate::{
    client::{Client, part_of},
    dev::DevState,
    publish::Step,
};

/// What an Environment says of the places where it is served.
#[derive(Debug, Deserialize)]
struct Served {
    #[serde(default)]
    hostnames: Vec<String>,
}

/// A line per environment and region, for people. Gateways' addresses are their own configuration; those of `hanse dev` are
/// in the file beside the client configuration.
pub(super) async fn places(client: &Client, context: &str, bindings: &[Step]) -> anyhow::Result<String> {
    let dev = client.config_path.parent().and_then(|dir| DevState::read(dir).ok().flatten());
    let mut text = String::new();
    for Step { environment, regions, .. } in bindings {
        let resource = client.get(&client.key(Kind::Environment, environment.clone()), false).await?;
        let served: Served = part_of(&resource)?;
        text += &format!("reachable in {environment} at\n");
        for region in regions.keys() {
            let gateways = dev.as_ref().map(|dev| dev.gateways(region.as_str())).unwrap_or_default();
            let place = place(&served, &gateways, context);
            text += &format!("  {:12} {place}\n", region.as_str());
        }
    }
    Ok(text.trim_end().to_owned())
}

fn place(served: &Served, gateways: &[String], context: &str) -> String {
    let hosts = &served.hostnames;
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
        let served = |spec: serde_json::Value| -> Served { serde_json::from_value(spec).unwrap() };
        let any = served(json!({"regions": ["eu-west", "us-east"], "later": 1}));
        let hosted =
            served(json!({"regions": ["eu-west"], "hostnames": ["api.example.com", "b.example.com"]}));
        let gateways = ["http://127.0.0.1:8080".to_owned()];
        assert_eq!(place(&any, &gateways, "/orders"), "http://127.0.0.1:8080/orders");
        assert_eq!(place(&hosted, &gateways, "/"), "http://127.0.0.1:8080  (header Host: api.example.com)");
        assert_eq!(place(&hosted, &[], "/o"), "https://api.example.com/o  https://b.example.com/o");
        assert_eq!(place(&any, &[], "/o"), "/o on every host name of the region's gateways");
    }
}
