//! What is there: from the ledger where it can be trusted, else read from the target; and whose it is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::engine::Engine;
use super::live::LiveTarget;
use super::load::{self, Entry};
use super::plan::{Current, CurrentAccount, GroupState, Protection};
use super::record::audit_row;
use super::worker::{MOMENT, Shield, Stop, Work};
use crate::domain::{
    Account, ConnectionId, DesiredAccount, Lookup, MatchKey, Mode, Observed, Owner, Presence,
    Standing, UserId,
};
use crate::mapping::Rules;
use crate::scim::fold::fold_text;
use crate::store::work::{Claimed, Parked, Priority};
use crate::store::{self, audit, brakes, ledger, users, work};
use crate::targets::Target;

/// What looking ran into. Looking itself writes nothing, so that a plan can look as a run does.
pub(super) enum Obstacle {
    /// It ends here.
    Stop(Stop),
    /// What was found is the account of a former user of that name, to be taken over.
    Former(Account),
    /// What was found is the account of another user, who may be about to give it up: it, and how it is called.
    Taken(Account, String),
}

impl<T: Into<Stop>> From<T> for Obstacle {
    fn from(stop: T) -> Self {
        Self::Stop(stop.into())
    }
}

/// What a plan of many people assumes to be done for those before: a run finds it in the ledger and at the
/// target instead.
#[derive(Debug, Clone, Default)]
pub(super) struct Ahead {
    /// Target groups that were asked about or will be made, by folded name.
    pub(super) groups: BTreeMap<String, GroupState>,
    /// Keys of accounts that will have another name or be gone.
    pub(super) vacated: BTreeSet<String>,
}

/// Whether looking for the wanted account finds this one.
fn finds(rules: &Rules, wanted: &DesiredAccount, account: &Account) -> bool {
    let is_address = |email: &String| fold_text(email) == fold_text(&account.email);
    fold_text(&wanted.username) == fold_text(&account.username)
        || rules.settings().users.match_by.contains(&MatchKey::Email)
            && wanted.email.as_ref().is_some_and(is_address)
}

