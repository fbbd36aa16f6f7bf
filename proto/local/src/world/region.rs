//! The region: its nodes, the streams between them, and the clock.

use std::sync::OnceLock;

use hanse_identity::TrustAnchor;

use super::{
    check::{check_link, check_node},
    control::Control,
    event::Event,
    forging::forge,
    node::*,
    random::Random,
    stream::{Pair, Stream},
    truth::{Content, Truth},
    *,
};

/// How long a region may take to settle: a publisher is left alone for 30 s, twice, and a holder waits for 15 s.
const SETTLES_WITHIN: Duration = Duration::from_secs(90);
/// How long it must stay so.
const STAYS_SETTLED: Duration = Duration::from_secs(3);
/// The generations of one counter in some runs: those of two holders are equal now and then.
const FEW: u64 = 4;
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

/// What wishes for something at a holder.
struct Source {
    agent: usize,
    /// `None`: it is not elected.
    term: Option<u64>,
    /// What it last saw.
    view: Content,
}

impl Source {
    /// What it wishes for: what it sees, and something that only it has.
    fn wish(&self) -> Content {
        let own = (format!("{ONLY}{}", self.agent).into(), Bytes::from_static(b"1"));
        self.view.clone().into_iter().chain([own]).collect()
    }
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
    sources: [Source; 2],
    /// What sources look at.
    desired: Content,
    terms: u64,
    changes: u64,
    keys: usize,
    /// How many generations of one counter there are.
    generations: u64,
    /// What happened, and when.
    pub(super) steps: Vec<(Duration, Event)>,
}

