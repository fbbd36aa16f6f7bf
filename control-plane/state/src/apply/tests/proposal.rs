//! Changes of a guarded Environment: proposed by one owner, approved by another.

mod owners;
mod plans;
mod random;
mod room;
mod secrets;
mod serving;
mod shown;

use hanse_management::{Kind, Problem, ProblemName, Spec, kinds::TokenRole};

use crate::{
    Accepted, Action, Change, Command, CommandBody, Origin, Outcome, State,
    admission::{Seal, Writer, admit},
    apply::proposal::{MAX_OF_OWNER, MAX_WAITING},
    fixture::{Masks, World, changes, delete, key, name, told},
};

/// Tokens of two admins, a second token of the first, a publisher of each organization, and a viewer.
const TOKENS: &str = "
{kind: Token, name: ann, spec: {role: admin, owner: ann, digest: 'sha256:1111111111111111111111111111111111111111111111111111111111111111'}}
---
{kind: Token, name: ann-2, spec: {role: admin, owner: ann, digest: 'sha256:2222222222222222222222222222222222222222222222222222222222222222'}}
---
{kind: Token, name: bob, spec: {role: admin, owner: bob, digest: 'sha256:3333333333333333333333333333333333333333333333333333333333333333'}}
---
{kind: Token, name: ci, spec: {role: publisher, organization: default, owner: ci, digest: 'sha256:4444444444444444444444444444444444444444444444444444444444444444'}}
---
{kind: Organization, name: retail}
---
{kind: Token, name: shop, spec: {role: publisher, organization: retail, owner: shop, digest: 'sha256:5555555555555555555555555555555555555555555555555555555555555555'}}
---
{kind: Token, name: eve, spec: {role: viewer, owner: eve, digest: 'sha256:6666666666666666666666666666666666666666666666666666666666666666'}}
";

const GUARDED: &str = "{kind: Environment, name: production, spec: {regions: [eu-west, us-east], approval: {expiresAfter: 1h}}}";
const HOUR_MS: u64 = 60 * 60 * 1_000;

/// What is asked of production, where it is guarded.
fn guarded() -> World {
    World::with_orders()
        .with("{kind: HostGrant, name: shop, spec: {environments: [production], host: a.example, organization: default}}")
        .with(TOKENS)
        .with(GUARDED)
}

impl World {
    /// Runs a command of a token.
    fn by(&mut self, token: &str, body: CommandBody) -> Result<Accepted, Problem> {
        self.by_owner(token, if token == "ann-2" { "ann" } else { token }, body)
    }

    /// Runs a command of a token, as the node that is asked does.
    fn by_owner(&mut self, token: &str, owner: &str, body: CommandBody) -> Result<Accepted, Problem> {
        let seen = self.state.clone();
        self.by_seeing(&seen, token, owner, body)
    }

    /// The same by a node that has applied no more than this.
    #[expect(clippy::disallowed_methods, reason = "as the node that is asked does it")]
    fn by_seeing(
        &mut self,
        seen: &State,
        token: &str,
        owner: &str,
        body: CommandBody,
    ) -> Result<Accepted, Problem> {
        self.now_ms += 1;
        let (role, organization) = match token {
            "ann" | "ann-2" | "bob" => (TokenRole::Admin, None),
            "ci" => (TokenRole::Publisher, Some("default")),
            "shop" => (TokenRole::Publisher, Some("retail")),
            _eve => (TokenRole::Viewer, None),
        };
        let command = Command {
            actor: token.into(),
            request_id: "r".into(),
            time_ms: self.now_ms,
            idempotency_key: None,
            only_in_term: None,
            force_grants: false,
            origin: Origin {
                owner: owner.into(),
                role: Some(role),
                organization: organization.map(name),
                from: String::new(),
                reason: String::new(),
            },
            body,
        };
        let before = self.state.clone();
        let seal = Seal { state: seen, by: &Masks };
        match self.state.apply(admit(command, seen.version(), Writer::Handler, seal)?.command()) {
            Outcome::Accepted(accepted) => Ok(accepted),
            Outcome::Rejected(problem) => {
                assert!(self.state == before, "a refused command changes nothing");
                assert!(!problem.remedy.is_empty(), "{problem} says nothing of what to do");
                Err(problem)
            }
        }
    }

