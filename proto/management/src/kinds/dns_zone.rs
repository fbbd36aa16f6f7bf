//! DnsZone: a DNS zone whose hosts are answered with regions.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use hanse_runtime::{MAX_NAME_SERVERS, MAX_SECONDARIES, Mailbox, is_in_zone};
use hanse_topology::{Labels, MAX_REGIONS, Name, RegionSelector};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::selector;
use crate::{
    Bound, Bounded, Claim, Column, Duration, Field, Kind, ManagementKind, Refer, ResourceKey, ShownWith,
    check::{
        Verdict, check_distinct,
        host::{MAX_HOST_BYTES, check_domain_name},
        invalid,
        region::check_regions,
        text,
    },
    column::{each, text_of},
    kinds::ApiSpec,
};

/// The most addresses of a name server: one or two of each family.
const MAX_ADDRESSES: usize = 4;
/// A shorter one would have resolvers ask again at once for each name that is not there.
const SHORTEST_NEGATIVE_TTL: Duration = Duration::from_millis(1_000);
/// Resolvers keep a negative answer for three hours at most (RFC 2308, section 5).
const LONGEST_NEGATIVE_TTL: Duration = Duration::from_millis(3 * 60 * 60 * 1_000);
/// A host that was just added is found as soon as one that moved.
const DEFAULT_NEGATIVE_TTL: Duration = Duration::from_millis(30_000);
/// The longest mailbox: the name that it becomes in the SOA record is a host name (RFC 1035, section 3.3.13).
const MAX_CONTACT_BYTES: usize = MAX_HOST_BYTES;

/// A DNS zone that has GlobalHosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DnsZoneSpec {
    /// The name of the zone: `gslb.example.com`.
    pub origin: String,
    /// The regions whose DNS servers have the zone. Absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "selector::read_some")]
    pub regions: Option<RegionSelector>,
    /// Its NS records, with the addresses of those that are inside the zone.
    pub name_servers: Vec<NameServerSpec>,
    /// The mailbox of who runs it: `hostmaster@example.com`. The SOA record has it as a name (RFC 1035, section 3.3.13).
    pub contact: String,
    /// How long resolvers keep that a name is not there (RFC 2308). Default 30s.
    #[serde(default = "default_negative_ttl")]
    #[schema(value_type = String)]
    pub negative_ttl: Duration,
    /// DNS servers that get the whole zone by transfer (RFC 5936). They answer with committed addresses only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secondaries: Vec<SecondarySpec>,
    /// A DNS server that has the zone and is sent the present answers (RFC 2136).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub publish: Option<PublishSpec>,
}

/// A name server of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NameServerSpec {
    /// Its name.
    pub name: String,
    /// Its addresses, IPv4 and IPv6. A name inside the zone has one at least: no other zone has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
}

/// A DNS server that gets a zone by transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SecondarySpec {
    /// Its address and port: `192.0.2.9:53`. It is told of changes there (RFC 1996).
    #[schema(value_type = String)]
    pub address: SocketAddr,
    /// The name of the TSIG key that it signs with (RFC 8945). The key itself is in the configuration of the DNS servers.
    pub key: String,
}

/// A DNS server that is sent answers by update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PublishSpec {
    /// Its address and port: `192.0.2.10:53`.
    #[schema(value_type = String)]
    pub server: SocketAddr,
    /// The name of the TSIG key that updates are signed with.
    pub key: String,
    /// The regions whose DNS servers send updates.
    pub from: Vec<Name>,
}

fn default_negative_ttl() -> Duration {
    DEFAULT_NEGATIVE_TTL
}

impl DnsZoneSpec {
    /// Whether a host is the zone's own name or lies below it.
    pub fn has(&self, host: &str) -> bool {
        is_in_zone(host, &self.origin)
    }

    /// Whether the DNS servers of a region have it.
    pub fn is_in(&self, region: &Name, labels: &Labels) -> bool {
        self.regions.as_ref().is_none_or(|regions| regions.picks(region, labels))
    }

