//! One work item: what is wanted, what is there, the operations between them, and the record of it all.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::engine::Engine;
use super::live::LiveTarget;
use super::load::{self, Entry, Person};
use super::plan::{Current, CurrentAccount, GroupState, Means, Plan, Protection, plan};
use super::retry::{self, Verdict};
use crate::clock::Micros;
use crate::domain::{
    Account, Action, Applied, Desired, Failure, Lookup, MatchKey, Mode, Observed, Owner, Presence,
    Standing,
};
use crate::mapping::Rules;
use crate::scim::fold::fold_text;
use crate::store::audit::NewAudit;
use crate::store::work::{Claimed, Parked, Priority};
use crate::store::{self, Tx, audit, ledger, users, work};
use crate::targets::{Protected, Target};

/// How long an item is put off that something passing is in the way of.
const MOMENT: Micros = 1_000_000;
/// Why an item is looked at again that has come to its end.
const LATE: &str = "an earlier request got no answer and may still be carried out";
const AGAIN: &str = "the target put the new account into groups of its own accord";

/// For how long a request that was given up may still be carried out by the target.
fn settling(target: &LiveTarget) -> Micros {
    i64::try_from(target.settings.timeout_s.saturating_mul(2_000_000)).unwrap_or(i64::MAX / 4)
}

/// Why an item did not get to its end.
enum Stop {
    /// The target did not do something that was needed to know what to do; nothing was written.
    Failed(Failure),
    /// The database did not answer.
    Store(store::Error),
    /// A person or the source has to do something first.
    Park(Parked, String),
    /// The same, and it was the target that showed it.
    Shown(Parked, String),
    /// Another worker holds what this one needs, or something changed hands: come back in a moment.
    Later(String),
    /// Another user's work that is not done is in the way.
    Behind(String),
    /// The lease was lost: somebody else does it.
    Lost,
}

impl From<store::Error> for Stop {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What is never changed at this target: what the rules say, the account that Usher signs in with, and the
/// product's groups of administrators.
pub(super) struct Shield<'a> {
    pub(super) rules: &'a Rules,
    pub(super) target: Protected,
}

impl Protection for Shield<'_> {
    fn user(&self, name: &str) -> Option<String> {
        let folded = fold_text(name);
        self.rules.protects_user(name).or_else(|| {
            self.target
                .users
                .iter()
                .find(|own| fold_text(own) == folded)
                .map(|_| "the target itself".to_owned())
        })
    }

    fn group(&self, name: &str) -> Option<String> {
        let folded = fold_text(name);
        self.rules.protects_group(name).or_else(|| {
            self.target
                .groups
                .iter()
                .find(|own| fold_text(own) == folded)
                .map(|_| "the target itself".to_owned())
        })
    }
}

/// The state of an account while its item is worked on.
struct Work<'a> {
    item: &'a Claimed,
    person: Person,
    desired: Desired,
    entry: Entry,
    /// The ledger row: as stored, or new.
    account: Option<Account>,
    current: Current,
    plan: Plan,
    /// Target groups that were read, with their owner if the ledger did not know them.
    groups_seen: Vec<(String, Owner)>,
    /// The account was found and taken over just now.
    adopted: bool,
    /// `current` is what the target shows, foreign memberships included, not what the ledger says.
    read: bool,
    /// The target answered something.
    answered: bool,
    /// Whether the rules leave memberships alone that the source does not know of.
    keep_existing: bool,
    /// Until when a request whose answer never came may still be carried out.
    unsettled_until: Option<Micros>,
}

impl Engine {
    /// Works on one item, and never leaves it leased.
    pub(super) async fn converge(&self, target: &LiveTarget, item: Claimed) {
        let stop = tokio::select! {
            biased;
            outcome = self.try_converge(target, &item) => match outcome {
                Ok(()) => return,
                Err(stop) => stop,
            },
            // The work is dropped where it stands: whoever has the item now must not meet it.
            () = self.keep(&item) => Stop::Lost,
        };
        let now = self.clock.now();
        let result = match stop {
            Stop::Lost => {
                tracing::warn!("the lease was lost; another worker goes on");
                // Something may have been done after the other one looked: it has to look again.
                self.store
                    .write(move |tx| -> Result<(), store::Error> {
                        ledger::doubt(tx, &item.target_id, &item.user_id, now)?;
                        let cause = "a worker lost its lease";
                        work::mark_one(
                            tx,
                            &item.target_id,
                            &item.user_id,
                            Priority::Push,
                            cause,
                            now,
                        )
                    })
                    .await
            }
            Stop::Failed(failure) => self.note_failure(target, &item, failure, |_| Ok(())).await,
            Stop::Park(state, why) => self.park(item, state, why, false).await,
            Stop::Shown(state, why) => self.park(item, state, why, true).await,
            Stop::Behind(why) => match retry::behind(item.attempts, now, retry::random()) {
                Some(due_at) => {
                    self.store
                        .write(move |tx| work::postpone(tx, &item, due_at, &why, true))
                        .await
                }
                None => self.park(item, Parked::Held, why, true).await,
            },
            Stop::Later(why) => {
                let due_at = now + MOMENT;
                self.store
                    .write(move |tx| work::postpone(tx, &item, due_at, &why, false))
                    .await
            }
            Stop::Store(error) => {
                tracing::error!(%error, "the database failed a work item");
                let due_at = now + MOMENT;
                let text = error.to_string();
                self.store
                    .write(move |tx| work::postpone(tx, &item, due_at, &text, false))
                    .await
            }
        };
        if let Err(error) = result {
            // The lease runs out by itself, and the item is claimed again.
            tracing::error!(%error, "the end of a work item could not be recorded");
        }
    }

