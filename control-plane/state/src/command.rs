//! What is replicated: commands in, outcomes out.

mod resealed;
pub(crate) mod wire;

use hanse_management::{
    Problem, ResourceKey, Revision, Spec,
    kinds::TokenRole,
    manifest::{Manifest, Restored},
};
use hanse_topology::{Labels, Name};

pub use self::resealed::ResealedValue;
use crate::{AuditHash, Lineage, RecoveryKey, RootCertificate, RootId, SeatAsked, UnknownVersion, Version};

/// One request to change the state. Everything `apply` may look at, time included, travels in here.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Who asks: a Token's name or a node's identity.
    pub actor: String,
    /// The request's id, for logs and audit.
    pub request_id: String,
    /// Unix milliseconds at the node that took the request; the state uses `max(last, time)`.
    pub time_ms: u64,
    /// The caller's idempotency key, if any: the same key gives the same outcome for 24 h.
    pub idempotency_key: Option<String>,
    /// The only term of the Raft group in which it holds; `None`: any. A leader's own work says so: a leader that was replaced does
    /// nothing more.
    pub only_in_term: Option<u64>,
    /// Bindings may lose requests to a HostGrant of another Organization, and Bindings may meet those of others. Otherwise a
    /// change that does so is refused.
    pub force_grants: bool,
    /// With which right it was asked for, and from where.
    pub origin: Origin,
    /// What to do.
    pub body: CommandBody,
}

/// With which right a command was asked for, and from where. A node's own command has neither owner nor role.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// Who answers for the token of the actor. Empty: the actor is a node.
    pub owner: String,
    /// The role of that token.
    pub role: Option<TokenRole>,
    /// The only organization in which the command may change anything. `None`: it may change everything.
    pub organization: Option<Name>,
    /// The address that the request came from.
    pub from: String,
    /// Why, as the actor says it. Empty: the command does not say. Decisions do.
    pub reason: String,
}

