//! Crowd's JSON: only what is used of it, unknown members ignored.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::domain::Observed;
use crate::outbound::Response;
use crate::targets::atlassian::shown;
use crate::targets::same;

/// A user entity.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct User {
    pub(super) name: String,
    first_name: Option<String>,
    last_name: Option<String>,
    pub(super) display_name: Option<String>,
    pub(super) email: Option<String>,
    /// Required: an answer that does not tell must not count as either.
    pub(super) active: bool,
    key: Option<String>,
}

impl User {
    /// An account that is yet to be made. Crowd wants two more names, which LDAP directories do not take empty: they
    /// are made of the display name, and never touched again.
    pub(super) fn new(name: &str, display_name: &str, email: &str) -> Self {
        let (first, last) = display_name
            .trim()
            .rsplit_once(' ')
            .unwrap_or(("", display_name));
        Self {
            name: name.to_owned(),
            first_name: Some(first.trim().to_owned()),
            last_name: Some(last.to_owned()),
            display_name: Some(display_name.to_owned()),
            email: Some(email.to_owned()),
            active: true,
            key: None,
        }
    }

    /// The stable key, unless this Crowd has none.
    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_deref().filter(|key| !key.is_empty())
    }

    /// What the account is known by: its key, or its name where there are no keys.
    pub(super) fn remote_id(&self) -> &str {
        self.key().unwrap_or(&self.name)
    }

    /// All that an update replaces. It is a full replacement: what is left out is lost.
    pub(super) fn entity(&self) -> Value {
        json!({
            "name": self.name,
            "first-name": self.first_name.as_deref().unwrap_or_default(),
            "last-name": self.last_name.as_deref().unwrap_or_default(),
            "display-name": self.display_name.as_deref().unwrap_or_default(),
            "email": self.email.as_deref().unwrap_or_default(),
            "active": self.active,
        })
    }

    /// Whether this can only be the outcome of creating exactly that.
    pub(super) fn is_what_was_sent(&self, sent: &Self) -> bool {
        let text = |value: &Option<String>| value.as_deref().unwrap_or_default().trim().to_owned();
        self.active
            && same(&self.name, &sent.name)
            && text(&self.display_name) == text(&sent.display_name)
            && text(&self.email) == text(&sent.email)
    }

    pub(super) fn with_groups(self, groups: Vec<String>) -> Observed {
        Observed {
            remote_id: self.remote_id().to_owned(),
            username: self.name,
            display_name: self.display_name.unwrap_or_default(),
            // The address is always told: where there is none it is empty.
            email: Some(self.email.unwrap_or_default()),
            active: self.active,
            groups,
        }
    }
}

/// A list of users.
#[derive(Debug, Deserialize)]
pub(super) struct Users {
    pub(super) users: Vec<User>,
}

/// A list of groups.
#[derive(Debug, Deserialize)]
pub(super) struct Groups {
    pub(super) groups: Vec<Named>,
}

/// Anything of which only the name matters.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

/// An error of Crowd's own: `{"reason": "USER_NOT_FOUND", "message": "..."}`. Only the reason is ever judged by.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Refusal {
    pub(super) reason: String,
    #[serde(default)]
    message: Option<String>,
}

impl Refusal {
    /// Reads an error body. `None`: it is none of Crowd's.
    pub(super) fn of(response: &Response) -> Option<Self> {
        serde_json::from_slice(&response.body).ok()
    }

    /// Crowd's words.
    pub(super) fn text(&self) -> String {
        let message = shown(self.message.clone().unwrap_or_default());
        if message.is_empty() {
            self.reason.clone()
        } else {
            format!("{message} ({})", self.reason)
        }
    }

    /// The field that a reason is about.
    pub(super) fn field(&self) -> Option<String> {
        let field = match self.reason.as_str() {
            "INVALID_USER" | "INVALID_GROUP" => "name",
            "INVALID_EMAIL" => "email",
            "INVALID_CREDENTIAL" => "password",
            _ => return None,
        };
        Some(field.to_owned())
    }
}

/// Who answers: `Crowd/5.1.0`, or `JIRA/9.12.4` for a Jira that acts as Crowd server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    product: String,
    version: String,
}

impl Server {
    /// The first version of Crowd that lets REST rename users.
    const RENAMES_SINCE: [u32; 3] = [2, 8, 4];

    pub(super) fn of(mark: &str) -> Self {
        let (product, version) = mark.split_once('/').unwrap_or(("", mark));
        Self {
            product: product.trim().to_owned(),
            version: version.trim().to_owned(),
        }
    }

    pub(super) fn is_crowd(&self) -> bool {
        self.product.eq_ignore_ascii_case("crowd")
    }

    /// The version, with the product if it is not Crowd.
    pub(super) fn shown(&self) -> String {
        if self.is_crowd() || self.product.is_empty() {
            self.version.clone()
        } else {
            format!("{} ({} as user server)", self.version, self.product)
        }
    }

    /// Whether users can be renamed; `None` if the version does not tell.
    pub(super) fn renames(&self) -> Option<bool> {
        if !self.is_crowd() {
            return None;
        }
        let mut own = [0; 3];
        let numbers = self.version.split(['.', '-']);
        for (slot, part) in own.iter_mut().zip(numbers) {
            *slot = part.parse().ok()?;
        }
        Some(own >= Self::RENAMES_SINCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_the_display_name() {
        let names = |display: &str| {
            let entity = User::new("u", display, "e").entity();
            let text = |name: &str| entity[name].as_str().unwrap().to_owned();
            (text("first-name"), text("last-name"))
        };
        assert_eq!(
            names("Ada King Lovelace"),
            ("Ada King".into(), "Lovelace".into())
        );
        assert_eq!(names("Ada"), (String::new(), "Ada".into()));
    }

    #[test]
    fn an_entity_always_has_everything_that_an_update_replaces() {
        let user: User = serde_json::from_value(json!({"name": "ada", "active": false})).unwrap();
        let expected = json!({"name": "ada", "first-name": "", "last-name": "", "display-name": "", "email": "",
                              "active": false});
        assert_eq!(user.entity(), expected);
        assert_eq!(user.remote_id(), "ada");
        assert!(serde_json::from_value::<User>(json!({"name": "ada"})).is_err());
    }

    #[test]
    fn who_answers_is_read_from_the_header() {
        assert_eq!(Server::of("Crowd/2.8.3").renames(), Some(false));
        assert_eq!(Server::of("crowd/2.8.4").renames(), Some(true));
        assert_eq!(Server::of("Crowd/2.10").renames(), Some(true));
        assert_eq!(Server::of("Crowd/6.1.0-m02").renames(), Some(true));
        assert_eq!(Server::of("Crowd/next").renames(), None);
        assert_eq!(Server::of("JIRA/6.0.0").renames(), None);
        assert_eq!(
            Server::of("JIRA/9.12.4").shown(),
            "9.12.4 (JIRA as user server)"
        );
        assert_eq!(Server::of("any").shown(), "any");
    }
}
