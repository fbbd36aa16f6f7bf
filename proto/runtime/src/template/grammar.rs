//! How path templates are written. The one grammar: admission refuses what it refuses, and gateways compile by it.
//!
//! No text is accepted that means something else elsewhere, such as `/users/:id`. A route that is served with another meaning is
//! worse than a refusal.

use std::borrow::Cow;

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

fn bad_template(detail: impl Into<String>, remedy: impl Into<String>) -> BadTemplate {
    BadTemplate { detail: detail.into(), remedy: remedy.into() }
}

impl Template {
    /// Takes a template apart. `/` is one empty literal, and a final `/` is an empty last segment: nothing is folded.
    pub fn parse(text: &str) -> Result<Self, BadTemplate> {
        Self::read(text).map_err(|mut bad| bad.swap_remove(0))
    }

    /// Everything that is wrong with a text that is no template.
    pub fn problems(text: &str) -> Vec<BadTemplate> {
        Self::read(text).err().unwrap_or_default()
    }

    /// A template, or at least one reason why it is none.
    fn read(text: &str) -> Result<Self, Vec<BadTemplate>> {
        let mut bad = Vec::new();
        let mut path = Cow::Borrowed(text);
        if !text.starts_with('/') {
            path.to_mut().insert(0, '/');
            bad.push(bad_template(
                format!("{text:?} does not start with a slash"),
                format!("write {path:?}"),
            ));
        }
        let mut segments = parts(&path, &mut bad)?;
        let is_greedy = segments.iter().flatten().any(|part| part.is_greedy());
        let last = segments.len().saturating_sub(1);
        for (at, parts) in segments.iter_mut().enumerate() {
            if !is_greedy && at == last && is_rest(parts) {
                continue;
            }
            let faults = check_segment(parts);
            if !faults.is_empty() {
                bad.extend(faults);
                // No fault is told twice, in other words.
                parts.retain(Part::is_greedy);
                parts.push(Part::Literal("x"));
            }
        }
        bad.extend(check_example(text, &segments).err());
        bad.extend(check_greedy(&segments).err());
        if !bad.is_empty() {
            return Err(bad);
        }
        Self::of(&segments).map_err(|why| vec![no_path(text, why)])
    }

    /// Of segments that have been checked.
    fn of(segments: &[Vec<Part<'_>>]) -> Result<Self, BadPath> {
        let (before, tail) = tail(segments)?;
        let segments = before.iter().map(|parts| segment(parts)).collect::<Result<_, _>>()?;
        Ok(Self { segments, tail })
    }
}

/// A part of a segment as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    Literal(&'a str),
    Parameter {
        /// With its `+`.
        name: &'a str,
        is_greedy: bool,
    },
}

impl Part<'_> {
    fn is_greedy(&self) -> bool {
        matches!(self, Part::Parameter { is_greedy: true, .. })
    }
}

/// The segments, each with its parts. Names at fault are added to `bad`. A brace without its pair ends the reading.
fn parts<'a>(text: &'a str, bad: &mut Vec<BadTemplate>) -> Result<Vec<Vec<Part<'a>>>, Vec<BadTemplate>> {
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
            let remedy = "write a parameter as {name}, and a brace itself as %7B or %7D";
            bad.push(bad_template(detail, remedy));
            return Err(std::mem::take(bad));
        };
        let fault = check_name(name).err();
        if let Some(segment) = segments.last_mut() {
            segment.push(Part::Parameter { name, is_greedy: fault.is_none() && name.ends_with('+') });
        }
        bad.extend(fault);
        // A pattern may have braces of its own: `{id:[0-9]{3}}`.
        rest = name.matches('{').fold(after, |rest, _| rest.split_once('}').map_or(rest, |(_, rest)| rest));
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
        return Err(bad_template(detail, remedy));
    }
    if name.starts_with(['+', '*']) || name.ends_with('*') {
        let detail = format!("{{{name}}} would be one segment, and no more");
        return Err(bad_template(
            detail,
            format!("write {{{plain}+}} for a parameter that takes the rest of the path"),
        ));
    }
    if let Some(remedy) = instead_of_operator(name, plain) {
        let detail = format!("{{{name}}} has an operator of URI templates, and gateways know none");
        return Err(bad_template(detail, remedy));
    }
    if name.trim().is_empty() || name.contains(['{', '/']) || name.chars().any(char::is_control) {
        return Err(bad_template(
            format!("{{{name}}} is a parameter without a proper name"),
            "name it, as in {id}",
        ));
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
            Part::Parameter { .. } => "x",
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
    bad_template(format!("gateways answer {text:?} with 400: {why}"), remedy)
}

