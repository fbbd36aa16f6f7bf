//! Heads of a local scope that a publisher is told of, because it may be a holder of the scope, or follow one.

use std::time::{Duration, Instant};

use hanse_topology::{Position, ScopeId};

use crate::{Heads, HeldHead};

/// How long the node has held what the publisher lacks before it is told. Of each new lineage one link is the first to bring it, and
/// the others follow in less time than this.
pub(super) const OWN_PAUSE: Duration = Duration::from_secs(5);
/// How often a publisher is told that still lacks a head: it may not have believed it, because it did not know the Origin yet. A holder
/// waits for 10 s and more itself, so it costs little to say it no more often than this.
pub(super) const TELL_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// What a publisher is told of one scope.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// Since when the node has held a lineage that the publisher lacks.
    own_since: Option<Instant>,
    /// The generation that a Hello last told of, and when.
    told: Option<(u64, Instant)>,
}

impl Telling {
    /// The head that the publisher is to hear of: the greatest that is beyond `held`, which is what it is known to have.
    pub(super) fn head(
        &mut self,
        scope: &ScopeId,
        held: Option<&Position>,
        heads: &dyn Heads,
        now: Instant,
    ) -> Option<HeldHead> {
        let is_lacking = |head: &HeldHead| held.is_none_or(|held| !held.may_follow(&head.position));
        let (shown, own) = (heads.met(scope).filter(is_lacking), heads.own(scope, held));
        self.own_since = own.as_ref().and(Some(self.own_since.unwrap_or(now)));
        let is_old = |since: Instant| now.saturating_duration_since(since) >= OWN_PAUSE;
        let own = own.filter(|_| self.own_since.is_some_and(is_old));
        let rank = |head: &HeldHead| (head.position.lineage.generation, head.position.revision);
        shown.into_iter().chain(own).max_by_key(rank)
    }

    /// Whether to say Hello for this head: it is the first, of a greater generation than the last, or was told long ago.
    pub(super) fn is_due(&self, head: &HeldHead, now: Instant) -> bool {
        self.told.is_none_or(|(generation, at)| {
            let is_long_ago = now.saturating_duration_since(at) >= TELL_AGAIN_AFTER;
            is_long_ago || head.position.lineage.generation > generation
        })
    }

    /// A Hello tells of this head.
    pub(super) fn tells(&mut self, head: &HeldHead, now: Instant) {
        self.told = Some((head.position.lineage.generation, now));
    }
}
