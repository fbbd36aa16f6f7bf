//! A small federation for tests, driven by manifests.

mod seal;

use std::collections::BTreeMap;

use hanse_management::{
    Digest, Kind, Problem, ResourceKey, Revision, Spec, kinds::RevisionRef, manifest::parse_yaml,
};
use hanse_topology::Name;

use crate::{
    Accepted, Action, Change, Command, CommandBody, Outcome, Resource, State,
    admission::{Seal, Writer, admit},
};

pub(crate) use self::seal::Masks;

/// When the tests' commands begin: 2026-01-01, in Unix milliseconds.
pub(crate) const START_MS: u64 = 1_767_225_600_000;

/// One organization, two regions, two environments.
const TERRITORY: &str = "
{kind: Organization, name: default}
---
{kind: Region, name: eu-west, labels: {tier: edge}}
---
{kind: Region, name: us-east, labels: {tier: core}}
---
{kind: Environment, name: production, spec: {regions: [eu-west, us-east]}}
---
{kind: Environment, name: sandbox, spec: {regions: [eu-west, us-east]}}
";

/// An Api, its Upstream and its Binding to both regions of production; an Application that calls it.
pub(crate) const ORDERS: &str = r#"
kind: Upstream
name: backend
spec: {endpoints: [{url: "http://10.0.0.7:8080"}]}
---
kind: Policy
name: stamp
spec: {headers: {request: {set: {X-Stamp: "1"}}}}
---
kind: Api
name: orders
spec:
  context: /orders/v1
  version: "1"
  policies: [stamp]
  upstream: backend
  operations: [{method: GET, path: "/orders/{id}"}]
---
kind: Binding
name: orders-production
spec: {api: orders, environment: production}
---
{kind: Plan, name: gold}
---
{kind: Application, name: shop}
---
kind: Subscription
name: shop-orders
spec: {application: shop, api: orders, plan: gold}
---
kind: Credential
name: shop-key
spec: {application: shop, digest: "sha256:1111111111111111111111111111111111111111111111111111111111111111"}
"#;

/// A rule by which regions differ: the region that a Binding's label `hold` names serves the first revision of the Api that there
/// is, and not the one that the Binding names.
pub(crate) fn exceptions(state: &State, binding: &Resource) -> BTreeMap<Name, RevisionRef> {
    let first = || {
        let (organization, Spec::Binding(spec)) = (binding.key.organization.as_ref()?, &binding.spec) else {
            return None;
        };
        state.api_revision_numbers(organization, &spec.api).next()
    };
    let held = binding.metadata.labels.0.get("hold").map(|region| name(region));
    held.and_then(|region| Some((region, RevisionRef::Number(first()?)))).into_iter().collect()
}

/// Where a change has what came with the version after the first: the label `later`.
pub(crate) fn came_later(change: &Change) -> Option<String> {
    let has = matches!(&change.action, Action::Put { labels, .. } if labels.0.contains_key("later"));
    has.then(|| "labels.later".to_owned())
}

/// A state and a clock.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) now_ms: u64,
}

impl World {
    /// Nothing there.
    pub(crate) fn empty() -> Self {
        Self { state: State::default(), now_ms: START_MS }
    }

    /// The territory, nothing on it.
    pub(crate) fn new() -> Self {
        Self::empty().with(TERRITORY)
    }

    /// The territory with ORDERS.
    pub(crate) fn with_orders() -> Self {
        Self::new().with(ORDERS)
    }

    /// After `yaml` was applied, too.
    #[track_caller]
    pub(crate) fn with(mut self, yaml: &str) -> Self {
        self.put(yaml);
        self
    }

