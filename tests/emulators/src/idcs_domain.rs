//! The serving side of an IDCS domain: the OAuth endpoints and the part of `/admin/v1` that is read.
//!
//! Awkward sides included: members only on request and paged inside the attribute, a refusal above
//! 10,000 members, 50 rows unless asked for more and never more than 1,000, `itemsPerPage` that echoes
//! what was asked, the recovery address first, signing keys behind a token with a constant key id, an
//! issuer that is the same for every domain, and 429 without `Retry-After`. [`Trouble`] spoils a chosen
//! page of a chosen list.

mod keys;
mod oauth;
mod query;
mod state;

use std::io;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};

use crate::idcs::Person;
use crate::server::{Answer, Emulated, RateLimit, Request, Server, ServerOptions, lock};

pub use keys::{KEY_ID, SigningKey};
use state::{Grant, Group, State, User};

/// The issuer that every domain states.
pub const ISSUER: &str = "https://identity.oraclecloud.com/";
/// Rows of a list that does not ask for a number.
const DEFAULT_COUNT: usize = 50;
/// Most rows of a list, whatever was asked for.
const MAX_COUNT: usize = 1000;
/// Most members in one answer.
const MAX_MEMBERS: usize = 10_000;
const ERROR_EXTENSION: &str = "urn:ietf:params:scim:api:oracle:idcs:extension:messages:Error";

/// How the domain is set up.
#[derive(Debug, Clone)]
pub struct DomainOptions {
    /// Port; 0 takes any free one.
    pub port: u16,
    /// Client id of the confidential application.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// App roles of the application, in Oracle's words.
    pub roles: Vec<String>,
    /// Name of the tenant, as in tokens.
    pub tenant: String,
    /// Lifetime of access tokens in seconds.
    pub expires_in: u64,
    /// Time that passes before each request is worked on.
    pub latency: Duration,
    /// Token bucket for each caller; 429 beyond it, without `Retry-After`.
    pub rate_limit: Option<RateLimit>,
    /// Most rows of a list of users or grants, whatever was asked for.
    pub page_cap: usize,
    /// The same of groups.
    pub group_cap: usize,
    /// The same of members inside a group.
    pub member_cap: usize,
    /// Requests kept for [`Server::requests`].
    pub keep_requests: usize,
}

impl Default for DomainOptions {
    fn default() -> Self {
        Self {
            port: 0,
            client_id: "usher-client".into(),
            client_secret: "usher-client-secret".into(),
            roles: vec![
                "Audit Administrator".into(),
                "Application Administrator".into(),
            ],
            tenant: "idcs-0123456789abcdef0123456789abcdef".into(),
            expires_in: 3600,
            latency: Duration::ZERO,
            rate_limit: None,
            page_cap: MAX_COUNT,
            group_cap: MAX_COUNT,
            member_cap: MAX_COUNT,
            keep_requests: 100_000,
        }
    }
}

/// One of the lists that are read page by page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `/admin/v1/Users`
    Users,
    /// `/admin/v1/Groups`
    Groups,
    /// The members inside one group.
    Members,
    /// `/admin/v1/Grants`
    Grants,
}

impl List {
    /// All lists.
    pub const ALL: [Self; 4] = [Self::Users, Self::Groups, Self::Members, Self::Grants];
}

/// What is wrong with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// 503 instead of the page.
    Unavailable,
    /// 500 instead of the page.
    Broken,
    /// 403 instead of the page.
    Forbidden,
    /// 401 instead of the page, whatever the token.
    Unauthorized,
    /// 429 instead of the page.
    Throttled,
    /// No rows on it, everything else as it should be.
    Empty,
    /// Half of its rows.
    Half,
    /// No rows, and `totalResults` says that there is nothing.
    Nothing,
    /// The list ends here: `totalResults` says that these rows were all.
    EndsHere,
    /// The text ends in the middle.
    Torn,
    /// A page for people.
    Html,
    /// JSON of another kind.
    Nonsense,
    /// Rows slipped forward by one since the page before, so that one is never shown.
    Shifted,
}

impl Trouble {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::Unavailable,
        Self::Broken,
        Self::Forbidden,
        Self::Unauthorized,
        Self::Throttled,
        Self::Empty,
        Self::Half,
        Self::Nothing,
        Self::EndsHere,
        Self::Torn,
        Self::Html,
        Self::Nonsense,
        Self::Shifted,
    ];
}

