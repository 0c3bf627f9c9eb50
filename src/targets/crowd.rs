//! Crowd, through the interface that it gives to applications (`/rest/usermanagement/1`), and Jira acting as one.
//!
//! Usher signs in as an application, not as a person. Accounts are known by `key` but can only be written by name, so
//! each write reads the present name first; an update replaces everything, so it sends back what was read. What an
//! error means is told by its `reason`, and only answers with Crowd's own header are believed.

mod listing;
mod wire;

use std::collections::HashSet;

use async_trait::async_trait;
use secrecy::ExposeSecret;
use serde_json::json;

use self::wire::{Groups, Named, Refusal, Server, User, Users};
use super::atlassian::{Rest, Who, is_called, throw_away_password};
use super::{
    Capabilities, Check, Member, Operations, Page, Protected, Target, Whom, carry_out, fold, same,
};
use crate::domain::{Action, Applied, Failure, Holdings, LeadSuccessors, Lookup, Observed};
use crate::outbound::{Client, Credential, Error, Options, Response};

pub(super) static CAPABILITIES: Capabilities = Capabilities::usual("Crowd");

/// Atlassian's own client takes an answer without it for that of something else.
const MARK: &str = "X-Embedded-Crowd-Version";

/// As many results as Crowd itself gives when it is not told how many.
const PAGE: usize = 1000;

/// The names that the products' set-up gives their administrators' groups: in Crowd they are groups like any others.
const ADMIN_GROUPS: [&str; 4] = [
    "crowd-administrators",
    "jira-administrators",
    "jira-system-administrators",
    "confluence-administrators",
];

/// A Crowd instance.
#[derive(Debug)]
pub struct Crowd {
    rest: Rest,
    /// The application that Usher signs in as.
    application: String,
}

#[async_trait]
impl Target for Crowd {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    /// Usher signs in as no person, and Crowd does not tell an application who administers what.
    async fn protected(&self) -> Result<Protected, Failure> {
        Ok(Protected {
            users: Vec::new(),
            groups: ADMIN_GROUPS.map(str::to_owned).to_vec(),
            kept_by_product: Vec::new(),
        })
    }

    async fn observe(&self, lookup: Lookup<'_>) -> Result<Option<Observed>, Failure> {
        let user = match lookup {
            Lookup::RemoteId(id) => self.by_id(id).await?,
            Lookup::Username(name) => self.by_name(name).await?,
            Lookup::Email(address) => self.by_address(address).await?,
        };
        match user {
            Some(user) => self.observed(user).await.map(Some),
            None => Ok(None),
        }
    }

    async fn group_exists(&self, name: &str) -> Result<Option<String>, Failure> {
        self.find_group(name).await
    }

    async fn apply(&self, action: &Action) -> Result<Applied, Failure> {
        carry_out(self, action).await
    }

    async fn users(&self, cursor: Option<&str>) -> Result<Page<Observed>, Failure> {
        self.list_users(cursor).await
    }

    async fn groups(&self, cursor: Option<&str>) -> Result<Page<String>, Failure> {
        self.list_groups(cursor).await
    }

    async fn members(&self, group: &str, cursor: Option<&str>) -> Result<Page<Member>, Failure> {
        self.list_members(group, cursor).await
    }

    async fn check(&self) -> Result<Check, Failure> {
        // What the products themselves do to try a connection: a search for one user, which changes nothing.
        let query = search_query("user", "0", "1");
        let restriction = json!({"restriction-type": "null-search-restriction"});
        let response = self.rest.post("/search", &query, restriction).await?;
        if !response.is_success() {
            return Err(self.refusal(&response));
        }
        let users = response.json::<Users>()?.users;
        let server = server_of(&response);
        let mut check = Check {
            product: CAPABILITIES.product.to_owned(),
            version: server.shown(),
            account: format!("the application {}", self.application),
            rights: vec![
                "reads users and groups".to_owned(),
                "what it may write is set in Crowd, on the application's tab Permissions and in each directory, and \
                 cannot be asked here"
                    .to_owned(),
            ],
            ..Check::default()
        };
        let renames = match server.renames() {
            Some(renames) => renames,
            None => self.has_rename().await?,
        };
        if !renames {
            check.warnings.push(format!(
                "{}: needs Crowd 2.8.4 or later",
                no_rename(&server)
            ));
        }
        if users.iter().any(|user| user.key().is_none()) {
            check.warnings.push(
                "accounts have no stable key here: one that is renamed by hand in Crowd is taken for another one"
                    .to_owned(),
            );
        }
        Ok(check)
    }
}

