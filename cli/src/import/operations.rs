//! The operations of a description.

use std::{borrow::Cow, collections::BTreeSet};

use hanse_management::{
    check_operation,
    kinds::{Method, OperationSpec},
};
use serde::{
    Deserialize as _,
    de::{IntoDeserializer, value},
};

use super::{
    ImportProblem,
    advice::{Asked, segments},
    files::Place,
    greedy::{self, Widening},
    problem::printable,
};

/// The members of a path item that are operations (OpenAPI 3.2, section 4.10).
const METHODS: [&str; 9] = ["get", "put", "post", "delete", "options", "head", "patch", "trace", "query"];
/// The member with the operation of all methods that have none of their own (AWS API Gateway).
const EVERY_METHOD: &str = "x-amazon-apigateway-any-method";
/// The other members of a path item (OpenAPI 3.2, section 4.10), beside those that start with `x-`.
const DETAILS: [&str; 6] = ["$ref", "summary", "description", "servers", "parameters", OTHER_METHODS];
/// The member with operations of other methods, named as on the wire (OpenAPI 3.2).
const OTHER_METHODS: &str = "additionalOperations";

/// How many operations and problems are read: more than an Api may have, and than a person reads. A few `$ref`s make any number
/// of operations of a short text.
const MAX_READ: usize = 100_000;
/// How many members of path items are looked at, each as often as `$ref`s lead to it: ten for each operation that is read, and some
/// seconds. A few `$ref`s to a large path item make any number of a short text.
const MAX_MEMBERS: usize = 10 * MAX_READ;

/// What to do with a document that is larger than an Api may be. Nothing makes two Apis of one document.
pub(super) const IN_PARTS: &str = "leave operations out of the document, or write two documents and import each as an Api with a --context of its own";

/// What a description offers, and every part of it that cannot be imported.
pub(super) struct Offer {
    pub(super) operations: Vec<Operation>,
    pub(super) problems: Vec<ImportProblem>,
    /// What was read otherwise than it is written, one line each.
    pub(super) notes: Vec<String>,
    /// Paths that are matched otherwise than they are written, one line each.
    pub(super) cut: Vec<String>,
    /// How many members of path items were looked at.
    members: usize,
    /// How many members of files are no methods, and the first of them.
    passed: (usize, Option<String>),
    /// How many operations, or path items that cannot be read, have problems.
    pub(super) unusable: usize,
}

/// An operation that can be imported.
pub(super) struct Operation {
    pub(super) spec: OperationSpec,
    /// As the document names it: `POST /uploads#http`.
    pub(super) name: String,
    pub(super) place: String,
    pub(super) deprecated: bool,
    /// What its own `security` asks.
    pub(super) asked: Option<Asked>,
    /// The `servers` of its own, or of its path item.
    pub(super) servers: Option<Place>,
    /// Its path before it was widened.
    pub(super) documented: String,
    /// Whether the document says that the last parameter of its path takes several segments.
    pub(super) says_several: bool,
}

/// What the operations of a path item share.
struct PathItem<'a> {
    /// The document's key.
    key: &'a str,
    /// What requests are matched by.
    path: &'a str,
    /// The same before it was widened.
    documented: &'a str,
    place: &'a Place,
    servers: Option<Place>,
    parameters: Option<Place>,
}

/// Reads all operations of a document; those at fault become problems. Paths that `greedy` names take several segments.
pub(super) fn operations(document: &Place, greedy: &[String]) -> Offer {
    let mut offer = Offer {
        operations: Vec::new(),
        problems: Vec::new(),
        notes: Vec::new(),
        cut: Vec::new(),
        members: 0,
        passed: (0, None),
        unusable: 0,
    };
    let paths = document.below("paths");
    let widening = widening(&paths, greedy);
    offer.read_paths(&paths, &widening);
    if offer.is_full() {
        offer.operations.clear();
        let why = if offer.members > MAX_MEMBERS {
            format!("its path items, with those that $refs repeat, have more than {MAX_MEMBERS} members")
        } else {
            format!("it has more than {MAX_READ} operations and problems")
        };
        offer.problems = vec![ImportProblem::new(&paths, why, IN_PARTS)];
        return offer;
    }
    if offer.operations.is_empty() && offer.problems.is_empty() {
        let problem = match document.below("webhooks").value().as_object() {
            Some(webhooks) => ImportProblem::new(
                &paths,
                format!(
                    "it has nothing to call, and webhooks only, which the service calls: {}",
                    webhooks.len()
                ),
                "give the description of an API that clients call",
            ),
            None => ImportProblem::new(&paths, "the document offers nothing to call", "add an operation"),
        };
        offer.problems.push(problem);
    }
    if let (count, Some(first)) = &offer.passed {
        offer
            .notes
            .push(format!("passed over members of files that are no methods: {count}, such as {first}"));
    }
    offer.problems.extend(widening.idle());
    if !greedy.is_empty() {
        let paths = offer.operations.iter();
        let paths = paths.map(|operation| (operation.documented.as_str(), operation.spec.path.as_str()));
        offer.problems.extend(greedy::lost(paths));
    }
    offer
}

