//! The end of a run: the region settles, though in half of the runs one agent forges on and one stream stays cut, and in half of the runs
//! an agent that was killed stays dead.

use super::{
    forging::FORGERIES,
    node::*,
    region::{FEW, MANY, Region},
    sources::{self, SOURCES},
    stream::Pair,
    truth::{self, Known},
    *,
};

/// How long a region may take to settle: a publisher is left alone for 30 s, twice, and a holder waits for 15 s.
const SETTLES_WITHIN: Duration = Duration::from_secs(90);
/// How long it must stay so.
const STAYS_SETTLED: Duration = Duration::from_secs(3);

/// What goes on while the rest settles: this agent forges the local scopes that it may not sign, and a stream is cut.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    forger: usize,
}

impl Region {
    /// All nodes run, but for one that is dead, and one source of each Origin is elected: the region settles.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        self.cut.clear();
        self.honest();
        for stream in self.streams.values_mut() {
            stream.held_until = self.now;
        }
        let dead = self.stays_dead();
        (0..NODES).filter(|node| Some(*node) != dead).try_for_each(|node| self.start(node))?;
        self.seen.dead += u32::from(dead.is_some());
        (0..ORIGINS).for_each(|origin| self.control.set_origin(origin, true));
        self.commit();
        // Two lineages of one generation may last until the next takeover, which draws another one.
        let may_conflict = std::mem::replace(&mut self.generations, MANY) == FEW;
        let elected = std::array::from_fn(|origin| self.elect_one(origin, may_conflict, dead));
        let trouble = self.random.percent(50).then(|| self.make_trouble(&elected, dead));
        let (begun, mut settled) = (self.now, None);
        loop {
            if let Some(Trouble { forger }) = trouble
                && self.random.percent(15)
            {
                for origin in 0..ORIGINS {
                    let forgery = self.random.one_of(&FORGERIES);
                    self.forge(forger, origin, forgery);
                }
            }
            let step = if self.now - begun < STAYS_SETTLED { 100 } else { 400 };
            self.rounds(1, Duration::from_millis(step))?;
            let unsettled = elected.iter().find_map(|source| {
                let why = self.unsettled(*source, trouble)?;
                Some((self.sources[*source].origin, why))
            });
            match unsettled {
                None => {
                    let since = *settled.get_or_insert(self.now);
                    if self.now - since >= STAYS_SETTLED {
                        self.seen.slowest = self.seen.slowest.max(since - begun);
                        self.seen.troubled += u32::from(trouble.is_some());
                        return Ok(());
                    }
                }
                Some((origin, why)) if self.now - begun >= SETTLES_WITHIN => {
                    let (all, scope) = (self.positions(origin), local(origin));
                    let trouble = trouble.map(|trouble| (trouble, &self.cut));
                    return Err(format!(
                        "not settled after {SETTLES_WITHIN:?} with {trouble:?} and {dead:?} dead: {scope}: {why}{all}"
                    ));
                }
                Some(_) => settled = None,
            }
        }
    }

    /// In half of the runs an agent stays dead: one that is down, or else one that is killed now. Each Origin has another holder. What the
    /// agent published may be held anywhere.
    fn stays_dead(&mut self) -> Option<usize> {
        let holders = self.holders();
        let is_spare =
            |agent: &usize| holders.iter().all(|of_one| of_one.iter().any(|holder| holder != agent));
        let (down, running): (Vec<usize>, Vec<usize>) =
            (0..AGENTS).filter(is_spare).partition(|agent| self.nodes[*agent].process.is_none());
        let agents = if down.is_empty() { running } else { down };
        let dead = self.random.percent(50).then(|| self.random.one_of(&agents))?;
        self.kill(dead);
        Some(dead)
    }

    /// Elects a source whose agent the Origin names.
    fn elect_one(&mut self, origin: usize, may_conflict: bool, dead: Option<usize>) -> usize {
        let named = (0..SOURCES).filter(|source| self.sources[*source].origin == origin);
        let named: Vec<usize> = named.filter(|source| self.sources[*source].is_named).collect();
        let named: Vec<usize> =
            named.into_iter().filter(|source| Some(self.sources[*source].agent) != dead).collect();
        let elected = self.random.one_of(&named);
        self.resign(sources::other(elected));
        self.look(elected);
        if self.sources[elected].term.is_none() || may_conflict || self.random.percent(50) {
            self.elect(elected);
        }
        elected
    }

    /// An agent forges, and says of itself that it holds the last counter. A stream is cut, but not that by which an elected holder
    /// hears who is a holder: it could not know what it may sign.
    fn make_trouble(&mut self, elected: &[usize; ORIGINS], dead: Option<usize>) -> Trouble {
        let is_elected = |agent| elected.iter().any(|source| self.sources[*source].agent == agent);
        let may_forge = |agent: &usize| {
            let is_trusted = is_elected(*agent) || Some(*agent) == dead;
            !is_trusted && (0..ORIGINS).any(|origin| !self.may_sign(origin, *agent))
        };
        let forgers: Vec<usize> = (0..AGENTS).filter(may_forge).collect();
        let relays: Vec<usize> = self.control.relays.into_iter().filter(may_forge).collect();
        let pairs = (0..NODES).flat_map(|node| (0..=CONTROL).map(move |publisher| (node, publisher)));
        let may_be_cut = |(node, publisher): &Pair| match *publisher {
            CONTROL => *node < AGENTS && !is_elected(*node),
            _ => (0..ORIGINS).any(|origin| self.follows(origin, *node, *publisher)),
        };
        let pairs: Vec<Pair> = pairs.filter(may_be_cut).collect();
        let forger = match self.random.percent(75) && !relays.is_empty() {
            true => self.random.one_of(&relays),
            false => self.random.one_of(&forgers),
        };
        let (one, other) = self.random.one_of(&pairs);
        self.cut(one, other);
        self.lie(forger);
        Trouble { forger }
    }

    /// Whether a node follows a publisher for a local scope, as the control plane places the two.
    fn follows(&self, origin: usize, node: usize, publisher: usize) -> bool {
        let is_relay = |agent| self.control.relays.contains(&agent);
        match node.checked_sub(AGENTS) {
            Some(gateway) => publisher == AGENT_OF[gateway],
            None if node == publisher || publisher >= AGENTS => false,
            None => is_relay(publisher) || (is_relay(node) && self.holders()[origin].contains(&publisher)),
        }
    }

    /// Whether what the control plane says comes to a node.
    fn hears(&self, node: usize) -> bool {
        match node.checked_sub(AGENTS) {
            None => !self.cut.contains(&(node, CONTROL)),
            Some(gateway) => {
                let agent = AGENT_OF[gateway];
                let is_linked = self.nodes[agent].process.is_some() && !self.cut.contains(&(node, agent));
                is_linked && self.hears(agent)
            }
        }
    }

    /// Whether a subscriber takes what a publisher holds of a local scope. An agent to which the control plane says nothing may not know
    /// who subscribes to it, and a forger withholds what it holds.
    fn brings(&self, origin: usize, (node, publisher): Pair, trouble: Option<Trouble>) -> bool {
        let runs = |node: usize| self.nodes[node].process.is_some();
        let is_honest =
            |node| runs(node) && self.hears(node) && trouble.is_none_or(|trouble| trouble.forger != node);
        let is_whole = !self.cut.contains(&(node, publisher)) && is_honest(node) && is_honest(publisher);
        is_whole && self.follows(origin, node, publisher)
    }

    /// The nodes to which the heads of an agent come for sure. The other nodes serve what they have, and `check_node` holds them to that
    /// all the time. A forger is one of those: it gets nothing when it says that it holds the last head there is.
    fn reached(&self, origin: usize, from: usize, trouble: Option<Trouble>) -> BTreeSet<usize> {
        spread(from, |node, reached| {
            reached.iter().any(|publisher| self.brings(origin, (node, *publisher), trouble))
        })
    }

    /// Why the region is not what it comes to once this source alone is elected.
    fn unsettled(&self, elected: usize, trouble: Option<Trouble>) -> Option<String> {
        let (origin, agent) = (self.sources[elected].origin, self.sources[elected].agent);
        let placed = |map: &ReplicaMap| map.get(runtime_of(origin))?.position().copied();
        let stands = |hub: &Replicas, known: &Known| hub.read(|map| self.truth.counted(origin, map, known));
        let at = |node: usize| {
            let process = self.nodes[node].process.as_ref()?;
            stands(&process.hub, &process.known)
        };
        let Some(head) = at(agent) else { return Some(format!("agent-{agent} has no head that counts")) };
        let wish = self.sources[elected].wish();
        let held = truth::content_of(&self.nodes[agent].held(origin).unwrap_or_default());
        if held != wish {
            return Some(format!(
                "agent-{agent} holds {held:?} at {head}, and its source wishes for {wish:?}"
            ));
        }
        let (committed, reached) = (self.control.hub.read(placed), self.reached(origin, agent, trouble));
        for (index, node) in self.nodes.iter().enumerate() {
            let (place, Some(process)) = (node.name(), &node.process) else { continue };
            if self.hears(index) && process.hub.read(placed) != committed {
                return Some(format!("{place} has not what the control plane committed"));
            }
            if !reached.contains(&index) {
                continue;
            }
            let at = at(index);
            if !at.is_some_and(|at| at.is(&head)) {
                let at = at.map(|at| at.to_string());
                return Some(format!("{place} is at {at:?}, and the holder at {head}"));
            }
            for (agent, link) in &process.links {
                let met = stands(&link.merge.link, &process.known);
                if met.is_some_and(|met| !at.is_some_and(|at| at.may_follow(&met))) {
                    return Some(format!("{place} is at {at:?}, and its link to agent-{agent} at {met:?}"));
                }
            }
        }
        None
    }
}

/// An agent, and every node that joins because of those that are in already.
fn spread(from: usize, joins: impl Fn(usize, &BTreeSet<usize>) -> bool) -> BTreeSet<usize> {
    let mut all = BTreeSet::from([from]);
    loop {
        let more: Vec<usize> = (0..NODES).filter(|node| !all.contains(node) && joins(*node, &all)).collect();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}
