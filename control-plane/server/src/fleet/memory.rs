//! What was last heard of each agent and gateway, whichever node heard it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use hanse_link::{Lineage, Position, Quarantine};
use hanse_proto::{raft::AgentReport, sync};
use hanse_state::port::{AgentStatus, GatewayStatus, Quarantined, ScopeStatus, TrustStatus};
use hanse_sync::LineageOrder;
use hanse_topology::Name;
use hanse_transport::KeyDigest;

/// How long one that is not heard any more stays listed, so that people see what is missing.
const KEEP: Duration = Duration::from_secs(3_600);
/// Nodes are asked every second; what is older than a few of those no longer says that a connection stands.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);

/// Keys of revoked gateways that are remembered of an agent: as many as it reports.
const REPORTED_KEYS: usize = 256;

/// The memory. Names are unique in a region.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    agents: BTreeMap<(Name, String), Heard<Agent>>,
    gateways: BTreeMap<(Name, String), Heard<Gateway>>,
}

#[derive(Debug)]
struct Heard<T> {
    at: Instant,
    connected: bool,
    what: T,
}

#[derive(Debug)]
struct Agent {
    scopes: Vec<HeardScope>,
    trust: TrustStatus,
    unheard: Vec<String>,
    unheard_total: u64,
    /// Of gateways that it admitted and that are revoked, while their keys are not refused: name and key.
    revoked_gateways: Vec<(String, KeyDigest)>,
}

#[derive(Debug)]
struct Gateway {
    agent: String,
    scopes: Vec<HeardScope>,
    trust: TrustStatus,
    key: Option<KeyDigest>,
}

/// Where somebody stands in one scope.
#[derive(Debug)]
struct HeardScope {
    effective: Option<Position>,
    /// But for the revision in use: that depends on the history asked for.
    status: ScopeStatus,
}

impl HeardScope {
    fn in_history(&self, lineage: Option<&Lineage>) -> ScopeStatus {
        let effective = self.effective.zip(lineage).and_then(|(at, lineage)| revision_in(lineage, &at));
        ScopeStatus { effective, ..self.status.clone() }
    }
}

/// The revision of `lineage` that somebody is at. `None`: its position is of another history, or of a part of the history before
/// that this one does not continue; revisions of different histories do not compare.
fn revision_in(lineage: &Lineage, at: &Position) -> Option<u64> {
    match lineage.order(&at.lineage) {
        LineageOrder::Same => Some(at.revision),
        LineageOrder::Greater => {
            let (parent, last) = lineage.parent?;
            (parent == at.lineage.id && at.revision <= last).then_some(at.revision)
        }
        LineageOrder::Lesser | LineageOrder::Conflict => None,
    }
}

impl Memory {
    /// Takes in what nodes say at `now`. Of two words on one agent or gateway the later one counts.
    pub(crate) fn learn(&mut self, reports: impl IntoIterator<Item = AgentReport>, now: Instant) {
        for report in reports {
            // Names came from certificates; another node that sends others is not believed.
            let Ok(region) = Name::new(&report.region) else { continue };
            let heard = |connected, ms_ago, what| Heard { at: ago(now, ms_ago), connected, what };
            let agent = Agent {
                scopes: scopes_of(&report.scopes),
                trust: trust_of(report.trust.as_ref()),
                // What is no name would name somebody else.
                unheard: report.unheard.into_iter().filter(|name| Name::new(name).is_ok()).collect(),
                unheard_total: report.unheard_total,
                revoked_gateways: report
                    .revoked_gateways
                    .into_iter()
                    .filter_map(|gateway| Some((gateway.name, key_of(&gateway.key)?)))
                    .take(REPORTED_KEYS)
                    .collect(),
            };
            newer(
                &mut self.agents,
                (region.clone(), report.name.clone()),
                heard(report.connected, report.heard_ms_ago, agent),
            );
            // An agent speaks for gateways of its own region only.
            for status in report.subscribers.into_iter().filter(|status| status.region == report.region) {
                let heard = Heard {
                    at: ago(now, status.heard_ms_ago),
                    connected: status.connected && report.connected,
                    what: Gateway {
                        agent: report.name.clone(),
                        scopes: scopes_of(&status.scopes),
                        trust: trust_of(status.trust.as_ref()),
                        key: key_of(&status.key),
                    },
                };
                newer(&mut self.gateways, (region.clone(), status.name), heard);
            }
        }
        self.agents.retain(|_, heard| now.saturating_duration_since(heard.at) < KEEP);
        self.gateways.retain(|_, heard| now.saturating_duration_since(heard.at) < KEEP);
    }

