//! An emulated directory of Atlassian Guard user provisioning (`/scim/directory/{id}`) that behaves like the
//! real one, awkward sides included.
//!
//! [`Guard::start`] serves it on threads of its own; the handle seeds it, edits it as a person or another
//! client would, and looks at it; what it shares with the other emulators is [`Server`]'s. Misuse of the
//! handle (a member who does not exist) panics, so that a test cannot go on with a wrong picture.
//!
//! Not emulated: sites and what reaches them.

mod discovery;
mod groups;
mod routes;
mod state;
mod users;

use std::io;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::guard::routes::{Call, Rules, error, gateway};
use crate::guard::state::{State, User, fold};
use crate::kept::Events;
use crate::server::{Answer, Emulated, RateLimit, Request, Server, ServerOptions, lock};

/// How the emulated directory is set up.
#[derive(Debug, Clone)]
pub struct GuardOptions {
    /// IPv4 address to listen on.
    pub host: String,
    /// Port; 0 takes any free one.
    pub port: u16,
    /// Id of the directory.
    pub directory: String,
    /// Its API key.
    pub key: String,
    /// Domains that the organization has verified.
    pub verified_domains: Vec<String>,
    /// Groups that give default access to a site.
    pub default_groups: Vec<String>,
    /// Whether there is the group that Atlassian keeps everybody in.
    pub own_group: bool,
    /// Whether the filter for groups looks at case (names are unique without regard to it all the same).
    pub exact_group_filter: bool,
    /// More members in one operation are refused.
    pub members_a_request: usize,
    /// Time that passes before each request is worked on.
    pub latency: Duration,
    /// Token bucket per caller; none for no limit.
    pub rate_limit: Option<RateLimit>,
    /// Requests kept for [`Server::requests`]; the oldest go first.
    pub keep_requests: usize,
}

impl Default for GuardOptions {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 0,
            directory: "2fb2c0de-7bee-4c2d-a61a-ade3834c8b2b".into(),
            key: "emulated-guard-key".into(),
            verified_domains: vec!["example.com".into()],
            default_groups: vec!["jira-users-acme".into()],
            own_group: false,
            exact_group_filter: false,
            members_a_request: 100,
            latency: Duration::ZERO,
            rate_limit: None,
            keep_requests: 200_000,
        }
    }
}

/// A record of the emulated directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GuardUser {
    /// Id of the record.
    pub id: String,
    /// Id of the Atlassian account.
    pub account_id: String,
    /// `userName`.
    pub name: String,
    /// `displayName`.
    pub display_name: String,
    /// The primary address.
    pub email: String,
    /// `active`.
    pub active: bool,
    /// Names of its groups, sorted.
    pub groups: Vec<String>,
    /// Everything that was stated of it.
    pub attributes: Map<String, Value>,
}

/// A running emulated directory. It stops when this is dropped.
pub struct Guard {
    core: Arc<Core>,
    server: Server,
}

impl Deref for Guard {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Guard {
    /// Starts to serve.
    pub fn start(options: GuardOptions) -> io::Result<Self> {
        let core = Arc::new(Core::new(&options));
        let server = Server::start(
            ServerOptions {
                host: options.host,
                port: options.port,
                latency: options.latency,
                rate_limit: options.rate_limit,
                keep_requests: options.keep_requests,
            },
            Arc::clone(&core) as Arc<dyn Emulated>,
        )?;
        Ok(Self { core, server })
    }

    /// Address of the directory, as admin.atlassian.com shows it.
    pub fn url(&self) -> String {
        let directory = &self.core.directory;
        format!(
            "http://{}/scim/directory/{directory}",
            self.server.address()
        )
    }

    // What is there

    /// All records in the order of their creation.
    pub fn users(&self) -> Vec<GuardUser> {
        let state = self.core.state();
        state
            .users
            .values()
            .map(|user| shown(&state, user))
            .collect()
    }

    /// One record, by its user name in any case.
    pub fn user(&self, name: &str) -> Option<GuardUser> {
        let state = self.core.state();
        state.named(name).map(|user| shown(&state, user))
    }

    /// Names of all groups, in the order of their creation.
    pub fn groups(&self) -> Vec<String> {
        let state = self.core.state();
        state
            .groups
            .values()
            .map(|group| group.name.clone())
            .collect()
    }

