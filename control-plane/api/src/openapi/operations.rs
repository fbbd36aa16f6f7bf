//! One OpenAPI operation per operation.

use hanse_management::{Kind, ProblemName};
use utoipa::openapi::{
    ContentBuilder, HeaderBuilder, HttpMethod, Ref, Required, Response, ResponseBuilder,
    path::{Operation as Described, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
    request_body::{RequestBody, RequestBodyBuilder},
    schema::{ObjectBuilder, Schema, Type},
    security::SecurityRequirement,
};

use super::{
    TOKEN,
    schemas::{list_name, number, schema_ref},
};
use crate::{
    operation::{Form, Operation},
    rejection::Rejection,
};

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";

/// The method, as OpenAPI knows it.
pub(super) fn http_method(operation: Operation) -> HttpMethod {
    match operation {
        Operation::Put(_) | Operation::Revoke | Operation::UseRoot => HttpMethod::Put,
        Operation::Delete(_) | Operation::Readmit | Operation::DropRoot => HttpMethod::Delete,
        Operation::Apply | Operation::TrustRoot => HttpMethod::Post,
        Operation::List(_)
        | Operation::Get(_)
        | Operation::Watch
        | Operation::Convergence
        | Operation::Status
        | Operation::Members
        | Operation::Revocations
        | Operation::Roots
        | Operation::Metrics
        | Operation::OpenApi
        | Operation::Livez
        | Operation::Readyz => HttpMethod::Get,
    }
}

/// All that is said of it.
pub(super) fn describe(operation: Operation) -> Described {
    let (id, summary) = words(operation);
    let mut described =
        OperationBuilder::new().operation_id(Some(id)).summary(Some(summary)).tag(tag(operation));
    for parameter in
        path_parameters(operation).into_iter().chain(query_parameters(operation)).chain(headers(operation))
    {
        described = described.parameter(parameter);
    }
    if let Some(body) = body(operation) {
        described = described.request_body(Some(body));
    }
    for (status, response) in answers(operation) {
        described = described.response(status, response);
    }
    let refused = ResponseBuilder::new()
        .description("The request was refused")
        .content(Rejection::MEDIA_TYPE, ContentBuilder::new().schema(Some(schema_ref("Problem"))).build());
    described = described.response("default", refused.build());
    if !operation.is_open() {
        described = described
            .security(SecurityRequirement::new(TOKEN, Vec::<String>::new()))
            .response("401", problem_response(ProblemName::Unauthenticated));
    }
    described.build()
}

fn words(operation: Operation) -> (String, String) {
    let say = |id: &str, summary: &str| (id.to_owned(), summary.to_owned());
    match operation {
        Operation::List(kind) => (format!("list{kind}"), format!("Lists {kind} resources by name")),
        Operation::Get(kind) => (format!("get{kind}"), format!("One {kind}")),
        Operation::Put(kind) => (
            format!("put{kind}"),
            format!("Creates the {kind}, or replaces the one at the revision that If-Match names"),
        ),
        Operation::Delete(kind) => (format!("delete{kind}"), format!("Deletes the {kind}")),
        Operation::Apply => say("apply", "Makes many changes in one revision, all or none"),
        Operation::Watch => say("watch", "Changes as they happen: events put, delete and bookmark"),
        Operation::Convergence => {
            say("convergence", "Which gateways serve a revision, and why the others do not")
        }
        Operation::Status => say("status", "Control-plane nodes, regions, agents and gateways"),
        Operation::Members => {
            say("members", "Control nodes, agents and gateways, and who of them is revoked")
        }
        Operation::Revocations => say("revocations", "Whom every part of the federation refuses"),
        Operation::Revoke => {
            say("revoke", "Refuses an identity: its connections are cut, and it is not let in again")
        }
        Operation::Readmit => say("readmit", "Lifts a revocation"),
        Operation::Roots => say("roots", "Which roots of trust are believed, and by whom"),
        Operation::TrustRoot => say("trustRoot", "Has another root believed beside the present one"),
        Operation::UseRoot => {
            say("useRoot", "Has certificates come from this root, once everybody believes it")
        }
        Operation::DropRoot => {
            say("dropRoot", "Has a root believed no more, once nobody's certificate comes from it")
        }
        Operation::Metrics => say("metrics", "This process's metrics"),
        Operation::OpenApi => say("openapi", "This document"),
        Operation::Livez => say("livez", "Whether the process runs"),
        Operation::Readyz => say("readyz", "Whether this node has a state to answer from"),
    }
}

fn tag(operation: Operation) -> &'static str {
    match operation {
        Operation::List(kind) | Operation::Get(kind) | Operation::Put(kind) | Operation::Delete(kind) => {
            kind.as_str()
        }
        Operation::Apply
        | Operation::Watch
        | Operation::Convergence
        | Operation::Status
        | Operation::Members
        | Operation::Revocations
        | Operation::Revoke
        | Operation::Readmit
        | Operation::Roots
        | Operation::TrustRoot
        | Operation::UseRoot
        | Operation::DropRoot => "federation",
        Operation::Metrics | Operation::OpenApi | Operation::Livez | Operation::Readyz => "process",
    }
}

