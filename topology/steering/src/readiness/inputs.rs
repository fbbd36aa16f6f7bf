//! What is known of a region that may take over.

use std::time::Duration;

use hanse_topology::Name;

/// Something that was heard, and how long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard<T> {
    /// What.
    pub value: T,
    /// How long ago, by a clock that never jumps.
    pub age: Duration,
}

/// What is known of a region that may take over. What was never heard is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standby {
    /// The region.
    pub region: Name,
    /// How far its gateways are.
    pub sync: Option<Heard<Sync>>,
    /// When the first certificate of its agents and gateways ends, those of its authority included: since the start of 1970.
    pub certificates: Option<Heard<Duration>>,
    /// The keys that its gateways have in quarantine, of those that the plan's Bindings make.
    pub quarantined: Option<Heard<Vec<String>>>,
    /// How many of its gateways are ready.
    pub ready_gateways: Option<Heard<u32>>,
    /// What it can carry, and what it would have to.
    pub capacity: Capacity,
}

/// How far the gateways of a region are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sync {
    /// Those that serve the Environment and have a lease.
    pub gateways: u32,
    /// Those of them that do not serve the newest revision.
    pub behind: u32,
}

/// What a region can carry, and what it would have to. All in requests per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capacity {
    /// As the operator declares it for the region.
    pub declared: Option<u64>,
    /// What the plan's hosts carried where they are served, in the last minute that is known. A region that is lost says
    /// nothing new, so its age does not count.
    pub carried: Option<Heard<u64>>,
    /// What the standby carries now.
    pub own: Option<Heard<u64>>,
}