    /// Renews the lease for as long as it is polled; returns when the lease is lost, or cannot be known to
    /// hold until the next renewal. Runs beside the work, so that no operation, however slow, outlives it.
    async fn keep(&self, item: &Claimed) {
        let lease = Duration::from_micros(u64::try_from(self.lease).unwrap_or(0));
        // A little earlier than the others see it run out.
        let held = lease * 5 / 6;
        let mut held_until = Instant::now() + held;
        loop {
            tokio::time::sleep(lease / 3).await;
            loop {
                let asked_at = Instant::now();
                let (item, until) = (item.clone(), self.clock.now() + self.lease);
                let renewal = self.store.write(move |tx| work::renew(tx, &item, until));
                match tokio::time::timeout_at(held_until, renewal).await {
                    Ok(Ok(true)) => {
                        held_until = asked_at + held;
                        break;
                    }
                    Ok(Ok(false)) | Err(_) => return,
                    Ok(Err(error)) => {
                        tracing::warn!(%error, "a lease could not be renewed");
                        tokio::time::sleep(lease / 24).await;
                    }
                }
            }
        }
    }

    async fn park(
        &self,
        item: Claimed,
        state: Parked,
        why: String,
        answered: bool,
    ) -> Result<(), store::Error> {
        tracing::info!(state = state.as_str(), %why, "work item parked");
        let now = self.clock.now();
        self.store
            .write(move |tx| -> Result<(), store::Error> {
                if answered {
                    work::target_succeeded(tx, &item.target_id, now)?;
                }
                work::park(tx, &item, state, &why)
            })
            .await
    }

    async fn try_converge(&self, target: &LiveTarget, item: &Claimed) -> Result<(), Stop> {
        let client = match &target.client {
            Ok(client) => client.clone(),
            Err(text) => return Err(Failure::Unauthorized { text: text.clone() }.into()),
        };
        let Some(rules) = target.rules.get(&item.connection_id) else {
            return Err(Stop::Park(
                Parked::Held,
                "there is no mapping any more".to_owned(),
            ));
        };
        let Some((person, entry)) = self.read(item).await? else {
            // Not even a tombstone: there is nothing to converge.
            let item = item.clone();
            self.store.write(move |tx| work::finish(tx, &item)).await?;
            return Ok(());
        };
        let desired = person.desired(rules, &entry);
        let shield = Shield {
            rules,
            target: client.protected().await?,
        };
        let mut job = Work {
            item,
            account: entry.account.clone(),
            person,
            desired,
            entry,
            current: Current::default(),
            plan: Plan::default(),
            groups_seen: Vec::new(),
            adopted: false,
            read: false,
            answered: false,
            keep_existing: rules.settings().groups.keep_existing,
            unsettled_until: None,
        };
        job.unsettled_until = job
            .entry
            .in_flight_since
            .map(|since| since + settling(target))
            .filter(|until| *until > self.clock.now());
        self.look(&mut job, rules, &shield, client.as_ref()).await?;
        let states = self.group_states(&mut job, client.as_ref()).await?;
        let means = Means {
            settings: rules.settings(),
            capabilities: client.capabilities(),
        };
        job.plan = plan(&job.desired, means, &job.current, &states, &shield);
        if rules.settings().mode == Mode::Shadow {
            return self.end_in_shadow(job).await;
        }
        self.carry_out(target, client.as_ref(), job).await
    }

    async fn read(&self, item: &Claimed) -> Result<Option<(Person, Entry)>, Stop> {
        let (target, user) = (item.target_id.clone(), item.user_id.clone());
        let read = self
            .store
            .read(move |conn| -> Result<_, store::Error> {
                let Some(person) = load::person(conn, &user)? else {
                    return Ok(None);
                };
                let entry = load::entry(conn, &target, &user, &person)?;
                Ok(Some((person, entry)))
            })
            .await?;
        Ok(read)
    }

    /// Fills in what the target has: from the ledger where it can be trusted, else by reading the target.
    async fn look(
        &self,
        job: &mut Work<'_>,
        rules: &Rules,
        shield: &Shield<'_>,
        client: &dyn Target,
    ) -> Result<(), Stop> {
        let known = job
            .account
            .clone()
            .filter(|a| a.standing != Standing::Absent);
        match known {
            Some(account) if !account.in_flight && rules.settings().groups.keep_existing => {
                job.current = trusted(&account, &job.entry);
                Ok(())
            }
            Some(account) => {
                let observed = match &account.remote_id {
                    Some(id) => client.observe(Lookup::RemoteId(id)).await?,
                    None => client.observe(Lookup::Username(&account.username)).await?,
                };
                job.answered = true;
                match observed {
                    Some(observed) if self.is_ours(&account, &observed).await? => {
                        job.seen(observed, account);
                        Ok(())
                    }
                    // It may still be made: whoever should not have it is looked for again later.
                    None if account.standing == Standing::Expected
                        && job.unsettled_until.is_some()
                        && job.desired.presence != Presence::Active =>
                    {
                        Ok(())
                    }
                    // It was to be made and never was, or somebody removed it.
                    Some(_) | None => {
                        job.read = true;
                        job.account = Some(Account {
                            standing: Standing::Absent,
                            remote_id: None,
                            ..account
                        });
                        self.first_contact(job, rules, shield, client).await
                    }
                }
            }
            None => self.first_contact(job, rules, shield, client).await,
        }
    }

