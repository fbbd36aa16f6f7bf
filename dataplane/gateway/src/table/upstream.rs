//! Where requests go: the endpoints of a service, whose turn it is, and which are left out.

mod endpoint;
mod id;
mod profile;
mod rota;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use hanse_runtime::{HostHeader, RetryPolicy};

use self::{endpoint::Common, rota::rota};
pub use self::{
    endpoint::Endpoint,
    id::UpstreamId,
    profile::{ConnectProfile, ConnectProfiles},
};
use super::{SetId, retry::Tried};
use crate::health::{EjectionSettings, Endpoints, Failure, Ongoing, RetryBudget, millis};

/// When a gateway of another region is ejected, and for how long at first: a restart takes a few seconds.
const EJECTION_OF_PEERS: EjectionSettings =
    EjectionSettings { consecutive_failures: 1, base_time: Duration::from_secs(5), max_ejected_percent: 100 };
/// For the head of an answer through a tunnel, where neither the Route nor its Upstream here says how long the service may take: as long as
/// an answer's body may be silent. The exit knows its Upstream, and answers sooner.
const TIMEOUT_OF_PEERS: Duration = Duration::from_secs(300);

/// Endpoints of one service.
#[derive(Debug)]
pub struct Upstream {
    /// Up to the response's head.
    pub timeout: Duration,
    /// When a request is sent again.
    pub retry: RetryPolicy,
    /// Endpoints get the client's `Host`, where there is one.
    pub preserves_host: bool,
    /// What outlives changes of it.
    ongoing: Arc<Ongoing>,
    endpoints: Vec<Endpoint>,
    /// Indices of endpoints in the order they are used; each as often as its share.
    rota: Vec<u16>,
    /// How many endpoints have turns, and how many of those may be ejected at once.
    in_rota: usize,
    max_ejected: usize,
    /// Of one that refers to a set of endpoints.
    referrer: Option<Arc<Referrer>>,
    /// Why it uses no endpoint of that set.
    lack: Option<Lack>,
}

/// Why an Upstream uses no endpoint of the set that it refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// The set is not there, or cannot be used.
    NotThere,
    /// The set has an `http` endpoint, and the Upstream says how to verify `https`: requests must not go out in the clear.
    InClear,
    /// The set is there and has no endpoint.
    Empty,
}

/// What an Upstream that refers to a set of endpoints is compiled from.
#[derive(Debug)]
struct Referrer {
    id: UpstreamId,
    set: SetId,
    upstream: hanse_runtime::Upstream,
}

impl Upstream {
    /// Compiles an upstream, with the endpoints that it refers to if they are there.
    pub fn new(id: &UpstreamId, upstream: hanse_runtime::Upstream, profiles: &mut ConnectProfiles) -> Self {
        let set = upstream.endpoints_from.as_ref().and_then(|from| SetId::referred(id, from));
        match set {
            None => Self::compiled(id, upstream, profiles),
            Some(set) => {
                let referrer = Referrer { id: id.clone(), set, upstream };
                Self::referring(Arc::new(referrer), profiles)
            }
        }
    }

    /// The same upstream with the endpoints that it refers to as they are now. Those that it had keep their health.
    pub fn renewed(&self, profiles: &mut ConnectProfiles) -> Option<Self> {
        Some(Self::referring(self.referrer.clone()?, profiles))
    }

    /// The set of endpoints that it refers to.
    pub fn set(&self) -> Option<&SetId> {
        Some(&self.referrer.as_ref()?.set)
    }

    /// Why it uses no endpoint of that set; `None`: it uses them, or refers to none.
    pub fn lack(&self) -> Option<Lack> {
        self.lack
    }

    /// Whether it has endpoints now.
    pub fn has_endpoints(&self) -> bool {
        !self.endpoints.is_empty()
    }

    /// Its endpoints, in their order.
    #[cfg(test)]
    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    fn referring(referrer: Arc<Referrer>, profiles: &mut ConnectProfiles) -> Self {
        let mut upstream = referrer.upstream.clone();
        let lack = match profiles.sets.get(&referrer.set) {
            None => Some(Lack::NotThere),
            Some(set) if upstream.trust.is_given() && set.has_plain() => Some(Lack::InClear),
            Some(set) => {
                upstream.endpoints.clone_from(&set.endpoints);
                set.endpoints.is_empty().then_some(Lack::Empty)
            }
        };
        Self { referrer: Some(referrer.clone()), lack, ..Self::compiled(&referrer.id, upstream, profiles) }
    }

    /// With the endpoints that `upstream` has.
    fn compiled(id: &UpstreamId, upstream: hanse_runtime::Upstream, profiles: &mut ConnectProfiles) -> Self {
        let hanse_runtime::Upstream {
            endpoints,
            endpoints_from: _,
            timeout,
            connect_timeout,
            trust,
            check,
            ejection,
            retry,
            host,
        } = upstream;
        let weights: Vec<u32> = endpoints.iter().map(|endpoint| endpoint.weight).collect();
        let profile = profiles.get(id, connect_timeout, trust);
        let named_host = match &host {
            HostHeader::Named(host) => Some(host),
            HostHeader::Endpoints | HostHeader::Clients => None,
        };
        let common = Common { upstream: id, profile: &profile, check: check.as_ref(), ejection, named_host };
        let endpoints: Vec<Endpoint> = (0..)
            .zip(endpoints)
            .map(|(place, endpoint)| Endpoint::new(place, endpoint, &common, &profiles.endpoints))
            .collect();
        let in_rota = weights.iter().filter(|weight| **weight > 0).count();
        Self {
            timeout,
            retry,
            preserves_host: host == HostHeader::Clients,
            ongoing: profiles.endpoints.ongoing(id),
            endpoints,
            rota: rota(&weights),
            in_rota,
            max_ejected: max_ejected(in_rota, ejection),
            referrer: None,
            lack: None,
        }
    }

