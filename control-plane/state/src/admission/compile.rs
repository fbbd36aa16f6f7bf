//! Whether gateways can use what is made of a spec.

use hanse_management::{Kind, Problem, ProblemName, ResourceKey, Spec};
use hanse_runtime::{ResourceKind, Unusable};

use crate::{Version, projection};

/// Compiles what scopes get of a spec while `version` is in force.
#[expect(clippy::disallowed_methods, reason = "the command is not proposed yet")]
pub(super) fn check(key: &ResourceKey, spec: &Spec, version: Version) -> Result<(), Problem> {
    for (kind, bytes) in projection::by_itself(key, spec, version) {
        hanse_runtime::check(kind, &bytes).map_err(|unusable| refused(key, kind, &unusable))?;
    }
    Ok(())
}

fn refused(key: &ResourceKey, kind: ResourceKind, Unusable { field, reason }: &Unusable) -> Problem {
    let field = management_field(key.kind, field);
    let field = match (key.kind, kind) {
        (Kind::ApiRevision, ResourceKind::Upstream) => format!("upstreams: {field}"),
        (Kind::ApiRevision, _) => format!("spec.{field}"),
        _written_by_operators => field,
    };
    if key.kind == Kind::Secret {
        return Problem::new(ProblemName::Invalid, format!("it could not be used: it {reason}"))
            .at(format!("{key}: spec.{field}"))
            .remedy("give it in PEM, as OpenSSL writes it");
    }
    let remedy = if field.ends_with(".caBundle") {
        "give PEM certificates that a TLS library can read: -----BEGIN CERTIFICATE----- …"
    } else if field.ends_with(".url") {
        "write it as http://host:port/base, in ASCII"
    } else {
        "write a value that gateways can use"
    };
    Problem::new(ProblemName::Invalid, format!("gateways could not use it: {reason}"))
        .at(format!("{key}: spec.{field}"))
        .remedy(remedy)
}

/// The field of the spec that a field of the runtime resource is made of: `security.api_key.header` is
/// `security.apiKey.header`. The name of a header stays as it was written.
fn management_field(kind: Kind, field: &str) -> String {
    // A Policy by itself is the first of a Route that has nothing else.
    let field = match kind {
        Kind::Policy => field.strip_prefix("policies[0].").unwrap_or(field),
        _ => field,
    };
    let name = [".set.", ".add."].iter().find_map(|list| field.find(list));
    let (field, name) = field.split_at(name.unwrap_or(field.len()));
    field.split('.').map(management_part).collect::<Vec<_>>().join(".") + name
}

fn management_part(part: &str) -> String {
    match part {
        "ca_pem" => "tls.caBundle".to_owned(),
        "server_name" => "tls.serverName".to_owned(),
        "request_headers" => "headers.request".to_owned(),
        "response_headers" => "headers.response".to_owned(),
        "statuses" => "on".to_owned(),
        "period_seconds" => "rate.per".to_owned(),
        "max_ejected_percent" => "maxEjected".to_owned(),
        _ => camel_case(part.strip_suffix("_ms").unwrap_or(part)),
    }
}

fn camel_case(snake: &str) -> String {
    let mut words = snake.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut text, word| {
        let mut letters = word.chars();
        text.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        text.push_str(letters.as_str());
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_named_as_operators_write_them() {
        for (kind, runtime, management) in [
            (Kind::Api, "security.api_key.header", "security.apiKey.header"),
            (Kind::Api, "operations[3].path", "operations[3].path"),
            (Kind::Policy, "policies[0].request_headers.set.X_a.b_ms", "headers.request.set.X_a.b_ms"),
            (Kind::Policy, "policies[0].response_headers.remove[1]", "headers.response.remove[1]"),
            (Kind::Policy, "policies[0].cors.expose_headers", "cors.exposeHeaders"),
            (Kind::Upstream, "ca_pem", "tls.caBundle"),
            (Kind::Upstream, "server_name", "tls.serverName"),
            (Kind::Upstream, "health_check.interval_ms", "healthCheck.interval"),
            (Kind::Upstream, "ejection.base_time_ms", "ejection.baseTime"),
            (Kind::Upstream, "ejection.max_ejected_percent", "ejection.maxEjected"),
            (Kind::Upstream, "endpoints[2].url", "endpoints[2].url"),
            (Kind::Environment, "hostnames[0]", "hostnames[0]"),
        ] {
            assert_eq!(management_field(kind, runtime), management);
        }
    }
}
