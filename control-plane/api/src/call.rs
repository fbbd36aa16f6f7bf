//! One request, read strictly: what is not understood is refused, never ignored.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    body::Body,
    extract::{FromRequestParts, Query, RawPathParams},
    response::Response,
};
use hanse_management::{Kind, Problem, ProblemName, ResourceKey, Revision, Spec};
use hanse_state::{
    Accepted, Change, Command, CommandBody, Origin, Outcome, State,
    admission::{Admitted, Seal, Warning, Writer, admit},
    port::{Consistency, SEAL_OUTDATED},
    projection::Source,
};
use hanse_topology::{Labels, Name};
use http::{HeaderMap, StatusCode, request::Parts};
use serde::Serialize;
use tokio::time::timeout;

use crate::{
    ClientAddress, OperatorApi,
    access::Rule,
    authenticate::Actor,
    body,
    bounds::Place,
    names::with_names,
    observe::RequestId,
    operation::{Form, Operation},
    rejection::{bad_request, invalid},
    routes::json_text,
};

/// What a write that may change grants says of `forceGrants`.
pub(crate) const FORCE_GRANTS: &str = "Accept HostGrants that take requests from Bindings of other Organizations, and Bindings \
that ask for the same requests as those of others";

/// How fresh a read must be, for descriptions.
pub(crate) const CONSISTENCY: &str = "`linearizable` (default: sees every write acknowledged before; needs a quorum) or `stale` \
(what this node has; always answers; never behind an earlier answer of the same node, unless `Hanse-Restarted` says so)";
/// The same by revision.
pub(crate) const MIN_REVISION: &str = "Answer from this node's state once it has reached this revision, which is waited for at \
most 10 s; needs no quorum";

/// Longer keys are refused: they are replicated and kept for a day.
pub(crate) const MAX_IDEMPOTENCY_KEY: usize = 128;

/// A request on its way to its handler.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) api: OperatorApi,
    /// `None` for open operations only.
    pub(crate) actor: Option<Actor>,
    pub(crate) headers: HeaderMap,
    operation: Arc<Operation>,
    request_id: String,
    /// The client's address, where the listener says it.
    from: String,
    path: Vec<(String, String)>,
    query: Vec<(String, String)>,
    /// Empty for operations that take none.
    body: body::Bytes,
    /// The place of what a large body says, until the answer is made.
    working: Option<Arc<Place>>,
    /// Who writes the changes of this call.
    writer: Writer,
    /// Why, as the operator says it, for the audit.
    reason: String,
    /// Whether the answer comes from a state that may be older than what this node showed before it was restarted.
    restarted: Arc<AtomicBool>,
}

impl Call {
    /// Takes the request apart, checks its query against the operation's parameters and reads its body.
    pub(crate) async fn read(
        api: OperatorApi,
        operation: Arc<Operation>,
        actor: Option<Actor>,
        parts: &mut Parts,
        body: Body,
    ) -> Result<Self, Problem> {
        let path = RawPathParams::from_request_parts(parts, &())
            .await
            .map_err(|error| {
                bad_request(format!("the path cannot be read: {error}"))
                    .remedy("percent-encode UTF-8, nothing else")
            })?
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect::<Vec<(String, String)>>();
        if let Some(actor) = &actor {
            actor.asking().check(operation.rule, organization_of(&operation, &path))?;
        }
        let Query(query) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map_err(|error| {
            bad_request(format!("the query cannot be read: {error}"))
                .remedy("write it as name=value&name=value")
        })?;
        check_query(&operation, &query)?;
        if let Some(actor) = actor.as_ref().filter(|_| is_set(&query, "forceGrants")) {
            // It takes requests from Bindings of other Organizations.
            actor
                .asking()
                .check(Some(Rule::Admin), None)
                .map_err(|problem| problem.at("query: forceGrants"))?;
        }
        let request_id = parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        let from = parts.extensions.get::<ClientAddress>().map(|client| client.0.to_string());
        let from = from.unwrap_or_default();
        let headers = std::mem::take(&mut parts.headers);
        let body =
            if operation.takes_body { body::read(body, &headers, &api).await? } else { body::Bytes::none() };
        let restarted = Arc::default();
        Ok(Self {
            api,
            actor,
            headers,
            operation,
            request_id,
            from,
            path,
            query,
            body,
            writer: Writer::Operator,
            reason: String::new(),
            restarted,
            working: None,
        })
    }

