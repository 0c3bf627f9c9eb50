//! How a work item ends: the ledger, the audit, the item and the target's breaker, in one transaction.

use std::collections::BTreeMap;

use serde_json::json;

use super::engine::Engine;
use super::live::LiveTarget;
use super::plan::Current;
use super::retry::{self, Verdict};
use super::sweep;
use super::worker::{PAUSED, Stop, Work};
use crate::clock::{Micros, rfc3339};
use crate::domain::{Account, Action, Applied, Failure, Lookup, Owner, Presence, Standing};
use crate::scim::fold::fold_text;
use crate::store::audit::NewAudit;
use crate::store::work::{Claimed, Parked};
use crate::store::{self, Tx, audit, brakes, group_work, ledger, work};
use crate::targets::Target;

/// Why an item is looked at again that has come to its end.
const LATE: &str = "an earlier request got no answer and may still be carried out";
const AGAIN: &str = "the target put the new account into groups of its own accord";

impl Engine {
    /// One transaction: account, memberships, groups, audit and the end of the item.
    pub(super) async fn record(
        &self,
        target: &LiveTarget,
        client: &dyn Target,
        job: Work<'_>,
        done: Vec<(Action, Applied)>,
        failed: Option<(Action, Failure)>,
    ) -> Result<(), Stop> {
        let now = self.clock.now();
        let mut rows: Vec<NewAudit> = Vec::new();
        if let Some((operation, detail)) = &job.recovered {
            let message = "its record was lost; found when the account was read again".to_owned();
            rows.push(job.audit(now, operation, detail, "recovered", Some(message)));
        }
        if job.adopted {
            let detail = json!({"account": job.current.account.as_ref().map(|a| &a.username)});
            rows.push(job.audit(now, "adopt_user", &detail, "done", None));
        }
        for (action, applied) in &done {
            let outcome = if applied.already { "already" } else { "done" };
            let message = (!applied.notes.is_empty()).then(|| applied.notes.join("; "));
            rows.push(job.audit(
                now,
                action.name(),
                &detail(action, &job.before),
                outcome,
                message,
            ));
        }
        if let Some((action, failure @ Failure::Rejected { .. })) = &failed {
            let message = Some(failure.to_string());
            rows.push(job.audit(
                now,
                action.name(),
                &detail(action, &job.before),
                "rejected",
                message,
            ));
        }
        let mut writes = Writes::of(&job, failed.as_ref(), now);
        if let Some((Action::AddMember { group, .. }, Failure::Gone { .. })) = &failed
            // The account or the group: asked here, as nothing but the group's end concerns others.
            && let Ok(None) = client.group_exists(group).await
        {
            self.rosters.forget_group(&target.id, group);
            writes.groups_gone.push(group.clone());
        }
        if let Some((Action::CreateGroup { name }, Failure::Rejected { .. })) = &failed {
            // It may have been written down before it was tried.
            writes.groups_gone.push(name.clone());
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
        let over = job.holds_done(done.iter().map(|(action, _)| action));
        let (held, cut_short) = (job.plan.held.clone(), job.cut_short);
        let look_again_at = job.unsettled_until;
        let delete_at = job.plan.delete_at;
        let item = job.item.clone();
        let counted: Vec<(String, String)> = rows
            .iter()
            .map(|row| (row.operation.clone(), row.outcome.clone()))
            .chain(failed.iter().filter_map(|(action, failure)| {
                // What was refused has a row.
                let outcome = failure.as_str();
                (outcome != "rejected").then(|| (action.name().to_owned(), outcome.to_owned()))
            }))
            .collect();
        // In step, unless something is left to be done or to wait for.
        let ends = failed.is_none()
            && waiting.is_none()
            && !cut_short
            && !again
            && look_again_at.is_none()
            && held.is_none();
        let answered = job.answered || !done.is_empty();
        let bookkeeping = {
            let item = item.clone();
            move |tx: &mut Tx<'_>| -> Result<bool, store::Error> {
                // Whoever has the item now has looked since, and knows better.
                if !work::renew(tx, &item, now)? {
                    return Ok(false);
                }
                writes.write(tx, &item, now)?;
                brakes::end(tx, &over, &item.cause, now)?;
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
                            (None, _) if cut_short => {
                                work::postpone(tx, &item, now, PAUSED, false)?
                            }
                            (None, _) if again => work::postpone(tx, &item, now, AGAIN, false)?,
                            (None, Some(at)) => work::postpone(tx, &item, at, LATE, false)?,
                            (None, None) => match (&held, delete_at) {
                                (Some(why), _) => work::park(tx, &item, Parked::Held, why)?,
                                (None, Some(at)) => {
                                    let why = format!("deactivated, deleted at {}", rfc3339(at));
                                    work::rest(tx, &item, at, &why)?;
                                }
                                (None, None) => work::finish(tx, &item)?,
                            },
                        }
                        Ok(true)
                    })
                    .await?
            }
        };
        if !recorded {
            return Err(Stop::Lost);
        }
        for (operation, outcome) in &counted {
            self.metrics()
                .operation(target.labels(), operation, outcome);
        }
        if ends {
            self.in_step(target, job.item);
        }
        Ok(())
    }

    /// Whether a name that the target says is taken belongs to another user whose own work may set it free.
    pub(super) async fn waits_for_name(&self, item: &Claimed, name: &str) -> Result<bool, Stop> {
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
    pub(super) async fn note_failure(
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
    pub(super) async fn note(
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

impl Work<'_> {
    pub(super) fn audit(
        &self,
        at: Micros,
        operation: &str,
        detail: &serde_json::Value,
        outcome: &str,
        message: Option<String>,
    ) -> NewAudit {
        let person = &self.person.user_name;
        audit_row(self.item, person, at, operation, detail, outcome, message)
    }
}

/// The record of an operation for the person of an item.
pub(super) fn audit_row(
    item: &Claimed,
    person: &str,
    at: Micros,
    operation: &str,
    detail: &serde_json::Value,
    outcome: &str,
    message: Option<String>,
) -> NewAudit {
    NewAudit {
        at,
        actor: None,
        connection_id: Some(item.connection_id.clone()),
        target_id: Some(item.target_id.clone()),
        user_id: Some(item.user_id.clone()),
        user_name: Some(person.to_owned()),
        operation: operation.to_owned(),
        detail: detail.to_string(),
        outcome: outcome.to_owned(),
        message,
        cause: item.cause.clone(),
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
    /// Groups met for the first time whose members are to be compared with the source.
    compare: Vec<String>,
    /// Groups of which the same is asked and that the account is in now by Usher.
    joined: Vec<String>,
    /// Since when the person is not wanted, if that has changed.
    unwanted_since: Option<Option<Micros>>,
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
        let mut unknown = job.unknown_groups.clone();
        if let Some((Action::AddMember { group, .. }, _)) = failed {
            unknown.push(fold_text(group));
        }
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
                && !job.before.groups.contains_key(&folded)
                && !intended.iter().any(|g| fold_text(g) == folded);
            // Of an account that may still come into being nothing is known.
            let keep_expected = job
                .account
                .as_ref()
                .is_some_and(|a| a.standing == Standing::Expected && in_flight && failed.is_none());
            let kept = groups.contains_key(&folded)
                || keep_foreign
                || keep_expected
                || unknown.contains(&folded);
            if !kept {
                remove.push(name);
            }
        }
        let put: Vec<(String, Owner)> = groups
            .iter()
            .filter(|(folded, row)| {
                before.get(*folded) != Some(row)
                    || intended.iter().any(|g| fold_text(g) == **folded)
            })
            .map(|(_, row)| row.clone())
            .collect();
        let joined = put
            .iter()
            .filter(|(name, owner)| {
                owner.is_ours() && !job.rules.settings().groups.keeps_members(name)
            })
            .map(|(name, _)| name.clone())
            .collect();
        // A source group that has taken part in the plan is bound to its name.
        let mut aliases: Vec<(String, String)> = job
            .desired
            .bindings
            .iter()
            .filter(|binding| groups.contains_key(&fold_text(&binding.target_group)))
            .filter(|binding| !job.entry.has_alias(&binding.source_group_id))
            .map(|binding| (binding.source_group_id.clone(), binding.known_as.clone()))
            .collect();
        aliases.dedup();
        let unwanted_since = match job.desired.presence {
            Presence::Active | Presence::Inactive => None,
            Presence::Deleted | Presence::OutOfScope => job.entry.unwanted_since.or(Some(now)),
        };
        Self {
            account,
            account_changed,
            since,
            groups_gone: Vec::new(),
            put,
            remove,
            joined,
            compare: job
                .groups_seen
                .iter()
                .filter(|(name, owner)| {
                    *owner == Owner::Adopted || !job.rules.settings().groups.keeps_members(name)
                })
                .map(|(name, _)| name.clone())
                .collect(),
            groups: job.groups_seen.clone(),
            aliases,
            unwanted_since: (unwanted_since != job.entry.unwanted_since).then_some(unwanted_since),
        }
    }

    fn write(&self, tx: &mut Tx<'_>, item: &Claimed, now: Micros) -> Result<(), store::Error> {
        let target = &item.target_id;
        if let Some(account) = &self.account {
            if self.account_changed {
                let at = if account.in_flight { self.since } else { now };
                ledger::put_account(tx, account, at)?;
            }
            if let Some(since) = self.unwanted_since {
                ledger::set_unwanted_since(tx, &account.id, since)?;
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
        for name in &self.joined {
            group_work::hasten(tx, target, name, now + sweep::SOON)?;
        }
        for name in &self.compare {
            group_work::mark(
                tx,
                target,
                name,
                "the group is used for the first time",
                now,
            )?;
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

/// An action as the audit keeps it, with what it changes as it was before.
fn detail(action: &Action, before: &Current) -> serde_json::Value {
    let mut detail = serde_json::to_value(action).unwrap_or_default();
    let account = || {
        before.account.as_ref().map(|account| {
            json!({
                "username": account.username,
                "display_name": account.display_name,
                "email": account.email,
                "active": account.active,
                "owner": account.owner,
            })
        })
    };
    let before = match action {
        Action::UpdateUser { .. }
        | Action::RenameUser { .. }
        | Action::Deactivate { .. }
        | Action::Reactivate { .. } => account(),
        Action::DeleteUser { .. } => account().map(|mut account| {
            let groups = before.groups.values();
            account["groups"] = groups
                .map(|(name, owner)| json!({"group": name, "owner": owner}))
                .collect();
            account
        }),
        Action::RemoveMember { group, .. } => before
            .groups
            .get(&fold_text(group))
            .map(|(_, owner)| json!({"owner": owner})),
        // There was nothing.
        Action::CreateUser { .. } | Action::CreateGroup { .. } | Action::AddMember { .. } => None,
    };
    if let Some(before) = before {
        detail["before"] = before;
    }
    detail
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
