//! Nothing newer is accepted, stored or projected before version 2 is in force; all of it works from then on.

use std::collections::BTreeSet;

use hanse_management::ProblemName;
use hanse_proto::runtime::resource::Kind as Runtime;
use prost::Message as _;

use super::*;
use crate::{
    CommandBody,
    fixture::{World, key},
    projection::{AsSealed, from_scratch, preview, required},
};

const MEMO: &str = "{kind: Memo, name: hello, spec: {text: hello}}";
const NOTED: &str = "
kind: Api
name: orders
spec:
  context: /orders/v1
  version: \"1\"
  policies: [stamp]
  upstream: backend
  note: beware
  operations: [{method: GET, path: \"/orders/{id}\"}]
";

fn motto() -> CommandBody {
    CommandBody::SetMotto("festina lente".to_owned())
}

fn finalized(world: &World) -> World {
    let mut after = world.clone();
    after.run(CommandBody::finalize(Version::NEXT)).unwrap();
    after
}

/// The notes and the features of the Route in each scope.
fn routes(world: &World) -> BTreeSet<(String, Vec<String>)> {
    let scopes = from_scratch(&world.state, &AsSealed);
    let resources = scopes.values().flat_map(|content| content.values());
    let decoded = resources.map(|bytes| runtime::Resource::decode(bytes.clone()).unwrap());
    let route = |resource: runtime::Resource| match resource.kind {
        Some(Runtime::Route(route)) => Some((route.note, resource.requires)),
        _ => None,
    };
    decoded.filter_map(route).collect()
}

#[test]
fn what_is_newer_is_refused_before() {
    let mut world = World::with_orders();
    world.check(MEMO, "Memo default/hello: kind");
    world.check(NOTED, "Api default/orders: spec.note");
    let problem = world.delete("Memo hello", false).unwrap_err();
    assert_eq!((problem.name, &*problem.field), (ProblemName::Upgrade, "Memo default/hello: kind"));
    let problem = world.run(motto()).unwrap_err();
    assert_eq!((problem.name, &*problem.field), (ProblemName::Upgrade, "the motto"));
    assert_eq!(routes(&world), [(String::new(), Vec::new())].into());
    assert_eq!(world.state.motto_record(), None);
}

#[test]
fn what_is_newer_works_afterwards() {
    let mut world = finalized(&World::with_orders());
    world.put(MEMO);
    world.put(NOTED);
    world.run(motto()).unwrap();
    assert_eq!(world.names(Kind::Memo), ["hello"]);
    assert_eq!(world.get("Memo hello").key, key("Memo hello"));
    assert_eq!(routes(&world), [("beware".to_owned(), vec![FEATURE.to_owned()])].into());
    let back = State::from_records(world.state.to_records()).unwrap();
    assert_eq!((back.motto(), &back), ("festina lente", &world.state));
}

#[test]
fn an_operator_sees_beforehand_what_changes() {
    let world = World::with_orders();
    let after = finalized(&world);
    assert_eq!(routes(&after), [(DEFAULT_NOTE.to_owned(), vec![FEATURE.to_owned()])].into());
    let changes = preview(&world.state, &after.state);
    assert!(changes.iter().all(|change| (change.upserts, change.removals) == (1, 0)), "{changes:?}");
    let required = required(&world.state, &after.state);
    assert_eq!((changes.len(), required.len()), (2, 2));
    assert!(required.values().all(|features| *features == [FEATURE.to_owned()].into()), "{required:?}");
}
