//! What is wrong with a configuration file, in plain words.

use hanse_management::words;

/// Keys of an earlier release, and what stands in their place.
const REPLACED: [(&str, &str); 2] = [
    (
        "http_proxy_protocol",
        "write http = { address = \"HOST:PORT\", proxy_protocol = true } under [listen] in its place",
    ),
    (
        "https_proxy_protocol",
        "write https = { address = \"HOST:PORT\", proxy_protocol = true } under [listen] in its place",
    ),
];

/// An error of the TOML reader: its place, and the message without the names of Rust's types.
pub(crate) fn told(error: &toml::de::Error) -> String {
    let (shown, said) = (error.to_string(), error.message());
    let (detail, _) = words::plain(said);
    let is_replaced = |(key, _): &&(&str, &str)| said.starts_with(&format!("unknown field `{key}`"));
    let detail = match REPLACED.iter().find(is_replaced) {
        Some((_, instead)) => format!("{detail}: {instead}"),
        None => detail,
    };
    // The line that is at fault comes before the message, and may contain the same words.
    let told = match shown.rfind(said) {
        Some(at) => format!("{}{detail}{}", &shown[..at], &shown[at + said.len()..]),
        None => detail,
    };
    told.trim_end().to_owned()
}
