use hanse_topology::Name;

use super::*;
use crate::Addresses;

pub(crate) fn config(dir: &Path) -> Config {
    let address = || "127.0.0.1:0".to_owned();
    Config {
        name: Name::new("cp-1").unwrap(),
        data_dir: dir.to_owned(),
        store_key: None,
        listen: Addresses {
            api: address(),
            federation: address(),
            raft: address(),
            enrolment: address(),
            admin: address(),
        },
        advertise: None,
        api_names: Default::default(),
    }
}

/// A node reads these before its log and its snapshot, which say that its release is too old. So every release must be able to.
#[test]
fn files_that_are_read_before_the_log_keep_their_forms() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    crate::init(&config).unwrap();
    fs::write(node_file(&config), r#"{"id": 7, "later": true}"#).unwrap();
    assert_eq!(node(&config).unwrap().id, 7);
    fs::write(config.join_file(), r#"{"members": ["127.0.0.1:7445"], "later": true}"#).unwrap();
    let join: JoinFile = read_json(&config.join_file()).unwrap().unwrap();
    assert_eq!(join.members, ["127.0.0.1:7445"]);
    let bootstrap = r#"{"lineage": "00", "operator_digest": "sha256:00", "recovery": {"sign": "01", "wrap": "02", "later": 1}, "later": true}"#;
    fs::write(config.bootstrap_file(), bootstrap).unwrap();
    let bootstrap: BootstrapFile = read_json(&config.bootstrap_file()).unwrap().unwrap();
    assert_eq!((&*bootstrap.lineage, &*bootstrap.operator_digest), ("00", "sha256:00"));
    assert_eq!(bootstrap.recovery.read().unwrap().wrap, [2]);

    let first_line = |path: &str| {
        let text = fs::read_to_string(config.pki_dir().join(path)).unwrap();
        text.lines().next().unwrap().to_owned()
    };
    for certificates in ["root.crt", "control/chain.pem", "root/chain.pem"] {
        assert_eq!(first_line(certificates), "-----BEGIN CERTIFICATE-----");
    }
    for pair in ["root/key.pem", "recovery/sign.pem", "recovery/wrap.pem"] {
        assert_eq!(first_line(pair), "-----BEGIN PRIVATE KEY-----", "PKCS #8");
    }
    assert_eq!(first_line("control/key.pem"), "-----BEGIN HANSE SEALED KEY-----", "the same, sealed");
}

#[test]
fn what_is_left_of_a_node_is_no_place_for_another() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    fs::create_dir_all(dir.path().join(LOG_DIR)).unwrap();
    assert!(matches!(make(&config), Err(Error::AlreadyMade(_))));
}
