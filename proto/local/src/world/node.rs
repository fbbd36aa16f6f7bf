//! Agents and gateways: what they hold in memory and on disk, and their tasks.

use hanse_sync::{Head, Record};

use super::{
    check::{check_node, check_offer},
    control::Offer,
    truth::{Known, Truth},
    *,
};
use crate::{Directory, DirectoryReader, Target, followed};

pub(super) const AGENTS: usize = 6;
/// The agents of the gateways: one that is a holder, one that is a relay, and one that is neither.
pub(super) const AGENT_OF: [usize; 3] = [3, 1, 5];
pub(super) const NODES: usize = AGENTS + AGENT_OF.len();
/// The control node, where a publisher is named.
pub(super) const CONTROL: usize = NODES;

pub(super) fn agent_name(agent: usize) -> Name {
    name(&format!("agent-{agent}"))
}

/// An agent or a gateway, whether it runs or not.
pub(super) struct Node {
    pub(super) index: usize,
    /// Of an agent.
    pub(super) authority: Authority,
    pub(super) disk: Disk,
    pub(super) process: Option<Process>,
    /// What it sends of each local scope in place of what it holds.
    pub(super) forged: [Option<Replica>; ORIGINS],
    /// It says of itself that it holds the last counter.
    pub(super) lies: bool,
    pub(super) watched: [Watched; ORIGINS],
}

/// What a checker saw of a local scope at a node.
#[derive(Default)]
pub(super) struct Watched {
    /// When the Origin was made; `None`: the node had none.
    pub(super) made_at_ms: Option<u64>,
    /// Where the node stood, if that counted.
    pub(super) counted: Option<Position>,
    /// The node held the Route that every source wishes for.
    pub(super) had_common: bool,
}

/// What survives a process.
#[derive(Default)]
pub(super) struct Disk {
    scopes: BTreeMap<ScopeId, (Head, Vec<Record>)>,
    offer: Offer,
}

/// A process.
pub(super) struct Process {
    pub(super) hub: Replicas,
    pub(super) origins: Origins,
    /// What the `runtime` scopes of its hub said when it last read them.
    pub(super) known: Arc<Known>,
    pub(super) offer: Offer,
    pub(super) links: BTreeMap<usize, NeighbourLink>,
    pub(super) directory: Directory,
    pub(super) wishes: watch::Sender<Wishes>,
    pub(super) handle: HoldingHandle,
    /// Something came for the holder that no version shows.
    pub(super) holder_is_woken: bool,
    reader: DirectoryReader,
    keeper: OriginKeeper,
    holding: Holding,
    due: Option<Instant>,
    /// The versions that each task has seen.
    seen: [(u64, u64); 3],
    persisted: u64,
    /// The versions that the checker has seen.
    pub(super) checked: (u64, u64),
}

/// What an agent holds of one that it follows.
pub(super) struct NeighbourLink {
    pub(super) target: Target,
    pub(super) merge: Merge,
    seen: (u64, u64),
}

impl Node {
    pub(super) fn new(index: usize, authority: Authority) -> Self {
        let (disk, forged, watched) = Default::default();
        Self { index, authority, disk, process: None, forged, lies: false, watched }
    }

    pub(super) fn is_agent(&self) -> bool {
        self.index < AGENTS
    }

    pub(super) fn name(&self) -> Name {
        match self.index.checked_sub(AGENTS) {
            None => agent_name(self.index),
            Some(gateway) => name(&format!("gateway-{gateway}")),
        }
    }

    pub(super) fn key(&self) -> KeyDigest {
        head::digest_of(&self.authority.key().public_key_der())
    }

    /// Starts a process with what is on the disk. That binds it, and not what the process before had in memory.
    pub(super) fn start(&mut self, trust: LiveTrust, truth: &Truth) -> Result<(), String> {
        let hub = Replicas::new();
        hub.update_all(|replicas| {
            for (scope, (head, records)) in &self.disk.scopes {
                let kept = Replica::restore(head.clone(), records.iter().cloned());
                *replicas.replica(scope) = kept.expect("what was kept fits");
            }
        });
        let known = hub.read(|map| {
            let known = Known::of(map);
            self.watched = std::array::from_fn(|origin| Watched::of(origin, map, &known, truth));
            Arc::new(known)
        });
        let (keeper, origins) = OriginKeeper::new(hub.clone(), trust);
        let (wishes, wished) = watch::channel(Wishes::new());
        let authority = LiveAuthority::new(self.authority.clone());
        let (holding, handle) = Holding::new(hub.clone(), origins.clone(), authority, wished);
        let (links, directory, due, seen) = Default::default();
        let (reader, offer) = (DirectoryReader::new(name("eu-west")), self.disk.offer.clone());
        let (holder_is_woken, persisted) = (true, version(&hub));
        self.process = Some(Process {
            hub,
            origins,
            known,
            offer,
            links,
            directory,
            wishes,
            handle,
            holder_is_woken,
            reader,
            keeper,
            holding,
            due,
            seen,
            persisted,
            checked: (u64::MAX, 0),
        });
        check_node(self, truth)
    }

