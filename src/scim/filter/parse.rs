//! The parser, on nom. In the grammar of RFC 7644 figure 1, precedence made explicit:
//!
//! ```text
//! filter   = and *( SP "or" SP and )
//! and      = unary *( SP "and" SP unary )
//! unary    = "not" *SP "(" filter ")" / "(" filter ")" / attrExp / attrPath "[" filter "]"
//! attrExp  = attrPath SP "pr" / attrPath SP compareOp SP compValue
//! attrPath = [URN ":"] ATTRNAME ["." ATTRNAME]
//! ```
//!
//! One token decides what follows, so nothing is parsed twice and the time is linear; length, depth and the
//! number of tests are limited before the stack or the database could feel them. Operators compare without
//! case (section 3.4.2.2).

use std::cell::Cell;

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, tag_no_case, take_while1};
use nom::character::complete::{char, multispace0, multispace1};
use nom::combinator::{not, opt, peek, value};
use nom::error::{ErrorKind, ParseError};
use nom::sequence::{preceded, terminated};
use nom::{Err, IResult};

use super::ast::{AttrPath, CompareOp, Filter, Literal};
use crate::scim::Error;

/// The longest filter, in bytes.
pub const MAX_LENGTH: usize = 8192;
/// How deep brackets may be nested.
pub const MAX_DEPTH: usize = 32;
/// How many tests a filter may have.
pub const MAX_TERMS: usize = 200;

/// Reads a filter.
pub fn parse(text: &str) -> Result<Filter, Error> {
    if text.len() > MAX_LENGTH {
        return Err(Error::invalid_filter(format!(
            "the filter is longer than {MAX_LENGTH} bytes"
        )));
    }
    let limits = Limits::default();
    let whole = (multispace0, |i| or(i, &limits, 0), multispace0)
        .map(|(_, filter, _)| filter)
        .parse(text);
    match whole {
        Ok(("", filter)) => Ok(filter),
        Ok((rest, _)) => Err(problem(text, rest, "\"and\", \"or\" or the end")),
        Err(Err::Error(trouble) | Err::Failure(trouble)) => {
            Err(problem(text, trouble.at, trouble.expected))
        }
        Err(Err::Incomplete(_)) => Err(problem(text, "", "more")),
    }
}

/// Reads `[filter]` of a PATCH path, the opening bracket included.
pub(in crate::scim) fn bracketed(input: &str) -> IResult<&str, Filter, Trouble<'_>> {
    let limits = Limits {
        terms: Cell::new(0),
        in_value_path: Cell::new(true),
    };
    let (input, _) = (char('['), multispace0).parse(input)?;
    let (input, filter) = or(input, &limits, 1)?;
    let (input, _) = expect(input, ']', "\"]\"")?;
    Ok((input, filter))
}

fn problem(text: &str, rest: &str, expected: &str) -> Error {
    let position = text[..text.len() - rest.len()].chars().count() + 1;
    let found: String = rest.chars().take(12).collect();
    let found = if found.is_empty() {
        "the end".to_owned()
    } else {
        format!("{found:?}")
    };
    Error::invalid_filter(format!(
        "at character {position}: expected {expected}, found {found}"
    ))
}

/// What went wrong, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scim) struct Trouble<'a> {
    pub(in crate::scim) at: &'a str,
    pub(in crate::scim) expected: &'static str,
}

impl<'a> ParseError<&'a str> for Trouble<'a> {
    fn from_error_kind(at: &'a str, _: ErrorKind) -> Self {
        Self {
            at,
            expected: "an attribute, \"not\" or \"(\"",
        }
    }

    fn append(_: &'a str, _: ErrorKind, other: Self) -> Self {
        other
    }
}

/// Stops the whole parse: there is no other way to read what is here.
fn stop<'a, T>(at: &'a str, expected: &'static str) -> IResult<&'a str, T, Trouble<'a>> {
    Err(Err::Failure(Trouble { at, expected }))
}

#[derive(Debug, Default)]
struct Limits {
    terms: Cell<usize>,
    /// A value path has no other inside (figure 1: `valFilter`).
    in_value_path: Cell<bool>,
}

fn or<'a>(input: &'a str, limits: &Limits, depth: usize) -> IResult<&'a str, Filter, Trouble<'a>> {
    chain(input, "or", |i| and(i, limits, depth), Filter::Or)
}

fn and<'a>(input: &'a str, limits: &Limits, depth: usize) -> IResult<&'a str, Filter, Trouble<'a>> {
    chain(input, "and", |i| unary(i, limits, depth), Filter::And)
}

