//! Why a request was refused, in a form that reaches the operator unchanged.

use std::fmt;

/// The stable name of a kind of problem: `urn:hanse:problem:NAME` (RFC 9457), documented in `docs/problems.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemName {
    /// The request cannot be read.
    BadRequest,
    /// A value is not allowed.
    Invalid,
    /// No token, or one that is not known.
    Unauthenticated,
    /// The token may not do this.
    Forbidden,
    /// No such resource.
    NotFound,
    /// A resource that is referred to does not exist.
    MissingReference,
    /// It is still referred to.
    InUse,
    /// It exists already, or claims what another has.
    Conflict,
    /// A release has to be rolled out, or a version finalized, before this is possible.
    Upgrade,
    /// `If-Match` or `revision` is not the present one.
    Stale,
    /// A replacing write came without `If-Match`.
    PreconditionRequired,
    /// Larger than a limit.
    TooLarge,
    /// The idempotency key was used for another request.
    KeyReused,
    /// The join token is unknown, used up or expired.
    JoinRefused,
    /// Nothing older than some revision is kept.
    Gone,
    /// The audit log is full, and must be exported before another write.
    AuditFull,
    /// The change needs the approval of a second owner.
    ApprovalNeeded,
    /// No quorum of control-plane nodes.
    NoQuorum,
    /// The node has no place for the request; nothing was done.
    Busy,
    /// The deadline passed; whether the write happened is not known.
    UnknownFate,
    /// A defect of the server.
    Internal,
}

impl ProblemName {
    /// Every name.
    pub const ALL: [ProblemName; 21] = [
        Self::BadRequest,
        Self::Invalid,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MissingReference,
        Self::InUse,
        Self::Conflict,
        Self::Upgrade,
        Self::Stale,
        Self::PreconditionRequired,
        Self::TooLarge,
        Self::KeyReused,
        Self::JoinRefused,
        Self::Gone,
        Self::AuditFull,
        Self::ApprovalNeeded,
        Self::NoQuorum,
        Self::Busy,
        Self::UnknownFate,
        Self::Internal,
    ];

    /// The NAME of the problem's URN.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::Invalid => "invalid",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::MissingReference => "missing-reference",
            Self::InUse => "in-use",
            Self::Conflict => "conflict",
            Self::Upgrade => "upgrade",
            Self::Stale => "stale",
            Self::PreconditionRequired => "precondition-required",
            Self::TooLarge => "too-large",
            Self::KeyReused => "key-reused",
            Self::JoinRefused => "join-refused",
            Self::Gone => "gone",
            Self::AuditFull => "audit-full",
            Self::ApprovalNeeded => "approval-needed",
            Self::NoQuorum => "no-quorum",
            Self::Busy => "busy",
            Self::UnknownFate => "unknown-fate",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status it is answered with.
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Invalid | Self::MissingReference | Self::KeyReused => 422,
            Self::Unauthenticated => 401,
            Self::Forbidden | Self::JoinRefused => 403,
            Self::NotFound => 404,
            Self::InUse | Self::Conflict | Self::Upgrade | Self::AuditFull | Self::ApprovalNeeded => 409,
            Self::Stale => 412,
            Self::PreconditionRequired => 428,
            Self::TooLarge => 413,
            Self::Gone => 410,
            Self::NoQuorum | Self::Busy => 503,
            Self::UnknownFate => 504,
            Self::Internal => 500,
        }
    }

    /// The name spelled `text`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }
}

/// Why something was refused: what, where in the request, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which kind.
    pub name: ProblemName,
    /// One sentence for the person who asked.
    pub detail: String,
    /// Where: a path such as `Binding default/orders: spec.environment`. Empty where no field is at fault.
    pub field: String,
    /// What to do. Empty only where nothing can be done by the caller.
    pub remedy: String,
}

impl Problem {
    /// A problem with neither field nor remedy yet.
    pub fn new(name: ProblemName, detail: impl Into<String>) -> Self {
        Self { name, detail: detail.into(), field: String::new(), remedy: String::new() }
    }

    /// Names the field at fault.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.detail)?;
        if !self.remedy.is_empty() {
            write!(f, " ({})", self.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}
