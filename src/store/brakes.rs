//! Brakes: what was removed lately, what is held, and what a person decided about it.
//!
//! [`ask`] counts and reserves in one transaction, under a lock on the brake's row, so that workers and
//! replicas that ask at once cannot overshoot. A removal is known by what it takes from whom: asking for it
//! again, after a failure or a new mark, costs nothing.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use serde::{Deserialize, Serialize};

use super::audit::{self, NewAudit};
use super::conn::{AnyConn, Tx, on_each};
use super::error::Error;
use super::group_work;
use super::schema::{account, brake, hold, removal};
use super::statement::Binds;
use super::work::{self, Priority};
use crate::clock::Micros;
use crate::domain::{
    Brake, Brakes, ConnectionId, Owner, Removal, RemovalKind, TargetId, UserId, WHOLE_TARGET,
};
use crate::scim::fold::fold_text;

/// How many are decided about in one statement.
const AT_A_TIME: i64 = 500;

/// The account of the removal `r`, if it has access.
const ACCESS_THERE: &str =
    "account a WHERE a.target_id = r.target_id AND a.user_id = r.subject AND a.active";
/// The membership of the removal `r`, if there is one.
const MEMBERSHIP_THERE: &str = "account a JOIN target_membership m ON m.account_id = a.id \
     WHERE a.target_id = r.target_id AND a.user_id = r.subject AND m.group_ci = r.group_ci";

/// Whom a removal happens to.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Where.
    pub target: TargetId,
    /// By the rules of this connection.
    pub connection: ConnectionId,
    /// The person in the mirror. `None`: somebody whom only the target knows.
    pub user: Option<UserId>,
    /// Tells subjects of one target apart: the user's id, where there is one.
    pub key: String,
    /// For people.
    pub name: String,
    /// Why the removal is wanted, in one word. A decision against it holds for this reason alone.
    pub basis: String,
    /// What set it off.
    pub cause: String,
}

/// What a brake says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Do it.
    Go,
    /// Not before a person agrees; why, in words.
    Held(String),
    /// A person decided against it.
    Discarded,
}

/// A removal that is held, or was decided about.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Hold {
    /// Where.
    pub target_id: String,
    /// The key of the brake.
    pub kind: String,
    /// See [`Subject::key`].
    pub subject: String,
    /// The group, for a membership; empty for an account.
    pub group: String,
    /// The person in the mirror.
    pub user_id: Option<String>,
    /// By the rules of this connection.
    pub connection_id: String,
    /// For people.
    pub user_name: String,
    /// `held`, `released` or `discarded`.
    pub state: String,
    /// See [`Subject::basis`].
    pub basis: String,
    /// Since when it is held.
    pub since: Micros,
    /// What set the removal off.
    pub cause: String,
    /// What the brake said.
    pub reason: String,
    /// Set by an undo: what is held was given back before, and whose it was.
    pub gives_back: Option<String>,
}

type HoldColumns = (
    hold::target_id,
    hold::kind,
    hold::subject,
    hold::group_name,
    hold::user_id,
    hold::connection_id,
    hold::user_name,
    hold::state,
    hold::basis,
    hold::since,
    hold::cause,
    hold::reason,
    hold::gives_back,
);
const HOLD_COLUMNS: HoldColumns = (
    hold::target_id,
    hold::kind,
    hold::subject,
    hold::group_name,
    hold::user_id,
    hold::connection_id,
    hold::user_name,
    hold::state,
    hold::basis,
    hold::since,
    hold::cause,
    hold::reason,
    hold::gives_back,
);

impl Hold {
    /// Whether this is about `removal`. An access that an undo gave back is not taken by a deletion either.
    pub fn is_about(&self, removal: &Removal) -> bool {
        let is_its_kind = self.kind == removal.kind.as_str()
            || self.is_undone()
                && removal.kind == RemovalKind::Deletion
                && self.kind == RemovalKind::Deactivation.as_str();
        is_its_kind && fold_text(&self.group) == fold_text(&removal.group)
    }

    /// Whether an undo gives back what this is about, and nobody has released it since.
    pub fn is_undone(&self) -> bool {
        self.gives_back.is_some() && self.state != "released"
    }
}

