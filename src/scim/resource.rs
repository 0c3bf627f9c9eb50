//! Resources: taken in, replaced, and shown.
//!
//! A stored document holds attributes under their canonical names, and none of `id`, `meta`, `schemas`,
//! `password`, `members`, `groups`: those are the server's own, or rows, or never kept.

use std::borrow::Cow;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::filter::Compiled;
use super::schema::{self, Attribute, Kind, Mutability};
use super::{Dialect, Doc, Error, ResourceType, quirks};

/// The longest text of one attribute, in bytes.
const MAX_TEXT: usize = 10_000;
/// The longest text of an attribute that look-ups go by, in bytes: PostgreSQL takes no index entry above 2704.
const MAX_KEY: usize = 1000;
/// The longest base64 of one certificate, in bytes.
const MAX_BINARY: usize = 100_000;
/// How many values one request may name as members.
const MAX_MEMBERS: usize = 100_000;

/// What the server knows about a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Identifier.
    pub id: String,
    /// `meta.created`
    pub created: String,
    /// `meta.lastModified`
    pub last_modified: String,
    /// `meta.version`, as in the ETag header.
    pub version: String,
    /// `meta.location`
    pub location: String,
}

/// A member of a group as a request names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRef {
    /// Identifier.
    pub value: String,
}

/// A change of memberships, which are rows and no part of a document: members of a group, or (an IDCS form)
/// groups of a user.
#[derive(Debug, Clone, PartialEq)]
pub enum MemberEdit {
    /// Add these.
    Add(Vec<MemberRef>),
    /// Remove these.
    Remove(Vec<String>),
    /// Remove those that fulfil the filter, which is relative to one folded element.
    RemoveWhere(Compiled),
    /// These and no others.
    ReplaceAll(Vec<MemberRef>),
}

/// What a request makes of a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The document from now on.
    pub doc: Doc,
    /// Changes of memberships, in this order.
    pub members: Vec<MemberEdit>,
}

/// What look-ups need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// `userName` of a user, `displayName` of a group.
    pub name: String,
    /// `externalId`
    pub external_id: Option<String>,
    /// `displayName`
    pub display_name: Option<String>,
    /// `active`; a missing one is true.
    pub active: bool,
    /// `emails.value`
    pub emails: Vec<String>,
}

/// Takes in a POST (RFC 7644 section 3.3).
pub fn parse_create(rt: ResourceType, dialect: Dialect, body: Value) -> Result<Change, Error> {
    let Parts { mut doc, members } = normalise(rt, dialect, object(body)?)?;
    prune(&mut doc);
    default_active(rt, &mut doc);
    check_required(rt, &doc)?;
    let members = members.unwrap_or_default();
    Ok(Change {
        doc,
        members: if members.is_empty() {
            Vec::new()
        } else {
            vec![MemberEdit::Add(members)]
        },
    })
}

/// Applies a PUT (RFC 7644 section 3.5.1).
pub fn apply_put(
    rt: ResourceType,
    dialect: Dialect,
    current: &Doc,
    body: Value,
) -> Result<Change, Error> {
    let Parts {
        doc: stated,
        members,
    } = normalise(rt, dialect, object(body)?)?;
    let (mut doc, members) = if quirks::put_is_partial(dialect) {
        let mut doc = current.clone();
        for (name, value) in stated {
            match (doc.get_mut(&name), value) {
                // The parts of a name or an extension are partial in the same way.
                (Some(Value::Object(stored)), Value::Object(parts)) => stored.extend(parts),
                (_, value) => {
                    doc.insert(name, value);
                }
            }
        }
        (doc, members)
    } else {
        let mut doc = stated;
        // A client that does not speak of `active` does not mean to give access back.
        if rt == ResourceType::User
            && !doc.contains_key("active")
            && let Some(active) = current.get("active")
        {
            doc.insert("active".to_owned(), active.clone());
        }
        // For users `members` stays unsaid: their groups are read-only.
        let members = match rt {
            ResourceType::Group => Some(members.unwrap_or_default()),
            ResourceType::User => None,
        };
        (doc, members)
    };
    prune(&mut doc);
    default_active(rt, &mut doc);
    check_required(rt, &doc)?;
    Ok(Change {
        doc,
        members: members.map(MemberEdit::ReplaceAll).into_iter().collect(),
    })
}

