//! One user: read with its groups, and brought in step. For logins, for `usher sync --user`, and for whatever a
//! longer reading was not sure about.

use std::collections::{HashMap, HashSet};

use super::{Error, Reconciler, pull_of, source_of};
use crate::domain::{Connection, PullUsers, UserId};
use crate::idcs::Idcs;
use crate::idcs::wire::{DomainGroup, DomainUser};
use crate::intake::Source;
use crate::intake::pull::{Pass, PulledGroup, PulledUser, Took, resolve};
use crate::store::runs::{self, Ended};
use crate::store::source::{self, GrantChange};
use crate::store::work::Priority;
use crate::store::{self, users};

/// How often a user is read again because it changed here meanwhile.
const ATTEMPTS: usize = 8;

/// Whom to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// By its id in the domain (`user_id` in tokens).
    Id(String),
    /// By login name.
    Name(String),
}

/// What became of one user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Synced {
    /// Its id in the mirror, if it is there.
    pub user_id: Option<UserId>,
    /// Whether anything changed in the mirror.
    pub changed: bool,
    /// Whether the domain has it no more, and the mirror neither.
    pub removed: bool,
    /// Whether a push took it away, and it stays away.
    pub revoked: bool,
    /// Why the mirror does not take it.
    pub refused: Option<String>,
    /// Whether the application is granted to it, where only that counts.
    pub granted: bool,
    /// Groups joined and left.
    pub joined: usize,
    /// Groups left.
    pub left: usize,
    /// Whether a push should have brought the change.
    pub missed_push: bool,
}

impl PulledUser {
    pub(super) fn new(user: &DomainUser) -> Self {
        Self {
            source_id: user.id.clone(),
            user_name: user.user_name.clone(),
            doc: user.doc.clone(),
            external_id: user.external_id.clone(),
        }
    }
}

impl PulledGroup {
    pub(super) fn new(group: &DomainGroup) -> Self {
        Self {
            source_id: group.id.clone(),
            name: group.name.clone(),
            modified: group.modified.clone().unwrap_or_default(),
        }
    }
}

/// The settings of a pass that do not change from page to page.
pub(super) async fn pass(
    store: &store::Store,
    connection: &Connection,
    run: &runs::Run,
    priority: Priority,
) -> Result<Pass, Error> {
    let pull = pull_of(connection)?;
    let id = connection.id.clone();
    let (is_pushed_to, state) = store
        .read(move |conn| -> Result<_, store::Error> {
            Ok((source::is_pushed_to(conn, &id)?, runs::state(conn, &id)?))
        })
        .await?;
    Ok(Pass {
        run: run.id.clone(),
        number: run.number,
        read_at: 0,
        expect: None,
        expect_groups: HashMap::new(),
        create: pull.users == PullUsers::All,
        only_granted: pull.only_granted,
        revive: false,
        is_pushed_to,
        news_are_missed: state.full_at.is_some(),
        priority,
    })
}

impl Reconciler {
    /// Reads one user with its groups and brings the mirror in step. Does not wait for other runs: what they and
    /// pushes do meanwhile is not undone. `revive`: a person asks for somebody whom a push took away.
    ///
    /// # Errors
    /// [`Error`] if the domain cannot be read; the mirror is then as it was.
    pub async fn one_user(
        &self,
        connection: &Connection,
        who: &Who,
        cause: &str,
        revive: bool,
    ) -> Result<Synced, Error> {
        let client = self.client(connection).await?;
        let id = match self.id_of(connection, &client, who).await {
            Err(error) => {
                self.note_refusal(connection, &error);
                return Err(error);
            }
            Ok(id) => id,
        };
        let run = self.begin_user_run(connection, cause).await?;
        let mut pass = pass(&self.store, connection, &run, Priority::Push).await?;
        pass.revive = revive;
        let source = source_of(connection, cause);
        let requests = client.requests();
        let outcome = self.settle(connection, &client, &source, &pass, &id).await;
        if let Err(error) = &outcome {
            self.note_refusal(connection, error);
        }
        let requests = client.requests() - requests;
        self.end_user_run(connection, &run, &outcome, requests)
            .await?;
        outcome
    }

