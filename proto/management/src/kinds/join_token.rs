//! JoinToken: leave to join the federation. Only the digest of its secret comes here.

use hanse_topology::Name;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{
    Bound, Bounded, Column, Digest, Field, Kind, ManagementKind, Refer,
    check::{Verdict, check_distinct, invalid},
    column::{expiry, text_of},
    kind::Known,
};

/// The longest time a join token may be good for: long enough to ship machines, short enough to be forgotten safely.
const MAX_LIFETIME_SECONDS: u64 = 30 * 24 * 60 * 60;
/// The most machines one token may let in.
const MAX_USES: u64 = 10_000;

/// Leave for an agent or a control node to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct JoinTokenSpec {
    /// What may join with it.
    pub role: JoinRole,
    /// The agent's region; a control node has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Name>,
    /// The environments an agent may learn; empty: all of its region's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<Name>,
    /// How often it may be used. Default 1.
    #[serde(default = "JoinTokenSpec::default_uses")]
    pub uses: u64,
    /// Whether it may take over an identity that joined with another key, as when a machine was rebuilt and its key is
    /// lost. Otherwise a name that is taken stays with the key it joined with. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
    /// Whether a control node may take the place of one of the same name that runs, as when that one cannot be stopped.
    /// Includes `replace`. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Unix seconds after which it is refused.
    pub expires_at: u64,
    /// SHA-256 of the secret.
    #[schema(value_type = String)]
    pub digest: Digest,
}

impl JoinTokenSpec {
    const fn default_uses() -> u64 {
        1
    }

    /// Whether it may take over an identity that joined with another key.
    pub fn may_replace(&self) -> bool {
        self.replace || self.force
    }
}

/// What a JoinToken lets join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JoinRole {
    /// A control-plane node.
    Server,
    /// A region's agent.
    Agent,
}

impl ManagementKind for JoinTokenSpec {
    const PLURAL: &'static str = "join-tokens";
    const GLOBAL: bool = true;
    const SECRETS: &'static [&'static str] = &["/digest"];
    const COLUMNS: &'static [Column] = &[
        Column::at("JOINS AS", "/spec/role"),
        Column::at("REGION", "/spec/region"),
        Column::of("USED", |item| {
            format!("{} of {}", text_of(&item["status"]["uses"]), text_of(&item["spec"]["uses"]))
        }),
        Column::of("EXPIRES", |item| expiry(&item["spec"]["expiresAt"])),
    ];

    fn check_time(&self, now_ms: u64) -> Verdict {
        let now = now_ms / 1000;
        if self.expires_at <= now {
            let detail = format!("{} is not in the future: now it is {now}", self.expires_at);
            return Err(invalid("expiresAt", detail, "give Unix seconds within the next 30 days"));
        }
        if self.expires_at - now > MAX_LIFETIME_SECONDS {
            let detail = format!("{} is more than 30 days away: now it is {now}", self.expires_at);
            return Err(invalid("expiresAt", detail, "give Unix seconds within the next 30 days"));
        }
        Ok(())
    }

    fn bounds() -> Vec<Bounded> {
        vec![("JoinTokenSpec", "uses", Bound::Number(1, MAX_USES))]
    }

    fn check(&self, _name: &Name) -> Verdict {
        if !(1..=MAX_USES).contains(&self.uses) {
            let detail = format!("{} is not between 1 and {MAX_USES}", self.uses);
            return Err(invalid("uses", detail, "say how many may join with it"));
        }
        check_distinct("environments", &self.environments)?;
        if self.force && self.role == JoinRole::Agent {
            let detail = "only a control node takes the place of one that runs";
            return Err(invalid(
                "force",
                detail,
                "leave `force` out; `replace: true` lets an agent take over its name",
            ));
        }
        match (self.role, &self.region) {
            (JoinRole::Agent, None) => {
                Err(invalid("region", "an agent belongs to a region", "name the region it may join"))
            }
            (JoinRole::Server, Some(_)) => {
                Err(invalid("region", "a control-plane node belongs to no region", "leave the region out"))
            }
            (JoinRole::Server, None) if !self.environments.is_empty() => Err(invalid(
                "environments",
                "a control-plane node serves no environment",
                "leave the environments out",
            )),
            (JoinRole::Agent, Some(_)) | (JoinRole::Server, None) => Ok(()),
        }
    }

    fn references(&self, refer: &mut Refer<'_>) {
        if let Some(region) = &self.region {
            refer.needs(Kind::Region, region, Field::Plain("region"));
        }
        for (at, environment) in self.environments.iter().enumerate() {
            refer.lists(Kind::Environment, environment, Field::Item("environments", at));
        }
    }

    fn secret(&self) -> Option<&Digest> {
        Some(&self.digest)
    }

    fn secret_mut(&mut self) -> Option<&mut Digest> {
        Some(&mut self.digest)
    }

    fn status(&self, known: &Known<'_>) -> Option<Value> {
        let mut status = json!({ "uses": known.uses });
        if !known.used_by.is_empty() {
            status["usedBy"] = known.used_by.iter().copied().collect();
        }
        Some(status)
    }
}
