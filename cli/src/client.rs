//! The operator API as the client commands see it.

mod answer;
mod dump;
mod exchange;
pub(crate) mod tls;
mod watch;

use answer::Answer;
pub(crate) use answer::part_of;
pub(crate) use dump::{DumpLine, Dumping};
use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};
pub(crate) use watch::{Said, Watch};

use anyhow::Context as _;
use bytes::Bytes;
use hanse_api::answer::{
    Applied, ApplyRequest, Audit, AuditDropped, AuditLink, Convergence, Decision, Deleted, DropAudit,
    FailoverHistory, FederationKey, FederationKeyRotated, FinalizeRequest, Finalized, Members, Page,
    PlanReadiness, Proposal, Proposals, RecoveryKeySet, Rejected, Resource, Revocation, RootSettled, Roots,
    Rotation, SetRecoveryKey, Status, Upgrade, WhoAmI,
};
use hanse_management::{Kind, ProblemName, ResourceKey};
use hanse_topology::Name;
use http::Method;
use hyper::body::Incoming;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    client_config::{ClientConfig, Places},
    exit::Failure,
};

/// The largest request body the operator API takes.
pub(crate) const MAX_BODY_BYTES: usize = 16 << 20;
/// The most items a page has.
const PAGE_LIMIT: u32 = 1000;

/// Said of an answer with `--stale` that may be older than an earlier one.
const RESTARTED: &str =
    "note: the node was restarted and has not caught up; it may have shown later changes before";

/// A federation's operator API.
#[derive(Debug)]
pub(crate) struct Client {
    http: exchange::HttpClient,
    /// The organization of resources that name none.
    pub(crate) organization: Name,
    /// The configuration's file: `dev.json` may lie beside it.
    pub(crate) config_path: PathBuf,
    /// The federation's root certificate.
    pub(crate) ca_file: PathBuf,
    restarted: AtomicBool,
}

impl Client {
    /// The client of this process's configuration.
    pub(crate) fn of_process(config: Option<PathBuf>, organization: Option<Name>) -> anyhow::Result<Self> {
        let path = Places::of_process(config).locate()?;
        let config = ClientConfig::load(&path)?;
        let mut client = Self::new(config, path)?;
        if let Some(organization) = organization {
            client.organization = organization;
        }
        Ok(client)
    }

    /// A client of a configuration that was read from `config_path`.
    pub(crate) fn new(config: ClientConfig, config_path: PathBuf) -> anyhow::Result<Self> {
        let tls = tls::client_config(&config.ca_file)?;
        let http = exchange::HttpClient::new(&config.servers, &config.token, &config_path, tls)?;
        let (organization, ca_file) = (config.organization, config.ca_file);
        Ok(Self { http, organization, config_path, ca_file, restarted: AtomicBool::new(false) })
    }

    /// The key of `name` of `kind`, in this client's organization where the kind has one.
    pub(crate) fn key(&self, kind: Kind, name: Name) -> ResourceKey {
        let organization = if kind.is_global() { None } else { Some(self.organization.clone()) };
        ResourceKey { kind, organization, name }
    }

    /// One resource, in its envelope. A missing one is a [`Failure`] with exit code 4.
    pub(crate) async fn get(&self, key: &ResourceKey, stale: bool) -> anyhow::Result<Resource> {
        let path = format!("{}{}", resource_path(key), if stale { "?consistency=stale" } else { "" });
        self.read(&path).await?.read()
    }

