//! A number by which chance decides, so that what depends on it is a function.

/// What is left of a query's number. Each choice takes its part of it, so that two choices of one query are independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Draw(Option<u64>);

impl Draw {
    /// For an answer that no chance decides.
    pub(crate) const NONE: Self = Self(None);

    pub(crate) fn new(number: u64) -> Self {
        Self(Some(number))
    }

    /// A number below `bound`, each equally likely to within `bound` / 2^64, and what is left. `None` without a number.
    ///
    /// `number · bound` has the choice above its lower 64 bits, and there again a number as good as the first.
    pub(crate) fn below(self, bound: u64) -> Option<(u64, Self)> {
        let product = u128::from(self.0?) * u128::from(bound);
        Some(((product >> 64) as u64, Self::new(product as u64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_divided_evenly() {
        let check = |number: u64, bound: u64, chosen: u64| {
            assert_eq!(Draw::new(number).below(bound).map(|(chosen, _)| chosen), Some(chosen), "{number}");
        };
        check(0, 3, 0);
        check(u64::MAX / 3, 3, 0);
        check(u64::MAX / 3 + 1, 3, 1);
        check(u64::MAX, 3, 2);
        check(u64::MAX, u64::MAX, u64::MAX - 1);
        assert_eq!(Draw::NONE.below(3), None);
    }

    #[test]
    fn a_second_choice_does_not_follow_from_the_first() {
        let mut pairs = [[0_u32; 2]; 2];
        for part in 0..4 {
            let number = part << 62;
            let (first, left) = Draw::new(number).below(2).unwrap();
            let (second, _) = left.below(2).unwrap();
            pairs[first as usize][second as usize] += 1;
        }
        assert_eq!(pairs, [[1, 1], [1, 1]]);
    }
}
