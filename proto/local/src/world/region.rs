//! The region: its nodes, the streams between them, and the clock.

use std::sync::OnceLock;

use hanse_identity::TrustAnchor;

use super::{
    check::check_node,
    control::Control,
    event::Event,
    forging::{Forgery, Hands, forge},
    node::*,
    random::Random,
    sources::{self, SOURCES, Source},
    stream::{Pair, Stream},
    truth::{Content, Truth},
    *,
};

/// The generations of one counter in some runs: those of two holders are equal now and then.
pub(super) const FEW: u64 = 4;
/// The generations of one counter otherwise, as processes draw them.
pub(super) const MANY: u64 = 1 << 32;
/// How often a holder gets another key: each is a key of the pool.
const MAX_KEYS: usize = 6;

/// Keys and their certificates, for all runs: they cost more than anything else here.
struct Pool {
    anchor: TrustAnchor,
    authorities: Vec<Authority>,
}

fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| {
        let root = Authority::new_root().unwrap();
        let control = root.new_control_intermediate(&name("cp-1")).unwrap();
        let authority = |_| control.new_regional_intermediate(&name("eu-west")).unwrap();
        let authorities = (0..NODES + MAX_KEYS).map(authority).collect();
        Pool { anchor: root.trust_anchor().unwrap(), authorities }
    })
}

pub(super) struct Region {
    pub(super) random: Random,
    pub(super) now: Instant,
    pub(super) control: Control,
    pub(super) nodes: Vec<Node>,
    pub(super) truth: Truth,
    pub(super) seen: Seen,
    start: Instant,
    pub(super) streams: BTreeMap<Pair, Stream>,
    /// Both ways.
    pub(super) cut: BTreeSet<Pair>,
    pub(super) retry: BTreeMap<Pair, Instant>,
    pub(super) sources: [Source; SOURCES],
    /// What the sources of each Origin look at.
    pub(super) desired: [Content; ORIGINS],
    pub(super) terms: u64,
    pub(super) changes: u64,
    keys: usize,
    /// How many generations of one counter there are.
    pub(super) generations: u64,
    /// What happened, and when.
    pub(super) steps: Vec<(Duration, Event)>,
}

impl Region {
    pub(super) fn new(seed: u64) -> Result<Self, String> {
        let mut random = Random::new(seed);
        let start = Instant::now();
        // One agent is a holder of both Origins, and in every third run the other holder of an Origin is a relay.
        let others = [random.one_of(&[0, 4, 4]), random.one_of(&[1, 5, 5])];
        let agents = others.map(|other| [3, other]).concat();
        let source = |source| Source::new(source / 2, agents[source]);
        let generations = random.one_of(&[FEW, MANY]);
        let node = |index: usize| Node::new(index, pool().authorities[index].clone());
        let (truth, seen, streams, cut, retry, desired, steps) = Default::default();
        let mut region = Self {
            random,
            now: start,
            control: Control::new(),
            nodes: (0..NODES).map(node).collect(),
            truth,
            seen,
            start,
            streams,
            cut,
            retry,
            sources: std::array::from_fn(source),
            desired,
            terms: 0,
            changes: 0,
            keys: 0,
            generations,
            steps,
        };
        for origin in 0..ORIGINS {
            region.change(origin, None, false);
            region.control.set_origin(origin, true);
        }
        (0..SOURCES).for_each(|source| region.look(source));
        region.commit();
        (0..NODES).try_for_each(|node| region.start(node))?;
        region.rounds(20, Duration::from_millis(100))?;
        for origin in 0..ORIGINS {
            region.happens(Event::Elect { source: 2 * origin, alone: true })?;
        }
        Ok(region)
    }

