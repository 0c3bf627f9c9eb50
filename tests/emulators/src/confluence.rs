//! An emulated Confluence Data Center that behaves like the real one, awkward sides included.
//!
//! Versions differ: accounts can be created over REST from 8.4 on, the permissions can be read from
//! 9.4 on, and accounts can be updated from 10.0 on ([`ConfluenceOptions::version`]).
//!
//! [`Confluence::start`] serves it on threads of its own; the handle seeds it, edits it as a person
//! would in its UI, looks at it, and orders faults. Misuse of the handle (a member who does not
//! exist) panics, so that a test cannot go on with a wrong picture.

mod control;
mod groups;
mod routes;
mod state;
mod users;

use std::collections::BTreeSet;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde::{Deserialize, Serialize};

use crate::confluence::routes::{Call, Settings};
use crate::confluence::state::{ADMIN_GROUP, NewUser, State, User, fold};
use crate::kept::{Events, read_state, write_state};
use crate::server::{Answer, Emulated, Front, RateLimit, Request, Server, ServerOptions, lock};

/// How the emulated Confluence is set up.
#[derive(Debug, Clone)]
pub struct ConfluenceOptions {
    /// IPv4 address to listen on.
    pub host: String,
    /// Port; 0 takes any free one.
    pub port: u16,
    /// Path in front of `/rest`, such as `/confluence`; empty for none.
    pub context_path: String,
    /// Version it claims and behaves as.
    pub version: [u32; 3],
    /// Personal access token of the administrator.
    pub token: String,
    /// Name and password of the administrator.
    pub admin: (String, String),
    /// Group that new accounts land in and that may use Confluence.
    pub default_group: Option<String>,
    /// Time that passes before each request is worked on.
    pub latency: Duration,
    /// Token bucket per caller; none for no limit.
    pub rate_limit: Option<RateLimit>,
    /// Most results on one page, whatever was asked for.
    pub page_cap: usize,
    /// How long a deletion goes on after it was answered.
    pub deletion: Duration,
    /// Whether what is left of a deleted account is still found by its key, under its key as name.
    /// It is unconfirmed whether every version does so.
    pub leaves_ghosts: bool,
    /// Whether the web server takes names with a slash in paths. By default it refuses them before
    /// Confluence sees the request.
    pub slashes_in_paths: bool,
    /// How many active accounts the licence allows; none for any number.
    pub licences: Option<usize>,
    /// Whether an account is made before the licence is looked at, and stays when it does not
    /// suffice. It is unconfirmed which of the two a real Confluence does.
    pub makes_before_it_counts: bool,
    /// Requests kept for [`Confluence::requests`]; the oldest go first.
    pub keep_requests: usize,
}

impl Default for ConfluenceOptions {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 0,
            context_path: String::new(),
            version: [10, 0, 3],
            token: "emulated-confluence-token".into(),
            admin: ("admin".into(), "admin-password".into()),
            default_group: Some("confluence-users".into()),
            latency: Duration::ZERO,
            rate_limit: None,
            page_cap: 200,
            deletion: Duration::from_millis(40),
            leaves_ghosts: true,
            slashes_in_paths: false,
            licences: None,
            makes_before_it_counts: false,
            keep_requests: 200_000,
        }
    }
}

/// An account as it stands in the emulated Confluence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfluenceUser {
    /// Stable key.
    pub key: String,
    /// Username.
    pub name: String,
    /// Full name.
    pub display_name: String,
    /// E-mail address, which no call over REST shows.
    pub email: String,
    /// Whether it may log in.
    pub active: bool,
    /// Names of the groups it is a direct member of, sorted case-insensitively.
    pub groups: Vec<String>,
    /// Whether its directory is read-only.
    pub read_only: bool,
    /// Whether a mail was sent when it was created.
    pub notified: bool,
    /// Length of the password it has; 0 for none.
    pub password_length: usize,
}

/// A running emulated Confluence. It stops when this is dropped.
pub struct Confluence {
    core: Arc<Core>,
    server: Server,
}

impl Confluence {
    /// Starts to serve.
    pub fn start(options: ConfluenceOptions) -> io::Result<Self> {
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

    /// Base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.server.address(), self.core.context_path)
    }