/// The keys of a stored document.
pub fn keys(rt: ResourceType, doc: &Doc) -> Keys {
    // An empty text is no value for a filter (see `scim::fold`), so it is none for a look-up.
    let text = |name: &str| {
        doc.get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map(ToOwned::to_owned)
    };
    let display_name = text("displayName");
    Keys {
        name: match rt {
            ResourceType::User => text("userName"),
            ResourceType::Group => display_name.clone(),
        }
        .unwrap_or_default(),
        external_id: text("externalId"),
        display_name,
        active: doc.get("active").and_then(Value::as_bool).unwrap_or(true),
        emails: doc
            .get("emails")
            .and_then(Value::as_array)
            .map(|emails| {
                emails
                    .iter()
                    .filter_map(|email| email.get("value")?.as_str())
                    .filter(|value| !value.is_empty())
                    .map(ToOwned::to_owned)
                    .collect()
            })
            .unwrap_or_default(),
    }
}

/// A stored document as a client sees it. `rows` are the members of a group or the groups of a user; `None`
/// leaves them out.
pub fn render(rt: ResourceType, doc: &Doc, meta: &Meta, rows: Option<Vec<Value>>) -> Doc {
    let mut shown = Doc::new();
    let mut schemas = vec![json!(rt.schema())];
    schemas.extend(doc.keys().filter(|name| is_urn(name)).map(|urn| json!(urn)));
    shown.insert("schemas".to_owned(), Value::Array(schemas));
    shown.insert("id".to_owned(), json!(meta.id));
    for (name, value) in doc {
        shown.insert(name.clone(), value.clone());
    }
    if let Some(rows) = rows
        && !rows.is_empty()
    {
        let name = match rt {
            ResourceType::User => "groups",
            ResourceType::Group => "members",
        };
        shown.insert(name.to_owned(), Value::Array(rows));
    }
    let mut shown_meta = Doc::new();
    shown_meta.insert("resourceType".to_owned(), json!(rt.name()));
    shown_meta.insert("created".to_owned(), json!(meta.created));
    shown_meta.insert("lastModified".to_owned(), json!(meta.last_modified));
    if !meta.location.is_empty() {
        shown_meta.insert("location".to_owned(), json!(meta.location));
    }
    if !meta.version.is_empty() {
        shown_meta.insert("version".to_owned(), json!(meta.version));
    }
    shown.insert("meta".to_owned(), Value::Object(shown_meta));
    shown
}

/// Writes what [`render`] makes, from the text of a stored document and without taking it apart: most answers
/// show all of it. `rows` may be empty.
pub fn render_text(
    rt: ResourceType,
    doc: &str,
    meta: &Meta,
    rows: &[impl Serialize],
    out: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    let Extensions(extensions) = serde_json::from_str(doc)?;
    out.extend_from_slice(b"{\"schemas\":[");
    serde_json::to_writer(&mut *out, rt.schema())?;
    for urn in extensions {
        out.push(b',');
        serde_json::to_writer(&mut *out, &urn)?;
    }
    out.extend_from_slice(b"],\"id\":");
    serde_json::to_writer(&mut *out, &meta.id)?;
    // It was parsed as an object just now, so it stands in braces.
    let attributes = doc.trim().trim_start_matches('{');
    let attributes = attributes.strip_suffix('}').unwrap_or(attributes).trim();
    if !attributes.is_empty() {
        out.push(b',');
        out.extend_from_slice(attributes.as_bytes());
    }
    if !rows.is_empty() {
        out.extend_from_slice(match rt {
            ResourceType::User => b",\"groups\":" as &[u8],
            ResourceType::Group => b",\"members\":",
        });
        serde_json::to_writer(&mut *out, rows)?;
    }
    out.extend_from_slice(b",\"meta\":");
    let shown = ShownMeta {
        resource_type: rt.name(),
        created: &meta.created,
        last_modified: &meta.last_modified,
        location: &meta.location,
        version: &meta.version,
    };
    serde_json::to_writer(&mut *out, &shown)?;
    out.push(b'}');
    Ok(())
}

