//! The books on one request: opened with its head, closed when its answer is through or dropped.

use std::{
    net::IpAddr,
    rc::Rc,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use hanse_topology::Name;
use http::{Method, Request, StatusCode};
use time::OffsetDateTime;

use super::{
    activity::{Activity, OpenStream},
    body::Upload,
    exchange::Client,
    places::InFlight,
    worker::Serving,
};
use crate::{
    access_log::Line,
    decide::{self, Matched},
    problem::Reason,
    tunnel::{Direction, Leg, Outcome},
};

/// What nginx made customary for a client that left before its answer.
const CLIENT_LEFT: u16 = 499;

/// The books on one request.
pub(super) struct Record {
    serving: Rc<Serving>,
    started: Instant,
    status: Option<StatusCode>,
    sent: u64,
    upstream: Option<Duration>,
    reason: Option<Reason>,
    matched: Matched,
    in_flight: InFlight,
    /// Its way between regions.
    leg: Option<Box<Leg>>,
    /// Where the connection keeps an eye on its streams.
    stream: Option<OpenStream>,
    /// Kept only where there is an access log.
    words: Option<Box<Words>>,
}

/// The texts of an access log line.
struct Words {
    time: OffsetDateTime,
    client: IpAddr,
    host: String,
    method: Method,
    path: String,
    upstream: Option<String>,
}

impl Record {
    /// Opens the books.
    pub(super) fn open<B>(serving: Rc<Serving>, client: &Client, request: &Request<B>) -> Self {
        let words = serving.access_log.is_some().then(|| {
            let host = decide::host_of(request.uri(), request.headers(), request.version());
            Box::new(Words {
                time: OffsetDateTime::now_utc(),
                client: client.origin.address,
                host: host.unwrap_or_default().into_owned(),
                method: request.method().clone(),
                path: request.uri().path().to_owned(),
                upstream: None,
            })
        });
        let started = Instant::now();
        Self {
            serving,
            started,
            status: None,
            sent: 0,
            upstream: None,
            reason: None,
            matched: Matched::default(),
            in_flight: client.place.open(),
            leg: None,
            stream: client.activity.as_ref().map(Activity::open),
            words,
        }
    }

    /// What the request was found to be.
    pub(super) fn matched(&mut self, matched: Matched) {
        self.matched = matched;
    }

    /// What the request was found to be.
    pub(super) fn what(&self) -> &Matched {
        &self.matched
    }

    /// It goes to another region, or came from one. `false`: as many do as may.
    pub(super) fn tunnels(&mut self, direction: Direction, region: &Name) -> bool {
        let permit = self.serving.tunnels.permit(direction);
        let is_let = permit.is_some();
        let outcome = None;
        self.leg = Some(Box::new(Leg { direction, region: region.clone(), outcome, permit }));
        is_let
    }

    /// No gateway of this region can be reached.
    pub(super) fn finds_no_way(&mut self, region: &Name) {
        let (direction, outcome) = (Direction::Out, Some(Outcome::Unreachable));
        self.leg = Some(Box::new(Leg { direction, region: region.clone(), outcome, permit: None }));
    }

    /// An exit answered it, whose traffic it is.
    pub(super) fn exit_answered(&mut self, status: StatusCode) {
        self.status = Some(status);
        self.in_flight.answered();
        self.comes_to(Outcome::Answered);
    }

    fn comes_to(&mut self, outcome: Outcome) {
        if let Some(leg) = &mut self.leg {
            leg.outcome.get_or_insert(outcome);
        }
    }

    /// It has a body, or none.
    pub(super) fn uploads(&mut self, upload: &Upload) {
        self.in_flight.uploads(upload);
    }

    /// It goes to this endpoint.
    pub(super) fn goes_to(&mut self, authority: &str) {
        if let Some(words) = &mut self.words {
            words.upstream = Some(authority.to_owned());
        }
    }

    /// The upstream's head came after so long.
    pub(super) fn upstream_took(&mut self, duration: Duration) {
        self.serving.own_metrics().upstream_seconds.observe(duration);
        self.upstream = Some(duration);
    }

    /// The gateway answers by itself.
    pub(super) fn refused(&mut self, reason: Reason) {
        if let Some(direction) = self.leg.as_ref().map(|leg| leg.direction) {
            self.comes_to(match (reason, direction) {
                (Reason::TunnelUnreachable, _) => Outcome::Unreachable,
                (Reason::TunnelFull, _) => Outcome::Full,
                (Reason::TunnelRefused, _) => Outcome::Refused,
                (_, Direction::Out) => Outcome::Failed,
                (_, Direction::In) => Outcome::Answered,
            });
        }
        self.serving.own_metrics().rejected[reason as usize].fetch_add(1, Ordering::Relaxed);
        self.reason = Some(reason);
    }

    /// The answer's status is known.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
        self.in_flight.answered();
        self.comes_to(Outcome::Answered);
        match &self.matched.served {
            Some(served) => served.count(self.serving.index, status, self.matched.host),
            None => self.serving.metrics.unmatched.count(self.serving.index, status),
        }
    }

    /// Octets of the answer's body went out.
    pub(super) fn sent(&mut self, octets: u64) {
        self.sent += octets;
        self.in_flight.offered(true);
        if let Some(stream) = &self.stream {
            stream.offers();
        }
    }

    /// The client is ready for more of the answer.
    pub(super) fn client_takes(&mut self) {
        self.in_flight.offered(false);
        if let Some(stream) = &self.stream {
            stream.is_taken();
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let duration = self.started.elapsed();
        self.serving.own_metrics().request_seconds.observe(duration);
        if let Some(leg) = &self.leg {
            let outcome = leg.outcome.unwrap_or(Outcome::Left);
            self.serving.metrics.tunnelled(leg.direction, &leg.region, outcome);
        }
        let (Some(log), Some(words)) = (&self.serving.access_log, &self.words) else { return };
        let millis = |duration: Duration| duration.as_micros() as f64 / 1e3;
        let routes = self.matched.served.as_ref().map(|served| &*served.routes);
        let caller = self.matched.caller.as_ref().map(|caller| &*caller.application);
        let region = |direction| {
            self.leg.as_ref().filter(|leg| leg.direction == direction).map(|leg| leg.region.as_str())
        };
        log.log(&Line {
            time: words.time,
            client: words.client,
            host: &words.host,
            method: words.method.as_str(),
            path: &words.path,
            status: self.status.map_or(CLIENT_LEFT, |status| status.as_u16()),
            bytes: self.sent,
            duration_ms: millis(duration),
            upstream_ms: self.upstream.map(millis),
            upstream: words.upstream.as_deref(),
            organization: routes.map(|routes| &*routes.organization),
            api: routes.map(|routes| &*routes.api),
            operation: self.matched.operation.as_ref().map(|operation| &*operation.id),
            tunnel_to: region(Direction::Out),
            tunnel_from: region(Direction::In),
            application: caller.or(self.matched.application.as_deref()),
            reason: self.reason.map(Reason::name),
        });
    }
}
