//! Everything that the store knows about one user at one target, read in one go.

use crate::clock::{Micros, rfc3339};
use crate::domain::{Account, ConnectionId, Desired, TargetId, UserId};
use crate::mapping::{self, Rules, SourceGroup, SourceUser};
use crate::scim::resource::Meta;
use crate::scim::{self, Doc, ResourceType};
use crate::store::ledger::Membership;
use crate::store::users::Reached;
use crate::store::{AnyConn, Error, Stored, ledger, users};

/// What the mirror states about a user.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) connection_id: ConnectionId,
    pub(super) user_name: String,
    pub(super) deleted: bool,
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
    /// Source group id to the name that the rules know it by.
    aliases: Vec<(String, String)>,
}

/// Reads a person. `None`: not even a tombstone is left.
pub(super) fn person(conn: &mut AnyConn, user: &UserId) -> Result<Option<Person>, Error> {
    let Some((connection_id, stored)) = users::find(conn, user)? else {
        return Ok(None);
    };
    let reached = users::all_groups_of(conn, user)?;
    let user_name = scim::resource::keys(ResourceType::User, &stored.doc).name;
    let deleted = stored.deleted_at.is_some();
    Ok(Some(Person {
        connection_id,
        user_name,
        deleted,
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
                new_account: false,
                given: &[],
            },
            &groups,
        )
    }
}

/// Reads the ledger.
pub(super) fn entry(
    conn: &mut AnyConn,
    target: &TargetId,
    user: &UserId,
    person: &Person,
) -> Result<Entry, Error> {
    let account = ledger::account(conn, target, user)?;
    let (memberships, in_flight_since) = match &account {
        Some(account) => (
            ledger::memberships(conn, &account.id)?,
            ledger::in_flight_since(conn, &account.id)?,
        ),
        None => (Vec::new(), None),
    };
    let source_groups: Vec<String> = person.reached.iter().map(|g| g.id.clone()).collect();
    Ok(Entry {
        account,
        memberships,
        in_flight_since,
        aliases: ledger::aliases(conn, target, &source_groups)?,
    })
}

impl Entry {
    /// Whether this source group is bound to a name already.
    pub(super) fn has_alias(&self, source_group: &str) -> bool {
        self.aliases
            .iter()
            .any(|(source, _)| source == source_group)
    }
}
