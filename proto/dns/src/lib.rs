//! Messages of DNS for an authoritative responder: bytes in, bytes out.
//!
//! This crate knows no zones. It reads what a client asked, writes the answer that the responder decided on, and signs it.
//!
//! - [`Query`]: bytes → what is asked, or [`Malformed`] with the reply that it gets.
//! - [`Answer`]: records and a response code → bytes that fit.
//! - [`cookie`], [`Limiter`]: which clients have shown that their address is theirs, and how many answers a network gets.
//! - [`tsig`]: signatures with a shared key, of one message and of a chain.
//! - [`Transfer`], [`notify()`], [`Update`]: between the primary and other name servers.
//! - [`ask()`]: a client. This module alone does I/O.
//!
//! Nothing else in the workspace names `hickory-proto`, whose names and records are passed on here.

mod answer;
pub mod ask;
pub mod cookie;
mod ecs;
mod edns;
mod limit;
mod message;
mod name;
mod notify;
mod query;
mod reply;
mod request;
#[cfg(test)]
mod testbed;
mod transfer;
pub mod tsig;
mod update;
mod writer;

pub use answer::{Answer, Echo, Transport};
pub use ask::ask;
pub use cookie::Cookie;
pub use ecs::Ecs;
pub use edns::{Edns, MAX_UDP};
pub use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, Name, RData, Record, RecordType, rdata},
};
pub use limit::{Kind, Limiter, Network, Verdict};
pub use name::{BadName, absolute};
pub use notify::notify;
pub use query::{Malformed, Opcode, Problem, Query};
pub use reply::{BadReply, Reply};
pub use request::{Question, Request};
pub use transfer::{MAX_TRANSFER_MESSAGE, Transfer};
pub use update::{Change, Outcome, Prerequisite, Update};
pub use writer::EncodeError;
