//! Plans over what is there: rows of import, promotion and rollback.

mod bindings;
mod moves;

use hanse_management::kinds::{Lifecycle, OperationSpec};
use serde_json::{Value, json};

use super::*;
use crate::client::tests::resource;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn names(text: &str) -> Vec<Name> {
    text.split_whitespace().map(name).collect()
}

fn operations(paths: &[&str]) -> Vec<OperationSpec> {
    paths.iter().map(|path| serde_json::from_value(json!({"method": "GET", "path": path})).unwrap()).collect()
}

fn api(paths: &[&str]) -> Value {
    json!({"context": "/orders", "version": "1", "operations": operations(paths)})
}

fn upstream(urls: &[&str]) -> Value {
    let endpoint = |url: &&str| {
        let given: UpstreamArg = url.parse().unwrap();
        match given.region {
            Some(region) => json!({"url": given.url, "region": region}),
            None => json!({"url": given.url}),
        }
    };
    json!({"endpoints": urls.iter().map(endpoint).collect::<Vec<_>>()})
}

/// Two regions, two Environments, and no Api.
fn empty() -> Observed {
    let regions = names("eu-west us-east");
    Observed {
        environments: [(name("production"), regions.clone()), (name("sandbox"), regions)].into(),
        ..Observed::default()
    }
}

impl Observed {
    /// With the Api at revision 7 of the state.
    fn with_api(mut self, spec: Value) -> Self {
        self.api = Some(Found::read(&resource(json!({"kind": "Api", "revision": 7, "spec": spec}))).unwrap());
        self
    }

    fn with_upstream(mut self, own: &str, spec: Value) -> Self {
        let found = resource(json!({"kind": "Upstream", "name": own, "revision": 5, "spec": spec}));
        self.upstreams.insert(name(own), Found::read(&found).unwrap());
        self
    }

    /// With a Binding at revision 9 that served these, the last one now.
    fn with_binding(mut self, own: &str, spec: Value, served: &[u64]) -> Self {
        let mut spec = spec;
        spec["api"] = json!(spec.get("api").cloned().unwrap_or_else(|| json!("orders")));
        let found = resource(json!({
            "kind": "Binding", "name": own, "revision": 9, "labels": {"team": "a"}, "spec": spec,
            "status": {"serving": served.last(), "served": served},
        }));
        let all = self.environments.clone();
        let regions = |spec: &hanse_management::kinds::BindingSpec| {
            let none = Default::default();
            let regions = all[&spec.environment].iter();
            regions.filter(|region| spec.regions.picks(region, &none)).cloned().collect()
        };
        self.bindings.push(Bound::read(&found, regions).unwrap());
        self
    }

    /// With an ApiRevision that embeds an Upstream.
    fn with_revision(mut self, number: u64, paths: &[&str], urls: &[&str]) -> Self {
        let mut spec = api(paths);
        spec["upstream"] = json!("backend");
        let spec = json!({"api": "orders", "number": number, "spec": spec, "upstreams": {"backend": upstream(urls)}});
        let found =
            resource(json!({"kind": "ApiRevision", "name": format!("orders-r{number}"), "spec": spec}));
        self.revisions.insert(number, Found::read(&found).unwrap());
        self
    }
}

fn import(upstreams: &[&str], environments: &str) -> Import {
    Import {
        organization: name("default"),
        api: name("orders"),
        context: "/orders".into(),
        offered: Offered { version: Some("2".into()), operations: operations(&["/a", "/b"]), replaces: true },
        security: None,
        upstreams: upstreams.iter().map(|text| text.parse().unwrap()).collect(),
        environments: names(environments),
        regions: Vec::new(),
        also: Vec::new(),
        pin: Vec::new(),
        over_rollback: false,
    }
}

fn put<'a>(plan: &'a Plan, kind: &str, own: &str) -> &'a Value {
    let found = plan.request.resources.iter().find(|found| found["kind"] == kind && found["name"] == own);
    found.unwrap_or_else(|| panic!("no {kind} {own} in {:#?}", plan.request.resources))
}

