//! Single users and groups: the same handlers for both.

use std::fmt::Display;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::super::State;
use super::super::error::Failure;
use super::super::extract::{Body, Caller, preconditions, versions};
use super::{answer, base_url};
use crate::clock::rfc3339;
use crate::intake::{Edit, Written};
use crate::scim::projection::Projection;
use crate::scim::resource::Meta;
use crate::scim::{self, Dialect, ResourceType};
use crate::store::groups::MemberType;
use crate::store::{self, AnyConn, Link, Stored, groups, users};

/// The answer to a write shows a group's members up to this number. A push of one member must cost the same
/// whether the group has 10 or 100,000; whoever wants them all asks with GET or with `attributes=members`.
const MEMBERS_IN_WRITE_ANSWER: i64 = 100;

pub(super) type Answer = Result<HttpResponse, Failure>;

/// `POST /Users`, `POST /Groups`
pub(super) async fn create(
    caller: Caller,
    state: web::Data<State>,
    rt: web::Data<ResourceType>,
    request: HttpRequest,
    body: Body,
) -> Answer {
    let projection = projection(&request)?;
    let written = state.intake.create(caller.source(), **rt, body.0).await?;
    let mut response = HttpResponse::Created();
    response.insert_header((
        header::LOCATION,
        location(**rt, &written.stored.id, &base_url(&state, &request)),
    ));
    after_write(&state, **rt, &request, response, written, &projection).await
}

