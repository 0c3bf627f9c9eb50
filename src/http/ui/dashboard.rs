//! How things stand.

use actix_web::{HttpResponse, web};
use askama::Template;

use super::super::State;
use super::super::problem::Problem;
use super::{Frame, html};
use crate::auth::seat::Actor;
use crate::clock::{Micros, ago};
use crate::store::work::{self, TargetStatus};

#[derive(Template)]
#[template(path = "dashboard.html", config = "src/http/ui/askama.toml")]
struct Dashboard {
    frame: Frame,
    targets: Vec<TargetCard>,
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
            held: target.held,
            failed: target.failed,
            shadow: target.shadow,
            last_success: target
                .health
                .last_success_at
                .map_or_else(|| "never".to_owned(), |at| format!("{} ago", ago(now - at))),
            error: target.health.last_error.filter(|_| !up),
            state: target.health.state,
        }
    }
}

/// `GET /`
pub(super) async fn show(state: web::Data<State>, actor: Actor) -> Result<HttpResponse, Problem> {
    let targets = state.store.read(work::status).await?;
    let now = state.clock.now();
    let page = Dashboard {
        frame: Frame::new("Dashboard", "/", actor),
        targets: targets
            .into_iter()
            .map(|target| TargetCard::new(target, now))
            .collect(),
    };
    Ok(html(200, &page))
}
