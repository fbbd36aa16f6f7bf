//! The audit as operators read it, and what is found when an export was changed.

use hanse_api::{AuditWalk, BrokenChain, answer};
use hanse_management::kinds::TokenRole;
use serde_json::{Value, json};

use crate::request::Api;

async fn read(api: &Api, query: &str) -> answer::Audit {
    let read = api.get(&format!("/v1/audit{query}")).send().await.expect(200);
    serde_json::from_value(read.json).unwrap()
}

/// The lines of an export.
fn lines(audit: &answer::Audit) -> Vec<String> {
    audit.items.iter().map(|entry| serde_json::to_string(entry).unwrap()).collect()
}

fn walk<'a>(
    lines: impl IntoIterator<Item = &'a String>,
    start: &answer::AuditLink,
) -> Result<AuditWalk, BrokenChain> {
    let mut walk = AuditWalk::after(start.clone());
    for line in lines {
        walk.line(line)?;
    }
    Ok(walk)
}

#[tokio::test]
async fn an_entry_tells_who_changed_which_field() {
    let api = Api::furnished().await;
    let path = "/v1/organizations/default/plans/gold";
    api.put(path).json(json!({"spec": {"displayName": "a"}})).send().await.expect(201);
    let call = api.put(path).header("if-match", "*").header("x-request-id", "deploy-7");
    call.json(json!({"spec": {"displayName": "b"}})).send().await.expect(200);
    let entry = read(&api, "").await.items.pop().unwrap();
    assert_eq!((entry.actor.as_str(), entry.owner.as_str(), entry.role.as_str()), ("root", "root", "admin"));
    assert_eq!((entry.request_id.as_str(), entry.what.as_str()), ("deploy-7", "apply"));
    let change = serde_json::to_value(&entry.changes).unwrap();
    assert_eq!(
        change,
        json!([{"kind": "Plan", "organization": "default", "name": "gold", "action": "updated",
            "before": {"/spec/displayName": "a"}, "after": {"/spec/displayName": "b"}}])
    );
    assert_eq!(entry.revision, api.node.revision());
}

#[tokio::test]
async fn parts_follow_each_other_and_make_one_chain() {
    let api = Api::furnished().await;
    for number in 0..7 {
        let path = format!("/v1/organizations/default/plans/p-{number}");
        api.put(&path).json(json!({"spec": {}})).send().await.expect(201);
    }
    let mut at = AuditWalk::after(answer::AuditLink { number: 0, hash: "0".repeat(64) });
    let mut query = "?limit=3".to_owned();
    let mut parts = 0;
    let head = loop {
        let part = read(&api, &query).await;
        part.items.iter().for_each(|entry| at.entry(entry).unwrap());
        parts += 1;
        match part.next {
            Some(next) => query = format!("?limit=3&from={next}"),
            None => break part.head,
        }
    };
    assert!(parts > 2);
    assert_eq!(at.at(), &head);
    let beyond = read(&api, &format!("?from={}", head.number + 1)).await;
    assert!(beyond.items.is_empty() && beyond.head == head);
}

