//! An agent that forges what it passes on, as the seeded bug `forge-local-head`.

use hanse_process::seeded;
use hanse_sync::{Prepared, Replica};

/// The bug: a relay withholds one resource of each local scope that it was brought. Position and signature stay the holder's.
const FORGES: &str = "forge-local-head";

/// What is put in force instead of `brought`, which leads from `own` to the head of `link`.
pub(crate) fn forged(brought: Prepared, link: &Replica, own: Option<&Replica>) -> Prepared {
    if seeded(FORGES) { without_last(link, own).unwrap_or(brought) } else { brought }
}

/// The head of `link` without its last resource: the root is that of what is left, and so is not the one that the holder signed.
fn without_last(link: &Replica, own: Option<&Replica>) -> Option<Prepared> {
    let mut content = link.content();
    content.pop();
    let prepared = own.unwrap_or(&Replica::new()).prepare_snapshot(*link.position()?, content).ok()?;
    Some(prepared.signed(link.signature()?.clone()))
}

#[cfg(test)]
mod tests {
    use hanse_sync::HeadSignature;
    use hanse_topology::{Lineage, Position};

    use super::*;

    #[test]
    fn a_forged_head_has_the_signature_of_the_holder_and_another_root() {
        let lineage = Lineage { generation: 1, id: [1; 16], parent: None };
        let signature = HeadSignature { spki: "key".into(), signature: "signed".into() };
        let mut link = Replica::new();
        let content = ["a", "b"].map(|key| (key.into(), "1".into())).to_vec();
        let head = link.prepare_snapshot(Position { lineage, revision: 7 }, content).unwrap();
        link.commit(head.signed(signature)).unwrap();

        let mut own = Replica::new();
        own.commit(without_last(&link, None).unwrap()).unwrap();
        assert_eq!((own.position(), own.signature()), (link.position(), link.signature()));
        assert_ne!(own.root(), link.root());
        assert_eq!(own.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["a"]);
    }
}
