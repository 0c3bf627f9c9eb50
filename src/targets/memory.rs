//! A target in memory: for tests of the engine, for previews, and to prove the suite that all targets must pass.
//!
//! It behaves like a product with embedded Crowd: names without regard to case, stable keys, one account for each
//! name. Clones share their contents, so a test keeps one and hands one out. Failures are injected before or after an
//! action takes effect.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{Capabilities, Check, Member, Page, Protected, Target, fold, same, start_of};
use crate::domain::{Action, Applied, Failure, HeldGroup, Holdings, Lookup, Observed, Owner};

static CAPABILITIES: Capabilities = Capabilities::usual("Memory");

static WITHOUT_INACTIVE: Capabilities = Capabilities {
    takes_memberships: true,
    ..CAPABILITIES
};

/// The permission that gives an account access, in a product that knows no inactive accounts.
const ACCESS: &str = "ACCESS";

/// The same, taking many members in one request.
static IN_BULK: Capabilities = Capabilities {
    members_a_request: 10,
    removals_a_request: 10,
    ..CAPABILITIES
};

/// How long a page of a list is.
const PAGE: usize = 100;

/// The target.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// By key. Groups of a user are kept in `members`.
    users: BTreeMap<String, Observed>,
    /// Folded user name to key: so many people may be looked for that none is searched for.
    names: HashMap<String, String>,
    /// Folded name to name.
    groups: BTreeMap<String, String>,
    /// (folded group name, key of the user)
    members: BTreeSet<(String, String)>,
    next_key: u64,
    writes: Vec<Action>,
    reads: usize,
    requests: usize,
    in_bulk: bool,
    fail_next: VecDeque<Failure>,
    fail_after_apply: VecDeque<Failure>,
    outage: Option<Failure>,
    /// Folded user name to what every action on it gets.
    refused: HashMap<String, Failure>,
    protected: Protected,
    /// It knows no inactive accounts: `active` of a user is a permission of its own, beside those of its groups.
    without_inactive: bool,
    /// Folded names of the groups that give access.
    giving_access: BTreeSet<String>,
    fail_midway: Option<Failure>,
    refused_listings: Option<Failure>,
}

impl Memory {
    /// An empty target.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty target that knows no inactive accounts: who has access is active, by a permission of its own or through
    /// one of these groups.
    pub fn without_inactive(giving_access: &[&str]) -> Self {
        let memory = Self::new();
        {
            let mut state = memory.state();
            state.without_inactive = true;
            state.giving_access = giving_access.iter().map(|name| fold(name)).collect();
        }
        memory
    }

    /// An empty target that takes many members of a group in one request.
    pub fn in_bulk() -> Self {
        let memory = Self::new();
        memory.state().in_bulk = true;
        memory
    }

    /// All accounts, by user name, with sorted groups.
    pub fn users(&self) -> Vec<Observed> {
        let state = self.state();
        let mut users: Vec<Observed> = state.users.keys().filter_map(|k| state.show(k)).collect();
        users.sort_by_key(|u| fold(&u.username));
        users
    }

    /// The account of that name.
    pub fn user(&self, username: &str) -> Option<Observed> {
        self.users()
            .into_iter()
            .find(|u| same(&u.username, username))
    }

    /// All groups, sorted.
    pub fn groups(&self) -> Vec<String> {
        self.state().groups.values().cloned().collect()
    }

    /// Every action that reached the target, in order, also those that found nothing to do or were refused for good;
    /// not those that an injected failure kept away.
    pub fn writes(&self) -> Vec<Action> {
        self.state().writes.clone()
    }

    /// Forgets the writes so far.
    pub fn clear_writes(&self) {
        self.state().writes.clear();
    }

    /// How often something was read.
    pub fn reads(&self) -> usize {
        self.state().reads
    }

    /// How many requests there were: reads, actions, pages of lists, and many members at once as one.
    pub fn requests(&self) -> usize {
        self.state().requests
    }

