//! Confluence Data Center and Server, over the user management that its REST API has had since 8.4.
//!
//! Accounts are known by their key, which survives renames made by hand, but every write names them by user name: so
//! the account is read first, and the name used is the present one. Confluence shows no e-mail addresses, cannot
//! rename, deletes in its own time, and answers "there is nobody" to an account that may not look.

mod deletion;
mod listing;
mod rules;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use rand::RngExt;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use self::wire::{Current, Grant, Made, Named, RestList, ServerInformation, User};
use super::atlassian::{Rest, Who, Words, once};
use super::{
    ByEmail, Capabilities, Check, Member, Operations, Page, Protected, Target, Whom, carry_out,
    same,
};
use crate::domain::{Action, Applied, Failure, Holdings, LeadSuccessors, Lookup, Observed};
use crate::outbound::{Client, Response, segment};

pub(super) static CAPABILITIES: Capabilities = Capabilities {
    rename: false,
    reads_email: false,
    by_email: ByEmail::Nobody,
    slashes_in_names: false,
    display_names_without: rules::NOT_IN_FULL_NAMES,
    ..Capabilities::usual("Confluence Data Center")
};

/// The first version that creates accounts over REST (CONFSERVER-87292).
const CREATES_SINCE: (u32, u32) = (8, 4);

/// The first version that is known to change accounts over REST.
const UPDATES_SINCE: (u32, u32) = (10, 0);

/// The groups that make administrators where nobody set it otherwise.
const ADMIN_GROUPS: [&str; 1] = ["confluence-administrators"];

/// Asked for at once; Confluence may give fewer.
const PAGE: usize = 200;

/// No list is longer than that many pages.
const PAGES: usize = 1000;

/// A Confluence instance.
#[derive(Debug)]
pub struct ConfluenceDc {
    rest: Rest,
    /// How long a deletion is waited for.
    patience: Duration,
    own: OnceCell<Own>,
    protected: OnceCell<Protected>,
}

/// The account that Usher signs in with.
#[derive(Debug, Clone)]
struct Own {
    key: String,
    name: String,
}

/// What Confluence says of its global permissions.
#[derive(Debug)]
enum Grants {
    /// All of them, as to any administrator.
    Told(Vec<Grant>),
    /// Usher's account is no administrator.
    Refused,
    /// This version cannot.
    Untold,
}

#[async_trait]
impl Target for ConfluenceDc {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    async fn protected(&self) -> Result<Protected, Failure> {
        once(&self.protected, self.read_protected()).await
    }

    async fn observe(&self, lookup: Lookup<'_>) -> Result<Option<Observed>, Failure> {
        let who = match lookup {
            Lookup::RemoteId(key) => Who::Key(key),
            Lookup::Username(name) => Who::Name(name),
            // Confluence neither shows nor finds addresses.
            Lookup::Email(_) => return Ok(None),
        };
        match self.user(who).await? {
            Some(user) => self.with_groups(&user).await,
            None => Ok(None),
        }
    }

    async fn group_exists(&self, name: &str) -> Result<Option<String>, Failure> {
        if name.is_empty() {
            return Ok(None);
        }
        let path = format!("/group/{}", segment(name));
        let response = self.rest.get(&path, &[]).await?;
        match response.status {
            200 => Ok(Some(response.json::<Named>()?.name)),
            400 | 404 if is_about_the_path(&response, name) => self.search_group(name).await,
            404 => self.rest.absent(&response).map(|()| None),
            _ => Err(self.refusal(&response).await),
        }
    }

    async fn apply(&self, action: &Action) -> Result<Applied, Failure> {
        carry_out(self, action).await
    }

