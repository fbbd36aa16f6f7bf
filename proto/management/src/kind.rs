//! What a kind of management resource has to say, and the macro that makes the table of all kinds.

use hanse_topology::Name;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
};

use crate::{
    Claim, Column, Digest, Kind, Refer, ResourceKey,
    bound::{self, Bounded},
    check::Verdict,
    kinds::ApiSpec,
};

/// A kind of management resource, implemented by its spec in the kind's own file under `kinds/`.
///
/// Every item but [`PLURAL`](Self::PLURAL) has a default: a kind that has nothing to say says nothing. A kind's name is in the
/// table (`kinds.rs`).
pub trait ManagementKind: Clone + PartialEq + Serialize + DeserializeOwned + ToSchema {
    /// As in URLs: lower-case plural with hyphens.
    const PLURAL: &'static str;
    /// Whether resources of this kind belong to no organization.
    const GLOBAL: bool = false;
    /// Which code writes it.
    const WRITTEN: Written = Written::ByOperators;
    /// Whether the status changes only together with the resource's revision, which is its ETag.
    const ETAG_COVERS_STATUS: bool = true;

    /// The fields that the audit never shows, as JSON pointers below the spec; `*` is any one name.
    const SECRETS: &'static [&'static str] = &[];

    /// What its table has between the name and the revision.
    const COLUMNS: &'static [Column] = &[];
    /// The kinds whose description lists resources of this kind that refer to them.
    const SHOWN_WITH: &'static [ShownWith] = &[];

    /// Bounds of its schemas that [`check`](Self::check) enforces.
    fn bounds() -> Vec<Bounded> {
        Vec::new()
    }

    /// Checks what can be judged without looking at other resources.
    fn check(&self, _name: &Name) -> Verdict {
        Ok(())
    }

    /// Writes each value in its one form, before it is checked. A value that has none stays: the check refuses it.
    fn normalize(&mut self) {}

    /// Checks what depends on when it is written: `now_ms` is the state's time. Parses nothing: it runs on every node.
    fn check_time(&self, _now_ms: u64) -> Verdict {
        Ok(())
    }

    /// What is accepted although it does not hold yet: each field below `spec`, and what is not done.
    fn warnings(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Names every resource that this one refers to, in the order of its fields.
    fn references(&self, _refer: &mut Refer<'_>) {}

    /// What only one resource may have. `served` is the Api that a Binding serves, `None` for all other kinds. It is an
    /// argument because only the state knows which revision a Binding means; every other claim follows from the spec.
    fn claims(&self, _key: &ResourceKey, _served: Option<&ApiSpec>) -> Vec<Claim> {
        Vec::new()
    }

    /// Takes out of its JSON form what is never shown.
    fn redact(&self, shown: &mut Value) {
        if let Some(digest) = self.secret() {
            shown["digest"] = digest.shortened().into();
        }
    }

    /// The digest of its secret, in the field `digest`: shown shortened only.
    fn secret(&self) -> Option<&Digest> {
        None
    }

    /// The same, to be written.
    fn secret_mut(&mut self) -> Option<&mut Digest> {
        None
    }

    /// What is shown beside the spec.
    fn status(&self, _known: &Known<'_>) -> Option<Value> {
        None
    }
}

/// Which code writes resources of a kind. A dump has resources of all kinds, whichever code wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Operators write them, in manifests and by REST.
    ByOperators,
    /// The state machine makes them of other changes: an ApiRevision of a changed Api.
    ByApply,
    /// Only the handlers and the reconcilers of failover write them: they are decisions, such as a Failover.
    ByHandlers,
}

/// Resources of one kind are listed where one of another kind that they refer to is described.
#[derive(Debug, Clone, Copy)]
pub struct ShownWith {
    /// The kind that is described.
    pub kind: Kind,
    /// The field that refers to it, as a JSON pointer: a name or a list of names.
    pub field: &'static str,
    /// What the list is called.
    pub title: &'static str,
}

impl ShownWith {
    /// The field of a decision: it has the name of what it is about.
    pub const BY_NAME: &'static str = "/name";
}

