//! What accounts are written to. One trait, one file for each product, one registry ([`connect`]).
//!
//! A target does what an [`Action`] says and tells what is there. It decides nothing: what should be there, whether it
//! may be changed and when to try again is the engine's business. Every action is safe to repeat.

mod atlassian;
mod bitbucket_dc;
mod confluence_dc;
mod crowd;
mod guard;
mod jira_dc;
pub mod memory;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{
    Action, Applied, Failure, Holdings, LeadSuccessors, Lookup, Observed, TargetKind,
    TargetSettings,
};
use crate::outbound::{self, Client, Credential, Limits, Options};

pub use bitbucket_dc::BitbucketDc;
pub use confluence_dc::ConfluenceDc;
pub use crowd::Crowd;
pub use guard::Guard;
pub use jira_dc::JiraDc;

/// What a product can do at all, whatever the version and the rights of the credential ([`Target::check`] tells
/// those).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Name of the product, for people.
    pub product: &'static str,
    /// [`Action::CreateUser`]
    pub create: bool,
    /// [`Action::UpdateUser`]
    pub update: bool,
    /// [`Action::RenameUser`]
    pub rename: bool,
    /// [`Action::Deactivate`]
    pub deactivate: bool,
    /// [`Action::Reactivate`]
    pub reactivate: bool,
    /// [`Action::DeleteUser`]
    pub delete: bool,
    /// Observed accounts show their e-mail address. Where not, what was last sent is all there is to compare with.
    pub reads_email: bool,
    /// Whom [`Lookup::Email`] finds.
    pub by_email: ByEmail,
    /// [`Action::CreateGroup`]
    pub creates_groups: bool,
    /// [`Action::AddMember`] and [`Action::RemoveMember`]
    pub memberships: bool,
    /// There are no inactive accounts: [`Action::Deactivate`] takes away what gives access ([`Target::holdings`] tells
    /// what that is), and [`Action::Reactivate`] gives it back. [`Observed::active`] is whether there is access.
    pub takes_memberships: bool,
    /// Before an account can be deactivated somebody else must take over what it leads.
    pub leads: bool,
    /// Accounts and groups with `/` or `\` in their names can be written to. Where not, such a write is refused.
    pub slashes_in_names: bool,
    /// A display name that holds one of these characters is refused.
    pub display_names_without: &'static str,
    /// How many members one request puts into a group ([`Target::add_members`]).
    pub members_a_request: usize,
    /// How many members one request takes out of a group ([`Target::remove_members`]).
    pub removals_a_request: usize,
}

impl Capabilities {
    /// What nearly every product can do; a product says only where it differs.
    const fn usual(product: &'static str) -> Self {
        Self {
            product,
            create: true,
            update: true,
            rename: true,
            deactivate: true,
            reactivate: true,
            delete: true,
            reads_email: true,
            by_email: ByEmail::Everybody,
            creates_groups: true,
            memberships: true,
            takes_memberships: false,
            leads: false,
            slashes_in_names: true,
            display_names_without: "",
            members_a_request: 1,
            removals_a_request: 1,
        }
    }
}

/// Whom a product finds by an e-mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByEmail {
    /// Every account that has the address.
    Everybody,
    /// Only accounts whose user name is the address as well.
    NameIsAddress,
    /// No account.
    Nobody,
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Asks for the next page. `None`: this was the last one.
    pub next: Option<String>,
}

/// A member of a group at a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The product's own stable key; empty where a listing does not tell.
    pub remote_id: String,
    /// As the product writes it.
    pub username: String,
}

impl Member {
    /// The action that puts it into `group`.
    fn joins(&self, group: &str) -> Action {
        Action::AddMember {
            remote_id: self.remote_id.clone(),
            username: self.username.clone(),
            group: group.to_owned(),
        }
    }

    /// The action that takes it out of `group`.
    fn leaves(&self, group: &str) -> Action {
        Action::RemoveMember {
            remote_id: self.remote_id.clone(),
            username: self.username.clone(),
            group: group.to_owned(),
        }
    }
}

impl<'a> From<&'a Member> for Whom<'a> {
    fn from(member: &'a Member) -> Self {
        Self {
            remote_id: &member.remote_id,
            username: &member.username,
        }
    }
}

/// Names at the target that are never changed, whatever the rules say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Protected {
    /// User names: the account that Usher signs in with.
    pub users: Vec<String>,
    /// Groups that make people administrators of the product.
    pub groups: Vec<String>,
    /// Groups whose members the product itself decides about, and that make nobody an administrator.
    pub kept_by_product: Vec<String>,
}

