//! Join tokens that agents made: each gets an entry in the audit, once.

use std::sync::Arc;

use hanse_management::Problem;
use hanse_topology::Name;

use super::Effects;
use crate::{MintedToken, State};

/// How many tokens of one agent are recorded in a day: far more than gateways join. A stolen agent must not fill the audit.
const MAX_A_DAY: usize = 256;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// For how many days a token is remembered. An agent tells of a token for 8.
const DAYS: usize = 9;
const REMEMBERED_MS: u64 = DAYS as u64 * DAY_MS;
/// How many tokens of one agent are remembered: as many as it may record in that time.
const MAX_REMEMBERED: usize = DAYS * MAX_A_DAY;

/// The tokens of one agent that are in the audit, each with when it was recorded, the oldest first.
pub(crate) type Recorded = Vec<(Name, u64)>;

/// Records a token. One that is in the audit already, and one of an agent that may record no more, changes nothing.
pub(super) fn record(state: &mut State, agent: &str, token: &MintedToken) -> Result<Effects, Problem> {
    if !state.lacks_minted(agent, &token.id, state.time_ms) {
        return Ok(Effects::none());
    }
    let mut recorded: Recorded = state.minted.get(agent).map(|known| known.to_vec()).unwrap_or_default();
    recorded.push((token.id.clone(), state.time_ms));
    let surplus = recorded.len().saturating_sub(MAX_REMEMBERED);
    recorded.drain(..surplus);
    state.minted.insert(agent.into(), Arc::new(recorded));
    // No revision: nothing that is read, watched or projected is different.
    Ok(Effects { makes_entry: true, ..Effects::none() })
}

/// Forgets tokens that no agent tells of any more, also those of agents that are gone.
pub(super) fn forget(state: &mut State) {
    let now_ms = state.time_ms;
    let stale = state.minted.iter().filter(|(_, recorded)| is_stale(recorded, now_ms));
    for (agent, recorded) in
        stale.map(|(agent, recorded)| (agent.clone(), recorded.clone())).collect::<Vec<_>>()
    {
        let kept: Recorded = recorded.iter().filter(|(_, at)| !is_old(*at, now_ms)).cloned().collect();
        match kept.is_empty() {
            true => state.minted.remove(&agent),
            false => state.minted.insert(agent, Arc::new(kept)),
        };
    }
}

/// Whether the oldest of them is to be forgotten.
fn is_stale(recorded: &Recorded, now_ms: u64) -> bool {
    recorded.first().is_some_and(|(_, at)| is_old(*at, now_ms))
}

fn is_old(at: u64, now_ms: u64) -> bool {
    now_ms.saturating_sub(at) >= REMEMBERED_MS
}

impl State {
    /// Whether tokens are remembered that no agent tells of any more.
    pub(crate) fn has_old_minted(&self, now_ms: u64) -> bool {
        self.minted.values().any(|recorded| is_stale(recorded, now_ms))
    }

    /// Whether a join token of an agent is to be recorded: the agent is a member, the token is not in the audit, and the agent has
    /// not recorded as many as it may in a day. `now_ms`: the time of the command that would record it, for the state's own time stands
    /// still between commands.
    pub fn lacks_minted(&self, agent: &str, token: &Name, now_ms: u64) -> bool {
        if !self.members.contains_key(agent) || self.is_revoked(agent) {
            return false;
        }
        let Some(recorded) = self.minted.get(agent) else { return true };
        let now_ms = self.time_ms.max(now_ms);
        let of_late = |at: &u64| now_ms.saturating_sub(*at) < DAY_MS;
        recorded.iter().all(|(id, _)| id != token)
            && recorded.iter().filter(|(_, at)| of_late(at)).count() < MAX_A_DAY
    }
}

#[cfg(test)]
mod tests {
    use hanse_management::Digest;

    use super::*;
    use crate::{
        CommandBody,
        fixture::{START_MS, World, name},
    };

    const AGENT: &str = "agent-1.agent.eu-west.hanse.internal";

    fn world() -> World {
        let (digest, expires_at) = (Digest::of(b"s"), START_MS / 1000 + 3_600);
        let mut world = World::new();
        world.put(&format!(
            "{{kind: JoinToken, name: t, spec: {{role: agent, region: eu-west, expiresAt: {expires_at}, digest: '{digest}'}}}}"
        ));
        world
            .run(CommandBody::UseJoinToken {
                token: name("t"),
                secret_digest: digest.0,
                joiner: AGENT.to_owned(),
                key_digest: [1; 32],
                seat: None,
            })
            .unwrap();
        world
    }

