//! Networks.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use hanse_proto::runtime;

/// Before the IPv4 address in an IPv4-mapped one (RFC 4291, section 2.5.5.2).
const MAPPED_BITS: u8 = 96;

/// A network. Its text is CIDR notation in one form: `10.0.0.0/8`, `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    /// No bit is set beyond the length.
    address: IpAddr,
    length: u8,
}

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct BadCidr {
    /// What is wrong with it.
    pub detail: String,
    /// What to write instead.
    pub remedy: String,
}

impl Cidr {
    /// The longest text of a network, in bytes: eight groups of an IPv6 address and a length.
    pub const MAX_TEXT: usize = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128".len();

    /// The networks of all addresses.
    pub const ALL: [Self; 2] = [Self::v4(Ipv4Addr::UNSPECIFIED, 0), Self::v6(Ipv6Addr::UNSPECIFIED, 0)];

    /// The network of so many bits that has the address; of all bits where the length is greater.
    pub(crate) const fn new(address: IpAddr, length: u8) -> Self {
        match address {
            IpAddr::V4(address) => Self::v4(address, length),
            IpAddr::V6(address) => Self::v6(address, length),
        }
    }

    pub(crate) const fn v4(address: Ipv4Addr, length: u8) -> Self {
        let beyond = u32::BITS.saturating_sub(length as u32);
        let mask = match u32::MAX.checked_shl(beyond) {
            Some(mask) => mask,
            None => 0,
        };
        let address = Ipv4Addr::from_bits(address.to_bits() & mask);
        Self { address: IpAddr::V4(address), length: (u32::BITS - beyond) as u8 }
    }

    pub(crate) const fn v6(address: Ipv6Addr, length: u8) -> Self {
        let beyond = u128::BITS.saturating_sub(length as u32);
        let mask = match u128::MAX.checked_shl(beyond) {
            Some(mask) => mask,
            None => 0,
        };
        let address = Ipv6Addr::from_bits(address.to_bits() & mask);
        Self { address: IpAddr::V6(address), length: (u128::BITS - beyond) as u8 }
    }

    /// Reads CIDR notation. A text that is not in the one form is refused, and the remedy has the form.
    pub fn parse(text: &str) -> Result<Self, BadCidr> {
        let refused = |why: &str, remedy: String| Err(BadCidr { detail: format!("{text:?} {why}"), remedy });
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return refused("is no network", "write it as 10.0.0.0/8 or fd00::/8".to_owned());
        };
        let bits = bits_of(address);
        let Some(length) = length else {
            return refused("has no length", format!("write {}", Self::new(address, bits).plain()));
        };
        let Some(length) = length.parse().ok().filter(|length| *length <= bits) else {
            let whole = Self::new(address, bits).plain();
            return refused(
                &format!("has a length that is none from 0 to {bits}"),
                format!("write how many bits of the address count; for this one address: {whole}"),
            );
        };
        let meant = Self::new(address, length);
        let plain = meant.plain();
        if plain != meant {
            return refused("is an IPv4 network in IPv6", format!("write {plain}"));
        }
        if meant.address != address {
            return refused("has bits set beyond its length", format!("write {meant}"));
        }
        if meant.to_string() != text {
            return refused("is written in another form", format!("write {meant}"));
        }
        Ok(meant)
    }

    /// Reads the text of a network that [`parse`](Self::parse) accepted before. It does not depend on how addresses are written today;
    /// `None`: no network.
    pub fn read(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let address = address.parse().ok()?;
        let length = length.parse().ok().filter(|length| *length <= bits_of(address))?;
        Some(Self::new(address, length))
    }

    /// Its address, in which no bit is set beyond the length, and the length.
    pub fn network(&self) -> (IpAddr, u8) {
        (self.address, self.length)
    }

    /// As it is sent to gateways.
    pub fn to_wire(&self) -> runtime::Cidr {
        let address = match self.address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        runtime::Cidr { address: address.into(), length: self.length.into() }
    }

    /// As it was received; `None`: no network, or one that is not in its one form.
    pub(crate) fn from_wire(cidr: &runtime::Cidr) -> Option<Self> {
        let address = match cidr.address.len() {
            4 => IpAddr::from(<[u8; 4]>::try_from(&*cidr.address).ok()?),
            _ => IpAddr::from(<[u8; 16]>::try_from(&*cidr.address).ok()?),
        };
        let length = u8::try_from(cidr.length).ok().filter(|length| *length <= bits_of(address))?;
        let network = Self::new(address, length);
        (network.address == address && network.plain() == network).then_some(network)
    }

    /// Whether the address is in it, in the form in which it is given.
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::new(address, self.length) == *self
    }

    /// How many bits count.
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// `10.0.0.0/8` for `::ffff:10.0.0.0/104`.
    fn plain(self) -> Self {
        match (self.address, self.length.checked_sub(MAPPED_BITS)) {
            (IpAddr::V6(address), Some(length)) => {
                address.to_ipv4_mapped().map_or(self, |address| Self::v4(address, length))
            }
            _not_mapped => self,
        }
    }
}

