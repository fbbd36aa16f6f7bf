//! One environment: what the control plane makes of it, and what Origins in the region add.
//!
//! Each scope keeps a table of its own, and each is asked. The best answer of all tables is the best answer of their union, so nothing is
//! merged when a scope changes.

use std::{cmp::Ordering, sync::Arc};

use hanse_runtime::{Area, HostPattern, plain};
use hanse_topology::{Name, ScopeId};

use super::{ApiRoutes, Callers, Elsewhere, Places, ScopeTable, Served};

/// A label that no host has: it stands for every host below a `*.suffix` that has no name of its own.
const NO_LABEL: &str = "\0";

/// What one environment serves.
#[derive(Debug, Clone)]
pub struct EnvironmentTable {
    control: Arc<ScopeTable>,
    /// By scope, so that each gateway asks them in the same order.
    locals: Vec<Arc<ScopeTable>>,
}

/// How well a route fits a request: the most special host, then the longest context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    host: usize,
    context: usize,
}

/// A route that answers a request, and where it is from.
#[derive(Debug, Clone, Copy)]
struct Choice<'a> {
    fit: Fit,
    table: &'a ScopeTable,
    served: &'a Arc<Served>,
}

impl Choice<'_> {
    /// What the owner of another route may know of it: of another Organization only the name.
    fn name_for(&self, other: &ApiRoutes) -> String {
        let organization = &self.served.routes.organization;
        let route = match *organization == other.organization {
            true => self.served.key.to_string(),
            false => format!("the Organization {organization}"),
        };
        match self.table.scope.origin() {
            None => route,
            Some(origin) => format!("{route}, from the Origin {origin}"),
        }
    }

    /// Whether this local route answers in place of one of an earlier table.
    fn goes_before(&self, earlier: &Self) -> bool {
        match self.fit.cmp(&earlier.fit) {
            Ordering::Greater => true,
            Ordering::Equal => earlier.table.scope.is_local() && self.served.key < earlier.served.key,
            Ordering::Less => false,
        }
    }
}

impl EnvironmentTable {
    /// The environment that `control` makes, with what these local scopes add.
    pub(super) fn new(control: Arc<ScopeTable>, mut locals: Vec<Arc<ScopeTable>>) -> Self {
        locals.retain(|table| !table.apis.is_empty()); // each costs every request a look
        locals.sort_by(|one, other| one.scope.cmp(&other.scope));
        Self { control, locals }
    }

    /// The scope that the control plane makes.
    pub fn scope(&self) -> &ScopeId {
        &self.control.scope
    }

    /// Whether this local scope adds to the environment.
    pub(super) fn adds(&self, local: &ScopeId) -> bool {
        self.locals.iter().any(|table| table.scope == *local)
    }

    /// What the control plane makes.
    pub(super) fn control(&self) -> &ScopeTable {
        &self.control
    }

    /// The Api for a host and canonical path: of the most special host that has a fitting context, the longest one. Segments
    /// are compared with a context without their parameters. A request that an Organization owns is answered by its Apis only, as if
    /// there were no others.
    pub fn api(&self, host: &str, path: &[u8]) -> Option<&Arc<Served>> {
        let plain = plain(path);
        Some(self.choose(self.owner_of_plain(host, &plain), host, &plain)?.served)
    }

    /// The same among the Apis of one Organization, as if there were neither others nor grants.
    pub fn api_of(&self, organization: &str, host: &str, path: &[u8]) -> Option<&Arc<Served>> {
        Some(self.choose(Some(organization), host, &plain(path))?.served)
    }

