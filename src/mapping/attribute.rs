//! Attributes of the user whose values count as names of groups: where they are, and what they hold.

use serde_json::Value as Json;

use super::context::{ENTERPRISE, IDCS_USER, attribute};
use super::scope;
use crate::domain::GroupAttribute;
use crate::scim::filter::{self, AttrPath, Compiled};
use crate::scim::path::{self, PatchPath};
use crate::scim::{Doc, ResourceType, fold};

/// The core schema of users, whose attributes stand at the top of the document.
const CORE_USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

/// A compiled [`GroupAttribute`].
#[derive(Debug)]
pub(super) struct Attribute {
    /// As the administrator wrote it.
    pub(super) source: String,
    attr: AttrPath,
    /// Over the whole user that holds nothing of the list but the element in question.
    filter: Option<Compiled>,
    sub: Option<String>,
    split: Vec<char>,
}

impl Attribute {
    /// Compiles and checks; the error says in words what is wrong.
    pub(super) fn compile(settings: &GroupAttribute) -> Result<Self, String> {
        let text = settings.path.trim();
        if [ENTERPRISE, IDCS_USER, CORE_USER]
            .iter()
            .any(|schema| schema.eq_ignore_ascii_case(text))
        {
            return Err(format!(
                "`{text}` is a whole schema: name an attribute, as in `{text}:department`"
            ));
        }
        let in_words = |error: crate::scim::Error| error.detail().to_owned();
        let PatchPath { attr, filter, sub } = path::parse(text).map_err(in_words)?;
        scope::check_path(&attr)?;
        let filter = filter
            .map(|inner| {
                let whole = filter::Filter::ValuePath {
                    path: attr.clone(),
                    filter: Box::new(inner),
                };
                filter::compile(ResourceType::User, &whole).map_err(in_words)
            })
            .transpose()?;
        Ok(Self {
            source: text.to_owned(),
            sub: sub.or_else(|| attr.sub.clone()),
            attr,
            filter,
            split: settings.split.chars().collect(),
        })
    }

    /// The names that a user's attribute holds, in their order.
    pub(super) fn names(&self, doc: &Doc) -> Vec<String> {
        let holder = match &self.attr.urn {
            Some(urn) if !urn.eq_ignore_ascii_case(CORE_USER) => {
                attribute(doc, urn).and_then(Json::as_object)
            }
            _ => Some(doc),
        };
        let Some(value) = holder.and_then(|holder| attribute(holder, &self.attr.name)) else {
            return Vec::new();
        };
        let elements = match value {
            Json::Array(elements) => elements.as_slice(),
            one => std::slice::from_ref(one),
        };
        elements
            .iter()
            .filter(|element| self.selects(element))
            .filter_map(|element| self.text(element))
            .flat_map(|text| {
                text.split(|c| self.split.contains(&c))
                    .map(|name| name.trim().to_owned())
                    .collect::<Vec<_>>()
            })
            .filter(|name| !name.is_empty())
            .collect()
    }

    fn selects(&self, element: &Json) -> bool {
        let Some(filter) = &self.filter else {
            return true;
        };
        let list = Json::Array(vec![element.clone()]);
        let mut doc = Doc::new();
        match &self.attr.urn {
            Some(urn) if !urn.eq_ignore_ascii_case(CORE_USER) => {
                let mut extension = Doc::new();
                extension.insert(self.attr.name.clone(), list);
                doc.insert(urn.clone(), Json::Object(extension));
            }
            _ => {
                doc.insert(self.attr.name.clone(), list);
            }
        }
        filter.matches(&fold::fold(ResourceType::User, &doc))
    }

    /// Of a complex element its `value`, unless the path names another part.
    fn text(&self, element: &Json) -> Option<String> {
        let value = match element {
            Json::Object(parts) => attribute(parts, self.sub.as_deref().unwrap_or("value"))?,
            other => other,
        };
        match value {
            Json::String(text) => Some(text.clone()),
            Json::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(path: &str, split: &str) -> Vec<String> {
        let doc = json!({
            "userType": " Employee ",
            "title": "a;b, c;;",
            "level": 7,
            "roles": [
                {"value": "dev", "type": "job", "display": "Developer"},
                {"value": "fire", "type": "safety", "display": "Fire warden"},
                {"type": "job"},
            ],
            "tags": ["x", "y"],
            "name": {"familyName": "Byron"},
            ENTERPRISE: {"department": "R&D", "manager": {"value": "m1", "displayName": "Boss"}},
            "urn:example:custom:User": {"teams": ["t1", "t2"], "units": [{"value": "u", "type": "k"}]},
        });
        let settings = GroupAttribute {
            path: path.to_owned(),
            split: split.to_owned(),
        };
        Attribute::compile(&settings)
            .unwrap_or_else(|e| panic!("{path}: {e}"))
            .names(doc.as_object().unwrap())
    }

    #[test]
    fn any_path_gives_its_values() {
        for (path, split, expected) in [
            ("userType", "", &["Employee"][..]),
            ("USERTYPE", "", &["Employee"]),
            ("title", ";,", &["a", "b", "c"]),
            ("roles", "", &["dev", "fire"]),
            ("roles.display", "", &["Developer", "Fire warden"]),
            ("roles[type eq \"job\"]", "", &["dev"]),
            (
                "roles[type eq \"JOB\" and value pr].display",
                "",
                &["Developer"],
            ),
            ("tags", "", &["x", "y"]),
            ("name.familyName", "", &["Byron"]),
            ("nickName", "", &[]),
            (
                "urn:ietf:params:scim:schemas:core:2.0:User:level",
                "",
                &["7"],
            ),
            (&format!("{ENTERPRISE}:department"), "&", &["R", "D"]),
            (&format!("{ENTERPRISE}:manager.displayName"), "", &["Boss"]),
            ("urn:example:custom:User:teams", "", &["t1", "t2"]),
            ("urn:example:custom:User:units[type eq \"k\"]", "", &["u"]),
            ("urn:example:none:User:teams", "", &[]),
        ] {
            assert_eq!(names(path, split), expected, "{path}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (path, told) in [
            (
                "userTyp",
                "there is no attribute `userTyp`; did you mean `userType`?",
            ),
            ("department", "`department` needs its schema"),
            (ENTERPRISE, "is a whole schema"),
            ("roles[type xx 1]", "expected"),
            ("a b", "expected an attribute"),
            ("", "is no path"),
        ] {
            let settings = GroupAttribute {
                path: path.to_owned(),
                split: String::new(),
            };
            let error = Attribute::compile(&settings).expect_err(path);
            assert!(error.contains(told), "{path}: {error}");
        }
    }
}
