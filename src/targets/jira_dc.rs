//! Jira Data Center and Server, REST API version 2.
//!
//! Accounts are addressed by `key`, which survives renames. Memberships can only be written by user name. Whatever is
//! refused is read again before it is called refused, since Jira answers 400 for "is so already" as well.

mod leads;
mod listing;
mod wire;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use self::wire::{Permissions, Picker, ServerInfo, User};
use super::atlassian::{Rest, Who, Words, is_called, once};
use super::{
    Capabilities, Check, Member, Operations, Page, Protected, Target, Whom, carry_out, same,
};
use crate::domain::{Action, Applied, Failure, Holdings, LeadSuccessors, Lookup, Observed};
use crate::outbound::{Client, Response, segment};

pub(super) static CAPABILITIES: Capabilities = Capabilities {
    leads: true,
    ..Capabilities::usual("Jira Data Center")
};

/// The first version that lets REST change `active` (JRASERVER-37294).
const ACTIVE_SINCE: (u32, u32) = (8, 3);

/// The names that Jira's set-up gives its administrators' groups.
const ADMIN_GROUPS: [&str; 2] = ["jira-administrators", "jira-system-administrators"];

/// `user/search` gives no more at once.
const SEARCH_PAGE: usize = 1000;

/// As many groups as are looked at to find one.
const SOME_GROUPS: &str = "1000";

/// No address is looked for beyond that many pages.
const SEARCH_PAGES: usize = 20;

/// A Jira instance.
#[derive(Debug)]
pub struct JiraDc {
    rest: Rest,
    protected: OnceCell<Protected>,
}

#[async_trait]
impl Target for JiraDc {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    async fn protected(&self) -> Result<Protected, Failure> {
        once(&self.protected, self.read_protected()).await
    }

    async fn observe(&self, lookup: Lookup<'_>) -> Result<Option<Observed>, Failure> {
        let user = match lookup {
            Lookup::RemoteId(key) => self.user(Who::Key(key)).await?,
            Lookup::Username(name) => self
                .user(Who::Name(name))
                .await?
                .filter(|u| same(&u.name, name)),
            Lookup::Email(address) => self.user_of_address(address).await?,
        };
        Ok(user.map(Observed::from))
    }

    async fn group_exists(&self, name: &str) -> Result<Option<String>, Failure> {
        if name.is_empty() {
            return Ok(None);
        }
        // Only the picker tells how Jira writes the name.
        let picker = self.pick(name, SOME_GROUPS).await?;
        if let Some(group) = picker.groups.into_iter().find(|g| same(&g.name, name)) {
            return Ok(Some(group.name));
        }
        let response = self
            .rest
            .get(
                "/group/member",
                &[("groupname", name), ("startAt", "0"), ("maxResults", "1")],
            )
            .await?;
        match response.status {
            200 => Ok(Some(name.to_owned())),
            404 => self.rest.absent(&response).map(|()| None),
            _ => Err(self.refusal(&response).await),
        }
    }

    async fn apply(&self, action: &Action) -> Result<Applied, Failure> {
        carry_out(self, action).await
    }

    async fn users(&self, cursor: Option<&str>) -> Result<Page<Observed>, Failure> {
        self.list_users(cursor).await
    }

    async fn groups(&self, _: Option<&str>) -> Result<Page<String>, Failure> {
        self.list_groups().await
    }

    async fn members(&self, group: &str, cursor: Option<&str>) -> Result<Page<Member>, Failure> {
        self.list_members(group, cursor).await
    }