    // What is there

    /// All accounts by name.
    pub fn users(&self) -> Vec<ConfluenceUser> {
        let state = self.core.state();
        state
            .users_by_name()
            .map(|user| shown(&state, user))
            .collect()
    }

    /// One account, by its name in any case.
    pub fn user(&self, name: &str) -> Option<ConfluenceUser> {
        let state = self.core.state();
        state.user(name).map(|user| shown(&state, user))
    }

    /// Names of all groups, sorted case-insensitively.
    pub fn groups(&self) -> Vec<String> {
        let state = self.core.state();
        state
            .groups
            .values()
            .map(|group| group.name.clone())
            .collect()
    }

    /// Names of the direct members of a group, disabled ones too; empty if there is no such group.
    pub fn members(&self, group: &str) -> Vec<String> {
        let state = self.core.state();
        let members = state.members_of(group);
        members.into_iter().map(|user| user.name.clone()).collect()
    }

    /// How many accounts of this name were created over REST. More than one means that one was
    /// deleted in between.
    pub fn creations(&self, name: &str) -> usize {
        count(&self.core.state().creations, name)
    }

    /// How often somebody tried to create an account of this name over REST, with or without
    /// success.
    pub fn creation_attempts(&self, name: &str) -> usize {
        count(&self.core.state().creation_attempts, name)
    }

    /// How many groups of this name were created over REST.
    pub fn group_creations(&self, name: &str) -> usize {
        count(&self.core.state().group_creations, name)
    }

    // What was there before; told to nobody

    /// Puts an account there and returns its key. It is in no group, and its name may be one that
    /// REST refuses, as accounts of other directories have.
    pub fn seed_user(&self, name: &str, display_name: &str, email: &str) -> String {
        self.core.change(false, |state| {
            if state.user(name).is_some() {
                return Err(format!("an account {name} is there already"));
            }
            Ok(state.create_user(NewUser {
                name: name.to_owned(),
                display_name: display_name.to_owned(),
                email: email.to_owned(),
                ..NewUser::default()
            }))
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
            if let Some(inner) = state.groups.get_mut(&fold(subgroup)) {
                inner.parents.insert(fold(group));
            }
            Ok(())
        });
    }

