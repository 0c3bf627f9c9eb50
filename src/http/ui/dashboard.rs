//! How things stand.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::super::State;
use super::super::problem::Problem;
use super::super::status;
use super::{Frame, html, see_other};
use crate::auth::seat::Actor;
use crate::clock::{Micros, ago};
use crate::domain::Role;
use crate::store::work::{self, TargetStatus};

#[derive(Template)]
#[template(path = "dashboard.html", config = "src/http/ui/askama.toml")]
struct Dashboard {
    frame: Frame,
    targets: Vec<TargetCard>,
    may_operate: bool,
    /// Whether anything is stopped.
    stopped: bool,
}

struct TargetCard {
    name: String,
    state: String,
    tone: &'static str,
    pending: i64,
    oldest: Option<String>,
    waiting: i64,
    held: i64,
    failed: i64,
    shadow: i64,
    last_success: String,
    error: Option<String>,
    /// Who stopped it, and why.
    paused: Option<String>,
}

impl TargetCard {
    fn new(target: TargetStatus, now: Micros) -> Self {
        let up = target.health.state == "up";
        Self {
            name: target.name,
            tone: if up { "good" } else { "bad" },
            pending: target.pending,
            oldest: target.oldest_pending_at.map(|at| ago(now - at)),
            waiting: target.waiting,
            held: target.held.max(target.braked),
            failed: target.failed,
            shadow: target.shadow,
            last_success: target
                .health
                .last_success_at
                .map_or_else(|| "never".to_owned(), |at| format!("{} ago", ago(now - at))),
            error: target.health.last_error.filter(|_| !up),
            paused: target.pause.map(|pause| {
                let why = pause
                    .reason
                    .map_or_else(String::new, |why| format!(": {why}"));
                format!("paused by {} {} ago{why}", pause.by, ago(now - pause.at))
            }),
            state: target.health.state,
        }
    }
}

/// `GET /`
pub(super) async fn show(state: web::Data<State>, actor: Actor) -> Result<HttpResponse, Problem> {
    let targets = state.store.read(work::status).await?;
    let now = state.clock.now();
    let targets: Vec<TargetCard> = targets
        .into_iter()
        .map(|target| TargetCard::new(target, now))
        .collect();
    let page = Dashboard {
        may_operate: actor.role.includes(Role::Operator),
        frame: Frame::new("Dashboard", "/", actor),
        stopped: targets.iter().any(|target| target.paused.is_some()),
        targets,
    };
    Ok(html(200, &page))
}

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    /// Empty: all of them.
    #[serde(default)]
    target: String,
    #[serde(default)]
    reason: String,
}

fn given(text: String) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// `POST /pause`
pub(super) async fn pause(
    state: web::Data<State>,
    actor: Actor,
    which: web::Form<Which>,
) -> Result<HttpResponse, Problem> {
    let Which { target, reason } = which.into_inner();
    status::pause(
        &state,
        &actor,
        given(target),
        given(reason),
        "the dashboard",
    )
    .await?;
    Ok(see_other("/"))
}

/// `POST /resume`
pub(super) async fn resume(
    state: web::Data<State>,
    actor: Actor,
    which: web::Form<Which>,
) -> Result<HttpResponse, Problem> {
    status::resume(
        &state,
        &actor,
        given(which.into_inner().target),
        "the dashboard",
    )
    .await?;
    Ok(see_other("/"))
}
