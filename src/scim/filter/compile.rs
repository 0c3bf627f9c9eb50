//! A filter resolved against the schema: names folded, values of the attribute's type.
//!
//! The result is defined on the folded resource (see [`crate::scim::fold`]) and is what both the evaluation in
//! memory and the translation into SQL start from.
//!
//! `ne` is `not eq`, so it holds for a resource without the attribute: a scope of `userType ne "Service"` must
//! not leave out everyone who has no userType. `eq null` is `not pr` (RFC 7644 section 3.4.2.2).

use super::ast::{AttrPath, CompareOp, Filter, Literal};
use crate::scim::fold::{fold_instant, fold_text};
use crate::scim::schema::{self, Attribute, Kind};
use crate::scim::{Error, ResourceType};

/// A filter ready for use.
#[derive(Debug, Clone, PartialEq)]
pub enum Compiled {
    /// Everything.
    True,
    /// Nothing.
    False,
    /// All of them.
    And(Vec<Compiled>),
    /// One of them.
    Or(Vec<Compiled>),
    /// Not this.
    Not(Box<Compiled>),
    /// Some element at the end of the path fulfils the test.
    Test {
        /// Folded names; each step means "any element".
        path: Vec<String>,
        /// The test.
        test: Test,
    },
    /// Some element at the end of the path fulfils the filter, which is relative to it.
    Any {
        /// Folded names.
        path: Vec<String>,
        /// Relative to one element.
        filter: Box<Compiled>,
    },
}

/// A test of one element.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// It is there: folding leaves out what is empty.
    Present,
    /// Equal.
    Eq(Operand),
    /// Has this in it.
    Contains(String),
    /// Starts with this.
    StartsWith(String),
    /// Ends with this.
    EndsWith(String),
    /// Comes before.
    Less(Operand),
    /// Comes before or is equal.
    LessOrEqual(Operand),
    /// Comes after.
    Greater(Operand),
    /// Comes after or is equal.
    GreaterOrEqual(Operand),
}

/// A value to compare with, folded like the attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// Text, in the order of its UTF-8 bytes.
    Text(String),
    /// A number.
    Number(f64),
    /// `true` or `false`.
    Bool(bool),
}

/// Resolves a filter over resources of one type.
pub fn compile(rt: ResourceType, filter: &Filter) -> Result<Compiled, Error> {
    walk(filter, &|path| resolve(rt, path))
}

/// Resolves the filter of a value path, `members[…]`, over the elements of one attribute.
pub fn compile_elements(
    of: Option<&'static Attribute>,
    filter: &Filter,
) -> Result<Compiled, Error> {
    walk(filter, &|path| Ok(within(of, path)))
}

/// A path with what the schema says about its end.
pub(in crate::scim) struct Resolved {
    /// Folded names.
    pub(in crate::scim) path: Vec<String>,
    pub(in crate::scim) attribute: Option<&'static Attribute>,
}

