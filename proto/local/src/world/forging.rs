//! What an agent sends that is not what it holds, and what a subscriber says that it holds and does not.

use hanse_proto::sync::Hello;
use hanse_sync::{ContentRoot, HeldHead};

use super::*;

/// Every forged value begins so.
pub(super) const FORGED: &[u8] = b"forged";

/// How an agent forges the local scope that it passes on. The root always fits the content.
#[derive(Debug, Clone, Copy)]
pub(super) enum Forgery {
    /// A value is another one at the same position.
    Value,
    /// A value is another one at the next position, with the signature of the one before.
    Next,
    /// The signature is of an earlier head.
    Earlier,
    /// The agent takes the scope over, with a key of its own.
    OwnLineage,
    /// The next position of the holder's lineage, signed with a key of the agent's own.
    OwnKey,
    /// The same, in the name of the holder's key.
    HoldersName,
    /// The last counter, in the name of the holder's key, with a signature of another head.
    LastCounter,
    /// A head of the other Origin, as its holder signed it.
    OtherOrigin,
    /// An old head, as its holder signed it: of the same Origin, or of one of its name that was deleted.
    Replay,
}

pub(super) const FORGERIES: [Forgery; 11] = [
    Forgery::Value,
    Forgery::Next,
    Forgery::Earlier,
    Forgery::OwnLineage,
    Forgery::OwnKey,
    Forgery::HoldersName,
    Forgery::LastCounter,
    Forgery::OtherOrigin,
    Forgery::Replay,
    // These are worth more than the others: what is sent is another head each time.
    Forgery::OtherOrigin,
    Forgery::Replay,
];

/// What an agent that forges has in its hands.
pub(super) struct Hands<'a> {
    /// What it holds of the local scope.
    pub(super) held: &'a Replica,
    /// Its own key.
    pub(super) key: &'a KeyPair,
    /// A head of the same local scope that it caught before.
    pub(super) old: &'a Replica,
    /// What it holds of the other local scope.
    pub(super) other: Option<&'a Replica>,
}

/// The local scope of an Origin as an agent forges it; `None`: it does not have what it needs for that.
pub(super) fn forge(
    forgery: Forgery,
    origin: usize,
    Hands { held, key, old, other }: Hands<'_>,
) -> Option<Replica> {
    let (at, signature) = (*held.position()?, held.signature()?.clone());
    let next = Position { revision: at.revision + 1, ..at };
    let forged = || -> Vec<(Arc<str>, Bytes)> { vec![(Arc::from(COMMON), Bytes::from_static(FORGED))] };
    let whole = || {
        let kept = held.content().into_iter().filter(|(key, _)| &**key != COMMON);
        kept.chain(forged()).collect()
    };
    let change = match forgery {
        Forgery::Value => held.prepare_snapshot(at, whole()).unwrap(),
        Forgery::Next | Forgery::OwnKey | Forgery::HoldersName => {
            held.prepare_delta(next, forged(), vec![]).unwrap()
        }
        Forgery::Earlier => held.prepare_delta(next, vec![], vec![]).unwrap(),
        Forgery::OwnLineage => {
            let id = head::id_of(&head::digest_of(&key.public_key_der()), 1, [9; 8]);
            let counter = head::counter_of(&at.lineage) + 1;
            let lineage = Lineage { generation: head::generation_of(counter, 0), id, parent: None };
            held.prepare_afresh(Position { lineage, revision: 1 }, whole())
        }
        Forgery::LastCounter => held.prepare_afresh(last_counter(&at), whole()),
        Forgery::OtherOrigin => held.prepare_afresh(*other?.position()?, other?.content()),
        Forgery::Replay => held.prepare_afresh(*old.position().filter(|old| **old != at)?, old.content()),
    };
    let sign = || head::sign(key, local(origin), change.to(), &change.root()).unwrap();
    let signature = match forgery {
        Forgery::Value | Forgery::Next | Forgery::LastCounter => signature,
        Forgery::Earlier => old.signature().filter(|old| **old != signature)?.clone(),
        Forgery::OwnLineage | Forgery::OwnKey => sign(),
        Forgery::HoldersName => HeadSignature { spki: signature.spki, ..sign() },
        Forgery::OtherOrigin => other?.signature()?.clone(),
        Forgery::Replay => old.signature()?.clone(),
    };
    let mut replica = held.clone();
    replica.commit(change.signed(signature)).unwrap();
    Some(replica)
}

/// A lineage that begins as that of a holder, with the last counter.
fn last_counter(held: &Position) -> Position {
    let lineage = Lineage { generation: u64::MAX, parent: None, ..held.lineage };
    Position { lineage, revision: 1 }
}

/// A subscriber says that it holds the last counter, in the name of the holder of what it does hold, and that another node showed it that.
pub(super) fn lie(hello: &mut Hello, held: Option<&Replica>) -> bool {
    let held = held.and_then(|held| Some((held.position()?, held.signature()?)));
    let Some((at, signature)) = held.filter(|_| hello.scope.starts_with("local/")) else { return false };
    let root = ContentRoot([5; 32]);
    let forged = HeldHead { position: last_counter(at), root, signature: signature.clone() };
    hello.met = Some(forged.into());
    if let (Some(said), true) = (&hello.position, hello.signature.is_some()) {
        let said = Position::try_from(said).expect("a session said it");
        hello.position = Some(last_counter(&said).into());
        hello.root = root.0.to_vec().into();
    }
    true
}
