//! Logs, on standard error.

use std::{
    error::Error,
    fmt,
    io::{self, IsTerminal as _},
};

use tracing::{Instrument as _, info, info_span, warn};
use tracing_subscriber::EnvFilter;

/// What is logged where the environment does not say: ours, and what libraries warn of.
const DEFAULT_FILTER: &str = "info,h2=warn,hyper=warn,rustls=warn,openraft=warn,sled=warn";
const VARIABLE: &str = "HANSE_LOG";

/// Starts logging to standard error, as text or as JSON lines. `HANSE_LOG` filters: `debug`, `info,hanse_raft=trace`.
/// A second call changes nothing.
pub fn init(role: &str, json: bool) {
    let wanted = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty());
    let (filter, problem) = match wanted.as_deref().map(EnvFilter::try_new) {
        None => (EnvFilter::new(DEFAULT_FILTER), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(DEFAULT_FILTER), Some(error)),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = if json {
        builder.json().try_init()
    } else {
        let colours =
            io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        builder.with_ansi(colours).try_init()
    };
    if started.is_err() {
        return;
    }
    if let Some(error) = problem {
        warn!(%error, "{VARIABLE} is not a log filter, using {DEFAULT_FILTER:?}");
    }
    info!(role, version = env!("CARGO_PKG_VERSION"), "starting");
}

/// Runs a node: each of its lines says of which node it is.
pub fn of_node<F: Future>(
    role: &'static str,
    name: impl fmt::Display,
    run: F,
) -> impl Future<Output = F::Output> {
    run.instrument(info_span!("node", role, %name))
}

/// An error with its causes, joined by colons: `cannot connect to cp-1:7444: transport error: connection refused`.
pub fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl fmt::Display + 'a {
    Causes(error)
}

struct Causes<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            // Libraries often repeat their cause in their own text.
            let text = cause.to_string();
            if !last.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            last = text;
            next = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn causes_are_joined_and_not_repeated() {
        let inner = Layer("refused", None);
        let middle = Layer("io: refused", Some(Box::new(inner)));
        let outer = Layer("cannot connect", Some(Box::new(middle)));
        assert_eq!(causes(&outer).to_string(), "cannot connect: io: refused");
    }
}
