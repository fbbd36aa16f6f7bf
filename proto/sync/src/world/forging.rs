//! Heads of the local scope: who signs them, who believes them, and how they are forged.

use super::*;

/// In place of the signature of the relay whose lineage it is: all that one covers.
pub(super) fn sign(scope: &ScopeId, position: &Position, root: &ContentRoot) -> HeadSignature {
    let spki = position.lineage.id[..1].to_vec();
    HeadSignature { spki: spki.into(), signature: format!("{scope} {position} {root}").into() }
}

/// Which relays are holders.
#[derive(Debug)]
pub(super) struct Holders {
    pub(super) named: Mutex<BTreeSet<usize>>,
    /// Otherwise every head is believed: a bug that the world has to notice.
    pub(super) judges: bool,
}

impl Holders {
    pub(super) fn is_named(&self, relay: usize) -> bool {
        self.named.lock().expect("no panic while it is held").contains(&relay)
    }
}

impl Heads for Holders {
    fn wants(&self, scope: &ScopeId) -> bool {
        *scope == local()
    }

    fn is_holders(
        &self,
        _scope: &ScopeId,
        position: &Position,
        signature: &HeadSignature,
    ) -> Result<(), String> {
        let is_own = signature.spki[..] == position.lineage.id[..1];
        let is_named = is_own && self.is_named(signature.spki[0].into());
        if is_named || !self.judges { Ok(()) } else { Err("it is no holder".to_owned()) }
    }

    fn judge(
        &self,
        scope: &ScopeId,
        position: &Position,
        root: &ContentRoot,
        signature: &HeadSignature,
    ) -> Result<(), Disbelief> {
        self.is_holders(scope, position, signature).map_err(Disbelief::Unknown)?;
        let is_signed = *signature == sign(scope, position, root);
        if is_signed || !self.judges { Ok(()) } else { Err(Disbelief::Forged("it is forged".to_owned())) }
    }
}

/// How a head of the local scope is forged on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forgery {
    /// A value is another one, and the root fits it.
    Value,
    /// The signature is of an earlier head.
    Earlier,
    /// The signature is of the same head of another Origin.
    OtherOrigin,
    /// There is no signature.
    Unsigned,
}

/// A transfer of the local scope on its way to the leaf.
#[derive(Debug, Default)]
pub(super) struct Passing {
    is_delta: bool,
    upserts: Vec<(Arc<str>, Bytes)>,
    removals: Vec<Arc<str>>,
    /// A value of it is another one.
    is_changed: bool,
}

impl Connection {
    /// Forges a head of the local scope on its way to the leaf, if that is to be done and the message has one. Whether it did.
    pub(super) fn forge(
        &mut self,
        message: &mut PublisherMessage,
        leaf: Option<&Replica>,
        heads: &[HeadSignature],
        next: &mut Option<Forgery>,
    ) -> bool {
        let is_local = |scope: &str| scope == local().to_string();
        match &mut message.body {
            Some(Body::Begin(begin)) if is_local(&begin.scope) => {
                self.passing = Passing { is_delta: begin.kind() == Kind::Delta, ..Passing::default() };
                false
            }
            Some(Body::Chunk(chunk)) if is_local(&chunk.scope) => {
                if let Some(upsert) = chunk.upserts.first_mut()
                    && *next == Some(Forgery::Value)
                {
                    upsert.value = Bytes::from_static(b"forged");
                    self.passing.is_changed = true;
                }
                let upserts = chunk.upserts.iter();
                self.passing.upserts.extend(upserts.map(|one| (Arc::from(&*one.key), one.value.clone())));
                self.passing.removals.extend(chunk.removals.iter().map(|key| Arc::from(&**key)));
                false
            }
            Some(Body::End(end)) if is_local(&end.scope) => {
                let Passing { is_delta, upserts, removals, is_changed } = std::mem::take(&mut self.passing);
                let to =
                    Position::try_from(end.to.as_ref().expect("it leads somewhere")).expect("well formed");
                match *next {
                    Some(Forgery::Value) if is_changed => {
                        let content = leaf.filter(|_| is_delta).map(Replica::content).unwrap_or_default();
                        let upserts = content.into_iter().chain(upserts).collect();
                        let root = Replica::new().advance(to, upserts, removals).expect("the first content");
                        end.root = root.0.to_vec().into();
                    }
                    Some(Forgery::Value) | None => return false,
                    Some(Forgery::Earlier) => {
                        let own = end.signature.as_ref();
                        let earlier = heads.iter().rfind(|head| Some(*head) != own);
                        let Some(earlier) = earlier else { return false };
                        end.signature = Some(earlier.clone());
                    }
                    Some(Forgery::OtherOrigin) => {
                        let root = ContentRoot::try_from(&*end.root).expect("well formed");
                        let other = "local/r/e/others".parse().expect("a scope");
                        end.signature = Some(sign(&other, &to, &root));
                    }
                    Some(Forgery::Unsigned) => end.signature = None,
                }
                *next = None;
                true
            }
            _ => false,
        }
    }
}
