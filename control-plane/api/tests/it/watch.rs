use std::{sync::atomic::Ordering, time::Duration};

use axum::body::Body;
use hanse_api::answer;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    answers::again,
    request::{Api, Call},
};

/// One server-sent event.
#[derive(Debug, PartialEq)]
struct Event {
    name: String,
    id: Option<u64>,
    data: Value,
}

struct Events {
    body: Body,
    text: String,
}

impl Events {
    async fn open(call: Call<'_>) -> Self {
        let response = call.open().await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), text: String::new() }
    }

    /// The next event; `None` when the stream ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                        .map(str::to_owned)
                };
                return Some(Event {
                    name: field("event").unwrap(),
                    id: field("id").map(|id| id.parse().unwrap()),
                    data: serde_json::from_str(&field("data").unwrap()).unwrap(),
                });
            }
            let frame = timeout(Duration::from_secs(60), self.body.frame())
                .await
                .expect("an event within a minute")?;
            self.text.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        }
    }

    async fn expect(&mut self, name: &str, what: &str, id: Option<u64>) -> Event {
        let event = self.next().await.expect("the stream goes on");
        let found = event.data["name"].as_str().unwrap_or_default();
        assert_eq!((event.name.as_str(), found, event.id), (name, what, id), "{event:?}");
        let again = if name == "bookmark" { again::<answer::Bookmark> } else { again::<answer::ChangeEvent> };
        assert_eq!(again(&event.data), event.data);
        event
    }
}

async fn put_region(api: &Api, name: &str, latitude: f64) -> u64 {
    let call = api.put(&format!("/v1/regions/{name}"));
    let call = if api.get(&format!("/v1/regions/{name}")).send().await.status == 200 {
        call.header("if-match", "*")
    } else {
        call
    };
    let spec = json!({"provider": "cloud", "location": {"latitude": latitude, "longitude": 1.0}});
    call.json(json!({"spec": spec})).send().await.revision()
}

