//! Messages over sockets: the asking client against a small server, and both against programs of others.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod ask;
mod server;
#[cfg(feature = "tools")]
mod tools;