    #[track_caller]
    fn propose(&mut self, token: &str, changes: Vec<Change>) -> u64 {
        let body = CommandBody::Propose { changes, reason: "release 42".into() };
        self.by(token, body).unwrap_or_else(|problem| panic!("{problem}")).proposal.expect("a number")
    }

    fn try_propose(&mut self, token: &str, changes: Vec<Change>) -> Result<Accepted, Problem> {
        self.by(token, CommandBody::Propose { changes, reason: "release 42".into() })
    }

    fn approve(&mut self, token: &str, number: u64) -> Result<Accepted, Problem> {
        self.by(token, CommandBody::Approve { number, judged_ms: 0 })
    }

    fn reject(&mut self, token: &str, number: u64) -> Result<Accepted, Problem> {
        self.by(token, CommandBody::Reject { number, reason: String::new() })
    }

    /// The words of the last entry of the audit, without the digest of the changes.
    fn what(&self) -> String {
        let what = self.state.audit().from(0).last().unwrap().0.what;
        let (what, digest) = what.split_once("effects sha256:").expect("a digest");
        assert_eq!(digest.split(';').next().unwrap().len(), 64, "{digest}");
        what.trim_end_matches("; ").to_owned() + &digest[64..]
    }
}

/// A Binding whose region selector names one region.
const ONE_REGION: &str = "{kind: Binding, name: orders-production, spec: {api: orders, environment: production, regions: {names: [eu-west]}}}";

const OTHER_UPSTREAM: &str =
    "{kind: Upstream, name: backend, spec: {endpoints: [{url: 'http://10.0.0.8:8080'}]}}";

#[test]
fn what_concerns_a_guarded_environment_needs_a_second_owner() {
    let world = guarded();
    let needs = |world: &World, what: Vec<Change>| {
        let problem = world.clone().change(what.clone()).expect_err("it needs an approval");
        assert_eq!(problem.name, ProblemName::ApprovalNeeded, "{problem}");
        assert!(problem.detail.contains("Environment production needs"), "{problem}");
        // And with one it is made.
        let mut world = world.clone();
        let number = world.propose("ann", what);
        world.approve("bob", number).unwrap_or_else(|problem| panic!("{problem}"));
    };
    let put = |yaml: &str| changes(yaml);
    // The Environment.
    needs(&world, put("{kind: Environment, name: production, spec: {regions: [eu-west, us-east]}}"));
    needs(&world, put(&GUARDED.replace("spec:", "labels: {a: b}, spec:")));
    needs(&world, vec![delete("HostGrant shop", false), delete("Environment production", true)]);
    // A HostGrant that holds there, before or after.
    let grant = |environments: &str| {
        put(&format!(
            "{{kind: HostGrant, name: shop, spec: {{environments: {environments}, host: a.example, organization: default}}}}"
        ))
    };
    needs(&world, grant("[sandbox]"));
    needs(&world, vec![delete("HostGrant shop", false)]);
    let other = "{kind: HostGrant, name: new, spec: {environments: [sandbox, production], host: b.example, organization: default}}";
    needs(&world, put(other));
    // An Origin that names it, before or after.
    let origin = |environment: &str| {
        put(&format!(
            "{{kind: Origin, name: pods, spec: {{region: eu-west, environments: [{environment}], organizations: [default], kinds: [Route], holders: [agent-1]}}}}"
        ))
    };
    needs(&world, origin("production"));
    let mut with_origin = world.clone();
    let number = with_origin.propose("ann", origin("production"));
    with_origin.approve("bob", number).unwrap();
    needs(&with_origin, origin("sandbox"));
    needs(&with_origin, vec![delete("Origin pods", false)]);
    // A Binding there, before or after.
    needs(&world, put(ONE_REGION));
    needs(&world, vec![delete("Binding orders-production", false)]);
    needs(&world, vec![delete("Api orders", true)]);
    needs(
        &world,
        vec![
            delete("Organization default", true),
            delete("Token ci", false),
            delete("HostGrant shop", false),
        ],
    );
    let moved = ONE_REGION.replace("environment: production", "environment: sandbox");
    needs(&world, put(&moved));
    let new = "{kind: Api, name: users, spec: {context: /users, version: '1', upstream: backend, operations: []}}\n---\n\
               {kind: Binding, name: users-production, spec: {api: users, environment: production}}";
    needs(&world, put(new));
    // A Binding that follows the latest ApiRevision.
    let next = "{kind: Api, name: orders, spec: {context: /orders/v1, version: '2', upstream: backend, operations: []}}";
    needs(&world, put(next));
    needs(&world, put("{kind: Policy, name: stamp, spec: {headers: {request: {set: {X-Stamp: '2'}}}}}"));
    needs(&world, put(OTHER_UPSTREAM));
    // What a Binding serves although it stays: the Upstream that it names, the lifecycle of its Api, the labels of a Region.
    let mut pinned = World::with_orders().with(TOKENS);
    pinned.put("{kind: Binding, name: orders-production, spec: {api: orders, environment: production, revision: 1, upstream: backend}}");
    pinned.put(GUARDED);
    needs(&pinned, put(OTHER_UPSTREAM));
    let lifecycle = |of: &str| {
        format!(
            "{{kind: Api, name: orders, spec: {{context: /orders/v1, version: '1', policies: [stamp], upstream: backend, lifecycle: {of}, \
             operations: [{{method: GET, path: '/orders/{{id}}'}}]}}}}"
        )
    };
    needs(&pinned, put(&lifecycle("retired")));
    let mut selecting = World::with_orders().with(TOKENS);
    selecting.put(&ONE_REGION.replace("names: [eu-west]", "labels: {tier: edge}"));
    selecting.put(GUARDED);
    needs(&selecting, put("{kind: Region, name: us-east, labels: {tier: edge}}"));
    // Among others.
    needs(&world, put(&format!("{{kind: Plan, name: silver}}\n---\n{ONE_REGION}")));
}

