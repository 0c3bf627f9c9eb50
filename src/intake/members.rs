//! Membership edits: rows added and removed, and whom that touches.

use std::collections::{BTreeSet, HashSet};

use serde_json::json;

use super::{Error, Source};
use crate::clock::Micros;
use crate::domain::UserId;
use crate::scim::filter::{Compiled, Operand, Test};
use crate::scim::resource::{MemberEdit, MemberRef};
use crate::scim::{self, Doc, ResourceType};
use crate::store::groups::MemberType;
use crate::store::work::Priority;
use crate::store::{Link, Tx, groups, users, work};

/// Whom a change touches, gathered while it is made and marked once at its end.
#[derive(Debug, Default)]
pub(super) struct Affected {
    users: BTreeSet<String>,
    leavers: BTreeSet<String>,
    below: BTreeSet<String>,
}

impl Affected {
    /// Something about this user changed.
    pub(super) fn user(&mut self, id: &str) {
        self.users.insert(id.to_owned());
    }

    /// This user lost something: goes first.
    pub(super) fn leaver(&mut self, id: &str) {
        self.leavers.insert(id.to_owned());
    }

    /// Something about everyone in this group changed.
    pub(super) fn everyone_below(&mut self, group: &str) {
        self.below.insert(group.to_owned());
    }

    /// Writes the marks, in the order of ids: two transactions that mark the same users meet in one order.
    pub(super) fn mark(self, tx: &mut Tx<'_>, source: &Source, now: Micros) -> Result<(), Error> {
        for group in &self.below {
            work::mark_below(
                tx,
                &source.connection,
                group,
                Priority::Push,
                &source.cause,
                now,
            )?;
        }
        for id in self.users.union(&self.leavers) {
            let priority = if self.leavers.contains(id) {
                Priority::Leaver
            } else {
                Priority::Push
            };
            work::mark(
                tx,
                &source.connection,
                &UserId(id.clone()),
                priority,
                &source.cause,
                now,
            )?;
        }
        Ok(())
    }
}

/// Edits the members of a group. Returns whether anything changed.
pub(super) fn edit_members_of(
    tx: &mut Tx<'_>,
    source: &Source,
    group: &str,
    edits: &[MemberEdit],
    affected: &mut Affected,
) -> Result<bool, Error> {
    let mut changed = false;
    for edit in edits {
        match edit {
            MemberEdit::Add(members) => changed |= add(tx, source, group, members, affected)?,
            MemberEdit::Remove(ids) => changed |= remove(tx, group, ids, affected)?,
            MemberEdit::RemoveWhere(filter) => {
                let ids = match exact_value(filter) {
                    // The usual `members[value eq "…"]` must not read 20,000 rows to remove one.
                    Some(id) => vec![id.to_owned()],
                    None => {
                        let members = groups::members_of(tx.conn(), &[group.to_owned()], i64::MAX)?;
                        matching(&members, ResourceType::Group, filter)
                    }
                };
                changed |= remove(tx, group, &ids, affected)?;
            }
            MemberEdit::ReplaceAll(members) => {
                let wanted: HashSet<&str> = members.iter().map(|m| m.value.as_str()).collect();
                let gone: Vec<String> = groups::member_ids(tx.conn(), group)?
                    .into_iter()
                    .filter(|id| !wanted.contains(id.as_str()))
                    .collect();
                changed |= remove(tx, group, &gone, affected)?;
                changed |= add(tx, source, group, members, affected)?;
            }
        }
    }
    Ok(changed)
}

