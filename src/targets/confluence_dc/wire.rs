//! Confluence's JSON: only what is used of it, unknown members ignored.

use serde::Deserialize;

use crate::domain::{Failure, Observed};
use crate::targets::same;

/// `KnownUser`. There is no e-mail address in it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    #[serde(rename = "userKey")]
    pub(super) key: String,
    #[serde(rename = "username")]
    pub(super) name: String,
    #[serde(default)]
    pub(super) display_name: String,
    /// Only with `expand=status`.
    status: Option<String>,
}

impl User {
    /// Whether it can sign in. A word that is not known must not count as either.
    pub(super) fn active(&self) -> Result<bool, Failure> {
        let text = match self
            .status
            .as_deref()
            .map(str::to_ascii_lowercase)
            .as_deref()
        {
            Some("current" | "active") => return Ok(true),
            Some("deactivated") => return Ok(false),
            Some(other) => format!(
                "Confluence says that {} is {other:?}, which is neither active nor disabled",
                self.name
            ),
            None => format!(
                "Confluence does not say whether {} is active or disabled",
                self.name
            ),
        };
        Err(Failure::Rejected {
            field: Some("status".to_owned()),
            text,
        })
    }

    /// As it is told of.
    pub(super) fn observed(self, groups: Vec<String>) -> Result<Observed, Failure> {
        Ok(Observed {
            active: self.active()?,
            remote_id: self.key,
            username: self.name,
            display_name: self.display_name,
            email: None,
            groups,
        })
    }

    /// What is left of a deleted account, so that its pages have an author: its key has become its name.
    pub(super) fn is_ghost(&self) -> bool {
        self.name == self.key
    }

    /// Whether this can be the outcome of creating that. The address cannot be compared.
    pub(super) fn is_what_was_sent(&self, name: &str, display_name: &str) -> bool {
        same(&self.name, name) && self.display_name.trim() == display_name.trim()
    }
}

/// `GET /user/current`: whoever is signed in, or nobody.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Current {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) username: Option<String>,
    pub(super) user_key: Option<String>,
    /// Only in the Cloud.
    pub(super) account_id: Option<String>,
}

/// The answer to the creation of an account.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Made {
    pub(super) user_key: String,
}

/// Anything of which only the name matters.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

/// `RestList`
#[derive(Debug, Clone, Deserialize)]
pub(super) struct RestList<T> {
    pub(super) results: Vec<T>,
    #[serde(rename = "_links", default)]
    links: Links,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Links {
    next: Option<String>,
}

impl<T> RestList<T> {
    /// Where the next page starts; `None`: this is the last one. The address itself is not followed: it would lead
    /// wherever the answer says.
    pub(super) fn next(&self, start: usize) -> Option<usize> {
        let next = self.links.next.as_deref()?;
        let (_, query) = next.split_once('?').unwrap_or(("", next));
        let told = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("start=")?.parse().ok());
        Some(told.unwrap_or(start + self.results.len()))
    }
}

/// `LongTaskSubmission`
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Submission {
    pub(super) id: String,
}

/// `LongTaskStatus`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LongTask {
    #[serde(default)]
    pub(super) percentage_complete: u32,
    successful: Option<bool>,
    #[serde(default)]
    messages: Vec<Message>,
}

#[derive(Debug, Clone, Deserialize)]
struct Message {
    translation: Option<String>,
    key: Option<String>,
}

impl LongTask {
    /// Where it went wrong it stops at whatever percentage it had reached.
    pub(super) fn failed(&self) -> bool {
        self.successful == Some(false)
    }

    /// The last thing it said, up to the link that is for people.
    pub(super) fn words(&self) -> Option<String> {
        let last = self.messages.last()?;
        let text = last.translation.as_deref().or(last.key.as_deref())?;
        let text = text.split('<').next().unwrap_or_default().trim();
        (!text.is_empty()).then(|| text.trim_end_matches('.').to_owned())
    }
}

/// `GlobalPermission`
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Grant {
    operation: Operation,
    subject: Subject,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Operation {
    #[serde(default)]
    operation_key: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subject {
    #[serde(rename = "type", default)]
    kind: String,
    name: Option<String>,
    display_name: Option<String>,
}

impl Grant {
    /// The group that it makes administrators.
    pub(super) fn group_of_administrators(self) -> Option<String> {
        let administers = self.operation.operation_key == "administer";
        (administers && self.subject.kind == "group")
            .then(|| self.subject.name.or(self.subject.display_name))?
    }
}

/// `GET /server-information`
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ServerInformation {
    pub(super) version: String,
}

impl ServerInformation {
    /// Whether this is older; an unknown version is not.
    pub(super) fn is_before(&self, (major, minor): (u32, u32)) -> bool {
        let mut numbers = self.version.split(['.', '-']).map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(own_major)), Some(Ok(own_minor))) => (own_major, own_minor) < (major, minor),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_that_is_not_known_is_neither() {
        let user = |status: serde_json::Value| {
            serde_json::from_value::<User>(
                json!({"userKey": "k", "username": "ada", "status": status}),
            )
            .unwrap()
            .active()
        };
        assert_eq!(user(json!("current")), Ok(true));
        assert_eq!(user(json!("DEACTIVATED")), Ok(false));
        assert!(
            user(json!("unsynced"))
                .unwrap_err()
                .to_string()
                .contains("\"unsynced\"")
        );
        assert!(user(json!(null)).is_err());
    }

    #[test]
    fn the_next_page_is_where_the_link_says() {
        let page = |next: serde_json::Value| {
            let page = json!({"results": [{"name": "a"}, {"name": "b"}], "_links": {"next": next}});
            serde_json::from_value::<RestList<Named>>(page)
                .unwrap()
                .next(4)
        };
        assert_eq!(page(json!("/rest/api/group?limit=5&start=50")), Some(50));
        assert_eq!(page(json!("/rest/api/group?cursor=x")), Some(6));
        assert_eq!(page(json!(null)), None);
        let bare = json!({"results": []});
        assert_eq!(
            serde_json::from_value::<RestList<Named>>(bare)
                .unwrap()
                .next(0),
            None
        );
    }

    #[test]
    fn versions_are_compared_by_number() {
        let before = |version: &str, than| {
            ServerInformation {
                version: version.to_owned(),
            }
            .is_before(than)
        };
        assert!(before("8.3.4", (8, 4)) && before("9.10.1", (10, 0)));
        assert!(!before("8.4.0-beta1", (8, 4)) && !before("10.0.3", (10, 0)));
        assert!(!before("unknown", (8, 4)));
    }
}