/// A brake that is on.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Tripped {
    /// Where.
    pub target_id: String,
    /// Its key.
    pub kind: String,
    /// The group, folded; empty for the whole target.
    pub group: String,
    /// Since when.
    pub tripped_at: Option<Micros>,
    /// When it last had to hold something.
    pub last_at: Option<Micros>,
    /// In words.
    pub reason: String,
}

/// Asks whether a removal may be done now, and reserves it if so.
///
/// What is held stays held however often it is asked for, and does not count. Once a brake is on, every new
/// removal of its kind is held until a window has passed without a new one, or a person has released all.
pub fn ask(
    tx: &mut Tx<'_>,
    brakes: &Brakes,
    subject: &Subject,
    wanted: &Removal,
    now: Micros,
) -> Result<Answer, Error> {
    let limit = brakes.on(wanted.kind);
    match decided(tx.conn(), limit, subject, wanted)? {
        Decided::Answer(answer) => return Ok(answer),
        Decided::Released => {
            reserve(tx, subject, wanted, false, now)?;
            return Ok(Answer::Go);
        }
        Decided::Void(known) => strike(tx, &known)?,
        Decided::Open => {}
    }
    let Some(limit) = limit else {
        reserve(tx, subject, wanted, true, now)?;
        return Ok(Answer::Go);
    };
    let nothing = Ahead::default();
    let window = Window::of(&subject.target, wanted.kind, limit, now, &nothing);
    window.lock(tx)?;
    let refusal = if window.has(tx.conn(), subject, wanted)? {
        None
    } else {
        window.refusal(tx.conn(), limit, wanted)?
    };
    let Some(refusal) = refusal else {
        reserve(tx, subject, wanted, true, now)?;
        return Ok(Answer::Go);
    };
    if refusal.was_on {
        window.goes_on(tx, &refusal.of, now)?;
    } else {
        window.trip(tx, &refusal.of, &refusal.why, now)?;
    }
    put_hold(tx, subject, wanted, &refusal.why, now)?;
    Ok(Answer::Held(refusal.why))
}

/// What a plan assumes that the removals before have done to the brakes of one target.
#[derive(Debug, Clone, Default)]
pub struct Ahead {
    /// How many pass, of a kind in all, and of each group.
    counted: BTreeMap<(RemovalKind, String), u64>,
    /// Brakes that go on, and why.
    on: BTreeMap<(RemovalKind, String), String>,
}

impl Ahead {
    fn count(&mut self, wanted: &Removal) {
        let whole = (wanted.kind, WHOLE_TARGET.to_owned());
        *self.counted.entry(whole).or_default() += 1;
        if wanted.kind == RemovalKind::MembershipRemoval {
            let group = (wanted.kind, fold_text(&wanted.group));
            *self.counted.entry(group).or_default() += 1;
        }
    }

    fn counted(&self, kind: RemovalKind, group: &str) -> u64 {
        let known = self.counted.get(&(kind, group.to_owned()));
        known.copied().unwrap_or_default()
    }
}

/// What [`ask`] would say once what is `ahead` is done; writes nothing.
pub fn foresee(
    conn: &mut AnyConn,
    ahead: &mut Ahead,
    brakes: &Brakes,
    subject: &Subject,
    wanted: &Removal,
    now: Micros,
) -> Result<Answer, Error> {
    let limit = brakes.on(wanted.kind);
    match decided(conn, limit, subject, wanted)? {
        Decided::Answer(answer) => return Ok(answer),
        Decided::Released => return Ok(Answer::Go),
        Decided::Void(_) | Decided::Open => {}
    }
    if let Some(limit) = limit {
        let window = Window::of(&subject.target, wanted.kind, limit, now, ahead);
        if window.has(conn, subject, wanted)? {
            return Ok(Answer::Go);
        }
        if let Some(Refusal { of, why, .. }) = window.refusal(conn, limit, wanted)? {
            ahead.on.insert((wanted.kind, of), why.clone());
            return Ok(Answer::Held(why));
        }
    }
    ahead.count(wanted);
    Ok(Answer::Go)
}

/// What was said about a removal before.
enum Decided {
    /// This, and it still holds.
    Answer(Answer),
    /// A person released it.
    Released,
    /// Something that does not hold any more.
    Void(Box<Hold>),
    /// Nothing.
    Open,
}

