//! Judges a command before it is proposed: all that can be said of it without the state.
//!
//! Admission checks each resource by itself. Then it compiles the resource: the projection's code encodes it and the
//! gateway's code checks the result. A resource that a gateway would put into quarantine is refused here, with the field
//! and the reason. Resources that compile by themselves compile together, too. A gateway checks each policy of a Route by
//! itself, and admission has checked every Policy. A scope gets a part of an Upstream's endpoints, and admission has
//! checked all of them.
//!
//! Admission runs on the node that was asked, and calls parsers of libraries. [`State::apply`](crate::State::apply) runs on
//! every node and calls none: two versions of a library would make two states of one log. Clippy refuses the calls elsewhere
//! in this crate (`clippy.toml`).

mod compile;

use hanse_management::{Problem, ResourceKey, Spec, check};
use hanse_topology::Labels;

use crate::{Action, Command, CommandBody, validate::limits};

/// A command that was judged and may be proposed. Only [`admit`] makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    command: Command,
    warnings: Vec<Warning>,
}

/// Something that is accepted although it does not hold yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The resource that says it.
    pub key: ResourceKey,
    /// Where: `spec.exposure`.
    pub field: String,
    /// What is not done.
    pub detail: String,
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

    /// What of it is accepted although it does not hold yet.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

/// Judges `command`. What is refused here may not be proposed.
pub fn admit(command: Command) -> Result<Admitted, Problem> {
    let mut warnings = Vec::new();
    if let CommandBody::Apply(changes) = &command.body {
        limits::check_command(changes)?;
        for change in changes {
            if let Action::Put { labels, spec } = &change.action {
                judge(&change.key, labels, spec)?;
                warnings.extend(spec.warnings().into_iter().map(|(field, detail)| Warning {
                    key: change.key.clone(),
                    field: format!("spec.{field}"),
                    detail,
                }));
            }
        }
    }
    Ok(Admitted { command, warnings })
}

#[expect(clippy::disallowed_methods, reason = "here, and nowhere else")]
fn judge(key: &ResourceKey, labels: &Labels, spec: &Spec) -> Result<(), Problem> {
    check::check_kind(key, spec)?;
    check::check(key, labels, spec)?;
    compile::check(key, spec)
}

#[cfg(test)]
mod tests;
