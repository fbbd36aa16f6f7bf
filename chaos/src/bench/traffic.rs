//! Requests per second and their cost, by `wrk`, in rounds that take turns between us and the peer.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::{MissingPeer, median};

/// Connections of the load generator: enough that one worker never waits for work.
const CONNECTIONS: usize = 64;

/// What one gateway did in one round.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Round {
    pub(super) requests_per_second: f64,
    pub(super) cpu_us_per_request: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// The medians of some rounds, and the rounds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Traffic {
    pub(super) requests_per_second: f64,
    pub(super) cpu_us_per_request: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) connections: usize,
    pub(super) workers: usize,
    pub(super) rounds: Vec<Round>,
}

impl Traffic {
    /// Of rounds with one worker.
    pub(super) fn of(rounds: Vec<Round>) -> Self {
        let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure));
        Self {
            requests_per_second: of(|round| round.requests_per_second),
            cpu_us_per_request: of(|round| round.cpu_us_per_request),
            p50_ms: of(|round| round.p50_ms),
            p99_ms: of(|round| round.p99_ms),
            connections: CONNECTIONS,
            workers: 1,
            rounds,
        }
    }
}

/// Whether `wrk` is here.
pub(super) fn find() -> Result<(), MissingPeer> {
    match Command::new("wrk").arg("-v").output() {
        Ok(_) => Ok(()),
        Err(_) => Err(MissingPeer { tool: "wrk", package: "wrk" }),
    }
}

/// What `wrk` sends.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) url: String,
    pub(super) headers: Vec<String>,
    pub(super) connections: usize,
    /// Whole seconds, at least one: `wrk` knows no others.
    pub(super) during: Duration,
}

impl Load {
    /// Calls with an API key, on connections that are kept.
    pub(super) fn with_key(url: &str, key: &str, during: Duration) -> Self {
        let headers = vec![format!("X-API-Key: {key}")];
        Self { url: url.to_owned(), headers, connections: CONNECTIONS, during }
    }

    /// Sends it; what `wrk` says.
    pub(super) async fn send(&self) -> Result<Told> {
        let url = &self.url;
        let output = tokio::process::Command::new("wrk")
            .args(["-t1", "--latency", "--timeout", "10s", "-c", &self.connections.to_string()])
            .args(["-d", &format!("{}s", self.during.as_secs().max(1))])
            .args(self.headers.iter().flat_map(|header| ["-H", header]))
            .arg(url)
            .output()
            .await
            .context("starting wrk")?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "wrk {url}: {said}{}", String::from_utf8_lossy(&output.stderr));
        read(&said).with_context(|| format!("wrk {url} said:\n{said}"))
    }
}

/// One round of load on `url`; `cpu_time` says what the gateway has used.
pub(super) async fn round(
    url: &str,
    key: &str,
    during: Duration,
    cpu_time: impl Fn() -> Result<Duration>,
) -> Result<Round> {
    let before = cpu_time()?;
    let told = Load::with_key(url, key, during).send().await?;
    let used = cpu_time()?.saturating_sub(before);
    Ok(Round {
        requests_per_second: told.per_second,
        cpu_us_per_request: (used.as_secs_f64() * 1e7 / told.requests).round() / 10.0,
        p50_ms: told.p50_ms,
        p99_ms: told.p99_ms,
    })
}

/// What `wrk` says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Told {
    pub(super) requests: f64,
    pub(super) per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// What wrk prints. Failed requests make the round worthless.
fn read(said: &str) -> Result<Told> {
    for failure in ["Non-2xx", "Socket errors"] {
        if let Some(line) = said.lines().find(|line| line.contains(failure)) {
            anyhow::bail!("{}", line.trim());
        }
    }
    let after = |beginning: &str| {
        let found = said.lines().find_map(|line| line.trim().strip_prefix(beginning));
        found.map(str::trim).with_context(|| format!("no {beginning}"))
    };
    let requests = said.lines().find_map(|line| line.trim().split_once(" requests in "));
    Ok(Told {
        requests: requests.context("no requests")?.0.parse()?,
        per_second: after("Requests/sec:")?.parse()?,
        p50_ms: milliseconds(after("50%")?)?,
        p99_ms: milliseconds(after("99%")?)?,
    })
}

/// `1.5ms`, `870.00us`, `2.01s`
fn milliseconds(text: &str) -> Result<f64> {
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3)];
    let (number, unit) = units
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, unit)))
        .with_context(|| format!("{text} has no unit"))?;
    Ok((number.parse::<f64>()? * unit * 1e3).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "Running 2s test @ http://127.0.0.1/x\n  1 threads and 64 connections\n  Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency     2.00ms    1.10ms  40.00ms   99.00%\n    Req/Sec    31.00k     1.00k   33.00k    80.00%\n  Latency Distribution\n     50%    1.99ms\n     75%    2.10ms\n     90%    2.30ms\n     99%  870.00us\n  62000 requests in 2.00s, 70.00MB read\nRequests/sec:  31000.50\nTransfer/sec:     35.00MB\n";

    #[test]
    fn what_wrk_says_is_read() {
        let told = Told { requests: 62_000.0, per_second: 31_000.5, p50_ms: 1.99, p99_ms: 0.87 };
        assert_eq!(read(SAID).unwrap(), told);
        assert_eq!(milliseconds("2.01s").unwrap(), 2_010.0);
    }

    #[test]
    fn failed_requests_are_no_figure() {
        let failed = format!("{SAID}  Non-2xx or 3xx responses: 7\n");
        assert!(read(&failed).unwrap_err().to_string().contains("responses: 7"));
        assert!(read("").is_err());
    }
}
