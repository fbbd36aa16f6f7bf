//! What `hanse dev` says when everything serves.

use std::{fmt::Write as _, path::Path, time::Duration};

use super::{
    data_dir::DataDir,
    example,
    plan::Role,
    state::{DevState, ProcessState},
};
use crate::shell::quoted;

/// Where everything is, and what to try next.
pub(super) fn ready(state: &DevState, dir: &DataDir, took: Duration) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "hanse".to_owned());
    let here = std::env::current_dir().unwrap_or_default();
    advice(state, dir, took, &program_anywhere(&program, &here))
}

/// The program as every terminal finds it: by its path, or by its name where that is how it was called.
fn program_anywhere(program: &str, here: &Path) -> String {
    let path =
        if program.contains('/') { here.join(program).display().to_string() } else { program.to_owned() };
    quoted(&path).into_owned()
}

fn advice(state: &DevState, dir: &DataDir, took: Duration, program: &str) -> String {
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
    for responder in of_role(Role::Dns) {
        line(&format!("  {:18} {}", responder.name.as_str(), responder.dns.as_deref().unwrap_or_default()));
    }
    let upstream = first(Role::Upstream, |process| process.http.as_ref());
    line(&format!("  {:18} {upstream}  (answers with what it was sent)", "upstream"));
    line("");
    line("try, in another terminal:");
    for command in
        commands(state, dir, program, &upstream, &first(Role::Gateway, |process| process.http.as_ref()))
    {
        line(&format!("  {command}"));
    }
    line("");
    line(&format!("logs are in {}; Ctrl-C stops everything", dir.logs().display()));
    text
}

/// Commands that work in any terminal, in this order.
fn commands(state: &DevState, dir: &DataDir, program: &str, upstream: &str, gateway: &str) -> Vec<String> {
    let path = |path: &Path| quoted(&path.display().to_string()).into_owned();
    let data_dir = path(dir.path());
    let document = example::file(dir);
    let mut commands = Vec::new();
    if document.exists() {
        commands.push(format!("curl -s {gateway}{}", example::PATH));
    }
    commands.push(format!("export HANSE_CONFIG={}", path(&state.client)));
    commands.push(format!("{program} status"));
    if document.exists() {
        commands.push(format!(
            "{program} import openapi {} --as demo --context /demo --upstream {upstream} --publish-to production --wait",
            path(&document)
        ));
        commands.push(format!("KEY=$({program} subscribe demo --application app --plan gold --wait)"));
        commands.push(format!("curl -s -H \"X-API-Key: $KEY\" {gateway}/demo/pets"));
    }
    commands.push(format!("{program} dev ps --data-dir {data_dir}"));
    let server = state.processes.iter().find(|process| process.role == Role::Server);
    commands.extend(server.map(|server| {
        format!("{program} dev kill {} --data-dir {data_dir}    # and see that calls go on", server.name)
    }));
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::plan::Plan;

    #[test]
    fn advice_names_addresses_and_the_configuration() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::make(&temporary.path().join("a b")).unwrap();
        let mut plan = Plan::new(1, 1);
        plan.choose_ports(Ok).unwrap();
        let processes = plan.processes.iter().map(|spec| ProcessState::new(spec, Some(1), true)).collect();
        let state = DevState { lineage: None, client: dir.client(), processes };
        let text = |dir: &DataDir| advice(&state, dir, Duration::from_millis(6_250), "hanse");
        assert!(text(&dir).starts_with("ready in 6.2 s"), "{}", text(&dir));
        assert!(!text(&dir).contains("curl"), "without the example there is nothing to call");
        std::fs::create_dir(dir.path().join("examples")).unwrap();
        std::fs::write(example::file(&dir), "").unwrap();
        let text = text(&dir);
        let first = text.lines().skip_while(|line| !line.starts_with("try")).nth(1).unwrap();
        assert_eq!(first, "  curl -s http://127.0.0.1:8080/petshop/pets");
        let quoted = format!("  export HANSE_CONFIG='{}'", dir.client().display());
        assert!(text.contains("  dns-eu-west        127.0.0.1:7453"), "{text}");
        assert!(text.contains(&quoted) && text.contains("--upstream http://127.0.0.1:9000 "), "{text}");
    }

    #[test]
    fn the_program_is_found_from_every_directory() {
        let here = Path::new("/home/o/my hanse");
        for (called, expected) in [
            ("hanse", "hanse"),
            ("target/release/hanse", "'/home/o/my hanse/target/release/hanse'"),
            ("/opt/hanse", "/opt/hanse"),
        ] {
            assert_eq!(program_anywhere(called, here), expected);
        }
    }
}
