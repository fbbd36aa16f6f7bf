//! Which resources a resource refers to, from which field.

use std::fmt;

use hanse_topology::Name;

use crate::{Kind, ResourceKey};

/// One reference from a resource to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// What it refers to.
    pub target: ResourceKey,
    /// Where it says so.
    pub field: Field,
    /// What it means to the one that refers.
    pub hold: Hold,
}

/// What a reference means to the one that refers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It makes no sense without the target: a cascading delete of the target takes it too.
    Needs,
    /// The target is one of several in a list: deleting the target never deletes it; the list must be edited first.
    /// (An Environment is not deleted with one of its regions.)
    Lists,
}

/// The field that refers: one below `spec`, or the name. Its text is made only when it is displayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `name`: a decision has the name of what it is about.
    Name,
    /// `spec.api`.
    Plain(&'static str),
    /// `spec.endpointsFrom.origin`.
    Below(&'static str, &'static str),
    /// `spec.regions[1]`.
    Item(&'static str, usize),
    /// `spec.endpoints[1].region`.
    Of(&'static str, usize, &'static str),
    /// `spec.operations[1].policies[2]`.
    ItemOf(&'static str, usize, &'static str, usize),
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("name"),
            Self::Plain(name) => write!(f, "spec.{name}"),
            Self::Below(name, field) => write!(f, "spec.{name}.{field}"),
            Self::Item(name, at) => write!(f, "spec.{name}[{at}]"),
            Self::Of(name, at, field) => write!(f, "spec.{name}[{at}].{field}"),
            Self::ItemOf(name, at, field, second) => write!(f, "spec.{name}[{at}].{field}[{second}]"),
        }
    }
}

/// Collects the references of one resource: its kind names each, and the caller is given each.
pub struct Refer<'a> {
    from: &'a ResourceKey,
    see: &'a mut dyn FnMut(Reference),
}

impl<'a> Refer<'a> {
    /// For the resource named `from`; each of its references is given to `see`.
    pub fn new(from: &'a ResourceKey, see: &'a mut dyn FnMut(Reference)) -> Self {
        Self { from, see }
    }

    /// The resource whose references these are.
    pub fn from(&self) -> &'a ResourceKey {
        self.from
    }

    /// It makes no sense without `name` of `kind`: see [`Hold::Needs`].
    pub fn needs(&mut self, kind: Kind, name: &Name, field: Field) {
        self.see(kind, name, field, Hold::Needs);
    }

    /// It lists `name` of `kind`: see [`Hold::Lists`].
    pub fn lists(&mut self, kind: Kind, name: &Name, field: Field) {
        self.see(kind, name, field, Hold::Lists);
    }

    fn see(&mut self, kind: Kind, name: &Name, field: Field, hold: Hold) {
        (self.see)(Reference { target: self.from.sibling(kind, name.clone()), field, hold });
    }
}
