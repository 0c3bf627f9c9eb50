//! Which path means what, in which form to answer, and what every call has in common.

use serde_json::Value;

use crate::crowd::entities::{self, Builder, Node};
use crate::crowd::state::{Group, State, User};
use crate::crowd::{groups, members, search, sessions, users};
use crate::server::{Answer, Request};

/// The version from which a user can be renamed.
pub(crate) const RENAMES_SINCE: [u32; 3] = [2, 8, 4];

/// The version from which a creation answers with the account.
pub(crate) const SHOWS_CREATED_SINCE: [u32; 3] = [2, 9, 0];

/// As many results as are given when a request does not say.
const PAGE: usize = 1000;

/// A call under way. `Err` of the functions that take it is an answer too: the refusal.
pub(crate) struct Call<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) request: &'a Request,
    pub(crate) build: Builder<'a>,
    pub(crate) options: Settings,
}

/// What can be chosen about the behaviour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) version: [u32; 3],
    /// The application may write nothing.
    pub(crate) read_only: bool,
    /// Longer passwords are refused.
    pub(crate) longest_password: usize,
}

pub(crate) type Outcome = Result<Answer, Answer>;

/// Answers below `/rest/usermanagement/1`.
pub(crate) fn route(call: &mut Call<'_>, path: &[&str]) -> Outcome {
    let method = call.request.method.as_str();
    match (path, method) {
        (["user"], "GET") => users::get(call),
        (["user"], "POST") => users::create(call),
        (["user"], "PUT") => users::update(call),
        (["user"], "DELETE") => users::delete(call),
        (["user", "rename"], _) if call.options.version < RENAMES_SINCE => Err(call.unknown_path()),
        (["user", "rename"], "POST") => users::rename(call),
        (["user", "password"], "PUT") => users::set_password(call),
        (["user", "password"], "DELETE") => users::drop_password(call),
        (["user", "attribute"], "GET") => users::attributes(call),
        // POST is documented; a public client sends PUT.
        (["user", "attribute"], "POST" | "PUT") => users::store_attributes(call),
        (["user", "attribute"], "DELETE") => users::drop_attribute(call),
        (["user", "mail", "password"], "POST") => users::mail(call),
        (["user", "group", "direct"], "GET") => members::groups_of_user(call, false),
        (["user", "group", "nested"], "GET") => members::groups_of_user(call, true),
        (["user", "group", "direct"], "POST") => members::add_group_to_user(call),
        (["user", "group", "direct"], "DELETE") => members::remove(call),
        (["group"], "GET") => groups::get(call),
        (["group"], "POST") => groups::create(call),
        (["group"], "PUT") => groups::update(call),
        (["group"], "DELETE") => groups::delete(call),
        (["group", "attribute"], "GET") => groups::attributes(call),
        (["group", "attribute"], "POST" | "PUT") => groups::store_attributes(call),
        (["group", "attribute"], "DELETE") => groups::drop_attribute(call),
        (["group", "user", "direct"], "GET") => members::users_of_group(call, false),
        (["group", "user", "nested"], "GET") => members::users_of_group(call, true),
        (["group", "user", "direct"], "POST") => members::add_user_to_group(call),
        (["group", "user", "direct"], "DELETE") => members::remove(call),
        (["group", "child-group", "direct"], "GET") => members::children(call, false),
        (["group", "child-group", "nested"], "GET") => members::children(call, true),
        (["group", "child-group", "direct"], "POST") => members::nest(call),
        (["group", "child-group", "direct"], "DELETE") => members::unnest(call),
        (["group", "parent-group", "direct"], "GET") => members::parents(call, false),
        (["group", "parent-group", "nested"], "GET") => members::parents(call, true),
        (["group", "membership"], "GET") => members::all(call),
        (["search"], "POST") => search::search(call),
        (["authentication"], "POST") => sessions::authenticate(call),
        (["session"], "POST") => sessions::start(call),
        (["session"], "DELETE") => sessions::end_all(call),
        (["session", token], "GET" | "POST") => sessions::show(call, token),
        (["session", token], "DELETE") => sessions::end(call, token),
        (["config", "cookie"], "GET") => call.reply(200, &entities::cookie()),
        _ if is_path(path) => Err(call.plain(405, "HTTP 405 Method Not Allowed")),
        _ => Err(call.unknown_path()),
    }
}

fn is_path(path: &[&str]) -> bool {
    matches!(
        path,
        ["user" | "group" | "search" | "authentication" | "session"]
            | ["user", "rename" | "password" | "attribute"]
            | ["user", "mail", "password"]
            | ["user", "group", "direct" | "nested"]
            | ["group", "attribute" | "membership"]
            | [
                "group",
                "user" | "child-group" | "parent-group",
                "direct" | "nested"
            ]
            | ["config", "cookie"]
            | ["session", _]
    )
}