    async fn check(&self) -> Result<Check, Failure> {
        let response = self.rest.get("/serverInfo", &[]).await?;
        let info = response
            .json::<ServerInfo>()
            .ok()
            .filter(|_| response.is_success());
        let Some(info) = info else {
            let text = format!(
                "{} is not the address of a Jira: {} answered {}{}; give the address that people use, context path \
                 included",
                self.rest.base_url(),
                response.what(),
                response.status,
                if response.is_html() { " with HTML" } else { "" }
            );
            return Err(Failure::Rejected {
                field: Some("base_url".to_owned()),
                text,
            });
        };
        if info.is_cloud() {
            let text = "this is Jira Cloud, whose users are not managed over this interface";
            let (field, text) = (Some("base_url".to_owned()), text.to_owned());
            return Err(Failure::Rejected { field, text });
        }
        let myself = self.myself().await?;
        let permissions = self.permissions().await?;
        let mut check = Check {
            product: CAPABILITIES.product.to_owned(),
            version: info.version.clone(),
            account: myself.name.clone(),
            ..Check::default()
        };
        for (permission, right) in [
            ("SYSTEM_ADMIN", "is a system administrator"),
            (
                "ADMINISTER",
                "administers Jira: may write users, groups and leads",
            ),
            ("USER_PICKER", "may search users"),
        ] {
            if permissions.has(permission) {
                check.rights.push(right.to_owned());
            }
        }
        if !permissions.has("ADMINISTER") {
            check.warnings.push(format!(
                "{} is no Jira administrator: nothing can be written",
                myself.name
            ));
        }
        if !permissions.has("USER_PICKER") {
            check.warnings.push(format!(
                "{} lacks the permission Browse Users: accounts cannot be found by e-mail address",
                myself.name
            ));
        }
        if info.is_before(ACTIVE_SINCE) {
            check.warnings.push(format!(
                "Jira {} cannot deactivate or reactivate over REST: needs 8.3 or later",
                info.version
            ));
        }
        if myself.email().is_none() {
            check.warnings.push(
                "Jira hides e-mail addresses (general configuration, user email visibility): they are written, but \
                 not compared, and accounts cannot be found by them"
                    .to_owned(),
            );
        }
        Ok(check)
    }
}

#[async_trait]
impl Operations for JiraDc {
    async fn create_user(
        &self,
        username: &str,
        display_name: &str,
        email: &str,
    ) -> Result<Applied, Failure> {
        // Without `password` Jira sets a random one; without `notification` it sends no mail.
        let body = json!({"name": username, "emailAddress": email, "displayName": display_name});
        let response = self.rest.post("/user", &[], body).await?;
        if response.is_success() {
            if let Ok(user) = response.json::<User>() {
                return Ok(done(user.with_key()));
            }
            let who = Who::Name(username);
            return match self.user(who).await? {
                Some(user) => Ok(done(user)),
                None => Err(who.gone("Jira")),
            };
        }
        let refusal = self.refusal(&response).await;
        if matches!(refusal, Failure::Rejected { .. })
            && let Some(user) = self.user(Who::Name(username)).await?
            && user.is_what_was_sent(username, display_name, email)
        {
            // The answer to an earlier attempt was lost.
            return Ok(already(Some(user)));
        }
        Err(refusal)
    }

    async fn update_user(
        &self,
        whom: Whom<'_>,
        display_name: Option<&str>,
        email: Option<&str>,
    ) -> Result<Applied, Failure> {
        let who = Who::from(whom);
        let mut body = serde_json::Map::new();
        if let Some(name) = display_name {
            body.insert("displayName".to_owned(), name.into());
        }
        if let Some(email) = email {
            body.insert("emailAddress".to_owned(), email.into());
        }
        if body.is_empty() {
            return Ok(already(Some(
                self.user(who).await?.ok_or_else(|| who.gone("Jira"))?,
            )));
        }
        Ok(done(self.put_user(who, body.into()).await?))
    }

    async fn rename_user(&self, whom: Whom<'_>, to: &str) -> Result<Applied, Failure> {
        let who = Who::from(whom);
        let response = self
            .rest
            .put("/user", &[who.query()], json!({"name": to}))
            .await?;
        self.accepted(who, &response).await?;
        // Renamed, so a user that is only known by name has the new one. A change of case alone is none to Jira: it
        // keeps the old spelling.
        let who = if let Who::Key(_) = who {
            who
        } else {
            Who::Name(to)
        };
        let user = self.user(who).await?.ok_or_else(|| who.gone("Jira"))?;
        is_called(&user.name, to, "Jira")?;
        Ok(done(user))
    }

    async fn deactivate(
        &self,
        whom: Whom<'_>,
        successors: &LeadSuccessors,
        _: Option<&Holdings>,
    ) -> Result<Applied, Failure> {
        let who = Who::from(whom);
        let Some(user) = self.user(who).await? else {
            return Err(who.gone("Jira"));
        };
        if !user.active {
            return Ok(already(Some(user)));
        }
        let mut response = self.put_active(&user, false).await?;
        let mut notes = Vec::new();
        for round in leads::ROUNDS {
            let Some(words) = leads::refusal(&response) else {
                break;
            };
            let handed = leads::hand_over(self, &user, successors, &words, round).await;
            let handed = handed.map_err(|failure| with_notes(failure, &notes))?;
            notes.extend(handed);
            response = self
                .put_active(&user, false)
                .await
                .map_err(|failure| with_notes(failure, &notes))?;
        }
        let outcome = self.confirm_active(&user, &response, false).await;
        let user = outcome.map_err(|failure| with_notes(failure, &notes))?;
        if self.end_sessions(&user.name).await {
            notes.push(format!("ended the sessions of {}", user.name));
        }
        Ok(Applied {
            account: Some(user.into()),
            already: false,
            notes,
        })
    }