    pub(super) fn happens(&mut self, event: Event) -> Result<(), String> {
        self.steps.push((self.now - self.start, event));
        match event {
            Event::Change { origin, key, goes } => {
                self.change(origin, Some(key), goes);
                for source in [2 * origin, 2 * origin + 1] {
                    if self.random.percent(70) {
                        self.look(source);
                    }
                }
            }
            Event::Look { source } => self.look(source),
            Event::Elect { source, alone } => {
                self.elect(source);
                if alone {
                    self.resign(sources::other(source));
                }
            }
            Event::Resign { source } => self.resign(source),
            Event::Kill { node } => self.kill(node),
            Event::Start { node } => self.start(node)?,
            Event::Cut { one, other } => self.cut(one, other),
            Event::Isolate { node } => (0..=CONTROL).for_each(|other| self.cut(node, other)),
            Event::Heal { one, other } => {
                self.cut.remove(&(one, other));
                self.cut.remove(&(other, one));
            }
            Event::HealAll => self.cut.clear(),
            Event::Delay { subscriber, publisher, ms } => {
                if let Some(stream) = self.streams.get_mut(&(subscriber, publisher)) {
                    stream.held_until = self.now + Duration::from_millis(ms);
                    stream.was_held = true;
                }
            }
            Event::Forge { agent, origin, forgery } => self.forge(agent, origin, forgery),
            Event::Lie { node } => self.lie(node),
            Event::Honest => self.honest(),
            Event::Origin { origin, is_there } => {
                self.control.set_origin(origin, is_there);
                self.commit();
            }
            Event::Name { source, is_named } => {
                if is_named || self.sources[sources::other(source)].is_named {
                    self.seen.unnamed += u32::from(!is_named);
                    self.seen.named_again += u32::from(is_named);
                    self.sources[source].is_named = is_named;
                    self.commit();
                }
            }
            Event::ReplaceKey { source } => self.replace_key(source)?,
            Event::Replace { relay, agent } => {
                let relays = &mut self.control.relays;
                if !relays.contains(&agent) {
                    *relays.iter_mut().find(|one| **one == relay).expect("it is drawn among them") = agent;
                    self.commit();
                }
            }
            Event::Commit => self.commit(),
            Event::Wait { ms } => {
                let step = if ms > 10_000 { 500 } else { 250 };
                return self.rounds(ms / step, Duration::from_millis(step));
            }
        }
        let (rounds, ms) = (1 + self.random.below(4), self.random.one_of(&[10, 60, 200]));
        self.rounds(rounds, Duration::from_millis(ms))
    }

    pub(super) fn one_that_is_down(&self, random: &mut Random) -> Option<usize> {
        let down: Vec<usize> = (0..NODES).filter(|node| self.nodes[*node].process.is_none()).collect();
        (!down.is_empty()).then(|| random.one_of(&down))
    }

    pub(super) fn start(&mut self, node: usize) -> Result<(), String> {
        if self.nodes[node].process.is_some() {
            return Ok(());
        }
        self.nodes[node].start((&pool().anchor).into(), &self.truth)?;
        // A source in a process that starts is another one.
        for source in 0..SOURCES {
            if self.sources[source].agent == node && self.sources[source].term.is_some() {
                self.elect(source);
            }
        }
        Ok(())
    }

    pub(super) fn kill(&mut self, node: usize) {
        self.nodes[node].process = None;
        self.nodes[node].forged = Default::default();
        self.streams.retain(|(subscriber, publisher), _| *subscriber != node && *publisher != node);
    }

    pub(super) fn cut(&mut self, one: usize, other: usize) {
        for pair in [(one, other), (other, one)] {
            self.cut.insert(pair);
            self.streams.remove(&pair);
        }
    }

    /// An agent sends something else of a local scope than it holds, if it has what it needs for that.
    pub(super) fn forge(&mut self, agent: usize, origin: usize, forgery: Forgery) {
        if self.may_sign(origin, agent) {
            return;
        }
        let [held, other] = [origin, 1 - origin].map(|origin| self.nodes[agent].held(origin));
        let heads = &self.truth.heads[origin];
        let (Some(held), false) = (held, heads.is_empty()) else { return };
        let old = &heads[self.random.below(heads.len() as u64) as usize];
        let key = self.nodes[agent].authority.key();
        let forged = forge(forgery, origin, Hands { held: &held, key, old, other: other.as_ref() });
        self.seen.forged += u32::from(forged.is_some());
        // What a holder signed is sent though the subscriber holds more: a session would say that it is behind.
        if let (Some(caught), Forgery::Replay | Forgery::OtherOrigin) = (&forged, forgery) {
            let streams = self.streams.iter_mut().filter(|((_, publisher), _)| *publisher == agent);
            streams.for_each(|(_, stream)| stream.replay(local(origin), caught, self.now));
        }
        self.nodes[agent].forged[origin] = forged;
        self.wake(agent);
    }

    pub(super) fn lie(&mut self, node: usize) {
        self.nodes[node].lies = true;
        // It says it when it connects.
        self.streams.retain(|(subscriber, _), _| *subscriber != node);
    }

    pub(super) fn honest(&mut self) {
        for node in 0..NODES {
            if std::mem::take(&mut self.nodes[node].lies) {
                self.streams.retain(|(subscriber, _), _| *subscriber != node);
            }
            if std::mem::take(&mut self.nodes[node].forged).iter().any(Option::is_some) {
                self.wake(node);
            }
        }
    }

    fn wake(&mut self, publisher: usize) {
        let streams = self.streams.iter_mut().filter(|((_, one), _)| *one == publisher);
        streams.for_each(|(_, stream)| stream.wake());
    }

    pub(super) fn commit(&mut self) {
        let keys: Vec<KeyDigest> = self.nodes.iter().map(Node::key).collect();
        self.control.commit(&keys, &self.holders());
    }

