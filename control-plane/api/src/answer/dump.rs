//! The lines of a dump that are no resources.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::LineageStatus;

/// The first line: what the dump is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DumpHead {
    /// What the dump is of.
    pub dump: Dumped,
}

/// What a dump is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Dumped {
    /// How the lines are to be read: 1.
    pub format: u64,
    /// The history; absent before the first command.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub lineage: Option<LineageStatus>,
    /// The revision of the state.
    pub revision: u64,
    /// The replicated version in force.
    pub version: u32,
}

/// The line that begins a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DumpPart {
    /// Its number, from 1 on.
    pub part: u64,
}

/// The last line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DumpEnd {
    /// What came before.
    pub end: DumpCount,
}

/// How much a dump has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DumpCount {
    /// How many parts.
    pub parts: u64,
    /// How many resources.
    pub resources: u64,
}

impl Dumped {
    /// The one form of dumps that there is.
    pub const FORMAT: u64 = 1;
}
