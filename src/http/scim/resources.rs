//! `/Users` and `/Groups`: the same handlers for both.

use std::collections::HashMap;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::super::State;
use super::super::error::Failure;
use super::super::extract::{Body, Caller, versions};
use super::super::paging::Place;
use super::{answer, base_url};
use crate::clock::rfc3339;
use crate::intake::Edit;
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
    let (users, mut resources) = found(
        &caller,
        &state,
        ResourceType::User,
        &request,
        &query,
        &projection,
    )
    .await?;
    let rest = ListQuery {
        start_index: query.start_index.saturating_sub(users).max(1),
        count: query.count - (resources.len() as u64).min(query.count),
        ..query.clone()
    };
    let (groups, more) = found(
        &caller,
        &state,
        ResourceType::Group,
        &request,
        &rest,
        &projection,
    )
    .await?;
    resources.extend(more);
    let list = list::list_response(users + groups, query.start_index, resources);
    Ok(answer(HttpResponse::Ok(), request.headers(), &list))
}

async fn page(
    caller: &Caller,
    state: &State,
    rt: ResourceType,
    request: &HttpRequest,
    query: ListQuery,
    projection: Projection,
) -> Answer {
    let (total, resources) = found(caller, state, rt, request, &query, &projection).await?;
    let list = list::list_response(total, query.start_index, resources);
    Ok(answer(HttpResponse::Ok(), request.headers(), &list))
}

/// The total and one page of what a query finds.
async fn found(
    caller: &Caller,
    state: &State,
    rt: ResourceType,
    request: &HttpRequest,
    query: &ListQuery,
    projection: &Projection,
) -> Result<(u64, Vec<Value>), Failure> {
    let compiled = query
        .filter
        .as_ref()
        .map(|f| filter::compile(rt, f))
        .transpose()?;
    let mut place = Place {
        connection: caller.caller.connection.clone(),
        endpoint: rt.endpoint(),
        filter: query.filter.as_ref().map(ToString::to_string),
        start_index: query.start_index,
    };
    let wanted = PageQuery {
        connection: caller.caller.connection.clone(),
        filter: compiled,
        start_index: query.start_index,
        count: query.count,
        after: if query.start_index > 1 {
            state.hints.before(&place)
        } else {
            None
        },
        total: None,
    };
    // IDCS itself shows members only on request.
    let with_rows = wants_rows(rt, projection)
        && (rt == ResourceType::User
            || caller.dialect() == Dialect::Rfc
            || names_rows(rt, projection));
    let (page, rows) = state
        .store
        .read(move |conn| -> Result<_, store::Error> {
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
        })
        .await?;
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
    if let Some(last) = page.items.last()
        && page.items.len() as u64 == query.count
    {
        place.start_index = query.start_index + query.count;
        state.hints.remember(place, last.id.clone());
    }
    let base = base_url(state, request);
    let mut rows_by_resource: HashMap<String, Vec<Link>> = HashMap::new();
    for row in rows.iter().flatten() {
        rows_by_resource
            .entry(row.from.clone())
            .or_default()
            .push(row.clone());
    }
    let resources = page
        .items
        .iter()
        .map(|stored| {
            let own = rows.is_some().then(|| {
                shown(
                    rt,
                    rows_by_resource
                        .get(&stored.id)
                        .map_or(&[][..], Vec::as_slice),
                    &base,
                )
            });
            Value::Object(rendered(rt, stored, own, &base, projection))
        })
        .collect();
    Ok((page.total, resources))
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
    let stored = state.intake.create(caller.source(), **rt, body.0).await?;
    let mut response = HttpResponse::Created();
    response.insert_header((
        header::LOCATION,
        location(**rt, &stored.id, &base_url(&state, &request)),
    ));
    after_write(&state, **rt, &request, response, stored, &projection).await
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
    let found = state
        .store
        .read(move |conn| -> Result<_, store::Error> {
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
        })
        .await?;
    let Some((stored, rows)) = found else {
        return Err(missing(rt, &id));
    };
    if unchanged.is_some_and(|tags| tags.contains(&stored.version)) {
        return Ok(HttpResponse::NotModified()
            .insert_header((header::ETAG, etag(&stored)))
            .finish());
    }
    let base = base_url(&state, &request);
    let rows = rows.map(|rows| shown(rt, &rows, &base));
    let mut response = HttpResponse::Ok();
    response.insert_header((header::ETAG, etag(&stored)));
    let resource = rendered(rt, &stored, rows, &base, &projection);
    Ok(answer(
        response,
        request.headers(),
        &Value::Object(resource),
    ))
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
    let stored = state
        .intake
        .modify(caller.source(), rt, id, edit, if_match)
        .await?;
    after_write(state, rt, request, HttpResponse::Ok(), stored, &projection).await
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
    stored: Stored,
    projection: &Projection,
) -> Answer {
    let limit = if names_rows(rt, projection) {
        i64::MAX
    } else {
        MEMBERS_IN_WRITE_ANSWER + 1
    };
    let rows = if wants_rows(rt, projection) {
        let id = stored.id.clone();
        let rows = state
            .store
            .read(move |conn| rows_of(conn, rt, &[id], limit))
            .await?;
        ((rows.len() as i64) < limit).then_some(rows)
    } else {
        None
    };
    let base = base_url(state, request);
    let rows = rows.map(|rows| shown(rt, &rows, &base));
    response.insert_header((header::ETAG, etag(&stored)));
    let resource = rendered(rt, &stored, rows, &base, projection);
    Ok(answer(
        response,
        request.headers(),
        &Value::Object(resource),
    ))
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

/// Rows as SCIM shows them. Of an unknown member only the id is known.
fn shown(rt: ResourceType, rows: &[Link], base: &str) -> Vec<Value> {
    rows.iter()
        .map(|row| {
            let far = match row.member_type {
                MemberType::User => ResourceType::User,
                MemberType::Group => ResourceType::Group,
                MemberType::Unknown => return json!({ "value": row.id }),
            };
            let mut shown = json!({"value": row.id, "$ref": location(far, &row.id, base)});
            if let Some(display) = &row.display {
                shown["display"] = json!(display);
            }
            shown["type"] = json!(match rt {
                ResourceType::User => "direct",
                ResourceType::Group => far.name(),
            });
            shown
        })
        .collect()
}

fn rendered(
    rt: ResourceType,
    stored: &Stored,
    rows: Option<Vec<Value>>,
    base: &str,
    projection: &Projection,
) -> scim::Doc {
    let meta = Meta {
        id: stored.id.clone(),
        created: rfc3339(stored.created_at),
        last_modified: rfc3339(stored.modified_at),
        version: etag(stored),
        location: location(rt, &stored.id, base),
    };
    projection.apply(rt, scim::resource::render(rt, &stored.doc, &meta, rows))
}

/// Weak, because the same version may be shown with other attributes (RFC 7644 section 3.14).
fn etag(stored: &Stored) -> String {
    format!("W/\"{}\"", stored.version)
}

fn location(rt: ResourceType, id: &str, base: &str) -> String {
    format!("{base}/{}/{id}", rt.endpoint())
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
