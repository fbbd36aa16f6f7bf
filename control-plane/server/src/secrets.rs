//! The federation key on this node: its versions, as far as they are here.
//!
//! - [`Keyring`]: the versions that are here, by their digests. A value.
//! - [`Keys`]: the Keyring as it is now, and what it lacks.
//! - [`Keeper`]: the task that gets what is missing, and makes new versions on the leader.
//! - `cipher`: how Secrets are sealed. `sealing`: seals them before they are proposed, by the Keyring.
//! - [`Resealing`]: on the leader, seals values anew that an earlier version sealed.
//! - [`Revealed`]: opens Secrets for the projection.
//! - [`Rewrap`]: every version, wrapped to another recovery key.
//!
//! A node that lacks a version that Secrets are or were sealed with publishes nothing new, offers agents nothing and is not ready.

mod cipher;
mod files;
#[cfg(test)]
pub(crate) mod fixture;
mod keeper;
mod key;
mod keyring;
mod resealing;
mod revealed;
mod rewrap;
mod sealing;

pub(crate) use self::{
    files::KeyFiles,
    keeper::{Keeper, KeeperMetrics},
    keyring::Keys,
    resealing::Resealing,
    revealed::{RevealMetrics, Revealed},
    rewrap::Rewrap,
};
#[cfg(test)]
pub(crate) use self::{key::Key, keyring::Keyring};
