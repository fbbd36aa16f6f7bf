//! The figures for people.

use super::Walk;

/// The table for people.
pub(super) fn table(walk: &Walk) -> String {
    let mut text = format!(
        "\n{} ({} cores, kernel {}), commit {}, {} build\n\n",
        walk.machine.cpu, walk.machine.cores, walk.machine.kernel, walk.commit, walk.profile
    );
    let mut row = |what: &str, figure: String| text += &format!("{what:<44} {figure}\n");
    row("federation ready", format!("{:.1} s", walk.start.federation_ready_ms / 1e3));
    row(
        &format!("gateway alone, {} Apis", walk.start.gateway_alone_apis),
        format!("{:.2} s", walk.start.gateway_alone_ms / 1e3),
    );
    for with in &walk.propagation {
        row(
            &format!("commit → served by all, {} Apis", with.apis),
            format!("p50 {:.1} ms, p99 {:.1} ms", with.commit_to_served_p50_ms, with.commit_to_served_p99_ms),
        );
        row(
            "  counted from sending the write",
            format!(
                "p50 {:.1} ms, p99 {:.1} ms",
                with.request_to_served_p50_ms, with.request_to_served_p99_ms
            ),
        );
    }
    let writes = &walk.writes;
    row(
        &format!("writes by {} clients", writes.clients),
        format!(
            "{:.0}/s, p50 {:.1} ms, p99 {:.1} ms, {} failed",
            writes.per_second, writes.p50_ms, writes.p99_ms, writes.failed
        ),
    );
    for (name, traffic) in
        [("gateway", &walk.gateway), (&*format!("nginx {}", walk.nginx.version), &walk.nginx.gateway)]
    {
        row(
            &format!("{name}, 1 worker, {} Apis", walk.options.most_apis()),
            format!(
                "{:.0} requests/s, {:.1} µs CPU each, p99 {:.1} ms",
                traffic.requests_per_second, traffic.cpu_us_per_request, traffic.p99_ms
            ),
        );
    }
    for (name, bytes) in &walk.memory_bytes {
        row(&format!("memory of {name}"), format!("{:.0} MB", *bytes as f64 / 1e6));
    }
    text
}
