//! The problems that an operation names in its description: `refusal::NotFound` among its responses.

use std::collections::BTreeMap;

use hanse_management::ProblemName;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder},
};

use crate::{answer::ProblemDetails, rejection::Rejection};

macro_rules! refusals {
    ($($name:ident),*) => {
        $(
            pub(crate) struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    of(ProblemName::$name)
                }
            }
        )*
    };
}

refusals!(
    NotFound,
    ApprovalNeeded,
    InUse,
    Conflict,
    Stale,
    PreconditionRequired,
    TooLarge,
    Invalid,
    Gone,
    NoQuorum,
    Upgrade
);

/// A problem under its status.
pub(super) fn of(name: ProblemName) -> BTreeMap<String, RefOr<Response>> {
    let problem = problem(format!("`{}`", ProblemDetails::urn(name)));
    [(name.status().to_string(), problem.into())].into()
}

/// Any problem.
pub(super) fn any() -> Response {
    problem("The request was refused")
}

fn problem(what: impl Into<String>) -> Response {
    let schema = Ref::from_schema_name(<ProblemDetails as ToSchema>::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new().description(what).content(Rejection::MEDIA_TYPE, content).build()
}
