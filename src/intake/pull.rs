//! What a pull brings: users, groups and memberships as the domain lists them, correlated with what was pushed.
//!
//! A pull reads first and writes later, and a push may come in between. What it read is therefore written only
//! over a row that is known to be older than the reading, or that has still the version that it had before the
//! reading; everything else is [`Took::Stale`], to be read again. So the newest state wins, whoever brings it.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::members::{Affected, edit_members_of};
use super::{Error, Intake, Source};
use crate::clock::Micros;
use crate::domain::{ConnectionId, UserId};
use crate::scim::resource::{MemberEdit, MemberRef};
use crate::scim::{self, Doc, ResourceType};
use crate::store::groups::MemberType;
use crate::store::runs::{self, RunResult};
use crate::store::source::{self, KnownGroup, KnownUser, Mirrored, Read};
use crate::store::work::{self, Priority};
use crate::store::{self, AnyConn, Tx, groups, users};

/// How many users are written in one transaction: pushes wait for it on SQLite.
const AT_ONCE: usize = 200;

/// A row that changed so shortly before a reading may have changed after it, on a machine with another clock.
const SKEW: Micros = 5_000_000;

/// A user as the domain shows it.
#[derive(Debug, Clone)]
pub struct PulledUser {
    /// Its id in the domain.
    pub source_id: String,
    /// Login name.
    pub user_name: String,
    /// The attributes that were read.
    pub doc: Doc,
    /// Its `externalId` there.
    pub external_id: Option<String>,
}

/// A group as the domain shows it, without its members.
#[derive(Debug, Clone)]
pub struct PulledGroup {
    /// Its id in the domain.
    pub source_id: String,
    /// Name.
    pub name: String,
    /// `meta.lastModified`
    pub modified: String,
}

/// What holds for everything that is taken in by one reading.
#[derive(Debug, Clone)]
pub struct Pass {
    /// The run, and its number.
    pub run: String,
    /// Counts the runs of the connection.
    pub number: i64,
    /// A moment before the domain was asked.
    pub read_at: Micros,
    /// The version that the user had here before the domain was asked about it alone.
    pub expect: Option<(String, i64)>,
    /// The same of groups.
    pub expect_groups: HashMap<String, i64>,
    /// Whether a user that nobody pushed is made.
    pub create: bool,
    /// Whether only those are in scope whom the application is granted to.
    pub only_granted: bool,
    /// Whether a user comes back whom a push took away: a person asks for it.
    pub revive: bool,
    /// Whether pushes bring users to this connection too.
    pub is_pushed_to: bool,
    /// Whether a user that no push brought counts as missed: not in the first run.
    pub news_are_missed: bool,
    /// How urgent the work is.
    pub priority: Priority,
}

/// What became of a user that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Took {
    /// It was here already, the same.
    Unchanged,
    /// It was not here.
    Created,
    /// It was different.
    Changed,
    /// It changed here while it was read: read it again.
    Stale,
    /// A push took it away, and only a push or a person brings it back.
    Revoked,
    /// Only users that were pushed are refreshed.
    NotPushed,
    /// Another user of the domain (its id there) still has the name here.
    NameHeld(String),
    /// The mirror cannot take it.
    Refused(String),
}

/// A user that was read, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TookUser {
    /// Its id in the domain.
    pub source_id: String,
    /// Its id here.
    pub user_id: Option<String>,
    /// What became of it.
    pub took: Took,
    /// Whether a push should have brought it.
    pub missed_push: bool,
}

/// What became of a page of members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TookMembers {
    /// How many were not members here.
    pub added: usize,
    /// How many the mirror does not have.
    pub unresolved: usize,
    /// Users (ids in the domain) to be read alone, because the group changed here while it was read.
    pub stale: Vec<String>,
    /// The version of the group from now on, if members were added.
    pub version: Option<i64>,
}

/// The user that a user of the domain is here, tombstones included, as far as it can be told.
pub fn resolve(
    conn: &mut AnyConn,
    connection: &ConnectionId,
    source_id: &str,
    user_name: Option<&str>,
) -> Result<Option<(String, i64)>, store::Error> {
    let known = source::users(conn, connection, &[source_id.to_owned()])?;
    let names: Vec<String> = user_name.map(scim::fold::fold_text).into_iter().collect();
    let candidates = source::candidates(conn, connection, &names, &[source_id.to_owned()])?;
    let found = pick(source_id, None, names.first(), known.first(), &candidates);
    Ok(found.map(|row| (row.id.clone(), row.version)))
}

