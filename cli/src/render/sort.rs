//! The order of resources in a list.

use std::cmp::Ordering;

use hanse_api::answer::Resource;
use hanse_management::{Kind, text_of};
use serde_json::{Value, json};

use crate::exit::Failure;

/// What a list is sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SortBy {
    /// The column of this title.
    Column(String),
    /// The field at this JSON pointer.
    Field(String),
}

impl SortBy {
    /// Reads `COLUMN` or `.field.below`; each of `kinds` must have the column.
    pub(crate) fn read(text: &str, kinds: &[Kind]) -> Result<Self, Failure> {
        if text.starts_with('.') {
            return Ok(Self::Field(text.replace('.', "/")));
        }
        let title = text.to_ascii_uppercase();
        for kind in kinds {
            let titles: Vec<_> = kind.table(true).iter().map(|column| column.title).collect();
            if !titles.contains(&title.as_str()) {
                return Err(Failure::usage(format!("the table of {} has no column {text}", kind.plural()))
                    .remedy(format!("sort by one of {}, or by a field: .spec.…", titles.join(", "))));
            }
        }
        Ok(Self::Column(title))
    }

    /// Sorts resources of a kind. Those without the field come last.
    pub(crate) fn sort(&self, kind: Kind, items: &mut [Resource]) {
        items.sort_by_cached_key(|item| self.key(kind, &json!(item)));
    }

    fn key(&self, kind: Kind, item: &Value) -> Key {
        let text = match self {
            Self::Column(title) => {
                let columns = kind.table(true);
                columns.iter().find(|column| column.title == title).map(|column| column.read(item))
            }
            Self::Field(pointer) => match item.pointer(pointer) {
                Some(Value::Number(number)) => return Key::Number(number.as_f64().unwrap_or(f64::NAN)),
                value => value.map(text_of),
            },
        };
        text.filter(|text| !text.is_empty()).map_or(Key::Missing, |text| Key::Text(Natural(text)))
    }
}

/// What a resource is sorted by, in this order.
#[derive(Debug)]
enum Key {
    Number(f64),
    Text(Natural),
    Missing,
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => one.total_cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            (one, other) => one.rank().cmp(&other.rank()),
        }
    }
}

impl Key {
    fn rank(&self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::Text(_) => 1,
            Self::Missing => 2,
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key {}

/// Text in which numbers count as such: `r9` comes before `r10`.
#[derive(Debug, PartialEq, Eq)]
struct Natural(String);

impl Natural {
    /// Runs of digits, and the text between them. Without zeros in front, a longer run is a greater number.
    fn parts(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut rest = self.0.as_str();
        std::iter::from_fn(move || {
            let is_digit = rest.chars().next()?.is_ascii_digit();
            let end =
                rest.find(|character: char| character.is_ascii_digit() != is_digit).unwrap_or(rest.len());
            let (part, after) = rest.split_at(end);
            rest = after;
            let number = part.trim_start_matches('0');
            Some(if is_digit { (number.len(), number) } else { (usize::MAX, part) })
        })
    }
}

impl Ord for Natural {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(other.parts()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Natural {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::resource;

    #[test]
    fn numbers_in_text_count_as_numbers() {
        let mut texts = ["r10", "r9", "a", "10", "9", "1.10", "1.9", "r009", "r", "é2"]
            .map(|text| Natural(text.to_owned()));
        texts.sort();
        let sorted: Vec<_> = texts.iter().map(|text| text.0.as_str()).collect();
        assert_eq!(sorted, ["1.9", "1.10", "9", "10", "a", "r", "r009", "r9", "r10", "é2"]);
    }

    #[test]
    fn lists_are_sorted_by_a_column_or_a_field() {
        let plan = |name: &str, spec: Value| resource(json!({"name": name, "spec": spec}));
        let rate = |burst: u64| json!({"rate": {"requests": 1, "per": "minute", "burst": burst}});
        let sorted = |by: &str| {
            let mut items =
                [plan("none", json!({})), plan("b", rate(10)), plan("a", rate(9)), plan("c", rate(9))];
            SortBy::read(by, &[Kind::Plan]).unwrap().sort(Kind::Plan, &mut items);
            items.map(|item| item.name).join(" ")
        };
        assert_eq!(sorted("burst"), "a c b none");
        assert_eq!(sorted("NAME"), "a b c none");
        assert_eq!(sorted(".spec.rate.burst"), "a c b none");
        let mut items = [-9.0, 1.5, -10.0, 1.25].map(|at| plan(&at.to_string(), json!({"at": at})));
        SortBy::read(".spec.at", &[Kind::Plan]).unwrap().sort(Kind::Plan, &mut items);
        assert_eq!(items.map(|item| item.name), ["-10", "-9", "1.25", "1.5"]);
        assert_eq!(sorted(".spec.nothing"), "none b a c", "the order stays");
        let refused = SortBy::read("context", &[Kind::Api, Kind::Plan]).unwrap_err();
        assert_eq!(refused.message, "the table of plans has no column context");
        assert!(
            refused.remedy.starts_with("sort by one of NAME, RATE, BURST, REVISION, LABELS"),
            "{refused}"
        );
    }
}
