use std::fs;

use hanse_identity::{Authority, Rotation};
use hanse_topology::{Identity, Name};

use super::*;

/// A node under one root, and a rotation to another.
struct Example {
    dir: tempfile::TempDir,
    trust: LiveTrust,
    own: LiveCredentials,
    old: Authority,
    new: Authority,
}

fn under(root: &Authority) -> LiveCredentials {
    let name = |text| Name::new(text).unwrap();
    let control = root.new_control_intermediate(&name("cp-1")).unwrap();
    let region = control.new_regional_intermediate(&name("eu-west")).unwrap();
    let identity = Identity::gateway(name("g"), name("eu-west"));
    LiveCredentials::new(region.issue_credentials(&identity, &[]).unwrap())
}

fn key(root: &Authority) -> KeyDigest {
    root.trust_anchor().unwrap().spki_sha256()
}

impl Example {
    fn new() -> Self {
        let (old, new) = (Authority::new_root().unwrap(), Authority::new_root().unwrap());
        let trust = LiveTrust::from(old.trust_anchor().unwrap());
        Self { dir: tempfile::tempdir().unwrap(), trust, own: under(&old), old, new }
    }

    fn restore(&self) -> KeptRoots {
        KeptRoots::restore(self.dir.path().to_owned(), self.trust.clone(), self.own.clone())
    }

    /// The same node after a restart: its own certificate is all it begins with.
    fn restarted(&self) -> (KeptRoots, LiveTrust) {
        let trust = LiveTrust::from(self.own.current().trust_anchor().unwrap());
        (KeptRoots::restore(self.dir.path().to_owned(), trust.clone(), self.own.clone()), trust)
    }

    fn told(&self, revision: u64, of: &[&EndorsedRoot], issuing: &Authority) -> TrustedRoots {
        let lineage = Lineage { generation: 1, id: [7; 16], parent: None };
        let believed = of.iter().map(|root| TrustedRoot {
            certificate: root.anchor.certificate().to_vec(),
            endorsement: root.endorsement.to_vec(),
        });
        TrustedRoots {
            as_of: Position { lineage, revision },
            believed: believed.collect(),
            issuing: Some(key(issuing)),
            dropped: Vec::new(),
        }
    }
}

/// As the task does it.
fn told_and_written(kept: &KeptRoots, roots: &TrustedRoots) {
    kept.take(roots);
    write(kept);
}

fn write(kept: &KeptRoots) {
    if let Some(now) = kept.0.unwritten() {
        kept.write(now);
    }
}

#[test]
fn a_rotation_is_followed_step_by_step_and_outlives_restarts() {
    let mut example = Example::new();
    let rotation = Rotation::new(&example.old, &example.new).unwrap();
    let both = [&rotation.present, &rotation.fresh];
    let (of_old, of_new) = (key(&example.old), key(&example.new));
    let kept = example.restore();
    assert_eq!(kept.status().believed, [of_old.to_vec()]);

    told_and_written(&kept, &example.told(5, &both, &example.old));
    assert_eq!(believed(&example.trust), [of_old, of_new]);
    assert_eq!(kept.status().believed.len(), 2);
    let (restarted, trust) = example.restarted();
    assert_eq!(believed(&trust), [of_old, of_new]);
    assert_eq!(
        *restarted.changed().borrow(),
        Some(example.told(5, &both, &example.old)),
        "passed on with nobody to ask"
    );

    told_and_written(&kept, &example.told(6, &both, &example.new));
    assert!(example.trust.current().is_outdated(example.own.current().chain()));
    example.own.replace(under(&example.new).current().as_ref().clone());
    assert!(!example.trust.current().is_outdated(example.own.current().chain()));
    assert_eq!(kept.status().shown, of_new.to_vec());

    told_and_written(&kept, &example.told(4, &both, &example.old));
    assert_eq!(example.trust.current().issuing(), Some(of_new), "who lags takes nothing back");

    told_and_written(&kept, &example.told(7, &both[1..], &example.new));
    assert_eq!(believed(&example.trust), [of_new]);
    example.trust = LiveTrust::from(example.new.trust_anchor().unwrap());
    assert_eq!(believed(&example.restarted().1), [of_new]);
}

#[test]
fn a_root_that_nobody_believed_speaks_for_is_left_out_whoever_tells_of_it() {
    let example = Example::new();
    let stranger = Authority::new_root().unwrap();
    let foreign = Rotation::new(&stranger, &example.new).unwrap();
    let kept = example.restore();
    told_and_written(&kept, &example.told(5, &[&foreign.present, &foreign.fresh], &example.new));
    assert_eq!(believed(&example.trust), [key(&example.old)]);
    assert_eq!(kept.status().believed, [key(&example.old).to_vec()]);
    assert_eq!(believed(&example.restarted().1), [key(&example.old)]);
}

#[test]
fn others_may_count_on_what_is_on_disk_only() {
    let example = Example::new();
    let rotation = Rotation::new(&example.old, &example.new).unwrap();
    let both = [&rotation.present, &rotation.fresh];
    let kept =
        KeptRoots::restore(example.dir.path().join("file"), example.trust.clone(), example.own.clone());
    fs::write(example.dir.path().join("file"), "where the directory should be").unwrap();
    told_and_written(&kept, &example.told(5, &both, &example.old));
    assert_eq!(believed(&example.trust).len(), 2, "it is in force");
    assert_eq!(kept.status().believed.len(), 1, "but would not be after a restart");
    fs::remove_file(example.dir.path().join("file")).unwrap();
    write(&kept);
    assert_eq!(kept.status().believed.len(), 2);
}

