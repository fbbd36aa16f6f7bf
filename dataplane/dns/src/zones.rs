//! What a responder answers from: zones by their names, and in each zone the names that exist. Pure.

mod host;
mod index;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use foldhash::fast::RandomState;
use hanse_dns_wire::{Name, RData, Record, absolute, rdata};
use hanse_runtime::{DomainName, Mailbox, Zone};

pub(crate) use self::{
    host::ServedHost,
    index::{Counts, Key, ScopeIndex},
};
use crate::key::NameKey;

/// How long resolvers may keep a zone's SOA and NS. Name servers change seldom, and the parent's NS are commonly kept for longer.
const APEX_TTL: u32 = 3_600;
/// How often a secondary asks for the serial where it missed a NOTIFY: the longest that it answers as before.
const REFRESH: i32 = 300;
/// How often it asks while the primary does not answer.
const RETRY: i32 = 60;
/// How long a secondary answers without its primary: two weeks, the lower bound of RFC 1912, section 2.2.
const EXPIRE: i32 = 14 * 24 * 3_600;

/// Every zone of a responder.
#[derive(Debug, Default)]
pub(crate) struct Zones {
    by_origin: HashMap<NameKey, Arc<ServedZone>, RandomState>,
}

/// What is known of a zone.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) zone: Arc<Zone>,
    /// The hosts in force.
    pub(crate) hosts: Vec<Arc<ServedHost>>,
    /// The names of hosts of which no version can be used.
    pub(crate) lacks: Vec<DomainName>,
}

/// A zone, with what it answers with.
#[derive(Debug)]
pub(crate) struct ServedZone {
    pub(crate) zone: Arc<Zone>,
    soa: Record,
    name_servers: Vec<Record>,
    /// Addresses of name servers in the zone.
    glue: Vec<Record>,
    /// The names below the apex, and the apex, that exist.
    names: HashMap<NameKey, Node, RandomState>,
    /// There may be a host of another name: one that cannot be used, and whose name cannot be read.
    lacks_unknown: bool,
}

/// What a name of a zone has.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// A host of a GlobalHost.
    pub(crate) host: Option<Arc<ServedHost>>,
    /// The addresses of a name server of the zone. Where there is a host too, the host is answered.
    pub(crate) name_server: Vec<IpAddr>,
    /// There is a host, and no version of it can be used.
    pub(crate) lacks_host: bool,
    /// It is the zone's apex.
    pub(crate) is_apex: bool,
}

/// Where a name is.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// In none of the zones.
    Elsewhere,
    /// It would be in this zone, and does not exist.
    Nowhere(&'a Arc<ServedZone>),
    /// It is in this zone, and has this. A name between others has nothing (RFC 8020).
    Here(&'a Arc<ServedZone>, &'a Node),
}

impl Zones {
    /// These zones. `lacks_unknown`: there may be a host more in each of them.
    pub(crate) fn new<'a>(zones: impl Iterator<Item = &'a Contents>, lacks_unknown: bool) -> Self {
        let one = |contents: &Contents| {
            (NameKey::of_domain(&contents.zone.origin), Arc::new(ServedZone::new(contents, lacks_unknown)))
        };
        Self { by_origin: zones.map(one).collect() }
    }

    /// The zone of a name is the one with the longest name that the name ends with.
    pub(crate) fn find(&self, name: &Name) -> Found<'_> {
        let key = NameKey::of(name);
        let Some(zone) = key.upwards().find_map(|above| self.by_origin.get(above)) else {
            return Found::Elsewhere;
        };
        match zone.names.get(&key) {
            Some(node) => Found::Here(zone, node),
            None => Found::Nowhere(zone),
        }
    }

    /// The keys of all hosts.
    pub(crate) fn host_keys(&self) -> HashSet<&Key, RandomState> {
        let nodes = self.by_origin.values().flat_map(|zone| zone.names.values());
        nodes.filter_map(|node| node.host.as_ref()).map(|host| &host.key).collect()
    }

    /// Every zone, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<ServedZone>> {
        self.by_origin.values()
    }
}

impl ServedZone {
    /// How long resolvers may keep the address of a name server, in seconds.
    pub(crate) const APEX_TTL: u32 = APEX_TTL;

