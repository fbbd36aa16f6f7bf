//! One document of a text, read resource by resource: of a list, one item at a time is a tree, and what is kept of it is
//! what the resource says.

use std::{cell::RefCell, fmt};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{
    Manifest, SMALLER, envelope,
    operations::Operations,
    request::Lists,
    tree::{self, Budget, Place, Tree},
};
use crate::{Problem, ProblemName, Spec, kinds::OperationSpec};

/// How much memory the resources of one text may take, in bytes, by the count of [`memory`]: 29,000 Plans with a label
/// each count as 32.5 million and took 30 MiB.
pub const KEPT_BYTES: usize = 32 << 20;
/// How long their specs may be together, as JSON: the limit of a command.
const SPECS_BYTES: usize = 8 << 20;
/// How much memory a spec takes for each byte of its JSON. What a short operation takes beyond that is counted for itself.
const SPEC_BYTES_PER_JSON: usize = 3;
/// Resources that are kept in one piece: half a megabyte.
const PIECE: usize = 1_024;
/// What the first label takes: a node of the map, which has room for eleven.
const LABELS: usize = 560;
/// What each label takes beside its text.
const LABEL: usize = 64;

/// What a document has.
#[derive(Debug)]
pub(super) enum Document {
    /// Resources. Those of a list came from items.
    Resources(Vec<Manifest>),
    /// The body of an apply that has more than resources.
    Request(Vec<Manifest>, Lists),
    /// One that is no resource, or a list with one. The problem's place is within the document.
    Refused(Problem),
}

/// Resources, and what they take.
#[derive(Debug, Default)]
struct Kept {
    /// In pieces: one vector that grows takes twice its size while it moves.
    pieces: Vec<Vec<Manifest>>,
    bytes: usize,
    specs: usize,
}

impl Kept {
    /// Adds one, or says that it is one too many.
    fn push(&mut self, manifest: Manifest) -> Result<(), Problem> {
        let spec = manifest.spec.json_len();
        self.specs += spec;
        self.bytes += memory(&manifest);
        let remedy = match self.pieces.is_empty() {
            true => SMALLER,
            false => "split the request: what refers to something goes after it",
        };
        let too_large = |detail: String| {
            Err(Problem::new(ProblemName::TooLarge, detail).at(manifest.key.to_string()).remedy(remedy))
        };
        if self.specs > SPECS_BYTES {
            let limit = SPECS_BYTES >> 20;
            return too_large(format!("together the resources are larger than the limit of {limit} MiB"));
        }
        if self.bytes > KEPT_BYTES {
            let limit = KEPT_BYTES >> 20;
            let number = self.pieces.iter().map(Vec::len).sum::<usize>() + 1;
            return too_large(format!(
                "up to this one, {number} resources take more than {limit} MiB of memory"
            ));
        }
        if self.pieces.last().is_none_or(|piece| piece.len() == PIECE) {
            // Most texts have a few; those with many have full pieces.
            self.pieces.push(Vec::with_capacity(if self.pieces.is_empty() { 0 } else { PIECE }));
        }
        if let Some(piece) = self.pieces.last_mut() {
            piece.push(manifest);
        }
        Ok(())
    }

    /// All of them.
    fn into_manifests(self) -> Vec<Manifest> {
        let mut all = Vec::with_capacity(self.pieces.iter().map(Vec::len).sum());
        // Each piece is given back once it has moved.
        for piece in self.pieces {
            all.extend(piece);
        }
        all
    }
}

/// How much of [`KEPT_BYTES`] a resource takes, its spec included.
pub fn memory(manifest: &Manifest) -> usize {
    kept_bytes(manifest) + SPEC_BYTES_PER_JSON * manifest.spec.json_len()
}