    async fn reactivate(&self, whom: Whom<'_>, _: Option<&Holdings>) -> Result<Applied, Failure> {
        let who = Who::from(whom);
        let Some(user) = self.user(who).await? else {
            return Err(who.gone("Jira"));
        };
        if user.active {
            return Ok(already(Some(user)));
        }
        let response = self.put_active(&user, true).await?;
        Ok(done(self.confirm_active(&user, &response, true).await?))
    }

    async fn delete_user(&self, whom: Whom<'_>) -> Result<Applied, Failure> {
        let who = Who::from(whom);
        let response = self.rest.delete("/user", &[who.query()]).await?;
        match response.status {
            200..=299 => Ok(Applied::default()),
            404 => self.rest.absent(&response).map(|()| already(None)),
            _ => Err(self.refusal(&response).await),
        }
    }

    async fn create_group(&self, name: &str) -> Result<Applied, Failure> {
        let response = self.rest.post("/group", &[], json!({"name": name})).await?;
        if response.is_success() {
            return Ok(Applied::default());
        }
        let refusal = self.refusal(&response).await;
        // 400 means "empty" as well as "exists".
        if matches!(refusal, Failure::Rejected { .. }) && self.group_exists(name).await?.is_some() {
            return Ok(already(None));
        }
        Err(refusal)
    }

    async fn add_member(&self, whom: Whom<'_>, group: &str) -> Result<Applied, Failure> {
        let who = Who::from(whom);
        let username = whom.username;
        let body = json!({"name": username});
        let response = self
            .rest
            .post("/group/user", &[("groupname", group)], body)
            .await?;
        if response.is_success() {
            return Ok(Applied::default());
        }
        let refusal = self.refusal(&response).await;
        match refusal {
            // 400 also means "is a member": ask.
            Failure::Rejected { .. } => match self.user(who).await? {
                Some(user) if user.groups.contains(group) => Ok(already(None)),
                _ => Err(refusal),
            },
            // 404 means that either is missing.
            Failure::Gone { .. } => {
                if self.group_exists(group).await?.is_none() {
                    return Err(Failure::Gone {
                        text: format!("Jira has no group {group}"),
                    });
                }
                Err(self
                    .gone_or_renamed(who, username)
                    .await?
                    .unwrap_or(refusal))
            }
            _ => Err(refusal),
        }
    }

    async fn remove_member(&self, whom: Whom<'_>, group: &str) -> Result<Applied, Failure> {
        let who = Who::from(whom);
        let username = whom.username;
        let query = [("groupname", group), ("username", username)];
        let response = self.rest.delete("/group/user", &query).await?;
        if response.is_success() {
            return Ok(Applied::default());
        }
        let refusal = self.refusal(&response).await;
        if !matches!(refusal, Failure::Rejected { .. } | Failure::Gone { .. }) {
            return Err(refusal);
        }
        // Not a member, no such group or no such user: all are what was wanted, if the account itself agrees.
        match self.user(who).await? {
            Some(user) if user.groups.contains(group) => Err(self
                .gone_or_renamed(who, username)
                .await?
                .unwrap_or(refusal)),
            _ => Ok(already(None)),
        }
    }
}

impl JiraDc {
    /// A Jira at the client's base URL.
    pub fn new(client: Client) -> Self {
        Self {
            rest: Rest::new(client, "Jira", "/rest/api/2"),
            protected: OnceCell::new(),
        }
    }

    /// Which groups have the global permission to administer Jira is only told by the labels of the group picker, and
    /// that may leave groups out. So Jira's own names for them are protected too, and of the groups of Usher's own
    /// account (which must be in one of them) those that sound like it.
    async fn read_protected(&self) -> Result<Protected, Failure> {
        let name = self.myself().await?.name;
        let own = self
            .user(Who::Name(&name))
            .await?
            .map(|u| u.groups.names())
            .unwrap_or_default();
        let labelled = self.pick("", SOME_GROUPS).await?.groups;
        let labelled = labelled
            .into_iter()
            .filter(|g| g.is_for_administrators())
            .map(|g| g.name);
        let own = own.into_iter().filter(|g| super::fold(g).contains("admin"));
        let mut groups: Vec<String> = ADMIN_GROUPS.map(str::to_owned).to_vec();
        for group in labelled.chain(own) {
            if !groups.iter().any(|g| same(g, &group)) {
                groups.push(group);
            }
        }
        Ok(Protected {
            users: vec![name],
            groups,
            kept_by_product: Vec::new(),
        })
    }