/// What a command does.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandBody {
    /// All of these changes, or none.
    Apply(Vec<Change>),
    /// Spends one use of a join token.
    UseJoinToken {
        /// The JoinToken's name.
        token: Name,
        /// SHA-256 of the secret presented.
        secret_digest: [u8; 32],
        /// The identity asked for.
        joiner: String,
        /// SHA-256 of the joiner's public key: the same joiner asking again (its answer was lost) spends nothing.
        key_digest: [u8; 32],
        /// Of a control node: the place in the Raft group that it asks for.
        seat: Option<SeatAsked>,
    },
    /// Records a control node that has no place on record (a founder, or one that joined before places were kept), or that has a new
    /// key under its own id.
    RecordServer {
        /// Its identity.
        identity: String,
        /// SHA-256 of its control intermediate's public key.
        key_digest: [u8; 32],
        /// Its Raft id.
        node_id: u64,
    },
    /// The first command of a history.
    StartLineage(Lineage),
    /// Refuses an identity from now on, everywhere.
    Revoke {
        /// Which.
        identity: String,
        /// The control nodes that have a vote, as the node that was asked knows them: most of them must stay.
        control_nodes: Vec<Name>,
        /// SHA-256 of public keys that the operator names: refused with it.
        keys: Vec<[u8; 32]>,
        /// Those that gateways of this name were reported with, as the node that was asked knows them.
        known_keys: Vec<[u8; 32]>,
    },
    /// Adds keys to a revocation: they became known after it.
    RefuseKeys {
        /// Whose.
        identity: String,
        /// SHA-256 of the public keys.
        keys: Vec<[u8; 32]>,
    },
    /// Lifts a revocation.
    Readmit {
        /// Of which identity.
        identity: String,
    },
    /// Drops the entries of the audit up to one. An operator exported them.
    DropAudit {
        /// The number of the last entry that goes.
        through: u64,
        /// Its hash: what was exported is what goes.
        hash: AuditHash,
    },
    /// Notes in the audit that an agent made a join token.
    RecordMinted {
        /// The agent's identity.
        agent: String,
        /// The token.
        token: MintedToken,
    },
    /// Has exactly these agents of a region be relays or have addresses.
    SetNeighbours {
        /// The region.
        region: Name,
        /// All relays, and all agents with an address.
        agents: Vec<NeighbourAt>,
    },
    /// Forgets results of idempotency keys that are older than they are kept, proposals that have expired, and tokens of agents that no
    /// agent tells of any more.
    ForgetResults,
    /// Keeps changes for the approval of a second owner. They must hold now.
    Propose {
        /// What is to be done.
        changes: Vec<Change>,
        /// Why.
        reason: String,
    },
    /// Makes the changes of a proposal, with the consent of the owner that proposed them and of the one that asks.
    Approve {
        /// The proposal's number.
        number: u64,
        /// When the readiness of the regions that its Failovers lead to was judged anew, in Unix milliseconds. 0: it was not.
        judged_ms: u64,
    },
    /// Drops a proposal.
    Reject {
        /// Its number.
        number: u64,
        /// Why; may be empty.
        reason: String,
    },
    /// Sets a text that the state keeps.
    #[cfg(feature = "next")]
    SetMotto(String),
    /// Raises the replicated version by one. A build that does not know it must not apply this, nor anything after it.
    Finalize {
        /// The version's number: it may be unknown here.
        version: u32,
        /// The first release that knows it.
        release: String,
    },
    /// Has another root believed beside the present one.
    TrustRoot {
        /// The present one: what the federation was founded with is not in the state until now.
        present: RootCertificate,
        /// The other one.
        fresh: RootCertificate,
    },
    /// Has certificates come from this root from now on.
    UseRoot(RootId),
    /// Has a root believed no more.
    DropRoot(RootId),
    /// Sets the recovery key.
    SetRecoveryKey {
        /// Its public keys.
        recovery: RecoveryKey,
        /// Each version of the federation key, wrapped to it by the node that was asked.
        wrapped: Vec<Vec<u8>>,
        /// It may take the place of another one.
        replace: bool,
    },
    /// Adds a version of the federation key.
    AddKey {
        /// Its number: the next one.
        version: u32,
        /// A digest of the key.
        digest: [u8; 32],
        /// SHA-256 of the recovery key that it is wrapped to (the public key `wrap`).
        recipient: [u8; 32],
        /// The wrapped key.
        wrapped: Vec<u8>,
        /// The identity of the control node that made it.
        maker: String,
        /// The revision that asked for the last rotation before it was made; 0: none did.
        rotate_after: Revision,
    },
    /// Has Secrets sealed with this version of the federation key from now on.
    UseKey {
        /// Its number: that of the pending one.
        version: u32,
    },
    /// Asks for another version of the federation key.
    RotateKey,
    /// Has values of Secrets sealed with the active version of the federation key. Their data stays as it is.
    Reseal(Vec<ResealedValue>),
}

impl CommandBody {
    /// The changes that it carries, to be made now or once they are approved.
    pub fn changes(&self) -> &[Change] {
        match self {
            Self::Apply(changes) | Self::Propose { changes, .. } => changes,
            _without_changes => &[],
        }
    }

    /// The same, to be brought to their one form.
    pub(crate) fn changes_mut(&mut self) -> &mut [Change] {
        match self {
            Self::Apply(changes) | Self::Propose { changes, .. } => changes,
            _without_changes => &mut [],
        }
    }

    /// Raises the replicated version to this one.
    pub fn finalize(to: Version) -> Self {
        Self::Finalize { version: to.number(), release: to.release().to_owned() }
    }
}

impl Command {
    /// Refuses one after which this build does not know the state's version.
    pub fn check_version(&self) -> Result<(), UnknownVersion> {
        match &self.body {
            CommandBody::Finalize { version, release } => Version::read(*version, release).map(drop),
            _of_the_version_in_force => Ok(()),
        }
    }
}

/// Where an agent is reached by the other agents of its region, and whether it is a relay there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeighbourAt {
    /// Its name.
    pub name: Name,
    /// `host:port`.
    pub address: String,
    /// Whether all agents of the region subscribe to it.
    pub relay: bool,
}

/// A join token that an agent made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MintedToken {
    /// Its name: not its secret.
    pub id: Name,
    /// Unix seconds, by the agent's clock.
    pub minted_at: u64,
    /// What the node that joins with it is.
    pub role: String,
    /// The first of the environments that the node may learn. None: all of the agent's.
    pub environments: Vec<Name>,
    /// How many there are.
    pub environments_total: u32,
}

