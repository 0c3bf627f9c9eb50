//! An emulated Bitbucket Data Center that behaves like the real one, awkward sides included: accounts
//! are created by an address and answered with nothing, 401 also means "you may not", pages go on at
//! `nextPageStart` alone, nothing writes `active`, HTTP access tokens administer nothing, and the
//! permissions of a deleted account outlive it for a week.
//!
//! [`Bitbucket::start`] serves it on threads of its own; the handle seeds it, edits it as a person
//! would in its UI, looks at it, and orders faults. Misuse of the handle (a member who does not
//! exist) panics, so that a test cannot go on with a wrong picture.

mod control;
mod groups;
mod permissions;
mod routes;
mod state;
mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde::{Deserialize, Serialize};

use crate::bitbucket::routes::Call;
use crate::bitbucket::state::{State, User, fold};
use crate::kept::{Events, read_state, write_state};
use crate::server::{Answer, Emulated, Front, RateLimit, Request, Server, ServerOptions, lock};

pub use state::Permission;

/// How the emulated Bitbucket is set up.
#[derive(Debug, Clone)]
pub struct BitbucketOptions {
    /// IPv4 address to listen on.
    pub host: String,
    /// Port; 0 takes any free one.
    pub port: u16,
    /// Path in front of `/rest`, such as `/bitbucket`; empty for none.
    pub context_path: String,
    /// Version it claims.
    pub version: [u32; 3],
    /// Name and password of the administrator.
    pub admin: (String, String),
    /// HTTP access token of the administrator.
    pub token: String,
    /// Whether HTTP access tokens carry the right to administer. By default they do not
    /// (BSERV-10482).
    pub tokens_administer: bool,
    /// Group that new accounts land in and that gives the licence.
    pub default_group: Option<String>,
    /// Time that passes before each request is worked on.
    pub latency: Duration,
    /// Token bucket per caller; none for no limit.
    pub rate_limit: Option<RateLimit>,
    /// Most results on one page, whatever was asked for.
    pub page_cap: usize,
    /// How many accounts may be licensed; none for any number.
    pub licences: Option<usize>,
    /// Whether there is a call that lists the directories.
    pub lists_directories: bool,
    /// Requests kept for [`Server::requests`]; the oldest go first.
    pub keep_requests: usize,
}

impl Default for BitbucketOptions {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 0,
            context_path: String::new(),
            version: [9, 2, 0],
            admin: ("admin".into(), "admin-password".into()),
            token: "emulated-bitbucket-token".into(),
            tokens_administer: false,
            default_group: Some("stash-users".into()),
            latency: Duration::ZERO,
            rate_limit: None,
            page_cap: 1000,
            licences: None,
            lists_directories: true,
            keep_requests: 200_000,
        }
    }
}

/// An account as it stands in the emulated Bitbucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BitbucketUser {
    /// Stable number.
    pub id: u32,
    /// Username.
    pub name: String,
    /// Full name.
    pub display_name: String,
    /// E-mail address.
    pub email: String,
    /// What its directory says.
    pub active: bool,
    /// Names of the groups it is a member of, sorted case-insensitively.
    pub groups: Vec<String>,
    /// The highest global permission of its own.
    pub permission: Option<Permission>,
    /// Whether it may sign in: active, and permitted to by itself or through a group.
    pub licensed: bool,
    /// Whether a mail was sent when it was created.
    pub notified: bool,
    /// How often its password was set.
    pub passwords: usize,
}

/// A running emulated Bitbucket. It stops when this is dropped.
pub struct Bitbucket {
    core: Arc<Core>,
    server: Server,
}

