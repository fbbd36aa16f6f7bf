//! EDNS Client Subnet (RFC 7871): the network that a resolver asks for.
//!
//! The option is read from its octets, and not by hickory, which keeps bits beyond the prefix and refuses family 0.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The code of the option.
pub(crate) const CODE: u16 = 8;

/// The option of a query. An answer has it as it was, and a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ecs {
    family: Family,
    source: u8,
    /// No bit is set beyond the prefix.
    address: [u8; 16],
}

/// Address families (RFC 7871 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Family {
    /// Some resolvers use this family when they name no network. The prefix is 0.
    None,
    V4,
    V6,
}

impl Family {
    fn of(number: u16) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::V4),
            2 => Some(Self::V6),
            3.. => None,
        }
    }

    fn number(self) -> u16 {
        match self {
            Self::None => 0,
            Self::V4 => 1,
            Self::V6 => 2,
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::None => 0,
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

impl Ecs {
    /// The network of `address` with this prefix. A prefix that is too long counts as the full length.
    pub fn new(address: IpAddr, prefix: u8) -> Self {
        let mut octets = [0; 16];
        let family = match address {
            IpAddr::V4(address) => {
                octets[..4].copy_from_slice(&address.octets());
                Family::V4
            }
            IpAddr::V6(address) => {
                octets = address.octets();
                Family::V6
            }
        };
        let source = prefix.min(family.bits());
        let beyond = u128::MAX.checked_shr(source.into()).unwrap_or(0);
        let address = (u128::from_be_bytes(octets) & !beyond).to_be_bytes();
        Self { family, source, address }
    }

    /// The network to answer for. `None`: the resolver names none (family 0 or prefix 0), so its own address counts (§7.1.2, §7.2.1).
    pub fn network(&self) -> Option<(IpAddr, u8)> {
        if self.source == 0 {
            return None;
        }
        let address = match self.family {
            Family::None => return None,
            Family::V4 => {
                let [a, b, c, d, ..] = self.address;
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            }
            Family::V6 => IpAddr::V6(Ipv6Addr::from(self.address)),
        };
        Some((address, self.source))
    }

    /// The bits of the prefix: the scope of an answer that is for this network and no greater one.
    pub fn source(&self) -> u8 {
        self.source
    }

    /// The option and its scope, or `None` where RFC 7871 §6 is broken: an unknown family, a prefix or scope that is too long, too few or too
    /// many octets, a bit beyond the prefix.
    pub(crate) fn read(option: &[u8]) -> Option<(Self, u8)> {
        let ([high, low, source, scope], given) = option.split_first_chunk()?;
        let family = Family::of(u16::from_be_bytes([*high, *low]))?;
        if *source > family.bits() || *scope > family.bits() || given.len() != octets(*source) {
            return None;
        }
        let mut address = [0; 16];
        address[..given.len()].copy_from_slice(given);
        let beyond = u128::MAX.checked_shr((*source).into()).unwrap_or(0);
        let plain = u128::from_be_bytes(address) & beyond == 0;
        plain.then_some((Self { family, source: *source, address }, *scope))
    }

    pub(crate) fn write(&self, scope: u8) -> Vec<u8> {
        let mut option = Vec::with_capacity(4 + octets(self.source));
        option.extend(self.family.number().to_be_bytes());
        option.extend([self.source, scope.min(self.family.bits())]);
        option.extend(&self.address[..octets(self.source)]);
        option
    }
}

/// How many octets of the address the option has.
fn octets(prefix: u8) -> usize {
    usize::from(prefix.div_ceil(8))
}

#[cfg(test)]
mod tests;
