//! The management client of one region: it joins the federation, pulls what concerns its region, relays it verbatim to the
//! region's gateways, admits them, and pushes up what they acknowledge.
//!
//! Relaying is one hub of replicas with a subscriber that fills it and a publisher that serves it. Nothing here reads a
//! runtime resource.

mod admission;
mod config;
mod enrolment;
mod error;
mod gateways;
mod node;
#[cfg(test)]
mod testbed;
mod tokens;

pub use config::{Addresses, Config};
pub use error::Error;
pub use hanse_link::StoreKey;
pub use node::{run, run_with_clock};
pub use tokens::{mint_token, mint_token_by};
