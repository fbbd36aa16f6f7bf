//! The serial of a zone's SOA record, and its epoch.
//!
//! Both follow from the state alone, so all responders of a federation have the same ones.

use hanse_proto::runtime::Epoch;

use hanse_topology::is_brought_back;

use crate::State;

/// The generation of a federation that was never restored.
const FIRST_GENERATION: u64 = 1;
/// By how many bits a greater generation moves the serial. A restored history may have lost up to 2^28 commands, and its serials are
/// still later than all that were seen. Seven restores in a row move a serial by less than half of its range, within which RFC 1982
/// knows which of two is later.
const GENERATION_BITS: u32 = 28;

/// The epoch of all zones: of the last command that touched a resource which DNS answers are made of.
pub(super) fn epoch(state: &State) -> Epoch {
    let generation = state.lineage().map_or(FIRST_GENERATION, |lineage| lineage.generation);
    Epoch { generation, revision: state.dns_revision() }
}

/// The serial for an epoch: `(revision + (generation − 1) · 2^28) mod 2^32`. 0 is a serial as any other: RFC 1982 keeps no value for
/// itself.
pub(super) fn serial(epoch: &Epoch) -> u32 {
    let restores = match is_brought_back("serial-restarts") {
        true => 0,
        false => epoch.generation.saturating_sub(FIRST_GENERATION),
    };
    let sum = epoch.revision.wrapping_add(restores << GENERATION_BITS);
    (sum & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests;
