//! One work item: what is wanted, what is there, the operations between them, and the record of it all.

use std::time::Duration;

use tokio::time::Instant;

use super::batch::{Seat, Wish};
use super::engine::Engine;
use super::explain::stopped_for;
use super::live::LiveTarget;
use super::load::{self, Entry, Person, Stage};
use super::look::{Ahead, Obstacle};
use super::plan::{Current, CurrentAccount, Means, Plan, Protection, Undone, give_back, plan};
use super::record::describe;
use super::retry::{self};
use crate::clock::Micros;
use crate::domain::{
    Account, Action, Applied, Desired, ExistingGroups, Failure, Mode, Owner, Standing, UserId,
};
use crate::mapping::Rules;
use crate::scim::fold::fold_text;
use crate::store::work::{Claimed, Parked, Priority};
use crate::store::{self, ledger, work};
use crate::targets::{Capabilities, Member, Protected, Target};

/// Why an item is put off whose target was paused while it was worked on.
pub(super) const PAUSED: &str = "the target is paused";

/// How long an item is put off that something passing is in the way of.
pub(super) const MOMENT: Micros = 1_000_000;

/// For how long a request that was given up may still be carried out by the target.
pub(super) fn settling(target: &LiveTarget) -> Micros {
    i64::try_from(target.settings.timeout_s.saturating_mul(2_000_000)).unwrap_or(i64::MAX / 4)
}

/// Why an item did not get to its end.
pub(super) enum Stop {
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
    /// The same, and the other one goes first: later than that one comes back.
    Yield(String),
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
            let of_product = self
                .target
                .groups
                .iter()
                .chain(&self.target.kept_by_product);
            of_product
                .into_iter()
                .find(|own| fold_text(own) == folded)
                .map(|_| "the target itself".to_owned())
        })
    }
}

/// The state of an account while its item is worked on.
pub(super) struct Work<'a> {
    pub(super) item: &'a Claimed,
    pub(super) person: Person,
    pub(super) desired: Desired,
    pub(super) entry: Entry,
    /// The ledger row: as stored, or new.
    pub(super) account: Option<Account>,
    pub(super) current: Current,
    /// What was there before the first operation: what an undo goes back to.
    pub(super) before: Current,
    pub(super) plan: Plan,
    /// What an undo gives back.
    pub(super) undone: Undone,
    /// Target groups that were read, with their owner if the ledger did not know them.
    pub(super) groups_seen: Vec<(String, Owner)>,
    /// The account was found and taken over just now.
    pub(super) adopted: bool,
    /// What was done before, and not recorded: the operation and the account as it is.
    pub(super) recovered: Option<(&'static str, serde_json::Value)>,
    /// `current` is what the target shows, foreign memberships included, not what the ledger says.
    pub(super) read: bool,
    /// The target answered something.
    pub(super) answered: bool,
    /// The rules of the mapping that the person comes by.
    pub(super) rules: Rules,
    /// Until when a request whose answer never came may still be carried out.
    pub(super) unsettled_until: Option<Micros>,
    /// A pause kept the rest of the plan from being done.
    pub(super) cut_short: bool,
    /// That there is no account was concluded from a list, not asked for.
    pub(super) unlisted: bool,
    /// Folded names of further groups of which it is not known whether the account was put into them.
    pub(super) unknown_groups: Vec<String>,
}

