//! The work queue and the breaker of each target.
//!
//! A work item is a level: "this user at this target may be out of step". Marking twice makes one item with
//! a higher generation; an item ends only if its generation is still the one that was claimed. The claim is
//! the only query with two bodies: PostgreSQL skips rows that another replica is claiming.

use std::collections::BTreeMap;

use diesel::backend::Backend;
use diesel::dsl::{exists, not};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, Bool, Integer, Text};
use serde::{Deserialize, Serialize};

use super::conn::{AnyConn, Tx, on_each};
use super::error::Error;
use super::pause::{self, Pause};
use super::schema::{account, hold, scim_user, target, work_item};
use crate::clock::Micros;
use crate::domain::{ConnectionId, TargetId, UserId};

/// How urgent a mark is; lower goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Somebody waits for it.
    Login = 0,
    /// Somebody loses access.
    Leaver = 1,
    /// A change that the source pushed.
    Push = 5,
    /// Many at once: a changed rule.
    Bulk = 9,
}

/// An item that a worker holds a lease on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Where.
    pub target_id: TargetId,
    /// Who.
    pub user_id: UserId,
    /// From which source.
    pub connection_id: ConnectionId,
    /// The mark that the worker answers.
    pub generation: i64,
    /// Failed attempts before this one.
    pub attempts: i32,
    /// What marked it last.
    pub cause: String,
    /// Who holds the lease.
    pub lease_owner: String,
    /// When it was marked last.
    pub marked_at: Micros,
}

/// Where an item rests that no attempt can move by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parked {
    /// The source has not sent all that the target needs; its next change moves the item on.
    Waiting,
    /// The target refused the record; a change of the user or the mapping, or a person, moves it on.
    Rejected,
    /// A person has to decide: the account belongs to somebody else.
    Held,
    /// The mapping is in shadow mode: this is what would be done.
    Shadow,
    /// The account is deactivated, and will be deleted when the item is due ([`rest`], [`wake`]).
    Grace,
}

impl Parked {
    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Rejected => "rejected",
            Self::Held => "held",
            Self::Shadow => "shadow",
            Self::Grace => "grace",
        }
    }
}

/// An item as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Item {
    /// Where.
    pub target_id: String,
    /// `pending`, `waiting`, `rejected`, `held`, `shadow` or `grace`.
    pub state: String,
    /// Failed attempts.
    pub attempts: i32,
    /// When it is tried (again).
    pub due_at: Micros,
    /// When it was marked last.
    pub marked_at: Micros,
    /// Set while a worker is at it.
    pub lease_until: Option<Micros>,
    /// Why it has not ended yet.
    pub last_error: Option<String>,
    /// What marked it last.
    pub cause: String,
}

/// Whether a target is worth asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// `up`, `down` or `unauthorized`.
    pub state: String,
    /// Failures in a row.
    pub failures: i32,
    /// While it is not up: when one item tries it again.
    pub retry_at: Option<Micros>,
    /// The last failure.
    pub last_error: Option<String>,
    /// The last time that it did what it was asked.
    pub last_success_at: Option<Micros>,
}

/// One line of `usher status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetStatus {
    /// Where.
    pub target_id: TargetId,
    /// Its name.
    pub name: String,
    /// Its breaker.
    pub health: Health,
    /// Items that will be tried.
    pub pending: i64,
    /// Items that wait for the source.
    pub waiting: i64,
    /// Items that wait for a person.
    pub held: i64,
    /// People of whom a brake holds something.
    pub braked: i64,
    /// Who stopped the target, if somebody did.
    pub pause: Option<Pause>,
    /// Items that the target refused.
    pub failed: i64,
    /// Items of a mapping in shadow mode that would write.
    pub shadow: i64,
    /// Deactivated accounts that will be deleted when their grace period ends.
    pub grace: i64,
    /// When the oldest pending item was marked.
    pub oldest_pending_at: Option<Micros>,
}

/// The part of the upsert that both kinds of marks share.
const ON_CONFLICT: &str = " ON CONFLICT (target_id, user_id) DO UPDATE SET \
    state = 'pending', generation = work_item.generation + 1, attempts = 0, \
    priority = CASE WHEN excluded.priority < work_item.priority THEN excluded.priority ELSE work_item.priority END, \
    due_at = excluded.due_at, marked_at = excluded.marked_at, cause = excluded.cause";

/// Marks one user at every target of its connection.
pub fn mark(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    user: &UserId,
    priority: Priority,
    cause: &str,
    now: Micros,
) -> Result<(), Error> {
    let mark = Mark {
        user: user.as_str(),
        priority: priority as i32,
        now,
        cause,
        connection: connection.as_str(),
    };
    on_each!(tx.conn(), |c| mark.execute(c))?;
    Ok(())
}