    /// Gives a group, created if need be, the permission to administer.
    pub fn grant_administration(&self, group: &str) {
        self.core.change(false, |state| {
            state.create_group(group);
            if let Some(group) = state.groups.get_mut(&fold(group)) {
                group.administers = true;
            }
            Ok(())
        });
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

    /// Makes an account a system administrator, which a plain administrator cannot edit, or none.
    pub fn set_system_admin(&self, user: &str, is: bool) {
        self.core.change(false, |state| {
            mutable(state, user)?.system_admin = is;
            Ok(())
        });
    }

    // What a person does in the UI

    /// Edits an account: what the closure changes of name, full name, e-mail, active and groups is
    /// taken over; no rule of REST applies.
    pub fn edit_user(&self, name: &str, edit: impl FnOnce(&mut ConfluenceUser)) {
        self.core.change(true, |state| {
            let user = state
                .user(name)
                .ok_or_else(|| format!("no account {name}"))?;
            let mut wanted = shown(state, user);
            edit(&mut wanted);
            apply_edit(state, name, &wanted)
        });
    }

    /// Deletes an account at once.
    pub fn remove_user(&self, name: &str) {
        self.core.change(true, |state| {
            let key = mutable(state, name)?.key.clone();
            state.delete_user(&key);
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

    /// Lets it behave as another version.
    pub fn set_version(&self, version: [u32; 3]) {
        self.core.state().version = version;
    }

    /// Lets no directory take new accounts, or one again.
    pub fn set_read_only_directory(&self, read_only: bool) {
        self.core.state().read_only_directory = read_only;
    }

    /// How many active accounts the licence allows from now on.
    pub fn set_licences(&self, licences: Option<usize>) {
        self.core.state().licences = licences;
    }

    /// Lets deletions end in an error with the account disabled, or not any more.
    pub fn set_failing_deletions(&self, fail: bool) {
        self.core.state().failing_deletions = fail;
    }

    /// How long deletions that start from now on go on.
    pub fn set_deletion(&self, lasts: Duration) {
        *lock(&self.core.deletion) = lasts;
    }

    // The rest

    /// Tells one line for people per change of state.
    pub fn on_event(&self, listener: Box<dyn Fn(&str) + Send + Sync>) {
        self.core.events.listen(listener);
    }

    /// Writes everything it holds to a file; deletions under way are left out.
    pub fn snapshot(&self, file: &Path) -> io::Result<()> {
        write_state(file, &*self.core.state())
    }

    /// Takes everything from a file written by [`snapshot`](Self::snapshot).
    pub fn restore(&self, file: &Path) -> io::Result<()> {
        *self.core.state() = read_state(file)?;
        Ok(())
    }
}

impl Deref for Confluence {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// What stands behind the HTTP side.
struct Core {
    state: Mutex<State>,
    token: Mutex<String>,
    admin: String,
    context_path: String,
    page_cap: usize,
    deletion: Mutex<Duration>,
    leaves_ghosts: bool,
    slashes_in_paths: bool,
    makes_before_it_counts: bool,
    started: Instant,
    events: Events,
}

impl Core {
    fn new(options: &ConfluenceOptions) -> Self {
        let mut state = State::new(options.version, options.default_group.clone());
        state.licences = options.licences;
        let (name, password) = &options.admin;
        state.create_user(NewUser {
            name: name.clone(),
            display_name: "Confluence Administrator".into(),
            email: format!("{name}@example.com"),
            password: Some(password.clone()),
            ..NewUser::default()
        });
        if let Some(user) = state.user_mut(name) {
            user.system_admin = true;
        }
        for group in std::iter::once(ADMIN_GROUP).chain(options.default_group.as_deref()) {
            state.create_group(group);
            state.add_member(group, name);
        }
        state.take_events();
        Self {
            state: Mutex::new(state),
            token: Mutex::new(options.token.clone()),
            admin: name.clone(),
            context_path: match options.context_path.trim_matches('/') {
                "" => String::new(),
                path => format!("/{path}"),
            },
            page_cap: options.page_cap.max(1),
            deletion: Mutex::new(options.deletion),
            leaves_ghosts: options.leaves_ghosts,
            slashes_in_paths: options.slashes_in_paths,
            makes_before_it_counts: options.makes_before_it_counts,
            started: Instant::now(),
            events: Events::default(),
        }
    }

    fn now_ms(&self) -> u64 {
        milliseconds(self.started.elapsed())
    }

    /// The state, with everything done that is due by now.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = lock(&self.state);
        state.settle(self.now_ms());
        state
    }

    /// A change by the test or by a person in the UI; panics where it makes no sense.
    #[track_caller]
    fn change<T>(&self, by_hand: bool, change: impl FnOnce(&mut State) -> Result<T, String>) -> T {
        let mut state = self.state();
        let result = match change(&mut state) {
            Ok(result) => result,
            Err(reason) => panic!("emulated Confluence: {reason}"),
        };
        let events = state.take_events();
        drop(state);
        if by_hand {
            self.events.tell_by_hand(&events);
        }
        result
    }

    /// Key of the calling account; none for anonymous ones.
    fn authenticate(&self, state: &State, request: &Request) -> Result<Option<String>, Answer> {
        let Some(header) = request.header("authorization") else {
            return Ok(None);
        };
        let (scheme, value) = header.split_once(' ').unwrap_or((header, ""));
        let user = if scheme.eq_ignore_ascii_case("bearer") {
            (value.trim() == *lock(&self.token))
                .then(|| state.user(&self.admin))
                .flatten()
        } else if scheme.eq_ignore_ascii_case("basic") {
            let decoded = base64::engine::general_purpose::STANDARD.decode(value.trim());
            let pair = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let known = pair.as_deref().and_then(|pair| pair.split_once(':'));
            known.and_then(|(name, password)| {
                let user = state.user(name)?;
                (user.password.as_deref() == Some(password)).then_some(user)
            })
        } else {
            None
        };
        match user.filter(|user| user.active) {
            Some(user) => Ok(Some(user.key.clone())),
            None => Err(Answer::html(401, "Unauthorized")
                .with_header("X-Seraph-LoginReason", "AUTHENTICATED_FAILED")
                .with_header("WWW-Authenticate", "OAuth realm=\"confluence\"")),
        }
    }

    fn answer_with(&self, state: &mut State, request: &Request) -> Answer {
        // The web server's own doing: nobody has looked at the credential yet.
        let path = request.path.to_ascii_lowercase();
        if !self.slashes_in_paths && (path.contains("%2f") || path.contains("%5c")) {
            return Answer::html(400, "HTTP Status 400 - Bad Request");
        }
        let caller = match self.authenticate(state, request) {
            Ok(caller) => caller,
            Err(refusal) => return refusal,
        };
        if let Some(refusal) = xsrf(request) {
            return refusal;
        }
        let Some(below) = request.path.strip_prefix(&self.context_path) else {
            return Answer::html(404, "Not Found");
        };
        let host = request.header("host").unwrap_or("localhost");
        let base = format!("http://{host}{}", self.context_path);
        let below = Request {
            path: below.to_owned(),
            ..Request::default()
        };
        let segments = below.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let options = Settings {
            page_cap: self.page_cap,
            deletion_ms: milliseconds(*lock(&self.deletion)),
            leaves_ghosts: self.leaves_ghosts,
            makes_before_it_counts: self.makes_before_it_counts,
            now_ms: self.now_ms(),
        };
        let mut call = Call {
            state,
            request,
            caller,
            base: &base,
            context: &self.context_path,
            options,
        };
        routes::route(&mut call, &segments).unwrap_or_else(|refusal| refusal)
    }
}

impl Emulated for Core {
    fn answer(&self, request: &Request) -> Answer {
        let mut state = self.state();
        // What ended by itself is not this request's doing.
        let before = state.take_events();
        let answer = self.answer_with(&mut state, request);
        let events = state.take_events();
        drop(state);
        let answer = Answer {
            changed: !events.is_empty(),
            ..answer
        };
        self.events.tell(before.into_iter().chain(events));
        answer
    }

    fn control(&self, front: &Arc<Front>, request: &Request) -> Option<Answer> {
        crate::server::control(front, request, || control::picture(&self.state()))
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

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn count(counts: &std::collections::BTreeMap<String, usize>, name: &str) -> usize {
    counts.get(&fold(name)).copied().unwrap_or_default()
}

fn shown(state: &State, user: &User) -> ConfluenceUser {
    let groups = user.groups.iter().filter_map(|name| state.groups.get(name));
    ConfluenceUser {
        key: user.key.clone(),
        name: user.name.clone(),
        display_name: user.display_name.clone(),
        email: user.email.clone(),
        active: user.active,
        groups: groups.map(|group| group.name.clone()).collect(),
        read_only: user.read_only,
        notified: user.notified,
        password_length: user.password.as_ref().map_or(0, String::len),
    }
}

fn mutable<'a>(state: &'a mut State, name: &str) -> Result<&'a mut User, String> {
    state
        .user_mut(name)
        .ok_or_else(|| format!("no account {name}"))
}

fn seed_member(state: &mut State, group: &str, user: &str) -> Result<(), String> {
    mutable(state, user)?;
    state.create_group(group);
    state.add_member(group, user);
    Ok(())
}

fn apply_edit(state: &mut State, name: &str, wanted: &ConfluenceUser) -> Result<(), String> {
    let key = mutable(state, name)?.key.clone();
    if fold(&wanted.name) != fold(name) && state.user(&wanted.name).is_some() {
        return Err(format!("an account {} is there already", wanted.name));
    }
    state.rename_user(&key, &wanted.name);
    state.set_display_name(&key, &wanted.display_name);
    state.set_email(&key, &wanted.email);
    state.set_active(&key, wanted.active);
    let groups: BTreeSet<String> = wanted.groups.iter().map(|group| fold(group)).collect();
    let has = mutable(state, &wanted.name)?.groups.clone();
    for group in has.difference(&groups) {
        state.remove_member(group, &wanted.name);
    }
    for group in &wanted.groups {
        seed_member(state, group, &wanted.name)?;
    }
    Ok(())
}