    /// Groups with `part` in their names; no more than an administrator of Jira set as a limit.
    async fn pick(&self, part: &str, most: &str) -> Result<Picker, Failure> {
        let query = [("query", part), ("maxResults", most)];
        let response = self.rest.get("/groups/picker", &query).await?;
        if response.is_success() {
            response.json()
        } else {
            Err(self.refusal(&response).await)
        }
    }

    /// Jira before 8.3 refuses `active` alone and ignores it beside `name`. The name is the one just read, never
    /// Usher's own belief: that would undo a rename made by hand.
    async fn put_active(&self, user: &User, active: bool) -> Result<Response, Failure> {
        let who = Who::from(user.whom());
        let body = json!({"name": user.name, "active": active});
        self.rest.put("/user", &[who.query()], body).await
    }

    /// Reads back: only what Jira shows afterwards counts.
    async fn confirm_active(
        &self,
        user: &User,
        response: &Response,
        active: bool,
    ) -> Result<User, Failure> {
        let who = Who::from(user.whom());
        self.accepted(who, response).await?;
        let user = self.user(who).await?.ok_or_else(|| who.gone("Jira"))?;
        if user.active == active {
            return Ok(user);
        }
        let info = self.server_info().await?;
        let text = if info.is_before(ACTIVE_SINCE) {
            format!(
                "Jira {} ignores `active` over REST; needs 8.3 or later",
                info.version
            )
        } else {
            let state = if active { "inactive" } else { "active" };
            format!(
                "Jira {} accepted the change but still shows {} as {state}: does its directory allow it, and does a \
                 directory above hold the same name?",
                info.version, user.name
            )
        };
        Err(Failure::Rejected {
            field: Some("active".to_owned()),
            text,
        })
    }

    /// Without this a deactivated person keeps working until the session expires. The account is inactive by now, so
    /// a failure here changes nothing about the outcome.
    async fn end_sessions(&self, name: &str) -> bool {
        let path = format!("/user/session/{}", segment(name));
        matches!(self.rest.delete(&path, &[]).await, Ok(response) if response.is_success())
    }

    /// [`Failure::Gone`] if the account is missing, or has another name than the one a membership was written with.
    async fn gone_or_renamed(
        &self,
        who: Who<'_>,
        username: &str,
    ) -> Result<Option<Failure>, Failure> {
        Ok(match self.user(who).await? {
            None => Some(who.gone("Jira")),
            Some(user) if !same(&user.name, username) => Some(Failure::Gone {
                text: format!("{username} is called {} in Jira by now", user.name),
            }),
            Some(_) => None,
        })
    }

    /// Changes a user and reads it back with its groups.
    async fn put_user(&self, who: Who<'_>, body: Value) -> Result<User, Failure> {
        let response = self.rest.put("/user", &[who.query()], body).await?;
        self.accepted(who, &response).await?;
        self.user(who).await?.ok_or_else(|| who.gone("Jira"))
    }

    async fn accepted(&self, who: Who<'_>, response: &Response) -> Result<(), Failure> {
        match response.status {
            200..=299 => Ok(()),
            404 => self.rest.absent(response).and(Err(who.gone("Jira"))),
            _ => Err(self.refusal(response).await),
        }
    }

    /// One user with all groups.
    async fn user(&self, who: Who<'_>) -> Result<Option<User>, Failure> {
        let (by, value) = who.query();
        if value.is_empty() {
            return Ok(None);
        }
        let Some(mut user) = self.read_user(&[(by, value), ("expand", "groups")]).await? else {
            return Ok(None);
        };
        while user.groups.missing() > 0 {
            let start = user.groups.items.len();
            let range = format!("groups[{start}:{}]", start + 999);
            let more = self.read_user(&[(by, value), ("expand", &range)]).await?;
            let Some(more) = more else { return Ok(None) };
            user.groups.extend(more.groups);
            if user.groups.items.len() == start {
                // Half a list would look like memberships that are gone.
                let text = format!(
                    "Jira shows {start} of the {} groups of {}",
                    user.groups.size, user.name
                );
                return Err(Failure::Transient { text });
            }
        }
        Ok(Some(user))
    }