    /// One resource, or `None` where there is none.
    pub(crate) async fn find(&self, key: &ResourceKey) -> anyhow::Result<Option<Resource>> {
        match self.get(key, false).await {
            Ok(resource) => Ok(Some(resource)),
            Err(error) if problem_of(&error) == Some(ProblemName::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All resources of a kind, page after page, as one page.
    pub(crate) async fn list(&self, kind: Kind, stale: bool) -> anyhow::Result<Page> {
        self.labelled(kind, None, stale).await
    }

    async fn list_of(&self, kind: Kind, query: &str) -> anyhow::Result<Page> {
        self.list_in(kind, (!kind.is_global()).then_some(&self.organization), query).await
    }

    /// All resources of a kind in an organization that have this label.
    pub(crate) async fn labelled_in(
        &self,
        kind: Kind,
        organization: Option<&Name>,
        label: &str,
    ) -> anyhow::Result<Vec<Resource>> {
        let label: String = url::form_urlencoded::byte_serialize(label.as_bytes()).collect();
        Ok(self.list_in(kind, organization, &format!("&labels={label}")).await?.items)
    }

    async fn list_in(&self, kind: Kind, organization: Option<&Name>, query: &str) -> anyhow::Result<Page> {
        let collection = collection_path(kind, organization);
        let first = format!("{collection}?limit={PAGE_LIMIT}{query}");
        let mut listed: Page = self.read(&first).await?.read()?;
        while let Some(token) = listed.next.take() {
            let token: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
            let page: Page = self.read(&format!("{first}&continue={token}")).await?.read()?;
            listed.items.extend(page.items);
            // The oldest: everything shown is at least that new.
            listed.revision = listed.revision.min(page.revision);
            listed.next = page.next;
        }
        Ok(listed)
    }

    /// Applies manifests (in JSON), all or none.
    pub(crate) async fn apply(
        &self,
        resources: &[Value],
        options: &ApplyOptions<'_>,
    ) -> anyhow::Result<Applied> {
        self.request(&ApplyRequest::of(resources.to_vec()), options).await
    }

    /// Makes all changes of a request, or none.
    pub(crate) async fn request(
        &self,
        request: &ApplyRequest,
        options: &ApplyOptions<'_>,
    ) -> anyhow::Result<Applied> {
        self.send_apply(request, options, None).await?.read()
    }

    /// Keeps the changes of a request for the approval of a second owner.
    pub(crate) async fn propose(
        &self,
        request: &ApplyRequest,
        options: &ApplyOptions<'_>,
        reason: &str,
    ) -> anyhow::Result<Proposal> {
        self.send_apply(request, options, Some(reason)).await?.read()
    }

    async fn send_apply(
        &self,
        request: &ApplyRequest,
        options: &ApplyOptions<'_>,
        propose: Option<&str>,
    ) -> anyhow::Result<Answer> {
        let body = serde_json::to_vec(request).context("writing the request")?;
        check_size(body.len())?;
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("organization", self.organization.as_str());
        if options.dry_run {
            query.append_pair("dryRun", "true");
        }
        if options.force_grants {
            query.append_pair("forceGrants", "true");
        }
        if let Some(selector) = options.prune {
            query.append_pair("prune", "true").append_pair("selector", selector);
        }
        if let Some(reason) = propose {
            query.append_pair("propose", reason);
        }
        let path = format!("/v1/apply?{}", query.finish());
        // What is pruned depends on what is there: the API takes no key with it, and doing it twice is doing it once.
        let once = options.prune.is_none().then(new_key);
        self.http.send(Method::POST, &path, Some(Bytes::from(body)), once.as_deref()).await
    }

    /// All resources of a kind, or those that have these labels.
    pub(crate) async fn labelled(
        &self,
        kind: Kind,
        labels: Option<&str>,
        stale: bool,
    ) -> anyhow::Result<Page> {
        let mut query = if stale { "&consistency=stale" } else { "" }.to_owned();
        if let Some(labels) = labels {
            query += "&labels=";
            query.extend(url::form_urlencoded::byte_serialize(labels.as_bytes()));
        }
        self.list_of(kind, &query).await
    }

    /// Changes of these kinds after a revision, as they happen.
    pub(crate) async fn watch(&self, kinds: &[Kind], from: u64) -> anyhow::Result<Watch> {
        let kinds: Vec<_> = kinds.iter().map(|kind| kind.plural()).collect();
        let path = format!("/v1/watch?from={from}&kinds={}", kinds.join(","));
        Ok(Watch::of(self.open(&path).await?))
    }

    /// Deletes one resource.
    pub(crate) async fn delete(&self, key: &ResourceKey, force_grants: bool) -> anyhow::Result<Deleted> {
        let query = if force_grants { "?forceGrants=true" } else { "" };
        let path = format!("{}{query}", resource_path(key));
        self.http.send(Method::DELETE, &path, None, Some(&new_key())).await?.read()
    }

    /// Says what would go with one resource and all that needs it, and deletes nothing.
    pub(crate) async fn try_delete(&self, key: &ResourceKey, force_grants: bool) -> anyhow::Result<Deleted> {
        let force = if force_grants { "&forceGrants=true" } else { "" };
        let path = format!("{}?dryRun=true&cascade=true{force}", resource_path(key));
        self.http.send(Method::DELETE, &path, None, None).await?.read()
    }

    async fn read(&self, path: &str) -> anyhow::Result<Answer> {
        let answer = self.http.send(Method::GET, path, None, None).await?;
        self.restarted.fetch_or(answer.restarted, Ordering::Relaxed);
        Ok(answer)
    }

    /// A stream.
    async fn open(&self, path: &str) -> anyhow::Result<Incoming> {
        let response = self.http.open(path).await?;
        self.restarted.fetch_or(answer::is_restarted(response.headers()), Ordering::Relaxed);
        Ok(response.into_body())
    }

    /// What there is to say if something read so far came from a node that was restarted and may have shown more before.
    pub(crate) fn restart_note(&self) -> Option<&'static str> {
        self.restarted.load(Ordering::Relaxed).then_some(RESTARTED)
    }

    /// Who serves a revision.
    pub(crate) async fn convergence(&self, revision: u64) -> anyhow::Result<Convergence> {
        self.read(&format!("/v1/convergence?revision={revision}")).await?.read()
    }

    /// The latest revision: every write acknowledged before is in it.
    pub(crate) async fn latest_revision(&self) -> anyhow::Result<u64> {
        Ok(self.latest_convergence().await?.revision)
    }

    /// Who serves the latest revision.
    pub(crate) async fn latest_convergence(&self) -> anyhow::Result<Convergence> {
        self.read("/v1/convergence").await?.read()
    }

    /// Who takes part.
    pub(crate) async fn members(&self) -> anyhow::Result<Members> {
        self.read("/v1/members").await?.read()
    }

    /// Refuses an identity, and keys with it; answers with the state's revision after it, and all keys that are refused.
    pub(crate) async fn revoke(&self, identity: &str, keys: &[String]) -> anyhow::Result<(u64, Vec<String>)> {
        let mut path = revocation_path(identity);
        if !keys.is_empty() {
            let keys: String = url::form_urlencoded::byte_serialize(keys.join(",").as_bytes()).collect();
            path = format!("{path}?keys={keys}");
        }
        let answer = self.http.send(Method::PUT, &path, None, Some(&new_key())).await?;
        let revision = answer.revision()?;
        let revocation: Revocation = answer.read()?;
        Ok((revision, revocation.revoked_keys.unwrap_or_default()))
    }

    /// Lifts a revocation; answers with the state's revision after it.
    pub(crate) async fn readmit(&self, identity: &str) -> anyhow::Result<u64> {
        let path = revocation_path(identity);
        self.http.send(Method::DELETE, &path, None, Some(&new_key())).await?.revision()
    }

    /// The roots of trust.
    pub(crate) async fn roots(&self) -> anyhow::Result<Roots> {
        self.read("/v1/roots").await?.read()
    }

    /// Has another root believed; answers with it.
    pub(crate) async fn trust_root(&self, rotation: String) -> anyhow::Result<RootSettled> {
        let body = serde_json::to_vec(&Rotation { rotation }).context("writing JSON")?;
        self.http.send(Method::POST, "/v1/roots", Some(body.into()), Some(&new_key())).await?.read()
    }

    /// Has certificates come from a root; answers with the state's revision after it.
    pub(crate) async fn use_root(&self, root: &str, force: bool) -> anyhow::Result<u64> {
        let path = format!("/v1/roots/{root}/issuing{}", forced(force));
        self.http.send(Method::PUT, &path, None, Some(&new_key())).await?.revision()
    }

    /// Has a root believed no more; answers with the state's revision after it.
    pub(crate) async fn drop_root(&self, root: &str, force: bool) -> anyhow::Result<u64> {
        let path = format!("/v1/roots/{root}{}", forced(force));
        self.http.send(Method::DELETE, &path, None, Some(&new_key())).await?.revision()
    }

    /// The versions of the federation key.
    pub(crate) async fn federation_key(&self) -> anyhow::Result<FederationKey> {
        self.read("/v1/federation-key").await?.read()
    }

    /// Asks for another version of the federation key.
    pub(crate) async fn rotate_federation_key(&self) -> anyhow::Result<FederationKeyRotated> {
        let path = "/v1/federation-key/rotate";
        self.http.send(Method::POST, path, None, Some(&new_key())).await?.read()
    }

    /// Sets the recovery key.
    pub(crate) async fn set_recovery_key(&self, key: &SetRecoveryKey) -> anyhow::Result<RecoveryKeySet> {
        let body = serde_json::to_vec(key).context("writing JSON")?;
        self.http.send(Method::PUT, "/v1/recovery-key", Some(body.into()), Some(&new_key())).await?.read()
    }

    /// Where an upgrade stands.
    pub(crate) async fn upgrade(&self) -> anyhow::Result<Upgrade> {
        self.read("/v1/upgrade").await?.read()
    }

    /// Puts the next version, which is this one, in force.
    pub(crate) async fn finalize(&self, version: u32) -> anyhow::Result<Finalized> {
        let body = serde_json::to_vec(&FinalizeRequest { version }).context("writing JSON")?;
        let path = "/v1/upgrade/finalize";
        self.http.send(Method::POST, path, Some(body.into()), Some(&new_key())).await?.read()
    }

    /// A part of the audit log, from an entry on; `None`: the oldest that is kept.
    pub(crate) async fn audit(&self, from: Option<u64>, limit: u64) -> anyhow::Result<Audit> {
        let from = from.map(|from| format!("&from={from}")).unwrap_or_default();
        self.read(&format!("/v1/audit?limit={limit}{from}")).await?.read()
    }

    /// Drops the entries of the audit log up to one.
    pub(crate) async fn drop_audit(&self, last: &AuditLink) -> anyhow::Result<AuditDropped> {
        let request = DropAudit { through: last.number, hash: last.hash.clone() };
        let body = serde_json::to_vec(&request).context("writing JSON")?;
        self.http.send(Method::POST, "/v1/audit/drop", Some(body.into()), Some(&new_key())).await?.read()
    }

    /// The proposals that wait for an approval.
    pub(crate) async fn proposals(&self) -> anyhow::Result<Proposals> {
        self.read("/v1/approvals").await?.read()
    }

    /// A proposal, and what it does.
    pub(crate) async fn proposal(&self, number: u64) -> anyhow::Result<Proposal> {
        self.read(&format!("/v1/approvals/{number}")).await?.read()
    }

    /// Makes the changes of a proposal.
    pub(crate) async fn approve(&self, number: u64) -> anyhow::Result<Applied> {
        let path = format!("/v1/approvals/{number}/approve");
        self.http.send(Method::POST, &path, None, Some(&new_key())).await?.read()
    }

    /// Drops a proposal.
    pub(crate) async fn reject(&self, number: u64, reason: Option<&str>) -> anyhow::Result<Rejected> {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if let Some(reason) = reason {
            query.append_pair("reason", reason);
        }
        let path = format!("/v1/approvals/{number}/reject?{}", query.finish());
        self.http.send(Method::POST, &path, None, Some(&new_key())).await?.read()
    }

    /// Decides something about a FailoverPlan: `failover`, `failback`, `freeze`, `unfreeze`; or keeps it for a second owner.
    pub(crate) async fn decide(
        &self,
        plan: &Name,
        what: &str,
        request: &impl Serialize,
        propose: bool,
    ) -> anyhow::Result<Decided<Decision>> {
        self.post_decision(&format!("/v1/failover-plans/{plan}/{what}"), request, propose).await
    }

    /// Drains a region or ends that: `drain`, `undrain`; or keeps it for a second owner.
    pub(crate) async fn drain(
        &self,
        region: &Name,
        what: &str,
        request: &impl Serialize,
        propose: bool,
    ) -> anyhow::Result<Decided<Applied>> {
        self.post_decision(&format!("/v1/regions/{region}/{what}"), request, propose).await
    }

    async fn post_decision<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
        propose: bool,
    ) -> anyhow::Result<Decided<T>> {
        let body = serde_json::to_vec(request).context("writing JSON")?;
        let path = format!("{path}{}", if propose { "?propose=true" } else { "" });
        let answer = self.http.send(Method::POST, &path, Some(body.into()), Some(&new_key())).await?;
        Ok(if propose { Decided::Proposed(Box::new(answer.read()?)) } else { Decided::Made(answer.read()?) })
    }

    /// Which regions of a FailoverPlan could take over.
    pub(crate) async fn plan_readiness(&self, plan: &Name) -> anyhow::Result<PlanReadiness> {
        self.read(&format!("/v1/failover-plans/{plan}/readiness")).await?.read()
    }

    /// What was decided about a FailoverPlan.
    pub(crate) async fn failover_history(&self, plan: &Name) -> anyhow::Result<FailoverHistory> {
        self.read(&format!("/v1/failover-plans/{plan}/history")).await?.read()
    }

    /// What the token is, and what it allows.
    pub(crate) async fn whoami(&self) -> anyhow::Result<WhoAmI> {
        self.read("/v1/whoami").await?.read()
    }

    /// The federation at a glance.
    pub(crate) async fn status(&self) -> anyhow::Result<Status> {
        self.read("/v1/status").await?.read()
    }
}

/// An idempotency key: with it the API does a write once, however often it arrives.
fn new_key() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

/// What became of a decision.
#[derive(Debug)]
pub(crate) enum Decided<T> {
    /// It holds.
    Made(T),
    /// It waits for a second owner.
    Proposed(Box<Proposal>),
}

/// How to apply.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ApplyOptions<'a> {
    /// Say what would happen only.
    pub(crate) dry_run: bool,
    /// Delete what matches these labels and is not among the manifests.
    pub(crate) prune: Option<&'a str>,
    /// Accept what Bindings lose to HostGrants.
    pub(crate) force_grants: bool,
}

