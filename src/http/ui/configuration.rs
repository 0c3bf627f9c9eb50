//! The configuration: shown, tried out, saved, compared, rolled back. It is the same text as `usher export` and
//! `usher apply` have, so that every setting is here.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::super::State;
use super::super::problem::Problem;
use super::{Frame, html, see_other, when};
use crate::auth::seat::Actor;
use crate::config::diff;
use crate::configure::{self, By, Change, Report};
use crate::converge::{Outlook, Scope};
use crate::domain::Role;
use crate::store::versions::{self, Version};

/// How many versions a page lists.
const VERSIONS: i64 = 50;
/// How many people who would change are shown.
const SAMPLE: usize = 20;
/// How long people are counted before the page is shown with what is known by then.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Template)]
#[template(path = "configuration.html", config = "src/http/ui/askama.toml")]
struct Page {
    frame: Frame,
    text: String,
    may_administer: bool,
    trial: Option<Trial>,
    versions: Vec<Version>,
}

/// What saving would do.
#[derive(Default)]
pub(super) struct Trial {
    pub(super) problems: Vec<String>,
    pub(super) changes: Vec<(String, &'static str)>,
    pub(super) notes: Vec<String>,
    /// What it comes to for people, for each changed mapping.
    pub(super) totals: Vec<String>,
    pub(super) people: Vec<Outlook>,
    pub(super) changing: usize,
    /// Not everybody was looked at in time.
    pub(super) cut_off: bool,
}

fn changed(report: &Report) -> Vec<(String, &'static str)> {
    report
        .lines
        .iter()
        .filter_map(|(what, change)| {
            let word = match change {
                Change::Created => "new",
                Change::Changed => "changed",
                Change::Unchanged => return None,
            };
            Some((what.clone(), word))
        })
        .collect()
}

#[derive(Debug, Deserialize)]
pub(super) struct Said {
    #[serde(default)]
    version: Option<i64>,
}

/// `GET /configuration`
pub(super) async fn show(
    state: web::Data<State>,
    actor: Actor,
    said: web::Query<Said>,
) -> Result<HttpResponse, Problem> {
    let text = state.store.read(versions::export).await?;
    let mut frame = Frame::new("Configuration", "/configuration", actor.clone());
    if let Some(version) = said.version {
        frame = frame.saying("good", format!("Saved as version {version}."));
    }
    page(&state, frame, &actor, text, None, 200).await
}

async fn page(
    state: &State,
    frame: Frame,
    actor: &Actor,
    text: String,
    trial: Option<Trial>,
    status: u16,
) -> Result<HttpResponse, Problem> {
    let versions = state
        .store
        .read(|conn| versions::list(conn, VERSIONS))
        .await?;
    let page = Page {
        frame,
        text,
        may_administer: actor.role.includes(Role::Administrator),
        trial,
        versions,
    };
    Ok(html(status, &page))
}

#[derive(Debug, Deserialize)]
pub(super) struct Text {
    text: String,
}

/// `POST /configuration/try`
pub(super) async fn try_out(
    state: web::Data<State>,
    actor: Actor,
    form: web::Form<Text>,
) -> Result<HttpResponse, Problem> {
    let text = form.into_inner().text.replace("\r\n", "\n");
    let trial = trial(&state, &actor, &text).await?;
    let frame = Frame::new("Configuration", "/configuration", actor.clone());
    page(&state, frame, &actor, text, Some(trial), 200).await
}

async fn trial(state: &State, actor: &Actor, text: &str) -> Result<Trial, Problem> {
    let by = By {
        actor: &actor.name,
        cause: "the configuration page",
    };
    let report = match configure::apply_text(&state.store, &state.clock, text, by, true).await {
        Ok(report) => report,
        Err(configure::Error::Refused(problems)) => {
            return Ok(Trial {
                problems: problems.iter().map(ToString::to_string).collect(),
                ..Trial::default()
            });
        }
        Err(error) => return Err(error.into()),
    };
    trial_of(state, report).await
}

/// What a change comes to that was not stored.
pub(super) async fn trial_of(state: &State, report: Report) -> Result<Trial, Problem> {
    let mut trial = Trial {
        changes: changed(&report),
        notes: report.notes.clone(),
        ..Trial::default()
    };
    if report.changed.is_empty() {
        return Ok(trial);
    }
    let scope = Scope {
        mappings: Some(report.changed),
        ..Scope::default()
    };
    let (mut people, mut changing) = (Vec::new(), 0);
    let mut each = |outlook: Outlook| {
        if !outlook.operations.is_empty() {
            changing += 1;
            if people.len() < SAMPLE {
                people.push(outlook);
            }
        }
    };
    let preview = state
        .engine
        .preview(report.configuration, &scope, &mut each);
    match tokio::time::timeout(PATIENCE, preview).await {
        Ok(summaries) => {
            trial.totals = summaries?
                .iter()
                .map(|s| {
                    let operations: Vec<String> = s
                        .operations
                        .iter()
                        .map(|(name, n)| format!("{n} {name}"))
                        .collect();
                    let stopped = s.stopped.as_ref().map_or_else(String::new, |why| {
                        format!(" — not everybody was looked at: {why}")
                    });
                    format!(
                        "{} → {}: {} of {} people change ({}){stopped}",
                        s.connection,
                        s.target,
                        s.changing,
                        s.people,
                        if operations.is_empty() {
                            "no operation".to_owned()
                        } else {
                            operations.join(", ")
                        },
                    )
                })
                .collect();
        }
        Err(_) => trial.cut_off = true,
    }
    (trial.people, trial.changing) = (people, changing);
    Ok(trial)
}

/// `POST /configuration`
pub(super) async fn save(
    state: web::Data<State>,
    actor: Actor,
    form: web::Form<Text>,
) -> Result<HttpResponse, Problem> {
    let text = form.into_inner().text.replace("\r\n", "\n");
    store(&state, &actor, text, "the configuration page").await
}

async fn store(
    state: &State,
    actor: &Actor,
    text: String,
    cause: &str,
) -> Result<HttpResponse, Problem> {
    let by = By {
        actor: &actor.name,
        cause,
    };
    match configure::apply_text(&state.store, &state.clock, &text, by, false).await {
        Ok(report) => {
            state.intake.wake();
            Ok(see_other(&match report.version {
                Some(version) => format!("/configuration?version={version}"),
                None => "/configuration".to_owned(),
            }))
        }
        Err(configure::Error::Refused(problems)) => {
            let trial = Trial {
                problems: problems.iter().map(ToString::to_string).collect(),
                ..Trial::default()
            };
            let frame = Frame::new("Configuration", "/configuration", actor.clone())
                .saying("bad", "Nothing was saved; what is wrong stands below.");
            page(state, frame, actor, text, Some(trial), 400).await
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Template)]
#[template(path = "version.html", config = "src/http/ui/askama.toml")]
struct VersionPage {
    frame: Frame,
    version: i64,
    /// First character and line.
    lines: Vec<(char, String)>,
    may_administer: bool,
}

fn number(version: &str) -> Result<i64, Problem> {
    version
        .parse()
        .map_err(|_| Problem::new(404, "there is no such version"))
}

/// `GET /configuration/versions/{version}`
pub(super) async fn version(
    state: web::Data<State>,
    actor: Actor,
    version: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let version = number(&version)?;
    let (old, new) = state
        .store
        .read(move |conn| -> Result<_, crate::store::Error> {
            Ok((versions::text(conn, version)?, versions::export(conn)?))
        })
        .await?;
    let old = old.ok_or_else(|| Problem::new(404, "there is no such version"))?;
    let lines = diff(&old, &new)
        .lines()
        .map(|line| (line.chars().next().unwrap_or(' '), line.to_owned()))
        .collect();
    let page = VersionPage {
        frame: Frame::new(
            format!("Version {version}"),
            "/configuration",
            actor.clone(),
        ),
        version,
        lines,
        may_administer: actor.role.includes(Role::Administrator),
    };
    Ok(html(200, &page))
}

/// `POST /configuration/versions/{version}/rollback`
pub(super) async fn roll_back(
    state: web::Data<State>,
    actor: Actor,
    version: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let version = number(&version)?;
    let text = state
        .store
        .read(move |conn| versions::text(conn, version))
        .await?
        .ok_or_else(|| Problem::new(404, "there is no such version"))?;
    store(
        &state,
        &actor,
        text,
        &format!("roll back to version {version}"),
    )
    .await
}