fn decided(
    conn: &mut AnyConn,
    limit: Option<&Brake>,
    subject: &Subject,
    wanted: &Removal,
) -> Result<Decided, Error> {
    let known = of_subject(conn, &subject.target, &subject.key)?;
    // What the brake of this kind said, before what an undo of another kind keeps.
    let own = |hold: &&Hold| hold.kind == wanted.kind.as_str();
    let mut about = known.iter().filter(|hold| hold.is_about(wanted));
    let Some(known) = about.clone().find(own).or_else(|| about.next()).cloned() else {
        return Ok(Decided::Open);
    };
    Ok(match known.state.as_str() {
        "discarded" if known.basis == subject.basis => Decided::Answer(Answer::Discarded),
        "discarded" => Decided::Void(Box::new(known)),
        "released" => Decided::Released,
        // Whoever switched the brake off has decided.
        _ if limit.is_none() && known.gives_back.is_none() => Decided::Void(Box::new(known)),
        _ => Decided::Answer(Answer::Held(known.reason)),
    })
}

/// What one kind of removals did at one target lately.
struct Window<'a> {
    target: &'a TargetId,
    kind: RemovalKind,
    since: Micros,
    ahead: &'a Ahead,
}

/// One more is too much.
struct Refusal {
    /// The group whose brake it is, folded; empty for the whole target.
    of: String,
    why: String,
    /// The brake was on before.
    was_on: bool,
}

impl<'a> Window<'a> {
    fn of(
        target: &'a TargetId,
        kind: RemovalKind,
        limit: &Brake,
        now: Micros,
        ahead: &'a Ahead,
    ) -> Self {
        let window = i64::try_from(limit.window_s).map_or(i64::MAX / 4, |s| s * 1_000_000);
        Self {
            target,
            kind,
            since: now - window,
            ahead,
        }
    }

    /// Keeps others from counting until the transaction ends. On PostgreSQL the update locks the row; SQLite has
    /// one writer.
    fn lock(&self, tx: &mut Tx<'_>) -> Result<(), Error> {
        on_each!(tx.conn(), |c| diesel::insert_into(brake::table)
            .values((
                brake::target_id.eq(self.target.as_str()),
                brake::kind.eq(self.kind.as_str()),
                brake::group_ci.eq(WHOLE_TARGET),
                brake::reason.eq(""),
            ))
            .on_conflict((brake::target_id, brake::kind, brake::group_ci))
            .do_update()
            .set(brake::kind.eq(self.kind.as_str()))
            .execute(c))?;
        Ok(())
    }

    /// Whether this very removal counts already. What does not count was done by the word of a person: to do it once
    /// more, after it was undone, is something new.
    fn has(&self, conn: &mut AnyConn, subject: &Subject, wanted: &Removal) -> Result<bool, Error> {
        let at: Option<i64> = removal::table
            .find((
                self.target.as_str(),
                self.kind.as_str(),
                subject.key.as_str(),
                fold_text(&wanted.group),
            ))
            .filter(removal::at.gt(self.since))
            .filter(removal::counted.eq(true))
            .select(removal::at)
            .first(conn)
            .optional()?;
        Ok(at.is_some())
    }

    /// Why one more is too much, if it is.
    fn refusal(
        &self,
        conn: &mut AnyConn,
        limit: &Brake,
        wanted: &Removal,
    ) -> Result<Option<Refusal>, Error> {
        let on = |of: &str, why: String| Refusal {
            of: of.to_owned(),
            why,
            was_on: true,
        };
        let span = span(limit.window_s);
        if let Some(why) = self.still_on(conn, WHOLE_TARGET)? {
            return Ok(Some(on(WHOLE_TARGET, why)));
        }
        let used = self.used(conn, WHOLE_TARGET)?;
        let most = self.most(conn, limit, used)?;
        if used >= most {
            return Ok(Some(Refusal {
                of: WHOLE_TARGET.to_owned(),
                why: format!(
                    "the brake on {} is on: {most} within {span} is the limit at this target",
                    self.kind.as_str()
                ),
                was_on: false,
            }));
        }
        if wanted.kind != RemovalKind::MembershipRemoval {
            return Ok(None);
        }
        let folded = fold_text(&wanted.group);
        if let Some(why) = self.still_on(conn, &folded)? {
            return Ok(Some(on(&folded, why)));
        }
        let used = self.used(conn, &folded)?;
        let size = self.size(conn, &folded, limit.enough())?;
        let Some(most) = limit.group_limit(size).filter(|most| used >= *most) else {
            return Ok(None);
        };
        let why = format!(
            "the brake on {} is on for group {:?}: {most} within {span} is the limit for its {size} members",
            self.kind.as_str(),
            wanted.group,
        );
        Ok(Some(Refusal {
            of: folded,
            why,
            was_on: false,
        }))
    }

