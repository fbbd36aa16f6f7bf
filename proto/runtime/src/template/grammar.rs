//! How path templates are written. The one grammar: admission refuses what it refuses, and gateways compile by it.
//!
//! No text is accepted that means something else elsewhere, such as `/users/:id`. A route that is served with another meaning is
//! worse than a refusal.

use super::{Greedy, Mixed, Tail, Template, TemplateSegment};
use crate::path::{self, BadPath};

/// Why a text is no path template, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct BadTemplate {
    /// What is wrong.
    pub detail: String,
    /// What to do.
    pub remedy: String,
}

fn bad(detail: impl Into<String>, remedy: impl Into<String>) -> BadTemplate {
    BadTemplate { detail: detail.into(), remedy: remedy.into() }
}

impl Template {
    /// Takes a template apart. `/` is one empty literal, and a final `/` is an empty last segment: nothing is folded.
    pub fn parse(text: &str) -> Result<Self, BadTemplate> {
        if !text.starts_with('/') {
            let remedy = format!("write {:?}", format!("/{text}"));
            return Err(bad(format!("{text:?} does not start with a slash"), remedy));
        }
        let parts = parts(text)?;
        parts.iter().try_for_each(|parts| check_segment(parts))?;
        check_example(text, &parts)?;
        let (parts, tail) = tail(&parts)?;
        let segments = parts.iter().map(|parts| segment(parts)).collect::<Result<_, _>>()?;
        Ok(Self { segments, tail })
    }
}

/// A part of a segment as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    Literal(&'a str),
    /// With its name.
    Parameter(&'a str),
}

impl Part<'_> {
    fn is_greedy(&self) -> bool {
        matches!(self, Part::Parameter(name) if name.ends_with('+'))
    }
}

/// The segments, each with its parts.
fn parts(text: &str) -> Result<Vec<Vec<Part<'_>>>, BadTemplate> {
    let mut segments = Vec::new();
    let mut rest = text;
    loop {
        let (literals, parameter) = rest.split_at(rest.find(['{', '}']).unwrap_or(rest.len()));
        for (at, literal) in literals.split('/').enumerate() {
            if at > 0 {
                segments.push(Vec::new());
            }
            if let Some(segment) = segments.last_mut()
                && !literal.is_empty()
            {
                segment.push(Part::Literal(literal));
            }
        }
        if parameter.is_empty() {
            return Ok(segments);
        }
        let named = parameter.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let Some((name, after)) = named else {
            let detail = format!("{text:?} has a brace without its pair");
            return Err(bad(detail, "write a parameter as {name}, and a brace itself as %7B or %7D"));
        };
        check_name(name)?;
        if let Some(segment) = segments.last_mut() {
            segment.push(Part::Parameter(name));
        }
        rest = after;
    }
}

/// A character of a plain name, as other systems have them.
fn is_of_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Names are for people: two parameters may have the same one. What other systems read into a name is refused.
fn check_name(name: &str) -> Result<(), BadTemplate> {
    let name = name.strip_suffix('+').unwrap_or(name);
    let plain = name.trim_matches(|character: char| !is_of_name(character));
    if let Some((own, _)) = name.split_once([':', '=', '(']) {
        let own = own.trim_matches(['*', '+', '/', '?']);
        let detail = format!("{{{name}}} has a pattern, and gateways do not check patterns of parameters");
        let remedy = format!("write {{{own}}}, or {{{own}+}} if it may have a '/'");
        return Err(bad(detail, remedy));
    }
    if name.starts_with(['+', '*']) || name.ends_with('*') {
        let detail = format!("{{{name}}} would be one segment, and no more");
        return Err(bad(
            detail,
            format!("write {{{plain}+}} for a parameter that takes the rest of the path"),
        ));
    }
    if let Some(remedy) = instead_of_operator(name, plain) {
        let detail = format!("{{{name}}} has an operator of URI templates, and gateways know none");
        return Err(bad(detail, remedy));
    }
    if name.trim().is_empty() || name.contains(['{', '/']) || name.chars().any(char::is_control) {
        return Err(bad(format!("{{{name}}} is a parameter without a proper name"), "name it, as in {id}"));
    }
    Ok(())
}

