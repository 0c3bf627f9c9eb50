//! Bitbucket Data Center and Server, REST API 1.0.
//!
//! Accounts are known by their number, which survives renames, but no call finds or writes one by it: so an account is
//! looked for by the name that it last had, and by its number through the whole list if that fails. There are no
//! inactive accounts either: whoever has no licence cannot sign in (`access`). 401 means "you may not" as well.

mod access;
mod check;
mod wire;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use self::wire::{Named, PermittedGroup, User};
use super::atlassian::{Rest, Words, once, throw_away_password};
use super::{
    Capabilities, Check, Member, Operations, Page, Protected, Target, Whom, carry_out, fold, same,
};
use crate::domain::{Action, Applied, Failure, Holdings, LeadSuccessors, Lookup, Observed};
use crate::outbound::{Client, Credential, Error, Method, Options, Response};

pub(super) static CAPABILITIES: Capabilities = Capabilities {
    takes_memberships: true,
    members_a_request: 100,
    ..Capabilities::usual("Bitbucket Data Center")
};

/// Asked for at once; Bitbucket may give fewer.
const PAGE: &str = "1000";

/// No list is longer than that many pages.
const PAGES: usize = 1000;

/// For so long an account counts as called what it was seen to be called.
const RECENT: Duration = Duration::from_secs(30);

/// No more of them are remembered.
const MOST_RECENT: usize = 4096;

/// By this error a 401 says that the account lacks a right.
const DENIED: &str = "com.atlassian.bitbucket.AuthorisationException";

/// Every answer to a credential that was accepted names its account.
const ACCOUNT: &str = "X-AUSERNAME";

/// A Bitbucket instance.
#[derive(Debug)]
pub struct BitbucketDc {
    rest: Rest,
    /// The account of a name and password; of a token only answers tell it.
    account: Option<String>,
    protected: OnceCell<Protected>,
    /// By number: what accounts were called when they were last seen.
    recent: Mutex<HashMap<String, (String, Instant)>>,
}

#[async_trait]
impl Target for BitbucketDc {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    async fn protected(&self) -> Result<Protected, Failure> {
        once(&self.protected, self.read_protected()).await
    }

    async fn observe(&self, lookup: Lookup<'_>) -> Result<Option<Observed>, Failure> {
        let user = match lookup {
            Lookup::RemoteId(id) => self.find(id, &[]).await?,
            Lookup::Username(name) => self.by_name(name).await?,
            Lookup::Email(address) => self.by_address(address).await?,
        };
        self.observed_if_there(user).await
    }

    async fn revisit(&self, remote_id: &str, username: &str) -> Result<Option<Observed>, Failure> {
        let user = self.find(remote_id, &[username]).await?;
        self.observed_if_there(user).await
    }

    async fn holdings(&self, remote_id: &str, username: &str) -> Result<Holdings, Failure> {
        match self.find(remote_id, &[username]).await? {
            Some(user) => self.holdings_of(&user).await,
            None => Ok(Holdings::default()),
        }
    }

    async fn group_exists(&self, name: &str) -> Result<Option<String>, Failure> {
        if name.is_empty() {
            return Ok(None);
        }
        let query = [("filter", name)];
        let found = self
            .first("/admin/groups", &query, |group: &Named| {
                same(&group.name, name)
            })
            .await?;
        Ok(found.map(|group| group.name))
    }

    async fn apply(&self, action: &Action) -> Result<Applied, Failure> {
        carry_out(self, action).await
    }

    /// Bitbucket takes many at once, or none of them: then each is tried by itself. It takes them by name: whose name it
    /// is now is asked for each that was not seen a moment ago, so that nobody else gets in.
    async fn add_members(&self, group: &str, members: &[Member]) -> Vec<Result<Applied, Failure>> {
        let mut names: Vec<Result<String, Failure>> = Vec::with_capacity(members.len());
        for member in members {
            names.push(self.present_name(member).await);
        }
        let known: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
        if known.is_empty() {
            return names
                .into_iter()
                .map(|name| name.map(|_| Applied::was_so()))
                .collect();
        }
        let outcome = self.put_all_into(group, &known).await;
        let mut answers = Vec::with_capacity(members.len());
        for (member, name) in members.iter().zip(names) {
            answers.push(match (&name, &outcome) {
                (Err(failure), _) | (Ok(_), Err(failure)) => Err(failure.clone()),
                (Ok(_), Ok(true)) => Ok(Applied::default()),
                (Ok(_), Ok(false)) => self.add_member(Whom::from(member), group).await,
            });
        }
        answers
    }

