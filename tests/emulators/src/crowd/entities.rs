//! Crowd's entities on the wire: built once, written as XML or as JSON; read from either.

use serde_json::{Map, Value, json};

use crate::crowd::state::{Attributes, Group, Profile, User};
use crate::crowd::xml::{self, Element};

/// An entity or a part of one.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Element in XML, member in JSON.
    name: &'static str,
    /// Attributes in XML, members in JSON.
    attributes: Vec<(&'static str, String)>,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Scalar(Value),
    Fields(Vec<Node>),
    /// Elements directly below in XML; in JSON an array of that name, then the fields.
    List(&'static str, Vec<Node>, Vec<Node>),
    /// Elements of that name in XML, a bare array in JSON.
    Texts(&'static str, Vec<String>),
}

impl Node {
    fn new(name: &'static str, content: Content) -> Self {
        Self {
            name,
            attributes: Vec::new(),
            content,
        }
    }

    fn scalar(name: &'static str, value: impl Into<Value>) -> Self {
        Self::new(name, Content::Scalar(value.into()))
    }

    fn fields(name: &'static str, fields: Vec<Node>) -> Self {
        Self::new(name, Content::Fields(fields))
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    fn add(mut self, field: Node) -> Self {
        if let Content::Fields(fields) = &mut self.content {
            fields.push(field);
        }
        self
    }

    pub(crate) fn json(&self) -> Value {
        let mut members: Map<String, Value> = self
            .attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        let of = |fields: &[Node]| -> Vec<(String, Value)> {
            fields
                .iter()
                .map(|field| (field.name.to_owned(), field.json()))
                .collect()
        };
        match &self.content {
            Content::Scalar(value) => return value.clone(),
            Content::Texts(_, texts) => return json!(texts),
            Content::Fields(fields) => members.extend(of(fields)),
            Content::List(key, items, more) => {
                let items: Vec<Value> = items.iter().map(Node::json).collect();
                members.insert((*key).to_owned(), json!(items));
                members.extend(of(more));
            }
        }
        Value::Object(members)
    }

    pub(crate) fn xml(&self) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>{}",
            self.element()
        )
    }

    fn element(&self) -> String {
        let attributes: String = self
            .attributes
            .iter()
            .map(|(name, value)| format!(" {name}=\"{}\"", xml::escape(value)))
            .collect();
        let all = |nodes: &[Node]| nodes.iter().map(Node::element).collect::<String>();
        let content = match &self.content {
            Content::Scalar(Value::String(text)) => xml::escape(text),
            Content::Scalar(Value::Null) => String::new(),
            Content::Scalar(value) => value.to_string(),
            Content::Fields(fields) => all(fields),
            Content::List(_, items, more) => all(items) + &all(more),
            Content::Texts(item, texts) => texts
                .iter()
                .map(|text| format!("<{item}>{}</{item}>", xml::escape(text)))
                .collect(),
        };
        let name = self.name;
        if content.is_empty() {
            format!("<{name}{attributes}/>")
        } else {
            format!("<{name}{attributes}>{content}</{name}>")
        }
    }
}

/// Builds entities with links below `base`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Builder<'a> {
    /// `http://host:port/context/rest/usermanagement/1`
    pub(crate) base: &'a str,
    /// Whether accounts show their keys.
    pub(crate) keys: bool,
}

