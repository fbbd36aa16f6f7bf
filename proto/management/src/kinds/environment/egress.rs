//! Where the gateways of an Environment may connect.

use hanse_runtime::{Cidr, Egress};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Bound, Bounded,
    check::{Verdict, check_distinct, invalid},
};

/// How many networks one list has at most. A gateway walks both lists for each new connection, some microseconds.
const MAX_NETWORKS: usize = 256;

/// The bounds of its members.
pub(super) const BOUNDS: [Bounded; 4] = [
    ("EgressSpec", "allow", Bound::Items(0, MAX_NETWORKS)),
    ("EgressSpec", "allow", Bound::Each(1, Cidr::MAX_TEXT)),
    ("EgressSpec", "deny", Bound::Items(0, MAX_NETWORKS)),
    ("EgressSpec", "deny", Bound::Each(1, Cidr::MAX_TEXT)),
];

/// Networks that gateways may connect to for upstreams, and networks that they may not. The longest network that has an address
/// decides. An address that none has is allowed. Link-local addresses (169.254.0.0/16, fe80::/10) are denied unless one of them is
/// allowed here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct EgressSpec {
    /// In CIDR notation: `10.1.0.0/16`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// In CIDR notation: `10.0.0.0/8`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

impl EgressSpec {
    /// Whether it names no network.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// What it says of addresses.
    pub fn rules(&self) -> Egress {
        let (allow, deny) = self.networks();
        Egress::new(allow, deny)
    }

    /// The networks to allow and to deny. Admission has checked the texts, so all can be read. Should one be no network, every address
    /// is denied: a rule that was lost would open what an operator has closed.
    pub fn networks(&self) -> (Vec<Cidr>, Vec<Cidr>) {
        let read =
            |texts: &[String]| texts.iter().map(|text| Cidr::read(text)).collect::<Option<Vec<Cidr>>>();
        read(&self.allow).zip(read(&self.deny)).unwrap_or_else(|| (Vec::new(), Cidr::ALL.to_vec()))
    }

    pub(super) fn check(&self) -> Verdict {
        check_list("egress.allow", &self.allow)?;
        check_list("egress.deny", &self.deny)?;
        match self.deny.iter().enumerate().find(|(_, network)| self.allow.contains(network)) {
            None => Ok(()),
            Some((at, network)) => Err(invalid(
                format_args!("egress.deny[{at}]"),
                format!("{network:?} is in egress.allow, too"),
                "name it in one of the two lists",
            )),
        }
    }
}

fn check_list(field: &str, networks: &[String]) -> Verdict {
    if networks.len() > MAX_NETWORKS {
        let detail = format!("{} networks are more than {MAX_NETWORKS}", networks.len());
        return Err(invalid(field, detail, "name a shorter network for several longer ones"));
    }
    for (at, network) in networks.iter().enumerate() {
        Cidr::parse(network).map_err(|bad| invalid(format_args!("{field}[{at}]"), bad.detail, bad.remedy))?;
    }
    check_distinct(field, networks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(allow: &[&str], deny: &[&str]) -> EgressSpec {
        let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        EgressSpec { allow: texts(allow), deny: texts(deny) }
    }

    #[test]
    fn what_cannot_be_read_denies_every_address() {
        let denies = |spec: &EgressSpec, address: &str| spec.rules().judge(address.parse().unwrap()).is_err();
        let sound = spec(&["10.1.0.0/16"], &["10.0.0.0/8"]);
        assert!(!denies(&sound, "10.1.0.1") && denies(&sound, "10.0.0.1") && !denies(&sound, "::1"));
        for unreadable in [
            spec(&["10.1.0.0/16", "10.1.0.0"], &["10.0.0.0/8"]),
            spec(&["10.1.0.0/16"], &["10.0.0.0/33"]),
            spec(&["10.1.0.0/16"], &["ten/8"]),
        ] {
            assert!(["10.1.0.1", "8.8.8.8", "::1"].iter().all(|address| denies(&unreadable, address)));
        }
    }

    #[test]
    fn what_is_refused_names_the_network_and_the_right_text() {
        spec(&["10.1.0.0/16", "fd00::/8"], &["10.0.0.0/8", "0.0.0.0/0", "::/0"]).check().unwrap();
        EgressSpec::default().check().unwrap();
        for (bad, told) in [
            (
                spec(&["10.0.0.0/8", "10.0.0.7/8"], &[]),
                "spec.egress.allow[1]: \"10.0.0.7/8\" has bits set beyond its length (write 10.0.0.0/8)",
            ),
            (
                spec(&[], &["::ffff:10.0.0.0/104"]),
                "spec.egress.deny[0]: \"::ffff:10.0.0.0/104\" is an IPv4 network in IPv6 (write 10.0.0.0/8)",
            ),
            (spec(&[], &["10.0.0.7"]), "spec.egress.deny[0]: \"10.0.0.7\" has no length (write 10.0.0.7/32)"),
            (
                spec(&["10.0.0.0/8", "10.0.0.0/8"], &[]),
                "spec.egress.allow[1]: \"10.0.0.0/8\" is there already (name it once)",
            ),
            (
                spec(&["10.0.0.0/8"], &["::/0", "10.0.0.0/8"]),
                "spec.egress.deny[1]: \"10.0.0.0/8\" is in egress.allow, too (name it in one of the two lists)",
            ),
        ] {
            assert_eq!(bad.check().unwrap_err().to_string(), told);
        }
        let many: Vec<String> =
            (0..=MAX_NETWORKS).map(|at| format!("10.0.{}.{}/32", at / 256, at % 256)).collect();
        let problem = EgressSpec { deny: many, ..EgressSpec::default() }.check().unwrap_err();
        assert!(
            problem.to_string().starts_with("spec.egress.deny: 257 networks are more than 256"),
            "{problem}"
        );
    }
}
