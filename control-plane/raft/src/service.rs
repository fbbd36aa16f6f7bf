//! What other control nodes call.

mod keys;
mod peer;
mod raft;

pub use self::{
    keys::KeysHook,
    peer::{PeerService, ReportsHook},
    raft::RaftService,
};