#[tokio::test(start_paused = true)]
async fn changes_arrive_as_they_happen() {
    let api = Api::new();
    let start = api.node.revision();
    let mut events = Events::open(api.get("/v1/watch")).await;
    events.expect("bookmark", "", Some(start)).await;

    let revision = put_region(&api, "eu", 1.0).await;
    let put = events.expect("put", "eu", Some(revision)).await;
    assert_eq!((&put.data["kind"], &put.data["revision"]), (&json!("Region"), &json!(revision)));
    assert_eq!(put.data["resource"]["spec"]["location"]["latitude"], 1.0);

    api.delete("/v1/regions/eu").send().await.expect(200);
    let gone = events.expect("delete", "eu", Some(revision + 1)).await;
    assert_eq!(gone.data.get("resource"), None);

    let quiet_since = tokio::time::Instant::now();
    let bookmark = events.expect("bookmark", "", Some(revision + 1)).await;
    assert_eq!(bookmark.data, json!({"revision": revision + 1}));
    assert!(quiet_since.elapsed() <= Duration::from_secs(5), "{:?}", quiet_since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_where_it_was_cut_off() {
    let api = Api::new();
    let first = put_region(&api, "eu", 1.0).await;
    put_region(&api, "us", 1.0).await;
    put_region(&api, "eu", 2.0).await;
    let latest = put_region(&api, "ap", 1.0).await;

    let by_query = api.get(&format!("/v1/watch?from={first}"));
    let by_header = api.get("/v1/watch?from=1").header("last-event-id", &first.to_string());
    for call in [by_query, by_header] {
        let mut events = Events::open(call).await;
        events.expect("bookmark", "", Some(first)).await;
        events.expect("put", "us", Some(first + 1)).await;
        let eu = events.expect("put", "eu", Some(first + 2)).await;
        assert_eq!(eu.data["resource"]["spec"]["location"]["latitude"], 2.0, "once, as it is now");
        events.expect("put", "ap", Some(latest)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_last_event_of_a_revision_has_an_id() {
    let api = Api::new();
    let start = api.node.revision();
    let mut events = Events::open(api.get("/v1/watch")).await;
    events.expect("bookmark", "", Some(start)).await;
    let resources: Vec<Value> = ["a", "b", "c"]
        .map(|name| json!({"kind": "Region", "name": name, "spec": {"provider": "cloud"}}))
        .to_vec();
    api.post("/v1/apply").json(json!({"resources": resources})).send().await.expect(200);
    events.expect("put", "a", None).await;
    events.expect("put", "b", None).await;
    events.expect("put", "c", Some(start + 1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_can_be_of_some_kinds() {
    let api = Api::new();
    let mut events = Events::open(api.get("/v1/watch?kinds=organizations,apis")).await;
    events.expect("bookmark", "", Some(api.node.revision())).await;
    put_region(&api, "eu", 1.0).await;
    let answer = api.put("/v1/organizations/shop").json(json!({"spec": {}})).send().await.expect(201);
    events.expect("put", "shop", Some(answer.revision())).await;
    let latest = put_region(&api, "us", 1.0).await;
    events.expect("bookmark", "", Some(latest)).await;
}

#[tokio::test]
async fn a_position_that_is_not_remembered_is_gone() {
    let api = Api::new();
    let problem = api.get("/v1/watch?from=999").send().await.problem(410, "gone");
    insta::assert_json_snapshot!(problem, @r#"
    {
      "type": "urn:hanse:problem:gone",
      "title": "The history asked for is no longer kept",
      "status": 410,
      "detail": "revision 999 is ahead of this history, which is at 2",
      "field": "query: from",
      "remedy": "list what you watch again and watch from that list's revision"
    }
    "#);
    let call = api.get("/v1/watch").header("last-event-id", "yesterday");
    assert_eq!(call.send().await.problem(400, "bad-request")["field"], "header: Last-Event-ID");

    for _ in 0..10_001 {
        let latitude = f64::from(u32::try_from(api.node.revision() % 2).unwrap());
        api.node.run(region_change(latitude));
    }
    let problem = api.get("/v1/watch?from=1").send().await.problem(410, "gone");
    assert_eq!(problem["detail"], "what changed after revision 1 is no longer remembered");
}

fn region_change(latitude: f64) -> hanse_state::CommandBody {
    use hanse_management::{Kind, ResourceKey, Spec};
    use hanse_state::{Action, Change, CommandBody};
    let spec = json!({"provider": "cloud", "location": {"latitude": latitude, "longitude": 1.0}});
    let spec = Spec::from_json(Kind::Region, &spec).unwrap();
    CommandBody::Apply(vec![Change {
        key: ResourceKey::global(Kind::Region, hanse_topology::Name::new("eu").unwrap()),
        action: Action::put(hanse_topology::Labels::default(), spec),
        if_revision: None,
    }])
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_with_its_token_and_with_the_process() {
    let api = Api::new();
    api.node.add_token("ci", "ci-secret", None);
    let mut events = Events::open(api.get("/v1/watch").token("ci-secret")).await;
    events.expect("bookmark", "", Some(api.node.revision())).await;
    api.delete("/v1/tokens/ci").send().await.expect(200);
    assert_eq!(events.next().await, None, "not even the event of its own end");

    let (close, closing) = tokio::sync::watch::channel(false);
    let mut operator = api.node.api();
    operator.closing = closing;
    let api = Api { node: api.node.clone(), router: hanse_api::router(operator) };
    let mut events = Events::open(api.get("/v1/watch")).await;
    events.expect("bookmark", "", Some(api.node.revision())).await;
    close.send(true).unwrap();
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_watch_needs_no_quorum() {
    let api = Api::new();
    api.node.quorum.store(false, Ordering::SeqCst);
    let mut events = Events::open(api.get(&format!("/v1/watch?from={}", api.node.revision()))).await;
    events.expect("bookmark", "", Some(api.node.revision())).await;
    let metrics = api.get("/metrics").send().await.expect(200);
    assert!(metrics.text.contains("hanse_api_watches 1"), "{}", metrics.text);
}
