//! Who takes part: spending a use of a JoinToken makes its joiner a member; a founder records itself.

use std::sync::Arc;

use hanse_management::{Kind, Problem, ProblemName, ResourceKey, Spec, kinds::JoinTokenSpec};
use hanse_topology::Name;

use super::Effects;
use crate::{
    ChangeResult, GONE_AFTER, Incumbent, Member, Metadata, Resource, SEAT_UNDECIDED, Seat, SeatAsked, State,
    member::{Identified, identified},
};

/// Most keys that a control node replaces: each is replaced because a `store_key` was lost or stolen, and a name that lost so
/// many has another fault.
pub(super) const MAX_EARLIER_KEYS: usize = 16;

/// A use of a token, as the command has it.
pub(super) struct Use<'a> {
    pub(super) token: &'a Name,
    pub(super) secret_digest: &'a [u8; 32],
    pub(super) joiner: &'a str,
    pub(super) key_digest: &'a [u8; 32],
    pub(super) seat: Option<SeatAsked>,
}

/// Counts one use of the token, if the secret is the right one, it has not expired and uses are left; and remembers the
/// joiner with what the token lets it learn. A joiner asking again with the same token and key spends nothing.
///
/// A name stays with the key it joined with, unless the token's spec says `replace`; and a key stays with its name. The name
/// of a control node that runs is taken with `force` only.
///
/// An unknown token and a wrong secret get the same answer: names cannot be probed.
pub(super) fn spend(before: &State, next: &mut State, wanted: &Use<'_>) -> Result<Effects, Problem> {
    let Use { token, secret_digest, joiner, key_digest, seat } = *wanted;
    let key = ResourceKey::global(Kind::JoinToken, token.clone());
    let found = before.get(&key).map(Arc::as_ref);
    let Some(Resource { metadata, spec: Spec::JoinToken(spec), .. }) = found else {
        return Err(ask_anew(format!("the join token {token} is unknown or its secret is wrong")));
    };
    if spec.digest.0 != *secret_digest {
        return Err(ask_anew(format!("the join token {token} is unknown or its secret is wrong")));
    }
    if next.time_ms >= spec.expires_at.saturating_mul(1000) {
        return Err(ask_anew(format!("the join token {token} has expired")));
    }
    check_not_revoked(before, joiner, key_digest)?;
    check_key_is_free(before, joiner, key_digest)?;
    let known = before.members.get(joiner).map(Arc::as_ref);
    // What is said of an agent's place in its region is said of the node with that key.
    let same = known.filter(|known| known.key_digest == *key_digest);
    let member = Member {
        token: Some(token.clone()),
        key_digest: *key_digest,
        environments: spec.environments.clone(),
        seat: seat.map(|seat| Seat { node_id: seat.node_id, forced: spec.force }),
        earlier_keys: known.map(|known| known.earlier_keys.clone()).unwrap_or_default(),
        address: same.map(|known| known.address.clone()).unwrap_or_default(),
        relay: same.is_some_and(|known| known.relay),
    };
    if known == Some(&member) {
        return Ok(Effects::none());
    }
    match seat {
        Some(seat) => check_seat(joiner, known, &member, seat.incumbent, spec)?,
        None => check_name(joiner, known, &member, spec)?,
    }
    if metadata.uses >= spec.uses {
        return Err(used_up(token, metadata, spec));
    }
    let revision = before.revision + 1;
    let mut used_by = metadata.used_by.clone();
    used_by.insert(joiner.into());
    let metadata = Metadata {
        revision,
        updated_at_ms: next.time_ms,
        uses: metadata.uses + 1,
        used_by,
        ..metadata.clone()
    };
    next.set_member(joiner, member);
    next.store(Resource { key: key.clone(), metadata, spec: Spec::JoinToken(spec.clone()) });
    Ok(Effects {
        touched: vec![key.clone()],
        results: vec![ChangeResult { key, action: ChangeResult::UPDATED, revision }],
        ..Effects::revision()
    })
}

/// Records the key and the place of a control node that has none on record: a founder, or one that joined before places were
/// kept. A node with the Raft id on record replaces its own key (`hanse server reissue --new-key`), unless that key or its name
/// is refused. A copy of its directory from before cannot put the earlier key back. Changes nothing where another id has the name:
/// that node was replaced.
pub(super) fn record_server(
    state: &mut State,
    identity: &str,
    key_digest: &[u8; 32],
    node_id: u64,
) -> Result<Effects, Problem> {
    if !matches!(identified(identity)?, Identified::Server(_)) {
        return Err(Problem::new(ProblemName::Invalid, format!("{identity} is no control node"))
            .at("identity")
            .remedy("agents join with a token: hanse token create --join agent"));
    }
    check_key_is_free(state, identity, key_digest)?;
    let seat = Some(Seat { node_id, forced: false });
    let member = match state.members.get(identity).map(Arc::as_ref) {
        None => Member {
            token: None,
            key_digest: *key_digest,
            environments: Vec::new(),
            seat,
            earlier_keys: Vec::new(),
            address: String::new(),
            relay: false,
        },
        Some(known) if known.seat.is_none() && known.key_digest == *key_digest => {
            Member { seat, ..known.clone() }
        }
        Some(known)
            if known.seat.is_some_and(|seat| seat.node_id == node_id) && known.key_digest != *key_digest =>
        {
            check_not_revoked(state, identity, key_digest)?;
            Member { key_digest: *key_digest, earlier_keys: replaced_by(known)?, ..known.clone() }
        }
        Some(_) => return Ok(Effects::none()),
    };
    state.set_member(identity, member);
    Ok(Effects::revision())
}

