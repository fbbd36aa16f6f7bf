//! `hanse apply` of a dump: part after part.

use std::path::Path;

use hanse_api::answer::Applied;
use hanse_management::Spec;

use super::apply::send;
use crate::{
    args::ApplyArgs,
    client::Client,
    commands::changes,
    exit::Failure,
    out::data,
    render,
    source::{self, Sourced, dump::DumpDir},
};

/// Applies the parts of a dump. The revision after the last.
pub(super) async fn restore(client: &Client, args: &ApplyArgs, dump: &DumpDir) -> anyhow::Result<u64> {
    if args.prune || args.owner.owner.is_some() {
        let failure = Failure::usage("a dump is applied as it is, and deletes nothing");
        return Err(failure.remedy("leave --owner and --prune out").into());
    }
    if args.dry_run && dump.parts > 1 {
        let said = format!("the dump has {} parts, and each needs those before it", dump.parts);
        return Err(Failure::usage(said).remedy("leave --dry-run out: it cannot try a part alone").into());
    }
    let (mut answers, mut guarded) = (Vec::new(), Guarded::of(dump));
    for (number, part) in (1..).zip(dump.files()) {
        let applied = restore_part(client, args, &part, &mut guarded).await;
        // All of its resources may have been taken out.
        let Some(answer) =
            applied.map_err(|error| stopped(error, &part, number, dump.parts, guarded.unguarded()))?
        else {
            continue;
        };
        if args.output.output.is_none() {
            changes::print(&answer, args.dry_run)?;
        }
        answers.push(answer);
    }
    if let Some(answer) = guarded.switch_on(client, args).await? {
        if args.output.output.is_none() {
            changes::print(&answer, args.dry_run)?;
        }
        answers.push(answer);
    }
    if let Some(form) = args.output.output {
        data(render::formed(&answers, form))?;
    }
    let last = answers.last().map(|answer| answer.revision);
    last.ok_or_else(|| Failure::input("the dump has no resources").into())
}

/// `None`: the part has no resources.
async fn restore_part(
    client: &Client,
    args: &ApplyArgs,
    part: &Path,
    guarded: &mut Guarded,
) -> anyhow::Result<Option<Applied>> {
    let mut manifests = source::part(part, &client.organization)?;
    if manifests.is_empty() {
        return Ok(None);
    }
    let taken = guarded.take_out(client, &mut manifests).await?;
    let applied = send(client, args, &manifests).await?;
    guarded.later.extend(taken);
    Ok(Some(applied))
}

/// The Environments and the FailoverPlans of a dump that are guarded. Bindings and decisions come in later parts, and would need a second
/// owner. So each is made without `approval`, which is switched on after the last part.
struct Guarded {
    has_parts: bool,
    /// Those that are there without `approval`.
    later: Vec<Sourced>,
}

impl Guarded {
    /// A dump of one part is one change: nothing comes later.
    fn of(dump: &DumpDir) -> Self {
        Self { has_parts: dump.parts > 1, later: Vec::new() }
    }

    /// Takes `approval` out of resources, unless they are there with it: the dump was restored before. Those resources as they are in
    /// the dump.
    async fn take_out(&self, client: &Client, manifests: &mut [Sourced]) -> anyhow::Result<Vec<Sourced>> {
        let mut taken = Vec::new();
        for sourced in manifests.iter_mut().filter(|_| self.has_parts) {
            if !is_guarded(&sourced.manifest.spec) {
                continue;
            }
            let present = client.find(&sourced.manifest.key).await?;
            if present.is_some_and(|present| present.spec.get("approval").is_some()) {
                continue;
            }
            let mut later = sourced.clone();
            later.manifest.restored = None;
            taken.push(later);
            unguard(&mut sourced.manifest.spec);
        }
        Ok(taken)
    }