/// A segment that is the rest of a path where it is the last one.
fn is_rest(parts: &[Part<'_>]) -> bool {
    parts == [Part::Literal("*")]
}

/// The segments before the tail, and the tail.
fn tail<'a, 'b>(segments: &'b [Vec<Part<'a>>]) -> Result<(&'b [Vec<Part<'a>>], Option<Tail>), BadPath> {
    if let Some(at) = segments.iter().position(|parts| parts.iter().any(|part| part.is_greedy())) {
        return Ok((&segments[..at], Some(Tail::Greedy(greedy(&segments[at..])?))));
    }
    match segments {
        [before @ .., last] if is_rest(last) => Ok((before, Some(Tail::Rest))),
        all => Ok((all, None)),
    }
}

/// A greedy parameter with the literals around it. The first of `segments` has it.
fn greedy(segments: &[Vec<Part<'_>>]) -> Result<Greedy, BadPath> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut is_behind = false;
    for (at, parts) in segments.iter().enumerate() {
        if at > 0 {
            after.push(b'/');
        }
        for part in parts {
            match part {
                Part::Literal(text) if is_behind => after.extend(literal(text)?),
                Part::Literal(text) => before.extend(literal(text)?),
                Part::Parameter { .. } => is_behind = true,
            }
        }
    }
    Ok(Greedy::new(before.into(), after.into()))
}

/// Only literals follow a greedy parameter, and only literals are beside it.
fn check_greedy(segments: &[Vec<Part<'_>>]) -> Result<(), BadTemplate> {
    let Some(at) = segments.iter().position(|parts| parts.iter().any(|part| part.is_greedy())) else {
        return Ok(());
    };
    let mut greedy = None;
    let mut others = Vec::new();
    for part in segments[at..].iter().flatten() {
        match part {
            Part::Parameter { name, is_greedy: true } if greedy.is_none() => greedy = Some(name),
            Part::Parameter { name, .. } => others.push(format!("{{{name}}}")),
            Part::Literal(_) => {}
        }
    }
    let (Some(greedy), false) = (greedy, others.is_empty()) else { return Ok(()) };
    let (are, others) = (if others.len() == 1 { "is none" } else { "are none" }, others.join(", "));
    let remedy = "let only literals follow it, as in {name+}/status, and none but literals be beside it";
    Err(bad_template(format!("{{{greedy}}} takes all that follows but literals, and {others} {are}"), remedy))
}

/// What no segment may have, as a literal or as a parameter.
fn check_segment(parts: &[Part<'_>]) -> Vec<BadTemplate> {
    let segment = written(parts);
    // Characters that mean something elsewhere are told as that.
    if let Err(bad) = check_notation(&segment).and_then(|()| check_parentheses(&segment, parts)) {
        return vec![bad];
    }
    let literals = parts.iter().filter_map(|part| match part {
        Part::Literal(text) => check_characters(text).err(),
        Part::Parameter { .. } => None,
    });
    literals.chain(check_apart(parts).err()).collect()
}

/// Parameters as other systems write them: `:id` and `<id>`.
fn check_notation(segment: &str) -> Result<(), BadTemplate> {
    if segment.strip_prefix(':').is_some_and(|name| name.starts_with(is_of_name)) {
        let detail = format!("{segment:?} would be these characters, and no parameter");
        return Err(bad_template(detail, instead_of_colons(segment)));
    }
    if let Some(typed) = segment.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'))
        && let name = typed.rsplit(':').next().unwrap_or(typed)
        && !name.is_empty()
        && typed.chars().all(|character| is_of_name(character) || character == ':')
    {
        let detail = format!("{segment:?} would be these characters, and no parameter");
        let plus = if typed.starts_with("path:") { "+" } else { "" };
        return Err(bad_template(
            detail,
            format!("write {{{name}{plus}}}, or %3C{typed}%3E for the characters"),
        ));
    }
    Ok(())
}

/// Where one parameter ends and the next one begins must be plain. [`check_greedy`] speaks of greedy ones.
fn check_apart(parts: &[Part<'_>]) -> Result<(), BadTemplate> {
    let names = |parts: &[Part<'_>]| -> Vec<String> {
        let names = parts.iter().map_while(|part| match part {
            Part::Parameter { name, .. } => Some((*name).to_owned()),
            Part::Literal(_) => None,
        });
        names.collect()
    };
    let plain = |name: &String| name.trim_matches(|character: char| !is_of_name(character)).to_owned();
    if parts.iter().any(|part| part.is_greedy()) {
        return Ok(());
    }
    let Some(run) = (0..parts.len()).map(|at| names(&parts[at..])).find(|run| run.len() > 1) else {
        return Ok(());
    };
    let all: String = run.iter().map(|name| format!("{{{name}}}")).collect();
    let remedy = format!(
        "write one parameter for all of them, as in {{{}}}, or a literal between each two",
        run.iter().map(plain).collect::<Vec<_>>().join("_")
    );
    Err(bad_template(format!("nothing is between the parameters {all}: where one ends is not plain"), remedy))
}

/// Characters that no literal has as they are.
fn check_characters(text: &str) -> Result<(), BadTemplate> {
    match text.chars().find(|character| matches!(character, '?' | '#' | '*') || character.is_control()) {
        None => Ok(()),
        Some('*') => Err(bad_template(
            format!("{text:?} has a '*', which is a segment of its own at the end only"),
            "write a parameter as {name}, and the character itself as %2A",
        )),
        Some('?' | '#') => Err(bad_template(
            format!("{text:?} has a query or a fragment"),
            "keep to the path: the query is forwarded as it comes",
        )),
        Some(control) => {
            Err(bad_template(format!("{text:?} has the control character {control:?}"), "leave it out"))
        }
    }
}

/// A segment as it is written.
fn written(parts: &[Part<'_>]) -> String {
    let part = |part: &Part<'_>| match part {
        Part::Literal(text) => (*text).to_owned(),
        Part::Parameter { name, .. } => format!("{{{name}}}"),
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

fn segment(parts: &[Part<'_>]) -> Result<TemplateSegment, BadPath> {
    match parts {
        [] => Ok(TemplateSegment::Literal([].into())),
        [Part::Literal(text)] => literal(text).map(TemplateSegment::Literal),
        [Part::Parameter { .. }] => Ok(TemplateSegment::Parameter),
        _ => mixed(parts).map(TemplateSegment::Mixed),
    }
}

/// `/a(/{id})`, `/a(.{format})` and `/(a|b)` mean "with or without" and "one of" to some systems. Other balanced parentheses are
/// plain characters, as in `/users('{id}')` and `/delta()`.
fn check_parentheses(segment: &str, parts: &[Part<'_>]) -> Result<(), BadTemplate> {
    let refused = |why: &str| {
        let remedy = format!("{TWO_OPERATIONS}; %28, %29 and %7C are the characters");
        Err(bad_template(
            format!("{segment:?} has {why}, and gateways know no optional parts and no choices"),
            remedy,
        ))
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

fn mixed(parts: &[Part<'_>]) -> Result<Mixed, BadPath> {
    let mut literals = vec![Box::default()];
    for part in parts {
        match part {
            Part::Literal(text) => {
                if let Some(last) = literals.last_mut() {
                    *last = literal(text)?;
                }
            }
            Part::Parameter { .. } => literals.push(Box::default()),
        }
    }
    Ok(Mixed::new(literals))
}

fn literal(text: &str) -> Result<Box<[u8]>, BadPath> {
    path::canonical(text).map(|octets| octets.into_owned().into())
}
