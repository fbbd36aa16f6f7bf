//! What a deserializer says, in the words of manifests and configuration files.
//!
//! Deserializers speak of Rust's types, and an error of theirs carries text only: `invalid type: floating point `1.0`,
//! expected a string`. People who write these files know text, numbers, lists and mappings.

/// What the readers of addresses say, and what is said instead: detail and remedy.
const ADDRESSES: [(&str, (&str, &str)); 2] = [
    ("invalid IP address syntax", ("it is not an IP address", "write it as 192.0.2.1 or 2001:db8::1")),
    (
        "invalid socket address syntax",
        ("it is not an IP address and a port", "write it as \"192.0.2.9:53\" or \"[2001:db8::9]:53\""),
    ),
];

/// A deserializer's message as detail and remedy.
pub fn plain(said: &str) -> (String, &'static str) {
    let mismatch = said.strip_prefix("invalid type: ").or_else(|| said.strip_prefix("invalid value: "));
    if let Some((found, wanted)) = mismatch.and_then(|rest| rest.rsplit_once(", expected ")) {
        return mismatched(found, wanted);
    }
    if let Some((length, wanted)) =
        said.strip_prefix("invalid length ").and_then(|rest| rest.split_once(", expected "))
    {
        return mismatched(&format!("a list of {length}"), wanted);
    }
    if let Some(word) = said.strip_prefix("unknown variant ") {
        return (format!("unknown word {word}"), "use one of the words that are known");
    }
    if let Some(key) = said.strip_prefix("duplicate field ") {
        return (format!("the key {key} comes twice"), "write it once");
    }
    if let Some((_, (detail, remedy))) = ADDRESSES.iter().find(|(theirs, _)| *theirs == said) {
        return ((*detail).to_owned(), remedy);
    }
    let remedy = if said.starts_with("unknown field") {
        "correct the field's name, or take it out"
    } else if said.starts_with("missing field") {
        "add the field"
    } else {
        "correct the value"
    };
    (said.to_owned(), remedy)
}

/// What the YAML reader says of a text, as detail and remedy, where it says what happened to it and not what to do.
pub fn of_yaml(said: &str) -> Option<(&'static str, &'static str)> {
    said.contains("invalid indentation in multiline quoted scalar").then_some((
        "this line continues a text in quotes, and is not indented more than the text's key",
        "indent the lines of the text more than its key",
    ))
}

fn mismatched(found: &str, wanted: &str) -> (String, &'static str) {
    let wanted = thing(wanted);
    let is_scalar = ["integer", "floating point", "boolean"].iter().any(|kind| found.starts_with(kind));
    let remedy = match wanted.as_str() {
        "text" if is_scalar => "put it in quotes",
        "a list" => "write it as a list, each item after `- `",
        "a mapping" => "write it as a mapping, each field as `name: value`",
        _ => "correct the value",
    };
    (format!("{wanted} is wanted here, and this is {}", value(found)), remedy)
}

/// What is wanted.
fn thing(wanted: &str) -> String {
    let known = match wanted {
        "a string" | "path string" | "string or map" | "variant identifier" => "text",
        "a boolean" => "`true` or `false`",
        "a sequence" => "a list",
        "a map" => "a mapping",
        "f32" | "f64" => "a number",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number of 0 or more",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        _ if wanted.starts_with("struct ") => "a mapping",
        _ if wanted.starts_with("tuple ") => "a list",
        other => other,
    };
    known.to_owned()
}

