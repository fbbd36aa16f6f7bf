//! What must hold between the Bindings of different Organizations, and between Bindings and HostGrants.
//!
//! Each rule compares the state before a change with the state after it. It refuses what the change makes, and leaves alone what was
//! there: a meeting of two Bindings that exists does not block other changes.

mod losses;
mod meetings;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use hanse_management::{Kind, Problem, ProblemName, ResourceKey, Spec};
use hanse_runtime::{Area, Grant, HostPattern};
use hanse_topology::Name;

use super::Verdict;
use crate::{State, state::Part};
use losses::Cells;

pub(crate) use losses::lost_now;
pub(crate) use meetings::{each_meeting, meeting};

/// How many resources a refusal names.
const NAMED: usize = 5;
/// How many HostGrants an Environment may have. All of them are in its Listener: 1,000 of the longest have 2.5 MB, and a gateway
/// reads the Listener again for each change.
pub(crate) const MAX_GRANTS: usize = 1_000;

/// What the command allows, and whose it is.
#[derive(Debug, Default)]
pub(crate) struct Consent {
    /// Bindings may lose requests to a grant, ask for some that belong to others, and meet.
    pub(crate) forced: bool,
    /// Refusals name no Binding of another Organization than this one. `None`: they name all.
    pub(crate) sight: Option<Name>,
}

/// A grant that came, went, or changed: its key, one of its Environments, and its requests before or after.
struct Regranted {
    key: ResourceKey,
    environment: Name,
    area: Area,
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
    check_inside(before, next, &judged, touched, affected, &regranted, consent)?;
    if consent.forced {
        return Ok(());
    }
    check_losses(before, next, &regranted, consent)?;
    check_meetings(before, next, &judged, affected, consent)
}

fn regranted(before: &State, next: &State, touched: &BTreeSet<ResourceKey>) -> Vec<Regranted> {
    let mut all = Vec::new();
    for key in touched {
        let (old, new) = (before.host_grant_spec(key), next.host_grant_spec(key));
        for (spec, other) in [(old, new), (new, old)] {
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
    for (environment, of) in by_environment(regranted) {
        judged.entry(environment.clone()).or_default().extend(reached(next, environment, &of));
    }
    judged
}

fn by_environment(regranted: &[Regranted]) -> BTreeMap<&Name, Vec<&Regranted>> {
    let mut all: BTreeMap<&Name, Vec<&Regranted>> = BTreeMap::new();
    for one in regranted {
        all.entry(&one.environment).or_default().push(one);
    }
    all
}

/// The Bindings that changes of grants in an Environment may concern.
fn reached(next: &State, environment: &Name, regranted: &[&Regranted]) -> BTreeSet<ResourceKey> {
    let areas: Vec<Area> = regranted.iter().map(|one| one.area.clone()).collect();
    next.reached(environment, &areas)
}

/// No Binding asks only for requests of others. Without force, none comes to ask for a host of which others own all that it asks for.
fn check_inside(
    before: &State,
    next: &State,
    judged: &BTreeMap<Name, BTreeSet<ResourceKey>>,
    touched: &BTreeSet<ResourceKey>,
    affected: &BTreeSet<ResourceKey>,
    regranted: &[Regranted],
    consent: &Consent,
) -> Verdict {
    let mut found = Vec::new();
    for (environment, keys) in judged.iter().filter(|(environment, _)| next.grants(environment).is_some()) {
        for key in keys {
            if let Some((area, grant)) = inside(next, environment, key) {
                if affected.contains(key) {
                    return Err(foreign(next, environment, key, &area, grant));
                }
                found.push((environment, key, area, grant));
            } else if !consent.forced
                && affected.contains(key)
                && let Some((area, grant)) = host_inside(before, next, environment, key)
            {
                return Err(foreign(next, environment, key, &area, grant));
            }
        }
    }
    let Some((environment, key, area, grant)) = found.first() else { return Ok(()) };
    let others: Vec<&ResourceKey> = found[1..].iter().map(|(_, key, ..)| *key).collect();
    let detail = format!(
        "requests to {area} in Environment {environment} would belong to Organization {}, and {} asks for nothing else{}",
        grant.organization,
        shown(key, consent.sight.as_ref()),
        and(&others, "the same is true of", consent)
    );
    let own = next.host_grant(environment, grant).filter(|own| touched.contains(*own));
    let meets = |one: &&Regranted| one.environment == **environment && one.area.common(area).is_some();
    let granted = own.or_else(|| regranted.iter().find(meets).map(|one| &one.key));
    let at = match (granted, touched.iter().find(|key| key.kind == Kind::Environment)) {
        (Some(granted), _) => format!("{granted}: spec.host"),
        (None, Some(changed)) => format!("{changed}: spec.hostnames"),
        (None, None) => key.to_string(),
    };
    Err(Problem::new(ProblemName::Conflict, detail)
        .at(at)
        .remedy("delete these Bindings or change the hosts or contexts of their Apis first, or grant less"))
}

/// The first requests of a Binding and the grant of their owner, if all that it asks for belongs to others.
fn inside<'a>(state: &'a State, environment: &Name, key: &ResourceKey) -> Option<(Area, &'a Grant)> {
    let asked = state.asked(key)?;
    let mut first = None;
    for part in &asked.parts {
        let found = part_inside(state, environment, key, part)?;
        first.get_or_insert(found);
    }
    first
}

/// The first host that an Api names and whose requests all belong to others, if its Binding did not ask for them before.
fn host_inside<'a>(
    before: &State,
    next: &'a State,
    environment: &Name,
    key: &ResourceKey,
) -> Option<(Area, &'a Grant)> {
    let was = before.asked(key).filter(|was| was.environment == *environment);
    let was = was.map(|was| was.parts).unwrap_or_default();
    let is_known = |part: &Part| was.iter().any(|was| was.named().covers(&part.named()));
    let asked = next.asked(key)?;
    let mut new = asked.parts.iter().filter(|part| part.host != HostPattern::Any && !is_known(part));
    new.find_map(|part| part_inside(next, environment, key, part))
}