/// `part *( SP word SP part )`; parts of the same kind are drawn up, so that a tree has one form.
fn chain<'a>(
    input: &'a str,
    word: &'static str,
    mut part: impl FnMut(&'a str) -> IResult<&'a str, Filter, Trouble<'a>>,
    make: fn(Vec<Filter>) -> Filter,
) -> IResult<&'a str, Filter, Trouble<'a>> {
    let (mut input, first) = part(input)?;
    let mut parts = vec![first];
    loop {
        let (rest, found) = opt(keyword(word)).parse(input)?;
        if found.is_none() {
            break;
        }
        let (rest, next) = part(rest)?;
        parts.push(next);
        input = rest;
    }
    if parts.len() == 1 {
        return Ok((input, parts.remove(0)));
    }
    let mut flat = Vec::new();
    for part in parts {
        match (make(Vec::new()), part) {
            (Filter::And(_), Filter::And(inner)) | (Filter::Or(_), Filter::Or(inner)) => {
                flat.extend(inner)
            }
            (_, other) => flat.push(other),
        }
    }
    Ok((input, make(flat)))
}

/// A word between two others, with the space after it. A bracket may stand in place of a space.
fn keyword<'a>(word: &'static str) -> impl Parser<&'a str, Output = (), Error = Trouble<'a>> {
    value(
        (),
        (
            multispace0,
            tag_no_case(word),
            peek(not(take_while1(is_name))),
            multispace0,
        ),
    )
}

fn unary<'a>(
    input: &'a str,
    limits: &Limits,
    depth: usize,
) -> IResult<&'a str, Filter, Trouble<'a>> {
    let mut negated = terminated(tag_no_case("not"), (multispace0, peek(char('('))));
    let found: IResult<&str, &str, Trouble<'_>> = negated.parse(input);
    if let Ok((rest, _)) = found {
        let (rest, inner) = group(rest, limits, depth)?;
        return Ok((rest, Filter::Not(Box::new(inner))));
    }
    if input.starts_with('(') {
        return group(input, limits, depth);
    }
    let (rest, path) = attr_path(input)?;
    if rest.starts_with('[') {
        return value_path(rest, path, limits, depth);
    }
    limits.terms.set(limits.terms.get() + 1);
    if limits.terms.get() > MAX_TERMS {
        return stop(input, "at most 200 tests in one filter");
    }
    comparison(rest, path)
}

fn group<'a>(
    input: &'a str,
    limits: &Limits,
    depth: usize,
) -> IResult<&'a str, Filter, Trouble<'a>> {
    if depth >= MAX_DEPTH {
        return stop(input, "at most 32 levels of brackets");
    }
    let (rest, _) = (char('('), multispace0).parse(input)?;
    let (rest, inner) = or(rest, limits, depth + 1)?;
    expect(rest, ')', "\")\"").map(|(rest, _)| (rest, inner))
}

fn value_path<'a>(
    input: &'a str,
    path: AttrPath,
    limits: &Limits,
    depth: usize,
) -> IResult<&'a str, Filter, Trouble<'a>> {
    if limits.in_value_path.get() {
        return stop(input, "no \"[\" inside another");
    }
    if depth >= MAX_DEPTH {
        return stop(input, "at most 32 levels of brackets");
    }
    limits.in_value_path.set(true);
    let (rest, _) = (char('['), multispace0).parse(input)?;
    let (rest, filter) = or(rest, limits, depth + 1)?;
    let (rest, _) = expect(rest, ']', "\"]\"")?;
    limits.in_value_path.set(false);
    Ok((
        rest,
        Filter::ValuePath {
            path,
            filter: Box::new(filter),
        },
    ))
}

fn expect<'a>(
    input: &'a str,
    wanted: char,
    expected: &'static str,
) -> IResult<&'a str, char, Trouble<'a>> {
    match preceded(multispace0, char(wanted)).parse(input) as IResult<_, _, Trouble<'_>> {
        Ok(found) => Ok(found),
        Err(_) => stop(input.trim_start(), expected),
    }
}

fn comparison(input: &str, path: AttrPath) -> IResult<&str, Filter, Trouble<'_>> {
    const OPERATOR: &str = "an operator (eq, ne, co, sw, ew, gt, ge, lt, le, pr)";
    let Ok((input, _)) = multispace1::<_, Trouble<'_>>(input) else {
        return stop(input, OPERATOR);
    };
    let (rest, word) = match take_while1::<_, _, Trouble<'_>>(is_name)(input) {
        Ok(found) => found,
        Err(_) => return stop(input, OPERATOR),
    };
    if word.eq_ignore_ascii_case("pr") {
        return Ok((rest, Filter::Present(path)));
    }
    let Some(op) = CompareOp::ALL
        .into_iter()
        .find(|op| op.as_str().eq_ignore_ascii_case(word))
    else {
        return stop(input, OPERATOR);
    };
    let Ok((rest, _)) = multispace1::<_, Trouble<'_>>(rest) else {
        return stop(rest, "a space and a value");
    };
    let (rest, value) = literal(rest)?;
    Ok((rest, Filter::Compare { path, op, value }))
}