/// The statement of [`mark`]. It is part of every push: as a type of its own it is found prepared without its text being
/// made each time.
struct Mark<'a> {
    user: &'a str,
    priority: i32,
    now: Micros,
    cause: &'a str,
    connection: &'a str,
}

impl QueryId for Mark<'_> {
    type QueryId = Mark<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<Conn> RunQueryDsl<Conn> for Mark<'_> {}

impl<DB: Backend> QueryFragment<DB> for Mark<'_>
where
    str: ToSql<Text, DB>,
    i32: ToSql<Integer, DB>,
    i64: ToSql<BigInt, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(
            "INSERT INTO work_item (user_id, priority, due_at, marked_at, cause, target_id, connection_id, state, \
             generation, attempts) SELECT ",
        );
        out.push_bind_param::<Text, _>(self.user)?;
        out.push_sql(", ");
        out.push_bind_param::<Integer, _>(&self.priority)?;
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&self.now)?;
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&self.now)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(self.cause)?;
        out.push_sql(
            ", m.target_id, m.connection_id, 'pending', 1, 0 FROM mapping m WHERE m.connection_id = ",
        );
        out.push_bind_param::<Text, _>(self.connection)?;
        out.push_sql(ON_CONFLICT);
        Ok(())
    }
}

/// Puts what is pending of a user ahead of everything else. Returns how many items that are.
pub fn hurry(tx: &mut Tx<'_>, user: &UserId, now: Micros) -> Result<usize, Error> {
    let pending = work_item::table
        .filter(work_item::user_id.eq(user.as_str()))
        .filter(work_item::state.eq("pending"));
    Ok(diesel::update(pending)
        .set((
            work_item::priority.eq(Priority::Login as i32),
            work_item::due_at.eq(now),
        ))
        .execute(tx.conn())?)
}

/// Marks everyone below a group, however deeply nested, at every target of the connection.
pub fn mark_below(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    group: &str,
    priority: Priority,
    cause: &str,
    now: Micros,
) -> Result<usize, Error> {
    super::groups::hold_below(tx, group)?;
    let sql = format!(
        "WITH RECURSIVE below (id) AS (\
             SELECT m.member_id FROM membership m WHERE m.group_id = $1 AND m.member_type <> 'Unknown' \
             UNION \
             SELECT m.member_id FROM membership m JOIN below b ON m.group_id = b.id \
             WHERE m.member_type <> 'Unknown'\
         ) \
         INSERT INTO work_item (priority, due_at, marked_at, cause, user_id, target_id, connection_id, state, \
         generation, attempts) \
         SELECT $2, $3, $3, $4, u.id, m.target_id, m.connection_id, 'pending', 1, 0 \
         FROM below b JOIN scim_user u ON u.id = b.id \
         JOIN mapping m ON m.connection_id = u.connection_id WHERE m.connection_id = $5{ON_CONFLICT}"
    );
    Ok(on_each!(tx.conn(), |c| diesel::sql_query(sql)
        .bind::<Text, _>(group)
        .bind::<Integer, _>(priority as i32)
        .bind::<BigInt, _>(now)
        .bind::<Text, _>(cause)
        .bind::<Text, _>(connection.as_str())
        .execute(c))?)
}

/// Marks everyone of a connection at one target, tombstones included: its rules changed.
pub fn mark_all(
    tx: &mut Tx<'_>,
    connection: &ConnectionId,
    target: &TargetId,
    cause: &str,
    now: Micros,
) -> Result<usize, Error> {
    let sql = format!(
        "INSERT INTO work_item (priority, due_at, marked_at, cause, target_id, user_id, connection_id, state, \
         generation, attempts) \
         SELECT $1, $2, $2, $3, $4, u.id, u.connection_id, 'pending', 1, 0 \
         FROM scim_user u WHERE u.connection_id = $5{ON_CONFLICT}"
    );
    Ok(on_each!(tx.conn(), |c| diesel::sql_query(sql)
        .bind::<Integer, _>(Priority::Bulk as i32)
        .bind::<BigInt, _>(now)
        .bind::<Text, _>(cause)
        .bind::<Text, _>(target.as_str())
        .bind::<Text, _>(connection.as_str())
        .execute(c))?)
}

