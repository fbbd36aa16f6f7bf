//! Free text for people, and spans of time.

use std::ops::RangeInclusive;

use super::{Verdict, invalid};
use crate::Duration;

/// The longest free text: a line.
pub(crate) const MAX_TEXT_BYTES: usize = 256;
/// The longest timeout: beyond it the gateway would hold a connection whose client has given up.
const MAX_TIMEOUT: Duration = Duration::from_millis(60 * 60 * 1000);

/// A line of text for people.
pub(crate) fn check_line(field: &str, text: &str) -> Verdict {
    check_line_of(field, text, MAX_TEXT_BYTES)
}

/// The same of another length.
pub(crate) fn check_line_of(field: &str, text: &str, longest: usize) -> Verdict {
    if text.is_empty() {
        return Err(invalid(field, "it must not be empty", "write something, or leave the field out"));
    }
    if text.len() > longest {
        return Err(invalid(field, format!("{} bytes are more than {longest}", text.len()), "write less"));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid(field, "it has control characters", "write one line of plain text"));
    }
    Ok(())
}

/// The same, where it is given.
pub(crate) fn check_optional_line(field: &str, text: Option<&String>) -> Verdict {
    text.map_or(Ok(()), |text| check_line(field, text))
}

/// A timeout.
pub(crate) fn check_timeout(field: &str, span: Duration) -> Verdict {
    if (Duration::from_millis(1)..=MAX_TIMEOUT).contains(&span) {
        return Ok(());
    }
    Err(invalid(field, format!("{span} is not between 1ms and 1h"), "choose a timeout such as \"30s\""))
}

/// A span of whole seconds, as DNS counts them.
pub(crate) fn check_seconds(field: &str, span: Duration, range: RangeInclusive<Duration>) -> Verdict {
    if range.contains(&span) && span.as_millis().is_multiple_of(1_000) {
        return Ok(());
    }
    let detail =
        format!("{span} is not a number of whole seconds between {} and {}", range.start(), range.end());
    Err(invalid(field, detail, "choose a time such as \"30s\""))
}

/// A span of time from the first to the last.
pub(crate) fn check_span(field: &str, span: Duration, range: RangeInclusive<Duration>) -> Verdict {
    if range.contains(&span) {
        return Ok(());
    }
    let detail = format!("{span} is not between {} and {}", range.start(), range.end());
    Err(invalid(field, detail, "choose a time within these bounds"))
}
