//! The operations that every kind has: described once, with `{kind}` and `{kinds}` for its names, and made for each kind.

use axum::Extension;
use hanse_management::Kind;
use utoipa::openapi::{
    Paths, RefOr, Required,
    path::{Parameter, ParameterBuilder, ParameterIn},
    schema::{ObjectBuilder, Type},
};
use utoipa_axum::{router::UtoipaMethodRouterExt, routes};

use crate::{answer::schemas_of_kind, list, operation::described, resource, routes::Route};

/// The owner's part of a path, which global kinds do not have.
const OWNER: &str = "/organizations/{organization}";

/// The routes of all kinds.
pub(crate) fn routes() -> Vec<Route> {
    let of_kind = |kind: Kind| {
        let mut routes = vec![routes!(list::list), routes!(resource::get)];
        if kind.is_writable() {
            routes.extend([routes!(resource::put), routes!(resource::delete)]);
        }
        routes.into_iter().map(move |route| of_kind(route, kind))
    };
    Kind::ALL.into_iter().flat_map(of_kind).collect()
}

/// The path of a kind's list.
pub(crate) fn collection(kind: Kind) -> String {
    let owner = if kind.is_global() { "" } else { OWNER };
    format!("/v1{owner}/{}", kind.plural())
}

/// Makes a route for every kind one for this kind.
fn of_kind((mut schemas, paths, handler): Route, kind: Kind) -> Route {
    let text = serde_json::to_string(&paths).expect("a description has string keys only");
    let text = text.replace("{kinds}", kind.plural()).replace("{kind}", kind.as_str());
    let text = if kind.is_global() { text.replace(OWNER, "") } else { text };
    let mut paths: Paths = serde_json::from_str(&text).expect("names of kinds need no escapes");
    for (path, item) in &mut paths.paths {
        let described = described(item);
        described.tags = Some(vec![kind.to_string()]);
        let mut parameters: Vec<RefOr<Parameter>> = names_in(path).map(Into::into).collect();
        parameters.extend(described.parameters.take().into_iter().flatten());
        described.parameters = Some(parameters);
    }
    schemas.extend(schemas_of_kind(kind));
    (schemas, paths, handler).map(|handler| handler.route_layer(Extension(kind)))
}

/// The parameters of a path, all of which are names.
fn names_in(path: &str) -> impl Iterator<Item = Parameter> {
    ["organization", "name"].into_iter().filter(|name| path.contains(&format!("{{{name}}}"))).map(|name| {
        let label = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"));
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(label))
            .description(Some(format!("The {name}: 1 to 63 of a-z, 0-9 and -")))
            .build()
    })
}
