//! Lineages and positions: where in which history a scope's content stands.

use std::{cmp::Ordering, fmt};

/// One history of the control plane's state. `restore` and `recover` start one of a greater generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lineage {
    /// How many histories there were before, plus one.
    pub generation: u64,
    /// Random; tells two histories of one generation apart.
    pub id: [u8; 16],
    /// The history this one continues, and the last revision of it that this one holds.
    pub parent: Option<([u8; 16], u64)>,
}

/// How one lineage relates to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineageOrder {
    /// They are one history.
    Same,
    /// The first is of a greater generation: it supersedes the other.
    Greater,
    /// The first is of a lesser generation.
    Lesser,
    /// Two histories claim one generation. A subscriber that sees this keeps what it saw first, and raises an alarm.
    Conflict,
}

impl Lineage {
    /// How `self` relates to `other`.
    pub fn order(&self, other: &Self) -> LineageOrder {
        match self.generation.cmp(&other.generation) {
            Ordering::Greater => LineageOrder::Greater,
            Ordering::Less => LineageOrder::Lesser,
            Ordering::Equal if self.id == other.id => LineageOrder::Same,
            Ordering::Equal => LineageOrder::Conflict,
        }
    }
}

/// Spelled `GENERATION-ID`, the id in hexadecimal.
impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.generation)?;
        self.id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A point of one lineage. Revisions of different lineages never compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The history.
    pub lineage: Lineage,
    /// The point in it.
    pub revision: u64,
}

impl Position {
    /// Whether `self` is `other` or a later point of the same lineage, or lies in a lineage that supersedes `other`'s.
    /// What holds at such a point may replace what held at `other`.
    pub fn may_follow(&self, other: &Self) -> bool {
        match self.lineage.order(&other.lineage) {
            LineageOrder::Same => self.revision >= other.revision,
            LineageOrder::Greater => true,
            LineageOrder::Lesser | LineageOrder::Conflict => false,
        }
    }

    /// Whether `self` is the same point as `other`.
    pub fn is(&self, other: &Self) -> bool {
        self.lineage.order(&other.lineage) == LineageOrder::Same && self.revision == other.revision
    }
}

/// Spelled `GENERATION-ID/REVISION`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.lineage, self.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lineage(generation: u64, byte: u8) -> Lineage {
        Lineage { generation, id: [byte; 16], parent: None }
    }

    #[test]
    fn lineages_order_by_generation_and_conflict_by_id() {
        use LineageOrder::{Conflict, Greater, Lesser, Same};
        let table = [
            (lineage(1, 1), lineage(1, 1), Same),
            (lineage(2, 1), lineage(1, 2), Greater),
            (lineage(1, 2), lineage(2, 2), Lesser),
            (lineage(1, 1), lineage(1, 2), Conflict),
        ];
        for (first, second, order) in table {
            assert_eq!(first.order(&second), order, "{first} and {second}");
        }
    }

    #[test]
    fn positions_follow_within_a_lineage_or_into_a_greater_one() {
        let at = |generation, byte, revision| Position { lineage: lineage(generation, byte), revision };
        let table = [
            (at(1, 1, 5), at(1, 1, 5), true),
            (at(1, 1, 6), at(1, 1, 5), true),
            (at(1, 1, 4), at(1, 1, 5), false),
            (at(2, 2, 1), at(1, 1, 5), true),
            (at(1, 2, 9), at(1, 1, 5), false),
            (at(1, 1, 9), at(2, 2, 5), false),
        ];
        for (next, held, may) in table {
            assert_eq!(next.may_follow(&held), may, "{next} after {held}");
        }
    }
}
