//! Where the gateways of an environment may connect.
//!
//! The longest network that has an address decides, and deny wins over allow of the same length. An address that no network has is
//! allowed. Link-local addresses are denied, because clouds hand out credentials there, and so are addresses of the local translation
//! network, which can stand for them. An operator who wants one of these allows the same network, or a longer one.

use std::{
    cmp::Reverse,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use hanse_proto::runtime;

use crate::{Cidr, Unusable};

/// Denied unless an operator names the same network: the addresses of one link (RFC 3927, section 2.1; RFC 4291, section 2.5.6), and
/// those that a network of its own translates to IPv4 (RFC 8215). Where the IPv4 address is in the latter is not known here.
const DENIED: [Cidr; 3] = [
    Cidr::v4(Ipv4Addr::new(169, 254, 0, 0), 16),
    Cidr::v6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    Cidr::v6(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48),
];
/// The IPv6 addresses that stand for IPv4 ones (RFC 6052, section 2.1): the last 32 bits are the IPv4 address.
const NAT64: Cidr = Cidr::v6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// Where the gateways of an environment may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    /// The longest first; of two with the same length that which denies. The first that has an address decides.
    rules: Box<[Rule]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    network: Cidr,
    allows: bool,
}

/// An address that a gateway may not connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("egress denies {address}: it is in {network}")]
pub struct Denied {
    /// The address, in the form in which it is denied.
    pub address: IpAddr,
    /// The network that denies it.
    pub network: Cidr,
}

impl Default for Egress {
    /// No operator named a network.
    fn default() -> Self {
        Self::new([], [])
    }
}

impl Egress {
    /// What an operator allows and denies.
    pub fn new(allow: impl IntoIterator<Item = Cidr>, deny: impl IntoIterator<Item = Cidr>) -> Self {
        let allowed = allow.into_iter().map(|network| Rule { network, allows: true });
        let denied = deny.into_iter().map(|network| Rule { network, allows: false });
        let mut rules: Vec<Rule> = allowed.chain(denied).collect();
        for network in DENIED {
            if rules.iter().all(|rule| rule.network != network) {
                rules.push(Rule { network, allows: false });
            }
        }
        rules.sort_by_key(|rule| (Reverse(rule.network.length()), rule.allows));
        Self { rules: rules.into() }
    }

    pub(crate) fn from_wire(egress: Option<&runtime::Egress>) -> Result<Self, Unusable> {
        let Some(runtime::Egress { allow, deny }) = egress else { return Ok(Self::default()) };
        let read = |field: &str, list: &[runtime::Cidr]| -> Result<Vec<Cidr>, Unusable> {
            let one = |(at, cidr)| {
                let refused = || Unusable::new(format!("{field}[{at}]"), "is no network in its one form");
                Cidr::from_wire(cidr).ok_or_else(refused)
            };
            list.iter().enumerate().map(one).collect()
        };
        Ok(Self::new(read("allow", allow)?, read("deny", deny)?))
    }

    /// Judges an address in each of its [forms]. It is denied if one of them is.
    pub fn judge(&self, address: IpAddr) -> Result<(), Denied> {
        forms(address).try_for_each(|address| {
            match self.rules.iter().find(|rule| rule.network.contains(address)) {
                Some(Rule { network, allows: false }) => Err(Denied { address, network: *network }),
                Some(_) | None => Ok(()),
            }
        })
    }
}

