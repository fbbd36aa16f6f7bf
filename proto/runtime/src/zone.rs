//! A DNS zone, as the responders of its regions serve it.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hanse_proto::runtime;
use hanse_topology::Name;

use crate::{DomainName, Epoch, Mailbox, Unusable, address, field, regions};

/// The most name servers of a zone: as many as the root zone has. An answer over UDP (1,232 octets) has all of them unless most have long
/// names under different domains.
pub const MAX_NAME_SERVERS: usize = 13;
/// The most secondaries of a zone: each responder notifies all of them.
pub const MAX_SECONDARIES: usize = 16;
/// The longest time that resolvers may keep an answer. After a day a change of regions would not have arrived, and negative answers that
/// were kept longer have been found problematic (RFC 2308, section 5).
pub const MAX_TTL: Duration = Duration::from_secs(24 * 3600);

/// A DNS zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name among zones.
    pub name: Name,
    /// The name of its apex.
    pub origin: DomainName,
    /// Of its SOA record. Serials are compared as RFC 1982 says.
    pub serial: u32,
    /// From 1 to [`MAX_NAME_SERVERS`]. The first one is the primary of the SOA record.
    pub name_servers: Vec<NameServer>,
    /// Who is responsible.
    pub contact: Mailbox,
    /// How long resolvers may keep that a name or a type is not there.
    pub negative_ttl: Duration,
    /// Those that transfer the zone.
    pub secondaries: Vec<Secondary>,
    /// Where its hosts are published; `None`: nowhere.
    pub publish: Option<Publish>,
    /// Of its state.
    pub epoch: Epoch,
}

/// A name server of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameServer {
    /// Its name.
    pub name: DomainName,
    /// Its addresses, for records beside its name. One whose name is in the zone has some.
    pub addresses: Vec<IpAddr>,
}

/// A server that transfers a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secondary {
    /// Where it is notified.
    pub address: SocketAddr,
    /// The name of the TSIG key that it has (RFC 8945).
    pub key: DomainName,
}

/// A zone of another server that hosts are published in (RFC 2136).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The server.
    pub server: SocketAddr,
    /// The name of the TSIG key that it takes (RFC 8945).
    pub key: DomainName,
    /// The regions whose responders publish.
    pub from: Vec<Name>,
}

impl Zone {
    pub(crate) fn new(zone: runtime::Zone) -> Result<Self, Unusable> {
        let runtime::Zone {
            name,
            origin,
            serial,
            name_servers,
            contact,
            negative_ttl_s,
            secondaries,
            publish,
            epoch,
        } = zone;
        let origin = field::domain_name("origin", &origin)?;
        let contact =
            Mailbox::parse(&contact).map_err(|error| Unusable::new("contact", error.to_string()))?;
        Ok(Self {
            name: field::name("name", &name)?,
            name_servers: name_servers_of(&origin, &name_servers)?,
            origin,
            serial,
            contact,
            negative_ttl: ttl("negative_ttl_s", negative_ttl_s)?,
            secondaries: secondaries_of(&secondaries)?,
            publish: publish.map(Publish::new).transpose().map_err(|bad| bad.within("publish"))?,
            epoch: Epoch::read(epoch)?,
        })
    }
}

fn name_servers_of(origin: &DomainName, given: &[runtime::NameServer]) -> Result<Vec<NameServer>, Unusable> {
    const FIELD: &str = "name_servers";
    if given.is_empty() {
        return Err(Unusable::new(FIELD, "a zone has at least one (RFC 1035, section 3.3.11)"));
    }
    field::within("name servers", FIELD, given.len(), MAX_NAME_SERVERS)?;
    let one =
        |(at, server)| NameServer::new(origin, server).map_err(|bad| bad.within(format!("{FIELD}[{at}]")));
    let servers = given.iter().enumerate().map(one).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<&DomainName> = servers.iter().map(|server| &server.name).collect();
    field::distinct(FIELD, &names)?;
    Ok(servers)
}

impl NameServer {
    fn new(origin: &DomainName, server: &runtime::NameServer) -> Result<Self, Unusable> {
        let name = field::domain_name("name", &server.name)?;
        let addresses = address::addresses(&server.addresses)?;
        if addresses.is_empty() && name.is_in(origin) {
            let reason = format!("{name} is in the zone: without an address no resolver reaches it");
            return Err(Unusable::new("addresses", reason));
        }
        Ok(Self { name, addresses })
    }
}

fn secondaries_of(given: &[runtime::Secondary]) -> Result<Vec<Secondary>, Unusable> {
    const FIELD: &str = "secondaries";
    field::within("secondaries", FIELD, given.len(), MAX_SECONDARIES)?;
    let one = |(at, secondary)| {
        Secondary::new(secondary).map_err(|bad: Unusable| bad.within(format!("{FIELD}[{at}]")))
    };
    let secondaries = given.iter().enumerate().map(one).collect::<Result<Vec<_>, _>>()?;
    let addresses: Vec<SocketAddr> = secondaries.iter().map(|secondary| secondary.address).collect();
    field::distinct(FIELD, &addresses)?;
    Ok(secondaries)
}

impl Secondary {
    fn new(secondary: &runtime::Secondary) -> Result<Self, Unusable> {
        Ok(Self {
            address: address::socket("address", &secondary.address)?,
            key: field::domain_name("key", &secondary.key)?,
        })
    }
}

