//! `/Users` and `/Groups`: the same handlers for both.

use std::collections::HashMap;
use std::fmt::Display;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::super::State;
use super::super::error::Failure;
use super::super::extract::{Body, Caller, versions};
use super::super::paging::List;
use super::{answer, base_url};
use crate::clock::rfc3339;
use crate::intake::{Edit, Written};
use crate::scim::list::{self, ListQuery};
use crate::scim::projection::Projection;
use crate::scim::resource::Meta;
use crate::scim::{self, Dialect, ResourceType, filter};
use crate::store::groups::MemberType;
use crate::store::{self, AnyConn, Link, PageQuery, Stored, groups, users};

/// The answer to a write shows a group's members up to this number. A push of one member must cost the same
/// whether the group has 10 or 100,000; whoever wants them all asks with GET or with `attributes=members`.
const MEMBERS_IN_WRITE_ANSWER: i64 = 100;
/// How many members a page of groups may hold in all. Leaving some out silently would look like removal.
const MEMBERS_IN_LIST: i64 = 20_000;

type Answer = Result<HttpResponse, Failure>;

/// `GET /Users`, `GET /Groups`
pub(super) async fn list(
    caller: Caller,
    state: web::Data<State>,
    rt: web::Data<ResourceType>,
    request: HttpRequest,
) -> Answer {
    let pairs = query_pairs(&request)?;
    let (query, projection) = list::parse_query(&pairs)?;
    page(&caller, &state, **rt, &request, query, projection).await
}

/// `POST /Users/.search`, `POST /Groups/.search`
pub(super) async fn search(
    caller: Caller,
    state: web::Data<State>,
    rt: web::Data<ResourceType>,
    request: HttpRequest,
    body: Body,
) -> Answer {
    let (query, projection) = list::parse_search(body.0)?;
    page(&caller, &state, **rt, &request, query, projection).await
}

/// `POST /.search`: users first, then groups, as one list.
pub(super) async fn search_all(
    caller: Caller,
    state: web::Data<State>,
    request: HttpRequest,
    body: Body,
) -> Answer {
    let (query, projection) = list::parse_search(body.0)?;
    let mut users = found(
        &caller,
        &state,
        ResourceType::User,
        &request,
        &query,
        &projection,
    )
    .await?;
    let rest = ListQuery {
        start_index: query.start_index.saturating_sub(users.total).max(1),
        count: query.count - (users.count as u64).min(query.count),
        ..query.clone()
    };
    let groups = found(
        &caller,
        &state,
        ResourceType::Group,
        &request,
        &rest,
        &projection,
    )
    .await?;
    if users.count > 0 && groups.count > 0 {
        users.resources.push(b',');
    }
    users.resources.extend(groups.resources);
    let both = Found {
        total: users.total + groups.total,
        count: users.count + groups.count,
        resources: users.resources,
    };
    Ok(both.answer(&request, &query))
}

async fn page(
    caller: &Caller,
    state: &State,
    rt: ResourceType,
    request: &HttpRequest,
    query: ListQuery,
    projection: Projection,
) -> Answer {
    let found = found(caller, state, rt, request, &query, &projection).await?;
    Ok(found.answer(request, &query))
}

/// What a query finds.
struct Found {
    /// In all.
    total: u64,
    /// On this page.
    count: usize,
    /// Those of this page, separated by commas.
    resources: Vec<u8>,
}

impl Found {
    fn answer(&self, request: &HttpRequest, query: &ListQuery) -> HttpResponse {
        let list = list::list_text(self.total, query.start_index, self.count, &self.resources);
        answer(HttpResponse::Ok(), request.headers(), list)
    }
}

