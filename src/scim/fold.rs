//! The folded form of a resource, on which filters are defined.
//!
//! Attribute names are lower-cased; every value stands in an array, so that each step of a path means "any
//! element of"; what is empty is left out, so that being there is being present (RFC 7644 section 3.4.2.2);
//! text is lower-cased unless the schema says that its case matters; instants are written in one form. Two
//! texts are then equal if their bytes are, in memory and in either database alike.

use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;

use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

use super::schema::{self, Attribute, Kind};
use super::{Doc, ResourceType, resource};

/// Lower case by Unicode, without regard to language: what the user directories of the Atlassian products do.
pub fn fold_text(text: &str) -> String {
    text.to_lowercase()
}

/// An instant in UTC with microseconds: texts of this form sort like instants. `None`: not RFC 3339.
pub fn fold_instant(text: &str) -> Option<String> {
    let at: Timestamp = text.parse().ok()?;
    Some(at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string())
}

/// Folds a resource or any part of its top level.
pub fn fold(rt: ResourceType, doc: &Doc) -> Value {
    value_of(&parts(doc, |name| Rule::of_top(rt, name)))
}

/// The text of what [`fold`] makes, without making it first: it is part of every push.
pub fn fold_to_text(rt: ResourceType, doc: &Doc) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Parts(&parts(doc, |name| Rule::of_top(rt, name))))
}

/// How a value is folded.
#[derive(Clone, Copy)]
enum Rule {
    /// As one of this attribute.
    Attribute(Option<&'static Attribute>),
    /// As an extension with these attributes.
    Extension(Option<&'static [Attribute]>),
}

impl Rule {
    fn of_top(rt: ResourceType, name: &str) -> Self {
        if resource::is_urn(name) {
            Self::Extension(schema::extension(name))
        } else {
            Self::Attribute(schema::attribute(rt, name))
        }
    }

    fn of_part(self, name: &str) -> Self {
        Self::Attribute(match self {
            Self::Attribute(attribute) => attribute.and_then(|a| a.sub(name)),
            Self::Extension(known) => known.and_then(|known| schema::find(known, name)),
        })
    }

    fn text(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Attribute(Some(a)) if a.kind == Kind::DateTime => {
                fold_instant(text).map_or_else(|| lower(text), Cow::Owned)
            }
            Self::Attribute(Some(a)) if a.case_exact => Cow::Borrowed(text),
            _ => lower(text),
        }
    }
}

/// A named value that is not empty.
struct Part<'a> {
    name: Cow<'a, str>,
    rule: Rule,
    value: &'a Value,
}

/// The parts of an object. Two spellings of one name are one attribute with the values of both, so those of one name
/// stand side by side.
fn parts<'a>(object: &'a Doc, rule: impl Fn(&str) -> Rule) -> Vec<Part<'a>> {
    let mut parts: Vec<Part<'a>> = object
        .iter()
        .filter(|(_, value)| !is_blank(value))
        .map(|(name, value)| Part {
            name: lower(name),
            rule: rule(name),
            value,
        })
        .collect();
    let mut names: Vec<&str> = parts.iter().map(|part| &*part.name).collect();
    names.sort_unstable();
    if names.windows(2).any(|two| two[0] == two[1]) {
        let mut first: HashMap<String, usize> = HashMap::new();
        for (index, part) in parts.iter().enumerate() {
            first.entry(part.name.to_string()).or_insert(index);
        }
        parts.sort_by_key(|part| first.get(&*part.name).copied());
    }
    parts
}

fn is_same_name(a: &Part<'_>, b: &Part<'_>) -> bool {
    a.name == b.name
}

/// Whether nothing is left of a value.
fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.iter().all(is_blank),
        Value::Object(object) => object.values().all(is_blank),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Calls `each` for the elements of a value, arrays in arrays flattened.
