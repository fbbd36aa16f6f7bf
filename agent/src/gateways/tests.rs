use std::{fs, time::SystemTime};

use hanse_identity::Authority;
use hanse_process::{ClockHand, WallClock};
use hanse_proto::{
    nested,
    sync::{Heard, TrustStatus},
};
use hanse_topology::LEASE;

use super::*;
use crate::testbed;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// An agent's directory, whom it refuses, and its clock.
struct World {
    config: Arc<Config>,
    trust: LiveTrust,
    hand: ClockHand,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Arc::new(testbed::config(dir.path()));
        let (clock, hand) = WallClock::simulated(SystemTime::now());
        let root = Authority::new_root_by(clock.clone()).unwrap();
        let trust = LiveTrust::new(root.trust_anchor().unwrap(), clock);
        Self { config, trust, hand, _dir: dir }
    }

    fn now(&self) -> u64 {
        self.trust.clock().unix_seconds()
    }

    /// What an agent that starts now knows.
    fn open(&self) -> Arc<Gateways> {
        Arc::new(Gateways::open(self.config.clone(), self.now()).unwrap())
    }

    fn admitted(&self) -> Admitted {
        Admitted { role: Role::Gateway, environments: Vec::new(), key: "aa".into(), seen: self.now() }
    }

    /// What the agent says of itself, and of those it heard so long ago.
    fn report(&self, gateways: &Gateways, heard: &[(&str, Duration)]) -> (Facts, Vec<Heard>) {
        let now = Instant::now() + LEASE;
        let record = |(gateway, ago): &(&str, Duration)| SubscriberRecord {
            identity: Identity::gateway(name(gateway), name("eu-west")),
            boot: None,
            connected: true,
            last_heard: now - *ago,
            scopes: BTreeMap::new(),
            report: None,
        };
        let records: Vec<_> = heard.iter().map(record).collect();
        let own = Facts { trust: Some(TrustStatus::default()), ..Default::default() };
        let report = gateways.report(&records, now, &self.trust, own.clone());
        let facts: Facts = nested::read("facts", &report.facts).unwrap();
        let below = nested::of_row("below", &report.below).map(|entry| nested::read("heard", entry.unwrap()));
        assert_eq!(facts.trust, own.trust);
        (facts, below.collect::<Result<_, _>>().unwrap())
    }

    /// Whom it misses while these are heard.
    fn unheard(&self, gateways: &Gateways, heard: &[&str]) -> Vec<String> {
        let heard: Vec<_> = heard.iter().map(|gateway| (*gateway, Duration::ZERO)).collect();
        let (facts, below) = self.report(gateways, &heard);
        assert_eq!((below.len(), facts.unheard_total), (heard.len(), facts.unheard.len() as u64));
        facts.unheard
    }
}

#[test]
fn a_gateway_may_learn_the_environments_of_its_token() {
    let scope = |environment: &str| ScopeId::runtime(name("eu-west"), name(environment));
    let may = |environments| Admitted { role: Role::Gateway, environments, key: String::new(), seen: 0 };
    let (all, one) = (may(Vec::new()), may(vec![name("production")]));
    assert!(all.may_learn(&scope("production")) && all.may_learn(&scope("sandbox")));
    assert!(one.may_learn(&scope("production")) && !one.may_learn(&scope("sandbox")));
    assert!(!one.may_learn(&ScopeId::Keys { region: name("eu-west") }), "keys are not a gateway's");
}

#[test]
fn a_node_is_known_as_what_it_joined_as() {
    let world = World::new();
    let gateways = world.open();
    // Any other role does: there is no second one that agents admit.
    let admitted = Admitted { role: Role::Agent, ..world.admitted() };
    gateways.admit(&name("n1"), admitted.clone()).unwrap();
    for gateways in [gateways, world.open()] {
        let known = |role| gateways.admitted(&gateways.identity(&name("n1"), role));
        assert_eq!((known(Role::Agent), known(Role::Gateway)), (Some(admitted.clone()), None));
        let foreign = Identity::agent(name("n1"), name("us-east"));
        assert_eq!(gateways.admitted(&foreign), None);
        assert_eq!(gateways.taken_by(&name("n1"), "bb").unwrap(), Some(Role::Agent));
        assert_eq!(gateways.taken_by(&name("n1"), "aa").unwrap(), None);
        assert!(world.unheard(&gateways, &[]).is_empty(), "gateways only");
    }
}