    /// Whether what was found is the account of the ledger. By key it is; by the name alone, after a creation
    /// whose outcome is unknown, it may be somebody else's of that name.
    async fn is_ours(&self, account: &Account, observed: &Observed) -> Result<bool, Stop> {
        if account.remote_id.is_some() {
            return Ok(true);
        }
        let as_sent = match &observed.email {
            Some(email) => fold_text(email) == fold_text(&account.email),
            None => observed.display_name == account.display_name,
        };
        if !as_sent {
            return Ok(false);
        }
        let (target, remote) = (account.target_id.clone(), observed.remote_id.clone());
        let known = self
            .store
            .read(move |conn| ledger::by_remote(conn, &target, &remote))
            .await?;
        Ok(known.is_none_or(|(other, _)| other.id == account.id))
    }

    /// Looks for an account that Usher has not dealt with yet.
    async fn first_contact(
        &self,
        job: &mut Work<'_>,
        rules: &Rules,
        shield: &Shield<'_>,
        client: &dyn Target,
    ) -> Result<(), Stop> {
        // Whoever is not wanted and never had an account through Usher is none of its business.
        if !matches!(job.desired.presence, Presence::Active | Presence::Inactive) {
            return Ok(());
        }
        let Ok(wanted) = job.desired.account.clone() else {
            return Ok(());
        };
        if shield.user(&wanted.username).is_some() {
            return Ok(());
        }
        // The same person under a former SCIM id, whose account was about to be made: that row knows more.
        let (target, name) = (job.item.target_id.clone(), wanted.username.clone());
        let former = self
            .store
            .read(move |conn| ledger::expected_by_tombstone(conn, &target, &name))
            .await?
            .filter(|account| account.user_id != job.item.user_id);
        if let Some(former) = former {
            return self.take_over(job, &former).await;
        }
        let users = &rules.settings().users;
        let mut found = None;
        for key in &users.match_by {
            found = match (key, &wanted.email) {
                (MatchKey::Username, _) => {
                    client.observe(Lookup::Username(&wanted.username)).await?
                }
                (MatchKey::Email, Some(email)) => client.observe(Lookup::Email(email)).await?,
                (MatchKey::Email, None) => None,
            };
            if found.is_some() {
                break;
            }
        }
        job.answered = true;
        let matched = found.is_some();
        if !matched && !users.match_by.contains(&MatchKey::Username) {
            // The name is taken or free whatever the match key is.
            found = client.observe(Lookup::Username(&wanted.username)).await?;
        }
        let Some(observed) = found else { return Ok(()) };
        if let Some(pattern) = shield.user(&observed.username) {
            return Err(Stop::Shown(
                Parked::Held,
                format!(
                    "matches the account {:?}, which is protected by {pattern:?}",
                    observed.username
                ),
            ));
        }
        let (id, remote) = (job.item.target_id.clone(), observed.remote_id.clone());
        let owner = self
            .store
            .read(move |conn| ledger::by_remote(conn, &id, &remote))
            .await?
            .filter(|(account, _)| account.user_id != job.item.user_id);
        match owner {
            Some((account, true)) => self.take_over(job, &account).await,
            Some((account, false)) => {
                let why = format!(
                    "the account {:?} belongs to another user of the source ({})",
                    observed.username, account.user_id
                );
                let target = job.item.target_id.clone();
                let (other, name) = (account.user_id, observed.username.clone());
                // That user may be about to give the name up, or may have done so since the target was read.
                // In this order: work that has ended by now shows in the ledger.
                let moving = self
                    .store
                    .read(move |conn| -> Result<bool, store::Error> {
                        Ok(work::is_pending(conn, &target, &other)?
                            || ledger::account(conn, &target, &other)?
                                .is_none_or(|now| fold_text(&now.username) != fold_text(&name)))
                    })
                    .await?;
                Err(if moving {
                    Stop::Behind(why)
                } else {
                    Stop::Shown(Parked::Held, why)
                })
            }
            None if matched && users.adopt => {
                let base = job.account.clone().unwrap_or_else(|| {
                    ledger::new_account(&job.item.target_id, &job.item.user_id, &observed.username)
                });
                job.adopted = true;
                job.seen(
                    observed,
                    Account {
                        owner: Owner::Adopted,
                        ..base
                    },
                );
                Ok(())
            }
            None => Err(Stop::Shown(
                Parked::Held,
                format!(
                    "the target has an account {:?} that Usher did not make; set adopt = true to take over \
                     accounts that match, or rename one of the two",
                    observed.username
                ),
            )),
        }
    }

