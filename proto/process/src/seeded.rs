//! Named bugs that dev builds can bring back, to prove that a checker notices them: in a process by its environment, or in one thread of a
//! test by [`bring_back`].

use std::{cell::Cell, sync::LazyLock};

/// The variable that names the bug of a process.
const VARIABLE: &str = "HANSE_SEEDED_BUG";

/// The bug of the process. No code changes its environment, so it is read once: some rules ask at every message.
static OF_PROCESS: LazyLock<Option<String>> = LazyLock::new(|| std::env::var(VARIABLE).ok());

thread_local! {
    /// The bug of this thread: tests run beside each other.
    static OF_THREAD: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Whether the bug of this name is brought back. Never in a release build.
pub fn seeded(name: &str) -> bool {
    cfg!(debug_assertions) && (OF_THREAD.get() == Some(name) || OF_PROCESS.as_deref() == Some(name))
}

/// Brings a bug back in this thread while `run` lasts, also where `run` panics. It does nothing in a release build.
pub fn bring_back<T>(bug: &'static str, run: impl FnOnce() -> T) -> T {
    struct Before(Option<&'static str>);
    impl Drop for Before {
        fn drop(&mut self) {
            OF_THREAD.set(self.0);
        }
    }
    let _before = Before(OF_THREAD.replace(Some(bug)));
    run()
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_back_in_its_thread_alone_and_only_for_a_while() {
        let is_back = || (seeded("one"), seeded("other"));
        bring_back("one", || {
            assert_eq!(is_back(), (true, false));
            assert_eq!(std::thread::spawn(is_back).join().unwrap(), (false, false));
            bring_back("other", || assert_eq!(is_back(), (false, true)));
            assert_eq!(is_back(), (true, false));
        });
        std::panic::catch_unwind(|| bring_back("one", || panic!("a run that fails"))).unwrap_err();
        assert_eq!(is_back(), (false, false));
    }
}
