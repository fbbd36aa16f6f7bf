//! The table of everything the API can do. Router, query checks, metrics and OpenAPI document all read it.

use axum::routing::MethodFilter;
use hanse_management::Kind;

/// One thing a client can ask for: a method on a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// All resources of a kind, page by page.
    List(Kind),
    /// One resource.
    Get(Kind),
    /// Creates or replaces one.
    Put(Kind),
    /// Deletes one.
    Delete(Kind),
    /// Many changes at once, all or none.
    Apply,
    /// Changes as they happen.
    Watch,
    /// Who serves a revision.
    Convergence,
    /// The federation at a glance.
    Status,
    /// Who takes part, and who of them is refused.
    Members,
    /// Who is refused.
    Revocations,
    /// Refuses an identity.
    Revoke,
    /// Lifts that.
    Readmit,
    /// Which roots of trust are believed, and by whom.
    Roots,
    /// Has another root believed too.
    TrustRoot,
    /// Has certificates come from a root.
    UseRoot,
    /// Has a root believed no more.
    DropRoot,
    /// The process's metrics.
    Metrics,
    /// This API's description.
    OpenApi,
    /// The process runs.
    Livez,
    /// The node has state to serve.
    Readyz,
}

/// A query parameter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) what: &'static str,
}

/// What a query parameter's value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Any text.
    Text,
    /// A whole number.
    Number,
    /// `true`, `false`, or nothing for `true`.
    Flag,
}

const fn parameter(name: &'static str, form: Form, what: &'static str) -> Parameter {
    Parameter { name, form, what }
}

const CONSISTENCY: Parameter = parameter(
    "consistency",
    Form::Text,
    "`linearizable` (default: sees every write acknowledged before; needs a quorum) or `stale` (what this node has; \
     always answers; never behind an earlier answer of the same node, unless `Hanse-Restarted` says so)",
);
const MIN_REVISION: Parameter = parameter(
    "min_revision",
    Form::Number,
    "Answer from this node's state once it has reached this revision, which is waited for at most 10 s; needs no quorum",
);

const GET: &[Parameter] = &[CONSISTENCY, MIN_REVISION];
const LIST: &[Parameter] = &[
    parameter("limit", Form::Number, "Resources per page: 1 to 1000, default 100"),
    parameter("continue", Form::Text, "The `continue` of the page before"),
    parameter("labels", Form::Text, "Only resources with all these labels: `k=v,k=v`"),
    CONSISTENCY,
    MIN_REVISION,
];
const DELETE: &[Parameter] =
    &[parameter("cascade", Form::Flag, "Delete what refers to it too, instead of refusing")];
const APPLY: &[Parameter] = &[
    parameter("dryRun", Form::Flag, "Say what would happen and change nothing"),
    parameter(
        "prune",
        Form::Flag,
        "Also delete resources that match `selector`, are of a kind and organization (or global) that the request \
         mentions, and are not in the request",
    ),
    parameter("selector", Form::Text, "With `prune`: the labels of what may be deleted, `k=v,k=v`"),
    parameter("organization", Form::Text, "The owner of resources that name none; default `default`"),
];
const WATCH: &[Parameter] = &[
    parameter(
        "from",
        Form::Number,
        "Changes after this revision; default: from now on. `Last-Event-ID` goes before it",
    ),
    parameter("kinds", Form::Text, "Only these kinds: `apis,bindings`"),
];
const CONVERGENCE: &[Parameter] =
    &[parameter("revision", Form::Number, "The revision that gateways should serve; default: the latest")];
const REVOKE: &[Parameter] = &[parameter(
    "keys",
    Form::Text,
    "Public keys refused with it, `sha256:…,sha256:…`, beside those that are known: at most 16",
)];
const FORCE: &[Parameter] =
    &[parameter("force", Form::Flag, "Go on without those that are not ready: they must join again")];

impl Operation {
    /// Every operation there is.
    pub(crate) fn all() -> Vec<Self> {
        let of_kind = |kind: Kind| {
            let read = [Self::List(kind), Self::Get(kind)];
            let write = [Self::Put(kind), Self::Delete(kind)];
            read.into_iter().chain(write.into_iter().filter(move |_| kind.is_writable()))
        };
        let rest = [
            Self::Apply,
            Self::Watch,
            Self::Convergence,
            Self::Status,
            Self::Members,
            Self::Revocations,
            Self::Revoke,
            Self::Readmit,
            Self::Roots,
            Self::TrustRoot,
            Self::UseRoot,
            Self::DropRoot,
            Self::Metrics,
            Self::OpenApi,
            Self::Livez,
            Self::Readyz,
        ];
        Kind::ALL.into_iter().flat_map(of_kind).chain(rest).collect()
    }