impl Builder<'_> {
    fn link(self, rel: &'static str, path: &str, parameter: &str, name: &str) -> Node {
        let href = format!("{}{path}?{parameter}={}", self.base, encode(name));
        Node::fields("link", Vec::new())
            .with("href", href)
            .with("rel", rel)
    }

    /// Name and link alone, as lists show it unless they are expanded.
    pub(crate) fn user_reference(self, user: &User) -> Node {
        let link = self.link("self", "/user", "username", &user.name);
        Node::fields("user", vec![link]).with("name", user.name.clone())
    }

    pub(crate) fn user(self, user: &User, with_attributes: bool) -> Node {
        let edit = self.link("edit", "/user/password", "username", &user.name);
        let link = self.link("self", "/user/attribute", "username", &user.name);
        let mut node = self
            .user_reference(user)
            .add(Node::scalar("first-name", user.first_name.clone()))
            .add(Node::scalar("last-name", user.last_name.clone()))
            .add(Node::scalar("display-name", user.display_name.clone()))
            .add(Node::scalar("email", user.email.clone()))
            .add(Node::fields("password", vec![edit]));
        if self.keys {
            node = node.add(Node::scalar("key", user.key.clone()));
        }
        let shown = with_attributes.then_some(&user.attributes);
        node.add(Node::scalar("active", user.active))
            .add(attributes(shown, link))
            .with("expand", "attributes")
    }

    pub(crate) fn users<'u>(self, users: impl Iterator<Item = &'u User>, expand: bool) -> Node {
        let items = users.map(|user| {
            if expand {
                self.user(user, false)
            } else {
                self.user_reference(user)
            }
        });
        let list = Content::List("users", items.collect(), Vec::new());
        Node::new("users", list).with("expand", "user")
    }

    pub(crate) fn group_reference(self, group: &Group) -> Node {
        let link = self.link("self", "/group", "groupname", &group.name);
        Node::fields("group", vec![link]).with("name", group.name.clone())
    }

    pub(crate) fn group(self, group: &Group, with_attributes: bool) -> Node {
        let link = self.link("self", "/group/attribute", "groupname", &group.name);
        let shown = with_attributes.then_some(&group.attributes);
        self.group_reference(group)
            .add(Node::scalar("description", group.description.clone()))
            .add(Node::scalar("type", "GROUP"))
            .add(Node::scalar("active", group.active))
            .add(attributes(shown, link))
            .with("expand", "attributes")
    }

    pub(crate) fn groups<'g>(self, groups: impl Iterator<Item = &'g Group>, expand: bool) -> Node {
        let items = groups.map(|group| {
            if expand {
                self.group(group, false)
            } else {
                self.group_reference(group)
            }
        });
        let list = Content::List("groups", items.collect(), Vec::new());
        Node::new("groups", list).with("expand", "group")
    }

    pub(crate) fn attributes_of_user(self, user: &User) -> Node {
        let link = self.link("self", "/user/attribute", "username", &user.name);
        attributes(Some(&user.attributes), link)
    }

    pub(crate) fn attributes_of_group(self, group: &Group) -> Node {
        let link = self.link("self", "/group/attribute", "groupname", &group.name);
        attributes(Some(&group.attributes), link)
    }

    pub(crate) fn session(self, token: &str, user: &User, expand: bool) -> Node {
        let user = if expand {
            self.user(user, false)
        } else {
            self.user_reference(user)
        };
        let link = Node::fields("link", Vec::new())
            .with("href", format!("{}/session/{token}", self.base))
            .with("rel", "self");
        Node::fields("session", vec![Node::scalar("token", token), user, link])
            .with("expand", "user")
    }
}

fn attributes(shown: Option<&Attributes>, link: Node) -> Node {
    let items = shown.into_iter().flatten().map(|(name, values)| {
        let values = Node::new("values", Content::Texts("value", values.clone()));
        Node::fields("attribute", vec![values]).with("name", name.clone())
    });
    let list = Content::List("attributes", items.collect(), vec![link]);
    Node::new("attributes", list)
}

/// One membership element: a group with the names of its direct members.
pub(crate) fn membership<'a>(
    group: &str,
    users: impl Iterator<Item = &'a str>,
    groups: impl Iterator<Item = &'a str>,
) -> Node {
    let named =
        |element: &'static str, name: &str| Node::fields(element, Vec::new()).with("name", name);
    let users = users.map(|name| named("user", name)).collect();
    let groups = groups.map(|name| named("group", name)).collect();
    let users = Node::new("users", Content::List("users", users, Vec::new()));
    let groups = Node::new("groups", Content::List("groups", groups, Vec::new()));
    Node::fields("membership", vec![users, groups]).with("group", group)
}

pub(crate) fn memberships(all: Vec<Node>) -> Node {
    Node::new("memberships", Content::List("memberships", all, Vec::new()))
}

pub(crate) fn error(reason: &str, message: &str) -> Node {
    let (reason, message) = (
        Node::scalar("reason", reason),
        Node::scalar("message", message),
    );
    Node::fields("error", vec![reason, message])
}

/// What the REST module itself answers, which is no error of Crowd's.
pub(crate) fn status(code: u16, message: &str) -> Node {
    let (code, message) = (
        Node::scalar("status-code", code),
        Node::scalar("message", message),
    );
    Node::fields("status", vec![code, message])
}

pub(crate) fn cookie() -> Node {
    Node::fields(
        "cookie-config",
        vec![
            Node::scalar("domain", ".example.com"),
            Node::scalar("secure", false),
            Node::scalar("name", "crowd.token_key"),
        ],
    )
}

/// Reads a body of XML as the JSON that says the same.
pub(crate) fn json_of_xml(text: &str) -> Result<Value, String> {
    xml::parse(text).map(|root| value_of(&root))
}

