//! The schemas: every kind's envelope around its spec, and the API's own answers.

use hanse_management::{Kind, ProblemName, schemas_of};
use hanse_topology::Labels;
use utoipa::openapi::{
    Components, Ref, RefOr, Schema,
    schema::{ArrayBuilder, KnownFormat, ObjectBuilder, OneOfBuilder, SchemaFormat, Type},
};

use crate::Convergence;

/// Every schema there is.
pub(super) fn components() -> Components {
    let mut components = Components::new();
    let schemas = &mut components.schemas;
    for kind in Kind::ALL {
        schemas.extend(kind.schemas());
        schemas.insert(kind.as_str().to_owned(), envelope(kind).into());
        schemas.insert(list_name(kind), list(kind).into());
    }
    schemas.extend(schemas_of::<Labels>());
    schemas.extend(schemas_of::<Convergence>());
    let own = [
        ("Problem", problem()),
        ("Change", change()),
        ("ScopeEffect", scope_effect()),
        ("ApplyRequest", apply_request()),
        ("Applied", applied()),
        ("Deleted", deleted()),
        ("Status", status()),
        ("Members", listed(member())),
        ("Revocations", listed(revocation())),
        ("Revocation", revocation().into()),
        ("Readmitted", settled("identity", "Who")),
        ("Roots", listed(root())),
        ("Rotation", rotation()),
        ("RootSettled", settled("root", "Which root")),
    ];
    schemas.extend(own.map(|(name, schema)| (name.to_owned(), schema.into())));
    components
}

/// A reference to a schema.
pub(super) fn schema_ref(name: impl Into<String>) -> Ref {
    Ref::from_schema_name(name)
}

/// The schema of a kind's list.
pub(super) fn list_name(kind: Kind) -> String {
    format!("{}List", kind.as_str())
}

fn spec_name(kind: Kind) -> String {
    format!("{}Spec", kind.as_str())
}

fn text(what: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(what))
}

fn flag(what: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Boolean).description(Some(what))
}

/// A whole number from 0 on.
pub(super) fn number(what: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(0))
        .description(Some(what))
}

fn moment(what: &str) -> ObjectBuilder {
    text(what).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
}

fn array_of(items: impl Into<RefOr<Schema>>) -> ArrayBuilder {
    ArrayBuilder::new().items(items.into())
}

fn object() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Object)
}

/// A kind, an owner and a name.
fn identified(kind: Option<Kind>) -> ObjectBuilder {
    let kinds = kind.map_or_else(|| Kind::ALL.to_vec(), |kind| vec![kind]);
    let mut object = object()
        .property("kind", text("What it is").enum_values(Some(kinds.iter().map(|kind| kind.as_str()))))
        .required("kind")
        .property("name", text("Its name: a DNS label"))
        .required("name");
    if kinds.iter().any(|kind| !kind.is_global()) {
        object = object.property("organization", text("Its owner; kinds that are not global have one"));
    }
    object
}

fn envelope(kind: Kind) -> Schema {
    let server_owned = |builder: ObjectBuilder| builder.read_only(true);
    identified(Some(kind))
        .property("labels", schema_ref("Labels"))
        .property("spec", schema_ref(spec_name(kind)))
        .required("spec")
        .property("revision", number("The revision of its last change: its ETag"))
        .property("createdAt", server_owned(moment("When it was first written")))
        .property("updatedAt", server_owned(moment("When it was last changed")))
        .property("status", server_owned(object().description(Some("What the server knows beside the spec"))))
        .into()
}

fn list(kind: Kind) -> Schema {
    object()
        .property("items", array_of(schema_ref(kind.as_str())))
        .required("items")
        .property("revision", number("The revision this page was read at"))
        .required("revision")
        .property("continue", text("For the next page; absent on the last"))
        .into()
}

fn problem() -> Schema {
    let names = ProblemName::ALL.map(|name| format!("urn:hanse:problem:{}", name.as_str()));
    object()
        .property("type", text("Which kind of problem; see docs/problems.md").enum_values(Some(names)))
        .required("type")
        .property("title", text("The kind in words"))
        .required("title")
        .property("status", number("The HTTP status"))
        .required("status")
        .property("detail", text("What happened"))
        .required("detail")
        .property("field", text("Where in the request"))
        .property("remedy", text("What to do"))
        .into()
}

fn change() -> Schema {
    let actions = hanse_state::ChangeResult::ACTIONS;
    identified(None)
        .property("action", text("What happened to it").enum_values(Some(actions)))
        .required("action")
        .property("revision", number("Its revision now; absent when deleted and in a dry run"))
        .into()
}

fn scope_effect() -> Schema {
    object()
        .property("region", text("The region"))
        .required("region")
        .property("environment", text("The environment"))
        .property("upserts", number("Runtime resources made or changed"))
        .required("upserts")
        .property("removals", number("Runtime resources removed"))
        .required("removals")
        .into()
}

fn apply_request() -> Schema {
    let any = OneOfBuilder::new();
    let any = Kind::ALL
        .into_iter()
        .filter(|kind| kind.is_writable())
        .fold(any, |any, kind| any.item(schema_ref(kind.as_str())));
    object().property("resources", array_of(Schema::OneOf(any.build()))).required("resources").into()
}

fn written() -> ObjectBuilder {
    object()
        .property("revision", number("The state's revision after the write"))
        .required("revision")
        .property("changes", array_of(schema_ref("Change")))
        .required("changes")
}

fn applied() -> Schema {
    written()
        .property("scopes", array_of(schema_ref("ScopeEffect")))
        .property("warnings", array_of(warning()))
        .property(
            "dryRun",
            flag("Present and true when nothing was written; `revision` is then the one it was tried on"),
        )
        .into()
}