/// The living user first, by what is surest; then a tombstone.
fn pick<'a>(
    source_id: &str,
    external_id: Option<&str>,
    name_ci: Option<&String>,
    known: Option<&'a KnownUser>,
    candidates: &'a [Mirrored],
) -> Option<&'a Mirrored> {
    let known = known.map(|it| &it.mirrored);
    let living = |row: &&Mirrored| row.deleted_at.is_none();
    let by_external = |row: &&Mirrored| {
        row.external_id.is_some()
            && (row.external_id.as_deref() == Some(source_id)
                || row.external_id.as_deref() == external_id)
    };
    let by_name = |row: &&Mirrored| Some(&row.name_ci) == name_ci;
    known
        .filter(living)
        .or_else(|| candidates.iter().filter(living).find(by_external))
        .or_else(|| candidates.iter().filter(living).find(by_name))
        .or_else(|| known.filter(|row| row.revoked))
        .or_else(|| candidates.iter().find(|row| by_name(row) && row.revoked))
        .or(known)
        .or_else(|| {
            candidates
                .iter()
                .filter(by_name)
                .max_by_key(|row| row.modified_at)
        })
}

impl Pass {
    fn trusts(&self, row: &Mirrored) -> bool {
        self.expect.as_ref() == Some(&(row.id.clone(), row.version))
            || row.modified_at < self.read_at - SKEW
    }

    fn trusts_group(&self, id: &str, version: i64, modified_at: Micros) -> bool {
        self.expect_groups.get(id) == Some(&version) || modified_at < self.read_at - SKEW
    }
}

