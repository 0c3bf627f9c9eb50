//! What one target should have and has for one user.

use serde::{Deserialize, Serialize};

use super::{Holdings, LeadSuccessors, TargetId, UserId};

/// Whether the person should have an account at the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// An active account.
    Active,
    /// The source says `active: false`: no access, account and memberships stay.
    Inactive,
    /// Deleted at the source: the deprovision policy applies.
    Deleted,
    /// Not within the scope of the mapping: the deprovision policy applies.
    OutOfScope,
}

/// What the rules want an account to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DesiredAccount {
    /// User name.
    pub username: String,
    /// Display name.
    pub display_name: String,
    /// E-mail address. `None`: the source has not sent one (IDCS may send it in a later request).
    pub email: Option<String>,
}

/// A group that the person should be in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DesiredGroup {
    /// Name at the target.
    pub name: String,
    /// Why: the rule and the source group.
    pub because: String,
    /// The source group it comes from, if it comes from one.
    pub source_group_id: Option<String>,
    /// Whether a rule names this very group. If not, its name follows from one of the source.
    pub express: bool,
}

/// A source group takes part in what is wanted under this name, and keeps doing so when it is renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupBinding {
    /// The group of the source.
    pub source_group_id: String,
    /// The name that the rules know it by.
    pub known_as: String,
    /// A target group that it leads to.
    pub target_group: String,
}

/// The result of a mapping for one user: what the target should have, and which rule wants each part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// Whether there should be an account.
    pub presence: Presence,
    /// The account; also computed for people who should not have one, to find it.
    /// `Err` holds why the rules give no account, in words.
    pub account: Result<DesiredAccount, String>,
    /// Groups, sorted by folded name, without duplicates. Empty unless the person is wanted.
    pub groups: Vec<DesiredGroup>,
    /// Which source groups these come from, and under which names.
    pub bindings: Vec<GroupBinding>,
    /// One line a rule: what it gave and why.
    pub because: Vec<String>,
    /// Those of the lines that an account goes back to.
    pub rules: AccountRules,
}

/// The rule behind each part of an account, in words.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AccountRules {
    /// Why the person should, or should not, have an account.
    pub presence: String,
    /// What gave the user name.
    pub username: String,
    /// What gave the display name.
    pub display_name: String,
    /// What gave the e-mail address.
    pub email: String,
}

/// Whom something at a target belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// Usher made it.
    Created,
    /// It was there, and a rule allowed Usher to take it over.
    Adopted,
    /// It was there and stays as it is.
    Foreign,
}

impl Owner {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Adopted => "adopted",
            Self::Foreign => "foreign",
        }
    }

    /// Whether Usher may change it.
    pub fn is_ours(self) -> bool {
        !matches!(self, Self::Foreign)
    }
}

/// What Usher believes about an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// About to be created; not seen yet.
    Expected,
    /// There.
    Present,
    /// Deleted by Usher, or found missing.
    Absent,
}

/// The ledger's account of one user at one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Identifier of the ledger row.
    pub id: String,
    /// Where.
    pub target_id: TargetId,
    /// Whose.
    pub user_id: UserId,
    /// The product's own stable key. `None` until it is known.
    pub remote_id: Option<String>,
    /// Last applied or seen.
    pub username: String,
    /// Last applied or seen.
    pub display_name: String,
    /// Last applied or seen.
    pub email: String,
    /// Last applied or seen.
    pub active: bool,
    /// Whom it belongs to.
    pub owner: Owner,
    /// What Usher believes about it.
    pub standing: Standing,
    /// An operation was started and its outcome never recorded: read the target before trusting this row.
    pub in_flight: bool,
    /// What was taken from it, or is about to be, and not given back yet.
    pub taken: Option<Holdings>,
}

