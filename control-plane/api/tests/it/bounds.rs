//! What all requests together may take.

use std::time::Duration;

use axum::body::Body;
use futures_util::{StreamExt as _, stream};
use hanse_management::kinds::TokenRole;
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::time::Instant;

use crate::request::Api;

const LARGEST: usize = 16 << 20;

/// A body of which 100 KiB come, and then a little every second.
fn endless() -> Body {
    let first = stream::iter([Ok::<_, std::io::Error>(vec![b' '; 100 << 10])]);
    let more = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok(vec![b' '; 480 << 10]), ()))
    });
    Body::from_stream(first.chain(more))
}

/// A body that is announced and never comes.
fn silent() -> Body {
    Body::from_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>())
}

/// Starts an apply of `length` bytes.
fn slow(api: &Api, length: usize, body: Body) -> tokio::task::JoinHandle<http::Response<Body>> {
    let call = api.post("/v1/apply").body("application/json", body);
    tokio::spawn(call.header("content-length", &length.to_string()).open_owned())
}

#[tokio::test(start_paused = true)]
async fn large_bodies_wait_for_a_place_and_small_ones_do_not_wait_for_them() {
    let api = Api::new();
    let held = slow(&api, LARGEST, endless());
    tokio::time::sleep(Duration::from_millis(1)).await;

    let began = Instant::now();
    api.get("/v1/status").send().await.expect(200);
    api.put("/v1/regions/eu").json(json!({"spec": {"provider": "cloud"}})).send().await.expect(201);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());

    let large = format!("{{\"spec\": {{\"provider\": \"cloud\"}}{}}}", " ".repeat(LARGEST - 100));
    let refused = api.put("/v1/regions/us").body("application/json", large.clone());
    let refused = refused.header("content-length", &large.len().to_string()).send().await;
    assert_eq!(refused.header("retry-after"), "2");
    refused.problem(503, "busy");
    let waited = began.elapsed();
    assert!((Duration::from_secs(30)..Duration::from_secs(32)).contains(&waited), "{waited:?}");
    let metrics = api.get("/metrics").send().await.text;
    assert!(metrics.contains("hanse_api_busy_total{waited_for=\"bodies\"} 1"), "{metrics}");
    assert!(metrics.contains(&format!("hanse_api_body_bytes {}", LARGEST)), "{metrics}");

    held.abort(); // it goes away
    let taken = api.put("/v1/regions/us").body("application/json", large.clone());
    taken.header("content-length", &large.len().to_string()).send().await.expect(201);
    assert!(api.get("/metrics").send().await.text.contains("hanse_api_body_bytes 0"));
}

