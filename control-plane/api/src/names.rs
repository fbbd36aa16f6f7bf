//! What there is, told where a name is not there.

use hanse_management::{Kind, Problem, ProblemName, ResourceKey};
use hanse_state::State;
use hanse_topology::Name;

/// How many names are told.
const TOLD: usize = 10;
/// How long they are together: a remedy is one line, and says more than names.
const TOLD_BYTES: usize = 160;
/// How many names are compared with the one that was given: a refusal must not take long.
const COMPARED: usize = 10_000;

/// No such resource: what there is instead, or that its organization is not there. `sight`: the only organization that the caller may
/// see; `None`: all of them.
pub(crate) fn not_found(key: &ResourceKey, state: &State, sight: Option<&Name>) -> Problem {
    if let Some(organization) = &key.organization {
        let owner = ResourceKey::global(Kind::Organization, organization.clone());
        if state.get(&owner).is_none() {
            return not_found(&owner, state, sight);
        }
    }
    let list = match &key.organization {
        Some(organization) => format!("GET /v1/organizations/{organization}/{}", key.kind.plural()),
        None => format!("GET /v1/{}", key.kind.plural()),
    };
    let remedy = format!("{}; {list} lists what there is", there_are(key, state, sight));
    Problem::new(ProblemName::NotFound, format!("{key} does not exist")).remedy(remedy)
}

/// The problem, with what there is if it is that of a reference in `missing`: the field of each, and what it names.
pub(crate) fn with_names(
    problem: Problem,
    missing: &[(String, ResourceKey)],
    state: &State,
    sight: Option<&Name>,
) -> Problem {
    let is_it = |(field, _): &&(String, ResourceKey)| *field == problem.field;
    match missing.iter().find(is_it) {
        Some((_, target)) if problem.name == ProblemName::MissingReference => {
            let remedy = format!("{}; {}", there_are(target, state, sight), problem.remedy);
            problem.remedy(remedy)
        }
        Some(_) | None => problem,
    }
}

/// `there are production, sandbox`, or the names that are nearest to the one of `key`.
fn there_are(key: &ResourceKey, state: &State, sight: Option<&Name>) -> String {
    if let (Kind::Organization, Some(own)) = (key.kind, sight) {
        return format!("the token may see organization {own} only");
    }
    let there = state.list(key.kind, key.organization.as_ref()).take(COMPARED);
    let mut names: Vec<&str> = there.map(|resource| resource.key.name.as_str()).collect();
    let all = names.len();
    names.sort_by_cached_key(|name| strsim::osa_distance(key.name.as_str(), name));
    let mut bytes = 0;
    names.truncate(TOLD);
    names.retain(|name| {
        bytes += name.len();
        bytes <= TOLD_BYTES
    });
    if names.len() == all {
        names.sort_unstable();
    }
    match (names.as_slice(), &key.organization) {
        ([], Some(organization)) => format!("organization {organization} has no {} yet", key.kind),
        ([], None) => format!("there is no {} yet", key.kind),
        ([only], _) if all == 1 => format!("there is {only}"),
        (names, _) if names.len() == all => format!("there are {}", names.join(", ")),
        (nearest, _) => format!("there are {} and others", nearest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hanse_management::manifest::parse_yaml;
    use hanse_state::{Change, Command, CommandBody, Outcome};

    /// With organization `default` and these Plans.
    fn with_plans(names: &[String]) -> State {
        let plans = names.iter().map(|name| format!("---\n{{kind: Plan, name: {name}}}\n"));
        let yaml = format!("{{kind: Organization, name: default}}\n{}", plans.collect::<String>());
        let manifests = parse_yaml(&yaml, &Name::new("default").unwrap()).unwrap();
        let command = Command {
            actor: String::new(),
            request_id: String::new(),
            time_ms: 1,
            idempotency_key: None,
            only_in_term: None,
            force_grants: false,
            origin: hanse_state::Origin::default(),
            body: CommandBody::Apply(manifests.into_iter().map(Change::from).collect()),
        };
        let mut state = State::default();
        let outcome = state.apply(&command);
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        state
    }

    fn plan(organization: &str, name: &str) -> ResourceKey {
        ResourceKey::owned(Kind::Plan, Name::new(organization).unwrap(), Name::new(name).unwrap())
    }

    #[test]
    fn what_there_is_is_told_and_of_many_the_nearest() {
        let check = |names: &[String], asked: &str, expected: &str| {
            assert_eq!(there_are(&plan("default", asked), &with_plans(names), None), expected);
        };
        check(&[], "gold", "organization default has no Plan yet");
        check(&["silver".into()], "gold", "there is silver");
        check(&["silver".into(), "gold".into(), "bronze".into()], "glod", "there are bronze, gold, silver");
        let many: Vec<String> = (0..1_000).map(|number| format!("plan-{number:03}")).collect();
        let told = there_are(&plan("default", "plan-77"), &with_plans(&many), None);
        assert!(told.starts_with("there are plan-077, plan-") && told.ends_with(" and others"), "{told}");
        assert_eq!(told.split(", ").count(), TOLD, "{told}");
        let long: Vec<String> = (0..10).map(|number| format!("{}{number}", "x".repeat(62))).collect();
        let told = there_are(&plan("default", &long[3]), &with_plans(&long), None);
        assert_eq!(told, format!("there are {}, {} and others", long[3], long[0]));
    }

    #[test]
    fn an_organization_that_is_not_there_is_what_is_told() {
        let problem = not_found(&plan("shop", "gold"), &with_plans(&["gold".into()]), None);
        assert_eq!(problem.detail, "Organization shop does not exist");
        assert_eq!(problem.remedy, "there is default; GET /v1/organizations lists what there is");
        let own = Name::new("shop").unwrap();
        let told = not_found(&plan("shop", "gold"), &with_plans(&[]), Some(&own)).to_string();
        assert!(told.contains("may see organization shop only") && !told.contains("default"), "{told}");
    }
}
