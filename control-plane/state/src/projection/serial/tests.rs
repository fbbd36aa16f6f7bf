use hanse_proto::control as proto;
use proptest::{collection::vec, prelude::*};

use super::*;
use hanse_topology::bring_back;

use crate::fixture::World;

fn of(generation: u64, revision: u64) -> u32 {
    serial(&Epoch { generation, revision })
}

/// Whether a serial is later than another (RFC 1982, section 3.2). Of two that are 2^31 apart neither is.
fn is_later(one: u32, other: u32) -> bool {
    let half = 1 << 31;
    (other < one && one - other < half) || (other > one && other - one > half)
}

#[test]
fn a_serial_is_made_of_the_epoch() {
    let check = |generation: u64, revision: u64, expected: u32| {
        assert_eq!(of(generation, revision), expected, "{generation} {revision}");
    };
    check(1, 7, 7);
    check(2, 7, 268_435_463);
    check(16, (1 << 28) - 1, u32::MAX);
    check(16, 1 << 28, 0); // a serial as any other
    check(17, 7, 7);
    check(1, (1 << 32) + 7, 7);
    check(u64::MAX, 7, 0xe000_0007);
    check(0, 7, 7); // no state has this generation
}

#[test]
fn order_is_that_of_rfc_1982() {
    for (one, other, expected) in [
        (1, 0, true),
        (0, 1, false),
        (44, 0, true),
        (0, u32::MAX, true),
        (u32::MAX, 0, false),
        (1 << 31, 0, false),
        (0, 1 << 31, false),
        ((1 << 31) - 1, 0, true),
        (7, 7, false),
    ] {
        assert_eq!(is_later(one, other), expected, "{one} {other}");
    }
}

/// A history that was restored from a backup: so many commands of the one before are lost, and so many came after.
#[derive(Debug, Clone)]
struct Restored {
    lost: u64,
    came: u64,
}

/// The first pair of epochs, in the order in which secondaries see them, whose serials are in another order.
fn disorder(first: u64, restores: &[Restored]) -> Option<(Epoch, Epoch)> {
    let mut seen = vec![Epoch { generation: 1, revision: first }];
    for Restored { lost, came } in restores {
        let last = *seen.last().expect("it has the first one");
        let (generation, kept) = (last.generation + 1, last.revision.saturating_sub(*lost));
        seen.push(Epoch { generation, revision: kept });
        if *came > 0 {
            seen.push(Epoch { generation, revision: kept + came });
        }
    }
    let pairs =
        seen.iter().enumerate().flat_map(|(at, one)| seen[at + 1..].iter().map(move |later| (*one, *later)));
    pairs.into_iter().find(|(one, later)| !is_later(serial(later), serial(one)))
}

proptest! {
    #[test]
    fn each_lineage_has_later_serials_than_those_it_came_from(
        first in 0..1_u64 << 40,
        restores in vec((0..1_u64 << 28, 0..1_u64 << 24), 1..=7),
    ) {
        let restores: Vec<_> = restores.into_iter().map(|(lost, came)| Restored { lost, came }).collect();
        prop_assert_eq!(disorder(first, &restores), None);
    }
}

#[test]
fn serials_that_restart_are_noticed() {
    let restores = [Restored { lost: 5, came: 3 }];
    assert_eq!(disorder(40, &restores), None);
    let found = bring_back("serial-restarts", || disorder(40, &restores));
    let (one, later) = found.expect("a restored history has lower revisions");
    assert_eq!(((one.generation, one.revision), (later.generation, later.revision)), ((1, 40), (2, 35)));
}

/// The state of these records under the next generation, as a restore makes it.
fn restored(records: &[proto::SnapshotRecord], id: u8) -> State {
    let mut records = records.to_vec();
    let Some(proto::snapshot_record::Record::Header(header)) = &mut records[0].record else {
        panic!("it begins with a header")
    };
    let lineage = header.lineage.as_mut().unwrap();
    lineage.generation += 1;
    lineage.id = vec![id; 16].into();
    State::from_records(records).unwrap()
}

#[test]
fn a_restored_state_has_later_serials_than_what_it_lost() {
    let check = || {
        let lineage = crate::Lineage { generation: 1, id: [1; 16], parent: None };
        let mut world = World::empty();
        world.run(crate::CommandBody::StartLineage(lineage)).unwrap();
        let mut world = World { state: world.state, ..World::empty() };
        world.put("{kind: Region, name: eu-west}");
        let backup: Vec<_> = world.state.to_records().collect();
        let mut seen = vec![serial(&epoch(&world.state))];
        for id in 2..5 {
            for label in ["a", "b", "c"] {
                world.put(&format!("{{kind: Region, name: eu-west, labels: {{tier: {label}}}}}"));
                seen.push(serial(&epoch(&world.state)));
            }
            let records: Vec<_> = match id {
                2 => backup.clone(),
                _ => world.state.to_records().collect(),
            };
            world = World { state: restored(&records, id), ..World::empty() };
            seen.push(serial(&epoch(&world.state)));
        }
        seen.windows(2).all(|pair| is_later(pair[1], pair[0]))
    };
    assert!(check());
    assert!(!bring_back("serial-restarts", check), "the checker sees a serial that restarts");
}
