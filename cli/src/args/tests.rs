use std::time::Duration;

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("hanse").chain(line.split_whitespace()))
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn wait_takes_an_optional_time_after_an_equals_sign() {
    let wait = |line: &str| match parse(line).unwrap().command {
        Command::Apply(apply) => apply.wait.wait,
        other => panic!("{other:?}"),
    };
    assert_eq!(wait("apply -f x"), None);
    assert_eq!(wait("apply --wait -f x"), Some(Duration::from_secs(30)));
    assert_eq!(wait("apply --wait=2m -f -"), Some(Duration::from_secs(120)));
    assert!(parse("apply -f x --wait=soon").is_err());
}

/// What `get` is asked for: kinds, or `KIND NAME` each.
fn asked(line: &str) -> Result<Vec<String>, crate::exit::Failure> {
    let Command::Get(get) = parse(&format!("get {line}")).unwrap().command else { panic!("{line}") };
    Ok(match get.asked()? {
        Asked::Kinds(kinds) => kinds.iter().map(ToString::to_string).collect(),
        Asked::Named(named) => named.iter().map(|(kind, name)| format!("{kind} {name}")).collect(),
    })
}

#[test]
fn get_takes_several_kinds_and_names() {
    for (line, expected) in [
        ("api", &["Api"][..]),
        ("apis,bindings -l team=a --sort-by name", &["Api", "Binding"]),
        ("join-tokens", &["JoinToken"]),
        ("Policy stamp", &["Policy stamp"]),
        ("api orders pets -o json", &["Api orders", "Api pets"]),
        ("api,upstream orders", &["Api orders", "Upstream orders"]),
        ("api/orders bindings/orders-x", &["Api orders", "Binding orders-x"]),
    ] {
        assert_eq!(asked(line).unwrap(), expected, "{line}");
    }
    for (line, said) in [
        ("gadgets", "is not a kind; kinds are Organization"),
        ("apis,", "is not a kind"),
        ("api/orders pets", "two ways to write it"),
        ("api orders binding/x", "two ways to write it"),
        ("api/ a/b", "is not a name"),
        ("api Orders", "Orders"),
        ("api/a/b", "a/b"),
        ("api orders -l team=a", "names pick by themselves"),
    ] {
        let failure = asked(line).unwrap_err();
        assert_eq!(failure.exit, crate::exit::Exit::Usage, "{line}");
        assert!(failure.to_string().contains(said), "{line}: {failure}");
    }
    assert!(parse("get").is_err());
}

#[test]
fn the_configuration_may_stand_after_the_command() {
    for line in ["--config x get apis", "get apis --config x", "server init --config x", "server --config x"]
    {
        assert_eq!(parse(line).unwrap().config.as_deref(), Some("x".as_ref()), "{line}");
    }
}

#[test]
fn delete_takes_a_name_or_files() {
    for good in [
        "delete api orders",
        "delete -f x --cascade --yes --with-made",
        "delete api orders --dry-run -o json",
        "delete api orders --wait=5s",
    ] {
        assert!(parse(good).is_ok(), "{good}");
    }
    for bad in ["delete", "delete api", "delete api orders -f x"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_agents_join_token_names_its_region() {
    assert!(parse("token create --join agent --region eu-west --environments a,b --uses 3 --ttl 1h").is_ok());
    assert!(parse("token create --join server").is_ok());
    assert!(parse("token create ci --ttl 1s").is_ok());
    assert!(parse("token create --join agent --region eu-west --replace").is_ok());
    assert!(parse("token create --join server --replace").is_ok());
    for bad in [
        "token create --join agent",
        "token create --region eu-west",
        "token create --join server --uses 0",
        "token create x --uses 3",
        "token create x --replace",
        "token create x --ttl 0s",
        "token create x --ttl 999ms",
        "token create x --ttl 101years",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn dev_takes_its_directory_anywhere() {
    for line in [
        "dev --data-dir d",
        "dev --data-dir d ps",
        "dev ps --data-dir d",
        "dev add gateway --region r --data-dir d",
    ] {
        match parse(line).unwrap().command {
            Command::Dev(dev) => assert_eq!(dev.data_dir, std::path::Path::new("d"), "{line}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(parse("dev --regions 0").is_err());
}

#[test]
fn an_import_cannot_be_open_and_ask_for_a_key() {
    let line = "import openapi f --as n --context /n --upstream http://u --publish-to production,sandbox";
    assert!(parse(line).is_ok());
    assert!(parse(&format!("{line} --open")).is_ok());
    assert_eq!(parse(&format!("{line} --open --api-key")).unwrap_err().kind(), ErrorKind::ArgumentConflict);
}

#[test]
fn publish_says_where() {
    let line = "publish files --context /files --upstream eu-west=http://u --publish-to production";
    for more in ["", " --open --dry-run -o json", " --api-version 2 --also sandbox --wait=5s"] {
        assert!(parse(&format!("{line}{more}")).is_ok(), "{more}");
    }
    for bad in ["publish files --context /files --upstream http://u", "publish --context /f --publish-to p"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn promote_and_rollback_name_their_environments() {
    for good in [
        "promote orders --from sandbox --to production --wait=5s",
        "promote orders --from sandbox --to production --with-upstream --over-rollback --dry-run -o json",
        "rollback orders --in production",
        "rollback orders --in production --to 3 --regions eu-west --dry-run",
    ] {
        assert!(parse(good).is_ok(), "{good}");
    }
    for bad in ["promote orders --to production", "rollback orders", "rollback orders --in production --to 0"]
    {
        assert!(parse(bad).is_err(), "{bad}");
    }
    assert!(parse("delete api orders --yes").is_err(), "nothing is asked without --cascade");
}

#[test]
fn a_duration_behind_wait_belongs_to_it() {
    let wait = |line: &str| {
        let cli = Cli::of(["hanse"].into_iter().chain(line.split(' ')).map(Into::into)).unwrap();
        let Command::Subscribe(args) = cli.command else { panic!("{line}") };
        (args.api.to_string(), args.change.timeout().map(|time| time.as_secs()))
    };
    for (line, api, seconds) in [
        ("subscribe x --application a --plan p --wait 5s", "x", Some(5)),
        ("subscribe --application a --plan p --wait 5m x", "x", Some(300)),
        ("subscribe --application a --plan p --wait x", "x", Some(30)),
        ("subscribe --application a --plan p --wait=7s x", "x", Some(7)),
        ("subscribe --application a --plan p x", "x", None),
    ] {
        assert_eq!(wait(line), (api.to_owned(), seconds), "{line}");
    }
}

#[test]
fn a_dump_and_a_plan_say_what_they_write() {
    for good in [
        "dump",
        "dump -o backup --tokens --stale",
        "plan -f x",
        "plan -f x --owner shop --adopt --prune -o p",
        "apply -f x --owner shop --prune",
        "apply -f x --prune --selector a=b",
        "apply --plan p --wait",
    ] {
        assert!(parse(good).is_ok(), "{good}: {:?}", parse(good).err());
    }
    for bad in [
        "apply",
        "apply -f x --prune",
        "apply -f x --adopt",
        "apply -f x --owner a b",
        "apply -f x --owner shop --prune --selector a=b",
        "apply --plan p -f x",
        "apply --plan p --owner shop",
        "plan -f x --prune",
        "plan -o p",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
    assert!(
        Cli::of(["hanse", "plan", "-f", "x", "--owner", "a b"].map(Into::into)).is_err(),
        "it is no label"
    );
}