    /// Accounts that were made a moment ago have the name that they were given, and are in no group that Confluence
    /// did not put them in itself.
    async fn add_members(&self, group: &str, members: &[Member]) -> Vec<Result<Applied, Failure>> {
        let mut answers = Vec::with_capacity(members.len());
        for member in members {
            answers.push(self.put_member(&member.username, group).await);
        }
        answers
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
        let own = self.check_address().await?;
        let version = self.version().await?;
        let mut check = Check {
            product: CAPABILITIES.product.to_owned(),
            version: version
                .as_ref()
                .map_or("before 8.4".to_owned(), |v| v.version.clone()),
            account: own.name.clone(),
            ..Check::default()
        };
        let shown = &check.version;
        if !self.finds_itself(&own).await? {
            check.warnings.push(format!(
                "{} may not use Confluence (global permission \"Can use\"): nobody can be found",
                own.name
            ));
        }
        match self.administers(&own).await? {
            Some(true) => check
                .rights
                .push("administers Confluence: may write users and groups".to_owned()),
            Some(false) => check.warnings.push(format!(
                "{} is no Confluence administrator: nothing can be written",
                own.name
            )),
            None => check.warnings.push(format!(
                "Confluence {shown} does not tell whether {} is an administrator, and it is not in {}",
                own.name, ADMIN_GROUPS[0]
            )),
        }
        if version.as_ref().is_none_or(|v| v.is_before(CREATES_SINCE)) {
            check.warnings.push(format!(
                "Confluence {shown} cannot create accounts over REST: needs 8.4 or later; accounts that are there \
                 can be adopted"
            ));
        }
        if version.as_ref().is_none_or(|v| v.is_before(UPDATES_SINCE)) {
            check.warnings.push(format!(
                "Confluence {shown} may not be able to change full names and e-mail addresses over REST (10.0 is): \
                 then they stay as they are, and the audit says so"
            ));
        }
        Ok(check)
    }
}