/// What to write instead of an operator of URI templates (RFC 6570), or of an optional parameter.
fn instead_of_operator(name: &str, plain: &str) -> Option<String> {
    if name.ends_with('?') {
        return Some(TWO_OPERATIONS.to_owned());
    }
    match name.chars().next()? {
        '?' | '&' | '#' => Some("leave it out: the query is forwarded as it comes".to_owned()),
        separator @ ('/' | '.') => {
            let each = plain.split(',').map(|name| format!("{separator}{{{name}}}"));
            Some(format!("write {}", each.collect::<String>()))
        }
        ';' | '=' | ',' | '!' | '|' | '@' => Some(format!("write {{{plain}}}")),
        _ => None,
    }
}

/// What to write instead of a part that need not be there.
const TWO_OPERATIONS: &str = "write two operations, one with the part and one without it";

/// A request as the template describes it would not be answered with 400.
fn check_example(text: &str, segments: &[Vec<Part<'_>>]) -> Result<(), BadTemplate> {
    let mut example = String::with_capacity(text.len());
    for segment in segments {
        example.push('/');
        example.extend(segment.iter().map(|part| match part {
            Part::Literal(literal) => literal,
            Part::Parameter(_) => "x",
        }));
    }
    path::canonical_request(&example).map(drop).map_err(|why| no_path(text, why))
}

fn no_path(text: &str, why: BadPath) -> BadTemplate {
    let remedy = match why {
        BadPath::DotSegment => "write the path it stands for",
        BadPath::EmptySegmentParameters => "write something before the ';'",
        BadPath::Backslash => "write / between segments",
        BadPath::Encoding => "write a percent sign as %25",
        BadPath::Overlong => "encode each character in its shortest form",
        BadPath::NotAbsolute => "begin with a slash",
    };
    bad(format!("gateways answer {text:?} with 400: {why}"), remedy)
}

/// The segments before the tail, and the tail.
fn tail<'a, 'b>(segments: &'b [Vec<Part<'a>>]) -> Result<(&'b [Vec<Part<'a>>], Option<Tail>), BadTemplate> {
    if let Some(at) = segments.iter().position(|parts| parts.iter().any(|part| part.is_greedy())) {
        let greedy = greedy(&segments[at..])?;
        return Ok((&segments[..at], Some(Tail::Greedy(greedy))));
    }
    match segments {
        [before @ .., last] if last.as_slice() == [Part::Literal("*")] => Ok((before, Some(Tail::Rest))),
        all => Ok((all, None)),
    }
}

