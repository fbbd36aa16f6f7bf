//! What the completion of a shell asks for: values that the federation knows.

use std::{path::PathBuf, time::Duration};

use clap::CommandFactory as _;
use clap_complete::Shell;
use hanse_management::Kind;
use hanse_topology::Name;

use crate::{
    args::{Cli, CompleteArgs},
    client::Client,
    complete::{Values, wanted},
    out::data,
};

/// Someone who has pressed a key waits for it: what is not there by then is not offered.
const WITHIN: Duration = Duration::from_millis(300);

/// Prints what may stand at the cursor, one a line. Nothing where that is not known: a completion says no errors.
pub(crate) async fn complete(config: Option<PathBuf>, args: &CompleteArgs) -> anyhow::Result<()> {
    let mut root = Cli::command();
    root.build();
    let Some(wanted) = wanted(&root, &args.words, args.index) else { return Ok(()) };
    let values = match wanted.values {
        Values::Words(words) => words,
        Values::Names(kinds) => {
            let config = wanted.config.map(PathBuf::from).or(config);
            let organization = wanted.organization.and_then(|name| Name::new(name).ok());
            let Ok(client) = Client::of_process(config, organization) else { return Ok(()) };
            tokio::time::timeout(WITHIN, names(&client, &kinds)).await.unwrap_or_default()
        }
    };
    for value in values {
        data(format!("{}{value}", wanted.prefix))?;
    }
    Ok(())
}

/// The names that the first server knows now. A shell acts on what it is given, so nothing else that a server says is passed on.
async fn names(client: &Client, kinds: &[Kind]) -> Vec<String> {
    let mut names = Vec::new();
    for kind in kinds {
        if let Ok(page) = client.list(*kind, true).await {
            let items = page.items.into_iter().map(|item| item.name);
            names.extend(items.filter(|name| Name::new(name.as_str()).is_ok()));
        }
    }
    names
}

/// A shell's script: clap's for what the command line alone knows, and before it a question to [`complete`].
pub(crate) fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "hanse", &mut script);
    let script = String::from_utf8_lossy(&script);
    format!("{}\n{}", script.trim_end(), asking(shell)).trim_end().to_owned()
}

fn asking(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => {
            r#"
_hanse_or_values() {
    local values
    values=$(hanse __complete "$COMP_CWORD" "${COMP_WORDS[@]}" 2>/dev/null)
    if [[ -n $values ]]; then
        local word=${COMP_WORDS[COMP_CWORD]#=} value
        COMPREPLY=()
        while IFS= read -r value; do
            [[ $value == "$word"* ]] && COMPREPLY+=("$value")
        done <<< "$values"
    else
        _hanse "$@"
    fi
}
complete -F _hanse_or_values -o bashdefault -o default hanse"#
        }
        Shell::Zsh => {
            r#"
_hanse_or_values() {
    local -a values
    values=(${(f)"$(hanse __complete $((CURRENT - 1)) "${words[@]}" 2>/dev/null)"})
    if (( ${#values} )); then
        compadd -- "${values[@]}"
    else
        _hanse "$@"
    fi
}
compdef _hanse_or_values hanse"#
        }
        Shell::Fish => {
            r#"
function __hanse_values
    set -l words (commandline -opc) (commandline -ct)
    hanse __complete (math (count $words) - 1) $words 2>/dev/null
end
complete -c hanse -a '(__hanse_values)'"#
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use axum::Router;
    use serde_json::json;

    use super::*;
    use crate::client::tests::{client_of, resource};

    #[tokio::test]
    async fn a_shell_is_given_names_only() {
        let long = "a".repeat(64);
        let others = [
            "",
            "Gold",
            "gold plan",
            "gold\nplan",
            "gold;ls",
            "$(ls)",
            "`ls`",
            "gold*",
            "../gold",
            "-f",
            "gold\u{1b}[2J",
            "größe",
            &long,
        ];
        let items: Vec<_> = others
            .iter()
            .copied()
            .chain(["gold", "silver-2"])
            .map(|name| resource(json!({"name": name})))
            .collect();
        assert_eq!(items.len(), 15);
        let page = json!({"items": items, "revision": 9}).to_string();
        let (client, _dir) =
            client_of(Router::new().fallback(move || std::future::ready(page.clone()))).await;
        assert_eq!(names(&client, &[Kind::Plan]).await, ["gold", "silver-2"]);
    }

    #[test]
    fn a_shell_asks_before_it_completes_by_itself() {
        for (shell, function) in [
            (Shell::Bash, "_hanse_or_values"),
            (Shell::Zsh, "_hanse_or_values"),
            (Shell::Fish, "__hanse_values"),
        ] {
            let script = script(shell);
            assert!(script.contains("hanse __complete") && script.ends_with(&asking(shell)[1..]), "{shell}");
            assert!(script.matches(function).count() >= 2, "{shell}");
        }
        assert_eq!(asking(Shell::Elvish), "", "it has no such question yet");
    }

    /// In a bash in which `hanse` answers as a federation with two environments would.
    #[test]
    fn bash_offers_what_the_federation_knows() {
        let offered = |words: &str, at: usize| {
            let ask = format!(
                "{}\nhanse() {{ [[ $1 == __complete ]] && printf '%s\\n' production sandbox '$(echo run)'; }}\n\
                 COMP_WORDS=({words}); COMP_CWORD={at}; _hanse_or_values hanse; echo \"${{COMPREPLY[@]}}\"",
                script(Shell::Bash)
            );
            // In a file: it is longer than an argument may be.
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), ask).unwrap();
            let output = Command::new("bash").arg(file.path()).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        assert_eq!(offered("hanse promote x --to ''", 4), "production sandbox $(echo run)", "nothing is run");
        assert_eq!(offered("hanse promote x --to sa", 4), "sandbox");
        assert_eq!(offered("hanse promote x --to =", 4), "production sandbox $(echo run)");
    }
}
