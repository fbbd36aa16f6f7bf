//! Where a subscriber stands in one scope, and what it gets next.

use std::{fmt, time::Instant};

use hanse_proto::sync::{self, HeadSignature, publisher_message::Body};
use hanse_topology::{LineageOrder, Position, ScopeId};

use super::{BOOKMARK_INTERVAL, BOOKMARK_SPACING, transfer::Transfer};
use crate::{Changes, ContentRoot, Freshness, Replica};

/// Why a subscriber gets the whole scope instead of what changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SnapshotReason {
    /// It holds nothing.
    NothingHeld,
    /// It holds an earlier history.
    NewLineage,
    /// What changed since its position is no longer known.
    OutsideWindow,
    /// It stands where the publisher stands and holds something else.
    RootDiffers,
    /// It asks for it: a transfer failed.
    AskedFor,
}

impl SnapshotReason {
    /// In words, as on the wire and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NothingHeld => "nothing held",
            Self::NewLineage => "new lineage",
            Self::OutsideWindow => "outside the window",
            Self::RootDiffers => "root differs",
            Self::AskedFor => "asked for",
        }
    }
}

impl fmt::Display for SnapshotReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a subscriber that stands somewhere needs. The ladder of the protocol: later rungs go between delta and snapshot.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// Nothing: it holds the present content, and as far as is known nothing came and went since.
    Current,
    /// What changed.
    Delta(Changes),
    /// Everything.
    Snapshot(SnapshotReason),
    /// The publisher's time to catch up.
    Behind,
}

/// One subscriber's place in one scope.
#[derive(Debug)]
pub(super) struct Cursor {
    /// Where it stands, or will when it has all that was sent.
    at: Option<Position>,
    /// The root it has there. `None` with a position: it asks for a snapshot.
    root: Option<ContentRoot>,
    transfer: Option<Transfer>,
    /// When a bookmark, or word that it is ahead, was last sent.
    bookmarked: Option<Instant>,
    /// When its position last moved by what was sent.
    moved: Option<Instant>,
    /// The position moved again and it was not told yet.
    held_back: bool,
    /// Largest chunk to send.
    chunk_bytes: usize,
    /// Whether deltas may carry last good versions.
    takes_last_good: bool,
}

impl Cursor {
    pub(super) fn new(
        at: Option<Position>,
        root: Option<ContentRoot>,
        chunk_bytes: usize,
        takes_last_good: bool,
    ) -> Self {
        let (transfer, bookmarked, moved) = (None, None, None);
        Self { at, root, transfer, bookmarked, moved, held_back: false, chunk_bytes, takes_last_good }
    }

