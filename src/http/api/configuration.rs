//! The configuration and its versions.

use actix_web::web;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::State;
use super::{Answer, Problem, THROUGH};
use crate::auth::seat::Actor;
use crate::clock::rfc3339;
use crate::configure::{self, By, Change, Report};
use crate::store::versions as stored;

/// How many versions are listed.
const MOST: i64 = 500;

/// The configuration as text.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Text {
    /// TOML, as `usher export` prints and `usher apply` takes it. Secrets are references.
    text: String,
}

/// `GET /api/v1/configuration`
pub(super) async fn text(state: web::Data<State>) -> Answer<Text> {
    let text = state.store.read(stored::export).await?;
    Ok(web::Json(Text { text }))
}

/// A configuration to be stored.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Apply {
    /// TOML, as `usher apply` takes it.
    text: String,
    /// Only say what that would be.
    #[serde(default)]
    dry_run: bool,
}

/// What became of it, or would.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Outcome {
    /// Connections, targets and mappings of the text.
    parts: Vec<Part>,
    /// How many people are looked at again.
    people: usize,
    /// Stored connections, targets and mappings that the text does not name; they stay.
    left_alone: Vec<String>,
    /// Things to know.
    notes: Vec<String>,
    /// The version under which it is kept, if anything changed.
    version: Option<i64>,
}

/// What became of a part.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Part {
    /// Such as `connection corp`.
    what: String,
    /// `created`, `changed` or `unchanged`.
    outcome: &'static str,
}

impl From<Report> for Outcome {
    fn from(report: Report) -> Self {
        Self {
            parts: report
                .lines
                .into_iter()
                .map(|(what, change)| Part {
                    what,
                    outcome: match change {
                        Change::Created => "created",
                        Change::Changed => "changed",
                        Change::Unchanged => "unchanged",
                    },
                })
                .collect(),
            people: report.marked,
            left_alone: report.left_alone,
            notes: report.backlog.into_iter().chain(report.notes).collect(),
            version: report.version,
        }
    }
}

async fn store(
    state: &State,
    actor: &Actor,
    text: &str,
    cause: &str,
    dry_run: bool,
) -> Answer<Outcome> {
    let by = By {
        actor: &actor.name,
        cause,
    };
    let report = configure::apply_text(&state.store, &state.clock, text, by, dry_run).await?;
    state.intake.wake();
    Ok(web::Json(report.into()))
}

/// `PUT /api/v1/configuration`
pub(super) async fn apply(
    state: web::Data<State>,
    actor: Actor,
    body: web::Json<Apply>,
) -> Answer<Outcome> {
    let Apply { text, dry_run } = body.into_inner();
    store(&state, &actor, &text, THROUGH, dry_run).await
}

/// A former version.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Version {
    /// Its number.
    version: i64,
    /// When it was stored.
    at: String,
    /// Who stored it.
    author: String,
    /// Through what.
    cause: String,
}

/// `GET /api/v1/configuration/versions`
pub(super) async fn versions(state: web::Data<State>) -> Answer<Vec<Version>> {
    let versions = state.store.read(|conn| stored::list(conn, MOST)).await?;
    Ok(web::Json(
        versions
            .into_iter()
            .map(|version| Version {
                version: version.version,
                at: rfc3339(version.at),
                author: version.author,
                cause: version.cause,
            })
            .collect(),
    ))
}

async fn text_of(state: &State, version: &str) -> Result<(i64, String), Problem> {
    let none = || Problem::new(404, "there is no such version");
    let version: i64 = version.parse().map_err(|_| none())?;
    let text = state
        .store
        .read(move |conn| stored::text(conn, version))
        .await?;
    Ok((version, text.ok_or_else(none)?))
}

/// `GET /api/v1/configuration/versions/{version}`
pub(super) async fn version(state: web::Data<State>, version: web::Path<String>) -> Answer<Text> {
    let (_, text) = text_of(&state, &version).await?;
    Ok(web::Json(Text { text }))
}

/// `POST /api/v1/configuration/versions/{version}/rollback`
pub(super) async fn roll_back(
    state: web::Data<State>,
    actor: Actor,
    version: web::Path<String>,
) -> Answer<Outcome> {
    let (version, text) = text_of(&state, &version).await?;
    let cause = format!("{THROUGH}: roll back to version {version}");
    store(&state, &actor, &text, &cause, false).await
}
