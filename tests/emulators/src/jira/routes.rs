//! Which path means what, who may ask, and what every call has in common.

use serde_json::{Map, Value, json};

use crate::jira::beans::{Beans, refused};
use crate::jira::state::{State, User};
use crate::jira::{groups, projects, users};
use crate::server::{Answer, Request};

/// A call under way. `Err` of the functions that take it is an answer too: the refusal.
pub(crate) struct Call<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) request: &'a Request,
    /// Number of the calling account; none for anonymous ones.
    pub(crate) caller: Option<u64>,
    /// `http://host:port/context`, as the client sees it.
    pub(crate) base: &'a str,
    pub(crate) options: Settings,
}

/// What can be chosen about the behaviour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) picker_cap: usize,
    pub(crate) keeps_old_case: bool,
    pub(crate) now: i64,
}

pub(crate) type Outcome = Result<Answer, Answer>;

impl Call<'_> {
    pub(crate) fn beans(&self) -> Beans<'_> {
        Beans {
            base: self.base,
            state: self.state,
        }
    }

    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.request.param(name)
    }

    /// A boolean parameter; python clients write `True`.
    pub(crate) fn flag(&self, name: &str, default: bool) -> bool {
        self.param(name)
            .map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }

    /// A number parameter. JAX-RS answers 404 to one that is none.
    pub(crate) fn number(&self, name: &str, default: usize) -> Result<usize, Answer> {
        match self.param(name) {
            None | Some("") => Ok(default),
            Some(text) => text.parse().map_err(|_| unknown_path(self.request)),
        }
    }

    pub(crate) fn caller(&self) -> Result<&User, Answer> {
        let caller = self.caller.and_then(|id| self.state.users.get(&id));
        caller.ok_or_else(|| {
            refused(
                401,
                "You are not authenticated. Authentication required to perform this operation.",
            )
            .with_header("WWW-Authenticate", "OAuth realm=\"jira\"")
        })
    }

    pub(crate) fn admin(&self) -> Result<&User, Answer> {
        let caller = self.caller()?;
        if self.state.is_admin(caller) {
            Ok(caller)
        } else {
            Err(refused(
                403,
                "You do not have permission to perform this operation",
            ))
        }
    }

    /// The body as an object with no members but these.
    pub(crate) fn body(&self, known: &[&str]) -> Result<Map<String, Value>, Answer> {
        let media_type = self.request.header("content-type").unwrap_or_default();
        if !media_type
            .to_ascii_lowercase()
            .starts_with("application/json")
        {
            return Err(Answer::json(
                415,
                &json!({ "message": "Unsupported Media Type", "status-code": 415 }),
            ));
        }
        let body = serde_json::from_slice::<Value>(&self.request.body)
            .map_err(|error| refused(400, &format!("Cannot read the request body: {error}")))?;
        let Value::Object(members) = body else {
            return Err(refused(
                400,
                "Cannot deserialize the request body: an object is expected",
            ));
        };
        match members.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(refused(400, &format!("Unrecognized field \"{name}\""))),
            None => Ok(members),
        }
    }

    pub(crate) fn link_to_this_page(&self, start: usize, count: usize) -> String {
        let path = &self.request.path;
        let server = self
            .base
            .splitn(4, '/')
            .take(3)
            .collect::<Vec<_>>()
            .join("/");
        format!("{server}{path}?startAt={start}&maxResults={count}")
    }
}

/// A text member. Numbers and booleans are taken as text, as Jira's JSON reader does.
pub(crate) fn text(body: &Map<String, Value>, name: &str) -> Result<Option<String>, Answer> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(value.to_string())),
        Some(_) => Err(refused(
            400,
            &format!("Can not deserialize \"{name}\": text is expected"),
        )),
    }
}

/// A boolean member; also as text, which python clients send.
pub(crate) fn boolean(body: &Map<String, Value>, name: &str) -> Result<Option<bool>, Answer> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(_) => Err(refused(
            400,
            &format!("Can not deserialize \"{name}\": a boolean is expected"),
        )),
    }
}