impl Intake {
    /// Takes in users that were read.
    pub async fn take_users(
        &self,
        source: &Source,
        pass: &Pass,
        page: Vec<PulledUser>,
    ) -> Result<Vec<TookUser>, Error> {
        let (mut took, rest) = self.see_same(source, pass, page).await?;
        for some in rest.chunks(AT_ONCE) {
            match self.take_some(source, pass, some.to_vec()).await {
                Ok(these) => took.extend(these),
                // A push made one of them meanwhile: only that one waits for another reading.
                Err(Error::Scim(_)) => {
                    for one in some {
                        took.extend(
                            match self.take_some(source, pass, vec![one.clone()]).await {
                                Err(Error::Scim(_)) => vec![TookUser {
                                    source_id: one.user.source_id.clone(),
                                    user_id: None,
                                    took: Took::Stale,
                                    missed_push: false,
                                }],
                                other => other?,
                            },
                        );
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if took
            .iter()
            .any(|it| matches!(it.took, Took::Created | Took::Changed))
        {
            self.wake();
        }
        Ok(took)
    }

    /// Notes that those who are as they were have been seen, and returns the rest: most of a page is the same, and
    /// then one short transaction is all that pushes have to wait for.
    async fn see_same(
        &self,
        source: &Source,
        pass: &Pass,
        page: Vec<PulledUser>,
    ) -> Result<(Vec<TookUser>, Vec<Digested>), Error> {
        let (connection, number) = (source.connection.clone(), pass.number);
        let ids: Vec<String> = page.iter().map(|user| user.source_id.clone()).collect();
        let known = self
            .store
            .read(move |conn| source::users(conn, &connection, &ids))
            .await?;
        let known: HashMap<&str, &KnownUser> =
            known.iter().map(|it| (it.source_id.as_str(), it)).collect();
        let (mut same, mut rest) = (Vec::new(), Vec::new());
        for user in page {
            let digest = digest(&user);
            match known.get(user.source_id.as_str()) {
                Some(known) if is_same(known, &digest) => same.push(TookUser {
                    source_id: user.source_id,
                    user_id: Some(known.mirrored.id.clone()),
                    took: Took::Unchanged,
                    missed_push: false,
                }),
                _ => rest.push(Digested { user, digest }),
            }
        }
        if !same.is_empty() {
            let ids: Vec<String> = same.iter().map(|it| it.source_id.clone()).collect();
            let connection = source.connection.clone();
            self.store
                .write(move |tx| source::see_users(tx, &connection, &ids, number))
                .await?;
        }
        Ok((same, rest))
    }

    async fn take_some(
        &self,
        source: &Source,
        pass: &Pass,
        page: Vec<Digested>,
    ) -> Result<Vec<TookUser>, Error> {
        let (source, pass, now) = (source.clone(), pass.clone(), self.now());
        self.store
            .write(move |tx| -> Result<Vec<TookUser>, Error> {
                let mut taking = Taking::begin(tx, &source, &pass, &page, now)?;
                let mut took = Vec::with_capacity(page.len());
                for it in &page {
                    let (user_id, what, missed_push) = taking.one(tx, it)?;
                    took.push(TookUser {
                        source_id: it.user.source_id.clone(),
                        user_id,
                        took: what,
                        missed_push,
                    });
                }
                source::see_users(tx, &source.connection, &taking.revoked, pass.number)?;
                Ok(took)
            })
            .await
    }

    /// Takes in groups that were read. Returns what became of those that are not as they were.
    pub async fn take_groups(
        &self,
        source: &Source,
        pass: &Pass,
        page: Vec<PulledGroup>,
    ) -> Result<Vec<&'static str>, Error> {
        let mut took = Vec::new();
        for some in page.chunks(AT_ONCE) {
            let (source, pass, now) = (source.clone(), pass.clone(), self.now());
            let some = some.to_vec();
            let changes = self
                .store
                .write(move |tx| -> Result<Vec<&'static str>, Error> {
                    take_some_groups(tx, &source, &pass, &some, now)
                })
                .await?;
            took.extend(changes);
        }
        if !took.is_empty() {
            self.wake();
        }
        Ok(took)
    }

    /// Takes in members of a group that were read. Nobody is taken out.
    pub async fn take_members(
        &self,
        source: &Source,
        pass: &Pass,
        group: &str,
        members: Vec<String>,
    ) -> Result<TookMembers, Error> {
        let (source, pass, group, now) =
            (source.clone(), pass.clone(), group.to_owned(), self.now());
        let took = self
            .store
            .write(move |tx| -> Result<TookMembers, Error> {
                take_members(tx, &source, &pass, &group, &members, now)
            })
            .await?;
        if took.added > 0 {
            self.wake();
        }
        Ok(took)
    }

    /// Makes one user a member of these groups (ids in the domain) and takes it out of those. `Ok(None)`: one of
    /// the groups changed here while the user was read.
    pub async fn settle_groups(
        &self,
        source: &Source,
        pass: &Pass,
        user: &str,
        join: Vec<String>,
        leave: Vec<String>,
    ) -> Result<Option<(usize, usize)>, Error> {
        let (source, pass, user, now) = (source.clone(), pass.clone(), user.to_owned(), self.now());
        let settled = self
            .store
            .write(move |tx| -> Result<Option<(usize, usize)>, Error> {
                let settled = settle_groups(tx, &source, &pass, &user, &join, &leave, now)?;
                if !matches!(settled, Some((joined, left)) if joined + left > 0) {
                    tx.discard();
                }
                Ok(settled)
            })
            .await?;
        self.wake();
        Ok(settled)
    }

    /// Removes a user whom the domain has no more. Returns its name, and whether a push should have said so.
    pub async fn remove_pulled(
        &self,
        source: &Source,
        pass: &Pass,
        source_id: &str,
    ) -> Result<Option<(String, bool)>, Error> {
        let (source, pass, source_id, now) = (
            source.clone(),
            pass.clone(),
            source_id.to_owned(),
            self.now(),
        );
        let removed = self
            .store
            .write(move |tx| -> Result<Option<(String, bool)>, Error> {
                remove_user(tx, &source, &pass, &source_id, now)
            })
            .await?;
        self.wake();
        Ok(removed)
    }

    /// Removes a group that the domain has no more.
    pub async fn remove_pulled_group(
        &self,
        source: &Source,
        pass: &Pass,
        group: &str,
    ) -> Result<bool, Error> {
        let (source, pass, group) = (source.clone(), pass.clone(), group.to_owned());
        let now = self.now();
        let removed = self
            .store
            .write(move |tx| -> Result<bool, Error> {
                let Some(locked) = groups::lock(tx, &source.connection, &group)? else {
                    return Ok(false);
                };
                let name = scim::resource::keys(ResourceType::Group, &locked.doc).name;
                work::mark_below(
                    tx,
                    &source.connection,
                    &group,
                    Priority::Leaver,
                    &source.cause,
                    now,
                )?;
                groups::delete(tx, &locked)?;
                let line = line(
                    &name,
                    Some(&group),
                    "removed",
                    "the domain has this group no more",
                    false,
                );
                runs::add_result(tx, &pass.run, &line)?;
                Ok(true)
            })
            .await?;
        self.wake();
        Ok(removed)
    }

    /// Notes that the application is granted to a user, or no more.
    pub async fn set_granted(
        &self,
        source: &Source,
        pass: &Pass,
        user: &source::GrantChange,
    ) -> Result<(), Error> {
        let (source, pass, user, now) = (source.clone(), pass.clone(), user.clone(), self.now());
        self.store
            .write(move |tx| -> Result<(), Error> {
                source::set_granted(tx, &user.user_id, user.granted)?;
                let (change, priority) = if user.granted {
                    ("granted", pass.priority)
                } else {
                    ("not granted", Priority::Leaver)
                };
                let id = UserId(user.user_id.clone());
                work::mark(tx, &source.connection, &id, priority, &source.cause, now)?;
                let missed =
                    pass.is_pushed_to && pass.news_are_missed && user.granted != user.pushed;
                let line = line(
                    &user.user_name,
                    Some(&user.user_id),
                    change,
                    "grant of the application",
                    missed,
                );
                runs::add_result(tx, &pass.run, &line)?;
                Ok(())
            })
            .await?;
        self.wake();
        Ok(())
    }
}

/// A user as it was read, and what stands for that.
#[derive(Debug, Clone)]
struct Digested {
    user: PulledUser,
    digest: String,
}

/// A page of users while it is being written.
struct Taking<'a> {
    source: &'a Source,
    pass: &'a Pass,
    now: Micros,
    known: HashMap<String, KnownUser>,
    candidates: Vec<Mirrored>,
    /// Those whom a push took away.
    revoked: Vec<String>,
}

impl<'a> Taking<'a> {
    fn begin(
        tx: &mut Tx<'_>,
        source: &'a Source,
        pass: &'a Pass,
        page: &[Digested],
        now: Micros,
    ) -> Result<Self, Error> {
        let ids: Vec<String> = page.iter().map(|it| it.user.source_id.clone()).collect();
        let known: HashMap<String, KnownUser> = source::users(tx.conn(), &source.connection, &ids)?
            .into_iter()
            .map(|it| (it.source_id.clone(), it))
            .collect();
        let (mut names, mut external) = (Vec::new(), Vec::new());
        for Digested { user, .. } in page {
            names.push(scim::fold::fold_text(&user.user_name));
            external.push(user.source_id.clone());
            external.extend(user.external_id.clone());
        }
        let candidates = source::candidates(tx.conn(), &source.connection, &names, &external)?;
        Ok(Self {
            source,
            pass,
            now,
            known,
            candidates,
            revoked: Vec::new(),
        })
    }

