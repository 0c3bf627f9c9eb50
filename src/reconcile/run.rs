//! A run over a whole connection: full, or of what changed lately.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::one::pass;
use super::{Counts, Error, Reconciler, pull_of, source_of};
use crate::clock::{Micros, rfc3339};
use crate::domain::{Connection, ConnectionId, Mode};
use crate::idcs::wire::{DomainUser, Member, Page};
use crate::idcs::{self, Idcs, PAGE};
use crate::intake::Source;
use crate::intake::pull::{Pass, PulledGroup, PulledUser, Took, TookUser};
use crate::store::runs::{self, Ended, Run};
use crate::store::source::{self, Coverage, KnownGroup};
use crate::store::work::Priority;
use crate::store::{self, drift, group_work, settings};

/// How long a run may be silent before another may take over: longer than the longest wait of the client.
const LEASE: Micros = 300_000_000;
/// How often the table of runs says how far a run is.
const NOTED_EVERY: Micros = 1_000_000;
/// A change may become visible later than it is dated.
const SAFETY: Micros = 300_000_000;
/// Of more changed users than this, not each is asked about by itself: to read everything takes fewer requests.
const SINGLY: usize = 1000;
/// How many that were not seen are asked about in one run. The rest waits for the next.
const CONFIRMATIONS: usize = 500;
/// The same where a person said that many are missing.
const CONFIRMATIONS_ACCEPTED: usize = 100_000;
/// Of more than so many, not all may be missing at once.
const FEW: i64 = 10;
/// What a domain puts on a page that was not asked for a number.
const LEAST_PAGE: usize = 50;
/// Members of one group that are kept in memory; of a larger group that changed, pages are read once more.
const KEPT_MEMBERS: usize = 10_000;

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Everything.
    Full,
    /// What changed since the last run.
    Incremental,
    /// Everything if the last complete reading is old enough, else what changed.
    AsDue,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// What is being read.
    pub phase: &'static str,
    /// So many.
    pub done: u64,
    /// Of so many, if that is known.
    pub total: Option<u64>,
}

/// Is told how far a run is.
pub type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// A run that came to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its id.
    pub run: String,
    /// `full` or `incremental`.
    pub kind: String,
    /// `done`, or `void`: nothing was removed.
    pub state: &'static str,
    /// Why it is void.
    pub message: Option<String>,
    /// What it did.
    pub counts: Counts,
}

/// The first members of a group, as the domain lists them.
struct FirstPage {
    page: Result<Vec<Member>, idcs::Error>,
    /// A moment before it was asked for.
    read_at: Micros,
}

/// A run under way.
struct Running<'a> {
    reconciler: &'a Reconciler,
    connection: &'a Connection,
    client: Idcs,
    source: Source,
    pass: Pass,
    run: Run,
    counts: Counts,
    confirmations: usize,
    /// So many percent of what is known may be missing, by the word of a person.
    accept_shrink: Option<u8>,
    renewed_at: Micros,
    progress: Option<OnProgress>,
    /// What was told last, until it is noted in the table of runs.
    told: Option<Progress>,
    noted_at: Micros,
}

/// A run that holds the lease of its connection and has read nothing yet.
#[derive(Debug)]
pub struct Begun {
    connection: Connection,
    client: Idcs,
    run: Run,
    since: Option<Micros>,
    accept_shrink: Option<u8>,
    now: Micros,
}

impl Begun {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.run.id
    }

    /// The same, also if the domain shows up to so many percent less than is known. Each one that is missing is still
    /// asked about by itself.
    #[must_use]
    pub fn accepting(mut self, shrink: Option<u8>) -> Self {
        self.accept_shrink = shrink;
        self
    }
}

impl Reconciler {
    /// Runs over a connection.
    ///
    /// # Errors
    /// [`Error::Busy`] if another run has it, and whatever keeps this one from ending: what was taken in until
    /// then stays, and nothing was removed because it was not read.
    pub async fn run(
        &self,
        connection: &Connection,
        extent: Extent,
        cause: &str,
        scheduled: bool,
        progress: Option<OnProgress>,
    ) -> Result<Report, Error> {
        let begun = self.begin(connection, extent, cause, scheduled).await?;
        self.go_on(begun, progress).await
    }

