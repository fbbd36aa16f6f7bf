//! What a dump says of a resource beside its labels and its spec.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Kind, Problem, ProblemName, ResourceKey, check::Verdict};

/// What a federation knew of a resource when it was dumped. A resource that has it is made as it was; it never replaces another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Restored {
    /// Of an Api, the number of its latest ApiRevision. Absent: the number that comes next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_revision: Option<u64>,
    /// Of a Binding, the numbers of the ApiRevisions that it served, each once, the present one last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub served: Vec<u64>,
}

impl Restored {
    /// How many ApiRevisions of a Binding are kept for a rollback: the way back over ten publications.
    pub const MAX_SERVED: usize = 10;
    /// The largest number of an ApiRevision: no Api comes near it, and every greater one of a history still has a place.
    pub const MAX_NUMBER: u64 = 999_999_999;

    /// Checks what can be judged without looking at other resources.
    pub fn check(&self, key: &ResourceKey) -> Verdict {
        let Self { api_revision, served } = self;
        let refused = |field: &str, detail: String, remedy: &str| {
            let problem = Problem::new(ProblemName::Invalid, detail);
            Err(problem.at(format!("{key}: restored.{field}")).remedy(remedy))
        };
        if api_revision.is_some() && key.kind != Kind::Api {
            let detail = format!("{} has no ApiRevisions", key.kind);
            return refused("apiRevision", detail, "leave it out: only an Api has it");
        }
        let is_number = |number: &u64| (1..=Self::MAX_NUMBER).contains(number);
        if let Some(number) = api_revision.filter(|number| !is_number(number)) {
            let detail =
                format!("ApiRevisions are numbered from 1 to {}, and it is {number}", Self::MAX_NUMBER);
            return refused("apiRevision", detail, "correct it");
        }
        if !served.is_empty() && key.kind != Kind::Binding {
            let detail = format!("{} serves no ApiRevision", key.kind);
            return refused("served", detail, "leave it out: only a Binding has it");
        }
        let distinct: BTreeSet<&u64> = served.iter().collect();
        if served.len() > Self::MAX_SERVED || distinct.len() < served.len() || !served.iter().all(is_number) {
            let detail =
                format!("{served:?} is no list of at most {} numbers of ApiRevisions", Self::MAX_SERVED);
            return refused("served", detail, "name each number once, the present one last");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use hanse_topology::Name;
    use serde_json::json;

    use super::*;
    use crate::manifest::{parse_json, parse_yaml};

    fn default() -> Name {
        Name::new("default").unwrap()
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let binding = json!({
            "kind": "Binding", "organization": "shop", "name": "b", "labels": {"team": "x"}, "protected": true, "revision": 3,
            "restored": {"served": [2, 7]}, "spec": {"api": "orders", "environment": "prod", "revision": 7},
        });
        let read = parse_json(binding.to_string().as_bytes(), &default()).unwrap();
        assert_eq!(read[0].restored, Some(Box::new(Restored { api_revision: None, served: vec![2, 7] })));
        let written = serde_json::to_string(&read[0]).unwrap();
        assert_eq!(parse_json(written.as_bytes(), &default()).unwrap(), read);
        let plain = parse_yaml("{kind: Plan, name: gold, restored: {}}", &default()).unwrap();
        assert_eq!(plain[0].restored, Some(Box::default()));
        assert_eq!(parse_yaml("{kind: Plan, name: gold}", &default()).unwrap()[0].restored, None);
    }

    #[test]
    fn what_is_not_known_of_a_resource_is_refused() {
        let refused = |yaml: &str| parse_yaml(yaml, &default()).unwrap_err().field;
        let uses = refused("{kind: Plan, name: gold, restored: {uses: 1}}");
        assert_eq!(uses, "document 1: Plan gold: restored.uses");
        let number = refused("{kind: Api, name: a, restored: {apiRevision: x}}");
        assert_eq!(number, "document 1: Api a: restored.apiRevision");
    }

    #[test]
    fn each_fact_belongs_to_one_kind() {
        let check = |kind: Kind, api_revision: Option<u64>, served: &[u64]| {
            let key = ResourceKey { kind, organization: Some(default()), name: default() };
            let restored = Restored { api_revision, served: served.to_vec() };
            restored.check(&key).map_err(|problem| problem.field)
        };
        check(Kind::Api, Some(1), &[]).unwrap();
        check(Kind::Binding, None, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]).unwrap();
        check(Kind::Plan, None, &[]).unwrap();
        for (kind, api_revision, served, field) in [
            (Kind::Binding, Some(1), &[][..], "Binding default/default: restored.apiRevision"),
            (Kind::Api, Some(0), &[], "Api default/default: restored.apiRevision"),
            (Kind::Api, Some(u64::MAX), &[], "Api default/default: restored.apiRevision"),
            (Kind::Api, None, &[1], "Api default/default: restored.served"),
            (Kind::Binding, None, &[1_000_000_000], "Binding default/default: restored.served"),
            (Kind::Binding, None, &[1, 1], "Binding default/default: restored.served"),
            (Kind::Binding, None, &[0], "Binding default/default: restored.served"),
            (
                Kind::Binding,
                None,
                &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
                "Binding default/default: restored.served",
            ),
        ] {
            assert_eq!(check(kind, api_revision, served), Err(field.to_owned()));
        }
    }
}
