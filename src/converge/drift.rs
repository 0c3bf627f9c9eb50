//! Drift: what somebody changed at a target by hand. After a full run every account that Usher looks after is compared
//! with the ledger, and the mapping says what becomes of one that is not as Usher left it.
//!
//! Lists only say where to look. Nothing is concluded from one: every account that seems to differ is read by itself,
//! and what is done about it is done by its own work item, with the same care as ever. So a list that is short, old or
//! empty costs requests and changes nothing.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use super::engine::Engine;
use super::live::LiveTarget;
use super::look::{Ahead, Obstacle};
use super::plan::{Current, Protection};
use super::record::describe;
use super::retry;
use super::worker::{Shield, Stop};
use crate::clock::Micros;
use crate::domain::{Account, Failure, Mode, Observed, OnDrift, Presence, Standing, UserId};
use crate::mapping::Rules;
use crate::scim::fold::fold_text;
use crate::store::drift::{ClaimedComparison, Compared, Drift};
use crate::store::ledger::Membership;
use crate::store::work::Claimed;
use crate::store::{self, drift, ledger, work};
use crate::targets::Target;

/// How long a worker may be without a sign of life: longer than the slowest page of a listing.
pub(super) const LEASE: Micros = 10 * 60 * 1_000_000;
/// So long a comparison waits for people's work items to be done.
pub(super) const PATIENCE: Micros = 30 * 60 * 1_000_000;
/// So many accounts are read one by one; the next comparison goes on.
const MOST: usize = 500;
/// How many rows are read at a time.
const PAGE: i64 = 500;
/// How often a comparison is tried that the target does not answer.
const ATTEMPTS: i32 = 5;
/// The longest pause between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 60);