#[test]
fn what_does_not_concern_it_needs_none() {
    let mut world = guarded();
    for free in [
        "{kind: Plan, name: silver}",
        "{kind: Application, name: app}",
        "{kind: Credential, name: shop-key, spec: {application: shop, digest: 'sha256:7777777777777777777777777777777777777777777777777777777777777777'}}",
        "{kind: Environment, name: sandbox, spec: {regions: [eu-west]}}",
        "{kind: Binding, name: orders-sandbox, spec: {api: orders, environment: sandbox}}",
        "{kind: HostGrant, name: sand, spec: {environments: [sandbox], host: s.example, organization: default}}",
        "{kind: Region, name: eu-west, labels: {tier: core}}",
        "{kind: Environment, name: stage, spec: {regions: [eu-west], approval: {}}}",
        // As it is.
        GUARDED,
    ] {
        world.put(free);
    }
    // The endpoints of another Environment, and a pinned Binding with a new ApiRevision beside it.
    let mut pinned = World::with_orders().with(TOKENS);
    pinned.put("{kind: Binding, name: orders-production, spec: {api: orders, environment: production, revision: 1, upstream: backend}}");
    pinned.put(GUARDED);
    pinned.put(
        "{kind: Upstream, name: backend, spec: {endpoints: [{url: 'http://10.0.0.7:8080'}, {url: 'http://10.0.0.9:8080', environment: sandbox}]}}",
    );
    pinned.put("{kind: Api, name: orders, spec: {context: /orders/v1, version: '2', upstream: backend, operations: []}}");
    // An Environment that was not guarded becomes so without an approval, and then is.
    let switched = "{kind: Environment, name: sandbox, spec: {regions: [eu-west], approval: {}}}";
    world.put(switched);
    let off = world.refused("{kind: Environment, name: sandbox, spec: {regions: [eu-west]}}");
    assert_eq!(off.name, ProblemName::ApprovalNeeded);
    let both = world
        .refused(&format!("{ONE_REGION}\n---\n{{kind: Environment, name: sandbox, spec: {{regions: []}}}}"));
    assert!(both.detail.contains("Environments production, sandbox need"), "{both}");
    let nothing = world.try_propose("ann", changes("{kind: Plan, name: bronze}")).unwrap_err();
    assert_eq!((nothing.name, &*nothing.remedy), (ProblemName::Conflict, "apply it: leave `propose` out"));
    world.try_propose("ann", changes(GUARDED)).unwrap_err();
}

