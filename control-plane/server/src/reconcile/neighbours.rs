//! Names the relays of each region, and says where agents find them and the holders of Origins.
//!
//! A region has three relays: each agent follows all of them, so that any two may fail. A relay stays one until it was silent for a
//! minute. The address of an agent comes from its own reports.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hanse_management::{Kind, Spec};
use hanse_state::{CommandBody, Member, NeighbourAt, State};
use hanse_topology::{Identity, LEASE, Name, Role};

use super::{HeardAgent, HeardAgents, Observed, Reconciler};

/// How many relays a region has. Two may fail at once, and each agent keeps three connections.
const RELAYS: usize = 3;
/// A relay that was silent for so long is replaced. A restart of its machine takes less. The others deliver meanwhile.
const SILENT_FOR: Duration = Duration::from_secs(60);
/// An agent that says another address than before has it once it said so for this long. Two processes with one name and two addresses
/// would otherwise change the state with each report. Each change is an entry of the audit: a stolen agent makes 240 of them a day at
/// most, about as many as it may make with join tokens.
const ADDRESS_HOLDS_AFTER: Duration = Duration::from_secs(360);

/// See the module.
pub(crate) struct Neighbours;

impl Reconciler for Neighbours {
    fn name(&self) -> &'static str {
        "neighbours"
    }

    fn plan(&self, state: &State, observed: &dyn Observed, _: u64) -> Vec<CommandBody> {
        let heard = observed.agents();
        let mut regions: BTreeMap<Name, Region<'_>> = BTreeMap::new();
        for (text, member) in state.members() {
            let Ok(identity) = text.parse::<Identity>() else { continue };
            let (Role::Agent, Some(region), false) =
                (identity.role, &identity.region, state.is_revoked(text))
            else {
                continue;
            };
            let seen = heard.agents.get(&identity);
            let of = regions.entry(region.clone()).or_default();
            of.agents.insert(identity.name.clone(), Agent { member, seen });
        }
        for origin in state.list(Kind::Origin, None) {
            let Spec::Origin(spec) = &origin.spec else { continue };
            if let Some(of) = regions.get_mut(&spec.region) {
                of.holders.extend(&spec.holders);
            }
        }
        let differing = regions.into_iter().filter_map(|(region, of)| {
            let agents = of.wanted(&heard);
            (agents != of.known()).then_some(CommandBody::SetNeighbours { region, agents })
        });
        differing.collect()
    }
}

/// The agents of one region that are not revoked.
#[derive(Default)]
struct Region<'a> {
    agents: BTreeMap<Name, Agent<'a>>,
    /// The names of agents that hold an Origin here.
    holders: BTreeSet<&'a Name>,
}

struct Agent<'a> {
    member: &'a Member,
    /// What was heard of it; `None`: nothing for an hour.
    seen: Option<&'a HeardAgent>,
}

impl Agent<'_> {
    /// Whether it was heard within this time.
    fn is_heard_within(&self, time: Duration) -> bool {
        self.seen.is_some_and(|seen| seen.heard_ago < time)
    }

    /// Where it is reached, as far as the state should say it. Empty: nothing is known.
    fn address(&self) -> &str {
        let known = &self.member.address;
        match self.seen {
            Some(seen) if !seen.address.is_empty() => {
                let holds = known.is_empty() || seen.address_for >= ADDRESS_HOLDS_AFTER;
                if holds { &seen.address } else { known }
            }
            Some(_) | None => known,
        }
    }

    /// Whether it may become a relay now. One that may learn some environments only could not pass on all that others need.
    fn may_relay(&self) -> bool {
        self.is_heard_within(LEASE) && self.member.environments.is_empty() && !self.address().is_empty()
    }
}

impl Region<'_> {
    /// What the state says.
    fn known(&self) -> Vec<NeighbourAt> {
        let says = |agent: &Agent<'_>| agent.member.relay || !agent.member.address.is_empty();
        let at = |(name, agent): (&Name, &Agent<'_>)| NeighbourAt {
            name: name.clone(),
            address: agent.member.address.clone(),
            relay: agent.member.relay,
        };
        self.agents.iter().filter(|(_, agent)| says(agent)).map(at).collect()
    }

    /// What it should say.
    fn wanted(&self, heard: &HeardAgents) -> Vec<NeighbourAt> {
        let relays = self.relays(heard);
        let at = |(name, agent): (&Name, &Agent<'_>)| {
            let relay = relays.contains(name);
            let address = agent.address();
            ((relay || self.holders.contains(name)) && !address.is_empty()).then(|| NeighbourAt {
                name: name.clone(),
                address: address.to_owned(),
                relay,
            })
        };
        self.agents.iter().filter_map(at).collect()
    }

    /// The relays, those that there are first. At most one that is silent is replaced at a time.
    fn relays(&self, heard: &HeardAgents) -> BTreeSet<&Name> {
        let is_kept = |agent: &Agent<'_>| agent.member.relay && agent.member.environments.is_empty();
        let mut relays: BTreeSet<&Name> =
            self.agents.iter().filter(|(_, agent)| is_kept(agent)).map(|(name, _)| name).collect();
        let mut fresh = self.agents.iter().filter(|(_, agent)| !is_kept(agent) && agent.may_relay());
        while relays.len() < RELAYS
            && let Some((name, _)) = fresh.next()
        {
            relays.insert(name);
        }
        // A process that has not watched for so long cannot tell who was silent. Without an agent that can take its place, it stays.
        let is_silent = |name: &&&Name| {
            heard.watched_for >= SILENT_FOR && !self.agents[**name].is_heard_within(SILENT_FOR)
        };
        if let Some(silent) = relays.iter().find(is_silent).copied()
            && let Some((name, _)) = fresh.next()
        {
            relays.remove(silent);
            relays.insert(name);
        }
        relays
    }
}

#[cfg(test)]
mod tests;