    /// User names of the members of a group, sorted; empty if there is no such group.
    pub fn members(&self, group: &str) -> Vec<String> {
        let state = self.core.state();
        let members = state.group(group).map(|group| group.members.clone());
        let members = members.unwrap_or_default();
        let users = members.iter().filter_map(|id| state.users.get(id));
        let mut names: Vec<String> = users.map(|user| user.name().to_owned()).collect();
        names.sort();
        names
    }

    /// How many records of this user name were created over SCIM.
    pub fn creations(&self, name: &str) -> usize {
        let state = self.core.state();
        state
            .creations
            .get(&fold(name))
            .copied()
            .unwrap_or_default()
    }

    /// How many groups of this name were created over SCIM.
    pub fn group_creations(&self, name: &str) -> usize {
        let state = self.core.state();
        let made = state.group_creations.get(&fold(name));
        made.copied().unwrap_or_default()
    }

    // What was there before; told to nobody

    /// Puts an active record there and returns its id. Nothing is checked but its user name.
    pub fn seed_user(&self, name: &str, display_name: &str, email: &str) -> String {
        self.core.change(false, |state| {
            if state.named(name).is_some() {
                return Err(format!("a record {name} is there already"));
            }
            Ok(state.create_user(state::stated(name, display_name, email)))
        })
    }

    /// Puts a group there, unless it is there.
    pub fn seed_group(&self, name: &str) {
        self.core.change(false, |state| {
            if state.group(name).is_none() {
                state.create_group(name, None);
            }
            Ok(())
        });
    }

    /// Makes somebody a member of a group, which is created if need be.
    pub fn seed_member(&self, group: &str, user: &str) {
        self.seed_group(group);
        self.core.change(false, |state| {
            let user = id_of(state, user)?;
            let Some(group) = state.group(group) else {
                return Err(format!("no group {group}"));
            };
            let (id, mut members) = (group.id.clone(), group.members.clone());
            members.insert(user);
            state.set_members(&id, members);
            Ok(())
        });
    }

    /// Gives an address an Atlassian account that no record is linked to yet.
    pub fn seed_account(&self, email: &str, account_id: &str) {
        let mut state = self.core.state();
        state.accounts.insert(fold(email), account_id.to_owned());
    }

    // What another client or a person does

    /// Edits what is stated of a record. Nothing is checked.
    pub fn edit_user(&self, name: &str, edit: impl FnOnce(&mut Map<String, Value>)) {
        self.core.change(true, |state| {
            let id = id_of(state, name)?;
            let mut attributes = state.users[&id].attributes.clone();
            edit(&mut attributes);
            state.set_attributes(&id, attributes);
            Ok(())
        });
    }

    /// Makes a record active or inactive.
    pub fn set_active(&self, name: &str, active: bool) {
        self.edit_user(name, |attributes| {
            attributes.insert("active".into(), json!(active));
        });
    }

    /// Deletes a record for good.
    pub fn remove_user(&self, name: &str) {
        self.core.change(true, |state| {
            let id = id_of(state, name)?;
            state.delete_user(&id);
            Ok(())
        });
    }

    /// Deletes a group, if it is there.
    pub fn remove_group(&self, name: &str) {
        self.core.change(true, |state| {
            if let Some(id) = state.group(name).map(|group| group.id.clone()) {
                state.delete_group(&id);
            }
            Ok(())
        });
    }

    /// Replaces the API key; the old one is refused from now on.
    pub fn set_key(&self, key: &str) {
        key.clone_into(&mut self.core.switches().key);
    }

    /// Deletes the directory, or brings it back: with it goes everything in it.
    pub fn set_deleted(&self, deleted: bool) {
        self.core.switches().deleted = deleted;
    }

    /// Verifies a domain.
    pub fn verify_domain(&self, domain: &str) {
        let mut switches = self.core.switches();
        switches.rules.verified_domains.push(fold(domain));
    }

    /// Leaves out the groups wherever users are shown.
    pub fn set_groups_told(&self, told: bool) {
        self.core.switches().groups_untold = !told;
    }

    // The rest

