//! Damaged files: whatever they hold, they are refused or looked up in, and nothing panics or goes on for ever.

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use super::{GeoDatabase, writer::sample};

/// Files of a run: some seconds.
const FILES: u64 = 20_000;

#[test]
fn damaged_files_do_no_harm() {
    let networks = ["0.0.0.0/0", "198.51.100.200/32", "203.0.113.9/32", "2001:db8:5::1/128", "ffff::/16"];
    let mut used = 0;
    for seed in 0..FILES {
        let mut chance = SmallRng::seed_from_u64(seed);
        let mut file = sample();
        for _ in 0..chance.random_range(1..4) {
            let at = chance.random_range(0..file.len());
            file[at] = chance.random();
        }
        let Ok(database) = GeoDatabase::new(file) else { continue };
        used += 1;
        for network in networks {
            let _ = database.spot(network.parse().unwrap()); // any place, or none
        }
    }
    assert!(used > FILES / 100, "{used} files passed the check, too few to look anything up in");
}