#[async_trait]
impl Operations for ConfluenceDc {
    async fn create_user(
        &self,
        username: &str,
        display_name: &str,
        email: &str,
    ) -> Result<Applied, Failure> {
        rules::username(username)?;
        rules::full_name(display_name)?;
        rules::email(email)?;
        // Confluence wants a password unless it is to send a mail about one. Nobody ever learns this one: people sign
        // in through their identity provider, or have the password reset.
        let body = json!({
            "userName": username, "fullName": display_name, "email": email,
            "password": password(), "notifyViaEmail": false,
        });
        let response = self.rest.post("/admin/user", &[], body).await?;
        if response.is_success() {
            // The key is all that it tells, and all that was not known.
            if let Ok(Made { user_key }) = response.json() {
                return Ok(Applied {
                    account: Some(Observed {
                        remote_id: user_key,
                        username: username.to_owned(),
                        display_name: display_name.trim().to_owned(),
                        email: None,
                        active: true,
                        groups: Vec::new(),
                    }),
                    ..Applied::default()
                });
            }
            let who = Who::Name(username);
            let user = self
                .user(who)
                .await?
                .ok_or_else(|| who.gone("Confluence"))?;
            return self.done(&user, who).await;
        }
        if matches!(response.status, 404 | 405) && Words::of(&response).is_none() {
            return Err(self.lacks("create accounts", &response).await);
        }
        let refusal = match (response.status, self.refusal(&response).await) {
            (402, Failure::Rejected { text, .. }) => Failure::Rejected {
                field: None,
                text: format!(
                    "Confluence has no licence left for {username} ({text}): free one or buy more, then try again"
                ),
            },
            (409, Failure::Rejected { text, .. }) => Failure::Rejected {
                field: Some("username".to_owned()),
                text,
            },
            (_, other) => other,
        };
        if matches!(refusal, Failure::Rejected { .. })
            && let Some(user) = self.user(Who::Name(username)).await?
            && user.is_what_was_sent(username, display_name)
            && user.active()?
        {
            let who = Who::Key(&user.key);
            let mut applied = self.done(&user, who).await?;
            if response.status == 409 {
                // The answer to an earlier attempt was lost.
                applied.already = true;
            } else {
                // Names that are taken come first, so this attempt made it, and failed at what follows.
                applied
                    .notes
                    .push(format!("the account was made, but: {refusal}"));
            }
            return Ok(applied);
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
        let user = self
            .user(who)
            .await?
            .ok_or_else(|| who.gone("Confluence"))?;
        let mut body = serde_json::Map::new();
        if let Some(name) = display_name {
            rules::full_name(name)?;
            body.insert("fullName".to_owned(), name.into());
        }
        if let Some(email) = email {
            rules::email(email)?;
            body.insert("email".to_owned(), email.into());
        }
        if body.is_empty() {
            return self.unchanged(&user, who).await;
        }
        let path = format!("/admin/user/{}", segment(&user.name));
        let response = self.rest.put(&path, &[], Value::Object(body)).await?;
        if let Some(why) = self.cannot_update(&response, &user).await? {
            let mut applied = self.unchanged(&user, who).await?;
            applied.notes.push(why);
            return Ok(applied);
        }
        let user = self.accepted(&user, &response).await?;
        if let Some(name) = display_name
            && user.display_name.trim() != name.trim()
        {
            let text = format!(
                "Confluence took the full name {name:?} without an error, but shows {:?}",
                user.display_name
            );
            return Err(Failure::Rejected {
                field: Some("display_name".to_owned()),
                text,
            });
        }
        self.done(&user, who).await
    }

    async fn rename_user(&self, whom: Whom<'_>, to: &str) -> Result<Applied, Failure> {
        let from = whom.username;
        Err(Failure::Rejected {
            field: Some("username".to_owned()),
            text: format!(
                "Confluence cannot rename accounts over REST: rename {from} to {to} in its user management, or leave \
                 \"rename\" out of the mapping's operations"
            ),
        })
    }

    async fn deactivate(
        &self,
        whom: Whom<'_>,
        _: &LeadSuccessors,
        _: Option<&Holdings>,
    ) -> Result<Applied, Failure> {
        self.set_active(whom.into(), false).await
    }

    async fn reactivate(&self, whom: Whom<'_>, _: Option<&Holdings>) -> Result<Applied, Failure> {
        self.set_active(whom.into(), true).await
    }

    async fn delete_user(&self, whom: Whom<'_>) -> Result<Applied, Failure> {
        deletion::delete(self, whom.into()).await
    }

    async fn create_group(&self, name: &str) -> Result<Applied, Failure> {
        let body = json!({"type": "group", "name": name});
        let response = self.rest.post("/admin/group", &[], body).await?;
        match response.status {
            200..=299 => Ok(Applied::default()),
            409 if Words::of(&response).is_some() => Ok(already(None)),
            _ => Err(self.refusal(&response).await),
        }
    }

    async fn add_member(&self, whom: Whom<'_>, group: &str) -> Result<Applied, Failure> {
        let who = Who::from(whom);
        let user = self
            .user(who)
            .await?
            .ok_or_else(|| who.gone("Confluence"))?;
        // Confluence does not say whether it was so already.
        if self.is_member(&user, group).await? {
            return Ok(already(None));
        }
        self.put_member(&user.name, group).await
    }

    async fn remove_member(&self, whom: Whom<'_>, group: &str) -> Result<Applied, Failure> {
        let who = Who::from(whom);
        let Some(user) = self.user(who).await? else {
            return Ok(already(None));
        };
        if !self.is_member(&user, group).await? {
            return Ok(already(None));
        }
        let response = self
            .rest
            .delete(&membership(&user.name, group), &[])
            .await?;
        let absent = response.status == 404 && Words::of(&response).is_some();
        if !response.is_success() && !absent {
            return Err(self.refused(&response, group).await);
        }
        // It takes something away, and Confluence says yes whether it does anything or not.
        if self.is_member(&user, group).await? {
            return Err(Failure::Rejected {
                field: Some("groups".to_owned()),
                text: format!(
                    "Confluence still shows {} in {group}: it may be in it through another group, or its directory \
                     may be read-only",
                    user.name
                ),
            });
        }
        Ok(Applied {
            already: absent,
            ..Applied::default()
        })
    }
}

impl ConfluenceDc {
    /// A Confluence at the client's base URL. A deletion, which goes on after it was answered, is waited for as long
    /// as `patience`.
    pub fn new(client: Client, patience: Duration) -> Self {
        Self {
            rest: Rest::new(client, "Confluence", "/rest/api"),
            patience,
            own: OnceCell::new(),
            protected: OnceCell::new(),
        }
    }