/// `meta`, in the order in which [`render`] has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownMeta<'a> {
    resource_type: &'a str,
    created: &'a str,
    last_modified: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    location: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
}

/// The URNs among the names of an object.
struct Extensions<'a>(Vec<Cow<'a, str>>);

impl<'de> Deserialize<'de> for Extensions<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Extensions<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut urns = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    map.next_value::<IgnoredAny>()?;
                    if is_urn(&name) {
                        urns.push(name);
                    }
                }
                Ok(Extensions(urns))
            }
        }
        deserializer.deserialize_map(Names)
    }
}

/// A name, borrowed from the text unless it has escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// A body taken apart. Values to be cleared are `null` or `[]` in `doc`.
struct Parts {
    doc: Doc,
    members: Option<Vec<MemberRef>>,
}

pub(super) fn object(value: Value) -> Result<Doc, Error> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(Error::invalid_syntax("the body must be a JSON object")),
    }
}

pub(super) fn is_urn(name: &str) -> bool {
    name.get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("urn:"))
}

fn normalise(rt: ResourceType, dialect: Dialect, body: Doc) -> Result<Parts, Error> {
    check_schemas(rt, dialect, &body)?;
    let Value::Object(body) = without_passwords(Value::Object(body)) else {
        return Err(Error::invalid_syntax("the body must be a JSON object"));
    };
    let mut parts = Parts {
        doc: Doc::new(),
        members: None,
    };
    for (name, value) in body {
        if is_urn(&name) {
            if name.eq_ignore_ascii_case(rt.schema()) {
                // Core attributes under their URN.
                for (name, value) in object(value)? {
                    put(rt, dialect, &mut parts, &name, value)?;
                }
                continue;
            }
            let (name, value) = extension(dialect, &name, value)?;
            parts.doc.insert(name, value);
            continue;
        }
        put(rt, dialect, &mut parts, &name, value)?;
    }
    Ok(parts)
}

fn put(
    rt: ResourceType,
    dialect: Dialect,
    parts: &mut Parts,
    name: &str,
    value: Value,
) -> Result<(), Error> {
    match (rt, schema::attribute(rt, name)) {
        (_, None) => {
            check_raw(name, &value)?;
            parts.doc.insert(name.to_owned(), value);
        }
        (ResourceType::Group, Some(a)) if a.name == "members" => {
            parts.members = Some(member_refs(dialect, value)?);
        }
        (ResourceType::User, Some(a)) if a.name == "groups" => {
            if quirks::groups_on_user(dialect) {
                parts.members = Some(member_refs(dialect, value)?);
            }
        }
        // What only the server may state is passed over (RFC 7644 section 3.3 and 3.5.1).
        (_, Some(a)) if a.mutability == Mutability::ReadOnly || a.name == "schemas" => {}
        (_, Some(a)) => {
            let value = attribute_value(dialect, a, a.name, value)?;
            // Checked like any text, and dropped: Usher keeps no passwords.
            if a.mutability != Mutability::WriteOnly {
                parts.doc.insert(a.name.to_owned(), value);
            }
        }
    }
    Ok(())
}

/// Whatever the resource type or the schema: Usher keeps no passwords.
pub(super) fn is_password(name: &str) -> bool {
    let last = name.rsplit([':', '.']).next().unwrap_or_default();
    last.eq_ignore_ascii_case("password")
}

