//! A message of a client → the answer, if there is one. No I/O, no clock, no chance: those are arguments.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use hanse_dns_wire::{
    Answer, Cookie, DNSClass, Echo, Kind, Limiter, Network, Opcode, Query, Record, RecordType, ResponseCode,
    Transport, Verdict,
    cookie::{CookieStatus, Secret},
    tsig::{self, Transaction},
};
use hanse_process::seeded;
use hanse_steering::{Client, Family, Places, Seen};
use hanse_topology::Name;
use ipnet::IpNet;

use crate::{
    geo::GeoDatabase,
    keys::Keys,
    steer::LastAnswers,
    transfer::{Granted, Outgoing, grant},
    zones::{Found, Node, ServedHost, ServedZone, Zones, address_record},
};

/// Networks and kinds of answers of one serving thread that have a budget at a time: 1 MB, and more than ask within a second.
const LIMITED: usize = 16_384;

/// What is known at the time of a query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment<'a> {
    /// What is answered from; `None`: the responder never had a configuration.
    pub(crate) zones: Option<&'a Zones>,
    /// What is known of the regions, by Environment.
    pub(crate) places: &'a BTreeMap<Name, Places>,
    /// Where networks are.
    pub(crate) geo: Option<&'a GeoDatabase>,
    /// Since the start of the clock by which `places` were heard.
    pub(crate) now: Duration,
    /// Seconds since 1970.
    pub(crate) unix: u64,
    /// Another one for each query.
    pub(crate) draw: u64,
}

/// From where a message came, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender {
    pub(crate) address: IpAddr,
    pub(crate) transport: Transport,
}

/// What became of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It got records.
    Records,
    /// A secondary was granted the zone.
    Transfer,
    /// The name exists, and has nothing of the type.
    NoData,
    /// The name does not exist.
    NoSuchName,
    /// It is for another name server, or for none.
    Refused,
    /// The responder has no configuration, no version of the host that it can use, or no address of the host's regions.
    Unready,
    /// It cannot be read.
    Malformed,
    /// Its network got too many answers: nothing, or a hint to ask over TCP.
    Limited,
    /// Answering it panicked.
    Failed,
}

impl Outcome {
    pub(crate) const ALL: [Self; 9] = [
        Self::Records,
        Self::Transfer,
        Self::NoData,
        Self::NoSuchName,
        Self::Refused,
        Self::Unready,
        Self::Malformed,
        Self::Limited,
        Self::Failed,
    ];

    /// Its name in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Transfer => "transfer",
            Self::NoData => "no-data",
            Self::NoSuchName => "no-such-name",
            Self::Refused => "refused",
            Self::Unready => "unready",
            Self::Malformed => "malformed",
            Self::Limited => "limited",
            Self::Failed => "failed",
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Records | Self::Transfer => Kind::Records,
            Self::NoData | Self::NoSuchName => Kind::Negative,
            Self::Refused | Self::Unready | Self::Malformed | Self::Limited | Self::Failed => Kind::Error,
        }
    }
}

/// What becomes of a message.
#[derive(Debug)]
pub(crate) struct Response {
    /// What its sender gets; `None`: nothing.
    pub(crate) message: Option<Vec<u8>>,
    /// The zone that its sender gets instead, over TCP.
    pub(crate) transfer: Option<Box<Outgoing>>,
    pub(crate) outcome: Outcome,
    /// A policy failed, and the rule `never-empty` answered.
    pub(crate) fell_back: bool,
}

/// What answers, of one serving thread.
#[derive(Debug)]
pub(crate) struct Responder {
    last: LastAnswers,
    limiter: Option<Limiter>,
    /// All threads of a process have the same: a client's next query may come to another one.
    secret: Secret,
    keys: Arc<Keys>,
}

/// What was decided on.
struct Decided {
    answer: Answer,
    outcome: Outcome,
    by_client: bool,
    fell_back: bool,
}

impl Decided {
    fn new(outcome: Outcome, answer: Answer) -> Self {
        Self { answer, outcome, by_client: false, fell_back: false }
    }

    fn refused() -> Self {
        Self::new(Outcome::Refused, Answer::error(ResponseCode::Refused))
    }

    fn unready() -> Self {
        Self::new(Outcome::Unready, Answer::error(ResponseCode::ServFail))
    }

    /// What one message says to a query for a zone.
    fn of(granted: Granted) -> Self {
        match granted {
            Granted::Soa(zone) => Self::new(Outcome::Records, Answer::soa(zone.soa())),
            Granted::Refused(ResponseCode::ServFail) => Self::unready(),
            Granted::Refused(code) => Self::new(Outcome::Refused, Answer::error(code)),
            // Only a signed query is granted a zone, and that has been handled.
            Granted::Zone(_) => Self::refused(),
        }
    }
}

impl Response {
    /// One message, or nothing.
    pub(crate) fn of(message: Option<Vec<u8>>, outcome: Outcome) -> Self {
        Self { message, transfer: None, outcome, fell_back: false }
    }
}

