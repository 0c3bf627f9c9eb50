//! What the emulated Confluence holds: accounts, groups, deletions under way. No HTTP in here.
//!
//! Names are compared case-insensitively, as embedded Crowd does. Paths name accounts by user name,
//! which a person in the UI may change; the stable key is a long hexadecimal number.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Members of this group may do everything.
pub(crate) const ADMIN_GROUP: &str = "confluence-administrators";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) display_name: String,
    pub(crate) email: String,
    pub(crate) active: bool,
    pub(crate) password: Option<String>,
    pub(crate) notified: bool,
    pub(crate) read_only: bool,
    pub(crate) system_admin: bool,
    /// Lower-cased names of the groups it is a direct member of.
    pub(crate) groups: BTreeSet<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) name: String,
    /// Lower-cased names of the groups that it is nested in.
    pub(crate) parents: BTreeSet<String>,
    pub(crate) administers: bool,
}

/// A deletion under way, or over.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) id: String,
    /// Key of the account.
    pub(crate) user: String,
    pub(crate) started_ms: u64,
    pub(crate) ends_ms: u64,
    pub(crate) outcome: Option<Result<(), String>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) version: [u32; 3],
    pub(crate) default_group: Option<String>,
    /// No directory takes new accounts.
    pub(crate) read_only_directory: bool,
    /// How many active accounts the licence allows.
    pub(crate) licences: Option<usize>,
    /// Deletions end in an error while this is set.
    pub(crate) failing_deletions: bool,
    /// By key.
    pub(crate) users: BTreeMap<String, User>,
    /// Lower-cased name to key.
    names: BTreeMap<String, String>,
    /// By lower-cased name.
    pub(crate) groups: BTreeMap<String, Group>,
    /// What is left of deleted accounts: key to alias.
    pub(crate) deleted: BTreeMap<String, String>,
    /// Successful creations over REST, by lower-cased name.
    pub(crate) creations: BTreeMap<String, usize>,
    /// All attempts to create over REST that got as far as naming somebody.
    pub(crate) creation_attempts: BTreeMap<String, usize>,
    pub(crate) group_creations: BTreeMap<String, usize>,
    next: u64,
    #[serde(skip)]
    pub(crate) tasks: Vec<Task>,
    /// What has changed since the last [`State::take_events`], for people to read.
    #[serde(skip)]
    events: Vec<String>,
}

/// A new account.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewUser {
    pub(crate) name: String,
    pub(crate) display_name: String,
    pub(crate) email: String,
    pub(crate) password: Option<String>,
    pub(crate) notify: bool,
}

/// A name in lower case; the one way in which names are compared.
pub(crate) fn fold(name: &str) -> String {
    name.to_lowercase()
}

impl State {
    pub(crate) fn new(version: [u32; 3], default_group: Option<String>) -> Self {
        Self {
            version,
            default_group,
            ..Self::default()
        }
    }

    pub(crate) fn tell(&mut self, event: String) {
        self.events.push(event);
    }