#[test]
fn a_second_owner_approves_and_a_second_token_of_the_first_does_not() {
    let mut world = guarded();
    let number = world.propose("ann", changes(ONE_REGION));
    assert_eq!(number, 1);
    assert_eq!(
        world.what(),
        "propose 1 until 2026-01-01T01:00:00.006Z: release 42; it changes Binding default/orders-production"
    );
    let (revision, before) = (world.state.revision(), world.get("Binding orders-production").clone());
    for own in ["ann", "ann-2"] {
        let problem = world.approve(own, number).unwrap_err();
        assert_eq!(
            (problem.name, &*problem.detail),
            (ProblemName::Forbidden, "ann proposed it, and the token belongs to ann, too")
        );
    }
    for weak in ["shop", "eve"] {
        assert_eq!(world.approve(weak, number).unwrap_err().name, ProblemName::Forbidden, "{weak}");
    }
    assert_eq!((world.state.revision(), world.get("Binding orders-production")), (revision, &before));
    // One who may write no more than the Binding's organization may approve it.
    let accepted = world.clone().approve("ci", number).unwrap();
    assert_eq!(accepted.revision, revision + 1);
    let accepted = world.approve("bob", number).unwrap();
    assert_eq!(told(&accepted), [format!("updated Binding default/orders-production {}", revision + 1)]);
    assert_eq!(world.what(), "approve 1 proposed by ann (token ann): release 42");
    let again = world.approve("bob", number).unwrap_err();
    assert_eq!(
        (again.name, &*again.detail),
        (
            ProblemName::NotFound,
            "proposal 1 waits no more: it was approved or rejected, has expired, or had data of a Secret when the federation key was rotated"
        )
    );
    assert_eq!(world.approve("bob", 2).unwrap_err().detail, "there is no proposal 2");
    // Its number is not used again.
    assert_eq!(world.propose("bob", vec![delete("Binding orders-production", false)]), 2);
    assert!(crate::audit::holds(&world.state));
}

#[test]
fn a_publisher_proposes_and_decides_in_its_organization_only() {
    let mut world = guarded();
    let grant = "{kind: HostGrant, name: shop, spec: {environments: [sandbox], host: a.example, organization: default}}";
    assert_eq!(world.try_propose("ci", changes(grant)).unwrap_err().name, ProblemName::Forbidden);
    assert_eq!(world.try_propose("eve", changes(ONE_REGION)).unwrap_err().name, ProblemName::Forbidden);
    let own = world.propose("ci", changes(ONE_REGION));
    let wide = world.propose("ann", changes(&format!("{grant}\n---\n{ONE_REGION}")));
    for number in [own, wide] {
        for decide in [World::approve, World::reject] {
            let problem = decide(&mut world, "shop", number).unwrap_err();
            assert_eq!(problem.name, ProblemName::Forbidden);
            assert!(!problem.detail.contains("default/"), "{problem}");
        }
    }
    assert_eq!(world.approve("ci", wide).unwrap_err().name, ProblemName::Forbidden);
    assert_eq!(world.reject("ci", wide).unwrap_err().name, ProblemName::Forbidden);
    assert_eq!(world.reject("eve", own).unwrap_err().name, ProblemName::Forbidden);
    // A node's own command decides nothing.
    assert_eq!(
        world.run(CommandBody::Approve { number: own, judged_ms: 0 }).unwrap_err().name,
        ProblemName::Forbidden
    );
    assert_eq!(
        world.run(CommandBody::Reject { number: own, reason: String::new() }).unwrap_err().name,
        ProblemName::Forbidden
    );
    // Withdrawn by its owner, and rejected by another one.
    world.reject("ci", own).unwrap();
    assert_eq!(world.what(), "reject 1 proposed by ci (token ci): release 42");
    world.by("bob", CommandBody::Reject { number: wide, reason: "not on a Friday".into() }).unwrap();
    assert_eq!(world.what(), "reject 2 proposed by ann (token ann): release 42; rejected: not on a Friday");
    assert_eq!(world.state.proposals().count(), 0);
}

