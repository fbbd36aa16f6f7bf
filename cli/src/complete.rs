//! Which values a command line lacks at the cursor. Pure: words in, what to ask for out.

use std::collections::HashMap;

use clap::{Arg, Command};
use hanse_management::Kind;

/// What may stand at the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// What it is.
    pub(crate) values: Values,
    /// What was typed of the word and stays: `--also=a,` of `--also=a,b`.
    pub(crate) prefix: String,
    /// The value of `--config`.
    pub(crate) config: Option<String>,
    /// The value of `--organization`.
    pub(crate) organization: Option<String>,
}

/// Values that the command line alone does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Values {
    /// These words.
    Words(Vec<String>),
    /// Names of resources of these kinds.
    Names(Vec<Kind>),
}

/// What is known of the words before the cursor.
#[derive(Debug, Default)]
struct Before<'a> {
    /// Values of options, by their ids.
    options: HashMap<String, &'a str>,
    positionals: Vec<&'a str>,
}

/// What may stand at word `index`. `None`: nothing that a federation would have to be asked for.
pub(crate) fn wanted(root: &Command, words: &[String], index: usize) -> Option<Wanted> {
    let (mut command, mut pending): (&Command, Option<&Arg>) = (root, None);
    let mut before = Before::default();
    for word in words.get(1..index)? {
        // Shells may cut `--to=x` into three words.
        match (pending.take(), word.as_str()) {
            (pending_one, "=") => pending = pending_one,
            (Some(option), value) => {
                before.options.insert(option.get_id().to_string(), value);
            }
            (None, flag) if flag.starts_with('-') => match flag.split_once('=') {
                Some((flag, value)) => {
                    let id = option(command, flag).map(|option| option.get_id().to_string());
                    before.options.extend(id.map(|id| (id, value)));
                }
                None => pending = option(command, flag).filter(|option| takes_next(option)),
            },
            (None, word) => match command.find_subcommand(word) {
                Some(below) => command = below,
                None => before.positionals.push(word),
            },
        }
    }
    let typed = words.get(index).map_or("", String::as_str);
    let (arg, typed, start) = match (pending, typed.split_once('=')) {
        (Some(_), _) if typed == "=" => (pending?, "", ""),
        (Some(option), _) => (option, typed, ""),
        (None, Some((flag, value))) if flag.starts_with('-') => {
            (option(command, flag)?, value, &typed[..=flag.len()])
        }
        (None, _) if typed.starts_with('-') => return None,
        (None, _) => (positional(command, before.positionals.len())?, typed, ""),
    };
    let (values, inner) = values(command.get_name(), arg.get_id().as_str(), &before, typed)?;
    Some(Wanted {
        values,
        prefix: format!("{start}{inner}"),
        config: before.options.get("config").map(ToString::to_string),
        organization: before.options.get("organization").map(ToString::to_string),
    })
}

/// The values of one argument, and the part of the word that stays.
fn values<'a>(command: &str, arg: &str, before: &Before<'_>, typed: &'a str) -> Option<(Values, &'a str)> {
    let in_list = || &typed[..typed.rfind(',').map_or(0, |comma| comma + 1)];
    let names = |kind: Kind, kept: &'a str| Some((Values::Names(vec![kind]), kept));
    match (command, arg) {
        ("get", "what") => match (before.positionals.first(), typed.rsplit_once('/')) {
            (_, Some((kind, _))) => names(Kind::from_word(kind).ok()?, &typed[..=kind.len()]),
            (Some(kinds), None) if !kinds.contains('/') => {
                let kinds = kinds.split(',').map(Kind::from_word).collect::<Result<_, _>>().ok()?;
                Some((Values::Names(kinds), ""))
            }
            (_, None) => Some((Values::Words(kinds(|kind| kind.plural().to_owned())), in_list())),
        },
        ("describe" | "delete", "kind") => {
            Some((Values::Words(kinds(|kind| kind.as_str().to_lowercase())), ""))
        }
        ("describe" | "delete", "name") => names(Kind::from_word(before.positionals.first()?).ok()?, ""),
        (_, "organization") => names(Kind::Organization, ""),
        (_, "region" | "regions") => names(Kind::Region, in_list()),
        (_, "publish_to" | "also" | "pin" | "environments") => names(Kind::Environment, in_list()),
        (_, "environment") | ("promote", "from" | "to") => names(Kind::Environment, ""),
        (_, "plan") => names(Kind::Plan, ""),
        (_, "application") => names(Kind::Application, ""),
        (_, "api") | ("openapi" | "publish", "name") => names(Kind::Api, ""),
        _ => None,
    }
}

