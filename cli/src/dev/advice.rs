//! What `hanse dev` says when everything serves.

use std::{fmt::Write as _, time::Duration};

use super::{
    data_dir::DataDir,
    plan::Role,
    state::{DevState, ProcessState},
};

/// Where everything is, and what to try next.
pub(super) fn ready(state: &DevState, dir: &DataDir, took: Duration) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "hanse".to_owned());
    let default_client = std::env::current_dir().map(|dir| dir.join(".hanse-dev/client.toml")).ok();
    let is_default = default_client.as_ref() == Some(&state.client);
    advice(state, dir, took, &program, is_default)
}

fn advice(state: &DevState, dir: &DataDir, took: Duration, program: &str, is_default: bool) -> String {
    let of_role = |role: Role| state.processes.iter().filter(move |process| process.role == role);
    let first = |role: Role, read: fn(&ProcessState) -> Option<&String>| {
        of_role(role).find_map(read).cloned().unwrap_or_default()
    };
    let mut text = String::new();
    let mut line = |words: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{words}");
    };
    line(&format!("ready in {}.{} s: every gateway serves", took.as_secs(), took.subsec_millis() / 100));
    line("");
    for server in of_role(Role::Server) {
        line(&format!("  {:18} {}", server.name.as_str(), server.https.as_deref().unwrap_or_default()));
    }
    for gateway in of_role(Role::Gateway) {
        let addresses =
            [gateway.http.as_deref(), gateway.https.as_deref()].into_iter().flatten().collect::<Vec<_>>();
        line(&format!("  {:18} {}", gateway.name.as_str(), addresses.join("  ")));
    }
    let upstream = first(Role::Upstream, |process| process.http.as_ref());
    line(&format!("  {:18} {upstream}  (answers with what it was sent)", "upstream"));
    line("");
    line("try, in another terminal:");
    let data_dir = if is_default { String::new() } else { format!(" --data-dir {}", dir.path().display()) };
    if !is_default {
        line(&format!("  export HANSE_CONFIG={}", state.client.display()));
    }
    let gateway = first(Role::Gateway, |process| process.http.as_ref());
    line(&format!("  {program} status"));
    line(&format!(
        "  {program} import openapi FILE --as demo --context /demo --upstream {upstream} --publish-to production --wait"
    ));
    line(&format!("  KEY=$({program} subscribe demo --application app --plan gold --wait)"));
    line(&format!("  curl -H \"X-API-Key: $KEY\" {gateway}/demo/…"));
    line(&format!("  {program} dev ps{data_dir}"));
    if let Some(server) = of_role(Role::Server).next() {
        line(&format!("  {program} dev kill {}{data_dir}    # and see that calls go on", server.name));
    }
    line("");
    line(&format!("logs are in {}; Ctrl-C stops everything", dir.logs().display()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::plan::Plan;

    #[test]
    fn advice_names_addresses_and_the_configuration() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::make(temporary.path()).unwrap();
        let mut plan = Plan::new(1, 1);
        plan.choose_ports(Ok).unwrap();
        let processes = plan.processes.iter().map(|spec| ProcessState::new(spec, Some(1), true)).collect();
        let state = DevState { lineage: None, client: dir.client(), processes };
        let text = advice(&state, &dir, Duration::from_millis(6_250), "hanse", false);
        assert!(text.starts_with("ready in 6.2 s"), "{text}");
        assert!(
            text.contains("export HANSE_CONFIG=") && text.contains("--upstream http://127.0.0.1:9000 "),
            "{text}"
        );
        assert!(!advice(&state, &dir, Duration::ZERO, "hanse", true).contains("HANSE_CONFIG"));
    }
}