    /// Tells one line for people per change of state.
    pub fn on_event(&self, listener: Box<dyn Fn(&str) + Send + Sync>) {
        self.core.events.listen(listener);
    }
}

/// What can be changed while it runs.
struct Switches {
    key: String,
    deleted: bool,
    groups_untold: bool,
    rules: Rules,
}

/// What stands behind the HTTP side.
struct Core {
    state: Mutex<State>,
    switches: Mutex<Switches>,
    directory: String,
    events: Events,
}

impl Core {
    fn new(options: &GuardOptions) -> Self {
        let mut state = State::default();
        let own_group = options
            .own_group
            .then(|| format!("All members for directory - {}", options.directory));
        if let Some(name) = &own_group {
            state.create_group(name, None);
            state.take_events();
        }
        let domains = options.verified_domains.iter().map(|domain| fold(domain));
        Self {
            state: Mutex::new(state),
            switches: Mutex::new(Switches {
                key: options.key.clone(),
                deleted: false,
                groups_untold: false,
                rules: Rules {
                    verified_domains: domains.collect(),
                    default_groups: options.default_groups.clone(),
                    own_group,
                    exact_group_filter: options.exact_group_filter,
                    members_a_request: options.members_a_request,
                },
            }),
            directory: options.directory.clone(),
            events: Events::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn switches(&self) -> MutexGuard<'_, Switches> {
        lock(&self.switches)
    }

    /// A change by the test or by a person; panics where it makes no sense.
    #[track_caller]
    fn change<T>(&self, by_hand: bool, change: impl FnOnce(&mut State) -> Result<T, String>) -> T {
        let mut state = self.state();
        let result = change(&mut state);
        let events = state.take_events();
        drop(state);
        if by_hand {
            self.events.tell_by_hand(&events);
        }
        match result {
            Ok(value) => value,
            Err(reason) => panic!("emulated Guard: {reason}"),
        }
    }

    fn answer_with(&self, state: &mut State, request: &Request) -> Answer {
        let (key, deleted, rules) = {
            let switches = self.switches();
            (
                switches.key.clone(),
                switches.deleted,
                switches.rules.clone(),
            )
        };
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["scim", "directory", directory, path @ ..] = &segments[..] else {
            return gateway(404, "Not Found");
        };
        let header = request.header("authorization").unwrap_or_default();
        match header.split_once(' ') {
            Some((scheme, given)) if scheme.eq_ignore_ascii_case("bearer") => {
                if given.trim() != key {
                    return gateway(403, "You are not authorized to call the API.");
                }
            }
            _ => return gateway(401, "Missing authorization header."),
        }
        if deleted || *directory != self.directory {
            return error(
                404,
                "",
                &format!("Resource [DIRECTORY]: with id[{directory}] not found."),
            );
        }
        let host = request.header("host").unwrap_or("localhost");
        let base = format!("http://{host}/scim/directory/{directory}");
        let mut call = Call {
            state,
            request,
            base: &base,
            rules: &rules,
        };
        routes::route(&mut call, path).unwrap_or_else(|refusal| refusal)
    }
}

impl Emulated for Core {
    fn answer(&self, request: &Request) -> Answer {
        let mut state = self.state();
        let mut answer = self.answer_with(&mut state, request);
        let events = state.take_events();
        drop(state);
        if self.switches().groups_untold && answer.body.contains("\"groups\"") {
            answer.body = without_groups(&answer.body);
        }
        let answer = Answer {
            changed: !events.is_empty(),
            ..answer
        };
        self.events.tell(events);
        answer
    }
}

fn without_groups(body: &str) -> String {
    let mut value: Value = serde_json::from_str(body).unwrap_or_default();
    let strip = |user: &mut Value| {
        if let Some(members) = user.as_object_mut() {
            members.remove("groups");
        }
    };
    strip(&mut value);
    if let Some(resources) = value.get_mut("Resources").and_then(Value::as_array_mut) {
        resources.iter_mut().for_each(strip);
    }
    value.to_string()
}

fn shown(state: &State, user: &User) -> GuardUser {
    let mut groups: Vec<String> = state
        .groups_of(&user.id)
        .into_iter()
        .map(|group| group.name.clone())
        .collect();
    groups.sort();
    GuardUser {
        id: user.id.clone(),
        account_id: user.account_id.clone(),
        name: user.name().to_owned(),
        display_name: user.text("displayName").to_owned(),
        email: user.email().to_owned(),
        active: user.is_active(),
        groups,
        attributes: user.attributes.clone(),
    }
}

fn id_of(state: &State, name: &str) -> Result<String, String> {
    let user = state
        .named(name)
        .ok_or_else(|| format!("no record {name}"))?;
    Ok(user.id.clone())
}