/// A JSON value that is no object and no array.
pub(in crate::scim) fn literal(input: &str) -> IResult<&str, Literal, Trouble<'_>> {
    const EXPECTED: &str = "a value: \"text\", a number, true, false or null";
    if input.starts_with('"') {
        let Some(end) = end_of_string(input) else {
            return stop(input, "a closing quotation mark");
        };
        let (text, rest) = input.split_at(end);
        return match serde_json::from_str::<String>(text) {
            // No attribute can hold it, and PostgreSQL takes no text that does.
            Ok(text) if text.contains('\0') => stop(input, "text without the character U+0000"),
            Ok(text) => Ok((rest, Literal::String(text))),
            Err(_) => stop(input, "text by the rules of JSON"),
        };
    }
    let mut word = take_while1::<_, _, Trouble<'_>>(|c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
    });
    let Ok((rest, word)) = word(input) else {
        return stop(input, EXPECTED);
    };
    let literal = match word.to_ascii_lowercase().as_str() {
        "true" => Literal::Bool(true),
        "false" => Literal::Bool(false),
        "null" => Literal::Null,
        _ => match serde_json::from_str(word) {
            Ok(number) => Literal::Number(number),
            Err(_) => return stop(input, EXPECTED),
        },
    };
    Ok((rest, literal))
}

/// The index after the closing quotation mark.
fn end_of_string(input: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in input.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$')
}

/// `[URN ":"] ATTRNAME ["." ATTRNAME]`
pub(in crate::scim) fn attr_path(input: &str) -> IResult<&str, AttrPath, Trouble<'_>> {
    const EXPECTED: &str = "an attribute";
    let urn = alt((tag("urn:"), tag("URN:"), tag("Urn:")));
    if let Ok((_, _)) = peek(urn).parse(input) as IResult<_, _, Trouble<'_>> {
        let mut all =
            take_while1::<_, _, Trouble<'_>>(|c: char| is_name(c) || matches!(c, ':' | '.'));
        let Ok((rest, whole)) = all(input) else {
            return stop(input, EXPECTED);
        };
        // The attribute stands after the last colon; URNs have dots of their own.
        let Some((urn, name)) = whole.rsplit_once(':') else {
            return stop(input, EXPECTED);
        };
        let (name, sub) = match name.split_once('.') {
            Some((name, sub)) => (name, Some(sub)),
            None => (name, None),
        };
        if !is_attribute_name(name) || sub.is_some_and(|sub| !is_sub_name(sub)) {
            return stop(input, EXPECTED);
        }
        let path = AttrPath {
            urn: Some(urn.to_owned()),
            name: name.to_owned(),
            sub: sub.map(ToOwned::to_owned),
        };
        return Ok((rest, path));
    }
    let Ok((rest, name)) = take_while1::<_, _, Trouble<'_>>(is_name)(input) else {
        return stop(input, "an attribute, \"not\" or \"(\"");
    };
    if !is_attribute_name(name) {
        return stop(input, EXPECTED);
    }
    let (rest, sub) = match rest.strip_prefix('.') {
        None => (rest, None),
        Some(after) => match take_while1::<_, _, Trouble<'_>>(is_name)(after) {
            Ok((rest, sub)) if is_sub_name(sub) => (rest, Some(sub.to_owned())),
            _ => return stop(after, "a sub-attribute"),
        },
    };
    Ok((
        rest,
        AttrPath {
            urn: None,
            name: name.to_owned(),
            sub,
        },
    ))
}

/// `ATTRNAME` begins with a letter (RFC 7643 section 2.1).
fn is_attribute_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(is_name)
}

