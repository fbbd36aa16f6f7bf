//! Which of two states, or of two decisions, is later.

use hanse_proto::runtime;

use crate::Unusable;

/// Says which of two states, or of two decisions, is later: the one of the greater generation, then that of the greater revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch {
    /// Of the lineage; from 1 on.
    pub generation: u64,
    /// In this lineage.
    pub revision: u64,
}

impl Epoch {
    /// The one in the field `epoch`.
    pub(crate) fn read(epoch: Option<runtime::Epoch>) -> Result<Self, Unusable> {
        match epoch {
            None => Err(Unusable::new("epoch", "is absent")),
            Some(runtime::Epoch { generation: 0, .. }) => {
                Err(Unusable::new("epoch.generation", "is 0: generations begin with 1"))
            }
            Some(runtime::Epoch { generation, revision }) => Ok(Self { generation, revision }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_later_by_generation_and_then_by_revision() {
        let read = |generation, revision| Epoch::read(Some(runtime::Epoch { generation, revision }));
        let epoch = |generation, revision| read(generation, revision).unwrap();
        assert!(epoch(2, 1) > epoch(1, 9) && epoch(1, 9) > epoch(1, 8) && epoch(1, 0) == epoch(1, 0));
        assert_eq!(Epoch::read(None).unwrap_err().field, "epoch");
        assert_eq!(read(0, 5).unwrap_err().field, "epoch.generation");
    }
}
