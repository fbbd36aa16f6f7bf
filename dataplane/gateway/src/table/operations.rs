//! The operations of one Api: a tree of path segments with methods at its nodes.
//!
//! Per segment a literal goes before a mixed segment, that before a parameter, and that before a tail: a greedy parameter, then
//! `*`. A branch that ends without an operation is left again for the next one. The path is chosen before the method, so a more
//! special path without the method answers 405 rather than fall back to a more general one.
//!
//! A segment of a request may have parameters of its own behind a `;` (RFC 3986, section 3.3), which many upstreams ignore. It
//! fits a literal with them or without them.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hanse_runtime::{Compared, Tail, Template, TemplateSegment, without_parameters};
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
    /// What takes the rest of a path, in order of precedence.
    tails: Box<[(Tail, Methods<T>)]>,
}

/// What can be called on one path.
#[derive(Debug)]
pub struct Methods<T> {
    operations: Vec<(Method, Arc<T>)>,
    /// For every method that has no operation of its own.
    every: Option<Arc<T>>,
    allow: HeaderValue,
}

impl<T> Methods<T> {
    /// The operation for `method`. HEAD falls back to GET (RFC 9110 §9.3.2), and each to the one for every method. CONNECT asks
    /// for a tunnel, not for a path.
    pub fn get(&self, method: &Method) -> Option<&Arc<T>> {
        self.exactly(method)
            .or_else(|| (method == Method::HEAD).then(|| self.exactly(&Method::GET))?)
            .or_else(|| self.every.as_ref().filter(|_| method != Method::CONNECT))
    }

    fn new(given: Vec<Given<T>>) -> Self {
        let (mut operations, mut every) = (Vec::new(), None);
        for (method, operation) in given {
            match method {
                Some(method) => operations.push((method, operation)),
                None => every = Some(operation),
            }
        }
        Self { allow: allow(&operations, every.is_some()), operations, every }
    }

    fn exactly(&self, method: &Method) -> Option<&Arc<T>> {
        self.operations.iter().find(|(own, _)| own == method).map(|(_, operation)| operation)
    }

    /// The value of `Allow` (RFC 9110 §10.2.1).
    pub fn allow(&self) -> &HeaderValue {
        &self.allow
    }

    /// The same for a preflight: what it asks for is among it where every method may be called.
    pub fn allow_for(&self, asked: &Method) -> HeaderValue {
        let own = self.every.as_ref().and_then(|_| HeaderValue::from_str(asked.as_str()).ok());
        own.unwrap_or_else(|| self.allow.clone())
    }

    /// All operations.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.operations.iter().map(|(_, operation)| operation).chain(&self.every).map(Arc::as_ref)
    }
}

impl<T> OperationTree<T> {
    /// Builds the tree. No two operations have one method and one path.
    pub fn new(operations: impl IntoIterator<Item = (Option<Method>, Template, T)>) -> Self {
        let mut nodes = vec![Growing::default()];
        for (method, template, operation) in operations {
            let (segments, tail) = template.into_parts();
            let mut at = 0;
            for segment in segments {
                let new = nodes.len();
                at = *nodes[at].children.entry(segment).or_insert(new);
                if at == new {
                    nodes.push(Growing::default());
                }
            }
            nodes[at].ends.entry(tail).or_default().push((method, Arc::new(operation)));
        }
        Self { nodes: nodes.into_iter().map(Node::from).collect() }
    }

    /// The methods of the path template that fits `path` best. `path` is canonical, below the context: empty or from
    /// its first `/`; both mean the root.
    pub fn find(&self, path: &[u8]) -> Option<&Methods<T>> {
        self.find_below(0, Some(below_root(path)), Compared::Plain)
    }

    /// The same, for an upstream to which parameters of segments are part of them.
    pub fn find_whole(&self, path: &[u8]) -> Option<&Methods<T>> {
        self.find_below(0, Some(below_root(path)), Compared::Whole)
    }

