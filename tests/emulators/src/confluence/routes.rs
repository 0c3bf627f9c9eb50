//! Which path means what, who may ask, and how the emulated Confluence writes things down.

use serde_json::{Map, Value, json};

use crate::confluence::state::{Group, State, Task, User};
use crate::confluence::{groups, users};
use crate::server::{Answer, Request};

/// A call under way. `Err` of the functions that take it is an answer too: the refusal.
pub(crate) struct Call<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) request: &'a Request,
    /// Key of the calling account; none for anonymous ones.
    pub(crate) caller: Option<String>,
    /// `http://host:port/context`, as the client sees it.
    pub(crate) base: &'a str,
    pub(crate) context: &'a str,
    pub(crate) options: Settings,
}

/// What can be chosen about the behaviour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) page_cap: usize,
    pub(crate) deletion_ms: u64,
    pub(crate) leaves_ghosts: bool,
    pub(crate) makes_before_it_counts: bool,
    pub(crate) now_ms: u64,
}

pub(crate) type Outcome = Result<Answer, Answer>;

/// The first versions that have what not all have.
const CREATES_USERS: [u32; 3] = [8, 4, 0];
const TELLS_PERMISSIONS: [u32; 3] = [9, 4, 0];
const UPDATES_USERS: [u32; 3] = [10, 0, 0];

impl Call<'_> {
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.request.param(name).filter(|value| !value.is_empty())
    }

    /// A number parameter. JAX-RS answers 404 to one that is none.
    fn number(&self, name: &str, default: usize) -> Result<usize, Answer> {
        match self.param(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| unknown_path(self.request)),
        }
    }

    pub(crate) fn expands(&self, what: &str) -> bool {
        self.param("expand")
            .is_some_and(|expand| expand.split(',').any(|part| part.trim() == what))
    }

    pub(crate) fn caller(&self) -> Result<&User, Answer> {
        let caller = self
            .caller
            .as_ref()
            .and_then(|key| self.state.users.get(key));
        caller.ok_or_else(|| refused(401, "User not authenticated"))
    }

    pub(crate) fn admin(&self) -> Result<&User, Answer> {
        let caller = self.caller()?;
        if self.state.is_admin(caller) {
            Ok(caller)
        } else {
            Err(forbidden())
        }
    }

    /// Whether the finders find anybody for this caller: to one who may not use Confluence they
    /// answer that there is nobody, not that it may not look.
    pub(crate) fn sees(&self) -> Result<bool, Answer> {
        match self.caller() {
            Ok(caller) => Ok(self.state.may_use(caller)),
            Err(_) => Err(refused(403, "User not permitted to view user profiles")),
        }
    }

    /// An administrator cannot touch a system administrator without being one.
    pub(crate) fn may_edit(&self, user: &User) -> Result<(), Answer> {
        let caller = self.admin()?;
        if user.system_admin && !caller.system_admin {
            return Err(forbidden());
        }
        Ok(())
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
            return Err(refused(400, "Could not parse the request body"));
        };
        match members.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(refused(400, &format!("Unrecognized field \"{name}\""))),
            None => Ok(members),
        }
    }

    /// A page of what was found, cut by the fixed limit of the system.
    pub(crate) fn page(&self, all: Vec<Value>, query: &[(&str, String)]) -> Result<Answer, Answer> {
        let start = self.number("start", 0)?;
        let limit = self.number("limit", 200)?.min(self.options.page_cap).max(1);
        let more = all.len() > start + limit;
        let results: Vec<Value> = all.into_iter().skip(start).take(limit).collect();
        let link = |start: usize| {
            let mut link = format!("{}?", self.below());
            for (name, value) in query {
                link.push_str(&format!("{name}={}&", encode(value)));
            }
            format!("{link}limit={limit}&start={start}")
        };
        let mut links = json!({
            "base": self.base,
            "context": self.context,
            "self": format!("{}{}", self.base, link(start)),
        });
        if more {
            links["next"] = json!(link(start + limit));
        }
        if start > 0 {
            links["prev"] = json!(link(start.saturating_sub(limit)));
        }
        Ok(Answer::json(
            200,
            &json!({
                "size": results.len(), "results": results, "start": start, "limit": limit,
                "_links": links,
            }),
        ))
    }

    /// The path below the context.
    fn below(&self) -> &str {
        let path = self.request.path.as_str();
        path.strip_prefix(self.context).unwrap_or(path)
    }

    /// No e-mail address is in it, whoever asks.
    pub(crate) fn user(&self, user: &User) -> Value {
        self.person(&user.key, &user.name, &user.display_name, user.active)
    }

    pub(crate) fn person(&self, key: &str, name: &str, display_name: &str, active: bool) -> Value {
        let mut bean = json!({
            "type": "known",
            "username": name,
            "userKey": key,
            "profilePicture": {
                "path": format!("{}/images/icons/profilepics/default.svg", self.context),
                "width": 48, "height": 48, "isDefault": true,
            },
            "displayName": display_name,
        });
        if self.expands("status") {
            bean["status"] = json!(if active { "current" } else { "deactivated" });
        }
        bean["_links"] =
            json!({ "self": format!("{}/rest/api/user?key={}", self.base, encode(key)) });
        bean["_expandable"] = if self.expands("status") {
            json!({})
        } else {
            json!({ "status": "" })
        };
        bean
    }

    pub(crate) fn group(&self, group: &Group) -> Value {
        let link = format!("{}/rest/api/group/{}", self.base, encode(&group.name));
        json!({ "type": "group", "name": group.name, "_links": { "self": link } })
    }
}