fn value_of(element: &Element) -> Value {
    let name = element.name.as_str();
    let texts = |item: &str| -> Vec<Value> {
        let items = element.children.iter().filter(|child| child.name == item);
        items.map(|child| json!(child.text)).collect()
    };
    match name {
        "values" => return Value::Array(texts("value")),
        "restrictions" => return element.children.iter().map(value_of).collect(),
        "attributes" => {
            let items = element.children.iter().filter(|it| it.name == "attribute");
            return json!({ "attributes": items.map(value_of).collect::<Vec<_>>() });
        }
        _ => {}
    }
    let is_restriction = name.ends_with("-restriction");
    if element.attributes.is_empty() && element.children.is_empty() && !is_restriction {
        return json!(element.text);
    }
    let mut members = Map::new();
    if is_restriction {
        members.insert("restriction-type".into(), json!(name));
    }
    for (name, value) in &element.attributes {
        members.insert(name.clone(), json!(value));
    }
    for child in &element.children {
        members.insert(child.name.clone(), value_of(child));
    }
    Value::Object(members)
}

/// A text member; numbers and booleans are taken as text.
pub(crate) fn text<'v>(body: &'v Value, name: &str) -> Option<std::borrow::Cow<'v, str>> {
    match body.get(name)? {
        Value::String(text) => Some(text.into()),
        value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string().into()),
        _ => None,
    }
}

/// What a body says of a person. What it leaves out is empty; `active` is false then, as a field
/// that was never set (how a real Crowd takes its absence is unconfirmed).
pub(crate) fn profile(body: &Value) -> Profile {
    let field = |name| text(body, name).unwrap_or_default().into_owned();
    Profile {
        first_name: field("first-name"),
        last_name: field("last-name"),
        display_name: field("display-name"),
        email: field("email"),
        active: text(body, "active").is_some_and(|it| it.eq_ignore_ascii_case("true")),
    }
}

/// The attributes of a body: `{"attributes":[{"name","values":[]}]}`.
pub(crate) fn attributes_in(body: &Value) -> Attributes {
    let list = body.get("attributes").and_then(Value::as_array);
    let pair = |it: &Value| {
        let values = it.get("values")?.as_array()?;
        let values = values.iter().filter_map(Value::as_str).map(str::to_owned);
        Some((text(it, "name")?.into_owned(), values.collect()))
    };
    list.into_iter().flatten().filter_map(pair).collect()
}

fn encode(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> User {
        User {
            key: "32769:1".into(),
            name: "a&b".into(),
            email: "a@b.c".into(),
            active: true,
            attributes: [("lang".to_owned(), vec!["en".to_owned(), "<fr>".to_owned()])].into(),
            ..User::default()
        }
    }

    const BUILDER: Builder<'static> = Builder {
        base: "http://c",
        keys: true,
    };

    #[test]
    fn a_user_says_the_same_in_both_forms() {
        let node = BUILDER.user(&ada(), true);
        let json = node.json();
        assert_eq!(json["attributes"]["attributes"][0]["values"][1], "<fr>");
        assert_eq!(json["link"]["href"], "http://c/user?username=a%26b");
        let read = json_of_xml(&node.xml()).unwrap();
        assert_eq!(profile(&read), profile(&json));
        assert_eq!(text(&read, "name"), text(&json, "name"));
        assert_eq!(text(&read, "key").unwrap(), "32769:1");
        assert_eq!(attributes_in(&read["attributes"]), ada().attributes);
        assert_eq!(attributes_in(&json["attributes"]), ada().attributes);
    }

    #[test]
    fn restrictions_are_read_from_xml() {
        let text = "<boolean-search-restriction boolean-logic=\"or\"><restrictions><null-search-restriction/>\
            <property-search-restriction><property><name>email</name><type>STRING</type></property>\
            <match-mode>CONTAINS</match-mode><value>x</value></property-search-restriction></restrictions>\
            </boolean-search-restriction>";
        let expected = json!({
            "restriction-type": "boolean-search-restriction", "boolean-logic": "or", "restrictions": [
                {"restriction-type": "null-search-restriction"},
                {"restriction-type": "property-search-restriction",
                 "property": {"name": "email", "type": "STRING"}, "match-mode": "CONTAINS", "value": "x"},
            ]
        });
        assert_eq!(json_of_xml(text), Ok(expected));
    }

    #[test]
    fn a_profile_that_says_nothing_is_empty() {
        assert_eq!(profile(&json!({})), Profile::default());
    }
}
