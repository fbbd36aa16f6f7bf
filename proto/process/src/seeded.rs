//! Named bugs that dev builds can bring back, to prove that a checker notices them: in a process by its environment, or in one thread of a
//! test by [`bring_back`](hanse_topology::bring_back).

use std::sync::LazyLock;

/// The variable that names the bug of a process.
const VARIABLE: &str = "HANSE_SEEDED_BUG";

/// The bug of the process. No code changes its environment, so it is read once: some rules ask at every message.
static OF_PROCESS: LazyLock<Option<String>> = LazyLock::new(|| std::env::var(VARIABLE).ok());

/// Whether the bug of this name is brought back. Never in a release build.
pub fn seeded(name: &str) -> bool {
    cfg!(debug_assertions) && (hanse_topology::is_brought_back(name) || OF_PROCESS.as_deref() == Some(name))
}
