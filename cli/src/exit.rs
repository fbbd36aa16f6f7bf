//! How the program ends: exit codes and the errors that carry them.

use std::{fmt, io, process::ExitCode};

use hanse_management::{Problem, ProblemName};

mod wording;

/// What an exit code says. Documented in `docs/cli.md`; scripts rely on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 1: anything without a code of its own, such as unusable input (of `diff`: there are differences).
    General,
    /// 2: the command line makes no sense, or names a file that cannot be read.
    Usage,
    /// 3: no token, a bad one, or one that may not do this.
    Auth,
    /// 4: it does not exist, or something that it names does not.
    NotFound,
    /// 5: it conflicts with what is there.
    Conflict,
    /// 6: no quorum, or no node answers.
    NoQuorum,
    /// 7: what was waited for did not come in time.
    WaitTimedOut,
    /// 130: Ctrl-C ended a wait, as shells number it.
    Interrupted,
}

impl Exit {
    /// The process's exit code.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::General => 1,
            Self::Usage => 2,
            Self::Auth => 3,
            Self::NotFound => 4,
            Self::Conflict => 5,
            Self::NoQuorum => 6,
            Self::WaitTimedOut => 7,
            Self::Interrupted => 130,
        }
    }

    /// The code for a problem the control plane answered with.
    pub(crate) const fn of(name: ProblemName) -> Self {
        match name {
            ProblemName::Unauthenticated | ProblemName::Forbidden | ProblemName::JoinRefused => Self::Auth,
            ProblemName::NotFound | ProblemName::MissingReference => Self::NotFound,
            ProblemName::InUse
            | ProblemName::Conflict
            | ProblemName::Upgrade
            | ProblemName::AuditFull
            | ProblemName::ApprovalNeeded
            | ProblemName::Stale
            | ProblemName::PreconditionRequired
            | ProblemName::KeyReused => Self::Conflict,
            ProblemName::NoQuorum | ProblemName::Busy | ProblemName::UnknownFate => Self::NoQuorum,
            ProblemName::BadRequest
            | ProblemName::Invalid
            | ProblemName::TooLarge
            | ProblemName::Gone
            | ProblemName::Internal => Self::General,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// An error with its exit code and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do; may be empty.
    pub(crate) remedy: String,
    /// The control plane's name for it, where it came from there.
    pub(crate) problem: Option<ProblemName>,
    /// The field at fault in the control plane's words; may be empty.
    pub(crate) field: String,
}

impl Failure {
    /// A failure without remedy yet.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), remedy: String::new(), problem: None, field: String::new() }
    }

    /// A mistake on the command line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A file that cannot be read: `file` is what and where.
    pub(crate) fn unreadable(file: impl fmt::Display, error: &io::Error) -> Self {
        Self::usage(format!("cannot read {file}: {}", why_unread(error)))
    }

    /// Input that cannot be used.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::new(Exit::General, message)
    }

    /// Says what to do.
    #[must_use]
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.remedy.is_empty() {
            write!(f, "\n  hint: {}", self.remedy)?;
        }
        Ok(())
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self {
            exit: Exit::of(problem.name),
            message: wording::message(&problem.field, &problem.detail),
            remedy: wording::remedy(&problem.remedy),
            problem: Some(problem.name),
            field: problem.field,
        }
    }
}

/// Why a file cannot be read, for people.
pub(crate) fn why_unread(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        io::ErrorKind::NotADirectory => "a part of its path is a file".to_owned(),
        io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        // The system's words, without its number.
        _ => error.to_string().split(" (os error ").next().unwrap_or_default().to_lowercase(),
    }
}

/// The exit code of an error: that of the first [`Failure`] among its causes.
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Failure>())
        .map_or(Exit::General, |failure| failure.exit)
}

/// An error as people read it: outermost first, causes after colons.
pub(crate) fn explain(error: &anyhow::Error) -> String {
    format!("error: {error:#}")
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn problems_become_failures_with_field_remedy_and_code() {
        let problem = Problem::new(ProblemName::Stale, "it is at revision 8")
            .at("Api default/orders")
            .remedy("get it again");
        let error = Err::<(), _>(Failure::from(problem)).context("applying orders.yaml").unwrap_err();
        assert_eq!(exit_of(&error), Exit::Conflict);
        assert_eq!(
            explain(&error),
            "error: applying orders.yaml: Api default/orders: it is at revision 8\n  hint: get it again"
        );
        assert_eq!(exit_of(&anyhow::anyhow!("other")), Exit::General);
    }

    #[test]
    fn what_is_named_and_not_there_is_not_found() {
        for name in [ProblemName::NotFound, ProblemName::MissingReference] {
            assert_eq!(Exit::of(name), Exit::NotFound);
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told_without_the_systems_words() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("latin.txt");
        std::fs::write(&file, b"\xff").unwrap();
        for (path, why) in [
            (dir.path().join("none"), "it does not exist"),
            (dir.path().to_owned(), "it is a directory"),
            (file.join("below"), "a part of its path is a file"),
            (file, "it is not UTF-8 text"),
        ] {
            let error = std::fs::read_to_string(&path).unwrap_err();
            let failure = Failure::unreadable(path.display(), &error);
            assert_eq!(failure.message, format!("cannot read {}: {why}", path.display()));
            assert_eq!(failure.exit, Exit::Usage);
        }
    }
}
