//! What an import makes: Api, Upstream and Bindings, written in one change.

use std::{collections::HashMap, str::FromStr};

use hanse_api::answer::Resource;
use hanse_management::{
    Kind, Spec, Template,
    kinds::{
        ApiKeySpec, ApiSpec, BindingSpec, EndpointSpec, Lifecycle, Method, OperationSpec, Reach, RevisionRef,
        SecuritySpec, UpstreamSpec,
    },
    shape,
};
use hanse_topology::{InvalidName, Name, RegionSelector};
use serde_json::{Value, json};

use super::Imported;

/// How an imported API is to be published.
#[derive(Debug, Clone)]
pub(crate) struct Publication {
    /// The owner.
    pub(crate) organization: Name,
    /// The Api's name, and the Upstream's.
    pub(crate) name: Name,
    /// The whole base path.
    pub(crate) context: String,
    /// Where requests go.
    pub(crate) upstreams: Vec<UpstreamArg>,
    /// Where it is published.
    pub(crate) environments: Vec<Name>,
    /// Which of the environments' regions; empty: all.
    pub(crate) regions: Vec<Name>,
    /// Who may call; `None`: as before, or an API key when it is new.
    pub(crate) security: Option<SecuritySpec>,
}

/// `URL` or `REGION=URL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UpstreamArg {
    /// The region it serves; `None`: all.
    pub(crate) region: Option<Name>,
    /// Its URL.
    pub(crate) url: String,
}

impl FromStr for UpstreamArg {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.split_once('=') {
            Some((region, url)) if !region.contains(':') => {
                Ok(Self { region: Some(region.parse()?), url: url.to_owned() })
            }
            _ => Ok(Self { region: None, url: text.to_owned() }),
        }
    }
}

/// What is there already: an import updates it, and keeps what no document can say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Existing(pub(crate) Vec<Resource>);

impl Existing {
    fn find(&self, kind: Kind, name: &Name) -> Option<&Resource> {
        self.0.iter().find(|resource| resource.kind == kind.as_str() && resource.name == name.as_str())
    }

    /// The spec of a resource, if it is there and can be read by this version.
    fn spec(&self, kind: Kind, name: &Name) -> Option<Spec> {
        Spec::from_json(kind, &self.find(kind, name)?.spec).ok()
    }
}

impl Publication {
    /// The name of the Binding into `environment`.
    pub(crate) fn binding_name(&self, environment: &Name) -> Result<Name, InvalidName> {
        Name::new(format!("{}-{environment}", self.name))
    }

    /// Every resource an import writes.
    pub(crate) fn keys(&self) -> Result<Vec<(Kind, Name)>, InvalidName> {
        let mut keys = vec![(Kind::Upstream, self.name.clone()), (Kind::Api, self.name.clone())];
        for environment in &self.environments {
            keys.push((Kind::Binding, self.binding_name(environment)?));
        }
        Ok(keys)
    }

    /// The resources to apply, as manifests. What exists keeps its labels; an existing Api keeps its hosts, policies,
    /// lifecycle and limits, and each operation that stays keeps what an operator added to it. A change made meanwhile by
    /// another writer is not overwritten: manifests name the revision they replace.
    pub(crate) fn resources(
        &self,
        imported: &Imported,
        existing: &Existing,
    ) -> Result<Vec<Value>, InvalidName> {
        let mut resources = vec![
            self.manifest(&self.name, self.upstream(existing), existing),
            self.manifest(&self.name, self.api(imported, existing), existing),
        ];
        for environment in &self.environments {
            let spec = BindingSpec {
                api: self.name.clone(),
                revision: RevisionRef::default(),
                environment: environment.clone(),
                regions: RegionSelector { names: self.regions.clone(), ..RegionSelector::default() },
                upstream: None,
                reach: Reach::default(),
            };
            resources.push(self.manifest(&self.binding_name(environment)?, spec.into(), existing));
        }
        Ok(resources)
    }

    fn api(&self, imported: &Imported, existing: &Existing) -> Spec {
        let mut spec = match existing.spec(Kind::Api, &self.name) {
            Some(Spec::Api(spec)) => spec,
            _ => ApiSpec {
                context: String::new(),
                version: String::new(),
                hosts: Vec::new(),
                operations: Vec::new(),
                security: ApiKeySpec::default().into(),
                policies: Vec::new(),
                lifecycle: Lifecycle::default(),
                upstream: None,
                max_body_bytes: None,
                #[cfg(feature = "next")]
                note: None,
            },
        };
        spec.context.clone_from(&self.context);
        spec.version.clone_from(&imported.version);
        spec.upstream = Some(self.name.clone());
        spec.operations = merged(&imported.operations, std::mem::take(&mut spec.operations));
        if let Some(security) = &self.security {
            spec.security = security.clone();
        }
        spec.into()
    }

    fn upstream(&self, existing: &Existing) -> Spec {
        let endpoints = self.upstreams.iter().map(|upstream| EndpointSpec {
            url: upstream.url.clone(),
            region: upstream.region.clone(),
            environment: None,
            weight: 1,
        });
        let endpoints: Vec<_> = endpoints.collect();
        match existing.spec(Kind::Upstream, &self.name) {
            Some(Spec::Upstream(spec)) => UpstreamSpec { endpoints, ..spec }.into(),
            _ => Spec::from_json(Kind::Upstream, &json!({"endpoints": endpoints}))
                .expect("endpoints are all an upstream needs"),
        }
    }

    fn manifest(&self, name: &Name, spec: Spec, existing: &Existing) -> Value {
        let kind = spec.kind();
        let mut manifest = json!({"kind": kind.as_str(), "name": name, "organization": self.organization, "spec": spec.to_json()});
        // Revision 0: nothing of that name may have come meanwhile.
        manifest["revision"] = 0.into();
        if let Some(existing) = existing.find(kind, name) {
            manifest["labels"] = json!(existing.labels);
            manifest["revision"] = existing.revision.into();
        }
        manifest
    }
}

/// The document's operations with what an operator had added to the same ones.
fn merged(imported: &[OperationSpec], kept: Vec<OperationSpec>) -> Vec<OperationSpec> {
    let mut kept: HashMap<_, OperationSpec> =
        kept.into_iter().map(|operation| (requests_of(&operation), operation)).collect();
    imported
        .iter()
        .map(|operation| match kept.remove(&requests_of(operation)) {
            Some(own) => OperationSpec {
                id: operation.id.clone().or(own.id.clone()),
                path: operation.path.clone(),
                ..own
            },
            None => operation.clone(),
        })
        .collect()
}

/// What makes an operation the same: the requests that it matches. A path that cannot be used is itself alone.
fn requests_of(operation: &OperationSpec) -> (Method, Result<Template, String>) {
    (operation.method, shape(&operation.path).map_err(|_| operation.path.clone()))
}