    /// The person came back under another SCIM id: the account of the tombstone is theirs.
    async fn take_over(&self, job: &Work<'_>, account: &Account) -> Result<(), Stop> {
        let (from, to) = (account.user_id.clone(), job.item.user_id.clone());
        let (id, target, connection) = (
            account.id.clone(),
            job.item.target_id.clone(),
            job.item.connection_id.clone(),
        );
        let now = self.clock.now();
        let row = job.audit(
            now,
            "hand_over",
            json!({"account": account.username}),
            "done",
            None,
        );
        let done = self
            .store
            .write(move |tx| -> Result<Option<bool>, store::Error> {
                if users::find(tx.conn(), &from)?.is_none_or(|(c, _)| c != connection) {
                    tx.discard();
                    return Ok(None);
                }
                let done = work::lock_idle(tx, &target, &from, now)?
                    && ledger::hand_over(tx, &id, &from, &to)?;
                if done {
                    audit::append(tx, &row)?;
                }
                Ok(Some(done))
            })
            .await?;
        Err(match done {
            Some(true) => {
                Stop::Later("the account of a former user of that name was taken over".to_owned())
            }
            Some(false) => Stop::Later(
                "the account still belongs to a deleted user whose work is not done".to_owned(),
            ),
            None => Stop::Shown(
                Parked::Held,
                format!(
                    "the account {:?} belongs to a former user of another connection ({})",
                    account.username, account.user_id
                ),
            ),
        })
    }

    /// For each wanted group that the account is not in: whether the target has it.
    async fn group_states(
        &self,
        job: &mut Work<'_>,
        client: &dyn Target,
    ) -> Result<BTreeMap<String, GroupState>, Stop> {
        let mut states = BTreeMap::new();
        if job.desired.presence != Presence::Active {
            return Ok(states);
        }
        for group in &job.desired.groups {
            let folded = fold_text(&group.name);
            if job.current.groups.contains_key(&folded) {
                continue;
            }
            let (target, name) = (job.item.target_id.clone(), group.name.clone());
            let known = self
                .store
                .read(move |conn| ledger::target_group(conn, &target, &name))
                .await?;
            let state = if known.is_some() {
                GroupState::Exists
            } else if let Some(written) = client.group_exists(&group.name).await? {
                job.answered = true;
                job.groups_seen.push((written, Owner::Foreign));
                GroupState::Exists
            } else {
                GroupState::Missing
            };
            states.insert(folded, state);
        }
        Ok(states)
    }

    /// Records what would be done.
    async fn end_in_shadow(&self, job: Work<'_>) -> Result<(), Stop> {
        let item = job.item.clone();
        if job.plan.actions.is_empty() && job.plan.waiting.is_none() {
            self.store.write(move |tx| work::finish(tx, &item)).await?;
            return Ok(());
        }
        let mut would: Vec<String> = job.plan.actions.iter().map(describe).collect();
        would.extend(job.plan.waiting);
        let text = format!("would: {}", would.join("; "));
        self.store
            .write(move |tx| work::park(tx, &item, Parked::Shadow, &text))
            .await?;
        Ok(())
    }

    /// Marks in flight, applies, records.
    async fn carry_out(
        &self,
        target: &LiveTarget,
        client: &dyn Target,
        mut job: Work<'_>,
    ) -> Result<(), Stop> {
        if !job.plan.actions.is_empty() {
            self.begin(&mut job).await?;
        }
        let mut done: Vec<(Action, Applied)> = Vec::new();
        let mut failed: Option<(Action, Failure)> = None;
        let actions = job.plan.actions.clone();
        let mut renewed_at = self.clock.now();
        for action in actions {
            // Beside the renewals of `keep`: after a halt of the whole process an operation may get its answer
            // before that one gets its turn.
            if self.clock.now() - renewed_at > self.lease / 3 {
                renewed_at = self.clock.now();
                let (item, until) = (job.item.clone(), renewed_at + self.lease);
                let renewal = self.store.write(move |tx| work::renew(tx, &item, until));
                if !renewal.await? {
                    return Err(Stop::Lost);
                }
            }
            if job.is_done_by_itself(&action) {
                continue;
            }
            let action = job.addressed(action);
            match client.apply(&action).await {
                Ok(applied) => {
                    tracing::info!(
                        operation = action.name(),
                        already = applied.already,
                        "applied"
                    );
                    job.applied(&action, &applied);
                    done.push((action, applied));
                }
                Err(failure) => {
                    tracing::warn!(operation = action.name(), error = %failure, "not applied");
                    failed = Some((action, failure));
                    break;
                }
            }
        }
        self.record(target, client, job, done, failed).await
    }

    /// One transaction: the lease is still ours, the account is marked, and what is about to be made is
    /// written down as ours. After a crash the target is read before this row is trusted.
    async fn begin(&self, job: &mut Work<'_>) -> Result<(), Stop> {
        let now = self.clock.now();
        let account = match &job.account {
            Some(account) => Account {
                in_flight: true,
                ..account.clone()
            },
            None => {
                let username = match job.plan.actions.first() {
                    Some(Action::CreateUser { username, .. }) => username.clone(),
                    _ => String::new(),
                };
                ledger::new_account(&job.item.target_id, &job.item.user_id, &username)
            }
        };
        let account = match job.plan.actions.first() {
            // By these it is known again, should the answer never come.
            Some(Action::CreateUser {
                username,
                display_name,
                email,
            }) => Account {
                username: username.clone(),
                display_name: display_name.clone(),
                email: email.clone(),
                active: true,
                owner: Owner::Created,
                standing: Standing::Expected,
                remote_id: None,
                ..account
            },
            _ => account,
        };
        job.account = Some(account.clone());
        let intended: Vec<String> = job
            .plan
            .actions
            .iter()
            .filter_map(|action| match action {
                Action::AddMember { group, .. } => Some(group.clone()),
                _ => None,
            })
            .collect();
        let (item, until, known) = (
            job.item.clone(),
            now + self.lease,
            job.entry.account.is_some(),
        );
        let moved = || Stop::Later("the account has changed hands".to_owned());
        self.store
            .write(move |tx| -> Result<Result<(), Stop>, store::Error> {
                if !work::renew(tx, &item, until)? {
                    tx.discard();
                    return Ok(Err(Stop::Lost));
                }
                // A row that changed hands in between must not be written over.
                if known && !ledger::set_in_flight(tx, &account.id, &item.user_id)? {
                    tx.discard();
                    return Ok(Err(moved()));
                }
                ledger::put_account(tx, &account, now)?;
                for group in &intended {
                    ledger::put_membership(tx, &account.id, group, Owner::Created)?;
                }
                Ok(Ok(()))
            })
            .await?
    }