/// What a target says when it is tried out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Check {
    /// Name of the product, for people.
    pub product: String,
    /// Its version.
    pub version: String,
    /// The account that Usher signs in with.
    pub account: String,
    /// What that account may do, in words.
    pub rights: Vec<String>,
    /// What will not work, in words.
    pub warnings: Vec<String>,
}

/// One product instance that accounts are written to.
#[async_trait]
pub trait Target: Send + Sync {
    /// What the product can do.
    fn capabilities(&self) -> &'static Capabilities;

    /// Names that are never changed. Remembered after the first success.
    async fn protected(&self) -> Result<Protected, Failure>;

    /// The account, with its groups; `None` only if the product itself said that there is none.
    async fn observe(&self, lookup: Lookup<'_>) -> Result<Option<Observed>, Failure>;

    /// The account that the ledger knows by this key. Some products cannot look for a key, so the name that the
    /// account last had is told as well: that is where to look first.
    async fn revisit(&self, remote_id: &str, _username: &str) -> Result<Option<Observed>, Failure> {
        self.observe(Lookup::RemoteId(remote_id)).await
    }

    /// What [`Action::Deactivate`] would take from an account, every membership as a foreign one; nothing where it
    /// takes nothing ([`Capabilities::takes_memberships`]), and of an account that is not there.
    async fn holdings(&self, _remote_id: &str, _username: &str) -> Result<Holdings, Failure> {
        Ok(Holdings::default())
    }

    /// The name of a group as the product writes it; `None` if there is none of that name, without regard to case.
    async fn group_exists(&self, name: &str) -> Result<Option<String>, Failure>;

    /// Does what `action` says. A failure may leave it undone, done or (with leads to hand over) half done; doing it
    /// again is always right.
    async fn apply(&self, action: &Action) -> Result<Applied, Failure>;

    /// Puts accounts into one group in as few requests as the product allows; one answer for each member, in their
    /// order. Whoever is in it already is a success. It is called for accounts that were made a moment ago and, where
    /// a request takes many, for all: so it need not look first who is in it.
    async fn add_members(&self, group: &str, members: &[Member]) -> Vec<Result<Applied, Failure>> {
        let mut answers = Vec::with_capacity(members.len());
        for member in members {
            answers.push(self.apply(&member.joins(group)).await);
        }
        answers
    }

    /// Takes accounts out of one group in as few requests as the product allows; one answer for each member, in their
    /// order. Whoever is not in it is a success, known to have been so or not.
    async fn remove_members(
        &self,
        group: &str,
        members: &[Member],
    ) -> Vec<Result<Applied, Failure>> {
        let mut answers = Vec::with_capacity(members.len());
        for member in members {
            answers.push(self.apply(&member.leaves(group)).await);
        }
        answers
    }

    /// The accounts of the product, inactive ones included, a page at a time, without their groups.
    async fn users(&self, cursor: Option<&str>) -> Result<Page<Observed>, Failure>;

    /// The names of the groups of the product, a page at a time. [`Failure::Rejected`] if it does not show all of them.
    async fn groups(&self, cursor: Option<&str>) -> Result<Page<String>, Failure>;

    /// The members of a group, inactive ones included, a page at a time: the direct ones where the product tells them
    /// apart. [`Failure::Gone`]: no such group.
    async fn members(&self, group: &str, cursor: Option<&str>) -> Result<Page<Member>, Failure>;

    /// Tries the address, the credential and its rights, without a write.
    async fn check(&self) -> Result<Check, Failure>;
}

/// An account, as an action names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Whom<'a> {
    /// The product's own stable key; empty while it is not known.
    remote_id: &'a str,
    /// The user name; may be an old one.
    username: &'a str,
}

impl<'a> Whom<'a> {
    fn named(username: &'a str) -> Self {
        Self {
            remote_id: "",
            username,
        }
    }

    /// The failure that `product`, which knows accounts by a `key` of that name, has no such one.
    fn gone(self, product: &str, key: &str) -> Failure {
        let Self {
            remote_id,
            username,
        } = self;
        let text = if remote_id.is_empty() {
            format!("{product} has no user {username}")
        } else {
            format!("{product} has no user with {key} {remote_id} ({username})")
        };
        Failure::Gone { text }
    }
}