/// Marks one user at one target.
pub fn mark_one(
    tx: &mut Tx<'_>,
    target: &TargetId,
    user: &UserId,
    priority: Priority,
    cause: &str,
    now: Micros,
) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO work_item (priority, due_at, marked_at, cause, target_id, user_id, connection_id, state, \
         generation, attempts) \
         SELECT $1, $2, $2, $3, $4, u.id, u.connection_id, 'pending', 1, 0 \
         FROM scim_user u WHERE u.id = $5{ON_CONFLICT}"
    );
    on_each!(tx.conn(), |c| diesel::sql_query(sql)
        .bind::<Integer, _>(priority as i32)
        .bind::<BigInt, _>(now)
        .bind::<Text, _>(cause)
        .bind::<Text, _>(target.as_str())
        .bind::<Text, _>(user.as_str())
        .execute(c))?;
    Ok(())
}

/// Marks everyone but `except` who is in a target group according to the ledger.
pub fn mark_recorded_members(
    tx: &mut Tx<'_>,
    target: &TargetId,
    group: &str,
    except: &UserId,
    cause: &str,
    now: Micros,
) -> Result<usize, Error> {
    let sql = format!(
        "INSERT INTO work_item (priority, due_at, marked_at, cause, target_id, user_id, connection_id, state, \
         generation, attempts) \
         SELECT $1, $2, $2, $3, $4, u.id, u.connection_id, 'pending', 1, 0 \
         FROM target_membership m JOIN account a ON a.id = m.account_id JOIN scim_user u ON u.id = a.user_id \
         WHERE a.target_id = $4 AND m.group_ci = $5 AND u.id <> $6{ON_CONFLICT}"
    );
    Ok(on_each!(tx.conn(), |c| diesel::sql_query(sql)
        .bind::<Integer, _>(Priority::Push as i32)
        .bind::<BigInt, _>(now)
        .bind::<Text, _>(cause)
        .bind::<Text, _>(target.as_str())
        .bind::<Text, _>(crate::scim::fold::fold_text(group))
        .bind::<Text, _>(except.as_str())
        .execute(c))?)
}

/// Makes refused and held items due again because a person asks for it: all of a target, or one user's.
pub fn retry(
    tx: &mut Tx<'_>,
    target: Option<&TargetId>,
    user: Option<&UserId>,
    cause: &str,
    now: Micros,
) -> Result<usize, Error> {
    let mut query = diesel::update(work_item::table).into_boxed();
    query = match user {
        // For one person, also what waits for its next attempt.
        Some(user) => query.filter(work_item::user_id.eq(user.as_str().to_owned())),
        None => query.filter(work_item::state.eq_any(["rejected", "held"])),
    };
    if let Some(target) = target {
        query = query.filter(work_item::target_id.eq(target.as_str().to_owned()));
    }
    try_again(tx, target)?;
    Ok(query
        .set((
            work_item::state.eq("pending"),
            work_item::generation.eq(work_item::generation + 1),
            work_item::attempts.eq(0),
            work_item::due_at.eq(now),
            work_item::cause.eq(cause),
        ))
        .execute(tx.conn())?)
}

/// Lets targets that are not up be tried at once, all or one of them: whoever starts a server or asks for
/// another try may just have put right what was wrong. It is one item that tries, so the breaker stays.
pub fn try_again(tx: &mut Tx<'_>, id: Option<&TargetId>) -> Result<usize, Error> {
    let mut query = diesel::update(target::table)
        .filter(target::state.ne("up"))
        .filter(target::retry_at.is_not_null())
        .into_boxed();
    if let Some(id) = id {
        query = query.filter(target::id.eq(id.as_str().to_owned()));
    }
    Ok(query
        .set(target::retry_at.eq(None::<i64>))
        .execute(tx.conn())?)
}

/// What a worker asks for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Of this target.
    pub target: TargetId,
    /// Only of these connections: those whose mapping is not paused.
    pub connections: Vec<String>,
    /// Who asks. Different for each claim, also by the same server: a lease that ran out and was taken again
    /// must not look like the one that is still held.
    pub owner: String,
    /// The present.
    pub now: Micros,
    /// How long the lease lasts.
    pub lease_until: Micros,
    /// At the most so many.
    pub limit: i64,
    /// To find out whether the target is back: the items that failed least go first, so that one record
    /// which always fails cannot keep the breaker open for the others.
    pub probe: bool,
    /// Only items of people who lose access.
    pub leavers_only: bool,
}

