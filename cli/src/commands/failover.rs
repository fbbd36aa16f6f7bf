//! `hanse failover`, `hanse failback` and `hanse region`: where clients are led, decided by hand.

use hanse_api::answer::{
    Decision, DrainRequest, FailbackRequest, FailoverHistory, FailoverRequest, FreezeRequest, PastDecision,
    PlanReadiness, UndrainRequest,
};
use hanse_management::kinds::{FailoverSpec, ReadinessSpec, ReadinessVerdict};
use hanse_topology::Name;
use serde::Serialize;

use super::{approval::tell_proposed, changes};
use crate::{
    args::{
        DecisionFlags, FailbackArgs, FailoverArgs, FailoverCommand, Form, FreezeArgs, Output, RegionArgs,
        RegionCommand, ShiftFlags,
    },
    client::{Client, Decided},
    exit::Failure,
    import::printable,
    out::{data, say},
    render,
};

/// `hanse failover`.
pub(crate) async fn failover(client: &Client, args: &FailoverArgs) -> anyhow::Result<()> {
    match (&args.command, &args.plan) {
        (Some(FailoverCommand::Readiness { plan, output }), _) => {
            let readiness = client.plan_readiness(plan).await?;
            data(formed(&readiness, *output, readiness_table)?)?;
            Ok(())
        }
        (Some(FailoverCommand::History { plan, output }), _) => {
            let history = client.failover_history(plan).await?;
            data(formed(&history, *output, history_table)?)?;
            Ok(())
        }
        (Some(FailoverCommand::Freeze(args)), _) => freeze(client, "freeze", args).await,
        (Some(FailoverCommand::Unfreeze(args)), _) => freeze(client, "unfreeze", args).await,
        (None, Some(plan)) => {
            let ShiftFlags { reason, steps, force, decision } = &args.shift;
            let request = FailoverRequest {
                reason: reason.clone().unwrap_or_default(),
                to: args.to.as_ref().map(Name::to_string),
                steps: given(steps),
                force: force.clone(),
                expects: decision.expects.clone(),
            };
            decide(client, plan, "failover", &request, decision).await
        }
        (None, None) => {
            Err(Failure::usage("no plan is named").remedy("hanse failover PLAN --reason TEXT").into())
        }
    }
}

/// `hanse failback`.
pub(crate) async fn failback(client: &Client, args: &FailbackArgs) -> anyhow::Result<()> {
    let ShiftFlags { reason, steps, force, decision } = &args.shift;
    let request = FailbackRequest {
        reason: reason.clone().unwrap_or_default(),
        steps: given(steps),
        force: force.clone(),
        expects: decision.expects.clone(),
    };
    decide(client, &args.plan, "failback", &request, decision).await
}

/// `hanse region`.
pub(crate) async fn region_command(client: &Client, args: &RegionArgs) -> anyhow::Result<()> {
    let (decided, output) = match &args.command {
        RegionCommand::Drain { region, reason, force, propose, output } => {
            let request = DrainRequest { reason: reason.clone(), force: force.clone() };
            (client.drain(region, "drain", &request, *propose).await?, output)
        }
        RegionCommand::Undrain { region, reason, propose, output } => {
            let request = UndrainRequest { reason: reason.clone() };
            (client.drain(region, "undrain", &request, *propose).await?, output)
        }
    };
    match (decided, output.output) {
        (Decided::Proposed(proposal), form) => tell_proposed(&proposal, form)?,
        (Decided::Made(applied), Some(form)) => data(render::formed(&applied, form))?,
        (Decided::Made(applied), None) => changes::print(&applied, false)?,
    }
    Ok(())
}

async fn freeze(client: &Client, what: &str, args: &FreezeArgs) -> anyhow::Result<()> {
    let request = FreezeRequest { reason: args.reason.clone(), expects: args.decision.expects.clone() };
    decide(client, &args.plan, what, &request, &args.decision).await
}

async fn decide(
    client: &Client,
    plan: &Name,
    what: &str,
    request: &impl Serialize,
    flags: &DecisionFlags,
) -> anyhow::Result<()> {
    match client.decide(plan, what, request, flags.propose).await? {
        Decided::Proposed(proposal) => tell_proposed(&proposal, flags.output.output)?,
        Decided::Made(decision) => tell(&decision, flags.output.output)?,
    }
    Ok(())
}

fn tell(decision: &Decision, form: Option<Form>) -> std::io::Result<()> {
    let Decision { plan, epoch, decision: made, warnings, .. } = decision;
    match form {
        Some(form) => data(render::formed(decision, form))?,
        None => data(format!("FailoverPlan {plan} at epoch {epoch}: {}", present(made)))?,
    }
    if let Some(next) = next(made) {
        say(next);
    }
    warnings.iter().for_each(|warning| say(format!("warning: {}", printable(warning))));
    Ok(())
}

