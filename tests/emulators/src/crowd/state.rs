//! What the emulated Crowd holds: people, groups, memberships, sessions. No HTTP here.
//!
//! Names are compared without regard to case. One directory is emulated; accounts of a read-only
//! one are marked as such.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Number of the emulated directory, as it stands in front of keys.
const DIRECTORY: u32 = 32769;

/// What a user or group has beside its fields.
pub(crate) type Attributes = BTreeMap<String, Vec<String>>;

/// A person.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) display_name: String,
    pub(crate) email: String,
    pub(crate) active: bool,
    pub(crate) password: Option<String>,
    pub(crate) attributes: Attributes,
    pub(crate) read_only: bool,
    /// Folded names of the groups it is a direct member of.
    pub(crate) groups: BTreeSet<String>,
}

/// What a request can say about a person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) display_name: String,
    pub(crate) email: String,
    pub(crate) active: bool,
}

/// A group.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) active: bool,
    pub(crate) attributes: Attributes,
    /// Folded names of direct members.
    pub(crate) members: BTreeSet<String>,
    /// Folded names of nested groups.
    pub(crate) subgroups: BTreeSet<String>,
}

/// All of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// By folded name.
    pub(crate) users: BTreeMap<String, User>,
    /// By folded name.
    pub(crate) groups: BTreeMap<String, Group>,
    /// Token to folded user name.
    pub(crate) sessions: BTreeMap<String, String>,
    /// Successful creations over REST, by folded name.
    pub(crate) creations: BTreeMap<String, usize>,
    pub(crate) group_creations: BTreeMap<String, usize>,
    next_number: u64,
    /// What has changed since the last [`State::take_events`], for people to read.
    #[serde(skip)]
    events: Vec<String>,
}

/// What a name is called in lower case; the one way in which names are compared.
pub(crate) fn fold(name: &str) -> String {
    name.to_lowercase()
}

impl State {
    pub(crate) fn tell(&mut self, event: String) {
        self.events.push(event);
    }

