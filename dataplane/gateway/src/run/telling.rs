//! What the gateway tells its agent of itself: what it serves, where clients reach it, and its traffic.

use std::collections::BTreeSet;

use hanse_link::{TRAFFIC_SPAN, report_of, serving};
use hanse_process::Shutdown;
use hanse_proto::{
    nested,
    sync::{Facts, Report},
};
use hanse_runtime::FEATURES;
use hanse_topology::{Exposure, ScopeId};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval_at},
};

use crate::{config::Advertised, metrics::TrafficWindow};

/// Keeps in step what is told. A clone goes on where one that ended stopped.
#[derive(Clone)]
pub(super) struct Telling {
    /// Where clients reach the gateway.
    urls: Vec<String>,
    /// The same, of internal entries.
    internal_urls: Vec<String>,
    /// Where it takes requests over tunnels.
    tunnels: Vec<String>,
    /// The scopes that clients get answers from.
    served: watch::Receiver<BTreeSet<ScopeId>>,
    /// What `/readyz` says.
    ready: watch::Receiver<Result<(), String>>,
    window: TrafficWindow,
    told: Told,
}

/// What is told now. Cloning shares it.
#[derive(Clone)]
pub(super) struct Told {
    said: watch::Sender<Said>,
    /// Fires when what is served changes; not for traffic.
    changed: watch::Sender<u64>,
}

#[derive(Default, Clone, PartialEq)]
struct Said {
    serving: bytes::Bytes,
    traffic: bytes::Bytes,
}

impl Telling {
    pub(super) fn new(
        (advertised, tunnels): (Vec<Advertised>, Vec<String>),
        served: watch::Receiver<BTreeSet<ScopeId>>,
        ready: watch::Receiver<Result<(), String>>,
        window: TrafficWindow,
    ) -> (Self, Told) {
        let told = Told { said: watch::Sender::default(), changed: watch::Sender::default() };
        let (internal, external): (Vec<_>, Vec<_>) =
            advertised.into_iter().partition(|url| url.exposure == Exposure::Internal);
        let [urls, internal_urls] =
            [external, internal].map(|urls| urls.into_iter().map(|advertised| advertised.url).collect());
        let telling = Self { urls, internal_urls, tunnels, served, ready, window, told: told.clone() };
        telling.tell_serving();
        (telling, told)
    }

    /// Follows what is served until the shutdown.
    pub(super) async fn run(mut self, shutdown: Shutdown) {
        let mut windows = interval_at(tokio::time::Instant::now() + TRAFFIC_SPAN, TRAFFIC_SPAN);
        windows.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.tell_serving();
            let ended = tokio::select! {
                () = shutdown.wait() => return,
                changed = self.served.changed() => changed.is_err(),
                changed = self.ready.changed() => changed.is_err(),
                _ = windows.tick() => {
                    let traffic = nested::to_bytes(&self.window.turn());
                    self.told.said.send_modify(|said| said.traffic = traffic);
                    false
                }
            };
            if ended {
                return; // what is told ends with the gateway
            }
        }
    }

    fn tell_serving(&self) {
        let scopes: Vec<String> = self.served.borrow().iter().map(ToString::to_string).collect();
        let urls = (&*self.urls, &*self.internal_urls, &*self.tunnels);
        let serving = nested::to_bytes(&serving(&scopes, urls, &self.ready.borrow()));
        let is_news = self.told.said.send_if_modified(|said| {
            let before = std::mem::replace(&mut said.serving, serving);
            before != said.serving
        });
        if is_news {
            self.told.changed.send_modify(|version| *version += 1);
        }
    }
}

impl Told {
    /// What goes up, with the facts that every node states of itself.
    pub(super) fn report(&self, facts: Facts) -> Report {
        let Said { serving, traffic } = self.said.borrow().clone();
        let features = FEATURES.iter().map(ToString::to_string).collect();
        let report = report_of(&Facts { features, serving, ..facts }, bytes::Bytes::new());
        Report { traffic: Some(traffic), ..report }
    }

    /// Fires when what is served changes.
    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hanse_process::ShutdownTrigger;
    use hanse_proto::sync::{Serving, Traffic};
    use hanse_runtime::HostPattern;
    use tokio::time::timeout;

    use super::*;
    use crate::metrics::HostCounters;

    fn said(told: &Told) -> (Serving, Traffic) {
        let report = told.report(Facts::default());
        let facts: Facts = nested::read("facts", &report.facts).unwrap();
        (
            nested::read("serving", &facts.serving).unwrap(),
            nested::read("traffic", &report.traffic.unwrap()).unwrap(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_what_is_served_is_told_and_time_alone_changes_nothing() {
        let (serve, served) = watch::channel(BTreeSet::new());
        let (be, ready) = watch::channel(Err("no configuration yet".to_owned()));
        let counters = HostCounters::default();
        let window = TrafficWindow::new(counters.clone());
        let advertised =
            [("https://a.example", Exposure::External), ("https://10.0.0.7", Exposure::Internal)];
        let advertised = advertised.map(|(url, exposure)| Advertised { url: url.into(), exposure }).to_vec();
        let (telling, told) =
            Telling::new((advertised, vec!["a.example:7447".into()]), served, ready, window);
        let first = Serving {
            urls: vec!["https://a.example".into()],
            internal_urls: vec!["https://10.0.0.7".into()],
            tunnels: vec!["a.example:7447".into()],
            not_ready: "no configuration yet".into(),
            ..Default::default()
        };
        assert_eq!(said(&told).0, first, "before the task runs");
        let mut changed = told.changed();
        let (_trigger, shutdown) = ShutdownTrigger::new();
        tokio::spawn(telling.run(shutdown));
        let fires = async |changed: &mut watch::Receiver<u64>| {
            timeout(Duration::from_secs(1), changed.changed()).await.is_ok()
        };
        assert!(!fires(&mut changed).await);

        let scope: ScopeId = "runtime/eu-west/production".parse().unwrap();
        serve.send_replace([scope.clone()].into());
        assert!(fires(&mut changed).await);
        be.send(Ok(())).unwrap();
        assert!(fires(&mut changed).await);
        let serving = said(&told).0;
        assert_eq!((&*serving.scopes, serving.scopes_total), (&[scope.to_string()][..], 1));
        assert_eq!((&*serving.not_ready, serving.ready), ("", true));
        serve.send_replace([scope].into());
        assert!(!fires(&mut changed).await, "nothing is served that was not");

        let any = counters.of(None, &HostPattern::Any);
        any.count(0);
        tokio::time::sleep(TRAFFIC_SPAN).await;
        let counted = |traffic: Traffic| traffic.rows.iter().map(|row| row.requests).sum::<u64>();
        assert_eq!(counted(said(&told).1), 1);
        tokio::time::sleep(TRAFFIC_SPAN).await;
        assert_eq!(counted(said(&told).1), 0);
        assert!(!fires(&mut changed).await);
        assert_eq!(said(&told).0, serving);
    }
}