impl Responder {
    /// `rate`: answers a second to one network over UDP, `None`: as many as it asks for.
    pub(crate) fn new(rate: Option<NonZeroU32>, secret: Secret, keys: Arc<Keys>) -> Self {
        let limiter = rate.map(|rate| Limiter::new(rate, LIMITED));
        Self { last: LastAnswers::default(), limiter, secret, keys }
    }

    /// Takes in that other zones are in force.
    pub(crate) fn zones_changed(&mut self, zones: &Zones) {
        self.last.retain(zones);
    }

    /// Answers a message.
    pub(crate) fn respond(&mut self, message: &[u8], moment: &Moment<'_>, sender: Sender) -> Response {
        assert!(!seeded("query-panics"), "a bug of a query that a test brings back");
        let query = match Query::read(message) {
            Ok(query) => query,
            Err(malformed) => return self.as_it_is(malformed.reply, Outcome::Malformed, moment, sender),
        };
        let verified = query.signature.as_ref().map(|signature| {
            let verified = tsig::verify(message, signature, self.keys.get(signature.key()), moment.unix);
            verified.map(|transaction| (signature.key(), transaction))
        });
        let (key, mut transaction) = match verified.transpose() {
            Ok(verified) => verified.unzip(),
            Err(refused) => {
                let reply = refused.reply(&query, moment.unix);
                return self.as_it_is(Some(reply), Outcome::Refused, moment, sender);
            }
        };
        let is_transfer = matches!(query.record_type, RecordType::AXFR | RecordType::IXFR)
            && query.opcode == Opcode::Query
            && query.class == DNSClass::IN;
        let granted = is_transfer.then(|| grant(moment.zones, &query, key, sender.transport));
        if let (Some(Granted::Zone(zone)), Some(transaction)) = (&granted, &transaction) {
            let (query, zone, transaction) = (query.clone(), Arc::clone(zone), transaction.clone());
            let transfer = Some(Box::new(Outgoing { query, zone, transaction }));
            return Response { transfer, ..Response::of(None, Outcome::Transfer) };
        }
        let decided = match granted {
            Some(granted) => Decided::of(granted),
            None => self.decide(&query, moment, sender),
        };
        let cookie = query.edns.as_ref().and_then(|edns| edns.cookie.as_ref());
        let verdict = self.judge(decided.outcome.kind(), cookie, moment, sender);
        let make = |cookie: &Cookie| self.secret.make(&cookie.client, sender.address, unix_u32(moment.unix));
        let source = query.edns.as_ref().and_then(|edns| edns.ecs).map_or(0, |ecs| ecs.source());
        let echo = Echo {
            scope: if decided.by_client { source } else { 0 },
            cookie: cookie.map(make),
            signature: transaction.as_ref().map_or(0, Transaction::room),
        };
        let Decided { answer, outcome, fell_back, .. } = decided;
        let (answer, outcome) = match verdict {
            Verdict::Send => (answer, outcome),
            Verdict::Truncate => (Answer::truncated(), Outcome::Limited),
            Verdict::Drop => return Response { fell_back, ..Response::of(None, Outcome::Limited) },
        };
        let encoded = |answer: &Answer| answer.encode(&query, &echo, sender.transport);
        // A record that cannot be encoded is no reason to be silent: the client asks another responder at once.
        let (message, outcome) = match encoded(&answer) {
            Ok(message) => (Some(message), outcome),
            Err(_) => (encoded(&Answer::error(ResponseCode::ServFail)).ok(), Outcome::Failed),
        };
        let message = match (message, &mut transaction) {
            (Some(message), Some(transaction)) => Some(transaction.sign(message, moment.unix)),
            (message, _) => message,
        };
        Response { fell_back, ..Response::of(message, outcome) }
    }

    /// A reply that is made already. Beyond the budget it is not sent: it cannot be cut to a hint.
    fn as_it_is(
        &mut self,
        reply: Option<Vec<u8>>,
        outcome: Outcome,
        moment: &Moment<'_>,
        sender: Sender,
    ) -> Response {
        let is_sent = reply.is_none() || self.judge(Kind::Error, None, moment, sender) == Verdict::Send;
        match is_sent {
            true => Response::of(reply, outcome),
            false => Response::of(None, Outcome::Limited),
        }
    }

    /// What the budget of the sender's network says. An address is proven over TCP, and by a good cookie.
    fn judge(&mut self, kind: Kind, cookie: Option<&Cookie>, moment: &Moment<'_>, sender: Sender) -> Verdict {
        let Some(limiter) = &mut self.limiter else { return Verdict::Send };
        let is_proven = match sender.transport {
            Transport::Tcp => true,
            Transport::Udp => {
                let status = self.secret.judge(cookie, sender.address, unix_u32(moment.unix));
                status == CookieStatus::Good
            }
        };
        if is_proven {
            return Verdict::Send;
        }
        limiter.judge(Network::of(sender.address), kind, moment.now)
    }

