//! Which attributes an answer shows: `attributes` and `excludedAttributes` (RFC 7644 section 3.9).

use serde_json::Value;

use super::resource::is_urn;
use super::schema::{self, Returned};
use super::{Doc, Error, ResourceType, filter, path};

/// A choice of attributes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Projection {
    only: Option<Vec<Name>>,
    except: Vec<Name>,
}

/// An attribute as named in a request, folded.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    /// URN of the extension; the URN of a core schema is left away when names are compared.
    urn: Option<String>,
    /// `None`: the extension as a whole.
    name: Option<String>,
    sub: Option<String>,
}

/// How many attributes one request may name.
const MAX_NAMES: usize = 100;

impl Projection {
    /// Reads the two parameters, of which only one may be given.
    pub fn parse(attributes: Option<&str>, excluded: Option<&str>) -> Result<Self, Error> {
        let only = attributes
            .map(names)
            .transpose()?
            .filter(|names| !names.is_empty());
        let except = excluded.map(names).transpose()?.unwrap_or_default();
        if only.is_some() && !except.is_empty() {
            return Err(Error::invalid_value(
                "attributes and excludedAttributes exclude each other",
            ));
        }
        Ok(Self { only, except })
    }

    /// Whether nothing is left out.
    pub fn is_whole(&self) -> bool {
        self.only.is_none() && self.except.is_empty()
    }

    /// Whether a core attribute would be part of the answer.
    pub fn wants(&self, rt: ResourceType, attribute: &str) -> bool {
        let excluded = self
            .except
            .iter()
            .any(|n| n.is_core(rt, attribute) && n.sub.is_none());
        match &self.only {
            Some(_) => self.names_explicitly(rt, attribute),
            None => !excluded,
        }
    }

    /// Whether `attributes` names a core attribute, or a part of it.
    pub fn names_explicitly(&self, rt: ResourceType, attribute: &str) -> bool {
        self.only
            .as_ref()
            .is_some_and(|names| names.iter().any(|n| n.is_core(rt, attribute)))
    }

    /// Takes out what is not wanted.
    pub fn apply(&self, rt: ResourceType, doc: Doc) -> Doc {
        if self.is_whole() {
            return doc;
        }
        let mut shown = Doc::new();
        for (key, value) in doc {
            let kept = if is_urn(&key) {
                self.extension(&key, value)
            } else {
                let always =
                    schema::attribute(rt, &key).is_some_and(|a| a.returned == Returned::Always);
                if always {
                    Some(value)
                } else {
                    self.attribute(value, |n| n.is_core(rt, &key))
                }
            };
            if let Some(value) = kept {
                shown.insert(key, value);
            }
        }
        shown
    }

    /// One attribute: whole, in part, or not at all.
    fn attribute(&self, value: Value, is_it: impl Fn(&Name) -> bool) -> Option<Value> {
        if let Some(only) = &self.only {
            let named: Vec<&Name> = only.iter().filter(|n| is_it(n)).collect();
            if named.is_empty() {
                return None;
            }
            if named.iter().any(|n| n.sub.is_none()) {
                return Some(value);
            }
            return filtered(value, &|sub| {
                named.iter().any(|n| n.sub.as_deref() == Some(sub))
            });
        }
        let named: Vec<&Name> = self.except.iter().filter(|n| is_it(n)).collect();
        if named.iter().any(|n| n.sub.is_none()) {
            return None;
        }
        if named.is_empty() {
            return Some(value);
        }
        filtered(value, &|sub| {
            !named.iter().any(|n| n.sub.as_deref() == Some(sub))
        })
    }

    fn extension(&self, urn: &str, value: Value) -> Option<Value> {
        let urn = urn.to_lowercase();
        let whole = |n: &&Name| n.urn.as_ref() == Some(&urn) && n.name.is_none();
        if self.except.iter().any(|n| whole(&n)) {
            return None;
        }
        if self
            .only
            .as_ref()
            .is_some_and(|only| only.iter().any(|n| whole(&n)))
        {
            return Some(value);
        }
        let Value::Object(object) = value else {
            return if self.only.is_some() {
                None
            } else {
                Some(value)
            };
        };
        let mut shown = Doc::new();
        for (key, value) in object {
            let folded = key.to_lowercase();
            let is_it = |n: &Name| n.urn.as_ref() == Some(&urn) && n.name.as_ref() == Some(&folded);
            if let Some(value) = self.attribute(value, is_it) {
                shown.insert(key, value);
            }
        }
        (!shown.is_empty()).then_some(Value::Object(shown))
    }
}

