//! What must hold between the Bindings of different Organizations, and between Bindings and HostGrants.
//!
//! Each rule compares the state before a change with the state after it. It refuses what the change makes, and leaves alone what was
//! there: a meeting of two Bindings that exists does not block other changes.

use std::collections::{BTreeMap, BTreeSet};

use hanse_management::{Kind, Problem, ProblemName, ResourceKey, Spec};
use hanse_runtime::{Area, Grant};
use hanse_topology::Name;

use super::Verdict;
use crate::{
    State,
    state::{Hosts, listed},
};

/// How many resources a refusal names.
const NAMED: usize = 5;
/// How many Bindings of an Environment are compared with their neighbours one by one. Of more, all of the Environment are compared:
/// then each looks only at hosts that cover its own, which are few.
const FEW: usize = 64;
/// How many HostGrants an Environment may have. All of them are in its Listener: 1,000 of the longest have 2.5 MB, and a gateway
/// reads the Listener again for each change.
pub(crate) const MAX_GRANTS: usize = 1_000;

/// What the command allows.
#[derive(Debug, Default)]
pub(crate) struct Consent {
    /// Bindings may lose requests to a grant, and Bindings of a dump may meet others.
    pub(crate) forced: bool,
    /// The resources of a dump.
    pub(crate) restored: BTreeSet<ResourceKey>,
}

/// A grant that came, went, or changed: its key, one of its Environments, and its requests before or after.
struct Regranted {
    key: ResourceKey,
    environment: Name,
    area: Area,
    /// They are no longer granted so.
    is_gone: bool,
}

/// What two Bindings of different Organizations both ask for, and no grant owns.
#[derive(Debug, PartialEq)]
pub(crate) struct Meeting {
    pub(crate) environment: Name,
    pub(crate) areas: Vec<Area>,
    pub(crate) regions: Vec<Name>,
}

/// The Environments whose grants a change of these resources may have changed.
pub(super) fn regranted_environments(
    before: &State,
    next: &State,
    touched: &BTreeSet<ResourceKey>,
) -> BTreeSet<Name> {
    let specs = touched.iter().flat_map(|key| [before.host_grant_spec(key), next.host_grant_spec(key)]);
    specs.flatten().flat_map(|spec| spec.environments.iter().cloned()).collect()
}

/// Judges what `touched` changed. `affected` has the Bindings that mean something else than before.
pub(super) fn check(
    before: &State,
    next: &State,
    touched: &BTreeSet<ResourceKey>,
    affected: &BTreeSet<ResourceKey>,
    consent: &Consent,
) -> Verdict {
    let regranted = regranted(before, next, touched);
    check_number(next, &regranted)?;
    let judged = judged(before, next, touched, affected, &regranted);
    check_inside(before, next, &judged, touched, affected)?;
    if !consent.forced {
        check_losses(before, next, &regranted, affected)?;
    }
    check_meetings(before, next, &judged, consent)
}

fn regranted(before: &State, next: &State, touched: &BTreeSet<ResourceKey>) -> Vec<Regranted> {
    let mut all = Vec::new();
    for key in touched {
        let (old, new) = (before.host_grant_spec(key), next.host_grant_spec(key));
        for (spec, other, is_gone) in [(old, new, true), (new, old, false)] {
            let Some((spec, area)) = spec.and_then(|spec| Some((spec, spec.area()?))) else { continue };
            let is_same = |environment: &Name| {
                other.is_some_and(|other| {
                    other.organization == spec.organization
                        && other.area().as_ref() == Some(&area)
                        && other.environments.contains(environment)
                })
            };
            let changed = spec.environments.iter().filter(|environment| !is_same(environment));
            all.extend(changed.map(|environment| Regranted {
                key: key.clone(),
                environment: environment.clone(),
                area: area.clone(),
                is_gone,
            }));
        }
    }
    all
}