fn elements<'a, E>(
    value: &'a Value,
    each: &mut dyn FnMut(&'a Value) -> Result<(), E>,
) -> Result<(), E> {
    match value {
        Value::Array(values) => values.iter().try_for_each(|v| elements(v, each)),
        other if is_blank(other) => Ok(()),
        other => each(other),
    }
}

fn lower(text: &str) -> Cow<'_, str> {
    // What most values are, and nothing needs to be made of it.
    if text
        .bytes()
        .all(|b| b.is_ascii() && !b.is_ascii_uppercase())
    {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(fold_text(text))
    }
}

fn value_of(parts: &[Part<'_>]) -> Value {
    let folded = parts.chunk_by(is_same_name).map(|same| {
        let mut values = Vec::new();
        for part in same {
            let Ok(()) = elements::<Infallible>(part.value, &mut |element| {
                values.push(element_of(part.rule, element));
                Ok(())
            });
        }
        (same[0].name.to_string(), Value::Array(values))
    });
    Value::Object(folded.collect())
}

fn element_of(rule: Rule, element: &Value) -> Value {
    match element {
        Value::Object(object) => value_of(&parts(object, |name| rule.of_part(name))),
        Value::String(text) => Value::String(rule.text(text).into_owned()),
        other => other.clone(),
    }
}

/// Writes what [`value_of`] makes.
struct Parts<'a>(&'a [Part<'a>]);

impl Serialize for Parts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for same in self.0.chunk_by(is_same_name) {
            map.serialize_entry(&same[0].name, &Values(same))?;
        }
        map.end()
    }
}

/// The values of one name.
struct Values<'a>(&'a [Part<'a>]);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_seq(None)?;
        for part in self.0 {
            elements(part.value, &mut |element| {
                all.serialize_element(&Element(part.rule, element))
            })?;
        }
        all.end()
    }
}

/// Writes what [`element_of`] makes.
struct Element<'a>(Rule, &'a Value);

impl Serialize for Element<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.1 {
            Value::Object(object) => {
                Parts(&parts(object, |name| self.0.of_part(name))).serialize(serializer)
            }
            Value::String(text) => serializer.serialize_str(&self.0.text(text)),
            other => other.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Both ways of folding, which have to agree.
    fn folded(doc: &Value) -> Value {
        let Value::Object(doc) = doc else { panic!() };
        let value = fold(ResourceType::User, doc);
        let text = fold_to_text(ResourceType::User, doc).unwrap();
        assert_eq!(text, value.to_string());
        value
    }

    #[test]
    fn two_spellings_of_one_name_are_one_attribute() {
        let doc = json!({
            "userName": "ada", "Level": 1, "title": "X", "LEVEL": [2, [3]], "name": {"a": "B", "A": "C"},
            "level": {"Deep": null}, "TITLE": "Y",
        });
        assert_eq!(
            folded(&doc).to_string(),
            json!({
                "username": ["ada"], "level": [1, 2, 3], "title": ["x", "y"], "name": [{"a": ["b", "c"]}],
            })
            .to_string()
        );
    }

    #[test]
    fn everything_is_an_array_and_nothing_is_empty() {
        let doc = json!({
            "userName": "ADA", "externalId": "X1", "nickName": "", "title": null, "roles": [],
            "name": {"givenName": "Ada", "familyName": ""},
            "emails": [{"value": "Ada@Example.com", "type": "work"}, {}],
            "URN:x:User": {"Level": 3},
        });
        assert_eq!(
            folded(&doc),
            json!({
                "username": ["ada"], "externalid": ["X1"],
                "name": [{"givenname": ["ada"]}],
                "emails": [{"value": ["ada@example.com"], "type": ["work"]}],
                "urn:x:user": [{"level": [3]}],
            })
        );
    }

    #[test]
    fn instants_have_one_form() {
        assert_eq!(
            fold_instant("2026-01-02T03:04:05+01:00").unwrap(),
            "2026-01-02T02:04:05.000000Z"
        );
        assert_eq!(fold_instant("yesterday"), None);
    }
}
