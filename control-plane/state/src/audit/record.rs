//! What an entry says of a command.

use std::collections::BTreeSet;

use hanse_management::{Kind, ResourceKey};
use hanse_topology::Name;
use prost::Message;
use sha2::{Digest as _, Sha256};

use super::{
    AuditChange, AuditEntry,
    diff::{self, MAX_VALUE_BYTES, Room},
};
use crate::{
    Accepted, ChangeResult, Command, CommandBody, MintedToken, NeighbourAt, Proposal, ProposedEffect,
    ResealedValue, State, listed::listed,
};

/// How many bytes the fields of one entry may have: a screen of them. Most commands have less than 1 KiB. The names of the resources
/// come on top: no resource that changed is left out.
pub(super) const MAX_FIELDS_BYTES: usize = 16 << 10;
/// How many bytes the fields have that a proposal makes or changes: the second owner reads all of them, and one answer carries them.
const MAX_SHOWN_BYTES: usize = 4 << 20;
/// How many bytes the fields have that it deletes. A cascade may delete a thousand large specs: those are told by size and SHA-256.
const MAX_SHOWN_GONE_BYTES: usize = 1 << 20;

/// How many keys the words of an entry name.
const MAX_KEYS: usize = 8;

/// How many agents the words of an entry name.
const MAX_AGENTS: usize = 8;

/// The entry of a command that made `next` of `before`.
pub(crate) fn record(before: &State, next: &State, command: &Command, accepted: &Accepted) -> AuditEntry {
    let is_told = |result: &&ChangeResult| result.action != ChangeResult::UNCHANGED;
    let told: Vec<_> =
        accepted.changes.iter().filter(is_told).map(|result| (&result.key, result.action)).collect();
    let changes = changes(before, next, &told, Room { fields: MAX_FIELDS_BYTES, value: MAX_VALUE_BYTES });
    AuditEntry {
        number: before.audit.last_number() + 1,
        revision: next.revision,
        time_ms: next.time_ms,
        actor: actor(command).to_owned(),
        origin: command.origin.clone(),
        request_id: command.request_id.clone(),
        what: what(command, before, next),
        changes,
    }
}

impl AuditChange {
    /// What the changes of a proposal that made `next` of `before` do. What it makes and changes is told whole. `None`: that is too
    /// long to be shown.
    pub fn of_proposal(before: &State, next: &State, proposal: &Proposal) -> Option<Vec<Self>> {
        let gone = proposal.effects.iter().filter(|effect| effect.content.is_none()).count();
        let share = Room { fields: MAX_SHOWN_GONE_BYTES / gone.max(1), value: MAX_SHOWN_GONE_BYTES };
        let mut room = Room { fields: MAX_SHOWN_BYTES, value: usize::MAX };
        let told = proposal.effects.iter().map(|effect| {
            let ProposedEffect { key, action, content, .. } = effect;
            if content.is_none() {
                return Some(change(before, next, key, action, share));
            }
            let change = change(before, next, key, action, room);
            room.fields -= change.bytes();
            change.left_out.is_none().then_some(change)
        });
        told.collect()
    }

    /// How many bytes its fields have.
    fn bytes(&self) -> usize {
        self.fields.iter().map(|field| field.to_proto().encoded_len()).sum()
    }
}