    /// Begins a run; [`Reconciler::go_on`] does it.
    ///
    /// # Errors
    /// [`Error::Busy`] if another run has the connection, and what is wrong with its settings.
    pub async fn begin(
        &self,
        connection: &Connection,
        extent: Extent,
        cause: &str,
        scheduled: bool,
    ) -> Result<Begun, Error> {
        let pull = pull_of(connection)?;
        let client = self.client(connection).await?;
        let now = self.now();
        let id = connection.id.clone();
        let state = self.store.read(move |conn| runs::state(conn, &id)).await?;
        let full_due = state.full_at.is_none_or(|at| {
            now - at >= i64::try_from(pull.full_every_s).unwrap_or(i64::MAX) * 1_000_000
        });
        let since = match extent {
            Extent::Full => None,
            Extent::AsDue if full_due => None,
            // The first run has nothing to begin after.
            Extent::Incremental | Extent::AsDue => state.watermark,
        };
        let kind = if since.is_some() {
            "incremental"
        } else {
            "full"
        };
        let (id, text) = (connection.id.clone(), cause.to_owned());
        let begun = self
            .store
            .write(move |tx| -> Result<Option<Run>, store::Error> {
                runs::begin(tx, &id, kind, &text, scheduled, now, now + LEASE)
            })
            .await?;
        let Some(run) = begun else {
            return Err(Error::Busy);
        };
        tracing::info!(connection = %connection.settings.name, run = %run.id, kind, cause, "reading the domain");
        Ok(Begun {
            connection: connection.clone(),
            client,
            run,
            since,
            accept_shrink: None,
            now,
        })
    }

    /// Does a run that was begun.
    ///
    /// # Errors
    /// As [`Reconciler::run`].
    pub async fn go_on(&self, begun: Begun, progress: Option<OnProgress>) -> Result<Report, Error> {
        let Begun {
            connection,
            client,
            run,
            since,
            accept_shrink,
            now,
        } = begun;
        let before = client.requests();
        let mut running = Running {
            reconciler: self,
            source: source_of(&connection, &format!("{}, run {}", run.cause, run.id)),
            pass: pass(&self.store, &connection, &run, Priority::Bulk).await?,
            connection: &connection,
            client,
            run,
            counts: Counts::default(),
            confirmations: match accept_shrink {
                Some(_) => CONFIRMATIONS_ACCEPTED,
                None => CONFIRMATIONS,
            },
            accept_shrink,
            renewed_at: now,
            progress,
            told: None,
            noted_at: now,
        };
        let outcome = match since {
            None => running.full().await,
            Some(since) => running.incremental(since).await,
        };
        running.counts.requests = running.client.requests() - before;
        running.end(outcome, now).await
    }
}

