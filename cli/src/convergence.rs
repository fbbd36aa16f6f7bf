//! Waiting until every gateway serves a revision.

use std::{collections::BTreeMap, time::Duration};

use hanse_api::answer::{Convergence, ConvergenceState, GatewayConvergence, Status};
use tokio::time::Instant;

use crate::{
    client::Client,
    exit::{Exit, Failure, exit_of},
    out::{Progress, say},
};

/// Between two questions: a change reaches the gateways within some tens of milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(40);
/// Gateways report every second: asking more often than a few times between reports tells nothing.
const LAST_PAUSE: Duration = Duration::from_millis(400);
/// How long the control plane may take to say which of its nodes are silent, once the time is up: it gives each a second.
const SILENT_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns when every gateway in scope serves `revision`; fails with exit code 7 naming those that do not. Ctrl-C ends the
/// waiting, and the change stays: that is said, with exit code 130.
pub(crate) async fn wait(client: &Client, revision: u64, timeout: Duration) -> anyhow::Result<()> {
    tokio::select! {
        outcome = until_served(client, revision, timeout) => outcome,
        Ok(()) = tokio::signal::ctrl_c() => Err(interrupted(revision).into()),
    }
}

fn interrupted(revision: u64) -> Failure {
    let message = format!("revision {revision} is made and stays; only the waiting for it has ended");
    let remedy = format!("`hanse wait --revision {revision}` waits again");
    Failure::new(Exit::Interrupted, message).remedy(remedy)
}