/// One change of one resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Which resource.
    pub key: ResourceKey,
    /// What to do with it.
    pub action: Action,
    /// `None`: the change holds in any case. `Some(0)`: nothing may be there. `Some(n)`: the resource must be at revision n.
    pub if_revision: Option<Revision>,
}

impl From<Manifest> for Change {
    /// The change that makes it so.
    fn from(manifest: Manifest) -> Self {
        let Manifest { key, labels, protected, spec, revision, restored } = manifest;
        let action = match restored {
            Some(restored) => {
                Action::Restore { labels, spec, protected: protected.unwrap_or(false), restored: *restored }
            }
            None => Action::Put { labels, spec, protected },
        };
        Self { key, action, if_revision: revision }
    }
}

/// What to do with one resource.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Create or replace.
    Put {
        /// Its labels.
        labels: Labels,
        /// Its spec.
        spec: Spec,
        /// Whether no command may delete it. `None`: as it was; of a new resource, `false`.
        protected: Option<bool>,
    },
    /// Create it as it was when it was dumped. One that is there and differs is not replaced: the command is refused.
    Restore {
        /// Its labels.
        labels: Labels,
        /// Its spec.
        spec: Spec,
        /// Whether no command may delete it.
        protected: bool,
        /// What was known of it.
        restored: Restored,
    },
    /// Delete it; with `cascade` also every resource that refers to it.
    Delete {
        /// Whether what refers to it goes too, instead of the delete being refused.
        cascade: bool,
    },
    /// Change nothing: the command holds only if the resource is as the change's `if_revision` says.
    Expect {
        /// Of an Api, its latest ApiRevision must have this number; of a Binding, the one that it serves. `None`: any.
        api_revision: Option<u64>,
    },
}

impl Action {
    /// Creates or replaces a resource that has these labels.
    pub fn put(labels: Labels, spec: impl Into<Spec>) -> Self {
        Self::Put { labels, spec: spec.into(), protected: None }
    }

    /// The spec that it writes.
    pub fn spec(&self) -> Option<&Spec> {
        match self {
            Self::Put { spec, .. } | Self::Restore { spec, .. } => Some(spec),
            Self::Delete { .. } | Self::Expect { .. } => None,
        }
    }

    /// Whether it protects what it writes.
    pub(crate) fn protects(&self) -> bool {
        match self {
            Self::Put { protected, .. } => *protected == Some(true),
            Self::Restore { protected, .. } => *protected,
            Self::Delete { .. } | Self::Expect { .. } => false,
        }
    }

    /// The same, to be written.
    pub(crate) fn spec_mut(&mut self) -> Option<&mut Spec> {
        match self {
            Self::Put { spec, .. } | Self::Restore { spec, .. } => Some(spec),
            Self::Delete { .. } | Self::Expect { .. } => None,
        }
    }
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was applied.
    Accepted(Accepted),
    /// The state is unchanged.
    Rejected(Problem),
}

/// An applied command. A command that changed nothing keeps the state's revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The state's revision after it.
    pub revision: Revision,
    /// What happened to each resource, revisions made and cascaded deletes included.
    pub changes: Vec<ChangeResult>,
    /// The number of the proposal that it made.
    pub proposal: Option<u64>,
}

/// What happened to one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeResult {
    /// Which.
    pub key: ResourceKey,
    /// `created`, `updated`, `unchanged`, `deleted` or `moved`.
    pub action: &'static str,
    /// Its revision now; 0 when deleted.
    pub revision: Revision,
}

impl ChangeResult {
    /// It was not there before.
    pub const CREATED: &'static str = "created";
    /// It was there and is different now.
    pub const UPDATED: &'static str = "updated";
    /// It was there and is the same.
    pub const UNCHANGED: &'static str = "unchanged";
    /// It is gone.
    pub const DELETED: &'static str = "deleted";
    /// It is a Binding that follows its Api's latest revision: it is unchanged, and serves another revision than before.
    pub const MOVED: &'static str = "moved";
    /// Everything that `action` may say.
    pub const ACTIONS: [&'static str; 5] =
        [Self::CREATED, Self::UPDATED, Self::UNCHANGED, Self::DELETED, Self::MOVED];
}

/// Which resources one revision touched: what watchers and the projection start from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// The revision.
    pub revision: Revision,
    /// The command's time, Unix milliseconds.
    pub time_ms: u64,
    /// The resources put or deleted.
    pub keys: Vec<ResourceKey>,
}
