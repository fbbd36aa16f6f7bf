//! One node's Keeper, over a state that is not replicated.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use hanse_identity::{KeyDir, Seal};
use hanse_management::{Problem, Revision};
use hanse_process::ShutdownTrigger;
use hanse_state::{
    CommandBody, Outcome,
    admission::Admitted,
    port::{Consistency, GroupStatus},
};
use tempfile::TempDir;

use super::*;
use crate::secrets::{Keyring, fixture::Federation};

/// Far above what a busy machine needs.
const SOON: Duration = Duration::from_secs(30);

/// Stands for a cipher: files are not in the clear.
#[derive(Debug)]
struct Flip;

impl Seal for Flip {
    fn seal(&self, _: &str, content: &[u8]) -> Vec<u8> {
        content.iter().map(|octet| !octet).collect()
    }

    fn open(&self, _: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        Some(self.seal("", sealed))
    }
}

/// What a node answers.
type Told = Result<Vec<FederationKey>, String>;

/// A node that follows, or leads, with its disk and the other nodes.
struct Node {
    state: watch::Sender<State>,
    leads: AtomicBool,
    dir: TempDir,
    /// What each of the others tells.
    others: Mutex<Vec<(&'static str, Told)>>,
}

impl Node {
    fn new(state: &State) -> Arc<Self> {
        Arc::new(Self {
            state: watch::Sender::new(state.clone()),
            leads: AtomicBool::new(false),
            dir: tempfile::tempdir().unwrap(),
            others: Mutex::default(),
        })
    }

    fn tells(&self, name: &'static str, keys: &[&Key]) {
        let told = |key: &&Key| FederationKey { key: key.bytes().to_vec().into() };
        self.others.lock().unwrap().push((name, Ok(keys.iter().map(told).collect())));
    }

    fn keeper(self: &Arc<Self>) -> (Keeper, Keys) {
        self.keeper_in(KeyDir::sealed(self.dir.path().join("keys"), Arc::new(Flip)))
    }

    fn keeper_in(self: &Arc<Self>, dir: KeyDir) -> (Keeper, Keys) {
        let recovery = self.dir.path().join("recovery");
        Keeper::new(KeyFiles::new(dir), recovery, self.clone(), self.clone(), KeeperMetrics::default())
    }
}

impl Replicated for Node {
    fn replicate(&self, _: Admitted) -> BoxFuture<'_, Result<Outcome, Problem>> {
        unreachable!("a Keeper writes no state")
    }

    fn read(&self, _: Consistency) -> BoxFuture<'_, Result<State, Problem>> {
        unreachable!("a Keeper follows what is applied")
    }

    fn current(&self) -> State {
        self.state.borrow().clone()
    }

    fn changed_since(&self, revision: Revision) -> BoxFuture<'_, State> {
        let mut watch = self.state.subscribe();
        Box::pin(async move { watch.wait_for(|state| state.revision() > revision).await.unwrap().clone() })
    }

    fn group(&self) -> GroupStatus {
        let leader = self.leads.load(Ordering::Relaxed).then(|| "cp-1".to_owned());
        GroupStatus { this: "cp-1".to_owned(), leader, ..GroupStatus::default() }
    }
}

impl Others for Node {
    fn others(&self) -> Vec<ControlNode> {
        let named =
            |(name, _): &(&str, _)| ControlNode { name: (*name).to_owned(), ..ControlNode::default() };
        self.others.lock().unwrap().iter().map(named).collect()
    }

    fn ask<'a>(&'a self, other: &'a ControlNode) -> BoxFuture<'a, Result<Vec<FederationKey>, String>> {
        let told =
            self.others.lock().unwrap().iter().find(|(name, _)| *name == other.name).unwrap().1.clone();
        Box::pin(async { told })
    }
}

/// Runs the Keeper until what it keeps is `so`.
async fn until(keeper: Keeper, keys: &Keys, so: impl Fn(&Keyring) -> bool) {
    let (_trigger, shutdown) = ShutdownTrigger::new();
    let mut keys = keys.clone();
    let found = async {
        while !so(&keys.current()) {
            keys.changed().await;
        }
    };
    tokio::select! {
        () = keeper.run(shutdown) => unreachable!("it runs until the shutdown"),
        found = tokio::time::timeout(SOON, found) => found.expect("the keys come"),
    }
}

fn key(byte: u8) -> Key {
    Key::from([byte; 32])
}