    async fn users(&self, cursor: Option<&str>) -> Result<Page<Observed>, Failure> {
        let page: Page<User> = self.page("/admin/users", &[], cursor).await?;
        let licensed = self.licensed_of(&page.items).await?;
        let shown = |user: &User| user.observed(licensed.contains(&user.id), Vec::new());
        Ok(Page {
            items: page.items.iter().map(shown).collect(),
            next: page.next,
        })
    }

    async fn groups(&self, cursor: Option<&str>) -> Result<Page<String>, Failure> {
        let page: Page<Named> = self.page("/admin/groups", &[], cursor).await?;
        Ok(Page {
            items: page.items.into_iter().map(|group| group.name).collect(),
            next: page.next,
        })
    }

    async fn members(&self, group: &str, cursor: Option<&str>) -> Result<Page<Member>, Failure> {
        let query = [("context", group)];
        let page: Page<User> = self
            .page("/admin/groups/more-members", &query, cursor)
            .await?;
        if page.items.is_empty() && cursor.is_none() && self.group_exists(group).await?.is_none() {
            return Err(no_group(group));
        }
        let member = |user: User| Member {
            remote_id: user.remote_id(),
            username: user.name,
        };
        Ok(Page {
            items: page.items.into_iter().map(member).collect(),
            next: page.next,
        })
    }

    async fn check(&self) -> Result<Check, Failure> {
        self.try_out().await
    }
}

#[async_trait]
impl Operations for BitbucketDc {
    /// All of it stands in the address, which web servers write down, the password too: so the password that is sent
    /// there is another one a moment later.
    async fn create_user(
        &self,
        username: &str,
        display_name: &str,
        email: &str,
    ) -> Result<Applied, Failure> {
        let password = throw_away_password();
        let query = [
            ("name", username),
            ("displayName", display_name),
            ("emailAddress", email),
            ("password", password.expose_secret()),
            ("addToDefaultGroup", "true"),
        ];
        let response = self
            .rest
            .order(Method::POST, "/admin/users", &query)
            .await?;
        if response.is_success() {
            let user = self.by_name(username).await?;
            let user = user.ok_or_else(|| Whom::named(username).gone("Bitbucket", "number"))?;
            self.note(&user);
            // Nothing was ever taken from it, so it counts as active; which groups Bitbucket has put it into, and
            // whether one of them gives it a licence, a look tells.
            let mut applied = Applied::done(user.observed(true, Vec::new()));
            if let Err(failure) = self.replace_password(username).await {
                applied.notes.push(format!(
                    "the first password stood in the address of a request and could not be replaced ({failure}): \
                     give {username} another one"
                ));
            }
            return Ok(applied);
        }
        // The answer to an earlier attempt was lost.
        if response.status == 409
            && let Some(user) = self.by_name(username).await?
            && user.is_what_was_sent(username, display_name, email)
        {
            let account = self.observed(&user).await?;
            if account.active {
                return Ok(Applied::already(account));
            }
        }
        match (response.status, Words::of(&response)) {
            (403, Some(words)) => Err(Failure::Rejected {
                field: words.field,
                text: format!(
                    "{}: Bitbucket has no licence left for {username}, or no directory that takes new accounts",
                    words.text
                ),
            }),
            _ => Err(self.refusal(&response, username).await),
        }
    }

