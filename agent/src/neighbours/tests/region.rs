//! What each agent of a region knows of all gateways, without a control node.

use hanse_identity::{ClientTls, Credentials, digest_secret};
use hanse_link::{report_of, serving, watch_region};
use hanse_process::json_file;
use hanse_proto::{
    nested,
    sync::{Facts, Report, Traffic, TrafficRow},
};
use serde_json::json;

use super::*;
use crate::{RegionPage, gateways::Admitted};

/// How soon a gateway's coming and going is known everywhere, in each round. The spacing of reports and looks takes up to half of it.
const KNOWN_WITHIN: Duration = Duration::from_secs(1);
/// Comings and goings of a gateway that are measured.
const ROUNDS: usize = 7;

/// A gateway that the agent admitted; it does not run yet.
struct Gateway {
    identity: Identity,
    credentials: LiveCredentials,
    agent: String,
}

impl Gateway {
    fn of(agent: &Agent, text: &str) -> Self {
        let issuer = Authority::load(agent.config.authority_dir()).unwrap();
        let identity = Identity::gateway(name(text), name("eu-west"));
        let credentials: Credentials = issuer.issue_credentials(&identity, &[]).unwrap();
        let key = hex::encode(digest_secret(&credentials.key().public_key_der()));
        let admitted = Admitted { role: Role::Gateway, environments: Vec::new(), key, seen: 0 };
        json_file::write(&agent.config.gateways_dir(), text, &admitted).unwrap();
        let (credentials, agent) =
            (LiveCredentials::new(credentials), agent.config.listen.federation.clone());
        Self { identity, credentials, agent }
    }

    /// Follows its agent until the trigger.
    fn start(&self, world: &World) -> ShutdownTrigger {
        let expect = Expect { roles: vec![Role::Agent], region: None };
        let options = SubscriberOptions {
            identity: self.identity.clone(),
            publishers: watch::channel(vec![self.agent.clone()]).1,
            tls: client_tls(Some(&self.credentials), world.trust.clone(), expect).unwrap(),
            wanted: Wanted::All,
            service: Service::Sync,
        };
        let report = || {
            let serving =
                serving(&[RUNTIME.to_owned()], (&["https://g.example".to_owned()], &[], &[]), &Ok(()));
            let facts = Facts { serving: nested::to_bytes(&serving), ..Facts::default() };
            let row = TrafficRow { environment: "production".into(), host: "*".into(), requests: 50 };
            let traffic = nested::to_bytes(&Traffic { rows: vec![row] });
            Report { traffic: Some(traffic), ..report_of(&facts, Bytes::new()) }
        };
        let (task, _handle) =
            SubscriberTask::new(options, Replicas::new(), EffectiveSource::Immediate, Some(Arc::new(report)));
        let (trigger, shutdown) = ShutdownTrigger::new();
        tokio::spawn(task.run(shutdown));
        trigger
    }
}

impl World {
    /// Publishes the agents again: these are relays, and these are not.
    fn name_relays(&self, revision: u64, agents: &[(&Agent, bool)]) {
        let upsert = |(agent, relay): &(&Agent, bool)| {
            let Config { name, listen, .. } = &agent.config;
            let kind = Some(Kind::Neighbour(Neighbour {
                name: name.to_string(),
                key: agent.key.to_vec().into(),
                environments: Vec::new(),
                address: listen.federation.clone(),
                relay: *relay,
            }));
            let resource = Resource { kind, requires: Vec::new() };
            (format!("agent/{name}").into(), Bytes::from(resource.encode_to_vec()))
        };
        let agents = agents.iter().map(upsert).collect();
        let scope: ScopeId = AGENTS.parse().unwrap();
        self.replicas.update(&scope, |replica| replica.advance(at(revision), agents, Vec::new())).unwrap();
    }
}

impl Agent {
    /// What it shows of one agent of the region.
    async fn shows(&self, other: &str) -> Value {
        let agents = self.page_at("/region").await["agents"].take();
        let agents = agents.as_array().cloned().unwrap_or_default();
        agents.into_iter().find(|agent| agent["name"] == other).unwrap_or_default()
    }