    pub(super) fn note_refusal(&self, connection: &Connection, error: &Error) {
        if matches!(
            error,
            Error::Domain(crate::idcs::Error::Unauthorized { .. })
        ) {
            self.drop_client(connection);
        }
    }

    async fn id_of(
        &self,
        connection: &Connection,
        client: &Idcs,
        who: &Who,
    ) -> Result<String, Error> {
        let name = match who {
            Who::Id(id) => return Ok(id.clone()),
            Who::Name(name) => name.clone(),
        };
        if let Some(id) = client.user_named(&name).await? {
            return Ok(id);
        }
        // Renamed or gone in the domain: the mirror may still know it by that name.
        let (connection, wanted) = (connection.id.clone(), name.clone());
        let known = self
            .store
            .read(move |conn| -> Result<Option<String>, store::Error> {
                for user in users::named(conn, &wanted)? {
                    let Some((owner, _)) = users::find(conn, &user)? else {
                        continue;
                    };
                    if owner == connection
                        && let Some(id) = source::of_user(conn, &user)?
                    {
                        return Ok(Some(id));
                    }
                }
                Ok(None)
            })
            .await?;
        known.ok_or(Error::NoSuchUser(name))
    }

    async fn begin_user_run(
        &self,
        connection: &Connection,
        cause: &str,
    ) -> Result<runs::Run, Error> {
        let (id, cause, now) = (connection.id.clone(), cause.to_owned(), self.now());
        Ok(self
            .store
            .write(move |tx| -> Result<runs::Run, store::Error> {
                runs::begin_user(tx, &id, &cause, now)
            })
            .await?)
    }

    async fn end_user_run(
        &self,
        connection: &Connection,
        run: &runs::Run,
        outcome: &Result<Synced, Error>,
        requests: u64,
    ) -> Result<(), Error> {
        let (state, message, changed) = match outcome {
            Ok(synced) => ("done", synced.refused.clone(), synced.changed),
            Err(error) => ("failed", Some(error.to_string()), true),
        };
        let mut counts = super::Counts {
            requests,
            users: 1,
            ..super::Counts::default()
        };
        if let Ok(synced) = outcome {
            counts.note(synced);
        }
        let counts = serde_json::to_string(&counts).unwrap_or_default();
        let (id, run, now) = (connection.id.clone(), run.id.clone(), self.now());
        self.store
            .write(move |tx| -> Result<(), store::Error> {
                // A thousand logins of people who are as they were leave no trace.
                if !changed {
                    return runs::discard(tx, &run);
                }
                let ended = Ended {
                    state,
                    message: message.as_deref(),
                    counts: &counts,
                    watermark: None,
                    full_at: None,
                };
                runs::end(tx, &id, &run, &ended, now)
            })
            .await?;
        Ok(())
    }

    /// Asks the domain about one user until what it says is newer than what is here, and takes that in.
    pub(super) async fn settle(
        &self,
        connection: &Connection,
        client: &Idcs,
        source: &Source,
        pass: &Pass,
        id: &str,
    ) -> Result<Synced, Error> {
        let mut name: Option<String> = None;
        let mut depth = 0;
        let mut target = id.to_owned();
        for _ in 0..ATTEMPTS {
            let mut pass = pass.clone();
            pass.expect = self.resolved(connection, &target, name.as_deref()).await?;
            pass.expect_groups = self.group_versions(pass.expect.as_ref()).await?;
            pass.read_at = self.now();
            let Some(user) = client.user(&target).await? else {
                let removed = self.intake.remove_pulled(source, &pass, &target).await?;
                if target != id {
                    // The name is free now for whom it was about.
                    id.clone_into(&mut target);
                    continue;
                }
                return Ok(Synced {
                    changed: removed.is_some(),
                    removed: true,
                    missed_push: removed.is_some_and(|(_, missed)| missed),
                    ..Synced::default()
                });
            };
            name = Some(user.user_name.clone());
            let pulled = PulledUser::new(&user);
            let took = self.intake.take_users(source, &pass, vec![pulled]).await?;
            let Some(took) = took.into_iter().next() else {
                return Err(Error::Unsettled);
            };
            match took.took {
                Took::Stale => continue,
                Took::NameHeld(other) if depth == 0 && target == id => {
                    // Whoever has the name here has another one in the domain by now, or is gone.
                    depth += 1;
                    target = other;
                    name = None;
                    continue;
                }
                Took::NameHeld(other) => {
                    return Ok(Synced {
                        refused: Some(format!(
                            "the user {other} of the domain has the name {} too",
                            user.user_name
                        )),
                        ..Synced::default()
                    });
                }
                Took::Refused(text) => {
                    return Ok(Synced {
                        refused: Some(text),
                        ..Synced::default()
                    });
                }
                Took::Revoked => {
                    return Ok(Synced {
                        revoked: true,
                        ..Synced::default()
                    });
                }
                Took::NotPushed => return Ok(Synced::default()),
                Took::Unchanged | Took::Created | Took::Changed => {}
            }
            if target != id {
                id.clone_into(&mut target);
                name = None;
                continue;
            }
            let Some(user_id) = took.user_id else {
                return Err(Error::Unsettled);
            };
            let Some((joined, left)) = self
                .settle_groups_of(connection, client, source, &pass, &user_id, &user)
                .await?
            else {
                continue;
            };
            let granted = self
                .settle_grant(connection, client, source, &pass, &user_id, &user)
                .await?;
            return Ok(Synced {
                user_id: Some(UserId(user_id)),
                changed: took.took != Took::Unchanged || joined + left > 0 || granted.1,
                granted: granted.0,
                joined,
                left,
                missed_push: took.missed_push,
                ..Synced::default()
            });
        }
        Err(Error::Unsettled)
    }

