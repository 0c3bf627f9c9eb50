//! Runs of the reconciler: the lease that keeps them apart, what they did, and what they changed.

use diesel::prelude::*;

use super::conn::{AnyConn, Tx, on_each};
use super::error::Error;
use super::schema::{pull, run, run_result};
use crate::clock::Micros;
use crate::domain::{ConnectionId, new_id};

/// How many runs of a connection are kept with what they changed.
const KEPT: i64 = 200;

/// Schedules are looked at every 15 seconds and run no more often than every minute: two servers that want a
/// scheduled run within this time mean the same one. In microseconds.
const ONE_MOMENT: Micros = 30 * 1_000_000;

/// The state of pulling a connection.
#[derive(Debug, Clone, PartialEq, Eq, Default, Queryable)]
pub struct PullState {
    /// Who is at it.
    pub lease_owner: Option<String>,
    /// Until when, without another sign of life.
    pub lease_until: Option<Micros>,
    /// When the last scheduled run began.
    pub scheduled_at: Option<Micros>,
    /// When the last complete full run began.
    pub full_at: Option<Micros>,
    /// Where the next incremental run begins.
    pub watermark: Option<Micros>,
    /// The last run that brought a user.
    pub newest_user_run: i64,
}

/// Reads it.
pub fn state(conn: &mut AnyConn, connection: &ConnectionId) -> Result<PullState, Error> {
    Ok(pull::table
        .find(connection.as_str())
        .select((
            pull::lease_owner,
            pull::lease_until,
            pull::scheduled_at,
            pull::full_at,
            pull::watermark,
            pull::newest_user_run,
        ))
        .first(conn)
        .optional()?
        .unwrap_or_default())
}

/// Makes sure that there is a state.
pub(super) fn prepare(tx: &mut Tx<'_>, connection: &ConnectionId) -> Result<(), Error> {
    on_each!(tx.conn(), |c| diesel::insert_into(pull::table)
        .values((
            pull::connection_id.eq(connection.as_str()),
            pull::last_number.eq(0),
            pull::newest_user_run.eq(0),
        ))
        .on_conflict_do_nothing()
        .execute(c))?;
    Ok(())
}

/// A run as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Run {
    /// Identifier.
    pub id: String,
    /// Of which connection.
    pub connection_id: String,
    /// Counts the runs of the connection.
    pub number: i64,
    /// `full`, `incremental` or `user`.
    pub kind: String,
    /// What set it off.
    pub cause: String,
    /// `running`, `done`, `void` (nothing was removed) or `failed`.
    pub state: String,
    /// Beginning.
    pub started_at: Micros,
    /// End.
    pub ended_at: Option<Micros>,
    /// Why it is void or failed.
    pub message: Option<String>,
    /// JSON.
    pub counts: String,
    /// How far it is, while it is under way; JSON.
    pub progress: Option<String>,
}

/// Begins a run and takes the lease for it; `None` if somebody else has it.
pub fn begin(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    kind: &str,
    cause: &str,
    scheduled: bool,
    now: Micros,
    lease_until: Micros,
) -> Result<Option<Run>, Error> {
    prepare(tx, connection)?;
    let mut begun = new_run(connection, 0, kind, cause, now);
    // Another server may have seen the same moment of the schedule, and have run already.
    let seen = if scheduled {
        now - ONE_MOMENT
    } else {
        Micros::MAX
    };
    let taken: Option<i64> = on_each!(tx.conn(), |c| diesel::update(
        pull::table
            .filter(pull::connection_id.eq(connection.as_str()))
            .filter(pull::lease_until.is_null().or(pull::lease_until.lt(now)))
            .filter(pull::scheduled_at.is_null().or(pull::scheduled_at.le(seen))),
    )
    .set((
        pull::lease_owner.eq(&begun.id),
        pull::lease_until.eq(lease_until),
        pull::last_number.eq(pull::last_number + 1),
    ))
    .returning(pull::last_number)
    .get_result(c)
    .optional())?;
    let Some(number) = taken else {
        return Ok(None);
    };
    if scheduled {
        diesel::update(pull::table.find(connection.as_str()))
            .set(pull::scheduled_at.eq(now))
            .execute(tx.conn())?;
    }
    // Whoever had the lease is gone, and cannot end its run any more.
    diesel::update(
        run::table
            .filter(run::connection_id.eq(connection.as_str()))
            .filter(run::kind.ne("user"))
            .filter(run::state.eq("running")),
    )
    .set((
        run::state.eq("failed"),
        run::ended_at.eq(now),
        run::message.eq("the process that ran it ended"),
    ))
    .execute(tx.conn())?;
    begun.number = number;
    insert(tx, &begun)?;
    Ok(Some(begun))
}

