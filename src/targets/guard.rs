//! Atlassian Guard (Cloud): the SCIM directory from which Jira, Confluence and Bitbucket Cloud take their people.
//!
//! SCIM 2.0 with deviations: one `eq` filter at a time, a hundred results a page, groups that keep their names for
//! ever, errors that are not all SCIM. Accounts and groups are known by the directory's own ids. Changes are `PATCH`es:
//! a `PUT` clears whatever it does not repeat, and so what somebody else keeps there. Leavers are made inactive: a
//! `DELETE` removes the record of the directory for good, and is sent for the action of that name alone.

mod wire;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::wire::{
    Group, List, Members, Refusal, ServiceProviderConfig, User, literal, patch, replace,
};
use super::atlassian::{Rest, Who};
use super::{
    ByEmail, Capabilities, Check, Member, Operations, Page, Protected, Target, Whom, carry_out,
    fold, same, start_of,
};
use crate::domain::{Action, Applied, Failure, Holdings, LeadSuccessors, Lookup, Observed};
use crate::outbound::{Client, Credential, Error, Options, Response, segment};

pub(super) static CAPABILITIES: Capabilities = Capabilities {
    by_email: ByEmail::NameIsAddress,
    members_a_request: MANY,
    removals_a_request: MANY,
    ..Capabilities::usual("Atlassian Guard")
};

/// Atlassian gives no more at once, whatever it is asked for.
const PAGE: usize = 100;

/// How many members one request adds or removes. Atlassian does not say how many it takes.
const MANY: usize = 100;

/// Groups come with all their members, so fewer are asked for.
const GROUPS_A_PAGE: usize = 25;

/// Room for a group with the 35,000 members that Atlassian lets it have, which it shows whenever it is changed.
const LONGEST_ANSWER: usize = 32 * 1024 * 1024;

/// The groups that Atlassian makes by itself for those who administer an organization or a site. Those named after a
/// site are for the mapping to protect.
const ADMIN_GROUPS: [&str; 4] = [
    "org-admins",
    "site-admins",
    "administrators",
    "system-administrators",
];

/// A SCIM directory of Atlassian Guard.
#[derive(Debug)]
pub struct Guard {
    rest: Rest,
    /// Its id, as it stands in the address.
    directory: String,
    /// Folded name of a group to its id: as many as the mappings have groups.
    groups: Mutex<HashMap<String, String>>,
}

#[async_trait]
impl Target for Guard {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    /// Usher signs in as no person. One group holds everybody of the directory and is kept by Atlassian.
    async fn protected(&self) -> Result<Protected, Failure> {
        Ok(Protected {
            users: Vec::new(),
            groups: ADMIN_GROUPS.map(str::to_owned).to_vec(),
            kept_by_product: vec![format!("All members for directory - {}", self.directory)],
        })
    }

    async fn observe(&self, lookup: Lookup<'_>) -> Result<Option<Observed>, Failure> {
        let user = match lookup {
            Lookup::RemoteId(id) => self.by_id(id).await?,
            Lookup::Username(name) => self.by_name(name).await?,
            // There is no filter for addresses, and to page through the directory for each person would take hundreds
            // of requests a person. But in most directories the user name is the address.
            Lookup::Email(address) => self
                .by_name(address)
                .await?
                .filter(|user| same(user.email(), address)),
        };
        user.map(User::observed).transpose()
    }

    async fn group_exists(&self, name: &str) -> Result<Option<String>, Failure> {
        Ok(self.group(name).await?.map(|group| group.display_name))
    }

    async fn apply(&self, action: &Action) -> Result<Applied, Failure> {
        carry_out(self, action).await
    }

    /// One request for a hundred members. Whether somebody was in the group before is not told, so nobody is said to
    /// have been.
    async fn add_members(&self, group: &str, members: &[Member]) -> Vec<Result<Applied, Failure>> {
        self.in_chunks(group, members, Way::In).await
    }