impl Call<'_> {
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.request.param(name)
    }

    /// A parameter without which nothing can be done.
    pub(crate) fn required(&self, name: &str) -> Result<String, Answer> {
        match self.param(name) {
            Some(value) => Ok(value.to_owned()),
            None => Err(self.refuse(
                400,
                "ILLEGAL_ARGUMENT",
                &format!("{name} query parameter must be given"),
            )),
        }
    }

    /// Whether a part is to be shown in full.
    pub(crate) fn expands(&self, what: &str) -> bool {
        self.param("expand")
            .is_some_and(|expand| expand.split(',').any(|it| it.trim() == what))
    }

    /// The part of a list that is asked for. There is no total, and -1 means all.
    pub(crate) fn page<T>(&self, all: impl Iterator<Item = T>) -> Result<Vec<T>, Answer> {
        let number = |name: &str| match self.param(name) {
            None | Some("") => Ok(None),
            // JAX-RS answers 404 to a number that is none.
            Some(text) => text
                .parse::<i64>()
                .map(Some)
                .map_err(|_| self.unknown_path()),
        };
        let start = number("start-index")?.unwrap_or(0);
        let start = usize::try_from(start).map_err(|_| {
            self.refuse(400, "ILLEGAL_ARGUMENT", "start-index must not be negative")
        })?;
        let count = match number("max-results")? {
            None => PAGE,
            Some(count) => usize::try_from(count).unwrap_or(usize::MAX),
        };
        Ok(all.skip(start).take(count).collect())
    }

    /// The body, in either form, as JSON.
    pub(crate) fn body(&self) -> Result<Value, Answer> {
        let media_type = self.request.header("content-type").unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        let text = String::from_utf8_lossy(&self.request.body);
        let body = match media_type.to_ascii_lowercase().as_str() {
            "application/json" => serde_json::from_str(&text).map_err(|error| error.to_string()),
            "application/xml" | "text/xml" => entities::json_of_xml(&text),
            _ => return Err(self.plain(415, "HTTP 415 Unsupported Media Type")),
        };
        body.map_err(|error| self.plain(400, &format!("Cannot read the request body: {error}")))
    }

    /// The name in a body.
    pub(crate) fn named(&self, body: &Value) -> Result<String, Answer> {
        match entities::text(body, "name") {
            Some(name) if !name.trim().is_empty() => Ok(name.into_owned()),
            _ => Err(self.refuse(400, "ILLEGAL_ARGUMENT", "The name must not be blank")),
        }
    }

    pub(crate) fn user(&self, name: &str) -> Result<&User, Answer> {
        self.state.user(name).ok_or_else(|| self.no_user(404, name))
    }

    pub(crate) fn group(&self, name: &str) -> Result<&Group, Answer> {
        self.state
            .group(name)
            .ok_or_else(|| self.no_group(404, name))
    }

    pub(crate) fn no_user(&self, status: u16, name: &str) -> Answer {
        self.refuse(
            status,
            "USER_NOT_FOUND",
            &format!("User <{name}> does not exist"),
        )
    }

    pub(crate) fn no_group(&self, status: u16, name: &str) -> Answer {
        self.refuse(
            status,
            "GROUP_NOT_FOUND",
            &format!("Group <{name}> does not exist"),
        )
    }

    /// The permissions of the application, and whether the person's directory can be written.
    pub(crate) fn may_write(&self, user: Option<&str>) -> Result<(), Answer> {
        let in_read_only = user
            .and_then(|name| self.state.user(name))
            .is_some_and(|user| user.read_only);
        if !self.options.read_only && !in_read_only {
            return Ok(());
        }
        let message = "Not allowed to write in any directory of the application that holds it";
        Err(self.refuse(403, "APPLICATION_PERMISSION_DENIED", message))
    }

    /// Answers in the form asked for: XML unless the client wants JSON.
    pub(crate) fn reply(&self, status: u16, entity: &Node) -> Outcome {
        match self.wants_json() {
            Some(true) => Ok(Answer {
                content_type: "application/json",
                ..Answer::json(status, &entity.json())
            }),
            Some(false) => Ok(xml(status, entity)),
            None => Err(Answer::empty(406)),
        }
    }

    pub(crate) fn refuse(&self, status: u16, reason: &str, message: &str) -> Answer {
        let entity = entities::error(reason, message);
        self.reply(status, &entity).unwrap_or_else(|answer| answer)
    }

    /// What the REST module itself says: no reason in it.
    pub(crate) fn plain(&self, status: u16, message: &str) -> Answer {
        let entity = entities::status(status, message);
        self.reply(status, &entity).unwrap_or_else(|answer| answer)
    }

    pub(crate) fn unknown_path(&self) -> Answer {
        self.plain(404, &format!("null for uri: {}", self.request.path))
    }

    /// Without `Accept`, or with one that takes everything, XML comes first. None: neither is taken.
    fn wants_json(&self) -> Option<bool> {
        let accept = self.request.header("accept").unwrap_or("*/*");
        let types = accept
            .split(',')
            .map(|it| it.split(';').next().unwrap_or_default().trim());
        types.into_iter().find_map(|it| match it {
            "application/json" => Some(true),
            "application/xml" | "text/xml" | "application/*" | "*/*" => Some(false),
            _ => None,
        })
    }
}

pub(crate) fn xml(status: u16, entity: &Node) -> Answer {
    Answer {
        content_type: "application/xml",
        body: entity.xml(),
        ..Answer::empty(status)
    }
}
