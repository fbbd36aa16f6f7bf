//! The figures for people.

use super::{Dns, Figures, Ratios};

/// The table for people.
pub(super) fn table(dns: &Dns) -> String {
    let mut text = format!(
        "\n{} ({} cores, kernel {}), commit {}, {} build, {}\n\n\
         {:<42} {:>12} {:>12} {:>12} {:>8} {:>6}\n",
        dns.machine.cpu,
        dns.machine.cores,
        dns.machine.kernel,
        dns.commit,
        dns.profile,
        dns.knot,
        "",
        "µs/query",
        "queries/core",
        "queries/s",
        "p99 ms",
        "lost"
    );
    for (name, Figures { cpu_us_per_query, qps_per_core, qps, p99_ms, lost }) in [
        ("Hanse, one region for all", dns.plain),
        ("Hanse, a region for each network", dns.by_client),
        ("Knot, static", dns.knot_static),
        ("Knot, module geoip by network", dns.knot_geoip),
    ] {
        text += &format!(
            "{name:<42} {cpu_us_per_query:>12.2} {qps_per_core:>12.0} {qps:>12.0} {p99_ms:>8.3} {lost:>6}\n"
        );
    }
    text += &format!("\n{:<42} {:>12} {:>12}\n", "ratios, medians of the rounds'", "time", "p99");
    for (name, Ratios { cpu, p99 }) in [
        ("one region for all / static", dns.plain_to_static),
        ("a region for each network / static", dns.by_client_to_static),
        ("a region for each network / geoip", dns.by_client_to_geoip),
    ] {
        text += &format!("{name:<42} {cpu:>12.2} {p99:>12.2}\n");
    }
    text
}