    fn decide(&mut self, query: &Query, moment: &Moment<'_>, sender: Sender) -> Decided {
        match query.opcode {
            Opcode::Query => {}
            // This is a primary, and servers notify secondaries only (RFC 1996, section 3.1).
            Opcode::Notify => return Decided::refused(),
        }
        if query.class != DNSClass::IN {
            return Decided::refused();
        }
        let Some(zones) = moment.zones else { return Decided::unready() };
        match zones.find(&query.name) {
            Found::Elsewhere => Decided::refused(),
            // What is missing here, another name server may have. "No such name" would be kept for the negative TTL.
            Found::Nowhere(zone) if zone.may_lack(None) => Decided::unready(),
            Found::Nowhere(zone) => Decided::new(Outcome::NoSuchName, Answer::no_such_name(zone.soa())),
            Found::Here(zone, node) => self.records(query, zone, node, moment, sender),
        }
    }

    fn records(
        &mut self,
        query: &Query,
        zone: &ServedZone,
        node: &Node,
        moment: &Moment<'_>,
        sender: Sender,
    ) -> Decided {
        let records = |records: Vec<Record>| match records.is_empty() {
            true => Decided::new(Outcome::NoData, Answer::no_data(zone.soa())),
            false => Decided::new(Outcome::Records, Answer::records(records)),
        };
        match (query.record_type, &node.host) {
            (RecordType::SOA, _) if node.is_apex => records(vec![named(zone.soa(), query)]),
            (RecordType::NS, _) if node.is_apex => {
                let mut decided =
                    records(zone.name_servers().iter().map(|server| named(server, query)).collect());
                decided.answer.additionals = zone.glue().to_vec();
                decided
            }
            (RecordType::A, Some(host)) => self.addresses(Family::V4, query, zone, host, moment, sender),
            (RecordType::AAAA, Some(host)) => self.addresses(Family::V6, query, zone, host, moment, sender),
            (RecordType::A | RecordType::AAAA, None) if zone.may_lack(Some(node)) => Decided::unready(),
            (RecordType::A | RecordType::AAAA, None) => {
                let addresses = node.name_server.iter().filter(|address| is_of(query.record_type, address));
                let record =
                    |address: &IpAddr| address_record(query.name.clone(), ServedZone::APEX_TTL, *address);
                records(addresses.map(record).collect())
            }
            (RecordType::ANY, _) if node.has_records() => {
                Decided::new(Outcome::Records, Answer::any(query, zone.negative_ttl()))
            }
            _other_type => records(Vec::new()),
        }
    }

    fn addresses(
        &mut self,
        family: Family,
        query: &Query,
        zone: &ServedZone,
        host: &ServedHost,
        moment: &Moment<'_>,
        sender: Sender,
    ) -> Decided {
        static NO_PLACES: Places = Places::new();
        let places = moment.places.get(&host.model.environment).unwrap_or(&NO_PLACES);
        let prefix = Some(network(query, sender.address));
        let client = Client { prefix, family: Some(family), spot: None, draw: moment.draw };
        let steered = self.last.steer(host, Seen { places, now: moment.now }, &client, moment.geo, &mut ());
        if steered.addresses.is_empty() {
            // No address of any region is known here. "No such record" would be kept for the negative TTL; this makes resolvers ask
            // another name server, or use what they have (RFC 8767).
            return Decided::unready();
        }
        let of_type = steered.addresses.iter().filter(|address| family.has(address));
        let records: Vec<Record> =
            of_type.map(|address| address_record(query.name.clone(), host.ttl(), *address)).collect();
        let mut decided = match records.is_empty() {
            true => Decided::new(Outcome::NoData, Answer::no_data(zone.soa())),
            false => Decided::new(Outcome::Records, Answer::records(records)),
        };
        (decided.by_client, decided.fell_back) = (steered.by_client, steered.fell_back);
        decided
    }
}

/// The record under the name as the client wrote it.
fn named(record: &Record, query: &Query) -> Record {
    let mut record = record.clone();
    record.name = query.name.clone();
    record
}

fn is_of(record_type: RecordType, address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => record_type == RecordType::A,
        IpAddr::V6(_) => record_type == RecordType::AAAA,
    }
}

/// The network of the client: as its resolver says, or else the resolver itself.
pub(crate) fn network(query: &Query, sender: IpAddr) -> IpNet {
    let told = query.edns.as_ref().and_then(|edns| edns.ecs).and_then(|ecs| ecs.network());
    let told = told.map(|(address, length)| (address.to_canonical(), address, length));
    match told {
        // A mapped address says less of an IPv4 network than its length does.
        Some((canonical, address, length)) if canonical == address => {
            IpNet::new(address, length).expect("an option's prefix is no longer than its address")
        }
        Some(_) | None => IpNet::from(sender.to_canonical()),
    }
}

/// Cookies have the low half of the time (RFC 9018, section 4.3).
fn unix_u32(unix: u64) -> u32 {
    (unix & u64::from(u32::MAX)) as u32
}
