//! The `Host` that endpoints get.

use hanse_runtime::is_authority;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::check::{Verdict, invalid};

/// The `Host` that endpoints get: the client's, or a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct HostSpec {
    /// The host that the client asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub preserve: bool,
    /// This host, with a port where it needs one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl HostSpec {
    pub(super) fn check(&self) -> Verdict {
        match &self.name {
            None if self.preserve => Ok(()),
            None => {
                let remedy = "write {preserve: true} or {name: shop.internal}, or leave host out";
                Err(invalid("host", "it names no host", remedy))
            }
            Some(_) if self.preserve => {
                Err(invalid("host", "it has both preserve and name", "keep one of them"))
            }
            Some(name) if !is_authority(name) => {
                let remedy = "write a host in lower case, with a port where it needs one: shop.internal:8443";
                Err(invalid("host.name", format!("{name:?} is not a host"), remedy))
            }
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_the_clients_or_a_name() {
        let check = |preserve: bool, name: Option<&str>| {
            HostSpec { preserve, name: name.map(str::to_owned) }.check().map_err(|problem| problem.field)
        };
        for good in ["shop.internal", "shop.internal:8443", "[::1]:80"] {
            assert_eq!(check(false, Some(good)), Ok(()), "{good}");
        }
        assert_eq!(check(true, None), Ok(()));
        for (preserve, name, field) in [
            (false, None, "spec.host"),
            (true, Some("a"), "spec.host"),
            (false, Some(""), "spec.host.name"),
            (false, Some("Shop"), "spec.host.name"),
            (false, Some("http://a"), "spec.host.name"),
            (false, Some("a/b"), "spec.host.name"),
            (false, Some("a\r\nb: c"), "spec.host.name"),
        ] {
            assert_eq!(check(preserve, name), Err(field.to_owned()), "{name:?}");
        }
    }
}
