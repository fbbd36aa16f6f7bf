//! Reading a role's configuration: its TOML file, and environment variables that win over it.

use std::path::Path;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::{exit::Failure, toml_words};

/// Top-level keys that hold lists; in the environment their items are separated by commas.
const LISTS: [&str; 7] =
    ["servers", "enrolment", "agents", "environments", "advertise", "trusted_proxies", "api_names"];
/// Keys that hold tables: `HANSE_SERVER_LISTEN_API` is `listen.api`.
const TABLES: [&str; 7] = ["listen", "advertise", "tunnel", "limits", "drain", "store_key", "access_log"];
/// Keys of a table that hold lists.
const LISTS_IN_TABLES: [(&str, &str); 1] = [("tunnel", "advertise")];
/// Tables of which one key is given: a variable replaces the file's whole table.
const CHOICES: [&str; 2] = ["store_key", "access_log"];
/// Variables of these endings are secrets that roles read themselves; the second, where `store_key` names it.
const SECRETS: [&str; 2] = ["JOIN_TOKEN", "STORE_KEY"];

/// Reads `path`; variables beginning with `prefix` (`HANSE_SERVER_`) win over it.
pub(crate) fn load<T: DeserializeOwned>(path: &Path, prefix: &str) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::unreadable(path.display(), &error))?;
    let variables =
        std::env::vars().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value)));
    let variables: Vec<_> =
        variables.filter(|(key, _)| !SECRETS.contains(&key.as_str()) && !key.is_empty()).collect();
    parse(&text, prefix, &variables)
        .map_err(|why| Failure::usage(format!("{}: {}", path.display(), why.trim_end())).into())
}

fn parse<T: DeserializeOwned>(text: &str, prefix: &str, variables: &[(String, String)]) -> Result<T, String> {
    if variables.is_empty() {
        // Straight from the text, so that errors name their line.
        return toml::from_str(text).map_err(|error| toml_words::told(&error));
    }
    let mut table: Table = toml::from_str(text).map_err(|error| toml_words::told(&error))?;
    for (key, value) in variables {
        set(&mut table, &key.to_ascii_lowercase(), value);
    }
    T::deserialize(table).map_err(|error| {
        // What is wrong in the text is better told with its line.
        match toml::from_str::<T>(text) {
            Err(in_text) if in_text.message() == error.message() => toml_words::told(&in_text),
            _ => {
                let names =
                    variables.iter().map(|(key, _)| format!("{prefix}{key}")).collect::<Vec<_>>().join(", ");
                format!("{} (with {names} from the environment)", toml_words::told(&error))
            }
        }
    })
}

fn set(table: &mut Table, key: &str, value: &str) {
    if let Some((outer, inner)) =
        TABLES.iter().find_map(|outer| Some((*outer, key.strip_prefix(outer)?.strip_prefix('_')?)))
    {
        if CHOICES.contains(&outer) {
            table.insert(outer.to_owned(), Value::Table(Table::new()));
        }
        if let Value::Table(nested) = table.entry(outer).or_insert_with(|| Value::Table(Table::new())) {
            let is_list = LISTS_IN_TABLES.contains(&(outer, inner));
            nested.insert(inner.to_owned(), read(value, is_list));
        }
        return;
    }
    table.insert(key.to_owned(), read(value, LISTS.contains(&key)));
}