    async fn region_until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + SOON;
        loop {
            let page = self.page_at("/region").await;
            if holds(&page) {
                return page;
            }
            assert!(Instant::now() < deadline, "{}: not {what}: {page}", self.config.name);
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// How long it takes until each agent shows the gateway of agent `a` so.
async fn until_all_show(agents: &[&Agent], gateway: &Value) -> Duration {
    let began = Instant::now();
    for agent in agents {
        while agent.shows("a").await["gateways"] != json!([gateway]) {
            assert!(began.elapsed() < SOON, "{}: {}", agent.config.name, agent.shows("a").await);
            sleep(Duration::from_millis(10)).await;
        }
    }
    began.elapsed()
}

#[tokio::test]
async fn a_gateway_that_comes_or_goes_is_known_at_all_agents_without_the_control_plane() {
    let world = World::new().await;
    let (mut a, mut b, mut c) = (world.agent("a"), world.agent("b"), world.agent("c"));
    let gateway = Gateway::of(&a, "g");
    world.publish(1, &[(&a, a.key), (&b, b.key), (&c, c.key)], &a);
    world.name_relays(2, &[(&a, false), (&b, true), (&c, true)]);
    for agent in [&mut a, &mut b, &mut c] {
        agent.start();
    }
    for (agent, relays) in [(&a, vec!["b", "c"]), (&b, vec!["c"]), (&c, vec!["b"])] {
        let all_live = |page: &Value| {
            let shown = page["agents"].as_array().cloned().unwrap_or_default();
            let live: Vec<_> = shown.iter().filter(|agent| agent["live"] == true).collect();
            live.len() == 3 && page["agents"][0]["name"] == agent.config.name.as_str()
        };
        let page = agent.region_until("hearing all agents", all_live).await;
        let names: Vec<_> = page["relays"].as_array().unwrap().iter().map(|relay| &relay["name"]).collect();
        assert_eq!(names, relays, "each relay but itself: {page}");
    }
    world.stop.trigger();

    let there = json!({
        "name": "g", "live": true, "ready": true, "scopes": [RUNTIME], "urls": ["https://g.example"],
    });
    let gone = json!({
        "name": "g", "live": false, "ready": false, "scopes": [RUNTIME], "urls": ["https://g.example"],
    });
    let (mut comings, mut goings) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let running = gateway.start(&world);
        comings.push(until_all_show(&[&a, &b, &c], &there).await);
        if round + 1 == ROUNDS {
            let sums = |page: &Value| {
                page["traffic"]
                    == json!([{"environment": "production", "host": "*", "requestsPerSecond": 5.0}])
            };
            a.region_until("told of the traffic", sums).await;
        }
        drop(running);
        goings.push(until_all_show(&[&a, &b, &c], &gone).await);
    }
    for times in [comings, goings] {
        assert!(times.iter().all(|time| *time <= KNOWN_WITHIN), "{times:?}");
    }
    for agent in [&mut a, &mut b, &mut c] {
        agent.stop().await;
    }
}

#[tokio::test]
async fn a_watcher_fires_when_a_gateway_comes_or_goes_and_sees_what_the_page_answers() {
    let world = World::new().await;
    let (mut a, mut b) = (world.agent("a"), world.agent("b"));
    let gateway_of = |agent: &Agent| Gateway::of(agent, &format!("g-{}", agent.config.name));
    let gateways = [gateway_of(&a), gateway_of(&b)];
    world.publish(1, &[(&a, a.key), (&b, b.key)], &a);
    world.name_relays(2, &[(&a, false), (&b, true)]);
    let mut watcher = a.start_observed().await;
    b.start();
    a.region_until("told by the relay", |page| page["relays"][0]["ageSeconds"].is_u64()).await;
    // One is heard by the agent itself, and the other by the relay.
    for gateway in gateways {
        let mut running = None;
        for live in [true, false] {
            match live {
                true => running = Some(gateway.start(&world)),
                false => drop(running.take()),
            }
            let is_shown = |page: &RegionPage| {
                let mut all = page.agents.iter().flat_map(|agent| &agent.gateways);
                all.any(|shown| shown.name == gateway.identity.name.as_str() && shown.live == live)
            };
            let shown = async {
                loop {
                    if is_shown(&watcher.page()) {
                        return;
                    }
                    watcher.changed().await;
                }
            };
            timeout(SOON, shown).await.expect("it fires");
            // What the agent hears between the two looks makes them differ for once.
            let deadline = Instant::now() + SOON;
            loop {
                let answered: RegionPage = serde_json::from_value(a.page_at("/region").await).unwrap();
                let seen = watcher.page();
                if answered.agents == seen.agents {
                    break;
                }
                assert!(Instant::now() < deadline, "{:?} and {:?}", answered.agents, seen.agents);
            }
        }
    }
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_relay_that_dies_takes_no_other_agent_from_the_view_and_one_that_comes_back_neither() {
    let world = World::new().await;
    let (mut a, mut b, mut c) = (world.agent("a"), world.agent("b"), world.agent("c"));
    let gateway = Gateway::of(&c, "g");
    world.publish(1, &[(&a, a.key), (&b, b.key), (&c, c.key)], &a);
    world.name_relays(2, &[(&a, false), (&b, true), (&c, false)]);
    for agent in [&mut a, &mut b, &mut c] {
        agent.start();
    }
    let _running = gateway.start(&world);
    let has_gateway = |page: &Value| {
        let agents = page["agents"].as_array().cloned().unwrap_or_default();
        agents.iter().any(|agent| agent["name"] == "c" && agent["gateways"][0]["live"] == true)
    };
    a.region_until("told of the gateway", has_gateway).await;
    world.stop.trigger();
    // The only relay restarts. It hears the other agents again within some seconds, and says before that it hears none.
    b.stop().await;
    let fails = |page: &Value| page["relays"][0]["lastFailure"].is_string();
    assert!(has_gateway(&a.region_until("without the relay", fails).await));
    b.start();
    let back = |page: &Value| page["relays"][0]["lastFailure"].is_null();
    assert!(has_gateway(&a.region_until("told again", back).await));
    // An agent that asked no relay before sees when the relay knows all.
    let heard = |page: &Value| has_gateway(page) && page["agents"].as_array().unwrap().len() == 3;
    b.region_until("hearing all agents again", heard).await;
    assert!(has_gateway(&a.page_at("/region").await), "there was no gap");
    for agent in [&mut a, &mut b, &mut c] {
        agent.stop().await;
    }
}

#[tokio::test]
async fn a_relay_that_is_replaced_while_it_runs_takes_no_agent_from_the_view() {
    let world = World::new().await;
    let (mut a, mut b, mut c) = (world.agent("a"), world.agent("b"), world.agent("c"));
    world.publish(1, &[(&a, a.key), (&b, b.key), (&c, c.key)], &a);
    world.name_relays(2, &[(&a, false), (&b, true), (&c, false)]);
    for agent in [&mut a, &mut b, &mut c] {
        agent.start();
    }
    let live = |page: &Value| {
        let agents = page["agents"].as_array().cloned().unwrap_or_default();
        agents.iter().filter(|agent| agent["live"] == true).count()
    };
    for agent in [&a, &b, &c] {
        agent.region_until("knowing all agents", |page| live(page) == 3).await;
    }
    world.name_relays(3, &[(&a, true), (&b, false), (&c, false)]);
    // The relay before has heard all by itself. So it alone waits until the new one hears them; with three relays it asks the others.
    let asks = |relays: &'static [&str]| {
        move |page: &Value| {
            let asked = page["relays"].as_array().cloned().unwrap_or_default();
            let heard: Vec<_> = asked
                .iter()
                .filter(|relay| relay["ageSeconds"].is_u64())
                .map(|relay| relay["name"].as_str().unwrap_or_default())
                .collect();
            if page["agent"] != "b" {
                assert_eq!(live(page), 3, "there was no gap: {page}");
            }
            asked.len() == relays.len() && heard == relays
        }
    };
    a.region_until("asking none", asks(&[])).await;
    b.region_until("told by the new relay", asks(&["a"])).await;
    c.region_until("told by the new relay", asks(&["a"])).await;
    // By the word of the new relay alone, once that of the one before counts no more.
    sleep(hanse_topology::LEASE).await;
    for agent in [&mut a, &mut b, &mut c] {
        agent.region_until("knowing all agents", |page| live(page) == 3).await;
        agent.stop().await;
    }
}

/// Watches a relay, and returns once a part came.
async fn watching(relay: &Agent, tls: &ClientTls) -> JoinHandle<String> {
    let deadline = Instant::now() + SOON;
    loop {
        let (told, mut parts) = watch::channel(());
        let (address, tls) = (relay.config.listen.federation.clone(), tls.clone());
        let hear = move |_| {
            told.send_replace(());
            Ok(())
        };
        let task = tokio::spawn(async move { watch_region(&address, &tls, hear).await });
        if parts.changed().await.is_ok() {
            return task;
        }
        assert!(Instant::now() < deadline, "{}", task.await.unwrap());
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn of_one_agent_the_newest_watch_counts() {
    let world = World::new().await;
    let (mut a, b) = (world.agent("a"), world.agent("b"));
    world.publish(1, &[(&a, a.key), (&b, b.key)], &a);
    a.start();
    let issuer = Authority::load(b.config.authority_dir()).unwrap();
    let own = issuer.issue_credentials(&Identity::agent(name("b"), name("eu-west")), &[]).unwrap();
    let expect = Expect { roles: vec![Role::Agent], region: None };
    let tls = client_tls(Some(&LiveCredentials::new(own)), world.trust.clone(), expect).unwrap();
    let first = watching(&a, &tls).await;
    let second = watching(&a, &tls).await;
    timeout(SOON, first).await.expect("the first goes on").unwrap();
    assert!(!second.is_finished());
    second.abort();
    a.stop().await;
}

#[tokio::test]
async fn a_relay_tells_an_agent_nothing_more_once_it_is_no_member() {
    let world = World::new().await;
    let (mut a, mut b) = (world.agent("a"), world.agent("b"));
    world.publish(1, &[(&a, a.key), (&b, b.key)], &b);
    world.name_relays(2, &[(&a, false), (&b, true)]);
    a.start();
    b.start();
    a.region_until("told by the relay", |page| page["relays"][0]["ageSeconds"].is_u64()).await;
    world.publish(3, &[(&b, b.key)], &b);
    let refused = |page: &Value| {
        page["relays"][0]["lastFailure"]
            .as_str()
            .is_some_and(|why| why.contains("does not know that a.agent.eu-west"))
    };
    a.region_until("refused by the relay", refused).await;
    a.stop().await;
    b.stop().await;
}
