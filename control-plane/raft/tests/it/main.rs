//! Whole groups in one process, over real mutual TLS on the loopback.

#![allow(clippy::unwrap_used)] // clippy's exception for tests does not reach their helpers

mod harness;
mod restart;
mod slow_road;
mod three_voters;
mod version;