    /// One request for a hundred members as well, and each only counts as out if the answer does not show it any more.
    async fn remove_members(
        &self,
        group: &str,
        members: &[Member],
    ) -> Vec<Result<Applied, Failure>> {
        self.in_chunks(group, members, Way::Out).await
    }

    async fn users(&self, cursor: Option<&str>) -> Result<Page<Observed>, Failure> {
        let without_groups = [("excludedAttributes", "groups")];
        let page: Page<User> = self.page("/Users", PAGE, &without_groups, cursor).await?;
        let items = page.items.into_iter().map(User::without_groups).collect();
        Ok(Page {
            items,
            next: page.next,
        })
    }

    async fn groups(&self, cursor: Option<&str>) -> Result<Page<String>, Failure> {
        let page = self.groups_page(cursor).await?;
        let items = page.items.into_iter().map(|group| group.display_name);
        Ok(Page {
            items: items.collect(),
            next: page.next,
        })
    }

    /// All in one page: Atlassian does not cut a group.
    async fn members(&self, group: &str, _: Option<&str>) -> Result<Page<Member>, Failure> {
        let (id, _) = self.group_id(group).await?;
        let response = self.rest.get(&group_path(&id), &[]).await?;
        if response.status == 404 {
            self.is_absent(&response).await?;
            self.known_groups().remove(&fold(group));
            return Err(no_group(group));
        }
        let members = self.read::<Members>(&response)?.members;
        Ok(Page {
            items: members.into_iter().map(Member::from).collect(),
            next: None,
        })
    }

    async fn check(&self) -> Result<Check, Failure> {
        let response = self.rest.get("/ServiceProviderConfig", &[]).await?;
        if response.status == 404 {
            return Err(self.no_directory(&response));
        }
        let config: ServiceProviderConfig = self.read(&response)?;
        let users = self.list::<Value>("/Users", 1, 1, &[]).await?.total;
        let groups = self.list::<Value>("/Groups", 1, 1, &[]).await?.total;
        let mut check = Check {
            product: CAPABILITIES.product.to_owned(),
            version: "user provisioning (SCIM 2.0)".to_owned(),
            account: format!("the API key of the directory {}", self.directory),
            rights: vec![
                format!("reads and writes this directory: {users} users, {groups} groups"),
                "which domains the organization has verified cannot be asked here: an address of another one is \
                 refused when it is written"
                    .to_owned(),
            ],
            warnings: Vec::new(),
        };
        if !config.patches() {
            check.warnings.push(
                "the directory says that it takes no PATCH: accounts and memberships can be made, but not changed"
                    .to_owned(),
            );
        }
        Ok(check)
    }
}

#[async_trait]
impl Operations for Guard {
    async fn create_user(
        &self,
        username: &str,
        display_name: &str,
        email: &str,
    ) -> Result<Applied, Failure> {
        let body = wire::new_user(username, display_name, email);
        let response = self.rest.post("/Users", &[], body).await?;
        if response.is_success() {
            let user: User = response.json()?;
            // An account that the organization has under this address already is linked, not made.
            let notes = user.atlassian_account();
            let applied = Applied::done(user.observed_or(Vec::new));
            return Ok(Applied {
                notes: notes.into_iter().collect(),
                ..applied
            });
        }
        // The answer to an earlier attempt was lost.
        if response.status == 409
            && let Some(user) = self.by_name(username).await?
            && user.is_what_was_sent(username, display_name, email)
        {
            return Ok(Applied::already(user.observed()?));
        }
        Err(self.refused_account(&response, Some(email)))
    }

    async fn update_user(
        &self,
        whom: Whom<'_>,
        display_name: Option<&str>,
        email: Option<&str>,
    ) -> Result<Applied, Failure> {
        let user = self
            .find(whom)
            .await?
            .ok_or_else(|| whom.gone("the directory", "id"))?;
        let mut operations = Vec::new();
        if let Some(name) = display_name.filter(|name| *name != user.display_name()) {
            operations.push(replace("displayName", json!(name)));
        }
        let email = email.filter(|email| *email != user.email());
        if let Some(address) = email {
            operations.push(replace("emails", user.emails_with(address)));
        }
        self.change(user, operations, email)
            .await
            .map(|(applied, _)| applied)
    }

