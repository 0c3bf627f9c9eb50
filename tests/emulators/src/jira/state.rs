//! What the emulated Jira holds: accounts, groups, projects. No HTTP in here.
//!
//! Names are compared case-insensitively through lower-cased copies, as embedded Crowd does, and
//! every person has a number that gives the stable key (`JIRAUSER10100`) and survives renames.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

/// Members of these groups may administer.
pub(crate) const ADMIN_GROUP: &str = "jira-administrators";
/// The only application of this Jira.
pub(crate) const APPLICATION: &str = "jira-software";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) id: u64,
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) display_name: String,
    pub(crate) email: String,
    pub(crate) active: bool,
    pub(crate) password: Option<String>,
    pub(crate) notified: bool,
    pub(crate) read_only: bool,
    pub(crate) system_admin: bool,
    pub(crate) has_content: bool,
    /// Lower-cased names of the groups it is a direct member of.
    pub(crate) groups: BTreeSet<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) name: String,
    /// Lower-cased user names.
    pub(crate) members: BTreeSet<String>,
    /// Lower-cased group names.
    pub(crate) subgroups: BTreeSet<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Project {
    pub(crate) id: u64,
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) lead: u64,
    pub(crate) assignee_type: String,
    pub(crate) archived: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Component {
    pub(crate) id: u64,
    pub(crate) project: u64,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) lead: Option<u64>,
    pub(crate) assignee_type: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) version: [u32; 3],
    pub(crate) default_group: Option<String>,
    /// No directory takes new accounts.
    pub(crate) read_only_directory: bool,
    pub(crate) users: BTreeMap<u64, User>,
    pub(crate) groups: BTreeMap<String, Group>,
    pub(crate) projects: BTreeMap<u64, Project>,
    pub(crate) components: BTreeMap<u64, Component>,
    pub(crate) deleted: Vec<User>,
    /// Successful creations over REST, by lower-cased name.
    pub(crate) creations: BTreeMap<String, usize>,
    /// All attempts to create over REST that got as far as naming somebody.
    pub(crate) creation_attempts: BTreeMap<String, usize>,
    pub(crate) group_creations: BTreeMap<String, usize>,
    next_user: u64,
    next_project: u64,
    next_component: u64,
    /// Lower-cased name to number. Rebuilt after loading.
    #[serde(skip)]
    names: BTreeMap<String, u64>,
    #[serde(skip)]
    keys: HashMap<String, u64>,
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

/// What a name or key is called in lower case; the one way in which names are compared.
pub(crate) fn fold(name: &str) -> String {
    name.to_lowercase()
}

impl State {
    pub(crate) fn new(version: [u32; 3], default_group: Option<String>) -> Self {
        Self {
            version,
            default_group,
            next_user: 10100,
            next_project: 10000,
            next_component: 10000,
            ..Self::default()
        }
    }

