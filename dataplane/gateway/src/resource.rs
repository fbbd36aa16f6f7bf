//! Runtime resources as they arrive: a key and opaque bytes, decoded into what the key promises.

use hanse_proto::runtime;
use prost::Message as _;

/// A key of a runtime scope, taken apart. `docs/protocol.md` lists the spellings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceKind {
    /// `listener/ENVIRONMENT`
    Listener,
    /// `route/ORGANIZATION/BINDING`
    Route,
    /// `upstream/ORGANIZATION/NAME`, `upstream/ORGANIZATION/API_REVISION/NAME`
    Upstream,
    /// `plan/ORGANIZATION/NAME`
    Plan,
    /// `credential/ORGANIZATION/NAME`
    Credential,
    /// `subscription/ORGANIZATION/NAME`
    Subscription,
}

/// A resource this gateway cannot use. The last good version stays in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Unusable {
    /// The part at fault, as in the schema.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}

impl Unusable {
    /// Blames `field`.
    pub fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self { field: field.into(), why: why.into() }
    }
}

impl ResourceKind {
    /// The kind a key's first part names; `None` for kinds of later versions, which are left alone.
    pub fn of_key(key: &str) -> Option<Self> {
        Some(match key.split('/').next()? {
            "listener" => Self::Listener,
            "route" => Self::Route,
            "upstream" => Self::Upstream,
            "plan" => Self::Plan,
            "credential" => Self::Credential,
            "subscription" => Self::Subscription,
            _ => return None,
        })
    }

    fn of_message(kind: &runtime::resource::Kind) -> Self {
        match kind {
            runtime::resource::Kind::Listener(_) => Self::Listener,
            runtime::resource::Kind::Route(_) => Self::Route,
            runtime::resource::Kind::Upstream(_) => Self::Upstream,
            runtime::resource::Kind::Plan(_) => Self::Plan,
            runtime::resource::Kind::Credential(_) => Self::Credential,
            runtime::resource::Kind::Subscription(_) => Self::Subscription,
        }
    }
}

/// Decodes `bytes` as the kind of resource that `key` promises.
pub fn decode(expected: ResourceKind, bytes: &[u8]) -> Result<runtime::resource::Kind, Unusable> {
    let resource =
        runtime::Resource::decode(bytes).map_err(|error| Unusable::new("resource", error.to_string()))?;
    let kind = resource.kind.ok_or_else(|| Unusable::new("kind", "absent, or of a later version"))?;
    let found = ResourceKind::of_message(&kind);
    if found != expected {
        return Err(Unusable::new(
            "kind",
            format!("the key promises a {expected:?}, the value is a {found:?}"),
        ));
    }
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_must_be_what_their_keys_promise() {
        let plan = runtime::Resource { kind: Some(runtime::resource::Kind::Plan(runtime::Plan::default())) };
        let bytes = plan.encode_to_vec();
        assert!(decode(ResourceKind::of_key("plan/default/gold").unwrap(), &bytes).is_ok());
        assert_eq!(decode(ResourceKind::Route, &bytes).unwrap_err().field, "kind");
        assert_eq!(decode(ResourceKind::Plan, b"\xff\xff\xff").unwrap_err().field, "resource");
        assert_eq!(decode(ResourceKind::Plan, b"").unwrap_err().field, "kind");
        assert_eq!(ResourceKind::of_key("key-manager/default/a"), None);
    }
}