    /// How many pass, as far as that has to be known to tell whether `used` is less.
    fn most(&self, conn: &mut AnyConn, limit: &Brake, used: u64) -> Result<u64, Error> {
        let least = limit.limit(0);
        let most = limit.limit(u64::MAX);
        if used < least || used >= most {
            // The population does not matter.
            return Ok(if used < least { least } else { most });
        }
        Ok(limit.limit(self.size(conn, WHOLE_TARGET, limit.enough())?))
    }

    /// If the brake tripped and something was held within the window: why.
    fn still_on(&self, conn: &mut AnyConn, group: &str) -> Result<Option<String>, Error> {
        if let Some(why) = self.ahead.on.get(&(self.kind, group.to_owned())) {
            return Ok(Some(why.clone()));
        }
        Ok(brake::table
            .find((self.target.as_str(), self.kind.as_str(), group))
            .filter(brake::last_at.gt(self.since))
            .select(brake::reason)
            .first(conn)
            .optional()?)
    }

    /// A brake that was on holds something more: that counts from now.
    fn goes_on(&self, tx: &mut Tx<'_>, group: &str, now: Micros) -> Result<(), Error> {
        diesel::update(brake::table.find((self.target.as_str(), self.kind.as_str(), group)))
            .set(brake::last_at.eq(now))
            .execute(tx.conn())?;
        Ok(())
    }

    fn trip(&self, tx: &mut Tx<'_>, group: &str, why: &str, now: Micros) -> Result<(), Error> {
        on_each!(tx.conn(), |c| diesel::insert_into(brake::table)
            .values((
                brake::target_id.eq(self.target.as_str()),
                brake::kind.eq(self.kind.as_str()),
                brake::group_ci.eq(group),
                brake::tripped_at.eq(now),
                brake::last_at.eq(now),
                brake::reason.eq(why),
            ))
            .on_conflict((brake::target_id, brake::kind, brake::group_ci))
            .do_update()
            .set((
                brake::tripped_at.eq(now),
                brake::last_at.eq(now),
                brake::reason.eq(why),
            ))
            .execute(c))?;
        Ok(())
    }

    /// Removals within the window, of the whole target or of one group.
    fn used(&self, conn: &mut AnyConn, group: &str) -> Result<u64, Error> {
        let mut query = removal::table
            .filter(removal::target_id.eq(self.target.as_str()))
            .filter(removal::kind.eq(self.kind.as_str()))
            .filter(removal::at.gt(self.since))
            .filter(removal::counted.eq(true))
            .into_boxed();
        if group != WHOLE_TARGET {
            query = query.filter(removal::group_ci.eq(group.to_owned()));
        }
        let done = number(query.count().get_result(conn)?);
        Ok(done + self.ahead.counted(self.kind, group))
    }

    /// How many there were of one group, or of the whole target, at the beginning of the window: what is there, and
    /// what was removed since and has not come back. Counted no further than `enough`.
    fn size(&self, conn: &mut AnyConn, group: &str, enough: u64) -> Result<u64, Error> {
        let mut binds = Binds::default();
        let target = binds.text(self.target.0.clone());
        let kind = binds.text(self.kind.as_str().to_owned());
        let since = binds.integer(self.since);
        let enough = binds.integer(i64::try_from(enough).unwrap_or(i64::MAX));
        let in_group = binds.text(group.to_owned());
        let (there, back) = match (self.kind, group) {
            (RemovalKind::MembershipRemoval, WHOLE_TARGET) => (
                format!(
                    "account a JOIN target_membership m ON m.account_id = a.id \
                     WHERE a.target_id = {target}"
                ),
                MEMBERSHIP_THERE,
            ),
            (RemovalKind::MembershipRemoval, _) => (
                format!(
                    "target_membership m JOIN account a ON a.id = m.account_id \
                     WHERE m.group_ci = {in_group} AND a.target_id = {target}"
                ),
                MEMBERSHIP_THERE,
            ),
            (RemovalKind::Deactivation | RemovalKind::Deletion, _) => (
                format!("account a WHERE a.target_id = {target} AND a.active"),
                ACCESS_THERE,
            ),
        };
        let sql = format!(
            "SELECT count(*) AS n FROM (SELECT a.id FROM {there} LIMIT {enough}) x \
             UNION ALL \
             SELECT count(*) AS n FROM removal r \
             WHERE r.target_id = {target} AND r.kind = {kind} AND r.at > {since} \
             AND ({in_group} = '' OR r.group_ci = {in_group}) AND NOT EXISTS (SELECT 1 FROM {back})"
        );
        let counts: Vec<i64> = on_each!(conn, |c| binds.statement::<BigInt>(&sql, true).load(c))?;
        Ok(counts.into_iter().map(number).sum())
    }
}