impl Engine {
    /// Works on one item, and never leaves it leased.
    pub(super) async fn converge(
        &self,
        target: &LiveTarget,
        item: Claimed,
        seat: Option<&mut Seat>,
    ) {
        let stop = tokio::select! {
            biased;
            outcome = self.try_converge(target, &item, seat) => match outcome {
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
            Stop::Later(why) => self.put_off(item, now + MOMENT, why).await,
            Stop::Yield(why) => self.put_off(item, now + 2 * MOMENT, why).await,
            // The ledger knows this account as somebody else's. Somebody may have taken it over between the look and the
            // record, which the next look sees; if it does not, trying again cannot change it.
            Stop::Store(store::Error::Conflict { constraint })
                if constraint.contains("remote_id") =>
            {
                let why = "the target gave this person an account that Usher knows as another person's; was the \
                           target restored or replaced?";
                if item.attempts == 0 {
                    self.store
                        .write(move |tx| work::postpone(tx, &item, now + MOMENT, why, true))
                        .await
                } else {
                    self.park(item, Parked::Held, why.to_owned(), true).await
                }
            }
            Stop::Store(error) => {
                tracing::error!(%error, "the database failed a work item");
                self.rest(&error);
                self.put_off(item, now + MOMENT, error.to_string()).await
            }
        };
        if let Err(error) = result {
            // The lease runs out by itself, and the item is claimed again.
            tracing::error!(%error, "the end of a work item could not be recorded");
            self.rest(&error);
        }
    }

    /// Renews the lease for as long as it is polled; returns when the lease is lost, or cannot be known to
    /// hold until the next renewal. Runs beside the work, so that no operation, however slow, outlives it.
    pub(super) async fn keep(&self, item: &Claimed) {
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

    /// Something passing is in the way, and that was no attempt.
    async fn put_off(
        &self,
        item: Claimed,
        due_at: Micros,
        why: String,
    ) -> Result<(), store::Error> {
        self.store
            .write(move |tx| work::postpone(tx, &item, due_at, &why, false))
            .await
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

    async fn try_converge(
        &self,
        target: &LiveTarget,
        item: &Claimed,
        mut seat: Option<&mut Seat>,
    ) -> Result<(), Stop> {
        if let Some(seat) = &mut seat {
            seat.begin().await;
        }
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
        let Some((person, entry)) = self.read(item, &item.user_id).await? else {
            // Not even a tombstone: there is nothing to converge.
            let item = item.clone();
            self.store.write(move |tx| work::finish(tx, &item)).await?;
            return Ok(());
        };
        if let Some(pause) = &person.pause {
            return Err(Stop::Park(Parked::Held, stopped_for(pause)));
        }
        let name = person.user_name.clone();
        let means = (rules, client.as_ref());
        let prepared = self
            .prepare(target, means, item, (person, entry), &mut Ahead::default())
            .await;
        let mut job = match prepared {
            Ok(job) => job,
            Err(obstacle) => return Err(self.met(target, item, &name, obstacle).await),
        };
        if job.person.mode(rules, &job.desired) == Mode::Shadow {
            return self.end_in_shadow(job).await;
        }
        if let Some(successor) = self.successor(rules, &job).await? {
            return Err(self.give_over(item, &job, successor).await?);
        }
        self.put_brakes_on(&mut job, rules, client.as_ref()).await?;
        // After the brakes: what is not done must not be written down as taken.
        self.remember(&mut job, rules, client.as_ref()).await?;
        self.carry_out(target, client.as_ref(), job, seat).await
    }

    /// Looks and plans, and writes nothing.
    pub(super) async fn prepare<'a>(
        &self,
        target: &LiveTarget,
        (rules, client): (&Rules, &dyn Target),
        item: &'a Claimed,
        (person, entry): (Person, Entry),
        ahead: &mut Ahead,
    ) -> Result<Work<'a>, Obstacle> {
        let desired = person.desired(rules, &entry);
        let shield = Shield {
            rules,
            target: client.protected().await?,
        };
        let mut job = Work::new(item, (person, entry), desired, rules.clone());
        job.unsettled_until = job
            .entry
            .in_flight_since
            .map(|since| since + settling(target))
            .filter(|until| *until > self.clock.now());
        self.look(&mut job, rules, &shield, client, ahead).await?;
        job.undone = job.entry.undone();
        if !job.read {
            // The ledger is trusted with foreign memberships, too.
            let there = |group: &str| job.entry.is_member(group);
            job.undone.groups.retain(|(group, _)| !there(group));
        }
        // Nobody is deleted whom a person had given access back: the time counts from when that ends.
        job.current.unwanted_since = match job.undone.access {
            true => None,
            false => job.entry.unwanted_since,
        };
        // Default groups depend on whose the account is, and that is known only now.
        let stage = match &job.current.account {
            None => Stage::New,
            Some(account) if account.owner == Owner::Created => Stage::Made,
            Some(_) => Stage::Found,
        };
        if stage != job.entry.stage() {
            job.desired = job.person.desired_for(rules, &job.entry, stage);
        }
        let states = self.group_states(&mut job, rules, client, ahead).await?;
        let means = Means {
            settings: rules.settings(),
            capabilities: client.capabilities(),
            now: self.clock.now(),
        };
        let mut plan = plan(&job.desired, means, &job.current, &states, &shield);
        if job.undone != Undone::default() {
            let gone = self.undone_groups_gone(&mut job, client, ahead).await?;
            give_back(&mut plan, &job.undone, means, &job.current, &gone, &shield);
        }
        job.plan = plan;
        job.before = job.current.clone();
        Ok(job)
    }

    /// What is stated and known about a user at the target of an item.
    pub(super) async fn read(
        &self,
        item: &Claimed,
        user: &UserId,
    ) -> Result<Option<(Person, Entry)>, store::Error> {
        let (target, user) = (item.target_id.clone(), user.clone());
        self.store
            .read(move |conn| {
                let Some(person) = load::person(conn, &user)? else {
                    return Ok(None);
                };
                let entry = load::entry(conn, &target, &user, &person)?;
                Ok(Some((person, entry)))
            })
            .await
    }

    /// Records what would be done.
    async fn end_in_shadow(&self, job: Work<'_>) -> Result<(), Stop> {
        self.take_brakes_off(&job).await?;
        let item = job.item.clone();
        if job.plan.actions.is_empty() && job.plan.waiting.is_none() {
            self.store.write(move |tx| work::finish(tx, &item)).await?;
            return Ok(());
        }
        let mut would: Vec<String> = job.plan.actions.iter().map(describe).collect();
        would.extend(job.plan.waiting);
        let text = format!("would: {}", would.join("; "));
        let names = job.plan.actions.iter().map(Action::name);
        let backlog = names.collect::<Vec<_>>().join(" ");
        self.store
            .write(move |tx| work::park_in_shadow(tx, &item, &text, &backlog))
            .await?;
        Ok(())
    }

    /// Marks in flight, applies, records.
    pub(super) async fn carry_out(
        &self,
        target: &LiveTarget,
        client: &dyn Target,
        mut job: Work<'_>,
        seat: Option<&mut Seat>,
    ) -> Result<(), Stop> {
        if !job.plan.actions.is_empty() {
            if self.is_paused(&target.id) {
                return Err(Stop::Later(PAUSED.to_owned()));
            }
            self.begin(&mut job, client.capabilities()).await?;
        }
        let mut done: Vec<(Action, Applied)> = Vec::new();
        let mut failed: Option<(Action, Failure)> = None;
        // Memberships that are sent together with those of others, after all else.
        let mut together: Vec<Action> = Vec::new();
        let actions = job.plan.actions.clone();
        let mut renewed_at = self.clock.now();
        for action in actions {
            if self.is_paused(&target.id) {
                job.cut_short = true;
                break;
            }
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
            if seat.is_some() && is_shared(&action, client.capabilities()) {
                together.push(action);
                continue;
            }
            match self.perform(client, &job, &action).await {
                Ok(Some(applied)) => job.note_applied(action, applied, &mut done),
                Ok(None) => {}
                Err(failure) if job.unlisted && is_refused_creation(&action, &failure) => {
                    return self.look_without_list(job).await;
                }
                Err(failure) => {
                    tracing::warn!(operation = action.name(), error = %failure, "not applied");
                    failed = Some((action, failure));
                    break;
                }
            }
        }
        if !together.is_empty() && self.is_paused(&target.id) {
            job.cut_short = true;
        } else if let Some(seat) = seat
            && !together.is_empty()
        {
            let failures = self
                .join_groups(seat, &mut job, together, &mut done)
                .await?;
            failed = job.worst(failed.into_iter().chain(failures).collect());
        }
        self.record(target, client, job, done, failed).await
    }

    /// Does one thing. `None`: another worker did it a moment ago.
    async fn perform(
        &self,
        client: &dyn Target,
        job: &Work<'_>,
        action: &Action,
    ) -> Result<Option<Applied>, Failure> {
        let target = &job.item.target_id;
        match action {
            Action::CreateGroup { name } => self.rosters.make_group(target, name, client).await,
            Action::CreateUser {
                username, email, ..
            } => {
                let mut applied = client.apply(action).await?;
                if job.unlisted && applied.already {
                    // Somebody made it since: whose it is has to be looked at.
                    return Err(Failure::Rejected {
                        field: None,
                        text: format!("there is an account {username:?} by now"),
                    });
                }
                self.rosters.learn(target, username, Some(email));
                if !job.rules.settings().groups.keep_existing
                    && let Some(made) = &applied.account
                {
                    // Products put new accounts into groups of their own accord, and do not all say so.
                    let found = client.revisit(&made.remote_id, &made.username).await?;
                    let gone = || Failure::Gone {
                        text: format!("the account {username:?} was made and is not there"),
                    };
                    applied.account = Some(found.ok_or_else(gone)?);
                }
                Ok(Some(applied))
            }
            Action::AddMember {
                remote_id,
                username,
                group,
            } if job.is_new() => {
                let member = Member {
                    remote_id: remote_id.clone(),
                    username: username.clone(),
                };
                match client.add_members(group, &[member]).await.pop() {
                    Some(answer) => answer.map(Some),
                    None => client.apply(action).await.map(Some),
                }
            }
            Action::RenameUser { to, .. } => {
                let applied = client.apply(action).await?;
                self.rosters.learn(target, to, None);
                Ok(Some(applied))
            }
            Action::UpdateUser {
                username,
                email: Some(email),
                ..
            } => {
                let applied = client.apply(action).await?;
                self.rosters.learn(target, username, Some(email));
                Ok(Some(applied))
            }
            _ => client.apply(action).await.map(Some),
        }
    }

    /// Sends memberships together with those of others; returns those that failed.
    async fn join_groups(
        &self,
        seat: &mut Seat,
        job: &mut Work<'_>,
        actions: Vec<Action>,
        done: &mut Vec<(Action, Applied)>,
    ) -> Result<Vec<(Action, Failure)>, Stop> {
        let wishes = actions.iter().filter_map(wish).collect();
        let answers = seat.send(job.item, wishes).await.ok_or(Stop::Lost)?;
        let mut failures = Vec::new();
        for (action, answer) in actions.into_iter().zip(answers) {
            match answer {
                Ok(applied) => job.note_applied(action, applied, done),
                Err(failure) => {
                    tracing::warn!(operation = action.name(), error = %failure, "not applied");
                    failures.push((action, failure));
                }
            }
        }
        Ok(failures)
    }

    /// An account was not in the list and cannot be made: it is looked for as if there had been no list.
    async fn look_without_list(&self, job: Work<'_>) -> Result<(), Stop> {
        let now = self.clock.now();
        let item = job.item.clone();
        let Some(account) = job.account.clone() else {
            return Err(Stop::Later("an account is there by now".to_owned()));
        };
        self.rosters
            .distrust(&item.target_id, &account.username, &account.email);
        let intended: Vec<String> = job
            .plan
            .actions
            .iter()
            .filter_map(wish)
            .filter(|wish| wish.joins)
            .map(|wish| wish.group)
            .collect();
        let account = Account {
            standing: Standing::Absent,
            in_flight: false,
            ..account
        };
        self.store
            .write(move |tx| -> Result<Result<(), Stop>, store::Error> {
                if !work::renew(tx, &item, now)? {
                    tx.discard();
                    return Ok(Err(Stop::Lost));
                }
                ledger::put_account(tx, &account, now)?;
                for group in &intended {
                    ledger::remove_membership(tx, &account.id, group)?;
                }
                work::postpone(tx, &item, now, "an account is there by now", false)?;
                Ok(Ok(()))
            })
            .await?
    }

    /// One transaction: the lease is still ours, the account is marked, and what is about to be made is
    /// written down as ours. After a crash the target is read before this row is trusted.
    async fn begin(&self, job: &mut Work<'_>, can: &Capabilities) -> Result<(), Stop> {
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
            // Should the answer never come, nobody can tell which address is there, and one that was wanted before
            // may be wanted again: it is unknown until one was sent and taken.
            _ if !can.reads_email && job.plan.actions.iter().any(sends_email) => Account {
                email: String::new(),
                ..account
            },
            _ => account,
        };
        job.account = Some(account.clone());
        let actions = job.plan.actions.iter();
        let intended: Vec<(String, Owner)> = actions
            .clone()
            .filter_map(|action| match action {
                Action::AddMember { group, .. } => Some((group.clone(), job.owner_of(group))),
                _ => None,
            })
            .collect();
        // Where foreign groups are left alone, one that was made before a crash must not be taken for one.
        let new_groups: Vec<String> = actions
            .clone()
            .filter_map(|action| match action {
                Action::CreateGroup { name } if job.skips_foreign_groups() => Some(name.clone()),
                _ => None,
            })
            .collect();
        let given: Vec<String> = match job.plan.actions.first() {
            Some(Action::CreateUser { .. }) => job.rules.settings().groups.for_new.clone(),
            _ => Vec::new(),
        };
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
                for (group, owner) in &intended {
                    ledger::put_membership(tx, &account.id, group, *owner)?;
                }
                for group in &new_groups {
                    ledger::put_group(tx, &item.target_id, group, Owner::Created)?;
                }
                for group in &given {
                    ledger::give_group(tx, &account.id, group.trim())?;
                }
                Ok(Ok(()))
            })
            .await?
    }
}

