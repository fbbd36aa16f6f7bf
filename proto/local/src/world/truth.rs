//! What is true, without a question to the code that is tested: what the control plane says of Origins, and what holders signed.

use hanse_proto::runtime::{self, Resource, resource::Kind};
use prost::Message as _;

use super::*;

/// What the `runtime` scopes of a node say of Origins.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Known([Option<Named>; ORIGINS]);

/// An Origin.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    made_at_ms: u64,
    holders: Vec<KeyDigest>,
}

impl Known {
    pub(super) fn of(map: &ReplicaMap) -> Self {
        Self(std::array::from_fn(|origin| {
            let bytes = map.get(runtime_of(origin))?.get(control::ORIGIN)?.clone();
            let Some(Kind::Origin(origin)) = Resource::decode(bytes).unwrap().kind else { return None };
            let key = |holder: runtime::Holder| KeyDigest::try_from(&*holder.key).unwrap();
            let holders = origin.holders.into_iter().map(key).collect();
            Some(Named { made_at_ms: origin.made_at_ms, holders })
        }))
    }

    /// When an Origin was made; `None`: the node has none.
    pub(super) fn made_at_ms(&self, origin: usize) -> Option<u64> {
        Some(self.0[origin].as_ref()?.made_at_ms)
    }

    /// Whether a holder with this key may sign heads, of an Origin that was made then.
    fn names(&self, origin: usize, key: &KeyDigest, made_at_ms: u64) -> bool {
        let named = self.0[origin].as_ref();
        named.is_some_and(|named| named.made_at_ms == made_at_ms && named.holders.contains(key))
    }
}

/// Everything that holders have published of the local scopes.
#[derive(Default)]
pub(super) struct Truth {
    signed: BTreeMap<(usize, Spot), Signed>,
    /// What was published of each local scope, in that order.
    pub(super) heads: [Vec<Replica>; ORIGINS],
}

/// A position. No two positions of one lineage differ in anything else.
type Spot = (u64, [u8; 16], u64);
pub(super) type Content = BTreeMap<Arc<str>, Bytes>;

/// A head, with the key and the Origin of its holder at that time.
struct Signed {
    by: usize,
    key: KeyDigest,
    made_at_ms: u64,
    signature: HeadSignature,
    content: Content,
}

fn spot(at: &Position) -> Spot {
    (at.lineage.generation, at.lineage.id, at.revision)
}

pub(super) fn content_of(replica: &Replica) -> Content {
    replica.content().into_iter().collect()
}

impl Truth {
    /// The holder `by`, which has this key and knows so much, published what its source wishes for.
    pub(super) fn publish(
        &mut self,
        origin: usize,
        (by, key, known): (usize, KeyDigest, &Known),
        replica: &Replica,
        wish: &Content,
    ) -> Result<(), String> {
        let (at, signature) = (replica.position().unwrap(), replica.signature().unwrap().clone());
        let content = content_of(replica);
        if content != *wish {
            return Err(format!(
                "agent-{by} published {content:?} at {at}, and its source wishes for {wish:?}"
            ));
        }
        let made_at_ms = known.made_at_ms(origin).filter(|made_at_ms| known.names(origin, &key, *made_at_ms));
        let Some(made_at_ms) = made_at_ms else {
            return Err(format!("agent-{by} published {at}, and {NAMES_NONE}"));
        };
        let signed = Signed { by, key, made_at_ms, signature, content: content.clone() };
        if let Some(before) = self.signed.insert((origin, spot(at)), signed) {
            return Err(format!("{at} is used twice: for {:?} and {content:?}", before.content));
        }
        self.heads[origin].push(replica.clone());
        Ok(())
    }

    /// What is held is what its signer signed for this Origin.
    pub(super) fn check(&self, origin: usize, replica: &Replica) -> Result<(), String> {
        let Some(at) = replica.position() else { return Ok(()) };
        let held = content_of(replica);
        if held.values().any(|value| value.starts_with(forging::FORGED)) {
            return Err(format!("it holds what was forged, at {at}: {held:?}"));
        }
        let is_of_another = |value: &Bytes| !value.starts_with(mark(origin));
        let other =
            (0..ORIGINS).find(|other| *other != origin && self.signed.contains_key(&(*other, spot(at))));
        if held.values().any(is_of_another) || other.is_some() {
            return Err(format!("it mixes two Origins: {} is at {at} with {held:?}", local(origin)));
        }
        let Some(Signed { by, content, signature, .. }) = self.signed.get(&(origin, spot(at))) else {
            return Err(format!("it is at {at}, which no holder signed"));
        };
        let mut own = held.keys().filter(|key| key.starts_with(ONLY));
        if let Some(foreign) = own.find(|key| ***key != *format!("{ONLY}{by}")) {
            return Err(format!("it mixes two holders: at {at} of agent-{by} it has {foreign}"));
        }
        if held != *content {
            return Err(format!("it holds {held:?} at {at}, where its signer, agent-{by}, had {content:?}"));
        }
        match replica.signature() == Some(signature) {
            true => Ok(()),
            false => Err(format!("it holds {at} with another signature than agent-{by} made")),
        }
    }

    /// Whether a head counts for a node that knows so much: a holder signed it whose key the Origin names, and of the same Origin.
    pub(super) fn counts(&self, origin: usize, at: &Position, known: &Known) -> bool {
        let signed = self.signed.get(&(origin, spot(at)));
        signed.is_some_and(|Signed { key, made_at_ms, .. }| known.names(origin, key, *made_at_ms))
    }

    /// Where a replica stands, if that counts for a node that knows so much.
    pub(super) fn counted(&self, origin: usize, map: &ReplicaMap, known: &Known) -> Option<Position> {
        let at = map.get(local(origin))?.position()?;
        self.counts(origin, at, known).then_some(*at)
    }

    /// A head that was just taken in is what its signer signed, and counts for the node that took it.
    pub(super) fn check_taken(&self, origin: usize, map: &ReplicaMap, known: &Known) -> Result<(), String> {
        let Some(replica) = map.get(local(origin)) else { return Ok(()) };
        self.check(origin, replica)?;
        match replica.position() {
            Some(at) if !self.counts(origin, at, known) => {
                Err(format!("it took {at} of {}, and {NAMES_NONE}", local(origin)))
            }
            Some(_) | None => Ok(()),
        }
    }
}