fn number(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// A span of time in words: `1h`.
fn span(seconds: u64) -> String {
    match seconds {
        s if s % 3600 == 0 => format!("{}h", s / 3600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// Writes a removal down before it is done.
fn reserve(
    tx: &mut Tx<'_>,
    subject: &Subject,
    wanted: &Removal,
    counted: bool,
    now: Micros,
) -> Result<(), Error> {
    on_each!(tx.conn(), |c| diesel::insert_into(removal::table)
        .values((
            removal::target_id.eq(subject.target.as_str()),
            removal::kind.eq(wanted.kind.as_str()),
            removal::subject.eq(&subject.key),
            removal::group_ci.eq(fold_text(&wanted.group)),
            removal::at.eq(now),
            removal::counted.eq(counted),
        ))
        .on_conflict((
            removal::target_id,
            removal::kind,
            removal::subject,
            removal::group_ci
        ))
        .do_update()
        .set((removal::at.eq(now), removal::counted.eq(counted)))
        .execute(c))?;
    Ok(())
}

/// Takes back what [`ask`] reserved: it will not be done.
pub fn give_back(tx: &mut Tx<'_>, subject: &Subject, wanted: &Removal) -> Result<(), Error> {
    diesel::delete(removal::table.find((
        subject.target.as_str(),
        wanted.kind.as_str(),
        subject.key.as_str(),
        fold_text(&wanted.group),
    )))
    .execute(tx.conn())?;
    Ok(())
}

fn put_hold(
    tx: &mut Tx<'_>,
    subject: &Subject,
    wanted: &Removal,
    why: &str,
    now: Micros,
) -> Result<(), Error> {
    diesel::insert_into(hold::table)
        .values((
            hold::target_id.eq(subject.target.as_str()),
            hold::kind.eq(wanted.kind.as_str()),
            hold::subject.eq(&subject.key),
            hold::group_ci.eq(fold_text(&wanted.group)),
            hold::group_name.eq(&wanted.group),
            hold::user_id.eq(subject.user.as_ref().map(UserId::as_str)),
            hold::connection_id.eq(subject.connection.as_str()),
            hold::user_name.eq(&subject.name),
            hold::state.eq("held"),
            hold::basis.eq(&subject.basis),
            hold::since.eq(now),
            hold::cause.eq(&subject.cause),
            hold::reason.eq(why),
        ))
        .execute(tx.conn())?;
    let row = NewAudit {
        at: now,
        actor: None,
        connection_id: Some(subject.connection.clone()),
        target_id: Some(subject.target.clone()),
        user_id: subject.user.clone(),
        user_name: Some(subject.name.clone()),
        operation: "hold".to_owned(),
        detail: detail(wanted.kind.as_str(), &wanted.group),
        outcome: "held".to_owned(),
        message: Some(why.to_owned()),
        cause: subject.cause.clone(),
    };
    audit::append(tx, &row)
}

/// What an undo gives back.
#[derive(Debug, Clone)]
pub struct Return {
    /// What was taken.
    pub removal: Removal,
    /// Whose it was.
    pub owner: Owner,
}

/// Has something given back that was taken, and holds its removal until a person releases it: `by` whom, and `why`
/// that is held.
pub fn undo(
    tx: &mut Tx<'_>,
    subject: &Subject,
    back: &Return,
    (by, why): (&str, &str),
    now: Micros,
) -> Result<(), Error> {
    let Return { removal, owner } = back;
    // It was not right, so it does not count.
    give_back(tx, subject, removal)?;
    let decision = (
        hold::state.eq("held"),
        hold::basis.eq(&subject.basis),
        hold::since.eq(now),
        hold::cause.eq(&subject.cause),
        hold::reason.eq(why),
        hold::decided_by.eq(by),
        hold::decided_at.eq(now),
        hold::gives_back.eq(owner.as_str()),
    );
    on_each!(tx.conn(), |c| diesel::insert_into(hold::table)
        .values((
            hold::target_id.eq(subject.target.as_str()),
            hold::kind.eq(removal.kind.as_str()),
            hold::subject.eq(&subject.key),
            hold::group_ci.eq(fold_text(&removal.group)),
            hold::group_name.eq(&removal.group),
            hold::user_id.eq(subject.user.as_ref().map(UserId::as_str)),
            hold::connection_id.eq(subject.connection.as_str()),
            hold::user_name.eq(&subject.name),
            decision,
        ))
        .on_conflict((hold::target_id, hold::subject, hold::kind, hold::group_ci))
        .do_update()
        .set(decision)
        .execute(c))?;
    let row = NewAudit {
        at: now,
        actor: Some(by.to_owned()),
        connection_id: Some(subject.connection.clone()),
        target_id: Some(subject.target.clone()),
        user_id: subject.user.clone(),
        user_name: Some(subject.name.clone()),
        operation: "give_back".to_owned(),
        detail: detail(removal.kind.as_str(), &removal.group),
        outcome: "held".to_owned(),
        message: Some(why.to_owned()),
        cause: subject.cause.clone(),
    };
    audit::append(tx, &row)
}

fn detail(kind: &str, group: &str) -> String {
    let mut detail = serde_json::json!({ "brake": kind });
    if !group.is_empty() {
        detail["group"] = group.into();
    }
    detail.to_string()
}

fn strike(tx: &mut Tx<'_>, known: &Hold) -> Result<(), Error> {
    diesel::delete(hold::table.find((
        known.target_id.as_str(),
        known.subject.as_str(),
        known.kind.as_str(),
        fold_text(&known.group),
    )))
    .execute(tx.conn())?;
    Ok(())
}

/// What is held of one subject, and what was decided.
pub fn of_subject(
    conn: &mut AnyConn,
    target: &TargetId,
    subject: &str,
) -> Result<Vec<Hold>, Error> {
    Ok(hold::table
        .filter(hold::target_id.eq(target.as_str()))
        .filter(hold::subject.eq(subject))
        .select(HOLD_COLUMNS)
        .load(conn)?)
}

/// Ends what is `over`: the removal was done, or it is not wanted any more. For what was held, the audit says
/// that it cancelled itself and with what `cause`.
pub fn end(tx: &mut Tx<'_>, over: &[Hold], cause: &str, now: Micros) -> Result<(), Error> {
    for known in over {
        strike(tx, known)?;
        if known.state == "held" {
            append(tx, known, "cancel", None, "not wanted any more", cause, now)?;
        }
    }
    Ok(())
}

fn append(
    tx: &mut Tx<'_>,
    known: &Hold,
    operation: &str,
    actor: Option<&str>,
    message: &str,
    cause: &str,
    now: Micros,
) -> Result<(), Error> {
    let row = NewAudit {
        at: now,
        actor: actor.map(str::to_owned),
        connection_id: Some(ConnectionId(known.connection_id.clone())),
        target_id: Some(TargetId(known.target_id.clone())),
        user_id: known.user_id.clone().map(UserId),
        user_name: Some(known.user_name.clone()),
        operation: operation.to_owned(),
        detail: detail(&known.kind, &known.group),
        outcome: "done".to_owned(),
        message: Some(message.to_owned()),
        cause: cause.to_owned(),
    };
    audit::append(tx, &row)
}

/// A place in the list of what is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    target: String,
    kind: String,
    since: Micros,
    subject: String,
    group: String,
}

impl Hold {
    /// Where a later page goes on after this one.
    pub fn place(&self) -> Place {
        Place {
            target: self.target_id.clone(),
            kind: self.kind.clone(),
            since: self.since,
            subject: self.subject.clone(),
            group: fold_text(&self.group),
        }
    }
}

/// `$holds` that are held and that a [`Choice`] covers; `$holds` is boxed.
macro_rules! chosen {
    ($holds:expr, $choice:expr) => {{
        let choice: &Choice = $choice;
        let mut holds = $holds.filter(hold::state.eq("held"));
        if let Some(target) = &choice.target {
            holds = holds.filter(hold::target_id.eq(target.as_str()));
        }
        if let Some(kind) = choice.kind {
            holds = holds.filter(hold::kind.eq(kind.as_str()));
        }
        if let Some(users) = &choice.users {
            let ids: Vec<&str> = users.iter().map(UserId::as_str).collect();
            holds = holds.filter(hold::user_id.eq_any(ids));
        }
        holds
    }};
}

/// What is held, by target and kind, the oldest first; beyond `after`, at most `limit`.
pub fn held(
    conn: &mut AnyConn,
    choice: &Choice,
    after: Option<&Place>,
    limit: i64,
) -> Result<Vec<Hold>, Error> {
    let mut holds = chosen!(hold::table.select(HOLD_COLUMNS).into_boxed(), choice);
    if let Some(Place {
        target,
        kind,
        since,
        subject,
        group,
    }) = after
    {
        let beyond_group = hold::subject.eq(subject).and(hold::group_ci.gt(group));
        let beyond_subject = hold::subject.gt(subject).or(beyond_group);
        let beyond_since = hold::since
            .gt(since)
            .or(hold::since.eq(since).and(beyond_subject));
        let beyond_kind = hold::kind
            .gt(kind)
            .or(hold::kind.eq(kind).and(beyond_since));
        holds = holds.filter(
            hold::target_id
                .gt(target)
                .or(hold::target_id.eq(target).and(beyond_kind)),
        );
    }
    Ok(holds
        .order((
            hold::target_id,
            hold::kind,
            hold::since,
            hold::subject,
            hold::group_ci,
        ))
        .limit(limit)
        .load(conn)?)
}

/// How much one brake holds at one target.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Sum {
    /// Where.
    pub target_id: String,
    /// The key of the brake.
    pub kind: String,
    /// How many removals.
    pub count: i64,
}

/// Counts what is held.
pub fn held_sums(conn: &mut AnyConn) -> Result<Vec<Sum>, Error> {
    Ok(hold::table
        .filter(hold::state.eq("held"))
        .group_by((hold::target_id, hold::kind))
        .select((hold::target_id, hold::kind, diesel::dsl::count_star()))
        .order((hold::target_id, hold::kind))
        .load(conn)?)
}

/// What is held of a group's members whom nobody in the mirror is.
pub fn held_of_strangers(
    conn: &mut AnyConn,
    target: &TargetId,
    group: &str,
) -> Result<Vec<Hold>, Error> {
    Ok(hold::table
        .filter(hold::state.eq("held"))
        .filter(hold::target_id.eq(target.as_str()))
        .filter(hold::user_id.is_null())
        .filter(hold::group_ci.eq(fold_text(group)))
        .select(HOLD_COLUMNS)
        .load(conn)?)
}

/// Every brake that tripped and has not been reset. Whether it is still on depends on its window.
pub fn tripped(conn: &mut AnyConn) -> Result<Vec<Tripped>, Error> {
    Ok(brake::table
        .filter(brake::tripped_at.is_not_null())
        .order((brake::target_id, brake::kind, brake::group_ci))
        .select((
            brake::target_id,
            brake::kind,
            brake::group_ci,
            brake::tripped_at,
            brake::last_at,
            brake::reason,
        ))
        .load(conn)?)
}

/// What a person decides about.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// At this target; else at all.
    pub target: Option<TargetId>,
    /// What this brake holds; else all of them.
    pub kind: Option<RemovalKind>,
    /// Of these people; else of everyone.
    pub users: Option<Vec<UserId>>,
}

/// What a person decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Do it.
    Release,
    /// Do not do it, for as long as it is wanted for the same reason.
    Discard,
}

