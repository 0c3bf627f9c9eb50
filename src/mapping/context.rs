//! What an expression can name: the attributes of the SCIM user, its extensions, `primary_email`.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use minijinja::value::{Object, Value};
use serde_json::Value as Json;

use crate::scim::Doc;

/// Enterprise extension (RFC 7643, section 4.3).
pub(super) const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// What Oracle adds to a user.
pub(super) const IDCS_USER: &str = "urn:ietf:params:scim:schemas:oracle:idcs:extension:user:User";

/// What is below a name that an expression may begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parts {
    /// Plain text, a number or a boolean: nothing.
    None,
    /// A list.
    List,
    /// Exactly these.
    These(&'static [&'static str]),
    /// Anything.
    Any,
}

/// The names that an expression may begin with (RFC 7643, sections 3.1, 4.1 and 4.3; IDCS).
pub(super) const NAMES: &[(&str, Parts)] = &[
    ("userName", Parts::None),
    ("displayName", Parts::None),
    (
        "name",
        Parts::These(&[
            "formatted",
            "familyName",
            "givenName",
            "middleName",
            "honorificPrefix",
            "honorificSuffix",
        ]),
    ),
    ("primary_email", Parts::None),
    (
        "enterprise",
        Parts::These(&[
            "employeeNumber",
            "costCenter",
            "organization",
            "division",
            "department",
            "manager",
        ]),
    ),
    ("user", Parts::Any),
    ("id", Parts::None),
    ("externalId", Parts::None),
    ("nickName", Parts::None),
    ("profileUrl", Parts::None),
    ("title", Parts::None),
    ("userType", Parts::None),
    ("preferredLanguage", Parts::None),
    ("locale", Parts::None),
    ("timezone", Parts::None),
    ("active", Parts::None),
    ("emails", Parts::List),
    ("phoneNumbers", Parts::List),
    ("ims", Parts::List),
    ("photos", Parts::List),
    ("addresses", Parts::List),
    ("groups", Parts::List),
    ("entitlements", Parts::List),
    ("roles", Parts::List),
    ("x509Certificates", Parts::List),
    ("schemas", Parts::List),
    (
        "meta",
        Parts::These(&[
            "resourceType",
            "created",
            "lastModified",
            "location",
            "version",
        ]),
    ),
    ("ocid", Parts::None),
    ("domainOcid", Parts::None),
    ("compartmentOcid", Parts::None),
    ("tenancyOcid", Parts::None),
    ("deleteInProgress", Parts::None),
    ("idcsCreatedBy", Parts::Any),
    ("idcsLastModifiedBy", Parts::Any),
    ("idcsPreventedOperations", Parts::List),
    ("idcsLastUpgradedInRelease", Parts::None),
    ("tags", Parts::List),
];

/// Deeper values are left out: no attribute of SCIM is (RFC 7643, section 2.3.8), and the
/// conversion must not exhaust the stack.
const MAX_DEPTH: usize = 16;

/// The variables of an expression for one user.
pub(super) fn variables(doc: &Doc) -> Value {
    let attributes = attributes(doc);
    let user = Value::from_pairs(attributes.iter().map(|(k, v)| (k.clone(), v.clone())));
    with_shorthands(attributes, doc, user)
}

/// The variables of a made-up user who has every attribute; extensions that nobody knows
/// beforehand answer text whatever is asked of them.
pub(super) fn sample() -> Value {
    static SAMPLE: LazyLock<Value> = LazyLock::new(|| {
        let doc = sample_doc();
        let attributes = attributes(&doc);
        let user = Value::from_object(SampleUser(attributes.clone()));
        with_shorthands(attributes, &doc, user)
    });
    SAMPLE.clone()
}

/// The variables of a made-up user who has a name and nothing else.
pub(super) fn bare_sample() -> Value {
    let mut doc = Doc::new();
    doc.insert("userName".to_owned(), Json::from("ada"));
    variables(&doc)
}

/// An attribute or extension by its name, without regard to case (RFC 7643, section 2.1).
pub(super) fn attribute<'a>(doc: &'a Doc, name: &str) -> Option<&'a Json> {
    doc.get(name).or_else(|| {
        doc.iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, v)| v)
    })
}

/// The address to write to: the primary one, else the one for work, else the first one; an
/// address for recovery only if it is the primary one (IDCS lists the recovery address first).
pub(super) fn primary_email(doc: &Doc) -> Option<&str> {
    let emails = match attribute(doc, "emails")? {
        Json::Array(emails) => emails.as_slice(),
        one => std::slice::from_ref(one),
    };
    let address = |email: &&Doc| email_text(email, "value").is_some();
    let is = |email: &Doc, kind: &str| {
        email_text(email, "type").is_some_and(|t| t.eq_ignore_ascii_case(kind))
    };
    let usable = || emails.iter().filter_map(Json::as_object).filter(address);
    usable()
        .find(|e| attribute(e, "primary").and_then(Json::as_bool) == Some(true))
        .or_else(|| usable().find(|e| is(e, "work")))
        .or_else(|| usable().find(|e| !is(e, "recovery")))
        .and_then(|e| email_text(e, "value"))
}