/// Takes passwords out of what is kept as it was sent, however deep they are.
pub(super) fn without_passwords(mut value: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(object) => {
                object.retain(|name, _| !is_password(name));
                object.values_mut().for_each(strip);
            }
            Value::Array(elements) => elements.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut value);
    value
}

/// RFC 7643 section 3: `schemas` names at least the core schema.
fn check_schemas(rt: ResourceType, dialect: Dialect, body: &Doc) -> Result<(), Error> {
    if quirks::schemas_optional(dialect) {
        return Ok(());
    }
    let stated = body
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("schemas"))
        .map(|(_, v)| v);
    match stated {
        Some(Value::Array(urns))
            if urns.iter().any(|urn| {
                urn.as_str()
                    .is_some_and(|u| u.eq_ignore_ascii_case(rt.schema()))
            }) =>
        {
            Ok(())
        }
        Some(_) => Err(Error::invalid_value(format!(
            "schemas must hold {}",
            rt.schema()
        ))),
        None => Err(Error::invalid_value(format!(
            "schemas is missing; it must hold {}",
            rt.schema()
        ))),
    }
}

/// An extension under its canonical URN.
pub(super) fn extension(
    dialect: Dialect,
    urn: &str,
    value: Value,
) -> Result<(String, Value), Error> {
    if !urn.eq_ignore_ascii_case(schema::ENTERPRISE_USER) {
        check_raw(urn, &value)?;
        return Ok((urn.to_owned(), value));
    }
    let name = schema::ENTERPRISE_USER;
    match value {
        Value::Null => Ok((name.to_owned(), Value::Null)),
        Value::Object(object) => {
            let mut normal = Doc::new();
            for (sub, value) in object {
                let (sub, value) = extension_value(dialect, &sub, value)?;
                normal.insert(sub, value);
            }
            Ok((name.to_owned(), Value::Object(normal)))
        }
        _ => Err(Error::invalid_value(format!("{name} must be an object"))),
    }
}

/// One attribute of the enterprise extension.
pub(super) fn extension_value(
    dialect: Dialect,
    name: &str,
    value: Value,
) -> Result<(String, Value), Error> {
    match schema::find(schema::ENTERPRISE_USER_ATTRIBUTES, name) {
        Some(a) => {
            let value = attribute_value(dialect, a, a.name, value)?;
            Ok((a.name.to_owned(), value))
        }
        None => {
            check_raw(name, &value)?;
            Ok((name.to_owned(), value))
        }
    }
}

/// A value of a known attribute, checked and in its canonical form. `null` stays: it clears.
pub(super) fn attribute_value(
    dialect: Dialect,
    a: &'static Attribute,
    label: &str,
    value: Value,
) -> Result<Value, Error> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    if !a.multi {
        return single(dialect, a, label, value);
    }
    let value = quirks::element_without_array(dialect, value);
    let Value::Array(elements) = value else {
        return Err(Error::invalid_value(format!("{label} must be an array")));
    };
    let mut normal: Vec<Value> = Vec::new();
    for element in elements {
        if element.is_null() {
            continue;
        }
        let element = quirks::element_is_its_value(dialect, element);
        let element = single_element(dialect, a, label, element)?;
        if !normal.contains(&element) {
            normal.push(element);
        }
    }
    one_primary(dialect, label, &mut normal)?;
    Ok(Value::Array(normal))
}

/// One element of a multi-valued attribute.
pub(super) fn single_element(
    dialect: Dialect,
    a: &'static Attribute,
    label: &str,
    value: Value,
) -> Result<Value, Error> {
    match value {
        Value::Object(object) if a.kind == Kind::Complex => {
            let mut element = complex(dialect, a, label, object)?;
            if let Value::Object(element) = &mut element {
                element.retain(|_, part| !is_empty(part));
            }
            Ok(element)
        }
        _ if a.kind == Kind::Complex => Err(Error::invalid_value(format!(
            "each element of {label} must be an object"
        ))),
        other => single(dialect, a, label, other),
    }
}

