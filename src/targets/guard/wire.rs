//! The directory's JSON: only what is used of it, unknown members ignored.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::domain::{Failure, Observed};
use crate::outbound::Response;
use crate::targets::atlassian::shown;
use crate::targets::{Member, same};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// A user.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    pub(super) id: String,
    pub(super) user_name: String,
    display_name: Option<String>,
    /// As they came: those that Usher does not manage are sent back with a new one.
    #[serde(default)]
    emails: Vec<Value>,
    /// Required: an answer that does not tell must not count as either.
    pub(super) active: bool,
    /// Atlassian shows the list also when it is empty. `None`: this answer does not tell.
    pub(super) groups: Option<Vec<GroupOfUser>>,
    #[serde(rename = "urn:scim:schemas:extension:atlassian-external:1.0")]
    external: Option<External>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct GroupOfUser {
    display: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct External {
    atlassian_account_id: Option<String>,
}

impl User {
    pub(super) fn display_name(&self) -> &str {
        self.display_name.as_deref().unwrap_or_default()
    }

    /// The address marked primary, or the only one. Where there is none it is empty.
    pub(super) fn email(&self) -> &str {
        let only = match &self.emails[..] {
            [email] => Some(email),
            _ => None,
        };
        let primary = self.emails.iter().find(|email| is_primary(email));
        let value = primary.or(only).and_then(|email| email["value"].as_str());
        value.unwrap_or_default()
    }

    /// The list of addresses with another primary one. There must be exactly one such; the others stay.
    pub(super) fn emails_with(&self, address: &str) -> Value {
        let mut first = json!({"value": address, "type": "work", "primary": true});
        let old = self.email();
        let mut others = Vec::new();
        for email in &self.emails {
            let value = email["value"].as_str().unwrap_or_default();
            if same(value, old) || same(value, address) {
                if let (true, Some(kind)) = (is_primary(email), email["type"].as_str()) {
                    first["type"] = json!(kind);
                }
            } else {
                others.push(email.clone());
            }
        }
        others.insert(0, first);
        Value::Array(others)
    }

    /// Whether this can only be the outcome of creating exactly that.
    pub(super) fn is_what_was_sent(&self, name: &str, display_name: &str, email: &str) -> bool {
        self.active
            && self.user_name == name
            && self.display_name().trim() == display_name.trim()
            && self.email().trim() == email.trim()
    }

    /// The Atlassian account behind it, in words.
    pub(super) fn atlassian_account(&self) -> Option<String> {
        let id = self.external.as_ref()?.atlassian_account_id.as_deref()?;
        Some(format!("Atlassian account {id}"))
    }

    /// The account with its groups.
    ///
    /// # Errors
    /// [`Failure::Transient`] if the answer does not tell them: no groups would look like memberships that are gone.
    pub(super) fn observed(self) -> Result<Observed, Failure> {
        if self.groups.is_none() {
            let text = format!("Atlassian does not tell the groups of {}", self.user_name);
            return Err(Failure::Transient { text });
        }
        Ok(self.without_groups())
    }

    /// The account with the groups that it shows, or else with those.
    pub(super) fn observed_or(self, groups: impl FnOnce() -> Vec<String>) -> Observed {
        let told = self.groups.is_some();
        let observed = self.without_groups();
        if told {
            return observed;
        }
        Observed {
            groups: groups(),
            ..observed
        }
    }

    /// The account, with those groups alone that it shows.
    pub(super) fn without_groups(self) -> Observed {
        let email = self.email().to_owned();
        let groups = self.groups.unwrap_or_default();
        Observed {
            remote_id: self.id,
            username: self.user_name,
            display_name: self.display_name.unwrap_or_default(),
            email: Some(email),
            active: self.active,
            groups: groups.into_iter().map(|group| group.display).collect(),
        }
    }
}

fn is_primary(email: &Value) -> bool {
    email["primary"].as_bool() == Some(true)
}

/// A group, without its members.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    pub(super) id: String,
    pub(super) display_name: String,
}

