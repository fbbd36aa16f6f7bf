//! `/openapi.json`: the API's description, made from the same table as the router.

mod operations;
mod schemas;

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use utoipa::openapi::{
    InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathsBuilder,
    path::PathItem,
    security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use crate::operation::Operation;

/// The name of the one security scheme.
const TOKEN: &str = "operatorToken";

const DESCRIPTION: &str = "The operator API of Hanse, a federation of API gateways. Every refusal is a problem document \
(RFC 9457). Revisions are dense: every accepted write that changes something makes the next one. A resource's ETag is the \
revision of its last change.";

/// The API's OpenAPI document as JSON, the same as `/openapi.json` answers.
pub fn openapi_json() -> &'static str {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| document().to_pretty_json().expect("an OpenAPI document has string keys only"));
    &TEXT
}

/// The handler.
pub(crate) fn answer() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], openapi_json()).into_response()
}

/// The whole description.
fn document() -> OpenApi {
    let mut paths = PathsBuilder::new().build();
    for operation in Operation::all() {
        let item = PathItem::new(operations::http_method(operation), operations::describe(operation));
        match paths.paths.get_mut(&operation.path()) {
            Some(present) => present.merge_operations(item),
            None => {
                paths.paths.insert(operation.path(), item);
            }
        }
    }
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An operator token, as printed by `hanse server init` or `hanse token`"))
        .build();
    let mut components = schemas::components();
    components.add_security_scheme(TOKEN, SecurityScheme::Http(bearer));
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("Hanse operator API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(license));
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components)).build()
}

#[cfg(test)]
mod tests;