#[async_trait]
impl Operations for Crowd {
    async fn create_user(
        &self,
        username: &str,
        display_name: &str,
        email: &str,
    ) -> Result<Applied, Failure> {
        let user = User::new(username, display_name, email);
        let mut body = user.entity();
        // Crowd takes no account without a password. Nobody is ever told this one.
        body["password"] = json!({"value": throw_away_password().expose_secret()});
        let response = self.rest.post("/user", &[], body).await?;
        let refusal = if response.is_success() {
            // Older versions answer with nothing.
            match response.json::<User>() {
                Ok(made) if same(&made.name, username) => {
                    return Ok(Applied::done(made.with_groups(Vec::new())));
                }
                _ => None,
            }
        } else {
            Some(self.refusal(&response))
        };
        if let Some(refusal) = &refusal
            && !matches!(refusal, Failure::Rejected { .. })
        {
            return Err(refusal.clone());
        }
        let made = self.by_name(username).await?;
        match (made, refusal) {
            (Some(made), None) => Ok(Applied::done(made.with_groups(Vec::new()))),
            (None, None) => Err(Whom {
                remote_id: "",
                username,
            }
            .gone("Crowd", "key")),
            // The answer to an earlier attempt was lost.
            (Some(made), Some(_)) if made.is_what_was_sent(&user) => {
                Ok(Applied::already(self.observed(made).await?))
            }
            (_, Some(refusal)) => Err(refusal),
        }
    }

    async fn update_user(
        &self,
        whom: Whom<'_>,
        display_name: Option<&str>,
        email: Option<&str>,
    ) -> Result<Applied, Failure> {
        let change = |user: &mut User| {
            if let Some(name) = display_name {
                user.display_name = Some(name.to_owned());
            }
            if let Some(email) = email {
                user.email = Some(email.to_owned());
            }
        };
        self.update(whom, change).await
    }

    async fn reactivate(&self, whom: Whom<'_>, _: Option<&Holdings>) -> Result<Applied, Failure> {
        self.set_active(whom, true).await
    }

    async fn rename_user(&self, whom: Whom<'_>, to: &str) -> Result<Applied, Failure> {
        let user = self
            .find(whom)
            .await?
            .ok_or_else(|| whom.gone("Crowd", "key"))?;
        if user.name == to {
            return Ok(Applied::already(self.observed(user).await?));
        }
        let response = self
            .rest
            .post(
                "/user/rename",
                &[("username", &user.name)],
                json!({"new-name": to}),
            )
            .await?;
        if response.status == 404 && Refusal::of(&response).is_none() {
            let text = format!(
                "{}: needs Crowd 2.8.4 or later; rename {} to {to} by hand there",
                no_rename(&server_of(&response)),
                user.name
            );
            return Err(Failure::Rejected {
                field: Some("name".to_owned()),
                text,
            });
        }
        if !response.is_success() {
            let refusal = self.refusal(&response);
            if same(&user.name, to) && matches!(refusal, Failure::Rejected { .. }) {
                // To Crowd it is the same name already, whatever its case.
                return Ok(Applied::already(self.observed(user).await?));
            }
            return Err(refusal);
        }
        let after = match user.key() {
            Some(key) => self.by_id(key).await?,
            None => self.by_name(to).await?,
        };
        let after = after.ok_or_else(|| whom.gone("Crowd", "key"))?;
        is_called(&after.name, to, "Crowd")?;
        Ok(Applied::done(self.observed(after).await?))
    }

    async fn deactivate(
        &self,
        whom: Whom<'_>,
        _: &LeadSuccessors,
        _: Option<&Holdings>,
    ) -> Result<Applied, Failure> {
        let mut applied = self.set_active(whom, false).await?;
        if let Some(account) = &applied.account
            && !applied.already
        {
            let name = account.username.clone();
            if self.end_sessions(&name).await {
                applied.notes.push(format!("ended the sessions of {name}"));
            }
        }
        Ok(applied)
    }

