//! Manifests and what is there → one request that rests on what was looked at. Pure.

use std::collections::{BTreeMap, BTreeSet};

use hanse_api::answer::{
    Action, Applied, ApplyRequest, AtRevision, Change, Expected, LineageStatus, Resource,
};
use hanse_management::{Kind, ResourceKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    exit::{Exit, Failure},
    import::printable,
    source::Sourced,
};

/// The label that says whose a resource is.
pub(crate) const OWNER: &str = "hanse-owner";

/// A request, and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// The history that it was made for.
    pub(crate) lineage: Option<LineageStatus>,
    /// The revision that it was tried on.
    pub(crate) base: u64,
    /// What it did when it was tried.
    pub(crate) effects: Vec<Effect>,
    /// Whether HostGrants may take requests from Bindings of other Organizations.
    #[serde(default)]
    pub(crate) force_grants: bool,
    /// What is sent.
    pub(crate) request: ApplyRequest,
}

/// What a request does to one resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Effect {
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization: Option<String>,
    name: String,
    action: Action,
}

/// What a request did when it was tried.
pub(crate) fn effects(tried: &Applied) -> Vec<Effect> {
    let effect = |change: &Change| {
        let Change { kind, organization, name, action, .. } = change.clone();
        Effect { kind, organization, name, action }
    };
    tried.changes.iter().filter(|change| change.action != Action::Unchanged).map(effect).collect()
}

/// What to make of manifests.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wish<'a> {
    /// Whose they are.
    pub(crate) owner: Option<&'a str>,
    /// Whether resources of other owners become this one's.
    pub(crate) adopt: bool,
}

/// What was looked at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Live {
    /// The resources of the manifests that are there.
    pub(crate) found: BTreeMap<ResourceKey, Resource>,
    /// The owner's resources, of which those without a manifest are deleted.
    pub(crate) owned: BTreeMap<ResourceKey, u64>,
}

/// The request that makes the manifests true. Each resource must be at the revision that was looked at.
pub(crate) fn request(manifests: &[Sourced], wish: Wish<'_>, live: &Live) -> Result<ApplyRequest, Failure> {
    check_owners(manifests, wish, live)?;
    let kept: BTreeSet<&ResourceKey> = manifests.iter().map(|sourced| &sourced.manifest.key).collect();
    let gone = live.owned.iter().filter(|(key, _)| !kept.contains(key));
    Ok(ApplyRequest {
        resources: manifests.iter().map(|sourced| wanted(sourced, wish, live)).collect(),
        delete: gone.map(|(key, revision)| deletion(key, *revision)).collect(),
        expects: kept.into_iter().filter_map(|key| expected(key, live.found.get(key)?)).collect(),
    })
}

/// Nothing changes its owner unasked.
fn check_owners(manifests: &[Sourced], wish: Wish<'_>, live: &Live) -> Result<(), Failure> {
    let Some(owner) = wish.owner else { return Ok(()) };
    for Sourced { source, manifest } in manifests {
        if let Some(said) = manifest.labels.0.get(OWNER).filter(|said| *said != owner) {
            let message = format!(
                "{source}: {}: labels.{OWNER}: it says {}, and --owner {owner}",
                manifest.key,
                printable(said)
            );
            return Err(Failure::usage(message).remedy("leave the label out: --owner writes it"));
        }
    }
    if wish.adopt {
        return Ok(());
    }
    let others = live.found.iter().filter_map(|(key, resource)| match resource.labels.0.get(OWNER) {
        Some(other) if other == owner => None,
        Some(other) => Some(format!("{key} of {other}")),
        None => Some(format!("{key} of no owner")),
    });
    let others: Vec<String> = others.collect();
    if others.is_empty() {
        return Ok(());
    }
    let message = format!("nothing was changed: these are not of {owner}:\n  {}", others.join("\n  "));
    Err(Failure::new(Exit::Conflict, message).remedy("--adopt takes them over"))
}

/// A manifest as it is sent.
fn wanted(sourced: &Sourced, wish: Wish<'_>, live: &Live) -> Value {
    let mut manifest = sourced.manifest.clone();
    if let Some(owner) = wish.owner {
        manifest.labels.0.insert(OWNER.to_owned(), owner.to_owned());
    }
    let seen = live.found.get(&manifest.key).map_or(0, |resource| resource.revision);
    // A revision that the manifest names is what its author looked at.
    manifest.revision.get_or_insert(seen);
    json!(manifest)
}

fn deletion(key: &ResourceKey, revision: u64) -> AtRevision {
    AtRevision {
        kind: key.kind.as_str().to_owned(),
        organization: key.organization.as_ref().map(ToString::to_string),
        name: key.name.to_string(),
        revision,
    }
}

/// What the revision of an Api or a Binding does not tell: its ApiRevision.
pub(crate) fn expected(key: &ResourceKey, resource: &Resource) -> Option<Expected> {
    let field = match key.kind {
        Kind::Api => "latestRevision",
        Kind::Binding => "serving",
        _without_revisions => return None,
    };
    Some(Expected {
        kind: key.kind.as_str().to_owned(),
        organization: key.organization.as_ref().map(ToString::to_string),
        name: key.name.to_string(),
        revision: resource.revision,
        api_revision: Some(resource.status.as_ref()?.get(field)?.as_u64()?),
    })
}

#[cfg(test)]
mod tests;