/// Decides about what is held, and has the people looked at again. Returns how many removals that was.
///
/// To release everyone resets the brakes: what was done so far was right, so they count from nothing again.
pub fn decide(
    tx: &mut Tx<'_>,
    choice: &Choice,
    decision: Decision,
    by: &str,
    now: Micros,
) -> Result<usize, Error> {
    let (state, verb) = match decision {
        Decision::Release => ("released", "release"),
        Decision::Discard => ("discarded", "discard"),
    };
    let cause = format!("usher held {verb} by {by}");
    let mut pairs: BTreeSet<(String, String)> = BTreeSet::new();
    let mut decided = 0;
    loop {
        // Transactions that mark the same people meet in one order.
        let some: Vec<Hold> = chosen!(hold::table.select(HOLD_COLUMNS).into_boxed(), choice)
            .order((hold::subject, hold::target_id, hold::kind, hold::group_ci))
            .limit(AT_A_TIME)
            .load(tx.conn())?;
        for known in &some {
            decide_one(tx, known, (state, verb), by, &cause, now)?;
            pairs.insert((known.target_id.clone(), known.kind.clone()));
        }
        decided += some.len();
        if some.is_empty() {
            break;
        }
    }
    if decision == Decision::Release && choice.users.is_none() {
        reset(tx, choice, pairs)?;
    }
    Ok(decided)
}

