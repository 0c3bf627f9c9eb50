//! A mapping: the rules between one connection and one target.

use serde::{Deserialize, Serialize};

use super::{Brakes, ConnectionId, MappingId, TargetId};

/// Whether a mapping writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Compute and record what would be done, write nothing.
    #[default]
    Shadow,
    /// Write.
    Live,
    /// Queue, write nothing, compute nothing.
    Paused,
}

/// By which attribute an account that Usher does not know yet is found at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MatchKey {
    /// The computed user name.
    Username,
    /// The computed e-mail address.
    Email,
}

/// Something that a mapping may do to accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Make accounts.
    Create,
    /// Change display name and e-mail address.
    Update,
    /// Change the user name.
    Rename,
    /// Take access away from accounts.
    Deactivate,
    /// Give access back to accounts.
    Reactivate,
    /// Delete accounts (only with `on_delete = "delete"`).
    Delete,
}

/// What becomes of the account of a person whom the source deleted or put out of scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDelete {
    /// Deactivate the account, keep it and its foreign memberships.
    #[default]
    Deactivate,
    /// Take it out of the groups that Usher put it in, leave it active.
    RemoveGroups,
    /// Delete it.
    Delete,
    /// Leave it as it is.
    Keep,
}

/// `[mapping.users]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserRules {
    /// SCIM filter over the user; nobody else is provisioned. `None`: everyone.
    pub scope: Option<String>,
    /// Expression for the user name.
    pub username: String,
    /// Expression for the display name.
    pub display_name: String,
    /// Expression for the e-mail address.
    pub email: String,
    /// Keys by which an account that Usher does not know yet is found, in this order.
    pub match_by: Vec<MatchKey>,
    /// Whether an account found that way may be taken over.
    pub adopt: bool,
    /// What the mapping may do.
    pub operations: Vec<Operation>,
    /// What a deletion at the source means here.
    pub on_delete: OnDelete,
    /// User names (wildcards `*` and `?`) that are never changed.
    pub protect: Vec<String>,
    /// Takes over projects before their lead is deactivated.
    pub default_project_lead: Option<String>,
    /// Takes over components before their lead is deactivated.
    pub default_component_lead: Option<String>,
}

impl Default for UserRules {
    fn default() -> Self {
        Self {
            scope: None,
            // Embedded Crowd compares names without case, and Confluence refuses capitals.
            username: "userName | lower".to_owned(),
            display_name: "displayName or name.formatted or userName".to_owned(),
            email: "primary_email".to_owned(),
            match_by: vec![MatchKey::Username],
            adopt: false,
            operations: vec![
                Operation::Create,
                Operation::Update,
                Operation::Rename,
                Operation::Deactivate,
                Operation::Reactivate,
            ],
            on_delete: OnDelete::Deactivate,
            protect: vec!["admin".to_owned()],
            default_project_lead: None,
            default_component_lead: None,
        }
    }
}

/// `[mapping.groups]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupRules {
    /// Give each group of the source a group of the same name at the target.
    pub on_the_fly: bool,
    /// Make groups that the target does not have.
    pub create_missing: bool,
    /// Wildcards: only source groups with such a name. Empty: all.
    pub allow: Vec<String>,
    /// Wildcards: never these, whatever `allow` says.
    pub deny: Vec<String>,
    /// Leave memberships alone that the source does not know of.
    pub keep_existing: bool,
    /// Target groups (wildcards) whose members are never changed.
    pub protect: Vec<String>,
}

impl Default for GroupRules {
    fn default() -> Self {
        Self {
            on_the_fly: false,
            create_missing: false,
            allow: Vec::new(),
            // Everyone is in it, it cannot be deleted, and it says nothing.
            deny: vec!["All-Domain-Users".to_owned()],
            keep_existing: true,
            protect: vec![
                "jira-administrators".to_owned(),
                "jira-system-administrators".to_owned(),
                "confluence-administrators".to_owned(),
                "system-administrators".to_owned(),
            ],
        }
    }
}

/// The rules of one mapping.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MappingSettings {
    /// Whether it writes.
    pub mode: Mode,
    /// In shadow mode: for whom it writes all the same. Wildcards over user names and addresses, or, as
    /// `group:NAME`, over names of source groups.
    pub live_for: Vec<String>,
    /// Rules for accounts.
    pub users: UserRules,
    /// Rules for groups and memberships.
    pub groups: GroupRules,
    /// When removals wait for a person.
    pub brakes: Brakes,
}

impl MappingSettings {
    /// Whether the mapping may do `operation`.
    pub fn may(&self, operation: Operation) -> bool {
        self.users.operations.contains(&operation)
    }

    /// Who takes over what a leaver leads.
    pub fn successors(&self) -> LeadSuccessors {
        LeadSuccessors {
            project: self.users.default_project_lead.clone(),
            component: self.users.default_component_lead.clone(),
        }
    }
}

/// User names at the target that take over projects and components from an account before it is deactivated.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LeadSuccessors {
    /// For projects.
    pub project: Option<String>,
    /// For components.
    pub component: Option<String>,
}

/// A stored mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Identifier.
    pub id: MappingId,
    /// From this connection.
    pub connection_id: ConnectionId,
    /// To this target.
    pub target_id: TargetId,
    /// Rules.
    pub settings: MappingSettings,
}