impl Publish {
    fn new(publish: runtime::Publish) -> Result<Self, Unusable> {
        Ok(Self {
            server: address::socket("server", &publish.server)?,
            key: field::domain_name("key", &publish.key)?,
            from: regions::regions("from", &publish.from)?,
        })
    }
}

/// The time to live in a field, in seconds.
pub(crate) fn ttl(field: &str, seconds: u32) -> Result<Duration, Unusable> {
    let ttl = Duration::from_secs(seconds.into());
    if ttl.is_zero() || ttl > MAX_TTL {
        // Of 0 every client would ask each time.
        let reason = format!("{seconds} s is none from 1 to {}", MAX_TTL.as_secs());
        return Err(Unusable::new(field, reason));
    }
    Ok(ttl)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_a_second_to_a_day() {
        for (seconds, is_good) in [(0, false), (1, true), (86_400, true), (86_401, false), (u32::MAX, false)]
        {
            assert_eq!(ttl("ttl_s", seconds).is_ok(), is_good, "{seconds}");
        }
    }

    fn zone() -> runtime::Zone {
        runtime::Zone {
            name: "gslb".to_owned(),
            origin: "gslb.example.com".to_owned(),
            serial: 268_435_497,
            name_servers: vec![
                server("ns1.gslb.example.com", &[[192, 0, 2, 53]]),
                server("ns.other.example", &[]),
            ],
            contact: "hostmaster@example.com".to_owned(),
            negative_ttl_s: 30,
            secondaries: vec![secondary("192.0.2.9:53")],
            publish: Some(runtime::Publish {
                server: "192.0.2.10:53".to_owned(),
                key: "to-bind".to_owned(),
                from: vec!["eu-west".to_owned()],
            }),
            epoch: Some(runtime::Epoch { generation: 2, revision: 41 }),
        }
    }

    fn server(name: &str, addresses: &[[u8; 4]]) -> runtime::NameServer {
        let addresses = addresses.iter().map(|octets| octets.to_vec().into()).collect();
        runtime::NameServer { name: name.to_owned(), addresses }
    }

    fn secondary(address: &str) -> runtime::Secondary {
        runtime::Secondary { address: address.to_owned(), key: "to-bind".to_owned() }
    }

    #[test]
    fn what_is_usual_can_be_used() {
        let zone = Zone::new(zone()).unwrap();
        assert_eq!((zone.origin.as_str(), zone.negative_ttl), ("gslb.example.com", Duration::from_secs(30)));
        assert_eq!(zone.name_servers[0].addresses, ["192.0.2.53".parse::<IpAddr>().unwrap()]);
        assert_eq!(zone.epoch, Epoch { generation: 2, revision: 41 });
        let publish = zone.publish.unwrap();
        assert_eq!((publish.key.as_str(), publish.from[0].as_str()), ("to-bind", "eu-west"));
        let apart = runtime::Zone { publish: None, secondaries: Vec::new(), ..self::zone() };
        assert!(Zone::new(apart).is_ok(), "a zone of its own");
    }

    #[test]
    fn the_field_at_fault_is_named() {
        let check = |field: &str, change: fn(&mut runtime::Zone)| {
            let mut zone = zone();
            change(&mut zone);
            assert_eq!(Zone::new(zone).unwrap_err().field, field);
        };
        check("name", |zone| zone.name.clear());
        check("origin", |zone| zone.origin.clear());
        check("origin", |zone| zone.origin.push('.'));
        check("name_servers", |zone| zone.name_servers.clear());
        check("name_servers[0].name", |zone| zone.name_servers[0].name.clear());
        check("name_servers[0].addresses", |zone| zone.name_servers[0].addresses.clear());
        check("name_servers[1].addresses[0]", |zone| zone.name_servers[1].addresses.push(vec![1].into()));
        check("name_servers[2]", |zone| zone.name_servers.push(zone.name_servers[0].clone()));
        check("contact", |zone| zone.contact = "hostmaster.example.com".to_owned());
        check("negative_ttl_s", |zone| zone.negative_ttl_s = 0);
        check("secondaries[0].address", |zone| zone.secondaries[0].address = "192.0.2.9".to_owned());
        check("secondaries[0].key", |zone| zone.secondaries[0].key.clear());
        check("secondaries[1]", |zone| zone.secondaries.push(zone.secondaries[0].clone()));
        check("publish.server", |zone| zone.publish.as_mut().unwrap().server.clear());
        check("publish.key", |zone| zone.publish.as_mut().unwrap().key.clear());
        check("publish.from", |zone| zone.publish.as_mut().unwrap().from.clear());
        check("epoch", |zone| zone.epoch = None);
    }

    #[test]
    fn what_a_zone_may_have_is_bounded() {
        let check = |field: &str, most: usize, change: fn(&mut runtime::Zone, usize)| {
            let (mut full, mut beyond) = (zone(), zone());
            change(&mut full, most);
            change(&mut beyond, most + 1);
            assert!(Zone::new(full).is_ok(), "{field}");
            assert_eq!(Zone::new(beyond).unwrap_err().field, field);
        };
        check("name_servers", MAX_NAME_SERVERS, |zone, count| {
            zone.name_servers = (0..count).map(|at| server(&format!("ns{at}.example.org"), &[])).collect();
        });
        check("secondaries", MAX_SECONDARIES, |zone, count| {
            zone.secondaries = (0..count).map(|at| secondary(&format!("192.0.2.{}:53", at + 1))).collect();
        });
    }
}