#[test]
fn who_was_admitted_and_is_not_heard_is_missed_after_a_restart_too() {
    let world = World::new();
    let gateways = world.open();
    assert!(world.unheard(&gateways, &[]).is_empty());
    for gateway in ["g1", "g2"] {
        gateways.admit(&name(gateway), world.admitted()).unwrap();
    }
    assert!(world.unheard(&gateways, &["g1", "g2", "a-stranger"]).is_empty());
    assert_eq!(world.unheard(&gateways, &["g1"]), ["g2"]);
    assert_eq!(world.unheard(&world.open(), &[]), ["g1", "g2"]);

    // It is spoken of still, and will be until another one comes; no other node remembers it for so long.
    let report = |heard: Duration| world.report(&gateways, &[("g1", heard)]).0.unheard;
    assert_eq!(report(LEASE - Duration::from_millis(1)), ["g2"]);
    assert_eq!(report(LEASE), ["g1", "g2"]);

    let g2 = Identity::gateway(name("g2"), name("eu-west"));
    world.trust.refuse(BTreeSet::from([g2]).into());
    assert_eq!(world.unheard(&gateways, &[]), ["g1"], "nobody waits for who is revoked");
}

#[tokio::test]
async fn who_was_not_seen_for_a_week_is_missed_no_more() {
    let world = World::new();
    let gateways = world.open();
    for gateway in ["g1", "g2"] {
        gateways.admit(&name(gateway), world.admitted()).unwrap();
    }
    world.hand.advance(MISSED_FOR / 2);
    gateways.renewed(&name("g2"), world.now());
    gateways.write_down(&name("g2")); // as it is about to
    world.hand.advance(MISSED_FOR / 2);
    for gateways in [gateways, world.open()] {
        assert_eq!(world.unheard(&gateways, &[]), ["g2"]);
    }
}

#[test]
fn an_entry_of_an_earlier_version_says_nothing_and_a_damaged_one_counts() {
    let world = World::new();
    let dir = world.config.gateways_dir();
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("old.json"), r#"{"environments": [], "key": "aa"}"#).unwrap();
    fs::write(dir.join("torn.json"), "{").unwrap();
    fs::write(dir.join("torn.json.damaged"), "{").unwrap();
    assert_eq!(world.unheard(&world.open(), &[]), ["torn"]);
    let old = Identity::gateway(name("old"), name("eu-west"));
    assert_eq!(world.open().admitted(&old).unwrap().seen, 0);
}

#[test]
fn a_report_names_the_first_and_counts_all() {
    let world = World::new();
    let gateways = world.open();
    for number in 0..=NAMED_UNHEARD {
        gateways.known.lock().insert(name(&format!("g{number}")), Known::Admitted(world.admitted()));
    }
    let (facts, _) = world.report(&gateways, &[]);
    assert_eq!((facts.unheard.len(), facts.unheard_total), (NAMED_UNHEARD, NAMED_UNHEARD as u64 + 1));
}

