//! Targets that a person has stopped: nothing is written there until somebody lets go.

use diesel::prelude::*;

use super::audit::{self, NewAudit};
use super::conn::{AnyConn, Tx};
use super::error::Error;
use super::schema::target;
use crate::clock::Micros;
use crate::domain::TargetId;

/// Who stopped a target, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Since when.
    pub at: Micros,
    /// Who.
    pub by: String,
    /// Why, if it was said.
    pub reason: Option<String>,
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
    let paused = diesel::update(
        target::table
            .find(id.as_str())
            .filter(target::paused_at.is_null()),
    )
    .set((
        target::paused_at.eq(pause.at),
        target::paused_by.eq(&pause.by),
        target::pause_reason.eq(pause.reason.as_deref()),
    ))
    .execute(tx.conn())?
        > 0;
    if paused {
        record(tx, id, "pause", pause, through)?;
    }
    Ok(paused)
}

/// Lets a target go on, and says so in the audit; `act` is who, when and why. False: it was not stopped.
pub fn resume(tx: &mut Tx<'_>, id: &TargetId, act: &Pause, through: &str) -> Result<bool, Error> {
    let resumed = diesel::update(
        target::table
            .find(id.as_str())
            .filter(target::paused_at.is_not_null()),
    )
    .set((
        target::paused_at.eq(None::<i64>),
        target::paused_by.eq(None::<String>),
        target::pause_reason.eq(None::<String>),
    ))
    .execute(tx.conn())?
        > 0;
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