    /// Rebuilds what is not written to a file.
    pub(crate) fn index(&mut self) {
        self.names = self
            .users
            .values()
            .map(|user| (fold(&user.name), user.id))
            .collect();
        self.keys = self
            .users
            .values()
            .map(|user| (user.key.clone(), user.id))
            .collect();
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

    pub(crate) fn user_by_key(&self, key: &str) -> Option<&User> {
        self.users.get(self.keys.get(key)?)
    }

    /// All people by lower-cased name.
    pub(crate) fn users_by_name(&self) -> impl Iterator<Item = &User> {
        self.names.values().filter_map(|id| self.users.get(id))
    }

    pub(crate) fn create_user(&mut self, new: NewUser) -> u64 {
        let id = self.next_user;
        self.next_user += 1;
        let user = User {
            id,
            key: format!("JIRAUSER{id}"),
            name: new.name,
            display_name: new.display_name,
            email: new.email,
            active: true,
            password: new.password,
            notified: new.notify,
            read_only: false,
            system_admin: false,
            has_content: false,
            groups: BTreeSet::new(),
        };
        self.tell(format!(
            "account {} created ({} <{}>)",
            user.name, user.display_name, user.email
        ));
        self.names.insert(fold(&user.name), id);
        self.keys.insert(user.key.clone(), id);
        self.users.insert(id, user);
        id
    }

    /// Gives an account the key that accounts of old versions have: its first name in lower case.
    pub(crate) fn set_old_key(&mut self, id: u64) {
        let Some(user) = self.users.get_mut(&id) else {
            return;
        };
        self.keys.remove(&user.key);
        user.key = fold(&user.name);
        self.keys.insert(user.key.clone(), id);
    }

    pub(crate) fn rename_user(&mut self, id: u64, name: &str) {
        let Some(user) = self.users.get_mut(&id) else {
            return;
        };
        if user.name == name {
            return;
        }
        let (old, new) = (fold(&user.name), fold(name));
        let event = format!("account {} renamed to {name}", user.name);
        name.clone_into(&mut user.name);
        let groups = user.groups.clone();
        self.names.remove(&old);
        self.names.insert(new.clone(), id);
        for group in groups {
            if let Some(group) = self.groups.get_mut(&group) {
                group.members.remove(&old);
                group.members.insert(new.clone());
            }
        }
        self.tell(event);
    }

    pub(crate) fn set_display_name(&mut self, id: u64, display_name: &str) {
        let Some(user) = self.users.get_mut(&id) else {
            return;
        };
        if user.display_name != display_name {
            display_name.clone_into(&mut user.display_name);
            let event = format!("account {}: display name is now {display_name}", user.name);
            self.tell(event);
        }
    }

    pub(crate) fn set_email(&mut self, id: u64, email: &str) {
        let Some(user) = self.users.get_mut(&id) else {
            return;
        };
        if user.email != email {
            email.clone_into(&mut user.email);
            let event = format!("account {}: e-mail is now {email}", user.name);
            self.tell(event);
        }
    }

    pub(crate) fn set_active(&mut self, id: u64, active: bool) {
        let Some(user) = self.users.get_mut(&id) else {
            return;
        };
        if user.active != active {
            user.active = active;
            let verb = if active { "reactivated" } else { "deactivated" };
            let event = format!("account {} {verb}", user.name);
            self.tell(event);
        }
    }

    pub(crate) fn delete_user(&mut self, id: u64) {
        let Some(mut user) = self.users.remove(&id) else {
            return;
        };
        let name = fold(&user.name);
        self.names.remove(&name);
        self.keys.remove(&user.key);
        for group in std::mem::take(&mut user.groups) {
            if let Some(group) = self.groups.get_mut(&group) {
                group.members.remove(&name);
            }
        }
        self.tell(format!("account {} deleted", user.name));
        user.active = false;
        self.deleted.push(user);
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
            members: BTreeSet::new(),
            subgroups: BTreeSet::new(),
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
        for member in &group.members {
            if let Some(user) = self.user_mut(member) {
                user.groups.remove(&folded);
            }
        }
        for other in self.groups.values_mut() {
            other.subgroups.remove(&folded);
        }
        self.tell(format!("group {} deleted", group.name));
    }

    /// False when it is a member already. Both must exist.
    pub(crate) fn add_member(&mut self, group: &str, user: &str) -> bool {
        let (group_folded, user_folded) = (fold(group), fold(user));
        let Some(person) = self.user(user).map(|user| user.name.clone()) else {
            return false;
        };
        let Some(group) = self.groups.get_mut(&group_folded) else {
            return false;
        };
        if !group.members.insert(user_folded) {
            return false;
        }
        let event = format!("{person} added to {}", group.name);
        if let Some(user) = self.user_mut(user) {
            user.groups.insert(group_folded);
        }
        self.tell(event);
        true
    }

    /// False when it is no direct member.
    pub(crate) fn remove_member(&mut self, group: &str, user: &str) -> bool {
        let (group_folded, user_folded) = (fold(group), fold(user));
        let Some(person) = self.user(user).map(|user| user.name.clone()) else {
            return false;
        };
        let Some(group) = self.groups.get_mut(&group_folded) else {
            return false;
        };
        if !group.members.remove(&user_folded) {
            return false;
        }
        let event = format!("{person} removed from {}", group.name);
        if let Some(user) = self.user_mut(user) {
            user.groups.remove(&group_folded);
        }
        self.tell(event);
        true
    }

    /// A page of the members of a group and of its subgroups by lower-cased name, and how many
    /// there are in all.
    pub(crate) fn member_page(
        &self,
        group: &Group,
        inactive_too: bool,
        start: usize,
        count: usize,
    ) -> (Vec<&User>, usize) {
        let wanted = |user: &&User| inactive_too || user.active;
        if group.subgroups.is_empty() && inactive_too {
            let page = group.members.iter().skip(start).take(count);
            return (
                page.filter_map(|name| self.user(name)).collect(),
                group.members.len(),
            );
        }
        let mut names = BTreeSet::new();
        self.collect_members(group, &mut names, &mut BTreeSet::new());
        let all: Vec<&User> = names
            .into_iter()
            .filter_map(|name| self.user(name))
            .filter(wanted)
            .collect();
        let total = all.len();
        (all.into_iter().skip(start).take(count).collect(), total)
    }

    fn collect_members<'a>(
        &'a self,
        group: &'a Group,
        names: &mut BTreeSet<&'a str>,
        seen: &mut BTreeSet<String>,
    ) {
        // Crowd tolerates circles of groups, so a group is entered once.
        if !seen.insert(fold(&group.name)) {
            return;
        }
        names.extend(group.members.iter().map(String::as_str));
        for subgroup in group
            .subgroups
            .iter()
            .filter_map(|name| self.groups.get(name))
        {
            self.collect_members(subgroup, names, seen);
        }
    }

