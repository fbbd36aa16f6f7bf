//! What the client commands do: one file each. They read arguments, ask the [`Client`](crate::client::Client), and print.

mod apply;
mod changes;
mod complete;
mod delete;
mod describe;
mod diff;
mod dump;
mod get;
mod import;
mod member;
mod plan;
mod promote;
mod publish;
mod publishing;
mod reachable;
pub(crate) mod root;
mod served;
mod status;
mod subscribe;
pub(crate) mod token;
pub(crate) mod upgrade;

pub(crate) use apply::apply;
pub(crate) use complete::{complete, script};
pub(crate) use delete::delete;
pub(crate) use describe::describe;
pub(crate) use diff::diff;
pub(crate) use dump::dump;
pub(crate) use get::get;
pub(crate) use import::import;
pub(crate) use member::member;
pub(crate) use plan::plan;
pub(crate) use promote::{promote, rollback};
pub(crate) use publish::publish;
pub(crate) use status::{status, wait};
pub(crate) use subscribe::subscribe;