/// What a product does for each kind of action; [`carry_out`] takes the action apart.
#[async_trait]
trait Operations: Sync {
    async fn create_user(
        &self,
        username: &str,
        display_name: &str,
        email: &str,
    ) -> Result<Applied, Failure>;
    async fn update_user(
        &self,
        whom: Whom<'_>,
        display_name: Option<&str>,
        email: Option<&str>,
    ) -> Result<Applied, Failure>;
    async fn rename_user(&self, whom: Whom<'_>, to: &str) -> Result<Applied, Failure>;
    async fn deactivate(
        &self,
        whom: Whom<'_>,
        successors: &LeadSuccessors,
        takes: Option<&Holdings>,
    ) -> Result<Applied, Failure>;
    async fn reactivate(
        &self,
        whom: Whom<'_>,
        gives: Option<&Holdings>,
    ) -> Result<Applied, Failure>;
    async fn delete_user(&self, whom: Whom<'_>) -> Result<Applied, Failure>;
    async fn create_group(&self, name: &str) -> Result<Applied, Failure>;
    async fn add_member(&self, whom: Whom<'_>, group: &str) -> Result<Applied, Failure>;
    async fn remove_member(&self, whom: Whom<'_>, group: &str) -> Result<Applied, Failure>;
}

/// Does what an action says by the product's operations.
async fn carry_out(product: &impl Operations, action: &Action) -> Result<Applied, Failure> {
    let whom = |remote_id, username| Whom {
        remote_id,
        username,
    };
    match action {
        Action::CreateUser {
            username,
            display_name,
            email,
        } => product.create_user(username, display_name, email).await,
        Action::UpdateUser {
            remote_id,
            username,
            display_name,
            email,
        } => {
            let whom = whom(remote_id, username);
            product
                .update_user(whom, display_name.as_deref(), email.as_deref())
                .await
        }
        Action::RenameUser {
            remote_id,
            from,
            to,
        } => product.rename_user(whom(remote_id, from), to).await,
        Action::Deactivate {
            remote_id,
            username,
            successors,
            takes,
        } => {
            product
                .deactivate(whom(remote_id, username), successors, takes.as_ref())
                .await
        }
        Action::Reactivate {
            remote_id,
            username,
            gives,
        } => {
            product
                .reactivate(whom(remote_id, username), gives.as_ref())
                .await
        }
        Action::DeleteUser {
            remote_id,
            username,
        } => product.delete_user(whom(remote_id, username)).await,
        Action::CreateGroup { name } => product.create_group(name).await,
        Action::AddMember {
            remote_id,
            username,
            group,
        } => product.add_member(whom(remote_id, username), group).await,
        Action::RemoveMember {
            remote_id,
            username,
            group,
        } => {
            product
                .remove_member(whom(remote_id, username), group)
                .await
        }
    }
}

/// The registry: makes the target that the settings describe. Nothing is sent.
///
/// # Errors
/// The address or the credential cannot be used.
pub fn connect(
    settings: &TargetSettings,
    credential: Credential,
) -> Result<Arc<dyn Target>, outbound::Error> {
    let timeout = Duration::from_secs(settings.timeout_s.max(1));
    let defaults = Options::default();
    let options = Options {
        timeout,
        connect_timeout: defaults.connect_timeout.min(timeout),
        max_body: defaults.max_body,
        limits: Some(Limits {
            concurrency: settings.concurrency,
            requests_per_second: settings.requests_per_second,
        }),
    };
    Ok(match settings.kind {
        TargetKind::JiraDc => {
            let client = Client::new(&settings.base_url, credential, options)?;
            Arc::new(JiraDc::new(client))
        }
        TargetKind::ConfluenceDc => {
            let client = Client::new(&settings.base_url, credential, options)?;
            Arc::new(ConfluenceDc::new(client, timeout))
        }
        TargetKind::BitbucketDc => {
            Arc::new(BitbucketDc::new(&settings.base_url, credential, options)?)
        }
        TargetKind::Crowd => Arc::new(Crowd::new(&settings.base_url, credential, options)?),
        TargetKind::AtlassianGuard => {
            Arc::new(Guard::new(&settings.base_url, credential, options)?)
        }
    })
}

/// What products of this kind can do.
pub fn capabilities(kind: TargetKind) -> &'static Capabilities {
    match kind {
        TargetKind::JiraDc => &jira_dc::CAPABILITIES,
        TargetKind::ConfluenceDc => &confluence_dc::CAPABILITIES,
        TargetKind::BitbucketDc => &bitbucket_dc::CAPABILITIES,
        TargetKind::Crowd => &crowd::CAPABILITIES,
        TargetKind::AtlassianGuard => &guard::CAPABILITIES,
    }
}

/// A name as embedded Crowd compares it: without regard to case.
fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// Whether the product takes two names for the same.
fn same(a: &str, b: &str) -> bool {
    fold(a) == fold(b)
}

/// Where a page starts, for products that count. What is no number was never given out as a cursor.
fn start_of(cursor: Option<&str>) -> Result<usize, Failure> {
    let Some(cursor) = cursor else { return Ok(0) };
    cursor.parse().map_err(|_| Failure::Rejected {
        field: None,
        text: format!("{cursor:?} does not say where a page begins"),
    })
}
