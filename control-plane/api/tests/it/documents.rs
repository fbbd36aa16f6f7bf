use std::collections::BTreeSet;

use hanse_management::ProblemName;
use serde_json::Value;

use crate::request::Api;

async fn described(api: &Api) -> Value {
    api.get("/openapi.json").token("").send().await.expect(200).json
}

#[tokio::test]
async fn every_route_but_the_open_ones_refuses_without_a_token() {
    let api = Api::furnished().await;
    let document = described(&api).await;
    let mut open = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let concrete = path.replace("{organization}", "default").replace("{name}", "orders");
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_uppercase();
            let answer = api.call(&method, &concrete).token("").send().await;
            if operation.get("security").is_none() {
                assert!(answer.status.is_success(), "{method} {path}: {}", answer.text);
                open.insert(path.clone());
            } else {
                assert!(!answer.header("www-authenticate").is_empty(), "{method} {path}");
                answer.problem(401, "unauthenticated");
            }
        }
    }
    assert_eq!(open.into_iter().collect::<Vec<_>>(), ["/livez", "/openapi.json", "/readyz"]);
}

#[tokio::test]
async fn every_described_operation_is_there_with_its_token() {
    let api = Api::furnished().await;
    for (path, item) in described(&api).await["paths"].as_object().unwrap() {
        let concrete = path.replace("{organization}", "default").replace("{name}", "absent");
        for method in item.as_object().unwrap().keys() {
            let answer = api.call(&method.to_uppercase(), &concrete).open().await;
            assert!(
                ![401, 405, 500].contains(&answer.status().as_u16()),
                "{method} {path}: {}",
                answer.status()
            );
            let unrouted = answer.status() == 404 && answer.headers().get("hanse-revision").is_none() && {
                let bytes = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
                String::from_utf8_lossy(&bytes).contains("there is nothing at")
            };
            assert!(!unrouted, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn bounds_of_parameters_are_described_and_hold() {
    let api = Api::furnished().await;
    let document = described(&api).await;
    let mut bounded = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let concrete = path.replace("{organization}", "default").replace("{name}", "absent");
        for (method, operation) in item.as_object().unwrap() {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
                let call =
                    |value: &str| api.call(&method.to_uppercase(), &format!("{concrete}?{name}={value}"));
                if let Some(most) = schema["maximum"].as_u64() {
                    bounded += 1;
                    let least = schema["minimum"].as_u64().unwrap();
                    for beyond in [least - 1, most + 1] {
                        let problem = call(&beyond.to_string()).send().await.problem(400, "bad-request");
                        assert_eq!(problem["field"], format!("query: {name}"), "{path}");
                        assert!(
                            problem["detail"].as_str().unwrap().contains(&format!("from {least} to {most}"))
                        );
                    }
                    for within in [least, most] {
                        call(&within.to_string()).send().await.expect(200);
                    }
                }
                if name == "Idempotency-Key" {
                    bounded += 1;
                    assert_eq!(
                        (&schema["minLength"], &schema["maxLength"]),
                        (&1.into(), &128.into()),
                        "{path}"
                    );
                }
            }
        }
    }
    let put = async |length: usize| {
        let plan =
            api.put("/v1/organizations/default/plans/keyed").header("idempotency-key", &"k".repeat(length));
        plan.json(serde_json::json!({"spec": {}})).send().await
    };
    put(129).await.problem(400, "bad-request");
    put(128).await.expect(201);
    assert!(bounded > 20, "{bounded} parameters have bounds");
}

#[test]
fn every_problem_has_a_section_in_the_docs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/problems.md");
    let text = std::fs::read_to_string(path).unwrap();
    let sections: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let expected: Vec<&str> = ProblemName::ALL.iter().map(|name| name.as_str()).collect();
    assert_eq!(sections, expected, "docs/problems.md has a section per problem, in their order");
    for name in ProblemName::ALL {
        let section = text.split(&format!("\n## {}\n", name.as_str())).nth(1).unwrap();
        let section = section.split("\n## ").next().unwrap();
        for part in [format!("**Status** {}", name.status()), "**Meaning** ".to_owned(), "**Do** ".to_owned()]
        {
            assert!(section.contains(&part), "{}: no {part:?}", name.as_str());
        }
    }
}

#[tokio::test]
async fn requests_are_counted_by_route() {
    let api = Api::furnished().await;
    api.get("/v1/regions/eu").send().await.expect(200);
    api.get("/v1/regions/none").send().await.expect(404);
    api.get("/a/scanner's/path").send().await.expect(404);
    let metrics = api.get("/metrics").send().await.expect(200);
    assert!(metrics.header("content-type").starts_with("application/openmetrics-text"));
    for line in [
        r#"hanse_api_requests_total{route="/v1/regions/{name}",method="GET",status="200"} 1"#,
        r#"hanse_api_requests_total{route="/v1/regions/{name}",method="GET",status="404"} 1"#,
        r#"hanse_api_requests_total{route="unmatched",method="GET",status="404"} 1"#,
        r#"hanse_api_request_seconds_count{route="/v1/apply",method="POST"} 1"#,
    ] {
        assert!(metrics.text.contains(line), "{line} is not in\n{}", metrics.text);
    }
}
