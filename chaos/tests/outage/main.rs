//! Tests of long outages in simulated time: whole roles in this process, over real TLS on loopback, on a clock that the tests move.
//! Certificates really pass their expiry.

#![allow(clippy::unwrap_used)] // all of it is test code

mod certificates;
mod federation;
mod keys;
mod peers;
mod revocation;
