//! Who is not at a target, learnt from one list where many accounts are about to be looked for.
//!
//! A first contact costs a look by each match key, and of a thousand new people nearly all are not there. So where
//! many are due at once, the target's accounts are listed, and whoever is certainly not in the list need not be
//! looked for. Nothing else is concluded: whoever may be in it is looked at as ever, and an account that cannot be
//! made after all, because somebody made one of that name meanwhile, is looked for without the list
//! ([`Rosters::distrust`]).
//!
//! Of each account only the hashes of its name and address are kept, for a minute. Two that share a hash cost a look
//! that was not needed.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::engine::Engine;
use crate::domain::{Action, Applied, DesiredAccount, Failure, TargetId};
use crate::scim::fold::fold_text;
use crate::store::{self, work};
use crate::targets::Target;

/// How long a list is believed. What is done by hand meanwhile is met when an account is made.
const BELIEVED: Duration = Duration::from_secs(60);
/// How long it is believed that a list is not worth its requests.
const NOT_WORTH: Duration = Duration::from_secs(1);
/// Below so many first contacts nobody is listed.
const MANY: usize = 20;
/// No more first contacts than that are counted.
const MOST_COUNTED: i64 = 4000;
/// A page of a list is worth so many looks.
const LOOKS_A_PAGE: usize = 4;
/// Targets with more accounts are not listed: what is kept must not grow with them for ever.
const MOST_LISTED: usize = 500_000;
/// Targets with more pages of groups are not listed.
const MOST_GROUP_PAGES: usize = 50;

/// What is known of each target.
#[derive(Default)]
pub(super) struct Rosters(Mutex<HashMap<TargetId, Arc<Roster>>>);

/// What is known of one target.
#[derive(Default)]
struct Roster {
    /// Held by whoever finds out, so that the others wait for what comes of it.
    finding_out: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    accounts: Belief<Accounts>,
    groups: Belief<HashMap<String, String>>,
    /// Groups that are being made or were made a moment ago, by folded name.
    made: Belief<HashMap<String, Arc<OnceCell<()>>>>,
    /// Fewer first contacts than that are not worth the list, as was seen.
    worth_from: usize,
}

/// Something that is believed for a while; `None`: that there is nothing to go by.
struct Belief<T> {
    value: Option<T>,
    until: Option<Instant>,
}

impl<T> Default for Belief<T> {
    fn default() -> Self {
        Self {
            value: None,
            until: None,
        }
    }
}

impl<T> Belief<T> {
    fn set(&mut self, value: Option<T>, lasts: Duration) {
        self.value = value;
        self.until = Some(Instant::now() + lasts);
    }

    fn holds(&self) -> bool {
        self.until.is_some_and(|until| until > Instant::now())
    }

    fn get(&mut self) -> Option<&mut T> {
        if !self.holds() {
            // Not kept for longer than it is of use.
            self.value = None;
        }
        self.value.as_mut()
    }
}

/// Hashes of folded names and addresses.
#[derive(Default)]
struct Accounts {
    hasher: RandomState,
    names: HashSet<u64>,
    emails: HashSet<u64>,
}

impl Accounts {
    fn hash(&self, text: &str) -> u64 {
        self.hasher.hash_one(fold_text(text.trim()))
    }

    fn insert(&mut self, name: &str, email: Option<&str>) {
        let name = self.hash(name);
        self.names.insert(name);
        if let Some(email) = email {
            let email = self.hash(email);
            self.emails.insert(email);
        }
    }

    fn lacks(&self, account: &DesiredAccount) -> bool {
        let has_address = account
            .email
            .as_ref()
            .is_some_and(|email| self.emails.contains(&self.hash(email)));
        !has_address && !self.names.contains(&self.hash(&account.username))
    }
}

impl Roster {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rosters {
    fn of(&self, target: &TargetId) -> Arc<Roster> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(target.clone()).or_default().clone()
    }

    /// Takes note of a name and an address that an account has by now, as Usher gave it them.
    pub(super) fn learn(&self, target: &TargetId, name: &str, email: Option<&str>) {
        if let Some(accounts) = self.of(target).state().accounts.get() {
            accounts.insert(name, email);
        }
    }

    /// The list did not tell all: whoever has this name or address is looked for from now on.
    pub(super) fn distrust(&self, target: &TargetId, name: &str, email: &str) {
        self.learn(target, name, Some(email));
    }

    /// A group turned out not to be there.
    pub(super) fn forget_group(&self, target: &TargetId, name: &str) {
        let (roster, folded) = (self.of(target), fold_text(name));
        let mut state = roster.state();
        if let Some(groups) = state.groups.get() {
            groups.remove(&folded);
        }
        if let Some(made) = state.made.get() {
            made.remove(&folded);
        }
    }

    /// Makes a group, once: several people may want it before the ledger knows of it. `None`: another worker made it
    /// a moment ago.
    pub(super) async fn make_group(
        &self,
        target: &TargetId,
        name: &str,
        client: &dyn Target,
    ) -> Result<Option<Applied>, Failure> {
        let cell = {
            let roster = self.of(target);
            let mut state = roster.state();
            if state.made.get().is_none() {
                state.made.set(Some(HashMap::new()), BELIEVED);
            }
            let made = state.made.get();
            made.map(|made| made.entry(fold_text(name)).or_default().clone())
        };
        let action = Action::CreateGroup {
            name: name.to_owned(),
        };
        let mut applied = None;
        cell.unwrap_or_default()
            .get_or_try_init(|| async {
                applied = Some(client.apply(&action).await?);
                Ok::<(), Failure>(())
            })
            .await?;
        Ok(applied)
    }
}

