//! Which path means what, who may ask, and how the emulated Bitbucket writes things down.

use serde_json::{Map, Value, json};

use crate::bitbucket::state::{Permission, State, User, slug};
use crate::bitbucket::{groups, permissions, users};
use crate::server::{Answer, Request};

const DENIED: &str = "com.atlassian.bitbucket.AuthorisationException";
const INVALID: &str = "com.atlassian.bitbucket.ArgumentValidationException";
pub(crate) const NO_USER: &str = "com.atlassian.bitbucket.user.NoSuchUserException";
pub(crate) const NO_GROUP: &str = "com.atlassian.bitbucket.user.NoSuchGroupException";
pub(crate) const TAKEN: &str = "com.atlassian.bitbucket.IntegrityException";
pub(crate) const FULL: &str = "com.atlassian.bitbucket.license.LicenseLimitException";
pub(crate) const FORBIDDEN: &str = "com.atlassian.bitbucket.ForbiddenException";

/// As many results as are given when a request does not say.
const PAGE: usize = 25;

/// A call under way. `Err` of the functions that take it is an answer too: the refusal.
pub(crate) struct Call<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) request: &'a Request,
    /// Number of the calling account; none for anonymous ones.
    pub(crate) caller: Option<u32>,
    /// An HTTP access token, which carries no right to administer (BSERV-10482).
    pub(crate) powerless: bool,
    pub(crate) page_cap: usize,
    pub(crate) lists_directories: bool,
    pub(crate) now_ms: u64,
}

pub(crate) type Outcome = Result<Answer, Answer>;

/// Answers below `/rest/api/1.0`.
pub(crate) fn route(call: &mut Call<'_>, path: &[&str]) -> Outcome {
    let method = call.request.method.as_str();
    match (path, method) {
        (["application-properties"], "GET") => Ok(properties(call)),
        (["users"], "GET") => users::search(call),
        (["users", slug], "GET") => users::by_slug(call, slug),
        (["groups"], "GET") => groups::names(call),
        (["admin", "users"], "GET") => users::list(call),
        (["admin", "users"], "POST") => users::create(call),
        (["admin", "users"], "PUT") => users::update(call),
        (["admin", "users"], "DELETE") => users::delete(call),
        (["admin", "users", "rename"], "POST") => users::rename(call),
        (["admin", "users", "credentials"], "PUT") => users::set_password(call),
        (["admin", "users", "captcha"], "DELETE") => users::clear_captcha(call),
        (["admin", "users", "more-members"], "GET") => groups::of_user(call, true),
        (["admin", "users", "more-non-members"], "GET") => groups::of_user(call, false),
        (["admin", "users", "add-groups"], "POST") => groups::add_groups(call),
        (["admin", "users", "add-group"], "POST") => groups::add(call, "itemName", "context"),
        (["admin", "users", "remove-group"], "POST") => groups::remove(call, "itemName", "context"),
        (["admin", "groups"], "GET") => groups::list(call),
        (["admin", "groups"], "POST") => groups::create(call),
        (["admin", "groups"], "DELETE") => groups::delete(call),
        (["admin", "groups", "more-members"], "GET") => groups::members(call, true),
        (["admin", "groups", "more-non-members"], "GET") => groups::members(call, false),
        (["admin", "groups", "add-users"], "POST") => groups::add_users(call),
        (["admin", "groups", "add-user"], "POST") => groups::add(call, "context", "itemName"),
        (["admin", "groups", "remove-user"], "POST") => groups::remove(call, "context", "itemName"),
        (["admin", "permissions", "users"], "GET") => permissions::of_users(call),
        (["admin", "permissions", "users"], "PUT") => permissions::permit_user(call),
        (["admin", "permissions", "users"], "DELETE") => permissions::revoke_user(call),
        (["admin", "permissions", "groups"], "GET") => permissions::of_groups(call),
        (["admin", "permissions", "groups"], "PUT") => permissions::permit_group(call),
        (["admin", "permissions", "groups"], "DELETE") => permissions::revoke_group(call),
        (["admin", "license"], "GET") => permissions::license(call),
        (["admin", "user-directories"], "GET") if call.lists_directories => {
            permissions::directories(call)
        }
        _ => Err(Answer::html(404, "Not Found")),
    }
}

fn properties(call: &Call<'_>) -> Answer {
    let [major, minor, patch] = call.state.version;
    Answer::json(
        200,
        &json!({
            "version": format!("{major}.{minor}.{patch}"),
            "buildNumber": format!("{major}00{minor}00{patch}"),
            "buildDate": "1726012800000",
            "displayName": "Bitbucket",
        }),
    )
}

