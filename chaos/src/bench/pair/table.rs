//! The figures for people.

use super::Pair;

/// The table for people.
pub(super) fn table(pair: &Pair) -> String {
    let mut text = format!(
        "\n{} ({} cores, kernel {})\nbefore {}\nafter  {}\n\n\
         job        after/before  quartiles         before µs  after µs  before MB  after MB\n",
        pair.machine.cpu,
        pair.machine.cores,
        pair.machine.kernel,
        pair.before.display(),
        pair.after.display()
    );
    for job in &pair.jobs {
        text += &format!(
            "{:<10} {:<13.3} {:.3} to {:.3}  {:>9.2} {:>9.2} {:>10.1} {:>9.1}\n",
            job.job.name(),
            job.cpu_ratio,
            job.quartiles[0],
            job.quartiles[1],
            job.before.cpu_us_per_request,
            job.after.cpu_us_per_request,
            job.before.resident_bytes as f64 / 1e6,
            job.after.resident_bytes as f64 / 1e6
        );
    }
    for (build, memory) in ["before", "after"].iter().zip(pair.memory.iter().flatten()) {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        text += &format!(
            "memory {build}: {:.1} MB quiet, {:.1} MB at its peak ({:.1} KB for each connection), {:.1} MB after {:.1} s\n",
            mb(memory.quiet_bytes),
            mb(memory.peak_bytes),
            memory.bytes_each as f64 / 1e3,
            mb(memory.after_bytes),
            memory.after_seconds
        );
    }
    if let Some(counted) = pair.instructions {
        text += &format!(
            "instructions of a request: {} before, {} after, {:.3}\n",
            counted.before, counted.after, counted.ratio
        );
    }
    text
}