/// Does the call at `path` (decoded segments below the context path).
pub(crate) fn route(call: &mut Call<'_>, path: &[&str]) -> Outcome {
    let ["rest", "api", "2" | "latest", resource @ ..] = path else {
        return Err(match path {
            ["rest", ..] => unknown_path(call.request),
            _ => Answer::html(404, "Oops, you have found a dead link"),
        });
    };
    let method = call.request.method.as_str();
    match (resource, method) {
        (["serverInfo"], "GET") => Ok(server_info(call)),
        (["myself"], "GET") => users::myself(call),
        (["mypermissions"], "GET") => users::permissions(call),
        (["user"], "GET") => users::get(call),
        (["user"], "POST") => users::create(call),
        (["user"], "PUT") => users::update(call),
        (["user"], "DELETE") => users::delete(call),
        (["user", "password"], "PUT") => users::set_password(call),
        (["user", "search"], "GET") => users::search(call),
        // First version of this call unconfirmed; it is in 10.3.
        (["user", "list"], "GET") if call.state.version >= [10, 0, 0] => users::list(call),
        (["user", "session", name], "DELETE") => users::end_session(call, name),
        (["user", "application"], "POST") => users::grant_application(call),
        (["user", "application"], "DELETE") => users::revoke_application(call),
        (["applicationrole"], "GET") => {
            call.admin()?;
            Ok(Answer::json(200, &json!([call.beans().application_role()])))
        }
        (["applicationrole", "jira-software"], "GET") => {
            call.admin()?;
            Ok(Answer::json(200, &call.beans().application_role()))
        }
        (["group"], "GET") => groups::get(call),
        (["group"], "POST") => groups::create(call),
        (["group"], "DELETE") => groups::delete(call),
        (["group", "user"], "POST") => groups::add_member(call),
        (["group", "user"], "DELETE") => groups::remove_member(call),
        (["group", "member"], "GET") => groups::members(call),
        (["groups", "picker"], "GET") => Ok(groups::picker(call)?),
        (["project"], "GET") => projects::list(call),
        (["project", id], "GET") => projects::get(call, id),
        (["project", id], "PUT") => projects::update(call, id),
        (["project", id, "components"], "GET") => projects::components(call, id),
        (["component", "page"], "GET") => projects::component_page(call),
        (["component", id], "GET") => projects::component(call, id),
        (["component", id], "PUT") => projects::update_component(call, id),
        (
            ["serverInfo" | "myself" | "user" | "group" | "project" | "applicationrole"]
            | ["user", "search" | "application" | "password"]
            | ["group", "user" | "member"]
            | ["groups", "picker"]
            | ["project" | "component", _]
            | ["project", _, "components"],
            _,
        ) => Err(Answer::json(
            405,
            &json!({ "message": "Method Not Allowed", "status-code": 405 }),
        )),
        _ => Err(unknown_path(call.request)),
    }
}

fn unknown_path(request: &Request) -> Answer {
    let message = format!("null for uri: {}", request.path);
    Answer::json(404, &json!({ "message": message, "status-code": 404 }))
}

fn server_info(call: &Call<'_>) -> Answer {
    let [major, minor, patch] = call.state.version;
    let now = jiff::Timestamp::from_millisecond(call.options.now).unwrap_or_default();
    Answer::json(
        200,
        &json!({
            "baseUrl": call.base,
            "version": format!("{major}.{minor}.{patch}"),
            "versionNumbers": [major, minor, patch],
            "deploymentType": "Server",
            "buildNumber": major * 100_000 + minor * 1000 + patch,
            "buildDate": "2026-01-15T00:00:00.000+0000",
            "databaseBuildNumber": major * 100_000 + minor * 1000 + patch,
            "serverTime": now.strftime("%Y-%m-%dT%H:%M:%S.%3f+0000").to_string(),
            "scmInfo": "emulated",
            "serverTitle": "Emulated Jira"
        }),
    )
}
