//! The folded form of a resource, on which filters are defined.
//!
//! Attribute names are lower-cased; every value stands in an array, so that each step of a path means "any
//! element of"; what is empty is left out, so that being there is being present (RFC 7644 section 3.4.2.2);
//! text is lower-cased unless the schema says that its case matters; instants are written in one form. Two
//! texts are then equal if their bytes are, in memory and in either database alike.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::schema::{self, Attribute, Kind};
use super::{Doc, ResourceType};

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
    let mut folded = Map::new();
    for (name, value) in doc {
        let elements = if name.to_ascii_lowercase().starts_with("urn:") {
            let known = schema::extension(name);
            elements(value, &mut |element| extension(element, known))
        } else {
            of_attribute(schema::attribute(rt, name), value)
        };
        put(&mut folded, name, elements);
    }
    Value::Object(folded)
}

fn extension(value: &Value, known: Option<&'static [Attribute]>) -> Option<Value> {
    match value {
        Value::Object(object) => {
            let mut folded = Map::new();
            for (name, value) in object {
                let attribute = known.and_then(|known| schema::find(known, name));
                put(&mut folded, name, of_attribute(attribute, value));
            }
            (!folded.is_empty()).then_some(Value::Object(folded))
        }
        other => scalar(None, other),
    }
}

fn of_attribute(attribute: Option<&'static Attribute>, value: &Value) -> Vec<Value> {
    elements(value, &mut |element| match element {
        Value::Object(object) => {
            let mut folded = Map::new();
            for (name, value) in object {
                put(
                    &mut folded,
                    name,
                    of_attribute(attribute.and_then(|a| a.sub(name)), value),
                );
            }
            (!folded.is_empty()).then_some(Value::Object(folded))
        }
        other => scalar(attribute, other),
    })
}

/// The elements of a value, arrays in arrays flattened.
fn elements(value: &Value, each: &mut dyn FnMut(&Value) -> Option<Value>) -> Vec<Value> {
    match value {
        Value::Array(values) => values.iter().flat_map(|v| elements(v, each)).collect(),
        other => each(other).into_iter().collect(),
    }
}

fn scalar(attribute: Option<&'static Attribute>, value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(Value::String(match attribute {
            Some(a) if a.kind == Kind::DateTime => {
                fold_instant(text).unwrap_or_else(|| fold_text(text))
            }
            Some(a) if a.case_exact => text.clone(),
            _ => fold_text(text),
        })),
        other => Some(other.clone()),
    }
}

/// Two spellings of one name are one attribute with the values of both.
fn put(folded: &mut Map<String, Value>, name: &str, values: Vec<Value>) {
    if values.is_empty() {
        return;
    }
    let entry = folded
        .entry(fold_text(name))
        .or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(all) = entry {
        all.extend(values);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_is_an_array_and_nothing_is_empty() {
        let doc = json!({
            "userName": "ADA", "externalId": "X1", "nickName": "", "title": null, "roles": [],
            "name": {"givenName": "Ada", "familyName": ""},
            "emails": [{"value": "Ada@Example.com", "type": "work"}, {}],
            "URN:x:User": {"Level": 3},
        });
        let Value::Object(doc) = doc else { panic!() };
        assert_eq!(
            fold(ResourceType::User, &doc),
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
