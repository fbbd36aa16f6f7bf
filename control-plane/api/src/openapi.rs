//! `/openapi.json`: the API's description, as the handlers' attributes give it, and what holds of every operation.

pub(crate) mod refusal;

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use hanse_management::{ProblemName, schemas_of};
use hanse_topology::{Labels, Name};
use http::{HeaderValue, header};
use utoipa::{
    PartialSchema,
    openapi::{
        ComponentsBuilder, HeaderBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, RefOr,
        Required, Response as Answer,
        path::{Operation, ParameterBuilder, ParameterIn},
        schema::{ObjectBuilder, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_axum::routes;

use crate::{
    access::Rule,
    answer::ProblemDetails,
    call::MAX_IDEMPOTENCY_KEY,
    held::Shared,
    operation::{described, parameters},
    routes::{Route, collect},
};

/// The name of the one security scheme.
const TOKEN: &str = "operatorToken";

const DESCRIPTION: &str = "The operator API of Hanse, a federation of API gateways. Every refusal is a problem document \
(RFC 9457). Revisions are dense: every accepted write that changes something makes the next one. A resource's ETag is the \
revision of its last change.";

const IDEMPOTENCY_KEY: &str =
    "1 to 128 printable ASCII characters: the same request under the same key has one effect, for 24 h";
const REVISION: &str = "The state's revision";
const RESTARTED: &str = "`true` on an answer from what this node has, while that may be older than what the node answered \
before its last restart; absent otherwise";

/// The API's OpenAPI document as JSON, the same as `/openapi.json` answers.
pub fn openapi_json() -> &'static str {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| document().to_pretty_json().expect("an OpenAPI document has string keys only"));
    &TEXT
}

/// The whole description.
fn document() -> OpenApi {
    collect(|route| route).into_openapi()
}

/// The route of the description itself.
pub(crate) fn routes() -> Vec<Route> {
    vec![routes!(openapi)]
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "process", extensions(("x-hanse-access" = json!("open"))),
    responses((status = 200, body = Object, description = "This document")))]
async fn openapi() -> Response {
    const JSON: HeaderValue = HeaderValue::from_static("application/json");
    let mut response = ([(header::CONTENT_TYPE, JSON)], openapi_json()).into_response();
    response.extensions_mut().insert(Shared);
    response
}

/// The description without any operation.
pub(crate) fn frame() -> OpenApi {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An operator token, as printed by `hanse server init` or `hanse token`"))
        .build();
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas_of::<ProblemDetails>())
        .schemas_from_iter(schemas_of::<Labels>())
        .schemas_from_iter(schemas_of::<Name>())
        .security_scheme(TOKEN, SecurityScheme::Http(bearer));
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("Hanse operator API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(license));
    OpenApiBuilder::new().info(info).components(Some(components.build())).build()
}

/// Adds to a description what holds of every operation: it needs a token unless its rule is `open`, writes take an idempotency
/// key, answers say the revision, and every refusal is a problem.
pub(crate) fn complete(mut route: Route) -> Route {
    let item = route.1.paths.values_mut().next().expect("a route has a path");
    let is_write = item.get.is_none();
    let operation = described(item);
    for header in parameters(operation).filter(|known| known.parameter_in == ParameterIn::Header) {
        header.required = Required::False;
    }
    if is_write {
        let key = ParameterBuilder::new()
            .name("Idempotency-Key")
            .parameter_in(ParameterIn::Header)
            .schema(Some(idempotency_key()))
            .description(Some(IDEMPOTENCY_KEY));
        operation.parameters.get_or_insert_default().push(key.build().into());
    }
    answers(operation).for_each(say_revision);
    operation.responses.responses.insert("default".to_owned(), refusal::any().into());
    operation.security = match Rule::of(operation) {
        Some(Rule::Open) => None,
        rule => {
            operation.responses.responses.extend(refusal::of(ProblemName::Unauthenticated));
            operation.responses.responses.extend(refusal::of(ProblemName::Forbidden));
            say_access(operation, rule);
            Some(vec![SecurityRequirement::new(TOKEN, Vec::<String>::new())])
        }
    };
    route
}

/// Says in words who may use it.
fn say_access(operation: &mut Operation, rule: Option<Rule>) {
    let needs = rule.map_or_else(
        || "nobody may use it".to_owned(),
        |rule| rule.needs(&format!("`{}`", rule.parameter())),
    );
    let access = format!("Access: {needs}.");
    operation.description = Some(match operation.description.take() {
        Some(description) => format!("{description}\n\n{access}"),
        None => access,
    });
}

/// What an idempotency key looks like.
fn idempotency_key() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(MAX_IDEMPOTENCY_KEY))
        .pattern(Some("^[!-~]([ -~]*[!-~])?$"))
}

/// Answers that are ours, as JSON.
fn answers(operation: &mut Operation) -> impl Iterator<Item = &mut Answer> {
    operation.responses.responses.values_mut().filter_map(|response| match response {
        RefOr::T(answer) => {
            let json = answer.content.get("application/json")?;
            let is_ours = matches!(json, RefOr::T(json) if matches!(json.schema, Some(RefOr::Ref(_))));
            is_ours.then_some(answer)
        }
        RefOr::Ref(_) => None,
    })
}

fn say_revision(answer: &mut Answer) {
    let header =
        |schema, what: &str| HeaderBuilder::new().schema(Some(schema)).description(Some(what)).build();
    answer.headers.insert("Hanse-Revision".to_owned(), header(u64::schema(), REVISION).into());
    answer.headers.insert("Hanse-Restarted".to_owned(), header(String::schema(), RESTARTED).into());
}

#[cfg(test)]
mod tests;