/// Begins a run about one user: it needs no lease, because it undoes nobody's work.
pub fn begin_user(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    cause: &str,
    now: Micros,
) -> Result<Run, Error> {
    prepare(tx, connection)?;
    let number: i64 = pull::table
        .find(connection.as_str())
        .select(pull::last_number)
        .first(tx.conn())?;
    let begun = new_run(connection, number, "user", cause, now);
    insert(tx, &begun)?;
    Ok(begun)
}

/// Leaves no trace of a run that changed nothing.
pub fn discard(tx: &mut Tx<'_>, id: &str) -> Result<(), Error> {
    diesel::delete(run::table.find(id)).execute(tx.conn())?;
    Ok(())
}

fn new_run(connection: &ConnectionId, number: i64, kind: &str, cause: &str, now: Micros) -> Run {
    Run {
        id: new_id(),
        connection_id: connection.0.clone(),
        number,
        kind: kind.to_owned(),
        cause: cause.to_owned(),
        state: "running".to_owned(),
        started_at: now,
        ended_at: None,
        message: None,
        counts: "{}".to_owned(),
        progress: None,
    }
}

fn insert(tx: &mut Tx<'_>, begun: &Run) -> Result<(), Error> {
    diesel::insert_into(run::table)
        .values((
            run::id.eq(&begun.id),
            run::connection_id.eq(&begun.connection_id),
            run::number.eq(begun.number),
            run::kind.eq(&begun.kind),
            run::cause.eq(&begun.cause),
            run::state.eq(&begun.state),
            run::started_at.eq(begun.started_at),
            run::counts.eq(&begun.counts),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// Keeps the lease. Returns whether it was still held.
pub fn renew(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    owner: &str,
    lease_until: Micros,
) -> Result<bool, Error> {
    let renewed = diesel::update(
        pull::table
            .filter(pull::connection_id.eq(connection.as_str()))
            .filter(pull::lease_owner.eq(owner)),
    )
    .set(pull::lease_until.eq(lease_until))
    .execute(tx.conn())?;
    Ok(renewed > 0)
}

/// Says how far a run is, for those who watch it.
pub fn advance(tx: &mut Tx<'_>, id: &str, counts: &str, progress: &str) -> Result<(), Error> {
    diesel::update(run::table.find(id))
        .set((run::counts.eq(counts), run::progress.eq(progress)))
        .execute(tx.conn())?;
    Ok(())
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Ended<'a> {
    /// `done`, `void` or `failed`.
    pub state: &'a str,
    /// Why, if it is not done.
    pub message: Option<&'a str>,
    /// JSON.
    pub counts: &'a str,
    /// Where the next incremental run begins, if that is new.
    pub watermark: Option<Micros>,
    /// Set if everything was read.
    pub full_at: Option<Micros>,
}

/// Ends a run and gives the lease back.
pub fn end(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    id: &str,
    ended: &Ended<'_>,
    now: Micros,
) -> Result<(), Error> {
    diesel::update(run::table.find(id))
        .set((
            run::state.eq(ended.state),
            run::message.eq(ended.message),
            run::counts.eq(ended.counts),
            run::progress.eq(None::<String>),
            run::ended_at.eq(now),
        ))
        .execute(tx.conn())?;
    diesel::update(
        pull::table
            .filter(pull::connection_id.eq(connection.as_str()))
            .filter(pull::lease_owner.eq(id)),
    )
    .set((
        pull::lease_owner.eq(None::<String>),
        pull::lease_until.eq(None::<i64>),
    ))
    .execute(tx.conn())?;
    if let Some(watermark) = ended.watermark {
        diesel::update(pull::table.find(connection.as_str()))
            .set(pull::watermark.eq(watermark))
            .execute(tx.conn())?;
    }
    if let Some(full_at) = ended.full_at {
        diesel::update(pull::table.find(connection.as_str()))
            .set(pull::full_at.eq(full_at))
            .execute(tx.conn())?;
    }
    let oldest: Option<i64> = run::table
        .filter(run::connection_id.eq(connection.as_str()))
        .order(run::number.desc())
        .offset(KEPT)
        .limit(1)
        .select(run::number)
        .first(tx.conn())
        .optional()?;
    if let Some(oldest) = oldest {
        diesel::delete(
            run::table
                .filter(run::connection_id.eq(connection.as_str()))
                .filter(run::number.le(oldest)),
        )
        .execute(tx.conn())?;
    }
    Ok(())
}

/// Removes runs that ended before an instant, at most `limit` of them. Returns how many.
pub fn purge(tx: &mut Tx<'_>, before: Micros, limit: i64) -> Result<usize, Error> {
    let old: Vec<String> = run::table
        .filter(run::ended_at.lt(before))
        .select(run::id)
        .limit(limit)
        .load(tx.conn())?;
    Ok(diesel::delete(run::table.filter(run::id.eq_any(old))).execute(tx.conn())?)
}

/// What a run changed about one user or group.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct RunResult {
    /// Its name.
    pub subject: String,
    /// Its id here.
    pub subject_id: Option<String>,
    /// `created`, `changed`, `removed`, `granted`, `not granted`, `left alone`, `refused`.
    pub change: String,
    /// What exactly.
    pub detail: String,
    /// Whether a push should have brought it.
    pub missed_push: bool,
}

/// Adds a line to a run.
pub fn add_result(tx: &mut Tx<'_>, run: &str, result: &RunResult) -> Result<(), Error> {
    diesel::insert_into(run_result::table)
        .values((
            run_result::id.eq(new_id()),
            run_result::run_id.eq(run),
            run_result::subject.eq(&result.subject),
            run_result::subject_id.eq(result.subject_id.as_deref()),
            run_result::change.eq(&result.change),
            run_result::detail.eq(&result.detail),
            run_result::missed_push.eq(result.missed_push),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// The latest runs, of one connection or of all; only those before the run `before`, if it is given.
pub fn list(
    conn: &mut AnyConn,
    connection: Option<&ConnectionId>,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<Run>, Error> {
    let mut query = run::table.into_boxed();
    if let Some(before) = before {
        query = query.filter(run::id.lt(before.to_owned()));
    }
    if let Some(connection) = connection {
        query = query.filter(run::connection_id.eq(connection.as_str().to_owned()));
    }
    Ok(query.order(run::id.desc()).limit(limit).load(conn)?)
}

/// When each connection was read last, completely and without trouble.
pub fn last_done(conn: &mut AnyConn) -> Result<Vec<(ConnectionId, Micros)>, Error> {
    let rows: Vec<(String, Option<Micros>)> = run::table
        .filter(run::state.eq("done"))
        .filter(run::kind.ne("user"))
        .group_by(run::connection_id)
        .select((run::connection_id, diesel::dsl::max(run::ended_at)))
        .load(conn)?;
    Ok(rows
        .into_iter()
        .filter_map(|(id, at)| Some((ConnectionId(id), at?)))
        .collect())
}

/// One run.
pub fn get(conn: &mut AnyConn, id: &str) -> Result<Option<Run>, Error> {
    Ok(run::table.find(id).first(conn).optional()?)
}

/// What a run changed, at most `limit` lines.
pub fn results(conn: &mut AnyConn, id: &str, limit: i64) -> Result<Vec<RunResult>, Error> {
    let page = results_after(conn, id, "", limit)?;
    Ok(page.into_iter().map(|(_, result)| result).collect())
}

/// The same, each line with its place, from the one after the place `after` on; empty: from the beginning.
pub fn results_after(
    conn: &mut AnyConn,
    id: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<(String, RunResult)>, Error> {
    Ok(run_result::table
        .filter(run_result::run_id.eq(id))
        .filter(run_result::id.gt(after))
        .order(run_result::id)
        .limit(limit)
        .select((
            run_result::id,
            (
                run_result::subject,
                run_result::subject_id,
                run_result::change,
                run_result::detail,
                run_result::missed_push,
            ),
        ))
        .load(conn)?)
}
