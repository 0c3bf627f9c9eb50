//! Groups whose members at a target are compared with what the source wants.
//!
//! A row is a level, as a work item is: "somebody may be in this group whom the source does not have in it". It
//! stays from one look to the next, as nothing tells when somebody is put into a group by hand; `due_at` is when
//! it is looked at next. A group that is only compared once, because it was taken over, goes after that.

use diesel::prelude::*;

use super::conn::{AnyConn, Tx, on_each};
use super::error::Error;
use super::schema::group_item;
use crate::clock::Micros;
use crate::domain::{GroupRules, TargetId};
use crate::scim::fold::fold_text;

/// A group that a worker holds a lease on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedGroup {
    /// Where.
    pub target_id: TargetId,
    /// Its name, as the target writes it where that is known.
    pub name: String,
    /// The mark that the worker answers.
    pub generation: i64,
    /// Failed attempts before this one.
    pub attempts: i32,
    /// Keys of accounts that the last look took out of it, to be checked once more.
    pub removed: Vec<String>,
    /// What marked it last.
    pub cause: String,
    /// Who holds the lease.
    pub lease_owner: String,
}

/// What the last look at a group found.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct GroupNote {
    /// Where.
    pub target_id: String,
    /// Its name.
    pub name: String,
    /// When it is looked at next.
    pub due_at: Micros,
    /// In words.
    pub note: Option<String>,
}

/// Asks for a look at a group.
pub fn mark(
    tx: &mut Tx<'_>,
    target: &TargetId,
    name: &str,
    cause: &str,
    now: Micros,
) -> Result<(), Error> {
    on_each!(tx.conn(), |c| diesel::insert_into(group_item::table)
        .values((
            group_item::target_id.eq(target.as_str()),
            group_item::group_ci.eq(fold_text(name)),
            group_item::group_name.eq(name),
            group_item::generation.eq(1),
            group_item::attempts.eq(0),
            group_item::due_at.eq(now),
            group_item::removed.eq("[]"),
            group_item::cause.eq(cause),
        ))
        .on_conflict((group_item::target_id, group_item::group_ci))
        .do_update()
        .set((
            group_item::generation.eq(group_item::generation + 1),
            group_item::attempts.eq(0),
            group_item::due_at.eq(now),
            group_item::cause.eq(cause),
        ))
        .execute(c))?;
    Ok(())
}

/// Asks for a look at the groups whose members the rules compare with the source.
pub fn mark_asked(
    tx: &mut Tx<'_>,
    target: &TargetId,
    rules: &GroupRules,
    cause: &str,
    now: Micros,
) -> Result<(), Error> {
    let named = rules.manual.iter().flat_map(|rule| &rule.to);
    for name in named.filter(|name| rules.compares_members(name)) {
        mark(tx, target, name.trim(), cause, now)?;
    }
    Ok(())
}

/// Brings the next look at a group nearer if the last one came to nothing: there is somebody in it now.
pub fn hasten(tx: &mut Tx<'_>, target: &TargetId, name: &str, due_at: Micros) -> Result<(), Error> {
    diesel::update(
        group_item::table
            .find((target.as_str(), fold_text(name)))
            .filter(group_item::attempts.gt(0))
            .filter(group_item::due_at.gt(due_at)),
    )
    .set(group_item::due_at.eq(due_at))
    .execute(tx.conn())?;
    Ok(())
}

/// Whether a group of a target is due.
pub fn is_due(conn: &mut AnyConn, target: &TargetId, now: Micros) -> Result<bool, Error> {
    let due = group_item::table
        .filter(group_item::target_id.eq(target.as_str()))
        .filter(group_item::due_at.le(now));
    Ok(diesel::select(diesel::dsl::exists(due)).get_result(conn)?)
}