    /// Whether other DNS servers get its answers: these know committed addresses only.
    pub fn is_copied(&self) -> bool {
        !self.secondaries.is_empty() || self.publish.is_some()
    }
}

impl ManagementKind for DnsZoneSpec {
    const PLURAL: &'static str = "dns-zones";
    const GLOBAL: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::at("ORIGIN", "/spec/origin"),
        Column::of("NAME SERVERS", |item| {
            each(&item["spec"]["nameServers"], |server| text_of(&server["name"]))
        }),
        Column::of("REGIONS", |item| selector::shown(&item["spec"]["regions"])),
    ];
    const SHOWN_WITH: &'static [ShownWith] =
        &[ShownWith { kind: Kind::Region, field: "/spec/regions/names", title: "DNS zones" }];

    fn bounds() -> Vec<Bounded> {
        vec![
            ("DnsZoneSpec", "origin", Bound::Text(1, MAX_HOST_BYTES)),
            ("DnsZoneSpec", "nameServers", Bound::Items(1, MAX_NAME_SERVERS)),
            ("DnsZoneSpec", "contact", Bound::Text(1, MAX_CONTACT_BYTES)),
            ("DnsZoneSpec", "secondaries", Bound::Items(0, MAX_SECONDARIES)),
            ("NameServerSpec", "name", Bound::Text(1, MAX_HOST_BYTES)),
            ("NameServerSpec", "addresses", Bound::Items(0, MAX_ADDRESSES)),
            ("SecondarySpec", "key", Bound::Text(1, MAX_HOST_BYTES)),
            ("PublishSpec", "key", Bound::Text(1, MAX_HOST_BYTES)),
            ("PublishSpec", "from", Bound::Items(1, MAX_REGIONS)),
        ]
    }

    fn check(&self, _name: &Name) -> Verdict {
        check_domain_name("origin", &self.origin)?;
        if let Some(regions) = &self.regions {
            if regions.is_everywhere() {
                let remedy = "name regions or labels, or leave `regions` out for all of them";
                return Err(invalid("regions", "it picks no region", remedy));
            }
            selector::check("regions", regions)?;
        }
        self.check_name_servers()?;
        check_contact(&self.contact)?;
        let range = SHORTEST_NEGATIVE_TTL..=LONGEST_NEGATIVE_TTL;
        text::check_seconds("negativeTtl", self.negative_ttl, range)?;
        self.check_secondaries()?;
        self.publish.as_ref().map_or(Ok(()), |publish| {
            check_peer("publish.server", publish.server)?;
            check_key("publish.key", &publish.key)?;
            check_regions("publish.from", &publish.from)
        })
    }

    fn references(&self, refer: &mut Refer<'_>) {
        for (at, region) in self.regions.iter().flat_map(|regions| regions.names.iter().enumerate()) {
            refer.lists(Kind::Region, region, Field::Item("regions.names", at));
        }
        for (at, region) in self.publish.iter().flat_map(|publish| publish.from.iter().enumerate()) {
            refer.lists(Kind::Region, region, Field::Item("publish.from", at));
        }
    }

    fn claims(&self, _key: &ResourceKey, _served: Option<&ApiSpec>) -> Vec<Claim> {
        vec![Claim::Zone(self.origin.as_str().into())]
    }
}

impl DnsZoneSpec {
    fn check_name_servers(&self) -> Verdict {
        let count = self.name_servers.len();
        if !(1..=MAX_NAME_SERVERS).contains(&count) {
            let detail = format!("{count} name servers are not between 1 and {MAX_NAME_SERVERS}");
            return Err(invalid("nameServers", detail, "name the servers that the parent zone delegates to"));
        }
        let mut seen = BTreeSet::new();
        for (at, NameServerSpec { name, addresses }) in self.name_servers.iter().enumerate() {
            let field = |of: &str| format!("nameServers[{at}].{of}");
            check_domain_name(&field("name"), name)?;
            if !seen.insert(name) {
                return Err(invalid(field("name"), format!("{name:?} is there already"), "name it once"));
            }
            if addresses.is_empty() && self.has(name) {
                let detail = format!("{name} is inside the zone, and has no address");
                return Err(invalid(field("addresses"), detail, "give one address or more"));
            }
            check_addresses(&field("addresses"), addresses, MAX_ADDRESSES)?;
        }
        Ok(())
    }