    pub(crate) fn take_events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
    }

    fn next_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    // People

    pub(crate) fn user(&self, name: &str) -> Option<&User> {
        self.users.get(&fold(name))
    }

    pub(crate) fn user_mut(&mut self, name: &str) -> Option<&mut User> {
        self.users.get_mut(&fold(name))
    }

    pub(crate) fn user_by_key(&self, key: &str) -> Option<&User> {
        self.users.values().find(|user| user.key == key)
    }

    /// False when there is one of that name.
    pub(crate) fn create_user(
        &mut self,
        name: &str,
        profile: Profile,
        password: Option<String>,
    ) -> bool {
        if self.user(name).is_some() {
            return false;
        }
        let number = self.next_number();
        let user = User {
            key: format!("{DIRECTORY}:5e1f0000-0000-4000-8000-{number:012}"),
            name: name.to_owned(),
            first_name: profile.first_name,
            last_name: profile.last_name,
            display_name: profile.display_name,
            email: profile.email,
            active: profile.active,
            password,
            ..User::default()
        };
        self.tell(format!(
            "account {name} created ({} <{}>)",
            user.display_name, user.email
        ));
        self.users.insert(fold(name), user);
        true
    }

    /// Everything that a profile holds is replaced.
    pub(crate) fn replace_user(&mut self, name: &str, profile: Profile) {
        let Some(user) = self.user_mut(name) else {
            return;
        };
        let mut events = Vec::new();
        let mut set = |field: &mut String, value: String, what: &str| {
            if *field != value {
                events.push(format!("account {name}: {what} is now {value:?}"));
                *field = value;
            }
        };
        set(&mut user.first_name, profile.first_name, "first name");
        set(&mut user.last_name, profile.last_name, "last name");
        set(&mut user.display_name, profile.display_name, "display name");
        set(&mut user.email, profile.email, "e-mail");
        if user.active != profile.active {
            user.active = profile.active;
            let verb = if profile.active { "re" } else { "de" };
            events.push(format!("account {name} {verb}activated"));
        }
        self.events.extend(events);
    }

    /// The new name must be free, or the same but for its case.
    pub(crate) fn rename_user(&mut self, name: &str, new: &str) {
        let (old, folded) = (fold(name), fold(new));
        let Some(mut user) = self.users.remove(&old) else {
            return;
        };
        let event = format!("account {} renamed to {new}", user.name);
        if user.name != new {
            self.tell(event);
        }
        new.clone_into(&mut user.name);
        for group in self.groups.values_mut() {
            if group.members.remove(&old) {
                group.members.insert(folded.clone());
            }
        }
        for owner in self.sessions.values_mut().filter(|owner| **owner == old) {
            owner.clone_from(&folded);
        }
        self.users.insert(folded, user);
    }

    pub(crate) fn delete_user(&mut self, name: &str) {
        let folded = fold(name);
        let Some(user) = self.users.remove(&folded) else {
            return;
        };
        for group in self.groups.values_mut() {
            group.members.remove(&folded);
        }
        self.sessions.retain(|_, owner| *owner != folded);
        self.tell(format!("account {} deleted", user.name));
    }

    // Sessions

    pub(crate) fn start_session(&mut self, name: &str) -> String {
        let number = self.next_number();
        let token = format!("emulated-session-{number}");
        self.sessions.insert(token.clone(), fold(name));
        self.tell(format!("session of {name} begun"));
        token
    }

    /// Ends all sessions of a person but one.
    pub(crate) fn end_sessions(&mut self, name: &str, except: Option<&str>) {
        let folded = fold(name);
        let before = self.sessions.len();
        self.sessions
            .retain(|token, owner| *owner != folded || Some(token.as_str()) == except);
        if self.sessions.len() < before {
            self.tell(format!("sessions of {name} ended"));
        }
    }

    // Groups

    pub(crate) fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(&fold(name))
    }

    /// False when there is one of that name.
    pub(crate) fn create_group(&mut self, name: &str, description: &str, active: bool) -> bool {
        if self.group(name).is_some() {
            return false;
        }
        let group = Group {
            name: name.to_owned(),
            description: description.to_owned(),
            active,
            ..Group::default()
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
            other.subgroups.remove(&folded);
        }
        self.tell(format!("group {} deleted", group.name));
    }

    /// False when it is a direct member already. Both must exist.
    pub(crate) fn add_member(&mut self, group: &str, user: &str) -> bool {
        let (group, user) = (fold(group), fold(user));
        let (Some(to), Some(who)) = (self.groups.get_mut(&group), self.users.get_mut(&user)) else {
            return false;
        };
        if !to.members.insert(user) {
            return false;
        }
        let event = format!("{} added to {}", who.name, to.name);
        who.groups.insert(group);
        self.tell(event);
        true
    }

    /// False when it is no direct member.
    pub(crate) fn remove_member(&mut self, group: &str, user: &str) -> bool {
        let (group, user) = (fold(group), fold(user));
        let (Some(from), Some(who)) = (self.groups.get_mut(&group), self.users.get_mut(&user))
        else {
            return false;
        };
        if !from.members.remove(&user) {
            return false;
        }
        let event = format!("{} removed from {}", who.name, from.name);
        who.groups.remove(&group);
        self.tell(event);
        true
    }

    /// False when it is nested there already. Both must exist.
    pub(crate) fn nest(&mut self, group: &str, child: &str) -> bool {
        let event = format!("group {child} nested in {group}");
        let child = fold(child);
        let inserted = self
            .groups
            .get_mut(&fold(group))
            .is_some_and(|group| group.subgroups.insert(child));
        if inserted {
            self.tell(event);
        }
        inserted
    }

    /// False when it is not nested there.
    pub(crate) fn unnest(&mut self, group: &str, child: &str) -> bool {
        let event = format!("group {child} no longer nested in {group}");
        let removed = self
            .groups
            .get_mut(&fold(group))
            .is_some_and(|group| group.subgroups.remove(&fold(child)));
        if removed {
            self.tell(event);
        }
        removed
    }

    /// A group and all that are nested in it, each once; circles are tolerated.
    pub(crate) fn with_subgroups(&self, name: &str) -> BTreeSet<String> {
        self.reachable(name, |group| group.subgroups.clone())
    }

    /// A group and all that it is nested in.
    pub(crate) fn with_parents(&self, name: &str) -> BTreeSet<String> {
        self.reachable(name, |group| {
            let child = fold(&group.name);
            let parents = self
                .groups
                .iter()
                .filter(|(_, it)| it.subgroups.contains(&child));
            parents.map(|(folded, _)| folded.clone()).collect()
        })
    }

    fn reachable(&self, name: &str, next: impl Fn(&Group) -> BTreeSet<String>) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut open = vec![fold(name)];
        while let Some(folded) = open.pop() {
            if let Some(group) = self.groups.get(&folded)
                && seen.insert(folded)
            {
                open.extend(next(group));
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_keeps_key_memberships_and_sessions() {
        let mut state = State::default();
        assert!(state.create_user("Ada", Profile::default(), None));
        assert!(!state.create_user("ADA", Profile::default(), None));
        let key = state.user("ada").unwrap().key.clone();
        state.create_group("Dev", "", true);
        assert!(state.add_member("dev", "ADA"));
        let token = state.start_session("ada");
        state.rename_user("ada", "Lovelace");
        assert!(state.user("ada").is_none());
        assert_eq!(state.user_by_key(&key).unwrap().name, "Lovelace");
        assert!(state.group("dev").unwrap().members.contains("lovelace"));
        assert_eq!(state.sessions[&token], "lovelace");
        assert!(state.remove_member("DEV", "lovelace"));
        assert!(!state.remove_member("DEV", "lovelace"));
    }

    #[test]
    fn circles_of_groups_end() {
        let mut state = State::default();
        state.create_group("a", "", true);
        state.create_group("b", "", true);
        assert!(state.nest("a", "b") && state.nest("b", "a"));
        assert_eq!(state.with_subgroups("A").len(), 2);
        assert_eq!(state.with_parents("b").len(), 2);
    }
}
