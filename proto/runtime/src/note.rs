//! The note of a Route: callers get it in a header. Only the test release has it.

use hanse_proto::runtime;

use crate::{Policy, Unusable};

/// The header that carries it.
const HEADER: &str = "hanse-note";

/// The Route's policies. One more sets the header, if the Route has a note.
pub(crate) fn with_policies(route: &runtime::Route) -> Result<Vec<Policy>, Unusable> {
    let mut policies = route.policies.clone();
    if !route.note.is_empty() {
        let header = runtime::Header { name: HEADER.to_owned(), value: route.note.clone() };
        let rules = runtime::HeaderRules { set: vec![header], ..Default::default() };
        policies.push(runtime::Policy { response_headers: Some(rules), ..Default::default() });
    }
    Policy::all(&policies)
}
