use std::process::Command;

use clap::Parser as _;

use crate::{
    args::Cli,
    import::{Files, Imported, Wanted, document},
};

fn document_of(text: &str) -> Imported {
    document(text, Files::none(), &Wanted::default()).unwrap()
}

/// What is said of a document with that head.
fn advice(head: &str) -> Vec<String> {
    document_of(&format!("{head}\ninfo: {{version: 1}}\npaths: {{/a: {{get: }}}}")).advice
}

/// The lines about one server.
fn server(head: &str) -> String {
    let advice = advice(head);
    assert!(advice.len() <= 2, "{advice:?}");
    advice.get(1).map(|line| line.trim().replace("\n    ", "; ")).unwrap_or_default()
}

#[test]
fn servers_are_shown_ready_to_paste() {
    assert_eq!(advice("openapi: 3.0.0"), Vec::<String>::new());
    let document = r#"
openapi: 3.0.0
servers:
  - url: https://api.example.com/v1
  - {url: "https://{region}.example.com:{port}/{region}", variables: {region: {default: eu}, port: {default: 8443}}}
  - url: /v2
  - url: "https://x/$(id)it's"
  - url: /
  - url: "wss://x\e"
"#;
    insta::assert_snapshot!(advice(document).join("\n"), @r#"
    the document names servers; to send requests there:
      --upstream https://api.example.com/v1
      --upstream https://eu.example.com:8443/eu
        the document's defaults are filled in: region=eu, port=8443, region=eu
      --upstream https://HOST/v2
        the document names no host: write the service's in the place of HOST
      --upstream 'https://x/$(id)it'\''s'
      no option does that: "wss://x\u{1b}" has white space
    "#);
}

#[test]
fn a_server_is_a_whole_url_or_the_reason_why_it_is_none() {
    let no_host = "the document names no host: write the service's in the place of HOST";
    for (url, expected) in [
        ("//api.example.com/v1", "--upstream https://api.example.com/v1".to_owned()),
        ("./v1", format!("--upstream https://HOST/v1; {no_host}")),
        (".well-known", format!("--upstream https://HOST/.well-known; {no_host}")),
        ("wss://h", "no option does that: \"wss://h\" is neither http nor https".to_owned()),
        ("https://user:pw@h", "no option does that: the URL carries a user's name or password".to_owned()),
        ("https://h?k=v", "no option does that: \"https://h?…\" has a query or a fragment".to_owned()),
        ("https://h/a b", "no option does that: \"https://h/a b\" has white space".to_owned()),
        (
            "https://h/\u{202e}a",
            "no option does that: \"https://h/\\u{202e}a\" has characters that do not show".to_owned(),
        ),
        (
            "https://{region}.h",
            "no option does that: \"https://{region}.h\" has the variable \"region\", which has no default"
                .to_owned(),
        ),
        ("/", String::new()),
        ("", String::new()),
    ] {
        let head =
            format!("openapi: 3.0.0\nservers: [{{url: {url:?}, variables: {{region: {{enum: [eu]}}}}}}]");
        let head = head.replace("\\u{202e}", "\u{202e}");
        assert_eq!(server(&head), expected, "{url}");
    }
    for (members, expected) in [
        ("host: h:1\nbasePath: /v1/", "--upstream https://h:1/v1".to_owned()),
        ("host: h\nbasePath: v1", "--upstream https://h/v1".to_owned()),
        ("host: https://h\nschemes: [http]", "--upstream https://h".to_owned()),
        ("basePath: /v1.41", format!("--upstream https://HOST/v1.41; {no_host}")),
        ("basePath: /", String::new()),
        ("host: h\nschemes: [ws]", "no option does that: \"ws://h\" is neither http nor https".to_owned()),
    ] {
        assert_eq!(server(&format!("swagger: 2.0\n{members}")), expected, "{members}");
    }
    let schemes = advice("swagger: 2.0\nhost: h\nschemes: [http, https]");
    assert_eq!(schemes[1..], ["  --upstream http://h", "  --upstream https://h"]);
}

#[test]
fn variables_do_not_unfold_in_each_other() {
    let variables = |value: &dyn Fn(usize) -> String| {
        let each = |n: usize| format!("v{n}: {{default: '{}'}}", value(n));
        (0..40).map(each).collect::<Vec<_>>().join(", ")
    };
    let head = |url: &str, variables: &str| {
        format!("openapi: 3.0.0\nservers: [{{url: '{url}', variables: {{{variables}}}}}]")
    };
    // Each variable names the next one twice.
    let doubling = variables(&|n| format!("{{v{0}}}{{v{0}}}", n + 1));
    assert_eq!(
        server(&head("https://h/{v0}", &doubling)),
        "no option does that: \"https://h/{v0}\" has the variable \"v0\", whose default \"{v1}{v1}\" is no value"
    );
    // As generators write it that know no value.
    assert_eq!(
        server("openapi: 3.0.0\nservers: [{url: 'https://{host}', variables: {host: {default: '{host}'}}}]"),
        "no option does that: \"https://{host}\" has the variable \"host\", whose default \"{host}\" is no value"
    );
    let long = variables(&|_| "x".repeat(1000));
    let too_long = "no option does that: the URL has more than 2048 bytes";
    assert_eq!(server(&head("https://h/{v0}{v1}{v2}", &long)), too_long);
    assert_eq!(server(&head(&format!("https://h/{}", "x".repeat(2048)), "")), too_long);
}

#[test]
fn a_few_servers_are_shown_and_the_others_counted() {
    let servers: Vec<_> = (0..12).map(|n| format!("{{url: https://h{n}}}")).collect();
    let advice = advice(&format!("openapi: 3.0.0\nservers: [{}]", servers.join(", ")));
    assert_eq!((advice.len(), advice[11].as_str()), (12, "  … and 2 more"));
}

/// The words of an option as a shell gives them to the command.
fn words(option: &str) -> Vec<String> {
    let output = Command::new("sh").args(["-c", &format!("printf '%s\\n' {option}")]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn what_is_offered_is_accepted() {
    let document = r#"
openapi: 3.0.0
servers: [{url: https://api.example.com/v1}, {url: "https://x/$(id)it's=~"}, {url: /v2}]
security: [{a: []}, {b: []}, {c: []}]
components:
  securitySchemes:
    a: {type: apiKey, in: header, name: X-Key}
    b: {type: apiKey, in: header, name: -Key}
    c: {type: apiKey, in: query, name: key}
"#;
    let advice = advice(document).join("\n");
    let options: Vec<_> = advice.lines().filter(|line| line.trim().starts_with("--")).collect();
    assert_eq!(options.len(), 6, "{advice}");
    for option in options {
        let fixed = [
            "hanse",
            "import",
            "openapi",
            "f",
            "--as=a",
            "--context=/a",
            "--publish-to=p",
            "--upstream=http://h",
        ];
        let command = fixed.into_iter().map(str::to_owned).chain(words(option));
        assert!(Cli::try_parse_from(command).is_ok(), "{option}");
    }
}

#[test]
fn the_schemes_in_use_are_shown_ready_to_paste() {
    let document = r##"
openapi: 3.0.0
security: [{key: []}, {query: [], bearer: []}]
components: {$ref: "#/x-components"}
x-components: {securitySchemes: {$ref: "#/x-schemes"}}
x-schemes:
  key: {type: apiKey, in: header, name: X-Key}
  query: {$ref: "#/x-schemes/other"}
  other: {type: apiKey, in: query, name: api-key}
  blank: {type: apiKey, in: query, name: api key}
  ours: {type: apiKey, in: header, name: Connection}
  cookie: {type: apiKey, in: cookie, name: c}
  bearer: {type: http, scheme: bearer}
  login: {type: oauth2}
  unused: {type: openIdConnect}
  gone: {$ref: "#/nowhere"}
paths:
  /b: {get: {security: [{blank: []}, {ours: [], cookie: []}]}, put: {security: {login: [], missing: [], gone: []}}}
"##;
    let imported = document_of(&format!("{document}\ninfo: {{version: 1}}"));
    insta::assert_snapshot!(imported.advice.join("\n"), @r##"
    the document says how callers are known:
      no option does that: bearer: http bearer
      no option does that: blank: "api key" is not a query parameter's name
      no option does that: cookie: apiKey cookie
      no option does that: gone: $ref "#/nowhere" leads nowhere
      --api-key-header X-Key
      no option does that: login: oauth2
      no option does that: missing: the document does not define it
      no option does that: ours: "Connection" says how a message travels, which is the gateway's own business
      --api-key-query api-key
    "##);
    let swagger = "swagger: 2.0\nsecurity: [{k: []}]\nsecurityDefinitions: {k: {type: basic}}";
    assert_eq!(advice(swagger)[1..], ["  no option does that: k: basic"]);
}

#[test]
fn operations_that_need_no_key_are_named() {
    let check = |root: &str, paths: &str, expected: &[&str]| {
        let text = format!(
            "openapi: 3.0.0\ninfo: {{version: 1}}\n{root}\npaths: {{{paths}}}\ncomponents: {{securitySchemes: {{k: {{type: apiKey, in: header, name: K}}}}}}"
        );
        let advice = document_of(&text).advice;
        let said: Vec<_> = advice.iter().filter(|line| line.starts_with("the document lets")).collect();
        assert_eq!(said, expected, "{paths}");
    };
    let open = "the document lets these be called without a key: ";
    let locked = "/a: {get: {security: [{k: []}]}, put: {}}";
    check("", "/a: {get: {}}", &[]);
    check("security: [{k: []}]", locked, &[]);
    check("", locked, &[&format!("{open}PUT /a")]);
    let optional =
        "/a: {get: {security: []}, put: {security: [{k: []}, {}]}, post: {security: {}}, head: {}}";
    check("security: [{k: []}]", optional, &[&format!("{open}GET /a, PUT /a, POST /a")]);
    check("security: [{}, {k: []}]", locked, &[&format!("{open}PUT /a")]);
    let many: Vec<_> = (0..12).map(|n| format!("/{n}: {{get: {{security: []}}}}")).collect();
    let ten: Vec<_> = (0..10).map(|n| format!("GET /{n}")).collect();
    check("", &many.join(", "), &[&format!("{open}{} and 2 more", ten.join(", "))]);
}

#[test]
fn servers_of_operations_are_named() {
    let text = "
openapi: 3.0.0
info: {version: 1}
servers: [{url: https://h}]
paths:
  /same: {servers: [{url: https://h}], get: {}}
  /files#up: {post: {servers: [{url: https://files.h}, {url: 'wss://h'}]}, get: {servers: []}}
  /all: {servers: [{url: https://all.h}], get: {}, put: {servers: [{url: https://h}]}}
";
    assert_eq!(
        document_of(text).advice[2..],
        [
            "POST /files#up names a server of its own: https://files.h, \"wss://h\" is neither http nor https",
            "GET /all names a server of its own: https://all.h",
        ]
    );
}

#[test]
fn parameters_of_several_segments_are_shown_ready_to_paste() {
    // GitHub's documents.
    let text = "
openapi: 3.0.0
info: {version: 1}
paths:
  /contents/{path}: {get: {parameters: [{$ref: '#/components/parameters/repo'}, {$ref: '#/components/parameters/path'}]}}
  /ref/{ref}: {parameters: [{name: ref, in: path, x-multi-segment: true}], get: {}, put: {parameters: []}}
  /blobs/{ref}: {get: {parameters: [{name: ref, in: path, schema: {}}]}}
  /compare/{a}...{b}: {get: {parameters: [{name: b, in: path, x-multi-segment: true}]}}
  /tags/{tag}: {get: {parameters: [{name: tag, in: query, x-multi-segment: true}, {name: tag, in: path, x-multi-segment: 'true'}]}}
  /far/{far}: {get: {parameters: [{$ref: 'far.yaml#/far'}, {$ref: '#/nowhere'}]}}
components: {parameters: {path: {name: path, in: path, x-multi-segment: true}, repo: {name: repo, in: path}}}
";
    insta::assert_snapshot!(document_of(text).advice.join("\n"), @r"
    these path parameters may take several segments; to let them:
      --greedy '/ref/{ref},path'
        {path} of /contents/{path}
        {ref} of /ref/{ref}
    ");
    let wanted = Wanted { greedy: vec!["path".into(), "/ref/{ref}".into()], ..Wanted::default() };
    assert_eq!(document(text, Files::none(), &wanted).unwrap().advice, Vec::<String>::new());

    // Google's.
    let check = |paths: &[&str], expected: &[&str]| {
        let paths: Vec<_> = paths.iter().map(|path| format!("'{path}': {{get: {{}}}}")).collect();
        let text = format!("openapi: 3.0.0\ninfo: {{version: 1}}\npaths: {{{}}}", paths.join(", "));
        assert_eq!(document_of(&text).advice.get(1..).unwrap_or_default(), expected);
    };
    check(
        &["/v1/{name}", "/v1/{name}:run", "/v1/{parent}/shelves", "/shop/{id}:run"],
        &[
            "  --greedy name,parent",
            "    {name} of /v1/{name}",
            "    {name} of /v1/{name}:run",
            "    {parent} of /v1/{parent}/shelves",
        ],
    );
    // What the import would refuse is not offered.
    check(
        &["/v1/{name}:run", "/v1/{parent}/shelves", "/v1/{a}/{b}"],
        &["    {name} of /v1/{name}:run", "    {parent} of /v1/{parent}/shelves"],
    );
    check(&["/v1/{name}", "/v1/shelves/{id}:run", "/va/{name}:run"], &[]);
}