    async fn delete_user(&self, whom: Whom<'_>) -> Result<Applied, Failure> {
        let Some(user) = self.find(whom).await? else {
            return Ok(Applied::was_so());
        };
        let response = self
            .rest
            .delete("/user", &[("username", &user.name)])
            .await?;
        if response.is_success() {
            return Ok(Applied::default());
        }
        match Refusal::of(&response) {
            Some(refusal) if refusal.reason == "USER_NOT_FOUND" => Ok(Applied::was_so()),
            _ => Err(self.refusal(&response)),
        }
    }

    async fn create_group(&self, name: &str) -> Result<Applied, Failure> {
        let body = json!({"name": name, "type": "GROUP", "active": true});
        let response = self.rest.post("/group", &[], body).await?;
        if response.is_success() {
            return Ok(Applied::default());
        }
        let refusal = self.refusal(&response);
        // INVALID_GROUP means "exists" as well as "no name for a group".
        if matches!(refusal, Failure::Rejected { .. }) && self.find_group(name).await?.is_some() {
            return Ok(Applied::was_so());
        }
        Err(refusal)
    }

    async fn add_member(&self, whom: Whom<'_>, group: &str) -> Result<Applied, Failure> {
        let response = self
            .rest
            .post(
                "/group/user/direct",
                &[("groupname", group)],
                json!({"name": whom.username}),
            )
            .await?;
        if response.is_success() {
            return Ok(Applied::default());
        }
        let reason = Refusal::of(&response).map(|refusal| refusal.reason);
        match reason.as_deref() {
            Some("MEMBERSHIP_ALREADY_EXISTS") => match self.moved(whom).await? {
                Some(failure) => Err(failure),
                None => Ok(Applied::was_so()),
            },
            Some("GROUP_NOT_FOUND") => Err(Failure::Gone {
                text: format!("Crowd has no group {group}"),
            }),
            Some("USER_NOT_FOUND") => Err(self
                .moved(whom)
                .await?
                .unwrap_or_else(|| whom.gone("Crowd", "key"))),
            _ => Err(self.refusal(&response)),
        }
    }

    async fn remove_member(&self, whom: Whom<'_>, group: &str) -> Result<Applied, Failure> {
        let query = [("groupname", group), ("username", whom.username)];
        let response = self.rest.delete("/group/user/direct", &query).await?;
        if response.is_success() {
            return Ok(Applied::default());
        }
        let reason = Refusal::of(&response).map(|refusal| refusal.reason);
        match reason.as_deref() {
            Some("GROUP_NOT_FOUND") => Ok(Applied::was_so()),
            // Under an old name nobody is a member of anything.
            Some("MEMBERSHIP_NOT_FOUND" | "USER_NOT_FOUND") => match self.find(whom).await? {
                Some(user) if !same(&user.name, whom.username) => Err(renamed(whom, &user)),
                _ => Ok(Applied::was_so()),
            },
            _ => Err(self.refusal(&response)),
        }
    }
}

impl Crowd {
    /// A Crowd at `base_url`, context path included. Nothing is sent.
    ///
    /// # Errors
    /// The address cannot be used, or the credential is a token: Crowd knows none for applications.
    pub fn new(base_url: &str, credential: Credential, options: Options) -> Result<Self, Error> {
        let Credential::Basic { username, .. } = &credential else {
            let text = "Crowd takes no token: give the name of the application in Crowd as `username`, and its \
                        `password`";
            return Err(Error::Credential(text.to_owned()));
        };
        let application = username.clone();
        let client = Client::new(base_url, credential, options)?;
        let rest = Rest::new(client, "Crowd", "/rest/usermanagement/1")
            .marked(MARK)
            .refusing(
                "the name or password of the application is wrong; `username` must be the name of an application in \
                 Crowd, not that of a person",
            );
        Ok(Self { rest, application })
    }

    /// Changes an account and reads it back.
    async fn update(
        &self,
        whom: Whom<'_>,
        change: impl FnOnce(&mut User),
    ) -> Result<Applied, Failure> {
        let user = self
            .find(whom)
            .await?
            .ok_or_else(|| whom.gone("Crowd", "key"))?;
        let mut changed = user.clone();
        change(&mut changed);
        if changed.entity() == user.entity() {
            return Ok(Applied::already(self.observed(user).await?));
        }
        let response = self
            .rest
            .put("/user", &[("username", &user.name)], changed.entity())
            .await?;
        if !response.is_success() {
            return Err(self.refusal(&response));
        }
        let after = self.by_id(user.remote_id()).await?;
        Ok(Applied::done(
            self.observed(after.ok_or_else(|| whom.gone("Crowd", "key"))?)
                .await?,
        ))
    }