/// Takes a lease on due items of one target, the urgent and the old first.
pub fn claim(tx: &mut Tx<'_>, wanted: &Wanted) -> Result<Vec<Claimed>, Error> {
    let Wanted {
        target,
        connections,
        owner,
        now,
        lease_until,
        limit,
        probe,
        leavers_only,
    } = wanted;
    let (now, lease_until, limit) = (*now, *lease_until, *limit);
    let least_urgent = if *leavers_only {
        Priority::Leaver
    } else {
        Priority::Bulk
    };
    type Row = (String, String, i64, i32, String, i64);
    macro_rules! due {
        () => {
            work_item::table
                .filter(work_item::target_id.eq(target.as_str()))
                .filter(work_item::state.eq("pending"))
                .filter(work_item::due_at.le(now))
                .filter(work_item::priority.le(least_urgent as i32))
                .filter(
                    work_item::lease_until
                        .is_null()
                        .or(work_item::lease_until.lt(now)),
                )
                .filter(work_item::connection_id.eq_any(connections))
                .limit(limit)
                .select((
                    work_item::user_id,
                    work_item::connection_id,
                    work_item::generation,
                    work_item::attempts,
                    work_item::cause,
                    work_item::marked_at,
                ))
        };
    }
    macro_rules! usual {
        () => {
            due!().order((work_item::priority, work_item::due_at))
        };
    }
    macro_rules! probing {
        () => {
            due!().order((work_item::attempts, work_item::priority, work_item::due_at))
        };
    }
    let rows: Vec<Row> = match (tx.conn(), probe) {
        (AnyConn::Postgres(c), false) => usual!().for_update().skip_locked().load(c)?,
        (AnyConn::Postgres(c), true) => probing!().for_update().skip_locked().load(c)?,
        (AnyConn::Sqlite(c), false) => usual!().load(c)?,
        (AnyConn::Sqlite(c), true) => probing!().load(c)?,
    };
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<&str> = rows.iter().map(|row| row.0.as_str()).collect();
    diesel::update(
        work_item::table
            .filter(work_item::target_id.eq(target.as_str()))
            .filter(work_item::user_id.eq_any(&ids)),
    )
    .set((
        work_item::lease_owner.eq(owner.as_str()),
        work_item::lease_until.eq(lease_until),
    ))
    .execute(tx.conn())?;
    Ok(rows
        .into_iter()
        .map(
            |(user_id, connection_id, generation, attempts, cause, marked_at)| Claimed {
                target_id: target.clone(),
                user_id: UserId(user_id),
                connection_id: ConnectionId(connection_id),
                generation,
                attempts,
                cause,
                lease_owner: owner.clone(),
                marked_at,
            },
        )
        .collect())
}

macro_rules! held_by {
    ($item:expr) => {
        work_item::table
            .filter(work_item::target_id.eq($item.target_id.as_str()))
            .filter(work_item::user_id.eq($item.user_id.as_str()))
            .filter(work_item::lease_owner.eq($item.lease_owner.as_str()))
    };
}

/// Keeps an item for longer. False: the lease was lost, and the worker must stop.
pub fn renew(tx: &mut Tx<'_>, item: &Claimed, lease_until: Micros) -> Result<bool, Error> {
    Ok(diesel::update(held_by!(item))
        .set(work_item::lease_until.eq(lease_until))
        .execute(tx.conn())?
        > 0)
}

/// Ends an item, unless it was marked again in the meantime: then it is due at once.
pub fn finish(tx: &mut Tx<'_>, item: &Claimed) -> Result<(), Error> {
    let ended = diesel::delete(
        work_item::table
            .filter(work_item::target_id.eq(item.target_id.as_str()))
            .filter(work_item::user_id.eq(item.user_id.as_str()))
            .filter(work_item::lease_owner.eq(item.lease_owner.as_str()))
            .filter(work_item::generation.eq(item.generation)),
    )
    .execute(tx.conn())?;
    if ended == 0 {
        release(tx, item)?;
    }
    Ok(())
}

