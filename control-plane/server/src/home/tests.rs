use std::time::{Duration, SystemTime};

use hanse_topology::Name;

use super::*;
use crate::Addresses;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

fn config(dir: &Path) -> Config {
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

/// What the certificate of this node's intermediate is after a start so much later.
fn after(years: u32, config: &Config) -> Authority {
    let (clock, hand) = WallClock::simulated(SystemTime::now());
    hand.advance(YEAR * years);
    load_control(config, &clock).unwrap()
}

#[test]
fn a_control_intermediate_is_renewed_where_the_root_is_at_hand() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    crate::init(&config).unwrap();
    let first = after(0, &config).chain()[0].clone();
    assert_eq!(after(2, &config).chain()[0], first, "it is not yet due");

    let away = dir.path().join("safe");
    fs::rename(config.pki_dir().join(ROOT_DIR), &away).unwrap();
    assert_eq!(after(3, &config).chain()[0], first, "nothing to renew it with");

    fs::rename(&away, config.pki_dir().join(ROOT_DIR)).unwrap();
    let renewed = after(6, &config);
    assert_ne!(renewed.chain()[0], first);
    let kept = after(6, &config);
    assert_eq!(kept.chain(), renewed.chain(), "it was saved, and is not due again");
    let identity = hanse_topology::Identity::server(config.name.clone());
    kept.issue_credentials(&identity, &[]).expect("it is of use again, five years after the first ended");
}

#[test]
fn a_node_that_missed_a_rotation_is_brought_under_the_new_root_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    crate::init(&config).unwrap();
    let before = control(&config).unwrap();
    let at_hand = config.pki_dir().join(ROOT_DIR);
    fs::remove_dir_all(&at_hand).unwrap();
    let error = crate::reissue(&config).unwrap_err().to_string();
    assert!(error.contains("holds no root"), "{error}");
    let fresh = Authority::new_root().unwrap();
    fresh.save(&at_hand).unwrap();
    crate::reissue(&config).unwrap();
    let after = control(&config).unwrap();
    assert_eq!(after.trust_anchor().unwrap(), fresh.trust_anchor().unwrap());
    assert_eq!(after.key().public_key_der(), before.key().public_key_der());
}

#[test]
fn a_root_that_cannot_be_read_stops_no_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    crate::init(&config).unwrap();
    fs::write(config.pki_dir().join(ROOT_DIR).join("chain.pem"), "nonsense").unwrap();
    after(3, &config);
}

#[test]
fn a_disk_that_takes_nothing_stops_no_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    crate::init(&config).unwrap();
    let first = after(0, &config).chain()[0].clone();
    // Where what is to be written goes first, there is a directory.
    fs::create_dir(control_dir(&config).join(".chain.pem.new")).unwrap();
    assert_eq!(after(3, &config).chain()[0], first);
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
    let bootstrap =
        format!(r#"{{"lineage": "{}", "operator_digest": "sha256:00", "later": true}}"#, "0".repeat(32));
    fs::write(config.bootstrap_file(), bootstrap).unwrap();
    let bootstrap: BootstrapFile = read_json(&config.bootstrap_file()).unwrap().unwrap();
    assert_eq!((bootstrap.lineage.len(), &*bootstrap.operator_digest), (32, "sha256:00"));

    let first_line = |path: &str| {
        let text = fs::read_to_string(config.pki_dir().join(path)).unwrap();
        text.lines().next().unwrap().to_owned()
    };
    for certificates in ["root.crt", "control/chain.pem", "root/chain.pem"] {
        assert_eq!(first_line(certificates), "-----BEGIN CERTIFICATE-----");
    }
    for key in ["control/key.pem", "root/key.pem"] {
        assert_eq!(first_line(key), "-----BEGIN PRIVATE KEY-----", "PKCS #8");
    }
}

#[test]
fn what_is_left_of_a_node_is_no_place_for_another() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    fs::create_dir_all(dir.path().join(LOG_DIR)).unwrap();
    assert!(matches!(make(&config), Err(Error::AlreadyMade(_))));
}
