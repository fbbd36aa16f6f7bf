//! Admission and compilation hold each other: what is accepted can be used by every gateway that gets it.

use hanse_management::{ResourceKey, Spec};
use hanse_runtime::{Resource as Checked, ResourceKind};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use serde_json::{Value, json};

use crate::{
    Action, Change, Version,
    fixture::{Masks, World, key, proptest_config},
    projection::{by_itself, from_scratch},
};

/// Text that some field may not have, and that some parser may take all the same.
const HOSTILE: [&str; 53] = [
    "",
    " ",
    "*",
    "*.",
    "*.a",
    "a.*",
    "a b",
    "a\r\nb: c",
    "\u{0}",
    "ä",
    "A",
    ".",
    "..",
    "a.",
    "-a",
    "1.2.3",
    "[::1]",
    "Host",
    "expect",
    "Transfer-Encoding",
    "TE",
    "proxy-connection",
    "Authorization",
    "X_A",
    "/",
    "//",
    "/a/",
    "/{a}",
    "/{a}{b}",
    "/{",
    "/%zz",
    "/a%00",
    "/größe",
    "/a%20b/{id}",
    "//x",
    "/\"<|>",
    "/users/:id",
    "/a;v=1",
    "/;a",
    "/%c0%af",
    "/caf%E9",
    "/a?b",
    "/a^b",
    "http://ä",
    "http://a:70000",
    "http://a:",
    "https://1.2.3",
    "https://a_b",
    "http://[::1",
    "http://a@b",
    "https://a/b c",
    "null",
    "https://app.example",
];

fn text(good: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(good).prop_map(str::to_owned),
        3 => prop::sample::select(&HOSTILE[..]).prop_map(str::to_owned),
        1 => ".{0,8}",
        1 => "[ -~]{1,12}",
    ]
}

fn long_text(good: &'static [&'static str]) -> impl Strategy<Value = String> {
    // Longer than any name or URI may be.
    prop_oneof![30 => text(good), 1 => Just("a".repeat(70_000))]
}

fn texts(good: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(text(good), 0..3)
}

/// Members of an object, those that are there.
fn object<const N: usize>(fields: [(&'static str, BoxedStrategy<Value>); N]) -> BoxedStrategy<Value> {
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, value)| prop::option::weighted(0.6, value).prop_map(move |value| (name, value)))
        .collect();
    fields
        .prop_map(|fields| {
            fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
        })
        .boxed()
}

fn value<T: Into<Value> + std::fmt::Debug + 'static>(
    strategy: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Value> {
    strategy.prop_map(Into::into).boxed()
}

/// With these fields, which are required, too.
fn with(strategy: BoxedStrategy<Value>, required: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    (strategy, required)
        .prop_map(|(mut all, required)| {
            all.as_object_mut().unwrap().extend(required.as_object().unwrap().clone());
            all
        })
        .boxed()
}

fn rules() -> BoxedStrategy<Value> {
    let headers = || {
        let pairs = prop::collection::btree_map(long_text(&["X-A", "Via"]), text(&["1", "b c"]), 0..3);
        value(pairs.prop_map(|pairs| json!(pairs)))
    };
    object([("set", headers()), ("add", headers()), ("remove", value(texts(&["Server", "Cookie"])))])
}

fn policy() -> BoxedStrategy<Value> {
    let cors = object([
        (
            "origins",
            value(prop::collection::vec(
                text(&["https://a.example", "*", "https://*.a.example", "capacitor://localhost", "null"]),
                1..3,
            )),
        ),
        ("methods", value(texts(&["GET", "PUT"]))),
        ("headers", value(texts(&["*", "X-A"]))),
        ("exposeHeaders", value(texts(&["X-B"]))),
        ("credentials", value(any::<bool>())),
        ("maxAgeSeconds", value(prop::sample::select(vec![0_u64, 60, 86_400, 86_401, u64::MAX]))),
    ]);
    let rewrite = object([("location", value(any::<bool>())), ("cookies", value(any::<bool>()))]);
    let headers = object([("request", rules()), ("response", rules())]);
    object([("headers", headers), ("cors", cors), ("rewrite", rewrite)])
}