fn check_number(next: &State, regranted: &[Regranted]) -> Verdict {
    for Regranted { key, environment, .. } in regranted {
        let of = ResourceKey::global(Kind::Environment, environment.clone());
        let count = next.referrers_of_kind(&of, Kind::HostGrant).count();
        if count > MAX_GRANTS {
            let detail = format!("{of} would have {count} HostGrants, more than {MAX_GRANTS}");
            return Err(Problem::new(ProblemName::TooLarge, detail)
                .at(format!("{key}: spec.environments"))
                .remedy("grant a wildcard such as *.example.com in place of single hosts"));
        }
    }
    Ok(())
}

/// The Bindings to judge, by Environment.
fn judged(
    before: &State,
    next: &State,
    touched: &BTreeSet<ResourceKey>,
    affected: &BTreeSet<ResourceKey>,
    regranted: &[Regranted],
) -> BTreeMap<Name, BTreeSet<ResourceKey>> {
    let mut judged: BTreeMap<Name, BTreeSet<ResourceKey>> = BTreeMap::new();
    for key in affected {
        if let Some(Spec::Binding(spec)) = next.get(key).map(|binding| &binding.spec) {
            judged.entry(spec.environment.clone()).or_default().insert(key.clone());
        }
    }
    for key in touched.iter().filter(|key| key.kind == Kind::Environment) {
        let hostnames = |state: &State| state.environment(&key.name).map(|spec| spec.hostnames.clone());
        if hostnames(before) != hostnames(next) {
            let bindings = next.referrers_of_kind(key, Kind::Binding).cloned();
            judged.entry(key.name.clone()).or_default().extend(bindings);
        }
    }
    for Regranted { environment, area, .. } in regranted {
        let bindings = next.meeting(environment, area, None, Hosts::All);
        judged.entry(environment.clone()).or_default().extend(bindings);
    }
    judged
}

/// No Binding comes to ask for requests of which all have another owner.
fn check_inside(
    before: &State,
    next: &State,
    judged: &BTreeMap<Name, BTreeSet<ResourceKey>>,
    touched: &BTreeSet<ResourceKey>,
    affected: &BTreeSet<ResourceKey>,
) -> Verdict {
    let mut found = Vec::new();
    for (environment, keys) in judged.iter().filter(|(environment, _)| next.grants(environment).is_some()) {
        for key in keys {
            let Some((area, grant)) = inside(next, environment, key) else { continue };
            if inside(before, environment, key).is_some() {
                continue;
            }
            if affected.contains(key) {
                return Err(foreign(next, environment, key, &area, grant));
            }
            found.push((environment, key, area, grant));
        }
    }
    let Some((environment, key, area, grant)) = found.first() else { return Ok(()) };
    let others: Vec<&ResourceKey> = found[1..].iter().map(|(_, key, ..)| *key).collect();
    let detail = format!(
        "requests to {area} in Environment {environment} would belong to Organization {}, and {key} asks for them{}",
        grant.organization,
        and(&others, "so would it be with")
    );
    let by = |kind: Kind| touched.iter().find(|key| key.kind == kind);
    let at = match (by(Kind::HostGrant), by(Kind::Environment)) {
        (Some(granted), _) => format!("{granted}: spec.host"),
        (None, Some(changed)) => format!("{changed}: spec.hostnames"),
        (None, None) => key.to_string(),
    };
    Err(Problem::new(ProblemName::Conflict, detail)
        .at(at)
        .remedy("delete these Bindings or change the hosts or contexts of their Apis first, or grant less"))
}

/// The requests that a Binding asks for and that have another owner: of one of the hosts that its Api names, or of all hosts where
/// its Api names none.
pub(crate) fn inside<'a>(
    state: &'a State,
    environment: &Name,
    key: &ResourceKey,
) -> Option<(Area, &'a Grant)> {
    let asked = state.asked(key)?;
    let mut owners = asked.places().map(|(host, context)| {
        let grant = state.owner_of(environment, host, context).filter(|grant| !is_own(key, grant))?;
        Some((Area { host: host.clone(), context: context.clone() }, grant))
    });
    match asked.is_listed {
        true => owners.flatten().next(),
        false => {
            let first = owners.next()??;
            owners.all(|owner| owner.is_some()).then_some(first)
        }
    }
}