    fn one(
        &mut self,
        tx: &mut Tx<'_>,
        Digested { user, digest }: &Digested,
    ) -> Result<(Option<String>, Took, bool), Error> {
        let known = self.known.get(&user.source_id);
        let name_ci = scim::fold::fold_text(&user.user_name);
        let row = pick(
            &user.source_id,
            user.external_id.as_deref(),
            Some(&name_ci),
            known,
            &self.candidates,
        );
        let Some(row) = row else {
            return self.create(tx, user, digest);
        };
        if row.deleted_at.is_some() {
            if !self.pass.trusts(row) {
                return Ok((None, Took::Stale, false));
            }
            if row.revoked && !self.pass.revive {
                self.revoked.push(user.source_id.clone());
                return Ok((None, Took::Revoked, false));
            }
            return self.create(tx, user, digest);
        }
        let holder = self
            .candidates
            .iter()
            .find(|it| it.name_ci == name_ci && it.deleted_at.is_none());
        for other in [Some(row), holder].into_iter().flatten() {
            let owner = source::of_user(tx.conn(), &UserId(other.id.clone()))?;
            match owner {
                Some(owner) if owner != user.source_id => {
                    return Ok((None, Took::NameHeld(owner), false));
                }
                None if other.id != row.id => {
                    let text = format!(
                        "the name {} belongs to another user that was pushed",
                        user.user_name
                    );
                    return Ok((None, Took::Refused(text), false));
                }
                _ => {}
            }
        }
        let stated = known.map_or("", |it| it.stated.as_str());
        self.change(tx, user, digest, row, stated)
    }

