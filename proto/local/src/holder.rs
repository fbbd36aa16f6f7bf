//! When a holder of a local scope publishes: pure, and time is an argument.
//!
//! A *source* says what the scope should have: a wish, with the term in which it says so. Several holders may have a source, and no holder
//! asks the others before it publishes. A holder that takes over starts a lineage with a greater counter than any it knows. So nodes follow
//! the last takeover, in any order in which they hear of several, and the other holders stop.

use std::time::{Duration, Instant};

use hanse_identity::KeyDigest;
use hanse_process::seeded;
use hanse_topology::{Lineage, LineageOrder, Position};

use crate::head;

/// How long the content may differ from the wish before a holder that stopped takes over: the one that publishes had the same change in
/// far less.
const DIFFERS_FOR: Duration = Duration::from_secs(10);

/// The longest that a holder waits for that. Each takeover of a term that answers an unreached head doubles the wait of the next: two holders
/// that hear of each other by a third node alone would otherwise take over from each other all the time.
const DIFFERS_AT_MOST: Duration = Duration::from_secs(320);

/// Random numbers for one step.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    /// The lower half of a generation.
    pub generation: u32,
    /// The part of a lineage's id that is not the key's.
    pub id: [u8; 8],
    /// How much longer than `DIFFERS_FOR` to wait, up to 5 s: holders that wait for the same do not take over at once.
    pub pause: Duration,
}

/// What a holder sees.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// The term of the source's wish; `None`: there is no wish.
    pub term: Option<u64>,
    /// Where the scope stands at this node; `None` also where the holder of that head is not believed any more.
    pub held: Option<Position>,
    /// Whether the content held is what the source wishes.
    pub is_as_wished: bool,
    /// The greatest position that another node was shown to hold, of those whose holder is believed.
    pub met: Option<Position>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Publish.
    Publish(Publication),
    /// Take over, but the last counter is taken: the Origin must be made anew, or the holder that took it revoked.
    Exhausted,
}

/// What to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publication {
    /// The whole content, in a lineage of its own.
    Takeover {
        /// Where it stands then.
        to: Position,
        /// Why.
        reason: Reason,
    },
    /// What differs, as the next revision of the same lineage.
    Changes {
        /// Where it stands then.
        to: Position,
    },
}

/// Why a holder takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The source's term is new, or this process is.
    Term,
    /// Another took over that had not heard of this one.
    Unheard,
    /// The scope has had other content than wished for a while, and no holder changes that.
    Differs,
    /// For a while this node has had no head that counts, or another node has held a later one that nothing brings here.
    Unreached,
}

/// One holder of one local scope.
#[derive(Debug)]
pub struct Holder {
    key: KeyDigest,
    /// When its Origin was made.
    made_at_ms: u64,
    /// The term of its last takeover.
    term: Option<u64>,
    /// The lineage that it publishes; `None`: it follows.
    own: Option<Lineage>,
    /// It took over in this term because another had not heard of it. It does so once, or two would go on for ever.
    was_unheard: bool,
    /// How often it took over in this term because of a head that nothing brings here.
    unreached: u32,
    /// Since when it follows and the scope is not as wished everywhere that it knows of, and for how long that may be.
    differs: Option<(Instant, Duration)>,
}

impl Holder {
    /// One that has not published yet, with the key of this digest, of an Origin that was made then.
    pub fn new(key: KeyDigest, made_at_ms: u64) -> Self {
        Self { key, made_at_ms, term: None, own: None, was_unheard: false, unreached: 0, differs: None }
    }

