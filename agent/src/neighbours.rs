//! Links to other agents of the region: to each relay, and from a relay to each holder of an Origin.
//!
//! A link follows one agent, known by its name and by the key that it joined with. It fills a hub of its own with the local scopes
//! that the agent passes on. [`hanse_local::Merge`] brings the greatest head of all links into the agent's own hub. Nothing else comes
//! that way: what the control plane says comes from control nodes only. Up a link to a relay goes what the agent's gateways say of
//! themselves (`crate::region`).

mod admission;
mod links;

pub(crate) use admission::{Answers, NeighbourAdmission};
pub(crate) use links::{Common, Links, pages};

#[cfg(test)]
mod tests;
