//! What an agent knows of its region: agents, their gateways with what those serve, and traffic. No control node takes part.
//!
//! Each agent says of its own gateways to the relays what they said of themselves ([`Own`]). A relay puts together what it hears, in a
//! [`Ledger`](ledger::Ledger), and tells every agent that asks ([`Teller`]). An agent asks all relays ([`Watching`]), and merges what they
//! say with what it hears itself ([`Views`](views::Views)).
//!
//! The ledger, the view that is made from its parts, and the merge are pure. Nothing here is kept: after a restart it is heard again.

mod heard;
mod hearing;
mod ledger;
mod limit;
mod metrics;
mod own;
mod page;
mod teller;
mod views;
mod watch;
mod watcher;

pub(crate) use metrics::RegionMetrics;
pub(crate) use own::Own;
pub use page::{AgentShown, GatewayShown, RegionPage, RelayShown, TrafficShown};
pub(crate) use page::{Shown, pages};
pub(crate) use teller::{Teller, Told};
pub(crate) use watch::{Watched, Watching};
pub use watcher::RegionWatcher;

#[cfg(test)]
mod tests;