    fn change(
        &self,
        tx: &mut Tx<'_>,
        user: &PulledUser,
        digest: &str,
        row: &Mirrored,
        stated: &str,
    ) -> Result<(Option<String>, Took, bool), Error> {
        let connection = &self.source.connection;
        let Some(current) = users::get(tx.conn(), connection, &row.id)? else {
            return Ok((None, Took::Stale, false));
        };
        let current = current.parsed()?;
        let merged = merged(&current.doc, user, stated);
        if merged != current.doc && !self.pass.trusts(row) {
            return Ok((None, Took::Stale, false));
        }
        let (mut version, mut took, mut missed) = (current.version, Took::Unchanged, false);
        if merged != current.doc {
            let Some(locked) = users::lock(tx, connection, &row.id)? else {
                return Ok((None, Took::Stale, false));
            };
            // Somebody changed it between the two statements, on another server.
            if locked.version != current.version + 1 {
                return Err(scim::Error::uniqueness("the user changed meanwhile").into());
            }
            let before = scim::resource::keys(ResourceType::User, &locked.doc).active;
            version = users::save(tx, &locked, &merged, self.now)?.version;
            let after = scim::resource::keys(ResourceType::User, &merged).active;
            let leaves = before && !after;
            let priority = if leaves {
                Priority::Leaver
            } else {
                self.pass.priority
            };
            let id = UserId(row.id.clone());
            work::mark(tx, connection, &id, priority, &self.source.cause, self.now)?;
            let differences = differences(&locked.doc, &merged);
            missed =
                row.pushed && self.pass.is_pushed_to && essence(&locked.doc) != essence(&merged);
            let line = line(
                &user.user_name,
                Some(&row.id),
                "changed",
                &differences,
                missed,
            );
            runs::add_result(tx, &self.pass.run, &line)?;
            took = Took::Changed;
        }
        self.remember(tx, user, digest, &row.id, version)?;
        Ok((Some(row.id.clone()), took, missed))
    }

    fn create(
        &self,
        tx: &mut Tx<'_>,
        user: &PulledUser,
        digest: &str,
    ) -> Result<(Option<String>, Took, bool), Error> {
        if !self.pass.create {
            return Ok((None, Took::NotPushed, false));
        }
        let connection = &self.source.connection;
        let mut doc = user.doc.clone();
        if let Some(external_id) = &user.external_id {
            doc.insert("externalId".to_owned(), json!(external_id));
        }
        let stored = users::insert(tx, connection, &users::prepare(&doc)?, self.now)?;
        // Without a direct grant, groups decide, when they have been read.
        let granted =
            !self.pass.only_granted || source::is_grantee(tx.conn(), connection, &user.source_id)?;
        source::set_pulled(tx, &stored.id, granted)?;
        self.remember(tx, user, digest, &stored.id, stored.version)?;
        let id = UserId(stored.id.clone());
        let priority = self.pass.priority;
        work::mark(tx, connection, &id, priority, &self.source.cause, self.now)?;
        let missed = self.pass.is_pushed_to && self.pass.news_are_missed && granted;
        let line = line(&user.user_name, Some(&stored.id), "created", "", missed);
        runs::add_result(tx, &self.pass.run, &line)?;
        Ok((Some(stored.id), Took::Created, missed))
    }

    fn remember(
        &self,
        tx: &mut Tx<'_>,
        user: &PulledUser,
        digest: &str,
        user_id: &str,
        version: i64,
    ) -> Result<(), Error> {
        let stated = stated(&user.doc);
        let read = Read {
            source_id: &user.source_id,
            user_id,
            digest,
            stated: &stated,
            version,
        };
        let connection = &self.source.connection;
        if source::remember_user(tx, connection, &read, self.pass.number)? {
            source::clear_revoked(tx, connection, &scim::fold::fold_text(&user.user_name))?;
        }
        Ok(())
    }
}

fn take_some_groups(
    tx: &mut Tx<'_>,
    source: &Source,
    pass: &Pass,
    page: &[PulledGroup],
    now: Micros,
) -> Result<Vec<&'static str>, Error> {
    let connection = &source.connection;
    let ids: Vec<String> = page.iter().map(|group| group.source_id.clone()).collect();
    let known: HashMap<String, KnownGroup> = source::groups(tx.conn(), connection, &ids)?
        .into_iter()
        .map(|it| (it.source_id.clone(), it))
        .collect();
    let (mut same, mut took) = (Vec::new(), Vec::new());
    for group in page {
        let known = known.get(&group.source_id);
        // Neither the domain nor anybody here has changed it since its members were read: so its name is the same.
        if known.is_some_and(|it| {
            it.modified == group.modified
                && !it.modified.is_empty()
                && !it.digest.is_empty()
                && it.digest_version == it.version
        }) {
            same.push(group.source_id.clone());
        } else {
            took.extend(take_group(tx, source, pass, group, known, now)?);
        }
    }
    source::see_groups(tx, connection, &same, pass.number)?;
    Ok(took)
}

