//! Tests of whole groups in one process, over real mutual TLS on loopback. No operator API, agent or gateway takes part.

#![allow(clippy::unwrap_used)] // clippy's exception for tests does not reach their helpers

mod harness;
mod restart;
mod slow_road;
mod three_voters;
mod version;
