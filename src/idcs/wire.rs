//! The domain's JSON, and what it becomes here.

use serde_json::{Value, json};

use super::error::Error;
use crate::outbound::Response;
use crate::scim::resource::parse_create;
use crate::scim::{Dialect, Doc, ResourceType};

const USER_EXTENSION: &str = "urn:ietf:params:scim:schemas:oracle:idcs:extension:user:User";
const ERROR_EXTENSION: &str = "urn:ietf:params:scim:api:oracle:idcs:extension:messages:Error";

/// What is read of each user.
const ATTRIBUTES: &[&str] = &[
    "userName",
    "displayName",
    "active",
    "name",
    "emails",
    "title",
    "userType",
    "preferredLanguage",
    "externalId",
    "deleteInProgress",
    "meta",
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
    "urn:ietf:params:scim:schemas:oracle:idcs:extension:user:User:isFederatedUser",
    "urn:ietf:params:scim:schemas:oracle:idcs:extension:user:User:serviceUser",
];

/// One page of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// Its rows.
    pub rows: Vec<T>,
    /// How many rows the whole list has, as the domain says.
    pub total: usize,
}

/// A user of the domain.
#[derive(Debug, Clone)]
pub struct DomainUser {
    /// Its id there.
    pub id: String,
    /// Login name.
    pub user_name: String,
    /// The document as the mirror keeps it. Without `externalId`, which is the source's own and comes apart.
    pub doc: Doc,
    /// `externalId` in the domain.
    pub external_id: Option<String>,
    /// The groups it is in, if they were asked for.
    pub groups: Vec<GroupRef>,
}

/// A group that a user is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRef {
    /// Its id in the domain.
    pub id: String,
    /// Whether the membership comes through another group.
    pub indirect: bool,
}

/// A group of the domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainGroup {
    /// Its id there.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When the domain says that it changed last.
    pub modified: Option<String>,
}

impl DomainGroup {
    /// Whether it is the domain's own group of everyone, which says nothing about anybody.
    pub fn is_everyone(&self) -> bool {
        self.name.eq_ignore_ascii_case("All-Domain-Users")
    }
}

/// Somebody or something in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id in the domain.
    pub id: String,
    /// Whether it is a group itself.
    pub is_group: bool,
}

/// Somebody or something that an application is granted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its id in the domain.
    pub grantee: String,
    /// Whether it is a group. Grants to anything but users and groups are not listed.
    pub to_group: bool,
    /// Whether the domain has carried it out; a push that did not go through leaves it open.
    pub fulfilled: bool,
}

/// The attributes that are asked for.
pub(super) fn user_attributes(further: &[String]) -> String {
    let further = further.iter().map(String::as_str);
    let mut all: Vec<&str> = ATTRIBUTES.to_vec();
    for name in further {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all.join(",")
}

/// A value in a filter.
pub(super) fn quoted(text: &str) -> String {
    json!(text).to_string()
}

/// An answer that is the domain's, or the error that it is.
pub(super) fn judge(answer: Response) -> Result<Response, Error> {
    if answer.is_success() {
        return Ok(answer);
    }
    let body = answer.value().unwrap_or_default();
    let message_id = body[ERROR_EXTENSION]["messageId"]
        .as_str()
        .map(ToOwned::to_owned);
    let detail = body["detail"].as_str().unwrap_or("no reason given");
    let detail: String = detail.chars().take(300).collect();
    let what = answer.what();
    let id = message_id
        .as_deref()
        .map_or(String::new(), |it| format!(", {it}"));
    Err(match answer.status {
        401 => Error::Unauthorized {
            text: format!(
                "{what}: the domain refuses the access token ({detail}{id}): see that the confidential \
                 application is active"
            ),
        },
        403 => Error::Forbidden {
            text: format!(
                "{what}: the domain does not allow it ({detail}{id}): add the app role {} to the \
                 confidential application",
                role_for(what)
            ),
        },
        // Only the domain can say so: a proxy that has no such page knows nothing about people.
        404 if message_id.is_some() || is_scim_error(&body) => Error::NotFound {
            text: format!("{what}: the domain has no such thing ({detail}{id})"),
        },
        // A name of the domain's own answer; a proxy that answers so has none.
        status if message_id.is_some() || status == 400 => Error::Refused {
            text: format!(
                "{what}: the domain does not accept the request ({status}, {detail}{id})"
            ),
            message_id,
        },
        status => Error::Unreadable {
            text: format!(
                "{what}: answered {status}, which is no answer of a domain: is base_url right?"
            ),
        },
    })
}

fn is_scim_error(body: &Value) -> bool {
    body["schemas"].as_array().is_some_and(|schemas| {
        schemas
            .iter()
            .any(|it| it == "urn:ietf:params:scim:api:messages:2.0:Error")
    })
}

/// The least app role that allows a request.
fn role_for(what: &str) -> &'static str {
    if what.contains("/Grants") || what.contains("/Apps") {
        "Application Administrator"
    } else {
        "Audit Administrator"
    }
}

