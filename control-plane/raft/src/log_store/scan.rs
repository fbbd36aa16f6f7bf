//! The scan: a process lives with a log; every few hundred milliseconds it is frozen, its log is copied as it is, and the
//! copy, opened as the product opens a log, must hold at least what the process had been acknowledged.
//!
//! - [`life`]: the process. It writes, purges, overwrites and votes, and keeps a ledger of what it asked and was answered.
//! - [`ledger`]: what a ledger says that a log must hold, and may hold.
//! - [`frozen`]: freezing a process, and copying its log.
//! - [`copies`]: what is done to a copy before it is opened, and the verdict.
//!
//! `HANSE_SCAN_SECONDS=1800 cargo test -p hanse-raft --lib scan::a_frozen -- --nocapture` looks for longer.

mod copies;
mod frozen;
mod ledger;
mod life;

use std::{
    env,
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use self::{copies::Change, frozen::Frozen, ledger::Ledger, life::Life};

/// How long the test suite scans, unless the environment says otherwise.
const SECONDS: u64 = 20;
/// The old behaviour must be found within this time.
const FOUND_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at the process.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// Looks at one process, at most, before it is killed and another one goes on from what it left. Few: sled forgets segments
/// at restarts, and what that may cost shows when several fall into one segment.
const MOST_LOOKS: u64 = 3;

/// Small numbers that look random, the same for the same seed.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % sides
    }
}

/// What was looked at.
#[derive(Debug, Default)]
struct Looks {
    lives: u32,
    copies: u32,
    damaged: u32,
    acknowledged: u64,
}

/// Scans for so long; the first copy that holds too little ends it.
fn scan(dir: &Path, seed: u64, lasting: Duration) -> Result<Looks, String> {
    let mut dice = Dice(seed | 1);
    let mut looks = Looks::default();
    let mut ledger = Ledger::new(&dir.join("ledger"));
    let until = Instant::now() + lasting;
    while Instant::now() < until {
        let mut life = Life::start(dir, dice.throw(u64::MAX), looks.lives);
        looks.lives += 1;
        let last_look = 1 + dice.throw(MOST_LOOKS);
        for look in 1..=last_look {
            sleep(LOOK_EVERY);
            let frozen = Frozen::freeze(life.id());
            ledger.catch_up()?;
            let copy = dir.join("copy");
            frozen.copy(&dir.join("node"), &copy);
            if look == last_look {
                life.kill();
            }
            drop(frozen);
            let changed = [Change::TornSnapshot, Change::CutEnd, Change::CutEndAfterPowerLoss];
            for change in [Change::None, changed[dice.throw(3) as usize]] {
                let verdict = copies::verdict(&copy, change, &ledger, &mut dice)
                    .map_err(|lacks| format!("life {}, look {look}, {change:?}: {lacks}", looks.lives))?;
                looks.copies += 1;
                looks.damaged += u32::from(verdict.is_damaged);
            }
            if look < last_look {
                life.check()?;
            }
        }
    }
    looks.acknowledged = ledger.acknowledged();
    Ok(looks)
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

#[test]
fn a_frozen_nodes_log_holds_what_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let seed = number("HANSE_SCAN_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let seconds = number("HANSE_SCAN_SECONDS").unwrap_or(SECONDS);
    match scan(dir.path(), seed, Duration::from_secs(seconds)) {
        Ok(looks) => {
            assert!(looks.copies >= 4 && looks.acknowledged > 0, "{looks:?}");
            println!("HANSE_SCAN_SEED={seed}: {looks:?}");
        }
        Err(lacks) => panic!("HANSE_SCAN_SEED={seed}: {lacks}"),
    }
}

/// The scan runs with a bug brought back; what it says when it finds it.
fn found(bug: &str) -> String {
    let started = Instant::now();
    let scan = Command::new(env::current_exe().unwrap())
        .args(["--exact", "log_store::scan::a_frozen_nodes_log_holds_what_was_acknowledged", "--nocapture"])
        .env("HANSE_SEEDED_BUG", bug)
        .env("HANSE_SCAN_SECONDS", FOUND_WITHIN.as_secs().to_string())
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&scan.stdout) + String::from_utf8_lossy(&scan.stderr);
    assert!(!scan.status.success(), "not found in {FOUND_WITHIN:?}:\n{said}");
    let verdict =
        said.lines().find(|line| line.contains("HANSE_SCAN_SEED=")).unwrap_or_else(|| panic!("{said}"));
    println!("{bug} found after {:.1} s: {verdict}", started.elapsed().as_secs_f64());
    verdict.to_owned()
}

/// The switches are compiled in for tests, and not in a release build.
const HAS_SWITCHES: bool = cfg!(debug_assertions);

/// With every snapshot of sled's deleted, as it once was, logs come back empty.
#[test]
fn the_scan_finds_the_deletion_of_finished_snapshots() {
    if HAS_SWITCHES {
        let verdict = found("delete-finished-sled-snapshots");
        assert!(verdict.contains("the log is damaged: it is nobody's log"), "{verdict}");
    }
}

/// Without the witness, a log whose end was cut comes back with less, and says nothing of it.
#[test]
fn the_scan_finds_that_the_witness_is_not_heard() {
    if HAS_SWITCHES {
        let verdict = found("ignore-log-witness");
        assert!(verdict.contains("CutEnd") && verdict.contains("acknowledged"), "{verdict}");
    }
}