fn single(
    dialect: Dialect,
    a: &'static Attribute,
    label: &str,
    value: Value,
) -> Result<Value, Error> {
    let value = quirks::single_value_in_array(dialect, value);
    match a.kind {
        Kind::Complex => {
            let value = if a.sub("value").is_some() {
                quirks::complex_is_its_value(dialect, value)
            } else {
                value
            };
            match value {
                Value::Object(object) => complex(dialect, a, label, object),
                Value::Null => Ok(Value::Null),
                _ => Err(Error::invalid_value(format!("{label} must be an object"))),
            }
        }
        Kind::Boolean => match quirks::boolean_as_text(dialect, value) {
            value @ (Value::Bool(_) | Value::Null) => Ok(value),
            _ => Err(Error::invalid_value(format!(
                "{label} must be true or false"
            ))),
        },
        Kind::String | Kind::DateTime | Kind::Binary | Kind::Reference => {
            match quirks::number_for_text(dialect, value) {
                Value::String(text) => {
                    let longest = if a.kind == Kind::Binary {
                        MAX_BINARY
                    } else {
                        MAX_TEXT
                    };
                    check_text(label, &text, longest)?;
                    Ok(Value::String(text))
                }
                Value::Null => Ok(Value::Null),
                _ => Err(Error::invalid_value(format!("{label} must be text"))),
            }
        }
    }
}

fn complex(
    dialect: Dialect,
    a: &'static Attribute,
    label: &str,
    object: Doc,
) -> Result<Value, Error> {
    let mut normal = Doc::new();
    for (name, value) in object {
        match a.sub(&name) {
            Some(sub) if sub.mutability == Mutability::ReadOnly => {}
            Some(sub) => {
                let value = attribute_value(dialect, sub, &format!("{label}.{}", sub.name), value)?;
                // An empty one stays for now: it clears what is stored.
                normal.insert(sub.name.to_owned(), value);
            }
            None => {
                check_raw(&name, &value)?;
                normal.insert(name, value);
            }
        }
    }
    Ok(Value::Object(normal))
}

/// RFC 7643 section 2.4: `primary` is true at most once.
pub(super) fn one_primary(
    dialect: Dialect,
    label: &str,
    elements: &mut [Value],
) -> Result<(), Error> {
    let mut seen = false;
    for element in elements {
        if element.get("primary") != Some(&Value::Bool(true)) {
            continue;
        }
        if seen && !quirks::first_primary_wins(dialect) {
            return Err(Error::invalid_value(format!(
                "{label}: only one element may be primary"
            )));
        }
        if seen {
            element["primary"] = Value::Bool(false);
        }
        seen = true;
    }
    Ok(())
}

/// The members that a value names: an array of objects with `value`.
pub(super) fn member_refs(dialect: Dialect, value: Value) -> Result<Vec<MemberRef>, Error> {
    let elements = match quirks::element_without_array(dialect, value) {
        Value::Null => Vec::new(),
        Value::Array(elements) => elements,
        _ => return Err(Error::invalid_value("members must be an array")),
    };
    if elements.len() > MAX_MEMBERS {
        return Err(Error::too_many(format!(
            "more than {MAX_MEMBERS} members in one request"
        )));
    }
    elements
        .into_iter()
        .map(|element| {
            let element = quirks::element_is_its_value(dialect, element);
            let found = element.as_object().and_then(|object| {
                object
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case("value"))
                    .map(|(_, v)| v)
            });
            match found.and_then(Value::as_str) {
                Some(id) if !id.is_empty() => {
                    check_text("members.value", id, 255)?;
                    Ok(MemberRef {
                        value: id.to_owned(),
                    })
                }
                _ => Err(Error::invalid_value(
                    "each member needs a value: the id of a user or a group",
                )),
            }
        })
        .collect()
}

