//! Judges a command before it is proposed: all that can be said of it without the state, but for the version in force.
//!
//! Admission checks each resource by itself. Then it compiles the resource: the projection's code encodes it and the
//! gateway's code checks the result. A resource that a gateway would put into quarantine is refused here, with the field
//! and the reason. Resources that compile by themselves compile together, too. A gateway checks each policy of a Route by
//! itself, and admission has checked every Policy. A scope gets a part of an Upstream's endpoints, and admission has
//! checked all of them.
//!
//! The last step seals Secrets: what is proposed, and so all that is logged, forwarded and stored, has no private data in the clear.
//!
//! Admission runs on the node that was asked, and calls parsers of libraries. [`State::apply`](crate::State::apply) runs on
//! every node and calls none: two versions of a library would make two states of one log. Clippy refuses the calls elsewhere
//! in this crate (`clippy.toml`).

mod compile;
mod seal;

use hanse_management::{Kind, Problem, ProblemName, ResourceKey, Spec, check};
use hanse_topology::Labels;

use crate::{Action, Change, Command, CommandBody, Version, validate::limits};

pub use self::seal::Seal;
pub use crate::validate::limits::{MAX_COMMAND_BYTES, change_bytes};

/// Finds in a change what came with one version: the field, or `kind` for a kind.
type Find = fn(&Change) -> Option<String>;

/// What a change may have that came with a later version than the first. A version that brings kinds or fields has a line here.
const LATER: &[(Version, Find)] = &[
    #[cfg(test)]
    (Version::KNOWN, crate::fixture::came_later),
    #[cfg(feature = "next")]
    (Version::NEXT, crate::next::used_in),
];

/// A command that was judged and may be proposed. Only [`admit`] makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    command: Command,
    version: Version,
    warnings: Vec<Warning>,
}

/// Who writes the changes of a command, and so which kinds it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// An operator, whose changes are carried out as they were sent. Decisions come with a dump only.
    Operator,
    /// Code of a control node that decides: a command about failover, or a reconciler.
    Handler,
}

/// Something that is accepted although it does not hold yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The resource that says it.
    pub key: ResourceKey,
    /// Where: `spec.operations[].scopes`.
    pub field: String,
    /// What is not done.
    pub detail: String,
}

impl Warning {
    /// What a spec says by itself.
    pub(crate) fn of_spec(key: &ResourceKey, spec: &Spec) -> impl Iterator<Item = Self> {
        let warning = |(field, detail)| Self { key: key.clone(), field: format!("spec.{field}"), detail };
        spec.warnings().into_iter().map(warning)
    }
}

impl Admitted {
    /// What may be proposed.
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// The same, to be proposed.
    pub fn into_command(self) -> Command {
        self.command
    }

    /// The version by which it was judged.
    pub fn version(&self) -> Version {
        self.version
    }