    async fn rename_user(&self, whom: Whom<'_>, to: &str) -> Result<Applied, Failure> {
        let user = self
            .find(whom)
            .await?
            .ok_or_else(|| whom.gone("the directory", "id"))?;
        let mut operations = Vec::new();
        if user.user_name != to {
            operations.push(replace("userName", json!(to)));
        }
        let (applied, after) = self.change(user, operations, None).await?;
        if same(&after, to) {
            return Ok(applied);
        }
        let text =
            format!("Atlassian took the new user name {to} without an error, but shows {after}");
        Err(rejected("userName", text))
    }

    async fn deactivate(
        &self,
        whom: Whom<'_>,
        _: &LeadSuccessors,
        _: Option<&Holdings>,
    ) -> Result<Applied, Failure> {
        self.set_active(whom, false).await
    }

    async fn reactivate(&self, whom: Whom<'_>, _: Option<&Holdings>) -> Result<Applied, Failure> {
        self.set_active(whom, true).await
    }

    async fn delete_user(&self, whom: Whom<'_>) -> Result<Applied, Failure> {
        let Some(user) = self.find(whom).await? else {
            return Ok(Applied::was_so());
        };
        let response = self.rest.delete(&user_path(&user.id), &[]).await?;
        if response.is_success() {
            let note = format!(
                "the directory has no record {} any more; whoever returns gets a new one",
                user.id
            );
            return Ok(Applied {
                notes: vec![note],
                ..Applied::default()
            });
        }
        if response.status == 404 {
            self.is_absent(&response).await?;
            return Ok(Applied::was_so());
        }
        Err(self.refusal(&response))
    }

    async fn create_group(&self, name: &str) -> Result<Applied, Failure> {
        let response = self
            .rest
            .post("/Groups", &[], wire::new_group(name))
            .await?;
        if response.is_success() {
            let group: Group = response.json()?;
            self.known_groups().insert(fold(name), group.id);
            return Ok(Applied::default());
        }
        if response.status == 409 && self.is_taken(name).await? {
            return Ok(Applied::was_so());
        }
        Err(self.refused_group(&response))
    }

    async fn add_member(&self, whom: Whom<'_>, group: &str) -> Result<Applied, Failure> {
        let user = self
            .find(whom)
            .await?
            .ok_or_else(|| whom.gone("the directory", "id"))?;
        let before = user.id.clone();
        if user.observed()?.groups.iter().any(|name| same(name, group)) {
            return Ok(Applied::was_so());
        }
        let response = self.patch_group(group, wire::adding(&[&before])).await?;
        if response.is_success() {
            return Ok(Applied::default());
        }
        if response.status == 404 {
            self.is_absent(&response).await?;
            // The group is there, so it is the account that went in the meantime.
            return Err(whom.gone("the directory", "id"));
        }
        Err(self.refused_group(&response))
    }

    /// The removal is sent even where the account does not show the group: what it shows may lag behind.
    async fn remove_member(&self, whom: Whom<'_>, group: &str) -> Result<Applied, Failure> {
        let Some(user) = self.find(whom).await? else {
            return Ok(Applied::was_so());
        };
        let id = user.id.clone();
        let shown = user.observed()?.groups.iter().any(|name| same(name, group));
        let response = match self.patch_group(group, wire::removing(&[&id])).await {
            Err(Failure::Gone { .. }) => return Ok(Applied::was_so()),
            other => other?,
        };
        if response.is_success() {
            let after: Members = response.json()?;
            if after.members.iter().any(|member| member.value == id) {
                return Err(still_in(group, whom.username));
            }
            return Ok(Applied {
                already: !shown,
                ..Applied::default()
            });
        }
        match Refusal::of(&response) {
            Some(refusal) if refusal.finds_nothing() && !shown => Ok(Applied::was_so()),
            _ if response.status == 404 => {
                self.is_absent(&response).await?;
                Ok(Applied::was_so())
            }
            _ => Err(self.refused_group(&response)),
        }
    }
}

