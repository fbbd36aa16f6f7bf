//! What an agent knows of its region from several sources: pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use hanse_proto::sync::{AgentLive, GatewayLive};
use hanse_topology::{LEASE, Name};

use super::{heard::KEPT, hearing::RegionView};

/// What the relays said, by relay.
#[derive(Debug, Clone, Default)]
pub(super) struct Views(BTreeMap<Name, Heard>);

/// What one relay said.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    /// Whether the relay is asked now.
    asked: bool,
    /// On the stream of now, once a whole view came.
    now: Option<Said>,
    /// On the last stream before with a whole view. A relay that has just started knows little, and what it said before still counts.
    before: Option<Said>,
    /// Why the relay says nothing.
    pub(super) last_failure: Option<String>,
}

/// A view, and when its last part came.
#[derive(Debug, Clone)]
struct Said {
    view: RegionView,
    at: Instant,
}

/// A view as it counts now.
struct Counted<'a> {
    view: &'a RegionView,
    /// It is so new that it proves that an agent or a gateway is live.
    proves: bool,
}

impl Heard {
    /// When the relay was heard last.
    pub(super) fn at(&self) -> Option<Instant> {
        self.now.iter().chain(&self.before).map(|said| said.at).max()
    }
}

impl Views {
    /// The relays that are asked, in the order of their names.
    pub(super) fn asked(&self) -> impl Iterator<Item = (&Name, &Heard)> {
        self.0.iter().filter(|(_, heard)| heard.asked)
    }

    /// From now on these relays are asked. What others said ages like the rest.
    pub(super) fn ask(&mut self, relays: impl Iterator<Item = Name>, now: Instant) {
        self.0.values_mut().for_each(|heard| heard.asked = false);
        relays.for_each(|relay| self.0.entry(relay).or_default().asked = true);
        let is_kept = |heard: &Heard| heard.at().is_some_and(|at| now.saturating_duration_since(at) < KEPT);
        self.0.retain(|_, heard| heard.asked || is_kept(heard));
    }

    /// A stream to the relay begins.
    pub(super) fn begun(&mut self, relay: &Name) {
        let heard = self.0.entry(relay.clone()).or_default();
        heard.before = heard.now.take().or(heard.before.take());
    }

    /// A part came. `complete` is the view, if it made one.
    pub(super) fn heard(&mut self, relay: &Name, complete: Option<&RegionView>, at: Instant) {
        let heard = self.0.entry(relay.clone()).or_default();
        match (complete, &mut heard.now) {
            (Some(view), now) => {
                *now = Some(Said { view: view.clone(), at });
                heard.last_failure = None;
            }
            (None, Some(now)) => now.at = at,
            (None, None) => {}
        }
    }

    /// The stream ended.
    pub(super) fn failed(&mut self, relay: &Name, why: String) {
        self.0.entry(relay.clone()).or_default().last_failure = Some(why);
    }

    /// What is known as of `now`, with what the agent `own` hears by itself. An agent or a gateway is live if one source that was heard
    /// within [`LEASE`] says so. What was live in older views is gone, and after an hour it is forgotten.
    pub(super) fn merged(&self, own: (&Name, &RegionView), now: Instant) -> RegionView {
        let age = |said: &Said| now.saturating_duration_since(said.at);
        let said = self.0.values().flat_map(|heard| heard.now.iter().chain(&heard.before));
        let said = said.filter(|said| age(said) < KEPT);
        let counted = said.map(|said| Counted { view: &said.view, proves: age(said) < LEASE });
        let views: Vec<_> = std::iter::once(Counted { view: own.1, proves: true }).chain(counted).collect();
        let names: BTreeSet<&Name> = views.iter().flat_map(|counted| counted.view.agents.keys()).collect();
        let mut agents: BTreeMap<Name, Arc<AgentLive>> = names
            .into_iter()
            .filter_map(|name| {
                let itself = own.1.agents.get(name).filter(|_| name == own.0);
                Some((name.clone(), itself.cloned().or_else(|| agent(name, &views))?))
            })
            .collect();
        forget_where_they_were(&mut agents);
        // Each sum is of the agents that its source hears. Own first, then by the name of the relay.
        let live = |view: &RegionView| view.agents.values().filter(|agent| agent.live).count();
        let widest =
            views.iter().filter(|counted| counted.proves).rev().max_by_key(|counted| live(counted.view));
        let traffic = widest.map(|counted| counted.view.traffic.clone()).unwrap_or_default();
        RegionView { agents, traffic }
    }
}

/// An agent as the views that hold it live say. Where no view does, the agent is gone, with all gateways that any view has.
fn agent(name: &Name, views: &[Counted<'_>]) -> Option<Arc<AgentLive>> {
    let all = || views.iter().filter_map(|counted| Some((counted.view.agents.get(name)?, counted.proves)));
    let proving: Vec<_> =
        all().filter(|(agent, proves)| *proves && agent.live).map(|(agent, _)| agent).collect();
    let live = !proving.is_empty();
    let said = if live { proving } else { all().map(|(agent, _)| agent).collect() };
    let first = said.first()?;
    if live && said.iter().all(|agent| agent == first) {
        return Some((*first).clone()); // as mostly
    }
    let mut gateways = BTreeMap::<&str, GatewayLive>::new();
    for gateway in said.iter().flat_map(|agent| &agent.gateways) {
        let said = GatewayLive { live: live && gateway.live, ..gateway.clone() };
        let known = gateways.entry(&gateway.name).or_insert_with(|| said.clone());
        if said.live && !known.live {
            *known = said;
        }
    }
    Some(Arc::new(AgentLive {
        name: name.to_string(),
        live,
        gateways: gateways.into_values().collect(),
        left_out: said.iter().map(|agent| agent.left_out).max().unwrap_or_default(),
    }))
}

/// A gateway that moved to another agent is not shown as gone at the agent before.
fn forget_where_they_were(agents: &mut BTreeMap<Name, Arc<AgentLive>>) {
    let gateways = agents.values().flat_map(|agent| &agent.gateways);
    let live: BTreeSet<String> =
        gateways.filter(|gateway| gateway.live).map(|gateway| gateway.name.clone()).collect();
    let moved = |gateway: &GatewayLive| !gateway.live && live.contains(&gateway.name);
    for agent in agents.values_mut().filter(|agent| agent.gateways.iter().any(moved)) {
        Arc::make_mut(agent).gateways.retain(|gateway| !moved(gateway));
    }
}

#[cfg(test)]
mod tests;
