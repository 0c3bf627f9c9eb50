//! Comparisons of targets with the ledger, and what they found for a person to decide about.

use diesel::dsl::exists;
use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use super::conn::{AnyConn, Tx, on_each};
use super::error::Error;
use super::ledger;
use super::schema::{comparison, drift};
use super::work::{self, Priority};
use crate::clock::Micros;
use crate::domain::{ConnectionId, TargetId, UserId};

/// What one comparison came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Compared {
    /// Accounts of the ledger that the target listed or should have.
    pub accounts: u64,
    /// Groups whose members were compared.
    pub groups: u64,
    /// Accounts that are not as Usher left them.
    pub differing: u64,
    /// Of these: put right.
    pub pushed: u64,
    /// Of these: left as they are.
    pub accepted: u64,
    /// Of these: a person has to decide.
    pub asked: u64,
    /// Accounts that seemed to differ and were not read one by one, as there were too many.
    pub unverified: u64,
}

/// A comparison as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// With which target.
    pub target_id: TargetId,
    /// Whether it has ended.
    pub is_over: bool,
    /// What it came to.
    pub compared: Compared,
    /// Why not, or what else there is to say.
    pub note: Option<String>,
}

/// A comparison that a worker holds a lease on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedComparison {
    /// The run that asked for it.
    pub run: String,
    /// With which target.
    pub target_id: TargetId,
    /// Of the accounts of this connection.
    pub connection_id: ConnectionId,
    /// Failed attempts before this one.
    pub attempts: i32,
    /// Who holds the lease.
    pub lease_owner: String,
}

/// An account that is not as Usher left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Where.
    pub target_id: TargetId,
    /// Whose.
    pub user_id: UserId,
    /// User name.
    pub user_name: String,
    /// What differs, in words.
    pub differences: Vec<String>,
    /// What would be done to put it right, in words.
    pub would: Vec<String>,
    /// Somebody who should not have access has it.
    pub has_access: bool,
    /// Whether a person has accepted it.
    pub is_accepted: bool,
    /// Since when it is known.
    pub since: Micros,
    /// Who decided.
    pub decided_by: Option<String>,
}

