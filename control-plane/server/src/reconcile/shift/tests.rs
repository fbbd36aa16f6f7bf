//! Shifts that go on by themselves, while leaders, regions, operators and clocks come and go.

use hanse_identity::KeyDigest;
use hanse_management::{ResourceKey, manifest};
use hanse_state::{Action, Change, Command, Lineage, MintedToken, Outcome, judge, port::Standby};
use hanse_steering::{Action as Shift, Epoch, Heard, Request, Sync, rules, shift};
use hanse_topology::{Identity, bring_back};

use super::*;
use crate::reconcile::{HeardAgents, Holder};

const PLAN: &str = "{kind: FailoverPlan, name: orders, spec: {hosts: [orders], active: eu, standby: [us, ap], steps: [10, 50, 100], stepEvery: 30s}}";
const START_MS: u64 = 1_000_000;
const STEP_MS: u64 = 30_000;

/// A state, what is heard of the plan's regions, and the leader's clock.
struct World {
    state: State,
    standbys: Vec<Standby>,
    now_ms: u64,
    leader: TakeSteps,
}

impl Observed for World {
    fn gateway_keys(&self, _: &Identity) -> Vec<KeyDigest> {
        Vec::new()
    }

    fn minted_tokens(&self) -> Vec<(Identity, MintedToken)> {
        Vec::new()
    }

    fn holders(&self) -> Vec<Holder> {
        Vec::new()
    }

    fn next_key(&self, _: &State) -> Option<CommandBody> {
        None
    }

    fn reseal(&self, _: &State) -> Option<CommandBody> {
        None
    }

    fn agents(&self) -> HeardAgents {
        HeardAgents::default()
    }

