//! A mapping: the rules between one connection and one target.

use serde::{Deserialize, Serialize};

use super::{Brakes, ConnectionId, MappingId, TargetId};

/// Whether a mapping writes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
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

/// What becomes of an account that is not as Usher left it: somebody changed it at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDrift {
    /// A person decides.
    #[default]
    Ask,
    /// It is made again what the source and the rules want.
    Push,
    /// It stays until the source says something new about the very thing.
    Accept,
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
    /// With `on_delete = "delete"`: for so many seconds the account is only deactivated.
    pub delete_after_s: Option<u64>,
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
            delete_after_s: None,
            protect: vec!["admin".to_owned()],
            default_project_lead: None,
            default_component_lead: None,
        }
    }
}

/// Which groups of the source a manual rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceNames {
    /// The one of this name, without regard to case.
    From(String),
    /// All whose name matches this pattern.
    Matching(String),
}

/// A manual rule: `{ from = "Engineering", to = ["developers"] }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManualRule {
    /// Members of these groups of the source ...
    #[serde(flatten)]
    pub source: SourceNames,
    /// ... are put into these groups of the target.
    pub to: Vec<String>,
    /// Whether members of those target groups stay whom the source does not have in them.
    pub keep_members: bool,
    /// Whether the on-the-fly rules apply to these source groups as well.
    pub also_on_the_fly: bool,
}

/// A rule that gives a group of the source another name at the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RewriteRule {
    /// Regular expression; what it matches is replaced.
    pub from: String,
    /// By this, with `$1` or `${name}` for what was captured.
    pub to: String,
}

/// An attribute of the user whose values count as names of groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupAttribute {
    /// Where in the SCIM user.
    pub path: String,
    /// One value holds several names, with any of these characters between them.
    pub split: String,
}

/// What an on-the-fly rule makes of a group of the same name that is there already and is not Usher's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExistingGroups {
    /// It is used: Usher adds and removes its own memberships.
    #[default]
    Adopt,
    /// It is left alone.
    Skip,
}

/// `[mapping.groups]`
///
/// Patterns are wildcards (`jira-*`) or regular expressions between slashes (`/^team-[0-9]+$/`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupRules {
    /// Patterns: only groups of the source with such a name are considered, by any rule. Empty: all.
    pub only: Vec<String>,
    /// Named source groups and where they lead. They come first.
    pub manual: Vec<ManualRule>,
    /// Give each group of the source a group of the same name at the target.
    pub on_the_fly: bool,
    /// Make groups that the target does not have.
    pub create_missing: bool,
    /// What becomes of groups of the same name that Usher did not make.
    pub existing_groups: ExistingGroups,
    /// Patterns: on the fly only source groups with such a name. Empty: all.
    pub allow: Vec<String>,
    /// Patterns: never these on the fly, whatever `allow` says.
    pub deny: Vec<String>,
    /// Names on the fly are rewritten by the first of these that matches.
    pub rewrite: Vec<RewriteRule>,
    /// Leave memberships alone that the source does not know of.
    pub keep_existing: bool,
    /// Target groups (patterns) whose members are never changed.
    pub protect: Vec<String>,
    /// Target groups that everyone is in.
    pub for_all: Vec<String>,
    /// Target groups that an account is put into when Usher makes it.
    pub for_new: Vec<String>,
    /// Attributes whose values count as names of source groups, besides those of the connection.
    pub group_attributes: Vec<GroupAttribute>,
}

impl Default for GroupRules {
    fn default() -> Self {
        Self {
            only: Vec::new(),
            manual: Vec::new(),
            on_the_fly: false,
            create_missing: false,
            existing_groups: ExistingGroups::Adopt,
            allow: Vec::new(),
            // Everyone is in it, it cannot be deleted, and it says nothing.
            deny: vec!["All-Domain-Users".to_owned()],
            rewrite: Vec::new(),
            keep_existing: true,
            protect: vec![
                "jira-administrators".to_owned(),
                "jira-system-administrators".to_owned(),
                "confluence-administrators".to_owned(),
                "system-administrators".to_owned(),
            ],
            for_all: Vec::new(),
            for_new: Vec::new(),
            group_attributes: Vec::new(),
        }
    }
}

impl GroupRules {
    /// Whether members of the target group `name` stay whom the source does not have in it.
    pub fn keeps_members(&self, name: &str) -> bool {
        self.keep_existing && !self.compares_members(name)
    }

    /// Whether a rule expressly asks that whoever the source does not have in this group is taken out of it, also
    /// people whom no source knows.
    pub fn compares_members(&self, name: &str) -> bool {
        let folded = name.to_lowercase();
        self.manual
            .iter()
            .filter(|rule| !rule.keep_members)
            .flat_map(|rule| &rule.to)
            .any(|to| to.trim().to_lowercase() == folded)
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
    /// What becomes of accounts that somebody changed at the target by hand.
    pub drift: OnDrift,
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
