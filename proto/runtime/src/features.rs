//! What a resource may require of its consumer.

use hanse_proto::runtime;

use crate::Unusable;

/// The feature of Routes that other regions serve, and of Shifts.
pub const TUNNEL: &str = "tunnel";

/// The feature of Listeners that are served at internal entries only.
pub const EXPOSURE: &str = "exposure";

/// The features that this release understands, as resources name them in `requires`.
///
/// A new field that forbids something (a scheme, a list of addresses) has a feature: its name is here, and the encoder of the
/// control plane names it with each resource that uses the field. `internal` of a Listener has the feature [`EXPOSURE`], and
/// `served_in` of a Route and every Shift have the feature [`TUNNEL`].
pub const FEATURES: &[&str] = &[
    EXPOSURE,
    TUNNEL,
    #[cfg(feature = "next")]
    "note",
];

/// Whether all that a resource requires is known here.
pub(crate) fn check(resource: &runtime::Resource) -> Result<(), Unusable> {
    match resource.requires.iter().find(|name| !FEATURES.contains(&name.as_str())) {
        None => Ok(()),
        Some(unknown) => {
            let reason = format!("the feature {unknown:?} is not known to this release: upgrade it");
            Err(Unusable::new("requires", reason))
        }
    }
}
