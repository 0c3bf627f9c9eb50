//! An emulated Jira Data Center (REST v2) that behaves like the real one, awkward sides included.
//!
//! [`Jira::start`] serves it on threads of its own; the handle seeds it, edits it as a person
//! would in its UI, looks at it, and orders faults. Misuse of the handle (a member who does not
//! exist) panics, so that a test cannot go on with a wrong picture.

mod beans;
mod control;
mod groups;
mod projects;
mod routes;
mod state;
mod users;

use std::collections::BTreeSet;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use serde::{Deserialize, Serialize};

use crate::jira::beans::refused;
use crate::jira::routes::{Call, Settings};
use crate::jira::state::{ADMIN_GROUP, NewUser, State, User, fold};
use crate::kept::{Events, read_state, write_state};
use crate::server::{Answer, Emulated, Front, RateLimit, Request, Server, ServerOptions, lock};

/// How the emulated Jira is set up.
#[derive(Debug, Clone)]
pub struct JiraOptions {
    /// IPv4 address to listen on.
    pub host: String,
    /// Port; 0 takes any free one.
    pub port: u16,
    /// Path in front of `/rest`, such as `/jira`; empty for none.
    pub context_path: String,
    /// Version it claims and behaves as.
    pub version: [u32; 3],
    /// Personal access token of the administrator.
    pub token: String,
    /// Name and password of the administrator.
    pub admin: (String, String),
    /// Group that gives the application; new accounts land in it.
    pub default_group: Option<String>,
    /// Time that passes before each request is worked on.
    pub latency: Duration,
    /// Token bucket per caller; none for no limit.
    pub rate_limit: Option<RateLimit>,
    /// Most groups that the picker shows, however many are asked for.
    pub picker_cap: usize,
    /// A rename that changes nothing but case is answered 200 and the old spelling stays. It is
    /// unconfirmed which of the two a real Jira does.
    pub keeps_old_case: bool,
    /// No directory takes new accounts.
    pub read_only_directory: bool,
    /// Requests kept for [`Jira::requests`]; the oldest go first.
    pub keep_requests: usize,
    /// File to start from, if it exists, and to write after each change, before it is answered.
    pub state_file: Option<PathBuf>,
}

impl Default for JiraOptions {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 0,
            context_path: String::new(),
            version: [10, 3, 24],
            token: "emulated-jira-token".into(),
            admin: ("admin".into(), "admin-password".into()),
            default_group: Some("jira-software-users".into()),
            latency: Duration::ZERO,
            rate_limit: None,
            picker_cap: 1000,
            keeps_old_case: false,
            read_only_directory: false,
            keep_requests: 200_000,
            state_file: None,
        }
    }
}

/// An account as it stands in the emulated Jira.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JiraUser {
    /// Stable key.
    pub key: String,
    /// Username.
    pub name: String,
    /// Full name.
    pub display_name: String,
    /// E-mail address.
    pub email: String,
    /// Whether it may log in.
    pub active: bool,
    /// Names of the groups it is a direct member of, sorted case-insensitively.
    pub groups: Vec<String>,
    /// Whether its directory is read-only.
    pub read_only: bool,
    /// Whether a mail was asked for when it was created.
    pub notified: bool,
    /// Whether somebody gave it a password.
    pub has_password: bool,
}

/// A running emulated Jira. It stops when this is dropped.
pub struct Jira {
    core: Arc<Core>,
    server: Server,
}

impl Jira {
    /// Starts to serve.
    pub fn start(options: JiraOptions) -> io::Result<Self> {
        let core = Arc::new(Core::new(&options)?);
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

    /// Base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.server.address(), self.core.context_path)
    }

    // What is there

    /// All accounts by name.
    pub fn users(&self) -> Vec<JiraUser> {
        let state = self.core.state();
        state
            .users_by_name()
            .map(|user| shown(&state, user))
            .collect()
    }

    /// One account, by its name in any case.
    pub fn user(&self, name: &str) -> Option<JiraUser> {
        let state = self.core.state();
        state.user(name).map(|user| shown(&state, user))
    }

    /// Names of all groups, sorted case-insensitively.
    pub fn groups(&self) -> Vec<String> {
        self.core
            .state()
            .groups
            .values()
            .map(|group| group.name.clone())
            .collect()
    }