impl Engine {
    /// Fills in what the target has: from the ledger where it can be trusted, else by reading the target.
    pub(super) async fn look(
        &self,
        job: &mut Work<'_>,
        rules: &Rules,
        shield: &Shield<'_>,
        client: &dyn Target,
        ahead: &Ahead,
    ) -> Result<(), Obstacle> {
        let known = job
            .account
            .clone()
            .filter(|a| a.standing != Standing::Absent);
        match known {
            Some(account) if !account.in_flight && rules.settings().groups.keep_existing => {
                job.current = trusted(&account, &job.entry, rules);
                Ok(())
            }
            Some(account) => {
                let observed = match &account.remote_id {
                    Some(id) => client.revisit(id, &account.username).await?,
                    None => client.observe(Lookup::Username(&account.username)).await?,
                };
                job.answered = true;
                match observed {
                    Some(observed) if self.is_ours(&account, &observed).await? => {
                        job.recovered = recovered(&account, &observed);
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
                            taken: None,
                            ..account
                        });
                        self.first_contact(job, rules, shield, client, ahead).await
                    }
                }
            }
            None => self.first_contact(job, rules, shield, client, ahead).await,
        }
    }

    /// Whether what was found is the account of the ledger. By key it is; by the name alone, after a creation
    /// whose outcome is unknown, it may be somebody else's of that name.
    pub(super) async fn is_ours(
        &self,
        account: &Account,
        observed: &Observed,
    ) -> Result<bool, store::Error> {
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
    pub(super) async fn first_contact(
        &self,
        job: &mut Work<'_>,
        rules: &Rules,
        shield: &Shield<'_>,
        client: &dyn Target,
        ahead: &Ahead,
    ) -> Result<(), Obstacle> {
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
        let (target, own) = (job.item.target_id.clone(), job.item.user_id.clone());
        let name = wanted.username.clone();
        let others = self
            .store
            .read(move |conn| ledger::expected_by_others(conn, &target, &name, &own))
            .await?;
        if let Some((former, _)) = others.into_iter().find(|(_, is_tombstone)| *is_tombstone) {
            return Err(Obstacle::Former(former));
        }
        if self
            .is_unlisted(&job.item.target_id, client, &wanted)
            .await?
        {
            job.unlisted = true;
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
        job.answered = true;
        let matched = found.is_some();
        if !matched && !users.match_by.contains(&MatchKey::Username) {
            // The name is taken or free whatever the match key is.
            found = client.observe(Lookup::Username(&wanted.username)).await?;
        }
        let Some(observed) = found.filter(|found| !ahead.vacated.contains(&found.remote_id)) else {
            return Ok(());
        };
        if let Some(pattern) = shield.user(&observed.username) {
            return Err(Obstacle::Stop(Stop::Shown(
                Parked::Held,
                format!(
                    "matches the account {:?}, which is protected by {pattern:?}",
                    observed.username
                ),
            )));
        }
        let (id, remote) = (job.item.target_id.clone(), observed.remote_id.clone());
        let (own, name) = (job.item.user_id.clone(), observed.username.clone());
        let owner = self
            .store
            .read(move |conn| -> Result<_, store::Error> {
                let owner = match ledger::by_remote(conn, &id, &remote)? {
                    // Made for somebody else a moment ago, perhaps, and not recorded yet.
                    None => ledger::expected_by_others(conn, &id, &name, &own)?
                        .into_iter()
                        .next(),
                    known => known,
                };
                let Some((account, is_former)) = owner.filter(|(it, _)| it.user_id != own) else {
                    return Ok(None);
                };
                let (_, pause) = users::apart(conn, &account.user_id)?;
                Ok(Some((account, is_former, pause)))
            })
            .await?;
        match owner {
            Some((account, _, Some(_))) => Err(Obstacle::Stop(Stop::Shown(
                Parked::Held,
                format!(
                    "the account {:?} belongs to somebody who is paused ({}): resume or rename that one first",
                    account.username, account.user_id
                ),
            ))),
            Some((account, true, None)) => Err(Obstacle::Former(account)),
            Some((account, false, None)) => Err(Obstacle::Taken(account, observed.username)),
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
            None => Err(Obstacle::Stop(Stop::Shown(
                Parked::Held,
                format!(
                    "the target has an account {:?} that Usher did not make; set adopt = true to take over \
                     accounts that match, or rename one of the two",
                    observed.username
                ),
            ))),
        }
    }

    /// What becomes of an item that ran into something while looking.
    pub(super) async fn met(
        &self,
        target: &LiveTarget,
        item: &Claimed,
        person: &str,
        obstacle: Obstacle,
    ) -> Stop {
        let stop = match obstacle {
            Obstacle::Stop(stop) => return stop,
            Obstacle::Former(account) => self.take_over(target, item, person, &account).await,
            Obstacle::Taken(account, name) => {
                self.is_taken(target, item, person, account, name).await
            }
        };
        stop.unwrap_or_else(Stop::Store)
    }

    /// The account belongs to another user, who may be about to give the name up, or may have done so since the
    /// target was read.
    async fn is_taken(
        &self,
        live: &LiveTarget,
        item: &Claimed,
        person: &str,
        account: Account,
        name: String,
    ) -> Result<Stop, store::Error> {
        let other = account.user_id.clone();
        let found = self
            .store
            .read(move |conn| users::find(conn, &other))
            .await?;
        if let Some((connection, _)) = found
            && connection != item.connection_id
        {
            return self
                .is_claimed_by(live, item, person, &account, &connection)
                .await;
        }
        let why = taken(&account, &name);
        let target = item.target_id.clone();
        // In this order: work that has ended by now shows in the ledger.
        let moving = self
            .store
            .read(move |conn| -> Result<bool, store::Error> {
                let other = &account.user_id;
                Ok(work::is_pending(conn, &target, other)?
                    || ledger::account(conn, &target, other)?
                        .is_none_or(|now| fold_text(&now.username) != fold_text(&name)))
            })
            .await?;
        Ok(if moving {
            Stop::Behind(why)
        } else {
            Stop::Shown(Parked::Held, why)
        })
    }

    /// People of two connections claim one account. It goes to the connection that goes before the other by what an
    /// administrator said of them; without such a word it stays where it is. Whoever does not have it waits, and is
    /// shown as a conflict.
    async fn is_claimed_by(
        &self,
        live: &LiveTarget,
        item: &Claimed,
        person: &str,
        account: &Account,
        holder: &ConnectionId,
    ) -> Result<Stop, store::Error> {
        let (mine, theirs) = (
            live.connection_name(&item.connection_id),
            live.connection_name(holder),
        );
        let is_live = live
            .rules
            .get(&item.connection_id)
            .is_some_and(|rules| rules.settings().mode == Mode::Live);
        if !is_live || !live.goes_before(&item.connection_id, holder) {
            let rule = if live.goes_before(holder, &item.connection_id) {
                format!("{theirs} takes precedence")
            } else {
                "neither connection takes precedence, so it stays where it is".to_owned()
            };
            return Ok(Stop::Shown(
                Parked::Held,
                format!(
                    "conflict: the account {:?} belongs to somebody of connection {theirs} ({}); {rule}",
                    account.username, account.user_id
                ),
            ));
        }
        let (from, to) = (account.user_id.clone(), item.user_id.clone());
        let (id, target, now) = (account.id.clone(), item.target_id.clone(), self.clock.now());
        let row = audit_row(
            item,
            person,
            now,
            "hand_over",
            &json!({"account": account.username, "from": theirs}),
            "done",
            Some(format!("{mine} takes precedence over {theirs}")),
        );
        let cause = format!("connection {mine} takes precedence");
        let done = self
            .store
            .write(move |tx| -> Result<bool, store::Error> {
                let done = work::lock_idle(tx, &target, &from, now)?
                    && ledger::hand_over(tx, &id, &from, &to)?;
                if done {
                    audit::append(tx, &row)?;
                    // It learns that the account is not its own any more.
                    work::mark_one(tx, &target, &from, Priority::Push, &cause, now)?;
                }
                Ok(done)
            })
            .await?;
        Ok(Stop::Later(if done {
            format!(
                "the account of somebody of connection {theirs} was taken over: {mine} takes precedence"
            )
        } else {
            format!("the account is still being worked on for connection {theirs}")
        }))
    }

    /// The person came back under another SCIM id, or by another connection: the account of the tombstone is theirs.
    async fn take_over(
        &self,
        live: &LiveTarget,
        item: &Claimed,
        person: &str,
        account: &Account,
    ) -> Result<Stop, store::Error> {
        // From another connection only as any other account that is there: where the rules allow to take over.
        let adopts = live
            .rules
            .get(&item.connection_id)
            .is_some_and(|rules| rules.settings().users.adopt);
        let (from, to) = (account.user_id.clone(), item.user_id.clone());
        let (id, target, connection) = (
            account.id.clone(),
            item.target_id.clone(),
            item.connection_id.clone(),
        );
        let now = self.clock.now();
        let row = audit_row(
            item,
            person,
            now,
            "hand_over",
            &json!({"account": account.username}),
            "done",
            None,
        );
        let done = self
            .store
            .write(move |tx| -> Result<Option<bool>, store::Error> {
                let owner = users::find(tx.conn(), &from)?;
                if !adopts && owner.is_none_or(|(c, _)| c != connection) {
                    tx.discard();
                    return Ok(None);
                }
                let done = work::lock_idle(tx, &target, &from, now)?
                    && ledger::hand_over(tx, &id, &from, &to)?;
                if done {
                    audit::append(tx, &row)?;
                    if !brakes::of_subject(tx.conn(), &target, from.as_str())?.is_empty() {
                        // Nothing is left to be taken from the former user.
                        work::mark_one(tx, &target, &from, Priority::Push, &row.cause, now)?;
                    }
                }
                Ok(Some(done))
            })
            .await?;
        Ok(match done {
            Some(true) => {
                Stop::Later("the account of a former user of that name was taken over".to_owned())
            }
            Some(false) => Stop::Later(
                "the account still belongs to a deleted user whose work is not done".to_owned(),
            ),
            None => Stop::Shown(Parked::Held, formers(account)),
        })
    }

    /// Who comes after somebody deleted: the same person under another SCIM id, who has no account yet and is to
    /// have this one. So whichever of the two is looked at first, the account goes on as it is, and nothing is
    /// taken from it in between.
    pub(super) async fn successor(
        &self,
        rules: &Rules,
        job: &Work<'_>,
    ) -> Result<Option<UserId>, Stop> {
        let takes = job.plan.actions.iter().any(|a| a.removal().is_some());
        let Some(account) = job.account.clone().filter(|_| job.person.deleted && takes) else {
            return Ok(None);
        };
        let (connection, name) = (job.item.connection_id.clone(), job.person.user_name.clone());
        let rules = rules.clone();
        let successor = self
            .store
            .read(move |conn| -> Result<Option<UserId>, store::Error> {
                let Some(id) = users::successor(conn, &connection, &name)? else {
                    return Ok(None);
                };
                let Some(person) = load::person(conn, &id)? else {
                    return Ok(None);
                };
                let entry = load::entry(conn, &account.target_id, &id, &person)?;
                let desired = person.desired(&rules, &entry);
                let has_one = entry
                    .account
                    .as_ref()
                    .is_some_and(|own| own.standing != Standing::Absent);
                let is_wanted = matches!(desired.presence, Presence::Active | Presence::Inactive)
                    && person.mode(&rules, &desired) == Mode::Live;
                let finds_it = desired
                    .account
                    .is_ok_and(|wanted| finds(&rules, &wanted, &account));
                Ok((!has_one && is_wanted && finds_it).then_some(id))
            })
            .await?;
        Ok(successor)
    }

    /// Gives the account of somebody deleted to the one who comes after.
    pub(super) async fn give_over(
        &self,
        item: &Claimed,
        job: &Work<'_>,
        to: UserId,
    ) -> Result<Stop, Stop> {
        let now = self.clock.now();
        let account = job.account.clone();
        let claimed = item.clone();
        let heir = Claimed {
            user_id: to.clone(),
            ..item.clone()
        };
        let person = &job.person.user_name;
        let detail = json!({"account": account.as_ref().map(|account| &account.username)});
        let row = audit_row(&heir, person, now, "hand_over", &detail, "done", None);
        let done = self
            .store
            .write(move |tx| -> Result<bool, store::Error> {
                let (target, from) = (&claimed.target_id, &claimed.user_id);
                let Some(account) = &account else {
                    return Ok(false);
                };
                let done = work::renew(tx, &claimed, now + MOMENT)?
                    && work::lock_idle(tx, target, &to, now)?
                    && ledger::hand_over(tx, &account.id, from, &to)?;
                if done {
                    audit::append(tx, &row)?;
                    work::mark_one(tx, target, &to, Priority::Push, &row.cause, now)?;
                } else {
                    tx.discard();
                }
                Ok(done)
            })
            .await?;
        Ok(if done {
            Stop::Later("the account went to the user of that name who came after".to_owned())
        } else {
            Stop::Yield("the user of that name who came after is being worked on".to_owned())
        })
    }

    /// Which of the groups that an undo puts somebody back into the target does not have any more, folded.
    pub(super) async fn undone_groups_gone(
        &self,
        job: &mut Work<'_>,
        client: &dyn Target,
        ahead: &mut Ahead,
    ) -> Result<Vec<String>, Stop> {
        let mut gone = Vec::new();
        for (group, _) in job.undone.groups.clone() {
            let folded = fold_text(&group);
            if job.current.account.is_none() || job.current.groups.contains_key(&folded) {
                continue;
            }
            let is_there = match ahead.groups.get(&folded) {
                Some(state) => *state != GroupState::Missing,
                None => {
                    job.answered = true;
                    client.group_exists(&group).await?.is_some()
                }
            };
            if !is_there {
                gone.push(folded);
            }
        }
        Ok(gone)
    }

    /// For each wanted group that the account is not in: whether the target has it.
    pub(super) async fn group_states(
        &self,
        job: &mut Work<'_>,
        rules: &Rules,
        client: &dyn Target,
        ahead: &mut Ahead,
    ) -> Result<BTreeMap<String, GroupState>, Stop> {
        let mut states = BTreeMap::new();
        if job.desired.presence != Presence::Active {
            return Ok(states);
        }
        let skips = job.skips_foreign_groups();
        for group in &job.desired.groups {
            let folded = fold_text(&group.name);
            match job.current.groups.get(&folded) {
                Some((_, owner)) if owner.is_ours() || !skips || group.express => continue,
                _ => {}
            }
            if let Some(state) = ahead.groups.get(&folded) {
                states.insert(folded, *state);
                continue;
            }
            let (target, name) = (job.item.target_id.clone(), group.name.clone());
            let owner = self
                .store
                .read(move |conn| ledger::group_owner(conn, &target, &name))
                .await?;
            // What a list says is old; only where a group of somebody else's may be used does that not matter.
            let listed = if owner.is_none() && !skips {
                let target = &job.item.target_id;
                self.listed_group(target, client, &group.name).await
            } else {
                Err(())
            };
            let state = match (owner, listed) {
                (Some(Owner::Created), _) => GroupState::Exists,
                (Some(Owner::Adopted), _) => GroupState::Foreign,
                (Some(Owner::Foreign), _) => {
                    // Left alone so far.
                    if !skips || group.express {
                        job.groups_seen.push((group.name.clone(), Owner::Adopted));
                    }
                    GroupState::Foreign
                }
                (None, Ok(Some(written))) => {
                    job.groups_seen.push((written, Owner::Adopted));
                    GroupState::Foreign
                }
                // Should it be there by now, making it says so.
                (None, Ok(None)) if rules.settings().groups.create_missing => GroupState::Missing,
                (None, _) => match client.group_exists(&group.name).await? {
                    Some(written) => {
                        job.answered = true;
                        let owner = if skips && !group.express {
                            Owner::Foreign
                        } else {
                            Owner::Adopted
                        };
                        job.groups_seen.push((written, owner));
                        GroupState::Foreign
                    }
                    None => GroupState::Missing,
                },
            };
            ahead.groups.insert(folded.clone(), state);
            states.insert(folded, state);
        }
        Ok(states)
    }
}

impl Work<'_> {
    /// Takes in what the target shows: its account is what is there; a membership is Usher's if the ledger
    /// says so, and foreign otherwise.
    pub(super) fn seen(&mut self, observed: Observed, account: Account) {
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
                    .map(|m| m.owner)
                    // Given back, and not recorded.
                    .or_else(|| account.taken.as_ref()?.owner_of(name))
                    .unwrap_or(Owner::Foreign);
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
            taken: account.taken.clone(),
        });
        self.account = Some(account);
    }
}

