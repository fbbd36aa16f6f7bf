//! How large things may be.

use hanse_management::{
    Problem, ProblemName, ResourceKey, Spec, check::MAX_RESOURCE_BYTES, kinds::ApiRevisionSpec,
};

use super::Verdict;
use crate::{Action, Change, projection};

/// The largest command, in bytes of JSON: the largest resource. It travels and is stored as one log entry, and holds up other
/// commands for as long as it takes.
pub const MAX_COMMAND_BYTES: usize = MAX_RESOURCE_BYTES;
/// The largest Route a revision may become, in bytes as gateways get it: as large as a resource. Each operation carries a copy
/// of every Policy it names, so a resource within its own limit could become gigabytes; and every node holds a Route for each
/// Binding.
pub(crate) const MAX_ROUTE_BYTES: usize = MAX_RESOURCE_BYTES;
/// What a change costs beside its key, spec and labels: framing, and the numbers of a dump, generously.
const CHANGE_OVERHEAD_BYTES: usize = 96;
/// What a label costs beside its key and value: framing, generously.
const LABEL_OVERHEAD_BYTES: usize = 8;

/// A command may not be larger than one log entry should be.
pub(crate) fn check_command(changes: &[Change]) -> Verdict {
    let bytes: usize = changes.iter().map(change_bytes).sum();
    if bytes <= MAX_COMMAND_BYTES {
        return Ok(());
    }
    let detail = format!(
        "{} changes with {bytes} bytes are more than a command carries, {MAX_COMMAND_BYTES}",
        changes.len()
    );
    Err(Problem::new(ProblemName::TooLarge, detail)
        .remedy("apply them in several parts, what is referred to first"))
}

/// What a change takes of a command's [`MAX_COMMAND_BYTES`].
pub fn change_bytes(change: &Change) -> usize {
    let content = match &change.action {
        Action::Put { labels, spec, .. } | Action::Restore { labels, spec, .. } => {
            let labels = labels.0.iter().map(|(key, value)| key.len() + value.len() + LABEL_OVERHEAD_BYTES);
            spec.json_len() + labels.sum::<usize>()
        }
        Action::Delete { .. } | Action::Expect { .. } => 0,
    };
    let ResourceKey { kind, organization, name } = &change.key;
    let organization = organization.as_ref().map_or(0, |organization| organization.as_str().len());
    content + kind.as_str().len() + organization + name.as_str().len() + CHANGE_OVERHEAD_BYTES
}

/// The key of the revision, if it may be made.
pub(crate) fn check_revision(api: &ResourceKey, revision: &ApiRevisionSpec) -> Result<ResourceKey, Problem> {
    let refused = |name, detail: String| Problem::new(name, detail).at(format!("{api}: spec"));
    // Cloned to be measured as it will be stored.
    let bytes = Spec::ApiRevision(revision.clone()).json_len();
    if bytes > MAX_RESOURCE_BYTES {
        let detail = format!(
            "with the Policies and the Upstream it names it has {bytes} bytes of JSON, more than {MAX_RESOURCE_BYTES}"
        );
        return Err(refused(ProblemName::TooLarge, detail)
            .remedy("name fewer or smaller Policies, or leave out operations that no client calls"));
    }
    let bytes = projection::route_len(revision);
    if bytes > MAX_ROUTE_BYTES {
        let detail = format!(
            "as gateways get it, each operation with a copy of the Policies it names, it has {bytes} bytes, more than \
             {MAX_ROUTE_BYTES}"
        );
        let remedy = "name a Policy that all operations share once, in spec.policies; make the Policies smaller, or leave \
                      out operations that no client calls";
        return Err(Problem::new(ProblemName::TooLarge, detail)
            .at(format!("{api}: spec.operations"))
            .remedy(remedy));
    }
    let key = api.organization.as_ref().and_then(|own| ApiRevisionSpec::key(own, &api.name, revision.number));
    key.ok_or_else(|| {
        refused(
            ProblemName::Invalid,
            format!("revision {} has no name: the Api's is too long", revision.number),
        )
        .remedy("give the Api a shorter name")
    })
}