    /// The gateways of another region. They are tried as endpoints are, and all of them may be ejected: another region may stand in for this
    /// one. One failure ejects, because it is of the gateway and not of a service behind it.
    pub(crate) fn of_peers(
        id: &UpstreamId,
        peers: Vec<hanse_runtime::Endpoint>,
        profile: &Arc<ConnectProfile>,
        endpoints: &Endpoints,
    ) -> Self {
        let common =
            Common { upstream: id, profile, check: None, ejection: EJECTION_OF_PEERS, named_host: None };
        let peers: Vec<Endpoint> =
            (0..).zip(peers).map(|(place, peer)| Endpoint::new(place, peer, &common, endpoints)).collect();
        let count = peers.len();
        Self {
            timeout: TIMEOUT_OF_PEERS,
            retry: RetryPolicy::default(),
            preserves_host: true,
            ongoing: endpoints.ongoing(id),
            endpoints: peers,
            rota: rota(&vec![1; count]),
            in_rota: count,
            max_ejected: count,
            referrer: None,
            lack: None,
        }
    }

    /// How its endpoints are connected to; `None`: it has none.
    pub(crate) fn profile(&self) -> Option<Arc<ConnectProfile>> {
        self.endpoints.first().map(|endpoint| endpoint.profile.clone())
    }

    /// Whether nothing speaks against some endpoint.
    pub(crate) fn looks_well(&self) -> bool {
        let now = millis(Instant::now());
        self.endpoints.iter().any(|one| one.health.is_usable(now) && !one.health.is_denied(now))
    }

    /// The endpoint whose turn it is, or for a request that has `tried` some the next that it has not; `None`: there is
    /// none, all are drained, or the request passed over all.
    pub fn pick(&self, tried: &Tried) -> Option<&Endpoint> {
        let turn = match self.rota.len() {
            0 => return None,
            _ if tried.has_met_denial() => return self.instead(tried),
            1 => 0,
            _ if tried.sent() > 0 => return self.instead(tried),
            length => self.ongoing.next.fetch_add(1, Ordering::Relaxed) % length,
        };
        let endpoint = self.endpoints.get(usize::from(self.rota[turn]))?;
        if self.in_rota == 1 || endpoint.health.is_in() {
            return Some(endpoint);
        }
        self.instead(tried)
    }

    /// The turn of one that is out, or was tried in vain: the others take such turns in order, by weight too. When all
    /// look bad, all are used, but for denied ones. When all are denied, a request asks one of them and no other: that says why.
    fn instead(&self, tried: &Tried) -> Option<&Endpoint> {
        let now = millis(Instant::now());
        let may_go =
            |endpoint: &Endpoint| !endpoint.health.is_denied(now) && !tried.has_passed_over(endpoint);
        self.spare_turn(|endpoint| {
            endpoint.health.is_usable(now) && may_go(endpoint) && !tried.contains(endpoint)
        })
        .or_else(|| self.spare_turn(|endpoint| may_go(endpoint) && !tried.contains(endpoint)))
        .or_else(|| self.spare_turn(may_go))
        .or_else(|| self.spare_turn(|_| !tried.has_met_denial()))
    }

    fn spare_turn(&self, fits: impl Fn(&Endpoint) -> bool) -> Option<&Endpoint> {
        let endpoints = self.rota.iter().filter_map(|&place| self.endpoints.get(usize::from(place)));
        let fitting = endpoints.filter(|endpoint| fits(endpoint));
        match fitting.clone().count() {
            0 => None,
            count => fitting.clone().nth(self.ongoing.spare.fetch_add(1, Ordering::Relaxed) % count),
        }
    }

    /// How much may be sent again.
    pub fn budget(&self) -> &RetryBudget {
        &self.ongoing.budget
    }

    /// Whether there is an endpoint that was not tried, and is not known to be denied.
    pub fn has_others(&self, tried: &Tried) -> bool {
        let now = millis(Instant::now());
        self.rota.iter().filter_map(|&place| self.endpoints.get(usize::from(place))).any(|endpoint| {
            !endpoint.health.is_denied(now) && !tried.has_passed_over(endpoint) && !tried.contains(endpoint)
        })
    }

    /// A request to one of its endpoints failed. Whether that ejects the endpoint.
    pub fn failed(&self, endpoint: &Endpoint, failure: Failure) -> bool {
        if !endpoint.health.failed(failure) || self.max_ejected == 0 {
            return false;
        }
        if self.ongoing.ejecting.swap(true, Ordering::Acquire) {
            return false; // the next failure is as good
        }
        let now = millis(Instant::now());
        let ejected = self.endpoints.iter().filter(|endpoint| endpoint.health.is_ejected(now)).count();
        let time = if ejected < self.max_ejected { endpoint.health.eject(now) } else { None };
        self.ongoing.ejecting.store(false, Ordering::Release);
        if let Some(time) = time {
            let reason = failure.as_str();
            tracing::warn!(endpoint = %endpoint.health.url, reason, ?time, "endpoint ejected");
        }
        time.is_some()
    }
}

/// Of two or more at least one; of one none, for there would be nothing instead.
fn max_ejected(endpoints: usize, ejection: EjectionSettings) -> usize {
    match endpoints {
        0 | 1 => 0,
        _ => (endpoints * ejection.max_ejected_percent as usize / 100).max(1),
    }
}

#[cfg(test)]
mod tests;