async fn until_served(client: &Client, revision: u64, timeout: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + timeout;
    let progress = Progress::start(format!("revision {revision}"));
    let mut pause = FIRST_PAUSE;
    let mut last: Option<Convergence> = None;
    loop {
        match tokio::time::timeout_at(deadline, client.convergence(revision)).await {
            Ok(Ok(convergence)) if convergence.converged => {
                drop(progress);
                say(reached(revision, &convergence));
                return Ok(());
            }
            Ok(Ok(convergence)) => {
                progress.message(counted(revision, &convergence));
                last = Some(convergence);
            }
            // An election, or a node that went: the nodes that are left will say.
            Ok(Err(error)) if exit_of(&error) == Exit::NoQuorum => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => break,
        }
        let now = Instant::now();
        if now >= deadline {
            break;
        }
        // To the very end: an operator who asked for thirty seconds gets them.
        tokio::time::sleep(pause.min(deadline - now)).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
    let silent = match last {
        Some(_) => silent_nodes(client).await,
        None => Vec::new(),
    };
    drop(progress);
    Err(timed_out(revision, timeout, last.as_ref(), &silent).into())
}

/// The control nodes that do not say which gateways report to them, as far as can be learnt.
async fn silent_nodes(client: &Client) -> Vec<String> {
    match tokio::time::timeout(SILENT_TIMEOUT, client.status()).await {
        Ok(Ok(status)) => not_answering(&status),
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

fn not_answering(status: &Status) -> Vec<String> {
    let silent = status.nodes.iter().filter(|node| node.answered == Some(false));
    silent.map(|node| node.name.clone()).collect()
}

fn serves(gateway: &GatewayConvergence) -> bool {
    gateway.state == ConvergenceState::Effective
}

fn is_absent(gateway: &GatewayConvergence) -> bool {
    gateway.state == ConvergenceState::Absent
}

/// Whether all gateways that are known serve it and there may be others: a control node is silent, or an agent's report is partial.
fn is_open(convergence: &Convergence) -> bool {
    !convergence.converged && convergence.gateways.iter().all(|gateway| serves(gateway) || is_absent(gateway))
}

/// `revision 12 is served by 3 of 4 gateways`: in each of their environments. Absent ones are not waited for.
fn counted(revision: u64, convergence: &Convergence) -> String {
    let mut gateways: BTreeMap<(&str, &str), bool> = BTreeMap::new();
    for gateway in convergence.gateways.iter().filter(|gateway| !is_absent(gateway)) {
        let serving = gateways.entry((&gateway.region, &gateway.name)).or_insert(true);
        *serving &= serves(gateway);
    }
    let serving = gateways.values().filter(|serving| **serving).count();
    let known = match (is_open(convergence), convergence.partial.is_empty()) {
        (false, _) => "",
        (true, true) => " known; a control node has not said which it knows",
        (true, false) => " known; an agent has more gateways than it can name",
    };
    match gateways.len() {
        0 if !known.is_empty() => format!("revision {revision}: no gateway is{known}"),
        0 => format!("revision {revision}: no gateway is there to serve it"),
        1 => format!("revision {revision} is served by {serving} of 1 gateway{known}"),
        all => format!("revision {revision} is served by {serving} of {all} gateways{known}"),
    }
}

fn reached(revision: u64, convergence: &Convergence) -> String {
    let mut text = counted(revision, convergence);
    for gateway in convergence.gateways.iter().filter(|gateway| is_absent(gateway)) {
        text += &format!("\n  not waited for: {}", described(gateway));
    }
    text
}

fn timed_out(revision: u64, timeout: Duration, last: Option<&Convergence>, silent: &[String]) -> Failure {
    let waited = humantime::format_duration(timeout);
    let Some(convergence) = last else {
        return Failure::new(
            Exit::WaitTimedOut,
            format!("after {waited} nobody has said who serves revision {revision}"),
        );
    };
    let mut text = match is_open(convergence) {
        true => format!("after {waited} it is not known whether every gateway serves revision {revision}"),
        false => format!("after {waited} revision {revision} is not served by"),
    };
    let (absent, laggards): (Vec<_>, Vec<_>) = convergence
        .gateways
        .iter()
        .filter(|gateway| !serves(gateway))
        .partition(|gateway| is_absent(gateway));
    for gateway in laggards {
        text += &format!("\n  {}", described(gateway));
    }
    for gateway in absent {
        text += &format!("\n  not waited for: {}", described(gateway));
    }
    for node in silent {
        text += &format!(
            "\n  control node {node} has not said which gateways report to it; they may be missing here"
        );
    }
    for agent in &convergence.partial {
        text += &format!(
            "\n  agent {agent} has more gateways than its report takes; the others are missing here: give the region another agent"
        );
    }
    Failure::new(Exit::WaitTimedOut, text).remedy(format!(
        "the change is made and will arrive; go on waiting with `hanse wait --revision {revision}`, look with `hanse status`"
    ))
}

/// `gateway-us-east (us-east/production): behind at revision 11: silent for 4.0 s`.
fn described(gateway: &GatewayConvergence) -> String {
    let at = gateway
        .revision
        .map_or_else(|| " with nothing yet".to_owned(), |revision| format!(" at revision {revision}"));
    let reason =
        gateway.reason.as_deref().filter(|reason| !reason.is_empty()).map(|reason| format!(": {reason}"));
    let GatewayConvergence { name, region, environment, state, .. } = gateway;
    format!("{name} ({region}/{environment}): {state}{at}{}", reason.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use hanse_api::answer::NodeStatus;

    use super::*;
    use crate::client::tests::silent_server;

    fn answered(converged: bool, gateways: Vec<GatewayConvergence>) -> Convergence {
        Convergence { revision: 12, converged, gateways, silent: Vec::new(), partial: Vec::new() }
    }

    fn gateway(name: &str, state: &str, revision: Option<u64>, reason: Option<&str>) -> GatewayConvergence {
        GatewayConvergence {
            name: name.into(),
            region: "eu-west".into(),
            environment: "production".into(),
            state: state.to_owned().into(),
            revision,
            reason: reason.map(Into::into),
        }
    }

    #[tokio::test]
    async fn an_interrupted_wait_says_that_the_change_stays() {
        use nix::sys::signal::{Signal, raise};
        use tokio::signal::unix::{SignalKind, signal};
        // With a handler of the test's own no signal ends the test, however early it comes.
        let _installed = signal(SignalKind::interrupt()).unwrap();
        let (client, _listener, _dir) = silent_server().await;
        let interrupting = async {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                raise(Signal::SIGINT).unwrap();
            }
        };
        let error = tokio::select! {
            outcome = wait(&client, 12, Duration::from_secs(60)) => outcome.unwrap_err(),
            () = interrupting => unreachable!("it never ends"),
        };
        assert_eq!(exit_of(&error).code(), 130);
        assert!(error.to_string().starts_with("revision 12 is made and stays"), "{error}");
    }

    #[test]
    fn who_does_not_serve_is_named_with_why() {
        let gateways = vec![
            gateway("a", "effective", Some(12), None),
            gateway("b", "behind", Some(11), Some("silent for 4.0 s")),
            gateway("c", "fused", None, None),
            gateway("d", "absent", Some(3), Some("last heard from 60 s ago")),
        ];
        let convergence = answered(false, gateways);
        let failure = timed_out(12, Duration::from_secs(5), Some(&convergence), &[]);
        assert_eq!(failure.exit, Exit::WaitTimedOut);
        insta::assert_snapshot!(failure.message, @r"
        after 5s revision 12 is not served by
          b (eu-west/production): behind at revision 11: silent for 4.0 s
          c (eu-west/production): fused with nothing yet
          not waited for: d (eu-west/production): absent at revision 3: last heard from 60 s ago
        ");
        assert_eq!(counted(12, &convergence), "revision 12 is served by 1 of 3 gateways");
    }

    #[test]
    fn silent_control_nodes_are_named() {
        let nodes = [("cp-1", None), ("cp-2", Some(false)), ("cp-3", Some(true))];
        let nodes =
            nodes.map(|(name, answered)| NodeStatus { name: name.into(), answered, ..NodeStatus::default() });
        let status = Status { nodes: nodes.into(), ..Status::default() };
        let silent = not_answering(&status);
        assert_eq!(silent, ["cp-2"]);
        assert_eq!(not_answering(&Status::default()), Vec::<String>::new());

        let gateways = vec![gateway("a", "effective", Some(12), None)];
        let convergence = answered(false, gateways);
        let failure = timed_out(12, Duration::from_secs(5), Some(&convergence), &silent);
        assert_eq!(failure.exit, Exit::WaitTimedOut);
        insta::assert_snapshot!(failure.message, @r"
        after 5s it is not known whether every gateway serves revision 12
          control node cp-2 has not said which gateways report to it; they may be missing here
        ");
        assert_eq!(
            counted(12, &convergence),
            "revision 12 is served by 1 of 1 gateway known; a control node has not said which it knows"
        );

        let gateways = vec![gateway("b", "behind", Some(11), None)];
        let convergence = answered(false, gateways);
        let failure = timed_out(12, Duration::from_secs(5), Some(&convergence), &silent);
        insta::assert_snapshot!(failure.message, @r"
        after 5s revision 12 is not served by
          b (eu-west/production): behind at revision 11
          control node cp-2 has not said which gateways report to it; they may be missing here
        ");
    }

    #[test]
    fn an_agent_that_cannot_name_all_of_its_gateways_is_named() {
        let gateways = vec![gateway("a", "effective", Some(12), None)];
        let partial = vec!["agent-eu-west (eu-west)".to_owned()];
        let convergence = Convergence { partial, ..answered(false, gateways) };
        let failure = timed_out(12, Duration::from_secs(5), Some(&convergence), &[]);
        insta::assert_snapshot!(failure.message, @r"
        after 5s it is not known whether every gateway serves revision 12
          agent agent-eu-west (eu-west) has more gateways than its report takes; the others are missing here: give the region another agent
        ");
        assert_eq!(
            counted(12, &convergence),
            "revision 12 is served by 1 of 1 gateway known; an agent has more gateways than it can name"
        );
    }

    #[test]
    fn success_says_who_was_not_waited_for() {
        let gateways = vec![gateway("a", "effective", Some(12), None), gateway("d", "absent", None, None)];
        insta::assert_snapshot!(reached(12, &answered(true, gateways)), @r"
        revision 12 is served by 1 of 1 gateway
          not waited for: d (eu-west/production): absent with nothing yet
        ");
        assert_eq!(reached(1, &answered(true, vec![])), "revision 1: no gateway is there to serve it");
    }
}
