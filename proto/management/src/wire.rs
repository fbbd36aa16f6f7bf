//! Keys and problems as they are sent and stored.

use hanse_proto::{InvalidMessage, control as proto};
use hanse_topology::Name;

use crate::{Kind, Problem, ProblemName, ResourceKey, UnknownKind};

impl ResourceKey {
    /// As it is sent and stored.
    pub fn to_proto(&self) -> proto::ResourceKey {
        proto::ResourceKey {
            kind: self.kind.as_str().to_owned(),
            organization: self.organization.as_ref().map(ToString::to_string).unwrap_or_default(),
            name: self.name.to_string(),
        }
    }

    /// As it was sent or stored.
    pub fn from_proto(key: proto::ResourceKey) -> Result<Self, InvalidMessage> {
        let invalid = |why: String| InvalidMessage::new("ResourceKey", why);
        let kind: Kind = key.kind.parse().map_err(|error: UnknownKind| invalid(error.to_string()))?;
        let name = |text: &str| Name::new(text).map_err(|error| invalid(error.to_string()));
        let organization = match key.organization.as_str() {
            "" => None,
            organization => Some(name(organization)?),
        };
        if organization.is_none() != kind.is_global() {
            return Err(invalid(format!("{kind} {:?} has the wrong owner {:?}", key.name, key.organization)));
        }
        Ok(Self { kind, organization, name: name(&key.name)? })
    }
}

impl Problem {
    /// As it is sent and stored.
    pub fn to_proto(&self) -> proto::Problem {
        proto::Problem {
            name: self.name.as_str().to_owned(),
            detail: self.detail.clone(),
            field: self.field.clone(),
            remedy: self.remedy.clone(),
        }
    }

    /// As it was sent or stored.
    pub fn from_proto(problem: proto::Problem) -> Result<Self, InvalidMessage> {
        let name = ProblemName::parse(&problem.name).ok_or_else(|| {
            InvalidMessage::new("Problem", format!("{:?} is not a problem's name", problem.name))
        })?;
        Ok(Self { name, detail: problem.detail, field: problem.field, remedy: problem.remedy })
    }
}