impl Guard {
    /// The directory at `base_url`, which ends with its id. Nothing is sent.
    ///
    /// # Errors
    /// The address is not that of a directory, or the credential is no API key.
    pub fn new(base_url: &str, credential: Credential, options: Options) -> Result<Self, Error> {
        let Credential::Bearer(_) = &credential else {
            let text =
                "Atlassian Guard takes no password: give the API key of the directory as `token`";
            return Err(Error::Credential(text.to_owned()));
        };
        let address = base_url.trim_end_matches('/');
        let Some((_, directory)) = address
            .rsplit_once("/scim/directory/")
            .filter(|(_, id)| !id.is_empty() && !id.contains('/'))
        else {
            let text = "must be the directory's own address, which ends with /scim/directory/ and its id: \
                        admin.atlassian.com shows it together with the API key";
            return Err(Error::Address(text.to_owned()));
        };
        let options = Options {
            max_body: LONGEST_ANSWER,
            ..options
        };
        let client = Client::new(base_url, credential, options)?;
        Ok(Self {
            rest: Rest::new(client, CAPABILITIES.product, "").refusing(
                "the API key is missing, wrong or expired; make a new one in admin.atlassian.com, on the identity \
                 provider's page, and give it as `token`",
            ),
            directory: directory.to_owned(),
            groups: Mutex::default(),
        })
    }

    // Accounts

    async fn find(&self, whom: Whom<'_>) -> Result<Option<User>, Failure> {
        match Who::from(whom) {
            Who::Key(id) => self.by_id(id).await,
            Who::Name(name) => self.by_name(name).await,
        }
    }

    async fn by_id(&self, id: &str) -> Result<Option<User>, Failure> {
        if id.is_empty() {
            return Ok(None);
        }
        let response = self.rest.get(&user_path(id), &[]).await?;
        if response.status == 404 {
            return self.is_absent(&response).await.map(|()| None);
        }
        self.read::<User>(&response).map(Some)
    }

    async fn by_name(&self, name: &str) -> Result<Option<User>, Failure> {
        if name.is_empty() {
            return Ok(None);
        }
        let filter = format!("userName eq {}", literal(name));
        let found: List<User> = self.list("/Users", 1, PAGE, &[("filter", &filter)]).await?;
        let mut users = found.resources.into_iter();
        match users.find(|user| same(&user.user_name, name)) {
            // A list may leave out what the account itself shows.
            Some(user) if user.groups.is_none() => self.by_id(&user.id).await,
            user => Ok(user),
        }
    }

    async fn set_active(&self, whom: Whom<'_>, active: bool) -> Result<Applied, Failure> {
        let user = self
            .find(whom)
            .await?
            .ok_or_else(|| whom.gone("the directory", "id"))?;
        let mut operations = Vec::new();
        if user.active != active {
            operations.push(replace("active", json!(active)));
        }
        let (applied, name) = self.change(user, operations, None).await?;
        // Only what is shown afterwards counts.
        if applied
            .account
            .as_ref()
            .is_some_and(|account| account.active != active)
        {
            let state = if active { "inactive" } else { "active" };
            let text = format!(
                "Atlassian took the change without an error, but still shows {name} as {state}"
            );
            return Err(rejected("active", text));
        }
        Ok(applied)
    }

    /// Sends the operations, if there are any, and tells the account and its user name as they are then.
    async fn change(
        &self,
        user: User,
        operations: Vec<Value>,
        email: Option<&str>,
    ) -> Result<(Applied, String), Failure> {
        let before = user.observed()?;
        if operations.is_empty() {
            let name = before.username.clone();
            return Ok((Applied::already(before), name));
        }
        let path = user_path(&before.remote_id);
        let response = self.rest.patch(&path, patch(operations)).await?;
        if response.status == 404 {
            self.is_absent(&response).await?;
            return Err(Whom {
                remote_id: &before.remote_id,
                username: &before.username,
            }
            .gone("the directory", "id"));
        }
        if !response.is_success() {
            return Err(self.refused_account(&response, email));
        }
        let after: User = response.json()?;
        let name = after.user_name.clone();
        let applied = Applied::done(after.observed_or(|| before.groups));
        Ok((applied, name))
    }

