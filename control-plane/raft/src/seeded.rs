//! Bugs that can be brought back by name, so that tests prove that they find them. Not in release builds.

/// Whether the environment asks for the bug of this name.
pub(crate) fn seeded(name: &str) -> bool {
    cfg!(debug_assertions) && std::env::var_os("HANSE_SEEDED_BUG").is_some_and(|bug| bug == name)
}