#[tokio::test]
async fn an_export_that_was_changed_anywhere_is_found() {
    let api = Api::furnished().await;
    for name in ["a", "b", "c"] {
        let path = format!("/v1/organizations/default/plans/{name}");
        api.put(&path).json(json!({"spec": {"displayName": name}})).send().await.expect(201);
    }
    let audit = read(&api, "").await;
    let whole = lines(&audit);
    assert_eq!(walk(&whole, &audit.start).unwrap().at(), &audit.head);
    let last = whole.len() - 1;

    // Each member of each entry, one after the other.
    for at in 0..whole.len() {
        let entry: Value = serde_json::from_str(&whole[at]).unwrap();
        for member in entry.as_object().unwrap().keys() {
            let mut damaged = entry.clone();
            damaged[member] = match &damaged[member] {
                Value::Number(number) => json!(number.as_u64().unwrap() + 1),
                Value::String(text) => json!(format!("{text}0")),
                _ => json!([]),
            };
            if damaged == entry {
                continue; // an entry without changes
            }
            let mut lines = whole.clone();
            lines[at] = damaged.to_string();
            assert!(walk(&lines, &audit.start).is_err(), "{member} of entry {}", at + 1);
        }
        let mut more = entry.clone();
        more["beside"] = json!("x");
        let mut lines = whole.clone();
        lines[at] = more.to_string();
        assert!(matches!(walk(&lines, &audit.start), Err(BrokenChain::Unreadable { .. })));
    }
    let without =
        |gone: usize| whole.iter().enumerate().filter(move |(at, _)| *at != gone).map(|(_, line)| line);
    assert_eq!(walk(without(2), &audit.start).unwrap_err(), BrokenChain::Order { expected: 3, found: 4 });
    let mut moved = whole.clone();
    moved.swap(1, 2);
    assert_eq!(walk(&moved, &audit.start).unwrap_err(), BrokenChain::Order { expected: 2, found: 3 });
    let doubled: Vec<String> = whole.iter().chain(&whole[last..]).cloned().collect();
    assert!(matches!(walk(&doubled, &audit.start), Err(BrokenChain::Order { .. })));
    // Cut at the end: the chain holds, and does not come to the head that the control node tells.
    assert_ne!(walk(without(last), &audit.start).unwrap().at(), &audit.head);
    // Cut at the beginning: a walk begins with the first entry that there ever was, unless its reader knows a later one.
    assert_eq!(AuditWalk::default().start(), &audit.start);
    let mut walk_all = AuditWalk::default();
    assert_eq!(walk_all.line(&whole[1]).unwrap_err(), BrokenChain::Order { expected: 1, found: 2 });
    let first = &audit.items[0];
    let known = answer::AuditLink { number: first.number, hash: first.hash.clone() };
    assert_eq!(walk(&whole[1..], &known).unwrap().at(), &audit.head);
    // Of another history.
    let other = answer::AuditLink { number: 0, hash: "1".repeat(64) };
    assert_eq!(walk(&whole, &other).unwrap_err(), BrokenChain::Previous { number: 1 });
}

#[tokio::test]
async fn what_was_exported_is_dropped_and_nothing_else() {
    let api = Api::furnished().await;
    let audit = read(&api, "").await;
    let through = &audit.items[1];
    let drop = async |body: Value| api.post("/v1/audit/drop").json(body).send().await;
    drop(json!({"through": 2})).await.problem(400, "bad-request");
    drop(json!({"through": 2, "hash": "00"})).await.problem(400, "bad-request");
    drop(json!({"through": 2, "hash": audit.items[0].hash})).await.problem(409, "conflict");
    drop(json!({"through": 99, "hash": through.hash})).await.problem(404, "not-found");
    drop(json!({"through": 2, "hash": through.hash})).await.expect(200);
    let rest = read(&api, "").await;
    assert_eq!(rest.start, answer::AuditLink { number: 2, hash: through.hash.clone() });
    assert_eq!(walk(&lines(&rest), &rest.start).unwrap().at(), &rest.head);
    assert_eq!(rest.items.last().unwrap().what, "drop audit through 2");
    let gone = api.get("/v1/audit?from=1").send().await.problem(410, "gone");
    assert!(gone["detail"].as_str().unwrap().contains("oldest that is kept is 3"), "{gone}");
}

#[tokio::test]
async fn a_refused_write_leaves_no_entry() {
    let api = Api::furnished().await;
    api.node.add_token_of("reader", TokenRole::Viewer, None);
    let head = read(&api, "").await.head;
    let put = api.put("/v1/organizations/default/plans/gold").token("reader-secret");
    put.json(json!({"spec": {}})).send().await.problem(403, "forbidden");
    api.post("/v1/apply?dryRun=true")
        .json(json!({"resources": [
        {"kind": "Plan", "name": "gold", "spec": {}}]}))
        .send()
        .await
        .expect(200);
    assert_eq!(read(&api, "").await.head, head);
}