    async fn update_user(
        &self,
        whom: Whom<'_>,
        display_name: Option<&str>,
        email: Option<&str>,
    ) -> Result<Applied, Failure> {
        let user = self.present(whom).await?;
        let display_name = display_name.filter(|name| *name != user.display_name);
        let email = email.filter(|email| *email != user.email());
        if display_name.is_none() && email.is_none() {
            return Ok(Applied::already(self.observed(&user).await?));
        }
        let mut body = json!({"name": user.name});
        if let Some(name) = display_name {
            body["displayName"] = name.into();
        }
        if let Some(email) = email {
            body["email"] = email.into();
        }
        let response = self.rest.put("/admin/users", &[], body).await?;
        self.changed(&response, &user).await
    }

    async fn rename_user(&self, whom: Whom<'_>, to: &str) -> Result<Applied, Failure> {
        // Under the new name, if the answer to an earlier attempt was lost.
        let user = self.find(whom.remote_id, &[whom.username, to]).await?;
        let user = user.ok_or_else(|| whom.gone("Bitbucket", "number"))?;
        if user.name == to {
            return Ok(Applied::already(self.observed(&user).await?));
        }
        let body = json!({"name": user.name, "newName": to});
        let response = self.rest.post("/admin/users/rename", &[], body).await?;
        self.changed(&response, &user).await
    }

    async fn deactivate(
        &self,
        whom: Whom<'_>,
        _: &LeadSuccessors,
        takes: Option<&Holdings>,
    ) -> Result<Applied, Failure> {
        let user = self.present(whom).await?;
        self.take(&user, takes).await
    }

    async fn reactivate(
        &self,
        whom: Whom<'_>,
        gives: Option<&Holdings>,
    ) -> Result<Applied, Failure> {
        let user = self.present(whom).await?;
        self.give(&user, gives).await
    }

    async fn delete_user(&self, whom: Whom<'_>) -> Result<Applied, Failure> {
        let Some(user) = self.find(whom.remote_id, &[whom.username]).await? else {
            return Ok(Applied::was_so());
        };
        let query = [("name", user.name.as_str())];
        let response = self.rest.delete("/admin/users", &query).await?;
        match response.status {
            200..=299 => Ok(Applied::default()),
            404 => self.rest.absent(&response).map(|()| Applied::was_so()),
            _ => Err(self.refusal(&response, &user.name).await),
        }
    }

    async fn create_group(&self, name: &str) -> Result<Applied, Failure> {
        let query = [("name", name)];
        let response = self
            .rest
            .order(Method::POST, "/admin/groups", &query)
            .await?;
        match response.status {
            200..=299 => Ok(Applied::default()),
            409 if Words::of(&response).is_some() => Ok(Applied::was_so()),
            _ => Err(self.refusal(&response, name).await),
        }
    }

    async fn add_member(&self, whom: Whom<'_>, group: &str) -> Result<Applied, Failure> {
        let user = self.present(whom).await?;
        // Bitbucket does not say whether it was so already.
        if self.is_member(&user, group).await? {
            return Ok(Applied::was_so());
        }
        match self.put_into(&user, &[group]).await? {
            response if response.is_success() => Ok(Applied::default()),
            // Either may be what is missing.
            response if response.status == 404 => {
                self.rest.absent(&response)?;
                if self.group_exists(group).await?.is_none() {
                    return Err(no_group(group));
                }
                Err(whom.gone("Bitbucket", "number"))
            }
            response => Err(self.refusal(&response, &user.name).await),
        }
    }

    async fn remove_member(&self, whom: Whom<'_>, group: &str) -> Result<Applied, Failure> {
        let Some(user) = self.find(whom.remote_id, &[whom.username]).await? else {
            return Ok(Applied::was_so());
        };
        if !self.is_member(&user, group).await? {
            return Ok(Applied::was_so());
        }
        self.take_out_of(&user, group).await
    }
}

impl BitbucketDc {
    /// A Bitbucket at `base_url`, context path included. Nothing is sent.
    ///
    /// # Errors
    /// The address or the credential cannot be used.
    pub fn new(base_url: &str, credential: Credential, options: Options) -> Result<Self, Error> {
        let account = match &credential {
            Credential::Basic { username, .. } => Some(username.clone()),
            Credential::Bearer(_) | Credential::Nothing => None,
        };
        let client = Client::new(base_url, credential, options)?;
        Ok(Self {
            rest: Rest::new(client, "Bitbucket", "/rest/api/1.0")
                .denying(DENIED)
                .refusing(
                    "the password is wrong, or after failed sign-ins a CAPTCHA is asked for; sign in with that \
                     account in a browser once",
                ),
            account,
            protected: OnceCell::new(),
            recent: Mutex::default(),
        })
    }