/// Whether this changes the address of an account that is there.
fn sends_email(action: &Action) -> bool {
    matches!(action, Action::UpdateUser { email: Some(_), .. })
}

/// Whether this says that the account cannot be made: because there is one, perhaps.
fn is_refused_creation(action: &Action, failure: &Failure) -> bool {
    matches!(
        (action, failure),
        (Action::CreateUser { .. }, Failure::Rejected { .. })
    )
}

/// Whether one request does it for several people.
fn is_shared(action: &Action, can: &Capabilities) -> bool {
    match action {
        Action::AddMember { .. } => can.members_a_request > 1,
        Action::RemoveMember { .. } => can.removals_a_request > 1,
        _ => false,
    }
}

/// The membership that an action is to make or to end.
fn wish(action: &Action) -> Option<Wish> {
    let (Action::AddMember {
        remote_id,
        username,
        group,
    }
    | Action::RemoveMember {
        remote_id,
        username,
        group,
    }) = action
    else {
        return None;
    };
    Some(Wish {
        joins: matches!(action, Action::AddMember { .. }),
        group: group.clone(),
        member: Member {
            remote_id: remote_id.clone(),
            username: username.clone(),
        },
    })
}

impl<'a> Work<'a> {
    /// Before anything was looked at.
    pub(super) fn new(
        item: &'a Claimed,
        (person, entry): (Person, Entry),
        desired: Desired,
        rules: Rules,
    ) -> Self {
        Self {
            item,
            account: entry.account.clone(),
            person,
            desired,
            entry,
            current: Current::default(),
            before: Current::default(),
            plan: Plan::default(),
            undone: Undone::default(),
            groups_seen: Vec::new(),
            adopted: false,
            recovered: None,
            read: false,
            answered: false,
            rules,
            unsettled_until: None,
            cut_short: false,
            unlisted: false,
            unknown_groups: Vec::new(),
        }
    }
}