/// The total and one page of what a query finds.
async fn found(
    caller: &Caller,
    state: &State,
    rt: ResourceType,
    request: &HttpRequest,
    query: &ListQuery,
    projection: &Projection,
) -> Result<Found, Failure> {
    let compiled = query
        .filter
        .as_ref()
        .map(|f| filter::compile(rt, f))
        .transpose()?;
    let list = List {
        connection: caller.caller.connection.clone(),
        endpoint: rt.endpoint(),
        filter: query.filter.as_ref().map(ToString::to_string),
    };
    let population = state.store.population();
    let wanted = PageQuery {
        connection: caller.caller.connection.clone(),
        filter: compiled,
        start_index: query.start_index,
        count: query.count,
        after: if query.start_index > 1 {
            state.hints.before(&list, query.start_index, population)
        } else {
            None
        },
        total: state.hints.total(&list, population),
    };
    // IDCS itself shows members only on request.
    let with_rows = wants_rows(rt, projection)
        && (rt == ResourceType::User
            || caller.dialect() == Dialect::Rfc
            || names_rows(rt, projection));
    // A look-up of a group may bring 20,000 members along.
    let is_look_up = wanted.is_look_up(rt) && (rt == ResourceType::User || !with_rows);
    let read = move |conn: &mut AnyConn| -> Result<_, store::Error> {
        let page = match rt {
            ResourceType::User => users::list(conn, &wanted)?,
            ResourceType::Group => groups::list(conn, &wanted)?,
        };
        let ids: Vec<String> = page.items.iter().map(|r| r.id.clone()).collect();
        let rows = if with_rows {
            Some(rows_of(conn, rt, &ids, MEMBERS_IN_LIST + 1)?)
        } else {
            None
        };
        Ok((page, rows))
    };
    let (page, rows) = if is_look_up {
        state.store.look_up(read).await?
    } else {
        state.store.read(read).await?
    };
    if rows
        .as_ref()
        .is_some_and(|rows| rt == ResourceType::Group && rows.len() as i64 > MEMBERS_IN_LIST)
    {
        return Err(scim::Error::too_many(format!(
            "these groups have more than {MEMBERS_IN_LIST} members: ask for fewer groups at a time, or with \
             excludedAttributes=members"
        ))
        .into());
    }
    if let Some(id) = page.before {
        let hints = &state.hints;
        hints.counted_up_to(list.clone(), query.start_index, id, population);
    }
    if let Some(last) = page.items.last()
        && page.items.len() as u64 == query.count
    {
        let next = query.start_index + query.count;
        state.hints.page_ended(list.clone(), next, last.id.clone());
    }
    state.hints.counted(list, page.total, population);
    let base = base_url(state, request);
    let mut rows_by_resource: Option<HashMap<String, Vec<Link>>> =
        rows.as_ref().map(|_| HashMap::new());
    for row in rows.into_iter().flatten() {
        if let Some(rows) = &mut rows_by_resource {
            rows.entry(row.from.clone()).or_default().push(row);
        }
    }
    let mut resources = Vec::new();
    for stored in &page.items {
        if !resources.is_empty() {
            resources.push(b',');
        }
        let own = rows_by_resource
            .as_ref()
            .map(|rows| rows.get(&stored.id).map_or(&[][..], Vec::as_slice));
        write(&mut resources, rt, stored, own, &base, projection)?;
    }
    Ok(Found {
        total: page.total,
        count: page.items.len(),
        resources,
    })
}

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
    let with_rows = wants_rows(rt, &projection)
        && (rt == ResourceType::User
            || caller.dialect() == Dialect::Rfc
            || names_rows(rt, &projection));
    let connection = caller.caller.connection.clone();
    let (id, wanted) = (possible(rt, id)?, request.clone());
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
    if unchanged.is_some_and(|tags| tags.contains(&stored.version)) {
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
    let id = possible(**rt, id)?;
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
    let id = possible(**rt, id)?;
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
    let if_match = versions(request, header::IF_MATCH);
    let written = state
        .intake
        .modify(caller.source(), rt, id, edit, if_match)
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
    let if_match = versions(&request, header::IF_MATCH);
    state
        .intake
        .delete(caller.source(), **rt, possible(**rt, id)?, if_match)
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

fn wants_rows(rt: ResourceType, projection: &Projection) -> bool {
    projection.wants(rt, rows_attribute(rt))
}

fn names_rows(rt: ResourceType, projection: &Projection) -> bool {
    projection.names_explicitly(rt, rows_attribute(rt))
}

fn rows_of(
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
fn write(
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
fn etag(stored: &Stored<String>) -> String {
    format!("W/\"{}\"", stored.version)
}

fn location(rt: ResourceType, id: &str, base: &str) -> String {
    Location { base, rt, id }.to_string()
}

/// An id as it may be asked for: PostgreSQL takes no text with U+0000, so such a resource cannot exist.
fn possible(rt: ResourceType, id: web::Path<String>) -> Result<String, Failure> {
    let id = id.into_inner();
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

fn query_pairs(request: &HttpRequest) -> Result<Vec<(String, String)>, Failure> {
    web::Query::<Vec<(String, String)>>::from_query(request.query_string())
        .map(web::Query::into_inner)
        .map_err(|e| {
            scim::Error::invalid_value(format!("the query string cannot be read: {e}")).into()
        })
}