/// A greedy parameter with the literals around it. The first of `segments` has it.
fn greedy(segments: &[Vec<Part<'_>>]) -> Result<Greedy, BadTemplate> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut name = None;
    for (at, parts) in segments.iter().enumerate() {
        if at > 0 {
            after.push(b'/');
        }
        for part in parts {
            match part {
                Part::Literal(text) if name.is_none() => before.extend(literal(text)?),
                Part::Literal(text) => after.extend(literal(text)?),
                Part::Parameter(greedy) if name.is_none() && part.is_greedy() => name = Some(greedy),
                Part::Parameter(other) => {
                    let greedy = name.unwrap_or(other);
                    let detail =
                        format!("{{{greedy}}} takes all that follows but literals, and {{{other}}} is none");
                    return Err(bad(
                        detail,
                        "let only literals follow it, as in {name+}/status, and none but literals be beside it",
                    ));
                }
            }
        }
    }
    Ok(Greedy::new(before.into(), after.into()))
}

/// Text that no segment may have, as a literal or as a parameter.
fn check_segment(parts: &[Part<'_>]) -> Result<(), BadTemplate> {
    let segment = written(parts);
    if segment.strip_prefix(':').is_some_and(|name| name.starts_with(is_of_name)) {
        let detail = format!("{segment:?} would be these characters, and no parameter");
        return Err(bad(detail, instead_of_colons(&segment)));
    }
    if let Some(typed) = segment.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'))
        && let name = typed.rsplit(':').next().unwrap_or(typed)
        && !name.is_empty()
        && typed.chars().all(|character| is_of_name(character) || character == ':')
    {
        let detail = format!("{segment:?} would be these characters, and no parameter");
        let plus = if typed.starts_with("path:") { "+" } else { "" };
        return Err(bad(detail, format!("write {{{name}{plus}}}, or %3C{typed}%3E for the characters")));
    }
    check_parentheses(&segment, parts)
}

/// A segment as it is written.
fn written(parts: &[Part<'_>]) -> String {
    let part = |part: &Part<'_>| match part {
        Part::Literal(text) => (*text).to_owned(),
        Part::Parameter(name) => format!("{{{name}}}"),
    };
    parts.iter().map(part).collect()
}

/// What to write instead of `:from-:to`, `:id(\d+)`, `:path*` or `:id?`.
fn instead_of_colons(segment: &str) -> String {
    let names = segment.split_once('(').map_or(segment, |(names, _)| names);
    let mut braced = String::new();
    for part in names.split(':').skip(1) {
        let (name, rest) = part.split_at(part.find(|other| !is_of_name(other)).unwrap_or(part.len()));
        braced += &match rest.chars().next() {
            _ if name.is_empty() => format!(":{rest}"),
            Some('?') => return TWO_OPERATIONS.to_owned(),
            Some('*' | '+') => format!("{{{name}+}}{}", &rest[1..]),
            _ => format!("{{{name}}}{rest}"),
        };
    }
    format!("write {braced}, or {} for the characters", names.replace(':', "%3A"))
}

fn segment(parts: &[Part<'_>]) -> Result<TemplateSegment, BadTemplate> {
    match parts {
        [] => Ok(TemplateSegment::Literal([].into())),
        [Part::Literal(text)] => literal(text).map(TemplateSegment::Literal),
        [Part::Parameter(_)] => Ok(TemplateSegment::Parameter),
        _ => mixed(parts).map(TemplateSegment::Mixed),
    }
}

/// `/a(/{id})`, `/a(.{format})` and `/(a|b)` mean "with or without" and "one of" to some systems. Other balanced parentheses are
/// plain characters, as in `/users('{id}')` and `/delta()`.
fn check_parentheses(segment: &str, parts: &[Part<'_>]) -> Result<(), BadTemplate> {
    let refused = |why: &str| {
        let remedy = format!("{TWO_OPERATIONS}; %28, %29 and %7C are the characters");
        Err(bad(format!("{segment:?} has {why}, and gateways know no optional parts and no choices"), remedy))
    };
    let mut open = 0_usize;
    for part in parts {
        let Part::Literal(text) = part else { continue };
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '(' if characters.peek().is_some_and(|next| ".:?".contains(*next)) => {
                    return refused("a parenthesis that begins a part or a pattern");
                }
                '(' => open += 1,
                ')' if open == 0 => return refused("a parenthesis without its pair"),
                ')' => open -= 1,
                '|' if open > 0 => return refused("a '|' within parentheses"),
                _ => {}
            }
        }
    }
    if open == 0 { Ok(()) } else { refused("a parenthesis without its pair") }
}

fn mixed(parts: &[Part<'_>]) -> Result<Mixed, BadTemplate> {
    let mut literals = vec![Box::default()];
    let mut after_parameter = false;
    for part in parts {
        match part {
            Part::Literal(text) => {
                if let Some(last) = literals.last_mut() {
                    *last = literal(text)?;
                }
                after_parameter = false;
            }
            Part::Parameter(name) => {
                if after_parameter {
                    let detail = format!(
                        "nothing is between {{{name}}} and the parameter before it: where one ends is not plain"
                    );
                    return Err(bad(detail, "put a literal between them, as in {base}...{head}"));
                }
                literals.push(Box::default());
                after_parameter = true;
            }
        }
    }
    Ok(Mixed::new(literals))
}

fn literal(text: &str) -> Result<Box<[u8]>, BadTemplate> {
    match text.chars().find(|character| matches!(character, '?' | '#' | '*') || character.is_control()) {
        None => {}
        Some('*') => {
            return Err(bad(
                format!("{text:?} has a '*', which is a segment of its own at the end only"),
                "write a parameter as {name}, and the character itself as %2A",
            ));
        }
        Some('?' | '#') => {
            return Err(bad(
                format!("{text:?} has a query or a fragment"),
                "keep to the path: the query is forwarded as it comes",
            ));
        }
        Some(control) => {
            return Err(bad(format!("{text:?} has the control character {control:?}"), "leave it out"));
        }
    }
    let octets = path::canonical(text).map_err(|why| no_path(text, why))?;
    Ok(octets.into_owned().into())
}