/// What a resource takes without its spec, of which the places of its operations are counted here.
fn kept_bytes(manifest: &Manifest) -> usize {
    let labels = &manifest.labels.0;
    let texts: usize = labels.iter().map(|(key, value)| LABEL + key.len() + value.len()).sum();
    let served = manifest
        .restored
        .as_ref()
        .map_or(0, |restored| size_of::<super::Restored>() + size_of_val(&*restored.served));
    let operations = match &manifest.spec {
        Spec::Api(api) => api.operations.len(),
        Spec::ApiRevision(revision) => revision.spec.operations.len(),
        _without_operations => 0,
    };
    size_of::<Manifest>()
        + if labels.is_empty() { 0 } else { LABELS }
        + texts
        + served
        + operations * size_of::<OperationSpec>()
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl DocumentVisitor {
    /// Of a value that is no mapping.
    fn no_resource<E>(value: Value) -> Result<Document, E> {
        Ok(resource(&value, Operations::default()))
    }
}

fn resource(value: &Value, operations: Operations) -> Document {
    match envelope::read(value, operations, "") {
        Ok(manifest) => Document::Resources(vec![manifest]),
        Err(problem) => Document::Refused(problem),
    }
}

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a resource or a list of them")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Document, E> {
        Self::no_resource(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Document, E> {
        Self::no_resource(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Document, E> {
        Self::no_resource(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Document, E> {
        // Every float counts as a number here. JSON has no infinity, so 0 stands for it.
        Self::no_resource(if value.is_finite() { value.into() } else { 0.into() })
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Document, E> {
        Self::no_resource(Value::String(String::new()))
    }

    fn visit_none<E: Error>(self) -> Result<Document, E> {
        Self::no_resource(Value::Null)
    }

    fn visit_unit<E: Error>(self) -> Result<Document, E> {
        Self::no_resource(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Document, A::Error> {
        // Read to its end: where the text itself is wrong, that is said first.
        tree::skip(&mut items)?;
        Self::no_resource(Value::Array(Vec::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Document, A::Error> {
        let (budget, operations) = (Budget::of_one_resource(), RefCell::default());
        let mut fields = Map::new();
        let mut lists: Vec<(String, Items)> = Vec::new();
        while let Some(key) = members.next_key::<String>()? {
            if fields.contains_key(&key) {
                return Err(A::Error::custom(tree::twice(&key)));
            }
            budget.member(fields.len(), &key)?;
            let value = if envelope::LISTS.contains(&key.as_str()) {
                // Two lists in one document are refused in the end: one is held at a time.
                lists.clear();
                match members.next_value_seed(ItemsOrTree(&budget))? {
                    ItemsOr::Items(items) => {
                        lists.push((key.clone(), items));
                        Value::Array(Vec::new())
                    }
                    ItemsOr::Tree(value) => value,
                }
            } else {
                members.next_value_seed(Tree::new(&budget, 1, Place::Resource(&operations).member(&key)))?
            };
            fields.insert(key, value);
        }
        let beside = if fields.contains_key("resources") { Lists::take(&mut fields) } else { None };
        let list = match envelope::list_of(&fields) {
            Ok(None) => return Ok(resource(&Value::Object(fields), operations.into_inner())),
            Ok(Some(name)) => name,
            Err(problem) => return Ok(Document::Refused(problem)),
        };
        let items = lists.into_iter().rfind(|(name, _)| name == list).map(|(_, items)| items);
        Ok(match items.unwrap_or_default().outcome() {
            Ok(manifests) => match beside {
                Some(lists) => Document::Request(manifests, lists),
                None => Document::Resources(manifests),
            },
            Err(problem) => Document::Refused(problem),
        })
    }
}

/// Resources up to the first that is none: of a list, or of all documents.
#[derive(Debug, Default)]
pub(super) struct Items {
    kept: Kept,
    problem: Option<Problem>,
}

impl Items {
    /// Adds one, if none was refused before it.
    pub(super) fn push(&mut self, manifest: Manifest) -> Result<(), Problem> {
        if self.problem.is_none() { self.kept.push(manifest) } else { Ok(()) }
    }

    /// What comes after this is read over, and what came before is given back.
    pub(super) fn refuse(&mut self, problem: Problem) {
        if self.problem.is_none() {
            *self = Self { kept: Kept::default(), problem: Some(problem) };
        }
    }

    /// All of them, or the first problem.
    pub(super) fn outcome(self) -> Result<Vec<Manifest>, Problem> {
        self.problem.map_or_else(|| Ok(self.kept.into_manifests()), Err)
    }
}

enum ItemsOr {
    Items(Items),
    Tree(Value),
}

struct ItemsOrTree<'a>(&'a Budget);

impl<'de> DeserializeSeed<'de> for ItemsOrTree<'_> {
    type Value = ItemsOr;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<ItemsOr, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ItemsOrTree<'_> {
    type Value = ItemsOr;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of resources")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<ItemsOr, E> {
        Ok(ItemsOr::Tree(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<ItemsOr, E> {
        Ok(ItemsOr::Tree(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<ItemsOr, E> {
        Ok(ItemsOr::Tree(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<ItemsOr, E> {
        Tree::new(self.0, 1, Place::Elsewhere).visit_f64(value).map(ItemsOr::Tree)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<ItemsOr, E> {
        Tree::new(self.0, 1, Place::Elsewhere).visit_str(value).map(ItemsOr::Tree)
    }

    fn visit_none<E: Error>(self) -> Result<ItemsOr, E> {
        Ok(ItemsOr::Tree(Value::Null))
    }

    fn visit_unit<E: Error>(self) -> Result<ItemsOr, E> {
        Ok(ItemsOr::Tree(Value::Null))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<ItemsOr, A::Error> {
        Tree::new(self.0, 1, Place::Elsewhere).visit_map(members).map(ItemsOr::Tree)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ItemsOr, A::Error> {
        let mut items = Items::default();
        let mut number = 0;
        loop {
            let (budget, operations) = (Budget::of_one_resource(), RefCell::default());
            let item = Tree::new(&budget, 2, Place::Resource(&operations));
            let Some(value) = list.next_element_seed(item)? else { break };
            number += 1;
            let read = envelope::read(&value, operations.into_inner(), &format!("item {number}"));
            if let Err(problem) = read.and_then(|manifest| items.push(manifest)) {
                items.refuse(problem);
                // Read to its end: where the text itself is wrong, that is said first.
                tree::skip(&mut list)?;
                break;
            }
        }
        Ok(ItemsOr::Items(items))
    }
}
