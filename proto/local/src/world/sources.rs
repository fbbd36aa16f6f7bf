//! The sources at the holders: what they look at, and what they wish for.

use super::{region::Region, truth::Content, *};

/// Two of each Origin: those of an Origin follow each other.
pub(super) const SOURCES: usize = 2 * ORIGINS;

/// What wishes for something at a holder.
pub(super) struct Source {
    pub(super) origin: usize,
    pub(super) agent: usize,
    /// Whether the control plane names the agent as a holder.
    pub(super) is_named: bool,
    /// `None`: it is not elected.
    pub(super) term: Option<u64>,
    /// What it last saw.
    view: Content,
}

impl Source {
    pub(super) fn new(origin: usize, agent: usize) -> Self {
        Self { origin, agent, is_named: true, term: None, view: Content::new() }
    }

    /// What it wishes for: what it sees, and something that only it has.
    pub(super) fn wish(&self) -> Content {
        let own = (format!("{ONLY}{}", self.agent).into(), Bytes::from_static(mark(self.origin)));
        self.view.clone().into_iter().chain([own]).collect()
    }
}

/// The other source of an Origin.
pub(super) fn other(source: usize) -> usize {
    source ^ 1
}

impl Region {
    /// What the sources of an Origin look at gets another value. One key never goes.
    pub(super) fn change(&mut self, origin: usize, key: Option<u64>, goes: bool) {
        self.changes += 1;
        let value = Bytes::from([mark(origin), self.changes.to_string().as_bytes()].concat());
        let desired = &mut self.desired[origin];
        match key.map(|key| format!("key-{key}")) {
            Some(key) if goes => drop(desired.remove(&*key)),
            Some(key) => drop(desired.insert(key.into(), value)),
            None => drop(desired.insert(COMMON.into(), value)),
        }
    }

    pub(super) fn look(&mut self, source: usize) {
        let Source { origin, agent, .. } = self.sources[source];
        self.sources[source].view = self.desired[origin].clone();
        self.wish(agent);
    }

    pub(super) fn elect(&mut self, source: usize) {
        self.terms += 1;
        self.sources[source].term = Some(self.terms);
        self.wish(self.sources[source].agent);
    }

    pub(super) fn resign(&mut self, source: usize) {
        self.sources[source].term = None;
        self.wish(self.sources[source].agent);
    }

    /// Says what the sources at an agent wish for now, if it runs.
    fn wish(&mut self, agent: usize) {
        let wish = |source: &Source| {
            let wish = Wish { term: source.term?, content: source.wish() };
            Some((local(source.origin).clone(), Arc::new(wish)))
        };
        let wishes = self.sources.iter().filter(|source| source.agent == agent).filter_map(wish).collect();
        if let Some(process) = &mut self.nodes[agent].process {
            process.wishes.send_replace(wishes);
            process.holder_is_woken = true;
        }
    }

    /// Whether an agent is a holder of an Origin, or was. It is believed in all that it signs, wherever it is not known to be none now.
    pub(super) fn may_sign(&self, origin: usize, agent: usize) -> bool {
        self.sources.iter().any(|source| source.origin == origin && source.agent == agent)
    }

    /// A source whose agent its Origin does not name.
    pub(super) fn unnamed(&self) -> Option<usize> {
        self.sources.iter().position(|source| !source.is_named)
    }

    /// The agents that each Origin names.
    pub(super) fn holders(&self) -> [Vec<usize>; ORIGINS] {
        let named =
            |origin| self.sources.iter().filter(move |source| source.origin == origin && source.is_named);
        std::array::from_fn(|origin| named(origin).map(|source| source.agent).collect())
    }
}
