//! PATCH (RFC 7644 section 3.5.2): parsed once, applied to a document as a whole or not at all.

use serde_json::{Value, json};

use super::filter::{CompareOp, Compiled, Filter, Literal, compile_elements, names_a_schema};
use super::path::{self, PatchPath};
use super::resource::{
    self, Change, MemberEdit, attribute_value, check_raw, is_urn, member_refs, object, one_primary,
    single_element, without_passwords,
};
use super::schema::{self, Attribute, Kind, Mutability};
use super::{Dialect, Doc, Error, ResourceType, fold, quirks};

/// How many operations one request may hold.
const MAX_OPERATIONS: usize = 1000;
/// URN of the message.
const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchOp {
    kind: OpKind,
    path: Option<PatchPath>,
    value: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OpKind {
    Add,
    Remove,
    Replace,
}

/// Reads a request.
pub fn parse(dialect: Dialect, body: Value) -> Result<Vec<PatchOp>, Error> {
    let mut body = object(body)?;
    if !quirks::schemas_optional(dialect) {
        let stated = take(&mut body, "schemas");
        let named = stated
            .as_ref()
            .and_then(Value::as_array)
            .is_some_and(|urns| {
                urns.iter().any(|urn| {
                    urn.as_str()
                        .is_some_and(|u| u.eq_ignore_ascii_case(PATCH_OP))
                })
            });
        if !named {
            return Err(Error::invalid_syntax(format!(
                "schemas must hold {PATCH_OP}"
            )));
        }
    }
    let operations = match take(&mut body, "Operations") {
        Some(Value::Array(operations)) if !operations.is_empty() => operations,
        Some(Value::Array(_)) => return Err(Error::invalid_syntax("Operations is empty")),
        Some(_) => return Err(Error::invalid_syntax("Operations must be an array")),
        None => return Err(Error::invalid_syntax("Operations is missing")),
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(Error::too_many(format!(
            "more than {MAX_OPERATIONS} operations in one request"
        )));
    }
    operations.into_iter().map(operation).collect()
}

fn operation(value: Value) -> Result<PatchOp, Error> {
    let Value::Object(mut object) = value else {
        return Err(Error::invalid_syntax("each operation must be an object"));
    };
    let op = take(&mut object, "op");
    // The RFC writes them in lower case and says no more; Entra ID capitalises them, IDCS may shout.
    let kind = match op
        .as_ref()
        .and_then(Value::as_str)
        .map(str::to_ascii_lowercase)
        .as_deref()
    {
        Some("add") => OpKind::Add,
        Some("remove") => OpKind::Remove,
        Some("replace") => OpKind::Replace,
        _ => return Err(Error::invalid_syntax("op must be add, remove or replace")),
    };
    let path = match take(&mut object, "path") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.trim().is_empty() => None,
        Some(Value::String(text)) => Some(path::parse(&text)?),
        Some(_) => return Err(Error::invalid_path("path must be text")),
    };
    Ok(PatchOp {
        kind,
        path,
        value: take(&mut object, "value").map(without_passwords),
    })
}

fn take(object: &mut Doc, name: &str) -> Option<Value> {
    let key = object
        .keys()
        .find(|key| key.eq_ignore_ascii_case(name))?
        .clone();
    object.remove(&key)
}

/// Applies operations to a stored document, in order. An error leaves nothing behind.
pub fn apply(
    rt: ResourceType,
    dialect: Dialect,
    current: &Doc,
    operations: &[PatchOp],
) -> Result<Change, Error> {
    let mut patch = Patch {
        rt,
        dialect,
        doc: current.clone(),
        members: Vec::new(),
    };
    for op in operations {
        patch.apply(op)?;
    }
    let Patch {
        mut doc, members, ..
    } = patch;
    resource::prune(&mut doc);
    resource::check_required(rt, &doc)?;
    Ok(Change { doc, members })
}

struct Patch {
    rt: ResourceType,
    dialect: Dialect,
    doc: Doc,
    members: Vec<MemberEdit>,
}

/// What a path leads to: an attribute of the core, of an extension, or an extension as a whole.
enum Place {
    Core {
        name: String,
        attribute: Option<&'static Attribute>,
    },
    InExtension {
        urn: String,
        name: String,
        attribute: Option<&'static Attribute>,
    },
    Extension {
        urn: String,
    },
}

impl Patch {
    fn apply(&mut self, op: &PatchOp) -> Result<(), Error> {
        match (&op.path, op.kind) {
            (Some(path), _) => self.at(op.kind, path, op.value.clone(), true),
            (None, OpKind::Remove) => Err(Error::no_target("remove needs a path")),
            (None, _) => match &op.value {
                Some(Value::Object(values)) => self.whole(op.kind, values),
                _ => Err(Error::invalid_value(
                    "without a path, value must be an object",
                )),
            },
        }
    }

