//! Undo: gives back access and memberships that were taken, from what the audit says was there before.
//!
//! What the source wants stays as it is, so the next convergence would take it all away again. Therefore each
//! removal that is undone is *held* at the same time, as by a brake: the engine first gives back and then leaves
//! alone, until a person releases it, or the source corrects itself. Undo itself writes no target: it writes holds and
//! marks, in one transaction for each page of people, and the engine does the rest, with its retries, pauses and
//! records.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::brakes::basis;
use super::explain::stopped_for;
use super::load;
use crate::clock::{Micros, rfc3339};
use crate::domain::{
    ConnectionId, Mode, Operation, Owner, Removal, RemovalKind, Standing, TargetId, UserId,
};
use crate::mapping::Rules;
use crate::scim::fold::fold_text;
use crate::store::audit::{AuditRow, NewAudit, Query};
use crate::store::brakes::{self, Return, Subject};
use crate::store::settings::Configuration;
use crate::store::work::Priority;
use crate::store::{self, AnyConn, Store, Tx, audit, ledger, runs, settings, users, work};

/// The operations that take something away; `change_user` is what a crash leaves of any of them.
const REMOVALS: [&str; 4] = ["deactivate", "delete_user", "remove_member", "change_user"];
/// Their outcomes, where something was taken.
const DONE: [&str; 2] = ["done", "recovered"];
/// How many people are read, and given back to, at a time.
const PAGE: usize = 100;
/// How many rows of one person at one target are looked at.
const MOST_ROWS: i64 = 10_000;
/// How many accounts that nobody in the mirror has are told.
const MOST_STRANGERS: i64 = 1000;

/// What is given back to one person at one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Back {
    /// Name of the target.
    pub target: String,
    /// SCIM id.
    pub user_id: UserId,
    /// User name at the source, as the audit has it.
    pub user_name: String,
    /// The account is active again.
    pub access: bool,
    /// Groups that the account is in again.
    pub groups: Vec<String>,
    /// What cannot be given back, and why.
    pub cannot: Vec<String>,
    #[serde(skip)]
    plan: Option<Planned>,
}

/// What has to be written down for it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Planned {
    target: TargetId,
    connection: ConnectionId,
    basis: &'static str,
    /// Each with when and by what it was taken.
    returns: Vec<(RemovalKind, String, Owner, String)>,
}

/// What an undo comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// People to whom something is given back.
    pub people: u64,
    /// Accounts that become active.
    pub accounts: u64,
    /// Memberships.
    pub memberships: u64,
    /// Things that cannot be given back.
    pub cannot: u64,
}

/// How an undo ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It is under way.
    Begun(Tally),
    /// It would give back something to another number of people than was agreed to; nothing was done.
    Otherwise(Tally),
}

/// Who asks for it.
#[derive(Debug, Clone)]
pub struct Asking {
    /// The person.
    pub by: String,
    /// What they call it: `usher undo`, with what was chosen.
    pub through: String,
}

/// What somebody wants undone: a run, a time or a cause, narrowed by the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Id of a run of the reconciler.
    pub run: Option<String>,
    /// From this time on.
    pub since: Option<Micros>,
    /// Before this time.
    pub until: Option<Micros>,
    /// Text in the cause.
    pub cause: Option<String>,
    /// Name of a target.
    pub target: Option<String>,
    /// People by user name, e-mail address or SCIM id; none: everybody.
    pub users: Vec<String>,
}

