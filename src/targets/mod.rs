//! What accounts are written to. One trait, one file for each product, one registry ([`connect`]).
//!
//! A target does what an [`Action`] says and tells what is there. It decides nothing: what should be there, whether it
//! may be changed and when to try again is the engine's business. Every action is safe to repeat.

mod atlassian;
mod confluence_dc;
mod crowd;
mod jira_dc;
pub mod memory;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{Action, Applied, Failure, Lookup, Observed, TargetKind, TargetSettings};
use crate::outbound::{self, Client, Credential, Options};

pub use confluence_dc::ConfluenceDc;
pub use crowd::Crowd;
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
    /// Observed accounts show their e-mail address. Where not, what was last sent is all there is to compare with, and
    /// no account is found by its address.
    pub reads_email: bool,
    /// [`Action::CreateGroup`]
    pub creates_groups: bool,
    /// [`Action::AddMember`] and [`Action::RemoveMember`]
    pub memberships: bool,
    /// Before an account can be deactivated somebody else must take over what it leads.
    pub leads: bool,
    /// Accounts and groups with `/` or `\` in their names can be written to. Where not, such a write is refused.
    pub slashes_in_names: bool,
    /// A display name that holds one of these characters is refused.
    pub display_names_without: &'static str,
}

/// Names at the target that are never changed, whatever the rules say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Protected {
    /// User names: the account that Usher signs in with.
    pub users: Vec<String>,
    /// Groups that make people administrators of the product.
    pub groups: Vec<String>,
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

    /// The name of a group as the product writes it; `None` if there is none of that name, without regard to case.
    async fn group_exists(&self, name: &str) -> Result<Option<String>, Failure>;

    /// Does what `action` says. A failure may leave it undone, done or (with leads to hand over) half done; doing it
    /// again is always right.
    async fn apply(&self, action: &Action) -> Result<Applied, Failure>;

    /// Tries the address, the credential and its rights, without a write.
    async fn check(&self) -> Result<Check, Failure>;
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
        TargetKind::Crowd => Arc::new(Crowd::new(&settings.base_url, credential, options)?),
    })
}

/// A name as embedded Crowd compares it: without regard to case.
fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// Whether the product takes two names for the same.
fn same(a: &str, b: &str) -> bool {
    fold(a) == fold(b)
}
