//! Where a published API can be called.

use std::collections::BTreeSet;

use hanse_management::{
    Kind, common_hosts,
    kinds::{ApiSpec, Lifecycle},
};
use serde::Deserialize;

use crate::{
    client::{Client, part_of},
    dev::DevState,
    publish::Step,
};

/// What an Environment says of the places where it is served.
#[derive(Debug, Deserialize)]
pub(super) struct Served {
    /// Its host names; none: every one.
    #[serde(default)]
    pub(super) hostnames: Vec<String>,
}

/// A line per environment and region, for people. `api` is the Api as it was before; `None`: it is new. Publishing an Api changes
/// neither its hosts nor its lifecycle. Gateways' addresses are their own configuration; those of `hanse dev` are in the file
/// beside the client configuration.
pub(super) async fn places(
    client: &Client,
    context: &str,
    api: Option<&ApiSpec>,
    bindings: &[Step],
) -> anyhow::Result<String> {
    let dev = client.config_path.parent().and_then(|dir| DevState::read(dir).ok().flatten());
    let mut text = String::new();
    for Step { environment, regions, .. } in bindings {
        let resource = client.get(&client.key(Kind::Environment, environment.clone()), false).await?;
        let served: Served = part_of(&resource)?;
        let hosts = match hosts(api, &served.hostnames) {
            Ok(hosts) if !regions.is_empty() => hosts,
            Ok(_) => {
                text += &format!("served nowhere in {environment}: it has no region there\n");
                continue;
            }
            Err(why) => {
                text += &format!("served nowhere in {environment}: {why}\n");
                continue;
            }
        };
        text += &format!("reachable in {environment} at\n");
        for region in regions.keys() {
            let gateways = dev.as_ref().map(|dev| dev.gateways(region.as_str())).unwrap_or_default();
            let place = place(&hosts, &gateways, context);
            text += &format!("  {:12} {place}\n", region.as_str());
        }
    }
    Ok(text.trim_end().to_owned())
}

/// The hosts by which an Api is called in an Environment; none: by every host. Otherwise the reason why it is not called there.
pub(super) fn hosts(api: Option<&ApiSpec>, hostnames: &[String]) -> Result<Vec<String>, String> {
    let Some(api) = api else { return Ok(hostnames.to_vec()) };
    match api.lifecycle {
        Lifecycle::Published | Lifecycle::Deprecated | Lifecycle::Blocked => {}
        Lifecycle::Created | Lifecycle::Retired => {
            return Err("the Api's `lifecycle` is neither `published`, `deprecated` nor `blocked`".to_owned());
        }
    }
    if api.hosts.is_empty() || hostnames.is_empty() {
        return Ok([api.hosts.as_slice(), hostnames].concat());
    }
    let pairs = api.hosts.iter().flat_map(|host| hostnames.iter().map(move |own| (host, own)));
    let common: BTreeSet<&str> = pairs.filter_map(|(host, own)| common_hosts(host, own)).collect();
    match common.is_empty() {
        true => {
            Err(format!("it is for {}, and the Api is for {}", hostnames.join(", "), api.hosts.join(", ")))
        }
        false => Ok(common.into_iter().map(str::to_owned).collect()),
    }
}

/// The URLs, or what else there is to call it by.
pub(super) fn place(hosts: &[String], gateways: &[String], context: &str) -> String {
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

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn places_name_gateways_or_host_names() {
        let resource = json!({"regions": ["eu-west"], "later": 1});
        let served: Served = serde_json::from_value(resource).unwrap();
        let hosted = words(&["api.example.com", "b.example.com"]);
        let gateways = words(&["http://127.0.0.1:8080"]);
        assert_eq!(place(&served.hostnames, &gateways, "/orders"), "http://127.0.0.1:8080/orders");
        assert_eq!(place(&hosted, &gateways, "/"), "http://127.0.0.1:8080  (header Host: api.example.com)");
        assert_eq!(place(&hosted, &[], "/o"), "https://api.example.com/o  https://b.example.com/o");
        assert_eq!(place(&[], &[], "/o"), "/o on every host name of the region's gateways");
    }

    #[test]
    fn an_api_is_called_by_the_hosts_that_its_environment_has_too() {
        let check = |of_api: &[&str], of_environment: &[&str], expected: Option<&[&str]>| {
            let spec = json!({"context": "/o", "version": "1", "operations": [], "hosts": of_api});
            let api: ApiSpec = serde_json::from_value(spec).unwrap();
            let found = hosts(Some(&api), &words(of_environment));
            assert_eq!(found.ok(), expected.map(words), "{of_api:?} {of_environment:?}");
        };
        check(&[], &[], Some(&[]));
        check(&[], &["a.example"], Some(&["a.example"]));
        check(&["a.example"], &[], Some(&["a.example"]));
        check(&["a.example", "x.other"], &["*.example"], Some(&["a.example"]));
        check(&["*.example"], &["b.example", "a.example", "*.other"], Some(&["a.example", "b.example"]));
        check(&["a.example"], &["b.example"], None);
        assert_eq!(hosts(None, &words(&["a.example"])), Ok(words(&["a.example"])), "a new Api has no hosts");
        for (lifecycle, is_served) in [("created", false), ("retired", false), ("blocked", true)] {
            let spec = json!({"context": "/o", "version": "1", "operations": [], "lifecycle": lifecycle});
            let api: ApiSpec = serde_json::from_value(spec).unwrap();
            assert_eq!(hosts(Some(&api), &[]).is_ok(), is_served, "{lifecycle}");
        }
    }
}
