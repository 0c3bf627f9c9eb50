//! Everything that the store knows about one user at one target, read in one go.

use std::collections::HashMap;

use super::plan::Undone;
use crate::clock::{Micros, rfc3339};
use crate::domain::{Account, ConnectionId, Desired, Mode, Owner, Standing, TargetId, UserId};
use crate::mapping::{self, Rules, SourceGroup, SourceUser};
use crate::scim::fold::fold_text;
use crate::scim::resource::Meta;
use crate::scim::{self, Doc, ResourceType};
use crate::store::brakes::{self, Hold};
use crate::store::ledger::Membership;
use crate::store::pause::Pause;
use crate::store::users::Reached;
use crate::store::{AnyConn, Error, Stored, groups, ledger, users};

/// What the mirror states about a user.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) connection_id: ConnectionId,
    pub(super) user_name: String,
    pub(super) deleted: bool,
    granted: bool,
    /// Who stopped what is written for this person.
    pub(super) pause: Option<Pause>,
    doc: Doc,
    reached: Vec<Reached>,
}

/// What the ledger states about a user at a target.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) account: Option<Account>,
    pub(super) memberships: Vec<Membership>,
    /// Since when the account is in flight, if it is.
    pub(super) in_flight_since: Option<Micros>,
    /// Since when the person is not wanted, as far as is known.
    pub(super) unwanted_since: Option<Micros>,
    /// Default groups that the account was given when Usher made it.
    given: Vec<String>,
    /// What brakes hold of this user here, and what a person decided about it.
    pub(super) holds: Vec<Hold>,
    /// Source group id to the name that the rules know it by.
    aliases: Vec<(String, String)>,
}

/// Reads a person. `None`: not even a tombstone is left.
pub(super) fn person(conn: &mut AnyConn, user: &UserId) -> Result<Option<Person>, Error> {
    let Some((connection_id, stored)) = users::find(conn, user)? else {
        return Ok(None);
    };
    let reached = users::all_groups_of(conn, user)?;
    let (granted, pause) = users::apart(conn, user)?;
    let user_name = scim::resource::keys(ResourceType::User, &stored.doc).name;
    let deleted = stored.deleted_at.is_some();
    Ok(Some(Person {
        connection_id,
        user_name,
        deleted,
        granted,
        pause,
        doc: rendered(&stored, &reached),
        reached,
    }))
}

/// The user as rules see it: the SCIM resource with its groups.
fn rendered(stored: &Stored, reached: &[Reached]) -> Doc {
    let meta = Meta {
        id: stored.id.clone(),
        created: rfc3339(stored.created_at),
        last_modified: rfc3339(stored.modified_at),
        version: String::new(),
        location: String::new(),
    };
    let groups = reached
        .iter()
        .map(|group| {
            serde_json::json!({
                "value": group.id,
                "display": group.name,
                "type": if group.direct { "direct" } else { "indirect" },
            })
        })
        .collect();
    scim::resource::render(ResourceType::User, &stored.doc, &meta, Some(groups))
}

impl Person {
    /// What the rules want, given the names under which source groups are known at the target.
    pub(super) fn desired(&self, rules: &Rules, entry: &Entry) -> Desired {
        self.desired_for(rules, entry, entry.stage())
    }

    /// The same for an account that turned out to be something else than the ledger knows.
    pub(super) fn desired_for(&self, rules: &Rules, entry: &Entry, stage: Stage) -> Desired {
        let groups: Vec<SourceGroup> = self
            .reached
            .iter()
            .map(|group| SourceGroup {
                id: group.id.clone(),
                name: group.name.clone(),
                alias: entry
                    .aliases
                    .iter()
                    .find(|(source, _)| *source == group.id)
                    .map(|(_, name)| name.clone()),
                via: (!group.direct).then(|| "nested groups".to_owned()),
            })
            .collect();
        mapping::desired(
            rules,
            &SourceUser {
                doc: &self.doc,
                deleted: self.deleted,
                granted: self.granted,
                new_account: stage == Stage::New,
                given: match stage {
                    Stage::Found => &[],
                    Stage::New | Stage::Made => &entry.given,
                },
            },
            &groups,
        )
    }