    /// Every agent with its gateways, ordered by region and name, with ages as of `now` and revisions of `lineage`.
    pub(crate) fn recall(&self, now: Instant, lineage: Option<&Lineage>) -> Vec<AgentStatus> {
        self.agents
            .iter()
            .map(|((region, name), heard)| AgentStatus {
                name: name.clone(),
                region: region.clone(),
                connected: still_connected(heard, now),
                heard_ms_ago: ms_since(heard.at, now),
                scopes: in_history(&heard.what.scopes, lineage),
                trust: heard.what.trust.clone(),
                gateways: self.gateways_of(region, name, now, lineage),
                unheard: heard.what.unheard.clone(),
                unheard_total: heard.what.unheard_total,
            })
            .collect()
    }

    fn gateways_of(
        &self,
        region: &Name,
        agent: &str,
        now: Instant,
        lineage: Option<&Lineage>,
    ) -> Vec<GatewayStatus> {
        self.gateways
            .iter()
            .filter(|((its_region, _), heard)| its_region == region && heard.what.agent == agent)
            .map(|((region, name), heard)| GatewayStatus {
                name: name.clone(),
                region: region.clone(),
                connected: still_connected(heard, now),
                heard_ms_ago: ms_since(heard.at, now),
                scopes: in_history(&heard.what.scopes, lineage),
                trust: heard.what.trust.clone(),
                key: heard.what.key,
            })
            .collect()
    }

    /// The keys that agents reported gateways of this name with, each once.
    pub(crate) fn keys_of(&self, region: &Name, gateway: &str) -> Vec<KeyDigest> {
        let heard = self.gateways.get(&(region.clone(), gateway.to_owned()));
        let of_region = self.agents.iter().filter(|((of, _), _)| of == region);
        let revoked = of_region.flat_map(|(_, agent)| &agent.what.revoked_gateways);
        let keys: BTreeSet<KeyDigest> = heard
            .and_then(|heard| heard.what.key)
            .into_iter()
            .chain(revoked.filter(|(name, _)| name == gateway).map(|(_, key)| *key))
            .collect();
        keys.into_iter().collect()
    }
}

/// Keeps the later of the two. One that says the same thing later also counts: it is a proof of life.
fn newer<T>(map: &mut BTreeMap<(Name, String), Heard<T>>, key: (Name, String), heard: Heard<T>) {
    match map.get(&key) {
        Some(known) if known.at > heard.at => {}
        Some(_) | None => {
            map.insert(key, heard);
        }
    }
}

fn still_connected<T>(heard: &Heard<T>, now: Instant) -> bool {
    heard.connected && now.saturating_duration_since(heard.at) < CONNECTED_WITHIN
}

/// The moment so many milliseconds before `now`; long ago is as long ago as can be told.
fn ago(now: Instant, ms: u64) -> Instant {
    now.checked_sub(Duration::from_millis(ms)).or_else(|| now.checked_sub(KEEP)).unwrap_or(now)
}

fn ms_since(at: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX)
}

fn in_history(scopes: &[HeardScope], lineage: Option<&Lineage>) -> Vec<ScopeStatus> {
    scopes.iter().map(|scope| scope.in_history(lineage)).collect()
}

fn scopes_of(scopes: &[sync::ScopeStatus]) -> Vec<HeardScope> {
    let read = |said: &sync::ScopeStatus| {
        let quarantine = Quarantine::of_status(said);
        let status = ScopeStatus {
            quarantined: quarantine.named().iter().map(quarantined).collect(),
            quarantined_total: quarantine.total(),
            ..ScopeStatus::at(said.scope.parse().ok()?, None)
        };
        let effective = said.effective.as_ref().and_then(|position| Position::try_from(position).ok());
        Some(HeardScope { effective, status })
    };
    scopes.iter().filter_map(read).collect()
}

/// Which roots somebody says it believes; what is no key is left out.
pub(super) fn trust_of(said: Option<&sync::TrustStatus>) -> TrustStatus {
    said.map_or_else(TrustStatus::default, |said| TrustStatus {
        believed: said.believed.iter().filter_map(|bytes| key_of(bytes)).collect(),
        shown: key_of(&said.shown),
    })
}

fn key_of(bytes: &[u8]) -> Option<KeyDigest> {
    bytes.try_into().ok()
}

fn quarantined(said: &sync::Quarantined) -> Quarantined {
    Quarantined {
        key: said.key.clone(),
        received: said.received.to_vec(),
        last_good: !said.effective.is_empty(),
        field: said.field.clone(),
        reason: said.reason.clone(),
        current: false,
    }
}

#[cfg(test)]
mod tests;
