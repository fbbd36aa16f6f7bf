//! The variables that configure roles, as they are given to `hanse dev`.

use crate::exit::Failure;

/// The variables of gateways: each gateway gets them.
const GATEWAY: &str = "HANSE_GATEWAY_";
/// What `hanse dev` decides for each gateway.
const DECIDED: [&str; 6] = ["NAME", "DATA_DIR", "LISTEN_", "AGENTS", "ENROLMENT", "JOIN_TOKEN"];
/// The variables of the other roles: their processes differ from each other in what people set.
const REFUSED: [&str; 3] = ["HANSE_SERVER_", "HANSE_AGENT_", "HANSE_DNS_"];

/// Refuses variables that would not reach a process, or would break it.
pub(super) fn check() -> Result<(), Failure> {
    check_all(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
}

/// Those for gateways.
pub(super) fn of_gateways() -> impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)> {
    std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(|name| name.starts_with(GATEWAY)))
}

fn check_all(names: impl Iterator<Item = String>) -> Result<(), Failure> {
    for name in names {
        let decided =
            name.strip_prefix(GATEWAY).is_some_and(|key| DECIDED.iter().any(|own| key.starts_with(own)));
        if decided {
            return Err(Failure::usage(format!(
                "{name} is set, and hanse dev decides that for each gateway"
            ))
            .remedy("unset it"));
        }
        if REFUSED.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(Failure::usage(format!("{name} is set, and hanse dev gives it to no process"))
                .remedy("unset it; only HANSE_GATEWAY_… and HANSE_LOG reach processes"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_reach_gateways_or_are_refused() {
        let check = |name: &str| {
            check_all(["PATH".to_owned(), name.to_owned()].into_iter()).map_err(|error| error.message)
        };
        for passed in [
            "HANSE_GATEWAY_LIMITS_MAX_BODY_BYTES",
            "HANSE_GATEWAY_ACCESS_LOG_FILE",
            "HANSE_LOG",
            "HANSE_CONFIG",
        ] {
            assert_eq!(check(passed), Ok(()), "{passed}");
        }
        for refused in [
            "HANSE_GATEWAY_LISTEN_HTTP",
            "HANSE_GATEWAY_JOIN_TOKEN_FILE",
            "HANSE_SERVER_NAME",
            "HANSE_AGENT_STORE_KEY",
        ] {
            assert!(check(refused).is_err_and(|said| said.contains(refused)), "{refused}");
        }
    }
}
