//! People: found by name or address, and one person across every product.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::super::State;
use super::super::people::{self, Wanted};
use super::super::problem::Problem;
use super::{Frame, Notice, html, see_other, shortened, when};
use crate::auth::seat::Actor;
use crate::converge::{Explanation, explain};
use crate::domain::{Role, UserId};
use crate::http::encoded;
use crate::store::people::Person;

/// As the audit names this page.
const THROUGH: &str = "the page of the person";
/// People on a page.
const PAGE: usize = 50;

#[derive(Debug, Deserialize)]
pub(super) struct Search {
    #[serde(default)]
    q: String,
    #[serde(default)]
    connection: String,
    #[serde(default)]
    paused: bool,
    /// Folded user name and id of the last one of the page before.
    #[serde(default)]
    after: String,
}

#[derive(Template)]
#[template(path = "people.html", config = "src/http/ui/askama.toml")]
struct List {
    frame: Frame,
    search: Search,
    connections: Vec<String>,
    people: Vec<Person>,
    next: Option<String>,
}

/// `GET /people`
pub(super) async fn list(
    state: web::Data<State>,
    actor: Actor,
    search: web::Query<Search>,
) -> Result<HttpResponse, Problem> {
    let search = search.into_inner();
    let wanted = Wanted {
        text: search.q.clone(),
        connection: search.connection.clone(),
        paused: search.paused,
        after: people::place(&search.after)?,
    };
    let found = people::search(&state, wanted, PAGE).await?;
    let next = found.next.map(|next| {
        format!(
            "/people?q={}&connection={}&paused={}&after={}",
            encoded(&search.q),
            encoded(&search.connection),
            search.paused,
            encoded(&next)
        )
    });
    let page = List {
        frame: Frame::new("People", "/people", actor),
        search,
        connections: found.connections,
        people: found.people,
        next,
    };
    Ok(html(200, &page))
}

#[derive(Template)]
#[template(path = "person.html", config = "src/http/ui/askama.toml")]
struct One {
    frame: Frame,
    person: Explanation,
    may_operate: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Said {
    #[serde(default)]
    said: String,
}

/// `GET /people/{id}`
pub(super) async fn show(
    state: web::Data<State>,
    actor: Actor,
    id: web::Path<String>,
    said: web::Query<Said>,
) -> Result<HttpResponse, Problem> {
    let user = UserId(id.into_inner());
    let now = state.clock.now();
    let person = state
        .store
        .read(move |conn| explain(conn, &user, now))
        .await?
        .ok_or_else(|| Problem::new(404, "nobody has this id (any more); search again"))?;
    let mut frame = Frame::new(person.user_name.clone(), "/people", actor.clone());
    let text = match said.said.as_str() {
        "retry" => "Looked at again now; reload in a moment to see what came of it.",
        "paused" => "Nothing is written for this person until somebody resumes it.",
        "resumed" => "It goes on now; reload in a moment to see what came of it.",
        _ => "",
    };
    if !text.is_empty() {
        frame.notice = Some(Notice {
            tone: "good",
            text: text.to_owned(),
        });
    }
    let page = One {
        frame,
        may_operate: actor.role.includes(Role::Operator),
        person,
    };
    Ok(html(200, &page))
}

/// `POST /people/{id}/retry`
pub(super) async fn retry(
    state: web::Data<State>,
    actor: Actor,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    people::look_again(&state, &actor, UserId(id.clone()), THROUGH).await?;
    Ok(see_other(&format!("/people/{id}?said=retry")))
}

#[derive(Debug, Deserialize)]
pub(super) struct Reason {
    #[serde(default)]
    reason: String,
}

/// `POST /people/{id}/pause`
pub(super) async fn pause(
    state: web::Data<State>,
    actor: Actor,
    id: web::Path<String>,
    form: web::Form<Reason>,
) -> Result<HttpResponse, Problem> {
    let (id, reason) = (id.into_inner(), form.into_inner().reason);
    let reason = Some(reason.trim().to_owned());
    people::pause(&state, &actor, UserId(id.clone()), reason, THROUGH).await?;
    Ok(see_other(&format!("/people/{id}?said=paused")))
}

/// `POST /people/{id}/resume`
pub(super) async fn resume(
    state: web::Data<State>,
    actor: Actor,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    people::resume(&state, &actor, UserId(id.clone()), THROUGH).await?;
    Ok(see_other(&format!("/people/{id}?said=resumed")))
}
