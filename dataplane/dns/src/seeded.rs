//! Named bugs that tests of this crate bring back, to prove that its properties notice them.

/// Whether the bug of this name is brought back. Never outside of tests.
#[cfg(not(test))]
pub(crate) const fn seeded(_name: &str) -> bool {
    false
}

#[cfg(test)]
pub(crate) use tests::{bring_back, seeded};

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    thread_local! {
        /// The bugs that are brought back in this thread: tests run beside each other.
        static BUGS: Cell<&'static [&'static str]> = const { Cell::new(&[]) };
    }

    /// Whether the bug of this name is brought back in this thread.
    pub(crate) fn seeded(name: &str) -> bool {
        BUGS.get().contains(&name)
    }

    /// Brings bugs back in this thread while `run` lasts.
    pub(crate) fn bring_back<T>(bugs: &'static [&'static str], run: impl FnOnce() -> T) -> T {
        BUGS.set(bugs);
        let done = run();
        BUGS.set(&[]);
        done
    }
}