    fn check_secondaries(&self) -> Verdict {
        if self.secondaries.len() > MAX_SECONDARIES {
            let detail = format!("{} secondaries are more than {MAX_SECONDARIES}", self.secondaries.len());
            return Err(invalid(
                "secondaries",
                detail,
                "let some of them transfer it from another secondary",
            ));
        }
        let mut seen = BTreeSet::new();
        for (at, SecondarySpec { address, key }) in self.secondaries.iter().enumerate() {
            let field = format!("secondaries[{at}].address");
            check_peer(&field, *address)?;
            if !seen.insert(address) {
                return Err(invalid(field, format!("{address} is there already"), "name it once"));
            }
            check_key(&format!("secondaries[{at}].key"), key)?;
        }
        Ok(())
    }
}

/// Addresses that packets can be sent to, each once.
pub(super) fn check_addresses(field: &str, addresses: &[IpAddr], most: usize) -> Verdict {
    if addresses.len() > most {
        let detail = format!("{} addresses are more than {most}", addresses.len());
        return Err(invalid(field, detail, "leave some out"));
    }
    for (at, address) in addresses.iter().enumerate() {
        check_address(&format!("{field}[{at}]"), *address)?;
    }
    check_distinct(field, addresses)
}

/// An address that packets can be sent to.
fn check_address(field: &str, address: IpAddr) -> Verdict {
    if address.is_unspecified() || address.is_multicast() || is_unreachable(address) {
        let detail = format!("{address} is the address of no host");
        return Err(invalid(field, detail, "give the address that clients connect to"));
    }
    let mapped = if let IpAddr::V6(six) = address { six.to_ipv4_mapped() } else { None };
    match mapped {
        None => Ok(()),
        Some(four) => {
            Err(invalid(field, format!("{address} is an IPv4 address in IPv6"), format!("write {four}")))
        }
    }
}

/// Addresses that reach no host beyond one link: link-local ones (RFC 3927, RFC 4291) and what is reserved (RFC 1112), with the broadcast.
fn is_unreachable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => four.is_link_local() || four.octets()[0] >= 240,
        IpAddr::V6(six) => six.is_unicast_link_local(),
    }
}

fn check_peer(field: &str, peer: SocketAddr) -> Verdict {
    check_address(field, peer.ip())?;
    if peer.port() == 0 {
        return Err(invalid(field, "nothing listens on port 0", "name the port; DNS has 53"));
    }
    Ok(())
}

/// TSIG keys have names like hosts (RFC 8945, section 4.2).
fn check_key(field: &str, key: &str) -> Verdict {
    check_domain_name(field, key)
        .map_err(|problem| problem.remedy("write the name of the key as to-bind or to-bind.example.com"))
}