    /// One transaction: account, memberships, groups, audit and the end of the item.
    async fn record(
        &self,
        target: &LiveTarget,
        client: &dyn Target,
        job: Work<'_>,
        done: Vec<(Action, Applied)>,
        failed: Option<(Action, Failure)>,
    ) -> Result<(), Stop> {
        let now = self.clock.now();
        let mut rows: Vec<NewAudit> = Vec::new();
        if job.adopted {
            let detail = json!({"account": job.current.account.as_ref().map(|a| &a.username)});
            rows.push(job.audit(now, "adopt_user", detail, "done", None));
        }
        for (action, applied) in &done {
            let outcome = if applied.already { "already" } else { "done" };
            let message = (!applied.notes.is_empty()).then(|| applied.notes.join("; "));
            rows.push(job.audit(now, action.name(), detail(action), outcome, message));
        }
        if let Some((action, failure @ Failure::Rejected { .. })) = &failed {
            let message = Some(failure.to_string());
            rows.push(job.audit(now, action.name(), detail(action), "rejected", message));
        }
        let mut writes = Writes::of(&job, failed.as_ref(), now);
        if let Some((Action::AddMember { group, .. }, Failure::Gone { .. })) = &failed
            // The account or the group: asked here, as nothing but the group's end concerns others.
            && let Ok(None) = client.group_exists(group).await
        {
            writes.groups_gone.push(group.clone());
        }
        let blocked = match &failed {
            Some((Action::CreateUser { username, .. }, Failure::Rejected { .. })) => {
                self.waits_for_name(job.item, username).await?
            }
            Some((Action::RenameUser { to, .. }, Failure::Rejected { .. })) => {
                // Once more also if the name has become free since it was refused.
                self.waits_for_name(job.item, to).await?
                    || job.item.attempts == 0
                        && matches!(client.observe(Lookup::Username(to)).await, Ok(None))
            }
            _ => false,
        };
        let waiting = job.plan.waiting.clone();
        // A product may have put a new account into groups that are not wanted.
        let again = job.plan.waiting.is_none() && job.has_more_to_remove();
        let look_again_at = job.unsettled_until;
        let item = job.item.clone();
        let answered = job.answered || !done.is_empty();
        let bookkeeping = {
            let item = item.clone();
            move |tx: &mut Tx<'_>| -> Result<bool, store::Error> {
                // Whoever has the item now has looked since, and knows better.
                if !work::renew(tx, &item, now)? {
                    return Ok(false);
                }
                writes.write(tx, &item, now)?;
                for row in &rows {
                    audit::append(tx, row)?;
                }
                Ok(true)
            }
        };
        let recorded = match failed {
            Some((_, failure)) if blocked => {
                let due_at = retry::behind(item.attempts, now, retry::random());
                self.store
                    .write(move |tx| -> Result<bool, store::Error> {
                        if !bookkeeping(tx)? {
                            tx.discard();
                            return Ok(false);
                        }
                        work::target_succeeded(tx, &item.target_id, now)?;
                        let text = failure.to_string();
                        match due_at {
                            Some(due_at) => work::postpone(tx, &item, due_at, &text, true)?,
                            None => work::park(tx, &item, Parked::Rejected, &text)?,
                        }
                        Ok(true)
                    })
                    .await?
            }
            Some((_, failure)) => self.note(target, &item, failure, bookkeeping).await?,
            None => {
                self.store
                    .write(move |tx| -> Result<bool, store::Error> {
                        if !bookkeeping(tx)? {
                            tx.discard();
                            return Ok(false);
                        }
                        if answered {
                            work::target_succeeded(tx, &item.target_id, now)?;
                        }
                        match (&waiting, look_again_at) {
                            (Some(why), _) => work::park(tx, &item, Parked::Waiting, why)?,
                            (None, _) if again => work::postpone(tx, &item, now, AGAIN, false)?,
                            (None, Some(at)) => work::postpone(tx, &item, at, LATE, false)?,
                            (None, None) => work::finish(tx, &item)?,
                        }
                        Ok(true)
                    })
                    .await?
            }
        };
        if recorded { Ok(()) } else { Err(Stop::Lost) }
    }

    /// Whether a name that the target says is taken belongs to another user whose own work may set it free.
    async fn waits_for_name(&self, item: &Claimed, name: &str) -> Result<bool, Stop> {
        let (target, user, name) = (
            item.target_id.clone(),
            item.user_id.clone(),
            name.to_owned(),
        );
        let waits = self
            .store
            .read(move |conn| -> Result<bool, store::Error> {
                match ledger::holder_of_name(conn, &target, &name, &user)? {
                    Some(holder) => work::is_pending(conn, &target, &holder),
                    None => Ok(false),
                }
            })
            .await?;
        Ok(waits)
    }

    /// Records a failure: what it means for the item, and what it means for the whole target.
    async fn note_failure(
        &self,
        target: &LiveTarget,
        item: &Claimed,
        failure: Failure,
        bookkeeping: impl Fn(&mut Tx<'_>) -> Result<(), store::Error> + Send + 'static,
    ) -> Result<(), store::Error> {
        let bookkeeping = move |tx: &mut Tx<'_>| bookkeeping(tx).map(|()| true);
        self.note(target, item, failure, bookkeeping)
            .await
            .map(|_| ())
    }

    /// The same; `bookkeeping` says whether the item is still this worker's. False: it is not, and nothing was
    /// written.
    async fn note(
        &self,
        target: &LiveTarget,
        item: &Claimed,
        failure: Failure,
        bookkeeping: impl Fn(&mut Tx<'_>) -> Result<bool, store::Error> + Send + 'static,
    ) -> Result<bool, store::Error> {
        if matches!(failure, Failure::Unauthorized { .. }) {
            // The next try is with the credential as it is then.
            self.forget_configuration();
        }
        let now = self.clock.now();
        let random = retry::random();
        let item = item.clone();
        let name = target.settings.name.clone();
        self.store
            .write(move |tx| -> Result<bool, store::Error> {
                if !bookkeeping(tx)? {
                    tx.discard();
                    return Ok(false);
                }
                let Some(health) = work::health(tx.conn(), &item.target_id)? else { return Ok(true) };
                let text = failure.to_string();
                // What was under way when another item found out counts once, or the first hour of an outage
                // would depend on how many items are worked on at a time.
                let found_out = health.state != "up" && health.retry_at.is_some_and(|at| at > now);
                match retry::verdict(&failure, item.attempts, &health, now, random) {
                    Verdict::Again { due_at, target_down_until } => {
                        work::postpone(tx, &item, due_at, &text, true)?;
                        if found_out {
                            return Ok(true);
                        }
                        let state = match target_down_until {
                            Some(_) => "down",
                            None => health.state.as_str(),
                        };
                        if health.state == "up" && state == "down" {
                            tracing::error!(target_name = %name, error = %text, "target is down");
                        }
                        work::target_failed(tx, &item.target_id, state, target_down_until, &text)?;
                    }
                    Verdict::Wait { until } => {
                        work::postpone(tx, &item, until, &text, false)?;
                        work::target_throttled(tx, &item.target_id, until)?;
                    }
                    Verdict::Stop { .. } if found_out && health.state == "unauthorized" => {
                        let due_at = health.retry_at.unwrap_or(now);
                        work::postpone(tx, &item, due_at, &text, false)?;
                    }
                    Verdict::Stop { retry_at } => {
                        work::postpone(tx, &item, retry_at, &text, false)?;
                        tracing::error!(target_name = %name, error = %text, "target refuses the credential");
                        work::target_failed(tx, &item.target_id, "unauthorized", Some(retry_at), &text)?;
                    }
                    Verdict::LookAgain { due_at } => {
                        work::postpone(tx, &item, due_at, &text, true)?;
                        // It answered.
                        work::target_succeeded(tx, &item.target_id, now)?;
                    }
                    Verdict::Reject => {
                        work::park(tx, &item, Parked::Rejected, &text)?;
                        // It answered: whatever was wrong with it is over.
                        work::target_succeeded(tx, &item.target_id, now)?;
                    }
                }
                Ok(true)
            })
            .await
    }
}

/// The ledger as the state of the target. Foreign memberships are left out: nobody watches them, so whether
/// they still hold is unknown, and adding what is there already is harmless.
fn trusted(account: &Account, entry: &Entry) -> Current {
    Current {
        account: account.remote_id.as_ref().map(|remote_id| CurrentAccount {
            remote_id: remote_id.clone(),
            username: account.username.clone(),
            display_name: account.display_name.clone(),
            email: account.email.clone(),
            active: account.active,
            owner: account.owner,
        }),
        groups: entry
            .memberships
            .iter()
            .filter(|m| m.owner.is_ours())
            .map(|m| (fold_text(&m.group), (m.group.clone(), m.owner)))
            .collect(),
    }
}

impl Work<'_> {
    /// Takes in what the target shows: its account is what is there; a membership is Usher's if the ledger
    /// says so, and foreign otherwise.
    fn seen(&mut self, observed: Observed, account: Account) {
        self.read = true;
        self.current.groups = observed
            .groups
            .iter()
            .map(|name| {
                let folded = fold_text(name);
                let owner = self
                    .entry
                    .memberships
                    .iter()
                    .find(|m| fold_text(&m.group) == folded)
                    .map_or(Owner::Foreign, |m| m.owner);
                (folded, (name.clone(), owner))
            })
            .collect();
        let account = Account {
            remote_id: Some(observed.remote_id.clone()),
            username: observed.username.clone(),
            display_name: observed.display_name.clone(),
            // Where a product does not tell, what was last sent stands.
            email: observed
                .email
                .clone()
                .unwrap_or_else(|| account.email.clone()),
            active: observed.active,
            standing: Standing::Present,
            ..account
        };
        self.current.account = Some(CurrentAccount {
            remote_id: observed.remote_id,
            username: account.username.clone(),
            display_name: account.display_name.clone(),
            email: account.email.clone(),
            active: account.active,
            owner: account.owner,
        });
        self.account = Some(account);
    }

    /// Puts the key of an account that was made a moment ago into the actions that follow.
    fn addressed(&self, mut action: Action) -> Action {
        if let (
            Action::AddMember {
                remote_id,
                username,
                ..
            },
            Some(account),
        ) = (&mut action, &self.current.account)
            && remote_id.is_empty()
        {
            remote_id.clone_from(&account.remote_id);
            username.clone_from(&account.username);
        }
        action
    }

    /// Whether a membership is there although nobody asked for it: the product put the new account in. It is
    /// wanted, so it becomes Usher's.
    fn is_done_by_itself(&mut self, action: &Action) -> bool {
        if let Action::AddMember { group, .. } = action
            && let Some((_, owner)) = self.current.groups.get_mut(&fold_text(group))
        {
            *owner = Owner::Adopted;
            return true;
        }
        false
    }

    /// Whether there are memberships now that the rules do not leave alone, and that the plan did not know.
    fn has_more_to_remove(&self) -> bool {
        let created = matches!(self.plan.actions.first(), Some(Action::CreateUser { .. }));
        let is_wanted = |folded: &str| {
            self.desired
                .groups
                .iter()
                .any(|g| fold_text(&g.name) == folded)
        };
        created
            && !self.keep_existing
            && self
                .current
                .groups
                .iter()
                .any(|(folded, (_, owner))| *owner == Owner::Foreign && !is_wanted(folded))
    }

    /// Keeps `current` and the ledger row in step with what was applied.
    fn applied(&mut self, action: &Action, applied: &Applied) {
        match action {
            Action::CreateGroup { name } => {
                let owner = if applied.already {
                    Owner::Foreign
                } else {
                    Owner::Created
                };
                self.groups_seen.push((name.clone(), owner));
            }
            Action::AddMember { group, .. } => {
                let owner = if applied.already {
                    Owner::Adopted
                } else {
                    Owner::Created
                };
                self.current
                    .groups
                    .insert(fold_text(group), (group.clone(), owner));
            }
            Action::RemoveMember { group, .. } => {
                self.current.groups.remove(&fold_text(group));
            }
            Action::DeleteUser { .. } => {
                self.current = Current::default();
                self.read = true;
                if let Some(account) = &mut self.account {
                    account.standing = Standing::Absent;
                    account.remote_id = None;
                    account.active = false;
                }
            }
            Action::CreateUser { .. } => {
                // Products put new accounts into groups of their own accord.
                for name in applied.account.iter().flat_map(|a| &a.groups) {
                    self.current
                        .groups
                        .insert(fold_text(name), (name.clone(), Owner::Foreign));
                }
                self.read = true;
            }
            _ => {}
        }
        let (Some(observed), Some(account)) = (&applied.account, &mut self.account) else {
            return;
        };
        account.remote_id = Some(observed.remote_id.clone());
        account.username.clone_from(&observed.username);
        account.display_name.clone_from(&observed.display_name);
        if let Some(email) = &observed.email {
            account.email.clone_from(email);
        } else if let Action::CreateUser { email, .. }
        | Action::UpdateUser {
            email: Some(email), ..
        } = action
        {
            account.email.clone_from(email);
        }
        account.active = observed.active;
        account.standing = Standing::Present;
        self.current.account = Some(CurrentAccount {
            remote_id: observed.remote_id.clone(),
            username: account.username.clone(),
            display_name: account.display_name.clone(),
            email: account.email.clone(),
            active: account.active,
            owner: account.owner,
        });
    }

    fn audit(
        &self,
        at: Micros,
        operation: &str,
        detail: serde_json::Value,
        outcome: &str,
        message: Option<String>,
    ) -> NewAudit {
        NewAudit {
            at,
            connection_id: self.item.connection_id.clone(),
            target_id: self.item.target_id.clone(),
            user_id: self.item.user_id.clone(),
            user_name: self.person.user_name.clone(),
            operation: operation.to_owned(),
            detail: detail.to_string(),
            outcome: outcome.to_owned(),
            message,
            cause: self.item.cause.clone(),
        }
    }
}

