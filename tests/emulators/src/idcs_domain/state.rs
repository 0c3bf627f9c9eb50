//! What the domain holds.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use super::{DomainOptions, ISSUER, List, Ordered, SigningKey, Trouble};
use crate::idcs::Person;
use crate::server::Request;

const USER_EXTENSION: &str = "urn:ietf:params:scim:schemas:oracle:idcs:extension:user:User";
const STATE_EXTENSION: &str = "urn:ietf:params:scim:schemas:oracle:idcs:extension:userState:User";
/// Everyone's group.
pub(super) const EVERYONE: &str = "All-Domain-Users";

/// Rows in the order in which they were made, found by their id.
#[derive(Debug)]
pub(super) struct Rows<T> {
    rows: Vec<(String, T)>,
    at: HashMap<String, usize>,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            at: HashMap::new(),
        }
    }
}

impl<T> Rows<T> {
    fn push(&mut self, id: String, row: T) {
        self.at.insert(id.clone(), self.rows.len());
        self.rows.push((id, row));
    }

    fn remove(&mut self, id: &str) {
        self.rows.retain(|(known, _)| known != id);
        self.at = self
            .rows
            .iter()
            .enumerate()
            .map(|(at, (id, _))| (id.clone(), at))
            .collect();
    }

    pub(super) fn get(&self, id: &str) -> Option<&T> {
        self.rows.get(*self.at.get(id)?).map(|(_, row)| row)
    }

    fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        self.rows.get_mut(*self.at.get(id)?).map(|(_, row)| row)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(String, T)> {
        self.rows.iter()
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.rows.iter().map(|(id, _)| id.clone()).collect()
    }
}

#[derive(Debug)]
pub(super) struct User {
    pub(super) person: Person,
    pub(super) delete_in_progress: bool,
    pub(super) service_user: bool,
    pub(super) modified: i64,
    groups: BTreeSet<String>,
}

impl User {
    pub(super) fn new(person: &Person) -> Self {
        Self {
            person: person.clone(),
            delete_in_progress: false,
            service_user: false,
            modified: 0,
            groups: BTreeSet::new(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) members: Vec<String>,
    pub(super) modified: i64,
}

impl Group {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            members: Vec::new(),
            modified: 0,
        }
    }
}

#[derive(Debug)]
pub(super) struct Grant {
    pub(super) id: String,
    pub(super) app: String,
    pub(super) kind: String,
    pub(super) grantee: String,
    pub(super) mechanism: String,
}

/// What an authorization code stands for.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) user: String,
    pub(super) challenge: String,
    pub(super) redirect_uri: String,
    pub(super) is_offline: bool,
    /// Of OpenID Connect: what the ID token has to repeat.
    pub(super) openid: Option<String>,
    pub(super) ends_at: i64,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) options: DomainOptions,
    pub(super) url: String,
    pub(super) now: Option<i64>,
    pub(super) users: Rows<User>,
    pub(super) groups: Rows<Group>,
    pub(super) grants: Vec<Grant>,
    pub(super) key: SigningKey,
    pub(super) client_key: Option<SigningKey>,
    /// Access token to the instant of its end, in seconds.
    pub(super) tokens: HashMap<String, i64>,
    pub(super) tokens_made: usize,
    pub(super) codes: HashMap<String, Code>,
    /// Where codes may be sent; empty: anywhere.
    pub(super) redirect_uris: Vec<String>,
    /// Each with whom it belongs to.
    pub(super) refresh_tokens: HashMap<String, String>,
    pub(super) signed_in: Option<String>,
    pub(super) refuse_members: bool,
    pub(super) troubles: Vec<Ordered>,
    pub(super) struck: usize,
    /// Where the pages of each list began that were read since its beginning was.
    pages: HashMap<String, Vec<usize>>,
    made: u64,
}

impl State {
    pub(super) fn new(options: DomainOptions) -> Self {
        let mut state = Self {
            options,
            url: String::new(),
            now: None,
            users: Rows::default(),
            groups: Rows::default(),
            grants: Vec::new(),
            key: SigningKey::generate(),
            client_key: None,
            tokens: HashMap::new(),
            tokens_made: 0,
            codes: HashMap::new(),
            redirect_uris: Vec::new(),
            refresh_tokens: HashMap::new(),
            signed_in: None,
            refuse_members: false,
            troubles: Vec::new(),
            struck: 0,
            pages: HashMap::new(),
            made: 0,
        };
        state.add_group(Group::new(EVERYONE));
        state
    }

    #[expect(clippy::disallowed_methods, reason = "an emulator nobody gave a clock")]
    pub(super) fn now(&self) -> i64 {
        self.now
            .unwrap_or_else(|| jiff::Timestamp::now().as_microsecond())
    }

    /// 32 hex digits, as all ids of a domain.
    pub(super) fn new_id(&mut self) -> String {
        self.made += 1;
        // Spread, so that the order of ids is not the order of the list.
        format!(
            "{:016x}{:016x}",
            self.made.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            self.made
        )
    }

    pub(super) fn add_user(&mut self, mut user: User) -> String {
        let id = self.new_id();
        user.modified = self.now();
        self.users.push(id.clone(), user);
        id
    }

    #[expect(clippy::panic, reason = "misuse of the handle must not go unseen")]
    pub(super) fn user_mut(&mut self, id: &str) -> &mut User {
        self.users
            .get_mut(id)
            .unwrap_or_else(|| panic!("the domain has no user {id}"))
    }