/// `GET /Users/{id}`, `GET /Groups/{id}`
pub(super) async fn read(
    caller: Caller,
    state: web::Data<State>,
    rt: web::Data<ResourceType>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Answer {
    let rt = **rt;
    let projection = projection(&request)?;
    let with_rows = shows_rows(&caller, rt, &projection);
    let connection = caller.caller.connection.clone();
    let (id, wanted) = (possible(rt, id.into_inner())?, request.clone());
    let unchanged = versions(&wanted, header::IF_NONE_MATCH);
    let lookup = id.clone();
    let read = move |conn: &mut AnyConn| -> Result<_, store::Error> {
        let stored = match rt {
            ResourceType::User => users::get(conn, &connection, &lookup)?,
            ResourceType::Group => groups::get(conn, &connection, &lookup)?,
        };
        let Some(stored) = stored else {
            return Ok(None);
        };
        let rows = if with_rows {
            Some(rows_of(conn, rt, &[lookup], i64::MAX)?)
        } else {
            None
        };
        Ok(Some((stored, rows)))
    };
    // A group may have 100,000 members.
    let found = if rt == ResourceType::Group && with_rows {
        state.store.read(read).await?
    } else {
        state.store.look_up(read).await?
    };
    let Some((stored, rows)) = found else {
        return Err(missing(rt, &id));
    };
    if unchanged.is_some_and(|tags| tags.hold(stored.version)) {
        return Ok(HttpResponse::NotModified()
            .insert_header((header::ETAG, etag(&stored)))
            .finish());
    }
    let base = base_url(&state, &request);
    let mut response = HttpResponse::Ok();
    response.insert_header((header::ETAG, etag(&stored)));
    let mut body = Vec::new();
    write(&mut body, rt, &stored, rows.as_deref(), &base, &projection)?;
    Ok(answer(response, request.headers(), body))
}

/// `PUT /Users/{id}`, `PUT /Groups/{id}`
pub(super) async fn replace(
    caller: Caller,
    state: web::Data<State>,
    rt: web::Data<ResourceType>,
    request: HttpRequest,
    id: web::Path<String>,
    body: Body,
) -> Answer {
    let edit = Edit::Put(body.0);
    let id = possible(**rt, id.into_inner())?;
    modify(&caller, &state, **rt, &request, id, edit).await
}

/// `PATCH /Users/{id}`, `PATCH /Groups/{id}`
pub(super) async fn patch(
    caller: Caller,
    state: web::Data<State>,
    rt: web::Data<ResourceType>,
    request: HttpRequest,
    id: web::Path<String>,
    body: Body,
) -> Answer {
    let edit = Edit::Patch(scim::patch::parse(caller.dialect(), body.0)?);
    let id = possible(**rt, id.into_inner())?;
    modify(&caller, &state, **rt, &request, id, edit).await
}

async fn modify(
    caller: &Caller,
    state: &State,
    rt: ResourceType,
    request: &HttpRequest,
    id: String,
    edit: Edit,
) -> Answer {
    let projection = projection(request)?;
    let written = state
        .intake
        .modify(caller.source(), rt, id, edit, preconditions(request))
        .await?;
    after_write(state, rt, request, HttpResponse::Ok(), written, &projection).await
}

/// `DELETE /Users/{id}`, `DELETE /Groups/{id}`
pub(super) async fn delete(
    caller: Caller,
    state: web::Data<State>,
    rt: web::Data<ResourceType>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Answer {
    state
        .intake
        .delete(
            caller.source(),
            **rt,
            possible(**rt, id.into_inner())?,
            preconditions(&request),
        )
        .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The whole resource, as IDCS itself answers (RFC 7644 section 3.5.2 allows 204 as well).
async fn after_write(
    state: &State,
    rt: ResourceType,
    request: &HttpRequest,
    mut response: actix_web::HttpResponseBuilder,
    written: Written,
    projection: &Projection,
) -> Answer {
    let stored = written.stored;
    let limit = if names_rows(rt, projection) {
        i64::MAX
    } else {
        MEMBERS_IN_WRITE_ANSWER + 1
    };
    let rows = if written.may_have_links && wants_rows(rt, projection) {
        let id = stored.id.clone();
        let read = move |conn: &mut AnyConn| rows_of(conn, rt, &[id], limit);
        let rows = if limit == i64::MAX {
            state.store.read(read).await?
        } else {
            state.store.look_up(read).await?
        };
        ((rows.len() as i64) < limit).then_some(rows)
    } else {
        None
    };
    let base = base_url(state, request);
    response.insert_header((header::ETAG, etag(&stored)));
    let mut body = Vec::new();
    write(&mut body, rt, &stored, rows.as_deref(), &base, projection)?;
    Ok(answer(response, request.headers(), body))
}

/// The attribute of each resource type that is rows of its own.
fn rows_attribute(rt: ResourceType) -> &'static str {
    match rt {
        ResourceType::User => "groups",
        ResourceType::Group => "members",
    }
}

/// Whether an answer to a read shows them. IDCS itself shows members only on request.
pub(super) fn shows_rows(caller: &Caller, rt: ResourceType, projection: &Projection) -> bool {
    wants_rows(rt, projection)
        && (rt == ResourceType::User
            || caller.dialect() != Dialect::Idcs
            || names_rows(rt, projection))
}

fn wants_rows(rt: ResourceType, projection: &Projection) -> bool {
    projection.wants(rt, rows_attribute(rt))
}

fn names_rows(rt: ResourceType, projection: &Projection) -> bool {
    projection.names_explicitly(rt, rows_attribute(rt))
}

pub(super) fn rows_of(
    conn: &mut AnyConn,
    rt: ResourceType,
    ids: &[String],
    limit: i64,
) -> Result<Vec<Link>, store::Error> {
    match rt {
        ResourceType::User => users::groups_of(conn, ids),
        ResourceType::Group => groups::members_of(conn, ids, limit),
    }
}

/// A row as SCIM shows it. Of an unknown member only the id is known.
#[derive(Serialize)]
struct Shown<'a> {
    value: &'a str,
    #[serde(rename = "$ref", skip_serializing_if = "Option::is_none")]
    reference: Option<Location<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    member_type: Option<&'static str>,
}

impl<'a> Shown<'a> {
    fn new(rt: ResourceType, row: &'a Link, base: &'a str) -> Self {
        let far = match row.member_type {
            MemberType::User => Some(ResourceType::User),
            MemberType::Group => Some(ResourceType::Group),
            MemberType::Unknown => None,
        };
        Self {
            value: &row.id,
            reference: far.map(|far| Location {
                base,
                rt: far,
                id: &row.id,
            }),
            display: far.and(row.display.as_deref()),
            member_type: far.map(|far| match rt {
                ResourceType::User => "direct",
                ResourceType::Group => far.name(),
            }),
        }
    }
}

/// The address of a resource.
struct Location<'a> {
    base: &'a str,
    rt: ResourceType,
    id: &'a str,
}

