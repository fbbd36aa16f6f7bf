use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use hanse_link::StoreKey;

use super::*;
use crate::home::tests::config;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
const SEALED: &str = "-----BEGIN HANSE SEALED KEY-----";

/// A node in `DIR/data`, its `store_key` beside that.
fn node(dir: &Path) -> Config {
    let config = config(&dir.join("data"));
    crate::init(&config).unwrap();
    config
}

fn store_key(config: &Config) -> PathBuf {
    config.data_dir.with_file_name("data.store-key")
}

fn key_file(config: &Config) -> String {
    fs::read_to_string(path(config).join("key.pem")).unwrap()
}

fn start(config: &Config) -> Result<Control, Error> {
    open(config, &WallClock::system())
}

/// Whether a start finds that the node is locked, and why.
fn locked(config: &Config) -> String {
    let error = start(config).unwrap_err();
    assert!(error.is_locked(), "{error:?}");
    error.to_string()
}

fn public_key(config: &Config) -> Vec<u8> {
    control_intermediate(config).unwrap().key().public_key_der()
}

#[test]
fn a_node_is_made_with_its_key_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let config = node(dir.path());
    assert!(key_file(&config).starts_with(SEALED));
    assert!(store_key(&config).exists());
    assert!(!KeyDir::holds_plain_key(&path(&config)).unwrap());
    start(&config).unwrap();
}

#[test]
fn a_plain_key_is_sealed_at_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = node(dir.path());
    let control = control_intermediate(&config).unwrap();
    let plain = control.key().to_pem();
    for left in [None, Some(".key.pem.new"), Some("key.previous.pem"), Some(".key.previous.pem.new")] {
        match left {
            None => control.save(path(&config)).unwrap(),
            // What a crash left of a release that sealed nothing.
            Some(name) => fs::write(path(&config).join(name), &plain).unwrap(),
        }
        assert!(KeyDir::holds_plain_key(&path(&config)).unwrap(), "{left:?}");
        let opened = start(&config).unwrap().authority;
        assert_eq!((opened.chain(), opened.key().to_pem()), (control.chain(), plain.clone()));
        for entry in fs::read_dir(path(&config)).unwrap() {
            let content = fs::read_to_string(entry.unwrap().path()).unwrap();
            assert!(!content.contains("PRIVATE KEY"), "{left:?}");
        }
        assert!(key_file(&config).starts_with(SEALED), "{left:?}");
    }
}

#[test]
fn a_node_whose_store_key_is_late_or_wrong_is_locked_until_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let config = node(dir.path());
    let before = public_key(&config);
    let away = dir.path().join("away");
    fs::rename(store_key(&config), &away).unwrap();
    let said = locked(&config);
    assert!(said.contains("store_key") && said.contains("data.store-key is gone"), "{said}");
    assert!(!store_key(&config).exists(), "none is made in its place");

    fs::write(store_key(&config), "07".repeat(32)).unwrap();
    let said = locked(&config);
    assert!(said.contains("store_key") && said.contains("did not seal it"), "{said}");
    fs::write(store_key(&config), "nonsense").unwrap();
    assert!(locked(&config).contains("holds no key"));

    fs::rename(&away, store_key(&config)).unwrap();
    start(&config).unwrap();
    assert_eq!(public_key(&config), before);

    // Of another node, which has the same key.
    let name = hanse_topology::Name::new("cp-2").unwrap();
    locked(&Config { name, ..config });
}

#[test]
fn a_node_whose_store_key_is_lost_gets_a_new_key_from_the_root() {
    let dir = tempfile::tempdir().unwrap();
    let config = node(dir.path());
    let (before, sealed) = (public_key(&config), key_file(&config));
    fs::remove_file(store_key(&config)).unwrap();
    locked(&config);
    assert!(matches!(crate::reissue(&config), Err(Error::StoreKey(_))), "it keeps the key, so it needs it");

    let root = config.pki_dir().join("root");
    fs::rename(&root, dir.path().join("root")).unwrap();
    assert!(matches!(crate::reissue_with_new_key(&config), Err(Error::NoRoot(_))));
    fs::rename(dir.path().join("root"), &root).unwrap();
    let aside = crate::reissue_with_new_key(&config).unwrap().expect("the old key is kept");
    assert_eq!(fs::read_to_string(aside.join("key.pem")).unwrap(), sealed);
    start(&config).unwrap();
    let after = public_key(&config);
    assert_ne!(after, before);
    assert!(key_file(&config).starts_with(SEALED));

    // Without a control intermediate: the log says that there is a node.
    fs::remove_file(store_key(&config)).unwrap();
    fs::remove_dir_all(aside).unwrap(); // of the same second
    fs::remove_dir_all(path(&config)).unwrap();
    fs::create_dir(config.data_dir.join(hanse_raft::LOG_DIR)).unwrap();
    assert_eq!(crate::reissue_with_new_key(&config).unwrap(), None);
    assert_ne!(public_key(&config), after);
}