    /// Reads Origins, and ends a local scope without one.
    pub(super) fn keep_origins(&mut self, truth: &Truth) -> Result<(), String> {
        let Some(process) = &mut self.process else { return Ok(()) };
        let seen = (version(&process.hub), 0);
        if std::mem::replace(&mut process.seen[0], seen) != seen {
            process.known = Arc::new(process.hub.read(Known::of));
            process.keeper.step();
            check_node(self, truth)?;
            check_offer(self, truth)?;
        }
        Ok(())
    }

    /// What it knows of Origins.
    pub(super) fn known(&self) -> Arc<Known> {
        self.process.as_ref().map(|process| process.known.clone()).unwrap_or_default()
    }

    /// Finds whom to follow. The links that ended: their streams end with them.
    pub(super) fn look(&mut self) -> Vec<usize> {
        let (own, Some(process)) = (self.name(), &mut self.process) else { return Vec::new() };
        let seen = process.versions();
        if std::mem::replace(&mut process.seen[1], seen) == seen {
            return Vec::new();
        }
        if let Some(directory) = process.hub.read(|map| process.reader.read(map)) {
            process.directory = directory;
        }
        let wanted = followed(&own, &process.directory, &process.origins.holders());
        let wanted: BTreeMap<usize, Target> = wanted
            .into_iter()
            .map(|(name, target)| ((0..AGENTS).find(|agent| agent_name(*agent) == name).unwrap(), target))
            .collect();
        let ended = process.links.extract_if(.., |agent, link| wanted.get(agent) != Some(&link.target));
        let ended = ended.map(|(agent, _)| agent).collect();
        for (agent, target) in wanted {
            if process.links.contains_key(&agent) {
                continue;
            }
            let origins = process.origins.clone();
            let holder = (!target.is_relay).then(|| agent_name(agent));
            let heads: Arc<dyn Heads> = Arc::new(origins.of_link(process.hub.clone(), holder));
            let link = process.hub.copy_of(|scope| scope.is_local() && heads.wants(scope));
            let (own, holding) = (process.hub.clone(), process.handle.clone());
            let merge = Merge { link, own, heads, origins, holding };
            process.links.insert(agent, NeighbourLink { target, merge, seen: (0, 0) });
        }
        ended
    }

    /// Brings what a link holds, if there is something new.
    pub(super) fn merge(&mut self, agent: usize) {
        let Some(process) = &mut self.process else { return };
        let origins = *process.origins.changed().borrow();
        let Some(link) = process.links.get_mut(&agent) else { return };
        let seen = (version(&link.merge.link), origins);
        if std::mem::replace(&mut link.seen, seen) != seen {
            link.merge.step();
            process.holder_is_woken = true;
        }
    }

    /// Publishes what the source wishes for, if there is something new.
    pub(super) fn hold(&mut self, now: Instant, draw: &mut dyn FnMut() -> Draw) {
        let Some(process) = &mut self.process else { return };
        let seen = process.versions();
        let is_new = std::mem::replace(&mut process.seen[2], seen) != seen;
        let is_woken = std::mem::take(&mut process.holder_is_woken);
        let is_due = process.due.is_some_and(|due| due <= now);
        if is_new || is_woken || is_due {
            process.due = process.holding.step(now, draw);
        }
    }

    /// What it holds of a local scope.
    pub(super) fn held(&self, origin: usize) -> Option<Replica> {
        self.process.as_ref()?.hub.read(|map| map.get(local(origin)).cloned())
    }

    /// Where it stands in each local scope.
    pub(super) fn at(&self) -> [Option<Position>; ORIGINS] {
        let at = |map: &ReplicaMap| {
            std::array::from_fn(|origin| map.get(local(origin)).and_then(Replica::position).copied())
        };
        self.process.as_ref().map(|process| process.hub.read(at)).unwrap_or_default()
    }

    /// Writes what is held to the disk.
    pub(super) fn persist(&mut self) {
        let Some(process) = &mut self.process else { return };
        let at = version(&process.hub);
        if std::mem::replace(&mut process.persisted, at) == at {
            return;
        }
        let kept = |(scope, replica): (&ScopeId, &Replica)| {
            Some((scope.clone(), (replica.head()?, replica.records())))
        };
        let scopes = process.hub.read(|map| map.iter().filter_map(kept).collect());
        self.disk = Disk { scopes, offer: process.offer.clone() };
    }
}

impl Process {
    pub(super) fn versions(&self) -> (u64, u64) {
        (version(&self.hub), *self.origins.changed().borrow())
    }
}

/// How often a hub has changed.
pub(super) fn version(hub: &Replicas) -> u64 {
    *hub.subscribe().borrow()
}