fn warning() -> ObjectBuilder {
    object()
        .property("kind", text("Of a resource that was accepted although something of it does not hold yet"))
        .property("organization", text("Its organization; absent for global kinds"))
        .property("name", text("Its name"))
        .property("field", text("The field that does not hold yet"))
        .property("detail", text("What is not done"))
}

fn deleted() -> Schema {
    written().into()
}

fn quarantined() -> ObjectBuilder {
    object()
        .property("kind", text("Of the resource that the gateway cannot use as it received it"))
        .property("organization", text("Its organization; absent for global kinds"))
        .property("name", text("Its name; of an Upstream embedded in an ApiRevision, `REVISION/NAME`"))
        .property("environment", text("Where"))
        .property("field", text("The part at fault, as in the runtime schema"))
        .property("reason", text("What is wrong with it"))
        .property("lastGood", flag("Whether the gateway goes on with an earlier version"))
        .property("since", number("The revision that made it so; absent where that is not known"))
}

fn status() -> Schema {
    let scopes = || {
        array_of(
            object()
                .property("scope", text("`runtime/REGION/ENVIRONMENT`"))
                .property("revision", number("The revision in use")),
        )
    };
    let node = object()
        .property("name", text("The node"))
        .property("role", text("`leader`, `voter` or `learner`"))
        .property("api", text("Its operator API"))
        .property("matched", number("The last log index known to be on it"))
        .property(
            "answered",
            flag("Present and false when it did not say what reports to it and that may be missing in `regions`"),
        );
    let heard = |builder: ObjectBuilder| {
        builder
            .property("name", text("Its name"))
            .property("connected", flag("Whether it has a stream now"))
            .property("heardMsAgo", number("Milliseconds since something was heard from it"))
            .property("scopes", scopes())
    };
    let gateway = heard(object())
        .property("agent", text("The agent that reported it last"))
        .property("revision", number("The revision it serves in all its scopes; absent before that"))
        .property("quarantined", array_of(quarantined()))
        .property("quarantinedTotal", number("How many there are; the first 64 of each scope are named"));
    let region = object()
        .property("name", text("The region"))
        .property("agents", array_of(heard(object())))
        .property("gateways", array_of(gateway));
    let partial = object()
        .property("agent", text("The agent"))
        .property("region", text("Its region"))
        .property("leftOut", number("How many of its gateways are not known"))
        .property("heardMsAgo", number("Milliseconds since something was heard from it"));
    let duplicate = object()
        .property("name", text("The name that two processes have"))
        .property("region", text("The region"))
        .property("role", text("`agent` or `gateway`"))
        .property("seenAt", moment("When both were last known to run"));
    let lineage = object()
        .property("generation", number("Greater ones win"))
        .property("id", text("Tells two histories of one generation apart"));
    object()
        .property("lineage", lineage.description(Some("The history; absent before the first command")))
        .property("revision", number("This node's revision"))
        .property("leader", text("The leader's name, if known"))
        .property("node", text("The node that answers"))
        .property("term", number("Raft's term"))
        .property("quorum", flag("Whether this node is in contact with a leader that has a quorum"))
        .property("asOfAgeMs", number("Milliseconds since it last confirmed that"))
        .property("nodes", array_of(node))
        .property("regions", array_of(region))
        .property(
            "partial",
            array_of(partial).description(Some("Agents that have more gateways than their report takes; absent when there are none")),
        )
        .property(
            "duplicates",
            array_of(duplicate).description(Some(
                "Names that two processes have at once, for a data directory was copied; absent when there are none",
            )),
        )
        .into()
}

fn listed(item: ObjectBuilder) -> Schema {
    object()
        .property("items", array_of(item))
        .required("items")
        .property("revision", number("The state's revision"))
        .required("revision")
        .into()
}

fn revocation() -> ObjectBuilder {
    object()
        .property("identity", text("Who: `NAME.ROLE.REGION.hanse.internal`"))
        .required("identity")
        .property("revokedBy", text("Who revoked it, where it is revoked"))
        .property("revokedAt", moment("When"))
}

fn member() -> ObjectBuilder {
    revocation()
        .property("name", text("Its name"))
        .property("role", text("`server`, `agent` or `gateway`"))
        .property("region", text("Its region; control nodes have none"))
        .property(
            "token",
            text("The JoinToken it joined with; absent for the first control node and for gateways"),
        )
        .property("environments", array_of(text("An environment it may learn; none: all of its region's")))
        .property("connected", flag("Whether it has a stream now; absent where that is not known"))
}

fn root() -> ObjectBuilder {
    let identity =
        |what: &str| array_of(text(&format!("{what}: an identity, `NAME.ROLE.REGION.hanse.internal`")));
    object()
        .property("root", text("The SHA-256 of its public key, 64 hexadecimal digits"))
        .required("root")
        .property("issuing", flag("Whether certificates come from it"))
        .property("notAfter", moment("When it ends"))
        .property("certificate", text("Its certificate, PEM"))
        .property("trustedBy", text("Who had it believed; absent while the root was never replaced"))
        .property("trustedAt", moment("When"))
        .property("notBelievedBy", identity("Who said that it does not believe this root"))
        .property("shownBy", identity("Whose certificate comes from it"))
        .property("unknown", identity("Who did not say, as one that is off; each step waits for it"))
}

fn rotation() -> Schema {
    object()
        .property(
            "rotation",
            text("The file rotation.pem that `hanse root new` wrote: four certificates, PEM"),
        )
        .required("rotation")
        .into()
}

/// What a step was about, and the revision that it made.
fn settled(about: &str, what: &str) -> Schema {
    object()
        .property(about, text(what))
        .required(about)
        .property("revision", number("The state's revision after it"))
        .required("revision")
        .into()
}