/// Which paths of a document are widened.
fn widening(paths: &Place, greedy: &[String]) -> Widening {
    let layers = if greedy.is_empty() { Vec::new() } else { paths.reached().0 };
    let keys: Vec<_> = layers
        .iter()
        .flat_map(members)
        .filter(|(key, _)| !is_extra(key) && fragment_amid(key).is_none())
        .map(|(key, _)| (key, path_of(key)))
        .collect();
    Widening::of(greedy, keys.iter().map(|(key, path)| (*key, &**path)))
}

impl Offer {
    /// Where a `$ref` leads nowhere, the layers before it are read all the same.
    fn read_paths(&mut self, paths: &Place, widening: &Widening) {
        let (layers, problem) = paths.reached();
        self.problems.extend(problem);
        for layer in layers {
            for (path, item) in members(&layer).filter(|(path, _)| !is_extra(path)) {
                if self.is_full() {
                    return;
                }
                self.read_item(path, &item, widening);
            }
        }
    }

    /// A path item may refer to another and say more beside it: what it says itself wins.
    fn read_item(&mut self, key: &str, place: &Place, widening: &Widening) {
        if let Some(fragment) = fragment_amid(key) {
            let why = format!("{} would cut the path, because a path has no fragment", printable(fragment));
            let problem = ImportProblem::new(place, why, "write %23 for the #, or the value in its place");
            return self.refuse(key, vec![problem]);
        }
        let documented = &*path_of(key);
        if documented != key {
            self.cut.push(format!("{} is matched by its path, {}", printable(key), printable(documented)));
        }
        let widened = widening.widened(documented);
        if let Some(wide) = &widened {
            self.notes.push(format!("widened {} to {}", printable(documented), printable(wide)));
        }
        let path = widened.as_deref().unwrap_or(documented);
        let (layers, problem) = place.reached();
        let mut problems: Vec<_> = problem.into_iter().collect();
        let mut strays = Vec::new();
        let member = |key: &str| Place::member(&layers, key);
        let (servers, parameters) = (member("servers"), member("parameters"));
        let item = PathItem { key, path, documented, place, servers, parameters };
        let mut taken: BTreeSet<String> = BTreeSet::new();
        for layer in layers {
            self.members += layer.value().as_object().map_or(0, serde_json::Map::len);
            if self.is_full() {
                return;
            }
            let mut operations: Vec<(String, Place)> = Vec::new();
            for (key, place) in members(&layer) {
                match method_named(key) {
                    Some(method) => operations.push((method, place)),
                    None if DETAILS.contains(&key) || key.starts_with("x-") => {}
                    // A file that is a path item may hold what other references lead to. An operation has responses.
                    None if layer.is_file() && place.value().get("responses").is_none() => {
                        self.passed.0 += 1;
                        self.passed.1.get_or_insert_with(|| printable(&place.to_string()));
                    }
                    None => strays.push(ImportProblem::new(
                        &place,
                        "is no method, and no other member that a path item has",
                        "correct its name, or take it out",
                    )),
                }
            }
            let (others, problem) = layer.below(OTHER_METHODS).reached();
            problems.extend(problem);
            let mut named = BTreeSet::new();
            let others = others.iter().flat_map(members).filter(|(key, _)| *key != "$ref");
            operations.extend(
                others.filter(|(key, _)| named.insert(*key)).map(|(key, place)| (key.to_owned(), place)),
            );
            operations.retain(|(method, _)| !taken.contains(method));
            for (method, place) in &operations {
                if self.is_full() {
                    return;
                }
                self.read_operation(method, &item, place);
            }
            taken.extend(operations.into_iter().map(|(method, _)| method));
        }
        if !problems.is_empty() {
            self.refuse(key, problems);
        }
        self.problems.extend(strays.into_iter().map(|problem| problem.of(key)));
    }

    /// Whether to read no further.
    fn is_full(&self) -> bool {
        self.operations.len() + self.problems.len() > MAX_READ || self.members > MAX_MEMBERS
    }

    fn read_operation(&mut self, method: &str, item: &PathItem<'_>, place: &Place) {
        match operation(method, item, place) {
            Ok(operation) => self.operations.push(operation),
            Err(problems) => self.refuse(&name(method, item), problems),
        }
    }

    fn refuse(&mut self, operation: &str, problems: Vec<ImportProblem>) {
        self.unusable += 1;
        self.problems.extend(problems.into_iter().map(|problem| problem.of(operation)));
    }
}

