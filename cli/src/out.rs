//! Where words go: data to standard output, talk to standard error.

use std::{
    fmt::Display,
    io::{IsTerminal as _, Write as _},
    time::Duration,
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

/// Whether data may be coloured: on a terminal, unless NO_COLOR is set to something (no-color.org).
pub(crate) fn may_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A spinner on standard error while a person waits; silent where no terminal is.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Starts to turn.
    pub(crate) fn start(message: impl Into<String>) -> Self {
        /// Fast enough to look alive, slow enough to cost nothing.
        const TICK: Duration = Duration::from_millis(100);
        let bar =
            if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.set_message(message.into());
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// Says what is going on now.
    pub(crate) fn message(&self, message: impl Into<String>) {
        self.0.set_message(message.into());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
