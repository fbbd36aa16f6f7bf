//! Checks of the workspace itself: which crate may know which.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Every crate of ours with all those of ours it may depend on. The arrows go one way. Another arrow gets its reason in
/// docs/ARCHITECTURE.md.
const EDGES: [(&str, &[&str]); 22] = [
    ("hanse-topology", &[]),
    ("hanse-steering", &["hanse-topology"]),
    ("hanse-proto", &["hanse-topology"]),
    ("hanse-runtime", &["hanse-topology", "hanse-proto"]),
    ("hanse-management", &["hanse-topology", "hanse-proto", "hanse-runtime"]),
    ("hanse-sync", &["hanse-topology", "hanse-proto"]),
    ("hanse-process", &["hanse-topology"]),
    ("hanse-identity", &["hanse-topology", "hanse-proto", "hanse-process"]),
    ("hanse-store", &["hanse-topology", "hanse-proto"]),
    (
        "hanse-link",
        &["hanse-topology", "hanse-proto", "hanse-sync", "hanse-identity", "hanse-process", "hanse-store"],
    ),
    (
        "hanse-local",
        &["hanse-topology", "hanse-runtime", "hanse-sync", "hanse-identity", "hanse-process", "hanse-link"],
    ),
    ("hanse-dns-wire", &["hanse-topology"]),
    (
        "hanse-node",
        &["hanse-topology", "hanse-proto", "hanse-identity", "hanse-process", "hanse-link", "hanse-local"],
    ),
    (
        "hanse-state",
        &["hanse-topology", "hanse-proto", "hanse-runtime", "hanse-management", "hanse-steering"],
    ),
    (
        "hanse-raft",
        &[
            "hanse-topology",
            "hanse-proto",
            "hanse-management",
            "hanse-identity",
            "hanse-process",
            "hanse-state",
        ],
    ),
    ("hanse-api", &["hanse-topology", "hanse-management", "hanse-steering", "hanse-state"]),
    (
        "hanse-server",
        &[
            "hanse-topology",
            "hanse-proto",
            "hanse-management",
            "hanse-sync",
            "hanse-steering",
            "hanse-identity",
            "hanse-process",
            "hanse-link",
            "hanse-state",
            "hanse-raft",
            "hanse-api",
        ],
    ),
    (
        "hanse-agent",
        &[
            "hanse-topology",
            "hanse-proto",
            "hanse-runtime",
            "hanse-management",
            "hanse-sync",
            "hanse-identity",
            "hanse-process",
            "hanse-link",
            "hanse-local",
            "hanse-node",
        ],
    ),
    (
        "hanse-gateway",
        &[
            "hanse-topology",
            "hanse-proto",
            "hanse-runtime",
            "hanse-sync",
            "hanse-identity",
            "hanse-process",
            "hanse-link",
            "hanse-node",
        ],
    ),
    (
        "hanse-dns",
        &[
            "hanse-topology",
            "hanse-steering",
            "hanse-proto",
            "hanse-runtime",
            "hanse-sync",
            "hanse-identity",
            "hanse-process",
            "hanse-link",
            "hanse-dns-wire",
            "hanse-node",
        ],
    ),
    (
        "hanse",
        &[
            "hanse-topology",
            "hanse-management",
            "hanse-identity",
            "hanse-process",
            "hanse-api",
            "hanse-server",
            "hanse-agent",
            "hanse-gateway",
            "hanse-dns",
        ],
    ),
    // Attackers speak the wire and use stolen keys. A benchmark runs hundreds of agents and the links of gateways in one process, and
    // simulates more agents. Another one asks name servers.
    (
        "hanse-chaos",
        &[
            "hanse-topology",
            "hanse-proto",
            "hanse-identity",
            "hanse-process",
            "hanse-sync",
            "hanse-link",
            "hanse-agent",
            "hanse-dns-wire",
        ],
    ),
];

/// Libraries that exactly one crate may name.
const OWNED: [(&str, &str); 4] = [
    ("openraft", "hanse-raft"),
    ("sled", "hanse-raft"),
    ("redb", "hanse-store"),
    ("hickory-proto", "hanse-dns-wire"),
];