fn text() -> Schema {
    ObjectBuilder::new().schema_type(Type::String).into()
}

fn parameter(name: &str, place: ParameterIn, schema: Schema, what: &str) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(Required::False)
        .schema(Some(schema))
        .description(Some(what))
}

fn path_parameters(operation: Operation) -> Vec<Parameter> {
    let of = |name: &str| {
        let name_schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))
            .into();
        let what = format!("The {name}: 1 to 63 of a-z, 0-9 and -");
        parameter(name, ParameterIn::Path, name_schema, &what).required(Required::True).build()
    };
    let path = operation.path();
    ["organization", "name"]
        .into_iter()
        .filter(|name| path.contains(&format!("{{{name}}}")))
        .map(of)
        .chain(path.contains("{identity}").then(identity))
        .chain(path.contains("{root}").then(root))
        .collect()
}

fn identity() -> Parameter {
    let what = "Who: NAME.agent.REGION.hanse.internal, NAME.gateway.REGION.hanse.internal or \
                NAME.server.control.hanse.internal";
    parameter("identity", ParameterIn::Path, text(), what).required(Required::True).build()
}

fn root() -> Parameter {
    let what = "Which: the SHA-256 of its public key, 64 hexadecimal digits";
    parameter("root", ParameterIn::Path, text(), what).required(Required::True).build()
}

fn query_parameters(operation: Operation) -> impl Iterator<Item = Parameter> {
    operation.parameters().iter().map(|known| {
        let schema = match known.form {
            Form::Text => text(),
            Form::Number => number(known.what).into(),
            Form::Flag => ObjectBuilder::new().schema_type(Type::Boolean).into(),
        };
        parameter(known.name, ParameterIn::Query, schema, known.what).build()
    })
}

fn headers(operation: Operation) -> Vec<Parameter> {
    let header = |name: &str, what: &str| parameter(name, ParameterIn::Header, text(), what).build();
    let mut headers = Vec::new();
    match operation {
        Operation::Put(_) => {
            headers.push(header(
                "If-Match",
                "Replace the resource at this ETag: `\"N\"`, or `*` for whatever is there",
            ));
            headers.push(header("If-None-Match", "`*`: only create"));
        }
        Operation::Delete(_) => headers.push(header("If-Match", "Delete only the resource at this ETag")),
        Operation::Get(_) => {
            headers.push(header("If-None-Match", "Answer 304 if the resource is still at this ETag"))
        }
        Operation::Watch => headers.push(header("Last-Event-ID", "Go on after this revision")),
        Operation::List(_)
        | Operation::Apply
        | Operation::Convergence
        | Operation::Status
        | Operation::Members
        | Operation::Revocations
        | Operation::Revoke
        | Operation::Readmit
        | Operation::Roots
        | Operation::TrustRoot
        | Operation::UseRoot
        | Operation::DropRoot
        | Operation::Metrics
        | Operation::OpenApi
        | Operation::Livez
        | Operation::Readyz => {}
    }
    if operation.is_write() {
        let what = "1 to 128 printable ASCII characters: the same request under the same key has one effect, for 24 h";
        headers.push(header("Idempotency-Key", what));
    }
    headers
}

fn body(operation: Operation) -> Option<RequestBody> {
    let (json, what) = match operation {
        Operation::Put(kind) => {
            (schema_ref(kind.as_str()), "kind, organization and name may be left out: the path says them")
        }
        Operation::Apply => (schema_ref("ApplyRequest"), "JSON, or YAML documents; at most 16 MiB"),
        Operation::TrustRoot => {
            let content = ContentBuilder::new().schema(Some(schema_ref("Rotation"))).build();
            let body = RequestBodyBuilder::new()
                .description(Some("Both roots, and each one's word for the other"))
                .required(Some(Required::True))
                .content(JSON, content);
            return Some(body.build());
        }
        Operation::List(_)
        | Operation::Get(_)
        | Operation::Delete(_)
        | Operation::Watch
        | Operation::Convergence
        | Operation::Status
        | Operation::Members
        | Operation::Revocations
        | Operation::Revoke
        | Operation::Readmit
        | Operation::Roots
        | Operation::UseRoot
        | Operation::DropRoot
        | Operation::Metrics
        | Operation::OpenApi
        | Operation::Livez
        | Operation::Readyz => return None,
    };
    let body = RequestBodyBuilder::new()
        .description(Some(what))
        .required(Some(Required::True))
        .content(JSON, ContentBuilder::new().schema(Some(json)).build())
        .content(YAML, ContentBuilder::new().schema(Some(text())).build());
    Some(body.build())
}