/// A text member.
pub(crate) fn text(body: &Map<String, Value>, name: &str) -> Result<Option<String>, Answer> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(value.to_string())),
        Some(_) => Err(refused(400, &format!("Can not deserialize \"{name}\""))),
    }
}

/// An error as Confluence writes it.
pub(crate) fn refused(status: u16, message: &str) -> Answer {
    let (authorized, reason) = match status {
        400 => (true, "Bad Request"),
        401 => (false, "Unauthorized"),
        402 => (true, "Payment Required"),
        403 => (false, "Forbidden"),
        404 => (false, "Not Found"),
        _ => (true, "Conflict"),
    };
    let data =
        json!({ "authorized": authorized, "valid": true, "errors": [], "successful": false });
    Answer::json(
        status,
        &json!({ "statusCode": status, "data": data, "message": message, "reason": reason }),
    )
}

/// A refusal by validation says nothing of its own.
pub(crate) fn forbidden() -> Answer {
    let data = json!({ "authorized": false, "valid": true, "errors": [], "successful": false });
    Answer::json(
        403,
        &json!({ "statusCode": 403, "data": data, "message": null, "reason": "Forbidden" }),
    )
}

/// Does the call at `path` (decoded segments below the context path).
pub(crate) fn route(call: &mut Call<'_>, path: &[&str]) -> Outcome {
    let ["rest", "api", resource @ ..] = path else {
        return Err(match path {
            ["rest", ..] => unknown_path(call.request),
            _ => Answer::html(404, "Page Not Found"),
        });
    };
    let resource = match resource {
        ["latest", rest @ ..] => rest,
        all => all,
    };
    let method = call.request.method.as_str();
    let version = call.state.version;
    match (resource, method) {
        (["server-information"], "GET") if version >= CREATES_USERS => {
            call.caller()?;
            Ok(server_information(call))
        }
        (["permissions"], "GET") if version >= TELLS_PERMISSIONS => permissions(call),
        (["user"], "GET") => users::get(call),
        (["user", "current"], "GET") => Ok(users::current(call)),
        (["user", "memberof"], "GET") => users::groups(call),
        (["user", "list"], "GET") if version >= CREATES_USERS => users::list(call),
        (["user", user, "group", group], "PUT") => groups::add_member(call, user, group),
        (["user", user, "group", group], "DELETE") => groups::remove_member(call, user, group),
        (["group"], "GET") => groups::list(call),
        (["group", name], "GET") => groups::get(call, name),
        (["group", name, "member"], "GET") => groups::members(call, name),
        (["longtask", id], "GET") => long_task(call, id),
        (["admin", "group"], "POST") => groups::create(call),
        (["admin", "group", name], "DELETE") => groups::delete(call, name),
        (["admin", "user"], "POST") if version >= CREATES_USERS => users::create(call),
        (["admin", "user", name], "PUT") if version >= UPDATES_USERS => users::update(call, name),
        (["admin", "user", name], "DELETE") => users::delete(call, name),
        (["admin", "user", name, "disable"], "PUT") => users::set_active(call, name, false),
        (["admin", "user", name, "enable"], "PUT") => users::set_active(call, name, true),
        (["admin", "user", name, "password"], "POST") if version >= CREATES_USERS => {
            users::set_password(call, name)
        }
        (
            ["user"]
            | ["user", "current" | "memberof"]
            | ["user", _, "group", _]
            | ["group"]
            | ["group", _]
            | ["group", _, "member"]
            | ["longtask", _]
            | ["admin", "group"]
            | ["admin", "group", _]
            | ["admin", "user", _]
            | ["admin", "user", _, "disable" | "enable"],
            _,
        ) => Err(Answer::html(405, "Method Not Allowed")),
        _ => Err(unknown_path(call.request)),
    }
}

