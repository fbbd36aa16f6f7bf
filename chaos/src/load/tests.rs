use std::time::{Duration, Instant};

use super::*;
use crate::{Bug, FlakyUpstream};

fn any() -> std::net::SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn target(address: std::net::SocketAddr) -> Target {
    Target::echoing("up", format!("http://{address}/x")).header("x-a", "1")
}

/// Load on an upstream with this bug, for long enough that 40 requests arrive.
async fn ledger_of(bug: Bug) -> Ledger {
    let upstream = FlakyUpstream::start(any(), bug).await.unwrap();
    let options = LoadOptions { per_second: 200, timeout: Duration::from_millis(300) };
    let load = Load::start(vec![target(upstream.address)], options).unwrap();
    tokio::time::sleep(Duration::from_millis(220)).await;
    tokio::task::spawn_blocking(|| load.stop()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_sound_upstream_passes_and_connections_are_kept() {
    let ledger = ledger_of(Bug::None).await;
    let summary = ledger.verdict(&[]).unwrap();
    assert!(summary.sent >= 14, "{summary}");
    assert_eq!(summary.answered, summary.sent);
    assert!(summary.new_connections < summary.sent / 2, "{summary}");
    assert!(ledger.entries().iter().all(|entry| entry.upstream_saw == Some(true)));
}

/// The checker is proven by bugs: each kind is seen, counted and named.
#[tokio::test]
async fn seeded_bugs_fail_the_verdict() {
    for (bug, word) in [
        (Bug::Fails(7), "status 500"),
        (Bug::MixesUp(7), "the upstream did not get it"),
        (Bug::HangsUp(7), "broken"),
        (Bug::FallsSilent(7), "timed out"),
    ] {
        let ledger = ledger_of(bug).await;
        let failed = ledger.failures().count();
        assert_eq!(failed, ledger.entries().len() / 7, "{bug:?}");
        let verdict = ledger.verdict(&[]).unwrap_err().to_string();
        assert!(verdict.contains(word) && verdict.contains(&format!("{failed} of ")), "{bug:?}: {verdict}");
    }
}

/// A silent upstream holds up its own requests and no arrival: the loop is open.
#[tokio::test]
async fn late_answers_delay_no_arrival() {
    let ledger = ledger_of(Bug::FallsSilent(1)).await;
    let entries = ledger.entries();
    assert!(entries.len() >= 14, "{}", entries.len());
    let first = entries[0].due;
    for entry in entries {
        assert_eq!(entry.outcome, Outcome::TimedOut);
        assert_eq!(entry.due - first, arrival(entry.id, 200), "arrivals are at the clock's times");
    }
    assert!(entries[10].sent < entries[0].finished, "the eleventh was sent before the first gave up");
}

#[tokio::test]
async fn nobody_there_is_a_refused_connection() {
    let listener = std::net::TcpListener::bind(any()).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let options = LoadOptions { per_second: 100, timeout: Duration::from_secs(1) };
    let load = Load::start(vec![target(address)], options).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let ledger = tokio::task::spawn_blocking(|| load.stop()).await.unwrap().unwrap();
    assert!(ledger.entries().iter().all(|entry| matches!(entry.outcome, Outcome::Refused(_))));
}

#[test]
fn a_killed_process_excuses_its_own_connections_and_nothing_else() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let entry = |target: &str, connected, finished, outcome| Entry {
        id: 0,
        target: target.to_owned(),
        due: at(connected),
        sent: at(connected),
        connection: Connection::New,
        connected_from: at(connected),
        outcome,
        finished: at(finished),
        upstream_saw: None,
    };
    let window = |frozen| Window { target: "a".into(), from: at(100), to: Some(at(200)), frozen };
    let broken = || Outcome::Broken("reset".into());
    let check = |entry: Entry, frozen: bool, excused: bool| {
        let told = entry.told_from(start);
        let ledger = Ledger::new(vec![entry]);
        assert_eq!(ledger.verdict(&[window(frozen)]).is_ok(), excused, "{told}");
    };
    // On a connection that lived when the process was killed, and on one tried while it was away.
    check(entry("a", 50, 120, broken()), false, true);
    check(entry("a", 150, 150, Outcome::Refused("refused".into())), false, true);
    // A connection of before the kill that turns out dead later is still that one.
    check(entry("a", 50, 900, broken()), false, true);
    // Before the kill, after the return, and to another target.
    check(entry("a", 50, 90, broken()), false, false);
    check(entry("a", 201, 210, broken()), false, false);
    check(entry("b", 150, 150, broken()), false, false);
    // An answer is an answer. A killed process lets no client wait; a frozen one does.
    check(entry("a", 150, 150, Outcome::Status(503)), false, false);
    check(entry("a", 150, 190, Outcome::TimedOut), false, false);
    check(entry("a", 150, 190, Outcome::TimedOut), true, true);
    // Still away: no end.
    let open = Window { to: None, ..window(false) };
    assert!(Ledger::new(vec![entry("a", 900, 900, broken())]).verdict(&[open]).is_ok());
}

#[test]
fn an_empty_ledger_shows_nothing() {
    assert!(Ledger::new(vec![]).verdict(&[]).is_err());
}