fn answers(operation: Operation) -> Vec<(&'static str, Response)> {
    match operation {
        Operation::List(kind) => vec![("200", json(schema_ref(list_name(kind)), "A page").build())],
        Operation::Get(kind) => vec![
            ("200", resource(kind, "The resource")),
            ("304", ResponseBuilder::new().description("It is still at the ETag given").build()),
            ("404", problem_response(ProblemName::NotFound)),
        ],
        Operation::Put(kind) => vec![
            ("200", resource(kind, "Replaced, or equal already")),
            ("201", resource(kind, "Created")),
            ("412", problem_response(ProblemName::Stale)),
            ("422", problem_response(ProblemName::Invalid)),
            ("428", problem_response(ProblemName::PreconditionRequired)),
        ],
        Operation::Delete(_) => vec![
            ("200", json(schema_ref("Deleted"), "What was deleted").build()),
            ("404", problem_response(ProblemName::NotFound)),
            ("409", problem_response(ProblemName::InUse)),
            ("412", problem_response(ProblemName::Stale)),
        ],
        Operation::Apply => vec![
            ("200", json(schema_ref("Applied"), "What happened, or would happen").build()),
            ("412", problem_response(ProblemName::Stale)),
            ("413", problem_response(ProblemName::TooLarge)),
            ("422", problem_response(ProblemName::Invalid)),
        ],
        Operation::Watch => {
            vec![("200", plain("text/event-stream", "Events")), ("410", problem_response(ProblemName::Gone))]
        }
        Operation::Convergence => {
            vec![("200", json(schema_ref("Convergence"), "Who serves the revision").build())]
        }
        Operation::Status => vec![("200", json(schema_ref("Status"), "The federation at a glance").build())],
        Operation::Members => vec![("200", json(schema_ref("Members"), "Who takes part").build())],
        Operation::Revocations => vec![("200", json(schema_ref("Revocations"), "Who is refused").build())],
        Operation::Revoke => vec![
            ("200", json(schema_ref("Revocation"), "It was revoked already").build()),
            ("201", json(schema_ref("Revocation"), "Revoked").build()),
            ("404", problem_response(ProblemName::NotFound)),
            ("409", problem_response(ProblemName::Conflict)),
            ("422", problem_response(ProblemName::Invalid)),
        ],
        Operation::Readmit => vec![
            ("200", json(schema_ref("Readmitted"), "Lifted").build()),
            ("404", problem_response(ProblemName::NotFound)),
        ],
        Operation::Roots => vec![("200", json(schema_ref("Roots"), "The roots").build())],
        Operation::TrustRoot => vec![
            ("200", json(schema_ref("RootSettled"), "It is believed").build()),
            ("409", problem_response(ProblemName::Conflict)),
            ("422", problem_response(ProblemName::Invalid)),
        ],
        Operation::UseRoot | Operation::DropRoot => vec![
            ("200", json(schema_ref("RootSettled"), "Done").build()),
            ("404", problem_response(ProblemName::NotFound)),
            ("409", problem_response(ProblemName::Conflict)),
        ],
        Operation::Metrics => vec![("200", plain("application/openmetrics-text", "Metrics"))],
        Operation::OpenApi => {
            let any = ObjectBuilder::new().schema_type(Type::Object).build();
            let content = ContentBuilder::new().schema(Some(Schema::from(any))).build();
            vec![("200", ResponseBuilder::new().description("This document").content(JSON, content).build())]
        }
        Operation::Livez => vec![("200", plain("text/plain", "It runs"))],
        Operation::Readyz => {
            vec![
                ("200", plain("text/plain", "It is ready")),
                ("503", problem_response(ProblemName::NoQuorum)),
            ]
        }
    }
}

fn json(schema: Ref, what: &str) -> ResponseBuilder {
    let revision = HeaderBuilder::new().schema(Some(number("The state's revision"))).build();
    let restarted = HeaderBuilder::new()
        .schema(Some(text()))
        .description(Some(
            "`true` on an answer from what this node has, while that may be older than what the node answered before its \
             last restart; absent otherwise",
        ))
        .build();
    ResponseBuilder::new()
        .description(what)
        .content(JSON, ContentBuilder::new().schema(Some(schema)).build())
        .header("Hanse-Revision", revision)
        .header("Hanse-Restarted", restarted)
}

fn resource(kind: Kind, what: &str) -> Response {
    let etag = HeaderBuilder::new()
        .schema(Some(text()))
        .description(Some(
            "The revision of its last change; of an Api, with its latest revision's number: `\"N.M\"`",
        ))
        .build();
    json(schema_ref(kind.as_str()), what).header("ETag", etag).build()
}

fn plain(media_type: &str, what: &str) -> Response {
    ResponseBuilder::new()
        .description(what)
        .content(media_type, ContentBuilder::new().schema(Some(text())).build())
        .build()
}

fn problem_response(name: ProblemName) -> Response {
    ResponseBuilder::new()
        .description(format!("`urn:hanse:problem:{}`", name.as_str()))
        .content(Rejection::MEDIA_TYPE, ContentBuilder::new().schema(Some(schema_ref("Problem"))).build())
        .build()
}
