//! What all servers answer: the same hosts, with the same address for the same network.

use std::fmt::Write as _;

use hanse_dns_wire::{Ecs, Edns, MAX_UDP, Question, RecordType, absolute};

/// Hosts of the zone.
pub(super) const HOSTS: usize = 100;
/// Networks that each host has a region for: `10.0.N.0/24`.
pub(super) const NETWORKS: usize = 64;
pub(super) const ORIGIN: &str = "gslb.example.com";
/// As responders have it for hosts that name none.
pub(super) const TTL: u32 = 30;
/// The regions of the federation, and where each is reached. Networks take turns between them.
pub(super) const REGIONS: [(&str, &str); 2] = [("eu-west", "192.0.2.1"), ("us-east", "192.0.2.2")];
/// Questions whose answers are looked at before anything is measured.
const LOOKED_AT: usize = 16;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Job {
    /// A host that leads every client to the first region, with EDNS and without Client Subnet.
    Plain,
    /// A host that leads each network to a region, with Client Subnet.
    ByClient,
}

impl Job {
    /// Every question of the job, with its answer. The identifiers are all 0.
    pub(super) fn questions(self) -> Vec<(Vec<u8>, &'static str)> {
        let (count, step) = (self.count(), self.count() / LOOKED_AT);
        (0..count).step_by(step.max(1)).map(|number| self.question(number)).collect()
    }

    /// The messages of the job, in the order in which they are sent.
    pub(super) fn messages(self) -> Vec<Vec<u8>> {
        (0..self.count()).map(|number| self.question(number).0).collect()
    }

    fn count(self) -> usize {
        match self {
            Self::Plain => HOSTS,
            Self::ByClient => HOSTS * NETWORKS,
        }
    }

    fn question(self, number: usize) -> (Vec<u8>, &'static str) {
        let (host, network) = (number % HOSTS, number / HOSTS);
        let (name, ecs, (_, address)) = match self {
            Self::Plain => (plain(host), None, REGIONS[0]),
            Self::ByClient => {
                let octets = [10, 0, u8::try_from(network).expect("few networks"), 0];
                (by_client(host), Some(Ecs::new(octets.into(), 24)), region_of(network))
            }
        };
        let edns = Edns { size: MAX_UDP, dnssec_ok: false, ecs, cookie: None };
        let name = absolute(&name).expect("a short name");
        let question = Question { edns: Some(edns), ..Question::new(name, RecordType::A) };
        let mut message = question.request(None, 0).message().to_vec();
        message[..2].fill(0);
        (message, address)
    }
}

fn plain(host: usize) -> String {
    format!("plain-{host}.{ORIGIN}")
}

fn by_client(host: usize) -> String {
    format!("host-{host}.{ORIGIN}")
}

fn region_of(network: usize) -> (&'static str, &'static str) {
    REGIONS[network % REGIONS.len()]
}

/// What an operator applies.
pub(super) fn manifests() -> String {
    let [(first, first_address), (second, second_address)] = REGIONS;
    let mut text = format!(
        "kind: Environment\nname: production\nspec:\n  regions: [{first}, {second}]\n  \
         addresses: {{{first}: [{first_address}], {second}: [{second_address}]}}\n---\n\
         kind: DnsZone\nname: gslb\nspec:\n  origin: {ORIGIN}\n  contact: dns@example.com\n  \
         nameServers: [{{name: ns1.{ORIGIN}, addresses: [192.0.2.53]}}]\n"
    );
    let rules: Vec<String> = (0..NETWORKS)
        .map(|network| format!("{{cidr: 10.0.{network}.0/24, regions: [{}]}}", region_of(network).0))
        .collect();
    let rules = rules.join(", ");
    for host in 0..HOSTS {
        let (plain, by_client) = (plain(host), by_client(host));
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "---\nkind: GlobalHost\nname: plain-{host}\nspec:\n  host: {plain}\n  zone: gslb\n  environment: production\n  \
             ttl: {TTL}s\n  policy:\n    - failover: {{order: [{first}, {second}]}}\n\
             ---\nkind: GlobalHost\nname: host-{host}\nspec:\n  host: {by_client}\n  zone: gslb\n  environment: production\n  \
             ttl: {TTL}s\n  policy:\n    - origin: {{rules: [{rules}]}}\n"
        );
    }
    text
}

/// The zone file of Knot: both kinds of hosts with the first region's address.
pub(super) fn zone_file() -> String {
    let address = REGIONS[0].1;
    let mut text = format!(
        "$ORIGIN {ORIGIN}.\n@ {TTL} SOA ns1 hostmaster 1 3600 600 86400 60\n@ {TTL} NS ns1\nns1 {TTL} A 192.0.2.53\n"
    );
    for host in 0..HOSTS {
        let _ = writeln!(text, "plain-{host} {TTL} A {address}\nhost-{host} {TTL} A {address}");
    }
    text
}

/// The networks of Knot's module geoip.
pub(super) fn networks_file() -> String {
    let mut text = String::new();
    for host in 0..HOSTS {
        let _ = writeln!(text, "{}:", by_client(host));
        for network in 0..NETWORKS {
            let _ = writeln!(text, "  - net: 10.0.{network}.0/24\n    A: {}", region_of(network).1);
        }
    }
    text
}
