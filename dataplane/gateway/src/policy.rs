//! Policies: what is done to requests and responses besides forwarding them.

mod cors;
mod headers;
mod rewrite;

pub use cors::Cors;
pub use headers::{HeaderRules, remove_hop_by_hop};
pub use rewrite::{Rewrite, SentTo};