    /// The groups that make administrators, and the account that Usher signs in with.
    async fn read_protected(&self) -> Result<Protected, Failure> {
        let (grants, own) = self.group_grants().await?;
        let own = own.ok_or_else(|| Failure::Unauthorized {
            text: format!(
                "Bitbucket does not say whose token Usher signs in with (no {ACCOUNT} header: does a proxy take it \
                 away?), so that account cannot be protected: use its name and password"
            ),
        })?;
        let administer = |grant: &PermittedGroup| access::administers(&grant.permission);
        let groups = grants.into_iter().filter(administer);
        Ok(Protected {
            users: vec![own],
            groups: groups.map(|grant| grant.group.name).collect(),
            kept_by_product: Vec::new(),
        })
    }

    /// The groups that hold a global permission, and the account that asked.
    async fn group_grants(&self) -> Result<(Vec<PermittedGroup>, Option<String>), Failure> {
        let (mut grants, mut own) = (Vec::new(), self.account.clone());
        self.each_page("/admin/permissions/groups", &[], |page, response| {
            own = own.take().or_else(|| account_of(response));
            grants.extend(page);
            true
        })
        .await?;
        Ok((grants, own))
    }

    async fn present(&self, whom: Whom<'_>) -> Result<User, Failure> {
        let user = self.find(whom.remote_id, &[whom.username]).await?;
        user.ok_or_else(|| whom.gone("Bitbucket", "number"))
    }

    /// The account of that number: under one of these names, or else wherever it is in the list of all. Without a
    /// number the first name decides.
    async fn find(&self, remote_id: &str, names: &[&str]) -> Result<Option<User>, Failure> {
        if remote_id.is_empty() {
            return match names.first() {
                Some(name) => self.by_name(name).await,
                None => Ok(None),
            };
        }
        let Ok(id) = remote_id.parse::<i64>() else {
            return Ok(None);
        };
        for name in names {
            let found = self.by_name(name).await?;
            if found.as_ref().is_some_and(|user| user.id == id) {
                return Ok(found);
            }
        }
        self.first("/admin/users", &[], |user: &User| user.id == id)
            .await
    }

    async fn by_name(&self, name: &str) -> Result<Option<User>, Failure> {
        if name.is_empty() {
            return Ok(None);
        }
        let query = [("filter", name)];
        self.first("/admin/users", &query, |user: &User| same(&user.name, name))
            .await
    }

    /// The only user with this address.
    async fn by_address(&self, address: &str) -> Result<Option<User>, Failure> {
        if address.is_empty() {
            return Ok(None);
        }
        let mut found: Vec<User> = Vec::new();
        self.each_page(
            "/admin/users",
            &[("filter", address)],
            |page: Vec<User>, _| {
                let has = |user: &User| same(user.email(), address);
                found.extend(page.into_iter().filter(has));
                found.len() < 2
            },
        )
        .await?;
        if found.len() > 1 {
            tracing::info!("several accounts have the e-mail address, none is taken");
            return Ok(None);
        }
        Ok(found.pop())
    }

    async fn observed_if_there(&self, user: Option<User>) -> Result<Option<Observed>, Failure> {
        match user {
            Some(user) => self.observed(&user).await.map(Some),
            None => Ok(None),
        }
    }

    async fn observed(&self, user: &User) -> Result<Observed, Failure> {
        self.note(user);
        let groups = self.groups_of(user).await?;
        let licensed = user.active && self.is_licensed(user).await?;
        Ok(user.observed(licensed, groups))
    }

    /// The account after a write.
    async fn changed(&self, response: &Response, user: &User) -> Result<Applied, Failure> {
        match response.status {
            200..=299 => {
                let after: User = response.json()?;
                Ok(Applied::done(self.observed(&after).await?))
            }
            404 => {
                self.rest.absent(response)?;
                Err(Whom::named(&user.name).gone("Bitbucket", "number"))
            }
            _ => Err(self.refusal(response, &user.name).await),
        }
    }