/// What is there.
fn value(found: &str) -> String {
    let bare = |written: &str| written.trim_matches('`').to_owned();
    match found {
        "sequence" => "a list".to_owned(),
        "map" => "a mapping".to_owned(),
        "null" | "unit value" | "Option value" => "nothing".to_owned(),
        _ => [
            ("integer ", "the number "),
            ("floating point ", "the number "),
            ("boolean ", "the truth value "),
        ]
        .iter()
        .find_map(|(kind, ours)| Some(format!("{ours}{}", bare(found.strip_prefix(kind)?))))
        .or_else(|| Some(format!("the text {}", found.strip_prefix("string ")?)))
        .unwrap_or_else(|| found.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{Kind, Spec};

    #[test]
    fn messages_speak_of_manifests() {
        for (said, detail, remedy) in [
            (
                "invalid type: floating point `1.0`, expected a string",
                "text is wanted here, and this is the number 1.0",
                "put it in quotes",
            ),
            (
                "invalid value: integer `-1`, expected u64",
                "a whole number of 0 or more is wanted here, and this is the number -1",
                "correct the value",
            ),
            (
                "invalid type: map, expected a sequence",
                "a list is wanted here, and this is a mapping",
                "write it as a list, each item after `- `",
            ),
            (
                "invalid type: string \"a, expected b\", expected struct ApiKeySpec",
                "a mapping is wanted here, and this is the text \"a, expected b\"",
                "write it as a mapping, each field as `name: value`",
            ),
            (
                "unknown variant `a`, expected `b` or `c`",
                "unknown word `a`, expected `b` or `c`",
                "use one of the words that are known",
            ),
            ("missing field `x`", "missing field `x`", "add the field"),
            ("\"5x\" is not a duration", "\"5x\" is not a duration", "correct the value"),
        ] {
            assert_eq!(plain(said), (detail.to_owned(), remedy));
        }
    }

    /// Specs with every field of the kinds that operators write.
    fn full() -> Vec<(Kind, Value)> {
        let digest = format!("sha256:{}", "0".repeat(64));
        vec![
            (Kind::Organization, json!({"displayName": "d"})),
            (
                Kind::Region,
                json!({"location": {"latitude": 1.5, "longitude": 2, "country": "IE", "continent": "EU"}, "provider": "cloud", "capacity": 1}),
            ),
            (
                Kind::Environment,
                json!({
                    "exposure": "internal", "hostnames": ["h"], "listeners": ["https"], "regions": ["r"], "staleCredentials": "serve",
                    "addresses": {"r": ["192.0.2.1"]}, "tunnel": true,
                }),
            ),
            (
                Kind::DnsZone,
                json!({
                    "origin": "o", "regions": {"names": ["r"], "labels": {"tier": "edge"}}, "contact": "a@b", "negativeTtl": "1s",
                    "nameServers": [{"name": "n", "addresses": ["192.0.2.1"]}],
                    "secondaries": [{"address": "192.0.2.9:53", "key": "k"}],
                    "publish": {"server": "192.0.2.9:53", "key": "k", "from": ["r"]},
                }),
            ),
            (
                Kind::GlobalHost,
                json!({
                    "host": "h", "zone": "z", "environment": "e", "ttl": "1s",
                    "policy": [{
                        "origin": {"rules": [{"cidr": "10.0.0.0/8", "regions": ["r"]}]}, "geo": {"default": ["r"]},
                        "weighted": {"r": 1}, "failover": {"order": ["r"]}, "multivalue": {"count": 1},
                    }],
                }),
            ),
            (
                Kind::FailoverPlan,
                json!({
                    "hosts": ["h"], "active": "a", "standby": ["b"], "steps": [100], "stepEvery": "1s", "approval": true,
                    "objectives": {"rto": "1s", "rpo": 0}, "probe": {"url": "http://h", "rate": 1, "ca": "c"},
                    "guard": {"failedPercent": 1, "limit": "1m"}, "drill": {"every": "1h"},
                }),
            ),
            (
                Kind::Secret,
                json!({"type": "token-signing", "regions": ["r"], "data": {"key.pem": "k", "kept": {"sealed": true}}}),
            ),
            (
                Kind::HostGrant,
                json!({"environments": ["e"], "host": "h", "pathPrefix": "/p", "organization": "o"}),
            ),
            (
                Kind::Origin,
                json!({
                    "region": "r", "environments": ["e"], "organizations": ["o"], "kinds": ["Route"], "holders": ["a"],
                }),
            ),
            (Kind::Plan, json!({"rate": {"requests": 5, "per": "minute", "burst": 1}})),
            (
                Kind::Api,
                json!({
                    "context": "/a", "version": "1", "hosts": ["h"], "policies": ["p"], "lifecycle": "published",
                    "operations": [{
                        "method": "GET", "path": "/", "id": "i", "scopes": ["s"], "policies": ["p"], "timeout": "1s", "open": true,
                    }],
                    "security": {"apiKey": {"header": "X", "query": "q"}}, "upstream": "u", "maxBodyBytes": 1,
                }),
            ),
            (
                Kind::Upstream,
                json!({
                    "endpoints": [{"url": "http://h", "region": "r", "environment": "e", "weight": 1}],
                    "timeout": "1s", "connectTimeout": "1s", "host": {"preserve": true, "name": "h"},
                    "tls": {"caBundle": "c", "serverName": "s"},
                    "healthCheck": {
                        "path": "/", "interval": "1s", "timeout": "1s", "unhealthyAfter": 1, "healthyAfter": 1, "expectStatus": 200,
                    },
                    "ejection": {"consecutiveFailures": 1, "baseTime": "1s", "maxEjected": 1},
                    "retry": {"attempts": 1, "perTryTimeout": "1s", "on": ["connect-failure"]},
                }),
            ),
            (
                Kind::Policy,
                json!({
                    "headers": {"request": {"set": {"a": "b"}, "add": {"a": "b"}, "remove": ["c"]}},
                    "cors": {
                        "origins": ["*"], "methods": ["GET"], "headers": ["a"], "exposeHeaders": ["a"], "credentials": false,
                        "maxAgeSeconds": 1,
                    },
                    "rewrite": {"location": true, "cookies": true},
                }),
            ),
            (
                Kind::Binding,
                json!({
                    "api": "a", "revision": 1, "environment": "e", "regions": {"names": ["r"], "labels": {"tier": "edge"}},
                    "upstream": "u", "reach": "local",
                }),
            ),
            (Kind::Application, json!({"displayName": "d"})),
            (Kind::Subscription, json!({"application": "a", "api": "b", "plan": "c"})),
            (Kind::Credential, json!({"application": "a", "digest": digest})),
        ]
    }

    /// Each tree that has one value replaced, or one unknown key more.
    fn broken(tree: &Value) -> Vec<Value> {
        let wrong = [
            json!(null),
            json!(true),
            json!(1),
            json!(-1),
            json!(1.5),
            json!(1e300),
            json!(u64::MAX),
            json!(""),
            json!("x y"),
            json!([]),
            json!([1]),
            json!({}),
            json!({"x": 1}),
        ];
        let mut all: Vec<Value> = wrong.to_vec();
        match tree {
            Value::Object(members) => {
                for (key, member) in members {
                    let with = |value: Value| {
                        let mut members = members.clone();
                        members.insert(key.clone(), value);
                        Value::Object(members)
                    };
                    all.extend(broken(member).into_iter().map(with));
                    let mut without = members.clone();
                    without.remove(key);
                    all.push(without.into());
                }
                let mut more = members.clone();
                more.insert("unknown".to_owned(), json!(1));
                all.push(more.into());
            }
            Value::Array(items) => all.extend(items.iter().flat_map(broken).map(|item| json!([item]))),
            _ => {}
        }
        all
    }

    #[test]
    fn no_message_speaks_of_rust() {
        const WORDS: [&str; 19] = [
            "u8",
            "u16",
            "u32",
            "u64",
            "i64",
            "f64",
            "floating point",
            "integer",
            "boolean",
            "struct ",
            "enum",
            "variant",
            "visitor",
            "sequence",
            " map",
            "tuple",
            "Option",
            "unit",
            "invalid type",
        ];
        let mut refused = 0;
        for (kind, spec) in full() {
            assert!(Spec::from_json(kind, &spec).is_ok(), "{:?}", Spec::from_json(kind, &spec));
            for broken in broken(&spec) {
                let Err(problem) = Spec::from_json(kind, &broken) else { continue };
                refused += 1;
                let detail = problem.detail.replace("a mapping", "").replace("from words", "");
                let found: Vec<_> = WORDS.iter().filter(|word| detail.contains(**word)).collect();
                assert!(found.is_empty(), "{kind} {broken}: {problem}: {found:?}");
                assert!(!problem.remedy.is_empty(), "{kind} {broken}: {problem}");
            }
        }
        assert!(refused > 500, "{refused}");
    }
}