#[test]
fn a_new_key_takes_the_place_of_one_that_opens() {
    let dir = tempfile::tempdir().unwrap();
    let config = node(dir.path());
    let before = public_key(&config);
    assert_eq!(crate::reissue_with_new_key(&config).unwrap(), None);
    assert_ne!(public_key(&config), before);

    fs::write(config.join_file(), "{}").unwrap();
    assert!(matches!(crate::reissue_with_new_key(&config), Err(Error::NotAdded(_))));
    let empty = crate::home::tests::config(dir.path());
    assert!(matches!(crate::reissue_with_new_key(&empty), Err(Error::NotMade(_))));
}

/// Puts the private key into the clear, as an earlier build kept it.
fn unseal(config: &Config) {
    control_intermediate(config).unwrap().save(path(config)).unwrap();
    assert!(key_file(config).contains("BEGIN PRIVATE KEY"));
}

#[test]
fn a_plain_key_needs_no_store_key_and_no_start_makes_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = node(dir.path());
    unseal(&file);
    let (before, away) = (public_key(&file), dir.path().join("away"));
    fs::rename(store_key(&file), &away).unwrap();
    let nonsense = dir.path().join("nonsense");
    fs::write(&nonsense, "nonsense").unwrap();
    let without = [
        None,
        Some(StoreKey::File(dir.path().join("mount/of/the/key"))),
        Some(StoreKey::File(nonsense.clone())),
        Some(StoreKey::Secret(dir.path().join("secret"))),
        Some(StoreKey::Environment("HANSE_TEST_NO_SUCH_KEY".to_owned())),
    ];
    for key in without {
        let config = Config { store_key: key.clone(), ..file.clone() };
        let control = start(&config).unwrap();
        assert_eq!(control.authority.key().public_key_der(), before, "{key:?}");
        // Also what is written meanwhile, such as a renewed certificate, is as it was.
        control.authority.save(control.dir).unwrap();
        assert!(key_file(&config).contains("BEGIN PRIVATE KEY"), "{key:?}");
        crate::reissue(&config).unwrap();
    }
    assert!(!store_key(&file).exists() && !dir.path().join("mount").exists(), "a start makes no key");

    // A crash of the first sealing left one of the two keys sealed.
    let previous = path(&file).join("key.previous.pem");
    fs::write(&previous, format!("{SEALED}\n")).unwrap();
    start(&file).unwrap();

    fs::rename(&away, store_key(&file)).unwrap();
    assert_eq!(start(&file).unwrap().authority.key().public_key_der(), before);
    assert!(key_file(&file).starts_with(SEALED) && !previous.exists());
    fs::rename(store_key(&file), &away).unwrap();
    locked(&file);
}

#[test]
fn a_sealed_key_waits_for_every_form_of_store_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = node(dir.path());
    let secret = dir.path().join("secret");
    let config = Config { store_key: Some(StoreKey::Secret(secret.clone())), ..file.clone() };
    assert!(locked(&config).contains("cannot read"));
    fs::copy(store_key(&file), &secret).unwrap();
    start(&config).unwrap();
    let variable = StoreKey::Environment("HANSE_TEST_NO_SUCH_KEY".to_owned());
    assert!(locked(&Config { store_key: Some(variable), ..file }).contains("HANSE_TEST_NO_SUCH_KEY"));
}

#[test]
fn a_new_key_that_cannot_be_sealed_leaves_the_old_one_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let config = node(dir.path());
    let (before, sealed) = (public_key(&config), key_file(&config));
    let secret = Some(StoreKey::Secret(dir.path().join("secret")));
    let lost = Config { store_key: secret, ..config.clone() };
    assert!(matches!(crate::reissue_with_new_key(&lost), Err(Error::StoreKey(_))));
    assert_eq!(key_file(&config), sealed);
    start(&config).unwrap();
    assert_eq!(public_key(&config), before);
}

#[test]
fn no_copy_of_a_plain_key_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let config = node(dir.path());
    unseal(&config);
    let old = key_file(&config);
    // Of another chain: it opens, and is of no use.
    let other = node(&dir.path().join("other"));
    fs::copy(path(&other).join("chain.pem"), path(&config).join("chain.pem")).unwrap();
    assert!(matches!(start(&config), Err(Error::Pki(PkiError::KeyMismatch))));
    assert_eq!(crate::reissue_with_new_key(&config).unwrap(), None);
    start(&config).unwrap();
    for entry in fs::read_dir(config.pki_dir()).unwrap() {
        let entry = entry.unwrap();
        assert!(!entry.file_name().to_string_lossy().contains("aside"), "{entry:?}");
    }
    assert_ne!(key_file(&config), old);
    assert!(key_file(&config).starts_with(SEALED));
}