/// The members of a group.
#[derive(Debug, Deserialize)]
pub(super) struct Members {
    #[serde(default)]
    pub(super) members: Vec<GroupMember>,
}

#[derive(Debug, Deserialize)]
pub(super) struct GroupMember {
    pub(super) value: String,
    display: Option<String>,
}

impl From<GroupMember> for Member {
    fn from(member: GroupMember) -> Self {
        Self {
            remote_id: member.value,
            username: member.display.unwrap_or_default(),
        }
    }
}

/// A part of a list.
#[derive(Debug, Deserialize)]
pub(super) struct List<T> {
    #[serde(rename = "totalResults")]
    pub(super) total: usize,
    #[serde(rename = "startIndex")]
    pub(super) start: Option<usize>,
    #[serde(rename = "Resources", default = "Vec::new")]
    pub(super) resources: Vec<T>,
}

/// What the directory says of itself.
#[derive(Debug, Deserialize)]
pub(super) struct ServiceProviderConfig {
    patch: Supported,
}

#[derive(Debug, Deserialize)]
struct Supported {
    supported: bool,
}

impl ServiceProviderConfig {
    pub(super) fn patches(&self) -> bool {
        self.patch.supported
    }
}

/// An account that is yet to be made.
pub(super) fn new_user(user_name: &str, display_name: &str, email: &str) -> Value {
    json!({
        "schemas": [USER],
        "userName": user_name,
        "displayName": display_name,
        "emails": [{"value": email, "type": "work", "primary": true}],
        "active": true,
    })
}

/// A group that is yet to be made.
pub(super) fn new_group(name: &str) -> Value {
    json!({"schemas": [GROUP], "displayName": name})
}

pub(super) fn patch(operations: Vec<Value>) -> Value {
    json!({"schemas": [PATCH], "Operations": operations})
}

pub(super) fn replace(path: &str, value: Value) -> Value {
    json!({"op": "replace", "path": path, "value": value})
}

/// Puts accounts into a group.
pub(super) fn adding(ids: &[&str]) -> Value {
    let members: Vec<Value> = ids.iter().map(|id| json!({"value": id})).collect();
    patch(vec![
        json!({"op": "add", "path": "members", "value": members}),
    ])
}

/// Takes accounts out of a group. By a filter in the path of each: to a server that reads the standard closely,
/// `members` as path means all of them, whatever the value says.
pub(super) fn removing(ids: &[&str]) -> Value {
    let operation = |id: &&str| {
        let path = format!("members[value eq {}]", literal(id));
        json!({"op": "remove", "path": path})
    };
    patch(ids.iter().map(operation).collect())
}

/// A text in a filter, which has the quoting of JSON (RFC 7644 section 3.4.2.2).
pub(super) fn literal(text: &str) -> String {
    Value::from(text).to_string()
}

/// An error of Atlassian's: SCIM's own, or that of the gateway in front (`{"error", "traceId"}`), or an exception.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The directory service itself speaks.
    pub(super) is_scim: bool,
    kind: Option<String>,
    message: String,
    trace: Option<String>,
}

impl Refusal {
    /// Reads an error body. `None`: it is none of these.
    pub(super) fn of(response: &Response) -> Option<Self> {
        Self::read(&response.value()?)
    }

    fn read(body: &Value) -> Option<Self> {
        let text = |name: &str| body.get(name)?.as_str().map(str::to_owned);
        let schemas = body.get("schemas").and_then(Value::as_array);
        if schemas.is_some_and(|all| all.iter().any(|schema| schema == ERROR)) {
            return Some(Self {
                is_scim: true,
                kind: text("scimType"),
                message: text("detail").unwrap_or_default(),
                trace: None,
            });
        }
        if body.get("stackTrace").is_some() || body.get("responseStatus").is_some() {
            return Some(Self {
                is_scim: false,
                kind: text("scimErrorType"),
                message: text("message")
                    .or_else(|| text("localizedMessage"))
                    .unwrap_or_default(),
                trace: None,
            });
        }
        Some(Self {
            is_scim: false,
            kind: None,
            message: text("error")?,
            trace: Some(text("traceId")?),
        })
    }

