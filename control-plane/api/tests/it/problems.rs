use axum::body::Body;
use serde_json::{Value, json};

use crate::request::{Api, orders};

#[tokio::test]
async fn paths_and_methods_that_are_not_there() {
    let api = Api::new();
    let check = async |method: &str, path: &str, status: u16, name: &str, remedy: &str| {
        let problem = api.call(method, path).token("").send().await.problem(status, name);
        assert!(problem["remedy"].as_str().unwrap().contains(remedy), "{method} {path}: {problem}");
    };
    check("GET", "/", 404, "not-found", "/openapi.json").await;
    check("GET", "/v1/gadgets", 404, "not-found", "\"gadgets\" is not a kind").await;
    check("GET", "/v1/apis/orders", 404, "not-found", "at /v1/organizations/{organization}/apis").await;
    check(
        "GET",
        "/v1/organizations/default/regions",
        404,
        "not-found",
        "Region resources are at /v1/regions",
    )
    .await;
    check("GET", "/v1/organizations/default/apis/", 404, "not-found", "Api resources").await;
    check("GET", "/v2/regions", 404, "not-found", "/openapi.json").await;
    check("POST", "/v1/regions", 405, "bad-request", "Allow").await;
    check("PATCH", "/v1/regions/eu", 405, "bad-request", "Allow").await;
    check("GET", "/v1/apply", 405, "bad-request", "Allow").await;

    let allow = api.call("POST", "/v1/regions/eu").send().await;
    let mut methods: Vec<&str> = allow.header("allow").split(',').collect();
    methods.sort_unstable();
    assert_eq!(methods, ["DELETE", "GET", "HEAD", "PUT"]);
    assert_eq!(api.get("/v1/apply").send().await.header("allow"), "POST");
}

