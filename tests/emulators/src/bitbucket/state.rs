//! What the emulated Bitbucket holds: accounts, groups, global permissions. No HTTP in here.
//!
//! Names are compared case-insensitively, as embedded Crowd does. An account has a number that never
//! changes, but no call finds it by that.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// How long the permissions of a deleted account are kept (BSERV-19820).
const KEPT_MS: u64 = 7 * 24 * 3600 * 1000;

/// A global permission; a higher one implies those below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Permission {
    /// May sign in, and takes a licence.
    LicensedUser,
    /// May create projects.
    ProjectCreate,
    /// Administers.
    Admin,
    /// Administers the system.
    SysAdmin,
}

impl Permission {
    /// As it stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LicensedUser => "LICENSED_USER",
            Self::ProjectCreate => "PROJECT_CREATE",
            Self::Admin => "ADMIN",
            Self::SysAdmin => "SYS_ADMIN",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [
            Self::LicensedUser,
            Self::ProjectCreate,
            Self::Admin,
            Self::SysAdmin,
        ]
        .into_iter()
        .find(|it| it.as_str() == text)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) display_name: String,
    pub(crate) email: String,
    /// What the directory says. No call changes it.
    pub(crate) active: bool,
    pub(crate) password: Option<String>,
    /// How often the password was set.
    pub(crate) passwords: usize,
    pub(crate) notified: bool,
    pub(crate) directory: String,
    pub(crate) read_only: bool,
    /// The highest global permission of its own.
    pub(crate) permission: Option<Permission>,
    /// Lower-cased names of the groups it is a member of.
    pub(crate) groups: BTreeSet<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) permission: Option<Permission>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) version: [u32; 3],
    pub(crate) default_group: Option<String>,
    /// No directory takes new accounts.
    pub(crate) read_only_directory: bool,
    /// How many accounts may be licensed.
    pub(crate) licences: Option<usize>,
    /// By number.
    pub(crate) users: BTreeMap<u32, User>,
    /// Lower-cased name to number.
    names: BTreeMap<String, u32>,
    /// By lower-cased name.
    pub(crate) groups: BTreeMap<String, Group>,
    /// What deleted accounts were permitted, by lower-cased name, and until when it is kept.
    kept: BTreeMap<String, (Option<Permission>, u64)>,
    /// Successful creations over REST, by lower-cased name.
    pub(crate) creations: BTreeMap<String, usize>,
    /// All attempts to create over REST that got as far as naming somebody.
    pub(crate) creation_attempts: BTreeMap<String, usize>,
    pub(crate) group_creations: BTreeMap<String, usize>,
    next: u32,
    /// What has changed since the last [`State::take_events`], for people to read.
    #[serde(skip)]
    events: Vec<String>,
}

/// A name in lower case; the one way in which names are compared.
pub(crate) fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// The part of addresses that stands for an account.
pub(crate) fn slug(name: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    let characters = fold(name);
    let characters = characters.chars();
    characters.map(|c| if fits(c) { c } else { '_' }).collect()
}