/// A disk keeps no lineage's parent. A publisher tells it.
#[test]
fn the_same_told_again_after_a_restart_is_no_news() {
    let example = Example::new();
    let rotation = Rotation::new(&example.old, &example.new).unwrap();
    let mut told = example.told(5, &[&rotation.present, &rotation.fresh], &example.old);
    told.as_of.lineage.parent = Some(([3; 16], 4));
    told_and_written(&example.restore(), &told);
    let (restarted, _) = example.restarted();
    let mut changed = restarted.changed();
    changed.mark_unchanged();
    restarted.take(&told);
    assert!(!changed.has_changed().unwrap() && restarted.0.unwritten().is_none());
}

#[test]
fn what_came_while_it_was_written_is_not_counted_as_written() {
    let example = Example::new();
    let rotation = Rotation::new(&example.old, &example.new).unwrap();
    let both = [&rotation.present, &rotation.fresh];
    let kept = example.restore();
    kept.take(&example.told(5, &both, &example.new));
    let then = kept.0.unwritten().unwrap();
    example.own.replace(under(&example.new).current().as_ref().clone());
    kept.take(&example.told(6, &both[1..], &example.new));
    kept.write(then);
    assert_eq!(kept.status().believed.len(), 2, "the old root is on disk still");
    write(&kept);
    assert_eq!(kept.status().believed, [key(&example.new).to_vec()]);
}

#[test]
fn a_damaged_file_is_moved_aside() {
    let example = Example::new();
    fs::write(example.dir.path().join("roots.json"), "{").unwrap();
    example.restore();
    assert_eq!(believed(&example.trust), [key(&example.old)]);
    assert!(example.dir.path().join("roots.json.damaged").exists());
}

#[test]
fn which_root_to_use_is_passed_on_by_those_who_do_and_held_whoever_is_silent() {
    let example = Example::new();
    let rotation = Rotation::new(&example.old, &example.new).unwrap();
    let both = [&rotation.present, &rotation.fresh];
    let silent = TrustedRoots { issuing: None, ..example.told(6, &both, &example.new) };
    let (of_old, of_new) = (key(&example.old), key(&example.new));
    let kept = example.restore();
    kept.take(&silent);
    assert_eq!(example.trust.current().issuing(), None);
    kept.take(&example.told(6, &both, &example.new));
    assert_eq!(example.trust.current().issuing(), Some(of_new), "of the same position, and more");
    kept.take(&silent);
    kept.take(&TrustedRoots { issuing: None, ..example.told(7, &both, &example.new) });
    assert_eq!(example.trust.current().issuing(), Some(of_new));

    let told_by_this_node = || kept.to_tell().unwrap().issuing;
    assert_eq!(told_by_this_node(), None, "it could give nobody a certificate from it yet");
    example.own.replace(under(&example.new).current().as_ref().clone());
    assert_eq!(told_by_this_node(), Some(of_new));
    kept.take(&example.told(8, &both, &example.old));
    assert_eq!(example.trust.current().issuing(), Some(of_old), "the way back");
}

#[tokio::test]
async fn a_certificate_that_came_while_nothing_followed_ends_the_belief_in_the_root_before() {
    let example = Example::new();
    let rotation = Rotation::new(&example.old, &example.new).unwrap();
    let kept = example.restore();
    told_and_written(&kept, &example.told(5, &[&rotation.present, &rotation.fresh], &example.new));
    told_and_written(&kept, &example.told(7, &[&rotation.fresh], &example.new));
    assert_eq!(believed(&example.trust).len(), 2, "its own certificate comes from the old one still");
    example.own.replace(under(&example.new).current().as_ref().clone());
    let (_tell, told) = watch::channel(None);
    let (_trigger, shutdown) = hanse_process::ShutdownTrigger::new();
    tokio::spawn(kept.follow(told, shutdown));
    let mut replaced = example.trust.replaced();
    let only_new = replaced.wait_for(|bundle| bundle.anchors().len() == 1);
    tokio::time::timeout(std::time::Duration::from_secs(30), only_new).await.expect("it goes").unwrap();
    assert_eq!(believed(&example.trust), [key(&example.new)]);
}

#[test]
fn what_was_dropped_stays_dropped_over_restarts_and_the_root_of_an_earlier_certificate_goes() {
    let example = Example::new();
    let rotation = Rotation::new(&example.old, &example.new).unwrap();
    let both = [&rotation.present, &rotation.fresh];
    let (of_old, of_new) = (key(&example.old), key(&example.new));
    let kept = example.restore();
    told_and_written(&kept, &example.told(5, &both, &example.new));
    let last = TrustedRoots { dropped: vec![of_old], ..example.told(7, &both[1..], &example.new) };
    told_and_written(&kept, &last);
    assert_eq!(believed(&example.trust), [of_new, of_old], "its own certificate comes from that still");
    example.own.replace(under(&example.new).current().as_ref().clone());
    kept.look_again();
    assert_eq!(believed(&example.trust), [of_new]);
    assert!(kept.0.unwritten().is_some(), "and whoever counts on it is told once that is on disk");
    let (restarted, trust) = example.restarted();
    restarted.take(&example.told(9, &both, &example.new));
    assert_eq!(believed(&trust), [of_new], "an old word for it does not help");
}