    fn heard_standbys(&self, _: &Name) -> Vec<Standby> {
        self.standbys.clone()
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn heard<T>(value: T) -> Option<Heard<T>> {
    Some(Heard { value, age: Duration::from_secs(1) })
}

fn ready(region: &str) -> Standby {
    Standby {
        sync: heard(Sync { gateways: 2, behind: 0 }),
        certificates: heard(Duration::from_secs(1_000_000)),
        quarantined: heard(Vec::new()),
        ready_gateways: heard(2),
        ..Standby::unheard(name("orders"), name(region))
    }
}

impl World {
    /// Nothing is decided.
    fn new() -> Self {
        let standbys = ["eu", "us", "ap"].map(ready).to_vec();
        let mut world =
            Self { state: State::default(), standbys, now_ms: START_MS, leader: TakeSteps::default() };
        world
            .run(CommandBody::StartLineage(Lineage { generation: 1, id: [7; 16], parent: None }))
            .expect("the first lineage");
        for region in ["eu", "us", "ap"] {
            world.put(&format!("{{kind: Region, name: {region}}}"));
        }
        world.put("{kind: Organization, name: shop}");
        world.put("{kind: Environment, name: production, spec: {regions: [eu, us, ap]}}");
        world.put("{kind: DnsZone, name: gslb, spec: {origin: gslb.example, nameServers: [{name: ns.example}], contact: dns@example.com}}");
        world.put("{kind: GlobalHost, name: orders, spec: {host: orders.gslb.example, zone: gslb, environment: production}}");
        world.put(PLAN);
        world
    }

    /// At the first step to us.
    fn moving() -> Self {
        let mut world = Self::new();
        world.fail_over("us", None);
        assert_eq!(world.serving(), "eu=90 us=10");
        world
    }

    fn run(&mut self, body: CommandBody) -> Result<(), String> {
        let outcome = self.state.apply(&Command {
            actor: "shift".to_owned(),
            request_id: "r".to_owned(),
            time_ms: self.now_ms,
            idempotency_key: None,
            only_in_term: None,
            force_grants: false,
            origin: hanse_state::Origin::default(),
            body,
        });
        match outcome {
            Outcome::Accepted(_) => Ok(()),
            Outcome::Rejected(problem) => Err(problem.to_string()),
        }
    }

    fn put(&mut self, yaml: &str) {
        let manifests = manifest::parse_yaml(yaml, &name("shop")).unwrap();
        self.run(CommandBody::Apply(manifests.into_iter().map(Change::from).collect())).unwrap();
    }

    fn operator(&mut self, action: Shift) {
        let plan = name("orders");
        let (at, now) = (self.state.decided(&plan), Duration::from_millis(self.now_ms));
        let on = at.as_ref().map_or(Epoch::NONE, |decided| decided.epoch());
        let request = Request { action, on };
        let made = shift(&self.state.plan_to_decide(&plan).unwrap(), at.as_ref(), &request, now).unwrap();
        self.run(CommandBody::Apply(vec![self.state.to_decide(&plan, &made)])).unwrap();
    }

    fn fail_over(&mut self, to: &str, force: Option<&str>) {
        let to = judge(&self.standbys, &name("orders"), &name(to), Duration::from_millis(self.now_ms));
        let (reason, force) = ("eu is slow".to_owned(), force.map(str::to_owned));
        self.operator(Shift::Shift { to, steps: None, reason, force, drill: None });
    }

    fn gateways(&mut self, region: &str, ready_gateways: u32) {
        let one = self.standbys.iter_mut().find(|one| one.region == *region).unwrap();
        one.ready_gateways = heard(ready_gateways);
    }

    /// What the leader does after so long.
    fn after(&mut self, ms: u64) -> String {
        self.now_ms += ms;
        for body in self.leader.plan(&self.state, self, self.now_ms) {
            self.run(body).unwrap();
        }
        self.serving()
    }

    fn serving(&self) -> String {
        let decided = self.state.decided(&name("orders"));
        let Some(decided) = &decided else { return String::new() };
        let shares = decided.failover().serving.iter();
        shares.map(|share| format!("{}={}", share.region, share.percent)).collect::<Vec<_>>().join(" ")
    }

    /// The rule for which the next step waits.
    fn waits(&self) -> Option<&'static str> {
        let now = Duration::from_millis(self.now_ms);
        self.state.next_step(&name("orders"), &self.standbys, now)?.err().map(|why| why.rule)
    }
}

#[test]
fn a_shift_goes_on_step_by_step_to_its_end() {
    let mut world = World::new();
    assert_eq!(world.after(STEP_MS), "", "nothing is decided");
    world.fail_over("us", None);
    assert_eq!(world.after(STEP_MS - 1), "eu=90 us=10");
    assert_eq!(world.after(1), "eu=50 us=50");
    assert_eq!(world.after(0), "eu=50 us=50", "each step has its time");
    assert_eq!(world.after(STEP_MS), "us=100");
    let revision = world.state.revision();
    assert_eq!(world.after(10 * STEP_MS), "us=100");
    assert_eq!(world.state.revision(), revision, "it is over");
}

#[test]
fn another_leader_goes_on_and_a_late_step_changes_nothing() {
    let mut world = World::moving();
    world.now_ms += STEP_MS;
    let late = world.leader.plan(&world.state, &world, world.now_ms);
    assert_eq!(late.len(), 1);
    world.leader = TakeSteps::default();
    assert_eq!(world.after(0), "eu=50 us=50");
    let refused = world.run(late[0].clone()).unwrap_err();
    assert!(refused.contains("revision"), "{refused}");
    world.leader = TakeSteps::default();
    assert_eq!(world.after(STEP_MS), "us=100");
}

/// Whether a region whose gateways are gone gets more clients.
fn waits_for_readiness() -> Result<(), String> {
    let mut world = World::moving();
    world.gateways("us", 0);
    match world.after(STEP_MS).as_str() {
        "eu=90 us=10" => {}
        other => return Err(other.to_owned()),
    }
    assert_eq!(world.waits(), Some(rules::NOT_READY));
    assert_eq!(world.leader.logged.lock().len(), 1);
    world.gateways("us", 2);
    assert_eq!(world.after(1), "eu=50 us=50", "it is ready again");
    assert!(world.leader.logged.lock().is_empty());
    Ok(())
}

#[test]
fn a_region_that_is_not_ready_is_waited_for() {
    waits_for_readiness().unwrap();
    let noticed = bring_back("skip-readiness", waits_for_readiness);
    assert_eq!(noticed, Err("eu=50 us=50".to_owned()));
}

#[test]
fn a_force_covers_what_was_not_ready_and_nothing_else() {
    let mut world = World::new();
    world.gateways("us", 0);
    world.fail_over("us", Some("better than none"));
    assert_eq!(world.after(STEP_MS), "eu=50 us=50");
    world.standbys[1].quarantined = heard(vec!["plan/orders".to_owned()]);
    assert_eq!(world.after(STEP_MS), "eu=50 us=50");
    assert_eq!(world.waits(), Some(rules::NOT_READY));
    world.standbys[1].quarantined = heard(Vec::new());
    assert_eq!(world.after(1), "us=100");
}

#[test]
fn an_operator_who_takes_over_is_followed() {
    let mut world = World::moving();
    world.now_ms += STEP_MS;
    let late = world.leader.plan(&world.state, &world, world.now_ms);
    world.fail_over("ap", None);
    assert_eq!(world.serving(), "ap=10 eu=81 us=9");
    world.run(late[0].clone()).unwrap_err();
    assert_eq!(world.after(STEP_MS - 1), "ap=10 eu=81 us=9", "the time of the new decision counts");
    world.after(1);
    assert_eq!(world.after(STEP_MS), "ap=100");
}

#[test]
fn a_frozen_shift_stands_and_goes_on_after_the_freeze() {
    let mut world = World::moving();
    world.operator(Shift::Freeze { reason: "we look into it".to_owned() });
    assert_eq!(world.after(10 * STEP_MS), "eu=90 us=10");
    assert_eq!(world.waits(), Some(rules::FROZEN));
    world.operator(Shift::Unfreeze);
    assert_eq!(world.after(STEP_MS - 1), "eu=90 us=10");
    assert_eq!(world.after(1), "eu=50 us=50");
}

#[test]
fn an_edit_of_the_plan_does_not_change_a_shift_under_way() {
    let mut world = World::moving();
    world.put(&PLAN.replace("[10, 50, 100]", "[100]").replace("30s", "1h").replace("[us, ap]", "[us]"));
    assert_eq!(world.after(STEP_MS), "eu=50 us=50", "the steps and times are those of the decision");
    assert_eq!(world.after(STEP_MS), "us=100");
}

#[test]
fn a_deleted_plan_moves_no_more() {
    let mut world = World::moving();
    world.now_ms += STEP_MS;
    let late = world.leader.plan(&world.state, &world, world.now_ms);
    let delete = |kind| Change {
        key: ResourceKey::global(kind, name("orders")),
        action: Action::Delete { cascade: false },
        if_revision: None,
    };
    world.run(CommandBody::Apply([Kind::FailoverPlan, Kind::GlobalHost].map(delete).to_vec())).unwrap();
    assert_eq!(world.after(STEP_MS), "");
    world.run(late[0].clone()).unwrap_err();
}

#[test]
fn a_clock_that_jumps_takes_no_step_twice() {
    let mut world = World::moving();
    world.now_ms -= STEP_MS;
    assert_eq!(world.after(0), "eu=90 us=10", "a clock that is behind waits");
    assert_eq!(world.after(100 * STEP_MS), "eu=50 us=50", "a jump takes one step");
    assert_eq!(world.after(0), "eu=50 us=50");
    assert_eq!(world.after(STEP_MS), "us=100");
}