/// Gives an item back as it is.
pub fn release(tx: &mut Tx<'_>, item: &Claimed) -> Result<(), Error> {
    diesel::update(held_by!(item))
        .set((
            work_item::lease_owner.eq(None::<String>),
            work_item::lease_until.eq(None::<i64>),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// Puts an item off after a failure that time may cure. `counts`: whether the attempt was the item's own.
pub fn postpone(
    tx: &mut Tx<'_>,
    item: &Claimed,
    due_at: Micros,
    error: &str,
    counts: bool,
) -> Result<(), Error> {
    diesel::update(held_by!(item).filter(work_item::generation.eq(item.generation)))
        .set((
            work_item::due_at.eq(due_at),
            work_item::attempts.eq(work_item::attempts + i32::from(counts)),
            work_item::last_error.eq(error),
        ))
        .execute(tx.conn())?;
    release(tx, item)
}

/// Puts an item where only a change or a person moves it, unless it was marked again in the meantime.
pub fn park(tx: &mut Tx<'_>, item: &Claimed, state: Parked, why: &str) -> Result<(), Error> {
    diesel::update(held_by!(item).filter(work_item::generation.eq(item.generation)))
        .set((
            work_item::state.eq(state.as_str()),
            work_item::attempts.eq(work_item::attempts + 1),
            work_item::last_error.eq(why),
        ))
        .execute(tx.conn())?;
    release(tx, item)
}

/// Lets an item rest until an instant, unless it was marked again in the meantime. It does not count as pending:
/// nothing is out of step.
pub fn rest(tx: &mut Tx<'_>, item: &Claimed, until: Micros, why: &str) -> Result<(), Error> {
    diesel::update(held_by!(item).filter(work_item::generation.eq(item.generation)))
        .set((
            work_item::state.eq(Parked::Grace.as_str()),
            work_item::due_at.eq(until),
            work_item::attempts.eq(0),
            work_item::last_error.eq(why),
        ))
        .execute(tx.conn())?;
    release(tx, item)
}

/// Whether an item rests whose time has come.
pub fn is_time(conn: &mut AnyConn, now: Micros) -> Result<bool, Error> {
    let due = work_item::table
        .filter(work_item::state.eq(Parked::Grace.as_str()))
        .filter(work_item::due_at.le(now));
    Ok(diesel::select(diesel::dsl::exists(due)).get_result(conn)?)
}

/// Makes what rests pending again when its time has come.
pub fn wake(tx: &mut Tx<'_>, now: Micros) -> Result<usize, Error> {
    Ok(diesel::update(
        work_item::table
            .filter(work_item::state.eq(Parked::Grace.as_str()))
            .filter(work_item::due_at.le(now)),
    )
    .set(work_item::state.eq("pending"))
    .execute(tx.conn())?)
}

/// Parks an item of a mapping in shadow mode. `backlog`: the names of the operations that would be done.
pub fn park_in_shadow(
    tx: &mut Tx<'_>,
    item: &Claimed,
    why: &str,
    backlog: &str,
) -> Result<(), Error> {
    diesel::update(held_by!(item).filter(work_item::generation.eq(item.generation)))
        .set(work_item::backlog.eq(backlog))
        .execute(tx.conn())?;
    park(tx, item, Parked::Shadow, why)
}

/// What a mapping in shadow mode would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Name of an operation, and how many of it.
    pub operations: BTreeMap<String, i64>,
    /// For so many people.
    pub people: i64,
    /// So many people have not been looked at yet.
    pub unseen: i64,
}

/// Counts what a mapping in shadow mode would do.
pub fn backlog(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    target: &TargetId,
) -> Result<Backlog, Error> {
    let rows: Vec<(String, Option<String>, i64)> = work_item::table
        .filter(work_item::target_id.eq(target.as_str()))
        .filter(work_item::connection_id.eq(connection.as_str()))
        .filter(work_item::state.eq_any(["shadow", "pending"]))
        .group_by((work_item::state, work_item::backlog))
        .select((
            work_item::state,
            work_item::backlog,
            diesel::dsl::count_star(),
        ))
        .load(conn)?;
    let mut sum = Backlog::default();
    for (state, names, people) in rows {
        if state == "pending" {
            sum.unseen += people;
            continue;
        }
        sum.people += people;
        for name in names.iter().flat_map(|names| names.split_whitespace()) {
            *sum.operations.entry(name.to_owned()).or_default() += people;
        }
    }
    Ok(sum)
}

/// Ends every lease: for the start of the only server of a database, after a crash.
pub fn release_all(tx: &mut Tx<'_>) -> Result<usize, Error> {
    Ok(
        diesel::update(work_item::table.filter(work_item::lease_owner.is_not_null()))
            .set((
                work_item::lease_owner.eq(None::<String>),
                work_item::lease_until.eq(None::<i64>),
            ))
            .execute(tx.conn())?,
    )
}

/// The items of one user.
pub fn of_user(conn: &mut AnyConn, user: &UserId) -> Result<Vec<Item>, Error> {
    Ok(work_item::table
        .filter(work_item::user_id.eq(user.as_str()))
        .select((
            work_item::target_id,
            work_item::state,
            work_item::attempts,
            work_item::due_at,
            work_item::marked_at,
            work_item::lease_until,
            work_item::last_error,
            work_item::cause,
        ))
        .load(conn)?)
}

/// An item that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct HeldItem {
    /// Where.
    pub target_id: String,
    /// Whose.
    pub user_id: String,
    /// The person's user name at the source.
    pub user_name: String,
    /// When it was marked last.
    pub marked_at: Micros,
    /// Why it is held.
    pub reason: Option<String>,
    /// What marked it last.
    pub cause: String,
}

impl HeldItem {
    /// Where a later page goes on after this one.
    pub fn place(&self) -> HeldPlace {
        HeldPlace {
            target: self.target_id.clone(),
            marked_at: self.marked_at,
            user: self.user_id.clone(),
        }
    }
}

/// A place in the list of held items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldPlace {
    target: String,
    marked_at: Micros,
    user: String,
}