fn walk(
    filter: &Filter,
    resolve: &dyn Fn(&AttrPath) -> Result<Resolved, Error>,
) -> Result<Compiled, Error> {
    let all = |parts: &[Filter]| {
        parts
            .iter()
            .map(|p| walk(p, resolve))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(match filter {
        Filter::And(parts) => Compiled::And(all(parts)?),
        Filter::Or(parts) => Compiled::Or(all(parts)?),
        Filter::Not(inner) => Compiled::Not(Box::new(walk(inner, resolve)?)),
        Filter::Present(path) => Compiled::Test {
            path: resolve(path)?.path,
            test: Test::Present,
        },
        Filter::Compare { path, op, value } => compare(path, resolve(path)?, *op, value)?,
        Filter::ValuePath { path, filter } => {
            let Resolved {
                path: names,
                attribute,
            } = resolve(path)?;
            if attribute.is_some_and(|a| a.kind != Kind::Complex) {
                return Err(Error::invalid_filter(format!("{path} has no parts")));
            }
            let filter = walk(filter, &|inner| Ok(within(attribute, inner)))?;
            Compiled::Any {
                path: names,
                filter: Box::new(filter),
            }
        }
    })
}

/// A path relative to an element of a complex attribute.
fn within(of: Option<&'static Attribute>, path: &AttrPath) -> Resolved {
    let attribute = of.and_then(|of| of.sub(&path.name));
    let mut names = vec![fold_text(&path.name)];
    names.extend(path.sub.as_deref().map(fold_text));
    Resolved {
        path: names,
        attribute,
    }
}

/// A path from the top of a resource.
pub(in crate::scim) fn resolve(rt: ResourceType, path: &AttrPath) -> Result<Resolved, Error> {
    let mut names = Vec::new();
    let mut attribute = match &path.urn {
        None => schema::attribute(rt, &path.name),
        Some(urn) if urn.eq_ignore_ascii_case(rt.schema()) => schema::attribute(rt, &path.name),
        Some(urn) => {
            let whole = format!("{urn}:{}", path.name);
            if path.sub.is_none() && names_a_schema(&whole) {
                // `urn:…:extension:enterprise:2.0:User pr`: the extension itself.
                return Ok(Resolved {
                    path: vec![fold_text(&whole)],
                    attribute: None,
                });
            }
            names.push(fold_text(urn));
            schema::extension(urn).and_then(|known| schema::find(known, &path.name))
        }
    };
    names.push(fold_text(&path.name));
    if let Some(sub) = &path.sub {
        names.push(fold_text(sub));
        attribute = attribute.and_then(|a| a.sub(sub));
    }
    if attribute.is_some_and(|a| a.returned == schema::Returned::Never) {
        return Err(Error::invalid_filter(format!(
            "{path} cannot be used in a filter"
        )));
    }
    Ok(Resolved {
        path: names,
        attribute,
    })
}

/// Whether a URN is one of a schema rather than of an attribute: schema URNs end in the resource type.
pub(in crate::scim) fn names_a_schema(urn: &str) -> bool {
    let last = urn.rsplit(':').next().unwrap_or_default();
    last == "User" || last == "Group" || schema::extension(urn).is_some()
}

fn compare(
    written: &AttrPath,
    Resolved {
        mut path,
        mut attribute,
    }: Resolved,
    op: CompareOp,
    value: &Literal,
) -> Result<Compiled, Error> {
    if let Some(whole) = attribute
        && whole.kind == Kind::Complex
    {
        // RFC 7644 section 3.4.2.2: `emails co "example.com"` means `emails.value`.
        attribute = whole.sub("value");
        if attribute.is_none() {
            return Err(Error::invalid_filter(format!(
                "{written} has parts; compare one of them, as in {written}.{}",
                whole.subs.first().map_or("value", |sub| sub.name)
            )));
        }
        path.push("value".to_owned());
    }
    let test = |path: Vec<String>, test: Test| Compiled::Test { path, test };
    let not = |compiled: Compiled| Compiled::Not(Box::new(compiled));
    let text = |text: &str| fold_value(attribute, text);
    let unfit = |why: &str| {
        Err(Error::invalid_filter(format!(
            "{written} {} {value}: {why}",
            op.as_str()
        )))
    };
    // An empty text is the same as none: folding leaves both out.
    let empty = matches!(value, Literal::String(text) if text.is_empty());
    Ok(match (op, value) {
        (CompareOp::Eq, Literal::Null) => not(test(path, Test::Present)),
        (CompareOp::Ne, Literal::Null) => test(path, Test::Present),
        (_, Literal::Null) => return unfit("null can only be compared with eq and ne"),
        (CompareOp::Eq, _) if empty => not(test(path, Test::Present)),
        (CompareOp::Ne | CompareOp::Co | CompareOp::Sw | CompareOp::Ew, _) if empty => {
            test(path, Test::Present)
        }
        (CompareOp::Co | CompareOp::Sw | CompareOp::Ew, Literal::String(part)) => {
            if attribute.is_some_and(|a| matches!(a.kind, Kind::Boolean | Kind::DateTime)) {
                return unfit("this operator is for text");
            }
            let part = text(part);
            test(
                path,
                match op {
                    CompareOp::Co => Test::Contains(part),
                    CompareOp::Sw => Test::StartsWith(part),
                    _ => Test::EndsWith(part),
                },
            )
        }
        (CompareOp::Co | CompareOp::Sw | CompareOp::Ew, _) => {
            return unfit("this operator is for text");
        }
        _ => {
            let operand = match operand(attribute, value) {
                Ok(operand) => operand,
                Err(why) => return unfit(why),
            };
            if matches!(operand, Operand::Bool(_)) && !matches!(op, CompareOp::Eq | CompareOp::Ne) {
                return unfit("booleans have no order (RFC 7644 section 3.4.2.2)");
            }
            // A user whose `active` was taken away has access (see `resource::keys`).
            let is_active = attribute.is_some_and(|a| a.name == "active") && path.len() == 1;
            if is_active && operand == Operand::Bool(true) {
                let inactive = test(path, Test::Eq(Operand::Bool(false)));
                return Ok(match op {
                    CompareOp::Ne => inactive,
                    _ => not(inactive),
                });
            }
            match op {
                CompareOp::Ne => not(test(path, Test::Eq(operand))),
                CompareOp::Gt => test(path, Test::Greater(operand)),
                CompareOp::Ge => test(path, Test::GreaterOrEqual(operand)),
                CompareOp::Lt => test(path, Test::Less(operand)),
                CompareOp::Le => test(path, Test::LessOrEqual(operand)),
                _ => test(path, Test::Eq(operand)),
            }
        }
    })
}

/// The value as the attribute's type; an unknown attribute takes the type of the value.
fn operand(
    attribute: Option<&'static Attribute>,
    value: &Literal,
) -> Result<Operand, &'static str> {
    let kind = attribute.map(|a| a.kind);
    match (kind, value) {
        // IDCS and others write booleans as text.
        (Some(Kind::Boolean), Literal::String(text)) => match text.to_ascii_lowercase().as_str() {
            "true" => Ok(Operand::Bool(true)),
            "false" => Ok(Operand::Bool(false)),
            _ => Err("this attribute is true or false"),
        },
        (Some(Kind::Boolean) | None, Literal::Bool(value)) => Ok(Operand::Bool(*value)),
        (Some(Kind::Boolean), _) => Err("this attribute is true or false"),
        (Some(Kind::DateTime), Literal::String(text)) => fold_instant(text)
            .map(Operand::Text)
            .ok_or("this attribute is a dateTime, as in \"2026-11-24T00:00:00Z\" (RFC 3339)"),
        (_, Literal::String(text)) => Ok(Operand::Text(fold_value(attribute, text))),
        (None, Literal::Number(number)) => number
            .as_f64()
            .map(Operand::Number)
            .ok_or("this number is too large"),
        (Some(_), _) => Err("this attribute is text; put the value in quotation marks"),
        (None, Literal::Null) => Err("null can only be compared with eq and ne"),
    }
}

