//! What an agent says of its own gateways: to relays, and in its own view.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use hanse_link::{Below, SubscriberRecord, Subscribers, TrafficSum, report_of};
use hanse_proto::{
    nested,
    sync::{Facts, Report, Serving, Traffic},
};
use hanse_topology::Name;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::limit::Limit;
use crate::gateways::Gateways;

/// The agent's gateways, and the sum of their requests. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Own {
    gateways: Subscribers,
    admitted: Arc<Gateways>,
    /// A Traffic. It is made once in each span: reports go to three relays, every second and after each change.
    traffic: Arc<Mutex<Bytes>>,
}

impl Own {
    pub(crate) fn new(gateways: Subscribers, admitted: Arc<Gateways>) -> Self {
        Self { gateways, admitted, traffic: Arc::default() }
    }

    /// Fires when a gateway comes, goes or says something new of itself.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.gateways.changed()
    }

    /// What relays are told.
    pub(crate) fn report(&self, now: Instant) -> Report {
        report(&self.records(), now, self.traffic())
    }

    /// The sum of the gateways' requests, a Traffic.
    pub(crate) fn traffic(&self) -> Bytes {
        self.traffic.lock().clone()
    }

    /// Sums what the gateways said of their traffic last.
    pub(super) fn sum_traffic(&self, now: Instant) {
        let traffic = traffic(&self.records(), now);
        *self.traffic.lock() = traffic;
    }

    fn records(&self) -> Vec<SubscriberRecord> {
        let limited =
            |record: SubscriberRecord| limited(self.admitted.environments(&record.identity), record);
        self.gateways.snapshot().into_iter().map(limited).collect()
    }
}

/// A gateway as far as it may speak: of environments that it may learn, or of all, where none are named. One that is not admitted
/// any more says nothing.
pub(super) fn limited(environments: Option<Vec<Name>>, mut record: SubscriberRecord) -> SubscriberRecord {
    let Some(environments) = environments else {
        return SubscriberRecord { report: None, ..record };
    };
    if let (false, Some((report, _))) = (environments.is_empty(), &mut record.report) {
        let environments: Vec<String> = environments.iter().map(ToString::to_string).collect();
        let limit = Limit(&environments);
        let mut facts: Facts = nested::read("facts", &report.facts).unwrap_or_default();
        if let Ok(mut serving) = nested::read::<Serving>("serving", &facts.serving) {
            limit.scopes(&mut serving.scopes);
            serving.scopes_total = serving.scopes.len() as u64;
            facts.serving = nested::to_bytes(&serving);
        }
        report.facts = nested::to_bytes(&facts);
        report.traffic = report.traffic.as_ref().map(|traffic| {
            let traffic: Traffic = nested::read("traffic", traffic).unwrap_or_default();
            nested::to_bytes(&limit.traffic(&traffic))
        });
    }
    record
}

/// Gateways with their facts as received, and the sum of their requests.
pub(super) fn report(gateways: &[SubscriberRecord], now: Instant, traffic: Bytes) -> Report {
    let Below { row, left_out } = Below::for_neighbours(gateways, now);
    Report { traffic: Some(traffic), ..report_of(&Facts { left_out, ..Facts::default() }, row) }
}

/// The requests of all gateways that are live.
pub(super) fn traffic(gateways: &[SubscriberRecord], now: Instant) -> Bytes {
    let mut sum = TrafficSum::default();
    let live = gateways.iter().filter(|record| record.connected && record.is_live(now));
    live.filter_map(|record| record.report.as_ref()?.0.traffic.as_ref())
        .for_each(|traffic| sum.add_said(traffic));
    nested::to_bytes(&sum.to_message())
}
