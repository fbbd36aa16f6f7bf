//! The body of an apply.

use hanse_management::{
    Problem,
    manifest::{self, Request},
};
use hanse_topology::Name;

use crate::{
    body::{self, Format},
    rejection::bad_request,
};

/// What the body asks for, in its order.
pub(super) fn read(format: Format, bytes: &[u8], organization: &Name) -> Result<Request, Problem> {
    let request = match format {
        Format::Yaml => Request {
            resources: manifest::parse_yaml(body::text(bytes)?, organization)?,
            ..Request::default()
        },
        Format::Json => manifest::parse_request(bytes, organization)?,
    };
    if request.resources.is_empty() && request.delete.is_empty() {
        let problem = bad_request("the request has no resources");
        return Err(problem
            .remedy("send {\"resources\": [{\"kind\": …, \"name\": …, \"spec\": {…}}]} or YAML documents"));
    }
    Ok(request)
}