/// An operation as the document names it.
fn name(method: &str, item: &PathItem<'_>) -> String {
    format!("{method} {}", item.key)
}

/// The segment with a `#` after which the path goes on: `/send/#env/v1`.
fn fragment_amid(key: &str) -> Option<&str> {
    let rest = &key[cut(key).len()..];
    let (segment, _) = rest.strip_prefix('#')?.split_once('/')?;
    Some(&rest[..=segment.len()])
}

/// The template that requests of a path item are matched by. Some documents tell operations on one path apart by a fragment
/// or a query, which no path has, or by a blank at its end. Blanks inside arrive as `%20`.
fn path_of(key: &str) -> Cow<'_, str> {
    let path = cut(key).trim();
    if !path.contains(' ') {
        return Cow::Borrowed(path);
    }
    let mut template = String::with_capacity(path.len() + 8);
    let mut in_parameter = false;
    for character in path.chars() {
        in_parameter = character == '{' || in_parameter && character != '}';
        match character {
            ' ' if !in_parameter => template.push_str("%20"),
            other => template.push(other),
        }
    }
    Cow::Owned(template)
}

/// A documented path without its fragment or query: some documents tell operations on one path apart by them. A query may be
/// written as a URI template (RFC 6570): `/search{?q}`.
fn cut(key: &str) -> &str {
    let mut is_inside = false;
    for (at, character) in key.char_indices() {
        match character {
            '{' if is_query_template(&key[at..]) => return &key[..at],
            '{' => is_inside = true,
            '}' => is_inside = false,
            '?' | '#' if !is_inside => return cut(&key[..at]),
            _ => {}
        }
    }
    key
}

/// `{?name,…}`, `{&name,…}` and `{#name}` up to the end.
fn is_query_template(text: &str) -> bool {
    let is_one =
        |part: &str| part.ends_with('}') && ["{?", "{&", "{#"].iter().any(|start| part.starts_with(start));
    text.split_inclusive('}').all(is_one)
}

/// The members of a mapping.
fn members(place: &Place) -> impl Iterator<Item = (&str, Place)> {
    place.members().into_iter().flatten()
}

/// What stands beside paths in their mapping and is none.
fn is_extra(key: &str) -> bool {
    key == "$ref" || key.starts_with("x-")
}

/// One operation, or everything that is wrong with it. Without details, as in `get:`, it is one all the same.
fn operation(method: &str, item: &PathItem<'_>, place: &Place) -> Result<Operation, Vec<ImportProblem>> {
    let layers = place.layers().map_err(|problem| vec![problem])?;
    let member = |key: &str| Place::member(&layers, key).unwrap_or_else(|| place.below(key));
    let id = member("operationId");
    let mut problems = Vec::new();
    let spec = OperationSpec {
        method: method_of(method).ok_or_else(|| {
            let why = format!("gateways know no method {method}");
            vec![ImportProblem::new(place, why, "call it with another method")]
        })?,
        path: item.path.to_owned(),
        id: id
            .text()
            .unwrap_or_else(|problem| {
                problems.push(problem);
                None
            })
            .map(str::to_owned),
        scopes: Vec::new(),
        policies: Vec::new(),
        timeout: None,
        open: false,
    };
    problems.extend(check_operation(&spec).into_iter().map(|problem| {
        let at = match problem.field.as_str() {
            "spec.path" => item.place,
            "spec.id" => &id,
            _ => place,
        };
        ImportProblem::new(at, problem.detail, problem.remedy)
    }));
    if !problems.is_empty() {
        return Err(problems);
    }
    let deprecated = member("deprecated").value().as_bool() == Some(true);
    let servers = Place::member(&layers, "servers").or_else(|| item.servers.clone());
    let parameters = [Place::member(&layers, "parameters"), item.parameters.clone()];
    let says_several = segments::says_several(item.documented, parameters.iter().flatten());
    Ok(Operation {
        spec,
        name: name(method, item),
        place: place.to_string(),
        deprecated,
        asked: Asked::by(&member("security")),
        servers,
        documented: item.documented.to_owned(),
        says_several,
    })
}

/// The method that a member of a path item is named after.
fn method_named(key: &str) -> Option<String> {
    if key == EVERY_METHOD {
        return Some(key.to_owned());
    }
    METHODS.iter().any(|method| method.eq_ignore_ascii_case(key)).then(|| key.to_ascii_uppercase())
}

/// The method of that name, if gateways know it. In a manifest `*` is every method; in a description it is a name.
fn method_of(name: &str) -> Option<Method> {
    match name {
        EVERY_METHOD => Some(Method::Every),
        "*" => None,
        name => Method::deserialize(IntoDeserializer::<value::Error>::into_deserializer(name)).ok(),
    }
}