fn times() -> BoxedStrategy<Value> {
    value(text(&["1s", "10s", "1ms", "0ms", "5m", "6m", "2h", "31s"]))
}

fn upstream() -> BoxedStrategy<Value> {
    let endpoint = with(
        object([("weight", value(prop::sample::select(vec![0_u64, 1, 7, 1_000_001])))]),
        long_text(&["http://a", "https://b.example:8443/base/", "http://10.0.0.7:80", "https://[::1]"])
            .prop_map(|url| json!({"url": url}))
            .boxed(),
    );
    let counts = || value(prop::sample::select(vec![0_u64, 1, 3, 5, 6, 100, 65_536]));
    let check = with(
        object([
            ("interval", times()),
            ("timeout", times()),
            ("unhealthyAfter", counts()),
            ("healthyAfter", counts()),
            ("expectStatus", value(prop::sample::select(vec![0_u64, 99, 200, 599, 600]))),
        ]),
        text(&["/", "/healthz?a=b"]).prop_map(|path| json!({"path": path})).boxed(),
    );
    let pem = value(text(&["-----BEGIN CERTIFICATE-----AA-----END CERTIFICATE-----"]));
    let tls = object([("caBundle", pem), ("serverName", value(text(&["a.example", "10.0.0.1"])))]);
    let host = object([
        ("preserve", value(any::<bool>())),
        ("name", value(long_text(&["a.example", "10.0.0.1:80"]))),
    ]);
    let ejection =
        object([("consecutiveFailures", counts()), ("baseTime", times()), ("maxEjected", counts())]);
    let names = || long_text(&["east", "pods"]);
    let from = (names(), names()).prop_map(|(origin, name)| json!({"origin": origin, "name": name})).boxed();
    let on = value(texts(&["connect-failure", "502", "504"]));
    let retry = object([("attempts", counts()), ("perTryTimeout", times()), ("on", on)]);
    with(
        object([
            ("timeout", times()),
            ("connectTimeout", times()),
            ("healthCheck", check),
            ("ejection", ejection),
            ("retry", retry),
            ("host", host),
            ("tls", prop_oneof![3 => Just(json!({})), 1 => tls].boxed()),
            ("endpointsFrom", from),
        ]),
        prop::collection::vec(endpoint, 0..3).prop_map(|endpoints| json!({"endpoints": endpoints})).boxed(),
    )
}

/// Paths of what templates are made of, in any order.
fn path() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "/", "/", "/", "a", "ö", "{id}", "{b}", "{c+}", "*", ":", ":id", ";", ".", "..", "%", "%20", "%2e",
        "%2F", "%00", "%E9", "%c0%af", "%3B", "(", ")", "\"", "<", "|", " ", "\\", "{", "}", "?", "#", "=",
    ]);
    prop::collection::vec(part, 0..7).prop_map(|parts| format!("/{}", parts.concat()))
}

fn api() -> BoxedStrategy<Value> {
    let operation = with(
        object([
            ("id", value(text(&["list"]))),
            ("timeout", times()),
            ("open", value(any::<bool>())),
            ("scopes", value(texts(&["orders:read"]))),
            ("policies", Just(json!(["stamp"])).boxed()),
        ]),
        (
            prop::sample::select(vec!["GET", "POST", "TRACE", "QUERY", "*"]),
            prop_oneof![4 => text(&["/", "/a", "/{id}", "/{name}", "/b/", "/a-{b}"]).boxed(), 3 => path().boxed()],
        )
            .prop_map(|(method, path)| json!({"method": method, "path": path}))
            .boxed(),
    );
    let place = |good| value(long_text(good));
    let key = object([("header", place(&["X-Key", "Authorization"])), ("query", place(&["key"]))]);
    with(
        object([
            ("hosts", value(texts(&["a.example", "*.example"]))),
            ("security", object([("apiKey", key)])),
            ("maxBodyBytes", value(prop::sample::select(vec![0_u64, 1, u64::MAX]))),
            ("lifecycle", value(text(&["published", "blocked", "deprecated"]))),
            ("policies", Just(json!(["stamp"])).boxed()),
        ]),
        (text(&["/", "/orders", "/orders/v1"]), text(&["1"]), prop::collection::vec(operation, 0..3))
            .prop_map(|(context, version, operations)| {
                json!({"context": context, "version": version, "operations": operations, "upstream": "backend"})
            })
            .boxed(),
    )
}