    /// Only what Crowd shows afterwards counts.
    async fn set_active(&self, whom: Whom<'_>, active: bool) -> Result<Applied, Failure> {
        let applied = self.update(whom, |user| user.active = active).await?;
        match &applied.account {
            Some(account) if account.active != active => {
                let state = if active { "inactive" } else { "active" };
                let text = format!(
                    "Crowd accepted the change but still shows {} as {state}: does its directory keep that state, and \
                     does a directory above hold the same name?",
                    account.username
                );
                Err(Failure::Rejected {
                    field: Some("active".to_owned()),
                    text,
                })
            }
            _ => Ok(applied),
        }
    }

    /// Without this a deactivated person stays signed in with Crowd until the session expires. The account is inactive
    /// by now, so a failure here changes nothing about the outcome.
    async fn end_sessions(&self, name: &str) -> bool {
        let ended = self.rest.delete("/session", &[("username", name)]).await;
        matches!(ended, Ok(response) if response.is_success())
    }

    /// [`Failure::Gone`] if the account is missing, or has another name than the one a membership was written with.
    async fn moved(&self, whom: Whom<'_>) -> Result<Option<Failure>, Failure> {
        Ok(match self.find(whom).await? {
            None => Some(whom.gone("Crowd", "key")),
            Some(user) if !same(&user.name, whom.username) => Some(renamed(whom, &user)),
            Some(_) => None,
        })
    }

    async fn find(&self, whom: Whom<'_>) -> Result<Option<User>, Failure> {
        match Who::from(whom) {
            Who::Key(id) => self.by_id(id).await,
            Who::Name(name) => self.by_name(name).await,
        }
    }

    /// The account that is known by `id`: its key, or its name if it has no key. The one is never taken for the other.
    async fn by_id(&self, id: &str) -> Result<Option<User>, Failure> {
        if id.is_empty() {
            return Ok(None);
        }
        let response = self.rest.get("/user", &[("key", id)]).await?;
        if response.is_success() {
            let user: User = response.json()?;
            if user.key() == Some(id) {
                return Ok(Some(user));
            }
        } else {
            let reason = Refusal::of(&response).map(|refusal| refusal.reason);
            // A Crowd without keys misses the parameter `username`.
            if !matches!(
                reason.as_deref(),
                Some("USER_NOT_FOUND" | "ILLEGAL_ARGUMENT")
            ) {
                return Err(self.refusal(&response));
            }
        }
        let user = self.by_name(id).await?;
        Ok(user.filter(|user| user.key().is_none()))
    }

    async fn find_group(&self, name: &str) -> Result<Option<String>, Failure> {
        if name.is_empty() {
            return Ok(None);
        }
        let response = self.rest.get("/group", &[("groupname", name)]).await?;
        if response.is_success() {
            let group: Named = response.json()?;
            return Ok(Some(group.name).filter(|written| same(written, name)));
        }
        match Refusal::of(&response) {
            Some(refusal) if refusal.reason == "GROUP_NOT_FOUND" => Ok(None),
            _ => Err(self.refusal(&response)),
        }
    }

    async fn by_name(&self, name: &str) -> Result<Option<User>, Failure> {
        if name.is_empty() {
            return Ok(None);
        }
        let response = self.rest.get("/user", &[("username", name)]).await?;
        if response.is_success() {
            let user: User = response.json()?;
            return Ok(Some(user).filter(|user| same(&user.name, name)));
        }
        match Refusal::of(&response) {
            Some(refusal) if refusal.reason == "USER_NOT_FOUND" => Ok(None),
            _ => Err(self.refusal(&response)),
        }
    }

