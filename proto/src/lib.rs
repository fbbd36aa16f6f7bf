//! The wire and persisted schema of Hanse: the only place where bytes get their meaning.
//!
//! Each protobuf package is one module, generated from the `.proto` files beside this crate. `docs/protocol.md` says what the
//! messages mean. A conversion to a checked type is with that type. A message that cannot be converted is an [`InvalidMessage`].
//!
//! Nothing here decides when a message is sent, or what follows from one.

mod invalid;
pub mod nested;
pub mod places;
mod position;
mod secret;

pub use invalid::InvalidMessage;

/// Limit on one gRPC message that is part of a chunked transfer. 1 MiB: far below tonic's 4 MiB default, large enough
/// that framing costs nothing.
pub const MAX_CHUNK_BYTES: usize = 1 << 20;

/// Roots of trust believed at a time: one, and the one that takes its place. Every Welcome carries them to every subscriber.
pub const MAX_BELIEVED_ROOTS: usize = 2;

/// How many dropped roots are remembered, and told with those: more than a federation replaces in its life.
pub const MAX_DROPPED_ROOTS: usize = 64;

macro_rules! package {
    ($($module:ident: $package:literal, $doc:literal;)*) => {$(
        #[doc = $doc]
        pub mod $module {
            #![allow(missing_docs, unreachable_pub, clippy::all)] // generated
            tonic::include_proto!($package);
        }
    )*};
}

// Generated code refers to sibling packages by `super::super::NAME::v1`, hence the nesting.
/// Packages by name and version.
pub mod hanse {
    #[doc(hidden)]
    pub mod sync {
        package! { v1: "hanse.sync.v1", "The delta protocol."; }
    }
    #[doc(hidden)]
    pub mod runtime {
        package! { v1: "hanse.runtime.v1", "Runtime resources."; }
    }
    #[doc(hidden)]
    pub mod control {
        package! { v1: "hanse.control.v1", "Commands, outcomes, snapshots."; }
    }
    #[doc(hidden)]
    pub mod raft {
        package! { v1: "hanse.raft.v1", "Between control-plane nodes."; }
    }
    #[doc(hidden)]
    pub mod enrolment {
        package! { v1: "hanse.enrolment.v1", "Joining."; }
    }
    #[doc(hidden)]
    pub mod store {
        package! { v1: "hanse.store.v1", "What nodes keep on their disks."; }
    }
}

pub use hanse::{
    control::v1 as control, enrolment::v1 as enrolment, raft::v1 as raft, runtime::v1 as runtime,
    store::v1 as store, sync::v1 as sync,
};
