//! Where words go: data to standard output, talk to standard error.

use std::{
    fmt::Display,
    io::{IsTerminal as _, Write as _},
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// Writes data and a line end to standard output. Fails when the reader has gone; see [`is_broken_pipe`].
pub(crate) fn data(text: impl Display) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Says something to the person at the terminal, if there is one.
pub(crate) fn say(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Asks the person at the terminal, and reads a line. `None`: there is no terminal.
pub(crate) fn ask(question: impl Display) -> Option<String> {
    let stdin = std::io::stdin();
    if !(stdin.is_terminal() && std::io::stderr().is_terminal()) {
        return None;
    }
    let _ = write!(std::io::stderr().lock(), "{question}");
    let mut answer = String::new();
    // An end of input is no answer.
    let _ = stdin.read_line(&mut answer);
    Some(answer.trim().to_owned())
}

/// Whether the reader of our output has gone (`hanse get … | head`): no failure of ours.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// How many characters a line of the terminal takes, if data goes to one.
pub(crate) fn width() -> Option<u16> {
    if cfg!(test) {
        return None; // what tests expect does not depend on the terminal that they run in
    }
    terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| width.0)
}

/// Whether data may be coloured: on a terminal, unless NO_COLOR is set to something (no-color.org).
pub(crate) fn may_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Shows on standard error what is going on while a person waits: a spinner on a terminal, and lines where none is, such as
/// in the log of a build.
#[derive(Debug)]
pub(crate) enum Progress {
    /// On a terminal.
    Spinner(ProgressBar),
    /// Elsewhere.
    Lines(Mutex<Lines>),
}

impl Progress {
    /// Starts to turn.
    pub(crate) fn start(message: impl Into<String>) -> Self {
        /// Fast enough to look alive, slow enough to cost nothing.
        const TICK: Duration = Duration::from_millis(100);
        if !std::io::stderr().is_terminal() {
            return Self::Lines(Mutex::new(Lines::start(Instant::now())));
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.set_message(message.into());
        bar.enable_steady_tick(TICK);
        Self::Spinner(bar)
    }

    /// Says what is going on now.
    pub(crate) fn message(&self, message: impl Into<String>) {
        let message = message.into();
        match self {
            Self::Spinner(bar) => bar.set_message(message),
            Self::Lines(lines) => {
                let is_due = lines.lock().is_ok_and(|mut lines| lines.is_due(&message, Instant::now()));
                if is_due {
                    say(message);
                }
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Self::Spinner(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Which messages become lines: new ones, and few. What is over soon has none.
#[derive(Debug)]
pub(crate) struct Lines {
    last: Instant,
    said: String,
}

impl Lines {
    /// A log of a minute's wait has a dozen lines.
    const PAUSE: Duration = Duration::from_secs(5);

    fn start(now: Instant) -> Self {
        Self { last: now, said: String::new() }
    }

    fn is_due(&mut self, message: &str, now: Instant) -> bool {
        let is_due = self.said != message && now.duration_since(self.last) >= Self::PAUSE;
        if is_due {
            *self = Self { last: now, said: message.to_owned() };
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_a_terminal_new_messages_become_lines_now_and_then() {
        let start = Instant::now();
        let mut lines = Lines::start(start);
        let mut is_due =
            |message: &str, seconds: u64| lines.is_due(message, start + Duration::from_secs(seconds));
        assert!(!is_due("1 of 3", 4), "it is over soon");
        assert!(is_due("1 of 3", 5));
        assert!(!is_due("1 of 3", 60), "nothing new");
        assert!(is_due("2 of 3", 61));
        assert!(!is_due("3 of 3", 62), "too soon");
        assert!(is_due("3 of 3", 66));
    }
}
