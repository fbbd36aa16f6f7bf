//! Policy.

use super::{Verdict, cors, header};
use crate::kinds::PolicySpec;

pub(super) fn check(spec: &PolicySpec) -> Verdict {
    if let Some(headers) = &spec.headers {
        for (direction, rules) in [("request", &headers.request), ("response", &headers.response)] {
            if let Some(rules) = rules {
                header::check_rules(&format!("headers.{direction}"), rules)?;
            }
        }
    }
    spec.cors.as_ref().map_or(Ok(()), cors::check)
}