    /// Whether the caller's token is still good: a long answer ends when it is not.
    pub(crate) fn may_go_on(&self) -> bool {
        let (state, now_ms) = (self.api.replicated.current(), self.api.clock.now_ms());
        self.actor.as_ref().is_some_and(|actor| actor.still_good(&state, now_ms))
    }

    /// From here on its changes are decisions, made for this reason.
    pub(crate) fn decide(&mut self, reason: &str) {
        (self.writer, self.reason) = (Writer::Handler, reason.to_owned());
    }

    /// How long its body is.
    pub(crate) fn body_len(&self) -> usize {
        self.body.len()
    }

    /// Whether it only tries what a write would do.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.operation.knows("dryRun") && self.flag("dryRun")
    }

    /// Tells, once the call was answered, whether the answer must say `restarted`.
    pub(crate) fn restarted(&self) -> Arc<AtomicBool> {
        self.restarted.clone()
    }

    /// Every answer from what this node has goes by here, before it looks.
    fn note_restart(&self) {
        if self.api.replicated.restarted() {
            self.restarted.store(true, Ordering::Relaxed);
        }
    }

    /// What this node has, now.
    pub(crate) fn current(&self) -> State {
        self.note_restart();
        self.api.replicated.current()
    }

    /// Works on the body, once, on a thread that serves nothing else.
    pub(crate) async fn parse<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&[u8]) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let body = std::mem::replace(&mut self.body, body::Bytes::none());
        let length = body.len();
        let parse = self.api.bounds.parse(length, &self.api.metrics, move || work(&body));
        let (parsed, place) = parse.await?;
        self.working = place.map(Arc::new);
        parsed
    }

    /// The changes of the body are replicated: what it said takes no other request's place any more.
    pub(crate) fn worked(&mut self) {
        self.working = None;
    }

    /// An answer that may be large, written on a thread that serves nothing else: its revision and JSON.
    pub(crate) async fn answer<T: Serialize>(
        &self,
        status: StatusCode,
        write: impl FnOnce() -> (Revision, T) + Send + 'static,
    ) -> Result<Response, Problem> {
        self.answer_text(status, || {
            let (revision, answer) = write();
            (revision, serde_json::to_vec(&answer).expect("an answer has string keys only"))
        })
        .await
    }

    /// The same with JSON as text.
    pub(crate) async fn answer_text(
        &self,
        status: StatusCode,
        write: impl FnOnce() -> (Revision, Vec<u8>) + Send + 'static,
    ) -> Result<Response, Problem> {
        let (revision, text) = self.api.bounds.answer(write).await?;
        Ok(json_text(status, revision, text))
    }

    /// The path parameter `parameter`, which must be a name.
    pub(crate) fn name(&self, parameter: &str) -> Result<Name, Problem> {
        Name::new(self.segment(parameter)).map_err(|error| {
            invalid(error.to_string())
                .at(format!("path: {parameter}"))
                .remedy("use the name as lists show it")
        })
    }

    /// The path parameter `parameter`, as given.
    pub(crate) fn segment(&self, parameter: &str) -> &str {
        self.path.iter().find(|(name, _)| name == parameter).map_or("", |(_, value)| value)
    }

    /// The resource that the path of this operation names.
    pub(crate) fn key(&self, kind: Kind) -> Result<ResourceKey, Problem> {
        let organization = if kind.is_global() { None } else { Some(self.name("organization")?) };
        Ok(ResourceKey { kind, organization, name: self.name("name")? })
    }

    /// A query parameter's value, as given.
    pub(crate) fn text(&self, parameter: &str) -> Option<&str> {
        debug_assert!(self.operation.knows(parameter));
        self.query.iter().find(|(name, _)| name == parameter).map(|(_, value)| value.as_str())
    }

    /// A query parameter that is a number.
    pub(crate) fn number(&self, parameter: &str) -> Option<u64> {
        self.text(parameter).map(|text| text.parse().expect("numbers were checked when the call was read"))
    }

    /// A query parameter that is set or not.
    pub(crate) fn flag(&self, parameter: &str) -> bool {
        debug_assert!(self.operation.knows(parameter));
        is_set(&self.query, parameter)
    }

    /// A query parameter that lists labels.
    pub(crate) fn labels(&self, parameter: &str) -> Result<Labels, Problem> {
        self.text(parameter).map_or_else(|| Ok(Labels::default()), |text| parse_labels(parameter, text))
    }

    /// The state after every write that was acknowledged. It may know more of the caller's token than this node did.
    pub(crate) async fn read_latest(&self) -> Result<State, Problem> {
        let state = self.api.replicated.read(Consistency::Linearizable).await?;
        self.check_still_good(&state)?;
        Ok(state)
    }

    /// Refuses a caller whose token is no longer good in the state that answers.
    fn check_still_good(&self, state: &State) -> Result<(), Problem> {
        match &self.actor {
            Some(actor) if !actor.still_good(state, self.api.clock.now_ms()) => {
                let detail = format!(
                    "the token {} was deleted or changed, or has expired, since it was shown",
                    actor.name
                );
                Err(Problem::new(ProblemName::Forbidden, detail)
                    .remedy("use a token that is good: hanse whoami shows the present one"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The state, as fresh as the caller asked for.
    pub(crate) async fn read_state(&self) -> Result<State, Problem> {
        let state = self.read_as_asked().await?;
        self.check_still_good(&state)?;
        Ok(state)
    }

    async fn read_as_asked(&self) -> Result<State, Problem> {
        let replicated = &self.api.replicated;
        match (self.text("consistency"), self.number("min_revision")) {
            (None | Some("linearizable"), None) => replicated.read(Consistency::Linearizable).await,
            (Some("stale"), None) => {
                self.note_restart();
                replicated.read(Consistency::Stale).await
            }
            (None, Some(revision)) => {
                self.note_restart();
                self.state_at_least(revision).await
            }
            (Some(_), Some(_)) => Err(bad_request("consistency and min_revision exclude each other")
                .at("query: min_revision")
                .remedy("give one of them")),
            (Some(other), None) => Err(bad_request(format!("{other:?} is no consistency"))
                .at("query: consistency")
                .remedy("use linearizable or stale")),
        }
    }

    async fn state_at_least(&self, revision: Revision) -> Result<State, Problem> {
        let (replicated, deadline) = (&self.api.replicated, self.api.limits.read_deadline);
        let reached = replicated.read(Consistency::AtLeast(revision));
        let reached = async {
            if revision <= replicated.current().revision() {
                return reached.await;
            }
            // The leader may know that there is no such revision. Without a leader it may still come.
            let confirmed = async {
                match replicated.read(Consistency::Linearizable).await {
                    Ok(state) => check_exists("min_revision", revision, &state).map(|()| state),
                    Err(_no_quorum) => std::future::pending().await,
                }
            };
            tokio::select! {
                state = reached => state,
                state = confirmed => state,
            }
        };
        timeout(deadline, reached).await.unwrap_or_else(|_| {
            let reached = replicated.current().revision();
            let detail =
                format!("this node is at revision {reached} and did not reach {revision} in {deadline:?}");
            Err(Problem::new(ProblemName::NoQuorum, detail)
                .at("query: min_revision")
                .remedy("check the revision, try another node, or read with consistency=stale"))
        })
    }

    /// The caller's idempotency key.
    pub(crate) fn idempotency_key(&self) -> Result<Option<String>, Problem> {
        let refuse = || {
            bad_request("the idempotency key is not 1 to 128 printable ASCII characters")
                .at("header: Idempotency-Key")
                .remedy("use a UUID, a new one for each request")
        };
        let mut given = self.headers.get_all("idempotency-key").iter();
        let Some(key) = given.next() else { return Ok(None) };
        let key = key.to_str().map_err(|_| refuse())?.trim();
        let sound = (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len())
            && key.bytes().all(|byte| (0x20..0x7f).contains(&byte))
            && given.next().is_none();
        if sound { Ok(Some(key.to_owned())) } else { Err(refuse()) }
    }

    /// A command of this call's actor, now.
    pub(crate) fn command_of(&self, body: CommandBody, idempotency_key: Option<String>) -> Command {
        Command {
            actor: self.actor.as_ref().map(|actor| actor.name.to_string()).unwrap_or_default(),
            request_id: self.request_id.clone(),
            time_ms: self.api.clock.now_ms(),
            idempotency_key,
            only_in_term: None,
            force_grants: self.operation.knows("forceGrants") && self.flag("forceGrants"),
            origin: self.origin(),
            body,
        }
    }

    fn origin(&self) -> Origin {
        let (from, reason) = (self.from.clone(), self.reason.clone());
        let Some(actor) = &self.actor else { return Origin { from, reason, ..Origin::default() } };
        Origin {
            owner: actor.owner.clone(),
            role: Some(actor.access.role),
            organization: actor.access.organization.clone(),
            from,
            reason,
        }
    }

    /// The organization beyond which the token may see nothing, if there is one.
    pub(crate) fn bounds_of_sight(&self) -> Option<&Name> {
        self.actor.as_ref().and_then(|actor| actor.access.organization.as_ref())
    }

    /// Whether the token may see a resource.
    pub(crate) fn may_read(&self, key: &ResourceKey) -> bool {
        self.actor.as_ref().is_some_and(|actor| actor.access.may_read(key))
    }

    /// Whether the token may see what a runtime resource was made from.
    pub(crate) fn may_read_source(&self, source: Option<&Source>) -> bool {
        self.actor.as_ref().is_some_and(|actor| actor.access.may_read_source(source))
    }

    /// Refuses changes that the token does not allow.
    pub(crate) fn check_changes(&self, changes: &[Change]) -> Result<(), Problem> {
        match &self.actor {
            Some(actor) => actor.asking().check_changes(changes),
            None => Err(Problem::new(ProblemName::Internal, "changes were let in without a token")),
        }
    }

    /// Replicates the changes of `body`. Tells, too, what of them does not hold yet.
    pub(crate) async fn propose(&self, body: CommandBody) -> Result<(Accepted, Vec<Warning>), Problem> {
        if !has_text(body.changes()) {
            return self.propose_by(self.api.replicated.current(), body).await;
        }
        // This node may not have applied yet which version of the federation key seals, or what the same request was answered with.
        let newest = async || self.api.replicated.read(Consistency::Linearizable).await;
        match self.propose_by(newest().await?, body.clone()).await {
            // Another version, or the first attempt of the same request, came in between.
            Err(problem) if problem.field == SEAL_OUTDATED || problem.name == ProblemName::KeyReused => {
                self.propose_by(newest().await?, body).await
            }
            outcome => outcome,
        }
    }

    /// The same, with Secrets sealed as `before` says.
    async fn propose_by(
        &self,
        before: State,
        body: CommandBody,
    ) -> Result<(Accepted, Vec<Warning>), Problem> {
        let command = self.command_of(body, self.idempotency_key()?);
        let version = self.api.replicated.version_for(&command).await?;
        #[cfg(feature = "next")]
        let version = crate::motto::seeded(version);
        let (sealing, writer) = (self.api.sealing.clone(), self.writer);
        let judged = move || {
            let admitted = admit(command, version, writer, Seal { state: &before, by: &*sealing })?;
            let missing = before.missing_in(&admitted.command().body);
            Ok::<_, Problem>((admitted, missing))
        };
        // Judging a large command takes as long as reading it did.
        let (admitted, missing) = match self.working.is_some() {
            true => self.api.bounds.answer(judged).await??,
            false => judged()?,
        };
        let warnings = admitted.warnings().to_vec();
        match self.replicate(admitted).await {
            Ok(accepted) => Ok((accepted, self.with_audit_warning(warnings))),
            Err(problem) => {
                let state = self.api.replicated.current();
                Err(with_names(problem, &missing, &state, self.bounds_of_sight()))
            }
        }
    }

    /// The warnings of a write, with one of the audit log where it is nearly full.
    fn with_audit_warning(&self, mut warnings: Vec<Warning>) -> Vec<Warning> {
        let Some(detail) = self.api.replicated.current().audit().warning() else { return warnings };
        tracing::warn!(detail, "the audit log must be exported");
        let token = self.actor.as_ref().map(|actor| ResourceKey::global(Kind::Token, actor.name.clone()));
        warnings.extend(token.map(|key| Warning { key, field: "audit".to_owned(), detail }));
        warnings
    }

    /// Replicates a command.
    pub(crate) async fn propose_body(&self, body: CommandBody) -> Result<Accepted, Problem> {
        let command = self.command_of(body, self.idempotency_key()?);
        let version = self.api.replicated.version_for(&command).await?;
        let state = self.api.replicated.current();
        self.replicate(admit(command, version, self.writer, Seal { state: &state, by: &*self.api.sealing })?)
            .await
    }

    async fn replicate(&self, admitted: Admitted) -> Result<Accepted, Problem> {
        match self.api.replicated.replicate(admitted).await? {
            Outcome::Accepted(accepted) => {
                tracing::info!(
                    revision = accepted.revision,
                    changes = accepted.changes.len(),
                    "change accepted"
                );
                Ok(accepted)
            }
            Outcome::Rejected(problem) => Err(problem),
        }
    }
}

/// Handlers take the call that the way of every request made.
impl<S: Sync> FromRequestParts<S> for Call {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.remove().expect("every route goes by the one way, which makes the call"))
    }
}

/// The organization that a path is about: the owner of resources, or the Organization itself.
fn organization_of<'a>(operation: &Operation, path: &'a [(String, String)]) -> Option<&'a str> {
    let parameter = operation.rule?.parameter();
    path.iter().find(|(name, _)| name == parameter).map(|(_, value)| value.as_str())
}