/// Asks for a comparison; one that was asked for before and has not begun is the same.
pub fn ask(
    tx: &mut Tx<'_>,
    run: &str,
    connection: &ConnectionId,
    target: &TargetId,
    now: Micros,
) -> Result<(), Error> {
    diesel::delete(
        comparison::table
            .filter(comparison::connection_id.eq(connection.as_str()))
            .filter(comparison::target_id.eq(target.as_str()))
            .filter(comparison::due_at.is_not_null())
            .filter(comparison::lease_owner.is_null()),
    )
    .execute(tx.conn())?;
    diesel::insert_into(comparison::table)
        .values((
            comparison::run_id.eq(run),
            comparison::target_id.eq(target.as_str()),
            comparison::connection_id.eq(connection.as_str()),
            comparison::due_at.eq(now),
            comparison::attempts.eq(0),
            comparison::counts.eq("{}"),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// Whether one is due at a target.
pub fn is_due(conn: &mut AnyConn, target: &TargetId, now: Micros) -> Result<bool, Error> {
    let due = comparison::table
        .filter(comparison::target_id.eq(target.as_str()))
        .filter(comparison::due_at.le(now))
        .filter(
            comparison::lease_until
                .is_null()
                .or(comparison::lease_until.lt(now)),
        );
    Ok(diesel::select(exists(due)).get_result(conn)?)
}

/// Takes a lease on the one that has been due for longest.
pub fn claim(
    tx: &mut Tx<'_>,
    target: &TargetId,
    owner: &str,
    now: Micros,
    lease_until: Micros,
) -> Result<Option<ClaimedComparison>, Error> {
    let first: Option<(String, String, i32)> = comparison::table
        .filter(comparison::target_id.eq(target.as_str()))
        .filter(comparison::due_at.le(now))
        .order((comparison::due_at, comparison::run_id))
        .select((
            comparison::run_id,
            comparison::connection_id,
            comparison::attempts,
        ))
        .first(tx.conn())
        .optional()?;
    let Some((run, connection, attempts)) = first else {
        return Ok(None);
    };
    // The condition again: on PostgreSQL another server may have been faster.
    let leased = diesel::update(
        comparison::table.find((&run, target.as_str())).filter(
            comparison::lease_until
                .is_null()
                .or(comparison::lease_until.lt(now)),
        ),
    )
    .set((
        comparison::lease_owner.eq(owner),
        comparison::lease_until.eq(lease_until),
    ))
    .execute(tx.conn())?;
    Ok((leased > 0).then(|| ClaimedComparison {
        run,
        target_id: target.clone(),
        connection_id: ConnectionId(connection),
        attempts,
        lease_owner: owner.to_owned(),
    }))
}

macro_rules! held_by {
    ($item:expr) => {
        comparison::table
            .find(($item.run.as_str(), $item.target_id.as_str()))
            .filter(comparison::lease_owner.eq($item.lease_owner.as_str()))
    };
}

/// Keeps it for longer. False: the lease was lost, and the worker must stop.
pub fn renew(
    tx: &mut Tx<'_>,
    item: &ClaimedComparison,
    lease_until: Micros,
) -> Result<bool, Error> {
    Ok(diesel::update(held_by!(item))
        .set(comparison::lease_until.eq(lease_until))
        .execute(tx.conn())?
        > 0)
}

/// Ends it, or says when it is tried again.
pub fn finish(
    tx: &mut Tx<'_>,
    item: &ClaimedComparison,
    compared: &Compared,
    note: Option<&str>,
    again_at: Option<Micros>,
) -> Result<(), Error> {
    let counts = serde_json::to_string(compared).unwrap_or_default();
    diesel::update(held_by!(item))
        .set((
            comparison::due_at.eq(again_at),
            comparison::attempts.eq(item.attempts + 1),
            comparison::lease_owner.eq(None::<String>),
            comparison::lease_until.eq(None::<i64>),
            comparison::counts.eq(counts),
            comparison::note.eq(note),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// Ends every lease: for the start of the only server of a database, after a crash.
pub fn release_all(tx: &mut Tx<'_>) -> Result<usize, Error> {
    let leased = comparison::table.filter(comparison::lease_owner.is_not_null());
    Ok(diesel::update(leased)
        .set((
            comparison::lease_owner.eq(None::<String>),
            comparison::lease_until.eq(None::<i64>),
        ))
        .execute(tx.conn())?)
}

/// Those that a run asked for.
pub fn of_run(conn: &mut AnyConn, run: &str) -> Result<Vec<Comparison>, Error> {
    let rows: Vec<(String, Option<i64>, String, Option<String>)> = comparison::table
        .filter(comparison::run_id.eq(run))
        .order(comparison::target_id)
        .select((
            comparison::target_id,
            comparison::due_at,
            comparison::counts,
            comparison::note,
        ))
        .load(conn)?;
    Ok(rows
        .into_iter()
        .map(|(target, due_at, counts, note)| Comparison {
            target_id: TargetId(target),
            is_over: due_at.is_none(),
            // Counts of another version may lack some.
            compared: serde_json::from_str(&counts).unwrap_or_default(),
            note,
        })
        .collect())
}

/// Writes down what a person has to decide. What was accepted stays so while it is the same. Returns whether it is.
pub fn put(tx: &mut Tx<'_>, found: &Drift) -> Result<bool, Error> {
    let differences = serde_json::json!(found.differences).to_string();
    let would = serde_json::json!(found.would).to_string();
    let key = (found.target_id.as_str(), found.user_id.as_str());
    let known: Option<(String, String)> = drift::table
        .find(key)
        .select((drift::differences, drift::state))
        .first(tx.conn())
        .optional()?;
    match known {
        Some((same, state)) if same == differences => {
            diesel::update(drift::table.find(key))
                .set((
                    drift::would.eq(would),
                    drift::user_name.eq(&found.user_name),
                ))
                .execute(tx.conn())?;
            return Ok(state == "accepted");
        }
        Some(_) => {
            diesel::delete(drift::table.find(key)).execute(tx.conn())?;
        }
        None => {}
    }
    on_each!(tx.conn(), |c| diesel::insert_into(drift::table)
        .values((
            drift::target_id.eq(found.target_id.as_str()),
            drift::user_id.eq(found.user_id.as_str()),
            drift::user_name.eq(&found.user_name),
            drift::differences.eq(&differences),
            drift::would.eq(&would),
            drift::has_access.eq(found.has_access),
            drift::state.eq("open"),
            drift::since.eq(found.since),
        ))
        .on_conflict_do_nothing()
        .execute(c))?;
    Ok(false)
}

/// There is nothing to decide any more.
pub fn close(tx: &mut Tx<'_>, target: &TargetId, user: &UserId) -> Result<bool, Error> {
    let closed =
        diesel::delete(drift::table.find((target.as_str(), user.as_str()))).execute(tx.conn())?;
    Ok(closed > 0)
}

/// Has an account read again and put right: whatever was done to it by hand.
pub fn push(
    tx: &mut Tx<'_>,
    target: &TargetId,
    user: &UserId,
    cause: &str,
    now: Micros,
) -> Result<(), Error> {
    close(tx, target, user)?;
    ledger::look_again(tx, target, user)?;
    work::mark_one(tx, target, user, Priority::Bulk, cause, now)
}

type Row = (
    String,
    String,
    String,
    String,
    String,
    bool,
    String,
    i64,
    Option<String>,
);
type Columns = (
    drift::target_id,
    drift::user_id,
    drift::user_name,
    drift::differences,
    drift::would,
    drift::has_access,
    drift::state,
    drift::since,
    drift::decided_by,
);
const COLUMNS: Columns = (
    drift::target_id,
    drift::user_id,
    drift::user_name,
    drift::differences,
    drift::would,
    drift::has_access,
    drift::state,
    drift::since,
    drift::decided_by,
);

impl From<Row> for Drift {
    fn from(
        (target, user, user_name, differences, would, has_access, state, since, by): Row,
    ) -> Self {
        let words = |text: &str| serde_json::from_str(text).unwrap_or_default();
        Self {
            target_id: TargetId(target),
            user_id: UserId(user),
            user_name,
            differences: words(&differences),
            would: words(&would),
            has_access,
            is_accepted: state == "accepted",
            since,
            decided_by: by,
        }
    }
}

/// What is known of one account.
pub fn of_user(
    conn: &mut AnyConn,
    target: &TargetId,
    user: &UserId,
) -> Result<Option<Drift>, Error> {
    let found: Option<Row> = drift::table
        .find((target.as_str(), user.as_str()))
        .select(COLUMNS)
        .first(conn)
        .optional()?;
    Ok(found.map(Into::into))
}

/// What there is to decide, and what was decided; whoever has access and should not comes first.
pub fn list(conn: &mut AnyConn) -> Result<Vec<Drift>, Error> {
    let rows: Vec<Row> = drift::table
        .order((
            drift::has_access.desc(),
            drift::target_id,
            drift::user_name,
            drift::user_id,
        ))
        .select(COLUMNS)
        .load(conn)?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Which ones a decision is about.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Only at this target.
    pub target: Option<TargetId>,
    /// Only of these people; `None`: of everybody.
    pub users: Option<Vec<UserId>>,
}

/// Decides: Usher's state is restored, or the other one stays. Returns how many accounts that is about.
pub fn decide(
    tx: &mut Tx<'_>,
    choice: &Choice,
    push_ours: bool,
    by: &str,
    now: Micros,
) -> Result<usize, Error> {
    let mut chosen = list(tx.conn())?;
    chosen.retain(|it| {
        choice.target.as_ref().is_none_or(|id| *id == it.target_id)
            && choice
                .users
                .as_ref()
                .is_none_or(|users| users.contains(&it.user_id))
            // Ours is also pushed where theirs was accepted before.
            && (push_ours || !it.is_accepted)
    });
    for found in &chosen {
        if push_ours {
            let cause = format!("{by}: usher drift push");
            push(tx, &found.target_id, &found.user_id, &cause, now)?;
        } else {
            let key = (found.target_id.as_str(), found.user_id.as_str());
            diesel::update(drift::table.find(key))
                .set((
                    drift::state.eq("accepted"),
                    drift::decided_by.eq(by),
                    drift::decided_at.eq(now),
                ))
                .execute(tx.conn())?;
        }
    }
    Ok(chosen.len())
}

/// People of a connection at a target about whom there is something to decide, or was.
pub fn users_at(
    conn: &mut AnyConn,
    target: &TargetId,
    connection: &ConnectionId,
) -> Result<Vec<UserId>, Error> {
    use super::schema::scim_user;
    let of_connection = scim_user::table
        .filter(scim_user::connection_id.eq(connection.as_str()))
        .select(scim_user::id);
    let ids: Vec<String> = drift::table
        .filter(drift::target_id.eq(target.as_str()))
        .filter(drift::user_id.eq_any(of_connection))
        .select(drift::user_id)
        .load(conn)?;
    Ok(ids.into_iter().map(UserId).collect())
}

/// How many accounts of each target there is something to decide about.
pub fn open(conn: &mut AnyConn) -> Result<Vec<(TargetId, i64)>, Error> {
    let rows: Vec<(String, i64)> = drift::table
        .filter(drift::state.eq("open"))
        .group_by(drift::target_id)
        .order(drift::target_id)
        .select((drift::target_id, diesel::dsl::count_star()))
        .load(conn)?;
    Ok(rows
        .into_iter()
        .map(|(target, count)| (TargetId(target), count))
        .collect())
}