fn decide_one(
    tx: &mut Tx<'_>,
    known: &Hold,
    (state, verb): (&str, &str),
    by: &str,
    cause: &str,
    now: Micros,
) -> Result<(), Error> {
    let folded = fold_text(&known.group);
    diesel::update(hold::table.find((
        known.target_id.as_str(),
        known.subject.as_str(),
        known.kind.as_str(),
        folded,
    )))
    .set((
        hold::state.eq(state),
        hold::decided_by.eq(by),
        hold::decided_at.eq(now),
    ))
    .execute(tx.conn())?;
    append(tx, known, verb, Some(by), &known.reason, cause, now)?;
    let target = TargetId(known.target_id.clone());
    match &known.user_id {
        Some(user) => {
            let user = UserId(user.clone());
            work::mark_one(tx, &target, &user, Priority::Leaver, cause, now)
        }
        None => group_work::mark(tx, &target, &known.group, cause, now),
    }
}

/// Has the brakes that held `released` count from nothing.
fn reset(
    tx: &mut Tx<'_>,
    choice: &Choice,
    mut pairs: BTreeSet<(String, String)>,
) -> Result<(), Error> {
    let is_chosen = |on: &Tripped| {
        let target = choice.target.as_ref();
        target.is_none_or(|target| target.as_str() == on.target_id)
            && choice.kind.is_none_or(|kind| kind.as_str() == on.kind)
    };
    let on = tripped(tx.conn())?.into_iter().filter(is_chosen);
    pairs.extend(on.map(|on| (on.target_id, on.kind)));
    for (target, kind) in pairs {
        diesel::update(
            brake::table
                .filter(brake::target_id.eq(&target))
                .filter(brake::kind.eq(&kind)),
        )
        .set((
            brake::tripped_at.eq(None::<i64>),
            brake::last_at.eq(None::<i64>),
        ))
        .execute(tx.conn())?;
        uncount(tx, target, kind)?;
    }
    Ok(())
}