/// Whether changes have private data in the clear.
fn has_text(changes: &[Change]) -> bool {
    changes.iter().filter_map(|change| change.action.spec()).any(Spec::has_private_text)
}

/// Whether the query sets a flag.
fn is_set(query: &[(String, String)], flag: &str) -> bool {
    query.iter().any(|(name, value)| name == flag && value != "false")
}

fn check_query(operation: &Operation, query: &[(String, String)]) -> Result<(), Problem> {
    let parameters = &operation.parameters;
    for (index, (name, value)) in query.iter().enumerate() {
        let at = format!("query: {name}");
        let Some(parameter) = parameters.iter().find(|parameter| parameter.name == *name) else {
            let known: Vec<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
            let remedy = if known.is_empty() { "none is known here".to_owned() } else { known.join(", ") };
            return Err(bad_request(format!("the query parameter {name:?} is not known"))
                .at(at)
                .remedy(format!("known here: {remedy}")));
        };
        if query[..index].iter().any(|(earlier, _)| earlier == name) {
            return Err(bad_request(format!("the query parameter {name:?} is given twice"))
                .at(at)
                .remedy("give it once"));
        }
        let sound = match parameter.form {
            Form::Text => true,
            Form::Number(least, most) => {
                value.bytes().all(|byte| byte.is_ascii_digit())
                    && value.parse().is_ok_and(|number: u64| (least..=most).contains(&number))
            }
            Form::Flag => matches!(value.as_str(), "" | "true" | "false"),
        };
        if !sound {
            let form = match parameter.form {
                Form::Flag => "true or false".to_owned(),
                Form::Number(least, most) if most < u64::MAX => {
                    format!("a whole number from {least} to {most}")
                }
                Form::Number(..) | Form::Text => "a whole number".to_owned(),
            };
            return Err(bad_request(format!("{value:?} is not {form}"))
                .at(at)
                .remedy(format!("give {form}")));
        }
    }
    Ok(())
}

/// Reads `k=v,k=v`.
fn parse_labels(parameter: &str, text: &str) -> Result<Labels, Problem> {
    let refuse = |detail: String| {
        bad_request(detail).at(format!("query: {parameter}")).remedy("write labels as key=value,key=value")
    };
    let mut labels = Labels::default();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| refuse(format!("{pair:?} has no \"=\"")))?;
        if labels.0.insert(key.to_owned(), value.to_owned()).is_some_and(|other| other != value) {
            return Err(refuse(format!("the label {key:?} is given two values")));
        }
    }
    labels.check().map_err(|error| refuse(error.to_string()))?;
    Ok(labels)
}

/// Refuses a revision that `state`, which a leader confirmed to be the latest, does not have.
pub(crate) fn check_exists(parameter: &str, revision: Revision, state: &State) -> Result<(), Problem> {
    if revision <= state.revision() {
        return Ok(());
    }
    let detail = format!("revision {revision} does not exist yet; the latest is {}", state.revision());
    let remedy = "ask for the revision that a write answered with";
    Err(invalid(detail).at(format!("query: {parameter}")).remedy(remedy))
}
