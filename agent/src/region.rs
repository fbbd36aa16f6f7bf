//! What an agent knows of its region: agents, their gateways with what those serve, and traffic. No control node takes part.
//!
//! Each agent says of its own gateways to the relays what they said of themselves ([`report`]). A relay puts together what it hears, in a
//! [`Ledger`](ledger::Ledger), and tells every agent that asks ([`Teller`]). An agent asks one relay at a time ([`Watching`]).
//!
//! The ledger and the view that is made from its parts are pure. Nothing here is kept: after a restart it is heard again.

mod heard;
mod hearing;
mod ledger;
mod limit;
mod metrics;
mod page;
mod teller;
mod watch;

use std::time::Instant;

use hanse_link::{Below, SubscriberRecord, TrafficSum, report_of};
use hanse_proto::{
    nested,
    sync::{Facts, Report},
};

pub(crate) use metrics::RegionMetrics;
pub use page::{AgentShown, GatewayShown, RegionPage, TrafficShown};
pub(crate) use page::{Shown, pages};
pub(crate) use teller::{Teller, Told};
pub(crate) use watch::{Watched, Watching};

/// What an agent says of its gateways to relays: those that it heard, with their facts as received, and their requests.
pub(crate) fn report(gateways: &[SubscriberRecord], now: Instant) -> Report {
    let Below { row, left_out } = Below::for_neighbours(gateways, now);
    let mut traffic = TrafficSum::default();
    let live = gateways.iter().filter(|record| record.connected && record.is_live(now));
    live.filter_map(|record| record.report.as_ref())
        .for_each(|(report, _)| traffic.add_said(&report.traffic));
    let traffic = nested::to_bytes(&traffic.to_message());
    Report { traffic, ..report_of(&Facts { left_out, ..Facts::default() }, row) }
}

#[cfg(test)]
mod tests;