    /// The groups with the permission to administer where Confluence tells them, its own name for such a group, and
    /// of the groups of Usher's own account (which must be in one of them) those that sound like it.
    async fn read_protected(&self) -> Result<Protected, Failure> {
        let own = self.own().await?;
        let mut groups: Vec<String> = ADMIN_GROUPS.map(str::to_owned).to_vec();
        let granted = match self.grants().await? {
            Grants::Told(grants) => grants,
            Grants::Refused | Grants::Untold => Vec::new(),
        };
        let granted = granted
            .into_iter()
            .filter_map(Grant::group_of_administrators);
        let member = self.groups_of(&own.key).await?.unwrap_or_default();
        let member = member
            .into_iter()
            .filter(|name| super::fold(name).contains("admin"));
        for group in granted.chain(member) {
            if !groups.iter().any(|g| same(g, &group)) {
                groups.push(group);
            }
        }
        Ok(Protected {
            users: vec![own.name.clone()],
            groups,
            kept_by_product: Vec::new(),
        })
    }

    /// What an answer means to a request that Confluence knows since it creates accounts.
    async fn lacks(&self, what: &str, response: &Response) -> Failure {
        match self.version().await {
            Ok(Some(version)) if !version.is_before(CREATES_SINCE) => {
                self.rest.not_the_product(response)
            }
            Ok(version) => Failure::Rejected {
                field: None,
                text: format!(
                    "Confluence {} cannot {what} over REST: needs 8.4 or later",
                    version.map_or("before 8.4".to_owned(), |v| v.version)
                ),
            },
            Err(failure) => failure,
        }
    }

    /// Why this Confluence can change no account at all, if that is what the answer says. The account itself was
    /// found a moment ago.
    async fn cannot_update(
        &self,
        response: &Response,
        user: &User,
    ) -> Result<Option<String>, Failure> {
        let about_the_method = match response.status {
            405 => true,
            // A proxy may have written it, so the version must confirm it.
            404 => Words::of(response).is_none() && !rules::has_slash(&user.name),
            _ => false,
        };
        if !about_the_method {
            return Ok(None);
        }
        let version = self.version().await?;
        if response.status == 404
            && version
                .as_ref()
                .is_some_and(|v| !v.is_before(UPDATES_SINCE))
        {
            return Err(self.rest.not_the_product(response));
        }
        Ok(Some(format!(
            "Confluence {} cannot change full names and e-mail addresses over REST: {} stays as it is",
            version.map_or("before 8.4".to_owned(), |v| v.version),
            user.name
        )))
    }

    async fn set_active(&self, who: Who<'_>, active: bool) -> Result<Applied, Failure> {
        let user = self
            .user(who)
            .await?
            .ok_or_else(|| who.gone("Confluence"))?;
        if user.active()? == active {
            return self.unchanged(&user, who).await;
        }
        let verb = if active { "enable" } else { "disable" };
        let path = format!("/admin/user/{}/{verb}", segment(&user.name));
        let response = self.rest.put_nothing(&path).await?;
        let user = self.accepted(&user, &response).await?;
        if user.active()? == active {
            return self.done(&user, who).await;
        }
        let state = if active { "disabled" } else { "active" };
        Err(Failure::Rejected {
            field: Some("active".to_owned()),
            text: format!(
                "Confluence accepted the change but still shows {} as {state}: does its directory allow it, and does a \
                 directory above hold the same name?",
                user.name
            ),
        })
    }

