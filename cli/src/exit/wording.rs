//! The control plane's words as this program's people know them: it speaks of requests, they of commands.

/// What the API calls something, and what the command line does.
const WORDS: [(&str, &str); 8] = [
    ("with cascade", "with --cascade"),
    ("without cascade", "without --cascade"),
    ("cascade=true", "--cascade"),
    ("consistency=stale", "--stale"),
    ("prune=true&selector=", "--prune --selector "),
    ("prune=true", "--prune"),
    (", or repeat it with the same idempotency key", ""),
    (
        "with a join token whose spec says `replace: true`",
        "with a token of `hanse token create --join … --replace`",
    ),
];

/// Field and detail in one sentence, which names a resource once: many details start with what the field starts with.
pub(super) fn message(field: &str, detail: &str) -> String {
    let (resource, rest) = field.split_once(": ").unwrap_or((field, ""));
    let repeated = !resource.is_empty()
        && detail
            .strip_prefix(resource)
            .is_some_and(|after| after.is_empty() || after.starts_with([' ', ',', ':']));
    match if repeated { rest } else { field } {
        "" => detail.to_owned(),
        place => format!("{place}: {detail}"),
    }
}

/// What to do, in commands.
pub(super) fn remedy(said: &str) -> String {
    if let Some((before, path)) = said.split_once("GET /v1/")
        && let Some(command) = list_command(path)
    {
        return format!("{before}{command}");
    }
    WORDS.iter().fold(said.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
}

/// `organizations/shop/apis lists what there is` → the command that does.
fn list_command(said: &str) -> Option<String> {
    let (path, what) = said.split_once(' ')?;
    match path.split('/').collect::<Vec<_>>()[..] {
        [kinds] => Some(format!("`hanse get {kinds}` {what}")),
        ["organizations", organization, kinds] => {
            Some(format!("`hanse get {kinds} --organization {organization}` {what}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_named_once() {
        for (field, detail, said) in [
            ("Api default/nope", "Api default/nope does not exist", "Api default/nope does not exist"),
            (
                "Plan default/gold: revision",
                "Plan default/gold is at revision 12, not 9",
                "revision: Plan default/gold is at revision 12, not 9",
            ),
            (
                "Api default/a",
                "Api default/ab does not exist",
                "Api default/a: Api default/ab does not exist",
            ),
            (
                "Api default/a: spec.upstream",
                "Upstream x does not exist",
                "Api default/a: spec.upstream: Upstream x does not exist",
            ),
            ("query: limit", "it is no number", "query: limit: it is no number"),
            ("", "nothing", "nothing"),
        ] {
            assert_eq!(message(field, detail), said);
        }
    }

    #[test]
    fn remedies_speak_of_commands() {
        for (theirs, ours) in [
            (
                "GET /v1/organizations/default/apis lists what there is",
                "`hanse get apis --organization default` lists what there is",
            ),
            (
                "there are eu-west, us-east; GET /v1/regions lists what there is",
                "there are eu-west, us-east; `hanse get regions` lists what there is",
            ),
            (
                "delete those first, or delete it with cascade",
                "delete those first, or delete it with --cascade",
            ),
            (
                "try again, ask another control-plane node, or read with consistency=stale",
                "try again, ask another control-plane node, or read with --stale",
            ),
            (
                "read what you wrote before you write again, or repeat it with the same idempotency key",
                "read what you wrote before you write again",
            ),
            ("correct the value", "correct the value"),
        ] {
            assert_eq!(remedy(theirs), ours);
        }
    }
}
