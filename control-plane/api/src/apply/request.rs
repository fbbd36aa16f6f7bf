//! The body of an apply.

use hanse_management::{
    Problem,
    manifest::{self, Manifest},
};
use hanse_topology::Name;

use crate::{
    body::{self, Format},
    rejection::bad_request,
};

/// The resources in the body, in its order.
pub(super) fn read(format: Format, bytes: &[u8], organization: &Name) -> Result<Vec<Manifest>, Problem> {
    let manifests = match format {
        Format::Yaml => manifest::parse_yaml(body::text(bytes)?, organization)?,
        Format::Json => manifest::parse_json(bytes, organization)?,
    };
    if manifests.is_empty() {
        let problem = bad_request("the request has no resources");
        return Err(problem
            .remedy("send {\"resources\": [{\"kind\": …, \"name\": …, \"spec\": {…}}]} or YAML documents"));
    }
    Ok(manifests)
}
