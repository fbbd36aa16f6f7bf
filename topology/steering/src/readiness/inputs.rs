//! What is known of a region that may take over.

use std::time::Duration;

use hanse_topology::Name;

/// A value from a report, and its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard<T> {
    /// The value.
    pub value: T,
    /// The age, by a clock that never jumps.
    pub age: Duration,
}

/// What is known of a region that may take over. An input that was never heard is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standby {
    /// The failover plan.
    pub plan: Name,
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

impl Standby {
    /// A region of which nothing was heard.
    pub fn unheard(plan: Name, region: Name) -> Self {
        let (sync, certificates, quarantined, ready_gateways) = (None, None, None, None);
        Self { plan, region, sync, certificates, quarantined, ready_gateways, capacity: Capacity::default() }
    }
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
///
/// Example: the plan's hosts carry 600, and the other hosts of the standby 400. At each step of a shift `plan` is 600 and `other`
/// is 400: the part of the plan's clients that the standby has by then does not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capacity {
    /// As the operator declares it for the region.
    pub declared: Option<u64>,
    /// The load of the plan's hosts in all regions together: the greatest sum of the last minute that is known. It is summed over
    /// the regions before the greatest is taken, so clients that move in that minute count once. A region that is lost counts as
    /// it last reported, so the age decides nothing.
    pub plan: Option<Heard<u64>>,
    /// The load of the standby without the plan's hosts: the greatest of the last minute.
    pub other: Option<Heard<u64>>,
}
