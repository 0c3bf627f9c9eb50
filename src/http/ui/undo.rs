//! Giving back what was taken away: first what that would be, then, with the number of people, doing it.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::super::State;
use super::super::problem::Problem;
use super::super::trail::instant;
use super::super::undo::{self, Foreseen};
use super::{Frame, html, see_other};
use crate::auth::seat::Actor;
use crate::converge::Chosen;
use crate::domain::Role;

/// How many people a page shows.
const SHOWN: usize = 100;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Fields {
    #[serde(default)]
    run: String,
    /// RFC 3339, or a date.
    #[serde(default)]
    since: String,
    #[serde(default)]
    until: String,
    #[serde(default)]
    cause: String,
    #[serde(default)]
    target: String,
    /// One person.
    #[serde(default)]
    user: String,
    /// The number of people that was shown.
    #[serde(default)]
    confirm: String,
    /// To how many people something was given back a moment ago.
    #[serde(default)]
    begun: Option<u64>,
}

impl Fields {
    fn chosen(&self) -> Result<Chosen, Problem> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Ok(Chosen {
            run: given(&self.run),
            since: instant("since", &self.since)?,
            until: instant("until", &self.until)?,
            cause: given(&self.cause),
            target: given(&self.target),
            users: given(&self.user).into_iter().collect(),
        })
    }
}

#[derive(Template)]
#[template(path = "undo.html", config = "src/http/ui/askama.toml")]
struct Page {
    frame: Frame,
    fields: Fields,
    foreseen: Option<Foreseen>,
    /// Why nothing is foreseen.
    why: Option<String>,
    may_operate: bool,
}

/// `GET /undo`
pub(super) async fn show(
    state: web::Data<State>,
    actor: Actor,
    fields: web::Query<Fields>,
) -> Result<HttpResponse, Problem> {
    let fields = fields.into_inner();
    let mut frame = Frame::new("Undo", "/held", actor.clone());
    if let Some(people) = fields.begun {
        frame = frame.saying(
            "good",
            format!("Access or memberships are given back to {people} people now."),
        );
    }
    let (mut foreseen, mut why) = (None, None);
    match fields.chosen() {
        Ok(chosen) if chosen == Chosen::default() => {}
        Ok(chosen) => match undo::foresee(&state, &chosen, SHOWN).await {
            Ok(found) => foreseen = Some(found),
            Err(problem) if problem.status < 500 => why = Some(problem.detail),
            Err(problem) => return Err(problem),
        },
        Err(problem) => why = Some(problem.detail),
    }
    let page = Page {
        frame,
        fields,
        foreseen,
        why,
        may_operate: actor.role.includes(Role::Operator),
    };
    Ok(html(200, &page))
}

/// `POST /undo`
pub(super) async fn begin(
    state: web::Data<State>,
    actor: Actor,
    fields: web::Form<Fields>,
) -> Result<HttpResponse, Problem> {
    let confirmed = fields.confirm.trim().parse().map_err(|_| {
        Problem::new(
            400,
            "confirm should be the number of people that the page shows",
        )
    })?;
    let tally = undo::begin(&state, &actor, &fields.chosen()?, confirmed).await?;
    Ok(see_other(&format!("/undo?begun={}", tally.people)))
}