    fn minted(agent: &str, id: &str) -> CommandBody {
        let token = MintedToken {
            id: name(id),
            minted_at: 1_900_000_000,
            role: "gateway".into(),
            environments: vec![name("production")],
            environments_total: 5,
        };
        CommandBody::RecordMinted { agent: agent.into(), token }
    }

    #[test]
    fn a_token_is_recorded_once_and_makes_no_revision() {
        let mut world = world();
        let (revision, before) = (world.state.revision(), world.state.audit().head().number);
        world.run(minted(AGENT, "gw-1")).unwrap();
        world.run(minted(AGENT, "gw-1")).unwrap();
        world.run(minted(AGENT, "gw-2")).unwrap();
        assert_eq!(world.state.revision(), revision);
        let entries: Vec<_> = world.state.audit().from(before + 1).map(|(entry, _, _)| entry).collect();
        let told: Vec<_> = entries.iter().map(|entry| (entry.actor.as_str(), entry.what.as_str())).collect();
        let what = |id: &str| {
            format!(
                "mint join token {id} for a gateway of production and 4 more at 1900000000 (Unix seconds)"
            )
        };
        assert_eq!(told, [(AGENT, what("gw-1").as_str()), (AGENT, what("gw-2").as_str())]);
        // Also after the state came back from a snapshot.
        let mut back =
            World { state: State::from_records(world.state.to_records()).unwrap(), ..world.clone() };
        assert!(back.state == world.state);
        back.run(minted(AGENT, "gw-2")).unwrap();
        assert_eq!(back.state.audit().head(), world.state.audit().head());
    }

    #[test]
    fn only_members_are_recorded_and_a_day_has_an_end() {
        let mut world = world();
        let before = world.state.audit().head();
        world.run(minted("other.agent.eu-west.hanse.internal", "gw-1")).unwrap();
        assert_eq!(world.state.audit().head(), before);
        for number in 0..MAX_A_DAY + 3 {
            world.run(minted(AGENT, &format!("gw-{number}"))).unwrap();
        }
        assert_eq!(world.state.audit().head().number, before.number + MAX_A_DAY as u64);
        // A day later, also without a command between.
        assert!(!world.state.lacks_minted(AGENT, &name("gw-next"), world.now_ms));
        world.now_ms += DAY_MS + 1_000;
        assert!(world.state.lacks_minted(AGENT, &name("gw-next"), world.now_ms));
        world.run(minted(AGENT, "gw-next")).unwrap();
        assert_eq!(world.state.audit().head().number, before.number + MAX_A_DAY as u64 + 1);
        let remembered = !world.state.lacks_minted(AGENT, &name("gw-0"), world.now_ms);
        assert!(remembered, "it is remembered for longer than a day");
    }

    #[test]
    fn what_no_agent_tells_of_any_more_is_forgotten() {
        let mut world = world();
        world.run(minted(AGENT, "gw-1")).unwrap();
        let recorded = world.now_ms;
        world.now_ms += DAY_MS;
        world.run(minted(AGENT, "gw-2")).unwrap();
        // A revocation forgets nothing: the agent may be readmitted, and tells of its tokens again.
        let revoked = CommandBody::Revoke {
            identity: AGENT.into(),
            control_nodes: Vec::new(),
            keys: Vec::new(),
            known_keys: Vec::new(),
        };
        world.run(revoked).unwrap();
        let forget = |world: &mut World, at: u64| {
            world.now_ms = at - 1;
            world.run(CommandBody::ForgetResults).unwrap();
            world.state.minted.get(AGENT).map_or(0, |recorded| recorded.len())
        };
        let end = recorded + REMEMBERED_MS;
        assert!(!world.state.has_stale(end - 1) && world.state.has_stale(end));
        assert_eq!(forget(&mut world, end - 1), 2);
        assert_eq!(forget(&mut world, end), 1);
        assert_eq!(forget(&mut world, end + DAY_MS), 1);
        assert_eq!(forget(&mut world, end + DAY_MS + 1), 0);
        assert!(world.state.minted.is_empty() && !world.state.has_stale(u64::MAX));
        assert!(State::from_records(world.state.to_records()).unwrap() == world.state);
    }
}
