//! What a person has stopped: targets where nothing is written, and people for whom nothing is written anywhere, until
//! somebody lets go.

use diesel::prelude::*;

use super::audit::{self, NewAudit};
use super::conn::{AnyConn, Tx};
use super::error::Error;
use super::schema::{scim_user, target};
use super::work::{self, Priority};
use crate::clock::Micros;
use crate::domain::{ConnectionId, TargetId, UserId};

/// Who stopped a target or a person, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Since when.
    pub at: Micros,
    /// Who.
    pub by: String,
    /// Why, if it was said.
    pub reason: Option<String>,
}

/// Writes a pause into a row of `$table`, or takes it out; only where `paused_at` was as `$before` says. Whether it was.
macro_rules! set {
    ($table:ident, $tx:ident, $id:ident, $before:ident, $pause:expr) => {{
        let pause: Option<&Pause> = $pause;
        let changed = diesel::update($table::table.find($id.as_str()))
            .filter($table::paused_at.$before())
            .set((
                $table::paused_at.eq(pause.map(|it| it.at)),
                $table::paused_by.eq(pause.map(|it| it.by.as_str())),
                $table::pause_reason.eq(pause.and_then(|it| it.reason.as_deref())),
            ))
            .execute($tx.conn())?;
        changed > 0
    }};
}

/// The targets that are stopped.
pub fn paused(conn: &mut AnyConn) -> Result<Vec<(TargetId, Pause)>, Error> {
    type Row = (String, Option<Micros>, Option<String>, Option<String>);
    let rows: Vec<Row> = target::table
        .filter(target::paused_at.is_not_null())
        .select((
            target::id,
            target::paused_at,
            target::paused_by,
            target::pause_reason,
        ))
        .load(conn)?;
    Ok(rows
        .into_iter()
        .filter_map(|(id, at, by, reason)| {
            let by = by.unwrap_or_default();
            Some((
                TargetId(id),
                Pause {
                    at: at?,
                    by,
                    reason,
                },
            ))
        })
        .collect())
}

/// Stops a target, and says so in the audit. False: it is stopped already; the first one's word stands.
/// `through`: what the order came in by, such as `usher pause`.
pub fn pause(tx: &mut Tx<'_>, id: &TargetId, pause: &Pause, through: &str) -> Result<bool, Error> {
    let paused = set!(target, tx, id, is_null, Some(pause));
    if paused {
        record(tx, id, "pause", pause, through)?;
    }
    Ok(paused)
}

/// Lets a target go on, and says so in the audit; `act` is who, when and why. False: it was not stopped.
pub fn resume(tx: &mut Tx<'_>, id: &TargetId, act: &Pause, through: &str) -> Result<bool, Error> {
    let resumed = set!(target, tx, id, is_not_null, None);
    if resumed {
        record(tx, id, "resume", act, through)?;
    }
    Ok(resumed)
}

fn record(
    tx: &mut Tx<'_>,
    target: &TargetId,
    operation: &str,
    act: &Pause,
    through: &str,
) -> Result<(), Error> {
    let row = NewAudit {
        target_id: Some(target.clone()),
        message: act.reason.clone(),
        ..NewAudit::act(act.at, &act.by, operation, &serde_json::json!({}), through)
    };
    audit::append(tx, &row)
}

/// Stops what is written for somebody, and says so in the audit. False: it is stopped already; the first one's word
/// stands.
pub fn pause_user(
    tx: &mut Tx<'_>,
    user: &UserId,
    pause: &Pause,
    through: &str,
) -> Result<bool, Error> {
    let paused = set!(scim_user, tx, user, is_null, Some(pause));
    if paused {
        record_of_user(tx, user, "pause_user", pause, through)?;
    }
    Ok(paused)
}

/// Lets it go on, has the person looked at again everywhere, and says so in the audit. False: it was not stopped.
pub fn resume_user(
    tx: &mut Tx<'_>,
    user: &UserId,
    act: &Pause,
    through: &str,
) -> Result<bool, Error> {
    let resumed = set!(scim_user, tx, user, is_not_null, None);
    if resumed {
        let connection = record_of_user(tx, user, "resume_user", act, through)?;
        let cause = format!("{} let it go on", act.by);
        work::mark(tx, &connection, user, Priority::Push, &cause, act.at)?;
    }
    Ok(resumed)
}

/// For how many people nothing is written.
pub fn paused_users(conn: &mut AnyConn) -> Result<i64, Error> {
    Ok(scim_user::table
        .filter(scim_user::paused_at.is_not_null())
        .count()
        .get_result(conn)?)
}

fn record_of_user(
    tx: &mut Tx<'_>,
    user: &UserId,
    operation: &str,
    act: &Pause,
    through: &str,
) -> Result<ConnectionId, Error> {
    let (connection, name): (String, String) = scim_user::table
        .find(user.as_str())
        .select((scim_user::connection_id, scim_user::user_name))
        .first(tx.conn())?;
    let connection = ConnectionId(connection);
    let row = NewAudit {
        connection_id: Some(connection.clone()),
        user_id: Some(user.clone()),
        user_name: Some(name),
        message: act.reason.clone(),
        ..NewAudit::act(act.at, &act.by, operation, &serde_json::json!({}), through)
    };
    audit::append(tx, &row)?;
    Ok(connection)
}