fn kinds(word: impl Fn(Kind) -> String) -> Vec<String> {
    Kind::ALL.into_iter().map(word).collect()
}

/// The option of `--long` or `-s`.
fn option<'a>(command: &'a Command, flag: &str) -> Option<&'a Arg> {
    let is_it = |arg: &&Arg| match flag.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => arg.get_short().is_some_and(|short| flag.strip_prefix('-') == Some(&short.to_string())),
    };
    command.get_arguments().find(is_it)
}

/// Whether the word behind the option is its value.
fn takes_next(option: &Arg) -> bool {
    option.get_action().takes_values() && !option.is_require_equals_set()
}

/// The argument at a position; the last one where it takes several.
fn positional(command: &Command, at: usize) -> Option<&Arg> {
    let several = |arg: &&Arg| arg.get_num_args().is_some_and(|count| count.max_values() > 1);
    command.get_positionals().nth(at).or_else(|| command.get_positionals().last().filter(several))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Cli;

    fn at_end(line: &str) -> Option<Wanted> {
        let mut root = Cli::command();
        root.build();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        wanted(&root, &words, words.len() - 1)
    }

    #[test]
    fn names_come_from_the_federation() {
        for (line, kind, prefix) in [
            ("hanse get api ", Kind::Api, ""),
            ("hanse get plans go", Kind::Plan, ""),
            ("hanse get api/", Kind::Api, "api/"),
            ("hanse get api/orders binding/or", Kind::Binding, "binding/"),
            ("hanse describe binding x", Kind::Binding, ""),
            ("hanse --config c.toml delete upstream ", Kind::Upstream, ""),
            ("hanse promote ", Kind::Api, ""),
            ("hanse promote orders --from ", Kind::Environment, ""),
            ("hanse promote orders --from sandbox --to p", Kind::Environment, ""),
            ("hanse promote orders --to=p", Kind::Environment, "--to="),
            ("hanse promote orders --to = p", Kind::Environment, ""),
            ("hanse promote orders --to =", Kind::Environment, ""),
            ("hanse rollback orders --dry-run --in ", Kind::Environment, ""),
            ("hanse import openapi f --as ", Kind::Api, ""),
            ("hanse import openapi f --publish-to a,", Kind::Environment, "a,"),
            ("hanse publish x --also=a,b", Kind::Environment, "--also=a,"),
            ("hanse publish x --wait --regions eu,us,m", Kind::Region, "eu,us,"),
            ("hanse subscribe x --application ", Kind::Application, ""),
            ("hanse subscribe x --plan g", Kind::Plan, ""),
            ("hanse token create --join agent --region ", Kind::Region, ""),
            ("hanse get apis --organization ", Kind::Organization, ""),
        ] {
            let wanted = at_end(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(
                (wanted.values, wanted.prefix.as_str()),
                (Values::Names(vec![kind]), prefix),
                "{line}"
            );
        }
        let several = at_end("hanse get apis,plans x").unwrap();
        assert_eq!(several.values, Values::Names(vec![Kind::Api, Kind::Plan]));
    }

    #[test]
    fn kinds_are_words() {
        for (line, word, prefix) in [
            ("hanse get ", "apis", ""),
            ("hanse get -o json bin", "bindings", ""),
            ("hanse get apis,", "plans", "apis,"),
            ("hanse describe a", "api", ""),
            ("hanse delete ", "jointoken", ""),
        ] {
            let Some(Wanted { values: Values::Words(words), prefix: kept, .. }) = at_end(line) else {
                panic!("{line}")
            };
            assert!(words.iter().any(|one| one == word) && kept == prefix, "{line}: {words:?} {kept}");
        }
    }

    #[test]
    fn the_rest_is_known_without_a_federation() {
        for line in [
            "hanse ",
            "hanse ge",
            "hanse get gadgets x",
            "hanse get --out",
            "hanse rollback x --to ",
            "hanse apply -f ",
            "hanse status ",
            "hanse describe api x y",
        ] {
            assert_eq!(at_end(line), None, "{line}");
        }
        assert_eq!(wanted(&Cli::command(), &[], 3), None);
    }

    #[test]
    fn the_federation_is_the_one_that_the_line_names() {
        let wanted = at_end("hanse get --config a.toml apis --organization=shop x").unwrap();
        assert_eq!(
            (wanted.config.as_deref(), wanted.organization.as_deref()),
            (Some("a.toml"), Some("shop"))
        );
    }
}
