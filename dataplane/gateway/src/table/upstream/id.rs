//! Which upstream, from change to change.

use std::sync::Arc;

use hanse_topology::ScopeId;

/// Whose an upstream is, and which one of a process: the same through every change of it, and through every revision of
/// the Api that it is embedded in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpstreamId {
    /// The organization that has it; empty where its key names none.
    pub organization: Arc<str>,
    /// The scope that it is of.
    pub scope: ScopeId,
    /// Its key, without the number of an Api's revision.
    name: Arc<str>,
}

impl UpstreamId {
    /// The one of that key: `upstream/ORGANIZATION/NAME` or `upstream/ORGANIZATION/API-rN/NAME`.
    pub fn new(scope: &ScopeId, key: &str) -> Self {
        let parts: Vec<&str> = key.split('/').collect();
        let organization = parts.get(1).copied().unwrap_or_default().into();
        let name = match parts[..] {
            [kind, owner, revision, name] => {
                let api = without_number(revision);
                format!("{kind}/{owner}/{api}/{name}").into()
            }
            _ => key.into(),
        };
        Self { organization, scope: scope.clone(), name }
    }
}

/// `orders` of `orders-r12`.
fn without_number(revision: &str) -> &str {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    match revision.rsplit_once("-r") {
        Some((api, number)) if is_number(number) => api,
        _ => revision,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::scope;

    #[test]
    fn it_stays_through_revisions_and_is_one_of_its_scope() {
        let id = |environment: &str, key: &str| UpstreamId::new(&scope(environment), key);
        let first = id("production", "upstream/shop/orders-r1/backend");
        assert_eq!(&*first.organization, "shop");
        assert_eq!(first, id("production", "upstream/shop/orders-r12/backend"));
        for other in [
            id("sandbox", "upstream/shop/orders-r1/backend"),
            id("production", "upstream/shop/orders-r1/other"),
            id("production", "upstream/shop/orders-rx/backend"),
            id("production", "upstream/toys/orders-r1/backend"),
            id("production", "upstream/shop/orders"),
            id("production", "upstream/shop/backend"),
        ] {
            assert_ne!(first, other);
        }
        assert_eq!(id("production", "upstream/shop/own"), id("production", "upstream/shop/own"));
        assert_ne!(id("production", "upstream/shop/a-r1"), id("production", "upstream/shop/a-r2"));
    }
}