/// Libraries that `hanse-state` must not name: they parse what operators write, and two releases of one may differ, where all
/// replicas must make one state of one log. Admission calls them by way of other crates.
const PARSERS: [&str; 8] = [
    "http",
    "humantime",
    "rustls",
    "rustls-pki-types",
    "rustls-webpki",
    "serde-saphyr",
    "url",
    "x509-parser",
];

fn dependencies(wanted: impl Fn(DependencyKind) -> bool) -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata");
    metadata
        .packages
        .into_iter()
        .map(|package| {
            let ours = package.dependencies.into_iter().filter(|edge| wanted(edge.kind));
            (package.name.to_string(), ours.map(|edge| edge.name).collect())
        })
        .collect()
}

#[test]
fn edges_go_one_way() {
    let found = dependencies(|kind| kind != DependencyKind::Development);
    let allowed: BTreeMap<_, _> = EDGES.into_iter().collect();
    assert_eq!(
        found.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        allowed.keys().copied().collect(),
        "the list of crates has changed: say what the new one may depend on"
    );
    for (package, edges) in &found {
        let ours = edges.iter().filter(|name| found.contains_key(*name));
        for edge in ours {
            assert!(
                allowed[package.as_str()].contains(&edge.as_str()),
                "{package} must not depend on {edge}"
            );
        }
    }
}

#[test]
fn the_state_names_no_parser() {
    let found = dependencies(|kind| kind == DependencyKind::Normal);
    for library in PARSERS {
        assert!(!found["hanse-state"].contains(library), "hanse-state must not name {library}");
    }
}

/// Tests may use more of us, but not the harness, and not against the arrows' direction.
#[test]
fn nothing_depends_on_the_harness() {
    for (package, edges) in dependencies(|_| true) {
        assert!(
            !edges.contains("hanse-chaos"),
            "{package} must not depend on hanse-chaos, not even in tests"
        );
    }
}

#[test]
fn one_crate_names_each_library_that_can_be_replaced() {
    for (package, edges) in dependencies(|_| true) {
        for (library, owner) in OWNED {
            assert!(
                !edges.contains(library) || package == owner,
                "{package} names {library}; only {owner} may"
            );
        }
    }
}

/// The one file of the gateway that connects to upstreams, where each address is judged.
const CONNECTS: &str = "proxy/upstream/tcp.rs";
/// By what a connection can be made.
const CONNECTORS: [&str; 5] =
    ["HttpConnector", "TcpStream::connect", "TcpSocket", "UnixStream", "Client::builder"];
/// The file that binds listeners by a library whose sockets can connect, too.
const LISTENS: (&str, &str) = ("proxy/accept.rs", "socket2");

#[test]
fn one_file_of_the_gateway_connects_to_upstreams() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dataplane/gateway/src");
    let files: Vec<(String, String)> = sources(&root)
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).unwrap();
            // A module of tests is last in its file. Other items for tests stand anywhere.
            let own = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
            (file.strip_prefix(&root).unwrap().display().to_string(), own)
        })
        .collect();
    let naming = |words: &[&str]| -> BTreeSet<&str> {
        let found = files.iter().filter(|(_, own)| words.iter().any(|word| own.contains(word)));
        found.map(|(file, _)| file.as_str()).collect()
    };
    assert_eq!(naming(&CONNECTORS), BTreeSet::from([CONNECTS]), "addresses are judged in {CONNECTS} only");
    assert_eq!(naming(&[LISTENS.1]), BTreeSet::from([LISTENS.0]), "only listeners need {}", LISTENS.1);
}

/// The file of `hanse-dns-wire` that reads messages as another implementation does, for tests.
const READS_AS_OTHERS: &str = "testbed.rs";

#[test]
fn messages_of_dns_are_read_by_our_own_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/dns/src");
    let naming: BTreeSet<String> = sources(&root)
        .into_iter()
        .filter(|file| {
            let text = fs::read_to_string(file).unwrap();
            let mut words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            words.any(|word| word == "Message")
        })
        .map(|file| file.strip_prefix(&root).unwrap().display().to_string())
        .collect();
    assert_eq!(naming, BTreeSet::from([READS_AS_OTHERS.to_owned()]), "only tests use hickory's Message");
}

/// The files below a directory, but for those of tests.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory of sources");
    let paths = entries.map(|entry| entry.expect("an entry of it").path());
    let own = paths.filter(|path| path.file_stem().is_none_or(|name| name != "tests"));
    own.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}