#[tokio::test(start_paused = true)]
async fn small_bodies_have_little_time_to_arrive() {
    let api = Api::new();
    let began = Instant::now();
    // A large one that is only announced takes no large place either.
    for length in [60 << 10, LARGEST] {
        let sender = slow(&api, length, silent());
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(api.get("/metrics").send().await.text.contains("hanse_api_body_bytes 6"));
        assert_eq!(sender.await.unwrap().status(), 400);
    }
    assert!(began.elapsed() < Duration::from_secs(13), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_body_that_would_swell_is_refused_by_every_operation_that_reads_one() {
    let api = Api::new();
    let swollen =
        format!("{{\"kind\":\"Region\",\"name\":\"eu\",\"spec\":[{}0]}}", "{\"a\":0},".repeat(200_000));
    for content_type in ["application/json", "application/yaml"] {
        for call in [api.post("/v1/apply"), api.put("/v1/regions/eu")] {
            let problem = call.body(content_type, swollen.clone()).send().await.problem(413, "too-large");
            assert!(problem["field"].as_str().unwrap().starts_with("line 1, column "), "{problem}");
        }
    }
    let problem = api.post("/v1/roots").body("application/json", swollen.clone()).send().await;
    problem.problem(413, "too-large");
}

#[tokio::test]
async fn a_page_of_large_resources_ends_early_and_goes_on() {
    let api = Api::furnished().await;
    let operations: Vec<_> = (0..9_000)
        .map(
            |number| json!({"method": "GET", "path": format!("/a/path/that/is/long/{number}/and/ends/here")}),
        )
        .collect();
    for number in 0..9 {
        let spec = json!({"context": format!("/large-{number}"), "version": "1", "operations": operations});
        let path = format!("/v1/organizations/default/apis/large-{number}");
        api.put(&path).json(json!({"spec": spec})).send().await.expect(201);
    }
    let (mut names, mut pages, mut next) = (Vec::new(), 0, String::new());
    loop {
        let page = api.get(&format!("/v1/organizations/default/apis?limit=1000{next}")).send().await;
        let page = page.expect(200);
        pages += 1;
        assert!(page.text.len() < 6 << 20, "{}", page.text.len());
        let items = page.json["items"].as_array().unwrap();
        names.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        match page.json["continue"].as_str() {
            Some(token) => next = format!("&continue={token}"),
            None => break,
        }
    }
    assert!(pages > 1, "{pages}");
    let expected: Vec<_> =
        (0..9).map(|number| format!("large-{number}")).chain(["orders".to_owned()]).collect();
    assert_eq!(names, expected);
}

/// An Api of some hundred KiB.
const LARGE: &str = "/v1/organizations/default/apis/large";

fn large_spec(context: &str) -> serde_json::Value {
    let operation = |number| json!({"method": "GET", "path": format!("/a/path/that/is/long/{number}")});
    json!({"context": context, "version": "1", "operations": (0..6_000).map(operation).collect::<Vec<_>>()})
}

#[tokio::test]
async fn large_answers_that_nobody_takes_are_bounded_and_small_ones_are_given() {
    let api = Api::furnished().await;
    api.put(LARGE).json(json!({"spec": large_spec("/large")})).send().await.expect(201);
    let mut untaken = Vec::new();
    let refused = loop {
        let answer = api.get(LARGE).open().await;
        match answer.status().as_u16() {
            200 => untaken.push(answer),
            status => break status,
        }
        assert!(untaken.len() < 1_000, "there is no bound");
    };
    assert_eq!(refused, 503);
    let size = api.get("/metrics").send().await.text;
    assert!(size.contains("hanse_api_busy_total{waited_for=\"untaken\"} 1"), "{size}");
    api.get("/v1/organizations/default/apis/orders").send().await.expect(200);
    // A write whose answer would be large has no place for it, and says so before anything is written.
    let larger = json!({"spec": large_spec("/larger")});
    let refused = api.put("/v1/organizations/default/apis/larger").json(larger).send().await;
    assert_eq!(
        refused.problem(503, "busy")["remedy"].as_str().unwrap().split(':').next(),
        Some("nothing was changed")
    );
    api.get("/v1/organizations/default/apis/larger").send().await.expect(404);
    untaken.clear();
    api.put(LARGE)
        .json(json!({"spec": large_spec("/large")}))
        .header("if-match", "*")
        .send()
        .await
        .expect(200);
    api.get(LARGE).send().await.expect(200);
}

#[tokio::test(start_paused = true)]
async fn a_large_answer_is_not_taken_bit_by_bit_for_ever() {
    let api = Api::furnished().await;
    api.put(LARGE).json(json!({"spec": large_spec("/large")})).send().await.expect(201);
    let mut answer = api.get(LARGE).open().await.into_body();
    assert!(answer.frame().await.unwrap().is_ok());
    tokio::time::sleep(Duration::from_secs(55)).await;
    assert!(answer.frame().await.unwrap().is_ok());
    tokio::time::sleep(Duration::from_secs(55)).await;
    assert!(answer.frame().await.unwrap().is_err());
}

#[tokio::test]
async fn what_is_left_of_a_large_answer_is_all_that_is_held() {
    let api = Api::furnished().await;
    api.put(LARGE).json(json!({"spec": large_spec("/large")})).send().await.expect(201);
    // The last part of each is kept by its client, far more than there are places.
    let mut last_parts = Vec::new();
    for _ in 0..200 {
        let mut answer = api.get(LARGE).open().await;
        assert_eq!(answer.status(), 200);
        let mut last = None;
        while let Some(frame) = answer.body_mut().frame().await {
            last = Some(frame.unwrap().into_data().unwrap());
        }
        let last = last.unwrap();
        assert!(last.len() <= 64 << 10);
        // Its own allocation: it can be had as one, without a copy of what is not its own.
        last_parts.push(last.try_into_mut().expect("nothing else shares it"));
        assert!(last_parts.last().unwrap().capacity() <= 64 << 10);
    }
}

#[tokio::test]
async fn watches_are_bounded() {
    let api = Api::furnished().await;
    let tokens = ["a", "b", "c", "d", "e"];
    tokens.iter().for_each(|name| api.node.add_token_of(name, TokenRole::Viewer, None));
    let watch = async |name: &str| api.get("/v1/watch").token(&format!("{name}-secret")).open().await;
    let mut watches = Vec::new();
    for name in &tokens[..4] {
        for _ in 0..128 {
            watches.push(watch(name).await);
        }
        if watches.len() < 512 {
            assert_eq!(watch(name).await.status(), 503, "a token has its share, and others theirs");
        }
    }
    assert!(watches.iter().all(|answer| answer.status() == 200));
    assert_eq!(watch("e").await.status(), 503);
    watches.pop();
    assert_eq!(watch("e").await.status(), 200);
    watches.remove(0);
    assert_eq!(watch("a").await.status(), 200, "what is given back is free again");
}
