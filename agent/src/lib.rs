//! The management client of one region. An agent joins the federation and follows the scopes of its region. It relays them
//! verbatim to the region's gateways, admits those gateways, and reports what they acknowledge.
//!
//! Relaying is one hub of replicas: a subscriber fills it, and a publisher serves it. Agents tell one another of their gateways.
//!
//! Nothing here reads a runtime resource. `hanse-local` reads Origins.

mod admission;
mod config;
mod enrolment;
mod error;
mod gateways;
mod neighbours;
mod node;
mod places;
mod region;
mod test_origin;
#[cfg(test)]
mod testbed;
mod tokens;

pub use config::{Addresses, Advertised, Config};
pub use error::Error;
pub use hanse_link::{Replicas, StoreKey};
pub use hanse_local::{Wish, Wishes};
pub use node::{Observed, run, run_observed, run_with_clock, run_with_origins};
pub use region::{AgentShown, GatewayShown, RegionPage, RegionWatcher, RelayShown, TrafficShown};
pub use tokens::{mint_token, mint_token_by};
