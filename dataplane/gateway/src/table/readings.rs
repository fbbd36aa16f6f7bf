//! How upstreams may read a path.
//!
//! Servers differ in what they make of parameters of segments, empty segments and encoded slashes. Tomcat drops what follows a
//! `;`, nginx folds `//`, IIS takes `\` for `/`, and Go decodes `%2F`. The gateway forwards a path as it is written. So a path that
//! fits one operation here may be the path of another operation there.

use hanse_runtime::plain;

/// The longest path that is read in several ways: four times what a template may have. The work grows with the length.
const MAX_READ: usize = 8 << 10;

/// What upstreams may read a canonical path as, the path itself included. Empty where all of them read it alike: it has no `;`, `\`,
/// `%2F`, empty segment or final slash. `None`: it is too long to say.
pub fn readings(path: &[u8]) -> Option<Vec<Vec<u8>>> {
    // A canonical path has a '%' of %2F and %25 only.
    let special = |pair: &[u8]| matches!(pair, [_, b';' | b'\\' | b'%'] | [b'/', b'/']);
    if !path.windows(2).any(special) && (path == b"/" || !path.ends_with(b"/")) {
        return Some(Vec::new());
    }
    if path.len() > MAX_READ {
        return None;
    }
    // A server does some of these, in an order of its own: there are 52 readings at most.
    let mut readings = vec![path.to_vec()];
    let mut at = 0;
    while let Some(one) = readings.get(at) {
        let others = [
            plain(one).into_owned(),
            with_slashes(one, b"%2F"),
            with_slashes(one, b"\\"),
            folded(one),
            without_final_slash(one),
        ];
        for other in others {
            if !readings.contains(&other) {
                readings.push(other);
            }
        }
        at += 1;
    }
    Some(readings)
}

/// With a `/` for each of these octets.
fn with_slashes(path: &[u8], octets: &[u8]) -> Vec<u8> {
    let mut read = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&first, behind)) = rest.split_first() {
        let slash = rest.strip_prefix(octets);
        read.push(slash.map_or(first, |_| b'/'));
        rest = slash.unwrap_or(behind);
    }
    read
}

/// Without empty segments.
fn folded(path: &[u8]) -> Vec<u8> {
    let mut folded = path.to_vec();
    folded.dedup_by(|one, before| (*one, *before) == (b'/', b'/'));
    folded
}

fn without_final_slash(path: &[u8]) -> Vec<u8> {
    match path.strip_suffix(b"/") {
        Some(before) if !before.is_empty() => before.to_vec(),
        _not_final => path.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_in_every_way_and_order() {
        let check = |path: &str, wanted: &[&str]| {
            let mut found: Vec<String> = readings(path.as_bytes())
                .unwrap()
                .into_iter()
                .map(|one| String::from_utf8(one).unwrap())
                .collect();
            found.sort();
            assert_eq!(found, wanted, "{path}");
        };
        for alike in ["/", "/a", "/a/b.c/d:e"] {
            check(alike, &[]);
        }
        check("/a%25b", &["/a%25b"]);
        check("/a;x/b", &["/a/b", "/a;x/b"]);
        check("//a/", &["//a", "//a/", "/a", "/a/"]);
        check("//", &["/", "//"]);
        check("/a\\b%2Fc", &["/a/b%2Fc", "/a/b/c", "/a\\b%2Fc", "/a\\b/c"]);
        // Cut before the slash is decoded, and after it.
        check("/a%2Fb;x%2Fc/d", &["/a%2Fb/d", "/a%2Fb;x%2Fc/d", "/a/b/c/d", "/a/b/d", "/a/b;x/c/d"]);
    }

    #[test]
    fn a_path_has_52_readings_at_most() {
        assert_eq!(readings(b"//a%2Fb\\c;x%2Fy;w\\z/d/").unwrap().len(), 52);
        let long = |octet: &str| readings(format!("/{}", octet.repeat(MAX_READ)).as_bytes());
        assert_eq!((long("a"), long(";")), (Some(vec![]), None));
    }
}