/// Whether a grant is for the Organization of `key`.
pub(crate) fn is_own(key: &ResourceKey, grant: &Grant) -> bool {
    key.organization.as_ref().is_some_and(|own| own.as_str() == &*grant.organization)
}

fn foreign(state: &State, environment: &Name, key: &ResourceKey, area: &Area, grant: &Grant) -> Problem {
    let by = state.host_grant(environment, grant).map(|by| format!(" ({by})")).unwrap_or_default();
    let detail = format!(
        "requests to {area} in Environment {environment} belong to Organization {}{by}",
        grant.organization
    );
    let own = key.organization.as_ref().map_or("", Name::as_str);
    Problem::new(ProblemName::Conflict, detail).at(format!("{key}: spec.environment")).remedy(format!(
        "change the hosts or the context of the Api, or have an administrator grant them to Organization {own}: a HostGrant"
    ))
}

/// No grant takes requests from the Bindings of others, unless the command is forced.
fn check_losses(
    before: &State,
    next: &State,
    regranted: &[Regranted],
    affected: &BTreeSet<ResourceKey>,
) -> Verdict {
    for granted in regranted {
        let Regranted { key: by, environment, area, .. } = granted;
        let meeting = next.meeting(environment, area, None, Hosts::All);
        let losses = meeting.iter().filter(|key| !affected.contains(key));
        let losses: Vec<_> =
            losses.filter_map(|key| Some((key, lost(before, next, key, granted)?))).collect();
        let Some((first, (area, owner))) = losses.first() else { continue };
        let others: Vec<&ResourceKey> = losses[1..].iter().map(|(key, _)| *key).collect();
        let detail = format!(
            "{first} would lose its requests to {area} in Environment {environment}, which would belong to Organization {owner}{}",
            and(&others, "so would")
        );
        return Err(Problem::new(ProblemName::Conflict, detail)
            .at(format!("{by}: spec.host"))
            .remedy("if it shall lose them, force it: --force-grants, or ?forceGrants=true"));
    }
    Ok(())
}

/// The first requests of a grant that a Binding asked for before, and asks for in vain now; and their owner. Where the grant is gone,
/// those that other grants have of it count, too.
fn lost(before: &State, next: &State, key: &ResourceKey, granted: &Regranted) -> Option<(Area, String)> {
    let Regranted { environment, area, is_gone, .. } = granted;
    before.asked(key)?;
    let asked = next.asked(key)?;
    let foreign = |state: &State, part: &Area| {
        let owner =
            state.owner_of(environment, &part.host, &part.context).filter(|grant| !is_own(key, grant));
        owner.map(|grant| grant.organization.to_string())
    };
    let others = next.grants(environment).into_iter().filter(|_| *is_gone).flat_map(|grants| grants.iter());
    let others: Vec<&Area> = others.filter(|grant| !is_own(key, grant)).map(|grant| &grant.area).collect();
    let mut parts = asked.parts(area).flat_map(|part| {
        let narrower: Vec<Area> = others.iter().filter_map(|other| other.common(&part)).collect();
        std::iter::once(part).chain(narrower)
    });
    parts.find_map(|part| {
        let owner = foreign(next, &part)?;
        foreign(before, &part).is_none().then_some((part, owner))
    })
}

/// No two Bindings of different Organizations come to ask for requests that no grant owns.
fn check_meetings(
    before: &State,
    next: &State,
    judged: &BTreeMap<Name, BTreeSet<ResourceKey>>,
    consent: &Consent,
) -> Verdict {
    let is_restored = |key: &ResourceKey| consent.forced && consent.restored.contains(key);
    for (environment, keys) in judged {
        let all: BTreeSet<ResourceKey>;
        let (keys, hosts) = match keys.len() > FEW {
            true => {
                let environment = ResourceKey::global(Kind::Environment, environment.clone());
                all = next.referrers_of_kind(&environment, Kind::Binding).cloned().collect();
                let owners: BTreeSet<_> = all.iter().map(|key| &key.organization).collect();
                if owners.len() == 1 {
                    continue; // all are of one Organization
                }
                (&all, Hosts::Wider)
            }
            false => (keys, Hosts::All),
        };
        for key in keys {
            for other in neighbours(next, environment, key, hosts) {
                if is_restored(key) || is_restored(&other) {
                    continue;
                }
                if let Some((area, region)) = new_meeting(before, next, key, &other) {
                    return Err(met(environment, key, &other, &area, &region));
                }
            }
        }
    }
    Ok(())
}