/// The address as it is, the IPv4 address that it stands for (IPv4-mapped, NAT64), and what a connection to that reaches: the kernel
/// takes the unspecified address for loopback. Each once: most addresses have one form.
pub fn forms(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let plain = match address.to_canonical() {
        IpAddr::V6(six) if NAT64.contains(address) => {
            let [.., a, b, c, d] = six.octets();
            IpAddr::from([a, b, c, d])
        }
        canonical => canonical,
    };
    let reached = match plain {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        plain => plain,
    };
    let others = [(plain, address), (reached, plain)].into_iter();
    let others = others.filter(|(form, before)| form != before).map(|(form, _)| form);
    std::iter::once(address).chain(others)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn egress(allow: &[&str], deny: &[&str]) -> Egress {
        let read =
            |texts: &[&str]| -> Vec<Cidr> { texts.iter().map(|text| Cidr::parse(text).unwrap()).collect() };
        Egress::new(read(allow), read(deny))
    }

    #[track_caller]
    fn check(egress: &Egress, allowed: &[&str], denied: &[&str]) {
        for address in allowed {
            assert_eq!(egress.judge(address.parse().unwrap()), Ok(()), "{address}");
        }
        for address in denied {
            egress.judge(address.parse().unwrap()).expect_err(address);
        }
    }

    #[test]
    fn all_but_link_local_and_translated_addresses_is_allowed_where_nothing_is_said() {
        check(
            &Egress::default(),
            &[
                "10.0.0.7",
                "127.0.0.1",
                "192.168.1.1",
                "8.8.8.8",
                "::1",
                "fd00::1",
                "0.0.0.0",
                "64:ff9b::808:808",
            ],
            &[
                "169.254.169.254",
                "169.254.0.0",
                "fe80::1",
                "febf::1",
                "::ffff:169.254.169.254",
                "64:ff9b::a9fe:a9fe",
                "64:ff9b:1::a9fe:a9fe",
                "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
            ],
        );
        check(&egress(&["64:ff9b:1::/48"], &[]), &["64:ff9b:1::a00:7"], &["fe80::1"]);
    }

    #[test]
    fn each_form_of_an_address_is_there_once() {
        for (address, expected) in [
            ("10.0.0.7", vec!["10.0.0.7"]),
            ("fd00::1", vec!["fd00::1"]),
            ("::ffff:10.0.0.7", vec!["::ffff:10.0.0.7", "10.0.0.7"]),
            ("64:ff9b::a00:7", vec!["64:ff9b::a00:7", "10.0.0.7"]),
            ("0.0.0.0", vec!["0.0.0.0", "127.0.0.1"]),
            ("::", vec!["::", "::1"]),
            ("::ffff:0.0.0.0", vec!["::ffff:0.0.0.0", "0.0.0.0", "127.0.0.1"]),
        ] {
            let expected: Vec<IpAddr> = expected.into_iter().map(|form| form.parse().unwrap()).collect();
            assert_eq!(forms(address.parse().unwrap()).collect::<Vec<_>>(), expected, "{address}");
        }
    }

    #[test]
    fn the_longest_network_decides_and_deny_wins_ties() {
        let one = egress(&["10.1.0.0/16", "10.2.3.4/32"], &["10.0.0.0/8", "10.1.1.0/24"]);
        check(&one, &["10.1.0.1", "10.2.3.4", "11.0.0.1"], &["10.0.0.1", "10.1.1.1", "10.2.3.5"]);
        check(&egress(&["10.0.0.0/8"], &["10.0.0.0/8"]), &[], &["10.0.0.1"]);
        let only = egress(&["10.0.0.0/8", "fd00::/8"], &["0.0.0.0/0", "::/0"]);
        check(&only, &["10.0.0.1", "fd00::1"], &["11.0.0.1", "2001:db8::1", "127.0.0.1", "::1"]);
    }

    #[test]
    fn an_operators_word_on_the_same_network_wins_over_the_built_in_one() {
        check(&egress(&["169.254.0.0/16"], &[]), &["169.254.169.254", "64:ff9b::a9fe:a9fe"], &["fe80::1"]);
        check(&egress(&["169.254.169.253/32"], &[]), &["169.254.169.253"], &["169.254.169.254"]);
        check(&egress(&["0.0.0.0/0", "::/0"], &[]), &["10.0.0.1"], &["169.254.169.254", "fe80::1"]);
        check(&egress(&["fe80::/10"], &["fe80::1/128"]), &["fe80::2"], &["fe80::1"]);
    }

    #[test]
    fn an_address_is_judged_in_each_of_its_forms() {
        let no_loopback = egress(&[], &["127.0.0.0/8", "::1/128"]);
        check(
            &no_loopback,
            &["10.0.0.1"],
            &["127.0.0.1", "0.0.0.0", "::ffff:0.0.0.0", "::", "::ffff:127.0.0.1"],
        );
        // Both the form on the wire and the address that it stands for must be allowed.
        check(&egress(&[], &["64:ff9b::/96"]), &["10.0.0.1"], &["64:ff9b::a00:1"]);
        check(&egress(&["64:ff9b::/96"], &["10.0.0.0/8"]), &["64:ff9b::808:808"], &["64:ff9b::a00:1"]);
    }

    #[test]
    fn a_denial_names_the_address_and_the_network() {
        let denied = Egress::default().judge("64:ff9b::a9fe:a9fe".parse().unwrap()).unwrap_err();
        assert_eq!(denied.to_string(), "egress denies 169.254.169.254: it is in 169.254.0.0/16");
    }

    #[test]
    fn what_is_no_network_is_named() {
        let bad = runtime::Cidr { address: vec![10, 0, 0, 7].into(), length: 8 };
        let good = Cidr::parse("10.0.0.0/8").unwrap().to_wire();
        let wire = |allow, deny| Egress::from_wire(Some(&runtime::Egress { allow, deny }));
        assert_eq!(wire(vec![good.clone()], Vec::new()), Ok(egress(&["10.0.0.0/8"], &[])));
        assert_eq!(wire(vec![good.clone(), bad.clone()], Vec::new()).unwrap_err().field, "allow[1]");
        assert_eq!(wire(vec![good], vec![bad]).unwrap_err().field, "deny[0]");
    }

    /// A text of ones and zeros, after its family.
    fn bits(address: IpAddr) -> String {
        match address {
            IpAddr::V4(four) => format!("4{:032b}", four.to_bits()),
            IpAddr::V6(six) => format!("6{:0128b}", six.to_bits()),
        }
    }

    /// The same judgement by texts: each form, each network, the most bits in common.
    fn is_allowed(address: IpAddr, allow: &[(IpAddr, u8)], deny: &[(IpAddr, u8)]) -> bool {
        let text = bits(address);
        let mut texts = vec![text.clone()];
        for prefix in [bits("::ffff:0.0.0.0".parse().unwrap()), bits("64:ff9b::".parse().unwrap())] {
            if text.starts_with(&prefix[..97]) {
                texts.push(format!("4{}", &text[97..]));
            }
        }
        for text in texts.clone() {
            if !text[1..].contains('1') {
                let loopback = if text.starts_with('4') { "127.0.0.1" } else { "::1" };
                texts.push(bits(loopback.parse().unwrap()));
            }
        }
        let prefixes = |list: &[(IpAddr, u8)]| -> Vec<String> {
            list.iter().map(|(address, length)| bits(*address)[..=usize::from(*length)].to_owned()).collect()
        };
        let (allow, mut deny) = (prefixes(allow), prefixes(deny));
        let translated = bits("64:ff9b:1::".parse().unwrap());
        for built_in in ["41010100111111110", "61111111010", &translated[..=48]] {
            if !allow.iter().any(|prefix| prefix == built_in) {
                deny.push(built_in.to_owned());
            }
        }
        texts.iter().all(|text| {
            let longest = |list: &[String]| {
                list.iter().filter(|prefix| text.starts_with(*prefix)).map(String::len).max()
            };
            longest(&deny).is_none_or(|denied| longest(&allow).is_some_and(|allowed| allowed > denied))
        })
    }

    /// Few addresses, near each other, in all forms.
    fn address() -> impl Strategy<Value = IpAddr> {
        let four = prop_oneof![
            Just([0, 0, 0, 0]),
            Just([169, 254, 169, 254]),
            Just([127, 0, 0, 1]),
            (0_u8..4).prop_map(|last| [10, 0, 0, last]),
        ];
        let six =
            prop_oneof![Just("::"), Just("::1"), Just("fe80::1"), Just("fd00::1"), Just("64:ff9b:1::a00:1"),];
        prop_oneof![
            four.clone().prop_map(IpAddr::from),
            four.clone().prop_map(|four| IpAddr::from(Ipv4Addr::from(four).to_ipv6_mapped())),
            four.prop_map(|four| {
                let nat64 = u128::from(0x64_ff9b_u32) << 96 | u128::from(Ipv4Addr::from(four).to_bits());
                IpAddr::from(Ipv6Addr::from_bits(nat64))
            }),
            six.prop_map(|six| six.parse().unwrap()),
        ]
    }

    fn network() -> impl Strategy<Value = (IpAddr, u8)> {
        let lengths = prop_oneof![
            Just(0_u8),
            Just(8),
            Just(10),
            Just(16),
            Just(30),
            Just(32),
            Just(48),
            Just(96),
            Just(128)
        ];
        (address(), lengths).prop_filter_map("a network in its one form", |(address, length)| {
            let length = length.min(if address.is_ipv4() { 32 } else { 128 });
            Cidr::parse(&Cidr::new(address, length).to_string()).is_ok().then_some((address, length))
        })
    }

    proptest! {
        #[test]
        fn it_judges_as_the_plain_judge_does(
            address in address(),
            allow in prop::collection::vec(network(), 0..5),
            deny in prop::collection::vec(network(), 0..5),
        ) {
            let read = |list: &[(IpAddr, u8)]| -> Vec<Cidr> {
                list.iter().map(|(address, length)| Cidr::new(*address, *length)).collect()
            };
            let judged = Egress::new(read(&allow), read(&deny)).judge(address).is_ok();
            prop_assert_eq!(judged, is_allowed(address, &allow, &deny));
        }
    }
}
