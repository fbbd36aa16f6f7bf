//! Numbers and times on the command line.

use std::{ops::RangeInclusive, time::Duration};

/// A whole number within a range.
pub(super) fn number<T: TryFrom<u64>>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number = text.parse::<u64>().ok().filter(|number| range.contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| match range.end() {
            &u64::MAX => format!("write a whole number of {} or more", range.start()),
            end => format!("write a whole number from {} to {end}", range.start()),
        })
    }
}

/// A span of time.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "write a time such as 30s, 5m or 1h30m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_to_write() {
        for text in ["x", "", "-1", "0", "17", "1.5", "99999999999999999999"] {
            assert_eq!(
                number::<u8>(1..=16)(text),
                Err("write a whole number from 1 to 16".to_owned()),
                "{text}"
            );
        }
        assert_eq!(number::<u64>(1..=u64::MAX)("0"), Err("write a whole number of 1 or more".to_owned()));
        assert_eq!((number::<u8>(1..=16)("16"), number::<u64>(1..=u64::MAX)("7")), (Ok(16), Ok(7)));
        for text in ["soon", "5", "5 x"] {
            assert_eq!(time(text), Err("write a time such as 30s, 5m or 1h30m".to_owned()), "{text}");
        }
        assert_eq!(time("1h30m"), Ok(Duration::from_secs(5_400)));
    }
}
