//! Everybody, all groups, and who is in one.

use crate::domain::{Failure, Observed};
use crate::outbound::segment;
use crate::targets::{Member, Page, start_of};

use super::wire::{Named, User};
use super::{ConfluenceDc, is_about_the_path};

const WITH_STATUS: (&str, &str) = ("expand", "status");

impl ConfluenceDc {
    pub(super) async fn list_users(&self, cursor: Option<&str>) -> Result<Page<Observed>, Failure> {
        let start = start_of(cursor)?;
        let response = self.read_page("/user/list", &[WITH_STATUS], start).await?;
        if response.status == 404 {
            return Err(self.lacks("list accounts", &response).await);
        }
        let (users, next) = self.page_of::<User>(&response, start)?;
        let there = users.into_iter().filter(|user| !user.is_ghost());
        Ok(Page {
            items: there
                .map(|user| user.observed(Vec::new()))
                .collect::<Result<_, _>>()?,
            next: next.map(|start| start.to_string()),
        })
    }

    pub(super) async fn list_groups(&self, cursor: Option<&str>) -> Result<Page<String>, Failure> {
        let start = start_of(cursor)?;
        let response = self.read_page("/group", &[], start).await?;
        let (groups, next) = self.page_of::<Named>(&response, start)?;
        Ok(Page {
            items: groups.into_iter().map(|group| group.name).collect(),
            next: next.map(|start| start.to_string()),
        })
    }

    pub(super) async fn list_members(
        &self,
        group: &str,
        cursor: Option<&str>,
    ) -> Result<Page<Member>, Failure> {
        let start = start_of(cursor)?;
        let path = format!("/group/{}/member", segment(group));
        let response = self.read_page(&path, &[], start).await?;
        if is_about_the_path(&response, group) {
            return Err(Failure::Rejected {
                field: Some("groups".to_owned()),
                text: format!(
                    "Confluence's web server lets no slash through, so the members of {group:?} cannot be listed"
                ),
            });
        }
        let (members, next) = self.page_of::<User>(&response, start)?;
        Ok(Page {
            items: members
                .into_iter()
                .map(|user| Member {
                    remote_id: user.key,
                    username: user.name,
                })
                .collect(),
            next: next.map(|start| start.to_string()),
        })
    }
}
