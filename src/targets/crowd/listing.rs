//! Everybody, all groups, and who is in one. There are no totals: Crowd gives as many as it is asked for, so a page
//! that is not full is the last one.

use serde_json::json;

use crate::domain::{Failure, Observed};
use crate::outbound::Response;
use crate::targets::{Member, Page, start_of};

use super::wire::{Groups, Users};
use super::{Crowd, PAGE, search_query};

impl Crowd {
    pub(super) async fn list_users(&self, cursor: Option<&str>) -> Result<Page<Observed>, Failure> {
        let start = start_of(cursor)?;
        let users = self.search_all("user", start).await?.json::<Users>()?.users;
        Ok(Page {
            next: next(start, users.len()),
            items: users
                .into_iter()
                .map(|user| user.with_groups(Vec::new()))
                .collect(),
        })
    }

    pub(super) async fn list_groups(&self, cursor: Option<&str>) -> Result<Page<String>, Failure> {
        let start = start_of(cursor)?;
        let answer = self.search_all("group", start).await?;
        let groups = answer.json::<Groups>()?.groups;
        Ok(Page {
            next: next(start, groups.len()),
            items: groups.into_iter().map(|group| group.name).collect(),
        })
    }

    pub(super) async fn list_members(
        &self,
        group: &str,
        cursor: Option<&str>,
    ) -> Result<Page<Member>, Failure> {
        let start = start_of(cursor)?;
        let (at, size) = (start.to_string(), PAGE.to_string());
        let query = [
            ("groupname", group),
            ("start-index", &at),
            ("max-results", &size),
            ("expand", "user"),
        ];
        let response = self.rest.get("/group/user/direct", &query).await?;
        if !response.is_success() {
            return Err(self.refusal(&response));
        }
        let members = response.json::<Users>()?.users;
        // Of a group that is not there Crowd says that it has no members.
        if members.is_empty() && start == 0 && self.find_group(group).await?.is_none() {
            return Err(Failure::Gone {
                text: format!("Crowd has no group {group}"),
            });
        }
        Ok(Page {
            next: next(start, members.len()),
            items: members
                .into_iter()
                .map(|user| Member {
                    remote_id: user.remote_id().to_owned(),
                    username: user.name,
                })
                .collect(),
        })
    }

    async fn search_all(&self, kind: &str, start: usize) -> Result<Response, Failure> {
        let (at, size) = (start.to_string(), PAGE.to_string());
        let restriction = json!({"restriction-type": "null-search-restriction"});
        let query = search_query(kind, &at, &size);
        let response = self.rest.post("/search", &query, restriction).await?;
        if response.is_success() {
            Ok(response)
        } else {
            Err(self.refusal(&response))
        }
    }
}

fn next(start: usize, received: usize) -> Option<String> {
    (received >= PAGE).then(|| (start + received).to_string())
}
