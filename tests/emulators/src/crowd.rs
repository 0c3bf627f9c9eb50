//! An emulated Crowd (`/rest/usermanagement/1`), or a Jira that acts as one, that behaves like the
//! real one, awkward sides included.
//!
//! [`Crowd::start`] serves it on threads of its own; the handle seeds it, edits it as a person
//! would in its UI, looks at it, and orders faults. Misuse of the handle (a member who does not
//! exist) panics, so that a test cannot go on with a wrong picture.
//!
//! Not emulated: events, webhooks, the query language of `GET /search`, the admin interface.

mod entities;
mod groups;
mod members;
mod routes;
mod search;
mod sessions;
mod state;
mod users;
mod xml;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine as _;
use serde::{Deserialize, Serialize};

use crate::crowd::entities::Builder;
use crate::crowd::routes::{Call, Settings};
use crate::crowd::state::{Profile, State, User, fold};
use crate::kept::{Events, read_state, write_state};
use crate::server::{Answer, Emulated, RateLimit, Request, Server, ServerOptions, lock};

/// The header by which a client knows that Crowd itself answers.
const MARK: &str = "X-Embedded-Crowd-Version";

/// How the emulated Crowd is set up.
#[derive(Debug, Clone)]
pub struct CrowdOptions {
    /// IPv4 address to listen on.
    pub host: String,
    /// Port; 0 takes any free one.
    pub port: u16,
    /// Path in front of `/rest`, such as `/crowd`; empty for none.
    pub context_path: String,
    /// What it calls itself: `Crowd`, or `JIRA` for a Jira that acts as Crowd server.
    pub product: String,
    /// Version it claims and behaves as.
    pub version: [u32; 3],
    /// Name and password of the application.
    pub application: (String, String),
    /// Whether accounts have stable keys. Old versions know none.
    pub keys: bool,
    /// Longer passwords are refused.
    pub longest_password: usize,
    /// Time that passes before each request is worked on.
    pub latency: Duration,
    /// Token bucket per caller; none for no limit.
    pub rate_limit: Option<RateLimit>,
    /// Requests kept for [`Crowd::requests`]; the oldest go first.
    pub keep_requests: usize,
    /// File to start from, if it exists, and to write after each change, before it is answered.
    pub state_file: Option<PathBuf>,
}

impl Default for CrowdOptions {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 0,
            context_path: "/crowd".into(),
            product: "Crowd".into(),
            version: [6, 1, 0],
            application: ("usher".into(), "application-password".into()),
            keys: true,
            longest_password: 128,
            latency: Duration::ZERO,
            rate_limit: None,
            keep_requests: 200_000,
            state_file: None,
        }
    }
}

/// An account as it stands in the emulated Crowd.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CrowdUser {
    /// Stable key; empty if this Crowd shows none.
    pub key: String,
    /// Username.
    pub name: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Full name.
    pub display_name: String,
    /// E-mail address.
    pub email: String,
    /// Whether it may sign in.
    pub active: bool,
    /// Names of the groups it is a direct member of, sorted case-insensitively.
    pub groups: Vec<String>,
    /// Its attributes.
    pub attributes: BTreeMap<String, Vec<String>>,
}

/// A running emulated Crowd. It stops when this is dropped.
pub struct Crowd {
    core: Arc<Core>,
    server: Server,
}