impl State {
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
        self.names.values().filter_map(|id| self.users.get(id))
    }

    /// Makes an account; it gets back what one of its name was permitted a short time ago.
    pub(crate) fn create_user(
        &mut self,
        name: &str,
        display_name: &str,
        email: &str,
        now_ms: u64,
    ) -> u32 {
        self.next += 1;
        let id = 100 + self.next;
        let kept = self.kept.remove(&fold(name));
        let permission = kept
            .filter(|(_, until)| *until > now_ms)
            .and_then(|it| it.0);
        let user = User {
            id,
            name: name.to_owned(),
            display_name: display_name.to_owned(),
            email: email.to_owned(),
            active: true,
            password: None,
            passwords: 0,
            notified: false,
            directory: "Bitbucket Internal Directory".into(),
            read_only: false,
            permission,
            groups: BTreeSet::new(),
        };
        self.tell(format!("account {name} created ({display_name} <{email}>)"));
        self.names.insert(fold(name), id);
        self.users.insert(id, user);
        id
    }

    pub(crate) fn rename_user(&mut self, id: u32, name: &str) {
        let Some(user) = self.users.get_mut(&id) else {
            return;
        };
        if user.name != name {
            let event = format!("account {} renamed to {name}", user.name);
            self.names.remove(&fold(&user.name));
            self.names.insert(fold(name), id);
            name.clone_into(&mut user.name);
            self.tell(event);
        }
    }

    pub(crate) fn set_details(&mut self, id: u32, display_name: &str, email: &str) {
        let Some(user) = self.users.get_mut(&id) else {
            return;
        };
        let name = user.name.clone();
        let mut events = Vec::new();
        let changes = [
            (&mut user.display_name, display_name, "display name"),
            (&mut user.email, email, "e-mail"),
        ];
        for (field, value, what) in changes {
            if field != value {
                value.clone_into(field);
                events.push(format!("account {name}: {what} is now {value}"));
            }
        }
        self.events.extend(events);
    }

    pub(crate) fn set_password(&mut self, name: &str, password: &str) {
        let Some(user) = self.user_mut(name) else {
            return;
        };
        user.passwords += 1;
        let event = format!("account {} has another password", user.name);
        // A new account's first one is no news.
        if user.password.replace(password.to_owned()).is_some() {
            self.tell(event);
        }
    }

    pub(crate) fn permit(&mut self, name: &str, permission: Option<Permission>) {
        let Some(user) = self.user_mut(name) else {
            return;
        };
        if user.permission != permission {
            user.permission = permission;
            let what = permission.map_or("nothing", Permission::as_str);
            let event = format!("account {} is permitted {what}", user.name);
            self.tell(event);
        }
    }

    pub(crate) fn delete_user(&mut self, id: u32, now_ms: u64) {
        let Some(user) = self.users.remove(&id) else {
            return;
        };
        self.names.remove(&fold(&user.name));
        self.kept
            .insert(fold(&user.name), (user.permission, now_ms + KEPT_MS));
        self.tell(format!("account {} deleted", user.name));
    }

    /// What an account may do, by itself and through its groups.
    pub(crate) fn permitted(&self, user: &User) -> Option<Permission> {
        let groups = user.groups.iter().filter_map(|name| self.groups.get(name));
        let highest = groups.filter_map(|group| group.permission).max();
        highest.max(user.permission).filter(|_| user.active)
    }

    /// How many accounts take a licence.
    pub(crate) fn licensed(&self) -> usize {
        let users = self.users.values();
        users.filter(|user| self.permitted(user).is_some()).count()
    }

    /// Whether the licence goes beyond its limit by that change.
    pub(crate) fn exceeds(&self, change: impl FnOnce(&mut Self)) -> bool {
        let Some(licences) = self.licences else {
            return false;
        };
        let before = self.licensed();
        let mut then = self.clone();
        change(&mut then);
        let after = then.licensed();
        after > before && after > licences
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
            permission: None,
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

    /// Nothing happens if it is no member.
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

    pub(crate) fn groups_of(&self, user: &User) -> Vec<&Group> {
        let groups = user.groups.iter();
        groups.filter_map(|name| self.groups.get(name)).collect()
    }

    /// Members by lower-cased name.
    pub(crate) fn members_of(&self, group: &str) -> Vec<&User> {
        let folded = fold(group);
        self.users_by_name()
            .filter(|user| user.groups.contains(&folded))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_come_through_groups_and_are_kept_for_seven_days() {
        let mut state = State::default();
        let id = state.create_user("ada", "Ada", "a@x.org", 0);
        assert_eq!(state.permitted(&state.users[&id]), None);
        state.create_group("Admins");
        state.groups.get_mut("admins").unwrap().permission = Some(Permission::Admin);
        state.add_member("ADMINS", "Ada");
        assert_eq!(state.permitted(&state.users[&id]), Some(Permission::Admin));
        state.permit("ada", Some(Permission::ProjectCreate));
        state.delete_user(id, 1000);
        let id = state.create_user("ADA", "Ada", "a@x.org", KEPT_MS);
        assert_eq!(state.users[&id].permission, Some(Permission::ProjectCreate));
        state.delete_user(id, 0);
        let id = state.create_user("ada", "Ada", "a@x.org", KEPT_MS);
        assert_eq!(state.users[&id].permission, None);
    }
}
