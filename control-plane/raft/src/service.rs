//! What other control nodes call.

mod peer;
mod raft;

pub use self::{
    peer::{PeerService, ReportsHook},
    raft::RaftService,
};
