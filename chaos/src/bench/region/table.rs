//! The figures for people.

use super::{Figures, Region};

/// The table for people: a column for each way of measuring.
pub(super) fn table(region: &Region) -> String {
    let mut text = format!(
        "\n{} ({} cores, kernel {}), commit {}, {} build, {} local scopes\n\n",
        region.machine.cpu,
        region.machine.cores,
        region.machine.kernel,
        region.commit,
        region.profile,
        region.options.scopes
    );
    let mut row = |what: &str, figure: &dyn Fn(&Figures) -> Option<String>| {
        let cell = |figures| figure(figures).unwrap_or_else(|| "–".to_owned());
        text += &format!("{what:<52} {:>12} {:>13}\n", cell(&region.measured), cell(&region.simulated));
    };
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let kilobytes = |bytes: f64| format!("{:.1} kB/s", bytes / 1e3);
    let time = |ms: f64| if ms < 10_000.0 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1e3) };
    row("agents (measured, simulated)", &|it| Some(it.agents.to_string()));
    row("streams of an agent", &|it| Some(it.streams_per_agent.to_string()));
    row("streams of a relay", &|it| Some(it.streams_per_relay.to_string()));
    row("memory of an agent", &|it| Some(megabytes(it.memory_per_agent_bytes)));
    row("memory of a relay", &|it| it.memory_per_relay_bytes.map(megabytes));
    row("memory of all agents", &|it| Some(megabytes(it.memory_total_bytes)));
    row("bytes of an agent, nothing changes", &|it| Some(kilobytes(it.idle_bytes_per_second_per_agent)));
    row("bytes of a relay, nothing changes", &|it| Some(kilobytes(it.idle_bytes_per_second_per_relay)));
    row("local change → all agents, p50", &|it| Some(time(it.change_to_all_p50_ms)));
    row("local change → all agents, p99", &|it| Some(time(it.change_to_all_p99_ms)));
    let live = |figure: Option<f64>| Some(figure.map_or_else(|| "not simulated".to_owned(), time));
    row("a gateway comes or goes → all agents, p50", &|it| live(it.live_to_all_p50_ms));
    row("a gateway comes or goes → all agents, greatest", &|it| live(it.live_to_all_max_ms));
    row("a relay is killed: the next change → all agents", &|it| {
        Some(time(it.relay_killed_change_to_all_ms))
    });
    row("a relay is killed: all follow three again", &|it| it.relay_replaced_ms.map(time));
    row("all restart: all follow three relays", &|it| Some(time(it.restarted_linked_ms)));
    row("all restart: a change of each scope → all agents", &|it| {
        Some(time(it.restarted_change_to_all_ms))
    });
    text
}
