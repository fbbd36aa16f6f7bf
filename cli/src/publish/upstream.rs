//! Where requests go: the Upstream that an import writes for one Environment.

use std::str::FromStr;

use hanse_management::kinds::{EndpointSpec, UpstreamSpec};
use hanse_topology::{InvalidName, Name};

use super::blocked;
use crate::exit::Failure;

/// `URL` or `REGION=URL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UpstreamArg {
    /// The region it serves; `None`: all.
    pub(crate) region: Option<Name>,
    /// Its URL.
    pub(crate) url: String,
}

impl FromStr for UpstreamArg {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.split_once('=') {
            Some((region, url)) if !region.contains(':') => {
                Ok(Self { region: Some(region.parse()?), url: url.to_owned() })
            }
            _ => Ok(Self { region: None, url: text.to_owned() }),
        }
    }
}

impl UpstreamArg {
    fn endpoint(&self) -> EndpointSpec {
        EndpointSpec { url: self.url.clone(), region: self.region.clone(), environment: None, weight: 1 }
    }
}

/// The endpoints given, for an Upstream that an Environment begins with.
pub(super) fn endpoints(given: &[UpstreamArg]) -> Vec<EndpointSpec> {
    given.iter().map(UpstreamArg::endpoint).collect()
}

/// An Upstream as it is, with the endpoints of the regions that are named replaced. A URL without a region replaces the endpoints
/// without one. `regions` are those that are served: none of them may get endpoints both given and kept.
pub(super) fn replaced(
    present: &UpstreamSpec,
    given: &[UpstreamArg],
    regions: &[Name],
    environment: &Name,
) -> Result<UpstreamSpec, Failure> {
    check_own(present)?;
    let names = |region: Option<&Name>| given.iter().any(|given| given.region.as_ref() == region);
    // Once every region has a URL of its own, none is left for an endpoint without a region.
    let all_named = !regions.is_empty() && regions.iter().all(|region| names(Some(region)));
    let stays = |endpoint: &&EndpointSpec| {
        let is_replaced = names(endpoint.region.as_ref()) || (all_named && endpoint.region.is_none());
        !is_replaced
    };
    let kept: Vec<EndpointSpec> = present.endpoints.iter().filter(stays).cloned().collect();
    let fresh = endpoints(given);
    let serves = |endpoint: &EndpointSpec, region: &Name| {
        endpoint.region.as_ref().is_none_or(|own| own == region)
            && endpoint.environment.as_ref().is_none_or(|own| own == environment)
    };
    for region in regions {
        let before = kept.iter().find(|endpoint| serves(endpoint, region));
        let after = fresh.iter().find(|endpoint| serves(endpoint, region));
        if let (Some(before), Some(after)) = (before, after) {
            return Err(blocked(
                format!(
                    "{region} would send requests both to {}, as before, and to {}",
                    before.url, after.url
                ),
                format!("give each region its own: --upstream {region}=URL, and so on for {environment}"),
            ));
        }
    }
    Ok(UpstreamSpec { endpoints: kept.into_iter().chain(fresh).collect(), ..present.clone() })
}

/// Refuses URLs for an Upstream that gets endpoints from an Origin.
pub(super) fn check_own(present: &UpstreamSpec) -> Result<(), Failure> {
    let Some(from) = from_origin(present) else { return Ok(()) };
    Err(blocked(
        format!(
            "the Upstream gets its endpoints from {from}: a URL would not be used while the Origin has endpoints"
        ),
        "leave `--upstream` out, or edit the Upstream and take `endpointsFrom` out first",
    ))
}

/// Where an Upstream gets endpoints from, `ORIGIN/NAME`, if an Origin publishes them.
pub(super) fn from_origin(upstream: &UpstreamSpec) -> Option<String> {
    let from = upstream.endpoints_from.as_ref()?;
    Some(format!("{}/{}", from.origin, from.name))
}

/// An Upstream as one Environment uses it: without endpoints of others.
pub(super) fn of_environment(present: &UpstreamSpec, environment: &Name) -> UpstreamSpec {
    let own = |endpoint: &&EndpointSpec| endpoint.environment.as_ref().is_none_or(|own| own == environment);
    UpstreamSpec { endpoints: present.endpoints.iter().filter(own).cloned().collect(), ..present.clone() }
}
