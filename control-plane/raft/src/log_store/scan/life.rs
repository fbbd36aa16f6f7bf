//! The process that lives with a log. It is this test's executable, started once more.

use std::{
    env,
    fs::{self, File},
    io::Write as _,
    os::unix::process::parent_id,
    path::Path,
    process::{Child, Command, Stdio},
};

use openraft::storage::{RaftLogStorage, RaftLogStorageExt};

use super::{
    super::{LogPlace, LogStore, Vote},
    Dice,
    ledger::{ANSWERED, Opened, Request, UNUSABLE, entry},
    number,
};

/// Whose log it is.
pub(super) const OWNER: u64 = 1;
/// Entries in one append at most.
pub(super) const MOST_AT_ONCE: u64 = 64;
/// Entries kept at least when the log is purged.
const KEPT: u64 = 200;
/// A log that is longer is purged.
const LONG: u64 = 4_000;

const DIR: &str = "HANSE_SCAN_DIR";
const LIFE_SEED: &str = "HANSE_SCAN_LIFE_SEED";
const LIFE: &str = "HANSE_SCAN_LIFE";

/// A process that lives with the log in `DIR/node` and writes `DIR/ledger`. Killed when dropped.
pub(super) struct Life(Child, std::path::PathBuf);

impl Life {
    /// Starts it.
    pub(super) fn start(dir: &Path, seed: u64, number: u32) -> Self {
        fs::create_dir_all(dir.join("node")).unwrap();
        let output = File::options().create(true).append(true).open(dir.join("output")).unwrap();
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "log_store::scan::life::lives_with_a_log", "--nocapture"])
            .env(DIR, dir)
            .env(LIFE_SEED, seed.to_string())
            .env(LIFE, number.to_string())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self(child, dir.join("output"))
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// kill -9, and waits for its end.
    pub(super) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// A process that ended by itself is an error, unless its ledger says why.
    pub(super) fn check(&mut self) -> Result<(), String> {
        match self.0.try_wait().unwrap() {
            None => Ok(()),
            Some(status) => Err(format!(
                "the process ended with {status}: {}",
                fs::read_to_string(&self.1).unwrap_or_default()
            )),
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How large the next entries are, in bytes. Two lives of three write small ones only: a log that grows slowly is restarted
/// several times within one of sled's segments.
fn size(life: u64, dice: &mut Dice) -> u64 {
    let sizes: &[u64] = match (life % 3, dice.throw(24)) {
        (0 | 1, _) => &[8, 40, 120],
        (_, 0) => &[150_000], // three records
        (_, 1) => &[20_000],
        _ => &[40, 500, 2_000],
    };
    sizes[dice.throw(sizes.len() as u64) as usize]
}

/// Is the process that the scan freezes, and does nothing where no scan has started it.
#[test]
fn lives_with_a_log() {
    let (Some(dir), Some(seed), Some(life)) = (env::var_os(DIR), number(LIFE_SEED), number(LIFE)) else {
        return; // no scan has started this
    };
    let dir = Path::new(&dir);
    let mut ledger = File::options().create(true).append(true).open(dir.join("ledger")).unwrap();
    let mut note = |line: &str| ledger.write_all(format!("{line}\n").as_bytes()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut store = match LogStore::open(&LogPlace::new(&dir.join("node"), OWNER)) {
            Ok(store) => store,
            Err(error) => return note(&format!("{UNUSABLE}{error}")),
        };
        let state = store.get_log_state().await.unwrap();
        let voted = store.read_vote().await.unwrap().map_or(0, |vote| vote.leader_id.term);
        let mut term = voted.max(state.last_log_id.map_or(0, |log_id| log_id.leader_id.term));
        let mut first = state.last_purged_log_id.map_or(0, |log_id| log_id.index + 1);
        let mut next = state.last_log_id.map_or(0, |log_id| log_id.index + 1);
        note(&Opened { first, next, term: voted }.to_line());
        let mut dice = Dice(seed | 1);
        let parent = parent_id();
        while parent_id() == parent {
            let bytes = size(life, &mut dice);
            let at_once = 1 + dice.throw((MOST_AT_ONCE * 120 / (bytes + 120)).max(1));
            let mut requests = vec![Request::Append { term, first: next, count: at_once, bytes }];
            match dice.throw(200) {
                0 => {
                    term += 1;
                    requests.push(Request::Vote { term, node: 1 });
                }
                // The next entries overwrite these: another leader's, so of another term.
                1..=3 if next - first > KEPT => {
                    term += 1;
                    requests = vec![
                        Request::Truncate { from: next - 1 - dice.throw(50) },
                        Request::Append { term, first: next, count: at_once, bytes },
                    ];
                }
                _ if next - first > LONG => {
                    requests.push(Request::Purge { upto: next - KEPT - dice.throw(KEPT) });
                }
                _ => {}
            }
            for mut request in requests {
                if let Request::Append { first, .. } = &mut request {
                    *first = next;
                }
                note(&request.to_line());
                match request {
                    Request::Append { term, first, count, bytes } => {
                        next = first + count;
                        let entries: Vec<_> = (first..next).map(|index| entry(term, index, bytes)).collect();
                        store.blocking_append(entries).await.unwrap();
                    }
                    Request::Vote { term, node } => store.save_vote(&Vote::new(term, node)).await.unwrap(),
                    Request::Truncate { from } => {
                        next = from;
                        store.truncate(entry(term, from, 0).log_id).await.unwrap();
                    }
                    Request::Purge { upto } => {
                        first = upto + 1;
                        store.purge(entry(term, upto, 0).log_id).await.unwrap();
                    }
                }
                note(ANSWERED);
            }
        }
    });
}