    /// Whether a template is exactly these octets, all literal.
    pub fn has_literal(&self, path: &[u8]) -> bool {
        let mut segments = below_root(path).split(|&byte| byte == b'/');
        let end =
            segments.try_fold(&self.nodes[0], |node, segment| Some(&self.nodes[node.literal(segment)?]));
        end.is_some_and(|node| node.methods.is_some())
    }

    /// `rest` is what follows the `/` after this node's segment; `None`: the path ended with it. Each node is visited
    /// once at most, so the time is bounded by the size of the tree, and the depth by the longest template.
    fn find_below(&self, at: usize, rest: Option<&[u8]>, by: Compared) -> Option<&Methods<T>> {
        let node = &self.nodes[at];
        let Some(all) = rest else { return node.methods.as_ref().or_else(|| node.tail(None, by)) };
        let (segment, rest) = match all.iter().position(|&byte| byte == b'/') {
            Some(slash) => (&all[..slash], Some(&all[slash + 1..])),
            None => (all, None),
        };
        if let Some(child) = node.literal(segment)
            && let Some(found) = self.find_below(child, rest, by)
        {
            return Some(found);
        }
        if by == Compared::Plain
            && let plain = without_parameters(segment)
            && plain.len() < segment.len()
            && let Some(child) = node.literal(plain)
            && let Some(found) = self.find_below(child, rest, by)
        {
            return Some(found);
        }
        node.children[node.literals..]
            .iter()
            .filter(|(own, _)| own.matches(segment, by))
            .find_map(|(_, child)| self.find_below(*child, rest, by))
            .or_else(|| node.tail(Some(all), by))
    }
}

/// What follows the root's `/`.
fn below_root(path: &[u8]) -> &[u8] {
    path.strip_prefix(b"/").unwrap_or(path)
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

    /// The tail that takes `rest`.
    fn tail(&self, rest: Option<&[u8]>, by: Compared) -> Option<&Methods<T>> {
        self.tails.iter().find(|(tail, _)| tail.matches(rest, by)).map(|(_, methods)| methods)
    }
}

/// An operation and its method; `None`: every method.
type Given<T> = (Option<Method>, Arc<T>);

/// A node of a tree that is being built.
struct Growing<T> {
    children: BTreeMap<TemplateSegment, usize>,
    /// The operations of the templates that end here, by tail.
    ends: BTreeMap<Option<Tail>, Vec<Given<T>>>,
}

impl<T> Default for Growing<T> {
    fn default() -> Self {
        Self { children: BTreeMap::new(), ends: BTreeMap::new() }
    }
}

impl<T> From<Growing<T>> for Node<T> {
    fn from(Growing { children, mut ends }: Growing<T>) -> Self {
        let methods = ends.remove(&None).map(Methods::new);
        let tail = |(tail, operations)| Some((tail?, Methods::new(operations)));
        let children: Box<[_]> = children.into_iter().collect();
        let is_literal =
            |(segment, _): &(TemplateSegment, usize)| matches!(segment, TemplateSegment::Literal(_));
        Self {
            literals: children.partition_point(is_literal),
            children,
            methods,
            tails: ends.into_iter().filter_map(tail).collect(),
        }
    }
}

/// What [`Methods::allow`] names where every method may be called: those of RFC 9110 and 5789, and QUERY, but for CONNECT.
const EVERY: [&str; 9] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"];

fn allow<T>(operations: &[(Method, Arc<T>)], every: bool) -> HeaderValue {
    let mut names: BTreeSet<&str> = operations.iter().map(|(method, _)| method.as_str()).collect();
    if names.contains("GET") {
        names.insert("HEAD");
    }
    if every {
        names.extend(EVERY);
    }
    let names: Vec<&str> = names.into_iter().collect();
    HeaderValue::from_str(&names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static("")) // tokens are ASCII
}

#[cfg(test)]
pub(crate) mod naive;
#[cfg(test)]
mod tests;
