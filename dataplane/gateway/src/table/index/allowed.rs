//! What an Origin allows in its local scope.

use hanse_runtime::{Origin, Resource, ResourceKind, Unusable};

/// Whether the Origin of a local scope allows a resource with this key. What it does not allow is not in force at all, nor is the last
/// good version of it: the control plane may have taken the permission away.
pub(super) fn judge_key(origin: Option<&Origin>, key: &str, kind: ResourceKind) -> Result<(), Unusable> {
    let Some(origin) = origin else {
        return Err(Unusable::new("", "this gateway has no Origin for it that it can use"));
    };
    let (prefix, organization) = parts(key);
    // A Route needs its Upstream: without both kinds neither is in force, in each gateway alike.
    let needed = [ResourceKind::Route, ResourceKind::Upstream];
    let missing = needed.iter().find(|kind| !origin.kinds.contains(kind));
    if let (true, Some(missing)) = (origin.kinds.contains(&kind) && needed.contains(&kind), missing) {
        let reason = format!(
            "the Origin {} does not allow the kind {missing:?} too, and a Route needs an Upstream",
            origin.name
        );
        return Err(Unusable::new("kind", reason));
    }
    if !origin.kinds.contains(&kind) {
        return Err(Unusable::new(
            "kind",
            format!("the Origin {} does not allow the kind {prefix}", origin.name),
        ));
    }
    if !origin.organizations.contains(organization) {
        let reason = format!("the Origin {} does not allow the Organization {organization:?}", origin.name);
        return Err(Unusable::new("organization", reason));
    }
    Ok(())
}

/// Whether a resource of a local scope is of the Organization that its key says, and so is what it refers to, and whether it is one that may
/// be there. In other scopes the control plane sees to that.
pub(super) fn judge_content(key: &str, resource: &Resource) -> Result<(), Unusable> {
    let (_, own) = parts(key);
    let of_key = |field: &str, found: &str| match found == own {
        true => Ok(()),
        false => {
            Err(Unusable::new(field, format!("is of {found:?}, and the key is of the Organization {own:?}")))
        }
    };
    match resource {
        Resource::Route(route) => {
            of_key("organization", &route.organization)?;
            of_key("upstream", parts(&route.upstream).1)
        }
        Resource::Endpoints(set) => of_key("organization", &set.organization),
        // Each user of a set has endpoints of its own in memory. A local scope of 5 MB could so ask for 50 million. Its source writes the
        // Upstream and the set alike, and needs no reference.
        Resource::Upstream(upstream) if upstream.endpoints_from.is_some() => {
            let reason = "is for Upstreams of the control plane: write the endpoints into the Upstream";
            Err(Unusable::new("endpoints_from", reason))
        }
        Resource::Upstream(_)
        | Resource::Listener(_)
        | Resource::Plan(_)
        | Resource::Credential(_)
        | Resource::Subscription(_)
        | Resource::Secret(_)
        | Resource::Origin(_)
        | Resource::Neighbour(_)
        | Resource::Zone(_)
        | Resource::GlobalHost(_)
        | Resource::Shift(_) => Ok(()),
    }
}

/// The kind and the Organization in a key.
fn parts(key: &str) -> (&str, &str) {
    let mut parts = key.split('/');
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}