    /// Confluence says yes whether it was so already or not.
    async fn put_member(&self, username: &str, group: &str) -> Result<Applied, Failure> {
        let response = self.rest.put_nothing(&membership(username, group)).await?;
        match response.status {
            200..=299 => Ok(Applied::default()),
            404 if Words::of(&response).is_some() => {
                // Either may be what is missing.
                if self.group_exists(group).await?.is_none() {
                    return Err(Failure::Gone {
                        text: format!("Confluence has no group {group}"),
                    });
                }
                Err(Who::Name(username).gone("Confluence"))
            }
            _ => Err(self.refused(&response, group).await),
        }
    }

    async fn is_member(&self, user: &User, group: &str) -> Result<bool, Failure> {
        let groups = self.groups_of(&user.key).await?.unwrap_or_default();
        Ok(groups.iter().any(|name| same(name, group)))
    }

    /// The account as it is after a write.
    async fn accepted(&self, user: &User, response: &Response) -> Result<User, Failure> {
        let who = Who::Key(&user.key);
        if response.is_success() {
            return self.user(who).await?.ok_or_else(|| who.gone("Confluence"));
        }
        let refusal = self.refused(response, &user.name).await;
        // Where an account is missing some calls answer 400.
        if matches!(refusal, Failure::Rejected { .. } | Failure::Gone { .. })
            && self.user(who).await?.is_none()
        {
            return Err(who.gone("Confluence"));
        }
        match refusal {
            Failure::Gone { text } => Err(Failure::Rejected { field: None, text }),
            other => Err(other),
        }
    }

    /// One user, without groups.
    async fn user(&self, who: Who<'_>) -> Result<Option<User>, Failure> {
        let (by, value) = who.query();
        if value.is_empty() {
            return Ok(None);
        }
        let user = self.read_user((by, value)).await?;
        let meant = |user: &User| match who {
            Who::Key(_) => true,
            Who::Name(name) => same(&user.name, name),
        };
        match user {
            Some(user) => Ok(Some(user).filter(|u| !u.is_ghost() && meant(u))),
            None => {
                let own = self.own().await?;
                // To an account that may not use Confluence, nobody is there.
                if self.finds_itself(own).await? {
                    return Ok(None);
                }
                Err(Failure::Unauthorized {
                    text: format!(
                        "{} may not use Confluence (global permission \"Can use\"), so it finds nobody",
                        own.name
                    ),
                })
            }
        }
    }

    async fn read_user(&self, by: (&str, &str)) -> Result<Option<User>, Failure> {
        let response = self.rest.get("/user", &[by, ("expand", "status")]).await?;
        match response.status {
            200 => response.json().map(Some),
            404 => self.rest.absent(&response).map(|()| None),
            _ => Err(self.rest.failure(&response)),
        }
    }

    /// Whether Confluence shows Usher its own account, found as any other.
    async fn finds_itself(&self, own: &Own) -> Result<bool, Failure> {
        Ok(self.read_user(("key", &own.key)).await?.is_some())
    }

    /// The names of a user's groups; `None` if there is no such user.
    async fn groups_of(&self, key: &str) -> Result<Option<Vec<String>>, Failure> {
        let found = self.pages("/user/memberof", &[("key", key)]).await?;
        Ok(found.map(|groups| groups.into_iter().map(|g| g.name).collect()))
    }

    /// For names that cannot stand in a path.
    async fn search_group(&self, name: &str) -> Result<Option<String>, Failure> {
        let groups = self.pages("/group", &[]).await?.unwrap_or_default();
        Ok(groups.into_iter().map(|g| g.name).find(|g| same(g, name)))
    }