/// What the end of an item writes into the ledger.
struct Writes {
    account: Option<Account>,
    account_changed: bool,
    /// Since when the account is in flight, if it stays so.
    since: Micros,
    groups_gone: Vec<String>,
    put: Vec<(String, Owner)>,
    remove: Vec<String>,
    groups: Vec<(String, Owner)>,
    aliases: Vec<(String, String)>,
}

impl Writes {
    fn of(job: &Work<'_>, failed: Option<&(Action, Failure)>, now: Micros) -> Self {
        // After any failure the target is read before the row is trusted again: an operation may consist of
        // several requests, and the last one's failure says nothing about those before it. Without one, only
        // what was begun earlier may still change something.
        let in_flight = failed.is_some() || job.unsettled_until.is_some();
        let since = match (failed, job.entry.in_flight_since) {
            (Some((_, Failure::Transient { .. })), _) => now,
            // What was answered will not be carried out later.
            (Some(_), None) => 0,
            (_, Some(since)) => since,
            (None, None) => now,
        };
        let mut account = job.account.clone();
        if let Some(account) = &mut account {
            account.in_flight = in_flight;
            // Nothing was tried that could have made it.
            if account.standing == Standing::Expected && !in_flight {
                account.standing = Standing::Absent;
            }
        }
        // Once actions were begun, the stored row says "in flight".
        let account_changed = account != job.entry.account || !job.plan.actions.is_empty();
        let mut groups = job.current.groups.clone();
        for name in &job.plan.adopt {
            groups.insert(fold_text(name), (name.clone(), Owner::Adopted));
        }
        let before: BTreeMap<String, (String, Owner)> = job
            .entry
            .memberships
            .iter()
            .map(|m| (fold_text(&m.group), (m.group.clone(), m.owner)))
            .collect();
        let intended: Vec<&String> = job
            .plan
            .actions
            .iter()
            .filter_map(|a| match a {
                Action::AddMember { group, .. } => Some(group),
                _ => None,
            })
            .collect();
        // While its outcome is unknown, what was about to be made stays written down as Usher's.
        let unknown = match failed {
            Some((Action::AddMember { group, .. }, _)) => Some(fold_text(group)),
            _ => None,
        };
        let mut remove = Vec::new();
        let candidates = before
            .iter()
            .map(|(folded, (name, owner))| (folded.clone(), name.clone(), *owner))
            .chain(
                intended
                    .iter()
                    .map(|name| (fold_text(name), (*name).clone(), Owner::Created)),
            );
        for (folded, name, owner) in candidates {
            // What was read replaces the ledger's foreign rows; what was trusted says nothing about them.
            let keep_foreign = owner == Owner::Foreign
                && !job.read
                && !intended.iter().any(|g| fold_text(g) == folded);
            // Of an account that may still come into being nothing is known.
            let keep_expected = job
                .account
                .as_ref()
                .is_some_and(|a| a.standing == Standing::Expected && in_flight && failed.is_none());
            let kept = groups.contains_key(&folded)
                || keep_foreign
                || keep_expected
                || unknown.as_ref() == Some(&folded);
            if !kept {
                remove.push(name);
            }
        }
        let put = groups
            .iter()
            .filter(|(folded, row)| {
                before.get(*folded) != Some(row)
                    || intended.iter().any(|g| fold_text(g) == **folded)
            })
            .map(|(_, row)| row.clone())
            .collect();
        // A source group that has taken part in the plan is bound to its target group.
        let aliases = job
            .desired
            .groups
            .iter()
            .filter(|group| groups.contains_key(&fold_text(&group.name)))
            .filter_map(|group| Some((group.source_group_id.clone()?, group.name.clone())))
            .filter(|(source, _)| !job.entry.has_alias(source))
            .collect();
        Self {
            account,
            account_changed,
            since,
            groups_gone: Vec::new(),
            put,
            remove,
            groups: job.groups_seen.clone(),
            aliases,
        }
    }