    pub(crate) fn is_admin(&self, user: &User) -> bool {
        user.groups.contains(ADMIN_GROUP)
    }

    pub(crate) fn has_application(&self, user: &User) -> bool {
        self.default_group
            .as_ref()
            .is_some_and(|group| user.groups.contains(&fold(group)))
    }

    // Projects

    pub(crate) fn create_project(&mut self, key: &str, name: &str, lead: u64) -> u64 {
        let id = self.next_project;
        self.next_project += 1;
        let project = Project {
            id,
            key: key.to_owned(),
            name: name.to_owned(),
            description: String::new(),
            lead,
            assignee_type: "PROJECT_LEAD".to_owned(),
            archived: false,
        };
        self.projects.insert(id, project);
        id
    }

    pub(crate) fn create_component(&mut self, project: u64, name: &str, lead: Option<u64>) -> u64 {
        let id = self.next_component;
        self.next_component += 1;
        let component = Component {
            id,
            project,
            name: name.to_owned(),
            description: None,
            lead,
            assignee_type: "PROJECT_DEFAULT".to_owned(),
        };
        self.components.insert(id, component);
        id
    }

    /// By number or by key; keys are compared case-insensitively.
    pub(crate) fn project(&self, id_or_key: &str) -> Option<&Project> {
        let by_id = id_or_key
            .parse()
            .ok()
            .and_then(|id: u64| self.projects.get(&id));
        by_id.or_else(|| {
            self.projects
                .values()
                .find(|project| project.key.eq_ignore_ascii_case(id_or_key))
        })
    }

    /// Keys of the projects this person leads.
    pub(crate) fn led_projects(&self, id: u64) -> Vec<&str> {
        let led = self.projects.values().filter(|project| project.lead == id);
        led.map(|project| project.key.as_str()).collect()
    }

    /// Keys of the projects in which this person leads a component.
    pub(crate) fn led_components(&self, id: u64) -> Vec<&str> {
        let led = self
            .components
            .values()
            .filter(|component| component.lead == Some(id));
        let projects: BTreeSet<u64> = led.map(|component| component.project).collect();
        let keys = projects.iter().filter_map(|id| self.projects.get(id));
        keys.map(|project| project.key.as_str()).collect()
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
    fn a_rename_keeps_number_key_and_memberships() {
        let mut state = State::new([10, 3, 0], None);
        let id = state.create_user(person("Ada"));
        state.create_group("Dev");
        assert!(state.add_member("dev", "ADA"));
        assert!(!state.add_member("DEV", "ada"));
        state.rename_user(id, "Lovelace");
        assert!(state.user("ada").is_none());
        let user = state.user("lovelace").unwrap();
        assert_eq!((user.id, user.key.as_str()), (id, "JIRAUSER10100"));
        let group = state.group("dev").unwrap();
        assert_eq!(state.member_page(group, true, 0, 9).0.len(), 1);
    }

    #[test]
    fn circles_of_groups_end() {
        let mut state = State::new([10, 3, 0], None);
        for (group, user) in [("a", "ann"), ("b", "bob")] {
            state.create_group(group);
            state.create_user(person(user));
            state.add_member(group, user);
        }
        state
            .groups
            .get_mut("a")
            .unwrap()
            .subgroups
            .insert("b".into());
        state
            .groups
            .get_mut("b")
            .unwrap()
            .subgroups
            .insert("a".into());
        assert_eq!(
            state.member_page(state.group("a").unwrap(), true, 0, 9).1,
            2
        );
    }

    #[test]
    fn a_state_read_back_knows_its_names() {
        let mut state = State::new([10, 3, 0], Some("all".into()));
        state.create_user(person("Ada"));
        let text = serde_json::to_string(&state).unwrap();
        let mut back: State = serde_json::from_str(&text).unwrap();
        assert!(back.user("ada").is_none());
        back.index();
        assert_eq!(back.user("ada").unwrap().key, "JIRAUSER10100");
        assert_eq!(back.create_user(person("Bob")), 10101);
    }
}