/// Why a choice cannot be undone.
#[derive(Debug, thiserror::Error)]
pub enum Unclear {
    /// It makes no sense, or names something that is not there.
    #[error("{0}")]
    Choice(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Chosen {
    /// Which rows of the audit that is, and what it is called.
    ///
    /// # Errors
    /// See [`Unclear`].
    pub async fn resolve(&self, store: &Store) -> Result<(Query, String), Unclear> {
        let unclear = |text: String| Err(Unclear::Choice(text));
        if self.run.is_none() && self.since.is_none() && self.cause.is_none() {
            return unclear("say what to undo: a run, a time (since), or a cause".to_owned());
        }
        if self.run.is_some() && self.cause.is_some() {
            return unclear("say a run or a cause, not both: a run is a cause".to_owned());
        }
        if self.until.is_some() && self.since.is_none() {
            return unclear("say since when, not only until when".to_owned());
        }
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since >= until
        {
            return unclear("since is not before until: nothing lies between them".to_owned());
        }
        let (names, id) = (self.users.clone(), self.run.clone());
        let (targets, people, run) = store
            .read(move |conn| -> Result<_, store::Error> {
                let mut people = Vec::new();
                for name in names {
                    people.push((users::named(conn, &name)?, name));
                }
                let run = match &id {
                    Some(id) => runs::get(conn, id)?,
                    None => None,
                };
                Ok((settings::load(conn)?.targets, people, run))
            })
            .await?;
        let mut query = Query {
            since: self.since,
            until: self.until,
            cause: self.cause.clone(),
            ..Query::default()
        };
        for (found, name) in people {
            if found.is_empty() {
                return unclear(format!("the mirror has no user {name:?}"));
            }
            query.users.extend(found);
        }
        let mut through = vec!["usher undo".to_owned()];
        if let Some(id) = &self.run {
            let Some(run) = run else {
                return unclear(format!("there is no run {id:?}; `usher runs` lists them"));
            };
            if run.kind == "user" {
                return unclear(format!(
                    "run {id} read one person alone: choose that person, and since {} instead",
                    rfc3339(run.started_at)
                ));
            }
            query.cause = Some(format!("run {id}"));
            through.push(format!("--run {id}"));
        }
        if let Some(name) = &self.target {
            let found = targets.iter().find(|it| it.settings.name == *name);
            let Some(target) = found else {
                let known = targets.iter().map(|it| it.settings.name.as_str());
                let known = known.collect::<Vec<_>>().join(", ");
                return unclear(format!("there is no target {name:?}; there are: {known}"));
            };
            query.target = Some(target.id.clone());
        }
        for (option, value) in [
            ("--since", self.since.map(rfc3339)),
            ("--until", self.until.map(rfc3339)),
            ("--cause", self.cause.clone()),
            ("--target", self.target.clone()),
        ] {
            through.extend(value.map(|value| format!("{option} {value}")));
        }
        Ok((query, through.join(" ")))
    }
}

/// What is needed to judge.
struct World {
    query: Query,
    rules: BTreeMap<(ConnectionId, TargetId), Rules>,
    names: BTreeMap<TargetId, String>,
}

/// Says what an undo of the removals among the rows of `query` would give back.
///
/// # Errors
/// The database fails.
pub async fn foresee_undo(
    store: &Store,
    query: &Query,
    each: &mut (dyn FnMut(Back) + Send),
) -> Result<Tally, store::Error> {
    let world = World::read(store, query).await?;
    foresee(store, &world, &world.touched(store).await?, each).await
}

async fn foresee(
    store: &Store,
    world: &Arc<World>,
    touched: &[Pair],
    each: &mut (dyn FnMut(Back) + Send),
) -> Result<Tally, store::Error> {
    let mut tally = Tally::default();
    for pairs in touched.chunks(PAGE) {
        let (world, pairs) = (Arc::clone(world), pairs.to_vec());
        let backs = store.read(move |conn| world.backs(conn, &pairs)).await?;
        for back in backs {
            tally.count(&back);
            each(back);
        }
    }
    let query = world.query.clone();
    let strangers = store
        .read(move |conn| audit::strangers(conn, &query, MOST_STRANGERS))
        .await?;
    for row in strangers {
        let back = world.stranger(&row);
        tally.count(&back);
        each(back);
    }
    Ok(tally)
}

/// Gives back what [`foresee_undo`] says, if it says so of as many people as were `confirmed`.
///
/// # Errors
/// The database fails; what was begun before stands, and the same again goes on.
pub async fn undo(
    store: &Store,
    now: Micros,
    query: &Query,
    asking: &Asking,
    confirmed: u64,
) -> Result<Ended, store::Error> {
    let world = World::read(store, query).await?;
    let touched = world.touched(store).await?;
    let foreseen = foresee(store, &world, &touched, &mut |_| {}).await?;
    if foreseen.people != confirmed {
        return Ok(Ended::Otherwise(foreseen));
    }
    let mut tally = Tally {
        cannot: foreseen.cannot,
        ..Tally::default()
    };
    for pairs in touched.chunks(PAGE) {
        let (world, pairs, asking) = (Arc::clone(&world), pairs.to_vec(), asking.clone());
        let backs = store
            .write(move |tx| -> Result<_, store::Error> {
                let backs = world.backs(tx.conn(), &pairs)?;
                for back in &backs {
                    write(tx, back, &asking, now)?;
                }
                Ok(backs)
            })
            .await?;
        for back in &backs {
            tally.count(&Back {
                cannot: Vec::new(),
                ..back.clone()
            });
        }
    }
    let act = NewAudit::act(
        now,
        &asking.by,
        "undo",
        &serde_json::to_value(tally).unwrap_or_default(),
        &asking.through,
    );
    store.write(move |tx| audit::append(tx, &act)).await?;
    Ok(Ended::Begun(tally))
}

fn write(tx: &mut Tx<'_>, back: &Back, asking: &Asking, now: Micros) -> Result<(), store::Error> {
    let Some(planned) = &back.plan else {
        return Ok(());
    };
    let cause = format!("{} by {}", asking.through, asking.by);
    let subject = Subject {
        target: planned.target.clone(),
        connection: planned.connection.clone(),
        user: Some(back.user_id.clone()),
        key: back.user_id.0.clone(),
        name: back.user_name.clone(),
        basis: planned.basis.to_owned(),
        cause: cause.clone(),
    };
    for (kind, group, owner, taken) in &planned.returns {
        let why = format!("given back ({cause}); {taken}");
        let returned = Return {
            removal: Removal {
                kind: *kind,
                group: group.clone(),
            },
            owner: *owner,
        };
        brakes::undo(tx, &subject, &returned, (&asking.by, &why), now)?;
    }
    let target = &planned.target;
    work::mark_one(tx, target, &back.user_id, Priority::Push, &cause, now)
}

impl Tally {
    fn count(&mut self, back: &Back) {
        let groups = back.groups.len() as u64;
        self.people += u64::from(back.access || groups > 0);
        self.accounts += u64::from(back.access);
        self.memberships += groups;
        self.cannot += back.cannot.len() as u64;
    }
}

type Pair = (TargetId, UserId);

impl World {
    async fn read(store: &Store, query: &Query) -> Result<Arc<Self>, store::Error> {
        let configuration = store.read(settings::load).await?;
        Ok(Arc::new(Self {
            query: Query {
                operations: REMOVALS.map(str::to_owned).to_vec(),
                outcomes: DONE.map(str::to_owned).to_vec(),
                oldest_first: true,
                ..query.clone()
            },
            names: configuration
                .targets
                .iter()
                .map(|target| (target.id.clone(), target.settings.name.clone()))
                .collect(),
            rules: compiled(&configuration),
        }))
    }

    /// Everybody from whom something was taken, and where.
    async fn touched(self: &Arc<Self>, store: &Store) -> Result<Vec<Pair>, store::Error> {
        let world = Arc::clone(self);
        let touched = move |conn: &mut AnyConn| audit::touched(conn, &world.query);
        store.read(touched).await
    }

    fn backs(&self, conn: &mut AnyConn, pairs: &[Pair]) -> Result<Vec<Back>, store::Error> {
        let mut backs = Vec::with_capacity(pairs.len());
        for (target, user) in pairs {
            let back = self.back(conn, target, user)?;
            if back.access || !back.groups.is_empty() || !back.cannot.is_empty() {
                backs.push(back);
            }
        }
        Ok(backs)
    }

    fn name(&self, target: &TargetId) -> String {
        let name = self.names.get(target);
        name.cloned().unwrap_or_else(|| target.0.clone())
    }

    fn stranger(&self, row: &AuditRow) -> Back {
        let target = TargetId(row.target_id.clone().unwrap_or_default());
        let detail: Json = serde_json::from_str(&row.detail).unwrap_or_default();
        let group = detail["group"].as_str().unwrap_or_default();
        Back {
            target: self.name(&target),
            user_id: UserId(String::new()),
            user_name: row.user_name.clone().unwrap_or_default(),
            access: false,
            groups: Vec::new(),
            cannot: vec![format!(
                "{group:?}: nobody of the source has this account; put it back at the target"
            )],
            plan: None,
        }
    }

    fn back(
        &self,
        conn: &mut AnyConn,
        target: &TargetId,
        user: &UserId,
    ) -> Result<Back, store::Error> {
        let of_them = Query {
            users: vec![user.clone()],
            target: Some(target.clone()),
            ..self.query.clone()
        };
        let rows = audit::page(conn, &of_them, MOST_ROWS)?;
        let mut back = Back {
            target: self.name(target),
            user_id: user.clone(),
            user_name: rows
                .last()
                .and_then(|row| row.user_name.clone())
                .unwrap_or_default(),
            access: false,
            groups: Vec::new(),
            cannot: Vec::new(),
            plan: None,
        };
        let mut taken = Taken::default();
        for row in &rows {
            taken.add(row);
        }
        if let Some(first) = rows.first() {
            let since = Query {
                users: vec![user.clone()],
                target: Some(target.clone()),
                operations: self.query.operations.clone(),
                outcomes: self.query.outcomes.clone(),
                since: Some(first.at),
                oldest_first: true,
                ..Query::default()
            };
            for row in audit::page(conn, &since, MOST_ROWS)? {
                if !rows.iter().any(|own| own.id == row.id) {
                    back.cannot.extend(taken.taken_again(&row));
                }
            }
        }
        match self.judge(conn, target, user, &taken, &mut back.cannot)? {
            Some(planned) => {
                for (kind, group, ..) in &planned.returns {
                    match kind {
                        RemovalKind::MembershipRemoval => back.groups.push(group.clone()),
                        RemovalKind::Deactivation | RemovalKind::Deletion => back.access = true,
                    }
                }
                back.plan = Some(planned);
            }
            None if taken.is_empty() => back.cannot.dedup(),
            None => {}
        }
        Ok(back)
    }

    /// What of it can be given back now.
    fn judge(
        &self,
        conn: &mut AnyConn,
        target: &TargetId,
        user: &UserId,
        taken: &Taken,
        cannot: &mut Vec<String>,
    ) -> Result<Option<Planned>, store::Error> {
        if taken.is_empty() {
            return Ok(None);
        }
        let account = ledger::account(conn, target, user)?
            .filter(|account| account.standing == Standing::Present);
        let Some(account) = account else {
            cannot.push(match &taken.deleted {
                Some(name) => format!(
                    "the account {name:?} was deleted, and that cannot be taken back; if the source wants the \
                     person, a new one is made"
                ),
                None => "Usher has no account of this person there any more".to_owned(),
            });
            return Ok(None);
        };
        let Some(person) = load::person(conn, user)? else {
            cannot.push("the source's record of this person is gone".to_owned());
            return Ok(None);
        };
        let key = (person.connection_id.clone(), target.clone());
        let Some(rules) = self.rules.get(&key) else {
            cannot.push("there is no mapping there any more".to_owned());
            return Ok(None);
        };
        let entry = load::entry(conn, target, user, &person)?;
        let desired = person.desired(rules, &entry);
        if let Some(pause) = &person.pause {
            cannot.push(stopped_for(pause));
            return Ok(None);
        }
        if person.mode(rules, &desired) != Mode::Live {
            cannot.push("the mapping is not live: nothing is written there".to_owned());
            return Ok(None);
        }
        if let Some(pattern) = rules.protects_user(&account.username) {
            let name = &account.username;
            cannot.push(format!("{name:?} is protected by {pattern:?}"));
            return Ok(None);
        }
        let mut returns = Vec::new();
        if let Some(how) = &taken.access
            && (!account.active || account.taken.is_some())
        {
            if rules.settings().may(Operation::Reactivate) {
                returns.push((
                    RemovalKind::Deactivation,
                    String::new(),
                    account.owner,
                    how.clone(),
                ));
            } else {
                cannot.push("access: the operation \"reactivate\" is off".to_owned());
            }
        }
        for (folded, (group, owner, how)) in &taken.groups {
            let is_there = |held: &str| fold_text(held) == *folded;
            let comes_with_access = account.taken.as_ref().is_some_and(|holdings| {
                taken.access.is_some() && holdings.groups.iter().any(|held| is_there(&held.name))
            });
            if comes_with_access || entry.memberships.iter().any(|m| is_there(&m.group)) {
                continue;
            }
            if let Some(pattern) = rules.protects_group(group) {
                cannot.push(format!("{group:?} is protected by {pattern:?}"));
                continue;
            }
            returns.push((
                RemovalKind::MembershipRemoval,
                group.clone(),
                *owner,
                how.clone(),
            ));
        }
        Ok((!returns.is_empty()).then(|| Planned {
            target: target.clone(),
            connection: person.connection_id.clone(),
            basis: basis(&desired.presence),
            returns,
        }))
    }
}

fn compiled(configuration: &Configuration) -> BTreeMap<(ConnectionId, TargetId), Rules> {
    let mappings = configuration.mappings.iter();
    mappings
        .filter_map(|mapping| {
            let rules = Rules::of(mapping, &configuration.connections).ok()?;
            Some((
                (mapping.connection_id.clone(), mapping.target_id.clone()),
                rules,
            ))
        })
        .collect()
}

/// What was taken from one person at one target, each with when and by what.
#[derive(Debug, Default)]
struct Taken {
    access: Option<String>,
    /// By folded name: the group and whose the membership was.
    groups: BTreeMap<String, (String, Owner, String)>,
    /// The name of an account that was deleted.
    deleted: Option<String>,
}

impl Taken {
    fn is_empty(&self) -> bool {
        self.access.is_none() && self.groups.is_empty() && self.deleted.is_none()
    }

    /// The oldest word counts: it says what was there at first.
    fn add(&mut self, row: &AuditRow) {
        let detail: Json = serde_json::from_str(&row.detail).unwrap_or_default();
        let how = format!("taken at {} by {}", rfc3339(row.at), row.cause);
        let before = &detail["before"];
        match row.operation.as_str() {
            "deactivate" if before["active"] != json!(false) => {
                self.access.get_or_insert(how);
            }
            "change_user" if detail["active"] == json!(false) => {
                self.access.get_or_insert(how);
            }
            "remove_member" => self.member(&detail["group"], &before["owner"], how),
            "delete_user" => {
                let name = before["username"].as_str().unwrap_or_default();
                self.deleted.get_or_insert(name.to_owned());
                for held in before["groups"].as_array().into_iter().flatten() {
                    self.member(&held["group"], &held["owner"], how.clone());
                }
            }
            _ => {}
        }
    }

    fn member(&mut self, group: &Json, owner: &Json, how: String) {
        let Some(group) = group.as_str() else {
            return;
        };
        // What is not said is taken for Usher's: that is what it takes away by itself.
        let owner = serde_json::from_value(owner.clone()).unwrap_or(Owner::Created);
        let known = self.groups.entry(fold_text(group));
        known.or_insert((group.to_owned(), owner, how));
    }

    /// Leaves out what another removal took after that: it is not this one's to give back.
    fn taken_again(&mut self, later: &AuditRow) -> Option<String> {
        let detail: Json = serde_json::from_str(&later.detail).unwrap_or_default();
        let what = match later.operation.as_str() {
            "deactivate" | "delete_user" => self.access.take().map(|_| "access".to_owned()),
            "remove_member" => {
                let group = detail["group"].as_str().unwrap_or_default();
                let taken = self.groups.remove(&fold_text(group));
                taken.map(|(group, ..)| format!("{group:?}"))
            }
            _ => None,
        }?;
        Some(format!(
            "{what}: taken again at {} by {}; undo that",
            rfc3339(later.at),
            later.cause
        ))
    }
}
