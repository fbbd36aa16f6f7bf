//! Lineages and positions on the wire.

use hanse_topology::{Lineage, Position};

use crate::{InvalidMessage, sync};

fn id(field: &'static str, bytes: &[u8]) -> Result<[u8; 16], InvalidMessage> {
    bytes.try_into().map_err(|_| InvalidMessage::new(field, format!("{} bytes instead of 16", bytes.len())))
}

impl From<Lineage> for sync::Lineage {
    fn from(lineage: Lineage) -> Self {
        let (parent_id, parent_revision) =
            lineage.parent.map_or_else(Default::default, |(id, revision)| (id.to_vec().into(), revision));
        Self { generation: lineage.generation, id: lineage.id.to_vec().into(), parent_id, parent_revision }
    }
}

impl TryFrom<&sync::Lineage> for Lineage {
    type Error = InvalidMessage;

    fn try_from(lineage: &sync::Lineage) -> Result<Self, InvalidMessage> {
        let parent = match lineage.parent_id.len() {
            0 => None,
            _ => Some((id("lineage.parent_id", &lineage.parent_id)?, lineage.parent_revision)),
        };
        Ok(Self { generation: lineage.generation, id: id("lineage.id", &lineage.id)?, parent })
    }
}

impl From<Position> for sync::Position {
    fn from(position: Position) -> Self {
        Self { lineage: Some(position.lineage.into()), revision: position.revision }
    }
}

impl TryFrom<&sync::Position> for Position {
    type Error = InvalidMessage;

    fn try_from(position: &sync::Position) -> Result<Self, InvalidMessage> {
        let lineage =
            position.lineage.as_ref().ok_or_else(|| InvalidMessage::new("position", "it has no lineage"))?;
        Ok(Self { lineage: lineage.try_into()?, revision: position.revision })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_the_wire() {
        let first = Lineage { generation: 1, id: [3; 16], parent: None };
        let parent = Lineage { generation: 2, id: [7; 16], parent: Some(([1; 16], 40)) };
        for lineage in [first, parent] {
            let position = Position { lineage, revision: 12 };
            assert_eq!(Position::try_from(&sync::Position::from(position)), Ok(position));
        }
    }

    #[test]
    fn malformed_positions_are_refused() {
        let short = sync::Lineage { generation: 1, id: vec![1; 15].into(), ..Default::default() };
        let bad_parent = sync::Lineage {
            generation: 1,
            id: vec![1; 16].into(),
            parent_id: vec![1].into(),
            ..Default::default()
        };
        for lineage in [None, Some(short), Some(bad_parent)] {
            assert!(Position::try_from(&sync::Position { lineage, revision: 1 }).is_err());
        }
    }
}
