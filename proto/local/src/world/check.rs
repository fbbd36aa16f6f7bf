//! What holds after every change of a node, and in the end.

use super::{node::Node, region::Region, truth::Truth, *};

impl Region {
    /// Why the region is not what it comes to once nothing is cut, and one source is elected.
    pub(super) fn unsettled(&self, wish: &truth::Content) -> Option<String> {
        let runtime = |map: &ReplicaMap| map.get(&runtime_scope("production"))?.position().copied();
        let committed = self.control.hub.read(runtime);
        let mut greatest = None;
        for node in &self.nodes {
            let (place, Some(process)) = (node.name(), &node.process) else { continue };
            if process.hub.read(runtime) != committed {
                return Some(format!("{place} has not what the control plane committed"));
            }
            let held = process.hub.read(|map| map.get(&local()).cloned()).unwrap_or_default();
            let Some(at) = process.origins.believed(&local(), Some(&held)).and_then(Replica::position) else {
                return Some(format!("{place} believes nothing: it is at {:?}", held.position()));
            };
            let greatest = greatest.get_or_insert(*at);
            if !at.is(greatest) {
                return Some(format!("{place} is at {at}, and another node at {greatest}"));
            }
            if truth::content_of(&held) != *wish {
                let held = truth::content_of(&held);
                return Some(format!("{place} holds {held:?} at {at}, and the source wishes for {wish:?}"));
            }
            for (agent, link) in &process.links {
                let link = link.merge.link.read(|map| map.get(&local()).cloned());
                let met = process.origins.believed(&local(), link.as_ref()).and_then(Replica::position);
                if met.is_some_and(|met| !at.may_follow(met)) {
                    return Some(format!("{place} is at {at}, and its link to agent-{agent} at {met:?}"));
                }
            }
        }
        None
    }
}

impl Region {
    /// Where every node stands.
    pub(super) fn positions(&self) -> String {
        let at = |hub: &Replicas, origins: &Origins| {
            hub.read(|map| {
                let held = map.get(&local());
                let position = held.and_then(Replica::position);
                let counts =
                    if origins.believed(&local(), held).is_some() { "" } else { " (counts no longer)" };
                position.map_or("nothing".to_owned(), |position| {
                    let (lineage, revision) = (position.lineage, position.revision);
                    format!("{}.{}/{revision}{counts}", head::counter_of(&lineage), lineage.generation as u32)
                })
            })
        };
        let mut lines = String::new();
        for node in &self.nodes {
            let (place, Some(process)) = (node.name(), &node.process) else { continue };
            lines += &format!("\n{place}: {}", at(&process.hub, &process.origins));
            for (agent, link) in &process.links {
                lines += &format!(", by agent-{agent} {}", at(&link.merge.link, &process.origins));
            }
        }
        lines
    }
}

/// What a node holds is what a holder signed, and not less than before.
pub(super) fn check_node(node: &mut Node, truth: &Truth) -> Result<(), String> {
    let is_gateway = !node.is_agent();
    let Some(process) = &mut node.process else { return Ok(()) };
    let at_version = process.versions();
    if std::mem::replace(&mut process.checked, at_version) == at_version {
        return Ok(());
    }
    let (name, watched, origins) = (node.index, &mut node.watched, &process.origins);
    let checked = process.hub.read(|map| {
        let (held, has_origin) = (map.get(&local()), control::has_origin(map));
        held.map_or(Ok(()), |held| truth.check(held))?;
        let has_common = held.is_some_and(|held| held.get(COMMON).is_some());
        if is_gateway && has_origin && watched.had_common && !has_common {
            return Err("it lost a route for which every source wishes".to_owned());
        }
        watched.had_common |= has_common;
        let at = held.and_then(Replica::position);
        if let Some((before, signature)) = &watched.believed
            && origins.is_holders(&local(), before, signature).is_ok()
            && !at.is_some_and(|at| at.may_follow(before))
        {
            let at = at.map(Position::to_string);
            return Err(format!("it went back from {before} to {at:?}"));
        }
        let believed = origins.believed(&local(), held);
        watched.believed = believed.and_then(|held| Some((*held.position()?, held.signature()?.clone())));
        Ok(())
    });
    checked.map_err(|why| format!("node {name}: {why}"))
}

/// What a link holds is what a holder signed.
pub(super) fn check_link(link: &Replicas, truth: &Truth) -> Result<(), String> {
    link.read(|map| map.get(&local()).map_or(Ok(()), |held| truth.check(held)))
}