    /// When there is something to send though the replica stays as it is. A transfer goes on whenever there is room.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.transfer.is_some() {
            return None;
        }
        let bookmark = self.bookmarked.map(|at| at + BOOKMARK_INTERVAL);
        let move_on = self.moved.filter(|_| self.held_back).map(|at| at + BOOKMARK_SPACING);
        bookmark.into_iter().chain(move_on).min()
    }

    pub(super) fn next(
        &mut self,
        scope: &ScopeId,
        replica: Option<&Replica>,
        freshness: Freshness,
        now: Instant,
        out: &mut Vec<Body>,
    ) {
        if let Some(transfer) = self.transfer.take() {
            return self.go_on(scope, transfer, freshness, now, out);
        }
        let to = replica.and_then(Replica::position).copied();
        match (self.answer(replica), replica, to) {
            (Answer::Delta(changes), Some(replica), Some(to)) => {
                let last_good = match self.at.filter(|_| self.takes_last_good) {
                    Some(at) => replica.last_good_since(at.revision),
                    None => Vec::new(),
                };
                let (transfer, begin) = Transfer::delta(scope, self.at, to, replica, changes, last_good);
                out.push(begin);
                self.go_on(scope, transfer, freshness, now, out);
            }
            (Answer::Snapshot(reason), Some(replica), Some(to)) => {
                let (transfer, begin) = Transfer::snapshot(scope, to, replica, reason);
                out.push(begin);
                self.go_on(scope, transfer, freshness, now, out);
            }
            (Answer::Current, Some(replica), Some(to)) => {
                self.keep_up(scope, to, replica, freshness, now, out)
            }
            (_, _, position) => self.behind(scope, position, now, out),
        }
    }

    /// What the subscriber needs. Pure.
    fn answer(&self, replica: Option<&Replica>) -> Answer {
        let Some((replica, position)) = replica.and_then(|replica| Some((replica, replica.position()?)))
        else {
            return Answer::Behind;
        };
        let Some(at) = self.at else { return Answer::Snapshot(SnapshotReason::NothingHeld) };
        match position.lineage.order(&at.lineage) {
            LineageOrder::Greater => return Answer::Snapshot(SnapshotReason::NewLineage),
            LineageOrder::Lesser | LineageOrder::Conflict => return Answer::Behind,
            LineageOrder::Same if at.revision > position.revision => return Answer::Behind,
            LineageOrder::Same => {}
        }
        match self.root {
            None => Answer::Snapshot(SnapshotReason::AskedFor),
            // What came and went is told too: a node that follows the subscriber may hold it.
            Some(root) if root == replica.root() => match replica.changes_since(at.revision) {
                Some(changes) if !changes.is_empty() => Answer::Delta(changes),
                Some(_) | None => Answer::Current,
            },
            Some(_) if at.revision == position.revision => Answer::Snapshot(SnapshotReason::RootDiffers),
            Some(_) => match replica.changes_since(at.revision) {
                Some(changes) => Answer::Delta(changes),
                None => Answer::Snapshot(SnapshotReason::OutsideWindow),
            },
        }
    }

    fn go_on(
        &mut self,
        scope: &ScopeId,
        mut transfer: Transfer,
        freshness: Freshness,
        now: Instant,
        out: &mut Vec<Body>,
    ) {
        out.extend(transfer.next_chunk(scope, self.chunk_bytes));
        if !transfer.is_done() {
            self.transfer = Some(transfer);
            return;
        }
        out.push(transfer.end(scope));
        self.at = Some(transfer.to());
        self.root = Some(transfer.root());
        self.moved = Some(now);
        self.held_back = false;
        // Even where one delta follows another, a bookmark comes every second: only it says how fresh all this is.
        if self.bookmark_is_due(now) {
            out.push(self.bookmark(scope, transfer.to(), transfer.root(), None, freshness, now));
        }
    }

    /// The subscriber holds the present content: moves its position on, or proves the sync alive.
    fn keep_up(
        &mut self,
        scope: &ScopeId,
        to: Position,
        replica: &Replica,
        freshness: Freshness,
        now: Instant,
        out: &mut Vec<Body>,
    ) {
        let moved = self.at.is_none_or(|at| !at.is(&to));
        let spaced = self.moved.is_none_or(|at| now.saturating_duration_since(at) >= BOOKMARK_SPACING);
        if self.bookmark_is_due(now) || (moved && spaced) {
            let signature = replica.signature().filter(|_| moved).cloned();
            out.push(self.bookmark(scope, to, replica.root(), signature, freshness, now));
            self.at = Some(to);
            self.moved = if moved { Some(now) } else { self.moved };
            self.held_back = false;
        } else {
            self.held_back = moved;
        }
    }

    fn bookmark_is_due(&self, now: Instant) -> bool {
        self.bookmarked.is_none_or(|at| now.saturating_duration_since(at) >= BOOKMARK_INTERVAL)
    }

    fn bookmark(
        &mut self,
        scope: &ScopeId,
        position: Position,
        root: ContentRoot,
        signature: Option<HeadSignature>,
        freshness: Freshness,
        now: Instant,
    ) -> Body {
        self.bookmarked = Some(now);
        let age = now.saturating_duration_since(freshness.confirmed_at);
        Body::Bookmark(sync::Bookmark {
            scope: scope.to_string(),
            position: Some(position.into()),
            root: root.0.to_vec().into(),
            as_of_age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            quorum: freshness.quorum,
            signature,
        })
    }

    fn behind(&mut self, scope: &ScopeId, position: Option<Position>, now: Instant, out: &mut Vec<Body>) {
        if self.bookmark_is_due(now) {
            self.bookmarked = Some(now);
            let scope = scope.to_string();
            out.push(Body::Behind(sync::Behind { scope, position: position.map(Into::into) }));
        }
    }
}