/// Trouble with one page of one list, each time that it is read.
#[derive(Debug, Clone, Copy)]
struct Ordered {
    list: List,
    page: usize,
    trouble: Trouble,
}

/// A running domain. It stops when this is dropped.
pub struct IdcsDomain {
    core: Arc<Core>,
    server: Server,
}

struct Core {
    state: Mutex<State>,
}

impl IdcsDomain {
    /// Starts to serve.
    pub fn start(options: DomainOptions) -> io::Result<Self> {
        let server_options = ServerOptions {
            host: "127.0.0.1".into(),
            port: options.port,
            latency: options.latency,
            rate_limit: options.rate_limit,
            keep_requests: options.keep_requests,
        };
        let core = Arc::new(Core {
            state: Mutex::new(State::new(options)),
        });
        let server = Server::start(server_options, Arc::clone(&core) as Arc<dyn Emulated>)?;
        lock(&core.state).url = format!("http://{}", server.address());
        Ok(Self { core, server })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.core.state)
    }

    /// Base URL, without a slash at the end.
    pub fn url(&self) -> String {
        self.state().url.clone()
    }

    /// Ends all ordered faults and troubles.
    pub fn clear_faults(&self) {
        self.server.clear_faults();
        self.state().troubles.clear();
    }

    /// Spoils a page (counted from 0) of a list, each time that it is read.
    pub fn spoil(&self, list: List, page: usize, trouble: Trouble) {
        self.state().troubles.push(Ordered {
            list,
            page,
            trouble,
        });
    }

    /// How often an ordered trouble struck.
    pub fn struck(&self) -> usize {
        self.state().struck
    }

    /// The domain's clock, microseconds since 1970; without it the machine's.
    pub fn set_now(&self, now: i64) {
        self.state().now = Some(now);
    }

    /// Adds a user; returns its id.
    pub fn add_user(&self, person: &Person) -> String {
        self.state().add_user(User::new(person))
    }

    /// Edits a user as an administrator would.
    pub fn edit_user(&self, id: &str, edit: impl FnOnce(&mut Person)) {
        let mut state = self.state();
        let now = state.now();
        let user = state.user_mut(id);
        edit(&mut user.person);
        user.modified = now;
    }

    /// Activates or deactivates a user.
    pub fn set_active(&self, id: &str, active: bool) {
        self.edit_user(id, |person| person.active = active);
    }

    /// Marks a user as being deleted.
    pub fn set_delete_in_progress(&self, id: &str) {
        let mut state = self.state();
        let now = state.now();
        let user = state.user_mut(id);
        user.delete_in_progress = true;
        user.modified = now;
    }

    /// Makes a user a machine account.
    pub fn set_service_user(&self, id: &str) {
        self.state().user_mut(id).service_user = true;
    }

    /// Deletes a user.
    pub fn delete_user(&self, id: &str) {
        self.state().delete_user(id);
    }

    /// Adds a group; returns its id.
    pub fn add_group(&self, name: &str) -> String {
        self.state().add_group(Group::new(name))
    }

    /// Renames a group.
    pub fn rename_group(&self, id: &str, name: &str) {
        let mut state = self.state();
        let now = state.now();
        let group = state.group_mut(id);
        name.clone_into(&mut group.name);
        group.modified = now;
    }

    /// Deletes a group.
    pub fn delete_group(&self, id: &str) {
        self.state().delete_group(id);
    }

    /// Puts users into a group.
    pub fn add_members(&self, group: &str, users: &[&str]) {
        self.state().add_members(group, users);
    }

    /// Takes a user out of a group.
    pub fn remove_member(&self, group: &str, user: &str) {
        self.state().remove_member(group, user);
    }

    /// Assigns the application to a user or a group. Returns the grant's id.
    pub fn grant(&self, app: &str, kind: &str, grantee: &str) -> String {
        self.state().add_grant(Grant {
            id: String::new(),
            app: app.to_owned(),
            kind: kind.to_owned(),
            grantee: grantee.to_owned(),
            mechanism: format!("ADMINISTRATOR_TO_{}", kind.to_uppercase()),
        })
    }

    /// Takes the application away.
    pub fn revoke_grant(&self, grantee: &str) {
        self.state().grants.retain(|it| it.grantee != grantee);
    }

    /// Other app roles for the application.
    pub fn set_roles(&self, roles: &[&str]) {
        self.state().options.roles = roles.iter().map(|it| (*it).to_owned()).collect();
    }

    /// Whether `members` are refused although groups may be read.
    pub fn refuse_members(&self, refuse: bool) {
        self.state().refuse_members = refuse;
    }

    /// Another secret: the old one is refused from now on, and so are the tokens made with it.
    pub fn change_secret(&self, secret: &str) {
        let mut state = self.state();
        secret.clone_into(&mut state.options.client_secret);
        state.tokens.clear();
    }

    /// Ends all access tokens before their time.
    pub fn expire_tokens(&self) {
        self.state().tokens.clear();
    }

    /// How many tokens were handed out.
    pub fn tokens_made(&self) -> usize {
        self.state().tokens_made
    }

    /// The public key with which the application proves itself (`private_key_jwt`).
    pub fn trust_client_key(&self, key: &SigningKey) {
        self.state().client_key = Some(key.clone());
    }

    /// Who consents at `/oauth2/v1/authorize`; without anyone the answer is that it was denied.
    pub fn sign_in_as(&self, user: Option<&str>) {
        self.state().signed_in = user.map(ToOwned::to_owned);
    }

    /// Where codes may be sent. Before the first call: anywhere.
    pub fn register_redirect(&self, uri: &str) {
        self.state().redirect_uris.push(uri.to_owned());
    }

    /// Refresh tokens that were handed out are good no more, as after their time or when somebody revokes them.
    pub fn revoke_refresh_tokens(&self) {
        self.state().refresh_tokens.clear();
    }

    /// The refresh tokens that are good.
    pub fn refresh_tokens(&self) -> Vec<String> {
        self.state().refresh_tokens.keys().cloned().collect()
    }

    /// Access tokens that were handed out are good no more.
    pub fn revoke_access_tokens(&self) {
        self.state().tokens.clear();
    }

    /// The key that the domain signs with.
    pub fn key(&self) -> SigningKey {
        self.state().key.clone()
    }

    /// The claims of an access token of a user as the domain would state them. Change what you like
    /// and sign with [`SigningKey::sign`].
    pub fn access_claims(&self, user: &str) -> Value {
        self.state().user_claims(user, "AT")
    }

    /// The same for an ID token.
    pub fn id_claims(&self, user: &str) -> Value {
        self.state().user_claims(user, "IT")
    }

    /// Signs claims with the domain's key.
    pub fn sign(&self, claims: &Value) -> String {
        self.state().key.sign(claims)
    }

    /// Ids of all users, in the order of the list.
    pub fn user_ids(&self) -> Vec<String> {
        self.state().users.ids()
    }
}

