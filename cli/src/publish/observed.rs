//! What is there: the Api, the Bindings, and what they use.

use std::collections::BTreeMap;

use anyhow::Context as _;
use hanse_api::answer::{Expected, Resource};
use hanse_management::{
    Kind, Spec,
    kinds::{ApiRevisionSpec, ApiSpec, BindingSpec, OperationSpec, RevisionRef, UpstreamSpec},
};
use hanse_topology::{Labels, Name};
use serde::Deserialize;
use serde_json::{Value, json};

/// A resource that was read, with its spec as this version knows it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found<T> {
    /// The revision of its last change.
    pub(crate) revision: u64,
    /// Its labels.
    pub(crate) labels: Labels,
    /// What it says.
    pub(crate) spec: T,
}

/// A spec of one kind.
pub(crate) trait Part: Sized {
    /// The kind.
    const KIND: Kind;
    /// Out of the spec of that kind.
    fn of(spec: Spec) -> Option<Self>;
}

macro_rules! part {
    ($($kind:ident $spec:ty),*) => {
        $(impl Part for $spec {
            const KIND: Kind = Kind::$kind;
            fn of(spec: Spec) -> Option<Self> {
                if let Spec::$kind(spec) = spec { Some(spec) } else { None }
            }
        })*
    };
}

part!(Api ApiSpec, ApiRevision ApiRevisionSpec, Binding BindingSpec, Upstream UpstreamSpec);

impl<T: Part> Found<T> {
    /// Reads a resource. One with fields of a later version is refused: writing it back would lose them.
    pub(crate) fn read(resource: &Resource) -> anyhow::Result<Self> {
        let spec = Spec::from_json(T::KIND, &resource.spec).ok().and_then(T::of);
        let spec = spec.with_context(|| {
            format!(
                "{} {} cannot be read; are client and server of one version?",
                resource.kind, resource.name
            )
        })?;
        Ok(Self { revision: resource.revision, labels: resource.labels.clone(), spec })
    }
}

/// A Binding.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bound {
    /// Its name.
    pub(crate) name: Name,
    /// The revision of its last change.
    pub(crate) revision: u64,
    /// Its labels.
    pub(crate) labels: Labels,
    /// What it says.
    pub(crate) spec: BindingSpec,
    /// The regions it runs in.
    pub(crate) regions: Vec<Name>,
    /// The number of the ApiRevision that it serves.
    pub(crate) serving: Option<u64>,
    /// Those it served, the present one last.
    pub(crate) served: Vec<u64>,
}

/// What the server says of a Binding.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    serving: Option<u64>,
    served: Vec<u64>,
}

impl Bound {
    /// Reads a Binding; `regions_of` tells the regions that a spec picks.
    pub(crate) fn read(
        resource: &Resource,
        regions_of: impl Fn(&BindingSpec) -> Vec<Name>,
    ) -> anyhow::Result<Self> {
        let name = Name::new(&resource.name)?;
        let Found { revision, labels, spec } = Found::<BindingSpec>::read(resource)?;
        let status = resource.status.clone().unwrap_or_else(|| json!({}));
        let Status { serving, served } = serde_json::from_value(status).context("reading a status")?;
        Ok(Self { name, revision, labels, regions: regions_of(&spec), spec, serving, served })
    }

    /// The highest number that it served, if that is above what it serves.
    pub(crate) fn rolled_back_from(&self) -> Option<u64> {
        let highest = self.served.iter().copied().max()?;
        Some(highest).filter(|highest| self.serving.is_some_and(|serving| serving < *highest))
    }

    /// The highest number that it served below the present one.
    pub(crate) fn before(&self) -> Option<u64> {
        let now = self.serving?;
        self.served.iter().copied().filter(|served| *served < now).max()
    }

    /// Whether it moves with each new revision.
    pub(crate) fn follows_latest(&self) -> bool {
        matches!(self.spec.revision, RevisionRef::Latest(_))
    }

    /// The Binding with another spec, as a manifest that holds at the revision read.
    pub(crate) fn put(&self, organization: &Name, spec: BindingSpec) -> Value {
        manifest(organization, &self.name, spec.into(), &self.labels, self.revision)
    }

    /// That it is as it was read. A Binding that follows `latest` moves without a change of its own: where it is written, the
    /// number that it serves must be expected, too.
    pub(crate) fn expected(&self, organization: &Name, serves: Option<u64>) -> Expected {
        let expected = expected(organization, Kind::Binding, &self.name, self.revision);
        Expected { api_revision: serves, ..expected }
    }
}

/// What is there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    /// The Api, if it exists.
    pub(crate) api: Option<Found<ApiSpec>>,
    /// The number of its latest ApiRevision.
    pub(crate) latest: Option<u64>,
    /// All Bindings of the organization: those of another Api may use an Upstream that is written.
    pub(crate) bindings: Vec<Bound>,
    /// The Upstreams that were looked for and exist.
    pub(crate) upstreams: BTreeMap<Name, Found<UpstreamSpec>>,
    /// The ApiRevisions that were looked for, by number.
    pub(crate) revisions: BTreeMap<u64, Found<ApiRevisionSpec>>,
    /// The regions of each Environment.
    pub(crate) environments: BTreeMap<Name, Vec<Name>>,
}

impl Observed {
    /// The Bindings of an Api in an Environment.
    pub(crate) fn bindings_in(&self, api: &Name, environment: &Name) -> Vec<&Bound> {
        let is_meant = |bound: &&Bound| bound.spec.api == *api && bound.spec.environment == *environment;
        self.bindings.iter().filter(is_meant).collect()
    }

    /// The operations that a Binding serves; of a Binding that serves nothing, none.
    pub(crate) fn operations_of(&self, bound: Option<&Bound>) -> &[OperationSpec] {
        let served = bound.and_then(|bound| self.served_by(bound));
        served.map(|revision| revision.spec.operations.as_slice()).unwrap_or_default()
    }

    /// The ApiRevision that a Binding serves, if it was looked for.
    pub(crate) fn served_by(&self, bound: &Bound) -> Option<&ApiRevisionSpec> {
        self.revisions.get(&bound.serving?).map(|found| &found.spec)
    }
}

/// That a resource is at a revision.
pub(super) fn expected(organization: &Name, kind: Kind, name: &Name, revision: u64) -> Expected {
    Expected {
        kind: kind.as_str().to_owned(),
        organization: Some(organization.to_string()),
        name: name.to_string(),
        revision,
        api_revision: None,
    }
}

/// A resource to put, holding at a revision. 0: it must not exist.
pub(super) fn manifest(
    organization: &Name,
    name: &Name,
    spec: Spec,
    labels: &Labels,
    revision: u64,
) -> Value {
    json!({
        "kind": spec.kind().as_str(), "organization": organization, "name": name, "labels": labels,
        "spec": spec.to_json(), "revision": revision,
    })
}
