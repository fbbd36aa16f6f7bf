//! Zones and hosts for tests.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use hanse_proto::runtime::{self, resource::Kind};
use hanse_runtime::{Resource, ResourceKind};
use prost::Message as _;

use crate::zones::{Key, ServedHost};

/// A resource as it arrives.
pub(crate) fn entry(key: &str, kind: Kind) -> (Key, Bytes) {
    let resource = runtime::Resource { kind: Some(kind), requires: Vec::new() };
    (key.into(), resource.encode_to_vec().into())
}

/// The zone `gslb` with this origin, and the name servers `ns1` in it and `ns.other.example`.
pub(crate) fn zone(origin: &str) -> runtime::Zone {
    let server =
        |name: String, addresses: &[&str]| runtime::NameServer { name, addresses: octets(addresses) };
    runtime::Zone {
        name: "gslb".to_owned(),
        origin: origin.to_owned(),
        serial: 41,
        name_servers: vec![
            server(format!("ns1.{origin}"), &["192.0.2.53", "2001:db8::53"]),
            server("ns.other.example".to_owned(), &[]),
        ],
        contact: "hostmaster@example.com".to_owned(),
        negative_ttl_s: 60,
        secondaries: Vec::new(),
        publish: None,
        epoch: Some(runtime::Epoch { generation: 1, revision: 41 }),
    }
}

pub(crate) fn zone_entry(zone: runtime::Zone) -> (Key, Bytes) {
    entry(&format!("zone/{}", zone.name), Kind::Zone(zone))
}

/// A host of the zone `gslb`, named by its first label, with a candidate per region.
pub(crate) fn host(name: &str, regions: &[(&str, &[&str])]) -> runtime::GlobalHost {
    let candidate = |(region, addresses): &(&str, &[&str])| runtime::Candidate {
        region: (*region).to_owned(),
        percent: 100,
        addresses: octets(addresses),
        spot: None,
        why: String::new(),
    };
    runtime::GlobalHost {
        name: name.split('.').next().unwrap().to_owned(),
        zone: "gslb".to_owned(),
        host: name.to_owned(),
        environment: "production".to_owned(),
        ttl_s: 30,
        steps: Vec::new(),
        candidates: regions.iter().map(candidate).collect(),
    }
}

pub(crate) fn host_entry(host: runtime::GlobalHost) -> (Key, Bytes) {
    entry(&format!("host/{}", host.name), Kind::GlobalHost(host))
}

/// The same, as it is answered.
pub(crate) fn served_host(name: &str, regions: &[(&str, &[&str])]) -> Arc<ServedHost> {
    let (key, bytes) = host_entry(host(name, regions));
    match hanse_runtime::check(ResourceKind::GlobalHost, &bytes).unwrap() {
        Resource::GlobalHost(model) => ServedHost::new(key, model).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn octets(addresses: &[&str]) -> Vec<Bytes> {
    let one = |text: &&str| match text.parse().unwrap() {
        IpAddr::V4(address) => Bytes::copy_from_slice(&address.octets()),
        IpAddr::V6(address) => Bytes::copy_from_slice(&address.octets()),
    };
    addresses.iter().map(one).collect()
}