/// `None`: it is as it was.
fn take_group(
    tx: &mut Tx<'_>,
    source: &Source,
    pass: &Pass,
    group: &PulledGroup,
    known: Option<&KnownGroup>,
    now: Micros,
) -> Result<Option<&'static str>, Error> {
    let connection = &source.connection;
    let (source_id, name, modified) = (
        group.source_id.as_str(),
        group.name.as_str(),
        group.modified.as_str(),
    );
    let name_ci = scim::fold::fold_text(name);
    let held = source::group_named(tx.conn(), connection, &name_ci)?;
    let id = match (known, held) {
        (Some(known), _) => known.group_id.clone(),
        (None, Some((id, None))) => id,
        (None, Some((id, Some(other)))) => {
            let text = format!(
                "the group {other} of the domain has this name here until it is renamed or gone"
            );
            runs::add_result(
                tx,
                &pass.run,
                &line(name, Some(&id), "refused", &text, false),
            )?;
            return Ok(Some("refused"));
        }
        (None, None) => {
            let mut doc = Doc::new();
            doc.insert("displayName".to_owned(), json!(name));
            doc.insert("externalId".to_owned(), json!(source_id));
            let stored = groups::insert(tx, connection, &doc, now)?;
            source::remember_group(tx, connection, source_id, &stored.id, modified, pass.number)?;
            runs::add_result(
                tx,
                &pass.run,
                &line(name, Some(&stored.id), "created", "group", false),
            )?;
            return Ok(Some("created"));
        }
    };
    source::remember_group(tx, connection, source_id, &id, modified, pass.number)?;
    let Some(current) = groups::get(tx.conn(), connection, &id)? else {
        return Ok(None);
    };
    let before = scim::resource::keys(ResourceType::Group, &current.parsed()?.doc).name;
    if before == name {
        return Ok(None);
    }
    let Some(locked) = groups::lock(tx, connection, &id)? else {
        return Ok(None);
    };
    let mut doc = locked.doc.clone();
    doc.insert("displayName".to_owned(), json!(name));
    groups::save(tx, &locked, &doc, now)?;
    let mut affected = Affected::default();
    affected.everyone_below(&id);
    affected.mark(tx, source, now)?;
    let text = format!("renamed from {before}");
    runs::add_result(
        tx,
        &pass.run,
        &line(name, Some(&id), "changed", &text, false),
    )?;
    Ok(Some("changed"))
}

fn take_members(
    tx: &mut Tx<'_>,
    source: &Source,
    pass: &Pass,
    group: &str,
    members: &[String],
    now: Micros,
) -> Result<TookMembers, Error> {
    let connection = &source.connection;
    let people = source::users(tx.conn(), connection, members)?;
    let nested = source::groups(tx.conn(), connection, members)?;
    let mut ids: Vec<String> = people
        .iter()
        .filter(|it| it.mirrored.deleted_at.is_none())
        .map(|it| it.mirrored.id.clone())
        .chain(nested.iter().map(|it| it.group_id.clone()))
        .filter(|id| id != group)
        .collect();
    ids.sort();
    ids.dedup();
    let mut took = TookMembers {
        unresolved: members.len().saturating_sub(ids.len()),
        ..TookMembers::default()
    };
    let there: HashSet<String> = groups::which_are_members(tx.conn(), group, &ids)?
        .into_iter()
        .collect();
    let new: Vec<String> = ids
        .iter()
        .filter(|id| !there.contains(*id))
        .cloned()
        .collect();
    if !new.is_empty() {
        let Some(locked) = groups::lock(tx, connection, group)? else {
            return Ok(took);
        };
        if pass.trusts_group(group, locked.version - 1, locked.modified_at) {
            let mut affected = Affected::default();
            let edit = MemberEdit::Add(refs(&new));
            edit_members_of(tx, source, group, &[edit], &mut affected)?;
            groups::save(tx, &locked, &locked.doc, now)?;
            affected.mark(tx, source, now)?;
            took.added = new.len();
            took.version = Some(locked.version);
        } else {
            groups::unlock(tx, &locked)?;
            let new: HashSet<&String> = new.iter().collect();
            took.stale = people
                .iter()
                .filter(|it| new.contains(&it.mirrored.id))
                .map(|it| it.source_id.clone())
                .collect();
        }
    }
    source::see_members(tx, group, &ids, pass.number)?;
    Ok(took)
}

