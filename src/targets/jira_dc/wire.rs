//! Jira's JSON: only what is used of it, unknown members ignored.

use std::collections::HashMap;

use serde::Deserialize;

use crate::domain::Observed;
use crate::targets::{Whom, fold, same};

/// `UserBean`
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    #[serde(default)]
    pub(super) key: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) display_name: String,
    email_address: Option<String>,
    /// Required: an answer that does not tell must not count as either.
    pub(super) active: bool,
    #[serde(default)]
    pub(super) deleted: bool,
    #[serde(default)]
    pub(super) groups: Groups,
}

impl User {
    /// Users older than Jira 8.4 have their first name as key.
    pub(super) fn with_key(mut self) -> Self {
        if self.key.is_empty() {
            self.key = fold(&self.name);
        }
        self
    }

    /// How to address it.
    pub(super) fn whom(&self) -> Whom<'_> {
        Whom {
            remote_id: &self.key,
            username: &self.name,
        }
    }

    /// The address, unless Jira is set to hide it or to write it as "ada at example dot com".
    pub(super) fn email(&self) -> Option<&str> {
        self.email_address.as_deref().filter(|e| e.contains('@'))
    }

    /// Whether this can only be the outcome of creating exactly that.
    pub(super) fn is_what_was_sent(&self, name: &str, display_name: &str, email: &str) -> bool {
        self.active
            && same(&self.name, name)
            && self.display_name.trim() == display_name.trim()
            && self.email() == Some(email.trim())
    }
}

impl From<User> for Observed {
    fn from(user: User) -> Self {
        let email = user.email().map(str::to_owned);
        Self {
            remote_id: user.key,
            username: user.name,
            display_name: user.display_name,
            email,
            active: user.active,
            groups: user.groups.names(),
        }
    }
}

/// `SimpleListWrapper`: `items` may hold fewer than `size`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Groups {
    #[serde(default)]
    pub(super) size: usize,
    #[serde(default)]
    pub(super) items: Vec<Named>,
}

impl Groups {
    pub(super) fn missing(&self) -> usize {
        self.size.saturating_sub(self.items.len())
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.items.iter().any(|g| same(&g.name, name))
    }

    pub(super) fn extend(&mut self, more: Self) {
        for group in more.items {
            if !self.contains(&group.name) {
                self.items.push(group);
            }
        }
    }

    pub(super) fn names(self) -> Vec<String> {
        self.items.into_iter().map(|g| g.name).collect()
    }
}

/// Anything of which only the name matters.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

/// `GET /groups/picker`
#[derive(Debug, Deserialize)]
pub(super) struct Picker {
    /// How many there are, shown or not.
    #[serde(default)]
    pub(super) total: usize,
    pub(super) groups: Vec<Suggestion>,
}

/// `GroupSuggestionBean`
#[derive(Debug, Deserialize)]
pub(super) struct Suggestion {
    pub(super) name: String,
    #[serde(default)]
    labels: Vec<Label>,
}

impl Suggestion {
    /// Whether being in it makes somebody an administrator.
    pub(super) fn is_for_administrators(&self) -> bool {
        self.labels
            .iter()
            .any(|l| l.kind.as_deref() == Some("ADMIN"))
    }
}

/// `GroupLabelBean`
#[derive(Debug, Deserialize)]
struct Label {
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// The lead of a project or component.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Lead {
    pub(super) key: Option<String>,
    pub(super) name: Option<String>,
}

impl Lead {
    pub(super) fn is(&self, user: &User) -> bool {
        match (&self.key, &self.name) {
            (Some(key), _) => *key == user.key,
            (None, Some(name)) => same(name, &user.name),
            (None, None) => false,
        }
    }
}

/// One project of `GET /project?expand=lead`
#[derive(Debug, Deserialize)]
pub(super) struct Project {
    pub(super) key: String,
    pub(super) lead: Option<Lead>,
}

/// `ComponentBean`
#[derive(Debug, Deserialize)]
pub(super) struct Component {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    /// Key of its project.
    #[serde(default)]
    pub(super) project: String,
    pub(super) lead: Option<Lead>,
}

/// `PageBean`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page<T> {
    #[serde(default)]
    pub(super) is_last: bool,
    pub(super) values: Vec<T>,
}

/// `GET /user/list`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserList {
    #[serde(default)]
    pub(super) is_last: bool,
    pub(super) next_cursor: Option<String>,
    pub(super) values: Vec<User>,
}

/// `GET /serverInfo`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerInfo {
    pub(super) version: String,
    #[serde(default)]
    version_numbers: Vec<u32>,
    deployment_type: Option<String>,
}

impl ServerInfo {
    pub(super) fn is_cloud(&self) -> bool {
        self.deployment_type.as_deref() == Some("Cloud")
    }

    /// Whether this is older; an unknown version is not.
    pub(super) fn is_before(&self, (major, minor): (u32, u32)) -> bool {
        match self.version_numbers[..] {
            [own_major, own_minor, ..] => (own_major, own_minor) < (major, minor),
            _ => false,
        }
    }
}

/// `GET /mypermissions`
#[derive(Debug, Deserialize)]
pub(super) struct Permissions {
    permissions: HashMap<String, Permission>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Permission {
    #[serde(default)]
    have_permission: bool,
}

impl Permissions {
    pub(super) fn has(&self, name: &str) -> bool {
        self.permissions
            .get(name)
            .is_some_and(|p| p.have_permission)
    }
}
