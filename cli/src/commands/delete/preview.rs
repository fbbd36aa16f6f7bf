//! What callers lose by a delete.

use hanse_api::answer::Applied;
use hanse_management::{
    Kind, ResourceKey,
    kinds::{ApiRevisionSpec, ApiSpec, BindingSpec},
};
use serde::Serialize;

use super::cascade::Listed;
use crate::{
    client::Client,
    commands::publishing::regions,
    out::say,
    publish::{Bound, Found, Loss, Losses, Regions},
};

/// What was deleted, or would be.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    /// The answer of the federation.
    #[serde(flatten)]
    pub(super) applied: Applied,
    /// What it means for callers.
    pub(super) preview: Losses,
}

/// What callers lose when these resources go.
pub(super) async fn losses(client: &Client, going: &Listed) -> anyhow::Result<Losses> {
    let bindings: Vec<_> = going.keys().filter(|key| key.kind == Kind::Binding).collect();
    let mut losses = Losses::default();
    if bindings.is_empty() {
        return Ok(losses);
    }
    let regions = regions(client).await?;
    for key in bindings {
        match loss(client, key, &regions).await {
            Ok(loss) => losses.bindings.extend(loss),
            // A resource with fields of a later version can be deleted all the same.
            Err(error) => say(format!("what callers lose with {key} is not known: {error:#}")),
        }
    }
    Ok(losses)
}

async fn loss(client: &Client, key: &ResourceKey, regions: &Regions) -> anyhow::Result<Option<Loss>> {
    let Some(found) = client.find(key).await? else { return Ok(None) };
    let bound = Bound::read(&found, |spec: &BindingSpec| regions.of(spec))?;
    let (Some(number), Some(organization)) = (bound.serving, &key.organization) else { return Ok(None) };
    let Some(revision) = ApiRevisionSpec::key(organization, &bound.spec.api, number) else { return Ok(None) };
    let Some(found) = client.find(&revision).await? else { return Ok(None) };
    // The Api's lifecycle holds for all of its revisions.
    let Some(api) = client.find(&key.sibling(Kind::Api, bound.spec.api.clone())).await? else {
        return Ok(None);
    };
    let lifecycle = Found::<ApiSpec>::read(&api)?.spec.lifecycle;
    Ok(Loss::of(&bound, &Found::<ApiRevisionSpec>::read(&found)?.spec, lifecycle))
}
