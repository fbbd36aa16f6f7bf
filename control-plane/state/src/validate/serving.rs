//! What a Binding serves: where its requests go, in each region.

use std::collections::BTreeMap;

use hanse_management::{
    Kind, ResourceKey, Spec,
    kinds::{BindingSpec, Lifecycle, UpstreamSpec},
};
use hanse_topology::Name;
use sha2::{Digest as _, Sha256};

use super::consistency::upstream_of;
use crate::{Resource, State};

/// What a Binding serves.
#[derive(Debug)]
pub struct Serving<'a> {
    /// The Environment where it does.
    pub environment: &'a Name,
    /// How far the Api is; `None`: it is served nowhere.
    pub lifecycle: Option<Lifecycle>,
    /// Each region, with the ApiRevision and the Upstream there.
    pub regions: Vec<ServingIn<'a>>,
    /// The regions that have its Route and send the requests on.
    pub sent_on_from: Vec<Name>,
    /// The Upstream that the Binding names itself.
    own_upstream: Option<&'a Resource>,
}

/// What a Binding serves in one region.
#[derive(Debug)]
pub struct ServingIn<'a> {
    /// The region.
    pub region: Name,
    /// The ApiRevision.
    pub revision: &'a Resource,
    /// The Upstream: that of the Binding, or the one that the ApiRevision has a copy of.
    pub upstream: Option<(&'a Name, &'a UpstreamSpec)>,
}

impl State {
    /// What a Binding serves; `None`: there is no such Binding.
    pub fn serving(&self, binding: &ResourceKey) -> Option<Serving<'_>> {
        let binding = self.get(binding)?;
        let Spec::Binding(spec) = &binding.spec else { return None };
        let own = self.regions_of(binding);
        let mut sent_on_from = self.regions_reached(binding);
        sent_on_from.retain(|region| !own.contains(region));
        let regions = own.into_iter().filter_map(|region| {
            let revision = self.bound_revision(binding, &region)?;
            Some(ServingIn { region, revision, upstream: upstream_of(self, binding, spec, revision) })
        });
        Some(Serving {
            environment: &spec.environment,
            lifecycle: self.served_lifecycle(binding),
            regions: regions.collect(),
            sent_on_from,
            own_upstream: own_upstream(self, binding, spec),
        })
    }
}

fn own_upstream<'a>(state: &'a State, binding: &Resource, spec: &BindingSpec) -> Option<&'a Resource> {
    let name = spec.upstream.clone()?;
    state.get(&binding.key.sibling(Kind::Upstream, name)).map(|found| &**found)
}

impl Serving<'_> {
    /// Whether requests go the same way by `other`. Endpoints of another region or Environment are of no concern.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.environment == other.environment
            && self.lifecycle == other.lifecycle
            && self.sent_on_from == other.sent_on_from
            && self.regions.len() == other.regions.len()
            && self.regions.iter().zip(&other.regions).all(|(one, other)| {
                one.region == other.region
                    && one.revision.key == other.revision.key
                    && match (one.upstream, other.upstream) {
                        (Some((_, was)), Some((_, is))) => {
                            is_same_upstream(was, is, &one.region, self.environment)
                        }
                        (was, is) => was.is_none() && is.is_none(),
                    }
            })
    }
}

/// Whether two Upstreams are the same for one region of an Environment. Nothing is copied: an Upstream may have 1,000 endpoints, and
/// 1,000 Bindings may name it.
fn is_same_upstream(was: &UpstreamSpec, is: &UpstreamSpec, region: &Name, environment: &Name) -> bool {
    if std::ptr::eq(was, is) {
        return true;
    }
    let UpstreamSpec {
        endpoints: _by_region,
        endpoints_from,
        timeout,
        connect_timeout,
        host,
        tls,
        health_check,
        ejection,
        retry,
    } = was;
    *endpoints_from == is.endpoints_from
        && *timeout == is.timeout
        && *connect_timeout == is.connect_timeout
        && *host == is.host
        && *tls == is.tls
        && *health_check == is.health_check
        && *ejection == is.ejection
        && *retry == is.retry
        && was.endpoints_for(region, environment).eq(is.endpoints_for(region, environment))
}

/// Digests of what Bindings serve. Each ApiRevision is read once, and each Upstream once for a region of an Environment.
#[derive(Default)]
pub(crate) struct Digests<'a>(BTreeMap<Part<'a>, [u8; 32]>);

/// A resource, or what one region of an Environment has of an Upstream.
type Part<'a> = (&'a ResourceKey, Option<(Name, &'a Name)>);

impl<'a> Digests<'a> {
    /// SHA-256 of what a Binding serves: Environment, lifecycle, the regions that send requests on, and each other region with its
    /// ApiRevision and what that region has of the Binding's own Upstream. Endpoints of another region or Environment are of no concern, as in [`Serving::is_same`].
    pub(crate) fn of(&mut self, serving: &Serving<'a>) -> [u8; 32] {
        let lifecycle = serving.lifecycle.map_or("", Lifecycle::as_str);
        let mut text = format!("{}\n{lifecycle}\n", serving.environment);
        for region in &serving.sent_on_from {
            text += &format!("from {region}\n");
        }
        for ServingIn { region, revision, .. } in &serving.regions {
            text +=
                &format!("{region} {}", self.line((&revision.key, None), || revision.spec.to_json_bytes()));
            let Some(own) = serving.own_upstream else { continue };
            let Spec::Upstream(upstream) = &own.spec else { continue };
            let part = (&own.key, Some((region.clone(), serving.environment)));
            text += &self.line(part, || {
                let endpoints = upstream.endpoints_for(region, serving.environment).cloned().collect();
                Spec::Upstream(UpstreamSpec { endpoints, ..upstream.clone() }).to_json_bytes()
            });
        }
        Sha256::digest(text).into()
    }

    fn line(&mut self, part: Part<'a>, content: impl FnOnce() -> Vec<u8>) -> String {
        let key = part.0;
        let digest = *self.0.entry(part).or_insert_with(|| Sha256::digest(content()).into());
        format!("{key} {}\n", hex::encode(digest))
    }
}