    #[expect(clippy::panic, reason = "misuse of the handle must not go unseen")]
    pub(super) fn group_mut(&mut self, id: &str) -> &mut Group {
        self.groups
            .get_mut(id)
            .unwrap_or_else(|| panic!("the domain has no group {id}"))
    }

    pub(super) fn delete_user(&mut self, id: &str) {
        let groups = std::mem::take(&mut self.user_mut(id).groups);
        for group in groups {
            self.group_mut(&group).members.retain(|it| it != id);
        }
        self.users.remove(id);
        self.grants.retain(|it| it.grantee != id);
    }

    pub(super) fn add_group(&mut self, mut group: Group) -> String {
        let id = self.new_id();
        group.modified = self.now();
        self.groups.push(id.clone(), group);
        id
    }

    pub(super) fn delete_group(&mut self, id: &str) {
        let members = std::mem::take(&mut self.group_mut(id).members);
        for member in members {
            if let Some(user) = self.users.get_mut(&member) {
                user.groups.remove(id);
            }
        }
        self.groups.remove(id);
        self.grants.retain(|it| it.grantee != id);
    }

    pub(super) fn add_members(&mut self, group: &str, users: &[&str]) {
        for user in users {
            if self.user_mut(user).groups.insert(group.to_owned()) {
                self.group_mut(group).members.push((*user).to_owned());
            }
        }
    }

    pub(super) fn remove_member(&mut self, group: &str, user: &str) {
        self.user_mut(user).groups.remove(group);
        self.group_mut(group).members.retain(|it| it != user);
    }

    pub(super) fn add_grant(&mut self, mut grant: Grant) -> String {
        grant.id = self.new_id();
        let id = grant.id.clone();
        self.grants.push(grant);
        id
    }

    /// The app roles of the caller; none without a valid token.
    pub(super) fn roles_of(&self, request: &Request) -> Option<Vec<String>> {
        let token = request.header("authorization")?.strip_prefix("Bearer ")?;
        let end = *self.tokens.get(token)?;
        (self.now() < end * 1_000_000).then(|| self.options.roles.clone())
    }

    /// The trouble ordered for this page of a list. `which` tells lists of one kind apart.
    pub(super) fn trouble(&mut self, list: List, which: &str, start: usize) -> Option<Trouble> {
        let starts = self.pages.entry(format!("{list:?} {which}")).or_default();
        if start <= 1 {
            starts.clear();
        }
        // A page that is asked for again is the same page.
        let number = starts
            .iter()
            .position(|it| *it == start)
            .unwrap_or_else(|| {
                starts.push(start);
                starts.len() - 1
            });
        let found = self
            .troubles
            .iter()
            .find(|it| it.list == list && it.page == number)
            .map(|it| it.trouble);
        self.struck += usize::from(found.is_some());
        found
    }

    pub(super) fn user_json(&self, id: &str, user: &User) -> Map<String, Value> {
        let mut shown = user.person.to_scim();
        let emails: Vec<Value> = user
            .person
            .emails()
            .as_array()
            .cloned()
            .unwrap_or_default()
            .into_iter()
            .map(|mut it| {
                it["secondary"] = json!(false);
                it["verified"] = json!(false);
                it
            })
            .collect();
        shown["emails"] = json!(emails);
        shown["id"] = json!(id);
        shown["ocid"] = json!(format!("ocid1.user.oc1..{id}"));
        if user.delete_in_progress {
            shown["deleteInProgress"] = json!(true);
        }
        let mut extension = json!({ "isFederatedUser": false });
        if user.service_user {
            extension["serviceUser"] = json!(true);
        }
        shown[USER_EXTENSION] = extension;
        shown[STATE_EXTENSION] = json!({ "locked": { "on": false } });
        shown["meta"] = self.meta("User", "Users", id, user.modified);
        let groups: Vec<Value> = user
            .groups
            .iter()
            .filter_map(|group| {
                let name = &self.groups.get(group)?.name;
                Some(
                    json!({ "value": group, "display": name, "nonUniqueDisplay": name,
                    "$ref": format!("{}/admin/v1/Groups/{group}", self.url) }),
                )
            })
            .collect();
        if !groups.is_empty() {
            shown["groups"] = json!(groups);
        }
        match shown {
            Value::Object(shown) => shown,
            _ => Map::new(),
        }
    }

    pub(super) fn meta(&self, kind: &str, path: &str, id: &str, modified: i64) -> Value {
        let at = stamp(modified);
        json!({ "resourceType": kind, "created": at, "lastModified": at,
            "location": format!("{}/admin/v1/{path}/{id}", self.url) })
    }

    pub(super) fn user_claims(&self, user: &str, kind: &str) -> Value {
        let now = self.now() / 1_000_000;
        let name = self.users.get(user).map_or("", |it| &it.person.user_name);
        let tenant = &self.options.tenant;
        let audience = if kind == "IT" {
            json!([ISSUER, self.options.client_id])
        } else {
            json!([self.url, format!("urn:opc:lbaas:logicalguid={tenant}")])
        };
        json!({
            "tok_type": kind, "iss": ISSUER, "tenant_iss": self.url, "aud": audience,
            "sub": name, "sub_type": "user", "sub_mappingattr": "userName", "user_id": user,
            "user_tenantname": tenant, "tenant": tenant, "user.tenant.name": tenant,
            "client_id": self.options.client_id, "jti": format!("{user}{now}"),
            "iat": now, "exp": now + 3600,
        })
    }
}

pub(super) fn stamp(at: i64) -> String {
    jiff::Timestamp::from_microsecond(at).map_or_else(
        |_| String::new(),
        |it| it.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
    )
}