/// Where the clients are: `eu-west 90%, us-east 10%`.
pub(super) fn present(decision: &FailoverSpec) -> String {
    let serving = decision.serving.iter().map(|one| format!("{} {}%", one.region, one.percent));
    let frozen = decision.frozen.as_ref().map(|why| format!(", frozen: {}", printable(why)));
    format!("{}{}", serving.collect::<Vec<_>>().join(", "), frozen.unwrap_or_default())
}

/// What comes without another command.
fn next(decision: &FailoverSpec) -> Option<String> {
    let percent = decision.steps.get(usize::try_from(decision.step).ok()? + 1)?;
    Some(match decision.frozen {
        Some(_) => {
            format!("frozen: the step of {} to {percent}% waits for hanse failover unfreeze", decision.to)
        }
        None => {
            format!(
                "{} gets {percent}% in {} if it is ready then; hanse failover freeze stops it",
                decision.to, decision.step_every
            )
        }
    })
}

fn given(steps: &[u8]) -> Option<Vec<u8>> {
    (!steps.is_empty()).then(|| steps.to_vec())
}

fn formed<T: Serialize>(answer: &T, output: Output, table: fn(&T) -> String) -> Result<String, Failure> {
    match output {
        Output::Table | Output::Wide => Ok(table(answer)),
        Output::Json => Ok(render::pretty(answer)),
        Output::Yaml => Ok(render::yaml(answer)),
        Output::Name => Err(Failure::usage("this has no names; use table, json or yaml")),
    }
}

fn readiness_table(readiness: &PlanReadiness) -> String {
    let titles = ["REGION", "SERVES", "RULE", "VERDICT", "WHY", "AGE"].map(str::to_owned).to_vec();
    let rows = readiness.regions.iter().flat_map(|region| {
        region.rules.iter().map(|ReadinessSpec { rule, verdict, why, age_ms }| {
            vec![
                region.region.clone(),
                format!("{}%", region.percent),
                printable(rule),
                word(*verdict).to_owned(),
                printable(why),
                age_ms
                    .map_or_else(|| "-".to_owned(), |age| format!("{}.{} s", age / 1_000, age % 1_000 / 100)),
            ]
        })
    });
    let mut text = render::table(titles, rows);
    if let Some(waits) = &readiness.waits {
        text += &format!("\n\nthe next step waits: {}", printable(waits));
    }
    text
}

fn word(verdict: ReadinessVerdict) -> &'static str {
    match verdict {
        ReadinessVerdict::Ready => "ready",
        ReadinessVerdict::Unknown => "unknown",
        ReadinessVerdict::NotReady => "not ready",
    }
}

fn history_table(history: &FailoverHistory) -> String {
    let titles = ["TIME", "EPOCH", "WHO", "SERVES", "REASON", "FORCED"].map(str::to_owned).to_vec();
    let rows = history.items.iter().map(|item| {
        let PastDecision { time, epoch, actor, owner, reason, what, decision, .. } = item;
        let who =
            if owner.is_empty() || owner == actor { actor.clone() } else { format!("{owner} ({actor})") };
        // A step goes on for the reason of its shift. An approval has the reason that was proposed, in its own words.
        let why = match (reason.as_str(), decision) {
            ("", Some(decision)) if what == "apply" => &decision.reason,
            ("", _) => what,
            (given, _) => given,
        };
        let forced = decision.as_ref().and_then(|decision| decision.forced.clone()).unwrap_or_default();
        vec![
            time.clone(),
            epoch.clone(),
            printable(&who),
            decision.as_ref().map_or_else(|| "not known".to_owned(), present),
            printable(why),
            printable(&forced),
        ]
    });
    let mut text = render::table(titles, rows);
    if history.dropped {
        text += "\nolder entries of the audit log were exported and dropped: hanse audit export wrote them into a file";
    }
    text
}

#[cfg(test)]
mod tests {
    use hanse_management::kinds::ServingSpec;

    use super::*;

    fn decision(step: u32, frozen: Option<&str>) -> FailoverSpec {
        let at = |region: &str, percent| ServingSpec { region: Name::new(region).unwrap(), percent };
        FailoverSpec {
            serving: vec![at("eu-west", 90), at("us-east", 10)],
            to: Name::new("us-east").unwrap(),
            steps: vec![10, 50, 100],
            step,
            step_every: hanse_management::Duration::from_millis(30_000),
            reason: "r".into(),
            forced: None,
            frozen: frozen.map(str::to_owned),
            drill: None,
            readiness: Vec::new(),
        }
    }

    #[test]
    fn what_serves_and_what_comes_is_said() {
        assert_eq!(present(&decision(0, None)), "eu-west 90%, us-east 10%");
        assert_eq!(present(&decision(0, Some("a look"))), "eu-west 90%, us-east 10%, frozen: a look");
        let comes = |step, frozen| next(&decision(step, frozen));
        let expected = "us-east gets 50% in 30s if it is ready then; hanse failover freeze stops it";
        assert_eq!(comes(0, None).as_deref(), Some(expected));
        assert!(
            comes(1, Some("a look"))
                .is_some_and(|text| text.starts_with("frozen: the step of us-east to 100%"))
        );
        assert_eq!(comes(2, None), None, "it is there");
    }
}