    /// Puts an account there as if somebody else had made it, its groups included, and returns its key. An empty
    /// `remote_id` gets a fresh one; the account of that key is replaced.
    pub fn seed(&self, user: Observed) -> String {
        let mut state = self.state();
        let key = if user.remote_id.is_empty() {
            state.fresh_key()
        } else {
            user.remote_id.clone()
        };
        state.members.retain(|(_, member)| *member != key);
        for group in &user.groups {
            state
                .groups
                .entry(fold(group))
                .or_insert_with(|| group.clone());
            state.members.insert((fold(group), key.clone()));
        }
        state.give_up_name(&key);
        state.names.insert(fold(&user.username), key.clone());
        state.users.insert(
            key.clone(),
            Observed {
                remote_id: key.clone(),
                ..user
            },
        );
        key
    }

    /// Puts a group there.
    pub fn seed_group(&self, name: &str) {
        self.state()
            .groups
            .entry(fold(name))
            .or_insert_with(|| name.to_owned());
    }

    /// Takes an account away as if somebody else had deleted it.
    pub fn remove(&self, username: &str) {
        let mut state = self.state();
        if let Some(key) = state.key_of(username) {
            state.forget(&key);
        }
    }

    /// Takes a group away as if somebody else had deleted it.
    pub fn remove_group(&self, name: &str) {
        let mut state = self.state();
        state.groups.remove(&fold(name));
        state.members.retain(|(group, _)| *group != fold(name));
    }

    /// The next read or write fails and has no effect. Several are used up in order.
    pub fn fail_next(&self, failure: Failure) {
        self.state().fail_next.push_back(failure);
    }

    /// The next action takes effect, and then its answer is lost.
    pub fn fail_after_apply(&self, failure: Failure) {
        self.state().fail_after_apply.push_back(failure);
    }

    /// The next deactivation that takes memberships takes one and then fails.
    pub fn fail_midway(&self, failure: Failure) {
        self.state().fail_midway = Some(failure);
    }

    /// Takes back the failures that [`Self::fail_next`] and [`Self::fail_after_apply`] ordered and that have not struck.
    pub fn clear_faults(&self) {
        let mut state = self.state();
        state.fail_next.clear();
        state.fail_after_apply.clear();
    }

    /// Every read and write fails until this is called with `None`.
    pub fn outage(&self, failure: Option<Failure>) {
        self.state().outage = failure;
    }

    /// Every action on the account of that name (or creating it) gets this until it is called with `None`.
    pub fn refuse(&self, username: &str, failure: Option<Failure>) {
        let mut state = self.state();
        match failure {
            Some(failure) => state.refused.insert(fold(username), failure),
            None => state.refused.remove(&fold(username)),
        };
    }

    /// Every listing gets this until it is called with `None`.
    pub fn refuse_listings(&self, failure: Option<Failure>) {
        self.state().refused_listings = failure;
    }