impl Name {
    fn is_core(&self, rt: ResourceType, attribute: &str) -> bool {
        self.urn.as_ref().is_none_or(|urn| urn.eq_ignore_ascii_case(rt.schema()))
            && self.name.as_ref().is_none_or(|name| name.eq_ignore_ascii_case(attribute))
            // A core URN alone stands for all its attributes.
            && (self.name.is_some() || self.urn.is_some())
    }
}

/// The parts of an object, or of each object of a list.
fn filtered(value: Value, keep: &dyn Fn(&str) -> bool) -> Option<Value> {
    match value {
        Value::Object(object) => {
            let kept: Doc = object
                .into_iter()
                .filter(|(key, _)| keep(&key.to_lowercase()))
                .collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        Value::Array(elements) => {
            let kept: Vec<Value> = elements
                .into_iter()
                .filter_map(|e| filtered(e, keep))
                .collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        _ => None,
    }
}

fn names(text: &str) -> Result<Vec<Name>, Error> {
    let names: Vec<&str> = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    if names.len() > MAX_NAMES {
        return Err(Error::invalid_value(format!(
            "more than {MAX_NAMES} attributes are named"
        )));
    }
    names
        .into_iter()
        .map(|name| {
            let path = path::parse(name)
                .ok()
                .filter(|path| path.filter.is_none())
                .ok_or_else(|| Error::invalid_value(format!("{name:?} is no attribute")))?;
            let attr = path.attr;
            if let Some(urn) = &attr.urn
                && attr.sub.is_none()
            {
                let whole = format!("{urn}:{}", attr.name);
                if filter::names_a_schema(&whole) {
                    return Ok(Name {
                        urn: Some(whole.to_lowercase()),
                        name: None,
                        sub: None,
                    });
                }
            }
            Ok(Name {
                urn: attr.urn.map(|urn| urn.to_lowercase()),
                name: Some(attr.name.to_lowercase()),
                sub: attr.sub.map(|sub| sub.to_lowercase()),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(attributes: Option<&str>, excluded: Option<&str>) -> Value {
        let Value::Object(doc) = json!({
            "schemas": [], "id": "1", "userName": "ada", "name": {"givenName": "Ada", "familyName": "B"},
            "emails": [{"value": "a", "type": "work"}, {"value": "b"}],
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "R", "costCenter": "1"},
            "meta": {"version": "1"},
        }) else {
            panic!()
        };
        Value::Object(
            Projection::parse(attributes, excluded)
                .unwrap()
                .apply(ResourceType::User, doc),
        )
    }

    #[test]
    fn only_these() {
        assert_eq!(
            shown(Some("USERNAME"), None),
            json!({"schemas": [], "id": "1", "userName": "ada"})
        );
        assert_eq!(
            shown(Some("name.givenName,emails.type"), None),
            json!({"schemas": [], "id": "1", "name": {"givenName": "Ada"}, "emails": [{"type": "work"}]})
        );
        assert_eq!(
            shown(
                Some("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department"),
                None
            ),
            json!({"schemas": [], "id": "1",
                   "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "R"}})
        );
        assert_eq!(
            shown(
                Some("urn:ietf:params:scim:schemas:core:2.0:User:userName"),
                None
            ),
            json!({"schemas": [], "id": "1", "userName": "ada"})
        );
    }

    #[test]
    fn all_but_these() {
        let left = shown(
            None,
            Some(
                "emails,name.familyName,id,meta,urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
            ),
        );
        assert_eq!(
            left,
            json!({"schemas": [], "id": "1", "userName": "ada", "name": {"givenName": "Ada"}})
        );
    }

    #[test]
    fn members_are_asked_for_or_not() {
        let wants = |a, e| {
            Projection::parse(a, e)
                .unwrap()
                .wants(ResourceType::Group, "members")
        };
        assert!(wants(None, None));
        assert!(wants(Some("members.value"), None));
        assert!(wants(None, Some("members.display")));
        assert!(!wants(Some("displayName"), None));
        assert!(!wants(None, Some("MEMBERS")));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Projection::parse(Some("a"), Some("b")).is_err());
        assert!(Projection::parse(Some("a b"), None).is_err());
        assert_eq!(
            Projection::parse(Some(" , "), None),
            Ok(Projection::default())
        );
    }
}