    async fn groups_of(&self, user: &User) -> Result<Vec<String>, Failure> {
        let mut groups = Vec::new();
        let query = [("context", user.name.as_str())];
        self.each_page(
            "/admin/users/more-members",
            &query,
            |page: Vec<Named>, _| {
                groups.extend(page.into_iter().map(|group| group.name));
                true
            },
        )
        .await?;
        Ok(groups)
    }

    async fn is_member(&self, user: &User, group: &str) -> Result<bool, Failure> {
        let query = [("context", user.name.as_str()), ("filter", group)];
        let found = self
            .first("/admin/users/more-members", &query, |it: &Named| {
                same(&it.name, group)
            })
            .await?;
        Ok(found.is_some())
    }

    async fn put_into(&self, user: &User, groups: &[&str]) -> Result<Response, Failure> {
        let body = json!({"user": user.name, "groups": groups});
        self.rest.post("/admin/users/add-groups", &[], body).await
    }

    async fn take_out_of(&self, user: &User, group: &str) -> Result<Applied, Failure> {
        let body = json!({"context": user.name, "itemName": group});
        let response = self
            .rest
            .post("/admin/users/remove-group", &[], body)
            .await?;
        match response.status {
            200..=299 => Ok(Applied::default()),
            404 => self.rest.absent(&response).map(|()| Applied::was_so()),
            _ => Err(self.refusal(&response, &user.name).await),
        }
    }

    /// False: Bitbucket takes not all of them.
    async fn put_all_into(&self, group: &str, names: &[&str]) -> Result<bool, Failure> {
        let body = json!({"group": group, "users": names});
        let response = self.rest.post("/admin/groups/add-users", &[], body).await?;
        match response.status {
            200..=299 => Ok(true),
            404 => {
                self.rest.absent(&response)?;
                match self.group_exists(group).await? {
                    Some(_) => Ok(false),
                    None => Err(no_group(group)),
                }
            }
            // The licence does not suffice for all, or the directory of one of them is read-only.
            403 if Words::of(&response).is_some() => Ok(false),
            _ => Err(self.refusal(&response, group).await),
        }
    }

    /// The name of an account as it is now.
    async fn present_name(&self, member: &Member) -> Result<String, Failure> {
        let recently = self.recent().get(&member.remote_id).cloned();
        if let Some((name, at)) = recently
            && at.elapsed() < RECENT
            && same(&name, &member.username)
        {
            return Ok(name);
        }
        Ok(self.present(Whom::from(member)).await?.name)
    }

    /// Remembers for a moment what an account was called.
    fn note(&self, user: &User) {
        let mut recent = self.recent();
        if recent.len() >= MOST_RECENT {
            recent.retain(|_, (_, at)| at.elapsed() < RECENT);
        }
        if recent.len() < MOST_RECENT {
            recent.insert(user.remote_id(), (user.name.clone(), Instant::now()));
        }
    }

