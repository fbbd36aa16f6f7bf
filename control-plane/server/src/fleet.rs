//! What agents and gateways last said, gathered from every control node: soft state, merged on demand.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use hanse_link::{SubscriberRecord, Subscribers};
use hanse_proto::{
    raft::{AgentReport, ReportsResponse},
    sync,
};
use hanse_raft::RaftGroup;
use hanse_state::port::{AgentStatus, BoxFuture, Fleet, GatewayStatus, ScopeStatus};
use hanse_topology::Name;

/// The fleet as this node and the others know it.
pub(crate) struct GatheredFleet {
    pub(crate) subscribers: Subscribers,
    pub(crate) group: Arc<RaftGroup>,
}

impl Fleet for GatheredFleet {
    fn agents(&self) -> BoxFuture<'_, Vec<AgentStatus>> {
        Box::pin(async move {
            let mut reports = self.group.peer_reports().await;
            reports.push(reports_of(&self.subscribers, Instant::now()));
            merge(reports)
        })
    }
}

/// What this node tells the others about the agents connected to it.
pub(crate) fn reports_of(subscribers: &Subscribers, now: Instant) -> ReportsResponse {
    ReportsResponse {
        agents: subscribers.snapshot().into_iter().map(|record| report_of(record, now)).collect(),
    }
}

/// One agent's report. What it said of its gateways has aged since it said it.
fn report_of(record: SubscriberRecord, now: Instant) -> AgentReport {
    let ms = |at: Instant| u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX);
    let subscribers = record.report.map(|(report, came)| {
        let aged = move |mut status: sync::SubscriberStatus| {
            status.heard_ms_ago = status.heard_ms_ago.saturating_add(ms(came));
            status
        };
        report.subscribers.into_iter().map(aged).collect()
    });
    AgentReport {
        name: record.identity.name.to_string(),
        region: record.identity.region.map(String::from).unwrap_or_default(),
        connected: record.connected,
        heard_ms_ago: ms(record.last_heard),
        scopes: record
            .scopes
            .into_iter()
            .map(|(scope, ack)| sync::ScopeStatus {
                scope: scope.to_string(),
                effective: ack.effective.map(Into::into),
                durable: ack.durable.map(Into::into),
            })
            .collect(),
        subscribers: subscribers.unwrap_or_default(),
    }
}

/// One status per agent, from whichever node heard from it last. A gateway that an older report of the agent knows, and a
/// newer one does not (the agent restarted), stays listed.
pub(crate) fn merge(reports: Vec<ReportsResponse>) -> Vec<AgentStatus> {
    let mut all: Vec<AgentReport> = reports.into_iter().flat_map(|response| response.agents).collect();
    all.sort_by_key(|report| report.heard_ms_ago);
    let mut agents: BTreeMap<(String, String), AgentStatus> = BTreeMap::new();
    let mut seen: BTreeSet<(String, String, String)> = BTreeSet::new();
    for report in all {
        // Names came from certificates; another node that sends others is not believed.
        let Ok(region) = Name::new(&report.region) else { continue };
        let agent =
            agents.entry((report.region.clone(), report.name.clone())).or_insert_with(|| AgentStatus {
                name: report.name.clone(),
                region,
                connected: report.connected,
                heard_ms_ago: report.heard_ms_ago,
                scopes: report.scopes.iter().filter_map(scope_status).collect(),
                gateways: Vec::new(),
            });
        for status in report.subscribers {
            if seen.insert((report.region.clone(), report.name.clone(), status.name.clone()))
                && let Ok(region) = Name::new(&status.region)
            {
                agent.gateways.push(GatewayStatus {
                    name: status.name,
                    region,
                    connected: status.connected && report.connected,
                    heard_ms_ago: status.heard_ms_ago,
                    scopes: status.scopes.iter().filter_map(scope_status).collect(),
                });
            }
        }
    }
    let mut agents: Vec<AgentStatus> = agents.into_values().collect();
    for agent in &mut agents {
        agent.gateways.sort_by(|one, other| one.name.cmp(&other.name));
    }
    agents
}

fn scope_status(status: &sync::ScopeStatus) -> Option<ScopeStatus> {
    let scope = status.scope.parse().ok()?;
    Some(ScopeStatus { scope, effective: status.effective.as_ref().map(|position| position.revision) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(name: &str, heard_ms_ago: u64, revision: u64) -> sync::SubscriberStatus {
        sync::SubscriberStatus {
            name: name.into(),
            role: "gateway".into(),
            region: "eu-west".into(),
            scopes: vec![sync::ScopeStatus {
                scope: "runtime/eu-west/production".into(),
                effective: Some(sync::Position { lineage: None, revision }),
                durable: None,
            }],
            heard_ms_ago,
            connected: true,
        }
    }

    fn node(heard_ms_ago: u64, connected: bool, subscribers: Vec<sync::SubscriberStatus>) -> ReportsResponse {
        ReportsResponse {
            agents: vec![AgentReport {
                name: "agent-1".into(),
                region: "eu-west".into(),
                connected,
                heard_ms_ago,
                scopes: Vec::new(),
                subscribers,
            }],
        }
    }

    #[test]
    fn the_freshest_report_of_an_agent_wins_whichever_node_has_it() {
        let old = node(9_000, false, vec![gateway("g1", 9_500, 4), gateway("g2", 9_500, 4)]);
        let new = node(100, true, vec![gateway("g1", 200, 7)]);
        for reports in [vec![old.clone(), new.clone()], vec![new, old]] {
            let agents = merge(reports);
            assert_eq!(agents.len(), 1);
            assert!(agents[0].connected);
            let rows: Vec<_> = agents[0]
                .gateways
                .iter()
                .map(|gateway| {
                    (
                        gateway.name.as_str(),
                        gateway.heard_ms_ago,
                        gateway.connected,
                        gateway.scopes[0].effective,
                    )
                })
                .collect();
            assert_eq!(
                rows,
                [("g1", 200, true, Some(7)), ("g2", 9_500, false, Some(4))],
                "what only the older report knows stays listed, with its age"
            );
        }
    }
}