#[test]
fn keys_are_replaced_only_while_no_process_has_them() {
    let dir = tempfile::tempdir().unwrap();
    let config = node(dir.path());
    let before = public_key(&config);
    let running = crate::home::lock(&config).unwrap();
    assert!(matches!(crate::reissue(&config), Err(Error::Running(_))));
    assert!(matches!(crate::reissue_with_new_key(&config), Err(Error::Running(_))));
    assert!(matches!(rejoin_through_nobody(&config), Err(Error::Running(_))));
    assert_eq!(public_key(&config), before);
    drop(running);
    crate::reissue(&config).unwrap();
}

/// Joins the node anew, with a token that no node takes.
#[tokio::main(flavor = "current_thread")]
async fn rejoin_through_nobody(config: &Config) -> Result<PathBuf, Error> {
    let token = format!("hj1.t.{0}.{0}", "07".repeat(32)).parse().unwrap();
    crate::rejoin(config, &token, &[]).await
}

#[test]
fn a_rejoin_that_is_refused_makes_no_key_file() {
    let dir = tempfile::tempdir().unwrap();
    let config = node(dir.path());
    let away = dir.path().join("away");
    fs::rename(store_key(&config), &away).unwrap();
    assert!(matches!(rejoin_through_nobody(&config), Err(Error::Enrol(_))));
    assert!(locked(&config).contains("is gone"), "and not that another key is there");
    // A key that cannot be had costs no use of a token.
    let secret = Some(StoreKey::Secret(dir.path().join("secret")));
    let lost = Config { store_key: secret, ..config.clone() };
    assert!(matches!(rejoin_through_nobody(&lost), Err(Error::StoreKey(_))));
    fs::rename(&away, store_key(&config)).unwrap();
    start(&config).unwrap();
}

#[test]
fn a_copy_of_what_does_not_open_stays() {
    let dir = tempfile::tempdir().unwrap();
    let config = node(dir.path());
    assert_eq!(keep_aside(&config).unwrap(), None, "it opens");
    let (sealed, original) = (key_file(&config), fs::read(store_key(&config)).unwrap());
    fs::write(store_key(&config), "07".repeat(32)).unwrap();
    let aside = keep_aside(&config).unwrap().unwrap();
    assert_eq!(fs::read_to_string(aside.join("key.pem")).unwrap(), sealed);
    fs::write(store_key(&config), original).unwrap();
    let old = sealed_keys(aside, &config.store()).unwrap();
    Authority::load(&old).expect("with its store_key it is the old pair");
}

/// What the certificate of this node's intermediate is after a start so much later.
fn after(years: u32, config: &Config) -> Authority {
    let (clock, hand) = WallClock::simulated(SystemTime::now());
    hand.advance(YEAR * years);
    open(config, &clock).unwrap().authority
}

#[test]
fn a_control_intermediate_is_renewed_where_the_root_is_at_hand() {
    let dir = tempfile::tempdir().unwrap();
    let config = node(dir.path());
    let first = after(0, &config).chain()[0].clone();
    assert_eq!(after(2, &config).chain()[0], first, "it is not yet due");

    let away = dir.path().join("safe");
    fs::rename(config.pki_dir().join("root"), &away).unwrap();
    assert_eq!(after(3, &config).chain()[0], first, "nothing to renew it with");

    fs::rename(&away, config.pki_dir().join("root")).unwrap();
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
    let config = node(dir.path());
    let before = control_intermediate(&config).unwrap();
    let at_hand = config.pki_dir().join("root");
    fs::remove_dir_all(&at_hand).unwrap();
    let error = crate::reissue(&config).unwrap_err().to_string();
    assert!(error.contains("holds no root"), "{error}");
    let fresh = Authority::new_root().unwrap();
    fresh.save(at_hand).unwrap();
    crate::reissue(&config).unwrap();
    let after = control_intermediate(&config).unwrap();
    assert_eq!(after.trust_anchor().unwrap(), fresh.trust_anchor().unwrap());
    assert_eq!(after.key().public_key_der(), before.key().public_key_der());
}

#[test]
fn a_root_that_cannot_be_read_stops_no_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = node(dir.path());
    fs::write(config.pki_dir().join("root").join("chain.pem"), "nonsense").unwrap();
    after(3, &config);
}

#[test]
fn a_disk_that_takes_nothing_stops_no_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = node(dir.path());
    let first = after(0, &config).chain()[0].clone();
    // Where what is to be written goes first, there is a directory.
    fs::create_dir(path(&config).join(".chain.pem.new")).unwrap();
    assert_eq!(after(3, &config).chain()[0], first);
}
