//! How the agents of a region find one another: their addresses, and which of them are relays.

use std::{collections::BTreeMap, sync::Arc};

use hanse_management::{Problem, ProblemName};
use hanse_topology::{MAX_ADDRESS_BYTES, Name};

use super::Effects;
use crate::{
    Member, NeighbourAt, State,
    member::{agent_identity, agent_of},
};

/// Has exactly these agents of a region be relays or have addresses. A list that names an agent which is no member any more was planned
/// before that: it is overtaken, and the leader looks again.
pub(super) fn set(state: &mut State, region: &Name, agents: &[NeighbourAt]) -> Result<Effects, Problem> {
    let mut wanted: BTreeMap<String, &NeighbourAt> = BTreeMap::new();
    for agent in agents {
        check(agent)?;
        let identity = agent_identity(&agent.name, region);
        if state.member(&identity).is_none() || state.is_revoked(&identity) {
            return Err(Problem::new(ProblemName::Stale, format!("{identity} is no member, or is revoked"))
                .at("agents")
                .remedy("name agents that joined and are not revoked"));
        }
        if wanted.insert(identity.clone(), agent).is_some() {
            return Err(invalid(format!("{identity} is named twice"), "name each agent once"));
        }
    }
    let of_region = |identity: &str| agent_of(identity).is_some_and(|(_, of)| of == *region);
    let changed = state.members.iter().filter(|(identity, _)| of_region(identity));
    let changed: Vec<(Arc<str>, Member)> = changed
        .filter_map(|(identity, member)| {
            let agent = wanted.get(&**identity);
            let address = agent.map(|agent| agent.address.clone()).unwrap_or_default();
            let relay = agent.is_some_and(|agent| agent.relay);
            let fresh = Member { address, relay, ..Member::clone(member) };
            (fresh != **member).then(|| (identity.clone(), fresh))
        })
        .collect();
    if changed.is_empty() {
        return Ok(Effects::none());
    }
    for (identity, member) in changed {
        state.set_member(&identity, member);
    }
    Ok(Effects::revision())
}

fn check(NeighbourAt { name, address, relay }: &NeighbourAt) -> Result<(), Problem> {
    if address.len() > MAX_ADDRESS_BYTES {
        let detail = format!("the address of {name} has {} bytes", address.len());
        return Err(invalid(detail, &format!("name a host and a port of at most {MAX_ADDRESS_BYTES} bytes")));
    }
    if *relay && address.is_empty() {
        let detail = format!("{name} is to be a relay, and has no address");
        return Err(invalid(detail, "name the address that other agents reach the relay at"));
    }
    Ok(())
}

fn invalid(detail: String, remedy: &str) -> Problem {
    Problem::new(ProblemName::Invalid, detail).at("agents").remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        CommandBody,
        fixture::{World, name},
    };

    fn at(agent: &str, address: &str, relay: bool) -> NeighbourAt {
        NeighbourAt { name: name(agent), address: address.to_owned(), relay }
    }

    fn set(world: &mut World, agents: Vec<NeighbourAt>) -> Result<u64, Problem> {
        let before = world.state.revision();
        world.run(CommandBody::SetNeighbours { region: name("eu-west"), agents })?;
        Ok(world.state.revision() - before)
    }

    fn known(world: &World, agent: &str) -> (String, bool) {
        let member = world.state.member(&format!("{agent}.agent.eu-west.hanse.internal")).unwrap();
        (member.address.clone(), member.relay)
    }

    fn world() -> World {
        let mut world = World::new();
        world.join_agent("a", 1);
        world.join_agent("b", 2);
        world
    }

    #[test]
    fn a_list_says_all_of_a_region() {
        let mut world = world();
        assert_eq!(set(&mut world, vec![at("a", "a:7443", true), at("b", "b:7443", false)]), Ok(1));
        assert_eq!(known(&world, "a"), ("a:7443".to_owned(), true));
        assert_eq!(known(&world, "b"), ("b:7443".to_owned(), false));
        assert_eq!(set(&mut world, vec![at("a", "a:7443", true), at("b", "b:7443", false)]), Ok(0));
        assert_eq!(set(&mut world, vec![at("b", "b:7443", true)]), Ok(1));
        assert_eq!(known(&world, "a"), (String::new(), false));
        assert_eq!(known(&world, "b"), ("b:7443".to_owned(), true));
        let other = CommandBody::SetNeighbours { region: name("us-east"), agents: Vec::new() };
        world.run(other).unwrap();
        assert_eq!(known(&world, "b"), ("b:7443".to_owned(), true), "of another region nothing changes");
    }

    #[test]
    fn a_list_with_an_agent_that_is_no_member_is_overtaken() {
        let mut world = world();
        let problem = set(&mut world, vec![at("c", "c:7443", false)]).unwrap_err();
        assert_eq!(problem.name, ProblemName::Stale);
        world.revoke("a.agent.eu-west.hanse.internal");
        let problem = set(&mut world, vec![at("a", "a:7443", false)]).unwrap_err();
        assert_eq!(problem.name, ProblemName::Stale);
    }

    #[test]
    fn a_list_that_no_leader_plans_is_refused() {
        let mut world = world();
        set(&mut world, vec![at("a", "a:7443", true)]).unwrap();
        for list in [
            vec![at("a", "", true)],
            vec![at("a", &"a".repeat(MAX_ADDRESS_BYTES + 1), false)],
            vec![at("b", "b:7443", false), at("b", "b:7443", true)],
        ] {
            assert_eq!(set(&mut world, list).unwrap_err().name, ProblemName::Invalid);
        }
        assert_eq!(known(&world, "a"), ("a:7443".to_owned(), true), "nothing changed");
        assert_eq!(set(&mut world, vec![at("a", &"a".repeat(MAX_ADDRESS_BYTES), true)]), Ok(1));
    }

    #[test]
    fn another_key_is_no_relay_and_has_no_address() {
        let mut world = world();
        set(&mut world, vec![at("a", "a:7443", true)]).unwrap();
        world.join_agent("a", 1);
        assert_eq!(known(&world, "a"), ("a:7443".to_owned(), true), "it is the same node");
        world.join_agent("a", 9);
        assert_eq!(known(&world, "a"), (String::new(), false));
    }
}