/// Held items of one target, or of all, without those of which a brake holds something: what the brake holds is
/// in a list of its own. Gives a boxed query; a subquery of diesel's cannot be in one for both databases.
macro_rules! held_otherwise {
    ($items:expr, $target:expr) => {{
        const NOT_BRAKED: &str = "NOT EXISTS (SELECT 1 FROM hold h WHERE h.state = 'held' \
            AND h.target_id = work_item.target_id AND h.subject = work_item.user_id)";
        let items = $items
            .filter(work_item::state.eq("held"))
            .filter(diesel::dsl::sql::<Bool>(NOT_BRAKED))
            .into_boxed();
        let target: Option<&TargetId> = $target;
        match target {
            Some(target) => items.filter(work_item::target_id.eq(target.as_str())),
            None => items,
        }
    }};
}

/// Items that wait for a person and not because of a brake, the oldest of each target first; beyond `after`, at
/// most `limit`.
pub fn held(
    conn: &mut AnyConn,
    target: Option<&TargetId>,
    after: Option<&HeldPlace>,
    limit: i64,
) -> Result<Vec<HeldItem>, Error> {
    let items = work_item::table
        .inner_join(scim_user::table.on(scim_user::id.eq(work_item::user_id)))
        .select((
            work_item::target_id,
            work_item::user_id,
            scim_user::user_name,
            work_item::marked_at,
            work_item::last_error,
            work_item::cause,
        ));
    let mut items = held_otherwise!(items, target);
    if let Some(place) = after {
        let later = work_item::marked_at.gt(place.marked_at);
        let at_once = work_item::marked_at
            .eq(place.marked_at)
            .and(work_item::user_id.gt(&place.user));
        items = items.filter(
            work_item::target_id
                .gt(&place.target)
                .or(work_item::target_id
                    .eq(&place.target)
                    .and(later.or(at_once))),
        );
    }
    Ok(items
        .order((
            work_item::target_id,
            work_item::marked_at,
            work_item::user_id,
        ))
        .limit(limit)
        .load(conn)?)
}

/// How many items wait for a person and not because of a brake.
pub fn held_count(conn: &mut AnyConn, target: Option<&TargetId>) -> Result<i64, Error> {
    let items = work_item::table.select(diesel::dsl::count_star());
    Ok(held_otherwise!(items, target).first(conn)?)
}

/// People whom a target refused for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Refusals {
    /// Name of the target.
    #[diesel(sql_type = Text)]
    pub target: String,
    /// The product's words.
    #[diesel(sql_type = Text)]
    pub words: String,
    /// How many people.
    #[diesel(sql_type = BigInt)]
    pub people: i64,
    /// SCIM id of one of them.
    #[diesel(sql_type = Text)]
    pub sample_id: String,
    /// User name of that one.
    #[diesel(sql_type = Text)]
    pub sample_name: String,
}

/// What targets refused, grouped by their words, the most frequent first.
pub fn refusals(conn: &mut AnyConn, limit: i64) -> Result<Vec<Refusals>, Error> {
    const SQL: &str = "\
        SELECT t.name AS target, g.words AS words, g.people AS people, g.sample_id AS sample_id, \
            u.user_name AS sample_name \
        FROM (SELECT target_id, coalesce(last_error, '') AS words, count(*) AS people, min(user_id) AS sample_id \
            FROM work_item WHERE state = 'rejected' GROUP BY target_id, coalesce(last_error, '')) g \
        JOIN target t ON t.id = g.target_id JOIN scim_user u ON u.id = g.sample_id \
        ORDER BY g.people DESC, t.name, g.words LIMIT $1";
    Ok(on_each!(conn, |c| diesel::sql_query(SQL)
        .bind::<BigInt, _>(limit)
        .load(c))?)
}

/// Whether no worker is at a user's item at a target; if so, none begins before the transaction ends.
pub fn lock_idle(
    tx: &mut Tx<'_>,
    target: &TargetId,
    user: &UserId,
    now: Micros,
) -> Result<bool, Error> {
    // An update locks the row on PostgreSQL, where a claim passes over locked rows.
    let until: Option<Option<i64>> =
        diesel::update(work_item::table.find((target.as_str(), user.as_str())))
            .set(work_item::generation.eq(work_item::generation))
            .returning(work_item::lease_until)
            .get_result(tx.conn())
            .optional()?;
    Ok(until.flatten().is_none_or(|until| until < now))
}