    /// The only user with this address.
    async fn by_address(&self, address: &str) -> Result<Option<User>, Failure> {
        if address.is_empty() {
            return Ok(None);
        }
        let size = PAGE.to_string();
        let restriction = json!({
            "restriction-type": "property-search-restriction",
            "property": {"name": "email", "type": "STRING"},
            "match-mode": "EXACTLY_MATCHES",
            "value": address,
        });
        let response = self
            .rest
            .post("/search", &search_query("user", "0", &size), restriction)
            .await?;
        if !response.is_success() {
            return Err(self.refusal(&response));
        }
        let users = response.json::<Users>()?.users;
        let has = |user: &User| user.email.as_deref().is_some_and(|e| same(e, address));
        let mut found = users.into_iter().filter(has);
        let only = found.next();
        if found.next().is_some() {
            tracing::info!("several accounts have the e-mail address, none is taken");
            return Ok(None);
        }
        Ok(only)
    }

    /// The account with the groups that it is a direct member of.
    async fn observed(&self, user: User) -> Result<Observed, Failure> {
        let size = PAGE.to_string();
        let mut groups: Vec<String> = Vec::new();
        let mut known = HashSet::new();
        let mut received = 0;
        loop {
            let start = received.to_string();
            let query = [
                ("username", user.name.as_str()),
                ("start-index", &start),
                ("max-results", &size),
            ];
            let response = self.rest.get("/user/group/direct", &query).await?;
            if !response.is_success() {
                return Err(self.refusal(&response));
            }
            let page = response.json::<Groups>()?.groups;
            // There is no total; Crowd gives as many as it is asked for.
            let last = page.len() < PAGE;
            received += page.len();
            // Several directories may hold a group of the same name.
            let names = page.into_iter().map(|group| group.name);
            let new: Vec<String> = names.filter(|name| known.insert(fold(name))).collect();
            if !last && new.is_empty() {
                // Half a list would look like memberships that are gone.
                let text = format!("Crowd repeats itself in the groups of {}", user.name);
                return Err(Failure::Transient { text });
            }
            groups.extend(new);
            if last {
                return Ok(user.with_groups(groups));
            }
        }
    }

    /// Whether the interface has a rename: asked in a way that it cannot follow.
    async fn has_rename(&self) -> Result<bool, Failure> {
        Ok(self.rest.get("/user/rename", &[]).await?.status != 404)
    }

    /// What a refusal is, once the caller has taken out the reasons it understands better.
    fn refusal(&self, response: &Response) -> Failure {
        let what = response.what();
        let application = &self.application;
        let Some(refusal) = Refusal::of(response) else {
            return match response.status {
                403 => Failure::Unauthorized {
                    text: format!(
                        "{what}: Crowd refuses requests from Usher's address (403): add it to the remote addresses of \
                         the application {application}"
                    ),
                },
                404 => self.rest.not_the_product(response),
                status => Failure::Rejected {
                    field: None,
                    text: format!("{what}: Crowd answered {status} without a reason"),
                },
            };
        };
        let text = refusal.text();
        match (refusal.reason.as_str(), response.status) {
            ("USER_NOT_FOUND" | "GROUP_NOT_FOUND" | "MEMBERSHIP_NOT_FOUND", _) => {
                Failure::Gone { text }
            }
            ("OPERATION_FAILED", _) => Failure::Transient {
                text: format!("{what}: Crowd could not do it: {text}"),
            },
            // Told of one directory, so the accounts of others may well be written.
            ("APPLICATION_PERMISSION_DENIED", _) => Failure::Rejected {
                field: None,
                text: format!(
                    "{text}: the directory is read-only, or the application {application} lacks the permission in it"
                ),
            },
            ("APPLICATION_ACCESS_DENIED" | "APPLICATION_NOT_FOUND" | "PERMISSION_DENIED", _)
            | (_, 403) => Failure::Unauthorized {
                text: format!("{what}: Crowd refuses the application {application}: {text}"),
            },
            _ => Failure::Rejected {
                field: refusal.field(),
                text,
            },
        }
    }
}

fn renamed(whom: Whom<'_>, user: &User) -> Failure {
    Failure::Gone {
        text: format!("{} is called {} in Crowd by now", whom.username, user.name),
    }
}

fn search_query<'a>(kind: &'a str, start: &'a str, count: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("entity-type", kind),
        ("start-index", start),
        ("max-results", count),
        ("expand", kind),
    ]
}

fn server_of(response: &Response) -> Server {
    Server::of(response.header(MARK).unwrap_or_default())
}

fn no_rename(server: &Server) -> String {
    let name = if server.is_crowd() { "Crowd " } else { "" };
    format!("{name}{} cannot rename users over REST", server.shown())
}

#[cfg(test)]
mod tests;
