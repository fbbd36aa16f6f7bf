//! One value of a text, as a tree that is built within a budget.
//!
//! A text of a few bytes a node becomes a tree of a hundred times its size: `{"a":0}` takes 580 bytes. So the reader
//! counts what it builds, and stops while it reads.

use std::{
    cell::{Cell, RefCell},
    fmt,
};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::operations::Operations;

/// How much memory one resource may take while it is read, in bytes, by the counts below. They were measured: `{"a":0}` counts as
/// 660 bytes and took 530. A Plan counts as 3,000, and the largest Api, 25,000 operations of 300 bytes each, as 16 million.
pub(super) const TREE_BYTES: usize = 32 << 20;
/// How deep a tree may go: the deepest spec is 5 deep.
pub(super) const MAX_DEPTH: usize = 32;

/// The words of a budget that ran out. A deserializer's error carries text only, so the text is how it is known again.
pub(super) const TOO_LARGE: &str =
    "this is larger than a resource may be: it takes more than 32 MiB of memory to read";
const _: () = assert!(TREE_BYTES == 32 << 20, "the words say so");
/// The words of a depth that ran out.
pub(super) const TOO_DEEP: &str = "this goes deeper than a resource may: more than 32 levels";
const _: () = assert!(MAX_DEPTH == 32, "the words say so");

/// The words of a key that comes twice end so.
const COMES_TWICE: &str = " comes twice";

/// How much of a key is repeated: as much as the longest name of a field has.
const SHOWN: usize = 64;

/// The words of a key that comes twice.
pub(super) fn twice(key: &str) -> String {
    let shown: String = key.chars().take(SHOWN).collect();
    format!("the key {shown:?}{COMES_TWICE}")
}

/// Whether words are those of [`twice`].
pub(super) fn is_twice(words: &str) -> bool {
    words.ends_with(COMES_TWICE)
}

/// One value's place in a list.
const ITEM: usize = size_of::<Value>();
/// One member's place in a mapping: hash, key, value, and its entry in the index.
const MEMBER: usize = 8 + size_of::<String>() + size_of::<Value>() + 16;
/// What an allocator adds to a piece of text.
pub(super) const TEXT: usize = 40;

/// What is left of a budget.
#[derive(Debug)]
pub(super) struct Budget(Cell<usize>);

impl Budget {
    /// For one resource.
    pub(super) fn of_one_resource() -> Self {
        Self(Cell::new(TREE_BYTES))
    }

    fn take<E: Error>(&self, bytes: usize) -> Result<(), E> {
        let left = self.0.get().checked_sub(bytes).ok_or_else(|| E::custom(TOO_LARGE))?;
        self.0.set(left);
        Ok(())
    }

    /// For a piece of text.
    pub(super) fn text<E: Error>(&self, text: &str) -> Result<(), E> {
        self.take(TEXT + text.len())
    }

    /// For the next place of a container: it begins with room for four, and then grows by doubling.
    fn place<E: Error>(&self, index: usize, bytes: usize) -> Result<(), E> {
        match index {
            0 => self.take(4 * bytes),
            1..4 => Ok(()),
            _ => self.take(2 * bytes),
        }
    }

    /// For the member number `index` of a mapping.
    pub(super) fn member<E: Error>(&self, index: usize, key: &str) -> Result<(), E> {
        self.place(index, MEMBER)?;
        self.text(key)
    }
}

/// Where a value stands, as far as operations are concerned: they are read apart from the tree, in which their list is empty.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    /// It is a resource.
    Resource(&'a RefCell<Operations>),
    /// It is the `spec` of a resource, or the `spec` in it, which an ApiRevision has.
    Spec(&'a RefCell<Operations>),
    /// It is the field `operations` of a spec.
    Operations(&'a RefCell<Operations>),
    /// It is something else.
    Elsewhere,
}

impl Place<'_> {
    /// The place of the member `key` of a mapping that stands here.
    pub(super) fn member(self, key: &str) -> Self {
        match (self, key) {
            (Self::Resource(operations) | Self::Spec(operations), "spec") => Self::Spec(operations),
            (Self::Spec(operations), "operations") => Self::Operations(operations),
            (Self::Resource(_) | Self::Spec(_) | Self::Operations(_) | Self::Elsewhere, _) => Self::Elsewhere,
        }
    }
}

/// Reads any value as a tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree<'a> {
    budget: &'a Budget,
    depth: usize,
    place: Place<'a>,
}

impl<'a> Tree<'a> {
    /// One that stands `depth` levels deep.
    pub(super) fn new(budget: &'a Budget, depth: usize, place: Place<'a>) -> Self {
        Self { budget, depth, place }
    }

    /// What stands inside.
    fn inside<E: Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(TOO_DEEP));
        }
        Ok(Self { depth: self.depth + 1, place: Place::Elsewhere, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.budget.text(value)?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        self.budget.text(&value)?;
        Ok(Value::String(value))
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut list = Vec::new();
        loop {
            let before = self.budget.0.get();
            let Some(item) = items.next_element_seed(inside)? else { break };
            if let Place::Operations(operations) = self.place {
                // Its tree is given back.
                self.budget.0.set(before);
                self.budget.take(operations.borrow_mut().push(&item))?;
            } else {
                self.budget.place(list.len(), ITEM)?;
                list.push(item);
            }
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut map = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(twice(&key)));
            }
            self.budget.member(map.len(), &key)?;
            let value = members.next_value_seed(Self { place: self.place.member(&key), ..inside })?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// Reads over the rest of a list without keeping any of it.
pub(super) fn skip<'de, A: SeqAccess<'de>>(items: &mut A) -> Result<(), A::Error> {
    while items.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}