fn environment() -> BoxedStrategy<Value> {
    with(
        object([
            ("hostnames", value(texts(&["a.example", "*.example"]))),
            ("exposure", value(text(&["internal", "external"]))),
            ("tunnel", value(any::<bool>())),
            ("egress", object([("allow", value(networks())), ("deny", value(networks()))])),
            (
                "staleCredentials",
                prop_oneof![Just(json!("serve")), Just(json!({"denyAfter": "24h"}))].boxed(),
            ),
        ]),
        Just(json!({"regions": ["eu-west", "us-east"]})).boxed(),
    )
}

fn networks() -> impl Strategy<Value = Vec<String>> {
    texts(&[
        "10.0.0.0/8",
        "10.0.0.7/8",
        "10.0.0.7",
        "169.254.0.0/16",
        "::ffff:10.0.0.0/104",
        "fd00::/8",
        "::/0",
    ])
}

fn host_grant() -> BoxedStrategy<Value> {
    let prefix = prop_oneof![3 => text(&["/", "/orders", "/a/b"]).boxed(), 1 => path().boxed()];
    with(
        object([("pathPrefix", value(prefix))]),
        text(&["a.example", "*.example"])
            .prop_map(|host| json!({"environments": ["production"], "host": host, "organization": "default"}))
            .boxed(),
    )
}

fn origin() -> BoxedStrategy<Value> {
    let kinds = prop::sample::subsequence(vec!["Route", "Upstream", "Endpoints"], 0..=3);
    let holders =
        prop_oneof![3 => Just(vec!["agent-1"]), 1 => Just(vec!["agent-1", "agent-1"]), 1 => Just(vec![])];
    (kinds, holders)
        .prop_map(|(kinds, holders)| {
            json!({
                "region": "eu-west", "environments": ["production"], "organizations": ["default"], "kinds": kinds,
                "holders": holders,
            })
        })
        .boxed()
}

fn plan() -> BoxedStrategy<Value> {
    let count = || value(prop::sample::select(vec![0_u64, 1, 1_000_000_000, u64::MAX]));
    let rate = with(
        object([("burst", count())]),
        (count(), text(&["second", "day"])).prop_map(|(n, per)| json!({"requests": n, "per": per})).boxed(),
    );
    object([("rate", rate)])
}

fn credential() -> BoxedStrategy<Value> {
    let digest = text(&[
        "sha256:2222222222222222222222222222222222222222222222222222222222222222",
        "sha256:11111111…",
    ]);
    with(
        object([("expiresAt", value(prop::sample::select(vec![0_u64, 1, u64::MAX])))]),
        digest.prop_map(|digest| json!({"application": "shop", "digest": digest})).boxed(),
    )
}