fn part_inside<'a>(
    state: &'a State,
    environment: &Name,
    key: &ResourceKey,
    part: &Part,
) -> Option<(Area, &'a Grant)> {
    let mut first = None;
    for area in part.areas() {
        let grant = state.owner_of(environment, &area.host, &area.context)?;
        if is_own(key, grant) {
            return None;
        }
        first.get_or_insert((area, grant));
    }
    first
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

/// No grant that changes takes requests from the Bindings of others.
fn check_losses(before: &State, next: &State, regranted: &[Regranted], consent: &Consent) -> Verdict {
    for (environment, regranted) in by_environment(regranted) {
        let cells = Cells::new(before, next, environment, &regranted);
        let keys = reached(next, environment, &regranted);
        let losses: Vec<_> = keys.iter().filter_map(|key| Some((key, cells.lost(key)?))).collect();
        let Some((first, loss)) = losses.first() else { continue };
        let others: Vec<&ResourceKey> = losses[1..].iter().map(|(key, _)| *key).collect();
        let detail = format!(
            "{} would lose its requests to {} in Environment {environment}, which would belong to Organization {}{}",
            shown(first, consent.sight.as_ref()),
            loss.area,
            loss.owner,
            and(&others, "requests would also be lost by", consent)
        );
        return Err(Problem::new(ProblemName::Conflict, detail)
            .at(format!("{}: spec.host", loss.by))
            .remedy("to accept this, add --force-grants, or ?forceGrants=true"));
    }
    Ok(())
}

/// No two Bindings of different Organizations come to ask for requests that no grant owns.
fn check_meetings(
    before: &State,
    next: &State,
    judged: &BTreeMap<Name, BTreeSet<ResourceKey>>,
    affected: &BTreeSet<ResourceKey>,
    consent: &Consent,
) -> Verdict {
    for (environment, keys) in judged {
        let found = each_meeting(next, environment, keys, |one, other| {
            // The error is at the Binding that the command changed.
            let is_second = affected.contains(other) && !affected.contains(one);
            let (one, other) = if is_second { (other, one) } else { (one, other) };
            match new_meeting(before, next, one, other) {
                Some((area, region)) => {
                    ControlFlow::Break(met(environment, one, other, &area, &region, consent))
                }
                None => ControlFlow::Continue(()),
            }
        });
        if let ControlFlow::Break(problem) = found {
            return Err(problem);
        }
    }
    Ok(())
}

/// What of two Bindings that meet is new, with a region: requests that they did not both ask for before, or a region.
fn new_meeting(before: &State, next: &State, key: &ResourceKey, other: &ResourceKey) -> Option<(Area, Name)> {
    let after = meeting(next, key, other)?;
    let (area, region) = (after.areas.first()?.clone(), after.regions.first()?.clone());
    let environment = |state: &State| Some(state.asked(key)?.environment);
    let was = meeting(before, key, other).filter(|_| environment(before) == environment(next));
    let Some(was) = was else { return Some((area, region)) };
    let is_known = |area: &Area| was.areas.iter().any(|known| known.covers(area));
    let new_area = after.areas.iter().find(|area| !is_known(area)).cloned();
    let new_region = after.regions.iter().find(|region| !was.regions.contains(region)).cloned();
    match (new_area, new_region) {
        (None, None) => None,
        (new_area, new_region) => Some((new_area.unwrap_or(area), new_region.unwrap_or(region))),
    }
}

/// How a Binding is named to an Organization; `None`: to a reader who may see all.
pub(crate) fn shown(key: &ResourceKey, sight: Option<&Name>) -> String {
    match (sight, &key.organization) {
        (Some(own), Some(organization)) if own != organization => {
            format!("a {} of another organization", key.kind)
        }
        _is_seen => key.to_string(),
    }
}

fn met(
    environment: &Name,
    key: &ResourceKey,
    other: &ResourceKey,
    area: &Area,
    region: &Name,
    consent: &Consent,
) -> Problem {
    let sight = consent.sight.as_ref();
    let detail = format!(
        "{} and {} both ask for requests to {area} in Environment {environment}, region {region}, and no HostGrant says which \
         Organization owns them",
        shown(key, sight),
        shown(other, sight)
    );
    Problem::new(ProblemName::Conflict, detail).at(format!("{}: spec.environment", shown(key, sight))).remedy(
        "change the hosts or the context of one of the Apis, or have an administrator grant the host or the path to one of the \
         Organizations: a HostGrant",
    )
}

/// `; so would Binding a/b, Binding a/c and 2 more`.
fn and(others: &[&ResourceKey], so: &str, consent: &Consent) -> String {
    if others.is_empty() {
        return String::new();
    }
    // The first is named before.
    let named = others.iter().take(NAMED - 1).map(|key| shown(key, consent.sight.as_ref()));
    let named: Vec<String> = named.collect();
    let more = others.len() - named.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("; {so} {}{more}", named.join(", "))
}