    fn recent(&self) -> MutexGuard<'_, HashMap<String, (String, Instant)>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn replace_password(&self, name: &str) -> Result<(), Failure> {
        let password = throw_away_password();
        let password = password.expose_secret();
        let body = json!({"name": name, "password": password, "passwordConfirm": password});
        let response = self.rest.put("/admin/users/credentials", &[], body).await?;
        if response.is_success() {
            return Ok(());
        }
        Err(self.refusal(&response, name).await)
    }

    /// The first of a list that is meant.
    async fn first<T: DeserializeOwned + Send>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        meant: impl Fn(&T) -> bool + Send + Sync,
    ) -> Result<Option<T>, Failure> {
        let mut found = None;
        self.each_page(path, query, |page: Vec<T>, _| {
            found = page.into_iter().find(|item| meant(item));
            found.is_none()
        })
        .await?;
        Ok(found)
    }

    /// Reads a list until `take` has enough.
    async fn each_page<T: DeserializeOwned + Send>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        mut take: impl FnMut(Vec<T>, &Response) -> bool + Send,
    ) -> Result<(), Failure> {
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES {
            let response = self.read(path, query, cursor.as_deref()).await?;
            let page: wire::Page<T> = response.json()?;
            let next = next_page(&page, cursor.as_deref(), &response)?;
            if !take(page.values, &response) || next.is_none() {
                return Ok(());
            }
            cursor = next;
        }
        // Half a list would look like memberships that are gone.
        let text = format!("GET {path}: Bitbucket shows {PAGES} pages and always more of them");
        Err(Failure::Transient { text })
    }

    async fn page<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        cursor: Option<&str>,
    ) -> Result<Page<T>, Failure> {
        let response = self.read(path, query, cursor).await?;
        let page: wire::Page<T> = response.json()?;
        let next = next_page(&page, cursor, &response)?;
        let items = page.values;
        Ok(Page { items, next })
    }

    async fn read(
        &self,
        path: &str,
        query: &[(&str, &str)],
        cursor: Option<&str>,
    ) -> Result<Response, Failure> {
        let mut query = query.to_vec();
        query.push(("limit", PAGE));
        query.extend(cursor.map(|start| ("start", start)));
        let response = self.rest.get(path, &query).await?;
        if response.is_success() {
            return Ok(response);
        }
        Err(self.refused_reading(&response))
    }

    /// What a refusal to tell something is: it concerns no single record.
    fn refused_reading(&self, response: &Response) -> Failure {
        if response.status == 401 {
            return self.lacks_rights(response);
        }
        self.rest.failure(response)
    }

    fn lacks_rights(&self, response: &Response) -> Failure {
        let who = account_of(response).or_else(|| self.account.clone());
        let who = who.unwrap_or_else(|| "Usher's account".to_owned());
        let token = match self.account {
            Some(_) => "",
            None => {
                "; HTTP access tokens carry no right to administer (BSERV-10482): use a user name and its password"
            }
        };
        let text = format!(
            "{}: Bitbucket knows {who}, but does not let it do that (401): it needs the global permission ADMIN{token}",
            response.what()
        );
        Failure::Unauthorized { text }
    }

    /// What a refusal to write `name` is. It may be about the account that Usher uses, which stops everything, or about
    /// that record (somebody who ranks higher, a licence that is not there), which must stop only itself.
    async fn refusal(&self, response: &Response, name: &str) -> Failure {
        let rejected = |words: Words, why: &str| Failure::Rejected {
            field: words.field,
            text: format!("{}{why}", words.text),
        };
        match (response.status, Words::of(response)) {
            (401, Some(words)) => match self.group_grants().await {
                Ok(_) => rejected(
                    words,
                    &format!(
                        ": Bitbucket lets Usher's account administer, but not {name}, who ranks higher: give Usher's \
                         account the global permission SYS_ADMIN, or `protect` {name}"
                    ),
                ),
                Err(Failure::Unauthorized { .. }) => self.lacks_rights(response),
                Err(failure) => failure,
            },
            (403, Some(words)) => rejected(
                words,
                &format!(
                    " (403: the licence is used up, {name} ranks higher, or its directory is read-only)"
                ),
            ),
            _ => self.rest.failure(response),
        }
    }
}

/// Where a list goes on, if it does.
fn next_page<T>(
    page: &wire::Page<T>,
    cursor: Option<&str>,
    response: &Response,
) -> Result<Option<String>, Failure> {
    let here: u64 = cursor.and_then(|at| at.parse().ok()).unwrap_or(0);
    match page.next() {
        Some(next) if next <= here => Err(Failure::Transient {
            text: format!("{}: Bitbucket repeats itself", response.what()),
        }),
        next => Ok(next.map(|next| next.to_string())),
    }
}

/// The account that a credential was accepted for.
fn account_of(response: &Response) -> Option<String> {
    let name = response.header(ACCOUNT)?.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

fn no_group(group: &str) -> Failure {
    Failure::Gone {
        text: format!("Bitbucket has no group {group}"),
    }
}

#[cfg(test)]
mod tests;