/// Whether a user has work at a target that goes on by itself.
pub fn is_pending(conn: &mut AnyConn, target: &TargetId, user: &UserId) -> Result<bool, Error> {
    let state: Option<String> = work_item::table
        .find((target.as_str(), user.as_str()))
        .select(work_item::state)
        .first(conn)
        .optional()?;
    Ok(state.is_some_and(|state| state == "pending"))
}

/// Tries again what is held of a connection at a target because an account is somebody else's: it may be so no more.
/// What a brake holds stays where it is.
pub fn try_held_again(
    tx: &mut Tx<'_>,
    target: &TargetId,
    connection: &ConnectionId,
    now: Micros,
) -> Result<usize, Error> {
    const SQL: &str = "UPDATE work_item SET state = 'pending', generation = generation + 1, attempts = 0, \
        due_at = $1 WHERE target_id = $2 AND connection_id = $3 AND state = 'held' \
        AND NOT EXISTS (SELECT 1 FROM hold h WHERE h.target_id = work_item.target_id \
                        AND h.subject = work_item.user_id)";
    Ok(on_each!(tx.conn(), |c| diesel::sql_query(SQL)
        .bind::<BigInt, _>(now)
        .bind::<Text, _>(target.as_str())
        .bind::<Text, _>(connection.as_str())
        .execute(c))?)
}

/// Whether an item of a target is due or worked on.
pub fn is_busy(conn: &mut AnyConn, target: &TargetId, now: Micros) -> Result<bool, Error> {
    let due = work_item::table
        .filter(work_item::target_id.eq(target.as_str()))
        .filter(work_item::state.eq("pending"))
        .filter(work_item::due_at.le(now));
    Ok(diesel::select(diesel::dsl::exists(due)).get_result(conn)?)
}

/// How many items of a target are due now, and when the next one is due if none is.
pub fn due(
    conn: &mut AnyConn,
    target: &TargetId,
    now: Micros,
) -> Result<(i64, Option<Micros>), Error> {
    let pending = || {
        work_item::table
            .filter(work_item::target_id.eq(target.as_str()))
            .filter(work_item::state.eq("pending"))
    };
    let due: i64 = pending()
        .filter(work_item::due_at.le(now))
        .count()
        .get_result(conn)?;
    let next: Option<i64> = pending()
        .select(diesel::dsl::min(work_item::due_at))
        .first(conn)?;
    Ok((due, next))
}

/// How many users are due at a target who have no account in the ledger; no more than `most` are counted.
pub fn first_contacts(
    conn: &mut AnyConn,
    target: &TargetId,
    now: Micros,
    most: i64,
) -> Result<usize, Error> {
    let known = account::table
        .filter(account::target_id.eq(work_item::target_id))
        .filter(account::user_id.eq(work_item::user_id));
    let users: Vec<String> = work_item::table
        .filter(work_item::target_id.eq(target.as_str()))
        .filter(work_item::state.eq("pending"))
        .filter(work_item::due_at.le(now))
        .filter(not(exists(known)))
        .select(work_item::user_id)
        .limit(most)
        .load(conn)?;
    Ok(users.len())
}

/// The breaker of a target.
pub fn health(conn: &mut AnyConn, id: &TargetId) -> Result<Option<Health>, Error> {
    type Row = (String, i32, Option<i64>, Option<String>, Option<i64>);
    let row: Option<Row> = target::table
        .find(id.as_str())
        .select((
            target::state,
            target::failures,
            target::retry_at,
            target::last_error,
            target::last_success_at,
        ))
        .first(conn)
        .optional()?;
    Ok(row.map(
        |(state, failures, retry_at, last_error, last_success_at)| Health {
            state,
            failures,
            retry_at,
            last_error,
            last_success_at,
        },
    ))
}

/// Notes that a target did what it was asked. Closing its breaker makes everything that waited for it due.
pub fn target_succeeded(tx: &mut Tx<'_>, id: &TargetId, now: Micros) -> Result<(), Error> {
    // At most one write a second: the row is shared by every worker of the target.
    let stale = now - 1_000_000;
    let Some(before) = health(tx.conn(), id)? else {
        return Ok(());
    };
    if before.state == "up"
        && before.failures == 0
        && before.last_success_at.is_some_and(|at| at > stale)
    {
        return Ok(());
    }
    // A target that is up and has asked for a pause keeps it: what was under way when it asked may well
    // succeed after that.
    let pause = before.retry_at.filter(|_| before.state == "up");
    diesel::update(target::table.find(id.as_str()))
        .set((
            target::state.eq("up"),
            target::failures.eq(0),
            target::retry_at.eq(pause),
            target::last_success_at.eq(now),
        ))
        .execute(tx.conn())?;
    if before.state != "up" {
        make_due(tx, id, now)?;
    }
    Ok(())
}