    /// An operation without a path: each key of the value is one.
    fn whole(&mut self, kind: OpKind, values: &Doc) -> Result<(), Error> {
        for (key, value) in values {
            if key.eq_ignore_ascii_case("schemas") {
                continue;
            }
            if key.eq_ignore_ascii_case(self.rt.schema()) {
                match value {
                    Value::Object(core) => self.whole(kind, core)?,
                    _ => return Err(Error::invalid_value(format!("{key} must be an object"))),
                }
                continue;
            }
            match path::parse(key) {
                Ok(path)
                    if !quirks::paths_as_keys(self.dialect)
                        && (path.filter.is_some()
                            || path.attr.urn.is_none() && path.attr.sub.is_some()) =>
                {
                    return Err(Error::invalid_path(format!(
                        "without a path, the keys of value are names of attributes, and {key:?} is a path"
                    )));
                }
                Ok(path) => self.at(kind, &path, Some(value.clone()), false)?,
                // A name that no path can have is kept as sent where unknown names are.
                Err(_) if quirks::unknown_path_kept(self.dialect) => {
                    check_raw(key, value)?;
                    self.doc.insert(key.clone(), value.clone());
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn at(
        &mut self,
        kind: OpKind,
        path: &PatchPath,
        value: Option<Value>,
        has_path: bool,
    ) -> Result<(), Error> {
        if resource::is_password(&path.to_string()) {
            return Ok(());
        }
        match self.resolve(path) {
            Place::Extension { urn } => self.extension(kind, &urn, value),
            Place::InExtension {
                urn,
                name,
                attribute,
            } => {
                let key = self.extension_key(&urn);
                let mut inner = match self.doc.remove(&key) {
                    Some(Value::Object(inner)) => inner,
                    _ => Doc::new(),
                };
                let label = format!("{key}:{name}");
                let done = self.attribute(&mut inner, kind, path, &name, &label, attribute, value);
                // Put back even if it failed: the whole patch is dropped then.
                self.doc.insert(key, Value::Object(inner));
                done
            }
            Place::Core { name, attribute } => {
                self.core(kind, path, &name, attribute, value, has_path)
            }
        }
    }

    fn resolve(&self, path: &PatchPath) -> Place {
        let core = |name: &str| {
            let attribute = schema::attribute(self.rt, name);
            let name = match attribute {
                Some(a) => a.name.to_owned(),
                // An unknown name that is stored already, in the spelling that it has there.
                None => self
                    .doc
                    .keys()
                    .find(|key| key.eq_ignore_ascii_case(name))
                    .cloned()
                    .unwrap_or_else(|| name.to_owned()),
            };
            Place::Core { name, attribute }
        };
        let Some(urn) = &path.attr.urn else {
            return core(&path.attr.name);
        };
        if urn.eq_ignore_ascii_case(self.rt.schema()) {
            return core(&path.attr.name);
        }
        let whole = format!("{urn}:{}", path.attr.name);
        if path.attr.sub.is_none() && names_a_schema(&whole) {
            return Place::Extension { urn: whole };
        }
        let attribute =
            schema::extension(urn).and_then(|known| schema::find(known, &path.attr.name));
        let name = attribute.map_or_else(|| path.attr.name.clone(), |a| a.name.to_owned());
        Place::InExtension {
            urn: urn.clone(),
            name,
            attribute,
        }
    }

    /// The spelling under which an extension is stored, or will be.
    fn extension_key(&self, urn: &str) -> String {
        if urn.eq_ignore_ascii_case(schema::ENTERPRISE_USER) {
            return schema::ENTERPRISE_USER.to_owned();
        }
        self.doc
            .keys()
            .find(|key| is_urn(key) && key.eq_ignore_ascii_case(urn))
            .cloned()
            .unwrap_or_else(|| urn.to_owned())
    }

    /// A whole extension: its attributes are merged one by one, as those of any complex attribute.
    fn extension(&mut self, kind: OpKind, urn: &str, value: Option<Value>) -> Result<(), Error> {
        let key = self.extension_key(urn);
        if kind == OpKind::Remove || value.as_ref().is_none_or(Value::is_null) {
            if kind != OpKind::Remove && value.is_none() {
                return Err(Error::invalid_value(format!("{key}: value is missing")));
            }
            self.doc.remove(&key);
            return Ok(());
        }
        let (key, value) = resource::extension(self.dialect, &key, value.unwrap_or_default())?;
        match (self.doc.get_mut(&key), value) {
            (Some(Value::Object(stored)), Value::Object(stated)) => {
                for (name, value) in stated {
                    stored.insert(name, value);
                }
            }
            (_, value) => {
                self.doc.insert(key, value);
            }
        }
        Ok(())
    }

    fn core(
        &mut self,
        kind: OpKind,
        path: &PatchPath,
        name: &str,
        attribute: Option<&'static Attribute>,
        value: Option<Value>,
        has_path: bool,
    ) -> Result<(), Error> {
        if self.is_membership(name) {
            return self.membership(kind, path, value);
        }
        match attribute {
            Some(a) if a.mutability == Mutability::ReadOnly || a.name == "schemas" => {
                // Clients send back what they got: without a path it is passed over, as in a PUT.
                if !has_path {
                    return Ok(());
                }
                return Err(Error::mutability(format!("{name} is read-only")));
            }
            Some(a) if a.mutability == Mutability::WriteOnly => {
                // Checked like any text, and dropped: Usher keeps no passwords.
                if let Some(value) = value {
                    attribute_value(self.dialect, a, name, value)?;
                }
                return Ok(());
            }
            None if !self.doc.contains_key(name)
                && !quirks::unknown_path_kept(self.dialect)
                && has_path =>
            {
                return Err(Error::invalid_path(format!(
                    "a {} has no attribute {name}",
                    self.rt.name()
                )));
            }
            _ => {}
        }
        let mut doc = std::mem::take(&mut self.doc);
        let done = self.attribute(&mut doc, kind, path, name, name, attribute, value);
        self.doc = doc;
        done
    }

    /// Whether the attribute is rows: members of a group; groups of a user where that is allowed.
    fn is_membership(&self, name: &str) -> bool {
        match self.rt {
            ResourceType::Group => name == "members",
            ResourceType::User => name == "groups" && quirks::groups_on_user(self.dialect),
        }
    }

    fn membership(
        &mut self,
        kind: OpKind,
        path: &PatchPath,
        value: Option<Value>,
    ) -> Result<(), Error> {
        let name = &path.attr.name;
        if path.attr.sub.is_some() || path.sub.is_some() {
            return Err(Error::mutability(format!(
                "the parts of {name} cannot be changed; add and remove members"
            )));
        }
        let attribute = schema::attribute(self.rt, name);
        let edit = match (kind, &path.filter, value) {
            (OpKind::Remove, Some(filter), _) => {
                MemberEdit::RemoveWhere(compile_elements(attribute, filter)?)
            }
            (_, Some(_), _) => {
                return Err(Error::no_target(format!("{name}[…] can only be removed")));
            }
            (OpKind::Remove, None, None | Some(Value::Null)) => MemberEdit::ReplaceAll(Vec::new()),
            (OpKind::Remove, None, Some(value)) => {
                // Not in the RFC; IDCS, Entra ID and others name what to remove in the value.
                let value = if value.is_array() {
                    value
                } else {
                    json!([value])
                };
                let members = member_refs(self.dialect, value)?;
                MemberEdit::Remove(members.into_iter().map(|m| m.value).collect())
            }
            (OpKind::Add, None, Some(value)) => {
                let value = if value.is_object() {
                    json!([value])
                } else {
                    value
                };
                MemberEdit::Add(member_refs(self.dialect, value)?)
            }
            (OpKind::Replace, None, Some(value)) => {
                let value = if value.is_object() {
                    json!([value])
                } else {
                    value
                };
                MemberEdit::ReplaceAll(member_refs(self.dialect, value)?)
            }
            (_, None, None) => {
                return Err(Error::invalid_value(format!("{name}: value is missing")));
            }
        };
        self.members.push(edit);
        Ok(())
    }

    /// One attribute within its container: the document, or an extension's object.
    #[expect(clippy::too_many_arguments, reason = "the parts of one operation")]
    fn attribute(
        &self,
        container: &mut Doc,
        kind: OpKind,
        path: &PatchPath,
        name: &str,
        label: &str,
        attribute: Option<&'static Attribute>,
        value: Option<Value>,
    ) -> Result<(), Error> {
        if kind != OpKind::Remove && value.is_none() {
            return Err(Error::invalid_value(format!("{label}: value is missing")));
        }
        // Null is no value (RFC 7643 section 2.5): setting it is removing.
        let value = value.filter(|value| !value.is_null());
        if let Some(filter) = &path.filter {
            return self.elements(
                container,
                kind,
                filter,
                path.sub.as_deref(),
                name,
                label,
                attribute,
                value,
            );
        }
        if let Some(sub) = &path.attr.sub {
            return self.sub_attribute(container, sub, name, label, attribute, value);
        }
        let removed = kind == OpKind::Remove;
        match (attribute, value) {
            (Some(a), None) if a.required => Err(Error::mutability(format!("{label} is required"))),
            (_, None) => {
                container.remove(name);
                Ok(())
            }
            (Some(a), Some(value)) if removed && a.multi => {
                self.remove_elements(container, name, label, a, value)
            }
            (Some(a), Some(_)) if removed => {
                if a.required {
                    return Err(Error::mutability(format!("{label} is required")));
                }
                container.remove(name);
                Ok(())
            }
            (None, Some(_)) if removed => {
                container.remove(name);
                Ok(())
            }
            (Some(a), Some(value)) if a.multi => self.list(container, kind, name, label, a, value),
            (Some(a), Some(value)) => {
                let value = attribute_value(self.dialect, a, label, value)?;
                match (container.get_mut(name), value) {
                    // RFC 7644 section 3.5.2.3: parts that are not named stay.
                    (Some(Value::Object(stored)), Value::Object(stated)) => {
                        for (sub, value) in stated {
                            stored.insert(sub, value);
                        }
                    }
                    (_, value) => {
                        container.insert(name.to_owned(), value);
                    }
                }
                Ok(())
            }
            (None, Some(value)) => {
                check_raw(label, &value)?;
                match (kind, container.get_mut(name), value) {
                    (OpKind::Add, Some(Value::Array(stored)), Value::Array(stated)) => {
                        for value in stated {
                            if !stored.contains(&value) {
                                stored.push(value);
                            }
                        }
                    }
                    (_, Some(Value::Object(stored)), Value::Object(stated)) => {
                        for (sub, value) in stated {
                            stored.insert(sub, value);
                        }
                    }
                    (_, _, value) => {
                        container.insert(name.to_owned(), value);
                    }
                }
                Ok(())
            }
        }
    }

    /// `add` and `replace` of a list as a whole.
    fn list(
        &self,
        container: &mut Doc,
        kind: OpKind,
        name: &str,
        label: &str,
        a: &'static Attribute,
        value: Value,
    ) -> Result<(), Error> {
        let value = if value.is_object() {
            json!([value])
        } else {
            value
        };
        let Value::Array(stated) = attribute_value(self.dialect, a, label, value)? else {
            return Err(Error::invalid_value(format!("{label} must be an array")));
        };
        if kind == OpKind::Replace {
            container.insert(name.to_owned(), Value::Array(stated));
            return Ok(());
        }
        let mut elements = stored_elements(container, name);
        for element in stated {
            let at = elements
                .iter()
                .position(|stored| same_element(stored, &element));
            let at = match (at, element) {
                (Some(at), element) => {
                    merge(&mut elements[at], element);
                    at
                }
                (None, element) => {
                    elements.push(element);
                    elements.len() - 1
                }
            };
            keep_primary(&mut elements, at);
        }
        container.insert(name.to_owned(), Value::Array(elements));
        Ok(())
    }

    /// `remove` of a list with values: those are removed. Not in the RFC, but meant.
    fn remove_elements(
        &self,
        container: &mut Doc,
        name: &str,
        label: &str,
        a: &'static Attribute,
        value: Value,
    ) -> Result<(), Error> {
        let value = if value.is_array() {
            value
        } else {
            json!([value])
        };
        let Value::Array(stated) = attribute_value(self.dialect, a, label, value)? else {
            return Err(Error::invalid_value(format!("{label} must be an array")));
        };
        let mut elements = stored_elements(container, name);
        elements.retain(|stored| !stated.iter().any(|element| same_element(stored, element)));
        container.insert(name.to_owned(), Value::Array(elements));
        Ok(())
    }

    /// `name.familyName`, and `emails.value` for all elements.
    fn sub_attribute(
        &self,
        container: &mut Doc,
        sub: &str,
        name: &str,
        label: &str,
        attribute: Option<&'static Attribute>,
        value: Option<Value>,
    ) -> Result<(), Error> {
        let (sub, value) = self.sub_value(attribute, sub, label, value)?;
        if attribute.is_some_and(|a| a.multi) || container.get(name).is_some_and(Value::is_array) {
            let mut elements = stored_elements(container, name);
            if elements.is_empty() && value.is_some() {
                elements.push(json!({}));
            }
            for element in &mut elements {
                set(element, &sub, value.clone());
            }
            one_primary(self.dialect, label, &mut elements)?;
            elements.retain(|element| !resource::is_empty(element));
            container.insert(name.to_owned(), Value::Array(elements));
            return Ok(());
        }
        if value.is_none() && !container.contains_key(name) {
            return Ok(());
        }
        let whole = container
            .entry(name.to_owned())
            .or_insert_with(|| json!({}));
        if !whole.is_object() {
            return Err(Error::invalid_path(format!("{label} has no parts")));
        }
        set(whole, &sub, value);
        Ok(())
    }

    /// The canonical name and the checked value of a sub-attribute.
    fn sub_value(
        &self,
        attribute: Option<&'static Attribute>,
        sub: &str,
        label: &str,
        value: Option<Value>,
    ) -> Result<(String, Option<Value>), Error> {
        let label = format!("{label}.{sub}");
        match attribute.map(|a| (a, a.sub(sub))) {
            Some((a, _)) if a.kind != Kind::Complex => {
                Err(Error::invalid_path(format!("{} has no parts", a.name)))
            }
            Some((_, Some(known))) if known.mutability == Mutability::ReadOnly => {
                Err(Error::mutability(format!("{label} is read-only")))
            }
            Some((_, Some(known))) => {
                let value = value
                    .map(|v| attribute_value(self.dialect, known, &label, v))
                    .transpose()?;
                Ok((known.name.to_owned(), value))
            }
            Some((a, None)) if !quirks::unknown_path_kept(self.dialect) => {
                Err(Error::invalid_path(format!("{} has no part {sub}", a.name)))
            }
            _ => {
                if let Some(value) = &value {
                    check_raw(&label, value)?;
                }
                Ok((sub.to_owned(), value))
            }
        }
    }

    /// `emails[type eq "work"]` and `emails[type eq "work"].value`.
    #[expect(clippy::too_many_arguments, reason = "the parts of one operation")]
    fn elements(
        &self,
        container: &mut Doc,
        kind: OpKind,
        selection: &Filter,
        sub: Option<&str>,
        name: &str,
        label: &str,
        attribute: Option<&'static Attribute>,
        value: Option<Value>,
    ) -> Result<(), Error> {
        if attribute.is_some_and(|a| !a.multi) {
            return Err(Error::invalid_path(format!(
                "{label} holds one value and takes no filter"
            )));
        }
        let compiled = compile_elements(attribute, selection)?;
        let mut elements = stored_elements(container, name);
        let mut selected: Vec<usize> = (0..elements.len())
            .filter(|at| self.selects(name, attribute, &compiled, &elements[*at]))
            .collect();
        if value.is_none() && sub.is_none() {
            // Already gone is gone.
            let mut at = 0;
            elements.retain(|_| {
                at += 1;
                !selected.contains(&(at - 1))
            });
            container.insert(name.to_owned(), Value::Array(elements));
            return Ok(());
        }
        let sub = match sub {
            Some(sub) => Some(self.sub_value(attribute, sub, label, value.clone())?),
            None => None,
        };
        let whole = match (&sub, value, attribute) {
            (None, Some(value), Some(a)) => Some(single_element(self.dialect, a, label, value)?),
            (None, Some(value), None) => {
                check_raw(label, &value)?;
                Some(value)
            }
            _ => None,
        };
        let removing = whole.is_none() && sub.as_ref().is_some_and(|(_, value)| value.is_none());
        let mut made = false;
        if selected.is_empty() && !removing {
            let may_make = kind == OpKind::Add || quirks::replace_makes_element(self.dialect);
            match implied(selection, attribute).filter(|_| may_make) {
                Some(element) => {
                    elements.push(Value::Object(element));
                    selected.push(elements.len() - 1);
                    made = true;
                }
                None => {
                    return Err(Error::no_target(format!(
                        "no element of {label} is selected by the filter"
                    )));
                }
            }
        }
        for at in selected {
            match (&sub, &whole) {
                (Some((sub, value)), _) => set(&mut elements[at], sub, value.clone()),
                (None, Some(value)) if kind == OpKind::Replace && !made => {
                    elements[at] = value.clone()
                }
                (None, Some(value)) => merge(&mut elements[at], value.clone()),
                (None, None) => {}
            }
            keep_primary(&mut elements, at);
        }
        elements.retain(|element| !resource::is_empty(element));
        container.insert(name.to_owned(), Value::Array(elements));
        Ok(())
    }

    /// Whether the filter of a value path selects an element.
    fn selects(
        &self,
        name: &str,
        attribute: Option<&'static Attribute>,
        compiled: &Compiled,
        element: &Value,
    ) -> bool {
        let name = attribute.map_or(name, |a| a.name);
        let mut doc = Doc::new();
        doc.insert(name.to_owned(), json!([element]));
        let folded = fold::fold(self.rt, &doc);
        compiled.matches(&folded[fold::fold_text(name)][0])
    }
}

fn stored_elements(container: &mut Doc, name: &str) -> Vec<Value> {
    match container.remove(name) {
        Some(Value::Array(elements)) => elements,
        None | Some(Value::Null) => Vec::new(),
        Some(other) => vec![other],
    }
}

/// Elements are the same if value and type are; an element without a value is the same only as its equal.
fn same_element(stored: &Value, stated: &Value) -> bool {
    if stored == stated {
        return true;
    }
    let text = |element: &Value, name: &str| {
        element
            .get(name)
            .and_then(Value::as_str)
            .map(fold::fold_text)
    };
    text(stored, "value").is_some()
        && text(stored, "value") == text(stated, "value")
        && text(stored, "type") == text(stated, "type")
}

fn merge(stored: &mut Value, stated: Value) {
    match (stored, stated) {
        (Value::Object(stored), Value::Object(stated)) => {
            for (sub, value) in stated {
                stored.insert(sub, value);
            }
        }
        (stored, stated) => *stored = stated,
    }
}

fn set(element: &mut Value, sub: &str, value: Option<Value>) {
    if let Value::Object(element) = element {
        match value {
            Some(value) => {
                element.insert(sub.to_owned(), value);
            }
            None => {
                element.remove(sub);
            }
        }
    }
}

/// A new primary takes the mark from the old one (RFC 7644 section 3.5.2).
fn keep_primary(elements: &mut [Value], newest: usize) {
    if elements[newest].get("primary") != Some(&Value::Bool(true)) {
        return;
    }
    for (at, element) in elements.iter_mut().enumerate() {
        if at != newest && element.get("primary") == Some(&Value::Bool(true)) {
            element["primary"] = Value::Bool(false);
        }
    }
}

/// The element that `type eq "work" and …` describes, if the filter is nothing but equalities.
fn implied(filter: &Filter, attribute: Option<&'static Attribute>) -> Option<Doc> {
    let mut element = Doc::new();
    let parts = match filter {
        Filter::And(parts) => parts.as_slice(),
        one => std::slice::from_ref(one),
    };
    for part in parts {
        let Filter::Compare {
            path,
            op: CompareOp::Eq,
            value,
        } = part
        else {
            return None;
        };
        if path.urn.is_some() || path.sub.is_some() {
            return None;
        }
        let known = attribute.and_then(|a| a.sub(&path.name));
        let value = match value {
            Literal::String(text) if known.is_some_and(|k| k.kind == Kind::Boolean) => {
                Value::Bool(text.eq_ignore_ascii_case("true"))
            }
            Literal::String(text) => json!(text),
            Literal::Bool(value) => json!(value),
            Literal::Number(number) => Value::Number(number.clone()),
            Literal::Null => continue,
        };
        element.insert(
            known.map_or_else(|| path.name.clone(), |k| k.name.to_owned()),
            value,
        );
    }
    Some(element)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scim::resource::MemberRef;

    fn user() -> Doc {
        serde_json::from_value(json!({
            "userName": "ada", "active": true, "title": "Countess",
            "name": {"givenName": "Ada", "familyName": "Byron"},
            "emails": [
                {"value": "ada@home.example", "type": "home", "primary": true},
                {"value": "ada@work.example", "type": "work"},
            ],
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "R&D"},
        }))
        .unwrap()
    }

    fn patched(rt: ResourceType, dialect: Dialect, ops: Value) -> Result<Change, Error> {
        let body = json!({"schemas": [PATCH_OP], "Operations": ops});
        apply(rt, dialect, &user(), &parse(dialect, body)?)
    }

    /// What one strict operation makes of one attribute.
    fn after(op: Value, attribute: &str) -> Value {
        let change = patched(ResourceType::User, Dialect::Rfc, json!([op])).unwrap();
        change.doc.get(attribute).cloned().unwrap_or_default()
    }

    fn refused(op: Value) -> Option<&'static str> {
        patched(ResourceType::User, Dialect::Rfc, json!([op]))
            .unwrap_err()
            .scim_type()
    }

    #[test]
    fn single_values() {
        assert_eq!(
            after(
                json!({"op": "replace", "path": "TITLE", "value": "x"}),
                "title"
            ),
            "x"
        );
        assert_eq!(
            after(
                json!({"op": "add", "path": "nickName", "value": "x"}),
                "nickName"
            ),
            "x"
        );
        assert_eq!(
            after(json!({"op": "remove", "path": "title"}), "title"),
            Value::Null
        );
        assert_eq!(
            after(json!({"op": "remove", "path": "nickName"}), "nickName"),
            Value::Null
        );
        assert_eq!(
            after(
                json!({"op": "replace", "path": "title", "value": null}),
                "title"
            ),
            Value::Null
        );
        assert_eq!(
            after(json!({"op": "Replace", "value": {"title": "x"}}), "title"),
            "x"
        );
    }

    #[test]
    fn a_path_is_no_key() {
        for key in ["name.familyName", "emails[type eq \"work\"].value"] {
            let op = json!({"op": "replace", "value": {key: "x"}});
            assert_eq!(refused(op.clone()), Some("invalidPath"));
            for dialect in [Dialect::Idcs, Dialect::EntraId] {
                assert!(patched(ResourceType::User, dialect, json!([op])).is_ok());
            }
        }
    }

    #[test]
    fn parts_that_are_not_named_stay() {
        let name = json!({"givenName": "Ada", "familyName": "Lovelace"});
        for op in [
            json!({"op": "replace", "path": "name.familyName", "value": "Lovelace"}),
            json!({"op": "add", "path": "name", "value": {"familyName": "Lovelace"}}),
            json!({"op": "replace", "path": "name", "value": {"familyName": "Lovelace"}}),
            json!({"op": "replace", "value": {"name": {"FamilyName": "Lovelace"}}}),
        ] {
            assert_eq!(after(op, "name"), name);
        }
        assert_eq!(
            after(json!({"op": "remove", "path": "name.familyName"}), "name"),
            json!({"givenName": "Ada"})
        );
    }

    #[test]
    fn lists() {
        let work = json!({"value": "ada@work.example", "type": "work"});
        let home = json!({"value": "ada@home.example", "type": "home", "primary": true});
        let other = json!({"value": "x@y", "type": "other"});
        assert_eq!(
            after(
                json!({"op": "add", "path": "emails", "value": [other]}),
                "emails"
            ),
            json!([home, work, other])
        );
        assert_eq!(
            after(
                json!({"op": "replace", "path": "emails", "value": [other]}),
                "emails"
            ),
            json!([other])
        );
        assert_eq!(
            after(
                json!({"op": "add", "path": "emails", "value": [work]}),
                "emails"
            ),
            json!([home, work])
        );
        assert_eq!(
            after(
                json!({"op": "remove", "path": "emails[type eq \"home\"]"}),
                "emails"
            ),
            json!([work])
        );
        assert_eq!(
            after(
                json!({"op": "replace", "path": "emails[type eq \"work\"].value", "value": "n@w"}),
                "emails"
            )[1]["value"],
            "n@w"
        );
        assert_eq!(
            after(
                json!({"op": "add", "path": "emails[type eq \"other\"].value", "value": "n@o"}),
                "emails"
            )[2],
            json!({"type": "other", "value": "n@o"})
        );
        assert_eq!(
            after(
                json!({"op": "remove", "path": "emails[type eq \"none\"]"}),
                "emails"
            ),
            json!([home, work])
        );
        assert_eq!(
            after(json!({"op": "remove", "path": "emails"}), "emails"),
            Value::Null
        );
    }

    #[test]
    fn a_new_primary_takes_the_mark() {
        let emails = after(
            json!({"op": "add", "path": "emails[type eq \"work\"].primary", "value": true}),
            "emails",
        );
        assert_eq!(
            (&emails[0]["primary"], &emails[1]["primary"]),
            (&json!(false), &json!(true))
        );
    }

    #[test]
    fn extensions() {
        const URN: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        assert_eq!(
            after(
                json!({"op": "replace", "path": format!("{URN}:department"), "value": "X"}),
                URN
            ),
            json!({"department": "X"})
        );
        assert_eq!(
            after(
                json!({"op": "add", "path": URN, "value": {"costCenter": "1"}}),
                URN
            ),
            json!({"department": "R&D", "costCenter": "1"})
        );
        assert_eq!(
            after(
                json!({"op": "add", "path": format!("{URN}:manager.value"), "value": "m"}),
                URN
            )["manager"],
            json!({"value": "m"})
        );
        assert_eq!(
            after(json!({"op": "remove", "path": URN}), URN),
            Value::Null
        );
        assert_eq!(
            after(
                json!({"op": "add", "path": "urn:x:1.0:User:level", "value": 3}),
                "urn:x:1.0:User"
            ),
            json!({"level": 3})
        );
    }

    #[test]
    fn refusals_have_their_type() {
        assert_eq!(refused(json!({"op": "remove"})), Some("noTarget"));
        assert_eq!(
            refused(json!({"op": "move", "path": "title"})),
            Some("invalidSyntax")
        );
        assert_eq!(
            refused(json!({"op": "add", "path": "title"})),
            Some("invalidValue")
        );
        assert_eq!(
            refused(json!({"op": "add", "path": "a b", "value": 1})),
            Some("invalidPath")
        );
        assert_eq!(
            refused(json!({"op": "add", "path": "nonsense", "value": 1})),
            Some("invalidPath")
        );
        assert_eq!(
            refused(json!({"op": "replace", "path": "id", "value": "x"})),
            Some("mutability")
        );
        assert_eq!(
            refused(json!({"op": "replace", "path": "groups", "value": []})),
            Some("mutability")
        );
        assert_eq!(
            refused(json!({"op": "remove", "path": "userName"})),
            Some("mutability")
        );
        assert_eq!(
            refused(json!({"op": "replace", "path": "userName", "value": ""})),
            Some("invalidValue")
        );
        assert_eq!(
            refused(json!({"op": "replace", "path": "active", "value": "no"})),
            Some("invalidValue")
        );
        assert_eq!(
            refused(json!({"op": "replace", "path": "emails[type eq \"x\"].value", "value": "a"})),
            Some("noTarget")
        );
    }

    #[test]
    fn members_become_edits() {
        let edits =
            |op: Value| patched(ResourceType::Group, Dialect::Rfc, json!([op])).unwrap_err();
        // A user document is no group: only the name is missing, and that is said at the end.
        assert_eq!(
            edits(json!({"op": "add", "path": "members", "value": []})).detail(),
            "displayName is required"
        );
        let group: Doc = serde_json::from_value(json!({"displayName": "g"})).unwrap();
        let edits = |op: Value| {
            let body = json!({"schemas": [PATCH_OP], "Operations": [op]});
            apply(
                ResourceType::Group,
                Dialect::Rfc,
                &group,
                &parse(Dialect::Rfc, body).unwrap(),
            )
            .unwrap()
            .members
        };
        let member = |id: &str| MemberRef {
            value: id.to_owned(),
        };
        assert_eq!(
            edits(
                json!({"op": "add", "path": "members", "value": [{"value": "a"}, {"value": "b"}]})
            ),
            [MemberEdit::Add(vec![member("a"), member("b")])]
        );
        assert_eq!(
            edits(json!({"op": "remove", "path": "members", "value": [{"value": "a"}]})),
            [MemberEdit::Remove(vec!["a".to_owned()])]
        );
        assert_eq!(
            edits(json!({"op": "remove", "path": "members"})),
            [MemberEdit::ReplaceAll(Vec::new())]
        );
        assert_eq!(
            edits(json!({"op": "replace", "value": {"members": [{"value": "a"}]}})),
            [MemberEdit::ReplaceAll(vec![member("a")])]
        );
        assert!(matches!(
            edits(json!({"op": "remove", "path": "members[value eq \"a\"]"})).as_slice(),
            [MemberEdit::RemoveWhere(_)]
        ));
    }

    #[test]
    fn a_failing_operation_undoes_the_ones_before_it() {
        let body = json!([
            {"op": "replace", "path": "title", "value": "x"},
            {"op": "replace", "path": "id", "value": "x"},
        ]);
        assert!(patched(ResourceType::User, Dialect::Rfc, body).is_err());
    }

    fn json_values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i32>().prop_map(|n| json!(n)),
            "[a-z]{0,4}".prop_map(Value::String),
        ];
        let names = prop::sample::select(vec![
            "userName",
            "active",
            "name",
            "emails",
            "value",
            "type",
            "primary",
            "members",
            "groups",
            "id",
            "name.familyName",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
            "x y",
            "op",
            "path",
        ]);
        leaf.prop_recursive(3, 16, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::vec((names.clone(), inner), 0..4).prop_map(|pairs| {
                    Value::Object(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic_and_documents_stay_clean(
            rt in prop::sample::select(vec![ResourceType::User, ResourceType::Group]),
            dialect in prop::sample::select(vec![Dialect::Rfc, Dialect::Idcs]),
            ops in prop::collection::vec((
                prop::sample::select(vec!["add", "remove", "replace", "ADD"]),
                prop::option::of(prop::sample::select(vec![
                    "userName", "displayName", "active", "name", "name.familyName", "emails", "emails.value",
                    "emails[type eq \"work\"]", "emails[type eq \"work\"].value", "emails[primary eq true]",
                    "members", "members[value eq \"a\"]", "groups", "id", "meta.version", "x", "x.y",
                    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
                    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value", "password",
                ])),
                prop::option::of(json_values()),
            ), 1..5)
        ) {
            let ops: Vec<Value> = ops.into_iter().map(|(op, path, value)| {
                let mut object = json!({"op": op});
                if let Some(path) = path { object["path"] = json!(path); }
                if let Some(value) = value { object["value"] = value; }
                object
            }).collect();
            if let Ok(change) = patched(rt, dialect, json!(ops)) {
                let rows = if rt == ResourceType::User { "groups" } else { "members" };
                for own in ["id", "meta", "schemas", "password", rows] {
                    prop_assert!(!change.doc.contains_key(own), "{own}");
                }
                prop_assert!(change.doc.values().all(|v| !resource::is_empty(v)));
                let primaries = change.doc.get("emails").and_then(Value::as_array).map_or(0, |emails| {
                    emails.iter().filter(|e| e.get("primary") == Some(&json!(true))).count()
                });
                prop_assert!(primaries <= 1);
            }
        }
    }
}