#[tokio::test]
async fn queries_are_read_strictly() {
    let api = Api::furnished().await;
    let check = async |method: &str, path: &str, field: &str| {
        let problem =
            api.call(method, path).json(json!({"spec": {}})).send().await.problem(400, "bad-request");
        assert_eq!(problem["field"], field, "{path}: {problem}");
    };
    check("GET", "/v1/regions?limt=3", "query: limt").await;
    check("GET", "/v1/regions?limit=0", "query: limit").await;
    check("GET", "/v1/regions?limit=1001", "query: limit").await;
    check("GET", "/v1/regions?limit=ten", "query: limit").await;
    check("GET", "/v1/regions?limit=-1", "query: limit").await;
    check("GET", "/v1/regions?limit=1&limit=2", "query: limit").await;
    check("GET", "/v1/regions?labels=a", "query: labels").await;
    check("GET", "/v1/regions?labels=a=b%20c", "query: labels").await;
    check("GET", "/v1/regions?continue=%00", "query: continue").await;
    check("GET", "/v1/status?verbose", "query: verbose").await;
    check("GET", "/v1/watch?from=now", "query: from").await;
    check("GET", "/v1/watch?kinds=gadgets", "query: kinds").await;
    check("GET", "/v1/convergence?revision=", "query: revision").await;
    check("PUT", "/v1/regions/eu?force=true", "query: force").await;
    check("DELETE", "/v1/regions/eu?cascade=yes", "query: cascade").await;
    check("POST", "/v1/apply?dryRun=1", "query: dryRun").await;
    let problem = api.post("/v1/apply?allowRemovals=3").send().await.problem(400, "bad-request");
    insta::assert_json_snapshot!(problem, @r#"
    {
      "type": "urn:hanse:problem:bad-request",
      "title": "The request cannot be read",
      "status": 400,
      "detail": "the query parameter \"allowRemovals\" is not known",
      "field": "query: allowRemovals",
      "remedy": "known here: dryRun, prune, selector, forceGrants, propose, organization"
    }
    "#);
}

#[tokio::test]
async fn names_in_paths_are_names() {
    let api = Api::furnished().await;
    let problem = api.get("/v1/regions/EU").send().await.problem(422, "invalid");
    insta::assert_json_snapshot!(problem, @r#"
    {
      "type": "urn:hanse:problem:invalid",
      "title": "A value is not allowed",
      "status": 422,
      "detail": "\"EU\" is not a name: use 1 to 63 of a-z, 0-9 and '-', starting and ending with a letter or digit",
      "field": "path: name",
      "remedy": "use the name as lists show it"
    }
    "#);
    let problem = api.get("/v1/organizations/a_b/apis").send().await.problem(422, "invalid");
    assert_eq!(problem["field"], "path: organization");
    api.get("/v1/regions/%ff").send().await.problem(400, "bad-request");
    let missing = api.get("/v1/organizations/nobody/apis").send().await.problem(404, "not-found");
    assert_eq!(missing["detail"], "Organization nobody does not exist");
    let owner = api.get("/v1/organizations/nobody/apis/orders").send().await.problem(404, "not-found");
    assert_eq!(owner, missing, "of a resource, the organization is what is not there");
    let missing = api.get("/v1/organizations/default/apis/none").send().await.problem(404, "not-found");
    insta::assert_json_snapshot!(missing, @r#"
    {
      "type": "urn:hanse:problem:not-found",
      "title": "There is no such thing",
      "status": 404,
      "detail": "Api default/none does not exist",
      "remedy": "there is orders; GET /v1/organizations/default/apis lists what there is"
    }
    "#);
    for delete in ["", "?dryRun"] {
        let path = format!("/v1/organizations/default/apis/none{delete}");
        assert_eq!(api.delete(&path).send().await.problem(404, "not-found"), missing, "{path}");
    }
}

#[tokio::test]
async fn bodies_that_cannot_be_read_name_the_place() {
    let api = Api::furnished().await;
    let apply = async |content_type: &str, body: &str| {
        let answer = api.post("/v1/apply").body(content_type, body.to_owned()).send().await;
        assert!(answer.status.is_client_error(), "{body:?}: {}", answer.text);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        answer.json
    };
    let field = |problem: &Value| problem["field"].as_str().unwrap_or_default().to_owned();

    let broken = apply("application/json", "{\"resources\": [\n  {\"kind\": }\n]}").await;
    insta::assert_json_snapshot!(broken, @r#"
    {
      "type": "urn:hanse:problem:bad-request",
      "title": "The request cannot be read",
      "status": 400,
      "detail": "the body is not JSON: expected value",
      "field": "line 2, column 12",
      "remedy": "correct it there; YAML needs Content-Type: application/yaml"
    }
    "#);
    let broken = apply("application/yaml", "kind: Plan\nname: x\nspec: {rate: [}\n").await;
    assert!(field(&broken).contains("line 3"), "{broken}");
    let unknown = apply("application/yaml", "kind: Plan\nname: x\nspec: {rates: 1}\n").await;
    assert!(unknown["detail"].as_str().unwrap().contains("rates"), "{unknown}");
    let unknown =
        apply("application/json", r#"{"resources": [{"kind": "Plan", "name": "x", "spec": {"rates": 1}}]}"#)
            .await;
    assert!(unknown["detail"].as_str().unwrap().contains("rates"), "{unknown}");
    assert!(field(&unknown).starts_with("item 1: Plan x: spec"), "{unknown}");

    for (body, detail) in [
        ("", "the body is not JSON"),
        ("[]", "a list is not a resource"),
        ("{}", "the field `kind` is missing"),
        (r#"{"resources": {}}"#, "`resources` is not a list"),
        (r#"{"resources": []}"#, "the request has no resources"),
        (r#"{"resources": [], "extra": 1}"#, "no field `extra`"),
        (r#"{"resources": [{"kind": "Gadget", "name": "x", "spec": {}}]}"#, "Gadget"),
        (r#"{"resources": [{"name": "x", "spec": {}}]}"#, "kind"),
    ] {
        let problem = apply("application/json", body).await;
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{body}: {problem}");
    }
    let problem = apply("application/yaml", "").await;
    assert_eq!(problem["detail"], "the request has no resources");
    let problem = apply("multipart/form-data", "x").await;
    assert_eq!(field(&problem), "header: Content-Type");
    let answer = api.post("/v1/apply").body("application/json", vec![b'{', 0xff]).send().await;
    answer.problem(400, "bad-request");
}

#[tokio::test]
async fn bodies_beyond_the_limit_are_refused_with_its_size() {
    let api = Api::new();
    let big = vec![b' '; (16 << 20) + 1];
    let announced = api.post("/v1/apply").header("content-length", &big.len().to_string());
    let problem = announced.body("application/yaml", big.clone()).send().await.problem(413, "too-large");
    insta::assert_json_snapshot!(problem, @r#"
    {
      "type": "urn:hanse:problem:too-large",
      "title": "It is larger than the limit",
      "status": 413,
      "detail": "the request's body is larger than the limit of 16 MiB",
      "remedy": "split it into several requests"
    }
    "#);

    // Not announced: it is found out while reading.
    let chunks = big.chunks(1 << 16).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>();
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    let problem = api.post("/v1/apply").body("application/yaml", body).send().await.problem(413, "too-large");
    assert_eq!(problem["detail"], "the request's body is larger than the limit of 16 MiB");
}

#[tokio::test]
async fn a_client_busy_sending_too_much_still_reads_why() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    const LENGTH: usize = 50 << 20;
    let api = Api::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(axum::serve(listener, api.router.clone()).into_future());
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/apply HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: {LENGTH}\r\n\r\n",
        crate::node::TOKEN
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'#'; LENGTH]).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("larger than the limit of 16 MiB"), "{answer}");
    server.abort();
}

#[tokio::test]
async fn resources_that_fit_no_command_are_refused_before_they_are_replicated() {
    let api = Api::furnished().await;
    let proposed = api.node.proposed.lock().unwrap().len();
    let text = "x".repeat(200);
    let policies: Vec<Value> = (0..60)
        .map(|n| {
            let set: serde_json::Map<String, Value> =
                (0..800).map(|h| (format!("x-{h}"), text.clone().into())).collect();
            json!({"kind": "Policy", "name": format!("p{n}"), "spec": {"headers": {"request": {"set": set}}}})
        })
        .collect();
    let answer = api.post("/v1/apply").json(json!({"resources": policies})).send().await;
    let problem = answer.problem(413, "too-large");
    assert_eq!(problem["detail"], "together the resources are larger than the limit of 8 MiB");
    assert_eq!(api.node.proposed.lock().unwrap().len(), proposed);
}

#[tokio::test]
async fn what_the_state_refuses_reaches_the_caller_unchanged() {
    let api = Api::furnished().await;
    let clash = json!({"resources": [
        {"kind": "Api", "name": "rival", "spec": orders("/orders")},
        {"kind": "Binding", "name": "rival", "spec": {"api": "rival", "environment": "prod", "upstream": "backend"}},
    ]});
    let problem = api.post("/v1/apply").json(clash).send().await.problem(409, "conflict");
    assert!(!problem["remedy"].as_str().unwrap().is_empty(), "{problem}");
    let read_only = json!({"resources": [
        {"kind": "ApiRevision", "name": "orders-r9", "spec": {"api": "orders", "number": 9, "spec": orders("/x")}}]});
    api.post("/v1/apply").json(read_only).send().await.problem(403, "forbidden");
}