    fn write(&self, tx: &mut Tx<'_>, item: &Claimed, now: Micros) -> Result<(), store::Error> {
        let target = &item.target_id;
        if let Some(account) = &self.account {
            if self.account_changed {
                let at = if account.in_flight { self.since } else { now };
                ledger::put_account(tx, account, at)?;
            }
            for group in &self.remove {
                ledger::remove_membership(tx, &account.id, group)?;
            }
            for (group, owner) in &self.put {
                ledger::put_membership(tx, &account.id, group, *owner)?;
            }
        }
        for (name, owner) in &self.groups {
            ledger::put_group(tx, target, name, *owner)?;
        }
        for name in &self.groups_gone {
            ledger::remove_group(tx, target, name)?;
            // Its members went with it; each of them has to be looked at.
            let cause = format!("the group {name:?} is gone from the target");
            work::mark_recorded_members(tx, target, name, &item.user_id, &cause, now)?;
            ledger::strike_memberships(tx, target, name, &item.user_id)?;
        }
        for (source, name) in &self.aliases {
            ledger::put_alias(tx, target, source, name)?;
        }
        Ok(())
    }
}

/// An action as the audit keeps it.
fn detail(action: &Action) -> serde_json::Value {
    serde_json::to_value(action).unwrap_or_default()
}

/// An action in words.
pub(super) fn describe(action: &Action) -> String {
    match action {
        Action::CreateUser {
            username, email, ..
        } => format!("create account {username:?} <{email}>"),
        Action::UpdateUser {
            username,
            display_name,
            email,
            ..
        } => {
            let mut parts = Vec::new();
            if let Some(name) = display_name {
                parts.push(format!("display name to {name:?}"));
            }
            if let Some(email) = email {
                parts.push(format!("e-mail to {email:?}"));
            }
            format!("change {} of {username:?}", parts.join(" and "))
        }
        Action::RenameUser { from, to, .. } => format!("rename {from:?} to {to:?}"),
        Action::Deactivate { username, .. } => format!("deactivate {username:?}"),
        Action::Reactivate { username, .. } => format!("reactivate {username:?}"),
        Action::DeleteUser { username, .. } => format!("delete {username:?}"),
        Action::CreateGroup { name } => format!("create group {name:?}"),
        Action::AddMember {
            username, group, ..
        } => format!("add {username:?} to {group:?}"),
        Action::RemoveMember {
            username, group, ..
        } => format!("remove {username:?} from {group:?}"),
    }
}