    /// Names of the direct members of a group, inactive ones too; empty if there is no such group.
    pub fn members(&self, group: &str) -> Vec<String> {
        let state = self.core.state();
        let members = state
            .group(group)
            .map(|group| group.members.clone())
            .unwrap_or_default();
        members
            .iter()
            .filter_map(|name| Some(state.user(name)?.name.clone()))
            .collect()
    }

    /// Username of the lead of a project.
    pub fn project_lead(&self, key: &str) -> Option<String> {
        let state = self.core.state();
        Some(state.users.get(&state.project(key)?.lead)?.name.clone())
    }

    /// Username of the lead of a component.
    pub fn component_lead(&self, project: &str, component: &str) -> Option<String> {
        let state = self.core.state();
        let project = state.project(project)?.id;
        let mut of_project = state.components.values().filter(|it| it.project == project);
        let lead = of_project.find(|it| it.name == component)?.lead?;
        Some(state.users.get(&lead)?.name.clone())
    }

    /// How many accounts of this name were created over REST. More than one means that one was
    /// deleted in between.
    pub fn creations(&self, name: &str) -> usize {
        self.core
            .state()
            .creations
            .get(&fold(name))
            .copied()
            .unwrap_or_default()
    }

    /// How often somebody tried to create an account of this name over REST, with or without
    /// success.
    pub fn creation_attempts(&self, name: &str) -> usize {
        self.core
            .state()
            .creation_attempts
            .get(&fold(name))
            .copied()
            .unwrap_or_default()
    }

    /// How many groups of this name were created over REST.
    pub fn group_creations(&self, name: &str) -> usize {
        self.core
            .state()
            .group_creations
            .get(&fold(name))
            .copied()
            .unwrap_or_default()
    }

    // What was there before; told to nobody

    /// Puts an account there and returns its key. It is in no group.
    pub fn seed_user(&self, name: &str, display_name: &str, email: &str) -> String {
        self.core
            .change(false, |state| seed_user(state, name, display_name, email))
    }

    /// Puts an account there as versions before 8.4 made it: its key is its name in lower case.
    pub fn seed_old_user(&self, name: &str, display_name: &str, email: &str) -> String {
        self.core.change(false, |state| {
            seed_user(state, name, display_name, email)?;
            let id = id_of(state, name)?;
            state.set_old_key(id);
            Ok(fold(name))
        })
    }

    /// Puts a group there, unless it is there.
    pub fn seed_group(&self, name: &str) {
        self.core.change(false, |state| {
            state.create_group(name);
            Ok(())
        });
    }

    /// Makes a person a member of a group, which is created if need be.
    pub fn seed_member(&self, group: &str, user: &str) {
        self.core
            .change(false, |state| seed_member(state, group, user));
    }

    /// Nests a group in another; both are created if need be.
    pub fn seed_subgroup(&self, group: &str, subgroup: &str) {
        self.core.change(false, |state| {
            state.create_group(group);
            state.create_group(subgroup);
            if let Some(group) = state.groups.get_mut(&fold(group)) {
                group.subgroups.insert(fold(subgroup));
            }
            Ok(())
        });
    }

    /// Puts a project there with components `(name, lead)`; an empty lead means none.
    pub fn seed_project(&self, key: &str, lead: &str, components: &[(&str, &str)]) {
        self.core
            .change(false, |state| seed_project(state, key, lead, components));
    }

    /// Gives an account a password, so that it can log in with Basic.
    pub fn set_password(&self, user: &str, password: &str) {
        self.core.change(false, |state| {
            mutable(state, user)?.password = Some(password.to_owned());
            Ok(())
        });
    }

    /// Puts an account into a read-only directory: its data can no longer be written.
    pub fn set_read_only(&self, user: &str) {
        self.core.change(false, |state| {
            mutable(state, user)?.read_only = true;
            Ok(())
        });
    }

    /// Makes an account a system administrator, which a plain administrator cannot edit.
    pub fn set_system_admin(&self, user: &str, is: bool) {
        self.core.change(false, |state| {
            mutable(state, user)?.system_admin = is;
            Ok(())
        });
    }

    /// Gives an account issues and comments, so that it cannot be deleted.
    pub fn set_has_content(&self, user: &str) {
        self.core.change(false, |state| {
            mutable(state, user)?.has_content = true;
            Ok(())
        });
    }

    /// Archives a project.
    pub fn archive_project(&self, key: &str) {
        self.core.change(false, |state| {
            let id = state.project(key).map(|project| project.id);
            let project = id.and_then(|id| state.projects.get_mut(&id));
            project.ok_or_else(|| format!("no project {key}"))?.archived = true;
            Ok(())
        });
    }

