//! Base paths and path templates (RFC 3986, section 3.3; OpenAPI's templates).

use hanse_runtime::Template;

use super::{Verdict, invalid};
use crate::Problem;

/// The longest context or template: common servers take request lines of 8 KiB, and query and context need room.
pub(crate) const MAX_PATH_BYTES: usize = 2048;

/// The characters a context may have: `pchar` without percent-encoding, so that a context has one spelling.
fn is_path_char(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@".contains(character)
}

/// An Api's base path: `/`, or segments without templates and without a slash at the end.
pub(crate) fn check_context(field: &str, context: &str) -> Verdict {
    check_start(field, context)?;
    if context == "/" {
        return Ok(());
    }
    if context.ends_with('/') {
        return Err(invalid(
            field,
            format!("{context:?} ends with a slash"),
            format!("write {:?}", context.trim_end_matches('/')),
        ));
    }
    for segment in context[1..].split('/') {
        if segment.contains(['{', '}']) {
            return Err(invalid(
                field,
                format!("{segment:?} is a template: the base path is stripped as it stands"),
                "move the parameter into the paths of the operations",
            ));
        }
        check_segment(field, context, segment)?;
        if segment.contains(';') {
            return Err(invalid(
                field,
                format!("{segment:?} has parameters: gateways compare segments with a context without them"),
                "leave out the ';' and what follows it",
            ));
        }
        check_literal(field, segment)?;
    }
    Ok(())
}

/// The requests that a path template matches: equal for `/pets/{id}`, `/pets/{petId}` and `/%70ets/{id}`. Two operations of
/// one method and one shape are the same operation.
pub fn shape(path: &str) -> Result<Template, Problem> {
    check_template("path", path)
}

/// An operation's path template. The grammar is that of gateways, and knows what to write instead.
fn check_template(field: &str, path: &str) -> Result<Template, Problem> {
    check_length(field, path)?;
    Template::parse(path).map_err(|bad| invalid(field, bad.detail, bad.remedy))
}

/// Everything that is wrong with an operation's path template.
pub(crate) fn template_problems(field: &str, path: &str) -> Vec<Problem> {
    if let Err(too_long) = check_length(field, path) {
        return vec![too_long];
    }
    Template::problems(path).into_iter().map(|bad| invalid(field, bad.detail, bad.remedy)).collect()
}

fn check_start(field: &str, path: &str) -> Verdict {
    if !path.starts_with('/') {
        return Err(invalid(
            field,
            format!("{path:?} does not start with a slash"),
            format!("write {:?}", format!("/{path}")),
        ));
    }
    check_length(field, path)
}

fn check_length(field: &str, path: &str) -> Verdict {
    if path.len() > MAX_PATH_BYTES {
        let detail = format!("{} bytes are more than a path may have, {MAX_PATH_BYTES}", path.len());
        return Err(invalid(field, detail, "use a shorter path"));
    }
    Ok(())
}

fn check_segment(field: &str, path: &str, segment: &str) -> Verdict {
    match segment {
        "" => Err(invalid(
            field,
            format!("{path:?} has an empty segment"),
            "leave out the second of the two slashes",
        )),
        "." | ".." => Err(invalid(
            field,
            format!("{path:?} has the segment {segment:?}, which never arrives: clients resolve it"),
            "write the path it stands for",
        )),
        _ => Ok(()),
    }
}

fn check_literal(field: &str, literal: &str) -> Verdict {
    match literal.chars().find(|character| !is_path_char(*character)) {
        None => Ok(()),
        Some('?' | '#') => Err(invalid(
            field,
            format!("{literal:?} has a query or a fragment"),
            "keep to the path: the query is forwarded as it comes",
        )),
        Some(other) => Err(invalid(
            field,
            format!("{literal:?} has the character {other:?}, which a path may not have as it is"),
            "use letters, digits and -._~!$&'()*+,;=:@",
        )),
    }
}