/// As above, and `$ref`.
fn is_sub_name(name: &str) -> bool {
    is_attribute_name(name) || name.eq_ignore_ascii_case("$ref")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ast::tests::filters;
    use super::*;

    fn printed(text: &str) -> String {
        match parse(text) {
            Ok(filter) => filter.to_string(),
            Err(e) => format!("! {}", e.detail()),
        }
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        // RFC 7644 section 3.4.2.2, figure 2.
        for text in [
            r#"userName eq "bjensen""#,
            r#"name.familyName co "O'Malley""#,
            r#"userName sw "J""#,
            r#"urn:ietf:params:scim:schemas:core:2.0:User:userName sw "J""#,
            r#"title pr"#,
            r#"meta.lastModified gt "2011-05-13T04:42:34Z""#,
            r#"title pr and userType eq "Employee""#,
            r#"title pr or userType eq "Intern""#,
            r#"schemas eq "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User""#,
            r#"userType eq "Employee" and (emails co "example.com" or emails.value co "example.org")"#,
            r#"userType ne "Employee" and not (emails co "example.com" or emails.value co "example.org")"#,
            r#"emails[type eq "work" and value co "@example.com"] or ims[type eq "xmpp" and value co "@foo.com"]"#,
        ] {
            assert_eq!(printed(text), text);
        }
    }

    #[test]
    fn precedence_case_and_space_are_free() {
        assert_eq!(
            printed(r#"  a EQ 1 OR b Ne true  AND  NOT(c pr)  "#),
            r#"a eq 1 or b ne true and not (c pr)"#
        );
        assert_eq!(
            printed("(a pr or b pr) and (c pr and d pr)"),
            "(a pr or b pr) and c pr and d pr"
        );
        assert_eq!(printed("not pr"), "not pr");
        assert_eq!(
            printed("nothing pr and oracle pr"),
            "nothing pr and oracle pr"
        );
    }

    #[test]
    fn text_is_read_by_the_rules_of_json() {
        let Ok(Filter::Compare { value, .. }) = parse(r#"a eq "q\"\\\u00e9\ud83d\ude00""#) else {
            panic!()
        };
        assert_eq!(value, Literal::String("q\"\\é😀".to_owned()));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, expected) in [
            (
                "",
                "! at character 1: expected an attribute, \"not\" or \"(\", found the end",
            ),
            (
                "userName",
                "! at character 9: expected an operator (eq, ne, co, sw, ew, gt, ge, lt, le, pr), found the end",
            ),
            (
                "userName is \"x\"",
                "! at character 10: expected an operator (eq, ne, co, sw, ew, gt, ge, lt, le, pr), found \"is \\\"x\\\"\"",
            ),
            (
                "userName eq 'x'",
                "! at character 13: expected a value: \"text\", a number, true, false or null, found \"'x'\"",
            ),
            (
                "userName eq \"x",
                "! at character 13: expected a closing quotation mark, found \"\\\"x\"",
            ),
            ("(a pr", "! at character 6: expected \")\", found the end"),
            (
                "a pr b pr",
                "! at character 6: expected \"and\", \"or\" or the end, found \"b pr\"",
            ),
            (
                "a[b[c pr] pr]",
                "! at character 4: expected no \"[\" inside another, found \"[c pr] pr]\"",
            ),
            (
                "emails[type eq \"work\"].value eq \"x\"",
                "! at character 23: expected \"and\", \"or\" or the end, found \".value eq \\\"x\"",
            ),
        ] {
            assert_eq!(printed(text), expected, "{text:?}");
        }
    }

    #[test]
    fn limits_hold() {
        let nested = |n: usize| format!("{}a pr{}", "(".repeat(n), ")".repeat(n));
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert!(parse(&nested(MAX_DEPTH + 1)).is_err());
        assert!(parse(&nested(3000)).is_err());
        assert!(parse(&"not (".repeat(1500)).is_err());
        let terms = |n: usize| vec!["a pr"; n].join(" or ");
        assert!(parse(&terms(MAX_TERMS)).is_ok());
        assert!(parse(&terms(MAX_TERMS + 1)).is_err());
        assert!(parse(&format!("a eq \"{}\"", "x".repeat(MAX_LENGTH))).is_err());
    }

    proptest! {
        #[test]
        fn printing_and_parsing_is_the_identity(filter in filters()) {
            let text = filter.to_string();
            prop_assume!(text.len() <= MAX_LENGTH);
            match parse(&text) {
                Ok(parsed) => prop_assert_eq!(parsed, filter),
                // Generated filters may be too large or too deep, and nothing else.
                Err(e) => prop_assert!(e.detail().contains("at most"), "{}: {}", text, e.detail()),
            }
        }

        #[test]
        fn nothing_makes_it_panic(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn nothing_like_a_filter_makes_it_panic(
            text in "(urn:|[a-c]|\\.|:|\\(|\\)|\\[|\\]| |eq|pr|and|or|not|\"|\\\\|1|-|true|\\$ref){0,40}"
        ) {
            if let Ok(filter) = parse(&text) {
                prop_assert_eq!(parse(&filter.to_string()), Ok(filter));
            }
        }
    }
}
