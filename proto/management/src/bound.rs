//! The bounds of specs, for descriptions: those that checks enforce, by the same constants.

use utoipa::{
    Number,
    openapi::{Array, Object, RefOr, Schema, schema::ArrayItems},
};

/// What a check allows a member of a spec to be.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    /// A number from the first to the second.
    Number(u64, u64),
    /// A text of so many characters. A check counts bytes: it refuses longer texts, too.
    Text(usize, usize),
    /// A list of so many items.
    Items(usize, usize),
    /// A list with an item.
    NotEmpty,
    /// A mapping of so many members.
    Members(usize, usize),
    /// A list of texts, each of so many characters.
    Each(usize, usize),
}

/// A bound of one member: the name of its schema, the member, and what it may be.
pub type Bounded = (&'static str, &'static str, Bound);

/// Says `bounds` in the schemas that have the members.
pub(crate) fn describe(schemas: &mut [(String, RefOr<Schema>)], bounds: &[Bounded]) {
    for (schema, member, bound) in bounds {
        let found = schemas.iter_mut().find(|(name, _)| name == schema);
        let found = found.and_then(|(_, found)| object(found)?.properties.get_mut(*member));
        let described = found.and_then(|found| bound.describe(found));
        described.unwrap_or_else(|| panic!("{schema}.{member} takes no {bound:?}"));
    }
}

impl Bound {
    /// `None`: `of` is no such thing.
    fn describe(self, of: &mut RefOr<Schema>) -> Option<()> {
        match self {
            Self::Number(least, most) => {
                let object = object(of)?;
                object.minimum = Some(number(least)?);
                object.maximum = Some(number(most)?);
            }
            Self::Text(least, most) => {
                let object = object(of)?;
                (object.min_length, object.max_length) = (Some(least), Some(most));
            }
            Self::Items(least, most) => {
                let array = array(of)?;
                (array.min_items, array.max_items) = (Some(least), Some(most));
            }
            Self::NotEmpty => {
                let array = array(of)?;
                // An empty list is what is refused, and no default.
                (array.min_items, array.default) = (Some(1), None);
            }
            Self::Members(least, most) => {
                let object = object(of)?;
                (object.min_properties, object.max_properties) = (Some(least), Some(most));
            }
            Self::Each(least, most) => match &mut array(of)?.items {
                ArrayItems::RefOrSchema(item) => Self::Text(least, most).describe(item)?,
                ArrayItems::False => return None,
            },
        }
        Some(())
    }
}

fn object(of: &mut RefOr<Schema>) -> Option<&mut Object> {
    if let RefOr::T(Schema::Object(object)) = of { Some(object) } else { None }
}

fn array(of: &mut RefOr<Schema>) -> Option<&mut Array> {
    if let RefOr::T(Schema::Array(array)) = of { Some(array) } else { None }
}

fn number(value: u64) -> Option<Number> {
    usize::try_from(value).ok().map(Number::UInt)
}
