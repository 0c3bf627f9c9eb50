//! One work item: what is wanted, what is there, the operations between them, and the record of it all.

use std::collections::BTreeMap;

use serde_json::json;

use super::engine::Engine;
use super::live::LiveTarget;
use super::load::{self, Entry, Person};
use super::plan::{Current, CurrentAccount, GroupState, Plan, Protection, plan};
use super::retry::{self, Verdict};
use crate::clock::Micros;
use crate::domain::{
    Account, Action, Applied, Desired, Failure, Lookup, MatchKey, Mode, Observed, Owner, Presence,
    Standing, TargetId,
};
use crate::mapping::Rules;
use crate::scim::fold::fold_text;
use crate::store::audit::NewAudit;
use crate::store::work::{Claimed, Parked};
use crate::store::{self, Tx, audit, ledger, users, work};
use crate::targets::{Protected, Target};

/// Why an item did not get to its end.
enum Stop {
    /// The target did not do something that was needed to know what to do; nothing was written.
    Failed(Failure),
    /// The database did not answer.
    Store(store::Error),
    /// A person or the source has to do something first.
    Park(Parked, String),
    /// Another worker holds what this one needs, or something changed hands: come back in a moment.
    Later(String),
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
}

impl Engine {
    /// Works on one item, and never leaves it leased.
    pub(super) async fn converge(&self, target: &LiveTarget, item: Claimed) {
        let stop = match self.try_converge(target, &item).await {
            Ok(()) => return,
            Err(stop) => stop,
        };
        let result = match stop {
            Stop::Lost => {
                tracing::warn!("the lease was lost; another worker goes on");
                Ok(())
            }
            Stop::Failed(failure) => self.note_failure(target, &item, failure, |_| Ok(())).await,
            Stop::Park(state, why) => {
                tracing::info!(state = state.as_str(), %why, "work item parked");
                self.store
                    .write(move |tx| work::park(tx, &item, state, &why))
                    .await
            }
            Stop::Later(why) => {
                let due_at = self.clock.now() + 1_000_000;
                self.store
                    .write(move |tx| work::postpone(tx, &item, due_at, &why, false))
                    .await
            }
            Stop::Store(error) => {
                tracing::error!(%error, "the database failed a work item");
                let due_at = self.clock.now() + 1_000_000;
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
        };
        self.look(&mut job, rules, &shield, client.as_ref()).await?;
        let states = self.group_states(&mut job, client.as_ref()).await?;
        job.plan = plan(
            &job.desired,
            rules.settings(),
            &job.current,
            &states,
            &shield,
        );
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
                match observed {
                    Some(observed) => {
                        job.seen(observed, account);
                        Ok(())
                    }
                    // It was to be made and never was, or somebody removed it.
                    None => {
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
        let mut matched = found.is_some();
        if !matched && !users.match_by.contains(&MatchKey::Username) {
            // The name is taken or free whatever the match key is.
            found = client.observe(Lookup::Username(&wanted.username)).await?;
            matched = false;
        }
        let Some(observed) = found else { return Ok(()) };
        if let Some(pattern) = shield.user(&observed.username) {
            return Err(Stop::Park(
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
            Some((account, false)) => Err(Stop::Park(
                Parked::Held,
                format!(
                    "the account {:?} belongs to another user of the source ({})",
                    observed.username, account.user_id
                ),
            )),
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
            None => Err(Stop::Park(
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
            .write(move |tx| -> Result<bool, store::Error> {
                let same = users::find(tx.conn(), &from)?.is_some_and(|(c, _)| c == connection);
                if !same || work::is_leased(tx.conn(), &target, &from, now)? {
                    return Ok(false);
                }
                let done = ledger::hand_over(tx, &id, &from, &to, now)?;
                if done {
                    audit::append(tx, &row)?;
                }
                Ok(done)
            })
            .await?;
        Err(Stop::Later(if done {
            "the account of a former user of that name was taken over".to_owned()
        } else {
            "the account still belongs to a deleted user whose work is not done".to_owned()
        }))
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
            // A long list of memberships must not outlive the lease.
            if self.clock.now() - renewed_at > self.lease / 3 {
                renewed_at = self.clock.now();
                self.renew(&job).await?;
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
        self.record(target, job, done, failed).await
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
            Some(Action::CreateUser { username, .. }) => Account {
                username: username.clone(),
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
        let still_ours = self
            .store
            .write(move |tx| -> Result<bool, store::Error> {
                if !work::renew(tx, &item, until)? {
                    tx.discard();
                    return Ok(false);
                }
                // A row that changed hands in between must not be written over.
                if known && !ledger::set_in_flight(tx, &account.id, &item.user_id)? {
                    tx.discard();
                    return Ok(false);
                }
                ledger::put_account(tx, &account, now)?;
                for group in &intended {
                    ledger::put_membership(tx, &account.id, group, Owner::Created)?;
                }
                Ok(true)
            })
            .await?;
        if still_ours { Ok(()) } else { Err(Stop::Lost) }
    }

    async fn renew(&self, job: &Work<'_>) -> Result<(), Stop> {
        let (item, until) = (job.item.clone(), self.clock.now() + self.lease);
        if self
            .store
            .write(move |tx| work::renew(tx, &item, until))
            .await?
        {
            Ok(())
        } else {
            Err(Stop::Lost)
        }
    }

    /// One transaction: account, memberships, groups, audit and the end of the item.
    async fn record(
        &self,
        target: &LiveTarget,
        job: Work<'_>,
        done: Vec<(Action, Applied)>,
        failed: Option<(Action, Failure)>,
    ) -> Result<(), Stop> {
        let now = self.clock.now();
        // Only after an answer that never came is the state of the account unknown.
        let unknown = matches!(
            &failed,
            Some((_, Failure::Transient { .. } | Failure::Gone { .. }))
        );
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
        let mut writes = Writes::of(&job, unknown);
        if let Some((Action::AddMember { group, .. }, Failure::Gone { .. })) = &failed {
            writes.groups_gone.push(group.clone());
        }
        let waiting = job.plan.waiting.clone();
        let item = job.item.clone();
        let target_id = item.target_id.clone();
        let any_contact = !done.is_empty();
        let bookkeeping = move |tx: &mut Tx<'_>| -> Result<(), store::Error> {
            writes.write(tx, &target_id, now)?;
            for row in &rows {
                audit::append(tx, row)?;
            }
            Ok(())
        };
        match failed {
            Some((_, failure)) => {
                let item = job.item.clone();
                self.note_failure(target, &item, failure, bookkeeping)
                    .await?;
            }
            None => {
                self.store
                    .write(move |tx| -> Result<(), store::Error> {
                        bookkeeping(tx)?;
                        if any_contact {
                            work::target_succeeded(tx, &item.target_id, now)?;
                        }
                        match &waiting {
                            Some(why) => work::park(tx, &item, Parked::Waiting, why),
                            None => work::finish(tx, &item),
                        }
                    })
                    .await?;
            }
        }
        Ok(())
    }

    /// Records a failure: what it means for the item, and what it means for the whole target.
    async fn note_failure(
        &self,
        target: &LiveTarget,
        item: &Claimed,
        failure: Failure,
        bookkeeping: impl Fn(&mut Tx<'_>) -> Result<(), store::Error> + Send + 'static,
    ) -> Result<(), store::Error> {
        let now = self.clock.now();
        let random = retry::random();
        let item = item.clone();
        let name = target.settings.name.clone();
        self.store
            .write(move |tx| -> Result<(), store::Error> {
                bookkeeping(tx)?;
                let Some(health) = work::health(tx.conn(), &item.target_id)? else { return Ok(()) };
                let text = failure.to_string();
                match retry::verdict(&failure, item.attempts, &health, now, random) {
                    Verdict::Again { due_at, target_down_until } => {
                        work::postpone(tx, &item, due_at, &text, true)?;
                        let state = match target_down_until {
                            Some(_) => "down",
                            None => health.state.as_str(),
                        };
                        if health.state == "up" && state == "down" {
                            tracing::error!(target_name = %name, error = %text, "target is down");
                        }
                        work::target_failed(tx, &item.target_id, state, target_down_until, &text)
                    }
                    Verdict::Wait { until } => {
                        work::postpone(tx, &item, until, &text, false)?;
                        work::target_throttled(tx, &item.target_id, until)
                    }
                    Verdict::Stop { retry_at } => {
                        work::postpone(tx, &item, retry_at, &text, false)?;
                        tracing::error!(target_name = %name, error = %text, "target refuses the credential");
                        work::target_failed(tx, &item.target_id, "unauthorized", Some(retry_at), &text)
                    }
                    Verdict::LookAgain { due_at } => work::postpone(tx, &item, due_at, &text, true),
                    Verdict::Reject => {
                        work::park(tx, &item, Parked::Rejected, &text)?;
                        // It answered: whatever was wrong with it is over.
                        work::target_succeeded(tx, &item.target_id, now)
                    }
                }
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
                if let Some(account) = &mut self.account {
                    account.standing = Standing::Absent;
                    account.remote_id = None;
                    account.active = false;
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
    groups_gone: Vec<String>,
    put: Vec<(String, Owner)>,
    remove: Vec<String>,
    groups: Vec<(String, Owner)>,
    aliases: Vec<(String, String)>,
}

impl Writes {
    fn of(job: &Work<'_>, unknown: bool) -> Self {
        let mut account = job.account.clone();
        if let Some(account) = &mut account {
            account.in_flight = unknown;
            // Nothing was tried that could have made it.
            if account.standing == Standing::Expected && !unknown {
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
        // What was read replaces the ledger's foreign rows; what was trusted says nothing about them.
        let read = groups.values().any(|(_, owner)| *owner == Owner::Foreign);
        let intended: Vec<&String> = job
            .plan
            .actions
            .iter()
            .filter_map(|a| match a {
                Action::AddMember { group, .. } => Some(group),
                _ => None,
            })
            .collect();
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
            let intended = intended.iter().any(|g| fold_text(g) == folded);
            let keep_foreign = owner == Owner::Foreign && !read;
            // While the outcome is unknown, what was about to be made stays written down as Usher's.
            let kept = groups.contains_key(&folded) || keep_foreign || (unknown && intended);
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
            groups_gone: Vec::new(),
            put,
            remove,
            groups: job.groups_seen.clone(),
            aliases,
        }
    }

    fn write(&self, tx: &mut Tx<'_>, target: &TargetId, now: Micros) -> Result<(), store::Error> {
        if let Some(account) = &self.account {
            if self.account_changed {
                ledger::put_account(tx, account, now)?;
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