pub(super) fn unreadable(answer: &Response) -> Error {
    let what = answer.what();
    Error::Unreadable {
        text: if answer.is_html() {
            format!(
                "{what}: answered with HTML where JSON was expected: is a proxy or login page in front?"
            )
        } else {
            format!("{what}: answered something else than a domain would, or only a part of it")
        },
    }
}

pub(super) fn object(answer: &Response) -> Result<Doc, Error> {
    match answer.value() {
        Some(Value::Object(object)) => Ok(object),
        _ => Err(unreadable(answer)),
    }
}

/// A page. A row that cannot be read spoils it: to leave it out would look like an absence.
pub(super) fn page<T>(answer: &Response, row: fn(Doc) -> Option<T>) -> Result<Page<T>, Error> {
    let object = object(answer)?;
    let total = object
        .get("totalResults")
        .and_then(Value::as_u64)
        .and_then(|it| usize::try_from(it).ok())
        .ok_or_else(|| unreadable(answer))?;
    let rows = match object.into_iter().find(|(name, _)| name == "Resources") {
        // An empty list may leave it out.
        None => Vec::new(),
        Some((_, Value::Array(rows))) => rows,
        Some(_) => return Err(unreadable(answer)),
    };
    let rows = rows
        .into_iter()
        .map(|it| match it {
            Value::Object(it) => row(it),
            _ => None,
        })
        .collect::<Option<Vec<T>>>()
        .ok_or_else(|| unreadable(answer))?;
    Ok(Page { rows, total })
}

fn text(object: &Doc, name: &str) -> Option<String> {
    let text = object.get(name)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

pub(super) fn user(mut row: Doc) -> Option<DomainUser> {
    let id = text(&row, "id")?;
    let user_name = text(&row, "userName")?;
    let external_id = text(&row, "externalId");
    let groups = match row.remove("groups") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(groups)) => groups.iter().map(group_ref).collect::<Option<_>>()?,
        Some(_) => return None,
    };
    for name in ["id", "ocid", "schemas", "meta", "externalId"] {
        row.remove(name);
    }
    if let Some(Value::Array(emails)) = row.get_mut("emails") {
        tidy_emails(emails);
    }
    if let Some(Value::Object(extension)) = row.get_mut(USER_EXTENSION) {
        extension.retain(|name, _| name == "isFederatedUser" || name == "serviceUser");
    }
    let change = parse_create(ResourceType::User, Dialect::Idcs, Value::Object(row)).ok()?;
    Some(DomainUser {
        id,
        user_name,
        doc: change.doc,
        external_id,
        groups,
    })
}

/// Addresses as a push states them: those for recovery are nobody's business, nor is what only the domain
/// knows about them.
fn tidy_emails(emails: &mut Vec<Value>) {
    emails.retain(|it| it["type"] != "recovery");
    for email in emails {
        if let Value::Object(email) = email {
            email
                .retain(|name, _| ["value", "type", "primary", "display"].contains(&name.as_str()));
        }
    }
}

fn group_ref(value: &Value) -> Option<GroupRef> {
    Some(GroupRef {
        id: value["value"].as_str()?.to_owned(),
        indirect: value["type"]
            .as_str()
            .is_some_and(|it| it.eq_ignore_ascii_case("indirect")),
    })
}

pub(super) fn group(row: Doc) -> Option<DomainGroup> {
    Some(DomainGroup {
        id: text(&row, "id")?,
        name: text(&row, "displayName")?,
        modified: row
            .get("meta")
            .and_then(|meta| meta["lastModified"].as_str())
            .map(ToOwned::to_owned),
    })
}

pub(super) fn members(answer: &Response, group: &str) -> Result<Vec<Member>, Error> {
    let object = object(answer)?;
    if text(&object, "id").as_deref() != Some(group) {
        return Err(unreadable(answer));
    }
    let rows = match object.get("members") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(rows)) => rows,
        Some(_) => return Err(unreadable(answer)),
    };
    rows.iter()
        .map(|row| {
            Some(Member {
                id: row["value"].as_str()?.to_owned(),
                is_group: row["type"]
                    .as_str()
                    .is_some_and(|it| it.eq_ignore_ascii_case("group")),
            })
        })
        .collect::<Option<_>>()
        .ok_or_else(|| unreadable(answer))
}

pub(super) fn grant(row: Doc) -> Option<Grant> {
    let grantee = row.get("grantee")?;
    let kind = grantee["type"].as_str()?;
    Some(Grant {
        // Of other kinds nothing follows for people; an empty id is nobody's.
        grantee: if kind.eq_ignore_ascii_case("user") || kind.eq_ignore_ascii_case("group") {
            grantee["value"].as_str()?.to_owned()
        } else {
            String::new()
        },
        to_group: kind.eq_ignore_ascii_case("group"),
        fulfilled: row.get("isFulfilled").and_then(Value::as_bool) != Some(false),
    })
}
