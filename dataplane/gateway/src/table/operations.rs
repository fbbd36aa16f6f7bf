//! The operations of one Api: a tree of path segments with methods at its nodes.
//!
//! Per segment a literal goes before a mixed segment and that before a parameter. A branch that ends without an
//! operation is left again for the next one. A segment of a request may have parameters of its own behind a `;`
//! (RFC 3986, section 3.3), which many upstreams ignore: it fits a literal with them or without them. The path is chosen before the method, so a more special path without the
//! method answers 405 rather than fall back to a more general one.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use hanse_runtime::{Template, TemplateSegment, without_parameters};
use http::{HeaderValue, Method};

/// A tree of path templates. `T` is what an operation is.
#[derive(Debug)]
pub struct OperationTree<T> {
    /// The root first. Nodes name their children by index.
    nodes: Box<[Node<T>]>,
}

#[derive(Debug)]
struct Node<T> {
    /// In order of precedence, the literals first and in order of their octets.
    children: Box<[(TemplateSegment, usize)]>,
    /// How many of the children are literals.
    literals: usize,
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

impl<T> OperationTree<T> {
    /// Builds the tree. No two operations have one method and one path.
    pub fn new(operations: impl IntoIterator<Item = (Method, Template, T)>) -> Self {
        let mut nodes = vec![Growing::default()];
        for (method, template, operation) in operations {
            let mut at = 0;
            for segment in template.into_segments() {
                let new = nodes.len();
                at = *nodes[at].children.entry(segment).or_insert(new);
                if at == new {
                    nodes.push(Growing::default());
                }
            }
            nodes[at].operations.push((method, Arc::new(operation)));
        }
        Self { nodes: nodes.into_iter().map(Node::from).collect() }
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
        if let Some(child) = node.literal(segment)
            && let Some(found) = self.find_below(child, rest)
        {
            return Some(found);
        }
        let plain = without_parameters(segment);
        if plain.len() < segment.len()
            && let Some(child) = node.literal(plain)
            && let Some(found) = self.find_below(child, rest)
        {
            return Some(found);
        }
        node.children[node.literals..]
            .iter()
            .filter(|(own, _)| own.matches(segment))
            .find_map(|(_, child)| self.find_below(*child, rest))
    }
}

impl<T> Node<T> {
    /// The child whose segment is exactly `octets`.
    fn literal(&self, octets: &[u8]) -> Option<usize> {
        let literals = &self.children[..self.literals];
        let found = literals.binary_search_by(|(own, _)| match own {
            TemplateSegment::Literal(own) => (**own).cmp(octets),
            TemplateSegment::Mixed(_) | TemplateSegment::Parameter => Ordering::Greater, // behind the literals
        });
        found.ok().map(|at| literals[at].1)
    }
}

/// A node of a tree that is being built.
struct Growing<T> {
    children: BTreeMap<TemplateSegment, usize>,
    operations: Vec<(Method, Arc<T>)>,
}

impl<T> Default for Growing<T> {
    fn default() -> Self {
        Self { children: BTreeMap::new(), operations: Vec::new() }
    }
}

impl<T> From<Growing<T>> for Node<T> {
    fn from(Growing { children, operations }: Growing<T>) -> Self {
        let children: Box<[_]> = children.into_iter().collect();
        let is_literal =
            |(segment, _): &(TemplateSegment, usize)| matches!(segment, TemplateSegment::Literal(_));
        Self {
            literals: children.partition_point(is_literal),
            children,
            methods: (!operations.is_empty()).then(|| Methods { allow: allow(&operations), operations }),
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
