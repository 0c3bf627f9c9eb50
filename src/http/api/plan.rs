//! What would be done for whom, without doing it.

use std::time::Duration;

use actix_web::web;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{State, edit};
use super::{Answer, Problem, THROUGH};
use crate::auth::seat::Actor;
use crate::configure::{self, By};
use crate::converge::{Outlook, Scope, Summary};
use crate::store::settings;

/// How long people are counted before the answer is sent with what is known by then.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many people are told of at the most.
const MOST: u16 = 500;

/// For whom, and under which rules.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    /// Only what comes from this connection.
    connection: Option<String>,
    /// Only at this target.
    target: Option<String>,
    /// Only this person: user name, e-mail address or SCIM id.
    user: Option<String>,
    /// As if this text were applied: only the mappings that it changes.
    text: Option<String>,
    /// How many people are told of: up to 500, 20 if it is left out.
    #[schemars(range(max = 500))]
    sample: Option<u16>,
}

/// What it comes to.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Plan {
    /// For each mapping.
    summaries: Vec<Summary>,
    /// Some of the people for whom there is something to say.
    people: Vec<Outlook>,
    /// How many there are for whom there is something to do.
    changing: u64,
    /// Whether everybody was looked at in time.
    complete: bool,
}

/// `POST /api/v1/plan`
pub(super) async fn plan(
    state: web::Data<State>,
    actor: Actor,
    body: web::Json<Wish>,
) -> Answer<Plan> {
    let wish = body.into_inner();
    let mut scope = Scope::default();
    let configuration = match &wish.text {
        None => state.store.read(settings::load).await?,
        Some(text) => {
            let by = By {
                actor: &actor.name,
                cause: THROUGH,
            };
            let report = configure::apply_text(&state.store, &state.clock, text, by, true).await?;
            scope.mappings = Some(report.changed);
            report.configuration
        }
    };
    if let Some(name) = &wish.connection {
        let mut known = configuration.connections.iter();
        let found = known.find(|it| it.settings.name == *name);
        scope.connection = Some(found.ok_or_else(|| missing("connection"))?.id.clone());
    }
    if let Some(name) = &wish.target {
        let mut known = configuration.targets.iter();
        let found = known.find(|it| it.settings.name == *name);
        scope.target = Some(found.ok_or_else(|| missing("target"))?.id.clone());
    }
    if let Some(name) = &wish.user {
        let found = edit::person(&state, name).await?;
        scope.users = vec![found.ok_or_else(|| missing("user"))?];
    }
    let most = usize::from(wish.sample.unwrap_or(20).min(MOST));
    let one = !scope.users.is_empty();
    let (mut people, mut changing) = (Vec::new(), 0);
    let mut each = |outlook: Outlook| {
        changing += u64::from(!outlook.operations.is_empty());
        let says = one || !outlook.operations.is_empty() || outlook.reason.is_some();
        if says && people.len() < most {
            people.push(outlook);
        }
    };
    let preview = state.engine.preview(configuration, &scope, &mut each);
    let (summaries, complete) = match tokio::time::timeout(PATIENCE, preview).await {
        Ok(summaries) => (summaries?, true),
        Err(_) => (Vec::new(), false),
    };
    Ok(web::Json(Plan {
        summaries,
        people,
        changing,
        complete,
    }))
}

fn missing(what: &str) -> Problem {
    Problem::new(404, format!("there is no such {what}"))
}
