//! The CORS protocol (Fetch standard, section 3.2).

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::check::{Verdict, header, invalid};

/// The longest time a preflight may be remembered: browsers cut off at a day or less.
const MAX_AGE_SECONDS: u64 = 86_400;
const ANY: &str = "*";

/// The CORS protocol (Fetch standard, §3.2): preflights are answered by the gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct CorsSpec {
    /// `*` or origins such as `https://app.example.com`.
    pub origins: Vec<String>,
    /// Methods allowed; empty: those the path has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Request headers allowed; `*`: every header that a preflight asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// Response headers scripts may read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expose_headers: Vec<String>,
    /// Whether cookies and the like may be sent; not with origin `*`.
    pub credentials: bool,
    /// How long a browser may remember a preflight, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<u64>,
}

impl CorsSpec {
    pub(super) fn check(&self) -> Verdict {
        if self.origins.is_empty() {
            return Err(invalid("cors.origins", "it allows no origin", "name origins, or \"*\" for all"));
        }
        for (at, origin) in self.origins.iter().enumerate() {
            check_origin(&format!("cors.origins[{at}]"), origin, self)?;
        }
        for (at, method) in self.methods.iter().enumerate() {
            if !header::is_token(method) || method.bytes().any(|byte| byte.is_ascii_lowercase()) {
                return Err(invalid(
                    format_args!("cors.methods[{at}]"),
                    format!("{method:?} is not a method"),
                    "write methods in capitals, as in GET; leave the list empty for those the path has",
                ));
            }
        }
        for (list, names) in [("headers", &self.headers), ("exposeHeaders", &self.expose_headers)] {
            for (at, name) in names.iter().enumerate() {
                header::check_name(format_args!("cors.{list}[{at}]"), name)?; // "*" is a token too
            }
        }
        match self.max_age_seconds {
            Some(age) if age > MAX_AGE_SECONDS => Err(invalid(
                "cors.maxAgeSeconds",
                format!("{age} is more than a day, {MAX_AGE_SECONDS}, which no browser heeds"),
                "choose a shorter time",
            )),
            Some(_) | None => Ok(()),
        }
    }
}

fn check_origin(field: &str, origin: &str, spec: &CorsSpec) -> Verdict {
    if origin == ANY {
        if spec.credentials {
            return Err(invalid(
                "cors.credentials",
                "any site could act with its visitors' credentials: browsers refuse this with the origin \"*\"",
                "name the origins, or leave credentials out",
            ));
        }
        if spec.origins.len() > 1 {
            return Err(invalid(
                field,
                "\"*\" allows all origins already",
                "keep \"*\" alone, or leave it out",
            ));
        }
        return Ok(());
    }
    // A URL's origin, spelled as browsers spell it, is the whole of it.
    let spelled = Url::parse(origin).ok().map(|url| url.origin()).filter(url::Origin::is_tuple);
    match spelled.map(|spelled| spelled.ascii_serialization()) {
        Some(spelled) if spelled == origin => Ok(()),
        Some(spelled) => Err(invalid(
            field,
            format!("{origin:?} is not an origin as browsers send it"),
            format!("write {spelled:?}"),
        )),
        None => Err(invalid(
            field,
            format!("{origin:?} is not an origin"),
            "write scheme and host, as in https://app.example.com",
        )),
    }
}