impl Region {
    pub(super) fn new(seed: u64) -> Result<Self, String> {
        let mut random = Random::new(seed);
        let start = Instant::now();
        // One of the two holders is a relay in every third run.
        let holders = if random.below(3) == 0 { [3, 0] } else { [3, 4] };
        let generations = random.one_of(&[FEW, 1 << 32]);
        let source = |agent| Source { agent, term: None, view: Content::new() };
        let node = |index: usize| Node::new(index, pool().authorities[index].clone());
        let (truth, seen, streams, cut, retry, steps) = Default::default();
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
            sources: holders.map(source),
            desired: Content::new(),
            terms: 0,
            changes: 0,
            keys: 0,
            generations,
            steps,
        };
        region.change(None, false);
        (0..2).for_each(|holder| region.look(holder));
        region.control.set_origin(true);
        region.commit();
        (0..NODES).for_each(|node| region.start(node));
        region.rounds(20, Duration::from_millis(100))?;
        region.happens(Event::Elect { holder: 0, alone: true })?;
        Ok(region)
    }

    pub(super) fn happens(&mut self, event: Event) -> Result<(), String> {
        self.steps.push((self.now - self.start, event));
        match event {
            Event::Change { key, goes } => {
                self.change(Some(key), goes);
                for holder in 0..2 {
                    if self.random.percent(70) {
                        self.look(holder);
                    }
                }
            }
            Event::Look { holder } => self.look(holder),
            Event::Elect { holder, alone } => {
                self.elect(holder);
                if alone {
                    self.resign(1 - holder);
                }
            }
            Event::Resign { holder } => self.resign(holder),
            Event::Kill { node } => self.kill(node),
            Event::Start { node } => self.start(node),
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
            // A holder is believed in all that it signs.
            Event::Forge { agent, .. } if self.sources.iter().any(|source| source.agent == agent) => {}
            Event::Forge { agent, forgery } => {
                let key = self.nodes[agent].authority.key();
                let held = self.nodes[agent].held();
                let forged = held.and_then(|held| forge(forgery, &held, key, &self.truth.heads));
                self.seen.forged += u32::from(forged.is_some());
                self.nodes[agent].forged = forged;
                self.wake(agent);
            }
            Event::Lie { node } => {
                self.nodes[node].lies = true;
                // It says it when it connects.
                self.streams.retain(|(subscriber, _), _| *subscriber != node);
            }
            Event::Honest => self.honest(),
            Event::Origin { is_there } => {
                self.control.set_origin(is_there);
                self.commit();
            }
            Event::ReplaceKey { holder } => self.replace_key(holder),
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

    /// Nothing is cut, all run and are honest, and one source is elected: the region settles.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        self.cut.clear();
        self.honest();
        for stream in self.streams.values_mut() {
            stream.held_until = self.now;
        }
        (0..NODES).for_each(|node| self.start(node));
        self.control.set_origin(true);
        self.commit();
        let elected = self.random.below(2) as usize;
        self.resign(1 - elected);
        self.look(elected);
        // Two lineages of one generation may last until the next takeover.
        if self.sources[elected].term.is_none() || self.generations == FEW || self.random.percent(50) {
            self.elect(elected);
        }
        let wish = self.sources[elected].wish();
        let (begun, mut settled) = (self.now, None);
        loop {
            let step = if self.now - begun < STAYS_SETTLED { 100 } else { 400 };
            self.rounds(1, Duration::from_millis(step))?;
            match self.unsettled(&wish) {
                None => {
                    let since = *settled.get_or_insert(self.now);
                    if self.now - since >= STAYS_SETTLED {
                        self.seen.slowest = self.seen.slowest.max(since - begun);
                        return Ok(());
                    }
                }
                Some(why) if self.now - begun >= SETTLES_WITHIN => {
                    let all = self.positions();
                    return Err(format!("not settled after {SETTLES_WITHIN:?}: {why}{all}"));
                }
                Some(_) => settled = None,
            }
        }
    }

    pub(super) fn one_that_is_down(&self, random: &mut Random) -> Option<usize> {
        let down: Vec<usize> = (0..NODES).filter(|node| self.nodes[*node].process.is_none()).collect();
        (!down.is_empty()).then(|| random.one_of(&down))
    }

    /// What sources look at gets another value. One key never goes.
    fn change(&mut self, key: Option<u64>, goes: bool) {
        self.changes += 1;
        let value = Bytes::from(format!("{}", self.changes));
        match key.map(|key| format!("key-{key}")) {
            Some(key) if goes => drop(self.desired.remove(&*key)),
            Some(key) => drop(self.desired.insert(key.into(), value)),
            None => drop(self.desired.insert(COMMON.into(), value)),
        }
    }

    fn look(&mut self, holder: usize) {
        self.sources[holder].view = self.desired.clone();
        self.wish(holder);
    }

    fn elect(&mut self, holder: usize) {
        self.terms += 1;
        self.sources[holder].term = Some(self.terms);
        self.wish(holder);
    }

    fn resign(&mut self, holder: usize) {
        self.sources[holder].term = None;
        self.wish(holder);
    }

    /// Says what a source wishes for now, if its agent runs.
    fn wish(&mut self, holder: usize) {
        let source = &self.sources[holder];
        if let Some(process) = &mut self.nodes[source.agent].process {
            let wish = source.term.map(|term| Arc::new(Wish { term, content: source.wish() }));
            process.wishes.send_replace(wish.map(|wish| (local(), wish)).into_iter().collect());
            process.holder_is_woken = true;
        }
    }

    fn start(&mut self, node: usize) {
        if self.nodes[node].process.is_some() {
            return;
        }
        self.nodes[node].start((&pool().anchor).into());
        // A source in a process that starts is another one.
        for holder in 0..2 {
            if self.sources[holder].agent == node && self.sources[holder].term.is_some() {
                self.elect(holder);
            }
        }
    }

    fn kill(&mut self, node: usize) {
        self.nodes[node].process = None;
        self.nodes[node].forged = None;
        self.streams.retain(|(subscriber, publisher), _| *subscriber != node && *publisher != node);
    }

    fn cut(&mut self, one: usize, other: usize) {
        for pair in [(one, other), (other, one)] {
            self.cut.insert(pair);
            self.streams.remove(&pair);
        }
    }

    fn honest(&mut self) {
        for node in 0..NODES {
            if std::mem::take(&mut self.nodes[node].lies) {
                self.streams.retain(|(subscriber, _), _| *subscriber != node);
            }
            if self.nodes[node].forged.take().is_some() {
                self.wake(node);
            }
        }
    }

    fn wake(&mut self, publisher: usize) {
        let streams = self.streams.iter_mut().filter(|((_, one), _)| *one == publisher);
        streams.for_each(|(_, stream)| stream.wake());
    }

    fn commit(&mut self) {
        let keys: Vec<KeyDigest> = self.nodes.iter().map(Node::key).collect();
        self.control.commit(&keys, &self.sources.each_ref().map(|source| source.agent));
    }

    /// The data directory is lost, and the agent joins anew under its name.
    fn replace_key(&mut self, holder: usize) {
        if self.keys == MAX_KEYS {
            return;
        }
        let agent = self.sources[holder].agent;
        self.kill(agent);
        self.nodes[agent].disk = Disk::default();
        self.nodes[agent].authority = pool().authorities[NODES + self.keys].clone();
        self.keys += 1;
        self.commit();
        self.start(agent);
    }

    /// Every task and every stream goes on a little, in any order, a few times.
    fn rounds(&mut self, rounds: u64, time: Duration) -> Result<(), String> {
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
        self.nodes[node].keep_origins();
        check_node(&mut self.nodes[node], &self.truth)
    }

    fn merge(&mut self, node: usize, agent: usize) -> Result<(), String> {
        let node = &mut self.nodes[node];
        let before = seeded("mix-holders").then(|| node.held()).flatten();
        node.merge(agent);
        check_node(node, &self.truth)?;
        let Some(held) = node.held().filter(|_| seeded("mix-holders") || seeded("forge-local-head")) else {
            return Ok(());
        };
        // Bugs: something of the holder before stays, or a relay adds something of its own.
        let lineage = |replica: &Replica| replica.position().map(|at| at.lineage);
        let more = match seeded("mix-holders") {
            true => before.filter(|before| lineage(before) != lineage(&held)).map(|before| before.content()),
            false => self.control.relays.contains(&node.index).then(|| vec![("more".into(), Bytes::new())]),
        };
        let Some(more) = more else { return Ok(()) };
        if let (Some(at), Some(signature), Some(process)) = (held.position(), held.signature(), &node.process)
        {
            let content = more.into_iter().chain(held.content()).collect();
            let change = held.prepare_snapshot(*at, content).unwrap().signed(signature.clone());
            process.hub.update(&local(), |replica| replica.commit(change)).unwrap();
            check_link(&process.hub, &self.truth)?;
        }
        Ok(())
    }

    fn hold(&mut self, node: usize) -> Result<(), String> {
        let at = |node: &Node| {
            let hub = &node.process.as_ref()?.hub;
            hub.read(|map| map.get(&local())?.position().copied())
        };
        let was = at(&self.nodes[node]);
        let (random, generations) = (&mut self.random, self.generations);
        let mut draw = || Draw {
            generation: u32::try_from(random.below(generations)).unwrap(),
            id: random.next().to_be_bytes(),
            pause: Duration::from_millis(random.below(5_000)),
        };
        self.nodes[node].hold(self.now, &mut draw);
        let is = at(&self.nodes[node]);
        if was == is {
            return Ok(());
        }
        let source = self.sources.iter().find(|source| source.agent == node && source.term.is_some());
        let Some(source) = source else {
            return Err(format!("agent-{node} published without a wish: it went from {was:?} to {is:?}"));
        };
        self.seen.published += 1;
        self.seen.takeovers += u32::from(is.is_some_and(|is| is.revision == 1));
        let held = self.nodes[node].held().unwrap_or_default();
        self.truth.publish(node, &held, &source.wish())?;
        check_node(&mut self.nodes[node], &self.truth)
    }
}
