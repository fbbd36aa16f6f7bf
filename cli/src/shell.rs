//! Words of a command line that a person pastes into a shell.

use std::borrow::Cow;

/// A word as a POSIX shell reads it back. zsh takes `=name` for the path of a program.
pub(crate) fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_./:=@%+,".contains(character);
    if !word.is_empty() && !word.starts_with('=') && word.chars().all(is_plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for (word, expected) in [("https://h:1/v1", "https://h:1/v1"), ("a=b", "a=b"), ("=ls", "'=ls'")] {
            assert_eq!(quoted(word), expected);
        }
        for word in ["", "a b", "it's", "$(id)", "`id`", "a\\b\"c", "*?[~]", "#x", "größe", "a\nb", "&;|<>"]
        {
            let echo = format!("printf %s {}", quoted(word));
            let output = Command::new("sh").args(["-c", &echo]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }
}