    async fn read_user(&self, query: &[(&str, &str)]) -> Result<Option<User>, Failure> {
        let response = self.rest.get("/user", query).await?;
        match response.status {
            200 => Ok(Some(response.json::<User>()?.with_key()).filter(|u| !u.deleted)),
            404 => self.rest.absent(&response).map(|()| None),
            _ => Err(self.refusal(&response).await),
        }
    }

    /// A page of those whose names, or parts of their addresses, begin so; inactive ones too.
    async fn search(&self, typed: &str, start: usize) -> Result<Vec<User>, Failure> {
        let (start, size) = (start.to_string(), SEARCH_PAGE.to_string());
        let query = [
            ("username", typed),
            ("includeActive", "true"),
            ("includeInactive", "true"),
            ("startAt", &start),
            ("maxResults", &size),
        ];
        let response = self.rest.get("/user/search", &query).await?;
        if response.is_success() {
            response.json()
        } else {
            Err(self.refusal(&response).await)
        }
    }

    /// The only user with this address. The search also finds names and parts of addresses.
    async fn user_of_address(&self, address: &str) -> Result<Option<User>, Failure> {
        if address.is_empty() {
            return Ok(None);
        }
        let mut found: Option<User> = None;
        for page in 0..SEARCH_PAGES {
            let users = self.search(address, page * SEARCH_PAGE).await?;
            let last = users.len() < SEARCH_PAGE;
            for user in users.into_iter().map(User::with_key) {
                if !user.email().is_some_and(|e| same(e, address)) {
                    continue;
                }
                if found.as_ref().is_some_and(|other| other.key != user.key) {
                    tracing::info!("several accounts have the e-mail address, none is taken");
                    return Ok(None);
                }
                found = Some(user);
            }
            if last {
                return match found {
                    Some(user) => self.user(Who::Key(&user.key)).await,
                    None => Ok(None),
                };
            }
        }
        let text = format!(
            "more than {} users match the address",
            SEARCH_PAGE * SEARCH_PAGES
        );
        Err(Failure::Rejected {
            field: Some("email".to_owned()),
            text,
        })
    }

    async fn myself(&self) -> Result<User, Failure> {
        let response = self.rest.get("/myself", &[]).await?;
        if !response.is_success() {
            return Err(self.rest.failure(&response));
        }
        Ok(response.json::<User>()?.with_key())
    }

    async fn permissions(&self) -> Result<Permissions, Failure> {
        let response = self.rest.get("/mypermissions", &[]).await?;
        if !response.is_success() {
            return Err(self.rest.failure(&response));
        }
        response.json()
    }

    async fn server_info(&self) -> Result<ServerInfo, Failure> {
        let response = self.rest.get("/serverInfo", &[]).await?;
        if !response.is_success() {
            return Err(self.rest.failure(&response));
        }
        response.json()
    }

    /// What a refusal is. 403 may be about the account that Usher uses, which stops everything, or about one record
    /// (another administrator's), which must stop only itself: Jira is asked which.
    async fn refusal(&self, response: &Response) -> Failure {
        let failure = self.rest.failure(response);
        let Failure::Unauthorized { .. } = failure else {
            return failure;
        };
        let Some(words) = Words::of(response) else {
            return failure;
        };
        match self.permissions().await {
            Ok(permissions) if words.field.is_some() || permissions.has("ADMINISTER") => {
                Failure::Rejected {
                    field: words.field,
                    text: words.text,
                }
            }
            Ok(_) | Err(_) => failure,
        }
    }
}

fn done(user: User) -> Applied {
    Applied {
        account: Some(user.into()),
        ..Applied::default()
    }
}

fn already(user: Option<User>) -> Applied {
    Applied {
        account: user.map(Observed::from),
        already: true,
        notes: Vec::new(),
    }
}

/// A failure carries no notes, and what was handed over stays handed over: say so.
fn with_notes(mut failure: Failure, notes: &[String]) -> Failure {
    if !notes.is_empty() {
        let (Failure::Transient { text }
        | Failure::Unreachable { text }
        | Failure::Throttled { text, .. }
        | Failure::Rejected { text, .. }
        | Failure::Unauthorized { text }
        | Failure::Gone { text }) = &mut failure;
        *text = format!("{text} (done before: {})", notes.join(", "));
    }
    failure
}

#[cfg(test)]
mod tests;
