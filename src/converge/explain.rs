//! Why a person has, or does not have, what they have at each target.

use serde::Serialize;

use std::collections::BTreeMap;
use std::fmt;

use super::load::{self, Entry};
use super::look;
use super::plan::{Current, GroupState, Means, Undone, plan};
use super::record::describe;
use super::worker::Shield;
use crate::clock::{Micros, rfc3339};
use crate::domain::{
    Action, Desired, DesiredAccount, DesiredGroup, Holdings, MappingSettings, MatchKey, Mode,
    Presence, Standing, TargetKind, UserId,
};
use crate::mapping::Rules;
use crate::scim::fold::fold_text;
use crate::store::drift::{self, Drift};
use crate::store::pause::{self, Pause};
use crate::store::work::Health;
use crate::store::{AnyConn, Error, audit, settings, work};
use crate::targets::{self, ByEmail, Capabilities, Protected};

/// How many past operations are shown for each person.
const HISTORY: i64 = 50;

/// One person across every target.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Explanation {
    /// SCIM id.
    pub id: String,
    /// User name at the source.
    pub user_name: String,
    /// Name of the connection that the person comes from.
    pub connection: String,
    /// Whether the source has deleted the person.
    pub deleted: bool,
    /// Set while nothing is written for this person because somebody stopped it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<PauseView>,
    /// One view for each target that a mapping leads to.
    pub targets: Vec<TargetView>,
    /// The newest operations, newest first.
    pub history: Vec<Operation>,
}

/// Who stopped what is written for a person.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct PauseView {
    /// Since when (RFC 3339).
    pub since: String,
    /// Who.
    pub by: String,
    /// Why, if it was said.
    pub reason: Option<String>,
}

impl fmt::Display for PauseView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "paused since {} by {}", self.since, self.by)?;
        match &self.reason {
            Some(why) => write!(f, " ({why})"),
            None => Ok(()),
        }
    }
}

impl From<Pause> for PauseView {
    fn from(pause: Pause) -> Self {
        Self {
            since: rfc3339(pause.at),
            by: pause.by,
            reason: pause.reason,
        }
    }
}

/// One person at one target.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct TargetView {
    /// Name of the target.
    pub target: String,
    /// `shadow`, `live` or `paused`.
    pub mode: Mode,
    /// What the rules want, each part with its rule.
    pub desired: DesiredView,
    /// What the ledger says is there.
    pub account: Option<AccountView>,
    /// What is still to be done, and why it is not done.
    pub work: Option<WorkView>,
    /// What keeps Usher from changing something here: rules, protections, what the product cannot do, and what
    /// stops the whole target.
    pub notes: Vec<String>,
}

/// What the rules want.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct DesiredView {
    /// `active`, `inactive`, `deleted` or `out_of_scope`.
    pub presence: Presence,
    /// The account.
    pub account: Option<DesiredAccount>,
    /// Why the rules give no account, if they give none.
    pub no_account: Option<String>,
    /// The groups.
    pub groups: Vec<DesiredGroup>,
    /// One line a rule.
    pub because: Vec<String>,
}

impl From<Desired> for DesiredView {
    fn from(desired: Desired) -> Self {
        let (account, no_account) = match desired.account {
            Ok(account) => (Some(account), None),
            Err(why) => (None, Some(why)),
        };
        Self {
            presence: desired.presence,
            account,
            no_account,
            groups: desired.groups,
            because: desired.because,
        }
    }
}

/// The ledger's account.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct AccountView {
    /// The product's own stable key.
    pub remote_id: Option<String>,
    /// User name.
    pub username: String,
    /// Display name.
    pub display_name: String,
    /// E-mail address.
    pub email: String,
    /// Whether it can sign in.
    pub active: bool,
    /// `created` or `adopted`.
    pub owner: String,
    /// `expected`, `present` or `absent`.
    pub standing: String,
    /// Memberships with their owners.
    pub groups: Vec<MembershipView>,
    /// What was taken from it when the person left, to be given back on return.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<Holdings>,
}

/// One membership.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct MembershipView {
    /// Name of the group.
    pub group: String,
    /// `created`, `adopted` or `foreign`.
    pub owner: String,
    /// Whether the rules want it.
    pub wanted: bool,
}