/// Why a person waits for somebody else's account.
pub(super) fn taken(account: &Account, name: &str) -> String {
    format!(
        "the account {name:?} belongs to another user of the source ({}); if that does not end by itself: was the \
         target restored or replaced?",
        account.user_id
    )
}

/// Why a person cannot have the account of a former user.
pub(super) fn formers(account: &Account) -> String {
    format!(
        "the account {:?} belongs to a former user of another connection ({})",
        account.username, account.user_id
    )
}

/// The ledger as the state of the target. Foreign memberships are left out: nobody watches them, so whether
/// they still hold is unknown, and adding what is there already is harmless. Where the rules end them, the one
/// who wrote them down has just seen them.
pub(super) fn trusted(account: &Account, entry: &Entry, rules: &Rules) -> Current {
    Current {
        account: account.remote_id.as_ref().map(|remote_id| CurrentAccount {
            remote_id: remote_id.clone(),
            username: account.username.clone(),
            display_name: account.display_name.clone(),
            email: account.email.clone(),
            active: account.active,
            owner: account.owner,
            taken: account.taken.clone(),
        }),
        groups: entry
            .memberships
            .iter()
            .filter(|m| m.owner.is_ours() || !rules.settings().groups.keeps_members(&m.group))
            .map(|m| (fold_text(&m.group), (m.group.clone(), m.owner)))
            .collect(),
        unwanted_since: None,
    }
}

/// What an operation did whose record was lost, in a crash or with its answer, as far as the account shows it.
fn recovered(account: &Account, observed: &Observed) -> Option<(&'static str, serde_json::Value)> {
    if !account.in_flight {
        return None;
    }
    let now = json!({
        "username": observed.username,
        "display_name": observed.display_name,
        "email": observed.email,
        "active": observed.active,
    });
    if account.standing == Standing::Expected {
        return Some(("create_user", now));
    }
    let same = account.username == observed.username
        && account.display_name == observed.display_name
        && observed
            .email
            .as_ref()
            .is_none_or(|email| *email == account.email)
        && account.active == observed.active;
    (!same).then_some(("change_user", now))
}
