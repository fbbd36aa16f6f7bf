//! Lists, page by page.

use axum::{Extension, response::Response};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hanse_management::{Kind, Problem, ResourceKey};
use hanse_state::{Resource, State};
use hanse_topology::Name;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::{
    answer,
    call::{CONSISTENCY, Call, MIN_REVISION},
    names::not_found,
    rejection::{Rejection, bad_request},
};

/// What fits on a few screens.
const DEFAULT_LIMIT: u64 = 100;
/// A page that has come to this size ends there: it is followed by another one.
const PAGE_BYTES: usize = 4 << 20;

/// Lists {kind} resources by name
///
/// A page speaks of the revision it names. The next page may speak of a later one: it then holds what is behind the last name
/// of this page at that time.
#[utoipa::path(get, path = "/v1/organizations/{organization}/{kinds}", operation_id = "list{kind}", extensions(("x-hanse-access" = json!("list {kind}"))),
    params(
        // A page is built in memory.
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000,
            description = "Resources per page: 1 to 1000, default 100"),
        ("continue" = Option<String>, Query, description = "The `continue` of the page before"),
        ("labels" = Option<String>, Query, description = "Only resources with all these labels: `k=v,k=v`"),
        ("consistency" = Option<String>, Query, description = CONSISTENCY),
        ("min_revision" = Option<u64>, Query, description = MIN_REVISION)),
    responses((status = 200, body = ref("#/components/schemas/{kind}List"), description = "A page")))]
pub(crate) async fn list(Extension(kind): Extension<Kind>, call: Call) -> Result<Response, Rejection> {
    let organization = if kind.is_global() { None } else { Some(call.name("organization")?) };
    let limit = call.number("limit").unwrap_or(DEFAULT_LIMIT);
    let labels = call.labels("labels")?;
    let after =
        call.text("continue").map(|token| Cursor::read(token, kind, organization.as_ref())).transpose()?;
    let state = call.read_state().await?;
    if let Some(organization) = &organization {
        let owner = ResourceKey::global(Kind::Organization, organization.clone());
        state.get(&owner).ok_or_else(|| not_found(&owner, &state, call.bounds_of_sight()))?;
    }
    let limit = usize::try_from(limit).expect("at most 1000");
    let (seen, last_uses) = (call.clone(), call.api.last_uses.clone());
    let write = move || {
        let organization = organization.as_ref();
        let shows = |resource: &Resource| {
            seen.may_read(&resource.key) && resource.metadata.labels.contains_all(&labels)
        };
        let shown = |resource: &Resource| last_uses.shown(resource, answer::Resource::from(resource));
        (state.revision(), page(&state, kind, organization, after, limit, shows, shown))
    };
    Ok(call.answer_text(StatusCode::OK, write).await?)
}

/// An [`answer::Page`], written resource by resource, so that no more than one is a tree at a time.
fn page(
    state: &State,
    kind: Kind,
    organization: Option<&Name>,
    after: Option<Name>,
    limit: usize,
    shows: impl Fn(&Resource) -> bool,
    shown: impl Fn(&Resource) -> answer::Resource,
) -> Vec<u8> {
    let mut rest = match after {
        None => Box::new(state.list(kind, organization)) as Box<dyn Iterator<Item = _>>,
        Some(name) => {
            let after = ResourceKey { kind, organization: organization.cloned(), name };
            Box::new(state.list_after(kind, organization, after))
        }
    }
    .filter(|resource| shows(resource))
    .peekable();
    let mut text = b"{\"items\":[".to_vec();
    let mut items = 0;
    let mut last = None;
    while items < limit
        && text.len() < PAGE_BYTES
        && let Some(resource) = rest.next()
    {
        if items > 0 {
            text.push(b',');
        }
        serde_json::to_writer(&mut text, &shown(resource)).expect("an answer has string keys only");
        items += 1;
        last = Some(&resource.key.name);
    }
    text.extend_from_slice(format!("],\"revision\":{}", state.revision()).as_bytes());
    if let (Some(last), Some(_)) = (last, rest.peek()) {
        // Its alphabet needs no escapes.
        text.extend_from_slice(
            format!(",\"continue\":\"{}\"", Cursor::write(kind, organization, last)).as_bytes(),
        );
    }
    text.push(b'}');
    text
}

/// What a `continue` token holds. Callers must not look inside.
#[derive(Serialize, Deserialize)]
struct Cursor {
    kind: Kind,
    organization: Option<Name>,
    after: Name,
}

impl Cursor {
    fn write(kind: Kind, organization: Option<&Name>, after: &Name) -> String {
        let cursor = Self { kind, organization: organization.cloned(), after: after.clone() };
        let json = serde_json::to_vec(&cursor).expect("a cursor is plain strings");
        BASE64_URL_SAFE_NO_PAD.encode(json)
    }

    fn read(token: &str, kind: Kind, organization: Option<&Name>) -> Result<Name, Problem> {
        let cursor = BASE64_URL_SAFE_NO_PAD
            .decode(token)
            .ok()
            .and_then(|json| serde_json::from_slice::<Self>(&json).ok())
            .filter(|cursor| cursor.kind == kind && cursor.organization.as_ref() == organization);
        cursor.map(|cursor| cursor.after).ok_or_else(|| {
            bad_request("this is no continue token of this list")
                .at("query: continue")
                .remedy("send the `continue` of the page before unchanged, or start again without it")
        })
    }
}