/// How to find an account at a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// By the product's own stable key.
    RemoteId(&'a str),
    /// By user name, without regard to case.
    Username(&'a str),
    /// By e-mail address, without regard to case. Several accounts of one address are none.
    Email(&'a str),
}

/// An account as a target shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// The product's own stable key.
    pub remote_id: String,
    /// As the product writes it.
    pub username: String,
    /// As the product writes it.
    pub display_name: String,
    /// `None` where the product does not tell.
    pub email: Option<String>,
    /// Whether it can sign in.
    pub active: bool,
    /// The names of its groups (direct ones where the product tells them apart).
    pub groups: Vec<String>,
}

/// One write to a target. The engine plans these; a target carries them out.
///
/// Every action must be safe to repeat: "already there" and "already gone" are success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
pub enum Action {
    /// Make an account (always active).
    CreateUser {
        /// User name.
        username: String,
        /// Display name.
        display_name: String,
        /// E-mail address.
        email: String,
    },
    /// Change what differs; `None` stays.
    UpdateUser {
        /// The product's own stable key.
        remote_id: String,
        /// Current user name.
        username: String,
        /// New display name.
        display_name: Option<String>,
        /// New e-mail address.
        email: Option<String>,
    },
    /// Change the user name.
    RenameUser {
        /// The product's own stable key.
        remote_id: String,
        /// Current user name.
        from: String,
        /// New user name.
        to: String,
    },
    /// Take access away. Read back by the target: success means that the product says it is inactive.
    Deactivate {
        /// The product's own stable key.
        remote_id: String,
        /// Current user name.
        username: String,
        /// Who takes over what the account leads, if the product asks for it.
        successors: LeadSuccessors,
        /// What is taken from it, where deactivation takes things away, and nothing else: it has been written down.
        /// `None`: whatever it has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        takes: Option<Holdings>,
    },
    /// Give access back.
    Reactivate {
        /// The product's own stable key.
        remote_id: String,
        /// Current user name.
        username: String,
        /// What it gets back, where deactivation took things away.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gives: Option<Holdings>,
    },
    /// Delete the account.
    DeleteUser {
        /// The product's own stable key.
        remote_id: String,
        /// Current user name.
        username: String,
    },
    /// Make a group.
    CreateGroup {
        /// Its name.
        name: String,
    },
    /// Put an account into a group.
    AddMember {
        /// The product's own stable key.
        remote_id: String,
        /// Current user name.
        username: String,
        /// Name of the group.
        group: String,
    },
    /// Take an account out of a group.
    RemoveMember {
        /// The product's own stable key.
        remote_id: String,
        /// Current user name.
        username: String,
        /// Name of the group.
        group: String,
    },
}

impl Action {
    /// Short name, as in the audit.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CreateUser { .. } => "create_user",
            Self::UpdateUser { .. } => "update_user",
            Self::RenameUser { .. } => "rename_user",
            Self::Deactivate { .. } => "deactivate",
            Self::Reactivate { .. } => "reactivate",
            Self::DeleteUser { .. } => "delete_user",
            Self::CreateGroup { .. } => "create_group",
            Self::AddMember { .. } => "add_member",
            Self::RemoveMember { .. } => "remove_member",
        }
    }
}

/// What a target answered to an [`Action`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// The account after the action, for actions on accounts (not needed for groups and memberships). Of one that was
    /// just made the groups may be left out: where they matter it is looked at.
    pub account: Option<Observed>,
    /// It was so already: the action found nothing to do (group was there, member was in it, ...).
    pub already: bool,
    /// Further writes that were needed on the way (a project lead handed over), in words, for the audit.
    pub notes: Vec<String>,
}

impl Applied {
    /// Done; the account as it is now.
    pub fn done(account: Observed) -> Self {
        Self {
            account: Some(account),
            ..Self::default()
        }
    }

    /// There was nothing to do; the account as it is.
    pub fn already(account: Observed) -> Self {
        Self {
            account: Some(account),
            ..Self::was_so()
        }
    }

    /// There was nothing to do, and there is no account to tell of.
    pub fn was_so() -> Self {
        Self {
            already: true,
            ..Self::default()
        }
    }
}
