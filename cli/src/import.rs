//! From an OpenAPI document to what Hanse publishes. Pure: text in, resources out.
//!
//! What a document says of servers and security is not used: `--context` is the whole base path, and callers are checked
//! as the Api's `security` says.

mod document;
mod error;
mod operations;
mod publication;
mod reader;
mod references;

#[cfg(test)]
mod tests;

pub(crate) use document::{MAX_DOCUMENT_BYTES, parse};
pub(crate) use error::ImportError;
pub(crate) use operations::{Imported, operations};
pub(crate) use publication::{Existing, Publication, UpstreamArg};