    pub(crate) fn take_events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
    }

    // People

    pub(crate) fn user(&self, name: &str) -> Option<&User> {
        self.users.get(self.names.get(&fold(name))?)
    }

    pub(crate) fn user_mut(&mut self, name: &str) -> Option<&mut User> {
        self.users.get_mut(self.names.get(&fold(name))?)
    }

    /// All people by lower-cased name.
    pub(crate) fn users_by_name(&self) -> impl Iterator<Item = &User> {
        self.names.values().filter_map(|key| self.users.get(key))
    }

    pub(crate) fn create_user(&mut self, new: NewUser) -> String {
        self.next += 1;
        let key = format!("4028b2d692a1c5{:018x}", self.next);
        let user = User {
            key: key.clone(),
            name: new.name,
            display_name: new.display_name,
            email: new.email,
            active: true,
            password: new.password,
            notified: new.notify,
            read_only: false,
            system_admin: false,
            groups: BTreeSet::new(),
        };
        self.tell(format!(
            "account {} created ({} <{}>)",
            user.name, user.display_name, user.email
        ));
        self.names.insert(fold(&user.name), key.clone());
        self.users.insert(key.clone(), user);
        key
    }

    pub(crate) fn rename_user(&mut self, key: &str, name: &str) {
        let Some(user) = self.users.get_mut(key) else {
            return;
        };
        if user.name != name {
            let event = format!("account {} renamed to {name}", user.name);
            self.names.remove(&fold(&user.name));
            self.names.insert(fold(name), key.to_owned());
            name.clone_into(&mut user.name);
            self.tell(event);
        }
    }

    pub(crate) fn set_display_name(&mut self, key: &str, display_name: &str) {
        let Some(user) = self.users.get_mut(key) else {
            return;
        };
        if user.display_name != display_name {
            display_name.clone_into(&mut user.display_name);
            let event = format!("account {}: full name is now {display_name}", user.name);
            self.tell(event);
        }
    }

    pub(crate) fn set_email(&mut self, key: &str, email: &str) {
        let Some(user) = self.users.get_mut(key) else {
            return;
        };
        if user.email != email {
            email.clone_into(&mut user.email);
            let event = format!("account {}: e-mail is now {email}", user.name);
            self.tell(event);
        }
    }

    pub(crate) fn set_active(&mut self, key: &str, active: bool) {
        let Some(user) = self.users.get_mut(key) else {
            return;
        };
        if user.active != active {
            user.active = active;
            let verb = if active { "enabled" } else { "disabled" };
            let event = format!("account {} {verb}", user.name);
            self.tell(event);
        }
    }

    pub(crate) fn delete_user(&mut self, key: &str) {
        let Some(user) = self.users.remove(key) else {
            return;
        };
        self.names.remove(&fold(&user.name));
        let alias = format!("user-{:05x}", self.deleted.len() + 0xa1);
        self.deleted.insert(key.to_owned(), alias);
        self.tell(format!("account {} deleted", user.name));
    }

    /// Whether the licence allows one more active account.
    pub(crate) fn has_seat(&self) -> bool {
        let taken = self.users.values().filter(|user| user.active).count();
        self.licences.is_none_or(|licences| taken < licences)
    }

    /// Whether it may use Confluence at all.
    pub(crate) fn may_use(&self, user: &User) -> bool {
        let by_default = self.default_group.as_deref().map(fold);
        self.is_admin(user) || by_default.is_some_and(|group| user.groups.contains(&group))
    }

    pub(crate) fn is_admin(&self, user: &User) -> bool {
        let mut groups = user.groups.iter().filter_map(|name| self.groups.get(name));
        groups.any(|group| group.administers)
    }

    // Groups

    pub(crate) fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(&fold(name))
    }

    /// False when there is one of that name.
    pub(crate) fn create_group(&mut self, name: &str) -> bool {
        if self.group(name).is_some() {
            return false;
        }
        let group = Group {
            name: name.to_owned(),
            parents: BTreeSet::new(),
            administers: fold(name) == ADMIN_GROUP,
        };
        self.groups.insert(fold(name), group);
        self.tell(format!("group {name} created"));
        true
    }

    pub(crate) fn delete_group(&mut self, name: &str) {
        let folded = fold(name);
        let Some(group) = self.groups.remove(&folded) else {
            return;
        };
        for user in self.users.values_mut() {
            user.groups.remove(&folded);
        }
        for other in self.groups.values_mut() {
            other.parents.remove(&folded);
        }
        self.tell(format!("group {} deleted", group.name));
    }

    /// Both must exist; nothing happens if it is a member.
    pub(crate) fn add_member(&mut self, group: &str, user: &str) {
        let Some(name) = self.group(group).map(|group| group.name.clone()) else {
            return;
        };
        let Some(user) = self.user_mut(user) else {
            return;
        };
        if user.groups.insert(fold(group)) {
            let event = format!("{} added to {name}", user.name);
            self.tell(event);
        }
    }

    /// Nothing happens if it is no direct member.
    pub(crate) fn remove_member(&mut self, group: &str, user: &str) {
        let Some(name) = self.group(group).map(|group| group.name.clone()) else {
            return;
        };
        let Some(user) = self.user_mut(user) else {
            return;
        };
        if user.groups.remove(&fold(group)) {
            let event = format!("{} removed from {name}", user.name);
            self.tell(event);
        }
    }

    /// The groups of a person by lower-cased name, those that its groups are nested in among them.
    pub(crate) fn groups_of(&self, user: &User) -> Vec<&Group> {
        let mut found: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = user.groups.iter().map(String::as_str).collect();
        while let Some(name) = open.pop() {
            // Crowd tolerates circles of groups, so a group is entered once.
            if let Some(group) = self.groups.get(name)
                && found.insert(name)
            {
                open.extend(group.parents.iter().map(String::as_str));
            }
        }
        found
            .into_iter()
            .filter_map(|name| self.groups.get(name))
            .collect()
    }

    /// Direct members by lower-cased name, disabled ones too.
    pub(crate) fn members_of(&self, group: &str) -> Vec<&User> {
        let folded = fold(group);
        self.users_by_name()
            .filter(|user| user.groups.contains(&folded))
            .collect()
    }

    // Deletions

    /// Starts to delete an account: it is disabled at once, and gone when the task ends.
    pub(crate) fn start_deletion(&mut self, key: &str, now_ms: u64, lasts_ms: u64) -> String {
        self.next += 1;
        let id = format!("ff80{:028x}", self.next);
        self.tasks.push(Task {
            id: id.clone(),
            user: key.to_owned(),
            started_ms: now_ms,
            ends_ms: now_ms + lasts_ms,
            outcome: None,
        });
        self.set_active(key, false);
        self.tell(format!("deletion {id} started"));
        id
    }

    /// Ends the tasks whose time has come.
    pub(crate) fn settle(&mut self, now_ms: u64) {
        let fails = self.failing_deletions;
        let mut over = Vec::new();
        for task in &mut self.tasks {
            if task.outcome.is_some() || task.ends_ms > now_ms {
                continue;
            }
            if fails {
                task.outcome = Some(Err("The database did not like it.".to_owned()));
            } else {
                task.outcome = Some(Ok(()));
                over.push(task.user.clone());
            }
        }
        for key in over {
            self.delete_user(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(name: &str) -> NewUser {
        NewUser {
            name: name.into(),
            ..NewUser::default()
        }
    }

    #[test]
    fn circles_of_groups_end() {
        let mut state = State::default();
        state.create_user(person("ada"));
        for (group, parent) in [("A", "b"), ("B", "a")] {
            state.create_group(group);
            let group = state.groups.get_mut(&fold(group)).unwrap();
            group.parents.insert(parent.into());
        }
        state.add_member("a", "ADA");
        let names: Vec<&str> = state
            .groups_of(state.user("ada").unwrap())
            .iter()
            .map(|group| group.name.as_str())
            .collect();
        assert_eq!(names, ["A", "B"]);
    }

    #[test]
    fn a_deletion_takes_its_time() {
        let mut state = State::default();
        let key = state.create_user(person("ada"));
        state.start_deletion(&key, 100, 50);
        state.settle(149);
        assert!(!state.user("ada").unwrap().active);
        state.settle(150);
        assert!(state.user("ada").is_none());
        assert!(state.deleted.contains_key(&key));
    }
}
