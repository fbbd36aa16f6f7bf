//! The region: its nodes, the streams between them, and the clock.

use std::sync::OnceLock;

use hanse_identity::TrustAnchor;
use hanse_proto::sync::{publisher_message::Body, subscriber_message};
use hanse_sync::{Alarm, Effect, Received, Wanted};

use super::{
    check::{check_link, check_node},
    control::{Control, Offer},
    event::Event,
    forging::{forge, lie},
    node::*,
    random::Random,
    stream::{Pair, Stream},
    truth::{Content, Truth},
    *,
};

/// How long a subscriber waits before it connects again.
const RETRY: Duration = Duration::from_secs(1);
/// How long a region may take to settle: a publisher is left alone for 30 s, twice, and a holder waits for 15 s.
const SETTLES_WITHIN: Duration = Duration::from_secs(90);
/// How long it must stay so.
const STAYS_SETTLED: Duration = Duration::from_secs(3);
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
    streams: BTreeMap<Pair, Stream>,
    /// Both ways.
    cut: BTreeSet<Pair>,
    retry: BTreeMap<Pair, Instant>,
    sources: [Source; 2],
    /// What sources look at.
    desired: Content,
    terms: u64,
    changes: u64,
    keys: usize,
    /// Few: generations of two holders are equal now and then.
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
        let generations = random.one_of(&[4, 1 << 32]);
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
        if self.sources[elected].term.is_none() || self.random.percent(50) {
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

    fn keep_origins(&mut self, node: usize) -> Result<(), String> {
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

    /// Connects those that are not, as far as they reach each other.
    fn connect(&mut self) {
        for node in 0..NODES {
            let Some(process) = &self.nodes[node].process else { continue };
            let publishers: Vec<usize> = match node.checked_sub(AGENTS) {
                Some(gateway) => vec![AGENT_OF[gateway]],
                None => process.links.keys().copied().chain([CONTROL]).collect(),
            };
            for publisher in publishers {
                let pair = (node, publisher);
                let is_due = self.retry.get(&pair).is_none_or(|at| *at <= self.now);
                if is_due && !self.cut.contains(&pair) && !self.streams.contains_key(&pair) {
                    self.retry.insert(pair, self.now + RETRY);
                    self.open(pair);
                }
            }
        }
    }

    fn open(&mut self, pair @ (node, publisher): Pair) {
        let Some(process) = &self.nodes[node].process else { return };
        let runs = publisher == CONTROL || self.nodes[publisher].process.is_some();
        let (wanted, heads, hub): (_, Arc<dyn Heads>, _) = match process.links.get(&publisher) {
            // A link goes to one agent, known by its key.
            Some(link) if link.target.key != self.nodes[publisher].key() => return,
            Some(NeighbourLink { merge, .. }) => (Wanted::Local, merge.heads.clone(), merge.link.clone()),
            None => (Wanted::All, Arc::new(process.origins.clone()), process.hub.clone()),
        };
        if !runs || self.offer(pair).is_none() {
            return;
        }
        let delay = Duration::from_millis(self.random.one_of(&[0, 10, 80, 300]));
        let (mut stream, effects) = Stream::open(wanted, heads, hub, delay, self.now);
        for effect in effects {
            if let Effect::Send(message) = effect {
                stream.say(message, self.now);
            }
        }
        self.streams.insert(pair, stream);
    }

    /// What a publisher offers a subscriber; `None`: it does not know it.
    fn offer(&self, (subscriber, publisher): Pair) -> Option<Offer> {
        if publisher == CONTROL {
            return Some(self.control.offer());
        }
        let process = self.nodes[publisher].process.as_ref()?;
        let held = process.origins.held().borrow().clone();
        let subscriber = &self.nodes[subscriber];
        if subscriber.is_agent() {
            let known = process.directory.get(&subscriber.name())?;
            return (known.key == subscriber.key()).then_some((held, None));
        }
        let (offered, as_of) = &process.offer;
        let is_for_gateways = |scope: &&ScopeId| **scope != control::agents_scope();
        Some((offered.iter().filter(is_for_gateways).cloned().chain(held).collect(), *as_of))
    }

    /// A stream goes on as far as it can now.
    fn exchange(&mut self, pair: Pair) -> Result<(), String> {
        let Some(mut stream) = self.streams.remove(&pair) else { return Ok(()) };
        let goes_on = self.exchange_on(pair, &mut stream);
        let (subscriber, publisher) = pair;
        match goes_on.map_err(|why| format!("the stream of {subscriber} from {publisher}: {why}"))? {
            true => drop(self.streams.insert(pair, stream)),
            false => drop(self.retry.insert(pair, self.now + RETRY)),
        }
        Ok(())
    }

    fn exchange_on(&mut self, pair: Pair, stream: &mut Stream) -> Result<bool, String> {
        let now = self.now;
        while let Some(message) = stream.next_up(now) {
            let received = stream.publishing.handle(message).map_err(|error| error.to_string())?;
            if let Received::Subscribed { scope, head: Some(head), .. } = received
                && let Some(publisher) = self.nodes.get_mut(pair.1)
                && let Some(process) = &mut publisher.process
            {
                process.handle.meet(&scope, &head);
                process.holder_is_woken = true;
            }
            stream.wake();
        }
        let Some(offer) = self.offer(pair) else { return Ok(false) };
        stream.admit(offer);
        self.publish(pair.1, stream);
        while let Some(message) = stream.next_down(now) {
            if let (Some(Body::Welcome(welcome)), true) = (&message.body, seeded("withdraw-local")) {
                let offered = welcome.scopes.contains(&local().to_string());
                (!offered).then(|| stream.hub.remove(&local()));
            }
            let effects = stream.hub.read(|map| stream.subscribing.handle(message, map, now));
            // Another task may change the hub in between.
            if self.random.percent(30) {
                self.keep_origins(pair.0)?;
            }
            if !self.carry_out(pair, stream, effects)? {
                return Ok(false);
            }
        }
        let effects = stream.tick(now);
        self.carry_out(pair, stream, effects)
    }

    /// The publisher works out what to send, of what it holds or of what it forged.
    fn publish(&mut self, publisher: usize, stream: &mut Stream) {
        let Some(node) = self.nodes.get(publisher) else {
            let hub = &self.control.hub;
            return hub.read(|map| stream.publish(version(hub), map, self.now));
        };
        let Some(process) = &node.process else { return };
        let at = version(&process.hub);
        process.hub.read(|map| match &node.forged {
            Some(forged) if map.contains_key(&local()) => {
                stream.was_forged = true;
                let mut map = map.clone();
                map.insert(local(), forged.clone());
                // A bug: what the control plane says waits as long.
                let runtime = runtime_scope("production");
                let known = stream.hub.read(|map| map.get(&runtime).cloned());
                known.filter(|_| seeded("starve")).and_then(|known| map.insert(runtime, known));
                stream.publish(at, &map, self.now);
            }
            Some(_) | None => stream.publish(at, map, self.now),
        });
    }

    /// Does what a subscriber asks for. Whether the stream goes on.
    fn carry_out(
        &mut self,
        pair @ (node, publisher): Pair,
        stream: &mut Stream,
        effects: Vec<Effect>,
    ) -> Result<bool, String> {
        for effect in effects {
            match effect {
                Effect::Send(mut message) => {
                    if let Some(subscriber_message::Body::Hello(hello)) = &mut message.body
                        && self.nodes[node].lies
                        && lie(hello)
                    {
                        self.seen.lies += 1;
                        stream.was_forged = true;
                    }
                    stream.say(message, self.now);
                }
                Effect::Advance { scope, change } | Effect::Replace { scope, change, .. } => {
                    self.seen.local += u32::from(scope.is_local());
                    let committed = stream.hub.update(&scope, |replica| replica.commit(change));
                    if let Err(error) = committed {
                        if !scope.is_local() {
                            return Err(format!("{scope}: {error}"));
                        }
                        let asks = stream.hub.read(|map| stream.subscribing.ask_anew(&scope, map, self.now));
                        if !self.carry_out(pair, stream, asks)? {
                            return Ok(false);
                        }
                    }
                    check_link(&stream.hub, &self.truth)?;
                    check_node(&mut self.nodes[node], &self.truth)?;
                }
                Effect::Withdraw { scope } => return Err(format!("{scope} is withdrawn")),
                Effect::Refused { .. } => {}
                Effect::Alarm { scope, alarm, .. } => {
                    let of_local = scope.as_ref().is_some_and(ScopeId::is_local);
                    let is_explained = match &alarm {
                        Alarm::Stalled => stream.was_held,
                        Alarm::Forged { .. } => of_local && stream.was_forged,
                        Alarm::LineageConflict { .. } => of_local,
                        Alarm::UnknownHolder { .. } => of_local,
                        _ => of_local && stream.was_forged,
                    };
                    if !is_explained {
                        return Err(format!("{alarm} ({scope:?})"));
                    }
                    *self.seen.alarms.entry(alarm.kind()).or_default() += 1;
                    if seeded("hang-up") && matches!(alarm, Alarm::Forged { .. }) {
                        let reason = alarm.to_string();
                        return self.carry_out(pair, stream, vec![Effect::Disconnect { reason }]);
                    }
                }
                Effect::Superseded => return Err("superseded".to_owned()),
                Effect::Disconnect { reason } => match stream.was_held {
                    true => return Ok(false),
                    false => return Err(format!("the stream ends: {reason}")),
                },
            }
        }
        if publisher == CONTROL
            && let Some(process) = &mut self.nodes[node].process
            && let Some((offered, as_of @ Some(_))) = stream.subscribing.offered()
        {
            process.offer = (offered.clone(), as_of);
        }
        Ok(true)
    }

    /// No scope of the control plane waits for a local one.
    pub(super) fn check_progress(&mut self) -> Result<(), String> {
        for ((node, publisher), stream) in &mut self.streams {
            let hub = match self.nodes.get(*publisher) {
                None => &self.control.hub,
                Some(_) if *node < AGENTS => continue, // a neighbour brings none
                Some(publisher) => match &publisher.process {
                    Some(process) => &process.hub,
                    None => continue,
                },
            };
            let place = || format!("{} below {publisher}", self.nodes[*node].name());
            stream.check_progress(hub, self.now).map_err(|why| format!("{}: {why}", place()))?;
        }
        Ok(())
    }
}
