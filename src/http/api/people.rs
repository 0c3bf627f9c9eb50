//! People.

use actix_web::{HttpResponse, web};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::State;
use super::super::people::{self, Wanted};
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
    /// `true`: only those for whom nothing is written because somebody stopped it.
    #[serde(default)]
    paused: bool,
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
    /// Since when nothing is written for them because somebody stopped it.
    paused_at: Option<String>,
}

/// `GET /api/v1/people`
pub(super) async fn search(
    state: web::Data<State>,
    query: web::Query<Search>,
) -> Answer<Page<Person>> {
    let Search {
        q,
        connection,
        paused,
        cursor,
        limit,
    } = query.into_inner();
    let wanted = Wanted {
        text: q,
        connection,
        paused,
        after: people::place(&cursor)?,
    };
    let found = people::search(&state, wanted, limit.get()).await?;
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
                paused_at: person.paused_at.map(rfc3339),
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
    people::look_again(&state, &actor, UserId(id.into_inner()), THROUGH).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Why.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    /// For everybody who looks at this person.
    reason: Option<String>,
}

/// `POST /api/v1/people/{id}/pause`
pub(super) async fn pause(
    state: web::Data<State>,
    actor: Actor,
    id: web::Path<String>,
    body: web::Json<Reason>,
) -> Result<HttpResponse, Problem> {
    let reason = body.into_inner().reason;
    people::pause(&state, &actor, UserId(id.into_inner()), reason, THROUGH).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /api/v1/people/{id}/resume`
pub(super) async fn resume(
    state: web::Data<State>,
    actor: Actor,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    people::resume(&state, &actor, UserId(id.into_inner()), THROUGH).await?;
    Ok(HttpResponse::NoContent().finish())
}
