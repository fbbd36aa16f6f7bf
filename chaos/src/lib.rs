//! What breaks and measures: a harness that starts a real federation from the built binary, and speaks to it as
//! operators and clients do.

mod federation;
mod http;
mod openapi;

pub use federation::{Cli, Federation, Process};
pub use http::{Answer, Client};
pub use openapi::{Operation, operations};