impl Running<'_> {
    async fn end(self, outcome: Result<(), Error>, began: Micros) -> Result<Report, Error> {
        let (state, message, result) = match outcome {
            Ok(()) => ("done", None, Ok(())),
            Err(Error::Implausible(text)) => {
                let text = format!("{text}; nothing was removed");
                ("void", Some(text), Ok(()))
            }
            Err(error @ Error::Shrunk { .. }) => {
                let hint = self.how_to_accept(&error);
                (
                    "void",
                    Some(format!("{error}; nothing was removed{hint}")),
                    Ok(()),
                )
            }
            Err(error) => {
                self.reconciler.note_refusal(self.connection, &error);
                let text = format!("{error}; nothing was removed because it was not read");
                ("failed", Some(text), Err(error))
            }
        };
        let name = &self.connection.settings.name;
        match &message {
            None => {
                tracing::info!(connection = %name, run = %self.run.id, counts = ?self.counts, "the domain was read")
            }
            Some(text) => {
                tracing::warn!(connection = %name, run = %self.run.id, text, "the domain was not read")
            }
        }
        let counts = serde_json::to_string(&self.counts).unwrap_or_default();
        let is_full = self.run.kind == "full";
        let (id, run, now) = (
            self.connection.id.clone(),
            self.run.id.clone(),
            self.reconciler.now(),
        );
        let (text, done) = (message.clone(), state == "done");
        self.reconciler
            .store
            .write(move |tx| -> Result<(), store::Error> {
                let ended = Ended {
                    state,
                    message: text.as_deref(),
                    counts: &counts,
                    watermark: done.then_some(began - SAFETY),
                    full_at: (done && is_full).then_some(began),
                };
                if done && is_full {
                    ask_targets(tx, &id, &run, now)?;
                }
                runs::end(tx, &id, &run, &ended, now)
            })
            .await?;
        result.map(|()| Report {
            run: self.run.id,
            kind: self.run.kind,
            state,
            message,
            counts: self.counts,
        })
    }

    /// What a person may do who knows that it is right.
    fn how_to_accept(&self, error: &Error) -> String {
        let Error::Shrunk { known, seen, .. } = error else {
            return String::new();
        };
        let percent = (100 * (known - seen) + known - 1) / (*known).max(1);
        format!(
            ". If it is right that {percent} % are gone: `usher sync {} --full --accept-shrink {percent}`",
            self.connection.settings.name
        )
    }

    async fn full(&mut self) -> Result<(), Error> {
        let grants_complete = self.grants().await?;
        self.all_users().await?;
        self.all_groups().await?;
        // From here on, what is missing was looked for: nothing of the above failed or ended early.
        self.missing_users().await?;
        self.all_members().await?;
        self.missing_groups().await?;
        if grants_complete {
            self.settle_grants().await?;
        }
        self.release_grants().await
    }

    async fn incremental(&mut self, since: Micros) -> Result<(), Error> {
        let since = rfc3339(since);
        let mut start = 1;
        loop {
            self.begin_page().await?;
            let page = self.client.users_since(&since, start).await?;
            if page.total > SINGLY {
                return self.full().await;
            }
            start += page.rows.len();
            let ended = self.is_last("changed users", &page, start)?;
            let users: Vec<DomainUser> = page.rows;
            self.tell("changed users", start as u64 - 1, Some(page.total as u64));
            self.counts.users += users.len() as u64;
            for user in users {
                // Each by itself, because its groups may have changed with it.
                self.confirm(&user.id).await?;
            }
            if ended {
                break;
            }
        }
        self.all_groups().await?;
        self.changed_members(&since).await
    }

    /// Keeps the lease, and notes the moment before a reading.
    async fn begin_page(&mut self) -> Result<(), Error> {
        let now = self.reconciler.now();
        if now - self.renewed_at >= LEASE / 10 {
            let (id, owner) = (self.connection.id.clone(), self.run.id.clone());
            let held = self
                .reconciler
                .store
                .write(move |tx| runs::renew(tx, &id, &owner, now + LEASE))
                .await?;
            if !held {
                return Err(Error::Overtaken);
            }
            self.renewed_at = now;
        }
        if now - self.noted_at >= NOTED_EVERY
            && let Some(told) = self.told.take()
        {
            let counts = serde_json::to_string(&self.counts).unwrap_or_default();
            let progress = serde_json::to_string(&told).unwrap_or_default();
            let id = self.run.id.clone();
            self.reconciler
                .store
                .write(move |tx| runs::advance(tx, &id, &counts, &progress))
                .await?;
            self.noted_at = now;
        }
        self.pass.read_at = now;
        Ok(())
    }

    fn tell(&mut self, phase: &'static str, done: u64, total: Option<u64>) {
        let told = Progress { phase, done, total };
        self.told = Some(told);
        if let Some(progress) = &self.progress {
            progress(told);
        }
    }

    /// Whether a list has ended, `next` being where it would go on. One that stops before its end is no list.
    fn is_last<T>(&self, what: &str, page: &Page<T>, next: usize) -> Result<bool, Error> {
        if next > page.total {
            return Ok(true);
        }
        if page.rows.is_empty() {
            return Err(Error::Implausible(format!(
                "the list of {what} ended after {} of {}",
                next - 1,
                page.total
            )));
        }
        Ok(false)
    }

    async fn all_users(&mut self) -> Result<(), Error> {
        let (client, intake) = (self.client.clone(), self.reconciler.intake.clone());
        let mut start = 1;
        self.begin_page().await?;
        let mut read_at = self.pass.read_at;
        let mut read = client.users(None, start).await?;
        loop {
            start += read.rows.len();
            let ended = self.is_last("users", &read, start)?;
            self.counts.users += read.rows.len() as u64;
            let total = read.total;
            let users = read.rows.iter().map(PulledUser::new).collect();
            let source = self.source.clone();
            // Others may have been read since, alone.
            let pass = Pass {
                read_at,
                ..self.pass.clone()
            };
            let taking = intake.take_users(&source, &pass, users);
            // The domain is asked for the next page while this one is written.
            let (took, next) = if ended {
                (taking.await?, None)
            } else {
                self.begin_page().await?;
                read_at = self.pass.read_at;
                let (took, next) = tokio::join!(taking, client.users(None, start));
                (took?, Some(next?))
            };
            self.after_users(took).await?;
            self.tell("users", start as u64 - 1, Some(total as u64));
            match next {
                Some(next) => read = next,
                None => break,
            }
        }
        let (id, number) = (self.connection.id.clone(), self.run.number);
        let covered = self
            .reconciler
            .store
            .read(move |conn| source::users_covered(conn, &id, number))
            .await?;
        plausible("users", covered, self.counts.users == 0, self.accept_shrink)
    }

    async fn after_users(&mut self, took: Vec<TookUser>) -> Result<(), Error> {
        for user in took {
            self.counts.missed_pushes += u64::from(user.missed_push);
            match user.took {
                Took::Unchanged | Took::NotPushed => {}
                Took::Created => self.counts.created += 1,
                Took::Changed => self.counts.changed += 1,
                Took::Revoked => self.counts.revoked += 1,
                // Both are settled by asking about that one alone.
                Took::Stale | Took::NameHeld(_) => self.confirm(&user.source_id).await?,
                Took::Refused(text) => {
                    self.counts.refused += 1;
                    tracing::warn!(user = %user.source_id, text, "the mirror does not take a user");
                }
            }
        }
        Ok(())
    }

    /// Asks the domain about one user, and takes its word.
    async fn confirm(&mut self, source_id: &str) -> Result<(), Error> {
        self.begin_page().await?;
        let settled = self
            .reconciler
            .settle(
                self.connection,
                &self.client,
                &self.source,
                &self.pass,
                source_id,
            )
            .await;
        match settled {
            Ok(synced) => self.counts.note(&synced),
            // Busy people are looked at again in the next run.
            Err(Error::Unsettled) => self.counts.unconfirmed += 1,
            Err(other) => return Err(other),
        }
        Ok(())
    }

    /// Whether one more may be asked about in this run.
    fn may_confirm(&mut self) -> bool {
        if self.confirmations == 0 {
            self.counts.unconfirmed += 1;
            return false;
        }
        self.confirmations -= 1;
        true
    }

    async fn missing_users(&mut self) -> Result<(), Error> {
        let (id, number) = (self.connection.id.clone(), self.run.number);
        let limit = i64::try_from(self.confirmations + 1).unwrap_or(i64::MAX);
        let missing = self
            .reconciler
            .store
            .read(move |conn| source::users_unseen(conn, &id, number, limit))
            .await?;
        for (done, source_id) in missing.iter().enumerate() {
            if self.may_confirm() {
                self.confirm(source_id).await?;
                self.tell("missing users", done as u64 + 1, Some(missing.len() as u64));
            }
        }
        Ok(())
    }

    async fn all_groups(&mut self) -> Result<(), Error> {
        let mut start = 1;
        loop {
            self.begin_page().await?;
            let page = self.client.groups(start).await?;
            start += page.rows.len();
            let ended = self.is_last("groups", &page, start)?;
            self.counts.groups += page.rows.len() as u64;
            let rows = page.rows.iter().filter(|group| !group.is_everyone());
            let groups = rows.map(PulledGroup::new).collect();
            let took = self
                .reconciler
                .intake
                .take_groups(&self.source, &self.pass, groups)
                .await?;
            for change in took {
                match change {
                    "created" => self.counts.created += 1,
                    "refused" => self.counts.refused += 1,
                    _ => self.counts.changed += 1,
                }
            }
            self.tell("groups", start as u64 - 1, Some(page.total as u64));
            if ended {
                break;
            }
        }
        let (id, number) = (self.connection.id.clone(), self.run.number);
        let covered = self
            .reconciler
            .store
            .read(move |conn| source::groups_covered(conn, &id, number))
            .await?;
        plausible(
            "groups",
            covered,
            self.counts.groups == 0,
            self.accept_shrink,
        )
    }

    async fn missing_groups(&mut self) -> Result<(), Error> {
        let (id, number) = (self.connection.id.clone(), self.run.number);
        let limit = i64::try_from(self.confirmations + 1).unwrap_or(i64::MAX);
        let missing = self
            .reconciler
            .store
            .read(move |conn| source::groups_unseen(conn, &id, number, limit))
            .await?;
        for (source_id, group) in missing {
            if !self.may_confirm() {
                continue;
            }
            self.begin_page().await?;
            // A group that only left the filter is still there: then the setting changed, and it goes too.
            let reads = self.client.group(&source_id).await?.is_some();
            let exists = reads || self.client.has_group(&source_id).await?;
            let filtered = pull_of(self.connection)?.groups.is_some();
            if reads || (exists && !filtered) {
                continue;
            }
            let removed = self
                .reconciler
                .intake
                .remove_pulled_group(&self.source, &self.pass, &group)
                .await?;
            self.counts.removed += u64::from(removed);
        }
        Ok(())
    }

    async fn all_members(&mut self) -> Result<(), Error> {
        let (mut after, mut done) = (String::new(), 0);
        let id = self.connection.id.clone();
        let newest = self
            .reconciler
            .store
            .read(move |conn| runs::state(conn, &id))
            .await?
            .newest_user_run;
        loop {
            let (id, number, from) = (self.connection.id.clone(), self.run.number, after.clone());
            let groups = self
                .reconciler
                .store
                .read(move |conn| source::groups_after(conn, &id, number, &from, 100))
                .await?;
            let Some(last) = groups.last() else {
                return Ok(());
            };
            last.source_id.clone_into(&mut after);
            let mut ahead = None;
            for (at, group) in groups.iter().enumerate() {
                let first = match ahead.take() {
                    Some(first) => first,
                    None => self.first_page(group).await?,
                };
                match groups.get(at + 1) {
                    None => self.members_of(group, first, newest).await?,
                    // The domain is asked about the next group while this one is dealt with.
                    Some(next) => {
                        self.begin_page().await?;
                        let (client, read_at) = (self.client.clone(), self.pass.read_at);
                        let asking = client.members(&next.source_id, 1);
                        let (settled, page) =
                            tokio::join!(self.members_of(group, first, newest), asking);
                        settled?;
                        ahead = Some(FirstPage { page, read_at });
                    }
                }
                done += 1;
                self.tell("groups' members", done, Some(self.counts.groups));
            }
        }
    }

    /// Members of the groups that say that they changed, and of those never read.
    async fn changed_members(&mut self, since: &str) -> Result<(), Error> {
        let mut after = String::new();
        loop {
            let (id, number, from) = (self.connection.id.clone(), self.run.number, after.clone());
            let groups = self
                .reconciler
                .store
                .read(move |conn| source::groups_after(conn, &id, number, &from, 500))
                .await?;
            let Some(last) = groups.last() else {
                return Ok(());
            };
            last.source_id.clone_into(&mut after);
            for group in &groups {
                if group.digest.is_empty() || group.modified.as_str() > since {
                    let first = self.first_page(group).await?;
                    self.members_of(group, first, i64::MAX).await?;
                }
            }
        }
    }

    /// Asks for the first members of a group.
    async fn first_page(&mut self, group: &KnownGroup) -> Result<FirstPage, Error> {
        self.begin_page().await?;
        Ok(FirstPage {
            page: self.client.members(&group.source_id, 1).await,
            read_at: self.pass.read_at,
        })
    }

    /// Takes in the members of one group, of whom the first ones were read. `newest`: the last run that brought a
    /// user, who may be one that could not be resolved before.
    async fn members_of(
        &mut self,
        group: &KnownGroup,
        first_page: FirstPage,
        newest: i64,
    ) -> Result<(), Error> {
        // Whether a push came in between shows in the version that the group had before it was read.
        let before = (group.group_id.clone(), group.version);
        self.pass.expect_groups = HashMap::from([before]);
        let mut sum = MemberSum::default();
        let mut first = PAGE;
        let mut kept: Option<Vec<Member>> = Some(Vec::new());
        let mut start = 1;
        let FirstPage { page, read_at } = first_page;
        let mut page = Some(page);
        loop {
            let page = match page.take() {
                Some(page) => page,
                None => {
                    self.begin_page().await?;
                    self.client.members(&group.source_id, start).await
                }
            };
            let page = match page {
                // Gone since it was listed: the next run tells.
                Err(idcs::Error::NotFound { .. }) => return Ok(()),
                other => other?,
            };
            if start == 1 {
                first = page.len();
            }
            start += page.len();
            let ended = is_last_page(page.len(), first);
            self.counts.members += page.len() as u64;
            page.iter().for_each(|member| sum.add(&member.id));
            kept = kept.filter(|kept| kept.len() + page.len() <= KEPT_MEMBERS);
            if let Some(kept) = &mut kept {
                kept.extend(page);
            }
            if ended {
                break;
            }
        }
        let digest = sum.text();
        let resolved = group.unresolved == 0 || newest <= group.digest_run;
        if digest == group.digest && group.digest_version == group.version && resolved {
            return Ok(());
        }
        let (unresolved, stale) = match kept {
            Some(kept) => {
                // All of it is as old as the first page: who was taken out since then must not come back.
                self.pass.read_at = read_at;
                self.take_members(&group.group_id, &kept).await?
            }
            None => self.read_members_again(group).await?,
        };
        let missing = self.missing_members(group, start).await?;
        for user in &stale {
            self.confirm(user).await?;
        }
        // What was missing, or may have changed meanwhile, is looked at again by the next run.
        let digest = if missing || !stale.is_empty() {
            String::new()
        } else {
            digest
        };
        let (id, source_id, number) = (
            self.connection.id.clone(),
            group.source_id.clone(),
            self.run.number,
        );
        self.reconciler
            .store
            .write(move |tx| -> Result<(), store::Error> {
                source::remember_members(tx, &id, &source_id, &digest, unresolved, number)
            })
            .await?;
        Ok(())
    }

    async fn take_members(
        &mut self,
        group: &str,
        members: &[Member],
    ) -> Result<(i64, Vec<String>), Error> {
        let (mut unresolved, mut stale) = (0, Vec::new());
        for some in members.chunks(PAGE) {
            let ids = some.iter().map(|member| member.id.clone()).collect();
            let took = self
                .reconciler
                .intake
                .take_members(&self.source, &self.pass, group, ids)
                .await?;
            self.counts.joined += took.added as u64;
            if let Some(version) = took.version {
                self.pass.expect_groups.insert(group.to_owned(), version);
            }
            unresolved += i64::try_from(took.unresolved).unwrap_or(i64::MAX);
            stale.extend(took.stale);
        }
        Ok((unresolved, stale))
    }

    async fn read_members_again(
        &mut self,
        group: &KnownGroup,
    ) -> Result<(i64, Vec<String>), Error> {
        let (mut unresolved, mut stale, mut start) = (0, Vec::new(), 1);
        loop {
            self.begin_page().await?;
            let page = self.client.members(&group.source_id, start).await?;
            start += page.len();
            let some = self.take_members(&group.group_id, &page).await?;
            unresolved += some.0;
            stale.extend(some.1);
            if page.is_empty() {
                return Ok((unresolved, stale));
            }
        }
    }

    /// Asks about those who are members here and were not listed. Returns whether there were any: then the list
    /// does not stand for what is here.
    async fn missing_members(
        &mut self,
        group: &KnownGroup,
        mut start: usize,
    ) -> Result<bool, Error> {
        // A list of members has no total: a short page need not be the last one.
        while !self.unseen_members(group, 1).await?.is_empty() {
            self.begin_page().await?;
            let page = match self.client.members(&group.source_id, start).await {
                Err(idcs::Error::NotFound { .. }) => return Ok(true),
                other => other?,
            };
            if page.is_empty() {
                break;
            }
            start += page.len();
            self.take_members(&group.group_id, &page).await?;
        }
        let limit = i64::try_from(CONFIRMATIONS + 1).unwrap_or(i64::MAX);
        let missing = self.unseen_members(group, limit).await?;
        for user in &missing {
            if self.may_confirm() {
                self.confirm(user).await?;
            }
        }
        let (id, number) = (group.group_id.clone(), self.run.number);
        let nested = self
            .reconciler
            .store
            .read(move |conn| source::nested_unseen(conn, &id, number))
            .await?;
        Ok(!missing.is_empty() || !nested.is_empty())
    }

    async fn unseen_members(&self, group: &KnownGroup, limit: i64) -> Result<Vec<String>, Error> {
        let (id, number) = (group.group_id.clone(), self.run.number);
        Ok(self
            .reconciler
            .store
            .read(move |conn| source::members_unseen(conn, &id, number, limit))
            .await?)
    }

    /// Reads whom the application is granted to, if that is asked for. Returns whether all is known.
    async fn grants(&mut self) -> Result<bool, Error> {
        let pull = pull_of(self.connection)?;
        let Some(app) = pull.app_id.clone().filter(|_| pull.only_granted) else {
            return Ok(false);
        };
        let mut start = 1;
        loop {
            self.begin_page().await?;
            let page = self.client.grants(&app, None, start).await?;
            start += page.rows.len();
            let ended = self.is_last("grants", &page, start)?;
            self.counts.grants += page.rows.len() as u64;
            let grantees: Vec<String> = page
                .rows
                .into_iter()
                .map(|grant| grant.grantee)
                .filter(|id| !id.is_empty())
                .collect();
            let (id, number) = (self.connection.id.clone(), self.run.number);
            self.reconciler
                .store
                .write(move |tx| source::see_grants(tx, &id, &grantees, number))
                .await?;
            if ended {
                break;
            }
        }
        let (id, number) = (self.connection.id.clone(), self.run.number);
        let covered = self
            .reconciler
            .store
            .read(move |conn| source::grants_covered(conn, &id, number))
            .await?;
        // The last grant may go, once the domain says so of the very grantee.
        plausible("grants", covered, false, self.accept_shrink)?;
        Ok(true)
    }

    /// Puts into scope whom the application is granted to, and out of it whom it is granted to no more.
    async fn settle_grants(&mut self) -> Result<(), Error> {
        let app = pull_of(self.connection)?.app_id.clone().unwrap_or_default();
        self.drop_grants(&app).await?;
        let mut after = String::new();
        loop {
            let (id, from) = (self.connection.id.clone(), after.clone());
            let changes = self
                .reconciler
                .store
                .read(move |conn| source::grant_changes(conn, &id, &from, 500))
                .await?;
            let Some(last) = changes.last() else {
                return Ok(());
            };
            last.user_id.clone_into(&mut after);
            for change in changes {
                if !change.granted {
                    // The list did not show a grant: the domain is asked about this very user.
                    if !self.may_confirm() {
                        continue;
                    }
                    self.begin_page().await?;
                    let page = self.client.grants(&app, Some(&change.source_id), 1).await?;
                    if page.total > 0 {
                        continue;
                    }
                }
                self.reconciler
                    .intake
                    .set_granted(&self.source, &self.pass, &change)
                    .await?;
                if change.granted {
                    self.counts.granted += 1;
                } else {
                    self.counts.ungranted += 1;
                }
                let expected = self.pass.is_pushed_to && self.pass.news_are_missed;
                self.counts.missed_pushes += u64::from(expected && change.granted != change.pushed);
            }
        }
    }

    /// Forgets grants that were not listed, once the domain says of each granted group that it is no more.
    async fn drop_grants(&mut self, app: &str) -> Result<(), Error> {
        let (id, number) = (self.connection.id.clone(), self.run.number);
        let unseen = self
            .reconciler
            .store
            .read(move |conn| source::group_grants_unseen(conn, &id, number))
            .await?;
        let mut still = Vec::new();
        for group in unseen {
            self.begin_page().await?;
            if self.client.grants(app, Some(&group), 1).await?.total > 0 {
                still.push(group);
            }
        }
        let (id, number) = (self.connection.id.clone(), self.run.number);
        self.reconciler
            .store
            .write(move |tx| -> Result<(), store::Error> {
                source::see_grants(tx, &id, &still, number)?;
                source::drop_grants(tx, &id, number)
            })
            .await?;
        Ok(())
    }

    /// Grants do not count (any more): nobody is out of scope because of them.
    async fn release_grants(&mut self) -> Result<(), Error> {
        if pull_of(self.connection)?.only_granted {
            return Ok(());
        }
        loop {
            let id = self.connection.id.clone();
            let held = self
                .reconciler
                .store
                .read(move |conn| source::not_granted(conn, &id, 500))
                .await?;
            if held.is_empty() {
                return Ok(());
            }
            for change in held {
                self.reconciler
                    .intake
                    .set_granted(&self.source, &self.pass, &change)
                    .await?;
                self.counts.granted += 1;
            }
        }
    }
}

