//! Named bugs that dev builds can bring back, to prove that a checker notices them.

/// The variable that names the bug.
const VARIABLE: &str = "HANSE_SEEDED_BUG";

/// Whether the bug of this name is to be brought back. Never in a release build.
pub fn seeded(name: &str) -> bool {
    cfg!(debug_assertions) && std::env::var(VARIABLE).is_ok_and(|seeded| seeded == name)
}