    /// The route for a request. Its path is without the parameters of its segments.
    ///
    /// A place that the control plane keeps for a route that this gateway cannot use counts where it has no other route.
    ///
    /// The first table that has one fixes the Organization: no Origin gives an Organization the requests of another one that the control plane
    /// or an Origin before it serves. Within the Organization the best fit answers; of equal fits that of the control plane, then the one with
    /// the first key, then that of the first Origin.
    fn choose(&self, owner: Option<&str>, host: &str, path: &[u8]) -> Option<Choice<'_>> {
        let made = best_of(&self.control, &self.control.apis, owner, host, path);
        let mut best = made.or_else(|| best_of(&self.control, &self.control.kept, owner, host, path));
        for table in &self.locals {
            let organization = owner.or(best.map(|choice| &*choice.served.routes.organization));
            best = match (best, best_of(table, &table.apis, organization, host, path)) {
                (Some(best), Some(local)) if local.goes_before(&best) => Some(local),
                (best, local) => best.or(local),
            };
        }
        best
    }

    /// The Organization that owns a request, if any does.
    pub fn owner(&self, host: &str, path: &[u8]) -> Option<&str> {
        self.owner_of_plain(host, &plain(path))
    }

    /// The same of a path whose segments are without their parameters.
    fn owner_of_plain(&self, host: &str, path: &[u8]) -> Option<&str> {
        let listener = self.control.listener.as_ref();
        let grants = listener.map(|listener| &listener.grants).filter(|grants| !grants.is_empty());
        grants?.owner(host, path).map(|grant| &*grant.organization)
    }

    /// Where else a request for a route is served; `None`: here. A Shift of the host counts, else that of every host. A route that an Origin
    /// publishes is of this region alone: no other could serve it.
    pub fn elsewhere<'a>(&'a self, host: &str, served: &'a Served) -> Option<Elsewhere<'a>> {
        let regions = &*served.routes.served_in;
        match &self.control.shifts {
            None if regions.is_empty() => None,
            _ if served.is_local => None,
            _ if !regions.is_empty() => Some(Elsewhere { regions, epoch: None }),
            None => None,
            Some(shifts) => shifts.find(host),
        }
    }

    /// Whether gateways of a region may send it requests over tunnels.
    pub fn takes_from(&self, region: Option<&Name>) -> bool {
        let peers = self.control.listener.as_ref().map(|listener| &listener.tunnel_peers);
        region.zip(peers).is_some_and(|(region, peers)| peers.contains(region))
    }

    /// Who may call. Only the control plane says that.
    pub fn callers(&self) -> &Callers {
        &self.control.callers
    }

    /// Why a local route does not answer at a host of its own, if so.
    pub(super) fn lost(&self, served: &Arc<Served>, pattern: &HostPattern) -> Option<String> {
        let host = match pattern {
            HostPattern::Exact(name) => name.to_string(),
            HostPattern::Suffix(suffix) => format!("{NO_LABEL}.{suffix}"),
            HostPattern::Any => String::new(),
        };
        let context = &served.routes.context;
        let owner = self.owner_of_plain(&host, context.octets());
        let found = self.choose(owner, &host, context.octets());
        if found.is_some_and(|choice| Arc::ptr_eq(choice.served, served)) {
            return None;
        }
        let place = Area { host: pattern.clone(), context: context.clone() };
        Some(match (found, owner) {
            (Some(choice), _) => format!("{place} is served by {}", choice.name_for(&served.routes)),
            (None, Some(owner)) => format!("{place} belongs to the Organization {owner}, by a HostGrant"),
            (None, None) => format!("{place} is served by no route"),
        })
    }
}

/// The best of these routes of one table, among those of one Organization or of all.
fn best_of<'a>(
    table: &'a ScopeTable,
    places: &'a Places,
    organization: Option<&str>,
    host: &str,
    path: &[u8],
) -> Option<Choice<'a>> {
    let found = match organization {
        None => places.find(host, |contexts| contexts.find(path, |holders| holders.first())),
        Some(own) => places.find(host, |contexts| {
            contexts.find(path, |holders| holders.iter().find(|served| *served.routes.organization == *own))
        }),
    };
    let (host, (context, served)) = found?;
    Some(Choice { fit: Fit { host, context }, table, served })
}

#[cfg(test)]
mod tests;