    /// Whether the rules write for this person: where a mapping is in shadow mode, a few may be live; and somebody may
    /// have stopped what is written for this one.
    pub(super) fn mode(&self, rules: &Rules, desired: &Desired) -> Mode {
        if self.pause.is_some() {
            return Mode::Paused;
        }
        self.mode_of_mapping(rules, desired)
    }

    /// The same, whatever was stopped for this person alone.
    pub(super) fn mode_of_mapping(&self, rules: &Rules, desired: &Desired) -> Mode {
        let account = desired.account.as_ref().ok();
        let names = [
            Some(self.user_name.as_str()),
            account.map(|account| account.username.as_str()),
            account.and_then(|account| account.email.as_deref()),
        ];
        let groups = self.reached.iter().map(|group| group.name.as_str());
        rules.mode_for(names.into_iter().flatten(), groups)
    }
}

/// The next groups of a connection after the one of id `after`, as the rules know them at a target.
pub fn source_groups(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    target: &TargetId,
    after: &str,
    limit: i64,
) -> Result<Vec<SourceGroup>, Error> {
    let names = groups::names(conn, connection, after, limit)?;
    let ids: Vec<String> = names.iter().map(|(id, _)| id.clone()).collect();
    let mut aliases: HashMap<String, String> =
        ledger::aliases(conn, target, &ids)?.into_iter().collect();
    Ok(names
        .into_iter()
        .map(|(id, name)| SourceGroup {
            alias: aliases.remove(&id),
            id,
            name,
            via: None,
        })
        .collect())
}

/// Reads the ledger.
pub(super) fn entry(
    conn: &mut AnyConn,
    target: &TargetId,
    user: &UserId,
    person: &Person,
) -> Result<Entry, Error> {
    let account = ledger::account(conn, target, user)?;
    let (mut memberships, mut given) = (Vec::new(), Vec::new());
    let (mut in_flight_since, mut unwanted_since) = (None, None);
    if let Some(account) = &account {
        memberships = ledger::memberships(conn, &account.id)?;
        given = ledger::given_groups(conn, &account.id)?;
        in_flight_since = ledger::in_flight_since(conn, &account.id)?;
        unwanted_since = ledger::unwanted_since(conn, &account.id)?;
    }
    let source_groups: Vec<String> = person.reached.iter().map(|g| g.id.clone()).collect();
    Ok(Entry {
        account,
        memberships,
        in_flight_since,
        unwanted_since,
        given,
        holds: brakes::of_subject(conn, target, user.as_str())?,
        aliases: ledger::aliases(conn, target, &source_groups)?,
    })
}

/// What the default groups depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is no account: Usher would make one.
    New,
    /// Usher made it.
    Made,
    /// It was there before Usher.
    Found,
}

impl Entry {
    /// The same for the user who takes the account over.
    pub(super) fn handed_over(mut self, to: &UserId) -> Self {
        if let Some(account) = &mut self.account {
            account.user_id = to.clone();
        }
        self
    }

    /// What an undo gives back.
    pub(super) fn undone(&self) -> Undone {
        let mut undone = Undone::default();
        for hold in self.holds.iter().filter(|hold| hold.is_undone()) {
            let owner = match hold.gives_back.as_deref() {
                Some("created") => Owner::Created,
                Some("adopted") => Owner::Adopted,
                _ => Owner::Foreign,
            };
            undone.because.clone_from(&hold.reason);
            if hold.group.is_empty() {
                undone.access = true;
            } else {
                undone.groups.push((hold.group.clone(), owner));
            }
        }
        undone
    }

    /// Whether the ledger has the account in a group.
    pub(super) fn is_member(&self, group: &str) -> bool {
        let folded = fold_text(group);
        let mut groups = self.memberships.iter();
        groups.any(|membership| fold_text(&membership.group) == folded)
    }

    /// As the ledger knows it.
    pub(super) fn stage(&self) -> Stage {
        match &self.account {
            None => Stage::New,
            Some(account) if account.standing == Standing::Absent => Stage::New,
            Some(account) if account.owner == Owner::Created => Stage::Made,
            Some(_) => Stage::Found,
        }
    }

    /// Whether this source group is bound to a name already.
    pub(super) fn has_alias(&self, source_group: &str) -> bool {
        self.aliases
            .iter()
            .any(|(source, _)| source == source_group)
    }
}
