//! People: found by name or address, and one person across every product.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::super::State;
use super::super::problem::Problem;
use super::{Frame, Notice, html, see_other};
use crate::auth::seat::Actor;
use crate::clock::rfc3339;
use crate::converge::{Explanation, explain};
use crate::domain::{Role, UserId};
use crate::http::encoded;
use crate::store::audit::{self, NewAudit};
use crate::store::people::{self, Person, Query};
use crate::store::{self, settings, work};

/// People on a page.
const PAGE: usize = 50;

#[derive(Debug, Deserialize)]
pub(super) struct Search {
    #[serde(default)]
    q: String,
    #[serde(default)]
    connection: String,
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
    let (text, name) = (search.q.clone(), search.connection.clone());
    let after = search
        .after
        .rsplit_once(' ')
        .map(|(name, id)| (name.to_owned(), id.to_owned()));
    let (connections, mut people) = state
        .store
        .read(move |conn| -> Result<_, store::Error> {
            let connections = settings::load(conn)?.connections;
            let connection = connections
                .iter()
                .find(|c| c.settings.name == name)
                .map(|c| c.id.clone());
            let query = Query {
                text,
                connection,
                after,
            };
            // One more tells whether there is a next page.
            let people = people::page(conn, &query, PAGE as i64 + 1)?;
            let names = connections.into_iter().map(|c| c.settings.name).collect();
            Ok((names, people))
        })
        .await?;
    let more = people.len() > PAGE;
    people.truncate(PAGE);
    let next = people.last().filter(|_| more).map(|last| {
        format!(
            "/people?q={}&connection={}&after={}",
            encoded(&search.q),
            encoded(&search.connection),
            encoded(&format!("{} {}", last.user_name_ci, last.id))
        )
    });
    let page = List {
        frame: Frame::new("People", "/people", actor),
        search,
        connections,
        people,
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
    let person = state
        .store
        .read(move |conn| explain(conn, &user))
        .await?
        .ok_or_else(|| Problem::new(404, "nobody has this id (any more); search again"))?;
    let mut frame = Frame::new(person.user_name.clone(), "/people", actor.clone());
    if said.said == "retry" {
        frame.notice = Some(Notice {
            tone: "good",
            text: "Looked at again now; reload in a moment to see what came of it.".to_owned(),
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
    let user = UserId(id.clone());
    let now = state.clock.now();
    state
        .store
        .write(move |tx| -> Result<(), store::Error> {
            let cause = format!("{} asked for it", actor.name);
            for mapping in settings::load(tx.conn())?.mappings {
                let Some((connection, _)) = store::users::find(tx.conn(), &user)? else {
                    continue;
                };
                if mapping.connection_id == connection {
                    let target = &mapping.target_id;
                    work::mark_one(tx, target, &user, work::Priority::Push, &cause, now)?;
                }
            }
            let detail = serde_json::json!({"user": user.as_str()});
            let act = NewAudit::act(now, &actor.name, "retry", &detail, "the page of the person");
            audit::append(
                tx,
                &NewAudit {
                    user_id: Some(user.clone()),
                    ..act
                },
            )
        })
        .await?;
    state.intake.wake();
    Ok(see_other(&format!("/people/{id}?said=retry")))
}
