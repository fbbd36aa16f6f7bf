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

/// Whether the Apis are there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Apis {
    /// They are to be deleted.
    Going,
    /// They are deleted.
    Gone,
}

/// What was made for the Apis that go, and is used by nothing that stays.
pub(super) async fn for_apis(
    client: &Client,
    going: &Listed,
    apis: Apis,
    force_grants: bool,
) -> anyhow::Result<Listed> {
    let mut found = Listed::new();
    let mut busy = None;
    for api in going.keys().filter(|key| key.kind == Kind::Api) {
        if api.organization.as_ref() != Some(&client.organization) {
            continue; // of an Organization that goes with all that it owns
        }
        let label = format!("{MADE_FOR}={}", api.name);
        for upstream in client.labelled(Kind::Upstream, Some(&label), false).await?.items {
            let (key, revision) = keyed(client, Kind::Upstream, &upstream)?;
            if going.contains_key(&key) {
                continue;
            }
            let with = tried(going, apis, &key, revision);
            let options = ApplyOptions { dry_run: true, prune: None, force_grants };
            if client.request(&cascade::request(&with), &options).await.is_ok() {
                found.insert(key, revision);
            }
        }
        let credentials = client.labelled(Kind::Credential, Some(&label), false).await?.items;
        if credentials.is_empty() {
            continue;
        }
        let busy = match &busy {
            Some(known) => known,
            None => busy.insert(subscribed(client, going).await?),
        };
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

/// The deletes that tell whether an Upstream is in use by what stays. What is gone is not deleted again.
fn tried(going: &Listed, apis: Apis, upstream: &ResourceKey, revision: u64) -> Listed {
    let mut with = match apis {
        Apis::Going => going.clone(),
        Apis::Gone => Listed::new(),
    };
    with.insert(upstream.clone(), revision);
    with
}

/// The Applications that stay subscribed to something.
async fn subscribed(client: &Client, going: &Listed) -> anyhow::Result<BTreeSet<Name>> {
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
    made.keys().map(hint).for_each(say);
}

/// A command that deletes one resource. It names the organization, because the configuration may name another one.
fn hint(key: &ResourceKey) -> String {
    let owner = key.organization.as_ref();
    let owner = owner.map(|owner| format!(" --organization {owner}")).unwrap_or_default();
    format!("  hanse delete {} {}{owner}", key.kind.as_str().to_lowercase(), key.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: Kind) -> ResourceKey {
        ResourceKey::owned(kind, Name::new("shop").unwrap(), Name::new("orders").unwrap())
    }

    #[test]
    fn what_is_gone_is_not_deleted_again() {
        let going = Listed::from([(key(Kind::Api), 5)]);
        let upstream = key(Kind::Upstream);
        let together = Listed::from([(key(Kind::Api), 5), (upstream.clone(), 7)]);
        assert_eq!(tried(&going, Apis::Going, &upstream, 7), together);
        assert_eq!(tried(&going, Apis::Gone, &upstream, 7), Listed::from([(upstream, 7)]));
    }

    #[test]
    fn the_offer_names_the_organization() {
        assert_eq!(hint(&key(Kind::Upstream)), "  hanse delete upstream orders --organization shop");
    }
}