#[test]
fn what_is_changed_by_hand_is_noticed_and_what_this_agent_writes_is_not_undone() {
    let world = World::new();
    let gateways = world.open();
    let mut changed = gateways.changed();
    let dir = world.config.gateways_dir();
    for gateway in ["g1", "g2"] {
        gateways.admit(&name(gateway), world.admitted()).unwrap();
    }
    changed.mark_unchanged();
    gateways.look(world.now());
    assert!(!changed.has_changed().unwrap(), "there is nothing new");

    // One is removed, one is copied from another agent, and one cannot be read any more.
    fs::remove_file(dir.join("g1.json")).unwrap();
    fs::write(dir.join("g3.json"), r#"{"environments": ["production"], "key": "bb"}"#).unwrap();
    fs::write(dir.join("g2.json"), "{").unwrap();
    gateways.look(world.now());
    assert!(changed.has_changed().unwrap());
    let of = |gateway: &str| gateways.admitted(&Identity::gateway(name(gateway), name("eu-west")));
    assert_eq!((of("g1"), of("g3").unwrap().key.as_str()), (None, "bb"));
    assert!(of("g2").is_some(), "what was read before is good");

    // A renewal that is noted late makes no entry anew, nor another key's.
    gateways.known.lock().insert(name("g1"), Known::Admitted(world.admitted()));
    gateways.write_down(&name("g1"));
    assert!(!dir.join("g1.json").exists());
    fs::write(dir.join("g3.json"), r#"{"environments": [], "key": "cc"}"#).unwrap();
    gateways.write_down(&name("g3"));
    gateways.look(world.now());
    assert_eq!(of("g3").unwrap().key, "cc");

    // What an operator narrows stays narrow, though the gateway is seen before that is noticed.
    fs::write(dir.join("g3.json"), r#"{"environments": ["sandbox"], "key": "cc", "seen": 1}"#).unwrap();
    if let Some(Known::Admitted(held)) = gateways.known.lock().get_mut(&name("g3")) {
        held.seen = world.now();
    }
    gateways.write_down(&name("g3"));
    gateways.look(world.now());
    let narrowed = of("g3").unwrap();
    assert_eq!((narrowed.environments, narrowed.seen), (vec![name("sandbox")], world.now()));

    // A directory that is not there is no order to forget every gateway.
    fs::rename(&dir, dir.with_extension("away")).unwrap();
    gateways.look(world.now());
    assert!(of("g3").is_some());
    // Nor is one that a newcomer's entry made anew.
    gateways.admit(&name("g4"), world.admitted()).unwrap();
    gateways.look(world.now());
    assert!(of("g3").is_some() && of("g4").is_some());
}

#[test]
fn keys_are_reported_of_those_that_are_heard_and_of_those_that_are_revoked() {
    let world = World::new();
    let gateways = world.open();
    let key = |byte: u8| hex::encode([byte; 32]);
    for (gateway, byte) in [("g1", 1), ("g2", 2), ("g3", 3)] {
        gateways.admit(&name(gateway), Admitted { key: key(byte), ..world.admitted() }).unwrap();
    }
    gateways.admit(&name("by-hand"), Admitted { key: "no key".into(), ..world.admitted() }).unwrap();
    let reported = || {
        let heard = ["g1", "by-hand", "a-stranger"].map(|gateway| (gateway, Duration::ZERO));
        let (facts, below) = world.report(&gateways, &heard);
        let keys: Vec<Vec<u8>> = below.iter().map(|heard| heard.key.to_vec()).collect();
        assert_eq!(keys, [vec![1; 32], vec![], vec![]]);
        let revoked = facts.revoked_gateways.into_iter().map(|gateway| (gateway.name, gateway.key[0]));
        revoked.collect::<Vec<_>>()
    };
    assert!(reported().is_empty());
    let identity = |gateway: &str, region: &str| Identity::gateway(name(gateway), name(region));
    let identities = BTreeSet::from([
        identity("g2", "eu-west"),
        identity("g3", "eu-west"),
        identity("g1", "us-east"),
        identity("by-hand", "eu-west"),
        identity("elsewhere", "eu-west"),
    ]);
    let refused = hanse_identity::Refused { identities, ..Default::default() };
    world.trust.refuse(refused.clone());
    assert_eq!(reported(), [("g2".to_owned(), 2), ("g3".to_owned(), 3)]);
    let gateway_keys = [[2; 32]].into();
    world.trust.refuse(hanse_identity::Refused { gateway_keys, ..refused });
    assert_eq!(reported(), [("g3".to_owned(), 3)], "the control plane knows the other");
}

#[test]
fn a_key_has_one_name() {
    let world = World::new();
    let gateways = world.open();
    gateways.admit(&name("g1"), world.admitted()).unwrap();
    assert_eq!(gateways.other_with("aa", &name("g2")), Some(name("g1")));
    assert_eq!(gateways.other_with("aa", &name("g1")), None);
    assert_eq!(gateways.other_with("bb", &name("g2")), None);
}

#[test]
fn an_agent_says_the_address_that_others_can_dial() {
    let mut world = World::new();
    let said = |world: &World| world.report(&world.open(), &[]).0.address;
    assert_eq!(said(&world), "", "the system chooses its port");
    let config = |listen: &str, advertise: Option<&str>| {
        let listen = crate::Addresses {
            federation: listen.into(),
            enrolment: "a.example:1".into(),
            admin: "127.0.0.1:2".into(),
        };
        let advertise = advertise.map(|federation| crate::Advertised { federation: federation.into() });
        Config { listen, advertise, ..Config::clone(&world.config) }
    };
    let here = Config { servers: vec!["127.0.0.1:7444".into()], ..config("127.0.0.1:7445", None) };
    let [public, any, advertised, loopback] = [
        config("10.0.0.7:7444", None),
        config("0.0.0.0:7444", None),
        config("0.0.0.0:7444", Some("agent-1.example:7444")),
        config("127.0.0.1:7445", None),
    ];
    for (config, wanted) in [
        (public, "10.0.0.7:7444"),
        (any, ""),
        (advertised, "agent-1.example:7444"),
        (loopback, ""),
        (here, "127.0.0.1:7445"),
    ] {
        world.config = Arc::new(config);
        assert_eq!(said(&world), wanted);
    }
}
