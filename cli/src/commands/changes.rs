//! What a change did, as text.

use hanse_api::answer::{Action, Applied, Warning};

use crate::out::{data, say};

/// Prints one line per resource on standard output, and what it means for the gateways on standard error.
pub(super) fn print(answer: &Applied, dry_run: bool) -> std::io::Result<()> {
    for line in lines(answer, dry_run) {
        data(line)?;
    }
    say(summary(answer, dry_run));
    if let Some(needed) = needed(&answer.needs_approval, &answer.needs_approval_plans) {
        say(needed);
    }
    warn(&answer.warnings, answer.warnings_left_out);
    Ok(())
}

/// What a dry run says of a change that a second owner must approve.
fn needed(environments: &[String], plans: &[String]) -> Option<String> {
    let because = because(environments, plans);
    (!because.is_empty())
        .then(|| format!("a second owner must approve it, because of {because}: do it with --propose REASON"))
}

/// The Environments and the FailoverPlans that need an approval, as a refusal names them.
pub(super) fn because(environments: &[String], plans: &[String]) -> String {
    let plans = plans.iter().map(|plan| format!("FailoverPlan {plan}"));
    let environments = environments.iter().map(|name| format!("Environment {name}"));
    environments.chain(plans).collect::<Vec<_>>().join(", ")
}

/// Says what was accepted although it does not hold yet.
pub(super) fn warn(told: &[Warning], left_out: u64) {
    warnings(told, left_out).for_each(say);
}

/// The lines of warnings.
pub(super) fn warnings(told: &[Warning], left_out: u64) -> impl Iterator<Item = String> {
    let told = told.iter().map(|warning| {
        let owner = warning.organization.as_deref().map(|owner| format!("{owner}/")).unwrap_or_default();
        format!("warning: {} {owner}{}: {}: {}", warning.kind, warning.name, warning.field, warning.detail)
    });
    told.chain(
        (left_out > 0).then(move || {
            format!("warning: and {left_out} more: `hanse describe` shows those of a resource")
        }),
    )
}

fn lines(answer: &Applied, dry_run: bool) -> impl Iterator<Item = String> {
    let note = if dry_run { " (dry run)" } else { "" };
    answer.changes.iter().map(move |change| match &change.organization {
        Some(organization) => {
            format!("{} {organization}/{} {}{note}", change.kind, change.name, change.action)
        }
        None => format!("{} {} {}{note}", change.kind, change.name, change.action),
    })
}

fn summary(answer: &Applied, dry_run: bool) -> String {
    let mut text = match (dry_run, answer.changes.iter().all(|change| change.action == Action::Unchanged)) {
        (_, true) => format!("nothing to change at revision {}", answer.revision),
        (true, false) => format!("nothing was changed; it would be, on top of revision {}", answer.revision),
        (false, false) => format!("revision {}", answer.revision),
    };
    for scope in answer.scopes.iter().flatten().filter(|scope| scope.upserts + scope.removals > 0) {
        let environment = scope.environment.as_deref().map(|name| format!("/{name}")).unwrap_or_default();
        text +=
            &format!("\n  {}{environment}: {} put, {} removed", scope.region, scope.upserts, scope.removals);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_line_a_resource_and_a_summary_of_the_gateways() {
        let answer: Applied = serde_json::from_value(json!({
            "revision": 12,
            "changes": [
                {"kind": "Api", "organization": "default", "name": "orders", "action": "created", "revision": 12},
                {"kind": "Region", "name": "eu-west", "action": "unchanged"},
            ],
            "scopes": [
                {"region": "eu-west", "environment": "production", "upserts": 3, "removals": 1},
                {"region": "us-east", "environment": "production", "upserts": 0, "removals": 0},
            ],
        }))
        .unwrap();
        assert_eq!(
            lines(&answer, false).collect::<Vec<_>>(),
            ["Api default/orders created", "Region eu-west unchanged"]
        );
        assert_eq!(lines(&answer, true).next().unwrap(), "Api default/orders created (dry run)");
        assert_eq!(summary(&answer, false), "revision 12\n  eu-west/production: 3 put, 1 removed");
        assert_eq!(warnings(&answer.warnings, answer.warnings_left_out).next(), None);
    }

    #[test]
    fn what_does_not_hold_yet_is_told() {
        let answer: Applied = serde_json::from_value(json!({
            "revision": 12,
            "changes": [],
            "warningsLeftOut": 7,
            "warnings": [
                {"kind": "Api", "organization": "default", "name": "orders", "field": "spec.a", "detail": "not done"},
                {"kind": "Environment", "name": "production", "field": "spec.egress", "detail": "not done"},
            ],
        }))
        .unwrap();
        assert_eq!(
            warnings(&answer.warnings, answer.warnings_left_out).collect::<Vec<_>>(),
            [
                "warning: Api default/orders: spec.a: not done",
                "warning: Environment production: spec.egress: not done",
                "warning: and 7 more: `hanse describe` shows those of a resource"
            ]
        );
    }
}
