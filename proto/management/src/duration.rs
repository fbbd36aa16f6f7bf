//! Durations as people write them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The units of the stored form, greatest first: milliseconds, the name of one, the name of several. A year has 365.25
/// days and a month 30.44.
const UNITS: [(u64, &str, &str); 7] = [
    (31_557_600_000, "year", "years"),
    (2_630_016_000, "month", "months"),
    (86_400_000, "day", "days"),
    (3_600_000, "h", "h"),
    (60_000, "m", "m"),
    (1_000, "s", "s"),
    (1, "ms", "ms"),
];

/// A span of time, written `30s`, `250ms`, `24h` (units as in the humantime crate). Whole milliseconds.
///
/// `Display` writes the stored form, such as `1h 30m`. Only code of this file writes and reads that form, so that every
/// replica does both alike. A person may write other forms, such as `90 min`: humantime reads those. A command holds a
/// `Duration` and is encoded by `Display`, so decoding a log entry never calls humantime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Duration(u64);

impl Duration {
    /// A span of `millis` milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// In milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Reads the stored form: numbers with units of [`UNITS`], a space between each two.
    fn from_stored(text: &str) -> Option<Self> {
        let add = |sum: u64, part: &str| {
            let (count, unit) = part.split_at(part.find(|character: char| !character.is_ascii_digit())?);
            let (millis, ..) = UNITS.iter().find(|(_, one, several)| [*one, *several].contains(&unit))?;
            sum.checked_add(count.parse::<u64>().ok()?.checked_mul(*millis)?)
        };
        text.split(' ').try_fold(0, add).map(Self)
    }

    /// Reads what a person may write instead.
    fn from_written(text: &str) -> Result<Self, String> {
        let span = humantime::parse_duration(text)
            .map_err(|error| format!("{text:?} is not a duration such as \"30s\" or \"250ms\": {error}"))?;
        u64::try_from(span.as_millis()).map(Self).map_err(|_| format!("{text:?} is too long"))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let (mut rest, mut space) = (self.0, "");
        for (millis, one, several) in UNITS {
            let count = rest / millis;
            rest %= millis;
            if count > 0 {
                write!(f, "{space}{count}{}", if count == 1 { one } else { several })?;
                space = " ";
            }
        }
        Ok(())
    }
}

impl FromStr for Duration {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::from_stored(text).map_or_else(|| Self::from_written(text), Ok)
    }
}

impl TryFrom<String> for Duration {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Duration> for String {
    fn from(span: Duration) -> Self {
        span.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of every magnitude.
    fn millis() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0..64_u32).prop_map(|(millis, shift)| millis >> shift)
    }

    /// Numbers with names of units, in any order, as the stored form has them and as it has not.
    fn parts() -> impl Strategy<Value = String> {
        let unit = prop::sample::select(vec![
            "year", "months", "day", "days", "h", "m", "s", "ms", "sec", "min", "",
        ]);
        let part = (0..100_000_u64, unit).prop_map(|(count, unit)| format!("{count}{unit}"));
        prop::collection::vec(part, 0..4).prop_map(|parts| parts.join(" "))
    }

    proptest! {
        #[test]
        fn the_stored_form_is_that_of_humantime_and_needs_none_to_be_read(millis in millis()) {
            let span = Duration::from_millis(millis);
            let theirs = humantime::format_duration(std::time::Duration::from_millis(millis));
            prop_assert_eq!(span.to_string(), theirs.to_string());
            prop_assert_eq!(Duration::from_stored(&span.to_string()), Some(span));
        }

        #[test]
        fn both_readers_agree(text in parts()) {
            if let Some(stored) = Duration::from_stored(&text) {
                prop_assert_eq!(Duration::from_written(&text), Ok(stored));
            }
        }
    }

    #[test]
    fn a_person_may_write_other_forms() {
        for (text, stored) in
            [("90 min", "1h 30m"), ("1.5s", "1s 500ms"), ("1h30m", "1h 30m"), ("0", "0s"), ("2w", "14days")]
        {
            assert_eq!(Duration::from_stored(text), None, "{text}");
            assert_eq!(text.parse::<Duration>().unwrap().to_string(), stored, "{text}");
        }
        for bad in
            ["", " ", "s", "1", "1 s s", "-1s", "1x", "18446744073709551615year", "99999999999999999999ms"]
        {
            assert!(bad.parse::<Duration>().is_err(), "{bad:?}");
        }
    }
}