fn unknown_path(request: &Request) -> Answer {
    let message = format!("null for uri: {}", request.path);
    Answer::json(404, &json!({ "message": message, "status-code": 404 }))
}

fn server_information(call: &Call<'_>) -> Answer {
    let [major, minor, patch] = call.state.version;
    Answer::json(
        200,
        &json!({
            "baseUrl": call.base,
            "version": format!("{major}.{minor}.{patch}"),
            "buildNumber": major * 1000 + minor * 10 + patch,
            "marketplaceBuildNumber": major * 1000 + minor * 10 + patch,
            "buildDate": "2026-01-15",
        }),
    )
}

fn permissions(call: &Call<'_>) -> Outcome {
    call.admin()?;
    let grant = |name: &str, operation: &str| {
        json!({
            "operation": { "targetType": "application", "operationKey": operation },
            "subject": { "type": "group", "name": name, "displayName": name },
        })
    };
    let by_default = call.state.default_group.iter();
    let mut grants: Vec<Value> = by_default.map(|name| grant(name, "use")).collect();
    let admins = call.state.groups.values().filter(|group| group.administers);
    grants.extend(admins.map(|group| grant(&group.name, "administer")));
    Ok(Answer::json(200, &Value::Array(grants)))
}

fn long_task(call: &Call<'_>, id: &str) -> Outcome {
    call.caller()?;
    let task: Option<&Task> = call.state.tasks.iter().find(|task| task.id == id);
    let task = task.ok_or_else(|| refused(404, &format!("No task with id {id}")))?;
    let (percentage, successful, message) = match &task.outcome {
        None => (15, true, "Deleting the user".to_owned()),
        Some(Ok(())) => {
            let link = format!("<a href=\"{}/admin/users\">Back</a>", call.base);
            (100, true, format!("User deleted {link}"))
        }
        // It stops where it was.
        Some(Err(why)) => (15, false, format!("Error during user deletion: {why}")),
    };
    Ok(Answer::json(
        200,
        &json!({
            "id": task.id,
            "name": { "translation": "Delete user", "args": [] },
            "elapsedTime": call.options.now_ms.saturating_sub(task.started_ms),
            "percentageComplete": percentage,
            "successful": successful,
            "messages": [{ "translation": message, "args": [] }],
        }),
    ))
}

/// For query values and path segments in links.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
