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
use crate::store::{self, pause, runs, settings, tokens};

/// So long before its end a credential is told of.
const SOON: Micros = 30 * 86_400_000_000;

#[derive(Template)]
#[template(path = "dashboard.html", config = "src/http/ui/askama.toml")]
struct Dashboard {
    frame: Frame,
    targets: Vec<TargetCard>,
    connections: Vec<ConnectionCard>,
    /// What ends soon, in words, and the page where it is renewed.
    expiring: Vec<(String, String)>,
    may_operate: bool,
    /// Whether any target is stopped.
    stopped: bool,
    /// For how many people nothing is written because somebody stopped it.
    paused_people: i64,
}

struct ConnectionCard {
    name: String,
    /// Whether its domain is read.
    is_read: bool,
    arrived: String,
    read: String,
    /// State of the last run and its words, if it was not done.
    trouble: Option<String>,
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
    let now = state.clock.now();
    let (targets, configuration, read, latest, credentials, paused_people) = state
        .store
        .read(|conn| -> Result<_, store::Error> {
            let configuration = settings::load(conn)?;
            let mut latest = Vec::new();
            for connection in &configuration.connections {
                let runs = runs::list(conn, Some(&connection.id), None, 1)?;
                latest.extend(runs.into_iter().map(|run| (connection.id.clone(), run)));
            }
            Ok((
                work::status(conn)?,
                configuration,
                runs::last_done(conn)?,
                latest,
                tokens::list(conn)?,
                pause::paused_users(conn)?,
            ))
        })
        .await?;
    let mut expiring: Vec<(String, String)> = configuration
        .targets
        .iter()
        .filter_map(|target| {
            let advice = target.settings.expiry(now)?.advice()?;
            let page = format!("/targets/{}", crate::http::encoded(&target.settings.name));
            Some((format!("{}: {advice}", target.settings.name), page))
        })
        .collect();
    expiring.extend(credentials.iter().filter_map(|credential| {
        let at = credential.expires_at.filter(|at| *at - now < SOON)?;
        let when = if at <= now {
            "has ended".to_owned()
        } else {
            format!("ends in {}", ago(at - now))
        };
        let name = &credential.connection;
        let page = format!("/connections/{}", crate::http::encoded(name));
        Some((
            format!("{name}: a {} credential {when}", credential.scheme),
            page,
        ))
    }));
    let connections = configuration.connections.iter().map(|connection| {
        let found = read.iter().find(|(id, _)| *id == connection.id);
        let last = latest.iter().find(|(id, _)| *id == connection.id);
        ConnectionCard {
            name: connection.settings.name.clone(),
            is_read: connection.settings.pull.is_some(),
            arrived: state.arrivals.latest(&connection.id).map_or_else(
                || "none since the start".to_owned(),
                |it| format!("{} ago", ago(now - it.at)),
            ),
            read: found.map_or_else(
                || "never".to_owned(),
                |(_, at)| format!("{} ago", ago(now - at)),
            ),
            trouble: last
                .filter(|(_, run)| run.state != "done" && run.state != "running")
                .map(|(_, run)| {
                    let why = run.message.clone().unwrap_or_default();
                    format!("the last run is {}: {why}", run.state)
                }),
        }
    });
    let connections: Vec<ConnectionCard> = connections.collect();
    let targets: Vec<TargetCard> = targets
        .into_iter()
        .map(|target| TargetCard::new(target, now))
        .collect();
    let page = Dashboard {
        connections,
        expiring,
        may_operate: actor.role.includes(Role::Operator),
        frame: Frame::new("Dashboard", "/", actor),
        paused_people,
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
