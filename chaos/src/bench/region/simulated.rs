//! A region of simulated agents: sessions of the sync protocol, which give each other every message, on a clock that jumps from event to
//! event. There is no TLS, no store and no processor time: what is left is what the protocol and the topology cost.

mod region;

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{Figures, RELAYS, RegionOptions};
use crate::{bench::ms, process::resident_bytes};
use region::Region;

/// Between two changes, as where agents are real.
const PAUSE: Duration = Duration::from_millis(200);
/// After which a region is quiet, likewise.
const SETTLED: Duration = Duration::from_secs(3);

/// The streams of an agent that are not simulated: one to a control node, and one to each relay that tells it of the region. A relay has
/// one less, and serves one to every other agent.
const UNSIMULATED: usize = RELAYS + 1;

/// Measures in a process of its own: what this one held would be in the memory of the real agents, which share its process.
pub(super) async fn measure_apart(options: &RegionOptions) -> Result<Figures> {
    let output = tokio::process::Command::new(std::env::current_exe()?)
        .args(options.only_simulated())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    ensure!(output.status.success(), "measuring the simulated agents ended with {}", output.status);
    serde_json::from_slice(&output.stdout).context("the figures of the simulated agents")
}

/// Measures.
pub(super) fn measure(options: &RegionOptions) -> Result<Figures> {
    let before = resident_bytes(std::process::id())?;
    let mut region = Region::new(options.simulated, options.scopes, Instant::now());
    region.until_linked()?;
    for scope in 0..options.scopes {
        region.change(scope)?;
    }
    let mut figures = Figures {
        agents: options.simulated,
        streams_per_agent: RELAYS + UNSIMULATED,
        streams_per_relay: (0..RELAYS).map(|relay| region.links_of(relay)).max().unwrap_or_default()
            + (options.simulated - 1)
            + (UNSIMULATED - 1),
        ..Figures::default()
    };
    region.pass(SETTLED)?;
    let first = region.carried.clone();
    region.pass(options.idle())?;
    let seconds = options.idle().as_secs_f64();
    let by_relays: u64 = (0..RELAYS).map(|relay| region.carried[relay] - first[relay]).sum();
    figures.idle_bytes_per_second_per_relay = (by_relays as f64 / RELAYS as f64 / seconds).round();
    figures.idle_bytes_per_second_per_agent = (by_relays as f64 / options.simulated as f64 / seconds).round();
    figures.memory_total_bytes = resident_bytes(std::process::id())?.saturating_sub(before);
    figures.memory_per_agent_bytes = figures.memory_total_bytes / options.simulated as u64;

    let mut took = Vec::new();
    for change in 0..options.changes {
        took.push(region.change(change % options.scopes)?);
        region.pass(PAUSE)?;
    }
    figures.note_changes(took);
    region.kill(RELAYS - 1);
    figures.relay_killed_change_to_all_ms = ms(region.change(0)?);

    region.restart();
    figures.restarted_linked_ms = ms(region.until_linked()?);
    let took = (0..options.scopes).map(|scope| region.change(scope)).collect::<Result<Vec<_>>>()?;
    figures.restarted_change_to_all_ms = ms(took.into_iter().max().unwrap_or_default());
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_back_from_the_other_process() {
        let figures = Figures { agents: 3, change_to_all_p50_ms: 2.0, ..Figures::default() };
        let line = serde_json::to_string(&figures).unwrap();
        assert_eq!(serde_json::from_str::<Figures>(&line).unwrap(), figures);
    }

    #[test]
    fn a_simulated_region_has_every_figure() {
        let options = RegionOptions {
            quick: true,
            agents: 12,
            simulated: 20,
            scopes: 2,
            changes: 5,
            gateways: 1,
            idle_seconds: 2,
        };
        let figures = measure(&options).unwrap();
        // From a holder to a relay, and from there to the others.
        assert_eq!((figures.change_to_all_p50_ms, figures.relay_killed_change_to_all_ms), (2.0, 2.0));
        // To and from 19 agents, to two relays, twice, two holders and a control node.
        assert_eq!((figures.streams_per_agent, figures.streams_per_relay), (7, 2 * 19 + 2 * 2 + 2 + 1));
        assert!(figures.idle_bytes_per_second_per_relay > figures.idle_bytes_per_second_per_agent);
        assert!(figures.restarted_linked_ms > 0.0 && figures.restarted_change_to_all_ms >= 2.0);
    }
}