fn secret() -> BoxedStrategy<Value> {
    let value = || {
        let sealed = value(prop::sample::select(vec![
            json!({"sealed": true}),
            json!({"version": 1, "sealed": "AQ=="}),
        ]));
        let pem = value(text(&[
            "",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ]));
        prop_oneof![3 => pem, 1 => sealed].boxed()
    };
    let typed = |name: &'static str, fields: &'static [&'static str], regions: &'static [&'static str]| {
        prop::collection::vec(value(), fields.len()).prop_map(move |values| {
            let data: serde_json::Map<String, Value> =
                fields.iter().map(|field| (*field).to_owned()).zip(values).collect();
            json!({"type": name, "regions": regions, "data": data})
        })
    };
    prop_oneof![
        typed("opaque", &["a", "b"], &[]),
        typed("tls", &["tls.crt", "tls.key"], &[]),
        typed("token-signing", &["key.pem"], &["eu-west"]),
    ]
    .boxed()
}

/// A resource of [`ORDERS`](crate::fixture::ORDERS) with another spec.
fn resource() -> impl Strategy<Value = (&'static str, Value)> {
    prop_oneof![
        3 => policy().prop_map(|spec| ("Policy stamp", spec)),
        3 => upstream().prop_map(|spec| ("Upstream backend", spec)),
        4 => api().prop_map(|spec| ("Api orders", spec)),
        1 => environment().prop_map(|spec| ("Environment production", spec)),
        2 => host_grant().prop_map(|spec| ("HostGrant one", spec)),
        1 => origin().prop_map(|spec| ("Origin east", spec)),
        1 => plan().prop_map(|spec| ("Plan gold", spec)),
        1 => credential().prop_map(|spec| ("Credential shop-key", spec)),
        1 => secret().prop_map(|spec| ("Secret signer", spec)),
    ]
}

/// Why some resource of some scope cannot be used: by itself, or for want of another one.
#[expect(clippy::disallowed_methods, reason = "as a gateway does it")]
fn unusable(world: &World) -> Option<String> {
    let scopes = from_scratch(&world.state, &Masks);
    scopes.iter().find_map(|(scope, content)| {
        content.iter().find_map(|(key, bytes)| {
            let kind = ResourceKind::of_key(key).unwrap_or_else(|| panic!("{key}"));
            let needed = match hanse_runtime::check(kind, bytes) {
                Err(unusable) => return Some(format!("{scope} {key}: {unusable}")),
                // The regions that serve it have the upstream.
                Ok(Checked::Route(route)) if !route.served_in.is_empty() => return None,
                Ok(Checked::Route(route)) => route.upstream.into_string(),
                Ok(Checked::Subscription(of)) => format!("plan/{}/{}", of.organization, of.plan),
                Ok(Checked::GlobalHost(host)) => format!("zone/{}", host.zone),
                Ok(
                    Checked::Listener(_)
                    | Checked::Upstream(_)
                    | Checked::Plan(_)
                    | Checked::Credential(_)
                    | Checked::Secret(_)
                    | Checked::Endpoints(_)
                    | Checked::Origin(_)
                    | Checked::Neighbour(_)
                    | Checked::Zone(_)
                    | Checked::Shift(_),
                ) => {
                    return None;
                }
            };
            (!content.contains_key(&needed)).then(|| format!("{scope} {key}: needs {needed}"))
        })
    })
}

#[expect(clippy::disallowed_methods, reason = "as a gateway does it")]
fn compiles(key: &ResourceKey, spec: &Spec) -> bool {
    by_itself(key, spec, Version::FIRST)
        .iter()
        .all(|(kind, bytes)| hanse_runtime::check(*kind, bytes).is_ok())
}

/// What became of specs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tried {
    accepted: usize,
    refused: usize,
    /// Those that no gateway could use.
    uncompiled: usize,
}

impl Tried {
    #[expect(clippy::disallowed_methods, reason = "as admission does it")]
    /// Puts a resource with this spec into `world`. What is accepted can be used by every gateway that gets it.
    fn put(&mut self, mut world: World, name: &str, json: &Value) {
        let key = key(name);
        let Ok(mut spec) = Spec::from_json(key.kind, json) else { return };
        spec.normalize();
        let usable = compiles(&key, &spec);
        self.uncompiled += usize::from(!usable);
        let action = Action::put(Default::default(), spec);
        match world.change(vec![Change { key, action, if_revision: None }]) {
            Ok(_) => {
                self.accepted += 1;
                assert!(usable, "{name} is accepted and cannot be used: {json}");
                assert_eq!(unusable(&world), None, "{name}: {json}");
            }
            Err(_) => self.refused += 1,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: proptest_config().cases * 16, ..proptest_config() })]

    #[test]
    fn what_is_accepted_can_be_used_everywhere((name, json) in resource()) {
        Tried::default().put(World::with_orders().with_key(), name, &json);
    }
}

#[test]
fn the_random_specs_are_neither_tame_nor_wild() {
    let start = World::with_orders().with_key();
    assert_eq!(unusable(&start), None);
    let mut runner = TestRunner::deterministic();
    let mut tried = Tried::default();
    for _ in 0..512 {
        let (name, json) = resource().new_tree(&mut runner).unwrap().current();
        tried.put(start.clone(), name, &json);
    }
    let Tried { accepted, refused, uncompiled } = tried;
    assert!([accepted, refused, uncompiled].iter().all(|count| *count >= 10), "{tried:?}");
}