    /// All pages of a list; `None` if what is listed is not there.
    async fn pages(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<Vec<Named>>, Failure> {
        let (mut found, mut start) = (Vec::new(), 0);
        for _ in 0..PAGES {
            let response = self.read_page(path, query, start).await?;
            if response.status == 404 {
                return self.rest.absent(&response).map(|()| None);
            }
            let (page, next) = self.page_of::<Named>(&response, start)?;
            found.extend(page);
            match next {
                Some(next) => start = next,
                None => return Ok(Some(found)),
            }
        }
        let text = format!(
            "GET {path}: Confluence shows {} groups and always more of them",
            found.len()
        );
        Err(Failure::Transient { text })
    }

    async fn read_page(
        &self,
        path: &str,
        query: &[(&str, &str)],
        start: usize,
    ) -> Result<Response, Failure> {
        let (start, limit) = (start.to_string(), PAGE.to_string());
        let mut query = query.to_vec();
        query.extend([("start", start.as_str()), ("limit", &limit)]);
        self.rest.get(path, &query).await
    }

    /// What is on the page that starts at `start`, and where the next one does.
    fn page_of<T: DeserializeOwned>(
        &self,
        response: &Response,
        start: usize,
    ) -> Result<(Vec<T>, Option<usize>), Failure> {
        if response.status != 200 {
            return Err(self.rest.failure(response));
        }
        let page: RestList<T> = response.json()?;
        match page.next(start) {
            Some(next) if next <= start => {
                // Half a list would look like memberships that are gone.
                let text = format!("{}: Confluence goes round in circles", response.what());
                Err(Failure::Transient { text })
            }
            next => Ok((page.results, next)),
        }
    }

    async fn with_groups(&self, user: &User) -> Result<Option<Observed>, Failure> {
        match self.groups_of(&user.key).await? {
            Some(groups) => user.clone().observed(groups).map(Some),
            None => Ok(None),
        }
    }

    async fn done(&self, user: &User, who: Who<'_>) -> Result<Applied, Failure> {
        let account = self
            .with_groups(user)
            .await?
            .ok_or_else(|| who.gone("Confluence"))?;
        Ok(Applied {
            account: Some(account),
            ..Applied::default()
        })
    }

    async fn unchanged(&self, user: &User, who: Who<'_>) -> Result<Applied, Failure> {
        let account = self
            .with_groups(user)
            .await?
            .ok_or_else(|| who.gone("Confluence"))?;
        Ok(already(Some(account)))
    }

    /// Who Usher is. Remembered after the first success.
    async fn own(&self) -> Result<&Own, Failure> {
        self.own
            .get_or_try_init(|| async {
                let response = self.rest.get("/user/current", &[]).await?;
                if !response.is_success() {
                    return Err(self.rest.failure(&response));
                }
                own(response.json()?)
            })
            .await
    }

    /// [`ConfluenceDc::own`], read again, with words for whoever set the address.
    async fn check_address(&self) -> Result<Own, Failure> {
        let wrong = |text: String| Failure::Rejected {
            field: Some("base_url".to_owned()),
            text,
        };
        let response = self.rest.get("/user/current", &[]).await?;
        if response.status == 403 {
            return Err(self.rest.failure(&response));
        }
        let current = response.json::<Current>().ok();
        let Some(current) = current.filter(|_| response.is_success()) else {
            return Err(wrong(format!(
                "{} is not the address of a Confluence: {} answered {}{}; give the address that people use, context \
                 path included",
                self.rest.base_url(),
                response.what(),
                response.status,
                if response.is_html() { " with HTML" } else { "" }
            )));
        };
        if current.account_id.is_some() {
            return Err(wrong(
                "this is Confluence Cloud, whose users are not managed over this interface"
                    .to_owned(),
            ));
        }
        own(current)
    }

    /// `None`: it does not tell, as none before 8.4 does.
    async fn version(&self) -> Result<Option<ServerInformation>, Failure> {
        let response = self.rest.get("/server-information", &[]).await?;
        match response.status {
            200 => response.json().map(Some),
            404 | 405 => Ok(None),
            _ => Err(self.rest.failure(&response)),
        }
    }

    /// The global permissions.
    async fn grants(&self) -> Result<Grants, Failure> {
        let response = self.rest.get("/permissions", &[]).await?;
        match response.status {
            200 => {
                let grants: Vec<Value> = response.json()?;
                let grants = grants.into_iter();
                Ok(Grants::Told(
                    grants
                        .filter_map(|grant| serde_json::from_value(grant).ok())
                        .collect(),
                ))
            }
            403 if Words::of(&response).is_some() => Ok(Grants::Refused),
            404 | 405 => Ok(Grants::Untold),
            _ => Err(self.rest.failure(&response)),
        }
    }

    /// Whether Usher's account administers Confluence; `None`: it cannot be told.
    async fn administers(&self, own: &Own) -> Result<Option<bool>, Failure> {
        match self.grants().await? {
            Grants::Told(_) => return Ok(Some(true)),
            Grants::Refused => return Ok(Some(false)),
            Grants::Untold => {}
        }
        let groups = self.groups_of(&own.key).await?.unwrap_or_default();
        let is_in = |name: &&str| groups.iter().any(|g| same(g, name));
        Ok(ADMIN_GROUPS.iter().any(is_in).then_some(true))
    }

    /// What a refusal of a write to the account or group of that name is.
    async fn refused(&self, response: &Response, name: &str) -> Failure {
        if is_about_the_path(response, name) {
            return Failure::Rejected {
                field: None,
                text: format!(
                    "the web server in front of Confluence refuses names with a slash in addresses ({}), and only \
                     there can Usher name {name:?}: rename it, or let the mapping leave it out",
                    response.status
                ),
            };
        }
        match self.refusal(response).await {
            Failure::Rejected { field, text } if response.status == 403 => Failure::Rejected {
                field,
                text: format!(
                    "{text}: Confluence lets Usher's account administer, but refuses {name:?}; it does so for a \
                     system administrator (unless Usher's account is one), for Usher's own account and for accounts \
                     of read-only directories"
                ),
            },
            other => other,
        }
    }

    /// What a refusal is. 403 may be about the account that Usher uses, which stops everything, or about one record
    /// (a system administrator's), which must stop only itself: Confluence is asked which.
    async fn refusal(&self, response: &Response) -> Failure {
        let failure = self.rest.failure(response);
        let Failure::Unauthorized { .. } = failure else {
            return failure;
        };
        let (Some(words), Ok(own)) = (Words::of(response), self.own().await) else {
            return failure;
        };
        match self.administers(own).await {
            Ok(Some(true)) => Failure::Rejected {
                field: words.field,
                text: words.text,
            },
            Ok(Some(false) | None) | Err(_) => failure,
        }
    }
}

fn own(current: Current) -> Result<Own, Failure> {
    match (current.user_key, current.username) {
        (Some(key), Some(name)) if current.kind == "known" => Ok(Own { key, name }),
        _ => Err(Failure::Unauthorized {
            text: "Confluence takes Usher for an anonymous visitor: does a proxy in front take the credential away?"
                .to_owned(),
        }),
    }
}

/// Whether the answer is the web server's, to a path that it does not let through.
fn is_about_the_path(response: &Response, name: &str) -> bool {
    matches!(response.status, 400 | 404) && rules::has_slash(name) && Words::of(response).is_none()
}

fn membership(username: &str, group: &str) -> String {
    format!("/user/{}/group/{}", segment(username), segment(group))
}

fn already(account: Option<Observed>) -> Applied {
    Applied {
        account,
        already: true,
        notes: Vec::new(),
    }
}

/// Long, random, and with every kind of character that a policy may ask for. It is sent once and kept nowhere.
fn password() -> String {
    const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789-_.";
    let mut random = rand::rng();
    let mut password = "Aa1-".to_owned();
    password.extend((0..40).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])));
    password
}

#[cfg(test)]
mod tests;