/// The Bindings of other Organizations that may ask for requests of this one.
pub(crate) fn neighbours(
    state: &State,
    environment: &Name,
    key: &ResourceKey,
    hosts: Hosts,
) -> BTreeSet<ResourceKey> {
    let Some(binding) = state.get(key) else { return BTreeSet::new() };
    let own = key.organization.as_ref();
    let areas = state.served(binding).into_iter().flat_map(listed);
    areas.flat_map(|area| state.meeting(environment, &area, own, hosts)).collect()
}

/// What of two Bindings that meet is new, with a region: requests that they did not both ask for before, or a region.
fn new_meeting(before: &State, next: &State, key: &ResourceKey, other: &ResourceKey) -> Option<(Area, Name)> {
    let after = meeting(next, key, other)?;
    let (area, region) = (after.areas.first()?.clone(), after.regions.first()?.clone());
    let was = meeting(before, key, other).filter(|was| was.environment == after.environment);
    let Some(was) = was else { return Some((area, region)) };
    let is_known = |area: &Area| was.areas.iter().any(|known| known.covers(area));
    let new_area = after.areas.iter().find(|area| !is_known(area)).cloned();
    let new_region = after.regions.iter().find(|region| !was.regions.contains(region)).cloned();
    match (new_area, new_region) {
        (None, None) => None,
        (new_area, new_region) => Some((new_area.unwrap_or(area), new_region.unwrap_or(region))),
    }
}

/// What two Bindings of different Organizations both ask for, and no grant owns.
pub(crate) fn meeting(state: &State, one: &ResourceKey, other: &ResourceKey) -> Option<Meeting> {
    let environment = |key: &ResourceKey| match &state.get(key)?.spec {
        Spec::Binding(spec) => Some(spec.environment.clone()),
        _other_kind => None,
    };
    let own = environment(one)?;
    if one.organization == other.organization || environment(other)? != own {
        return None;
    }
    let (one, other) = (state.asked(one)?, state.asked(other)?);
    let regions: Vec<Name> =
        one.regions.iter().filter(|region| other.regions.contains(region)).cloned().collect();
    if regions.is_empty() {
        return None;
    }
    let is_free = |area: &Area| state.owner_of(&own, &area.host, &area.context).is_none();
    let areas: Vec<Area> = one.common(&other).into_iter().filter(is_free).collect();
    (!areas.is_empty()).then_some(Meeting { environment: own, areas, regions })
}

fn met(environment: &Name, key: &ResourceKey, other: &ResourceKey, area: &Area, region: &Name) -> Problem {
    let organization =
        |key: &ResourceKey| key.organization.clone().map_or_else(String::new, |own| own.to_string());
    let detail = format!(
        "{key} and {other} both ask for requests to {area} in Environment {environment}, region {region}, which belong to neither \
         Organization {} nor Organization {}",
        organization(key),
        organization(other)
    );
    Problem::new(ProblemName::Conflict, detail).at(format!("{key}: spec.environment")).remedy(
        "change the hosts or the context of one of the Apis, or have an administrator grant the host or the path to one of the \
         Organizations: a HostGrant",
    )
}

/// `; so would Binding a/b, Binding a/c and 2 more`.
fn and(others: &[&ResourceKey], so: &str) -> String {
    if others.is_empty() {
        return String::new();
    }
    // The first is named before.
    let named: Vec<String> = others.iter().take(NAMED - 1).map(ToString::to_string).collect();
    let more = others.len() - named.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("; {so} {}{more}", named.join(", "))
}
