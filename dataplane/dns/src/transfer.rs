//! The whole zone for a secondary (RFC 5936): who gets it, and what is in it. Pure.
//!
//! A secondary answers for days as it was told, so it is told what is committed and never how regions are: a region that was down for a
//! minute must not be missing at a secondary until the next serial.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use hanse_dns_wire::{
    Answer, Echo, EncodeError, Name, Query, Record, RecordType, ResponseCode, Transfer, Transport,
    tsig::Transaction,
};
use hanse_process::seeded;
use hanse_steering::{self as steering, Client, Places, Seen};

use crate::{
    key::NameKey,
    zones::{Found, ServedHost, ServedZone, Zones, address_record},
};

/// What a query for a zone gets.
#[derive(Debug)]
pub(crate) enum Granted {
    /// The whole zone.
    Zone(Arc<ServedZone>),
    /// The zone's SOA: the secondary is up to date, or it has to ask over TCP.
    Soa(Arc<ServedZone>),
    /// Nothing, and why.
    Refused(ResponseCode),
}

/// Decides on AXFR and IXFR. `key`: the name of the key that the query was signed with.
pub(crate) fn grant(
    zones: Option<&Zones>,
    query: &Query,
    key: Option<&Name>,
    transport: Transport,
) -> Granted {
    let Some(key) = key.map(NameKey::of) else { return Granted::Refused(ResponseCode::Refused) };
    let Some(zones) = zones else { return Granted::Refused(ResponseCode::ServFail) };
    let zone = match zones.find(&query.name) {
        Found::Here(zone, node) if node.is_apex => zone,
        // RFC 5936, section 2.2.1.
        Found::Elsewhere | Found::Nowhere(_) | Found::Here(..) => {
            return Granted::Refused(ResponseCode::NotAuth);
        }
    };
    let secondaries = &zone.zone.secondaries;
    if !secondaries.iter().any(|secondary| NameKey::of_domain(&secondary.key) == key) {
        return Granted::Refused(ResponseCode::Refused);
    }
    if zone.lacks_a_host() {
        // The secondary would deny the name. It keeps the zone that it has, and asks again.
        return Granted::Refused(ResponseCode::ServFail);
    }
    let is_up_to_date = query.is_up_to_date(zone.zone.serial);
    match (query.record_type == RecordType::IXFR, transport) {
        (true, _) if is_up_to_date => Granted::Soa(Arc::clone(zone)),
        (_, Transport::Tcp) => Granted::Zone(Arc::clone(zone)),
        (true, Transport::Udp) => Granted::Soa(Arc::clone(zone)), // RFC 1995, section 2
        (false, Transport::Udp) => Granted::Refused(ResponseCode::Refused),
    }
}

/// A transfer that was granted. The zone is of one serial, whatever comes into force meanwhile.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) query: Query,
    pub(crate) zone: Arc<ServedZone>,
    pub(crate) transaction: Transaction,
}

impl Outgoing {
    /// Hands each message over, signed at the time that `now` says, until one cannot be made or sent.
    pub(crate) fn messages(self, now: impl Fn() -> u64, mut send: impl FnMut(Message) -> bool) {
        let places = Places::new();
        let records = records(&self.zone, Seen { places: &places, now: std::time::Duration::ZERO });
        let mut transfer = Transfer::new(&self.query, self.zone.soa(), &records, self.transaction);
        while let Some(message) = transfer.next(now()) {
            let is_last = message.is_err();
            if !send(message) || is_last {
                return;
            }
        }
    }

    /// The answer while too many transfers run: the secondary asks again.
    pub(crate) fn busy(mut self, now: u64) -> Result<Vec<u8>, EncodeError> {
        let echo = Echo { signature: self.transaction.room(), ..Echo::default() };
        let answer = Answer::error(ResponseCode::ServFail).encode(&self.query, &echo, Transport::Tcp)?;
        Ok(self.transaction.sign(answer, now))
    }
}

/// A message of a transfer, or why it cannot be made.
pub(crate) type Message = Result<Vec<u8>, EncodeError>;

/// The records of a zone but for its SOA: NS, and then addresses of hosts and of name servers by their names. Equal zones have equal records.
/// What is known of the regions does not count.
pub(crate) fn records(zone: &ServedZone, seen: Seen<'_>) -> Vec<Record> {
    let mut records = zone.name_servers().to_vec();
    let mut hosts: Vec<&ServedHost> = zone.hosts().collect();
    hosts.sort_by(|one, other| one.model.host.cmp(&other.model.host));
    for host in hosts {
        let name = host.name();
        let of_host = addresses(host, seen);
        records.extend(of_host.into_iter().map(|address| address_record(name.clone(), host.ttl(), address)));
    }
    // Where a host has the name of a name server, the host is answered.
    records.extend(zone.glue().iter().filter(|server| !zone.has_host(&server.name)).cloned());
    records
}

/// The committed addresses of a host, for clients anywhere and until the next commit.
pub(crate) fn addresses(host: &ServedHost, seen: Seen<'_>) -> BTreeSet<IpAddr> {
    let by_policy = catch_unwind(AssertUnwindSafe(|| {
        if seeded("axfr-with-health") {
            let anybody = Client { prefix: None, family: None, spot: None, draw: 0 };
            return steering::answer(&host.policy, seen, &anybody, &mut ()).addresses().collect();
        }
        steering::default_answer(&host.policy).addresses().collect()
    }));
    match by_policy {
        Ok(addresses) => addresses,
        Err(_panic) => steering::fallback(&host.policy, &Places::new(), None, &BTreeSet::new()),
    }
}