fn email_text<'a>(email: &'a Doc, key: &str) -> Option<&'a str> {
    attribute(email, key)
        .and_then(Json::as_str)
        .map(str::trim)
        .filter(|text| !text.is_empty())
}

fn attributes(doc: &Doc) -> BTreeMap<String, Value> {
    doc.iter()
        .filter_map(|(key, value)| Some((canonical(key).to_owned(), convert(value, 0)?)))
        .collect()
}

/// Names are compared without case in SCIM and with case in expressions.
fn canonical(key: &str) -> &str {
    if key.eq_ignore_ascii_case(ENTERPRISE) {
        return ENTERPRISE;
    }
    NAMES
        .iter()
        .map(|(name, _)| *name)
        .find(|name| name.eq_ignore_ascii_case(key))
        .unwrap_or(key)
}

fn with_shorthands(mut all: BTreeMap<String, Value>, doc: &Doc, user: Value) -> Value {
    // Names of ours: an attribute of the source that is called the same is reached through `user`.
    for name in ["primary_email", "enterprise"] {
        all.remove(name);
    }
    if let Some(address) = primary_email(doc) {
        all.insert("primary_email".to_owned(), Value::from(address));
    }
    if let Some(enterprise) = all.get(ENTERPRISE).cloned() {
        all.insert("enterprise".to_owned(), enterprise);
    }
    all.insert("user".to_owned(), user);
    Value::from_pairs(all)
}

/// `null` is the same as absent (RFC 7643, section 2.5); left in, `null | lower` would be "none".
fn convert(json: &Json, depth: usize) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    Some(match json {
        Json::Null => return None,
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(whole), _, _) => Value::from(whole),
            (_, Some(whole), _) => Value::from(whole),
            (_, _, Some(fraction)) => Value::from(fraction),
            _ => return None,
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::from(
            items
                .iter()
                .filter_map(|item| convert(item, depth + 1))
                .collect::<Vec<_>>(),
        ),
        Json::Object(fields) => Value::from_pairs(
            fields
                .iter()
                .filter_map(|(k, v)| Some((k.clone(), convert(v, depth + 1)?))),
        ),
    })
}

fn sample_doc() -> Doc {
    // A test reads it, so that it is not empty.
    serde_json::from_str(include_str!("sample_user.json")).unwrap_or_default()
}

#[derive(Debug)]
struct SampleUser(BTreeMap<String, Value>);

impl Object for SampleUser {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        Some(match self.0.get(key) {
            Some(value) => value.clone(),
            None if key.starts_with("urn:") => Value::from_object(SampleExtension),
            None => Value::from("sample"),
        })
    }
}

#[derive(Debug)]
struct SampleExtension;

impl Object for SampleExtension {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        key.as_str().map(|_| Value::from("sample"))
    }

    // By default an object that lists no keys counts as false.
    fn is_true(self: &Arc<Self>) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn email_of(emails: Json) -> Option<String> {
        let doc = json!({ "emails": emails });
        primary_email(doc.as_object().unwrap()).map(str::to_owned)
    }

    #[test]
    fn the_primary_address_comes_first_then_work_then_any_but_recovery() {
        let recovery = json!({ "value": "r@x", "type": "recovery", "primary": false });
        let work = json!({ "value": "w@x", "type": "work" });
        let home = json!({ "value": "h@x", "type": "home" });
        let primary = json!({ "value": "p@x", "type": "other", "primary": true });
        assert_eq!(email_of(json!([recovery, work, primary])).unwrap(), "p@x");
        assert_eq!(email_of(json!([recovery, home, work])).unwrap(), "w@x");
        assert_eq!(email_of(json!([recovery, home])).unwrap(), "h@x");
        assert_eq!(email_of(json!([recovery])), None);
        assert_eq!(
            email_of(json!([{ "value": " " , "primary": true }, work])).unwrap(),
            "w@x"
        );
        assert_eq!(email_of(json!([{ "value": " u@x " }])).unwrap(), "u@x");
        assert_eq!(email_of(json!([])), None);
        assert_eq!(email_of(json!("text")), None);
    }

    #[test]
    fn the_sample_has_every_known_name() {
        let sample = sample();
        for (name, parts) in NAMES {
            let value = sample.get_attr(name).unwrap();
            assert!(!value.is_undefined(), "{name} is missing");
            if let Parts::These(parts) = parts {
                for part in *parts {
                    assert!(
                        !value.get_attr(part).unwrap().is_undefined(),
                        "{name}.{part}"
                    );
                }
            }
        }
    }
}
