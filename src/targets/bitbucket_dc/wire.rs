//! Bitbucket's JSON: only what is used of it, unknown members ignored.

use serde::Deserialize;

use crate::domain::Observed;
use crate::targets::same;

/// `RestDetailedUser`, and `RestApplicationUser`, which tells less.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    pub(super) id: i64,
    pub(super) name: String,
    #[serde(default)]
    pub(super) display_name: String,
    pub(super) email_address: Option<String>,
    /// What its directory says; no call changes it.
    pub(super) active: bool,
    /// `None`: not told.
    pub(super) mutable_details: Option<bool>,
    pub(super) directory_name: Option<String>,
}

impl User {
    /// The number, which survives renames.
    pub(super) fn remote_id(&self) -> String {
        self.id.to_string()
    }

    pub(super) fn email(&self) -> &str {
        self.email_address.as_deref().unwrap_or_default()
    }

    /// Whether this can be the outcome of creating that.
    pub(super) fn is_what_was_sent(&self, name: &str, display_name: &str, email: &str) -> bool {
        same(&self.name, name)
            && self.display_name.trim() == display_name.trim()
            && self.email().trim() == email.trim()
    }

    pub(super) fn observed(&self, licensed: bool, groups: Vec<String>) -> Observed {
        Observed {
            remote_id: self.remote_id(),
            username: self.name.clone(),
            display_name: self.display_name.clone(),
            // The address is always told: where there is none it is empty.
            email: Some(self.email().to_owned()),
            active: self.active && licensed,
            groups,
        }
    }
}

/// Anything of which only the name matters.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

/// `RestPermittedUser`: the highest global permission that an account holds itself.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct PermittedUser {
    pub(super) user: User,
    pub(super) permission: String,
}

/// `RestPermittedGroup`
#[derive(Debug, Clone, Deserialize)]
pub(super) struct PermittedGroup {
    pub(super) group: Named,
    pub(super) permission: String,
}

/// Some of a list. Where it goes on is told, and cannot be reckoned: entries are left out in between.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page<T> {
    pub(super) values: Vec<T>,
    is_last_page: bool,
    next_page_start: Option<u64>,
}

impl<T> Page<T> {
    /// Where the next page starts; `None`: this is the last one.
    pub(super) fn next(&self) -> Option<u64> {
        self.next_page_start.filter(|_| !self.is_last_page)
    }
}

/// `RestApplicationProperties`
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Properties {
    pub(super) version: String,
    /// Not needed, but nothing that is no Bitbucket has it beside a version.
    #[serde(rename = "buildNumber")]
    pub(super) _build_number: String,
}

/// `RestUserDirectory`
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Directory {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
}

/// The description says "a list"; it may come in pages as everything else does.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Directories {
    List(Vec<Directory>),
    Page { values: Vec<Directory> },
}

impl Directories {
    pub(super) fn all(self) -> Vec<Directory> {
        match self {
            Self::List(all) | Self::Page { values: all } => all,
        }
    }
}

/// `RestBitbucketLicense`
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct License {
    maximum_number_of_users: Option<u64>,
    unlimited_number_of_users: Option<bool>,
    status: Option<LicenseStatus>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LicenseStatus {
    current_number_of_users: Option<u64>,
}

impl License {
    /// How many accounts take one, and how many may; `None`: any number, or not told.
    pub(super) fn seats(&self) -> Option<(u64, u64)> {
        if self.unlimited_number_of_users == Some(true) {
            return None;
        }
        let taken = self.status.as_ref()?.current_number_of_users?;
        Some((taken, self.maximum_number_of_users?))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn directories_come_as_a_list_or_as_a_page() {
        let one = json!({"name": "Internal", "type": "INTERNAL", "active": true});
        for body in [json!([one]), json!({"values": [one], "isLastPage": true})] {
            let found = serde_json::from_value::<Directories>(body).unwrap().all();
            assert_eq!(found[0].name, "Internal");
        }
    }

    #[test]
    fn seats_are_told_only_if_there_is_a_limit() {
        let seats = |value| serde_json::from_value::<License>(value).unwrap().seats();
        let status = json!({"currentNumberOfUsers": 2});
        let limited =
            json!({"maximumNumberOfUsers": 12, "unlimitedNumberOfUsers": false, "status": status});
        assert_eq!(seats(limited), Some((2, 12)));
        let any =
            json!({"maximumNumberOfUsers": -0, "unlimitedNumberOfUsers": true, "status": status});
        assert_eq!(seats(any), None);
        assert_eq!(seats(json!({})), None);
    }
}