fn fold_value(attribute: Option<&'static Attribute>, text: &str) -> String {
    match attribute {
        Some(a) if a.case_exact => text.to_owned(),
        _ => fold_text(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(text: &str) -> Result<Compiled, Error> {
        compile(ResourceType::User, &super::super::parse(text)?)
    }

    fn path(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn names_and_values_are_folded_by_the_schema() {
        let eq = |names: &[&str], text: &str| {
            Ok(Compiled::Test {
                path: path(names),
                test: Test::Eq(Operand::Text(text.to_owned())),
            })
        };
        assert_eq!(compiled(r#"USERNAME eq "ADA""#), eq(&["username"], "ada"));
        assert_eq!(
            compiled(r#"externalId eq "ADA""#),
            eq(&["externalid"], "ADA")
        );
        assert_eq!(
            compiled(r#"emails eq "A@B""#),
            eq(&["emails", "value"], "a@b")
        );
        assert_eq!(
            compiled(r#"urn:ietf:params:scim:schemas:core:2.0:User:name.givenName eq "A""#),
            eq(&["name", "givenname"], "a")
        );
        assert_eq!(
            compiled(
                r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager eq "A""#
            ),
            eq(
                &[
                    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:user",
                    "manager",
                    "value"
                ],
                "A"
            )
        );
        assert_eq!(
            compiled(r#"meta.created eq "2026-01-01T00:00:00+01:00""#),
            eq(&["meta", "created"], "2025-12-31T23:00:00.000000Z")
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for text in [
            "active gt true",
            "active eq \"maybe\"",
            "userName eq 1",
            "userName co 1",
            "userName gt null",
            "name eq \"x\"",
            "meta.created eq \"yesterday\"",
            "meta.created co \"2026\"",
            "password eq \"x\"",
        ] {
            let error = compiled(text).unwrap_err();
            assert_eq!(error.scim_type(), Some("invalidFilter"), "{text}");
        }
    }
}