    /// What of it is accepted although it does not hold yet.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

/// Judges `command`, to be proposed while `version` is in force. What is refused here may not be proposed. Values that have several
/// spellings, such as URLs, are proposed in their one form. Secrets are proposed sealed by `seal`. `writer`: who wrote the changes.
pub fn admit(
    mut command: Command,
    version: Version,
    writer: Writer,
    seal: Seal<'_>,
) -> Result<Admitted, Problem> {
    check_writer(command.body.changes(), writer)?;
    if !command.origin.reason.is_empty() {
        check::check_line("reason", &command.origin.reason)?;
    }
    let warnings = judge_body(&mut command.body, version)?;
    if seal::run(&mut command, seal)? {
        // Sealed, data is longer.
        limits::check_command(command.body.changes())?;
    }
    Ok(Admitted { command, version, warnings })
}

/// Judges changes that an earlier release may have admitted, as those of a proposal. Their Secrets are sealed: the data was judged before
/// that, and is not judged again. What of them is accepted although it does not hold yet.
pub fn admit_again(changes: &[Change], version: Version) -> Result<Vec<Warning>, Problem> {
    let mut body = CommandBody::Apply(changes.to_vec());
    for change in body.changes_mut() {
        if let Some(Spec::Secret(secret)) = change.action.spec_mut() {
            *secret = secret.without_data();
        }
    }
    judge_body(&mut body, version)
}

/// Operators write no decision, neither alone nor in an apply or a proposal. A dump may have one, and the audit log names the administrator.
fn check_writer(changes: &[Change], writer: Writer) -> Result<(), Problem> {
    changes.iter().try_for_each(|change| match (&change.action, writer) {
        (Action::Put { .. } | Action::Delete { .. }, Writer::Operator) => check::check_operators(&change.key),
        (Action::Put { .. } | Action::Delete { .. }, Writer::Handler)
        | (Action::Restore { .. } | Action::Expect { .. }, _) => Ok(()),
    })
}

#[expect(clippy::disallowed_methods, reason = "the command is not proposed yet")]
fn judge_body(body: &mut CommandBody, version: Version) -> Result<Vec<Warning>, Problem> {
    check_version(body, version)?;
    let mut warnings = Vec::new();
    match &*body {
        CommandBody::Propose { reason, .. } => check::check_line("reason", reason)?,
        CommandBody::Reject { reason, .. } if !reason.is_empty() => check::check_line("reason", reason)?,
        _without_a_reason => {}
    }
    let changes = body.changes_mut();
    for change in changes.iter_mut() {
        if let Action::Put { spec, .. } | Action::Restore { spec, .. } = &mut change.action {
            spec.normalize();
        }
        if let Action::Restore { spec: Spec::Drill(drill), .. } = &mut change.action {
            drill.restore();
        }
    }
    // As it will be stored: percent-encoded, a URL may be three times as long.
    limits::check_command(changes)?;
    for change in changes {
        check::check_protected(&change.key, change.action.protects())?;
        let restored = match &change.action {
            Action::Restore { restored, .. } => restored.check(&change.key).map(|()| true)?,
            Action::Put { .. } | Action::Delete { .. } | Action::Expect { .. } => false,
        };
        if let Action::Put { labels, spec, .. } | Action::Restore { labels, spec, .. } = &change.action {
            check::check_kind(&change.key, spec, restored)?;
            judge(&change.key, labels, spec, version)?;
            warnings.extend(Warning::of_spec(&change.key, spec));
        }
    }
    Ok(warnings)
}

/// Whether `command` needs a later version in force than `version`.
pub(crate) fn needs_later(command: &Command, version: Version) -> bool {
    check_version(&command.body, version).is_err()
}

/// Refuses what needs a later version in force.
fn check_version(body: &CommandBody, version: Version) -> Result<(), Problem> {
    if let CommandBody::Finalize { version: to, .. } = body {
        // In the log, a version that is skipped would stop the nodes that know only the one before it.
        version.check_next(*to)?;
    }
    let Some((field, since)) = newer(body, version) else { return Ok(()) };
    let detail = format!("it came with release {}, and version {since} is not in force yet", since.release());
    Err(Problem::new(ProblemName::Upgrade, detail).at(field).remedy(
        "once every control node runs that release: hanse upgrade check, then hanse upgrade finalize",
    ))
}

/// What of `body` came with a later version than `version`, if anything: where it is, and the version that it came with. A command
/// that comes with a version is named here; a kind, and a field of a spec, in [`LATER`].
fn newer(body: &CommandBody, version: Version) -> Option<(String, Version)> {
    match body {
        CommandBody::Apply(changes) | CommandBody::Propose { changes, .. } => {
            changes.iter().find_map(|change| newer_in(change, version))
        }
        #[cfg(feature = "next")]
        CommandBody::SetMotto(_) => {
            (version < Version::NEXT).then(|| ("the motto".to_owned(), Version::NEXT))
        }
        CommandBody::UseJoinToken { .. }
        | CommandBody::RecordServer { .. }
        | CommandBody::StartLineage(_)
        | CommandBody::Revoke { .. }
        | CommandBody::RefuseKeys { .. }
        | CommandBody::Readmit { .. }
        | CommandBody::ForgetResults
        | CommandBody::Approve { .. }
        | CommandBody::Reject { .. }
        | CommandBody::DropAudit { .. }
        | CommandBody::RecordMinted { .. }
        | CommandBody::SetNeighbours { .. }
        | CommandBody::Finalize { .. }
        | CommandBody::TrustRoot { .. }
        | CommandBody::UseRoot(_)
        | CommandBody::DropRoot(_)
        | CommandBody::SetRecoveryKey { .. }
        | CommandBody::AddKey { .. }
        | CommandBody::UseKey { .. }
        | CommandBody::RotateKey
        | CommandBody::Reseal(_) => None,
    }
}

/// The same of one change.
fn newer_in(change: &Change, version: Version) -> Option<(String, Version)> {
    let mut later = LATER.iter().filter(|(since, _)| *since > version);
    later.find_map(|(since, find)| Some((format!("{}: {}", change.key, find(change)?), *since)))
}

#[expect(clippy::disallowed_methods, reason = "here, and nowhere else")]
fn judge(key: &ResourceKey, labels: &Labels, spec: &Spec, version: Version) -> Result<(), Problem> {
    check::check(key, labels, spec)?;
    if let Spec::ApiRevision(revision) = spec {
        // Compiled, each operation has a copy of every Policy that it names.
        let api = key.sibling(Kind::Api, revision.api.clone());
        limits::check_revision(&api, revision)?;
    }
    compile::check(key, spec, version)
}

#[cfg(test)]
mod tests;