    /// What to do now. To be called when what it sees has changed, and at [`Self::due`]. What it publishes is in force when
    /// [`Self::published`] is called, and is said again otherwise; after [`Self::failed`] not before its time begins anew.
    pub fn step(&mut self, seen: Seen, now: Instant, draw: Draw) -> Step {
        let Some(term) = seen.term else {
            self.differs = None;
            return Step::Rest;
        };
        if self.term != Some(term) {
            return self.takeover(seen, draw, Reason::Term);
        }
        if let Some(own) = self.own {
            match rival(&seen, &own) {
                None => return self.go_on(own, seen, draw),
                // A holder that had heard of this one, or one that has not and was answered once.
                Some(rival) if is_child(&rival, &own) || self.was_unheard => self.own = None,
                Some(_) => return self.takeover(seen, draw, Reason::Unheard),
            }
        }
        let reason = match (seen.held, seen.met) {
            (None, _) => Reason::Unreached,
            (Some(held), Some(met)) if outranks(&met, &held) => Reason::Unreached,
            (Some(_), _) if seen.is_as_wished => {
                self.differs = None;
                return Step::Rest;
            }
            (Some(_), _) => Reason::Differs,
        };
        let wait = DIFFERS_FOR.saturating_mul(2_u32.saturating_pow(self.unreached)).min(DIFFERS_AT_MOST);
        let (since, bound) = *self.differs.get_or_insert((now, wait + draw.pause));
        match now.saturating_duration_since(since) >= bound {
            true => self.takeover(seen, draw, reason),
            false => Step::Rest,
        }
    }

    /// What [`Self::step`] said cannot be done. It is not due any more: otherwise it would be at once, for ever.
    pub fn failed(&mut self) {
        self.differs = None;
    }

    /// What [`Self::step`] said is in force, in this term.
    pub fn published(&mut self, publication: Publication, term: u64) {
        let Publication::Takeover { to, reason } = publication else { return };
        self.own = Some(to.lineage);
        self.differs = None;
        match reason {
            Reason::Term => (self.term, self.was_unheard, self.unreached) = (Some(term), false, 0),
            Reason::Unheard => self.was_unheard = true,
            Reason::Unreached => self.unreached = self.unreached.saturating_add(1),
            Reason::Differs => {}
        }
    }

    /// When to look again, though nothing changes.
    pub fn due(&self) -> Option<Instant> {
        self.differs.map(|(since, bound)| since + bound)
    }

    /// The next revision of the lineage that it publishes, if there is to be one.
    fn go_on(&self, own: Lineage, seen: Seen, draw: Draw) -> Step {
        match seen.held {
            Some(held) if held.lineage.order(&own) == LineageOrder::Same => match seen.is_as_wished {
                true => Step::Rest,
                false => Step::Publish(Publication::Changes {
                    to: Position { revision: held.revision + 1, ..held },
                }),
            },
            // The replica was lost. No revision of a lineage is used twice.
            Some(_) | None => self.takeover(seen, draw, Reason::Term),
        }
    }

    fn takeover(&self, seen: Seen, draw: Draw, reason: Reason) -> Step {
        let own = self.own.map(|lineage| Position { lineage, revision: 0 });
        let known = seen.held.into_iter().chain(seen.met).chain(own);
        let greatest = known.max_by_key(|position| (position.lineage.generation, position.revision));
        let counter = greatest.map_or(0, |position| head::counter_of(&position.lineage));
        let Some(counter) = counter.checked_add(u32::from(!seeded("keep-counter"))) else {
            return Step::Exhausted;
        };
        let lineage = Lineage {
            generation: head::generation_of(counter, draw.generation),
            id: head::id_of(&self.key, self.made_at_ms, draw.id),
            parent: greatest.map(|position| (position.lineage.id, position.revision)),
        };
        Step::Publish(Publication::Takeover { to: Position { lineage, revision: 1 }, reason })
    }
}

/// Whether a node that stands at `position` does not follow one that stands at `known`.
pub(crate) fn outranks(position: &Position, known: &Position) -> bool {
    !known.may_follow(position)
}

/// The greatest lineage that nodes may follow instead of `own` from now on.
fn rival(seen: &Seen, own: &Lineage) -> Option<Lineage> {
    let supersedes = |lineage: &Lineage| match lineage.order(own) {
        LineageOrder::Greater | LineageOrder::Conflict => true,
        LineageOrder::Same | LineageOrder::Lesser => false,
    };
    let known = seen.held.into_iter().chain(seen.met).map(|position| position.lineage);
    known.filter(supersedes).max_by_key(|lineage| lineage.generation)
}

/// Whether the holder of `rival` knew of `own` when it took over.
fn is_child(rival: &Lineage, own: &Lineage) -> bool {
    rival.parent.is_some_and(|(id, _)| id == own.id)
}

#[cfg(test)]
mod tests;
