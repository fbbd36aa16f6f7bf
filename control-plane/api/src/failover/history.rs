//! The past decisions of a plan: from the present one back, by what each entry of the audit log says was there before.

use hanse_management::{Kind, ResourceKey, Spec, kinds::FailoverSpec};
use hanse_state::{AuditEntry, AuditField, State, rfc3339};
use hanse_topology::Name;
use serde_json::Value;

use crate::answer::{FailoverHistory, PastDecision};

/// Where the spec is in what an entry tells of.
const SPEC: &str = "/spec";

/// The history of a plan.
pub(super) fn of(state: &State, plan: &Name) -> FailoverHistory {
    let key = ResourceKey::global(Kind::Failover, plan.clone());
    let log = state.audit();
    let start = log.start().number;
    let generation = state.lineage().map_or(0, |lineage| lineage.generation);
    let entries: Vec<AuditEntry> = log.from(start + 1).map(|(entry, ..)| entry).collect();
    let mut at = match state.get(&key).map(|failover| &failover.spec) {
        Some(spec @ Spec::Failover(_)) => Some(spec.to_json()),
        Some(_) | None => None,
    };
    let mut items = Vec::new();
    for entry in entries.into_iter().rev() {
        let Some(change) = entry.changes.iter().find(|change| change.key == key) else { continue };
        items.push(PastDecision {
            number: entry.number,
            epoch: format!("{generation}/{}", entry.revision),
            time: rfc3339(entry.time_ms),
            actor: entry.actor,
            owner: entry.origin.owner,
            from: entry.origin.from,
            reason: entry.origin.reason,
            what: entry.what,
            decision: at.clone().and_then(|spec| serde_json::from_value::<FailoverSpec>(spec).ok()),
        });
        at = at.filter(|_| change.left_out.is_none()).and_then(|spec| before(spec, &change.fields));
    }
    FailoverHistory { plan: plan.to_string(), items, dropped: start > 0, revision: state.revision() }
}

/// What a spec was before these differences. `None`: nothing was there, or it is not known.
///
/// Of a list that was shorter or longer, an entry tells which items came or went, by their places in the longer one. Those that came go
/// first, from the end, and those that went come back in their order, so each place means what it meant.
fn before(mut spec: Value, fields: &[AuditField]) -> Option<Value> {
    let place = |field: &&AuditField| {
        let last = field.pointer.rsplit('/').next().unwrap_or_default();
        (field.pointer.len() - last.len(), last.parse::<usize>().ok())
    };
    let is_of_spec = |field: &&AuditField| field.pointer.starts_with(SPEC);
    let (mut came, mut went, mut changed) = (Vec::new(), Vec::new(), Vec::new());
    for field in fields.iter().filter(is_of_spec) {
        match (&field.before, &field.after) {
            (None, _) => came.push(field),
            (Some(_), None) => went.push(field),
            (Some(_), Some(_)) => changed.push(field),
        }
    }
    came.sort_by_key(place);
    went.sort_by_key(place);
    for field in changed.into_iter().chain(came.into_iter().rev()).chain(went) {
        let pointer = &field.pointer[SPEC.len()..];
        if pointer.is_empty() {
            spec = field.before.clone()?;
            continue;
        }
        let (parent, last) = pointer.rsplit_once('/')?;
        match (spec.pointer_mut(parent)?, field.before.clone(), &field.after) {
            (Value::Object(members), Some(value), _) => drop(members.insert(last.to_owned(), value)),
            (Value::Object(members), None, _) => drop(members.remove(last)),
            (Value::Array(items), Some(value), Some(_)) => {
                *items.get_mut(last.parse::<usize>().ok()?)? = value
            }
            (Value::Array(items), Some(value), None) => {
                let at = last.parse().ok().filter(|at| *at <= items.len())?;
                items.insert(at, value);
            }
            (Value::Array(items), None, _) => {
                let at = last.parse().ok().filter(|at| *at < items.len())?;
                items.remove(at);
            }
            _no_container => return None,
        }
    }
    Some(spec)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn field(pointer: &str, before: Option<Value>, after: Option<Value>) -> AuditField {
        AuditField { pointer: format!("/spec{pointer}"), before, after }
    }

    #[test]
    fn a_spec_is_taken_back() {
        let check = |now: Value, fields: &[AuditField], then: Option<Value>| {
            assert_eq!(before(now.clone(), fields), then, "{now} before {fields:?}");
        };
        let (some, none) = (|value: Value| Some(value), None::<Value>);
        check(json!({"a": 1}), &[field("/a", some(json!(2)), some(json!(1)))], Some(json!({"a": 2})));
        check(json!({"a": 1, "b": 1}), &[field("/b", none.clone(), some(json!(1)))], Some(json!({"a": 1})));
        check(json!({}), &[field("/b", some(json!(1)), none.clone())], Some(json!({"b": 1})));
        // Of [10, 50, 100] came [100], and the other way round; beyond nine places, too.
        let steps =
            [field("/s/0", some(json!(10)), none.clone()), field("/s/1", some(json!(50)), none.clone())];
        check(json!({"s": [100]}), &steps, Some(json!({"s": [10, 50, 100]})));
        let steps =
            [field("/s/0", none.clone(), some(json!(10))), field("/s/1", none.clone(), some(json!(50)))];
        check(json!({"s": [10, 50, 100]}), &steps, Some(json!({"s": [100]})));
        let many: Vec<_> =
            (1..12).map(|at| field(&format!("/s/{at}"), some(json!(at)), none.clone())).collect();
        check(json!({"s": [0]}), &many, Some(json!({"s": (0..12).collect::<Vec<_>>()})));
        check(
            json!({"a": {"b": 1}}),
            &[field("/a/b", some(json!(2)), some(json!(1)))],
            Some(json!({"a": {"b": 2}})),
        );
        // It was created, or is not what the entry tells of.
        check(json!({"a": 1}), &[field("", none.clone(), some(json!({"a": 1})))], None);
        check(json!({"a": 1}), &[field("/b/c", some(json!(2)), some(json!(1)))], None);
    }
}