const fn bits_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_one_text_and_one_message() {
        for text in [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.1.2.3/32",
            "169.254.0.0/16",
            "::/0",
            "fd00::/8",
            "fe80::/10",
            "64:ff9b::/96",
            "2001:db8::1/128",
        ] {
            let network = Cidr::parse(text).unwrap();
            assert_eq!(network.to_string(), text);
            assert_eq!(Cidr::from_wire(&network.to_wire()), Some(network), "{text}");
        }
    }

    #[test]
    fn what_is_refused_is_told_with_the_right_text() {
        for (text, why, remedy) in [
            ("", "is no network", "10.0.0.0/8"),
            ("shop.internal", "is no network", "10.0.0.0/8"),
            ("10.0.0/8", "is no network", "10.0.0.0/8"),
            ("010.0.0.0/8", "is no network", "10.0.0.0/8"),
            ("[fd00::]/8", "is no network", "fd00::/8"),
            ("10.0.0.7", "has no length", "write 10.0.0.7/32"),
            ("::1", "has no length", "write ::1/128"),
            ("::ffff:10.0.0.7", "has no length", "write 10.0.0.7/32"),
            ("10.0.0.0/33", "none from 0 to 32", "10.0.0.0/32"),
            ("10.0.0.0/", "none from 0 to 32", "10.0.0.0/32"),
            ("fd00::/129", "none from 0 to 128", "fd00::/128"),
            ("10.0.0.7/8", "has bits set beyond its length", "write 10.0.0.0/8"),
            ("fd00::1/8", "has bits set beyond its length", "write fd00::/8"),
            ("::ffff:10.0.0.0/104", "is an IPv4 network in IPv6", "write 10.0.0.0/8"),
            ("::ffff:10.1.2.3/104", "is an IPv4 network in IPv6", "write 10.0.0.0/8"),
            ("FD00::/8", "is written in another form", "write fd00::/8"),
            ("fd00:0::/8", "is written in another form", "write fd00::/8"),
            ("10.0.0.0/08", "is written in another form", "write 10.0.0.0/8"),
            ("10.0.0.0/+8", "is written in another form", "write 10.0.0.0/8"),
        ] {
            let bad = Cidr::parse(text).expect_err(text);
            assert!(bad.detail.contains(why) && bad.remedy.contains(remedy), "{text}: {bad:?}");
        }
    }

    #[test]
    fn a_message_in_another_form_is_no_network() {
        let wire = |address: &[u8], length| runtime::Cidr { address: address.to_vec().into(), length };
        let mapped: Ipv6Addr = "::ffff:10.0.0.0".parse().unwrap();
        for bad in [
            wire(&[], 0),
            wire(&[10, 0, 0], 8),
            wire(&[10, 0, 0, 0], 33),
            wire(&[10, 0, 0, 7], 8),
            wire(&[0; 16], 129),
            wire(&mapped.octets(), 104),
        ] {
            assert_eq!(Cidr::from_wire(&bad), None, "{bad:?}");
        }
    }

    #[test]
    fn families_are_apart() {
        let contains =
            |network: &str, address: &str| Cidr::parse(network).unwrap().contains(address.parse().unwrap());
        assert!(contains("10.0.0.0/8", "10.255.0.1") && !contains("10.0.0.0/8", "11.0.0.0"));
        assert!(contains("0.0.0.0/0", "255.255.255.255") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("::/0", "ffff::") && !contains("::/0", "10.0.0.1"));
        assert!(contains("fe80::/10", "febf::1") && !contains("fe80::/10", "fec0::1"));
        assert!(contains("10.0.0.7/32", "10.0.0.7") && !contains("10.0.0.7/32", "10.0.0.6"));
    }
}