/// Refuses a body that the API would refuse, before it is sent.
pub(crate) fn check_size(bytes: usize) -> Result<(), Failure> {
    if bytes <= MAX_BODY_BYTES {
        return Ok(());
    }
    let (is, limit) = (mebibytes(bytes as u64), mebibytes(MAX_BODY_BYTES as u64));
    Err(Failure::input(format!("the request would be {is}; the limit is {limit}"))
        .remedy("split it over several files and apply them one by one"))
}

/// A size for people.
pub(crate) fn mebibytes(bytes: u64) -> String {
    // One decimal, without floats.
    let tenths = bytes.saturating_mul(10).div_ceil(1 << 20);
    if tenths.is_multiple_of(10) {
        format!("{} MiB", tenths / 10)
    } else {
        format!("{}.{} MiB", tenths / 10, tenths % 10)
    }
}

/// The control plane's name for what is wrong, if it said so.
pub(crate) fn problem_of(error: &anyhow::Error) -> Option<ProblemName> {
    error.chain().find_map(|cause| cause.downcast_ref::<Failure>()).and_then(|failure| failure.problem)
}

fn collection_path(kind: Kind, organization: Option<&Name>) -> String {
    match organization {
        Some(organization) => format!("/v1/organizations/{organization}/{}", kind.plural()),
        None => format!("/v1/{}", kind.plural()),
    }
}

fn forced(force: bool) -> &'static str {
    if force { "?force=true" } else { "" }
}

fn revocation_path(identity: &str) -> String {
    let segment: String = url::form_urlencoded::byte_serialize(identity.as_bytes()).collect();
    format!("/v1/revocations/{segment}")
}

fn resource_path(key: &ResourceKey) -> String {
    format!("{}/{}", collection_path(key.kind, key.organization.as_ref()), key.name)
}

#[cfg(test)]
pub(crate) mod tests;
