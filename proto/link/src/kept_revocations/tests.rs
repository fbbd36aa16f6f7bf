use std::path::Path;

use std::time::Duration;

use hanse_identity::{Authority, key_digest};

use super::*;

const GATEWAY: &str = "g.gateway.eu-west.hanse.internal";

fn revoked(generation: u64, revision: u64, identities: &[&str]) -> Revoked {
    let lineage = Lineage { generation, id: [generation as u8; 16], parent: None };
    Revoked {
        as_of: Position { lineage, revision },
        identities: identities.iter().map(|identity| (*identity).to_owned()).collect(),
        authorities: Vec::new(),
        gateway_keys: Vec::new(),
    }
}

fn restore(dir: &Path, trust: LiveTrust) -> KeptRevocations {
    KeptRevocations::restore(dir.to_owned(), trust)
}

/// As the task does it.
fn told_and_written(list: &KeptRevocations, revoked: &Revoked) {
    list.take(revoked);
    list.write();
}

fn trust() -> LiveTrust {
    Authority::new_root().unwrap().trust_anchor().unwrap().into()
}

#[test]
fn the_latest_list_holds_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let gateway: Identity = GATEWAY.parse().unwrap();
    let live = trust();
    let list = restore(dir.path(), live.clone());
    let refused_after = |told: &Revoked| {
        told_and_written(&list, told);
        let restarted = trust();
        restore(dir.path(), restarted.clone());
        assert_eq!(restarted.refuses(&gateway), live.refuses(&gateway));
        live.refuses(&gateway)
    };
    assert!(refused_after(&revoked(1, 5, &[GATEWAY, "x.king.eu-west.hanse.internal"])));
    assert!(refused_after(&revoked(1, 4, &[])), "a control node that lags takes nothing back");
    assert!(!refused_after(&revoked(1, 6, &[])));
    assert!(refused_after(&revoked(2, 1, &[GATEWAY])), "a later history counts, whatever its revision");
    assert!(refused_after(&revoked(1, 9, &[])), "and an earlier one does not");
}

/// Resolves if this key is refused now.
fn is_refused(trust: &LiveTrust, authority: &Authority) -> bool {
    let refused = std::pin::pin!(trust.spoils(authority.chain()));
    futures_util::FutureExt::now_or_never(refused).is_some()
}

#[test]
fn the_authority_of_who_is_refused_is_refused_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new_root().unwrap();
    let live = trust();
    let key = key_digest(&authority.chain()[0]).unwrap();
    let told = Revoked { authorities: vec![key], ..revoked(1, 5, &[GATEWAY]) };
    told_and_written(&restore(dir.path(), live.clone()), &told);
    let restarted = trust();
    restore(dir.path(), restarted.clone());
    assert!(is_refused(&live, &authority) && is_refused(&restarted, &authority));
}

#[test]
fn the_key_of_a_refused_gateway_is_refused_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let live = trust();
    let list = restore(dir.path(), live.clone());
    let told = Revoked { gateway_keys: vec![[1; 32]], ..revoked(1, 5, &[GATEWAY]) };
    told_and_written(&list, &told);
    // What another publisher says of the same revision is added.
    told_and_written(&list, &Revoked { gateway_keys: vec![[2; 32]], ..told });
    let restarted = trust();
    restore(dir.path(), restarted.clone());
    for trust in [live, restarted] {
        let refused = [1, 2, 3].map(|key| trust.refuses_gateway_key(&[key; 32]));
        assert_eq!(refused, [true, true, false]);
    }
}

#[test]
fn a_list_kept_before_there_were_authorities_holds() {
    let dir = tempfile::tempdir().unwrap();
    let id = "01".repeat(16);
    let kept =
        format!(r#"{{"generation": 1, "lineage": "{id}", "revision": 5, "identities": ["{GATEWAY}"]}}"#);
    std::fs::write(dir.path().join("revoked.json"), kept).unwrap();
    let live = trust();
    restore(dir.path(), live.clone());
    assert!(live.refuses(&GATEWAY.parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn no_trouble_with_the_disk_takes_a_refusal_back() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let gateway: Identity = GATEWAY.parse().unwrap();
    let live = trust();
    let list = restore(&data_dir, live.clone());
    std::fs::write(&data_dir, "a file where the directory should be").unwrap();
    let (tell, told) = watch::channel(None);
    let (_trigger, shutdown) = hanse_process::ShutdownTrigger::new();
    tokio::spawn(list.clone().follow(told, shutdown));
    tell.send_replace(Some(revoked(1, 5, &[GATEWAY])));
    list.in_force().wait_for(|held| held.is_some()).await.unwrap();
    assert!(live.refuses(&gateway), "it is refused before it is written");
    told_and_written(&list, &revoked(1, 4, &[]));
    assert!(live.refuses(&gateway), "memory knows what is later");
    std::fs::remove_file(&data_dir).unwrap();
    let path = data_dir.join("revoked.json");
    for _ in 0..600 {
        if path.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await; // paused: no time passes outside
    }
    let restarted = trust();
    restore(&data_dir, restarted.clone());
    assert!(restarted.refuses(&gateway), "it is written when it can be, though nothing more is heard");
}

#[test]
fn a_list_of_the_same_position_takes_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let [one, other] = ["a.agent.eu-west.hanse.internal", "b.agent.eu-west.hanse.internal"];
    let live = trust();
    let list = restore(dir.path(), live.clone());
    let refuses = |who: &str| live.refuses(&who.parse().unwrap());
    told_and_written(&list, &revoked(1, 5, &[one]));
    told_and_written(&list, &revoked(1, 5, &[other])); // as told to the first
    assert!(refuses(one) && refuses(other));
    told_and_written(&list, &revoked(1, 6, &[other]));
    assert!(!refuses(one) && refuses(other));
}

#[test]
fn a_damaged_list_is_moved_aside_and_the_next_one_holds() {
    let dir = tempfile::tempdir().unwrap();
    let gateway: Identity = GATEWAY.parse().unwrap();
    std::fs::write(dir.path().join("revoked.json"), "{").unwrap();
    let live = trust();
    let list = restore(dir.path(), live.clone());
    assert_eq!(std::fs::read_to_string(dir.path().join("revoked.json.damaged")).unwrap(), "{");
    assert!(!dir.path().join("revoked.json").exists());
    told_and_written(&list, &revoked(1, 5, &[GATEWAY]));
    assert!(live.refuses(&gateway));
}
