//! Lists of users, of groups, and of both: filtered, sorted, page by page.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, web};

use super::super::State;
use super::super::error::Failure;
use super::super::extract::{Body, Caller};
use super::super::paging::List;
use super::resources::{Answer, query_pairs, rows_of, shows_rows, write};
use super::{answer, base_url};
use crate::scim::cursor::{self, Cursor};
use crate::scim::list::{self, ListQuery, Place};
use crate::scim::projection::Projection;
use crate::scim::{self, ResourceType, filter, sort};
use crate::store::{self, After, AnyConn, Link, PageQuery, groups, users};

/// How many members a page of groups may hold in all. Leaving some out silently would look like removal.
const MEMBERS_IN_LIST: i64 = 20_000;
/// The endpoint of the list of everything.
const ROOT: &str = "";

/// `GET /Users`, `GET /Groups`
pub(super) async fn list(
    caller: Caller,
    state: web::Data<State>,
    rt: web::Data<ResourceType>,
    request: HttpRequest,
) -> Answer {
    let (query, projection) = list::parse_query(&query_pairs(&request)?)?;
    let lists = Lists::new(&caller, &state, &request, &query, &projection);
    lists.page(**rt).await
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
    let lists = Lists::new(&caller, &state, &request, &query, &projection);
    lists.page(**rt).await
}

/// `GET /`: users first, then groups, as one list (RFC 7644 section 3.4.2.1).
pub(super) async fn list_all(
    caller: Caller,
    state: web::Data<State>,
    request: HttpRequest,
) -> Answer {
    let (query, projection) = list::parse_query(&query_pairs(&request)?)?;
    let lists = Lists::new(&caller, &state, &request, &query, &projection);
    lists.page_of_all().await
}

/// `POST /.search`: the same.
pub(super) async fn search_all(
    caller: Caller,
    state: web::Data<State>,
    request: HttpRequest,
    body: Body,
) -> Answer {
    let (query, projection) = list::parse_search(body.0)?;
    let lists = Lists::new(&caller, &state, &request, &query, &projection);
    lists.page_of_all().await
}

/// One request for a page.
struct Lists<'a> {
    caller: &'a Caller,
    state: &'a State,
    request: &'a HttpRequest,
    query: &'a ListQuery,
    projection: &'a Projection,
}

/// Where to begin in the list of one resource type, and how far to go.
struct Range {
    start_index: u64,
    after: Option<After>,
    count: u64,
    /// Whether to find out if there are more.
    look_ahead: bool,
}

/// What a query finds.
struct Found {
    /// In all.
    total: u64,
    /// On this page.
    count: u64,
    /// Those of this page, separated by commas.
    resources: Vec<u8>,
    /// Where this page ended, if it was asked for and there are more.
    more: Option<After>,
}

impl<'a> Lists<'a> {
    fn new(
        caller: &'a Caller,
        state: &'a State,
        request: &'a HttpRequest,
        query: &'a ListQuery,
        projection: &'a Projection,
    ) -> Self {
        Self {
            caller,
            state,
            request,
            query,
            projection,
        }
    }

    /// A page of one resource type.
    async fn page(&self, rt: ResourceType) -> Answer {
        let begin = cursor::read(rt.endpoint(), self.query)?;
        let by_cursor = self.query.cursor.is_some();
        let found = self
            .found(
                rt,
                Range {
                    start_index: self.query.start_index,
                    after: begin.filter(|c| !c.id.is_empty()).map(after),
                    count: self.query.count,
                    look_ahead: by_cursor,
                },
            )
            .await?;
        let next = found.more.clone().map(|after| (rt, after));
        Ok(self.answer(rt.endpoint(), &found, next))
    }

    /// A page of everything.
    async fn page_of_all(&self) -> Answer {
        if self.query.sort.is_some() {
            return Err(scim::Error::invalid_value(
                "users and groups have no order in common; sort /Users or /Groups",
            )
            .into());
        }
        let begin = cursor::read(ROOT, self.query)?;
        let by_cursor = self.query.cursor.is_some();
        let begins_in_groups = begin.as_ref().is_some_and(|c| c.rt == ResourceType::Group);
        let begin = begin.filter(|c| !c.id.is_empty()).map(after);
        let users = self
            .found(
                ResourceType::User,
                Range {
                    start_index: self.query.start_index,
                    after: begin.clone().filter(|_| !begins_in_groups),
                    count: if begins_in_groups {
                        0
                    } else {
                        self.query.count
                    },
                    look_ahead: by_cursor && !begins_in_groups,
                },
            )
            .await?;
        let groups = self
            .found(
                ResourceType::Group,
                Range {
                    start_index: self.query.start_index.saturating_sub(users.total).max(1),
                    after: begin.filter(|_| begins_in_groups),
                    count: self.query.count - users.count,
                    look_ahead: by_cursor,
                },
            )
            .await?;
        let next = match (users.more, groups.more) {
            (Some(after), _) => Some((ResourceType::User, after)),
            (None, Some(after)) => Some((ResourceType::Group, after)),
            // This page is full of users, and groups are still to come.
            (None, None) if users.count == self.query.count && groups.total > 0 => {
                Some((ResourceType::Group, After::id("")))
            }
            (None, None) => None,
        };
        let mut resources = users.resources;
        if users.count > 0 && groups.count > 0 {
            resources.push(b',');
        }
        resources.extend(groups.resources);
        let both = Found {
            total: users.total + groups.total,
            count: users.count + groups.count,
            resources,
            more: None,
        };
        Ok(self.answer(ROOT, &both, next))
    }