/// Edits the groups that a user is a direct member of (an IDCS form, see `scim::quirks`). Returns whether
/// anything changed.
pub(super) fn edit_groups_of(
    tx: &mut Tx<'_>,
    source: &Source,
    user: &str,
    edits: &[MemberEdit],
    now: Micros,
    affected: &mut Affected,
) -> Result<bool, Error> {
    let mut changed = false;
    for edit in edits {
        let own = if matches!(edit, MemberEdit::RemoveWhere(_) | MemberEdit::ReplaceAll(_)) {
            users::groups_of(tx.conn(), &[user.to_owned()])?
        } else {
            Vec::new()
        };
        let (add, remove): (Vec<String>, Vec<String>) = match edit {
            MemberEdit::Add(groups) => (values(groups), Vec::new()),
            MemberEdit::Remove(ids) => (Vec::new(), ids.clone()),
            MemberEdit::RemoveWhere(filter) => {
                (Vec::new(), matching(&own, ResourceType::User, filter))
            }
            MemberEdit::ReplaceAll(groups) => {
                let wanted = values(groups);
                let gone = own
                    .iter()
                    .map(|g| g.id.clone())
                    .filter(|id| !wanted.contains(id))
                    .collect();
                (wanted, gone)
            }
        };
        let mut ids: Vec<&String> = add.iter().chain(&remove).collect();
        ids.sort();
        ids.dedup();
        for id in ids {
            let joining = add.contains(id);
            let Some(locked) = groups::lock(tx, &source.connection, id)? else {
                if joining {
                    return Err(scim::Error::invalid_value(format!(
                        "groups: there is no group {id}"
                    ))
                    .into());
                }
                continue;
            };
            let touched = if joining {
                groups::add_member(tx, id, user, MemberType::User)?
            } else {
                groups::remove_member(tx, id, user)?.is_some()
            };
            if touched {
                groups::save(tx, &locked, &locked.doc, now)?;
                if joining {
                    affected.user(user)
                } else {
                    affected.leaver(user)
                }
                changed = true;
            } else {
                groups::unlock(tx, &locked)?;
            }
        }
    }
    Ok(changed)
}

fn add(
    tx: &mut Tx<'_>,
    source: &Source,
    group: &str,
    members: &[MemberRef],
    affected: &mut Affected,
) -> Result<bool, Error> {
    let mut ids = values(members);
    ids.sort();
    ids.dedup();
    let people: HashSet<String> = users::hold(tx, &source.connection, &ids)?
        .into_iter()
        .collect();
    let others: Vec<String> = ids
        .iter()
        .filter(|id| !people.contains(*id))
        .cloned()
        .collect();
    let nested: HashSet<String> = groups::hold(tx, &source.connection, &others)?
        .into_iter()
        .collect();
    let mut changed = false;
    for id in &ids {
        if id == group {
            return Err(scim::Error::invalid_value("a group cannot be a member of itself").into());
        }
        let member_type = match (people.contains(id), nested.contains(id)) {
            (true, _) => MemberType::User,
            (_, true) => MemberType::Group,
            _ => MemberType::Unknown,
        };
        if groups::add_member(tx, group, id, member_type)? {
            changed = true;
            match member_type {
                MemberType::User => affected.user(id),
                MemberType::Group => affected.everyone_below(id),
                // RFC 7644 asks no server to check members, and clients rely on that.
                MemberType::Unknown => {
                    tracing::warn!(group, member = %id, "a member is stated that does not exist here");
                }
            }
        }
    }
    Ok(changed)
}

fn remove(
    tx: &mut Tx<'_>,
    group: &str,
    ids: &[String],
    affected: &mut Affected,
) -> Result<bool, Error> {
    let mut changed = false;
    for id in ids {
        let Some(member_type) = groups::remove_member(tx, group, id)? else {
            continue;
        };
        changed = true;
        match member_type {
            MemberType::User => affected.leaver(id),
            MemberType::Group => affected.everyone_below(id),
            // Nobody here, and perhaps somebody of another connection: no mark may follow from it.
            MemberType::Unknown => {}
        }
    }
    Ok(changed)
}

fn values(members: &[MemberRef]) -> Vec<String> {
    members.iter().map(|m| m.value.clone()).collect()
}

/// The id in a filter that is just `value eq "id"`.
fn exact_value(filter: &Compiled) -> Option<&str> {
    match filter {
        Compiled::Test {
            path,
            test: Test::Eq(Operand::Text(id)),
        } if path.len() == 1 && path[0] == "value" => Some(id),
        _ => None,
    }
}

fn member_type_name(member_type: MemberType) -> Option<&'static str> {
    match member_type {
        MemberType::User => Some("User"),
        MemberType::Group => Some("Group"),
        MemberType::Unknown => None,
    }
}

/// The far ends of the links that a value filter selects.
fn matching(links: &[Link], near: ResourceType, filter: &Compiled) -> Vec<String> {
    let attribute = match near {
        ResourceType::User => "groups",
        ResourceType::Group => "members",
    };
    links
        .iter()
        .filter(|link| {
            let element = json!({
                "value": link.id,
                "display": link.display,
                "type": member_type_name(link.member_type),
            });
            let mut doc = Doc::new();
            doc.insert(attribute.to_owned(), json!([element]));
            filter.matches(&scim::fold::fold(near, &doc)[attribute][0])
        })
        .map(|link| link.id.clone())
        .collect()
}
