//! Small things beside the scopes: what they should be, and which of that is not on disk yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use hanse_topology::ScopeId;

/// What a note says of a key of a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyNote {
    /// The last version that a consumer could use, where that is not the present one.
    Usable,
    /// The version that a consumer has served with for long, where that is not the present one.
    Proven,
    /// Which version is not to be used.
    Poisoned,
}

impl KeyNote {
    /// Each of them.
    pub(crate) const ALL: [Self; 3] = [Self::Usable, Self::Proven, Self::Poisoned];
}

/// Which note.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NoteId {
    /// A fact of the node, by name.
    Fact(Arc<str>),
    /// Of a key of a scope.
    Key(KeyNote, ScopeId, Arc<str>),
}

/// What a note says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// Since when that is so, where the note has a revision and it is known; else 0.
    pub revision: u64,
    /// The value; `None`: that there is none.
    pub value: Option<Bytes>,
}

/// A note as it should be; `None`: not any more.
pub(crate) type Note = (NoteId, Option<Noted>);

/// Every note as it should be, on disk or not.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    values: BTreeMap<NoteId, Noted>,
    /// Those that differ from what is on disk.
    dirty: BTreeSet<NoteId>,
}

impl Notes {
    /// What is on disk.
    pub(crate) fn loaded(values: BTreeMap<NoteId, Noted>) -> Self {
        Self { values, dirty: BTreeSet::new() }
    }

    pub(crate) fn get(&self, id: &NoteId) -> Option<&Bytes> {
        self.values.get(id)?.value.as_ref()
    }

    /// What is noted of the keys of a scope.
    pub(crate) fn of_keys(&self, what: KeyNote, scope: &ScopeId) -> BTreeMap<Arc<str>, Noted> {
        let from = NoteId::Key(what, scope.clone(), Arc::from(""));
        let of_scope = self.values.range(from..).map_while(|(id, value)| match id {
            NoteId::Key(note, of, key) if *note == what && of == scope => {
                Some((Arc::clone(key), value.clone()))
            }
            NoteId::Key(..) | NoteId::Fact(_) => None,
        });
        of_scope.collect()
    }

    /// Sets or removes a note. Whether that changes it.
    pub(crate) fn set(&mut self, id: NoteId, value: Option<Noted>) -> bool {
        if self.values.get(&id) == value.as_ref() {
            return false;
        }
        match value {
            Some(value) => self.values.insert(id.clone(), value),
            None => self.values.remove(&id),
        };
        self.dirty.insert(id);
        true
    }

    /// Forgets what is noted of the keys of a scope that is gone from the disk too.
    pub(crate) fn forget_scope(&mut self, scope: &ScopeId) {
        for what in KeyNote::ALL {
            for key in self.of_keys(what, scope).into_keys() {
                let id = NoteId::Key(what, scope.clone(), key);
                self.values.remove(&id);
                self.dirty.remove(&id);
            }
        }
    }

    /// What is to be written, each as it should be now.
    pub(crate) fn unkept(&self) -> Vec<Note> {
        self.dirty.iter().map(|id| (id.clone(), self.values.get(id).cloned())).collect()
    }

    /// Whether it is on disk as it should be.
    pub(crate) fn is_kept(&self, id: &NoteId) -> bool {
        !self.dirty.contains(id)
    }

    /// Says that these are on disk. What changed meanwhile is still to be written.
    pub(crate) fn are_kept(&mut self, written: &[Note]) {
        for (id, value) in written {
            if self.values.get(id) == value.as_ref() {
                self.dirty.remove(id);
            }
        }
    }

    /// Says that nothing is on disk.
    pub(crate) fn all_dirty(&mut self) {
        self.dirty.extend(self.values.keys().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_the_disk_is_written_until_it_is_there() {
        let fact = |name: &str| NoteId::Fact(name.into());
        let noted = |text: &'static str| Noted { revision: 0, value: Some(text.into()) };
        let some = |text| Some(noted(text));
        let mut notes = Notes::loaded(BTreeMap::from([(fact("a"), noted("1"))]));
        assert!(!notes.set(fact("a"), some("1")) && notes.unkept().is_empty());
        assert!(notes.set(fact("a"), some("2")) && notes.set(fact("b"), some("1")));
        let written = notes.unkept();
        assert_eq!(written, [(fact("a"), some("2")), (fact("b"), some("1"))]);
        notes.set(fact("b"), None);
        notes.are_kept(&written);
        let written = notes.unkept();
        assert_eq!(written, [(fact("b"), None)], "it changed while it was written");
        notes.are_kept(&written);
        assert!(notes.unkept().is_empty());
        notes.all_dirty();
        assert_eq!(notes.unkept(), [(fact("a"), some("2"))]);
    }

    #[test]
    fn notes_of_keys_go_by_what_they_say_and_by_scope() {
        let scopes: Vec<ScopeId> =
            ["runtime/r/a", "runtime/r/ab", "runtime/r/b"].map(|scope| scope.parse().unwrap()).to_vec();
        let mut notes = Notes::default();
        let noted = |scope: &ScopeId| Noted { revision: 7, value: Some(scope.to_string().into()) };
        for (what, scope) in
            KeyNote::ALL.iter().flat_map(|what| scopes.iter().map(move |scope| (what, scope)))
        {
            notes.set(NoteId::Key(*what, scope.clone(), "k".into()), Some(noted(scope)));
        }
        for what in KeyNote::ALL {
            let expected = BTreeMap::from([(Arc::from("k"), noted(&scopes[1]))]);
            assert_eq!(notes.of_keys(what, &scopes[1]), expected);
        }
        notes.forget_scope(&scopes[1]);
        for what in KeyNote::ALL {
            assert!(notes.of_keys(what, &scopes[1]).is_empty());
            assert_eq!(notes.of_keys(what, &scopes[2]).len(), 1);
        }
    }
}
