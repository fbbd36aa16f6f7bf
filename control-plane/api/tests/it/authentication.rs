use std::sync::atomic::Ordering;

use crate::{node::START_MS, request::Api};

#[tokio::test]
async fn only_known_fresh_bearer_tokens_get_in() {
    let api = Api::new();
    api.node.add_token("short", "short-lived", Some(START_MS / 1_000 + 60));
    let check = async |authorization: &str, status: u16| {
        let answer = api.get("/v1/regions").header("authorization", authorization).send().await;
        assert_eq!(answer.status.as_u16(), status, "{authorization:?}");
        answer
    };
    check("Bearer operator-secret", 200).await;
    check("bearer operator-secret", 200).await;
    check("Bearer short-lived", 200).await;

    let none = check("", 401).await;
    assert_eq!(none.header("www-authenticate"), "Bearer realm=\"hanse\"");
    insta::assert_json_snapshot!(none.json, @r#"
    {
      "type": "urn:hanse:problem:unauthenticated",
      "title": "No valid token was shown",
      "status": 401,
      "detail": "this needs a token",
      "remedy": "send `Authorization: Bearer TOKEN` with an operator token of this federation"
    }
    "#);
    for bad in ["Bearer guess", "Bearer ", "Basic b3BlcmF0b3I6c2VjcmV0", "operator-secret"] {
        let refused = check(bad, 401).await;
        assert_eq!(refused.header("www-authenticate"), "Bearer realm=\"hanse\", error=\"invalid_token\"");
    }

    api.node.now_ms.fetch_add(60_000, Ordering::SeqCst);
    let expired = check("Bearer short-lived", 401).await;
    assert_eq!(expired.json["detail"], "the token short has expired");
}

#[tokio::test]
async fn tokens_are_known_without_a_quorum() {
    let api = Api::new();
    api.node.quorum.store(false, Ordering::SeqCst);
    api.get("/v1/regions?consistency=stale").send().await.expect(200);
    api.get("/v1/regions?consistency=stale").token("guess").send().await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_deleted_token_is_refused_at_once() {
    let api = Api::new();
    api.node.add_token("ci", "ci-secret", None);
    api.get("/v1/tokens").token("ci-secret").send().await.expect(200);
    api.delete("/v1/tokens/ci").send().await.expect(200);
    api.get("/v1/tokens").token("ci-secret").send().await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn an_answer_never_shows_a_secret_or_its_digest() {
    let api = Api::new();
    let digest = hanse_management::Digest::of(b"operator-secret").to_string();
    for path in ["/v1/tokens", "/v1/tokens/root"] {
        let answer = api.get(path).send().await.expect(200);
        assert!(
            !answer.text.contains(&digest) && !answer.text.contains("operator-secret"),
            "{}",
            answer.text
        );
    }
}
