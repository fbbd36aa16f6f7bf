//! Names from text.
//!
//! A name is hickory's [`Name`]: it keeps the case of its letters, compares without it, holds any octets, and refuses what RFC 1035 §2.3.4
//! does not allow, so this crate needs no type of its own. Two of its habits are kept out here: a name without a final dot would be a
//! relative one, which equals no name of a message, and its text has octal escapes where RFC 1035 §5.1 has decimal ones.

use hickory_proto::rr::Name;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no DNS name: {why}; write labels of letters, digits, - and _ with dots, such as orders.example.com"
)]
pub struct BadName {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// The absolute name of a text, whether or not it ends with a dot. `.` is the root.
pub fn absolute(text: &str) -> Result<Name, BadName> {
    let refused = |why| Err(BadName { text: text.to_owned(), why });
    let ours = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte);
    if text.is_empty() {
        return refused("it is empty");
    }
    if !text.bytes().all(ours) {
        return refused("it has a character that host names do not have");
    }
    if text != "." && text.strip_suffix('.').unwrap_or(text).split('.').any(str::is_empty) {
        return refused("it has an empty label");
    }
    match Name::from_ascii(text) {
        Ok(mut name) => {
            name.set_fqdn(true);
            Ok(name)
        }
        Err(_) => refused("a label has more than 63 octets, or all have more than 255"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let found = absolute(text);
        assert_eq!(found.as_ref().map(Name::to_string).map_err(|bad| bad.why), expected.map(str::to_owned));
        assert!(found.is_err() || found.is_ok_and(|name| name.is_fqdn()));
    }

    #[test]
    fn names_from_text() {
        check("orders.gslb.example.com", Ok("orders.gslb.example.com."));
        check("Orders.Example.com.", Ok("Orders.Example.com."));
        check("_hanse-epoch.orders.example.com", Ok("_hanse-epoch.orders.example.com."));
        check(".", Ok("."));
        check("", Err("it is empty"));
        check("a..b", Err("it has an empty label"));
        check("..", Err("it has an empty label"));
        check("bad\\056char.example", Err("it has a character that host names do not have"));
        check("ünlaut.example", Err("it has a character that host names do not have"));
        let long = "a".repeat(64);
        check(&long, Err("a label has more than 63 octets, or all have more than 255"));
        let long = vec!["a".repeat(63); 4].join(".");
        check(&long, Err("a label has more than 63 octets, or all have more than 255"));
    }

    #[test]
    fn names_compare_without_case() {
        assert_eq!(absolute("A.example.").unwrap(), absolute("a.EXAMPLE").unwrap());
    }
}