fn settle_groups(
    tx: &mut Tx<'_>,
    source: &Source,
    pass: &Pass,
    user: &str,
    join: &[String],
    leave: &[String],
    now: Micros,
) -> Result<Option<(usize, usize)>, Error> {
    let connection = &source.connection;
    let mut both: Vec<String> = join.iter().chain(leave).cloned().collect();
    both.sort();
    both.dedup();
    let mut groups_here = source::groups(tx.conn(), connection, &both)?;
    // Everybody locks groups in the order of their ids.
    groups_here.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    let mut affected = Affected::default();
    let (mut joined, mut left) = (0, 0);
    for known in groups_here {
        let joins = join.contains(&known.source_id);
        let id = known.group_id;
        let is_member = groups::which_are_members(tx.conn(), &id, &[user.to_owned()])?.len() == 1;
        if joins == is_member {
            continue;
        }
        let Some(locked) = groups::lock(tx, connection, &id)? else {
            continue;
        };
        if !pass.trusts_group(&id, locked.version - 1, locked.modified_at) {
            return Ok(None);
        }
        let touched = if joins {
            groups::add_member(tx, &id, user, MemberType::User)?
        } else {
            groups::remove_member(tx, &id, user)?.is_some()
        };
        if !touched {
            groups::unlock(tx, &locked)?;
            continue;
        }
        let name = scim::resource::keys(ResourceType::Group, &locked.doc).name;
        groups::save(tx, &locked, &locked.doc, now)?;
        let (change, text) = if joins {
            joined += 1;
            affected.user(user);
            ("changed", format!("joined {name}"))
        } else {
            left += 1;
            affected.leaver(user);
            ("changed", format!("left {name}"))
        };
        let who = users::get(tx.conn(), connection, user)?;
        let who = match who {
            Some(stored) => scim::resource::keys(ResourceType::User, &stored.parsed()?.doc).name,
            None => user.to_owned(),
        };
        runs::add_result(tx, &pass.run, &line(&who, Some(user), change, &text, false))?;
    }
    affected.mark(tx, source, now)?;
    Ok(Some((joined, left)))
}

fn remove_user(
    tx: &mut Tx<'_>,
    source: &Source,
    pass: &Pass,
    source_id: &str,
    now: Micros,
) -> Result<Option<(String, bool)>, Error> {
    let connection = &source.connection;
    let known = source::users(tx.conn(), connection, &[source_id.to_owned()])?;
    let Some(known) = known.first() else {
        return Ok(None);
    };
    let row = &known.mirrored;
    source::forget_user(tx, connection, source_id)?;
    // The domain has nobody any more who could be brought back.
    source::clear_revoked(tx, connection, &row.name_ci)?;
    if row.deleted_at.is_some() {
        return Ok(None);
    }
    let Some(locked) = users::lock(tx, connection, &row.id)? else {
        return Ok(None);
    };
    let name = scim::resource::keys(ResourceType::User, &locked.doc).name;
    users::bury(tx, &locked, now)?;
    let id = UserId(row.id.clone());
    work::mark(tx, connection, &id, Priority::Leaver, &source.cause, now)?;
    let missed = row.pushed && pass.is_pushed_to;
    let line = line(
        &name,
        Some(&row.id),
        "removed",
        "the domain has this user no more",
        missed,
    );
    runs::add_result(tx, &pass.run, &line)?;
    Ok(Some((name, missed)))
}

fn is_same(known: &KnownUser, digest: &str) -> bool {
    known.mirrored.deleted_at.is_none()
        && known.digest == digest
        && !digest.is_empty()
        && known.version == known.mirrored.version
}

fn line(
    subject: &str,
    id: Option<&str>,
    change: &str,
    detail: &str,
    missed_push: bool,
) -> RunResult {
    RunResult {
        subject: subject.to_owned(),
        subject_id: id.map(ToOwned::to_owned),
        change: change.to_owned(),
        detail: detail.to_owned(),
        missed_push,
    }
}

fn refs(ids: &[String]) -> Vec<MemberRef> {
    ids.iter()
        .map(|id| MemberRef { value: id.clone() })
        .collect()
}

