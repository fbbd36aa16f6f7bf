//! What holders signed.

use super::*;

/// Everything that holders have published of the local scope.
#[derive(Default)]
pub(super) struct Truth {
    signed: BTreeMap<Spot, Signed>,
    /// The heads, in the order in which they were signed.
    pub(super) heads: Vec<(Position, HeadSignature)>,
}

/// A position. No two positions of one lineage differ in anything else.
type Spot = (u64, [u8; 16], u64);
pub(super) type Content = BTreeMap<Arc<str>, Bytes>;

struct Signed {
    by: usize,
    content: Content,
}

fn spot(at: &Position) -> Spot {
    (at.lineage.generation, at.lineage.id, at.revision)
}

pub(super) fn content_of(replica: &Replica) -> Content {
    replica.content().into_iter().collect()
}

impl Truth {
    /// A holder published what its source wishes for.
    pub(super) fn publish(&mut self, by: usize, replica: &Replica, wish: &Content) -> Result<(), String> {
        let (at, signature) = (replica.position().unwrap(), replica.signature().unwrap());
        let content = content_of(replica);
        if content != *wish {
            return Err(format!(
                "agent-{by} published {content:?} at {at}, and its source wishes for {wish:?}"
            ));
        }
        let before = self.signed.insert(spot(at), Signed { by, content: content.clone() });
        if let Some(before) = before {
            return Err(format!("{at} is used twice: for {:?} and {content:?}", before.content));
        }
        self.heads.push((*at, signature.clone()));
        Ok(())
    }

    /// What is held has the content that its signer had.
    pub(super) fn check(&self, replica: &Replica) -> Result<(), String> {
        let Some(at) = replica.position() else { return Ok(()) };
        let held = content_of(replica);
        let is_forged = |value: &Bytes| value.starts_with(forging::FORGED);
        if held.values().any(is_forged) {
            return Err(format!("it holds what was forged, at {at}: {held:?}"));
        }
        let Some(Signed { by, content }) = self.signed.get(&spot(at)) else {
            return Err(format!("it is at {at}, which no holder signed"));
        };
        let mut own = held.keys().filter(|key| key.starts_with(ONLY));
        if let Some(foreign) = own.find(|key| ***key != *format!("{ONLY}{by}")) {
            return Err(format!("it mixes: at {at} of agent-{by} it has {foreign} of another holder"));
        }
        match held == *content {
            true => Ok(()),
            false => Err(format!("it holds {held:?} at {at}, where its signer, agent-{by}, had {content:?}")),
        }
    }
}