impl Crowd {
    /// Starts to serve.
    pub fn start(options: CrowdOptions) -> io::Result<Self> {
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
    pub fn users(&self) -> Vec<CrowdUser> {
        let state = self.core.state();
        let users = state.users.values();
        users.map(|user| self.core.shown(&state, user)).collect()
    }

    /// One account, by its name in any case.
    pub fn user(&self, name: &str) -> Option<CrowdUser> {
        let state = self.core.state();
        state.user(name).map(|user| self.core.shown(&state, user))
    }

    /// Names of all groups, sorted case-insensitively.
    pub fn groups(&self) -> Vec<String> {
        let state = self.core.state();
        state.groups.values().map(|it| it.name.clone()).collect()
    }

    /// Names of the direct members of a group; empty if there is no such group.
    pub fn members(&self, group: &str) -> Vec<String> {
        let state = self.core.state();
        let members = state.group(group).map(|it| it.members.clone());
        let members = members.unwrap_or_default();
        let users = members.iter().filter_map(|name| state.users.get(name));
        users.map(|user| user.name.clone()).collect()
    }

    /// The password of an account, in the clear.
    pub fn password(&self, name: &str) -> Option<String> {
        self.core.state().user(name)?.password.clone()
    }

    /// How many sessions a person has.
    pub fn sessions(&self, name: &str) -> usize {
        let state = self.core.state();
        let owners = state.sessions.values();
        owners.filter(|owner| **owner == fold(name)).count()
    }

    /// How many accounts of this name were created over REST. More than one means that one was
    /// deleted in between.
    pub fn creations(&self, name: &str) -> usize {
        let state = self.core.state();
        state
            .creations
            .get(&fold(name))
            .copied()
            .unwrap_or_default()
    }

    /// How many groups of this name were created over REST.
    pub fn group_creations(&self, name: &str) -> usize {
        let state = self.core.state();
        let made = state.group_creations.get(&fold(name));
        made.copied().unwrap_or_default()
    }

    // What was there before; told to nobody

    /// Puts an active account there and returns its key (empty if this Crowd shows none). It is in
    /// no group; its first and last name are made of the display name.
    pub fn seed_user(&self, name: &str, display_name: &str, email: &str) -> String {
        let (first_name, last_name) = display_name.rsplit_once(' ').unwrap_or(("", display_name));
        let profile = Profile {
            first_name: first_name.to_owned(),
            last_name: last_name.to_owned(),
            display_name: display_name.to_owned(),
            email: email.to_owned(),
            active: true,
        };
        self.core.change(false, |state| {
            if state.create_user(name, profile, None) {
                Ok(())
            } else {
                Err(format!("an account {name} is there already"))
            }
        });
        self.user(name).map(|user| user.key).unwrap_or_default()
    }

    /// Puts a group there, unless it is there.
    pub fn seed_group(&self, name: &str) {
        self.core.change(false, |state| {
            state.create_group(name, "", true);
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
            state.create_group(group, "", true);
            state.create_group(subgroup, "", true);
            state.nest(group, subgroup);
            Ok(())
        });
    }

    /// Begins a session of a person.
    pub fn seed_session(&self, user: &str) {
        self.core.change(false, |state| {
            state.start_session(user);
            Ok(())
        });
    }

    /// Gives an account a password.
    pub fn set_password(&self, user: &str, password: &str) {
        self.core.change(false, |state| {
            mutable(state, user)?.password = Some(password.to_owned());
            Ok(())
        });
    }

    /// Puts an account into a directory in which the application may not write.
    pub fn set_read_only(&self, user: &str) {
        self.core.change(false, |state| {
            mutable(state, user)?.read_only = true;
            Ok(())
        });
    }

    // What a person does in the UI

    /// Edits an account: what the closure changes is taken over, but for the key.
    pub fn edit_user(&self, name: &str, edit: impl FnOnce(&mut CrowdUser)) {
        self.core.change(true, |state| {
            let user = state
                .user(name)
                .ok_or_else(|| format!("no account {name}"))?;
            let mut wanted = self.core.shown(state, user);
            edit(&mut wanted);
            apply_edit(state, name, wanted)
        });
    }

    /// Deletes an account.
    pub fn remove_user(&self, name: &str) {
        self.core.change(true, |state| {
            mutable(state, name)?;
            state.delete_user(name);
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

    /// Replaces the application's password; the old one is refused from now on.
    pub fn set_application_password(&self, password: &str) {
        password.clone_into(&mut self.core.switches().password);
    }

    /// Takes the caller's address out of the application's remote addresses, or in again.
    pub fn set_address_allowed(&self, allowed: bool) {
        self.core.switches().address_refused = !allowed;
    }

    /// Takes the permission to write from the application in all directories, or gives it back.
    pub fn set_writable(&self, writable: bool) {
        self.core.switches().read_only = !writable;
    }

    /// Leaves out the header by which Crowd is known, as if something else answered.
    pub fn set_marked(&self, marked: bool) {
        self.core.switches().unmarked = !marked;
    }

    /// Lets it behave as another version.
    pub fn set_version(&self, version: [u32; 3]) {
        self.core.switches().version = version;
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
        *self.core.state() = read_state(file)?;
        Ok(())
    }

    /// Stops it; the same as dropping it.
    pub fn stop(self) {}
}

impl Deref for Crowd {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// What can be changed while it runs.
struct Switches {
    password: String,
    version: [u32; 3],
    address_refused: bool,
    read_only: bool,
    unmarked: bool,
}

/// What stands behind the HTTP side.
struct Core {
    state: Mutex<State>,
    switches: Mutex<Switches>,
    application: String,
    product: String,
    keys: bool,
    longest_password: usize,
    context_path: String,
    state_file: Option<PathBuf>,
    events: Events,
}

impl Core {
    fn new(options: &CrowdOptions) -> io::Result<Self> {
        let stored = options.state_file.as_deref().filter(|file| file.exists());
        let mut state = match stored {
            Some(file) => read_state(file)?,
            None => State::default(),
        };
        state.create_group("crowd-administrators", "", true);
        state.take_events();
        let context_path = options.context_path.trim_matches('/');
        let (name, password) = &options.application;
        Ok(Self {
            state: Mutex::new(state),
            switches: Mutex::new(Switches {
                password: password.clone(),
                version: options.version,
                address_refused: false,
                read_only: false,
                unmarked: false,
            }),
            application: name.clone(),
            product: options.product.clone(),
            keys: options.keys,
            longest_password: options.longest_password,
            context_path: match context_path {
                "" => String::new(),
                path => format!("/{path}"),
            },
            state_file: options.state_file.clone(),
            events: Events::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn switches(&self) -> MutexGuard<'_, Switches> {
        lock(&self.switches)
    }

    fn shown(&self, state: &State, user: &User) -> CrowdUser {
        let groups = user.groups.iter().filter_map(|name| state.groups.get(name));
        CrowdUser {
            key: if self.keys {
                user.key.clone()
            } else {
                String::new()
            },
            name: user.name.clone(),
            first_name: user.first_name.clone(),
            last_name: user.last_name.clone(),
            display_name: user.display_name.clone(),
            email: user.email.clone(),
            active: user.active,
            groups: groups.map(|group| group.name.clone()).collect(),
            attributes: user.attributes.clone(),
        }
    }

    /// A change by the test or by a person in the UI; panics where it makes no sense.
    #[track_caller]
    fn change(&self, by_hand: bool, change: impl FnOnce(&mut State) -> Result<(), String>) {
        let mut state = self.state();
        let result = change(&mut state);
        let events = state.take_events();
        self.save(&state);
        drop(state);
        if let Err(reason) = result {
            panic!("emulated Crowd: {reason}");
        }
        if by_hand {
            self.events.tell_by_hand(&events);
        }
    }

    fn save(&self, state: &State) {
        if let Some(file) = &self.state_file
            && let Err(error) = write_state(file, state)
        {
            let line = format!("cannot write {}: {error}", file.display());
            self.events.tell([line]);
        }
    }

    /// An application signs in, no person. The addresses that it may come from are looked at
    /// before its password.
    fn refused(&self, request: &Request) -> Option<Answer> {
        let header = request.header("authorization").unwrap_or_default();
        let (scheme, value) = header.split_once(' ').unwrap_or((header, ""));
        let pair = base64::engine::general_purpose::STANDARD.decode(value.trim());
        let pair = pair.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = pair.filter(|_| scheme.eq_ignore_ascii_case("basic"));
        let known = pair
            .as_deref()
            .and_then(|pair| pair.split_once(':'))
            .filter(|(name, _)| fold(name) == fold(&self.application));
        let challenge = || {
            let text = Answer::text(401, "Application failed to authenticate");
            Some(text.with_header("WWW-Authenticate", "Basic realm=\"Crowd REST Service\""))
        };
        let Some((_, password)) = known else {
            return challenge();
        };
        let switches = self.switches();
        if switches.address_refused {
            let title = format!(
                "Client with address \"127.0.0.1\" is forbidden from making requests to the application, {}.",
                self.application
            );
            return Some(Answer::html(403, &title));
        }
        if password == switches.password {
            None
        } else {
            challenge()
        }
    }

    fn answer_with(&self, state: &mut State, request: &Request) -> Answer {
        let (version, read_only, unmarked) = {
            let switches = self.switches();
            (switches.version, switches.read_only, switches.unmarked)
        };
        let below = request
            .path
            .strip_prefix(&self.context_path)
            .map(|path| Request {
                path: path.to_owned(),
                ..Request::default()
            });
        let segments = below.map(|below| below.segments()).unwrap_or_default();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["rest", "usermanagement", "1" | "latest", path @ ..] = &segments[..] else {
            return Answer::html(404, "Not Found");
        };
        let answer = self.refused(request).unwrap_or_else(|| {
            let host = request.header("host").unwrap_or("localhost");
            let base = format!("http://{host}{}/rest/usermanagement/1", self.context_path);
            let mut call = Call {
                state,
                request,
                build: Builder {
                    base: &base,
                    keys: self.keys,
                },
                options: Settings {
                    version,
                    read_only,
                    longest_password: self.longest_password,
                },
            };
            routes::route(&mut call, path).unwrap_or_else(|refusal| refusal)
        });
        if unmarked {
            return answer;
        }
        let [major, minor, patch] = version;
        answer.with_header(MARK, format!("{}/{major}.{minor}.{patch}", self.product))
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

    fn is_write(&self, request: &Request) -> bool {
        request.is_write() && !request.path.ends_with("/search")
    }
}

fn mutable<'a>(state: &'a mut State, name: &str) -> Result<&'a mut User, String> {
    state
        .user_mut(name)
        .ok_or_else(|| format!("no account {name}"))
}

fn seed_member(state: &mut State, group: &str, user: &str) -> Result<(), String> {
    mutable(state, user)?;
    state.create_group(group, "", true);
    state.add_member(group, user);
    Ok(())
}

fn apply_edit(state: &mut State, name: &str, wanted: CrowdUser) -> Result<(), String> {
    if fold(&wanted.name) != fold(name) && state.user(&wanted.name).is_some() {
        return Err(format!("an account {} is there already", wanted.name));
    }
    state.rename_user(name, &wanted.name);
    let has = mutable(state, &wanted.name)?.groups.clone();
    let profile = Profile {
        first_name: wanted.first_name,
        last_name: wanted.last_name,
        display_name: wanted.display_name,
        email: wanted.email,
        active: wanted.active,
    };
    state.replace_user(&wanted.name, profile);
    mutable(state, &wanted.name)?.attributes = wanted.attributes;
    let groups: BTreeSet<String> = wanted.groups.iter().map(|group| fold(group)).collect();
    for group in has.difference(&groups) {
        state.remove_member(group, &wanted.name);
    }
    for group in &wanted.groups {
        seed_member(state, group, &wanted.name)?;
    }
    Ok(())
}