    /// Atlassian's words, and what its support asks for.
    pub(super) fn text(&self) -> String {
        let mut text = shown(self.message.trim().to_owned());
        if text.is_empty() {
            "no reason given".clone_into(&mut text);
        }
        if let Some(kind) = &self.kind {
            text = format!("{text} ({kind})");
        }
        match &self.trace {
            Some(trace) => format!("{text} (trace id {trace})"),
            None => text,
        }
    }

    /// What an operation was about is not there.
    pub(super) fn finds_nothing(&self) -> bool {
        self.kind.as_deref() == Some("noTarget")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(emails: Value) -> User {
        let body = json!({"id": "1", "userName": "ada", "active": true, "emails": emails});
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn the_primary_address_counts_or_the_only_one() {
        let email = |emails| user(emails).email().to_owned();
        assert_eq!(email(json!([{"value": "a@x"}])), "a@x");
        let two = json!([{"value": "a@x"}, {"value": "b@x", "primary": true}]);
        assert_eq!(email(two), "b@x");
        assert_eq!(email(json!([{"value": "a@x"}, {"value": "b@x"}])), "");
        assert_eq!(email(json!([])), "");
    }

    #[test]
    fn a_new_address_leaves_the_others_and_exactly_one_primary() {
        let emails = json!([
            {"value": "p@x", "type": "personal"},
            {"value": "old@x", "type": "office", "primary": true},
            {"value": "New@x", "type": "other", "primary": false},
        ]);
        let expected = json!([
            {"value": "new@x", "type": "office", "primary": true},
            {"value": "p@x", "type": "personal"},
        ]);
        assert_eq!(user(emails).emails_with("new@x"), expected);
        let first = json!([{"value": "new@x", "type": "work", "primary": true}]);
        assert_eq!(user(json!([])).emails_with("new@x"), first);
    }

    #[test]
    fn whether_somebody_is_active_must_be_told() {
        let body = json!({"id": "1", "userName": "ada"});
        assert!(serde_json::from_value::<User>(body).is_err());
    }

    #[test]
    fn texts_are_quoted_in_filters() {
        assert_eq!(literal(r#"o'neill "q" \"#), r#""o'neill \"q\" \\""#);
        let body = removing(&[r#"x" or value pr"#]);
        let path = &body["Operations"][0]["path"];
        assert_eq!(path, r#"members[value eq "x\" or value pr"]"#);
    }

    #[test]
    fn all_forms_of_errors_are_read_and_no_others() {
        let scim = json!({"schemas": [ERROR], "status": "409", "scimType": "uniqueness", "detail": "There."});
        let scim = Refusal::read(&scim).unwrap();
        assert_eq!(
            (scim.is_scim, scim.text()),
            (true, "There (uniqueness)".into())
        );
        let gateway = Refusal::read(&json!({"error": "No.", "traceId": "t1"})).unwrap();
        assert_eq!(
            (gateway.is_scim, gateway.text()),
            (false, "No (trace id t1)".into())
        );
        let exception =
            json!({"message": "Bad", "stackTrace": [], "responseStatus": "BAD_REQUEST"});
        let exception = Refusal::read(&exception).unwrap();
        assert_eq!((exception.is_scim, exception.text()), (false, "Bad".into()));
        for other in [
            json!({"error": "invalid_token"}),
            json!({"message": "null for uri"}),
            json!({"schemas": [USER], "detail": "x"}),
            json!("text"),
            json!([]),
        ] {
            assert_eq!(Refusal::read(&other), None, "{other}");
        }
    }
}
