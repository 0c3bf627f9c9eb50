//! What was found to be wrong, and who has been told: a row for each finding and channel.

use diesel::prelude::*;

use super::conn::{AnyConn, Tx, on_each};
use super::error::Error;
use super::schema::{alert, lease};
use crate::clock::Micros;

/// Something that an administrator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about; the same for as long as it lasts.
    pub key: String,
    /// How urgent it is; told again when this falls.
    pub stage: i32,
    /// In words.
    pub text: String,
}

/// A finding on its way through one channel.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Row {
    /// What it is about.
    pub key: String,
    /// Through what it is told.
    pub channel: String,
    /// How urgent it is.
    pub stage: i32,
    /// In words.
    pub text: String,
    /// Since when.
    pub since: Micros,
    /// When it was told, if it was.
    pub told_at: Option<Micros>,
    /// When it was over, if it is.
    pub ended_at: Option<Micros>,
}

/// Takes or keeps a lease of that name. False: somebody else has it.
pub fn lead(
    tx: &mut Tx<'_>,
    name: &str,
    owner: &str,
    now: Micros,
    until: Micros,
) -> Result<bool, Error> {
    on_each!(tx.conn(), |c| diesel::insert_into(lease::table)
        .values((
            lease::name.eq(name),
            lease::owner.eq(owner),
            lease::until.eq(0),
        ))
        .on_conflict_do_nothing()
        .execute(c))?;
    let taken = diesel::update(
        lease::table
            .find(name)
            .filter(lease::owner.eq(owner).or(lease::until.lt(now))),
    )
    .set((lease::owner.eq(owner), lease::until.eq(until)))
    .execute(tx.conn())?;
    Ok(taken > 0)
}

/// All rows, the oldest first.
pub fn all(conn: &mut AnyConn) -> Result<Vec<Row>, Error> {
    Ok(alert::table
        .order((alert::since, alert::key, alert::channel))
        .select((
            alert::key,
            alert::channel,
            alert::stage,
            alert::text,
            alert::since,
            alert::told_at,
            alert::ended_at,
        ))
        .load(conn)?)
}

/// Makes the rows say what was found. Returns whether anything changed.
pub fn note(
    tx: &mut Tx<'_>,
    channels: &[&str],
    found: &[Finding],
    now: Micros,
) -> Result<bool, Error> {
    let rows = all(tx.conn())?;
    let mut changed = false;
    for row in &rows {
        let still = found.iter().find(|finding| finding.key == row.key);
        let used = channels.contains(&row.channel.as_str());
        let this = alert::table.find((row.key.as_str(), row.channel.as_str()));
        match still {
            Some(finding) if used => {
                let again = row.told_at.filter(|_| finding.stage >= row.stage);
                if row.ended_at.is_some()
                    || again != row.told_at
                    || finding.text != row.text
                    || finding.stage != row.stage
                {
                    diesel::update(this)
                        .set((
                            alert::ended_at.eq(None::<i64>),
                            alert::told_at.eq(again),
                            alert::text.eq(&finding.text),
                            alert::stage.eq(finding.stage),
                        ))
                        .execute(tx.conn())?;
                    changed = true;
                }
            }
            // Nobody has heard of it, or nobody would hear that it is over.
            _ if !used || row.told_at.is_none() => {
                diesel::delete(this).execute(tx.conn())?;
                changed = true;
            }
            _ if row.ended_at.is_none() => {
                diesel::update(this)
                    .set(alert::ended_at.eq(now))
                    .execute(tx.conn())?;
                changed = true;
            }
            _ => {}
        }
    }
    for finding in found {
        for channel in channels {
            let known = rows
                .iter()
                .any(|row| row.key == finding.key && row.channel == **channel);
            if known {
                continue;
            }
            diesel::insert_into(alert::table)
                .values((
                    alert::key.eq(&finding.key),
                    alert::channel.eq(*channel),
                    alert::stage.eq(finding.stage),
                    alert::text.eq(&finding.text),
                    alert::since.eq(now),
                ))
                .execute(tx.conn())?;
            changed = true;
        }
    }
    Ok(changed)
}

/// Notes that rows were told: what is over is forgotten.
pub fn told(tx: &mut Tx<'_>, rows: &[Row], now: Micros) -> Result<(), Error> {
    for row in rows {
        let this = alert::table.find((row.key.as_str(), row.channel.as_str()));
        if row.ended_at.is_some() {
            diesel::delete(this).execute(tx.conn())?;
        } else {
            diesel::update(this)
                .set(alert::told_at.eq(now))
                .execute(tx.conn())?;
        }
    }
    Ok(())
}