    async fn resolved(
        &self,
        connection: &Connection,
        source_id: &str,
        name: Option<&str>,
    ) -> Result<Option<(String, i64)>, Error> {
        let (connection, source_id) = (connection.id.clone(), source_id.to_owned());
        let name = name.map(ToOwned::to_owned);
        Ok(self
            .store
            .read(move |conn| resolve(conn, &connection, &source_id, name.as_deref()))
            .await?)
    }

    async fn group_versions(
        &self,
        user: Option<&(String, i64)>,
    ) -> Result<HashMap<String, i64>, Error> {
        let user = user.map(|(id, _)| id.clone());
        Ok(self
            .store
            .read(move |conn| -> Result<HashMap<String, i64>, store::Error> {
                let versions = match user {
                    Some(user) => source::groups_of(conn, &user)?,
                    None => Vec::new(),
                };
                Ok(versions
                    .into_iter()
                    .map(|it| (it.group_id, it.version))
                    .collect())
            })
            .await?)
    }

    /// Brings the user's memberships in step. `None`: a group changed here meanwhile.
    async fn settle_groups_of(
        &self,
        connection: &Connection,
        client: &Idcs,
        source: &Source,
        pass: &Pass,
        user_id: &str,
        user: &DomainUser,
    ) -> Result<Option<(usize, usize)>, Error> {
        let stated: HashSet<&String> = user.groups.iter().map(|it| &it.id).collect();
        let direct: Vec<String> = user
            .groups
            .iter()
            .filter(|it| !it.indirect)
            .map(|it| it.id.clone())
            .collect();
        self.bring_groups(connection, client, source, pass, &direct)
            .await?;
        let here = user_id.to_owned();
        let here = self
            .store
            .read(move |conn| source::groups_of(conn, &here))
            .await?;
        let mut leave: Vec<String> = here
            .iter()
            .map(|it| it.source_id.clone())
            .filter(|id| !stated.contains(id))
            .collect();
        if !leave.is_empty() {
            // The user's side does not show them: the groups' side has to agree.
            let (mut start, mut still) = (1, HashSet::new());
            loop {
                let page = client.groups_with(&user.id, start).await?;
                start += page.rows.len();
                let ended = page.rows.is_empty() || start > page.total;
                still.extend(page.rows.into_iter().map(|group| group.id));
                if ended {
                    if start <= page.total {
                        return Err(Error::Implausible(
                            "the list of a user's groups ended before its end".to_owned(),
                        ));
                    }
                    break;
                }
            }
            leave.retain(|id| !still.contains(id));
        }
        let mut pass = pass.clone();
        // Groups that the user was not in before the reading are known by their time alone.
        for group in &here {
            pass.expect_groups
                .entry(group.group_id.clone())
                .or_insert(group.version);
        }
        let missing: Vec<String> = direct
            .into_iter()
            .filter(|id| !here.iter().any(|it| it.source_id == *id))
            .collect();
        if missing.is_empty() && leave.is_empty() {
            return Ok(Some((0, 0)));
        }
        let settled = self
            .intake
            .settle_groups(source, &pass, user_id, missing.clone(), leave)
            .await?;
        if settled.is_some() || missing.is_empty() {
            return Ok(settled);
        }
        // One of them changed here lately: ask once more, now that its version is known.
        self.join_again(connection, client, source, pass, user_id, user)
            .await
    }

