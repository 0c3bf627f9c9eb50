//! What the emulated directory holds: users, groups, and the Atlassian accounts behind them. No HTTP here.
//!
//! User names, addresses and group names are unique without regard to case.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// What a client may state of a user. Anything else is dropped.
pub(crate) const ATTRIBUTES: [&str; 14] = [
    "userName",
    "externalId",
    "name",
    "displayName",
    "nickName",
    "title",
    "preferredLanguage",
    "department",
    "organization",
    "timezone",
    "phoneNumbers",
    "emails",
    "active",
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
];

/// A record of the directory.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: String,
    /// By name, of [`ATTRIBUTES`].
    pub(crate) attributes: Map<String, Value>,
    /// The Atlassian account that it is linked to.
    pub(crate) account_id: String,
    pub(crate) created: u64,
    pub(crate) modified: u64,
}

/// A group.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) external_id: Option<String>,
    /// Ids of users.
    pub(crate) members: BTreeSet<String>,
    pub(crate) created: u64,
    pub(crate) modified: u64,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// By id; ids grow, so this is the order of creation.
    pub(crate) users: BTreeMap<String, User>,
    /// By id.
    pub(crate) groups: BTreeMap<String, Group>,
    /// Folded user name to id.
    names: BTreeMap<String, String>,
    /// Folded address to ids: a test may put two there.
    addresses: BTreeMap<String, BTreeSet<String>>,
    /// Folded address to the Atlassian account of that address. It outlives the record.
    pub(crate) accounts: BTreeMap<String, String>,
    /// Successful creations over SCIM, by folded name.
    pub(crate) creations: BTreeMap<String, usize>,
    pub(crate) group_creations: BTreeMap<String, usize>,
    last_number: u64,
    /// What has changed since the last [`State::take_events`], for people to read.
    events: Vec<String>,
}

pub(crate) fn fold(name: &str) -> String {
    name.to_lowercase()
}

impl User {
    pub(crate) fn text(&self, name: &str) -> &str {
        self.attributes
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &str {
        self.text("userName")
    }

    pub(crate) fn is_active(&self) -> bool {
        self.attributes.get("active") == Some(&Value::Bool(true))
    }

    /// The primary address.
    pub(crate) fn email(&self) -> &str {
        primary(&self.attributes)
    }
}

/// The primary address among a user's attributes.
pub(crate) fn primary(attributes: &Map<String, Value>) -> &str {
    let emails = attributes.get("emails").and_then(Value::as_array);
    let mut emails = emails.into_iter().flatten();
    let primary = emails.find(|email| email["primary"] == Value::Bool(true));
    primary
        .and_then(|email| email["value"].as_str())
        .unwrap_or_default()
}

impl State {
    pub(crate) fn tell(&mut self, event: String) {
        self.events.push(event);
    }

    pub(crate) fn take_events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn fresh_id(&mut self, kind: u16) -> (String, u64) {
        let number = self.next_number();
        let scrambled = number.wrapping_mul(0x9e37_79b9_7f4a) & 0xffff_ffff_ffff;
        (
            format!("{number:08x}-{kind:04x}-4000-8000-{scrambled:012x}"),
            number,
        )
    }

    // Users

    pub(crate) fn named(&self, name: &str) -> Option<&User> {
        self.users.get(self.names.get(&fold(name))?)
    }

    /// Another record than `but` that has the address.
    pub(crate) fn addressed(&self, address: &str, but: &str) -> Option<&User> {
        let mut ids = self.addresses.get(&fold(address))?.iter();
        self.users.get(ids.find(|id| *id != but)?)
    }

    /// Makes a record and links it to the account of its address, which is made if there is none.
    pub(crate) fn create_user(&mut self, attributes: Map<String, Value>) -> String {
        let (id, number) = self.fresh_id(0x0001);
        let account_id = self
            .accounts
            .entry(fold(primary(&attributes)))
            .or_insert_with(|| format!("712020:{number:012x}"))
            .clone();
        self.users.insert(
            id.clone(),
            User {
                id: id.clone(),
                attributes: Map::new(),
                account_id,
                created: number,
                modified: number,
            },
        );
        self.set_attributes(&id, attributes);
        let user = &self.users[&id];
        let display_name = text(&user.attributes, "displayName").unwrap_or_default();
        let event = format!(
            "account {} created ({display_name} <{}>)",
            user.name(),
            user.email()
        );
        self.tell(event);
        id
    }

    /// Replaces what is stated of a user. False: it was so.
    pub(crate) fn set_attributes(&mut self, id: &str, attributes: Map<String, Value>) -> bool {
        let number = self.last_number + 1;
        let Some(user) = self.users.get_mut(id) else {
            return false;
        };
        if user.attributes == attributes {
            return false;
        }
        self.last_number = number;
        let old = std::mem::replace(&mut user.attributes, attributes);
        user.modified = number;
        let (name, address) = (fold(user.name()), fold(user.email()));
        // A new record has stated nothing before.
        let events = match text(&old, "userName") {
            Some(_) => told(&old, &user.attributes),
            None => Vec::new(),
        };
        if let Some(old_name) = text(&old, "userName").map(fold) {
            self.names.remove(&old_name);
        }
        if let Some(ids) = self.addresses.get_mut(&fold(primary(&old))) {
            ids.remove(id);
        }
        self.names.insert(name, id.to_owned());
        self.addresses
            .entry(address)
            .or_default()
            .insert(id.to_owned());
        self.events.extend(events);
        true
    }