    // What a person does in the UI

    /// Edits an account: what the closure changes of name, display name, e-mail, active and groups
    /// is taken over; no rule of REST applies.
    pub fn edit_user(&self, name: &str, edit: impl FnOnce(&mut JiraUser)) {
        self.core.change(true, |state| {
            let user = state
                .user(name)
                .ok_or_else(|| format!("no account {name}"))?;
            let mut wanted = shown(state, user);
            edit(&mut wanted);
            apply_edit(state, name, &wanted)
        });
    }

    /// Deletes an account. It must lead nothing.
    pub fn remove_user(&self, name: &str) {
        self.core.change(true, |state| {
            let id = id_of(state, name)?;
            if !state.led_projects(id).is_empty() || !state.led_components(id).is_empty() {
                return Err(format!("{name} leads a project or a component"));
            }
            state.delete_user(id);
            Ok(())
        });
    }

    /// Deletes a group, if it is there.
    pub fn remove_group(&self, name: &str) {
        self.core.change(true, |state| {
            state.delete_group(name);
            Ok(())
        });
    }

    // What goes wrong

    /// Replaces the administrator's token; the old one is refused from now on.
    pub fn set_token(&self, token: &str) {
        token.clone_into(&mut lock(&self.core.token));
    }

    /// Gives a personal access token to any account; its rights are the account's.
    pub fn add_token(&self, token: &str, user: &str) {
        let key = match self.user(user) {
            Some(user) => user.key,
            None => panic!("emulated Jira: no account {user}"),
        };
        lock(&self.core.more_tokens).push((token.to_owned(), key));
    }

    /// Lets it behave as another version.
    pub fn set_version(&self, version: [u32; 3]) {
        self.core.state().version = version;
    }

    /// Lets no directory take new accounts, or one again.
    pub fn set_read_only_directory(&self, read_only: bool) {
        self.core.state().read_only_directory = read_only;
    }

    // The rest

    /// Tells one line for people per change of state.
    pub fn on_event(&self, listener: Box<dyn Fn(&str) + Send + Sync>) {
        self.core.events.listen(listener);
    }

    /// Writes everything it holds to a file.
    pub fn snapshot(&self, file: &Path) -> io::Result<()> {
        write_state(file, &*self.core.state())
    }

    /// Takes everything from a file written by [`snapshot`](Self::snapshot).
    pub fn restore(&self, file: &Path) -> io::Result<()> {
        *self.core.state() = indexed(file)?;
        Ok(())
    }

    /// Stops it; the same as dropping it.
    pub fn stop(self) {}
}