impl Bitbucket {
    /// Starts to serve.
    pub fn start(options: BitbucketOptions) -> io::Result<Self> {
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
    pub fn users(&self) -> Vec<BitbucketUser> {
        let state = self.core.state();
        let users = state.users_by_name();
        users.map(|user| shown(&state, user)).collect()
    }

    /// One account, by its name in any case.
    pub fn user(&self, name: &str) -> Option<BitbucketUser> {
        let state = self.core.state();
        state.user(name).map(|user| shown(&state, user))
    }

    /// Names of all groups, sorted case-insensitively.
    pub fn groups(&self) -> Vec<String> {
        let state = self.core.state();
        state.groups.values().map(|it| it.name.clone()).collect()
    }

    /// Names of the members of a group; empty if there is no such group.
    pub fn members(&self, group: &str) -> Vec<String> {
        let state = self.core.state();
        let members = state.members_of(group);
        members.into_iter().map(|user| user.name.clone()).collect()
    }

    /// The password of an account, in the clear.
    pub fn password(&self, name: &str) -> Option<String> {
        self.core.state().user(name)?.password.clone()
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

    /// Puts an account there and returns its number. It is in no group and may not sign in.
    pub fn seed_user(&self, name: &str, display_name: &str, email: &str) -> u32 {
        let now_ms = self.core.now_ms();
        self.core.change(false, |state| {
            if state.user(name).is_some() {
                return Err(format!("an account {name} is there already"));
            }
            Ok(state.create_user(name, display_name, email, now_ms))
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

    /// Gives an account a global permission of its own, or none.
    pub fn permit(&self, user: &str, permission: Option<Permission>) {
        self.core.change(false, |state| {
            mutable(state, user)?;
            state.permit(user, permission);
            Ok(())
        });
    }

    /// Gives a group, created if need be, a global permission, or none.
    pub fn permit_group(&self, group: &str, permission: Option<Permission>) {
        self.core.change(false, |state| {
            state.create_group(group);
            if let Some(group) = state.groups.get_mut(&fold(group)) {
                group.permission = permission;
            }
            Ok(())
        });
    }

    /// Gives an account a password, so that it can log in with Basic.
    pub fn set_password(&self, user: &str, password: &str) {
        self.core.change(false, |state| {
            mutable(state, user)?;
            state.set_password(user, password);
            Ok(())
        });
    }

    /// Puts an account into a read-only directory: neither it nor its groups can be written.
    pub fn set_read_only(&self, user: &str, directory: &str) {
        self.core.change(false, |state| {
            let user = mutable(state, user)?;
            user.read_only = true;
            directory.clone_into(&mut user.directory);
            Ok(())
        });
    }

    // What a person does in the UI

    /// Edits an account: what the closure changes of name, full name, e-mail, active, groups and
    /// permission is taken over; no rule of REST applies.
    pub fn edit_user(&self, name: &str, edit: impl FnOnce(&mut BitbucketUser)) {
        self.core.change(true, |state| {
            let user = state
                .user(name)
                .ok_or_else(|| format!("no account {name}"))?;
            let mut wanted = shown(state, user);
            edit(&mut wanted);
            apply_edit(state, name, &wanted)
        });
    }

    /// Deletes an account.
    pub fn remove_user(&self, name: &str) {
        let now_ms = self.core.now_ms();
        self.core.change(true, |state| {
            let id = mutable(state, name)?.id;
            state.delete_user(id, now_ms);
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

    /// Lets no directory take new accounts, or one again.
    pub fn set_read_only_directory(&self, read_only: bool) {
        self.core.state().read_only_directory = read_only;
    }

    /// How many accounts may be licensed from now on.
    pub fn set_licences(&self, licences: Option<usize>) {
        self.core.state().licences = licences;
    }

    // The rest

    /// Lets time pass, for what is kept for a while only.
    pub fn advance(&self, time: Duration) {
        *lock(&self.core.ahead) += time;
    }

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
}

impl Deref for Bitbucket {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// What stands behind the HTTP side.
struct Core {
    state: Mutex<State>,
    token: String,
    tokens_administer: bool,
    admin: String,
    context_path: String,
    page_cap: usize,
    lists_directories: bool,
    started: Instant,
    ahead: Mutex<Duration>,
    events: Events,
}

impl Core {
    fn new(options: &BitbucketOptions) -> Self {
        let mut state = State::default();
        state.version = options.version;
        state.default_group.clone_from(&options.default_group);
        state.licences = options.licences;
        let (name, password) = &options.admin;
        let email = format!("{name}@example.com");
        state.create_user(name, "Bitbucket Administrator", &email, 0);
        state.set_password(name, password);
        state.permit(name, Some(Permission::SysAdmin));
        if let Some(group) = &options.default_group {
            state.create_group(group);
            if let Some(group) = state.groups.get_mut(&fold(group)) {
                group.permission = Some(Permission::LicensedUser);
            }
        }
        state.take_events();
        Self {
            state: Mutex::new(state),
            token: options.token.clone(),
            tokens_administer: options.tokens_administer,
            admin: name.clone(),
            context_path: match options.context_path.trim_matches('/') {
                "" => String::new(),
                path => format!("/{path}"),
            },
            page_cap: options.page_cap.max(1),
            lists_directories: options.lists_directories,
            started: Instant::now(),
            ahead: Mutex::default(),
            events: Events::default(),
        }
    }

    fn now_ms(&self) -> u64 {
        let now = self.started.elapsed() + *lock(&self.ahead);
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// A change by the test or by a person in the UI; panics where it makes no sense.
    #[track_caller]
    fn change<T>(&self, by_hand: bool, change: impl FnOnce(&mut State) -> Result<T, String>) -> T {
        let mut state = self.state();
        let result = match change(&mut state) {
            Ok(result) => result,
            Err(reason) => panic!("emulated Bitbucket: {reason}"),
        };
        let events = state.take_events();
        drop(state);
        if by_hand {
            self.events.tell_by_hand(&events);
        }
        result
    }

    /// The calling account and whether its credential administers nothing; none for anonymous ones.
    fn authenticate(
        &self,
        state: &State,
        request: &Request,
    ) -> Result<Option<(u32, bool)>, Answer> {
        let Some(header) = request.header("authorization") else {
            return Ok(None);
        };
        let (scheme, value) = header.split_once(' ').unwrap_or((header, ""));
        let bearer = scheme.eq_ignore_ascii_case("bearer");
        let user = if bearer {
            let known = value.trim() == self.token;
            known.then(|| state.user(&self.admin)).flatten()
        } else {
            let decoded = base64::engine::general_purpose::STANDARD.decode(value.trim());
            let pair = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let known = pair.as_deref().and_then(|pair| pair.split_once(':'));
            known.and_then(|(name, password)| {
                let user = state.user(name)?;
                (user.password.as_deref() == Some(password)).then_some(user)
            })
        };
        match user.filter(|user| state.permitted(user).is_some()) {
            Some(user) => Ok(Some((user.id, bearer && !self.tokens_administer))),
            None => Err(routes::refused(
                401,
                None,
                "Authentication failed. Please check your credentials and try again.",
                "com.atlassian.bitbucket.auth.IncorrectPasswordAuthenticationException",
            )),
        }
    }

    fn answer_with(&self, state: &mut State, request: &Request) -> Answer {
        let caller = match self.authenticate(state, request) {
            Ok(caller) => caller,
            Err(refusal) => return refusal,
        };
        let below = request.path.strip_prefix(&self.context_path);
        let Some(below) = below else {
            return Answer::html(404, "Not Found");
        };
        let below = Request {
            path: below.to_owned(),
            ..Request::default()
        };
        let segments = below.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["rest", "api", "1.0" | "latest", path @ ..] = &segments[..] else {
            return Answer::html(404, "Not Found");
        };
        let name = caller
            .and_then(|(id, _)| state.users.get(&id))
            .map(|user| user.name.clone());
        let mut call = Call {
            state,
            request,
            caller: caller.map(|(id, _)| id),
            powerless: caller.is_some_and(|(_, powerless)| powerless),
            page_cap: self.page_cap,
            lists_directories: self.lists_directories,
            now_ms: self.now_ms(),
        };
        let answer = routes::route(&mut call, path).unwrap_or_else(|refusal| refusal);
        match name {
            Some(name) => answer.with_header("X-AUSERNAME", name),
            None => answer,
        }
    }
}

impl Emulated for Core {
    fn answer(&self, request: &Request) -> Answer {
        let mut state = self.state();
        let answer = self.answer_with(&mut state, request);
        let events = state.take_events();
        drop(state);
        let answer = Answer {
            changed: !events.is_empty(),
            ..answer
        };
        self.events.tell(events);
        answer
    }

    fn control(&self, front: &Arc<Front>, request: &Request) -> Option<Answer> {
        crate::server::control(front, request, || control::picture(&self.state()))
    }
}

fn count(counts: &BTreeMap<String, usize>, name: &str) -> usize {
    counts.get(&fold(name)).copied().unwrap_or_default()
}

fn shown(state: &State, user: &User) -> BitbucketUser {
    let groups = state.groups_of(user).into_iter();
    BitbucketUser {
        id: user.id,
        name: user.name.clone(),
        display_name: user.display_name.clone(),
        email: user.email.clone(),
        active: user.active,
        groups: groups.map(|group| group.name.clone()).collect(),
        permission: user.permission,
        licensed: state.permitted(user).is_some(),
        notified: user.notified,
        passwords: user.passwords,
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

fn apply_edit(state: &mut State, name: &str, wanted: &BitbucketUser) -> Result<(), String> {
    let id = mutable(state, name)?.id;
    if fold(&wanted.name) != fold(name) && state.user(&wanted.name).is_some() {
        return Err(format!("an account {} is there already", wanted.name));
    }
    state.rename_user(id, &wanted.name);
    state.set_details(id, &wanted.display_name, &wanted.email);
    state.permit(&wanted.name, wanted.permission);
    mutable(state, &wanted.name)?.active = wanted.active;
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