impl Call<'_> {
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.request.param(name)
    }

    /// A parameter without which nothing can be done.
    pub(crate) fn required(&self, name: &str) -> Result<String, Answer> {
        match self.param(name) {
            Some(value) if !value.trim().is_empty() => Ok(value.to_owned()),
            _ => Err(invalid(name, &format!("A value for '{name}' is required."))),
        }
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> bool {
        self.param(name)
            .map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }

    /// Whether a text contains what the request filters by.
    pub(crate) fn passes(&self, texts: &[&str]) -> bool {
        let filter = self.param("filter").unwrap_or_default().to_lowercase();
        texts
            .iter()
            .any(|text| text.to_lowercase().contains(&filter))
    }

    /// A number parameter. JAX-RS answers 404 to one that is none.
    fn number(&self, name: &str, default: usize) -> Result<usize, Answer> {
        match self.param(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| Answer::html(404, "Not Found")),
        }
    }

    /// The calling account, which must be permitted that.
    fn permitted(&self, least: Permission) -> Result<&User, Answer> {
        let caller = self.caller.and_then(|id| self.state.users.get(&id));
        let permitted = caller.and_then(|user| self.state.permitted(user));
        let suffices = permitted.is_some_and(|permission| permission >= least);
        match caller {
            Some(user) if suffices && !(self.powerless && least > Permission::LicensedUser) => {
                Ok(user)
            }
            _ => Err(denied()),
        }
    }

    pub(crate) fn licensed(&self) -> Result<&User, Answer> {
        self.permitted(Permission::LicensedUser)
    }

    pub(crate) fn admin(&self) -> Result<&User, Answer> {
        self.permitted(Permission::Admin)
    }

    /// What the calling account may do.
    pub(crate) fn rank(&self) -> Option<Permission> {
        let caller = self.caller.and_then(|id| self.state.users.get(&id))?;
        self.state.permitted(caller)
    }

    /// Nobody touches whoever ranks higher.
    pub(crate) fn outranks(&self, user: &User) -> bool {
        self.state.permitted(user) > self.rank()
    }

    pub(crate) fn is_caller(&self, name: &str) -> bool {
        let user = self.state.user(name);
        user.is_some_and(|user| Some(user.id) == self.caller)
    }

    pub(crate) fn user(&self, name: &str) -> Result<&User, Answer> {
        self.state.user(name).ok_or_else(|| {
            let message = format!("No such user '{name}'.");
            refused(404, None, &message, NO_USER)
        })
    }

    /// The body as an object with no members but these.
    pub(crate) fn body(&self, known: &[&str]) -> Result<Map<String, Value>, Answer> {
        let media_type = self.request.header("content-type").unwrap_or_default();
        if !media_type
            .to_ascii_lowercase()
            .starts_with("application/json")
        {
            return Err(Answer::html(415, "Unsupported Media Type"));
        }
        let Ok(Value::Object(members)) = serde_json::from_slice::<Value>(&self.request.body) else {
            return Err(invalid("", "The request body could not be read."));
        };
        match members.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(invalid(name, &format!("Unrecognized field \"{name}\""))),
            None => Ok(members),
        }
    }

    /// A page of what was found. `nextPageStart` jumps: between two pages lie entries that were
    /// looked at and left out, so whoever adds up sizes goes wrong.
    pub(crate) fn page(&self, all: Vec<Value>) -> Outcome {
        let start = self.number("start", 0)?;
        let limit = self.number("limit", PAGE)?.clamp(1, self.page_cap);
        let length = all.len();
        // The wire counts every entry GAP times.
        let first = start.div_ceil(GAP);
        let values: Vec<Value> = all.into_iter().skip(first).take(limit).collect();
        let next = first + values.len();
        let last = next >= length;
        let mut page = json!({
            "size": values.len(),
            "limit": limit,
            "isLastPage": last,
            "values": values,
            "start": start,
        });
        if !last {
            page["nextPageStart"] = json!(next * GAP);
        }
        Ok(Answer::json(200, &page))
    }
}

/// Entries looked at for each that is shown.
const GAP: usize = 3;

/// An account as administrators see it.
pub(crate) fn detailed(user: &User) -> Value {
    let mut bean = plain(user);
    bean["directoryName"] = json!(user.directory);
    bean["deletable"] = json!(!user.read_only);
    bean["mutableDetails"] = json!(!user.read_only);
    bean["mutableGroups"] = json!(!user.read_only);
    bean
}

/// An account as anybody sees it.
pub(crate) fn plain(user: &User) -> Value {
    json!({
        "name": user.name,
        "emailAddress": user.email,
        "active": user.active,
        "displayName": user.display_name,
        "id": user.id,
        "slug": slug(&user.name),
        "type": "NORMAL",
    })
}

pub(crate) fn text(body: &Map<String, Value>, name: &str) -> Result<Option<String>, Answer> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(invalid(name, &format!("'{name}' must be a text."))),
    }
}

pub(crate) fn texts(body: &Map<String, Value>, name: &str) -> Result<Vec<String>, Answer> {
    let items = body.get(name).and_then(Value::as_array);
    let items = items.ok_or_else(|| invalid(name, &format!("'{name}' must be a list.")))?;
    let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
    texts
        .collect::<Option<Vec<String>>>()
        .ok_or_else(|| invalid(name, &format!("'{name}' must hold texts.")))
}

/// The vendor's way of saying no.
pub(crate) fn refused(
    status: u16,
    context: Option<&str>,
    message: &str,
    exception: &str,
) -> Answer {
    let error = json!({
        "context": context.filter(|it| !it.is_empty()),
        "message": message,
        "exceptionName": exception,
    });
    Answer::json(status, &json!({ "errors": [error] }))
}

pub(crate) fn invalid(context: &str, message: &str) -> Answer {
    refused(400, Some(context), message, INVALID)
}

/// 401, also for those who are signed in.
pub(crate) fn denied() -> Answer {
    refused(
        401,
        None,
        "You are not permitted to access this resource",
        DENIED,
    )
}