/// Why a comparison did not get to its end.
enum Halt {
    Failed(Failure),
    Store(store::Error),
    /// The lease was lost.
    Lost,
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<store::Error> for Halt {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

/// People whose accounts may differ; of more than [`MOST`] only the number is kept.
#[derive(Default)]
struct Suspects {
    users: BTreeSet<UserId>,
    more: u64,
}

impl Suspects {
    fn add(&mut self, user: &UserId) {
        if self.users.len() < MOST {
            self.users.insert(user.clone());
        } else if !self.users.contains(user) {
            self.more += 1;
        }
    }
}

/// What was found out about one account.
enum Found {
    /// It is as Usher left it, or its own work is under way.
    Same,
    /// It differs, and the drift.
    Differs(Box<Drift>),
    /// It differs in what is wanted, or in what the rules do not touch: only the ledger has to learn it.
    Harmless,
}

impl Engine {
    /// Compares a target with the ledger, and never leaves the comparison leased.
    pub(super) async fn compare(&self, target: &LiveTarget, item: ClaimedComparison) {
        let now = self.clock.now();
        let mut compared = Compared::default();
        let outcome = self.try_compare(target, &item, &mut compared).await;
        let (note, again_at) = match outcome {
            Ok(note) => (note, None),
            Err(Halt::Lost) => {
                tracing::warn!("the lease of a comparison was lost");
                return;
            }
            Err(Halt::Failed(failure)) if item.attempts + 1 >= ATTEMPTS => {
                (Some(format!("not compared: {failure}")), None)
            }
            Err(halt) => {
                let text = match halt {
                    Halt::Failed(failure) => failure.to_string(),
                    Halt::Store(error) => error.to_string(),
                    Halt::Lost => return,
                };
                tracing::warn!(error = %text, "a target could not be compared with the ledger");
                let wait = retry::backoff(item.attempts, LONGEST_WAIT, retry::random());
                let wait = i64::try_from(wait.as_micros()).unwrap_or(LEASE);
                (Some(text), Some(now + wait))
            }
        };
        if compared.differing > 0 {
            tracing::warn!(counts = ?compared, "accounts were changed at the target by hand");
        }
        let recorded = self
            .store
            .write(move |tx| drift::finish(tx, &item, &compared, note.as_deref(), again_at))
            .await;
        if let Err(error) = recorded {
            // The lease runs out by itself.
            tracing::error!(%error, "the end of a comparison could not be recorded");
        }
    }

    /// Returns what there is to say beside the numbers.
    async fn try_compare(
        &self,
        target: &LiveTarget,
        item: &ClaimedComparison,
        compared: &mut Compared,
    ) -> Result<Option<String>, Halt> {
        let client = match &target.client {
            Ok(client) => client.clone(),
            Err(text) => return Err(Failure::Unauthorized { text: text.clone() }.into()),
        };
        let Some(rules) = target.rules.get(&item.connection_id) else {
            return Ok(Some("there is no mapping any more".to_owned()));
        };
        self.conflicts_again(item).await?;
        if rules.settings().mode == Mode::Paused {
            return Ok(Some("the mapping is paused: not compared".to_owned()));
        }
        let shield = Shield {
            rules,
            target: client.protected().await?,
        };
        let mut suspects = Suspects::default();
        // Whoever was found to differ before may be as before again.
        let (id, connection) = (item.target_id.clone(), item.connection_id.clone());
        let known = self
            .store
            .read(move |conn| drift::users_at(conn, &id, &connection))
            .await?;
        known.iter().for_each(|user| suspects.add(user));
        self.accounts(&client, item, &shield, &mut suspects, compared)
            .await?;
        let note = self
            .members_of_groups(&client, item, &shield, &mut suspects, compared)
            .await?;
        compared.unverified = suspects.more;
        for user in &suspects.users {
            if self.is_paused(&target.id) {
                return Ok(Some("the target was paused meanwhile".to_owned()));
            }
            self.still_comparing(item).await?;
            let found = self.verify(target, rules, &client, item, user).await?;
            self.settle(item, rules, user, found, compared).await?;
        }
        Ok(note)
    }

    /// Who could not have an account because it was somebody else's is looked at again.
    async fn conflicts_again(&self, item: &ClaimedComparison) -> Result<(), Halt> {
        let (item, now) = (item.clone(), self.clock.now());
        self.store
            .write(move |tx| -> Result<(), store::Error> {
                if work::try_held_again(tx, &item.target_id, &item.connection_id, now)? == 0 {
                    tx.discard();
                }
                Ok(())
            })
            .await?;
        Ok(())
    }

    /// Finds accounts that are listed otherwise than the ledger has them, or not at all.
    async fn accounts(
        &self,
        client: &Arc<dyn Target>,
        item: &ClaimedComparison,
        shield: &Shield<'_>,
        suspects: &mut Suspects,
        compared: &mut Compared,
    ) -> Result<(), Halt> {
        // A list does not tell groups, and where these are what gives access, it does not tell that either.
        let tells_active = !client.capabilities().takes_memberships;
        let hasher = RandomState::new();
        let mut listed: HashSet<u64> = HashSet::new();
        let mut cursor: Option<String> = None;
        loop {
            let page = client.users(cursor.as_deref()).await?;
            self.still_comparing(item).await?;
            listed.extend(page.items.iter().map(|it| hasher.hash_one(&it.remote_id)));
            let keys: Vec<String> = page.items.iter().map(|it| it.remote_id.clone()).collect();
            let (id, connection) = (item.target_id.clone(), item.connection_id.clone());
            let known = self
                .store
                .read(move |conn| ledger::settled_by_remote(conn, &id, &connection, &keys))
                .await?;
            for account in known {
                let shown = page
                    .items
                    .iter()
                    .find(|it| account.remote_id.as_ref() == Some(&it.remote_id));
                if shown.is_some_and(|it| looks_different(&account, it, tells_active)) {
                    suspects.add(&account.user_id);
                }
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        let mut after = String::new();
        loop {
            let (id, connection) = (item.target_id.clone(), item.connection_id.clone());
            let from = after.clone();
            let page = self
                .store
                .read(move |conn| ledger::settled(conn, &id, &connection, &from, PAGE))
                .await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            last.id.clone_into(&mut after);
            self.still_comparing(item).await?;
            for account in page {
                if shield.user(&account.username).is_some() {
                    continue;
                }
                compared.accounts += 1;
                let is_listed = account
                    .remote_id
                    .as_ref()
                    .is_some_and(|key| listed.contains(&hasher.hash_one(key)));
                if !is_listed {
                    suspects.add(&account.user_id);
                }
            }
        }
    }

    /// Finds people whom a group does not show that Usher keeps in it.
    async fn members_of_groups(
        &self,
        client: &Arc<dyn Target>,
        item: &ClaimedComparison,
        shield: &Shield<'_>,
        suspects: &mut Suspects,
        compared: &mut Compared,
    ) -> Result<Option<String>, Halt> {
        let mut after = String::new();
        loop {
            let (id, connection) = (item.target_id.clone(), item.connection_id.clone());
            let from = after.clone();
            let groups = self
                .store
                .read(move |conn| ledger::groups_kept(conn, &id, &connection, &from, PAGE))
                .await?;
            let Some((last, _)) = groups.last() else {
                return Ok(None);
            };
            last.clone_into(&mut after);
            for (group_ci, name) in &groups {
                if shield.group(name).is_some() {
                    continue;
                }
                let hasher = RandomState::new();
                let members = match self.listed_members(client, item, name, &hasher).await {
                    // Nobody is in a group that is not there.
                    Err(Halt::Failed(Failure::Gone { .. })) => HashSet::new(),
                    Err(Halt::Failed(Failure::Rejected { text, .. })) => {
                        return Ok(Some(format!("groups were not compared: {text}")));
                    }
                    other => other?,
                };
                compared.groups += 1;
                self.missing_in(item, group_ci, &members, &hasher, suspects)
                    .await?;
            }
        }
    }

    /// Hashes of the keys and folded names of the members of a group.
    async fn listed_members(
        &self,
        client: &Arc<dyn Target>,
        item: &ClaimedComparison,
        name: &str,
        hasher: &RandomState,
    ) -> Result<HashSet<u64>, Halt> {
        let mut members = HashSet::new();
        let mut cursor: Option<String> = None;
        loop {
            let page = client.members(name, cursor.as_deref()).await?;
            self.still_comparing(item).await?;
            for member in &page.items {
                members.insert(hasher.hash_one(&member.remote_id));
                members.insert(hasher.hash_one(fold_text(&member.username)));
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(members),
            }
        }
    }

    async fn missing_in(
        &self,
        item: &ClaimedComparison,
        group_ci: &str,
        members: &HashSet<u64>,
        hasher: &RandomState,
        suspects: &mut Suspects,
    ) -> Result<(), Halt> {
        let mut after = String::new();
        loop {
            let (id, connection) = (item.target_id.clone(), item.connection_id.clone());
            let (group, from) = (group_ci.to_owned(), after.clone());
            let page = self
                .store
                .read(move |conn| ledger::kept_in(conn, &id, &connection, &group, &from, PAGE))
                .await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            last.account_id.clone_into(&mut after);
            for kept in &page {
                let by_key = kept
                    .remote_id
                    .as_ref()
                    .is_some_and(|key| members.contains(&hasher.hash_one(key)));
                if !by_key && !members.contains(&hasher.hash_one(fold_text(&kept.username))) {
                    suspects.add(&kept.user_id);
                }
            }
        }
    }

    /// Reads one account and says what differs and what would be done about it, as its work item would.
    async fn verify(
        &self,
        target: &LiveTarget,
        rules: &Rules,
        client: &Arc<dyn Target>,
        item: &ClaimedComparison,
        user: &UserId,
    ) -> Result<Found, Halt> {
        let (id, whom) = (item.target_id.clone(), user.clone());
        // Work that is under way knows better, and what it writes is no drift.
        let is_busy = self
            .store
            .read(move |conn| work::is_pending(conn, &id, &whom))
            .await?;
        if is_busy {
            return Ok(Found::Same);
        }
        let claimed = Claimed {
            target_id: item.target_id.clone(),
            user_id: user.clone(),
            connection_id: item.connection_id.clone(),
            generation: 0,
            attempts: 0,
            marked_at: self.clock.now(),
            cause: String::new(),
            lease_owner: String::new(),
        };
        let Some((person, mut entry)) = self.read(&claimed, user).await? else {
            return Ok(Found::Same);
        };
        let known = entry
            .account
            .clone()
            .filter(|it| it.standing == Standing::Present && !it.in_flight);
        let Some(account) = known else {
            return Ok(Found::Same);
        };
        let memberships = entry.memberships.clone();
        let desired = person.desired(rules, &entry);
        if person.mode(rules, &desired) != Mode::Live {
            return Ok(Found::Same);
        }
        let user_name = person.user_name.clone();
        // Read, not believed.
        if let Some(account) = &mut entry.account {
            account.in_flight = true;
        }
        let means = (rules, client.as_ref());
        let prepared = self
            .prepare(
                target,
                means,
                &claimed,
                (person, entry),
                &mut Ahead::default(),
            )
            .await;
        let (differences, would, has_access) = match prepared {
            Ok(job) => {
                let differences = differences(&account, &memberships, &job.before);
                if differences.is_empty() {
                    return Ok(Found::Same);
                }
                if job.plan.actions.is_empty() {
                    return Ok(Found::Harmless);
                }
                let is_active = job.before.account.as_ref().is_some_and(|it| it.active);
                let has_access =
                    is_active && !account.active && job.desired.presence != Presence::Active;
                let would = job.plan.actions.iter().map(describe).collect();
                (differences, would, has_access)
            }
            Err(Obstacle::Stop(Stop::Failed(failure))) => return Err(failure.into()),
            Err(Obstacle::Stop(Stop::Store(error))) => return Err(error.into()),
            // The account is gone, and what is there in its place is not Usher's to take.
            Err(_) => (
                vec!["the account is gone".to_owned()],
                vec!["look for another one".to_owned()],
                false,
            ),
        };
        Ok(Found::Differs(Box::new(Drift {
            target_id: item.target_id.clone(),
            user_id: user.clone(),
            user_name,
            differences,
            would,
            has_access,
            is_accepted: false,
            since: self.clock.now(),
            decided_by: None,
        })))
    }

    /// Does what the mapping says.
    async fn settle(
        &self,
        item: &ClaimedComparison,
        rules: &Rules,
        user: &UserId,
        found: Found,
        compared: &mut Compared,
    ) -> Result<(), Halt> {
        let policy = rules.settings().drift;
        let (item, user, now) = (item.clone(), user.clone(), self.clock.now());
        let cause = format!("drift, run {}", item.run);
        match found {
            Found::Same => {
                self.store
                    .write(move |tx| -> Result<(), store::Error> {
                        if !drift::close(tx, &item.target_id, &user)? {
                            tx.discard();
                        }
                        Ok(())
                    })
                    .await?;
            }
            Found::Harmless => {
                self.store
                    .write(move |tx| drift::push(tx, &item.target_id, &user, &cause, now))
                    .await?;
            }
            Found::Differs(found) => {
                compared.differing += 1;
                match policy {
                    OnDrift::Push => {
                        compared.pushed += 1;
                        self.store
                            .write(move |tx| drift::push(tx, &item.target_id, &user, &cause, now))
                            .await?;
                    }
                    // Nobody who should have no access gets it by being overlooked.
                    OnDrift::Accept if !found.has_access => {
                        compared.accepted += 1;
                        self.store
                            .write(move |tx| drift::close(tx, &item.target_id, &user))
                            .await?;
                    }
                    OnDrift::Accept | OnDrift::Ask => {
                        let was_accepted =
                            self.store.write(move |tx| drift::put(tx, &found)).await?;
                        if was_accepted {
                            compared.accepted += 1;
                        } else {
                            compared.asked += 1;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    async fn still_comparing(&self, item: &ClaimedComparison) -> Result<(), Halt> {
        let (item, until) = (item.clone(), self.clock.now() + LEASE);
        let renewed = self
            .store
            .write(move |tx| drift::renew(tx, &item, until))
            .await?;
        if renewed { Ok(()) } else { Err(Halt::Lost) }
    }
}

/// Whether a list shows an account otherwise than the ledger has it.
fn looks_different(account: &Account, shown: &Observed, tells_active: bool) -> bool {
    let other_email = shown
        .email
        .as_ref()
        .is_some_and(|email| *email != account.email);
    other_email
        || fold_text(&shown.username) != fold_text(&account.username)
        || shown.display_name != account.display_name
        || (tells_active && shown.active != account.active)
}

/// What differs between the ledger and what was read, in words.
fn differences(account: &Account, memberships: &[Membership], now: &Current) -> Vec<String> {
    let Some(there) = &now.account else {
        return vec!["the account is gone".to_owned()];
    };
    let mut words = Vec::new();
    if account.remote_id.as_ref() != Some(&there.remote_id) {
        words.push("the account is gone, and another one has its name".to_owned());
    }
    let mut differs = |what: &str, ours: &str, theirs: &str| {
        words.push(format!("{what} is {theirs:?}, was {ours:?}"));
    };
    if fold_text(&account.username) != fold_text(&there.username) {
        differs("user name", &account.username, &there.username);
    }
    if account.display_name != there.display_name {
        differs("display name", &account.display_name, &there.display_name);
    }
    if account.email != there.email {
        differs("e-mail address", &account.email, &there.email);
    }
    match (account.active, there.active) {
        (true, false) => words.push("has no access any more".to_owned()),
        (false, true) => words.push("has access again".to_owned()),
        _ => {}
    }
    for membership in memberships.iter().filter(|it| it.owner.is_ours()) {
        if !now.groups.contains_key(&fold_text(&membership.group)) {
            words.push(format!("not in {:?} any more", membership.group));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::plan::CurrentAccount;
    use super::*;
    use crate::domain::{Owner, TargetId};

    fn account() -> Account {
        Account {
            remote_id: Some("7".to_owned()),
            display_name: "Ada".to_owned(),
            email: "ada@example.com".to_owned(),
            active: true,
            standing: Standing::Present,
            in_flight: false,
            ..ledger::new_account(&TargetId("t".to_owned()), &UserId("u".to_owned()), "ada")
        }
    }

    fn shown() -> Current {
        let account = account();
        Current {
            account: Some(CurrentAccount {
                remote_id: "7".to_owned(),
                username: "ADA".to_owned(),
                display_name: account.display_name,
                email: account.email,
                active: true,
                owner: Owner::Created,
                taken: None,
            }),
            ..Current::default()
        }
    }

    #[test]
    fn each_difference_is_told_and_none_is_invented() {
        let ours = |group: &str, owner| Membership {
            group: group.to_owned(),
            owner,
        };
        let mut now = shown();
        assert!(differences(&account(), &[], &now).is_empty());
        // Others' memberships are theirs.
        let foreign = [ours("x", Owner::Foreign)];
        assert!(differences(&account(), &foreign, &now).is_empty());
        if let Some(it) = &mut now.account {
            it.display_name = "Countess".to_owned();
            it.active = false;
        }
        let kept = [ours("jira-users", Owner::Created)];
        assert_eq!(
            differences(&account(), &kept, &now),
            [
                "display name is \"Countess\", was \"Ada\"",
                "has no access any more",
                "not in \"jira-users\" any more",
            ]
        );
        assert_eq!(
            differences(&account(), &kept, &Current::default()),
            ["the account is gone"]
        );
    }

    #[test]
    fn no_more_people_are_kept_than_are_read() {
        let mut suspects = Suspects::default();
        for number in 0..MOST + 3 {
            suspects.add(&UserId(format!("{number}")));
            suspects.add(&UserId(format!("{number}")));
        }
        assert_eq!(suspects.users.len(), MOST);
        assert!(suspects.more >= 3);
    }
}