/// Takes a lease on the group that has been due for longest. One group of a target at a time, whoever asks: a
/// listing of many members is a burden for a product.
pub fn claim(
    tx: &mut Tx<'_>,
    target: &TargetId,
    owner: &str,
    now: Micros,
    lease_until: Micros,
) -> Result<Option<ClaimedGroup>, Error> {
    let of_target = || group_item::table.filter(group_item::target_id.eq(target.as_str()));
    let leased: i64 = of_target()
        .filter(group_item::lease_until.ge(now))
        .count()
        .get_result(tx.conn())?;
    if leased > 0 {
        return Ok(None);
    }
    let first: Option<String> = of_target()
        .filter(group_item::due_at.le(now))
        .order((group_item::due_at, group_item::group_ci))
        .select(group_item::group_ci)
        .first(tx.conn())
        .optional()?;
    let Some(group_ci) = first else {
        return Ok(None);
    };
    type Row = (String, i64, i32, String, String);
    // The condition again: on PostgreSQL another server may have been faster.
    let row: Option<Row> = on_each!(tx.conn(), |c| diesel::update(
        group_item::table.find((target.as_str(), &group_ci)).filter(
            group_item::lease_until
                .is_null()
                .or(group_item::lease_until.lt(now))
        ),
    )
    .set((
        group_item::lease_owner.eq(owner),
        group_item::lease_until.eq(lease_until),
    ))
    .returning((
        group_item::group_name,
        group_item::generation,
        group_item::attempts,
        group_item::removed,
        group_item::cause,
    ))
    .get_result(c)
    .optional())?;
    Ok(row.map(
        |(name, generation, attempts, removed, cause)| ClaimedGroup {
            target_id: target.clone(),
            name,
            generation,
            attempts,
            removed: serde_json::from_str(&removed).unwrap_or_default(),
            cause,
            lease_owner: owner.to_owned(),
        },
    ))
}

macro_rules! held_by {
    ($item:expr) => {
        group_item::table
            .find(($item.target_id.as_str(), fold_text(&$item.name)))
            .filter(group_item::lease_owner.eq($item.lease_owner.as_str()))
    };
}

/// Keeps a group for longer. False: the lease was lost, and the worker must stop.
pub fn renew(tx: &mut Tx<'_>, item: &ClaimedGroup, lease_until: Micros) -> Result<bool, Error> {
    Ok(diesel::update(held_by!(item))
        .set(group_item::lease_until.eq(lease_until))
        .execute(tx.conn())?
        > 0)
}

/// What a look ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// When to look again. `None`: no more.
    pub again_at: Option<Micros>,
    /// What was found, in words.
    pub note: String,
    /// Keys of accounts that were taken out and are checked once more.
    pub removed: Vec<String>,
    /// Whether it came to nothing.
    pub failed: bool,
}

/// Ends a look. Whoever was marked in the meantime stays due.
pub fn finish(tx: &mut Tx<'_>, item: &ClaimedGroup, looked: &Looked) -> Result<(), Error> {
    let unmarked = || held_by!(item).filter(group_item::generation.eq(item.generation));
    match looked.again_at {
        None => {
            diesel::delete(unmarked()).execute(tx.conn())?;
        }
        Some(at) => {
            diesel::update(unmarked())
                .set(group_item::due_at.eq(at))
                .execute(tx.conn())?;
        }
    }
    diesel::update(held_by!(item))
        .set((
            group_item::lease_owner.eq(None::<String>),
            group_item::lease_until.eq(None::<i64>),
            group_item::note.eq(&looked.note),
            group_item::removed.eq(serde_json::json!(looked.removed).to_string()),
            group_item::attempts.eq(if looked.failed { item.attempts + 1 } else { 0 }),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// Ends every lease: for the start of the only server of a database, after a crash.
pub fn release_all(tx: &mut Tx<'_>) -> Result<usize, Error> {
    let leased = group_item::table.filter(group_item::lease_owner.is_not_null());
    Ok(diesel::update(leased)
        .set((
            group_item::lease_owner.eq(None::<String>),
            group_item::lease_until.eq(None::<i64>),
        ))
        .execute(tx.conn())?)
}

/// What the last looks at the groups of every target found.
pub fn notes(conn: &mut AnyConn) -> Result<Vec<GroupNote>, Error> {
    Ok(group_item::table
        .order((group_item::target_id, group_item::group_ci))
        .select((
            group_item::target_id,
            group_item::group_name,
            group_item::due_at,
            group_item::note,
        ))
        .load(conn)?)
}