    /// Its method, as axum filters by it. `GET` includes `HEAD`.
    pub(crate) const fn method(self) -> MethodFilter {
        match self {
            Self::List(_)
            | Self::Get(_)
            | Self::Watch
            | Self::Convergence
            | Self::Status
            | Self::Members
            | Self::Revocations
            | Self::Roots
            | Self::Metrics
            | Self::OpenApi
            | Self::Livez
            | Self::Readyz => MethodFilter::GET,
            Self::Put(_) | Self::Revoke | Self::UseRoot => MethodFilter::PUT,
            Self::Delete(_) | Self::Readmit | Self::DropRoot => MethodFilter::DELETE,
            Self::Apply | Self::TrustRoot => MethodFilter::POST,
        }
    }

    /// Its path, with parameters in braces.
    pub(crate) fn path(self) -> String {
        let collection = |kind: Kind| match kind.is_global() {
            true => format!("/v1/{}", kind.plural()),
            false => format!("/v1/organizations/{{organization}}/{}", kind.plural()),
        };
        match self {
            Self::List(kind) => collection(kind),
            Self::Get(kind) | Self::Put(kind) | Self::Delete(kind) => {
                format!("{}/{{name}}", collection(kind))
            }
            Self::Apply => "/v1/apply".to_owned(),
            Self::Watch => "/v1/watch".to_owned(),
            Self::Convergence => "/v1/convergence".to_owned(),
            Self::Status => "/v1/status".to_owned(),
            Self::Members => "/v1/members".to_owned(),
            Self::Revocations => "/v1/revocations".to_owned(),
            Self::Revoke | Self::Readmit => "/v1/revocations/{identity}".to_owned(),
            Self::Roots | Self::TrustRoot => "/v1/roots".to_owned(),
            Self::UseRoot => "/v1/roots/{root}/issuing".to_owned(),
            Self::DropRoot => "/v1/roots/{root}".to_owned(),
            Self::Metrics => "/metrics".to_owned(),
            Self::OpenApi => "/openapi.json".to_owned(),
            Self::Livez => "/livez".to_owned(),
            Self::Readyz => "/readyz".to_owned(),
        }
    }

    /// Whether it needs no token.
    pub(crate) const fn is_open(self) -> bool {
        match self {
            Self::OpenApi | Self::Livez | Self::Readyz => true,
            Self::List(_)
            | Self::Get(_)
            | Self::Put(_)
            | Self::Delete(_)
            | Self::Apply
            | Self::Watch
            | Self::Convergence
            | Self::Status
            | Self::Members
            | Self::Revocations
            | Self::Revoke
            | Self::Readmit
            | Self::Roots
            | Self::TrustRoot
            | Self::UseRoot
            | Self::DropRoot
            | Self::Metrics => false,
        }
    }

    /// Whether it may change the state.
    pub(crate) const fn is_write(self) -> bool {
        matches!(
            self,
            Self::Put(_)
                | Self::Delete(_)
                | Self::Apply
                | Self::Revoke
                | Self::Readmit
                | Self::TrustRoot
                | Self::UseRoot
                | Self::DropRoot
        )
    }

    /// Whether it reads a body.
    pub(crate) const fn takes_body(self) -> bool {
        matches!(self, Self::Put(_) | Self::Apply | Self::TrustRoot)
    }

    /// The query parameters it knows; any other is refused.
    pub(crate) const fn parameters(self) -> &'static [Parameter] {
        match self {
            Self::List(_) => LIST,
            Self::Get(_) | Self::Revocations => GET,
            Self::Delete(_) => DELETE,
            Self::Apply => APPLY,
            Self::Watch => WATCH,
            Self::Convergence => CONVERGENCE,
            Self::UseRoot | Self::DropRoot => FORCE,
            Self::Revoke => REVOKE,
            Self::Put(_)
            | Self::Status
            | Self::Members
            | Self::Readmit
            | Self::Roots
            | Self::TrustRoot
            | Self::Metrics
            | Self::OpenApi
            | Self::Livez
            | Self::Readyz => &[],
        }
    }
}
