//! What a write is answered with beside what it did: what was accepted although it does not hold yet.

use hanse_state::{ChangeResult, State, admission::Warning};
use hanse_topology::Name;
use http::HeaderValue;

use crate::answer;

/// How many warnings of things that are not served an answer has: a screen of them. An Environment may have thousands of Bindings.
const MAX_UNSERVED: usize = 20;

/// The warnings of a write.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    told: Vec<Warning>,
    left_out: usize,
}

impl Warnings {
    /// Those of the specs, as admission found them, and those of what `changes` of `before` leave unserved in `after`.
    /// `sight`: the only organization whose resources they may name; `None`: all of them.
    pub(crate) fn of(
        mut told: Vec<Warning>,
        before: &State,
        after: &State,
        changes: &[ChangeResult],
        sight: Option<&Name>,
    ) -> Self {
        let mut unserved = after.unserved_after(before, changes, MAX_UNSERVED, sight);
        let left_out = unserved.len().saturating_sub(MAX_UNSERVED);
        unserved.truncate(MAX_UNSERVED);
        told.append(&mut unserved);
        Self { told, left_out }
    }

    /// As an apply or a delete is answered.
    pub(crate) fn answered(&self) -> (Vec<answer::Warning>, u64) {
        (self.told.iter().map(answer::Warning::from).collect(), self.left_out as u64)
    }

    /// As headers of the answer to a PUT of `key`: `FIELD: DETAIL`, with the resource before it where it is another one.
    pub(crate) fn headers(&self, key: &hanse_management::ResourceKey) -> impl Iterator<Item = HeaderValue> {
        let told = self.told.iter().map(move |Warning { key: of, field, detail }| match of == key {
            true => format!("{field}: {detail}"),
            false => format!("{of}: {field}: {detail}"),
        });
        let more = (self.left_out > 0).then(|| format!("{} more", self.left_out));
        told.chain(more).map(|text| {
            let visible =
                |letter: char| if letter == ' ' || letter.is_ascii_graphic() { letter } else { '?' };
            let text: String = text.chars().map(visible).collect();
            HeaderValue::from_str(&text).expect("a header takes visible ASCII")
        })
    }
}