    async fn join_again(
        &self,
        connection: &Connection,
        client: &Idcs,
        source: &Source,
        mut pass: Pass,
        user_id: &str,
        user: &DomainUser,
    ) -> Result<Option<(usize, usize)>, Error> {
        let ids: Vec<String> = user.groups.iter().map(|it| it.id.clone()).collect();
        let connection = connection.id.clone();
        let known = self
            .store
            .read(move |conn| source::groups(conn, &connection, &ids))
            .await?;
        pass.expect_groups = known
            .into_iter()
            .map(|it| (it.group_id, it.version))
            .collect();
        let Some(again) = client.user(&user.id).await? else {
            return Ok(None);
        };
        let join = again
            .groups
            .iter()
            .filter(|it| !it.indirect)
            .map(|it| it.id.clone())
            .collect();
        Ok(self
            .intake
            .settle_groups(source, &pass, user_id, join, Vec::new())
            .await?)
    }

    /// Makes groups that the mirror does not have, if the connection reads them.
    async fn bring_groups(
        &self,
        connection: &Connection,
        client: &Idcs,
        source: &Source,
        pass: &Pass,
        ids: &[String],
    ) -> Result<(), Error> {
        let (id, wanted) = (connection.id.clone(), ids.to_vec());
        let known: HashSet<String> = self
            .store
            .read(move |conn| source::groups(conn, &id, &wanted))
            .await?
            .into_iter()
            .map(|it| it.source_id)
            .collect();
        let mut groups = Vec::new();
        for id in ids.iter().filter(|id| !known.contains(*id)) {
            let group = client.group(id).await?;
            let group = group.filter(|group| !group.is_everyone());
            groups.extend(group.as_ref().map(PulledGroup::new));
        }
        if !groups.is_empty() {
            self.intake.take_groups(source, pass, groups).await?;
        }
        Ok(())
    }

    /// Whether the application is granted to the user, and whether that is new.
    async fn settle_grant(
        &self,
        connection: &Connection,
        client: &Idcs,
        source: &Source,
        pass: &Pass,
        user_id: &str,
        user: &DomainUser,
    ) -> Result<(bool, bool), Error> {
        let pull = pull_of(connection)?;
        let Some(app) = pull.app_id.as_deref().filter(|_| pull.only_granted) else {
            return Ok((true, false));
        };
        let direct = client.grants(app, Some(&user.id), 1).await?;
        let mut granted = direct.rows.iter().any(|it| it.grantee == user.id);
        if !granted {
            let (id, groups) = (connection.id.clone(), user.groups.clone());
            granted = self
                .store
                .read(move |conn| -> Result<bool, store::Error> {
                    for group in &groups {
                        if source::is_grantee(conn, &id, &group.id)? {
                            return Ok(true);
                        }
                    }
                    Ok(false)
                })
                .await?;
        }
        let (here, id) = (UserId(user_id.to_owned()), connection.id.clone());
        let (before, pushed, counted) = self
            .store
            .read(move |conn| -> Result<_, store::Error> {
                let state = runs::state(conn, &id)?;
                Ok((
                    users::is_granted(conn, &here)?,
                    source::is_pushed(conn, &here)?,
                    state.full_at.is_some(),
                ))
            })
            .await?;
        // Which groups are granted is known after a complete run; before, nobody is put out of scope.
        if granted == before || (!granted && !counted) {
            return Ok((before, false));
        }
        let change = GrantChange {
            user_id: user_id.to_owned(),
            source_id: user.id.clone(),
            user_name: user.user_name.clone(),
            granted,
            pushed,
        };
        self.intake.set_granted(source, pass, &change).await?;
        Ok((granted, true))
    }
}