impl Deref for IdcsDomain {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Emulated for Core {
    fn answer(&self, request: &Request) -> Answer {
        let mut state = lock(&self.state);
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (request.method.as_str(), segments.as_slice()) {
            ("POST", ["oauth2", "v1", "token"]) => oauth::token(&mut state, request),
            ("GET", ["oauth2", "v1", "authorize"]) => oauth::authorize(&mut state, request),
            ("GET", ["admin", "v1", "SigningCert", "jwk"]) => match state.roles_of(request) {
                None => unauthorized(),
                Some(_) => Answer::json(200, &json!({ "keys": [state.key.jwk()] })),
            },
            ("GET", ["admin", "v1", rest @ ..]) => query::read(&mut state, request, rest),
            _ => error(404, "error.common.resource.notFound", "no such endpoint"),
        }
    }

    fn is_write(&self, request: &Request) -> bool {
        request.path.starts_with("/admin/") && request.is_write()
    }
}

fn error(status: u16, message_id: &str, detail: &str) -> Answer {
    Answer::json(
        status,
        &json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error", ERROR_EXTENSION],
            "detail": detail,
            "status": status.to_string(),
            ERROR_EXTENSION: { "messageId": message_id },
        }),
    )
}

fn unauthorized() -> Answer {
    error(
        401,
        "error.common.common.unauthorized",
        "You are not authorized to make this request.",
    )
    .with_header("WWW-Authenticate", "Bearer error=\"invalid_token\"")
}

#[cfg(test)]
mod tests;