/// A value as the file writes it, the items of a list, or a scalar.
fn read(value: &str, is_list: bool) -> Value {
    match written(value) {
        Some(value) => value,
        None if is_list => {
            let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
        None => scalar(value),
    }
}

/// A list or a table as the file has it: `["0.0.0.0:8080", { address = "10.0.0.5:8080", exposure = "internal" }]`. An IPv6 address begins
/// as a list does, and is none.
fn written(text: &str) -> Option<Value> {
    let mut file: Table = toml::from_str(&format!("value = {text}")).ok()?;
    file.remove("value").filter(|value| value.is_array() || value.is_table())
}

/// Numbers and booleans as such, anything else as text.
fn scalar(text: &str) -> Value {
    if let Ok(number) = text.parse() {
        return Value::Integer(number);
    }
    match text {
        "true" => Value::Boolean(true),
        "false" => Value::Boolean(false),
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use hanse_gateway::config::{Advertised, Entries, Entry};
    use hanse_topology::Exposure;

    use super::*;

    const AGENT: &str = r#"
        name = "agent-1"
        region = "eu-west"
        data_dir = "data"
        servers = ["a:7444"]
        [listen]
        federation = "127.0.0.1:1"
        enrolment = "127.0.0.1:2"
        admin = "127.0.0.1:3"
    "#;

    fn agent(variables: &[(&str, &str)]) -> Result<hanse_agent::Config, String> {
        let variables: Vec<_> =
            variables.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        parse(AGENT, "HANSE_AGENT_", &variables)
    }

    #[test]
    fn variables_win_over_the_file() {
        let config = agent(&[
            ("SERVERS", "b:1, c:2"),
            ("LISTEN_ENROLMENT", "127.0.0.1:9"),
            ("ENROLMENT", "d:3"),
            ("DATA_DIR", "/d"),
            ("STORE_KEY_FILE", "/k"),
        ])
        .unwrap();
        assert_eq!(config.servers, ["b:1", "c:2"]);
        assert_eq!(config.enrolment, ["d:3"]);
        assert_eq!(config.listen.enrolment, "127.0.0.1:9");
        assert_eq!(config.listen.admin, "127.0.0.1:3");
        assert_eq!(config.data_dir, Path::new("/d"));
        assert_eq!(config.store_key, Some(hanse_agent::StoreKey::File("/k".into())));
    }

    /// As the words of `hanse member list` and of the agent's log advise.
    #[test]
    fn an_agent_advertises_its_federation_port_alone() {
        let config = agent(&[("ADVERTISE_FEDERATION", "agent-1.example.com:7444")]).unwrap();
        assert_eq!(config.advertise.unwrap().federation, "agent-1.example.com:7444");
    }

    #[test]
    fn a_key_of_an_earlier_release_is_refused_with_what_stands_in_its_place() {
        let gateway = |more: &str, variables: &[(String, String)]| {
            let text = format!(
                "name = \"g\"\ndata_dir = \"d\"\nagents = [\"a:1\"]\n[listen]\nhttp = \"h:1\"\nadmin = \"h:2\"\n{more}"
            );
            parse::<hanse_gateway::Config>(&text, "HANSE_GATEWAY_", variables).unwrap_err()
        };
        for protocol in ["http", "https"] {
            let key = format!("{protocol}_proxy_protocol");
            let instead = format!("write {protocol} = {{ address = \"HOST:PORT\", proxy_protocol = true }}");
            let in_file = gateway(&format!("{key} = true\n"), &[]);
            assert!(in_file.contains(&instead) && in_file.contains("line 7"), "{in_file}");
            let variable = (format!("LISTEN_{}", key.to_ascii_uppercase()), "true".to_owned());
            let in_variable = gateway("", &[variable]);
            assert!(
                in_variable.contains(&instead) && in_variable.contains("HANSE_GATEWAY_LISTEN_HTTP"),
                "{in_variable}"
            );
        }
    }

    #[test]
    fn a_variable_replaces_the_choice_of_the_file() {
        let text = format!("store_key = {{ file = \"/k\" }}{AGENT}");
        let variables = [("STORE_KEY_SECRET".to_owned(), "/run/secrets/k".to_owned())];
        let config: hanse_agent::Config = parse(&text, "HANSE_AGENT_", &variables).unwrap();
        assert_eq!(config.store_key, Some(hanse_agent::StoreKey::Secret("/run/secrets/k".into())));
    }

    #[test]
    fn an_ipv6_address_is_no_list() {
        let config = agent(&[("LISTEN_ADMIN", "[::1]:3"), ("SERVERS", "[fd00::7]:1, [fd00::8]:1")]).unwrap();
        assert_eq!(config.listen.admin, "[::1]:3");
        assert_eq!(config.servers, ["[fd00::7]:1", "[fd00::8]:1"]);
        assert_eq!(agent(&[("SERVERS", r#"["a:1", "b:1"]"#)]).unwrap().servers, ["a:1", "b:1"]);
    }

    #[test]
    fn unknown_keys_are_refused_with_their_line_or_their_variable() {
        let error =
            parse::<hanse_agent::Config>(&format!("colour = 1{AGENT}"), "HANSE_AGENT_", &[]).unwrap_err();
        assert!(error.contains("line 1") && error.contains("colour"), "{error}");
        let error = agent(&[("COLOUR", "red")]).unwrap_err();
        assert!(error.contains("colour") && error.contains("HANSE_AGENT_COLOUR"), "{error}");
    }

    /// Every value of a configuration as the variable that says it.
    fn as_variables(table: &Table, prefix: &str, to: &mut Vec<(String, String)>) {
        for (key, value) in table {
            let name = format!("{prefix}{}", key.to_ascii_uppercase());
            match value {
                // A table of a table, such as an entry under `listen`, is written as in a file.
                Value::Table(nested) if prefix.is_empty() => as_variables(nested, &format!("{name}_"), to),
                Value::Array(items) if items.iter().all(Value::is_str) => {
                    let items: Vec<&str> = items.iter().map(|item| item.as_str().unwrap()).collect();
                    to.push((name, items.join(", ")));
                }
                Value::String(text) => to.push((name, text.clone())),
                other => to.push((name, other.to_string())),
            }
        }
    }

    /// `whole` gives every key, so that a new one cannot be forgotten. Each of its values is also replaced by wrong ones.
    fn comes_from_variables<T>(whole: &T)
    where
        T: serde::Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        let mut variables = Vec::new();
        as_variables(&Table::try_from(whole).unwrap(), "", &mut variables);
        assert_eq!(parse::<T>("", "HANSE_", &variables).as_ref(), Ok(whole), "{variables:?}");
        assert!(refusals(whole) > 30, "{}", refusals(whole));
    }

    /// Each table that has one value replaced, or one unknown key more.
    fn broken(table: &Table) -> Vec<Table> {
        let wrong: [Value; 7] = [
            true.into(),
            (-1).into(),
            1.5.into(),
            i64::MAX.into(),
            "x y".into(),
            Value::Array(vec![1.into()]),
            Value::Table(Table::from_iter([("x".to_owned(), 1.into())])),
        ];
        let with = |key: &str, value: Value| {
            let mut table = table.clone();
            table.insert(key.to_owned(), value);
            table
        };
        let mut all = vec![with("unknown", 1.into())];
        for (key, value) in table {
            all.extend(wrong.iter().map(|wrong| with(key, wrong.clone())));
            if let Value::Table(nested) = value {
                all.extend(broken(nested).into_iter().map(|nested| with(key, nested.into())));
            }
            let mut without = table.clone();
            without.remove(key);
            all.push(without);
        }
        all
    }

    /// How many tables are refused, each without a word of Rust.
    fn refusals<T: serde::Serialize + DeserializeOwned>(whole: &T) -> usize {
        const WORDS: [&str; 14] = [
            "u8",
            "u16",
            "u64",
            "i64",
            "usize",
            "float",
            "integer",
            "boolean",
            "struct ",
            "enum",
            "variant",
            "sequence",
            "invalid type",
            "path string",
        ];
        let refusal = |table: &Table| parse::<T>(&toml::to_string(table).unwrap(), "HANSE_", &[]).err();
        let said: Vec<String> = broken(&Table::try_from(whole).unwrap()).iter().filter_map(refusal).collect();
        for text in &said {
            // The text of the file is shown as it is.
            let message: Vec<_> = text.lines().filter(|line| !line.contains('|')).collect();
            let found = WORDS.iter().find(|word| message.iter().any(|line| line.contains(**word)));
            assert_eq!(found, None, "{text}");
        }
        said.len()
    }

    #[test]
    fn every_key_of_every_table_may_come_from_the_environment() {
        let text = |text: &str| text.to_owned();
        let entry = |address: &str, exposure, proxy_protocol| Entry {
            address: address.to_owned(),
            exposure,
            proxy_protocol,
        };
        let addresses = |host: &str| hanse_agent::Addresses {
            federation: format!("{host}:1"),
            enrolment: format!("{host}:2"),
            admin: format!("{host}:3"),
        };
        comes_from_variables(&hanse_agent::Config {
            name: "agent-1".parse().unwrap(),
            region: "eu-west".parse().unwrap(),
            data_dir: "data".into(),
            store_key: Some(hanse_agent::StoreKey::File("k".into())),
            servers: vec![text("a:1"), text("b:1")],
            enrolment: vec![text("a:2"), text("b:2")],
            join_token_file: Some("token".into()),
            listen: addresses("l"),
            advertise: Some(hanse_agent::Advertised { federation: text("a:1") }),
        });
        let addresses = |host: &str| hanse_server::Addresses {
            api: format!("{host}:1"),
            federation: format!("{host}:2"),
            raft: format!("{host}:3"),
            enrolment: format!("{host}:4"),
            admin: format!("{host}:5"),
        };
        comes_from_variables(&hanse_server::Config {
            name: "cp-1".parse().unwrap(),
            data_dir: "data".into(),
            store_key: Some(hanse_agent::StoreKey::File("k".into())),
            listen: addresses("l"),
            advertise: Some(addresses("a")),
            api_names: ["a", "b"].map(text).into(),
        });
        comes_from_variables(&hanse_gateway::Config {
            name: "gateway-1".parse().unwrap(),
            data_dir: "data".into(),
            store_key: Some(hanse_agent::StoreKey::File("k".into())),
            agents: vec![text("a:1"), text("b:1")],
            enrolment: vec![text("a:2"), text("b:2")],
            join_token_file: Some("token".into()),
            environments: vec!["production".parse().unwrap()],
            trusted_proxies: ["10.0.0.0/8", "::1"].map(|one| text(one).try_into().unwrap()).into(),
            workers: Some(3),
            listen: hanse_gateway::config::Listen {
                http: Entries(vec![entry("h:1", Exposure::Internal, true)]),
                https: Entries(vec![
                    entry("[::]:2", Exposure::External, false),
                    entry("h:4", Exposure::Internal, false),
                ]),
                admin: text("h:3"),
            },
            advertise: vec![
                Advertised { url: text("https://a"), exposure: Exposure::External },
                Advertised { url: text("http://b:1"), exposure: Exposure::Internal },
            ],
            tunnel: Some(hanse_gateway::config::TunnelConfig {
                listen: Some("0.0.0.0:7447".into()),
                advertise: vec!["gateway-1.example.com:7447".into()],
                max_requests: 7,
            }),
            limits: hanse_gateway::config::Limits::default(),
            drain: hanse_gateway::config::Drain { announce_ms: 7, limit_ms: 8 },
            access_log: Some(hanse_gateway::config::AccessLogTarget::File("log".into())),
        });
        comes_from_variables(&hanse_dns::Config {
            name: "dns-1".parse().unwrap(),
            data_dir: "data".into(),
            store_key: Some(hanse_agent::StoreKey::File("k".into())),
            agents: vec![text("a:1"), text("b:1")],
            enrolment: vec![text("a:2"), text("b:2")],
            join_token_file: Some("token".into()),
            workers: Some(3),
            listen: hanse_dns::config::Listen {
                dns: vec![text("192.0.2.53:53"), text("[2001:db8::53]:53")],
                admin: text("h:3"),
            },
            advertise: Some(text("ns1.example.com:53")),
            geo: Some("city.mmdb".into()),
            tsig: vec![hanse_dns::config::TsigKey { name: text("to-bind"), secret_file: "key".into() }],
            limits: hanse_dns::config::Limits { answers_per_second: 7 },
        });
        let listed = [("LISTEN_DNS".to_owned(), r#"["192.0.2.53:53", "[2001:db8::53]:53"]"#.to_owned())];
        let file = "name = \"d\"\ndata_dir = \"d\"\nagents = [\"a:1\"]\nlisten = { dns = \"h:1\", admin = \"h:2\" }\n";
        let config: hanse_dns::Config = parse(file, "HANSE_DNS_", &listed).unwrap();
        assert_eq!(config.listen.dns, ["192.0.2.53:53", "[2001:db8::53]:53"]);
    }
}
