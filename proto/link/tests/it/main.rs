//! Tests of links over real mutual TLS on loopback: publishers, relays and subscribers. No role's process takes part.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod chain;
mod facts;
mod federation;
mod known;
mod local;
mod publishers;
mod restart;
mod revoked;
mod streams;
mod twins;