    fn new(contents: &Contents, lacks_unknown: bool) -> Self {
        let Contents { zone, hosts, lacks } = contents;
        let apex = wire(&zone.origin);
        let apex_record = |data| Record::from_rdata(apex.clone(), APEX_TTL, data);
        let mut names: HashMap<NameKey, Node, RandomState> = HashMap::default();
        let origin = NameKey::of_domain(&zone.origin);
        names.insert(origin.clone(), Node { is_apex: true, ..Node::default() });
        let mut node = |name: &DomainName, fill: &dyn Fn(&mut Node)| {
            let key = NameKey::of_domain(name);
            let apex: &[u8] = std::borrow::Borrow::borrow(&origin);
            for above in key.upwards().take_while(|above| *above != apex) {
                names.entry(above.into()).or_default();
            }
            fill(names.entry(key).or_default());
        };
        let mut glue = Vec::new();
        for server in zone.name_servers.iter().filter(|server| server.name.is_in(&zone.origin)) {
            node(&server.name, &|node| node.name_server.clone_from(&server.addresses));
            glue.extend(
                server.addresses.iter().map(|address| address_record(wire(&server.name), APEX_TTL, *address)),
            );
        }
        for host in hosts {
            node(&host.model.host, &|node| node.host = Some(Arc::clone(host)));
        }
        for host in lacks {
            node(host, &|node| node.lacks_host = true);
        }
        let servers = zone.name_servers.iter().map(|server| wire(&server.name));
        Self {
            soa: apex_record(RData::SOA(soa(zone))),
            name_servers: servers.map(|server| apex_record(RData::NS(rdata::NS(server)))).collect(),
            glue,
            names,
            lacks_unknown,
            zone: Arc::clone(zone),
        }
    }

    /// Whether an address of this name may be missing here, because a host cannot be used. `None`: the name is not in the zone.
    pub(crate) fn may_lack(&self, node: Option<&Node>) -> bool {
        let lacks = |node: &Node| {
            node.host.is_none() && node.name_server.is_empty() && (node.lacks_host || self.lacks_unknown)
        };
        node.map_or(self.lacks_unknown, lacks)
    }

    /// Whether any host may be missing here.
    pub(crate) fn lacks_a_host(&self) -> bool {
        self.lacks_unknown || self.names.values().any(|node| node.host.is_none() && node.lacks_host)
    }

    /// Its hosts, in no order.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &ServedHost> {
        self.names.values().filter_map(|node| node.host.as_deref())
    }

    /// Whether a host has this name.
    pub(crate) fn has_host(&self, name: &Name) -> bool {
        self.names.get(&NameKey::of(name)).is_some_and(|node| node.host.is_some())
    }

    /// Its SOA record.
    pub(crate) fn soa(&self) -> &Record {
        &self.soa
    }

    /// Its NS records.
    pub(crate) fn name_servers(&self) -> &[Record] {
        &self.name_servers
    }

    /// The addresses of those name servers that are in the zone.
    pub(crate) fn glue(&self) -> &[Record] {
        &self.glue
    }

    /// How long resolvers may keep that something is not there, in seconds.
    pub(crate) fn negative_ttl(&self) -> u32 {
        seconds(self.zone.negative_ttl)
    }
}

impl Node {
    /// Whether there is a record of any type. A name between others has none.
    pub(crate) fn has_records(&self) -> bool {
        self.is_apex || self.host.is_some() || self.lacks_host || !self.name_server.is_empty()
    }
}

/// An A or an AAAA record.
pub(crate) fn address_record(name: Name, ttl: u32, address: IpAddr) -> Record {
    let data = match address {
        IpAddr::V4(address) => RData::A(rdata::A(address)),
        IpAddr::V6(address) => RData::AAAA(rdata::AAAA(address)),
    };
    Record::from_rdata(name, ttl, data)
}

fn soa(zone: &Zone) -> rdata::SOA {
    let primary = zone.name_servers.first().expect("a zone has at least one name server");
    let minimum = seconds(zone.negative_ttl);
    rdata::SOA::new(wire(&primary.name), mailbox(&zone.contact), zone.serial, REFRESH, RETRY, EXPIRE, minimum)
}

fn seconds(ttl: Duration) -> u32 {
    u32::try_from(ttl.as_secs()).expect("a TTL is at most a day")
}

/// The name of a resource in a message.
pub(crate) fn wire(name: &DomainName) -> Name {
    absolute(name.as_str()).expect("a DomainName is a name in the DNS")
}

/// A mailbox as a name: the local part is one label, with its dots (RFC 1035, section 8).
fn mailbox(contact: &Mailbox) -> Name {
    let domain = wire(&contact.domain);
    let labels = std::iter::once(contact.local.as_bytes()).chain(domain.iter());
    Name::from_labels(labels).expect("a Mailbox fits into a name")
}
