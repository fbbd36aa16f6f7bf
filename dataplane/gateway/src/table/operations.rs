//! The operations of one Api: a tree of path segments with methods at its nodes.
//!
//! Per segment a literal goes before a mixed segment and that before a parameter. A branch that ends without an
//! operation is left again for the next one. The path is chosen before the method, so a more special path without the
//! method answers 405 rather than fall back to a more general one.

use std::{collections::HashMap, sync::Arc};

use hanse_runtime::{Mixed, Template, TemplateSegment};
use http::{HeaderValue, Method};

/// A tree of path templates. `T` is what an operation is.
#[derive(Debug)]
pub struct OperationTree<T> {
    /// The root first. Nodes name their children by index.
    nodes: Vec<Node<T>>,
}

#[derive(Debug)]
struct Node<T> {
    literals: HashMap<Box<[u8]>, usize>,
    /// In order of precedence.
    mixed: Vec<(Mixed, usize)>,
    parameter: Option<usize>,
    methods: Option<Methods<T>>,
}

/// What can be called on one path.
#[derive(Debug)]
pub struct Methods<T> {
    operations: Vec<(Method, Arc<T>)>,
    allow: HeaderValue,
}

impl<T> Methods<T> {
    /// The operation for `method`; HEAD falls back to GET (RFC 9110 §9.3.2).
    pub fn get(&self, method: &Method) -> Option<&Arc<T>> {
        self.exactly(method).or_else(|| (method == Method::HEAD).then(|| self.exactly(&Method::GET))?)
    }

    fn exactly(&self, method: &Method) -> Option<&Arc<T>> {
        self.operations.iter().find(|(own, _)| own == method).map(|(_, operation)| operation)
    }

    /// The value of `Allow` (RFC 9110 §10.2.1).
    pub fn allow(&self) -> &HeaderValue {
        &self.allow
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literals: HashMap::new(), mixed: Vec::new(), parameter: None, methods: None }
    }
}

impl<T> OperationTree<T> {
    /// Builds the tree. No two operations have one method and one path.
    pub fn new(operations: impl IntoIterator<Item = (Method, Template, T)>) -> Self {
        let mut tree = Self { nodes: vec![Node::default()] };
        for (method, template, operation) in operations {
            let mut at = 0;
            for segment in template.into_segments() {
                at = tree.child(at, segment);
            }
            let methods = &mut tree.nodes[at].methods;
            let methods = methods.get_or_insert_with(|| Methods {
                operations: Vec::new(),
                allow: HeaderValue::from_static(""),
            });
            methods.operations.push((method, Arc::new(operation)));
        }
        for methods in tree.nodes.iter_mut().filter_map(|node| node.methods.as_mut()) {
            methods.allow = allow(&methods.operations);
        }
        tree
    }

    fn child(&mut self, at: usize, segment: TemplateSegment) -> usize {
        let new = self.nodes.len();
        let node = &mut self.nodes[at];
        let child = match segment {
            TemplateSegment::Literal(octets) => *node.literals.entry(octets).or_insert(new),
            TemplateSegment::Parameter => *node.parameter.get_or_insert(new),
            TemplateSegment::Mixed(mixed) => match node.mixed.binary_search_by(|(own, _)| own.cmp(&mixed)) {
                Ok(found) => node.mixed[found].1,
                Err(place) => {
                    node.mixed.insert(place, (mixed, new));
                    new
                }
            },
        };
        if child == new {
            self.nodes.push(Node::default());
        }
        child
    }

    /// The methods of the path template that fits `path` best. `path` is canonical, below the context: empty or from
    /// its first `/`; both mean the root.
    pub fn find(&self, path: &[u8]) -> Option<&Methods<T>> {
        self.find_below(0, Some(path.strip_prefix(b"/").unwrap_or(path)))
    }

    /// `rest` is what follows the `/` after this node's segment; `None`: the path ended with it. Each node is visited
    /// once at most, so the time is bounded by the size of the tree, and the depth by the longest template.
    fn find_below(&self, at: usize, rest: Option<&[u8]>) -> Option<&Methods<T>> {
        let node = &self.nodes[at];
        let Some(rest) = rest else { return node.methods.as_ref() };
        let (segment, rest) = match rest.iter().position(|&byte| byte == b'/') {
            Some(slash) => (&rest[..slash], Some(&rest[slash + 1..])),
            None => (rest, None),
        };
        if let Some(&child) = node.literals.get(segment)
            && let Some(found) = self.find_below(child, rest)
        {
            return Some(found);
        }
        for (_, child) in node.mixed.iter().filter(|(mixed, _)| mixed.matches(segment)) {
            if let Some(found) = self.find_below(*child, rest) {
                return Some(found);
            }
        }
        match node.parameter {
            Some(child) if !segment.is_empty() => self.find_below(child, rest),
            _ => None,
        }
    }
}

fn allow<T>(operations: &[(Method, Arc<T>)]) -> HeaderValue {
    let mut names: Vec<&str> = operations.iter().map(|(method, _)| method.as_str()).collect();
    if names.contains(&"GET") && !names.contains(&"HEAD") {
        names.push("HEAD");
    }
    names.sort_unstable();
    HeaderValue::from_str(&names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static("")) // tokens are ASCII
}

#[cfg(test)]
mod tests;
