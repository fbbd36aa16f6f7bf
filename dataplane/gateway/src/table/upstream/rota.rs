//! The order in which an upstream's endpoints take turns.

/// Shares are kept exactly up to this sum of weights, and scaled down to it above: it bounds the rota's memory.
const MAX_ROTA: u64 = 1_024;

/// Spreads each endpoint's turns evenly (smooth weighted round robin). An upstream has at most 65,535 endpoints.
pub(super) fn rota(weights: &[u32]) -> Vec<u16> {
    if weights.first().is_some_and(|first| *first > 0 && weights.iter().all(|weight| weight == first)) {
        return (0..weights.len() as u16).collect(); // what almost every upstream is
    }
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let sum: u64 = weights.iter().map(|&weight| u64::from(weight / divisor)).sum();
    let scaled: Vec<i64> = weights
        .iter()
        .map(|&weight| u64::from(weight / divisor))
        .map(|weight| if sum <= MAX_ROTA || weight == 0 { weight } else { (weight * MAX_ROTA / sum).max(1) })
        .map(|weight| weight as i64) // at most u32::MAX
        .collect();
    let total: i64 = scaled.iter().sum();
    let mut credit = vec![0; scaled.len()];
    let mut rota = Vec::new();
    for _ in 0..total {
        for (credit, weight) in credit.iter_mut().zip(&scaled) {
            *credit += weight;
        }
        // The first of equals, so that the order of endpoints is the order of use.
        let Some(chosen) = (0..credit.len()).max_by_key(|&at| (credit[at], std::cmp::Reverse(at))) else {
            break;
        };
        credit[chosen] -= total;
        rota.push(chosen as u16);
    }
    rota
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_follow_the_weights() {
        let check = |weights: &[u32], wanted: &[u16]| assert_eq!(rota(weights), wanted, "{weights:?}");
        check(&[], &[]);
        check(&[0], &[]);
        check(&[7], &[0]);
        check(&[1, 1, 1], &[0, 1, 2]);
        check(&[4, 0, 2], &[0, 2, 0]);
        check(&[5, 1, 1], &[0, 0, 1, 0, 2, 0, 0]);
        let large = rota(&[u32::MAX, 1, u32::MAX - 1]);
        assert!(large.len() <= MAX_ROTA as usize + 3 && large.contains(&1), "{}", large.len());
    }
}