/// What the server knows of a resource beside its spec.
#[derive(Debug, Clone, Default)]
pub struct Known<'a> {
    /// How often its secret was used.
    pub uses: u64,
    /// The first [`Known::USERS`] identities that used it.
    pub used_by: Vec<&'a str>,
    /// The number of the latest revision made of it.
    pub latest_revision: u64,
    /// The numbers of the last revisions that it served, the present one last.
    pub served: &'a [u64],
}

impl Known<'_> {
    /// How many of those who used a secret are shown: a page of a table; `uses` says how many there are.
    pub const USERS: usize = 64;
}

/// The schema of `T`, and those that it refers to, by name.
pub fn schemas_of<T: ToSchema>() -> Vec<(String, RefOr<Schema>)> {
    let mut found = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut found);
    found
}

/// The schemas of a kind's spec, with the bounds that hold.
pub(crate) fn schemas_of_spec<T: ManagementKind>() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = schemas_of::<T>();
    bound::describe(&mut schemas, &T::bounds());
    schemas
}

/// Makes [`Kind`](crate::Kind) and [`Spec`](crate::Spec) from the table of kinds, in order of dependency: what is referred to
/// comes first.
macro_rules! kinds {
    ($($(#[$meta:meta])* $kind:ident($spec:ident)),* $(,)?) => {
        /// A kind of management resource. The order is the order of dependency: what is referred to comes first.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum Kind {
            $(
                $(#[$meta])*
                #[doc = concat!("Its spec is [`", stringify!($spec), "`].")]
                $kind,
            )*
        }

        impl Kind {
            /// Every kind, in order of dependency.
            pub const ALL: [Kind; [$($(#[$meta])* stringify!($kind)),*].len()] = [$($(#[$meta])* Kind::$kind),*];

            /// As in a manifest's `kind`.
            pub const fn as_str(self) -> &'static str {
                match self { $($(#[$meta])* Self::$kind => stringify!($kind),)* }
            }

            /// As in URLs: lower-case plural with hyphens.
            pub const fn plural(self) -> &'static str {
                match self { $($(#[$meta])* Self::$kind => <$spec as ManagementKind>::PLURAL,)* }
            }

            /// Whether resources of this kind belong to no organization.
            pub const fn is_global(self) -> bool {
                match self { $($(#[$meta])* Self::$kind => <$spec as ManagementKind>::GLOBAL,)* }
            }

            /// Which code writes this kind.
            pub const fn written(self) -> Written {
                match self { $($(#[$meta])* Self::$kind => <$spec as ManagementKind>::WRITTEN,)* }
            }

            /// Whether operators may write this kind.
            pub const fn is_writable(self) -> bool {
                matches!(self.written(), Written::ByOperators)
            }

            /// Whether the status changes only together with the resource's revision, which is its ETag.
            pub const fn etag_covers_status(self) -> bool {
                match self { $($(#[$meta])* Self::$kind => <$spec as ManagementKind>::ETAG_COVERS_STATUS,)* }
            }

            /// What its table has between the name and the revision.
            pub const fn columns(self) -> &'static [Column] {
                match self { $($(#[$meta])* Self::$kind => <$spec as ManagementKind>::COLUMNS,)* }
            }

            /// The kinds whose description lists resources of this kind.
            pub const fn shown_with(self) -> &'static [ShownWith] {
                match self { $($(#[$meta])* Self::$kind => <$spec as ManagementKind>::SHOWN_WITH,)* }
            }

            /// The schema of its spec, and those that it refers to, by name.
            pub fn schemas(self) -> Vec<(String, RefOr<Schema>)> {
                match self { $($(#[$meta])* Self::$kind => schemas_of_spec::<$spec>(),)* }
            }
        }

        /// The spec of a resource, by kind.
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        #[serde(untagged)]
        pub enum Spec {
            $(
                $(#[$meta])*
                #[doc = concat!("Of kind ", stringify!($kind), ".")]
                $kind($spec),
            )*
        }

        impl Spec {
            /// The kind it belongs to.
            pub const fn kind(&self) -> Kind {
                match self { $($(#[$meta])* Self::$kind(_) => Kind::$kind,)* }
            }

            /// Reads the spec of a `kind` from JSON. The problem's `field` is a path that starts with `spec`.
            pub fn from_json(kind: Kind, value: &Value) -> Result<Self, Problem> {
                match kind { $($(#[$meta])* Kind::$kind => json::read(value).map(Self::$kind),)* }
            }

            /// Reads the spec of a `kind` from the bytes of its JSON form.
            pub fn from_json_bytes(kind: Kind, bytes: &[u8]) -> Result<Self, Problem> {
                let mut bytes = serde_json::Deserializer::from_slice(bytes);
                match kind { $($(#[$meta])* Kind::$kind => json::read(&mut bytes).map(Self::$kind),)* }
            }

            /// Its JSON form: the same for equal specs.
            pub fn to_json(&self) -> Value {
                match self { $($(#[$meta])* Self::$kind(spec) => json::value(spec),)* }
            }

            /// The bytes of its JSON form, without white space: the same for equal specs.
            pub fn to_json_bytes(&self) -> Vec<u8> {
                match self { $($(#[$meta])* Self::$kind(spec) => json::bytes(spec),)* }
            }

            /// How many bytes `to_json_bytes` gives.
            pub fn json_len(&self) -> usize {
                match self { $($(#[$meta])* Self::$kind(spec) => json::len(spec),)* }
            }

            /// Writes each value in its one form. Calls parsers of libraries: once, before a change is proposed.
            pub fn normalize(&mut self) {
                match self { $($(#[$meta])* Self::$kind(spec) => spec.normalize(),)* }
            }

            /// Checks what its kind demands of it; [`check()`](crate::check::check) checks everything.
            pub(crate) fn check(&self, name: &Name) -> Verdict {
                match self { $($(#[$meta])* Self::$kind(spec) => ManagementKind::check(spec, name),)* }
            }

            /// Checks what depends on when it is written; [`check_time()`](crate::check::check_time) names the resource.
            pub(crate) fn check_time(&self, now_ms: u64) -> Verdict {
                match self { $($(#[$meta])* Self::$kind(spec) => spec.check_time(now_ms),)* }
            }

            /// What is accepted although it does not hold yet: each field below `spec`, and what is not done.
            pub fn warnings(&self) -> Vec<(&'static str, String)> {
                match self { $($(#[$meta])* Self::$kind(spec) => spec.warnings(),)* }
            }

            /// Names every resource that it refers to, in the order of its fields.
            pub fn references(&self, refer: &mut Refer<'_>) {
                match self { $($(#[$meta])* Self::$kind(spec) => spec.references(refer),)* }
            }

            /// What only one resource may have and the one of this key and spec claims. `served`: see
            /// [`ManagementKind::claims`].
            pub fn claims(&self, key: &ResourceKey, served: Option<&ApiSpec>) -> Vec<Claim> {
                match self { $($(#[$meta])* Self::$kind(spec) => spec.claims(key, served),)* }
            }

            /// The digest of a secret, where the kind has one.
            pub fn secret(&self) -> Option<&Digest> {
                match self { $($(#[$meta])* Self::$kind(spec) => spec.secret(),)* }
            }

            /// The same, to be written.
            pub fn secret_mut(&mut self) -> Option<&mut Digest> {
                match self { $($(#[$meta])* Self::$kind(spec) => spec.secret_mut(),)* }
            }

            /// The fields that the audit never shows: see [`ManagementKind::SECRETS`].
            pub fn secrets(&self) -> &'static [&'static str] {
                match self { $($(#[$meta])* Self::$kind(_) => <$spec as ManagementKind>::SECRETS,)* }
            }

            /// What is shown beside the spec, where the kind has such a thing.
            pub fn status(&self, known: &Known<'_>) -> Option<Value> {
                match self { $($(#[$meta])* Self::$kind(spec) => spec.status(known),)* }
            }

            /// Its JSON form for people: without what is never shown.
            pub fn shown(&self) -> Value {
                let mut shown = self.to_json();
                match self { $($(#[$meta])* Self::$kind(spec) => spec.redact(&mut shown),)* }
                shown
            }
        }

        $($(#[$meta])* impl From<$spec> for Spec {
            fn from(spec: $spec) -> Self { Self::$kind(spec) }
        })*
    };
}

pub(crate) use kinds;