/// Makes everything due that waits for its next attempt at a target.
pub fn make_due(tx: &mut Tx<'_>, id: &TargetId, now: Micros) -> Result<(), Error> {
    diesel::update(
        work_item::table
            .filter(work_item::target_id.eq(id.as_str()))
            .filter(work_item::state.eq("pending"))
            .filter(work_item::due_at.gt(now)),
    )
    .set(work_item::due_at.eq(now))
    .execute(tx.conn())?;
    Ok(())
}

/// Notes a failure of a target: `state` as it is from now on, and when it is tried again if it is not up.
/// Without such an instant a pause that was asked for stays.
pub fn target_failed(
    tx: &mut Tx<'_>,
    id: &TargetId,
    state: &str,
    retry_at: Option<Micros>,
    error: &str,
) -> Result<(), Error> {
    diesel::update(target::table.find(id.as_str()))
        .set((
            target::state.eq(state),
            target::failures.eq(target::failures + 1),
            // `None` leaves the column as it is.
            retry_at.map(|at| target::retry_at.eq(Some(at))),
            target::last_error.eq(error),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// Notes that a target asked everyone to wait: not a failure of it.
pub fn target_throttled(tx: &mut Tx<'_>, id: &TargetId, retry_at: Micros) -> Result<(), Error> {
    diesel::update(target::table.find(id.as_str()))
        .set(target::retry_at.eq(retry_at))
        .execute(tx.conn())?;
    Ok(())
}

/// How many items of a target are in one state.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Depth {
    /// Where.
    pub target_id: String,
    /// As [`Item::state`].
    pub state: String,
    /// How many.
    pub items: i64,
    /// When the oldest of them was marked.
    pub oldest_at: Option<Micros>,
}

/// How long the queues are.
pub fn depths(conn: &mut AnyConn) -> Result<Vec<Depth>, Error> {
    Ok(work_item::table
        .group_by((work_item::target_id, work_item::state))
        .select((
            work_item::target_id,
            work_item::state,
            diesel::dsl::count_star(),
            diesel::dsl::min(work_item::marked_at),
        ))
        .load(conn)?)
}

/// The state of every target.
pub fn status(conn: &mut AnyConn) -> Result<Vec<TargetStatus>, Error> {
    let depths = depths(conn)?;
    status_with(conn, &depths)
}

/// The same, with the length of the queues as it was read.
pub fn status_with(conn: &mut AnyConn, depths: &[Depth]) -> Result<Vec<TargetStatus>, Error> {
    type Row = (
        String,
        String,
        String,
        i32,
        Option<i64>,
        Option<String>,
        Option<i64>,
    );
    let targets: Vec<Row> = target::table
        .order(target::name)
        .select((
            target::id,
            target::name,
            target::state,
            target::failures,
            target::retry_at,
            target::last_error,
            target::last_success_at,
        ))
        .load(conn)?;
    let braked: Vec<(String, i64)> = hold::table
        .filter(hold::state.eq("held"))
        .group_by(hold::target_id)
        .select((
            hold::target_id,
            diesel::dsl::count(hold::subject).aggregate_distinct(),
        ))
        .load(conn)?;
    let paused = pause::paused(conn)?;
    Ok(targets
        .into_iter()
        .map(
            |(id, name, state, failures, retry_at, last_error, last_success_at)| {
                let of = |wanted: &str| {
                    depths
                        .iter()
                        .find(|depth| depth.target_id == id && depth.state == wanted)
                };
                let count = |wanted: &str| of(wanted).map_or(0, |depth| depth.items);
                TargetStatus {
                    pending: count("pending"),
                    waiting: count("waiting"),
                    held: count("held"),
                    braked: braked.iter().find(|row| row.0 == id).map_or(0, |row| row.1),
                    pause: paused
                        .iter()
                        .find(|(target, _)| target.as_str() == id)
                        .map(|(_, pause)| pause.clone()),
                    failed: count("rejected"),
                    shadow: count("shadow"),
                    grace: count("grace"),
                    oldest_pending_at: of("pending").and_then(|depth| depth.oldest_at),
                    health: Health {
                        state,
                        failures,
                        retry_at,
                        last_error,
                        last_success_at,
                    },
                    target_id: TargetId(id.clone()),
                    name,
                }
            },
        )
        .collect())
}
