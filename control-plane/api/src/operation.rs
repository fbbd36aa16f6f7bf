//! What a request for an operation must look like, as the operation's description says it.

use utoipa::{
    Number,
    openapi::{
        RefOr, Schema,
        path::{Operation as Described, ParameterIn, PathItem},
        schema::{SchemaType, Type},
    },
};

use crate::access::Rule;

/// How requests for one operation are checked: what the description says is what holds.
#[derive(Debug)]
pub(crate) struct Operation {
    /// Who may use it. `None`: no caller may.
    pub(crate) rule: Option<Rule>,
    /// Whether it may change the state.
    pub(crate) is_write: bool,
    /// Whether it reads a body.
    pub(crate) takes_body: bool,
    /// The query parameters it knows; any other is refused.
    pub(crate) parameters: Vec<Parameter>,
}

/// A query parameter.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) form: Form,
}

/// What a query parameter's value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Any text.
    Text,
    /// A whole number from the first to the second.
    Number(u64, u64),
    /// `true`, `false`, or nothing for `true`.
    Flag,
}

impl Operation {
    /// Of the one operation that the item of a path has.
    pub(crate) fn of(item: &mut PathItem) -> Self {
        let is_write = item.get.is_none();
        let described = described(item);
        let query = parameters(described).filter(|known| known.parameter_in == ParameterIn::Query);
        let query =
            query.map(|known| Parameter { name: known.name.clone(), form: form(known.schema.as_ref()) });
        let parameters = query.collect();
        let (rule, takes_body) = (Rule::of(described), described.request_body.is_some());
        Self { rule, is_write, takes_body, parameters }
    }

    /// Whether it needs no token.
    pub(crate) fn is_open(&self) -> bool {
        self.rule == Some(Rule::Open)
    }

    /// Whether it knows the query parameter `name`.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.parameters.iter().any(|known| known.name == name)
    }
}

/// The one operation that the item of a path has.
pub(crate) fn described(item: &mut PathItem) -> &mut Described {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete]
        .into_iter()
        .find_map(Option::as_mut)
        .expect("every handler is described under one of these methods")
}

/// Its parameters.
pub(crate) fn parameters(
    described: &mut Described,
) -> impl Iterator<Item = &mut utoipa::openapi::path::Parameter> {
    described.parameters.iter_mut().flatten().filter_map(|parameter| match parameter {
        RefOr::T(parameter) => Some(parameter),
        RefOr::Ref(_) => None,
    })
}

fn form(schema: Option<&RefOr<Schema>>) -> Form {
    let Some(RefOr::T(Schema::Object(object))) = schema else { return Form::Text };
    match object.schema_type {
        SchemaType::Type(Type::Integer) => Form::Number(
            object.minimum.as_ref().and_then(whole).unwrap_or(0),
            object.maximum.as_ref().and_then(whole).unwrap_or(u64::MAX),
        ),
        SchemaType::Type(Type::Boolean) => Form::Flag,
        _ => Form::Text,
    }
}

/// A bound of a schema, if it is a whole number.
fn whole(bound: &Number) -> Option<u64> {
    match bound {
        Number::Int(bound) => u64::try_from(*bound).ok(),
        Number::UInt(bound) => u64::try_from(*bound).ok(),
        Number::Float(_) => None,
    }
}