impl Display for Location<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.base, self.rt.endpoint(), self.id)
    }
}

impl Serialize for Location<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Writes a resource as the caller wants to see it. `rows` are the members of a group or the groups of a user;
/// `None` leaves them out.
pub(super) fn write(
    out: &mut Vec<u8>,
    rt: ResourceType,
    stored: &Stored<String>,
    rows: Option<&[Link]>,
    base: &str,
    projection: &Projection,
) -> Result<(), Failure> {
    let meta = Meta {
        id: stored.id.clone(),
        created: rfc3339(stored.created_at),
        last_modified: rfc3339(stored.modified_at),
        version: etag(stored),
        location: location(rt, &stored.id, base),
    };
    let shown: Vec<Shown<'_>> = rows
        .unwrap_or_default()
        .iter()
        .map(|row| Shown::new(rt, row, base))
        .collect();
    let written = if projection.is_whole() {
        scim::resource::render_text(rt, &stored.doc, &meta, &shown, out)
    } else {
        write_in_part(out, rt, stored, &shown, &meta, projection)
    };
    written.map_err(|e| store::Error::Corrupt(format!("document of {}: {e}", stored.id)).into())
}

fn write_in_part(
    out: &mut Vec<u8>,
    rt: ResourceType,
    stored: &Stored<String>,
    rows: &[Shown<'_>],
    meta: &Meta,
    projection: &Projection,
) -> Result<(), serde_json::Error> {
    let doc: scim::Doc = serde_json::from_str(&stored.doc)?;
    let rows: Vec<Value> = rows
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<_, _>>()?;
    let whole = scim::resource::render(rt, &doc, meta, Some(rows));
    serde_json::to_writer(out, &projection.apply(rt, whole))
}

/// Weak, because the same version may be shown with other attributes (RFC 7644 section 3.14).
pub(super) fn etag(stored: &Stored<String>) -> String {
    format!("W/\"{}\"", stored.version)
}

pub(super) fn location(rt: ResourceType, id: &str, base: &str) -> String {
    Location { base, rt, id }.to_string()
}

/// An id as it may be asked for: PostgreSQL takes no text with U+0000, so such a resource cannot exist.
pub(super) fn possible(rt: ResourceType, id: String) -> Result<String, Failure> {
    if id.contains('\0') {
        return Err(missing(rt, &id.replace('\0', "\u{fffd}")));
    }
    Ok(id)
}

fn missing(rt: ResourceType, id: &str) -> Failure {
    scim::Error::not_found(format!("{} {id} does not exist", rt.name())).into()
}

fn projection(request: &HttpRequest) -> Result<Projection, Failure> {
    let pairs = query_pairs(request)?;
    let get = |name: &str| {
        pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    Ok(Projection::parse(
        get("attributes"),
        get("excludedAttributes"),
    )?)
}

pub(super) fn query_pairs(request: &HttpRequest) -> Result<Vec<(String, String)>, Failure> {
    web::Query::<Vec<(String, String)>>::from_query(request.query_string())
        .map(web::Query::into_inner)
        .map_err(|e| {
            scim::Error::invalid_value(format!("the query string cannot be read: {e}")).into()
        })
}
