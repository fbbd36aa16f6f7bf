use std::time::Duration;

use hanse_proto::sync::{Traffic, TrafficRow};

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A view of agents, each `NAME: GATEWAY …`. A `-` after a name: it is gone.
fn view(agents: &[&str]) -> RegionView {
    let live = |text: &str| (text.trim_end_matches('-').to_owned(), !text.ends_with('-'));
    let agent = |text: &&str| {
        let (own, gateways) = text.split_once(':').unwrap();
        let (own, is_live) = live(own);
        let gateway = |text: &str| {
            let (name, live) = live(text);
            GatewayLive { name, live, serving: bytes::Bytes::new() }
        };
        let gateways = gateways.split_whitespace().map(gateway).collect();
        (name(&own), Arc::new(AgentLive { name: own, live: is_live, gateways, left_out: 0 }))
    };
    let requests = agents.len() as u64;
    let row = TrafficRow { environment: "production".into(), host: "*".into(), requests };
    RegionView { agents: agents.iter().map(agent).collect(), traffic: Traffic { rows: vec![row] } }
}

/// A view as [`view`] reads it.
fn text(view: &RegionView) -> Vec<String> {
    let mark = |live: bool| if live { "" } else { "-" };
    let gateway = |gateway: &GatewayLive| format!(" {}{}", gateway.name, mark(gateway.live));
    let agent = |agent: &Arc<AgentLive>| {
        let gateways: String = agent.gateways.iter().map(gateway).collect();
        format!("{}{}:{gateways}", agent.name, mark(agent.live))
    };
    view.agents.values().map(agent).collect()
}

/// A world in which agent `a` asks.
struct World {
    views: Views,
    own: RegionView,
    start: Instant,
}

impl World {
    fn new(relays: &[&str]) -> Self {
        let mut views = Views::default();
        views.ask(relays.iter().map(|relay| name(relay)), Instant::now());
        Self { views, own: view(&["a: own"]), start: Instant::now() }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    fn says(&mut self, at: u64, relay: &str, agents: &[&str]) {
        let at = self.at(at);
        self.views.heard(&name(relay), Some(&view(agents)), at);
    }

    fn proves(&mut self, at: u64, relay: &str) {
        let at = self.at(at);
        self.views.heard(&name(relay), None, at);
    }

    fn known(&self, at: u64) -> Vec<String> {
        text(&self.views.merged((&name("a"), &self.own), self.at(at)))
    }

    fn requests(&self, at: u64) -> u64 {
        self.views.merged((&name("a"), &self.own), self.at(at)).traffic.rows[0].requests
    }
}

#[test]
fn a_relay_that_hears_few_takes_nothing_from_what_the_others_hear() {
    let mut world = World::new(&["r", "s"]);
    world.views.begun(&name("r"));
    world.views.begun(&name("s"));
    assert_eq!(world.known(0), ["a: own"]);
    world.says(1, "r", &["a: own", "b: g h", "r:", "s:"]);
    assert_eq!(world.known(1), ["a: own", "b: g h", "r:", "s:"]);
    // The agents have left it: it is no relay any more and does not know, or it has just become one.
    world.says(1, "s", &["a-: own-", "b-: g- h- i-", "s: mine"]);
    assert_eq!(world.known(1), ["a: own", "b: g h", "r:", "s: mine"]);
    assert_eq!(world.requests(1), 4, "of the relay that hears most agents");
}

#[test]
fn what_a_relay_said_before_its_restart_counts_for_15_s() {
    let mut world = World::new(&["r"]);
    world.views.begun(&name("r"));
    world.says(1, "r", &["b: g", "c: h", "r: k"]);
    world.views.begun(&name("r"));
    assert_eq!(world.known(2), ["a: own", "b: g", "c: h", "r: k"]);
    world.says(2, "r", &["r: k"]);
    world.views.failed(&name("r"), "it stops".into());
    world.views.begun(&name("r"));
    world.says(3, "r", &["c: h", "r: k"]);
    assert_eq!(world.known(15), ["a: own", "c: h", "r: k"], "the stream before the last counts");
    let mut world = World::new(&["r"]);
    world.says(1, "r", &["b: g", "c: h", "r: k"]);
    world.views.begun(&name("r"));
    world.views.begun(&name("r"));
    world.says(3, "r", &["c: h", "r: k"]);
    assert_eq!(world.known(15), ["a: own", "b: g", "c: h", "r: k"], "streams without a view take no place");
    assert_eq!(world.known(16), ["a: own", "b-: g-", "c: h", "r: k"]);
}

#[test]
fn a_view_that_is_15_s_old_proves_nothing_and_after_an_hour_it_is_forgotten() {
    let mut world = World::new(&["r"]);
    world.says(1, "r", &["b: g", "r:"]);
    world.proves(10, "r");
    assert_eq!((world.known(24), world.requests(24)), (vec!["a: own".into(), "b: g".into(), "r:".into()], 2));
    assert_eq!(world.known(25), ["a: own", "b-: g-", "r-:"]);
    assert_eq!(world.requests(25), 1, "its own: nothing else is known");
    let now = world.at(25);
    world.views.ask(std::iter::empty(), now);
    assert_eq!((world.known(26).len(), world.views.asked().count()), (3, 0));
    assert_eq!(world.known(3_610), ["a: own"]);
    let now = world.at(3_610);
    world.views.ask(std::iter::empty(), now);
    assert!(world.views.0.is_empty());
}

#[test]
fn a_gateway_that_moved_is_not_gone_at_the_agent_before() {
    let mut world = World::new(&["r"]);
    world.says(1, "r", &["b: g- k-", "c: g", "d-: own-"]);
    assert_eq!(world.known(1), ["a: own", "b: k-", "c: g", "d-:"]);
}

#[test]
fn an_agent_knows_itself_best_and_relays_differ_in_a_gateway() {
    let mut world = World::new(&["r", "s"]);
    world.says(1, "r", &["a: own- old", "b: g h-"]);
    world.says(1, "s", &["a-:", "b: h i"]);
    assert_eq!(world.known(1), ["a: own", "b: g h i"]);
}

#[test]
fn a_failure_is_shown_until_a_whole_view_comes() {
    let mut world = World::new(&["r"]);
    let relay = name("r");
    world.views.failed(&relay, "it stops".into());
    world.proves(1, "r");
    assert!(world.views.0[&relay].last_failure.is_some() && world.views.0[&relay].at().is_none());
    world.says(2, "r", &[]);
    assert!(world.views.0[&relay].last_failure.is_none());
}
