//! Named bugs that a test brings back in its thread, to prove that a checker notices them.

use std::cell::RefCell;

thread_local! {
    /// The bugs of this thread: tests run beside each other.
    static BUGS: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

/// Whether the bug of this name is brought back in this thread. Never in a release build.
pub fn is_brought_back(bug: &str) -> bool {
    cfg!(debug_assertions) && BUGS.with_borrow(|bugs| bugs.contains(&bug))
}

/// Brings a bug back in this thread while `run` lasts, beside those that are back already, and also where `run` panics. It does nothing in
/// a release build.
pub fn bring_back<T>(bug: &'static str, run: impl FnOnce() -> T) -> T {
    struct Brought;
    impl Drop for Brought {
        fn drop(&mut self) {
            BUGS.with_borrow_mut(Vec::pop);
        }
    }
    BUGS.with_borrow_mut(|bugs| bugs.push(bug));
    let _brought = Brought;
    run()
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_back_in_its_thread_alone_and_only_for_a_while() {
        let is_back = || (is_brought_back("one"), is_brought_back("other"));
        bring_back("one", || {
            assert_eq!(is_back(), (true, false));
            assert_eq!(std::thread::spawn(is_back).join().unwrap(), (false, false));
            bring_back("other", || assert_eq!(is_back(), (true, true)));
            assert_eq!(is_back(), (true, false));
        });
        std::panic::catch_unwind(|| bring_back("one", || panic!("a run that fails"))).unwrap_err();
        assert_eq!(is_back(), (false, false));
    }
}