/// Whether this was the last page of members. There is no total, and no document says how many a domain puts on
/// a page: only fewer than before, or fewer than any page has by default, are the rest.
fn is_last_page(rows: usize, first: usize) -> bool {
    rows == 0 || rows < first || rows < LEAST_PAGE
}

/// A reading that shows less than half of what is known shows something else than the domain.
fn plausible(
    what: &'static str,
    covered: Coverage,
    is_empty: bool,
    accept_shrink: Option<u8>,
) -> Result<(), Error> {
    let Coverage { known, seen } = covered;
    let missing = known - seen;
    let is_accepted =
        accept_shrink.is_some_and(|percent| missing * 100 <= known * i64::from(percent));
    let is_implausible = (is_empty && known > 0) || (missing > FEW && missing * 2 > known);
    if is_implausible && !is_accepted {
        return Err(Error::Shrunk { what, known, seen });
    }
    Ok(())
}

/// After everything was read, targets are compared with what Usher left there, and groups whose members a rule
/// compares are looked at.
fn ask_targets(
    tx: &mut store::Tx<'_>,
    connection: &ConnectionId,
    run: &str,
    now: Micros,
) -> Result<(), store::Error> {
    let configuration = settings::load(tx.conn())?;
    let cause = format!("run {run} read everything");
    for mapping in &configuration.mappings {
        if mapping.connection_id != *connection || mapping.settings.mode == Mode::Paused {
            continue;
        }
        drift::ask(tx, run, connection, &mapping.target_id, now)?;
        group_work::mark_asked(
            tx,
            &mapping.target_id,
            &mapping.settings.groups,
            &cause,
            now,
        )?;
    }
    Ok(())
}

