//! Names and lists in fields.

use std::{collections::BTreeSet, fmt};

use hanse_topology::Name;

use crate::{DomainName, Unusable};

/// The name in a field.
pub(crate) fn name(field: &str, text: &str) -> Result<Name, Unusable> {
    Name::new(text).map_err(|error| Unusable::new(field, error.to_string()))
}

/// The name in the DNS in a field.
pub(crate) fn domain_name(field: &str, text: &str) -> Result<DomainName, Unusable> {
    DomainName::parse(text).map_err(|error| Unusable::new(field, error.to_string()))
}

/// Names each item once.
pub(crate) fn distinct<T: Ord + fmt::Display>(field: &str, items: &[T]) -> Result<(), Unusable> {
    let mut seen = BTreeSet::new();
    match items.iter().position(|item| !seen.insert(item)) {
        None => Ok(()),
        Some(at) => Err(Unusable::new(format!("{field}[{at}]"), format!("{} is there already", items[at]))),
    }
}

/// Whether a list in a field has no more than `most` items.
pub(crate) fn within(items: &str, field: &str, count: usize, most: usize) -> Result<(), Unusable> {
    if count <= most {
        return Ok(());
    }
    Err(Unusable::new(field, format!("{count} {items} are more than {most}")))
}
