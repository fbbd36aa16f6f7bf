//! From an OpenAPI document to what Hanse publishes. Pure but for [`source`]: text in, resources out.
//!
//! [`reader`] makes a tree of the text, [`files`] follows references in it, [`operations`] reads what it offers and every
//! problem of it, [`document`](mod@document) decides what is taken.
//!
//! What a document says of servers and security is shown ([`advice`]) and not used: `--context` is the whole base path, and
//! callers are checked as the Api's `security` says.

mod advice;
mod document;
mod error;
mod files;
mod greedy;
mod judge;
mod operations;
mod problem;
mod reader;
mod source;

#[cfg(test)]
mod tests;

pub(crate) use document::{Imported, MAX_DOCUMENT_BYTES, Wanted, document};
pub(crate) use error::ImportError;
pub(crate) use files::Files;
pub(crate) use problem::{ImportProblem, printable};
pub(crate) use source::read;