    fn answer(
        &self,
        endpoint: &str,
        found: &Found,
        next: Option<(ResourceType, After)>,
    ) -> HttpResponse {
        let place = match self.query.cursor {
            None => Place::Index(self.query.start_index),
            Some(_) => Place::Cursor(next.map(|(rt, After { id, key })| {
                cursor::write(endpoint, self.query, &Cursor { rt, id, key })
            })),
        };
        let count = usize::try_from(found.count).unwrap_or(usize::MAX);
        let list = list::list_text(found.total, &place, count, &found.resources);
        answer(HttpResponse::Ok(), self.request.headers(), list)
    }

    /// The total and one page of what the query finds.
    async fn found(&self, rt: ResourceType, range: Range) -> Result<Found, Failure> {
        let (state, projection) = (self.state, self.projection);
        let filter = self.query.filter.as_ref();
        let compiled = filter.map(|f| filter::compile(rt, f)).transpose()?;
        let sort = self.query.sort.as_ref();
        let sort = sort.map(|s| sort::compile(rt, s)).transpose()?;
        let population = state.store.population();
        // What is remembered of pages holds for lists by id.
        let is_hinted = sort.is_none() && range.after.is_none();
        let mut wanted = PageQuery {
            connection: self.caller.caller.connection.clone(),
            filter: compiled,
            start_index: range.start_index,
            count: range.count + u64::from(range.look_ahead && range.count > 0),
            after: range.after,
            sort,
            total: None,
        };
        let finds_by_name = wanted.is_look_up(rt);
        // A page of one has nothing worth remembering.
        let list = (!finds_by_name).then(|| List {
            connection: wanted.connection.clone(),
            endpoint: rt.endpoint(),
            filter: filter.map(ToString::to_string),
        });
        if let Some(list) = &list {
            if is_hinted && range.start_index > 1 {
                let before = state.hints.before(list, range.start_index, population);
                wanted.after = before.map(After::id);
            }
            wanted.total = state.hints.total(list, population);
        }
        let with_rows = shows_rows(self.caller, rt, projection);
        // A look-up of a group may bring 20,000 members along.
        let is_look_up = finds_by_name && (rt == ResourceType::User || !with_rows);
        let count = range.count;
        let read = move |conn: &mut AnyConn| -> Result<_, store::Error> {
            let mut page = match rt {
                ResourceType::User => users::list(conn, &wanted)?,
                ResourceType::Group => groups::list(conn, &wanted)?,
            };
            let shown = usize::try_from(count).unwrap_or(usize::MAX);
            let is_more = page.items.len() > shown;
            page.items.truncate(shown);
            let ids: Vec<String> = page.items.iter().map(|r| r.id.clone()).collect();
            let rows = if with_rows {
                Some(rows_of(conn, rt, &ids, MEMBERS_IN_LIST + 1)?)
            } else {
                None
            };
            Ok((page, is_more, rows))
        };
        let (page, is_more, rows) = if is_look_up {
            state.store.look_up(read).await?
        } else {
            state.store.read(read).await?
        };
        if rows
            .as_ref()
            .is_some_and(|rows| rt == ResourceType::Group && rows.len() as i64 > MEMBERS_IN_LIST)
        {
            return Err(scim::Error::too_many(format!(
                "these groups have more than {MEMBERS_IN_LIST} members: ask for fewer groups at a time, or \
                 with excludedAttributes=members"
            ))
            .into());
        }
        if let Some(list) = list {
            let hints = &state.hints;
            if let Some(id) = page.before {
                hints.counted_up_to(list.clone(), range.start_index, id, population);
            }
            if let Some(last) = page.items.last()
                && is_hinted
                && page.items.len() as u64 == range.count
            {
                let next = range.start_index + range.count;
                hints.page_ended(list.clone(), next, last.id.clone());
            }
            hints.counted(list, page.total, population);
        }
        let more = page.items.last().filter(|_| is_more).map(|last| After {
            id: last.id.clone(),
            key: page.keys.get(page.items.len() - 1).cloned().flatten(),
        });
        let base = base_url(state, self.request);
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
            count: page.items.len() as u64,
            resources,
            more,
        })
    }
}

fn after(cursor: Cursor) -> After {
    After {
        id: cursor.id,
        key: cursor.key,
    }
}
