//! Federation keys and their commands as they are sent and stored.

use hanse_proto::{InvalidMessage, control as proto};

use super::{FederationKeys, KeyVersion, RecoveryKey};
use crate::{CommandBody, command::wire::fixed};

impl RecoveryKey {
    pub(crate) fn to_proto(&self) -> proto::RecoveryKey {
        proto::RecoveryKey { sign: self.sign.clone().into(), wrap: self.wrap.clone().into() }
    }

    fn from_proto(key: proto::RecoveryKey) -> Self {
        Self { sign: key.sign.to_vec(), wrap: key.wrap.to_vec() }
    }
}

impl FederationKeys {
    /// `None`: there is nothing to say.
    pub(crate) fn to_proto(&self) -> Option<proto::FederationKeys> {
        let version = |version: &KeyVersion| proto::KeyVersion {
            digest: version.digest.to_vec().into(),
            wrapped: version.wrapped.clone().into(),
            made_at: version.made_at,
            used: version.used,
        };
        (*self != Self::default()).then(|| proto::FederationKeys {
            recovery: self.recovery.as_ref().map(RecoveryKey::to_proto),
            versions: self.versions.iter().map(version).collect(),
            rotate_after: self.rotate_after,
        })
    }

    pub(crate) fn from_proto(keys: proto::FederationKeys) -> Result<Self, InvalidMessage> {
        let version = |version: proto::KeyVersion| {
            Ok::<_, InvalidMessage>(KeyVersion {
                digest: fixed("KeyVersion", &version.digest)?,
                wrapped: version.wrapped.to_vec(),
                made_at: version.made_at,
                used: version.used,
            })
        };
        Ok(Self {
            recovery: keys.recovery.map(RecoveryKey::from_proto),
            versions: keys.versions.into_iter().map(version).collect::<Result<_, _>>()?,
            rotate_after: keys.rotate_after,
        })
    }
}

pub(crate) fn set_recovery_key(set: proto::SetRecoveryKey) -> Result<CommandBody, InvalidMessage> {
    let missing = || InvalidMessage::new("SetRecoveryKey", "it has no recovery key");
    Ok(CommandBody::SetRecoveryKey {
        recovery: RecoveryKey::from_proto(set.recovery.ok_or_else(missing)?),
        wrapped: set.wrapped.iter().map(|wrapped| wrapped.to_vec()).collect(),
        replace: set.replace,
    })
}

pub(crate) fn add_key(add: proto::AddKey) -> Result<CommandBody, InvalidMessage> {
    Ok(CommandBody::AddKey {
        version: add.version,
        digest: fixed("AddKey", &add.digest)?,
        recipient: fixed("AddKey", &add.recipient)?,
        rotate_after: add.rotate_after,
        wrapped: add.wrapped.to_vec(),
        maker: add.maker,
    })
}