    // Groups

    async fn group(&self, name: &str) -> Result<Option<Group>, Failure> {
        if name.is_empty() {
            return Ok(None);
        }
        let filter = format!("displayName eq {}", literal(name));
        let found: List<Group> = self
            .list("/Groups", 1, PAGE, &[("filter", &filter)])
            .await?;
        let exact = found
            .resources
            .iter()
            .position(|group| group.display_name == name);
        let mut groups = found.resources.into_iter();
        let group = match exact {
            Some(at) => groups.nth(at),
            None => groups.find(|group| same(&group.display_name, name)),
        };
        if let Some(group) = &group {
            self.known_groups().insert(fold(name), group.id.clone());
        }
        Ok(group)
    }

    /// Whether the directory has a group of that name in whatever case. Only asked once a name was refused, as it may
    /// take all pages.
    async fn is_taken(&self, name: &str) -> Result<bool, Failure> {
        if self.group(name).await?.is_some() {
            return Ok(true);
        }
        let mut cursor: Option<String> = None;
        loop {
            let page = self.groups_page(cursor.as_deref()).await?;
            if let Some(group) = page.items.iter().find(|g| same(&g.display_name, name)) {
                self.known_groups().insert(fold(name), group.id.clone());
                return Ok(true);
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(false);
            }
        }
    }

    /// The id of a group, and whether it was looked up just now.
    async fn group_id(&self, name: &str) -> Result<(String, bool), Failure> {
        let known = self.known_groups().get(&fold(name)).cloned();
        match known {
            Some(id) => Ok((id, false)),
            None => {
                let group = self.group(name).await?.ok_or_else(|| no_group(name))?;
                Ok((group.id, true))
            }
        }
    }

    /// Changes a group. One that was made anew since its id was noted is found again.
    async fn patch_group(&self, name: &str, body: Value) -> Result<Response, Failure> {
        let (id, fresh) = self.group_id(name).await?;
        let response = self.rest.patch(&group_path(&id), body.clone()).await?;
        if response.status != 404 || fresh {
            return Ok(response);
        }
        self.known_groups().remove(&fold(name));
        let (now, _) = self.group_id(name).await?;
        if now == id {
            return Ok(response);
        }
        self.rest.patch(&group_path(&now), body).await
    }

    async fn in_chunks(
        &self,
        group: &str,
        members: &[Member],
        way: Way,
    ) -> Vec<Result<Applied, Failure>> {
        let mut answers = Vec::with_capacity(members.len());
        for chunk in members.chunks(MANY) {
            if let Err(failure) = self.chunk(group, chunk, way, &mut answers).await {
                answers.resize(members.len(), Err(failure));
                break;
            }
        }
        answers
    }

    /// Up to a hundred, and if somebody among them is refused, the two halves. `Err`: what everybody else gets.
    async fn chunk(
        &self,
        group: &str,
        chunk: &[Member],
        way: Way,
        answers: &mut Vec<Result<Applied, Failure>>,
    ) -> Result<(), Failure> {
        // The last one is next.
        let mut open = vec![chunk];
        while let Some(part) = open.pop() {
            if let [member] = part {
                let answer = match way {
                    Way::In => self.add_member(Whom::from(member), group).await,
                    Way::Out => self.remove_member(Whom::from(member), group).await,
                };
                match answer {
                    Err(failure) if !is_about_one(&failure) => return Err(failure),
                    answer => answers.push(answer),
                }
                continue;
            }
            match self.at_once(group, part, way).await? {
                Some(given) => answers.extend(given),
                None => {
                    let (first, second) = part.split_at(part.len() / 2);
                    open.extend([second, first]);
                }
            }
        }
        Ok(())
    }

