//! Networks with what each stands for, of which the longest that has a prefix counts.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::set::Set;

/// The networks of one step `origin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Networks(Box<[Entry]>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    network: IpNet,
    regions: Set,
    /// The longest other network that has all of this one.
    within: Option<usize>,
}

impl Networks {
    /// Of a network that is given twice, the regions of both count: then the order of rules means nothing.
    pub(crate) fn new(rules: impl IntoIterator<Item = (IpNet, Set)>) -> Self {
        // By the first address, and then the shorter network first: a network stands after all that have it.
        let mut sorted: BTreeMap<IpNet, Set> = BTreeMap::new();
        for (network, regions) in rules {
            let known = sorted.entry(network.trunc()).or_default();
            *known = known.or(regions);
        }
        let mut entries: Vec<Entry> = Vec::with_capacity(sorted.len());
        for (network, regions) in sorted {
            let mut within = entries.len().checked_sub(1);
            while let Some(at) = within.filter(|&at| !entries[at].network.contains(&network)) {
                within = entries[at].within;
            }
            entries.push(Entry { network, regions, within });
        }
        Self(entries.into())
    }

    /// The longest network that has all of `prefix`, and its regions.
    pub(crate) fn longest(&self, prefix: IpNet) -> Option<(IpNet, Set)> {
        let prefix = prefix.trunc();
        // Every network that has the prefix has the last entry up to it, too.
        let mut at = self.0.partition_point(|entry| entry.network <= prefix).checked_sub(1);
        while let Some(entry) = at.map(|at| &self.0[at]) {
            if entry.network.contains(&prefix) {
                return Some((entry.network, entry.regions));
            }
            at = entry.within;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_network_counts() {
        let rules = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "2001:db8::/32", "::/0"];
        let networks = Networks::new(rules.iter().enumerate().map(|(at, text)| (net(text), Set::only(at))));
        let check = |prefix: &str, expected: Option<usize>| {
            let found = networks.longest(net(prefix));
            assert_eq!(found, expected.map(|at| (net(rules[at]), Set::only(at))), "{prefix}");
        };
        check("10.9.9.0/24", Some(0));
        check("10.1.3.0/24", Some(1));
        // A prefix that a longer network has only a part of is not in it.
        check("10.1.2.0/23", Some(1));
        check("10.1.2.0/24", Some(2));
        check("10.1.2.9/24", Some(2));
        check("10.1.2.3/32", Some(3));
        check("10.1.2.4/32", Some(2));
        check("11.0.0.0/24", None);
        check("0.0.0.0/0", None);
        check("2001:db8:1::/56", Some(4));
        check("2001:db9::/56", Some(5));
    }

    #[test]
    fn a_network_that_is_given_twice_has_the_regions_of_both() {
        let networks = Networks::new([(net("10.0.0.1/8"), Set::only(0)), (net("10.0.0.0/8"), Set::only(1))]);
        let both = Set::only(0).or(Set::only(1));
        assert_eq!(networks.longest(net("10.0.0.0/24")), Some((net("10.0.0.0/8"), both)));
        assert_eq!(networks.0.len(), 1);
    }

    /// Few addresses, so that networks lie within each other.
    fn network() -> impl Strategy<Value = IpNet> {
        (any::<bool>(), 0..=255_u8, 0..=8_u8).prop_map(|(four, bits, length)| {
            let address = if four {
                [bits, 0, 0, 0].into()
            } else {
                [u16::from(bits) << 8, 0, 0, 0, 0, 0, 0, 0].into()
            };
            IpNet::new(address, length).unwrap()
        })
    }

    proptest! {
        #[test]
        fn the_longest_is_the_one_that_a_search_through_all_finds(
            rules in prop::collection::btree_map(network().prop_map(|network| network.trunc()), 0..64_usize, 0..30),
            prefixes in prop::collection::vec(network(), 30),
        ) {
            let networks = Networks::new(rules.iter().map(|(network, at)| (*network, Set::only(*at))));
            for prefix in prefixes {
                let having = rules.iter().filter(|(network, _)| network.contains(&prefix));
                let longest = having.max_by_key(|(network, _)| network.prefix_len());
                let longest = longest.map(|(network, at)| (*network, Set::only(*at)));
                prop_assert_eq!(networks.longest(prefix), longest);
            }
        }
    }
}