impl Engine {
    /// Whether a list of the target's accounts shows that nobody there has this name or address. False says nothing.
    pub(super) async fn is_unlisted(
        &self,
        target: &TargetId,
        client: &dyn Target,
        account: &DesiredAccount,
    ) -> Result<bool, store::Error> {
        let roster = self.rosters.of(target);
        let _first = roster.finding_out.lock().await;
        if !roster.state().accounts.holds() {
            let (listed, lasts) = self.listed(target, client, &roster).await?;
            roster.state().accounts.set(listed, lasts);
        }
        let mut state = roster.state();
        Ok(state.accounts.get().is_some_and(|all| all.lacks(account)))
    }

    async fn listed(
        &self,
        target: &TargetId,
        client: &dyn Target,
        roster: &Roster,
    ) -> Result<(Option<Accounts>, Duration), store::Error> {
        let (id, now) = (target.clone(), self.clock.now());
        let due = self
            .store
            .read(move |conn| work::first_contacts(conn, &id, now, MOST_COUNTED))
            .await?;
        if due < MANY.max(roster.state().worth_from) {
            return Ok((None, NOT_WORTH));
        }
        let pages = due.div_ceil(LOOKS_A_PAGE);
        Ok(match everybody(client, pages).await {
            Ok(Some(accounts)) => {
                tracing::info!(
                    accounts = accounts.names.len(),
                    due,
                    "the accounts of the target were listed"
                );
                (Some(accounts), BELIEVED)
            }
            Ok(None) => {
                roster.state().worth_from = due * 2;
                (None, BELIEVED)
            }
            // Those who are looked for one by one tell what is wrong.
            Err(error) => {
                tracing::info!(%error, "the accounts of the target cannot be listed");
                (None, BELIEVED)
            }
        })
    }

    /// The name of a group as the target writes it. Where the accounts of the target were listed, its groups are too;
    /// `Err`: that tells nothing, and the group has to be looked for.
    pub(super) async fn listed_group(
        &self,
        target: &TargetId,
        client: &dyn Target,
        name: &str,
    ) -> Result<Option<String>, ()> {
        let roster = self.rosters.of(target);
        let _first = roster.finding_out.lock().await;
        if roster.state().accounts.get().is_none() {
            return Err(());
        }
        if !roster.state().groups.holds() {
            let groups = match all_groups(client).await {
                Ok(groups) => groups,
                Err(error) => {
                    tracing::info!(%error, "the groups of the target cannot be listed");
                    None
                }
            };
            roster.state().groups.set(groups, BELIEVED);
        }
        let mut state = roster.state();
        let groups = state.groups.get().ok_or(())?;
        Ok(groups.get(&fold_text(name)).cloned())
    }
}

/// Reads the whole list. `None`: it has more pages, or more accounts, than it is worth.
async fn everybody(client: &dyn Target, most_pages: usize) -> Result<Option<Accounts>, Failure> {
    let mut accounts = Accounts::default();
    let mut cursor = None;
    for _ in 0..most_pages {
        let page = client.users(cursor.as_deref()).await?;
        for user in &page.items {
            accounts.insert(&user.username, user.email.as_deref());
        }
        if page.next.is_none() {
            return Ok(Some(accounts));
        }
        if accounts.names.len() > MOST_LISTED {
            break;
        }
        cursor = page.next;
    }
    Ok(None)
}

async fn all_groups(client: &dyn Target) -> Result<Option<HashMap<String, String>>, Failure> {
    let mut groups = HashMap::new();
    let mut cursor = None;
    for _ in 0..MOST_GROUP_PAGES {
        let page = client.groups(cursor.as_deref()).await?;
        let named = page.items.into_iter();
        groups.extend(named.map(|name| (fold_text(&name), name)));
        if page.next.is_none() {
            return Ok(Some(groups));
        }
        cursor = page.next;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str, email: Option<&str>) -> DesiredAccount {
        DesiredAccount {
            username: name.to_owned(),
            display_name: String::new(),
            email: email.map(str::to_owned),
        }
    }

    #[test]
    fn only_who_has_neither_name_nor_address_is_lacking() {
        let mut all = Accounts::default();
        all.insert("Ada", Some("Ada@Example.com"));
        all.insert("bob", None);
        assert!(all.lacks(&account("eve", Some("eve@example.com"))));
        assert!(all.lacks(&account("eve", None)));
        assert!(!all.lacks(&account("ADA", None)));
        assert!(!all.lacks(&account("eve", Some("ADA@example.com"))));
        assert!(!all.lacks(&account("bob", Some("bob@example.com"))));
    }

    #[test]
    fn a_belief_is_dropped_when_it_is_over() {
        let mut belief = Belief::default();
        belief.set(Some(1), Duration::from_secs(60));
        assert_eq!(belief.get(), Some(&mut 1));
        belief.set(Some(1), Duration::ZERO);
        assert_eq!(belief.get(), None);
        assert_eq!(belief.value, None);
    }
}
