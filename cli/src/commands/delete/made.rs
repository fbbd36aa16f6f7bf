//! What import and subscribe made for an Api: it stays when the Api goes, and is offered then.

use std::collections::BTreeSet;

use hanse_api::answer::Resource;
use hanse_management::{Kind, ResourceKey};
use hanse_topology::Name;
use serde::Deserialize;

use super::cascade::{self, Listed};
use crate::{
    client::{ApplyOptions, Client, part_of},
    out::say,
    publish::MADE_FOR,
};

/// What a Credential or a Subscription says of its Application.
#[derive(Debug, Deserialize)]
struct OfApplication {
    application: Name,
}

/// What was made for the Apis that go, and is used by nothing that stays.
pub(super) async fn for_apis(client: &Client, going: &Listed) -> anyhow::Result<Listed> {
    let mut found = Listed::new();
    for api in going.keys().filter(|key| key.kind == Kind::Api) {
        if api.organization.as_ref() != Some(&client.organization) {
            continue; // of an Organization that goes with all that it owns
        }
        let label = format!("{MADE_FOR}={}", api.name);
        for upstream in client.labelled(Kind::Upstream, &label).await? {
            let (key, revision) = keyed(client, Kind::Upstream, &upstream)?;
            let mut with = going.clone();
            with.insert(key.clone(), revision);
            let options = ApplyOptions { dry_run: true, prune: None };
            if !going.contains_key(&key) && client.request(&cascade::request(&with), &options).await.is_ok() {
                found.insert(key, revision);
            }
        }
        let credentials = client.labelled(Kind::Credential, &label).await?;
        if credentials.is_empty() {
            continue;
        }
        let busy = busy(client, going).await?;
        for credential in credentials {
            let (key, revision) = keyed(client, Kind::Credential, &credential)?;
            let application = part_of::<OfApplication>(&credential)?.application;
            if !going.contains_key(&key) && !busy.contains(&application) {
                found.insert(key, revision);
            }
        }
    }
    Ok(found)
}

/// The Applications that stay subscribed to something.
async fn busy(client: &Client, going: &Listed) -> anyhow::Result<BTreeSet<Name>> {
    let mut busy = BTreeSet::new();
    for subscription in client.list(Kind::Subscription, false).await?.items {
        let (key, _) = keyed(client, Kind::Subscription, &subscription)?;
        if !going.contains_key(&key) {
            busy.insert(part_of::<OfApplication>(&subscription)?.application);
        }
    }
    Ok(busy)
}

fn keyed(client: &Client, kind: Kind, resource: &Resource) -> anyhow::Result<(ResourceKey, u64)> {
    Ok((client.key(kind, Name::new(&resource.name)?), resource.revision))
}

/// Says how to delete it, once the Api is gone.
pub(super) fn offer(made: &Listed) {
    if made.is_empty() {
        return;
    }
    say("made for it, and used by nothing now:");
    for key in made.keys() {
        say(format!("  hanse delete {} {}", key.kind.as_str().to_lowercase(), key.name));
    }
}