    /// One request for all of them. `None`: somebody among them stops the others.
    async fn at_once(
        &self,
        group: &str,
        members: &[Member],
        way: Way,
    ) -> Result<Option<Vec<Result<Applied, Failure>>>, Failure> {
        let ids: Vec<&str> = members.iter().map(|it| it.remote_id.as_str()).collect();
        if ids.contains(&"") {
            return Ok(None);
        }
        let body = match way {
            Way::In => wire::adding(&ids),
            Way::Out => wire::removing(&ids),
        };
        let response = match (self.patch_group(group, body).await, way) {
            (Err(Failure::Gone { .. }), Way::Out) => {
                return Ok(Some(vec![Ok(Applied::was_so()); ids.len()]));
            }
            (response, _) => response?,
        };
        if !response.is_success() {
            let failure = self.refusal(&response);
            return if is_about_one(&failure) {
                Ok(None)
            } else {
                Err(failure)
            };
        }
        if let Way::In = way {
            return Ok(Some(vec![Ok(Applied::default()); ids.len()]));
        }
        let after: Members = response.json()?;
        let left: HashSet<&str> = after.members.iter().map(|it| it.value.as_str()).collect();
        let answers = members.iter().map(|member| {
            if left.contains(member.remote_id.as_str()) {
                Err(still_in(group, &member.username))
            } else {
                Ok(Applied::default())
            }
        });
        Ok(Some(answers.collect()))
    }

    fn known_groups(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Lists

    async fn groups_page(&self, cursor: Option<&str>) -> Result<Page<Group>, Failure> {
        self.page("/Groups", GROUPS_A_PAGE, &[], cursor).await
    }

    /// The next page begins after as many as have come, not as many as were asked for.
    async fn page<T: DeserializeOwned>(
        &self,
        path: &str,
        count: usize,
        query: &[(&str, &str)],
        cursor: Option<&str>,
    ) -> Result<Page<T>, Failure> {
        let before = start_of(cursor)?;
        let list: List<T> = self.list(path, before + 1, count, query).await?;
        let received = before + list.resources.len();
        let more = received < list.total;
        if more && list.resources.is_empty() {
            // Half a list would look like people who are gone.
            let text = format!(
                "GET {path}: Atlassian ended the list after {received} of {}",
                list.total
            );
            return Err(Failure::Transient { text });
        }
        Ok(Page {
            items: list.resources,
            next: more.then(|| received.to_string()),
        })
    }

    async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        start: usize,
        count: usize,
        query: &[(&str, &str)],
    ) -> Result<List<T>, Failure> {
        let (start_text, count) = (start.to_string(), count.to_string());
        let mut all = query.to_vec();
        all.extend([("startIndex", start_text.as_str()), ("count", &count)]);
        let response = self.rest.get(path, &all).await?;
        if response.status == 404 {
            return Err(self.no_directory(&response));
        }
        let list: List<T> = self.read(&response)?;
        if list.start.is_some_and(|told| told != start) && !list.resources.is_empty() {
            let text = format!("GET {path}: Atlassian answered with another part of the list");
            return Err(Failure::Transient { text });
        }
        Ok(list)
    }

    // Answers

    fn read<T: DeserializeOwned>(&self, response: &Response) -> Result<T, Failure> {
        if response.is_success() {
            response.json()
        } else {
            Err(self.refusal(response))
        }
    }

    /// A 404 means that something is not in the directory only if the directory itself is there: Atlassian says the
    /// same of both.
    async fn is_absent(&self, response: &Response) -> Result<(), Failure> {
        if !Refusal::of(response).is_some_and(|refusal| refusal.is_scim) {
            return Err(self.rest.not_the_product(response));
        }
        self.list::<Value>("/Users", 1, 1, &[]).await.map(|_| ())
    }

    /// Every other request would fail too.
    fn no_directory(&self, response: &Response) -> Failure {
        match Refusal::of(response) {
            Some(refusal) if refusal.is_scim => Failure::Unauthorized {
                text: format!(
                    "{}: Atlassian knows no directory {} (404): was it deleted, or is base_url that of another one? \
                     admin.atlassian.com shows it on the identity provider's page: {}",
                    response.what(),
                    self.directory,
                    refusal.text()
                ),
            },
            _ => self.rest.not_the_product(response),
        }
    }