fn check_contact(contact: &str) -> Verdict {
    let refused =
        |detail: String| Err(invalid("contact", detail, "write a mailbox such as hostmaster@example.com"));
    let Mailbox { local, .. } = match Mailbox::parse(contact) {
        Ok(mailbox) => mailbox,
        Err(bad) => return refused(bad.to_string()),
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+".contains(&byte);
    if !local.bytes().all(is_plain) {
        // A dot, too, would need an escape in the SOA record that few tools show well.
        return refused(format!("{local:?} has other characters than letters, digits, -, _ and +"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::tests::check;

    const ZONE: &str = "{origin: gslb.example.com, nameServers: [{name: ns1.gslb.example.com, addresses: [192.0.2.1]}], contact: dns@example.com";

    #[test]
    fn a_zone_is_accepted_with_all_that_it_may_have() {
        for more in [
            "",
            "regions: {names: [eu-west]}",
            "regions: {labels: {tier: edge}}, negativeTtl: 1s",
            "secondaries: [{address: '192.0.2.9:53', key: to-bind}, {address: '[2001:db8::9]:53', key: to.knot}]",
            "publish: {server: '192.0.2.10:5353', key: to-bind, from: [eu-west, us-east]}, negativeTtl: 3h",
        ] {
            check(Kind::DnsZone, &format!("{ZONE}, {more}}}"), "");
        }
    }

    #[test]
    fn what_is_refused_names_the_field_and_what_to_do() {
        for (more, expected) in [
            (
                "regions: {}",
                "spec.regions: it picks no region (name regions or labels, or leave `regions` out for all of them)",
            ),
            ("regions: {names: []}", "spec.regions: it picks no region"),
            ("regions: {names: [a, a]}", "spec.regions.names[1]: "),
            ("negativeTtl: 0s", "spec.negativeTtl: 0s is not a number of whole seconds between 1s and 3h"),
            ("negativeTtl: 1500ms", "spec.negativeTtl: 1s 500ms is not a number of whole seconds"),
            (
                "secondaries: [{address: '192.0.2.9:0', key: k}]",
                "spec.secondaries[0].address: nothing listens on port 0",
            ),
            (
                "secondaries: [{address: '0.0.0.0:53', key: k}]",
                "spec.secondaries[0].address: 0.0.0.0 is the address of no host",
            ),
            (
                "secondaries: [{address: '192.0.2.9:53', key: K}]",
                "spec.secondaries[0].key: \"K\" is no name in the DNS: write it in lower case (write the name of the key as to-bind",
            ),
            (
                "secondaries: [{address: '192.0.2.9:53', key: k}, {address: '192.0.2.9:53', key: l}]",
                "spec.secondaries[1].address: 192.0.2.9:53 is there already",
            ),
            ("publish: {server: '192.0.2.9:53', key: k, from: []}", "spec.publish.from: it names no region"),
        ] {
            check(Kind::DnsZone, &format!("{ZONE}, {more}}}"), expected);
        }
        for (spec, expected) in [
            (
                "{origin: '*.example.com', nameServers: [{name: ns}], contact: a@b}",
                "spec.origin: \"*.example.com\" is no name in the DNS: a label has",
            ),
            (
                "{origin: a.example, nameServers: [], contact: a@b}",
                "spec.nameServers: 0 name servers are not between 1 and 13",
            ),
            (
                "{origin: a.example, nameServers: [{name: ns.a.example}], contact: a@b}",
                "spec.nameServers[0].addresses: ns.a.example is inside the zone",
            ),
            (
                "{origin: a.example, nameServers: [{name: ns.b.example}, {name: ns.b.example}], contact: a@b}",
                "spec.nameServers[1].name: ",
            ),
            (
                "{origin: a.example, nameServers: [{name: ns.b.example, addresses: ['::ffff:192.0.2.1']}], contact: a@b}",
                "spec.nameServers[0].addresses[0]: ::ffff:192.0.2.1 is an IPv4 address in IPv6 (write 192.0.2.1)",
            ),
            (
                "{origin: a.example, nameServers: [{name: ns.b.example}], contact: dns.example.com}",
                "spec.contact: \"dns.example.com\" is no mailbox",
            ),
            (
                "{origin: a.example, nameServers: [{name: ns.b.example}], contact: a.b@c}",
                "spec.contact: \"a.b\" has other characters",
            ),
            (
                "{origin: a.example, nameServers: [{name: ns.b.example}], contact: a@B}",
                "spec.contact: \"B\" is no name in the DNS: write it in lower case",
            ),
        ] {
            check(Kind::DnsZone, spec, expected);
        }
    }

    #[test]
    fn a_contact_is_one_that_a_responder_can_use() {
        for (length, expected) in [(63, ""), (64, "spec.contact: \"aaaa")] {
            let contact = format!("{}@example.com", "a".repeat(length));
            let zone = "{origin: a.example, nameServers: [{name: ns.b.example}]";
            check(Kind::DnsZone, &format!("{zone}, contact: {contact}}}"), expected);
        }
    }
}
