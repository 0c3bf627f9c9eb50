//! Everybody, all groups, and who is in one.

use crate::domain::{Failure, Observed};
use crate::outbound::Response;
use crate::targets::{Member, Page, start_of};

use super::wire::{Page as Beans, User, UserList};
use super::{JiraDc, SEARCH_PAGE};

/// Finds everybody; a search for nothing is refused.
const ANYBODY: &str = ".";

/// More groups than any Jira shows at once.
const ALL_GROUPS: &str = "100000";

/// In front of the cursors of the list. The older search counts instead.
const LISTED: &str = "list:";

impl JiraDc {
    pub(super) async fn list_users(&self, cursor: Option<&str>) -> Result<Page<Observed>, Failure> {
        let size = SEARCH_PAGE.to_string();
        let mut query = vec![("maxResults", size.as_str())];
        match cursor.map(|cursor| cursor.strip_prefix(LISTED)) {
            Some(None) => return self.search_everybody(start_of(cursor)?).await,
            Some(Some(cursor)) => query.push(("cursor", cursor)),
            None => {}
        }
        let response = self.rest.get("/user/list", &query).await?;
        if cursor.is_none() && matches!(response.status, 404 | 405) {
            return self.search_everybody(0).await;
        }
        let list: UserList = self.read_list(&response).await?;
        let next = list.next_cursor.filter(|_| !list.is_last);
        Ok(Page {
            items: everybody_of(list.values),
            next: next.map(|cursor| format!("{LISTED}{cursor}")),
        })
    }

    /// For versions without the list.
    async fn search_everybody(&self, start: usize) -> Result<Page<Observed>, Failure> {
        let users = self.search(ANYBODY, start).await?;
        let last = users.len() < SEARCH_PAGE;
        Ok(Page {
            next: (!last).then(|| (start + users.len()).to_string()),
            items: everybody_of(users),
        })
    }

    /// The picker has no pages, and shows no more than an administrator of Jira allows.
    pub(super) async fn list_groups(&self) -> Result<Page<String>, Failure> {
        let picker = self.pick("", ALL_GROUPS).await?;
        let shown = picker.groups.len();
        if picker.total > shown {
            return Err(Failure::Rejected {
                field: None,
                text: format!(
                    "Jira shows {shown} of its {} groups: raise jira.ajax.autocomplete.limit in its advanced settings",
                    picker.total
                ),
            });
        }
        Ok(Page {
            items: picker.groups.into_iter().map(|group| group.name).collect(),
            next: None,
        })
    }

    /// With the members of groups in the group: Jira does not tell them apart.
    pub(super) async fn list_members(
        &self,
        group: &str,
        cursor: Option<&str>,
    ) -> Result<Page<Member>, Failure> {
        let start = start_of(cursor)?;
        let at = start.to_string();
        let query = [
            ("groupname", group),
            ("includeInactiveUsers", "true"),
            ("startAt", &at),
            ("maxResults", "1000"),
        ];
        let response = self.rest.get("/group/member", &query).await?;
        let page: Beans<User> = self.read_list(&response).await?;
        let received = page.values.len();
        let members = page.values.into_iter().map(User::with_key);
        Ok(Page {
            items: members
                .map(|user| Member {
                    remote_id: user.key,
                    username: user.name,
                })
                .collect(),
            // It gives fewer than it is asked for.
            next: (!page.is_last && received > 0).then(|| (start + received).to_string()),
        })
    }

    async fn read_list<T: serde::de::DeserializeOwned>(
        &self,
        response: &Response,
    ) -> Result<T, Failure> {
        if response.is_success() {
            response.json()
        } else {
            Err(self.refusal(response).await)
        }
    }
}

fn everybody_of(users: Vec<User>) -> Vec<Observed> {
    let there = users.into_iter().filter(|user| !user.deleted);
    there.map(User::with_key).map(Observed::from).collect()
}