impl Deref for Jira {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// What stands behind the HTTP side.
struct Core {
    state: Mutex<State>,
    token: Mutex<String>,
    /// Tokens of other accounts, with the account's key.
    more_tokens: Mutex<Vec<(String, String)>>,
    admin: String,
    context_path: String,
    picker_cap: usize,
    keeps_old_case: bool,
    state_file: Option<PathBuf>,
    events: Events,
}

impl Core {
    fn new(options: &JiraOptions) -> io::Result<Self> {
        let stored = options.state_file.as_deref().filter(|file| file.exists());
        let mut state = match stored {
            Some(file) => indexed(file)?,
            None => State::new(options.version, options.default_group.clone()),
        };
        state.version = options.version;
        state.default_group.clone_from(&options.default_group);
        state.read_only_directory = options.read_only_directory;
        let (name, password) = &options.admin;
        state.create_group(ADMIN_GROUP);
        if let Some(group) = &options.default_group {
            state.create_group(group);
        }
        if state.user(name).is_none() {
            let id = state.create_user(NewUser {
                name: name.clone(),
                display_name: "Jira Administrator".into(),
                email: format!("{name}@example.com"),
                ..NewUser::default()
            });
            if let Some(user) = state.users.get_mut(&id) {
                user.system_admin = true;
            }
            state.add_member(ADMIN_GROUP, name);
            if let Some(group) = &options.default_group {
                state.add_member(group, name);
            }
        }
        if let Some(user) = state.user_mut(name) {
            user.password = Some(password.clone());
        }
        state.take_events();
        let context_path = options.context_path.trim_matches('/');
        Ok(Self {
            state: Mutex::new(state),
            token: Mutex::new(options.token.clone()),
            more_tokens: Mutex::default(),
            admin: name.clone(),
            context_path: match context_path {
                "" => String::new(),
                path => format!("/{path}"),
            },
            picker_cap: options.picker_cap,
            keeps_old_case: options.keeps_old_case,
            state_file: options.state_file.clone(),
            events: Events::default(),
        })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// A change by the test or by a person in the UI; panics where it makes no sense.
    #[track_caller]
    fn change<T>(&self, by_hand: bool, change: impl FnOnce(&mut State) -> Result<T, String>) -> T {
        match self.try_change(by_hand, change) {
            Ok(result) => result,
            Err(reason) => panic!("emulated Jira: {reason}"),
        }
    }

    fn try_change<T>(
        &self,
        by_hand: bool,
        change: impl FnOnce(&mut State) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut state = self.state();
        let result = change(&mut state)?;
        let events = state.take_events();
        self.save(&state);
        drop(state);
        if by_hand {
            self.events.tell_by_hand(&events);
        }
        Ok(result)
    }

    fn save(&self, state: &State) {
        if let Some(file) = &self.state_file
            && let Err(error) = write_state(file, state)
        {
            let line = format!("cannot write {}: {error}", file.display());
            self.events.tell([line]);
        }
    }

    /// Number of the calling account; none for anonymous ones.
    fn authenticate(&self, state: &State, request: &Request) -> Result<Option<u64>, Answer> {
        let Some(header) = request.header("authorization") else {
            return Ok(None);
        };
        let (scheme, value) = header.split_once(' ').unwrap_or((header, ""));
        let user = if scheme.eq_ignore_ascii_case("bearer") {
            let token = value.trim();
            if token == *lock(&self.token) {
                state.user(&self.admin)
            } else {
                let tokens = lock(&self.more_tokens);
                let key = tokens
                    .iter()
                    .find(|(known, _)| known == token)
                    .map(|(_, key)| key);
                key.and_then(|key| state.user_by_key(key))
            }
        } else if scheme.eq_ignore_ascii_case("basic") {
            let decoded = base64::engine::general_purpose::STANDARD.decode(value.trim());
            let pair = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
            pair.as_deref()
                .and_then(|pair| pair.split_once(':'))
                .and_then(|(name, password)| {
                    let user = state.user(name)?;
                    // A personal access token is no password for Basic.
                    (user.password.as_deref() == Some(password)).then_some(user)
                })
        } else {
            None
        };
        match user.filter(|user| user.active) {
            Some(user) => Ok(Some(user.id)),
            None => Err(unauthenticated(scheme)),
        }
    }
}

impl Emulated for Core {
    fn answer(&self, request: &Request) -> Answer {
        let mut state = self.state();
        let answer = self.answer_with(&mut state, request);
        let events = state.take_events();
        if !events.is_empty() {
            self.save(&state);
        }
        drop(state);
        let answer = Answer {
            changed: !events.is_empty(),
            ..answer
        };
        self.events.tell(events);
        answer
    }

    fn control(&self, front: &Arc<Front>, request: &Request) -> Option<Answer> {
        control::answer(self, front, request)
    }
}

impl Core {
    fn answer_with(&self, state: &mut State, request: &Request) -> Answer {
        let caller = match self.authenticate(state, request) {
            Ok(caller) => caller,
            Err(refusal) => return refusal,
        };
        if let Some(refusal) = xsrf(request) {
            return refusal;
        }
        let Some(path) = request.path.strip_prefix(&self.context_path) else {
            return Answer::html(404, "Not Found");
        };
        let host = request.header("host").unwrap_or("localhost");
        let base = format!("http://{host}{}", self.context_path);
        let below = Request {
            path: path.to_owned(),
            ..Request::default()
        };
        let segments = below.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let options = Settings {
            picker_cap: self.picker_cap,
            keeps_old_case: self.keeps_old_case,
            now: now_ms(),
        };
        let mut call = Call {
            state,
            request,
            caller,
            base: &base,
            options,
        };
        let answer = routes::route(&mut call, &segments).unwrap_or_else(|refusal| refusal);
        let name = caller.and_then(|id| Some(encode_header(&state.users.get(&id)?.name)));
        answer.with_header("X-AUSERNAME", name.unwrap_or_else(|| "anonymous".into()))
    }
}

/// Writes that look as if a browser sent them must say that they are none.
fn xsrf(request: &Request) -> Option<Answer> {
    let browser = request
        .header("user-agent")
        .is_some_and(|agent| agent.contains("Mozilla/"));
    let suspicious = browser || request.header("cookie").is_some();
    let token = request.header("x-atlassian-token").unwrap_or_default();
    let cleared = ["no-check", "nocheck"]
        .iter()
        .any(|it| it.eq_ignore_ascii_case(token));
    let refused = request.is_write() && suspicious && !cleared;
    refused.then(|| Answer::text(403, "XSRF check failed"))
}

fn unauthenticated(scheme: &str) -> Answer {
    let answer = if scheme.eq_ignore_ascii_case("basic") {
        Answer::html(401, "Unauthorized (401)")
            .with_header("X-Seraph-LoginReason", "AUTHENTICATED_FAILED")
    } else {
        refused(401, "Client must be authenticated to access this resource.")
    };
    answer.with_header("WWW-Authenticate", "OAuth realm=\"jira\"")
}

/// Header values take visible ASCII.
fn encode_header(name: &str) -> String {
    beans::encode(name).replace("%40", "@")
}

fn now_ms() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the emulator is a system of its own with its own clock"
    )]
    jiff::Timestamp::now().as_millisecond()
}

