//! What is wrong with a configuration file, in plain words.

use hanse_management::words;

/// An error of the TOML reader: its place, and the message without the names of Rust's types.
pub(crate) fn told(error: &toml::de::Error) -> String {
    let (shown, said) = (error.to_string(), error.message());
    let (detail, _) = words::plain(said);
    // The line that is at fault comes before the message, and may contain the same words.
    let told = match shown.rfind(said) {
        Some(at) => format!("{}{detail}{}", &shown[..at], &shown[at + said.len()..]),
        None => detail,
    };
    told.trim_end().to_owned()
}