#[tokio::test]
async fn what_is_missing_comes_from_any_node_that_has_it_and_stays() {
    let mut federation = Federation::new();
    federation.add(&key(1)).used(1).rotate().add(&key(2)).used(2).rotate().add(&key(3));
    let node = Node::new(&federation.state);
    node.others.lock().unwrap().push(("cp-2", Err("it is revoked".to_owned())));
    // What the state does not list is not taken.
    node.tells("cp-3", &[&key(9), &key(1)]);
    node.tells("cp-4", &[&key(2), &key(3)]);
    let (keeper, keys) = node.keeper();
    assert!(keys.lacking(&federation.state).unwrap().contains("version 1"));
    until(keeper, &keys, |keyring| keyring.newest(&federation.state) == 3).await;
    assert_eq!(*keys.current(), [key(1), key(2), key(3)].into_iter().collect());
    assert_eq!(keys.lacking(&federation.state), None);

    // Also after a restart.
    let (_, again) = node.keeper();
    assert_eq!(*again.current(), *keys.current());
    for file in std::fs::read_dir(node.dir.path().join("keys")).unwrap() {
        let file = file.unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert!(text.contains("SEALED"), "{text}");
        // One that does not open is asked for again.
        std::fs::write(file.path(), &text[..30]).unwrap();
    }
    let (keeper, keys) = node.keeper();
    assert_eq!(*keys.current(), Keyring::default());
    until(keeper, &keys, |keyring| keyring.lacking(&federation.state).is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_asked_again_until_a_node_has_it() {
    let mut federation = Federation::new();
    federation.add(&key(1)).used(1);
    let node = Node::new(&federation.state);
    let (keeper, keys) = node.keeper();
    let late = async {
        tokio::time::sleep(3 * LOOK_AGAIN).await;
        node.tells("cp-2", &[&key(1)]);
    };
    tokio::join!(until(keeper, &keys, |keyring| keyring.key(&key(1).digest()).is_some()), late);
}

#[tokio::test]
async fn an_operators_pair_opens_all_of_them_without_another_node() {
    let mut federation = Federation::new();
    federation.add(&key(1)).used(1).rotate().add(&key(2)).used(2);
    let node = Node::new(&federation.state);
    federation.pairs.save(&node.dir.path().join("recovery")).unwrap();
    let (keeper, keys) = node.keeper();
    until(keeper, &keys, |keyring| keyring.lacking(&federation.state).is_none()).await;
    assert_eq!(*keys.current(), [key(1), key(2)].into_iter().collect());
}

#[tokio::test]
async fn the_complaint_says_what_an_operator_can_mend() {
    let mut federation = Federation::new();
    federation.add(&key(1)).used(1);
    let node = Node::new(&federation.state);
    let (keeper, keys) = node.keeper();
    let complaint = async || keeper.look_for(federation.state.federation_keys(), &[1]).await;
    let expect = async |expected: &str| {
        let complaint = complaint().await.unwrap();
        assert!(complaint.contains(expected), "{complaint}");
    };
    expect("no control node has told version 1 yet").await;
    let recovery = node.dir.path().join("recovery");
    RecoveryPairs::generate().unwrap().save(&recovery).unwrap();
    expect("it is not the present one").await;
    std::fs::write(recovery.join("wrap.pem"), "what?").unwrap();
    expect("the recovery pair cannot be used: ").await;
    federation.pairs.save(&recovery).unwrap();
    // A file is where the directory of the keys should be.
    std::fs::write(node.dir.path().join("keys"), "").unwrap();
    expect("cannot be kept").await;
    std::fs::remove_file(node.dir.path().join("keys")).unwrap();
    assert_eq!(complaint().await, None);
    assert_eq!(keys.lacking(&federation.state), None);
}

#[test]
fn a_complaint_is_said_once_and_another_one_too() {
    let mut said = Said::default();
    let mut news = |complaint: Option<&str>| said.news(complaint.map(str::to_owned)).is_some();
    let told = [Some("a"), Some("a"), Some("b"), None, None, Some("b")].map(&mut news);
    assert_eq!(told, [true, false, true, false, false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_makes_one_key_for_each_turn_and_keeps_it_first() {
    let mut federation = Federation::new();
    let node = Node::new(&federation.state);
    let (keeper, keys) = node.keeper();
    let (_trigger, shutdown) = ShutdownTrigger::new();
    tokio::spawn(keeper.run(shutdown));
    tokio::time::sleep(2 * LOOK_AGAIN).await;
    assert_eq!(*keys.current(), Keyring::default(), "it does not lead");
    assert!(keys.addition(&federation.state, "cp-1").is_none());

    node.leads.store(true, Ordering::Relaxed);
    let addition = async |state: &State| {
        let mut looks = 0;
        loop {
            if let Some(addition) = keys.addition(state, &hanse_state::server_identity("cp-1")) {
                return addition.unwrap();
            }
            looks += 1;
            assert!(looks < 30, "a key is made");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let first = addition(&federation.state).await;
    let CommandBody::AddKey { digest, .. } = &first else { panic!("{first:?}") };
    let (_, on_disk) = node.keeper();
    assert!(on_disk.current().key(digest).is_some(), "it is durable before it is told");
    tokio::time::sleep(3 * LOOK_AGAIN).await;
    let CommandBody::AddKey { digest: again, wrapped, .. } = addition(&federation.state).await else {
        panic!()
    };
    assert_eq!(again, *digest);
    let wrapped_as = WrappedAs { version: 1, digest };
    assert!(federation.pairs.wrap.unwrap_key(wrapped_as, &wrapped).is_some());

    federation.run(first.clone()).used(1);
    node.state.send_replace(federation.state.clone());
    tokio::time::sleep(3 * LOOK_AGAIN).await;
    assert!(keys.addition(&federation.state, "cp-1").is_none(), "no other one is wanted");
    // It asks whether a key was stolen: one that was made before would be no answer.
    federation.rotate();
    assert!(keys.addition(&federation.state, "cp-1").is_none());
    node.state.send_replace(federation.state.clone());
    let CommandBody::AddKey { digest: second, version, .. } = addition(&federation.state).await else {
        panic!()
    };
    assert!(second != *digest && version == 2);
}

#[tokio::test]
async fn without_a_seal_a_key_is_in_memory_only_and_none_is_made() {
    let mut federation = Federation::new();
    federation.add(&key(1)).used(1).rotate();
    let node = Node::new(&federation.state);
    node.leads.store(true, Ordering::Relaxed);
    node.tells("cp-2", &[&key(1)]);
    let (keeper, keys) = node.keeper_in(node.dir.path().join("keys").into());
    until(keeper.clone(), &keys, |keyring| keyring.lacking(&federation.state).is_none()).await;
    assert!(!node.dir.path().join("keys").exists(), "nothing is written in the clear");
    assert!(keeper.make_candidate(&federation.state).await.is_err());
    assert!(keys.addition(&federation.state, "cp-1").is_none());
}