/// Over the members of a group in any order.
#[derive(Debug, Default)]
struct MemberSum {
    sum: u128,
    count: u64,
}

impl MemberSum {
    fn add(&mut self, id: &str) {
        let hash = Sha256::digest(id.as_bytes());
        let mut first = [0; 16];
        first.copy_from_slice(&hash[..16]);
        self.sum = self.sum.wrapping_add(u128::from_be_bytes(first));
        self.count += 1;
    }

    fn text(&self) -> String {
        format!("{} {:032x}", self.count, self.sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_is_known_has_to_be_there() {
        let check = |known, seen| plausible("users", Coverage { known, seen }, false, None).is_ok();
        assert!(check(0, 0) && check(100, 100) && check(100, 50) && check(20, 10));
        assert!(check(5, 0), "each of a few is asked about");
        assert!(!check(100, 49) && !check(11, 0));
        let empty = |known| plausible("users", Coverage { known, seen: 0 }, true, None).is_ok();
        assert!(empty(0) && !empty(1), "only the first reading may be empty");
        let accepted = |percent, seen, is_empty| {
            plausible(
                "users",
                Coverage { known: 30, seen },
                is_empty,
                Some(percent),
            )
            .is_ok()
        };
        assert!(accepted(67, 10, false) && !accepted(66, 10, false));
        assert!(accepted(100, 0, true) && !accepted(99, 0, true));
    }

    #[test]
    fn members_are_summed_in_any_order_and_each_counts() {
        let sum = |ids: &[&str]| {
            let mut sum = MemberSum::default();
            ids.iter().for_each(|id| sum.add(id));
            sum.text()
        };
        assert_eq!(sum(&["a", "b", "c"]), sum(&["c", "a", "b"]));
        assert_ne!(sum(&["a", "b"]), sum(&["a", "b", "b"]));
        assert_ne!(sum(&["a"]), sum(&["b"]));
    }
}