#[test]
fn what_is_approved_is_what_was_proposed() {
    let stale = |mut world: World, what: Vec<Change>, meanwhile: &dyn Fn(&mut World), expected: &str| {
        let number = world.propose("ann", what);
        world.clone().approve("bob", number).unwrap();
        meanwhile(&mut world);
        let problem = world.approve("bob", number).unwrap_err();
        assert!(problem.detail.starts_with(expected), "{problem}");
        assert!(problem.remedy.contains("propose it again"), "{problem}");
        let proposal = world.state.proposal(number).unwrap();
        assert!(world.state.try_proposal(proposal, world.now_ms, None).is_err(), "{expected}");
    };
    let plan = "{kind: Plan, name: gold, spec: {displayName: Gold}}";
    let with_plan = || changes(&format!("{ONE_REGION}\n---\n{plan}"));
    let put = |yaml: &'static str| move |world: &mut World| drop(world.put(yaml));
    // A resource that is changed by both, also where the proposal names no revision.
    stale(
        guarded(),
        with_plan(),
        &put("{kind: Plan, name: gold, spec: {displayName: Silver}}"),
        "proposal 1 would do something else by now: Plan default/gold was changed meanwhile",
    );
    // As it is now, the change is none.
    stale(
        guarded(),
        with_plan(),
        &put(plan),
        "proposal 1 would do something else by now: Plan default/gold would not change",
    );
    // Made meanwhile.
    stale(
        guarded(),
        changes(&format!("{ONE_REGION}\n---\n{{kind: Plan, name: new}}")),
        &put("{kind: Plan, name: new, spec: {displayName: x}}"),
        "proposal 1 would do something else by now: Plan default/new was changed meanwhile",
    );
    // It was left alone when it was proposed, and is not any more.
    stale(
        guarded(),
        changes(&format!("{ONE_REGION}\n---\n{{kind: Plan, name: gold}}")),
        &put(plan),
        "proposal 1 would do something else by now: Plan default/gold would change, too",
    );
    // A cascade that takes more.
    stale(
        guarded(),
        vec![delete("Api orders", true)],
        &put(
            "{kind: Application, name: app}\n---\n{kind: Subscription, name: more, spec: {application: app, api: orders, plan: gold}}",
        ),
        "proposal 1 would do something else by now: Subscription default/more would change, too",
    );
    // An Api whose Policy became another one: the ApiRevision would have another content.
    let sandbox = || {
        let mut world = World::with_orders().with(TOKENS);
        world.put("{kind: Binding, name: orders-production, spec: {api: orders, environment: production, revision: 1}}");
        world.with(GUARDED)
    };
    let release = "{kind: Api, name: orders, spec: {context: /orders/v1, version: '2', policies: [stamp], upstream: backend, operations: []}}\n---\n\
                   {kind: Binding, name: orders-production, spec: {api: orders, environment: production, revision: new}}";
    stale(
        sandbox(),
        changes(release),
        &put("{kind: Policy, name: stamp, spec: {headers: {request: {set: {X-Stamp: evil}}}}}"),
        "proposal 1 would do something else by now: ApiRevision default/orders-r2",
    );
    // A Policy that the Api refers to from then on: the ApiRevision has the same number, and another content.
    let with_extra = release.replace("policies: [stamp]", "policies: [stamp, extra]");
    stale(
        sandbox().with("{kind: Policy, name: extra, spec: {headers: {request: {set: {X-Extra: '1'}}}}}"),
        changes(&with_extra),
        &put("{kind: Policy, name: extra, spec: {headers: {request: {set: {X-Extra: evil}}}}}"),
        "proposal 1 would do something else by now: ApiRevision default/orders-r2 would become something else",
    );
    // What a condition says.
    let conditional = || {
        let world = guarded();
        let revision = world.revision_of("Plan gold");
        let change = Change {
            key: key("Plan gold"),
            action: Action::Expect { api_revision: None },
            if_revision: Some(revision),
        };
        (world, [changes(ONE_REGION), vec![change]].concat())
    };
    let (world, what) = conditional();
    stale(world, what, &put(plan), "proposal 1 does not hold any more: Plan default/gold is at revision");
    // What it rests on is gone.
    let subscription =
        "{kind: Subscription, name: more, spec: {application: app, api: orders, plan: silver}}";
    stale(
        guarded().with("{kind: Plan, name: silver}\n---\n{kind: Application, name: app}"),
        changes(&format!("{ONE_REGION}\n---\n{subscription}")),
        &|world| drop(world.delete("Plan silver", false).unwrap()),
        "proposal 1 does not hold any more: ",
    );
}