/// An open work item.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct WorkView {
    /// `pending`, `waiting`, `held`, `rejected` or `shadow`.
    pub state: String,
    /// Why it has not ended, in the product's words where there are any.
    pub reason: Option<String>,
    /// Failed attempts.
    pub attempts: i32,
    /// When it is tried (again), if it is pending.
    pub due_at: Option<String>,
    /// What marked it.
    pub cause: String,
}

/// One operation of the past.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Operation {
    /// When.
    pub at: String,
    /// Name of the target.
    pub target: String,
    /// `create_user`, `add_member`, …
    pub operation: String,
    /// The same in words, with what it was done to.
    pub text: String,
    /// The operation in full.
    pub detail: serde_json::Value,
    /// `done`, `already`, `recovered` or `rejected`.
    pub outcome: String,
    /// The product's words, or what was done on the way.
    pub message: Option<String>,
    /// What set it off.
    pub cause: String,
}

/// That an account is not as Usher left it, and what is to be done about it.
fn changed_by_hand(found: &Drift) -> String {
    let what = found.differences.join("; ");
    match &found.decided_by {
        Some(by) if found.is_accepted => format!("changed by hand, and accepted by {by}: {what}"),
        _ => format!("changed by hand: {what}; `usher drift` shows what to decide"),
    }
}

/// Explains one person. Reads the store alone, never a target.
pub fn explain(
    conn: &mut AnyConn,
    user: &UserId,
    now: Micros,
) -> Result<Option<Explanation>, Error> {
    let Some(person) = load::person(conn, user)? else {
        return Ok(None);
    };
    let configuration = settings::load(conn)?;
    let items = work::of_user(conn, user)?;
    let target_name = |id: &str| -> String {
        configuration
            .targets
            .iter()
            .find(|t| t.id.as_str() == id)
            .map_or_else(|| id.to_owned(), |t| t.settings.name.clone())
    };
    let mut targets = Vec::new();
    for mapping in configuration
        .mappings
        .iter()
        .filter(|m| m.connection_id == person.connection_id)
    {
        let rules = Rules::of(mapping, &configuration.connections)
            .map_err(|e| Error::Corrupt(format!("{}: {}", e.key, e.text)))?;
        let entry = load::entry(conn, &mapping.target_id, user, &person)?;
        let desired = person.desired(&rules, &entry);
        let work = items
            .iter()
            .find(|i| i.target_id == mapping.target_id.as_str())
            .map(|item| WorkView {
                state: item.state.clone(),
                reason: item.last_error.clone(),
                attempts: item.attempts,
                due_at: matches!(item.state.as_str(), "pending" | "grace")
                    .then(|| rfc3339(item.due_at)),
                cause: item.cause.clone(),
            });
        let mut notes = Vec::new();
        let undone = entry.undone();
        if undone != Undone::default() {
            notes.push(format!("{}; `usher held` until released", undone.because));
        }
        if let Some(found) = drift::of_user(conn, &mapping.target_id, user)? {
            notes.push(changed_by_hand(&found));
        }
        if let Some(target) = configuration
            .targets
            .iter()
            .find(|t| t.id == mapping.target_id)
        {
            let health = work::health(conn, &mapping.target_id)?;
            notes.extend(person.pause.as_ref().map(stopped_for));
            notes.extend(stops(
                person.mode_of_mapping(&rules, &desired),
                health.as_ref(),
            ));
            let paused = pause::paused(conn)?.into_iter();
            notes.extend(
                paused
                    .filter(|(id, _)| *id == mapping.target_id)
                    .map(|(_, pause)| stopped(&pause)),
            );
            notes.extend(limits(&rules, target.settings.kind, &desired, &entry, now));
            if entry.account.is_none() {
                let can = targets::capabilities(target.settings.kind);
                notes.extend(unfound(&mapping.settings, can));
            }
        }
        let account = entry.account.map(|account| AccountView {
            groups: entry
                .memberships
                .iter()
                .map(|m| MembershipView {
                    group: m.group.clone(),
                    owner: m.owner.as_str().to_owned(),
                    wanted: desired
                        .groups
                        .iter()
                        .any(|g| fold_text(&g.name) == fold_text(&m.group)),
                })
                .collect(),
            taken: account.taken,
            remote_id: account.remote_id,
            username: account.username,
            display_name: account.display_name,
            email: account.email,
            active: account.active,
            owner: account.owner.as_str().to_owned(),
            standing: format!("{:?}", account.standing).to_lowercase(),
        });
        targets.push(TargetView {
            target: target_name(mapping.target_id.as_str()),
            mode: person.mode(&rules, &desired),
            notes,
            desired: desired.into(),
            account,
            work,
        });
    }
    let history = audit::of_user(conn, user, HISTORY)?
        .into_iter()
        .map(|row| Operation {
            at: rfc3339(row.at),
            target: row
                .target_id
                .as_deref()
                .map_or_else(String::new, target_name),
            text: serde_json::from_str::<Action>(&row.detail)
                .map_or_else(|_| row.operation.clone(), |action| describe(&action)),
            operation: row.operation,
            detail: serde_json::from_str(&row.detail).unwrap_or_default(),
            outcome: row.outcome,
            message: row.message,
            cause: row.cause,
        })
        .collect();
    Ok(Some(Explanation {
        id: user.0.clone(),
        connection: configuration
            .connections
            .iter()
            .find(|c| c.id == person.connection_id)
            .map_or_else(
                || person.connection_id.0.clone(),
                |c| c.settings.name.clone(),
            ),
        deleted: person.deleted,
        paused: person.pause.map(Into::into),
        user_name: person.user_name,
        targets,
        history,
    }))
}