/// Attributes that no schema here knows are kept as they are, within limits.
pub(super) fn check_raw(label: &str, value: &Value) -> Result<(), Error> {
    check_text("the name of an attribute", label, 255)?;
    match value {
        Value::String(text) => check_text(label, text, MAX_TEXT),
        Value::Array(values) => values.iter().try_for_each(|v| check_raw(label, v)),
        Value::Object(object) => object.iter().try_for_each(|(name, v)| check_raw(name, v)),
        _ => Ok(()),
    }
}

fn check_text(label: &str, text: &str, longest: usize) -> Result<(), Error> {
    if text.len() > longest {
        return Err(Error::invalid_value(format!(
            "{label} is longer than {longest} bytes"
        )));
    }
    if text.contains('\0') {
        return Err(Error::invalid_value(format!(
            "{label} holds the character U+0000"
        )));
    }
    Ok(())
}

/// RFC 7643 section 2.5: null and the empty array are the same as no value.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(elements) => elements.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

/// Takes out what has no value.
pub(super) fn prune(doc: &mut Doc) {
    for value in doc.values_mut() {
        if let Value::Object(object) = value {
            object.retain(|_, sub| !is_empty(sub));
        }
    }
    doc.retain(|_, value| !is_empty(value));
}

fn default_active(rt: ResourceType, doc: &mut Doc) {
    if rt == ResourceType::User && !doc.contains_key("active") {
        doc.insert("active".to_owned(), Value::Bool(true));
    }
}