/// Stands for what was read, so that the same is known without comparing. Empty, which is never the same, if it
/// cannot be told.
fn digest(user: &PulledUser) -> String {
    let Ok(text) = serde_json::to_vec(&(&user.external_id, &user.doc)) else {
        return String::new();
    };
    let hash = Sha256::digest(&text);
    hash.iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The names of what was read, those inside objects too: `name`, `name/givenName`.
fn stated(doc: &Doc) -> String {
    let mut names = Vec::new();
    for (name, value) in doc {
        names.push(name.clone());
        if let Value::Object(parts) = value {
            names.extend(parts.keys().map(|part| format!("{name}/{part}")));
        }
    }
    names.join("\n")
}

/// The document from now on. What the domain stated the last time and states no more is gone; what it never
/// stated is the push's own and stays.
fn merged(current: &Doc, user: &PulledUser, stated_before: &str) -> Doc {
    let mut doc = current.clone();
    for name in stated_before.lines() {
        match name.split_once('/') {
            None if !user.doc.contains_key(name) && !["userName", "active"].contains(&name) => {
                doc.remove(name);
            }
            Some((whole, part)) => {
                let states = user.doc.get(whole).and_then(|it| it.get(part)).is_some();
                if !states && let Some(Value::Object(parts)) = doc.get_mut(whole) {
                    parts.remove(part);
                }
            }
            None => {}
        }
    }
    for (name, value) in &user.doc {
        match (doc.get_mut(name), value) {
            (Some(there), stated) if name == "emails" && same_addresses(there, stated) => {}
            (Some(Value::Object(there)), Value::Object(stated)) => {
                there.extend(
                    stated
                        .iter()
                        .map(|(name, value)| (name.clone(), value.clone())),
                );
            }
            (_, stated) => {
                doc.insert(name.clone(), stated.clone());
            }
        }
    }
    if !doc.contains_key("externalId")
        && let Some(external_id) = &user.external_id
    {
        doc.insert("externalId".to_owned(), json!(external_id));
    }
    doc
}

/// Whether two lists hold the same addresses with the same one for work, however else they are written. Addresses
/// for recovery are pushed by some and never read.
fn same_addresses(one: &Value, other: &Value) -> bool {
    let addresses = |list: &Value| -> Option<HashSet<(String, bool)>> {
        list.as_array()?
            .iter()
            .filter(|it| it["type"] != "recovery")
            .map(|it| {
                Some((
                    scim::fold::fold_text(it["value"].as_str()?),
                    it["primary"] == json!(true),
                ))
            })
            .collect()
    };
    addresses(one).is_some_and(|one| Some(one) == addresses(other))
}

/// What a push would have had to bring.
fn essence(doc: &Doc) -> Value {
    let keys = scim::resource::keys(ResourceType::User, doc);
    let emails = doc.get("emails").and_then(Value::as_array);
    let primary = emails.and_then(|all| all.iter().find(|it| it["primary"] == json!(true)));
    json!([
        scim::fold::fold_text(&keys.name),
        keys.active,
        keys.display_name,
        primary.and_then(|it| Some(scim::fold::fold_text(it["value"].as_str()?))),
        doc.get("name")
            .map(|name| [&name["givenName"], &name["familyName"]]),
    ])
}

/// The attributes that differ. Their values may be personal, and are in the mirror anyway.
fn differences(before: &Doc, after: &Doc) -> String {
    let names: Vec<&str> = after
        .keys()
        .chain(before.keys().filter(|name| !after.contains_key(*name)))
        .filter(|name| before.get(*name) != after.get(*name))
        .map(String::as_str)
        .collect();
    let switched = match (before.get("active"), after.get("active")) {
        (Some(Value::Bool(true)), Some(Value::Bool(false))) => " (deactivated)",
        (Some(Value::Bool(false)), Some(Value::Bool(true))) => " (activated)",
        _ => "",
    };
    format!("{}{switched}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doc(value: Value) -> Doc {
        match value {
            Value::Object(doc) => doc,
            _ => Doc::new(),
        }
    }

    fn pulled(value: Value) -> PulledUser {
        PulledUser {
            source_id: "s".to_owned(),
            user_name: "ada".to_owned(),
            doc: doc(value),
            external_id: Some("e1".to_owned()),
        }
    }

    #[test]
    fn what_the_domain_states_no_more_goes_and_what_only_a_push_stated_stays() {
        let current = doc(json!({
            "userName": "ada", "active": true, "title": "Dr", "nickName": "A", "externalId": "p7",
            "name": {"givenName": "Ada", "honorificPrefix": "Dr"},
        }));
        let now = pulled(json!({"userName": "ada", "active": true, "name": {"givenName": "Ada"}}));
        let after = merged(
            &current,
            &now,
            "userName\nactive\ntitle\nname\nname/honorificPrefix",
        );
        assert_eq!(
            Value::Object(after),
            json!({"userName": "ada", "active": true, "nickName": "A", "externalId": "p7",
                "name": {"givenName": "Ada"}})
        );
    }

    #[test]
    fn addresses_that_say_the_same_are_left_as_they_are() {
        let current =
            doc(json!({"userName": "ada", "emails": [{"value": "ADA@x.org", "primary": true}]}));
        let same =
            pulled(json!({"emails": [{"value": "ada@x.org", "type": "work", "primary": true}]}));
        assert_eq!(merged(&current, &same, "")["emails"], current["emails"]);
        let other = pulled(json!({"emails": [{"value": "ada@y.org", "primary": true}]}));
        assert_eq!(merged(&current, &other, "")["emails"], other.doc["emails"]);
    }

    #[test]
    fn a_digest_tells_every_difference() {
        let one = pulled(json!({"userName": "ada"}));
        let mut other = one.clone();
        assert_eq!(digest(&one), digest(&other));
        other.external_id = None;
        assert_ne!(digest(&one), digest(&other));
    }
}