#[test]
fn the_token_of_the_proposer_must_still_be_good() {
    let ci = "{kind: Token, name: ci, spec: {role: publisher, organization: default, owner: ci, digest: 'sha256:4444444444444444444444444444444444444444444444444444444444444444'";
    let demoted = format!("{}}}}}", ci.replace("publisher", "viewer"));
    let moved = format!("{}}}}}", ci.replace("organization: default", "organization: retail"));
    let given = format!("{}}}}}", ci.replace("owner: ci", "owner: ann"));
    for (why, meanwhile) in [
        ("deleted", vec![delete("Token ci", false)]),
        ("demoted", changes(&demoted)),
        ("moved", changes(&moved)),
        ("given to another owner", changes(&given)),
        ("given another secret", changes(&format!("{}}}}}", ci.replace("sha256:4444", "sha256:4445")))),
    ] {
        let mut world = guarded();
        let number = world.propose("ci", changes(ONE_REGION));
        world.change(meanwhile).unwrap();
        let problem = world.approve("bob", number).unwrap_err();
        assert_eq!(problem.name, ProblemName::Conflict, "{why}");
        assert!(problem.detail.starts_with("the token ci that proposed it was deleted"), "{problem}");
    }
    let mut world = guarded();
    let end = world.now_ms / 1_000 + 60;
    world.put(&format!("{ci}, expiresAt: {end}}}}}"));
    let number = world.propose("ci", changes(ONE_REGION));
    world.now_ms = end * 1_000;
    assert_eq!(world.approve("bob", number).unwrap_err().name, ProblemName::Conflict);
}

/// A dump has its Environments before their Bindings. So an operator who restores one in parts switches `approval` on last.
#[test]
fn what_is_of_a_dump_needs_an_approval_like_all_else() {
    let manifests = crate::Dump::of(guarded().state, true);
    let all: Vec<Change> = manifests.resources_after(None).map(Change::from).collect();
    // In one command, the state before it has no guarded Environment.
    World::empty().change(all.clone()).unwrap_or_else(|problem| panic!("{problem}"));
    let mut world = World::empty();
    let mut refused = Vec::new();
    for part in all.chunks(3) {
        refused.extend(world.change(part.to_vec()).err().map(|problem| problem.name));
    }
    assert!(refused.contains(&ProblemName::ApprovalNeeded), "{refused:?}");
    let mut world = World::empty();
    for part in all.chunks(3) {
        let mut part = part.to_vec();
        for change in &mut part {
            if let Action::Restore { spec: Spec::Environment(spec), .. } = &mut change.action {
                spec.approval = None;
            }
        }
        world.change(part).unwrap_or_else(|problem| panic!("{problem}"));
    }
    world.put(GUARDED);
    // What is there as in the dump is no change; a dump that is applied again ends well.
    let bindings = all.iter().filter(|change| change.key.kind == Kind::Binding).cloned();
    world.change(bindings.collect()).unwrap();
    // An owner alone takes nothing back into the new Environment, and moves no Binding beside one of a dump.
    for late in [
        "{kind: HostGrant, name: late, spec: {environments: [production], host: l.example, organization: default}, restored: {}}".to_owned(),
        format!(
            "{{kind: Binding, name: orders-production, spec: {{api: orders, environment: production}}, restored: {{served: [1]}}}}\n---\n\
             {OTHER_UPSTREAM}\n---\n{{kind: Api, name: orders, spec: {{context: /orders/v1, version: '2', upstream: backend, operations: []}}}}"
        ),
    ] {
        assert_eq!(world.refused(&late).name, ProblemName::ApprovalNeeded, "{late}");
    }
    // A proposal of it is decided by no token of one organization.
    let binding = "{kind: Binding, name: more, spec: {api: orders, environment: production, regions: {names: [us-east]}}, restored: {}}";
    let number = world.propose("ann", [changes(ONE_REGION), changes(binding)].concat());
    assert_eq!(world.approve("ci", number).unwrap_err().name, ProblemName::Forbidden);
    assert_eq!(world.reject("ci", number).unwrap_err().name, ProblemName::Forbidden);
    world.approve("bob", number).unwrap();
}
