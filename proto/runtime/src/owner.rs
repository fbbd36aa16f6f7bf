//! Who owns which requests of an environment.

use std::collections::BTreeMap;

use hanse_proto::runtime;

use crate::{Context, HostPattern, Unusable};

/// The requests to some hosts below one base path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Area {
    /// The hosts.
    pub host: HostPattern,
    /// The base path.
    pub context: Context,
}

/// An area whose requests belong to an Organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Which requests.
    pub area: Area,
    /// The Organization.
    pub organization: Box<str>,
}

/// The grants of one environment.
///
/// A request may be in several grants. Its owner is the Organization of the grant with the most special host (an exact name, then the
/// longest `*.suffix`), and of those the grant with the longest prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    exact: BTreeMap<Box<str>, Prefixes>,
    suffix: BTreeMap<Box<str>, Prefixes>,
}

/// The grants of one host, by prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Prefixes {
    grants: BTreeMap<Box<[u8]>, Grant>,
    /// The most segments that one of them has: bounds the search.
    deepest: usize,
}

impl Area {
    /// Whether every request of `other` is one of it.
    pub fn covers(&self, other: &Self) -> bool {
        self.host.covers(&other.host) && self.context.covers(other.context.octets())
    }

    /// The requests that both have: of each part the narrower one. `None`: no request.
    pub fn common(&self, other: &Self) -> Option<Self> {
        let context = self.context.common(&other.context)?;
        let host = self.host.common(&other.host)?;
        Some(Self { host: host.clone(), context: context.clone() })
    }
}

impl std::fmt::Display for Area {
    /// `a.example/orders`, `any host/orders`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.host, self.context)
    }
}

impl Grants {
    /// These grants. Of two of one area the last one holds, and one of any host is none: the control plane accepts neither.
    pub fn new(grants: impl IntoIterator<Item = Grant>) -> Self {
        let mut all = Self::default();
        for grant in grants {
            let (map, host) = match &grant.area.host {
                HostPattern::Exact(name) => (&mut all.exact, name),
                HostPattern::Suffix(suffix) => (&mut all.suffix, suffix),
                HostPattern::Any => continue,
            };
            let prefixes = map.entry(host.clone()).or_default();
            prefixes.deepest = prefixes.deepest.max(grant.area.context.segments());
            prefixes.grants.insert(grant.area.context.octets().into(), grant);
        }
        all
    }

    /// Reads those of a Listener.
    pub(crate) fn read(grants: &[runtime::HostGrant]) -> Result<Self, Unusable> {
        let one = |(at, grant): (usize, &runtime::HostGrant)| {
            let bad = |field: &str, reason: String| Unusable::new(format!("grants[{at}].{field}"), reason);
            let runtime::HostGrant { host, path_prefix, organization } = grant;
            if organization.is_empty() {
                return Err(bad("organization", "is empty".to_owned()));
            }
            let host = HostPattern::parse(host)
                .ok_or_else(|| bad("host", format!("{host:?} is neither a host name nor *.suffix")))?;
            let context = Context::parse(path_prefix)
                .ok_or_else(|| bad("path_prefix", format!("{path_prefix:?} is not a path")))?;
            Ok(Grant { area: Area { host, context }, organization: organization.as_str().into() })
        };
        let grants: Vec<Grant> = grants.iter().enumerate().map(one).collect::<Result<_, _>>()?;
        Ok(Self::new(grants))
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.suffix.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.exact.values().chain(self.suffix.values()).flat_map(|prefixes| prefixes.grants.values())
    }

    /// The grant whose Organization owns a request: `host` in lower case without a port, the segments of `path` without their
    /// parameters. `None`: the request has no owner.
    pub fn owner(&self, host: &str, path: &[u8]) -> Option<&Grant> {
        let exact = self.exact.get(host).and_then(|prefixes| prefixes.longest(path));
        exact.or_else(|| self.above(host, path))
    }

    /// The grant that owns the requests to `host` below `context`: each of them belongs to this grant, or to a more special one. `None`:
    /// some of them belong to no grant, as far as single grants say.
    pub fn owner_of(&self, host: &HostPattern, context: &Context) -> Option<&Grant> {
        let path = context.octets();
        match host {
            HostPattern::Exact(name) => self.owner(name, path),
            HostPattern::Suffix(suffix) => {
                let own = self.suffix.get(suffix).and_then(|prefixes| prefixes.longest(path));
                own.or_else(|| self.above(suffix, path))
            }
            HostPattern::Any => None,
        }
    }

    /// The one of the longest `*.suffix` that `host` is below.
    fn above(&self, host: &str, path: &[u8]) -> Option<&Grant> {
        if self.suffix.is_empty() {
            return None;
        }
        let mut rest = host;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(found) = self.suffix.get(parent).and_then(|prefixes| prefixes.longest(path)) {
                return Some(found);
            }
            rest = parent;
        }
        None
    }
}

impl Prefixes {
    /// The grant with the longest prefix that begins `path` on a segment boundary.
    fn longest(&self, path: &[u8]) -> Option<&Grant> {
        let (mut found, mut end) = (None, 0); // `end` is always a segment boundary
        for _ in 0..=self.deepest {
            found = self.grants.get(&path[..end]).or(found);
            if end == path.len() {
                break;
            }
            let rest = &path[end + 1..];
            end += 1 + rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
        }
        found
    }
}

#[cfg(test)]
mod tests;
