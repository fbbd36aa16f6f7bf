//! What holds after every change of a node. Nothing here asks the code that is tested whether a head counts.

use super::{
    node::{Node, Watched},
    region::Region,
    truth::{Known, Truth},
    *,
};

impl Watched {
    /// What a hub holds of a local scope, for a node that knows so much.
    pub(super) fn of(origin: usize, map: &ReplicaMap, known: &Known, truth: &Truth) -> Self {
        Self {
            made_at_ms: known.made_at_ms(origin),
            counted: truth.counted(origin, map, known),
            had_common: map.get(local(origin)).is_some_and(|replica| replica.get(COMMON).is_some()),
        }
    }

    /// As long as the node has an Origin, its local scope stays. It goes forward as long as the holder of its head is named.
    fn goes_on(&mut self, origin: usize, now: Self, known: &Known, truth: &Truth) -> Result<(), String> {
        let before = std::mem::replace(self, now);
        // A local scope ends with its Origin, also where another Origin of its name is made at once.
        if before.made_at_ms.is_none() || before.made_at_ms != self.made_at_ms {
            return Ok(());
        }
        if before.had_common && !self.had_common {
            return Err(format!("it lost a route of {} for which every source wishes", local(origin)));
        }
        match before.counted.filter(|before| truth.counts(origin, before, known)) {
            Some(before) if !self.counted.is_some_and(|at| at.may_follow(&before)) => {
                let at = self.counted.as_ref().map(Position::to_string);
                Err(format!("it went back from {before} to {at:?} of {}", local(origin)))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// What a node holds is what a holder signed, and not less than before.
pub(super) fn check_node(node: &mut Node, truth: &Truth) -> Result<(), String> {
    let Some(process) = &mut node.process else { return Ok(()) };
    let at_version = process.versions();
    if std::mem::replace(&mut process.checked, at_version) == at_version {
        return Ok(());
    }
    let known = process.known.clone();
    let checked = process.hub.read(|map| {
        node.watched.iter_mut().enumerate().try_for_each(|(origin, watched)| {
            map.get(local(origin)).map_or(Ok(()), |held| truth.check(origin, held))?;
            watched.goes_on(origin, Watched::of(origin, map, &known, truth), &known, truth)
        })
    });
    checked.map_err(|why| format!("{}: {why}", node.name()))
}

/// A node holds no local scope without an Origin. It passes on those of which it holds a head that counts for it, and no other.
pub(super) fn check_offer(node: &Node, truth: &Truth) -> Result<(), String> {
    let Some(process) = &node.process else { return Ok(()) };
    let has_none = |origin: &usize| process.known.made_at_ms(*origin).is_none();
    let kept = |map: &ReplicaMap| (0..ORIGINS).filter(has_none).find(|one| map.contains_key(local(*one)));
    if let Some(origin) = process.hub.read(kept) {
        return Err(format!("{}: it holds {}, and knows no Origin of it", node.name(), local(origin)));
    }
    let counted = |map: &ReplicaMap| -> BTreeSet<ScopeId> {
        let counts = |origin: &usize| truth.counted(*origin, map, &process.known).is_some();
        (0..ORIGINS).filter(counts).map(|origin| local(origin).clone()).collect()
    };
    let (counted, offered) = (process.hub.read(counted), process.origins.held().borrow().clone());
    match offered == counted {
        true => Ok(()),
        false => Err(format!("{}: it passes on {offered:?}, and what counts is {counted:?}", node.name())),
    }
}

impl Region {
    /// Where every node stands in a local scope.
    pub(super) fn positions(&self, origin: usize) -> String {
        let at = |hub: &Replicas, known: &Known| {
            hub.read(|map| {
                let Some(position) = map.get(local(origin)).and_then(Replica::position) else {
                    return "nothing".to_owned();
                };
                let counts =
                    if self.truth.counts(origin, position, known) { "" } else { " (counts no longer)" };
                let (lineage, revision) = (position.lineage, position.revision);
                format!("{}.{}/{revision}{counts}", head::counter_of(&lineage), lineage.generation as u32)
            })
        };
        let mut lines = String::new();
        for node in &self.nodes {
            let (place, Some(process)) = (node.name(), &node.process) else { continue };
            lines += &format!("\n{place}: {}", at(&process.hub, &process.known));
            for (agent, link) in &process.links {
                lines += &format!(", by agent-{agent} {}", at(&link.merge.link, &process.known));
            }
        }
        lines
    }
}
