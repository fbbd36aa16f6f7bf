//! Candidates of a host, as bits of one word.

use hanse_topology::MAX_REGIONS;

const _: () =
    assert!(MAX_REGIONS <= u64::BITS as usize, "a set of candidates is one word: a query allocates nothing");

/// Some candidates of one host, by their places in the order of regions' names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Set(u64);

impl Set {
    pub(crate) fn only(at: usize) -> Self {
        Self(1 << at)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    pub(crate) fn has(self, at: usize) -> bool {
        self.0 >> at & 1 == 1
    }

    /// In the order of regions' names.
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let at = (left != 0).then(|| left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(at)
        })
    }

    /// Those of which `keep` is true.
    pub(crate) fn filter(self, keep: impl Fn(usize) -> bool) -> Self {
        self.iter().filter(|&at| keep(at)).collect()
    }

    /// Those that both have.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that one of the two has.
    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<usize> for Set {
    fn from_iter<I: IntoIterator<Item = usize>>(places: I) -> Self {
        places.into_iter().fold(Self::default(), |set, at| set.or(Self::only(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_went_in_in_order() {
        let set: Set = [63, 0, 5, 5].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 5, 63]);
        assert_eq!((set.len(), set.has(5), set.has(6), set.is_empty()), (3, true, false, false));
        assert_eq!(set.filter(|at| at > 5), Set::only(63));
        assert_eq!(set.and(Set::only(5)), Set::only(5));
        assert!(set.and(Set::only(6)).is_empty());
    }
}
