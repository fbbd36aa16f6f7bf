//! Reads where an Api is served.

use std::collections::BTreeMap;

use hanse_api::answer::Resource;
use hanse_management::{
    Kind,
    kinds::{ApiRevisionSpec, ApiSpec},
};
use hanse_topology::Name;

use super::reachable::{self, Served};
use crate::{
    client::{Client, part_of},
    dev::DevState,
    publish::{Bound, Found, Regions},
    served,
};

/// A row per environment and region: the revision, the URLs and the gateways. `None`: the Api has no Binding.
pub(super) async fn table(client: &Client, api: &Resource) -> anyhow::Result<Option<String>> {
    let bindings = client.list(Kind::Binding, false).await?.items;
    let bindings: Vec<_> = bindings.into_iter().filter(|one| one.spec["api"] == api.name.as_str()).collect();
    if bindings.is_empty() {
        return Ok(None);
    }
    let environments = client.list(Kind::Environment, false).await?.items;
    let regions = Regions::read(&environments, &client.list(Kind::Region, false).await?.items)?;
    let read = |one| Bound::read(one, |spec| regions.of(spec));
    let mut bound = bindings.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    bound.sort_by(|a, b| (&a.spec.environment, &a.name).cmp(&(&b.spec.environment, &b.name)));
    let served_by = served_specs(client, api, &bound).await?;
    let mut hostnames = BTreeMap::new();
    for found in &environments {
        hostnames.insert(found.name.as_str(), part_of::<Served>(found)?.hostnames);
    }
    let dev = client.config_path.parent().and_then(|dir| DevState::read(dir).ok().flatten());
    let url = |bound: &Bound, region: &Name| {
        let Some(spec) = bound.serving.and_then(|number| served_by.get(&number)) else {
            return String::new();
        };
        let hostnames = hostnames.get(bound.spec.environment.as_str()).map(Vec::as_slice).unwrap_or_default();
        let gateways = dev.as_ref().map(|dev| dev.gateways(region.as_str())).unwrap_or_default();
        match reachable::hosts(Some(spec), hostnames) {
            Ok(hosts) => reachable::place(&hosts, &gateways, &spec.context),
            Err(why) => format!("nowhere: {why}"),
        }
    };
    Ok(served::table(&bound, &client.latest_convergence().await?, url))
}

/// What each revision that is served says of its Api. The lifecycle is that of the Api itself.
async fn served_specs(
    client: &Client,
    api: &Resource,
    bound: &[Bound],
) -> anyhow::Result<BTreeMap<u64, ApiSpec>> {
    let name = Name::new(&api.name)?;
    let lifecycle = Found::<ApiSpec>::read(api)?.spec.lifecycle;
    let mut specs = BTreeMap::new();
    for number in bound.iter().filter_map(|bound| bound.serving) {
        let Some(key) = ApiRevisionSpec::key(&client.organization, &name, number) else { continue };
        if !specs.contains_key(&number)
            && let Some(found) = client.find(&key).await?
        {
            let revision = Found::<ApiRevisionSpec>::read(&found)?.spec;
            specs.insert(number, ApiSpec { lifecycle, ..revision.spec });
        }
    }
    Ok(specs)
}
