//! People.

use actix_web::{HttpResponse, web};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::State;
use super::super::people::{look_again, place, search as search_people};
use super::{Answer, Limit, Page, Problem, THROUGH};
use crate::auth::seat::Actor;
use crate::clock::rfc3339;
use crate::converge::{self, Explanation};
use crate::domain::UserId;

/// Which people.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Search {
    /// Part of the user name, the display name or an e-mail address.
    #[serde(default)]
    q: String,
    /// Name of a connection.
    #[serde(default)]
    connection: String,
    /// `next` of the page before.
    #[serde(default)]
    cursor: String,
    /// How many: 1 to 500.
    #[serde(default)]
    limit: Limit,
}

/// A person in a list.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Person {
    /// SCIM id.
    id: String,
    /// Name of the connection.
    connection: String,
    /// User name at the source.
    user_name: String,
    /// Whether the source says that they are active.
    active: bool,
    /// When what the source states changed last.
    modified_at: String,
    /// When the source deleted them.
    deleted_at: Option<String>,
}

/// `GET /api/v1/people`
pub(super) async fn search(
    state: web::Data<State>,
    query: web::Query<Search>,
) -> Answer<Page<Person>> {
    let Search {
        q,
        connection,
        cursor,
        limit,
    } = query.into_inner();
    let found = search_people(&state, q, connection, place(&cursor)?, limit.get()).await?;
    Ok(web::Json(Page {
        next: found.next,
        items: found
            .people
            .into_iter()
            .map(|person| Person {
                id: person.id,
                connection: person.connection,
                user_name: person.user_name,
                active: person.active,
                modified_at: rfc3339(person.modified_at),
                deleted_at: person.deleted_at.map(rfc3339),
            })
            .collect(),
    }))
}

/// `GET /api/v1/people/{id}`
pub(super) async fn explain(state: web::Data<State>, id: web::Path<String>) -> Answer<Explanation> {
    let user = UserId(id.into_inner());
    let now = state.clock.now();
    let found = state
        .store
        .read(move |conn| converge::explain(conn, &user, now))
        .await?;
    found
        .map(web::Json)
        .ok_or_else(|| Problem::new(404, "nobody has this id (any more)"))
}

/// `POST /api/v1/people/{id}/retry`
pub(super) async fn retry(
    state: web::Data<State>,
    actor: Actor,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    look_again(&state, &actor, UserId(id.into_inner()), THROUGH).await?;
    Ok(HttpResponse::NoContent().finish())
}
