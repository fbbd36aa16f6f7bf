//! A delta or snapshot on its way, cut into chunks as there is room for them.

use std::{iter::Peekable, sync::Arc, vec};

use bytes::Bytes;
use hanse_proto::sync::{self, HeadSignature, begin::Kind, publisher_message::Body};
use hanse_topology::{Position, ScopeId};

use crate::{Changes, ContentRoot, Replica, SnapshotReason};

/// What the wire adds to a key and a value: tags and lengths, rounded up.
const OVERHEAD_BYTES: usize = 16;

/// What remains to be sent. Values are shared with the replica as it was when the transfer began.
#[derive(Debug)]
pub(super) struct Transfer {
    to: Position,
    root: ContentRoot,
    signature: Option<HeadSignature>,
    upserts: Peekable<vec::IntoIter<(Arc<str>, Bytes)>>,
    removals: Peekable<vec::IntoIter<Arc<str>>>,
    last_good: Peekable<vec::IntoIter<(Arc<str>, Bytes)>>,
}

impl Transfer {
    pub(super) fn delta(
        scope: &ScopeId,
        from: Option<Position>,
        to: Position,
        replica: &Replica,
        changes: Changes,
        last_good: Vec<(Arc<str>, Bytes)>,
    ) -> (Self, Body) {
        let begin = sync::Begin {
            scope: scope.to_string(),
            kind: Kind::Delta.into(),
            from: from.map_or(0, |from| from.revision),
            to: Some(to.into()),
            reason: String::new(),
        };
        (Self::new(to, replica, changes, last_good), Body::Begin(begin))
    }

    pub(super) fn snapshot(
        scope: &ScopeId,
        to: Position,
        replica: &Replica,
        reason: SnapshotReason,
    ) -> (Self, Body) {
        let begin = sync::Begin {
            scope: scope.to_string(),
            kind: Kind::Snapshot.into(),
            from: 0,
            to: Some(to.into()),
            reason: reason.to_string(),
        };
        let content = Changes { upserts: replica.content(), removals: Vec::new() };
        let last_good = replica.last_good().map(|(key, value)| (Arc::clone(key), value.clone())).collect();
        (Self::new(to, replica, content, last_good), Body::Begin(begin))
    }

    fn new(to: Position, replica: &Replica, changes: Changes, last_good: Vec<(Arc<str>, Bytes)>) -> Self {
        Self {
            to,
            root: replica.root(),
            signature: replica.signature().cloned(),
            upserts: changes.upserts.into_iter().peekable(),
            removals: changes.removals.into_iter().peekable(),
            last_good: last_good.into_iter().peekable(),
        }
    }

    pub(super) fn to(&self) -> Position {
        self.to
    }

    pub(super) fn root(&self) -> ContentRoot {
        self.root
    }

    /// Whether only the end is left to send.
    pub(super) fn is_done(&mut self) -> bool {
        self.upserts.peek().is_none() && self.removals.peek().is_none() && self.last_good.peek().is_none()
    }

    /// The next part, of at most `max` bytes; one value larger than that travels alone.
    pub(super) fn next_chunk(&mut self, scope: &ScopeId, max: usize) -> Option<Body> {
        if self.is_done() {
            return None;
        }
        let mut chunk = sync::Chunk { scope: scope.to_string(), ..Default::default() };
        let mut left = max.saturating_sub(chunk.scope.len() + OVERHEAD_BYTES);
        let mut fits = |size: usize, first: bool| {
            let fits = first || size <= left;
            left = left.saturating_sub(size);
            fits
        };
        loop {
            let first = chunk.removals.is_empty();
            let next = self.removals.next_if(|key| fits(key.len() + OVERHEAD_BYTES, first));
            let Some(key) = next else { break };
            chunk.removals.push(key.as_ref().to_owned());
        }
        loop {
            let first = chunk.upserts.is_empty() && chunk.removals.is_empty();
            let next =
                self.upserts.next_if(|(key, value)| fits(key.len() + value.len() + OVERHEAD_BYTES, first));
            let Some((key, value)) = next else { break };
            chunk.upserts.push(sync::Upsert { key: key.as_ref().to_owned(), value });
        }
        loop {
            let first = chunk.upserts.is_empty() && chunk.removals.is_empty() && chunk.last_good.is_empty();
            let next =
                self.last_good.next_if(|(key, value)| fits(key.len() + value.len() + OVERHEAD_BYTES, first));
            let Some((key, value)) = next else { break };
            chunk.last_good.push(sync::Upsert { key: key.as_ref().to_owned(), value });
        }
        Some(Body::Chunk(chunk))
    }

    pub(super) fn end(&self, scope: &ScopeId) -> Body {
        Body::End(sync::End {
            scope: scope.to_string(),
            to: Some(self.to.into()),
            root: self.root.0.to_vec().into(),
            signature: self.signature.clone(),
        })
    }
}