    /// The data directory is lost, and the agent joins anew under its name.
    fn replace_key(&mut self, source: usize) -> Result<(), String> {
        if self.keys == MAX_KEYS {
            return Ok(());
        }
        let agent = self.sources[source].agent;
        self.kill(agent);
        self.nodes[agent].disk = Disk::default();
        self.nodes[agent].authority = pool().authorities[NODES + self.keys].clone();
        self.keys += 1;
        self.commit();
        self.start(agent)
    }

    /// Every task and every stream goes on a little, in any order, a few times.
    pub(super) fn rounds(&mut self, rounds: u64, time: Duration) -> Result<(), String> {
        for _ in 0..rounds {
            self.now += time;
            for node in self.random.shuffled(0..NODES) {
                self.tasks_of(node)?;
            }
            self.connect();
            let pairs: Vec<Pair> = self.streams.keys().copied().collect();
            for pair in self.random.shuffled(pairs) {
                self.exchange(pair)?;
            }
            self.check_progress()?;
        }
        Ok(())
    }

    /// The tasks of a node, each of which may be late.
    fn tasks_of(&mut self, node: usize) -> Result<(), String> {
        if self.nodes[node].process.is_none() {
            return Ok(());
        }
        for task in self.random.shuffled(0..5) {
            if self.random.percent(20) {
                continue;
            }
            match task {
                0 => self.keep_origins(node)?,
                1 if self.nodes[node].is_agent() => {
                    for ended in self.nodes[node].look() {
                        self.streams.remove(&(node, ended));
                    }
                }
                2 => {
                    let links = self.nodes[node].process.as_ref().map(|process| &process.links);
                    let links: Vec<usize> = links.into_iter().flat_map(BTreeMap::keys).copied().collect();
                    for agent in self.random.shuffled(links) {
                        self.merge(node, agent)?;
                    }
                }
                3 if self.nodes[node].is_agent() => self.hold(node)?,
                4 if self.random.percent(15) => self.nodes[node].persist(),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn keep_origins(&mut self, node: usize) -> Result<(), String> {
        self.nodes[node].keep_origins(&self.truth)
    }

    fn merge(&mut self, node: usize, agent: usize) -> Result<(), String> {
        let node = &mut self.nodes[node];
        let (before, mixed) = (node.at(), seeded("mix-holders").then(|| held_by(node)));
        node.merge(agent);
        check_node(node, &self.truth)?;
        let (at, known) = (node.at(), node.known());
        for origin in (0..ORIGINS).filter(|origin| at[*origin] != before[*origin]) {
            let Some(process) = &node.process else { continue };
            let taken = |map: &ReplicaMap| self.truth.check_taken(origin, map, &known);
            process.hub.read(taken).map_err(|why| format!("{}: {why}", node.name()))?;
            if let Some(before) = mixed.as_ref().and_then(|mixed| mixed[origin].as_ref()) {
                process.hub.update(local(origin), |replica| mix(replica, before));
                process.hub.read(taken)?;
            }
        }
        Ok(())
    }

    fn hold(&mut self, node: usize) -> Result<(), String> {
        let was = self.nodes[node].at();
        let (random, generations) = (&mut self.random, self.generations);
        let mut draw = || Draw {
            generation: u32::try_from(random.below(generations)).unwrap(),
            id: random.next().to_be_bytes(),
            pause: Duration::from_millis(random.below(5_000)),
        };
        self.nodes[node].hold(self.now, &mut draw);
        let is = self.nodes[node].at();
        for origin in (0..ORIGINS).filter(|origin| was[*origin] != is[*origin]) {
            let is_here = |source: &&Source| source.origin == origin && source.agent == node;
            let Some(source) = self.sources.iter().filter(is_here).find(|source| source.term.is_some())
            else {
                let (was, is) = (was[origin], is[origin]);
                return Err(format!("agent-{node} published without a wish: it went from {was:?} to {is:?}"));
            };
            self.seen.published += 1;
            self.seen.takeovers += u32::from(is[origin].is_some_and(|is| is.revision == 1));
            let signer = &self.nodes[node];
            let by = (node, signer.key(), &*signer.known());
            self.truth.publish(origin, by, &signer.held(origin).unwrap_or_default(), &source.wish())?;
        }
        check_node(&mut self.nodes[node], &self.truth)
    }
}

/// What a node holds of each local scope.
fn held_by(node: &Node) -> [Option<Replica>; ORIGINS] {
    std::array::from_fn(|origin| node.held(origin))
}

/// A bug: something of the holder before stays.
fn mix(replica: &mut Replica, before: &Replica) {
    let (Some(at), Some(signature)) = (replica.position().copied(), replica.signature().cloned()) else {
        return;
    };
    if before.position().is_some_and(|before| before.lineage != at.lineage) {
        let content = before.content().into_iter().chain(replica.content()).collect();
        let change = replica.prepare_snapshot(at, content).unwrap();
        replica.commit(change.signed(signature)).unwrap();
    }
}