    /// The account stays, the record and its id are gone for good.
    pub(crate) fn delete_user(&mut self, id: &str) -> bool {
        let Some(user) = self.users.remove(id) else {
            return false;
        };
        self.names.remove(&fold(user.name()));
        if let Some(ids) = self.addresses.get_mut(&fold(user.email())) {
            ids.remove(id);
        }
        for group in self.groups.values_mut() {
            group.members.remove(id);
        }
        self.tell(format!("account {} deleted", user.name()));
        true
    }

    // Groups

    pub(crate) fn group(&self, name: &str) -> Option<&Group> {
        let folded = fold(name);
        self.groups
            .values()
            .find(|group| fold(&group.name) == folded)
    }

    pub(crate) fn groups_of(&self, user: &str) -> Vec<&Group> {
        self.groups
            .values()
            .filter(|group| group.members.contains(user))
            .collect()
    }

    pub(crate) fn create_group(&mut self, name: &str, external_id: Option<String>) -> String {
        let (id, number) = self.fresh_id(0x0002);
        self.groups.insert(
            id.clone(),
            Group {
                id: id.clone(),
                name: name.to_owned(),
                external_id,
                members: BTreeSet::new(),
                created: number,
                modified: number,
            },
        );
        self.tell(format!("group {name} created"));
        id
    }

    pub(crate) fn set_members(&mut self, id: &str, members: BTreeSet<String>) {
        let name_of = |id: &String| self.users.get(id).map_or("nobody", User::name).to_owned();
        let Some(group) = self.groups.get(id) else {
            return;
        };
        if group.members == members {
            return;
        }
        let name = group.name.clone();
        let mut events = Vec::new();
        for added in members.difference(&group.members) {
            events.push(format!("{} added to {name}", name_of(added)));
        }
        for removed in group.members.difference(&members) {
            events.push(format!("{} removed from {name}", name_of(removed)));
        }
        let number = self.next_number();
        if let Some(group) = self.groups.get_mut(id) {
            group.members = members;
            group.modified = number;
        }
        self.events.extend(events);
    }

    pub(crate) fn delete_group(&mut self, id: &str) -> bool {
        let Some(group) = self.groups.remove(id) else {
            return false;
        };
        self.tell(format!("group {} deleted", group.name));
        true
    }
}

fn text<'a>(attributes: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    attributes.get(name)?.as_str()
}

/// In which ways a record changed, for people to read.
fn told(old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<String> {
    let was = text(old, "userName").unwrap_or_default();
    let name = text(new, "userName").unwrap_or_default();
    let mut events = Vec::new();
    if name != was {
        events.push(format!("account {was} renamed to {name}"));
    }
    let display_name = text(new, "displayName").unwrap_or_default();
    if Some(display_name) != text(old, "displayName") {
        events.push(format!(
            "account {name}: display name is now {display_name}"
        ));
    }
    if primary(old) != primary(new) {
        events.push(format!("account {name}: e-mail is now {}", primary(new)));
    }
    let active = |it: &Map<String, Value>| it.get("active") == Some(&Value::Bool(true));
    if active(old) != active(new) {
        let verb = if active(new) { "re" } else { "de" };
        events.push(format!("account {name} {verb}activated"));
    }
    if events.is_empty() {
        events.push(format!("account {name} changed"));
    }
    events
}

/// Attributes as a client would state them for somebody active.
pub(crate) fn stated(name: &str, display_name: &str, email: &str) -> Map<String, Value> {
    let all = json!({
        "userName": name,
        "displayName": display_name,
        "emails": [{"value": email, "type": "work", "primary": true}],
        "active": true,
    });
    all.as_object().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_found_as_they_change_and_go() {
        let mut state = State::default();
        let id = state.create_user(stated("Ada", "Ada", "ada@x"));
        assert_eq!(state.named("ADA").unwrap().id, id);
        assert!(state.addressed("ADA@X", "other").is_some());
        assert!(state.addressed("ada@x", &id).is_none());
        assert!(state.set_attributes(&id, stated("countess", "Ada", "c@x")));
        assert!(!state.set_attributes(&id, stated("countess", "Ada", "c@x")));
        assert!(state.named("ada").is_none() && state.named("countess").is_some());
        assert!(state.addressed("ada@x", "").is_none());
        let group = state.create_group("devs", None);
        state.set_members(&group, [id.clone()].into());
        assert!(state.delete_user(&id) && !state.delete_user(&id));
        assert!(state.named("countess").is_none() && state.groups[&group].members.is_empty());
    }

    #[test]
    fn a_new_record_gets_a_new_id_and_the_old_account() {
        let mut state = State::default();
        let first = state.create_user(stated("ada", "Ada", "ada@x"));
        let account = state.users[&first].account_id.clone();
        state.delete_user(&first);
        let second = state.create_user(stated("ada", "Ada", "Ada@X"));
        assert_ne!(first, second);
        assert_eq!(state.users[&second].account_id, account);
    }
}