    /// Runs a command and checks what holds of every outcome.
    #[track_caller]
    pub(crate) fn run(&mut self, body: CommandBody) -> Result<Accepted, Problem> {
        self.run_with_key(body, None)
    }

    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "as the node that is asked does it")]
    pub(crate) fn run_with_key(&mut self, body: CommandBody, key: Option<&str>) -> Result<Accepted, Problem> {
        let command = self.command(body, key);
        let before = self.state.clone();
        let seal = Seal { state: &self.state, by: &Masks };
        let outcome = match admit(command, self.state.version(), Writer::Handler, seal) {
            Ok(admitted) => self.state.apply(admitted.command()),
            Err(problem) => Outcome::Rejected(problem),
        };
        match outcome {
            Outcome::Accepted(accepted) => Ok(accepted),
            Outcome::Rejected(problem) => {
                assert_eq!(self.state, before, "a refused command changes nothing");
                assert!(!problem.remedy.is_empty(), "{problem} says nothing of what to do");
                Err(problem)
            }
        }
    }

    pub(crate) fn command(&mut self, body: CommandBody, key: Option<&str>) -> Command {
        self.now_ms += 1;
        Command {
            actor: "tester".into(),
            request_id: "r".into(),
            time_ms: self.now_ms,
            idempotency_key: key.map(str::to_owned),
            only_in_term: None,
            force_grants: false,
            origin: crate::Origin::default(),
            body,
        }
    }

    /// Applies manifests as a log has them: admission does not judge them.
    #[track_caller]
    pub(crate) fn replicate(&mut self, yaml: &str) {
        let command = self.command(CommandBody::Apply(changes(yaml)), None);
        let outcome = self.state.apply(&command);
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    }

    /// Applies changes.
    #[track_caller]
    pub(crate) fn change(&mut self, changes: Vec<Change>) -> Result<Accepted, Problem> {
        self.run(CommandBody::Apply(changes))
    }

    /// Applies manifests.
    #[track_caller]
    pub(crate) fn try_put(&mut self, yaml: &str) -> Result<Accepted, Problem> {
        self.change(changes(yaml))
    }

    /// Applies manifests that are in order.
    #[track_caller]
    pub(crate) fn put(&mut self, yaml: &str) -> Accepted {
        self.try_put(yaml).unwrap_or_else(|problem| panic!("{problem}\n{yaml}"))
    }

    /// Why manifests are refused.
    #[track_caller]
    pub(crate) fn refused(&self, yaml: &str) -> Problem {
        self.clone().try_put(yaml).expect_err(yaml)
    }

    /// The refusal of `yaml` begins so.
    #[track_caller]
    pub(crate) fn check(&self, yaml: &str, expected: &str) {
        let problem = self.refused(yaml).to_string();
        assert!(problem.starts_with(expected), "\n   was: {problem}\nwanted: {expected}");
    }

    /// An agent of `eu-west` joins with this key, also in place of one that had another.
    #[track_caller]
    pub(crate) fn join_agent(&mut self, agent: &str, key: u8) {
        let digest = Digest::of(b"join");
        let expires_at = START_MS / 1_000 + 86_400;
        self.put(&format!(
            "{{kind: JoinToken, name: joining, spec: {{role: agent, region: eu-west, uses: 10000, replace: true, \
             expiresAt: {expires_at}, digest: '{digest}'}}}}"
        ));
        let joining = CommandBody::UseJoinToken {
            token: name("joining"),
            secret_digest: digest.0,
            joiner: format!("{agent}.agent.eu-west.hanse.internal"),
            key_digest: [key; 32],
            seat: None,
        };
        self.run(joining).expect("the token lets it join");
    }

    /// Revokes an agent.
    #[track_caller]
    pub(crate) fn revoke(&mut self, identity: &str) {
        let (control_nodes, keys, known_keys) = (Vec::new(), Vec::new(), Vec::new());
        let identity = identity.to_owned();
        self.run(CommandBody::Revoke { identity, control_nodes, keys, known_keys }).expect("it is known");
    }

    /// Deletes one resource, spelled `Kind name` or `Kind organization/name`.
    #[track_caller]
    pub(crate) fn delete(&mut self, key: &str, cascade: bool) -> Result<Accepted, Problem> {
        self.change(vec![delete(key, cascade)])
    }

    /// The resource spelled so.
    #[track_caller]
    pub(crate) fn get(&self, key: &str) -> &Resource {
        self.state.get(&self::key(key)).unwrap_or_else(|| panic!("there is no {key}"))
    }

    /// What is shown of it, as a manifest that is sent back.
    #[track_caller]
    pub(crate) fn shown(&self, key: &str) -> serde_json::Value {
        let Resource { key, metadata, spec } = self.get(key);
        let (kind, name, organization) = (key.kind.as_str(), &key.name, &key.organization);
        let mut shown = serde_json::json!({
            "kind": kind, "name": name, "spec": spec.shown(), "labels": metadata.labels, "revision": metadata.revision,
        });
        if let Some(organization) = organization {
            shown["organization"] = organization.as_str().into();
        }
        shown
    }

    /// Its revision.
    #[track_caller]
    pub(crate) fn revision_of(&self, key: &str) -> Revision {
        self.get(key).metadata.revision
    }

    /// Whether it exists.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.state.get(&self::key(key)).is_some()
    }

    /// The keys of a kind.
    pub(crate) fn names(&self, kind: Kind) -> Vec<String> {
        self.state.list(kind, None).map(|resource| resource.key.name.to_string()).collect()
    }
}

/// The changes that put `yaml`.
#[track_caller]
pub(crate) fn changes(yaml: &str) -> Vec<Change> {
    let manifests = parse_yaml(yaml, &name("default")).unwrap_or_else(|problem| panic!("{problem}\n{yaml}"));
    manifests.into_iter().map(Change::from).collect()
}

/// The change that deletes a resource.
pub(crate) fn delete(key: &str, cascade: bool) -> Change {
    Change { key: self::key(key), action: Action::Delete { cascade }, if_revision: None }
}

/// The key spelled `Kind name` or `Kind organization/name`; `default` is the organization of what names none.
pub(crate) fn key(text: &str) -> ResourceKey {
    let (kind, path) = text.split_once(' ').expect("a kind and a name");
    let kind: Kind = kind.parse().expect("a kind");
    match (path.split_once('/'), kind.is_global()) {
        (Some((organization, own)), _) => ResourceKey::owned(kind, name(organization), name(own)),
        (None, true) => ResourceKey::global(kind, name(path)),
        (None, false) => ResourceKey::owned(kind, name("default"), name(path)),
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// What a command did, a line for each resource.
pub(crate) fn told(accepted: &Accepted) -> Vec<String> {
    let line = |change: &crate::ChangeResult| format!("{} {} {}", change.action, change.key, change.revision);
    accepted.changes.iter().map(line).collect()
}

/// How proptest runs here: few cases, so that the tests are quick on a small machine. `HANSE_PROPTEST_CASES` asks for more.
pub(crate) fn proptest_config() -> proptest::test_runner::Config {
    const DEFAULT_CASES: u32 = 16;
    let asked = std::env::var("HANSE_PROPTEST_CASES").ok();
    let cases = asked.map_or(DEFAULT_CASES, |cases| cases.parse().expect("HANSE_PROPTEST_CASES is a number"));
    proptest::test_runner::Config {
        cases,
        max_shrink_iters: 500,
        failure_persistence: None,
        ..proptest::test_runner::Config::default()
    }
}