/// Required attributes are there and not blank, and what look-ups go by fits into an index.
pub(super) fn check_required(rt: ResourceType, doc: &Doc) -> Result<(), Error> {
    for a in schema::core(rt).iter().filter(|a| a.required) {
        match doc.get(a.name).and_then(Value::as_str) {
            Some(text) if !text.trim().is_empty() => {}
            _ => return Err(Error::invalid_value(format!("{} is required", a.name))),
        }
    }
    let keys = keys(rt, doc);
    let all = [
        Some(&keys.name),
        keys.external_id.as_ref(),
        keys.display_name.as_ref(),
    ];
    for key in all.into_iter().flatten().chain(&keys.emails) {
        if key.len() > MAX_KEY {
            return Err(Error::invalid_value(format!(
                "userName, displayName, externalId and e-mail addresses have at most {MAX_KEY} bytes"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(dialect: Dialect, body: Value) -> Result<Change, Error> {
        parse_create(ResourceType::User, dialect, body)
    }

    #[test]
    fn both_ways_of_rendering_are_the_same() {
        let docs = [
            json!({}),
            json!({"userName": "ada", "name": {"givenName": "A\"\\\u{e9}{}"}}),
            json!({"urn:x:User": {"a": [1]}, "userName": "urn:y", "URN:\"z\"": {}}),
        ];
        for location in ["", "https://x/Users/1"] {
            let meta = Meta {
                id: "1".to_owned(),
                created: "2026-01-01T00:00:00.000Z".to_owned(),
                last_modified: "2026-01-02T00:00:00.000Z".to_owned(),
                version: if location.is_empty() { "" } else { "W/\"1\"" }.to_owned(),
                location: location.to_owned(),
            };
            for doc in &docs {
                for rt in [ResourceType::User, ResourceType::Group] {
                    for rows in [vec![], vec![json!({"value": "2"}), json!({"value": "3"})]] {
                        let mut text = Vec::new();
                        render_text(rt, &doc.to_string(), &meta, &rows, &mut text).unwrap();
                        let whole = render(rt, doc.as_object().unwrap(), &meta, Some(rows));
                        assert_eq!(
                            String::from_utf8(text).unwrap(),
                            Value::Object(whole).to_string()
                        );
                    }
                }
            }
        }
        let nothing: [Value; 0] = [];
        for broken in ["", "[]", "{\"a\":}", "{} {}"] {
            let meta = meta_of_nobody();
            let result = render_text(ResourceType::User, broken, &meta, &nothing, &mut Vec::new());
            assert!(result.is_err(), "{broken}");
        }
    }

    fn meta_of_nobody() -> Meta {
        Meta {
            id: String::new(),
            created: String::new(),
            last_modified: String::new(),
            version: String::new(),
            location: String::new(),
        }
    }

    #[test]
    fn names_become_canonical_and_the_servers_own_is_dropped() {
        let change = create(
            Dialect::Rfc,
            json!({
                "SCHEMAS": [schema::USER], "ID": "mine", "username": "ada", "PASSWORD": "secret",
                "meta": {"created": "x"}, "groups": [{"value": "g"}], "title": null, "roles": [],
                "NAME": {"GIVENNAME": "Ada", "familyName": null, "suffixes": ["x"]},
                "emails": [{"VALUE": "a@b", "Primary": true}],
                "URN:ietf:params:scim:schemas:extension:enterprise:2.0:USER": {"DEPARTMENT": "R"},
                "urn:x:y:User": {"Level": 1}, "custom": "kept",
            }),
        )
        .unwrap();
        assert_eq!(
            Value::Object(change.doc),
            json!({
                "userName": "ada", "name": {"givenName": "Ada", "suffixes": ["x"]},
                "emails": [{"value": "a@b", "primary": true}],
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "R"},
                "urn:x:y:User": {"Level": 1}, "custom": "kept", "active": true,
            })
        );
        assert!(change.members.is_empty());
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_name() {
        let user = |more: Value| {
            let mut body = json!({"schemas": [schema::USER], "userName": "ada"});
            body.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            create(Dialect::Rfc, body).unwrap_err().detail().to_owned()
        };
        assert_eq!(
            user(json!({"active": "true"})),
            "active must be true or false"
        );
        assert_eq!(user(json!({"userName": "  "})), "userName is required");
        assert_eq!(user(json!({"userName": ["ada"]})), "userName must be text");
        assert_eq!(user(json!({"emails": "a@b"})), "emails must be an array");
        assert_eq!(
            user(json!({"emails": ["a@b"]})),
            "each element of emails must be an object"
        );
        assert_eq!(user(json!({"name": "Ada"})), "name must be an object");
        assert_eq!(
            user(json!({"title": "a\u{0}"})),
            "title holds the character U+0000"
        );
        assert_eq!(
            user(json!({"x": {"y": ["a\u{0}"]}})),
            "y holds the character U+0000"
        );
        assert_eq!(
            user(json!({"title": "x".repeat(10_001)})),
            "title is longer than 10000 bytes"
        );
        assert_eq!(
            user(
                json!({"emails": [{"value": "a", "primary": true}, {"value": "b", "primary": true}]})
            ),
            "emails: only one element may be primary"
        );
        assert_eq!(
            create(Dialect::Rfc, json!({"userName": "ada"}))
                .unwrap_err()
                .scim_type(),
            Some("invalidValue")
        );
        assert_eq!(
            create(Dialect::Rfc, json!([])).unwrap_err().scim_type(),
            Some("invalidSyntax")
        );
    }

    #[test]
    fn a_strict_put_replaces_everything() {
        let current: Doc =
            serde_json::from_value(json!({"userName": "ada", "title": "x", "active": false}))
                .unwrap();
        let body = json!({"schemas": [schema::USER], "userName": "ada"});
        let change = apply_put(ResourceType::User, Dialect::Rfc, &current, body).unwrap();
        assert_eq!(
            Value::Object(change.doc),
            json!({"userName": "ada", "active": false})
        );
    }

    #[test]
    fn a_strict_put_of_a_group_without_members_empties_it() {
        let body = json!({"schemas": [schema::GROUP], "displayName": "g"});
        let change = apply_put(ResourceType::Group, Dialect::Rfc, &Doc::new(), body).unwrap();
        assert_eq!(change.members, [MemberEdit::ReplaceAll(Vec::new())]);
    }
}