fn shown(state: &State, user: &User) -> JiraUser {
    let groups = user.groups.iter().filter_map(|name| state.groups.get(name));
    JiraUser {
        key: user.key.clone(),
        name: user.name.clone(),
        display_name: user.display_name.clone(),
        email: user.email.clone(),
        active: user.active,
        groups: groups.map(|group| group.name.clone()).collect(),
        read_only: user.read_only,
        notified: user.notified,
        has_password: user.password.is_some(),
    }
}

fn id_of(state: &State, name: &str) -> Result<u64, String> {
    state
        .user(name)
        .map(|user| user.id)
        .ok_or_else(|| format!("no account {name}"))
}

fn mutable<'a>(state: &'a mut State, name: &str) -> Result<&'a mut User, String> {
    state
        .user_mut(name)
        .ok_or_else(|| format!("no account {name}"))
}

fn seed_user(
    state: &mut State,
    name: &str,
    display_name: &str,
    email: &str,
) -> Result<String, String> {
    if state.user(name).is_some() {
        return Err(format!("an account {name} is there already"));
    }
    let id = state.create_user(NewUser {
        name: name.to_owned(),
        display_name: display_name.to_owned(),
        email: email.to_owned(),
        ..NewUser::default()
    });
    state
        .users
        .get(&id)
        .map(|user| user.key.clone())
        .ok_or_else(|| "not created".to_owned())
}

fn seed_member(state: &mut State, group: &str, user: &str) -> Result<(), String> {
    id_of(state, user)?;
    state.create_group(group);
    state.add_member(group, user);
    Ok(())
}

fn seed_project(
    state: &mut State,
    key: &str,
    lead: &str,
    components: &[(&str, &str)],
) -> Result<(), String> {
    if state.project(key).is_some() {
        return Err(format!("a project {key} is there already"));
    }
    let lead = id_of(state, lead)?;
    let leads: Result<Vec<_>, String> = components
        .iter()
        .map(|(_, lead)| {
            if lead.is_empty() {
                Ok(None)
            } else {
                id_of(state, lead).map(Some)
            }
        })
        .collect();
    let leads = leads?;
    let project = state.create_project(key, &format!("Project {key}"), lead);
    for ((name, _), lead) in components.iter().zip(leads) {
        state.create_component(project, name, lead);
    }
    Ok(())
}

fn apply_edit(state: &mut State, name: &str, wanted: &JiraUser) -> Result<(), String> {
    let id = id_of(state, name)?;
    if fold(&wanted.name) != fold(name) && state.user(&wanted.name).is_some() {
        return Err(format!("an account {} is there already", wanted.name));
    }
    state.rename_user(id, &wanted.name);
    state.set_display_name(id, &wanted.display_name);
    state.set_email(id, &wanted.email);
    state.set_active(id, wanted.active);
    let groups: BTreeSet<String> = wanted.groups.iter().map(|group| fold(group)).collect();
    let has = state
        .users
        .get(&id)
        .map(|user| user.groups.clone())
        .unwrap_or_default();
    for group in has.difference(&groups) {
        state.remove_member(group, &wanted.name);
    }
    for group in &wanted.groups {
        seed_member(state, group, &wanted.name)?;
    }
    Ok(())
}

fn indexed(file: &Path) -> io::Result<State> {
    let mut state: State = read_state(file)?;
    state.index();
    Ok(state)
}
