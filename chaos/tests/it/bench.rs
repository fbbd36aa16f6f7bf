//! The benchmark prints what it promises: one line of JSON with every figure. Shapes are looked at, never times.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The binary: the one that `./check` built, else the one built with this test.
fn chaos() -> PathBuf {
    std::env::var_os("HANSE_CHAOS_BIN")
        .map_or_else(|| env!("CARGO_BIN_EXE_hanse-chaos").into(), PathBuf::from)
}

fn positive(walk: &Value, pointer: &str) -> Result<f64> {
    let figure =
        walk.pointer(pointer).and_then(Value::as_f64).with_context(|| format!("no {pointer}: {walk}"))?;
    ensure!(figure > 0.0 && figure.is_finite(), "{pointer} is {figure}");
    Ok(figure)
}

#[test]
fn the_region_prints_a_table_and_one_line_with_every_figure() -> Result<()> {
    let output = Command::new(chaos())
        .args(["bench", "region", "--quick", "--scopes", "2", "--agents", "7", "--simulated", "8"])
        .args(["--changes", "3", "--gateways", "2", "--idle", "1"])
        .env("HANSE_BIN", hanse_chaos::process::binary()?)
        .output()?;
    let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success(), "it ended with {}:\n{stderr}", output.status);
    ensure!(stdout.ends_with('\n') && stdout.lines().count() == 1, "one line: {stdout}");
    let region: Value = serde_json::from_str(&stdout)?;
    for of in ["measured", "simulated"] {
        for figure in [
            "memory_total_bytes",
            "idle_bytes_per_second_per_agent",
            "idle_bytes_per_second_per_relay",
            "change_to_all_p50_ms",
            "change_to_all_p99_ms",
            "relay_killed_change_to_all_ms",
            "restarted_linked_ms",
            "restarted_change_to_all_ms",
        ] {
            positive(&region, &format!("/{of}/{figure}"))?;
        }
        assert_eq!(region[of]["streams_per_agent"], 7, "three relays, twice, and a control node: {region}");
    }
    // All others, twice, the two relays, twice, the two holders and a control node.
    assert_eq!(region["measured"]["streams_per_relay"], 2 * 6 + 2 * 2 + 2 + 1, "{region}");
    for figure in ["memory_per_relay_bytes", "live_to_all_p50_ms", "live_to_all_max_ms"] {
        positive(&region, &format!("/measured/{figure}"))?;
    }
    for row in [
        "streams of a relay",
        "gateway comes or goes → all agents, greatest",
        "not simulated",
        "all restart: all follow three relays",
    ] {
        ensure!(stderr.contains(row), "no row {row:?}:\n{stderr}");
    }
    Ok(())
}

#[test]
fn the_walk_prints_a_table_and_one_line_with_every_figure() -> Result<()> {
    let output = Command::new(chaos())
        .args(["bench", "walk", "--quick", "--seconds", "1", "--apis", "5,50", "--changes", "10"])
        .env("HANSE_BIN", hanse_chaos::process::binary()?)
        .output()?;
    let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success(), "it ended with {}:\n{stderr}", output.status);
    ensure!(stdout.ends_with('\n') && stdout.lines().count() == 1, "one line: {stdout}");
    let walk: Value = serde_json::from_str(&stdout)?;

    assert_eq!(walk["bench"], "walk");
    assert_eq!((&walk["options"]["quick"], &walk["options"]["changes"]), (&true.into(), &10.into()));
    for text in ["/machine/cpu", "/machine/kernel", "/commit", "/profile", "/nginx/version"] {
        ensure!(
            walk.pointer(text).and_then(Value::as_str).is_some_and(|text| !text.is_empty()),
            "{text}: {walk}"
        );
    }
    for figure in [
        "/machine/cores",
        "/machine/memory_bytes",
        "/start/federation_ready_ms",
        "/start/gateway_alone_ms",
        "/writes/per_second",
        "/gateway/requests_per_second",
        "/gateway/cpu_us_per_request",
        "/nginx/gateway/requests_per_second",
        "/nginx/gateway/cpu_us_per_request",
        "/nginx/our_requests_ratio",
        "/nginx/our_cpu_ratio",
    ] {
        positive(&walk, figure)?;
    }
    assert_eq!(walk["writes"]["failed"], 0, "{walk}");
    let propagation = walk["propagation"].as_array().context("propagation")?;
    let apis: Vec<_> = propagation.iter().map(|with| with["apis"].as_u64()).collect();
    assert_eq!(apis, [Some(5), Some(50)]);
    for with in 0..propagation.len() {
        let half = positive(&walk, &format!("/propagation/{with}/request_to_served_p50_ms"))?;
        let most = positive(&walk, &format!("/propagation/{with}/request_to_served_p99_ms"))?;
        ensure!(half <= most, "{half} and {most}: percentiles do not fall");
    }
    for process in ["cp-1", "cp-2", "cp-3", "agent-eu-west", "gateway-us-east"] {
        ensure!(positive(&walk, &format!("/memory_bytes/{process}"))? > 1e6, "{process} uses a megabyte");
    }
    for row in ["federation ready", "commit → served by all, 50 Apis", "writes by 64 clients", "nginx"] {
        ensure!(stderr.contains(row), "the table has no {row}: {stderr}");
    }
    Ok(())
}

#[test]
fn the_responder_and_its_peers_are_measured() -> Result<()> {
    let output = Command::new(chaos())
        .args(["bench", "dns", "--rounds", "1"])
        .env("HANSE_BIN", hanse_chaos::process::binary()?)
        .output()?;
    let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success(), "it ended with {}:\n{stderr}", output.status);
    ensure!(stdout.ends_with('\n') && stdout.lines().count() == 1, "one line: {stdout}");
    let dns: Value = serde_json::from_str(&stdout)?;
    for server in ["plain", "by_client", "knot_static", "knot_geoip"] {
        for figure in ["cpu_us_per_query", "qps_per_core", "qps", "p99_ms"] {
            positive(&dns, &format!("/{server}/{figure}"))?;
        }
    }
    for ratio in ["plain_to_static", "by_client_to_static", "by_client_to_geoip"] {
        positive(&dns, &format!("/{ratio}/cpu"))?;
        positive(&dns, &format!("/{ratio}/p99"))?;
    }
    ensure!(stderr.contains("Knot, module geoip by network"), "the table has no such row: {stderr}");
    Ok(())
}

/// Without the peer nothing is measured, and it is named with its package.
#[test]
fn a_missing_peer_is_named() -> Result<()> {
    let empty = tempfile::tempdir()?;
    let output =
        Command::new(chaos()).args(["bench", "walk", "--quick"]).env("PATH", empty.path()).output()?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(2), "{said}");
    // Debian's nginx is found outside the path too; then wrk is the first that is missing.
    let named =
        if Path::new("/usr/sbin/nginx").exists() { "apt-get install wrk" } else { "apt-get install nginx" };
    ensure!(said.contains(named), "{said}");
    ensure!(output.stdout.is_empty(), "no figures");
    Ok(())
}