/// What is written: `Kind name@revision`.
fn written(plan: &Plan) -> Vec<String> {
    let line = |found: &Value| {
        format!(
            "{} {}@{}",
            found["kind"].as_str().unwrap(),
            found["name"].as_str().unwrap(),
            found["revision"]
        )
    };
    plan.request.resources.iter().map(line).collect()
}

fn expected(plan: &Plan) -> Vec<String> {
    let line = |one: &hanse_api::answer::Expected| {
        let number = one.api_revision.map(|number| format!(" at r{number}")).unwrap_or_default();
        format!("{} {}@{}{number}", one.kind, one.name, one.revision)
    };
    plan.request.expects.iter().map(line).collect()
}

#[track_caller]
fn refused(outcome: Result<Plan, Failure>, exit: Exit, words: &[&str]) {
    let failure = outcome.unwrap_err();
    assert_eq!(failure.exit, exit, "{failure}");
    for word in words {
        assert!(failure.to_string().contains(word), "{failure}\nlacks {word}");
    }
}

#[test]
fn a_first_import_makes_api_upstream_and_binding() {
    let plan = import(&["http://a:1", "eu-west=http://b:2/x?y=z"], "production").plan(&empty()).unwrap();
    insta::assert_json_snapshot!(plan.request, @r#"
    {
      "resources": [
        {
          "kind": "Api",
          "organization": "default",
          "name": "orders",
          "labels": {},
          "spec": {
            "context": "/orders",
            "version": "2",
            "operations": [
              {
                "method": "GET",
                "path": "/a"
              },
              {
                "method": "GET",
                "path": "/b"
              }
            ],
            "security": {
              "apiKey": {}
            },
            "lifecycle": "published"
          },
          "revision": 0
        },
        {
          "kind": "Upstream",
          "organization": "default",
          "name": "orders-production",
          "labels": {
            "hanse-made-for": "orders"
          },
          "spec": {
            "endpoints": [
              {
                "url": "http://a:1",
                "weight": 1
              },
              {
                "url": "http://b:2/x?y=z",
                "region": "eu-west",
                "weight": 1
              }
            ],
            "timeout": "30s",
            "connectTimeout": "5s"
          },
          "revision": 0
        },
        {
          "kind": "Binding",
          "organization": "default",
          "name": "orders-production",
          "labels": {},
          "spec": {
            "api": "orders",
            "revision": "new",
            "environment": "production",
            "regions": {},
            "upstream": "orders-production",
            "reach": "local"
          },
          "revision": 0
        }
      ]
    }
    "#);
    refused(
        import(&[], "production").plan(&empty()),
        Exit::Usage,
        &["production does not serve orders yet", "--upstream"],
    );
}

#[test]
fn a_service_without_a_description_is_published_whole() {
    let publish = |version: Option<&str>| {
        let offered = Offered::everything(version.map(str::to_owned));
        Import { offered, ..import(&["http://a"], "production") }
    };
    let plan = publish(None).plan(&empty()).unwrap();
    let spec = &put(&plan, "Api", "orders")["spec"];
    assert_eq!(spec["operations"], json!([{"method": "*", "path": "/*"}]));
    assert_eq!((&spec["version"], &spec["security"]), (&json!("1"), &json!({"apiKey": {}})));
    put(&plan, "Upstream", "orders-production");
    assert_eq!(put(&plan, "Binding", "orders-production")["spec"]["revision"], "new");

    // Again: the version stays, unless one is given, and so does what an operator added.
    let mut there = api(&[]);
    there["version"] = json!("7");
    there["operations"] = json!([{"method": "*", "path": "/*", "timeout": "5s"}]);
    let version = |given| {
        let plan = publish(given).plan(&empty().with_api(there.clone())).unwrap();
        let spec = put(&plan, "Api", "orders")["spec"].clone();
        assert_eq!(spec["operations"], there["operations"]);
        spec["version"].clone()
    };
    assert_eq!((version(None), version(Some("8"))), (json!("7"), json!("8")));

    let described = empty().with_api(api(&["/a", "/b"]));
    refused(publish(None).plan(&described), Exit::Conflict, &["2, such as GET /a", "under another name"]);
}

#[test]
fn a_delete_says_what_callers_lose() {
    let (local, everywhere) = (json!({"names": ["eu-west"]}), json!({}));
    let bound = |regions: &Value| json!({"environment": "production", "revision": 2, "regions": regions});
    let observed = empty()
        .with_revision(2, &["/a", "/b"], &["http://x"])
        .with_binding("orders-production", bound(&local), &[1, 2])
        .with_binding("orders-all", bound(&everywhere), &[2])
        .with_binding("orders-nowhere", bound(&json!({"names": ["moon"]})), &[2])
        .with_binding("orders-new", bound(&everywhere), &[]);
    let revision = &observed.revisions[&2].spec;
    let losses = Losses {
        bindings: observed
            .bindings
            .iter()
            .filter_map(|one| Loss::of(one, revision, Lifecycle::Published))
            .collect(),
    };
    insta::assert_snapshot!(losses.text(), @r"
    production (orders-production) in eu-west: orders r2 is served no more
      - GET /a
      - GET /b
    production (orders-all) in eu-west, us-east: orders r2 is served no more
      - GET /a
      - GET /b
    ");
    assert_eq!(
        serde_json::to_value(&losses).unwrap()["bindings"][0],
        json!({
            "binding": "orders-production", "api": "orders", "environment": "production", "from": 2,
            "operations": {"added": [], "changed": [], "removed": ["GET /a", "GET /b"]}, "regions": ["eu-west"],
        })
    );
    assert_eq!(Losses::default().text(), "");
    assert_eq!(Loss::of(&observed.bindings[0], revision, Lifecycle::Retired), None, "it was served nowhere");
}

/// v1 in production from its own backend; nothing in sandbox.
fn in_production() -> Observed {
    let bound = json!({"environment": "production", "revision": 1, "upstream": "orders-production"});
    empty()
        .with_api(api(&["/a"]))
        .with_revision(1, &["/a"], &["http://x"])
        .with_upstream("orders-production", upstream(&["http://one"]))
        .with_binding("orders-production", bound, &[1])
}

#[test]
fn each_environment_is_compared_with_what_it_serves() {
    // v1 is in production, v2 in the sandbox. Then v2 goes to both.
    let observed = in_production()
        .with_api(api(&["/a", "/b"]))
        .with_revision(2, &["/a", "/b"], &["http://x"])
        .with_upstream("orders-sandbox", upstream(&["http://two"]))
        .with_binding(
            "orders-sandbox",
            json!({"environment": "sandbox", "revision": 2, "upstream": "orders-sandbox"}),
            &[1, 2],
        );
    let plan = import(&[], "production sandbox").plan(&observed).unwrap();
    let added: Vec<_> = plan.preview.bindings.iter().map(|step| step.operations.added.clone()).collect();
    assert_eq!(added, [vec!["GET /b".to_owned()], vec![]]);
    let text = plan.preview.text();
    assert!(text.contains("r1 -> the new revision\n  + GET /b\n"), "{text}");
    assert!(text.contains("r2 -> the new revision\n  operations: the same\n"), "{text}");
}

#[test]
fn an_import_into_one_environment_leaves_the_others() {
    let plan = import(&["http://two"], "sandbox").plan(&in_production()).unwrap();
    assert_eq!(written(&plan), ["Api orders@7", "Upstream orders-sandbox@0", "Binding orders-sandbox@0"]);
    assert_eq!(expected(&plan), ["Binding orders-production@9"], "it must still be what was read");
    assert_eq!(put(&plan, "Upstream", "orders-sandbox")["spec"]["endpoints"][0]["url"], "http://two");
    assert_eq!(
        plan.preview.bindings[0].operations.added,
        ["GET /a", "GET /b"],
        "the sandbox serves nothing yet"
    );
    // The old form's Upstream of the Api stays as well.
    let mut old = in_production();
    old.api.as_mut().unwrap().spec.upstream = Some(name("backend"));
    let plan = import(&["http://two"], "sandbox").plan(&old).unwrap();
    assert_eq!(put(&plan, "Api", "orders")["spec"]["upstream"], "backend");
}

#[test]
fn an_operation_that_is_widened_keeps_what_was_added_to_it() {
    let mut kept = api(&["/a/{id}", "/b/{id}", "/b/{name+}", "/c/{id+}"]);
    for (at, timeout) in ["1s", "2s", "3s", "4s"].into_iter().enumerate() {
        kept["operations"][at]["timeout"] = json!(timeout);
    }
    let mut wanted = import(&["http://two"], "production");
    wanted.offered.operations = operations(&["/a/{id+}", "/b/{name+}", "/c/{id}"]);
    let plan = wanted.plan(&empty().with_api(kept)).unwrap();
    let api = &put(&plan, "Api", "orders")["spec"];
    let timeouts: Vec<_> = api["operations"].as_array().unwrap().iter().map(|one| &one["timeout"]).collect();
    assert_eq!(timeouts, ["1s", "3s", "4s"]);
}

#[test]
fn an_import_keeps_what_no_flag_says() {
    let spec = json!({
        "environment": "production", "revision": 1, "upstream": "backend", "regions": {"names": ["eu-west"]},
    });
    let mut present = upstream(&["http://one", "us-east=http://us"]);
    present["timeout"] = json!("7s");
    let mut kept = api(&["/b/{id}", "/gone"]);
    kept["policies"] = json!(["cors"]);
    kept["lifecycle"] = json!("deprecated");
    kept["operations"][0]["timeout"] = json!("5s");
    kept["operations"][0]["open"] = json!(true);
    let observed =
        empty().with_api(kept).with_upstream("backend", present).with_binding("odd-name", spec, &[1]);
    let mut observed = observed.with_revision(1, &[], &[]);
    observed.revisions.get_mut(&1).unwrap().spec.spec = observed.api.as_ref().unwrap().spec.clone();
    let mut wanted = import(&["http://two"], "production");
    wanted.offered.operations = operations(&["/a", "/b/{bId}"]);

    let plan = wanted.plan(&observed).unwrap();
    assert_eq!(written(&plan), ["Api orders@7", "Upstream orders-production@0", "Binding odd-name@9"]);
    assert_eq!(expected(&plan), ["Upstream backend@5"], "it is copied as it was read");
    let binding = put(&plan, "Binding", "odd-name");
    assert_eq!(binding["labels"], json!({"team": "a"}));
    assert_eq!(
        binding["spec"],
        json!({"api": "orders", "revision": "new", "environment": "production", "regions": {"names": ["eu-west"]},
            "upstream": "orders-production", "reach": "local"})
    );
    let upstream = &put(&plan, "Upstream", "orders-production")["spec"];
    assert_eq!(upstream["timeout"], "7s");
    let urls = |upstream: &Value| {
        let urls = upstream["endpoints"].as_array().unwrap().iter();
        urls.map(|one| one["url"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(urls(upstream), ["http://us", "http://two"], "the URL without a region is replaced");
    let api = &put(&plan, "Api", "orders")["spec"];
    assert_eq!((&api["policies"], &api["lifecycle"]), (&json!(["cors"]), &json!("deprecated")));
    assert_eq!(api.get("security"), None, "an open Api stays open unless asked otherwise");
    assert_eq!(
        api["operations"][1],
        json!({"method": "GET", "path": "/b/{bId}", "timeout": "5s", "open": true}),
        "it matches the same requests"
    );
    let Operations { added, changed, removed } = &plan.preview.bindings[0].operations;
    assert_eq!((added.len(), changed.len(), removed), (1, 1, &vec!["GET /gone".to_owned()]));

    // Without --upstream the Binding keeps its own.
    let mut kept = wanted.clone();
    kept.upstreams.clear();
    let plan = kept.plan(&observed).unwrap();
    assert_eq!(written(&plan), ["Api orders@7", "Binding odd-name@9"]);
    assert_eq!(put(&plan, "Binding", "odd-name")["spec"]["upstream"], "backend");

    // Regions that are named replace those of the Binding, and the preview says so.
    wanted.regions = names("us-east");
    wanted.upstreams = vec!["us-east=http://two".parse().unwrap()];
    let plan = wanted.plan(&observed).unwrap();
    assert_eq!(put(&plan, "Binding", "odd-name")["spec"]["regions"], json!({"names": ["us-east"]}));
    assert!(plan.preview.text().contains("is served in us-east from now on, not in eu-west"));
}

#[test]
fn a_preview_tells_what_else_differs_and_what_is_pinned() {
    let mut observed = empty()
        .with_api(api(&["/a"]))
        .with_revision(1, &["/a"], &["http://x"])
        .with_revision(2, &["/a"], &["http://x"])
        .with_upstream("backend", upstream(&["http://one"]))
        .with_binding("orders-production", json!({"environment": "production", "upstream": "backend"}), &[1])
        .with_binding(
            "orders-sandbox",
            json!({"environment": "sandbox", "revision": 2, "upstream": "backend"}),
            &[2],
        );
    let served = &mut observed.revisions.get_mut(&2).unwrap().spec.spec;
    served.policies = vec![name("stamp")];
    served.context = "/shop".into();
    let wanted = [
        "production (orders-production): context /orders -> /shop",
        "production (orders-production): policies none -> [\"stamp\"]",
        "orders-production follows latest now, and is pinned to r2",
    ];
    assert_eq!(promotion().plan(&observed).unwrap().preview.notes, wanted);

    let mut offered = import(&[], "production");
    offered.security = Some(hanse_management::kinds::ApiKeySpec::default().into());
    let notes = offered.plan(&observed).unwrap().preview.notes;
    assert!(
        notes[0].starts_with("production (orders-production): security none -> {\"apiKey\""),
        "{notes:?}"
    );
    assert_eq!(
        notes[1],
        "production (orders-production) follows latest now, and is pinned to the revision of this import"
    );
    assert_eq!(notes.len(), 2);
}

fn promotion() -> Promotion {
    Promotion {
        organization: name("default"),
        api: name("orders"),
        from: name("sandbox"),
        to: name("production"),
        regions: Vec::new(),
        with_upstream: false,
        over_rollback: false,
    }
}

#[test]
fn upstreams_are_urls_with_or_without_a_region() {
    let parsed = |text: &str| text.parse::<UpstreamArg>();
    assert_eq!(
        parsed("http://h:1/?a=b").unwrap(),
        UpstreamArg { region: None, url: "http://h:1/?a=b".into() }
    );
    assert_eq!(parsed("us-east=http://h").unwrap().region.unwrap().as_str(), "us-east");
    assert!(parsed("US=http://h").is_err());
}

#[test]
fn people_are_shown_a_screen_of_operations() {
    let paths: Vec<String> = (0..25).map(|number| format!("/{number}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let mut wanted = import(&["http://one"], "production");
    wanted.offered.operations = operations(&paths);
    let preview = wanted.plan(&empty()).unwrap().preview;
    assert_eq!(preview.bindings[0].operations.added.len(), 25, "data has them all");
    let text = preview.text();
    assert_eq!(text.lines().filter(|line| line.starts_with("  + ")).count(), 21);
    assert!(text.contains("+ and 5 more"), "{text}");
}