/// What was removed does not count any more. What was let by and is not removed yet goes on counting.
fn uncount(tx: &mut Tx<'_>, target: String, kind: String) -> Result<(), Error> {
    let still_there = if kind == RemovalKind::MembershipRemoval.as_str() {
        MEMBERSHIP_THERE
    } else {
        ACCESS_THERE
    };
    let mut binds = Binds::default();
    let (target, kind) = (binds.text(target), binds.text(kind));
    let sql = format!(
        "UPDATE removal AS r SET counted = FALSE \
         WHERE r.target_id = {target} AND r.kind = {kind} AND NOT EXISTS (SELECT 1 FROM {still_there})"
    );
    on_each!(tx.conn(), |c| binds
        .statement::<BigInt>(&sql, true)
        .execute(c))?;
    Ok(())
}

/// The folded names of accounts at a target that are being taken away, or were since then, but for one subject's.
pub fn leaving(
    conn: &mut AnyConn,
    target: &TargetId,
    except: &str,
    since: Micros,
) -> Result<Vec<String>, Error> {
    let kinds = [
        RemovalKind::Deactivation.as_str(),
        RemovalKind::Deletion.as_str(),
    ];
    Ok(account::table
        .inner_join(
            removal::table.on(removal::target_id
                .eq(account::target_id)
                .and(removal::subject.eq(account::user_id))),
        )
        .filter(account::target_id.eq(target.as_str()))
        .filter(removal::kind.eq_any(kinds))
        .filter(removal::at.gt(since))
        .filter(removal::subject.ne(except))
        .select(account::username_ci)
        .load(conn)?)
}

/// Forgets removals that are older than any window.
pub fn purge(tx: &mut Tx<'_>, before: Micros) -> Result<usize, Error> {
    Ok(diesel::delete(removal::table.filter(removal::at.lt(before))).execute(tx.conn())?)
}