/// By what an account that is there is not found, although the rules say so.
fn unfound(settings: &MappingSettings, can: &Capabilities) -> Option<String> {
    let how = match can.by_email {
        ByEmail::Everybody => return None,
        ByEmail::NameIsAddress => {
            "finds an account by its e-mail address only if that is its user name"
        }
        ByEmail::Nobody => "finds no account by its e-mail address",
    };
    let asked = settings.users.match_by.contains(&MatchKey::Email);
    asked.then(|| format!("match_by: {} {how}", can.product))
}

/// The pause of a target in words.
fn stopped(pause: &Pause) -> String {
    format!(
        "the target is {}: `usher resume` lets it go on",
        PauseView::from(pause.clone())
    )
}

/// The pause of a person in words.
pub(super) fn stopped_for(pause: &Pause) -> String {
    format!(
        "nothing is written for this person: {}; `usher resume --user` lets it go on",
        PauseView::from(pause.clone())
    )
}

/// What stops everyone at a target.
fn stops(mode: Mode, health: Option<&Health>) -> Vec<String> {
    let mut notes = Vec::new();
    match mode {
        Mode::Live => {}
        Mode::Shadow => notes.push(
            "the mapping is in shadow mode: nothing is written; `usher plan` shows what would be"
                .to_owned(),
        ),
        Mode::Paused => notes.push(
            "the mapping is paused: changes queue up and nothing is written; mode = \"live\" goes on"
                .to_owned(),
        ),
    }
    if let Some(health) = health.filter(|health| health.state != "up") {
        notes.push(format!(
            "the target is {}: {}{}",
            health.state,
            health.last_error.as_deref().unwrap_or("no reason recorded"),
            health.retry_at.map_or_else(String::new, |at| format!(
                "; tried again at {}",
                rfc3339(at)
            )),
        ));
    }
    notes
}

/// What the rules, their protections and the product's nature keep from being done, as far as the ledger shows;
/// what the target itself protects is known to the engine alone.
fn limits(
    rules: &Rules,
    kind: TargetKind,
    desired: &Desired,
    entry: &Entry,
    now: Micros,
) -> Vec<String> {
    let shield = Shield {
        rules,
        target: Protected::default(),
    };
    let account = entry
        .account
        .as_ref()
        .filter(|a| a.standing != Standing::Absent);
    let current = account.map_or_else(Current::default, |account| {
        look::trusted(account, entry, rules)
    });
    // Whether a group is there shows when it is needed; here it is assumed.
    let groups: BTreeMap<String, GroupState> = desired
        .groups
        .iter()
        .map(|group| (fold_text(&group.name), GroupState::Exists))
        .collect();
    let means = Means {
        settings: rules.settings(),
        capabilities: targets::capabilities(kind),
        now,
    };
    let plan = plan(desired, means, &current, &groups, &shield);
    plan.notes.into_iter().chain(plan.waiting).collect()
}