/// The earlier keys of a node that replaces its key once more. None is forgotten: a forgotten one could be put back.
fn replaced_by(known: &Member) -> Result<Vec<[u8; 32]>, Problem> {
    if known.earlier_keys.len() >= MAX_EARLIER_KEYS {
        let detail = format!("this node replaced its key {MAX_EARLIER_KEYS} times, and cannot once more");
        return Err(Problem::new(ProblemName::TooLarge, detail)
            .at("keyDigest")
            .remedy("join it under another name, and revoke this one: hanse member revoke IDENTITY"));
    }
    Ok(known.earlier_keys.iter().copied().chain([known.key_digest]).collect())
}

fn check_not_revoked(state: &State, joiner: &str, key_digest: &[u8; 32]) -> Result<(), Problem> {
    if state.is_revoked(joiner) {
        return Err(Problem::new(ProblemName::JoinRefused, format!("{joiner} is revoked")).remedy(
            "join under another name; or, if its key is safe, lift that first: hanse member readmit",
        ));
    }
    match state.revoked_with(key_digest) {
        Some(revoked) => Err(Problem::new(
            ProblemName::JoinRefused,
            format!("this key is refused: it was revoked with {revoked}"),
        )
        .remedy("join with a new key: start with an empty data directory")),
        None => Ok(()),
    }
}

/// One key joins under one name, and not after it was replaced.
fn check_key_is_free(state: &State, joiner: &str, key_digest: &[u8; 32]) -> Result<(), Problem> {
    let had_it = |(_, member): &(&str, &Member)| member.earlier_keys.contains(key_digest);
    if let Some((holder, _)) = state.members().find(had_it) {
        return Err(Problem::new(
            ProblemName::JoinRefused,
            format!("this key is refused: {holder} had it and replaced it"),
        )
        .remedy(
            "stop this node if it runs from an old copy of its data directory; else join with a new key",
        ));
    }
    match state.members_with(key_digest).find(|holder| *holder != joiner) {
        Some(holder) => {
            Err(Problem::new(ProblemName::JoinRefused, format!("this key joined already, as {holder}"))
                .remedy("give each node a key of its own: start with an empty data directory"))
        }
        None => Ok(()),
    }
}

/// One name belongs to one key.
fn check_name(
    joiner: &str,
    known: Option<&Member>,
    member: &Member,
    spec: &JoinTokenSpec,
) -> Result<(), Problem> {
    if known.is_none_or(|known| known.key_digest == member.key_digest) || spec.may_replace() {
        return Ok(());
    }
    Err(Problem::new(ProblemName::JoinRefused, format!("{joiner} joined already, with another key")).remedy(
        "join under another name; or, if its key is lost, with a join token whose spec says `replace: true`",
    ))
}

/// The place of a control node belongs to one key and one Raft id. A node that runs keeps its place, whichever key it has.
fn check_seat(
    joiner: &str,
    known: Option<&Member>,
    member: &Member,
    incumbent: Incumbent,
    spec: &JoinTokenSpec,
) -> Result<(), Problem> {
    let is_another = |known: &Member| {
        known.key_digest != member.key_digest
            || known.seat.zip(member.seat).is_some_and(|(known, asked)| known.node_id != asked.node_id)
    };
    let is_known = known.is_some_and(is_another);
    let (is_taken, runs) = match incumbent {
        Incumbent::None => (is_known, false),
        Incumbent::Silent => (true, false),
        Incumbent::Heard => (true, true),
        Incumbent::Unknown => (is_known, true),
    };
    if !is_taken || spec.force || (!runs && spec.replace) {
        return Ok(());
    }
    let refused = |detail: String| Problem::new(ProblemName::JoinRefused, detail);
    Err(if runs {
        refused(format!("the name of {joiner} belongs to a control node that runs")).at(SEAT_UNDECIDED).remedy(format!(
            "give the new node a name of its own; or stop the old node, wait {GONE_AFTER:?}, and join with a token made \
             with --replace; or, if it cannot be stopped, with a token made with --force"
        ))
    } else {
        refused(format!("{joiner} joined already, as another node")).remedy(
            "give the new node a name of its own; or, if the old one is gone for good, join with a token made with --replace",
        )
    })
}

fn used_up(token: &Name, metadata: &Metadata, spec: &JoinTokenSpec) -> Problem {
    /// So many users are named: more do not fit on a line.
    const NAMED: usize = 3;
    let mut detail =
        format!("the join token {token} is used up: {} of {} uses spent", metadata.uses, spec.uses);
    let users: Vec<&str> = metadata.used_by.iter().take(NAMED).map(|by| &**by).collect();
    if !users.is_empty() {
        let more = if metadata.used_by.len() > NAMED { " and others" } else { "" };
        detail.push_str(&format!(", by {}{more}", users.join(", ")));
    }
    ask_anew(detail)
}

fn ask_anew(detail: String) -> Problem {
    Problem::new(ProblemName::JoinRefused, detail).remedy("ask an operator for a new one")
}