impl Work<'_> {
    /// Whose a membership is that is made now.
    fn owner_of(&self, group: &str) -> Owner {
        self.undone.owner_of(group).unwrap_or(Owner::Created)
    }

    /// Whether the account was made a moment ago.
    fn is_new(&self) -> bool {
        matches!(self.plan.actions.first(), Some(Action::CreateUser { .. }))
    }

    fn note_applied(
        &mut self,
        action: Action,
        applied: Applied,
        done: &mut Vec<(Action, Applied)>,
    ) {
        tracing::info!(
            operation = action.name(),
            already = applied.already,
            "applied"
        );
        self.applied(&action, &applied);
        done.push((action, applied));
    }

    /// The failure that says most about what is to be done next. Of the other memberships it stays unknown whether
    /// they were made.
    fn worst(&mut self, mut failures: Vec<(Action, Failure)>) -> Option<(Action, Failure)> {
        failures.sort_by_key(|(_, failure)| match failure {
            Failure::Unauthorized { .. } => 0,
            Failure::Throttled { .. } => 1,
            Failure::Transient { .. } | Failure::Unreachable { .. } => 2,
            Failure::Gone { .. } => 3,
            Failure::Rejected { .. } => 4,
        });
        let mut failures = failures.into_iter();
        let worst = failures.next();
        self.unknown_groups = failures
            .filter_map(|(action, _)| Some(fold_text(&wish(&action)?.group)))
            .collect();
        worst
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
            if !owner.is_ours() {
                *owner = Owner::Adopted;
            }
            return true;
        }
        false
    }

    /// Whether the rules leave groups alone that Usher did not make.
    pub(super) fn skips_foreign_groups(&self) -> bool {
        self.rules.settings().groups.existing_groups == ExistingGroups::Skip
    }

    /// Whether there are memberships now that the rules do not leave alone, and that the plan did not know.
    pub(super) fn has_more_to_remove(&self) -> bool {
        let is_wanted = |folded: &str| {
            self.desired
                .groups
                .iter()
                .any(|g| fold_text(&g.name) == folded)
        };
        self.is_new()
            && self.current.groups.iter().any(|(folded, (name, owner))| {
                *owner == Owner::Foreign
                    && !self.rules.settings().groups.keeps_members(name)
                    && !is_wanted(folded)
            })
    }

    /// Keeps `current` and the ledger row in step with what was applied.
    fn applied(&mut self, action: &Action, applied: &Applied) {
        match action {
            Action::CreateGroup { name } => {
                if !applied.already {
                    self.groups_seen.push((name.clone(), Owner::Created));
                } else if !self.skips_foreign_groups() {
                    self.groups_seen.push((name.clone(), Owner::Adopted));
                }
            }
            Action::AddMember { group, .. } => {
                let owner = match self.undone.owner_of(group) {
                    Some(owner) => owner,
                    None if applied.already => Owner::Adopted,
                    None => Owner::Created,
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
                    account.taken = None;
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
            Action::Deactivate { takes: Some(_), .. } => self.holds_now(applied),
            Action::Reactivate { gives: Some(_), .. } => {
                self.holds_now(applied);
                if let Some(account) = &mut self.account {
                    account.taken = None;
                }
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
            taken: account.taken.clone(),
        });
    }
}