    /// What a refusal is, once the caller has taken out the statuses it understands better.
    fn refusal(&self, response: &Response) -> Failure {
        let what = response.what();
        let refusal = Refusal::of(response);
        let words = refusal.as_ref().map(Refusal::text);
        match (response.status, words) {
            (403, Some(words)) => Failure::Unauthorized {
                text: format!(
                    "{what}: Atlassian refuses the API key (403): it is wrong, expired or revoked, or belongs to \
                     another directory than {}, or is the organization's own key, which does not count here: {words}",
                    self.directory
                ),
            },
            (403, None) => Failure::Unauthorized {
                text: format!(
                    "{what}: refused (403) without Atlassian's own words: does a proxy stand in front?"
                ),
            },
            (404, _) if refusal.as_ref().is_none_or(|refusal| !refusal.is_scim) => {
                self.rest.not_the_product(response)
            }
            (404, Some(text)) => Failure::Gone { text },
            (_, Some(text)) => Failure::Rejected { field: None, text },
            (status, None) => Failure::Rejected {
                field: None,
                text: format!("{what}: Atlassian answered {status} without saying why"),
            },
        }
    }

    /// The refusal of an account, with what an administrator can do about it. Atlassian's words are not judged by, so
    /// the advice names what is behind this status as a rule.
    fn refused_account(&self, response: &Response, email: Option<&str>) -> Failure {
        match self.refusal(response) {
            Failure::Rejected { text, .. } if response.status == 409 => Failure::Rejected {
                field: Some("userName".to_owned()),
                text: format!(
                    "{text}: another record of the directory, or another Atlassian account, has this user name or \
                     e-mail address; change it there (in admin.atlassian.com under Directory, Managed accounts), or \
                     ask Atlassian's support to remove a record that is left over"
                ),
            },
            Failure::Rejected { text, .. } if response.status == 400 => match email {
                Some(email) => Failure::Rejected {
                    field: Some("emails".to_owned()),
                    text: format!(
                        "{text}: Atlassian takes only addresses of domains that the organization has verified: is \
                         {} among them (in admin.atlassian.com under Settings, Domains)?",
                        email.rsplit_once('@').map_or(email, |(_, domain)| domain)
                    ),
                },
                None => Failure::Rejected { field: None, text },
            },
            other => other,
        }
    }

    /// The same for a group.
    fn refused_group(&self, response: &Response) -> Failure {
        match self.refusal(response) {
            Failure::Rejected { text, .. } => Failure::Rejected {
                field: Some("displayName".to_owned()),
                text: format!(
                    "{text}: a group that gives default access to a site, or whose name a group of a site or of \
                     another directory has, cannot be kept by a directory; map another name, or rename or release \
                     that group in admin.atlassian.com"
                ),
            },
            other => other,
        }
    }
}

fn user_path(id: &str) -> String {
    format!("/Users/{}", segment(id))
}

fn group_path(id: &str) -> String {
    format!("/Groups/{}", segment(id))
}

/// What becomes of memberships.
#[derive(Debug, Clone, Copy)]
enum Way {
    In,
    Out,
}

/// Whether the others may fare better.
fn is_about_one(failure: &Failure) -> bool {
    matches!(failure, Failure::Rejected { .. } | Failure::Gone { .. })
}

fn no_group(name: &str) -> Failure {
    Failure::Gone {
        text: format!("the directory has no group {name}"),
    }
}

/// The failure that somebody is in a group who was taken out of it.
fn still_in(group: &str, username: &str) -> Failure {
    let text = format!(
        "Atlassian took the removal from {group} without an error, but still shows {username} in it"
    );
    rejected("members", text)
}

fn rejected(field: &str, text: String) -> Failure {
    Failure::Rejected {
        field: Some(field.to_owned()),
        text,
    }
}

#[cfg(test)]
mod tests;