    /// The names of those that are there without `approval`; `None`: there is none.
    fn unguarded(&self) -> Option<String> {
        let names: Vec<&str> = self.later.iter().map(|sourced| sourced.manifest.key.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    /// Makes them what they are in the dump.
    async fn switch_on(self, client: &Client, args: &ApplyArgs) -> anyhow::Result<Option<Applied>> {
        let Some(named) = self.unguarded() else { return Ok(None) };
        let failed = |error: anyhow::Error| {
            let so_far =
                format!("all parts are applied, and {named} lack `approval`: run the same command again");
            with_words(error, &so_far)
        };
        send(client, args, &self.later).await.map(Some).map_err(failed)
    }
}

fn is_guarded(spec: &Spec) -> bool {
    match spec {
        Spec::Environment(spec) => spec.approval.is_some(),
        Spec::FailoverPlan(spec) => spec.approval,
        _never_guarded => false,
    }
}

fn unguard(spec: &mut Spec) {
    match spec {
        Spec::Environment(spec) => spec.approval = None,
        Spec::FailoverPlan(spec) => spec.approval = false,
        _never_guarded => {}
    }
}

/// An error in the middle of a dump.
fn stopped(
    error: anyhow::Error,
    part: &Path,
    number: u64,
    all: u64,
    unguarded: Option<String>,
) -> anyhow::Error {
    let before = if number == 1 { "no part is" } else { "the parts before it are" };
    let mut so_far = format!(
        "this is part {number} of {all}, {}; {before} applied. Once it is mended, run the same command again: what is there already \
         stays",
        part.display()
    );
    if let Some(named) = unguarded {
        so_far +=
            &format!(". Until that comes to its end, {named} lack `approval`: one owner alone changes them");
    }
    with_words(error, &so_far)
}

fn with_words(error: anyhow::Error, so_far: &str) -> anyhow::Error {
    match error.downcast::<Failure>() {
        Ok(failure) => Failure { message: format!("{}\n  {so_far}", failure.message), ..failure }.into(),
        Err(error) => error.context(so_far.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use axum::{Router, extract::Request, response::IntoResponse as _};
    use clap::Parser as _;
    use hanse_api::answer::Dumped;
    use hanse_management::manifest::parse_yaml;
    use http::{Method, StatusCode};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        args::{Cli, Command},
        client::tests::{client_of, resource},
        source::dump::INDEX,
    };

    const GUARDED: &str = "{kind: Environment, name: production, spec: {regions: [eu], approval: {}}, restored: {}}\n---\n\
                           {kind: Environment, name: sandbox, spec: {regions: [eu]}, restored: {}}";

    /// What is sent of the Environments, with their part and after the last part. `present`: the spec of the one that is there.
    async fn sent(present: Option<Value>, has_parts: bool) -> (Vec<Value>, Vec<Value>) {
        let router = Router::new().fallback(async move |request: Request| {
            assert_eq!(request.uri().path(), "/v1/environments/production");
            match present {
                Some(spec) => {
                    let found = resource(json!({"kind": "Environment", "name": "production", "spec": spec}));
                    json!(found).to_string().into_response()
                }
                None => {
                    let problem = json!({"type": "urn:hanse:problem:not-found", "status": 404, "detail": "D", "remedy": "R"});
                    (StatusCode::NOT_FOUND, problem.to_string()).into_response()
                }
            }
        });
        let (client, _dir) = client_of(router).await;
        let sourced = |manifest| Sourced { source: "part".to_owned(), manifest };
        let mut part: Vec<Sourced> =
            parse_yaml(GUARDED, &client.organization).unwrap().into_iter().map(sourced).collect();
        let guarded = Guarded { has_parts, later: Vec::new() };
        let taken = guarded.take_out(&client, &mut part).await.unwrap();
        let sent = |all: &[Sourced]| all.iter().map(Sourced::to_json).collect();
        (sent(&part), sent(&taken))
    }

    /// What is said of a restore whose part with this number is refused. The Environment is in the second.
    async fn said_of_part(refused: usize) -> String {
        let dir = tempfile::tempdir().unwrap();
        let index = json!({"format": Dumped::FORMAT, "revision": 1, "time": "", "version": 1, "parts": 3, "resources": 3});
        fs::write(dir.path().join(INDEX), index.to_string()).unwrap();
        for (number, text) in [(1, "{kind: Region, name: eu}"), (2, GUARDED), (3, "{kind: Plan, name: gold}")]
        {
            fs::write(source::dump::part(dir.path(), number), text).unwrap();
        }
        let parts = Arc::new(AtomicUsize::new(0));
        let router = Router::new().fallback(async move |request: Request| {
            let problem = |status: u16, name: &str| {
                let body = json!({"type": format!("urn:hanse:problem:{name}"), "status": status, "detail": "D", "remedy": "R"});
                (StatusCode::from_u16(status).unwrap(), body.to_string()).into_response()
            };
            if request.method() == Method::GET {
                return problem(404, "not-found");
            }
            if parts.fetch_add(1, Ordering::Relaxed) + 1 == refused {
                return problem(422, "invalid");
            }
            json!({"revision": 9, "changes": []}).to_string().into_response()
        });
        let (client, _home) = client_of(router).await;
        let line = ["hanse", "apply", "-f", dir.path().to_str().unwrap()];
        let Command::Apply(args) = Cli::try_parse_from(line).unwrap().command else { panic!() };
        let dump = source::dump::of(&[dir.path().display().to_string()]).unwrap().unwrap();
        let error = restore(&client, &args, &dump).await.unwrap_err();
        error.downcast::<Failure>().unwrap().message
    }

    #[tokio::test]
    async fn a_restore_that_stops_names_the_environments_that_lack_approval() {
        let said = said_of_part(3).await;
        assert!(said.contains("part 3 of 3") && said.contains("production lack `approval`"), "{said}");
        // The part with the Environment was refused as a whole.
        let said = said_of_part(2).await;
        assert!(said.contains("part 2 of 3") && !said.contains("approval"), "{said}");
        let said = said_of_part(4).await;
        assert!(said.contains("all parts are applied, and production lack `approval`"), "{said}");
    }

    #[tokio::test]
    async fn an_environment_of_several_parts_is_guarded_last() {
        for present in [None, Some(json!({"regions": ["eu"]}))] {
            let (part, later) = sent(present, true).await;
            assert_eq!(part[0]["spec"].get("approval"), None, "{part:?}");
            assert_eq!((part.len(), part[0].get("restored").is_some()), (2, true));
            assert_eq!(later.len(), 1);
            assert!(later[0]["spec"]["approval"].is_object(), "{later:?}");
            assert_eq!((&later[0]["name"], later[0].get("restored")), (&json!("production"), None));
        }
    }

    #[test]
    fn environments_and_plans_are_guarded() {
        let spec = |yaml: &str| parse_yaml(yaml, &"default".parse().unwrap()).unwrap().remove(0).spec;
        let plan = |more: &str| {
            spec(&format!(
                "{{kind: FailoverPlan, name: p, spec: {{hosts: [h], active: a, standby: [b]{more}}}}}"
            ))
        };
        assert!(is_guarded(&plan(", approval: true")) && !is_guarded(&plan("")));
        assert!(is_guarded(&spec("{kind: Environment, name: e, spec: {regions: [], approval: {}}}")));
        assert!(!is_guarded(&spec("{kind: Plan, name: gold}")));
        let mut open = plan(", approval: true");
        unguard(&mut open);
        assert_eq!(open, plan(""));
    }

    #[tokio::test]
    async fn one_that_is_guarded_already_stays_so_and_one_part_is_one_change() {
        let guarded = json!({"regions": ["eu"], "approval": {"expiresAfter": "1day"}});
        for (present, has_parts) in [(Some(guarded), true), (None, false)] {
            let (part, later) = sent(present, has_parts).await;
            assert!(part[0]["spec"]["approval"].is_object() && later.is_empty(), "{part:?} {later:?}");
        }
    }
}