    /// What [`Target::protected`] answers.
    pub fn protect(&self, protected: Protected) {
        self.state().protected = protected;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked with the lock held must not hide what it failed on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fresh_key(&mut self) -> String {
        self.next_key += 1;
        format!("memory-{}", self.next_key)
    }

    /// A request arrives, and may be lost.
    fn request(&mut self) -> Result<(), Failure> {
        self.requests += 1;
        match self.outage.clone().or_else(|| self.fail_next.pop_front()) {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    fn read(&mut self) -> Result<(), Failure> {
        self.reads += 1;
        self.request()
    }

    fn show(&self, key: &str) -> Option<Observed> {
        let user = self.users.get(key)?;
        let members = self.members.iter().filter(|(_, member)| member == key);
        let folded: Vec<&String> = members.map(|(group, _)| group).collect();
        let by_group = folded.iter().any(|name| self.giving_access.contains(*name));
        let groups = folded
            .into_iter()
            .filter_map(|group| self.groups.get(group).cloned())
            .collect();
        Some(Observed {
            groups,
            active: user.active || by_group,
            ..user.clone()
        })
    }

    fn holdings(&self, key: &str) -> Holdings {
        let groups = self.show(key).map(|user| user.groups).unwrap_or_default();
        let held = |name| HeldGroup {
            name,
            owner: Owner::Foreign,
        };
        let has = self.users.get(key).is_some_and(|user| user.active);
        Holdings {
            groups: groups.into_iter().map(held).collect(),
            permissions: has.then(|| ACCESS.to_owned()).into_iter().collect(),
            kept: Vec::new(),
        }
    }

    fn take(&mut self, key: &str, takes: Option<&Holdings>) -> Result<Applied, Failure> {
        self.user(key)?;
        let (before, all) = (self.show(key), self.holdings(key));
        let takes = takes.unwrap_or(&all);
        if !takes.permissions.is_empty() {
            self.user(key)?.active = false;
        }
        for group in &takes.groups {
            self.members.remove(&(fold(&group.name), key.to_owned()));
            if let Some(failure) = self.fail_midway.take() {
                return Err(failure);
            }
        }
        let applied = self.applied(key, self.show(key) == before);
        if applied.account.as_ref().is_some_and(|user| user.active) {
            let text = format!("still has access; it stays in {}", takes.kept.join(", "));
            return Err(Failure::Rejected { field: None, text });
        }
        Ok(applied)
    }

    fn give(&mut self, key: &str, gives: Option<&Holdings>) -> Result<Applied, Failure> {
        let before = self.show(key);
        let permitted = gives.is_none_or(|gives| !gives.permissions.is_empty());
        self.user(key)?.active |= permitted;
        for group in gives.into_iter().flat_map(|gives| &gives.groups) {
            if self.groups.contains_key(&fold(&group.name)) {
                self.members.insert((fold(&group.name), key.to_owned()));
            }
        }
        Ok(self.applied(key, self.show(key) == before))
    }

    fn key_of(&self, username: &str) -> Option<String> {
        self.names.get(&fold(username)).cloned()
    }

    fn give_up_name(&mut self, key: &str) {
        if let Some(user) = self.users.get(key) {
            let folded = fold(&user.username);
            if self.names.get(&folded).is_some_and(|owner| owner == key) {
                self.names.remove(&folded);
            }
        }
    }

    fn forget(&mut self, key: &str) {
        self.give_up_name(key);
        self.users.remove(key);
        self.members.retain(|(_, member)| member != key);
    }

    fn user(&mut self, remote_id: &str) -> Result<&mut Observed, Failure> {
        let gone = || Failure::Gone {
            text: format!("no user with key {remote_id}"),
        };
        self.users.get_mut(remote_id).ok_or_else(gone)
    }

    fn applied(&self, key: &str, already: bool) -> Applied {
        Applied {
            account: self.show(key),
            already,
            notes: Vec::new(),
        }
    }

    fn set_active(&mut self, remote_id: &str, active: bool) -> Result<Applied, Failure> {
        let user = self.user(remote_id)?;
        let already = std::mem::replace(&mut user.active, active) == active;
        Ok(self.applied(remote_id, already))
    }

    /// As many in one request as it takes.
    fn attempt_many(
        &mut self,
        members: &[Member],
        action: impl Fn(&Member) -> Action,
    ) -> Vec<Result<Applied, Failure>> {
        let size = if self.in_bulk {
            IN_BULK.members_a_request
        } else {
            1
        };
        let mut answers = Vec::with_capacity(members.len());
        for many in members.chunks(size) {
            if let Err(failure) = self.request() {
                answers.extend(many.iter().map(|_| Err(failure.clone())));
                continue;
            }
            let outcomes: Vec<_> = many.iter().map(|it| self.attempt(&action(it))).collect();
            match self.fail_after_apply.pop_front() {
                Some(failure) => answers.extend(many.iter().map(|_| Err(failure.clone()))),
                None => answers.extend(outcomes),
            }
        }
        answers
    }

    /// Does what arrived, unless it is one of those that are refused.
    fn attempt(&mut self, action: &Action) -> Result<Applied, Failure> {
        self.writes.push(action.clone());
        match subject(action).and_then(|name| self.refused.get(&fold(name))) {
            Some(failure) => Err(failure.clone()),
            None => self.carry_out(action),
        }
    }

    fn carry_out(&mut self, action: &Action) -> Result<Applied, Failure> {
        match action {
            Action::CreateUser {
                username,
                display_name,
                email,
            } => {
                if let Some(key) = self.key_of(username) {
                    let is = self.user(&key)?;
                    let (same_name, same_email) = (
                        is.display_name == *display_name,
                        is.email.as_ref() == Some(email),
                    );
                    if same_name && same_email && is.active {
                        return Ok(self.applied(&key, true));
                    }
                    return Err(taken("username", username));
                }
                let key = self.fresh_key();
                let user = Observed {
                    remote_id: key.clone(),
                    username: username.clone(),
                    display_name: display_name.clone(),
                    email: Some(email.clone()),
                    active: true,
                    groups: Vec::new(),
                };
                self.names.insert(fold(username), key.clone());
                self.users.insert(key.clone(), user);
                Ok(self.applied(&key, false))
            }
            Action::UpdateUser {
                remote_id,
                display_name,
                email,
                ..
            } => {
                let user = self.user(remote_id)?;
                if let Some(name) = display_name {
                    user.display_name.clone_from(name);
                }
                if let Some(email) = email {
                    user.email = Some(email.clone());
                }
                Ok(self.applied(remote_id, display_name.is_none() && email.is_none()))
            }
            Action::RenameUser { remote_id, to, .. } => {
                self.user(remote_id)?;
                if self.key_of(to).is_some_and(|key| key != *remote_id) {
                    return Err(taken("name", to));
                }
                self.give_up_name(remote_id);
                self.names.insert(fold(to), remote_id.clone());
                self.user(remote_id)?.username.clone_from(to);
                Ok(self.applied(remote_id, false))
            }
            Action::Deactivate {
                remote_id, takes, ..
            } if self.without_inactive => self.take(remote_id, takes.as_ref()),
            Action::Reactivate {
                remote_id, gives, ..
            } if self.without_inactive => self.give(remote_id, gives.as_ref()),
            Action::Deactivate { remote_id, .. } => self.set_active(remote_id, false),
            Action::Reactivate { remote_id, .. } => self.set_active(remote_id, true),
            Action::DeleteUser { remote_id, .. } => {
                let already = !self.users.contains_key(remote_id);
                self.forget(remote_id);
                Ok(Applied {
                    already,
                    ..Applied::default()
                })
            }
            Action::CreateGroup { name } => {
                if name.is_empty() {
                    let text = "a group needs a name".to_owned();
                    return Err(Failure::Rejected {
                        field: Some("name".to_owned()),
                        text,
                    });
                }
                let already = self.groups.contains_key(&fold(name));
                self.groups
                    .entry(fold(name))
                    .or_insert_with(|| name.clone());
                Ok(Applied {
                    already,
                    ..Applied::default()
                })
            }
            Action::AddMember {
                remote_id, group, ..
            } => {
                if !self.groups.contains_key(&fold(group)) {
                    return Err(no_group(group));
                }
                self.user(remote_id)?;
                let already = !self.members.insert((fold(group), remote_id.clone()));
                Ok(Applied {
                    already,
                    ..Applied::default()
                })
            }
            Action::RemoveMember {
                remote_id, group, ..
            } => {
                let already = !self.members.remove(&(fold(group), remote_id.clone()));
                Ok(Applied {
                    already,
                    ..Applied::default()
                })
            }
        }
    }
}

fn no_group(name: &str) -> Failure {
    Failure::Gone {
        text: format!("no group {name}"),
    }
}

fn page<T>(all: Vec<T>, cursor: Option<&str>) -> Result<Page<T>, Failure> {
    let (start, total) = (start_of(cursor)?, all.len());
    let next = (total > start + PAGE).then(|| (start + PAGE).to_string());
    Ok(Page {
        items: all.into_iter().skip(start).take(PAGE).collect(),
        next,
    })
}

fn taken(field: &str, name: &str) -> Failure {
    let text = format!("a user with the name {name} exists already");
    Failure::Rejected {
        field: Some(field.to_owned()),
        text,
    }
}

/// The user name that an action is about.
fn subject(action: &Action) -> Option<&str> {
    match action {
        Action::CreateUser { username, .. }
        | Action::UpdateUser { username, .. }
        | Action::Deactivate { username, .. }
        | Action::Reactivate { username, .. }
        | Action::DeleteUser { username, .. }
        | Action::AddMember { username, .. }
        | Action::RemoveMember { username, .. }
        | Action::RenameUser { from: username, .. } => Some(username),
        Action::CreateGroup { .. } => None,
    }
}

#[async_trait]
impl Target for Memory {
    fn capabilities(&self) -> &'static Capabilities {
        let state = self.state();
        match (state.without_inactive, state.in_bulk) {
            (true, _) => &WITHOUT_INACTIVE,
            (false, true) => &IN_BULK,
            (false, false) => &CAPABILITIES,
        }
    }

    async fn holdings(&self, remote_id: &str, _: &str) -> Result<Holdings, Failure> {
        let mut state = self.state();
        state.read()?;
        Ok(state.holdings(remote_id))
    }

    async fn protected(&self) -> Result<Protected, Failure> {
        Ok(self.state().protected.clone())
    }

    async fn observe(&self, lookup: Lookup<'_>) -> Result<Option<Observed>, Failure> {
        let mut state = self.state();
        state.read()?;
        let key = match lookup {
            Lookup::RemoteId(key) => Some(key.to_owned()),
            Lookup::Username(name) => state.key_of(name),
            Lookup::Email(address) => {
                let mut all = state.users.values().filter(|u| {
                    !address.is_empty() && u.email.as_ref().is_some_and(|e| same(e, address))
                });
                match (all.next(), all.next()) {
                    (Some(only), None) => Some(only.remote_id.clone()),
                    _ => None,
                }
            }
        };
        Ok(key.and_then(|key| state.show(&key)))
    }

    async fn group_exists(&self, name: &str) -> Result<Option<String>, Failure> {
        let mut state = self.state();
        state.read()?;
        Ok(state.groups.get(&fold(name)).cloned())
    }

    async fn apply(&self, action: &Action) -> Result<Applied, Failure> {
        let mut state = self.state();
        state.request()?;
        let outcome = state.attempt(action);
        match state.fail_after_apply.pop_front() {
            Some(failure) => Err(failure),
            None => outcome,
        }
    }

    async fn add_members(&self, group: &str, members: &[Member]) -> Vec<Result<Applied, Failure>> {
        self.state().attempt_many(members, |it| it.joins(group))
    }

    async fn remove_members(
        &self,
        group: &str,
        members: &[Member],
    ) -> Vec<Result<Applied, Failure>> {
        self.state().attempt_many(members, |it| it.leaves(group))
    }

    async fn users(&self, cursor: Option<&str>) -> Result<Page<Observed>, Failure> {
        self.state().read()?;
        let accounts = Self::users(self).into_iter().map(|user| Observed {
            groups: Vec::new(),
            ..user
        });
        page(accounts.collect(), cursor)
    }

    async fn groups(&self, cursor: Option<&str>) -> Result<Page<String>, Failure> {
        self.state().read()?;
        page(Self::groups(self), cursor)
    }

    async fn members(&self, group: &str, cursor: Option<&str>) -> Result<Page<Member>, Failure> {
        let mut state = self.state();
        state.read()?;
        if let Some(failure) = &state.refused_listings {
            return Err(failure.clone());
        }
        if !state.groups.contains_key(&fold(group)) {
            return Err(no_group(group));
        }
        let members = state.members.iter().filter(|(of, _)| *of == fold(group));
        let members = members.filter_map(|(_, key)| state.users.get(key));
        let members = members.map(|user| Member {
            remote_id: user.remote_id.clone(),
            username: user.username.clone(),
        });
        page(members.collect(), cursor)
    }

    async fn check(&self) -> Result<Check, Failure> {
        self.state().request()?;
        Ok(Check {
            product: CAPABILITIES.product.to_owned(),
            ..Check::default()
        })
    }
}
