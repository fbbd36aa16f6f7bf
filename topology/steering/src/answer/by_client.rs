//! Whether an answer is one for all clients.

use super::{Chain, policy};
use crate::{Host, draw::Draw, seeded::seeded, set::Set};

/// Whether a client of another kind would be left with other candidates than `left`. `before` and `draw`: as the first step
/// found them.
///
/// The steps are gone through for one client of each kind that they tell apart, up to the first that differs. That is most
/// often the second one. Where all lead to one answer, it costs a pass for each kind: a host's networks by their regions, times
/// its regions' places.
pub(super) fn differs(host: &Host, before: Set, draw: Draw, left: Set) -> bool {
    if before.len() < 2 || !host.asks_for_client() || seeded("one-for-all") {
        return false;
    }
    host.kinds_of_client().any(|(prefix, spot)| {
        let mut chain = Chain { host, left: before, trace: &mut () };
        policy::steps(&mut chain, prefix, spot, draw);
        chain.left != left
    })
}
