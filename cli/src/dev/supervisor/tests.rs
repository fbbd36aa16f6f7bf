use std::{fs, os::unix::fs::PermissionsExt as _};

use super::*;
use crate::exit::exit_of;

/// A supervisor whose every process is this shell script.
fn supervisor(script: &str) -> (Arc<Supervisor>, DataDir, tempfile::TempDir) {
    let temporary = tempfile::tempdir().unwrap();
    let dir = DataDir::make(&temporary.path().join("data")).unwrap();
    let executable = temporary.path().join("script");
    fs::write(&executable, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&executable, fs::Permissions::from_mode(0o700)).unwrap();
    let mut plan = Plan::new(1, 1);
    plan.choose_ports(Ok).unwrap();
    let reservations = Reservations::new(temporary.path().join("ports"));
    let supervisor = Supervisor::new(dir.clone(), executable, plan, reservations);
    (supervisor, dir, temporary)
}

fn is_up(dir: &DataDir, name: &str) -> bool {
    let state = DevState::read(dir.path()).unwrap().unwrap();
    state.processes.iter().find(|process| process.name == *name).unwrap().up
}

#[tokio::test]
async fn processes_are_started_killed_and_stopped_and_the_file_follows() {
    let (supervisor, dir, _temporary) = supervisor("exec cat");
    supervisor.spawn("cp-1").unwrap();
    assert_eq!(DevState::read(dir.path()).unwrap(), None, "nothing is said before everything serves");
    supervisor.publish(LineageStatus::default()).unwrap();
    assert!(is_up(&dir, "cp-1") && !is_up(&dir, "agent-eu-west"));
    assert_eq!(exit_of(&supervisor.spawn("cp-1").unwrap_err()), Exit::Conflict);
    assert_eq!(exit_of(&supervisor.spawn("nobody").unwrap_err()), Exit::NotFound);

    supervisor.kill("cp-1").await.unwrap();
    assert!(!is_up(&dir, "cp-1"), "the file is replaced before the command returns");
    assert_eq!(exit_of(&supervisor.kill("cp-1").await.unwrap_err()), Exit::Conflict);

    supervisor.spawn("cp-1").unwrap();
    supervisor.spawn("agent-eu-west").unwrap();
    supervisor.stop_all().await;
    assert!(supervisor.lock().running.is_empty());
    assert!(supervisor.spawn("cp-1").is_err(), "nothing starts any more");
}

#[tokio::test]
async fn children_stop_when_their_input_closes() {
    let (supervisor, _dir, _temporary) = supervisor("exec cat");
    supervisor.spawn("cp-1").unwrap();
    // As the system does when we are gone.
    let mut process = supervisor.lock().running.remove("cp-1").unwrap();
    drop(process.running);
    process.ended.wait_for(Option::is_some).await.unwrap();
}

#[tokio::test]
async fn a_process_that_ends_while_starting_is_told_with_its_log() {
    let (supervisor, _dir, _temporary) = supervisor("echo no memory >&2; exit 3");
    let error = supervisor.start("cp-1").await.unwrap_err().to_string();
    assert!(error.contains("cp-1 did not start: exit code 3\n  | no memory"), "{error}");
    assert!(supervisor.taken_ports().is_empty());
}

#[tokio::test]
async fn ports_that_somebody_has_after_all_are_remembered() {
    let (supervisor, _dir, _temporary) =
        supervisor("echo 'listening on 127.0.0.1:8080: Address already in use (os error 98)' >&2; exit 1");
    assert!(supervisor.start("gateway-eu-west").await.is_err());
    let ports = supervisor.plan().find("gateway-eu-west").unwrap().ports.values().copied().collect();
    assert_eq!(supervisor.taken_ports(), ports);
    supervisor.publish(LineageStatus::default()).unwrap();
    assert!(supervisor.start("agent-eu-west").await.is_err());
    assert_eq!(supervisor.taken_ports(), ports, "once everything served, addresses stay");
}

#[tokio::test]
async fn a_gateway_that_never_served_is_forgotten() {
    let (supervisor, dir, _temporary) = supervisor("exit 1");
    supervisor.publish(LineageStatus::default()).unwrap();
    let before = supervisor.plan();
    let region = Name::new("eu-west").unwrap();
    assert!(supervisor.add_gateway(&region).await.is_err());
    assert_eq!(supervisor.plan(), before);
    assert_eq!(DevState::read(dir.path()).unwrap().unwrap().processes.len(), before.processes.len());
    let nowhere = Name::new("nowhere").unwrap();
    assert_eq!(exit_of(&supervisor.add_gateway(&nowhere).await.unwrap_err()), Exit::NotFound);
}