fn changes(
    before: &State,
    next: &State,
    told: &[(&ResourceKey, &'static str)],
    mut room: Room,
) -> Vec<AuditChange> {
    let mut changes = Vec::new();
    for (at, (key, action)) in told.iter().enumerate() {
        // An equal share of what is left: what comes first leaves no less to what comes last.
        let share = Room { fields: room.fields / (told.len() - at), ..room };
        let change = change(before, next, key, action, share);
        room.fields -= change.bytes();
        changes.push(change);
    }
    changes
}

fn change(before: &State, next: &State, key: &ResourceKey, action: &str, room: Room) -> AuditChange {
    let (was, is) = (before.get(key), next.get(key));
    let (was, is) = (was.map(|one| &**one), is.map(|one| &**one));
    let (fields, left_out) = match key.kind {
        // A copy of what its Api says.
        Kind::ApiRevision => (Vec::new(), None),
        _ => match diff::fields(was, is, room) {
            Some(fields) => (fields, None),
            None => (Vec::new(), is.or(was).map(diff::digest)),
        },
    };
    AuditChange { key: key.clone(), action: action.to_owned(), fields, left_out }
}

/// Whose act it is: what an agent did, a control node only records.
fn actor(command: &Command) -> &str {
    match &command.body {
        CommandBody::RecordMinted { agent, .. } => agent,
        _of_the_actor => &command.actor,
    }
}

/// What an agent did.
fn minted(token: &MintedToken) -> String {
    let MintedToken { id, minted_at, role, environments, environments_total } = token;
    let named = environments.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
    let of = match (environments.is_empty(), *environments_total as usize > environments.len()) {
        (true, _) => String::new(),
        (false, false) => format!(" of {named}"),
        (false, true) => {
            format!(" of {named} and {} more", *environments_total as usize - environments.len())
        }
    };
    format!("mint join token {id} for a {role}{of} at {minted_at} (Unix seconds)")
}

/// The relays of a region, and the other agents that are found.
fn neighbours(region: &Name, agents: &[NeighbourAt]) -> String {
    let (relays, others): (Vec<_>, Vec<_>) = agents.iter().partition(|agent| agent.relay);
    let places = |agents: Vec<&NeighbourAt>| {
        let at = |agent: &&NeighbourAt| format!("{} at {}", agent.name, agent.address);
        if agents.is_empty() { "none".to_owned() } else { listed(agents.iter().map(at), MAX_AGENTS) }
    };
    format!("set agents of {region}: relays {}; others {}", places(relays), places(others))
}

/// What was asked, in words. Resources are named by the changes. Every node must say the same: another wording is another version.
fn what(command: &Command, before: &State, next: &State) -> String {
    match &command.body {
        CommandBody::Apply(_) => "apply".to_owned(),
        CommandBody::UseJoinToken { joiner, key_digest, .. } => {
            format!("join {joiner}{}", with_key(before, joiner, key_digest))
        }
        CommandBody::RecordServer { identity, key_digest, .. } => {
            format!("record {identity}{}", with_key(before, identity, key_digest))
        }
        CommandBody::StartLineage(lineage) => {
            format!("start lineage {}/{}", lineage.generation, hex::encode(lineage.id))
        }
        CommandBody::Revoke { identity, .. } => {
            format!("revoke {identity}{}", keys(&refused(next, identity)))
        }
        CommandBody::RefuseKeys { identity, keys: more } => {
            format!("refuse keys of {identity}{}", keys(&more.iter().collect::<Vec<_>>()))
        }
        CommandBody::Readmit { identity } => {
            format!("readmit {identity}{}", keys(&refused(before, identity)))
        }
        CommandBody::ForgetResults => "forget results".to_owned(),
        #[cfg(feature = "next")]
        CommandBody::SetMotto(_) => "set motto".to_owned(),
        CommandBody::Finalize { version, .. } => format!("finalize version {version}"),
        CommandBody::TrustRoot { fresh, .. } => format!("trust root {}", hex::encode(fresh.key)),
        CommandBody::UseRoot(key) => format!("issue from root {}", hex::encode(key)),
        CommandBody::DropRoot(key) => format!("drop root {}", hex::encode(key)),
        CommandBody::Propose { .. } => next.proposal(next.proposals.made).map_or_else(String::new, |made| {
            let Proposal { number, reason, .. } = &**made;
            let (until, force) = (made.expires(), force(made));
            format!(
                "propose {number}{force} until {until}: {reason}; it changes {}; {}",
                changed_by(made),
                digest(made)
            )
        }),
        CommandBody::Approve { number, .. } => format!("approve {number} {}", proposed(before, *number)),
        CommandBody::Reject { number, reason } => {
            let why = if reason.is_empty() { String::new() } else { format!("; rejected: {reason}") };
            format!("reject {number} {}{why}", proposed(before, *number))
        }
        CommandBody::SetRecoveryKey { recovery, .. } => {
            let of = |key: &[u8]| short(&Sha256::digest(key).into());
            let (sign, wrap) = (of(&recovery.sign), of(&recovery.wrap));
            format!("set the recovery key: sign {sign}, wrap {wrap}")
        }
        CommandBody::AddKey { version, digest, maker, .. } => {
            format!("add federation key {version} with digest {} of {maker}", short(digest))
        }
        CommandBody::UseKey { version } => format!("use federation key {version}{}", dropped(before, next)),
        CommandBody::RotateKey => "rotate the federation key".to_owned(),
        CommandBody::Reseal(values) => resealed(before, next, values),
        CommandBody::RecordMinted { token, .. } => minted(token),
        CommandBody::SetNeighbours { region, agents } => neighbours(region, agents),
        CommandBody::DropAudit { through, .. } => format!("drop audit through {through}"),
    }
}

/// The proposals that the command dropped.
fn dropped(before: &State, next: &State) -> String {
    let numbers = before.proposals().map(|proposal| proposal.number);
    let dropped: Vec<_> = numbers.filter(|number| next.proposal(*number).is_none()).collect();
    match dropped.is_empty() {
        true => String::new(),
        false => format!("; drop proposals with data of Secrets: {}", listed(dropped.iter(), MAX_KEYS)),
    }
}

/// How many values of which Secrets were sealed anew. The work is that of the command: a federation may have a million of values.
fn resealed(before: &State, next: &State, values: &[ResealedValue]) -> String {
    let version = next.federation_keys().active().map_or(0, |(version, _)| version);
    let places = values.iter().map(|value| (&value.secret, value.field.as_str()));
    let sealed: BTreeSet<_> = places
        .filter(|(secret, field)| before.sealed_value(secret, field) != next.sealed_value(secret, field))
        .collect();
    let secrets: BTreeSet<_> = sealed.iter().map(|(secret, _)| *secret).collect();
    let (count, secrets) = (sealed.len(), listed(secrets.into_iter(), MAX_KEYS));
    format!("seal {count} values anew with federation key {version}, of {secrets}")
}

/// Who proposed what is decided, and why.
fn proposed(before: &State, number: u64) -> String {
    before.proposal(number).map_or_else(String::new, |proposal| {
        let Proposal { actor, origin, reason, .. } = &**proposal;
        let (force, digest) = (force(proposal), digest(proposal));
        format!("proposed by {} (token {actor}){force}: {reason}; {digest}", origin.owner)
    })
}

/// Whether requests may be taken from other Organizations.
fn force(proposal: &Proposal) -> &'static str {
    if proposal.force_grants { " with force-grants" } else { "" }
}

/// What ties the entries of one proposal to each other.
fn digest(proposal: &Proposal) -> String {
    format!("effects sha256:{}", hex::encode(proposal.digest()))
}

/// The first of the resources that a proposal changes.
fn changed_by(proposal: &Proposal) -> String {
    listed(proposal.effects.iter().map(|effect| &effect.key), MAX_KEYS)
}

/// The key that a node comes with, and the one that it had before.
fn with_key(before: &State, identity: &str, key: &[u8; 32]) -> String {
    let earlier = before.members.get(identity).filter(|member| member.key_digest != *key);
    let in_place_of = earlier.map(|member| format!(" in place of {}", short(&member.key_digest)));
    format!(" with key {}{}", short(key), in_place_of.unwrap_or_default())
}

/// The keys that are refused with an identity: those it has and had, and those of its revocation.
fn refused<'a>(state: &'a State, identity: &str) -> Vec<&'a [u8; 32]> {
    let member = state.members.get(identity).map(|member| &**member).into_iter();
    let joined = member.flat_map(|member| std::iter::once(&member.key_digest).chain(&member.earlier_keys));
    let named = state.revocations.get(identity).into_iter().flat_map(|revocation| revocation.keys.iter());
    joined.chain(named).collect()
}

/// Some keys, and how many more there are.
fn keys(keys: &[&[u8; 32]]) -> String {
    if keys.is_empty() {
        return String::new();
    }
    format!(" with keys {}", listed(keys.iter().map(|key| short(key)), MAX_KEYS))
}

/// The beginning of a key's SHA-256: enough to compare it with a certificate.
fn short(key: &[u8; 32]) -> String {
    hex::encode(&key[..8])
}
