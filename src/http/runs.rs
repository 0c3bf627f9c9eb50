//! What pages and API share about runs: which there were, how far one is, and how one is begun.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::State;
use super::problem::Problem;
use crate::auth::seat::Actor;
use crate::reconcile::{self, Counts, Extent};
use crate::store::audit::{self, NewAudit};
use crate::store::runs::{self, Run};
use crate::store::{self, settings};

/// How far a run is.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Progress {
    /// What is being read.
    pub(super) phase: String,
    /// So many.
    pub(super) done: u64,
    /// Of so many, if that is known.
    pub(super) total: Option<u64>,
}

/// A run with the name of its connection.
pub(super) struct Named {
    pub(super) run: Run,
    pub(super) connection: String,
}

impl Named {
    /// Counts of another version may lack some.
    pub(super) fn counts(&self) -> Counts {
        serde_json::from_str(&self.run.counts).unwrap_or_default()
    }

    pub(super) fn progress(&self) -> Option<Progress> {
        let text = self.run.progress.as_deref()?;
        serde_json::from_str(text).ok()
    }
}

/// A page of runs.
pub(super) struct Found {
    pub(super) runs: Vec<Named>,
    /// Names of all connections that are read.
    pub(super) connections: Vec<String>,
    /// Where the next page begins.
    pub(super) next: Option<String>,
}

/// The latest runs before the run `before`; an unknown connection has none.
pub(super) async fn list(
    state: &State,
    connection: String,
    before: String,
    limit: usize,
) -> Result<Found, Problem> {
    let (configuration, mut runs) = state
        .store
        .read(move |conn| -> Result<_, store::Error> {
            let configuration = settings::load(conn)?;
            let known = configuration
                .connections
                .iter()
                .find(|c| c.settings.name == connection)
                .map(|c| c.id.clone());
            if known.is_none() && !connection.is_empty() {
                return Ok((configuration, Vec::new()));
            }
            let before = Some(before.as_str()).filter(|id| !id.is_empty());
            // One more tells whether there is a next page.
            let runs = runs::list(conn, known.as_ref(), before, limit as i64 + 1)?;
            Ok((configuration, runs))
        })
        .await?;
    let more = runs.len() > limit;
    runs.truncate(limit);
    let connections = configuration.connections;
    Ok(Found {
        next: runs.last().filter(|_| more).map(|run| run.id.clone()),
        runs: runs
            .into_iter()
            .map(|run| Named {
                connection: connections
                    .iter()
                    .find(|c| c.id.as_str() == run.connection_id)
                    .map(|c| c.settings.name.clone())
                    .unwrap_or_default(),
                run,
            })
            .collect(),
        connections: connections
            .into_iter()
            .filter(|c| c.settings.pull.is_some())
            .map(|c| c.settings.name)
            .collect(),
    })
}

/// One run.
pub(super) async fn get(state: &State, id: String) -> Result<Named, Problem> {
    let found = state
        .store
        .read(move |conn| -> Result<_, store::Error> {
            let Some(run) = runs::get(conn, &id)? else {
                return Ok(None);
            };
            let connections = settings::load(conn)?.connections;
            let name = connections
                .into_iter()
                .find(|c| c.id.as_str() == run.connection_id)
                .map(|c| c.settings.name);
            Ok(Some((run, name.unwrap_or_default())))
        })
        .await?;
    found
        .map(|(run, connection)| Named { run, connection })
        .ok_or_else(|| {
            Problem::new(
                404,
                "there is no such run (any more): the last 200 are kept",
            )
        })
}

/// Begins a run over a connection, which goes on by itself. Returns its id.
pub(super) async fn begin(
    state: &State,
    actor: &Actor,
    connection: &str,
    full: bool,
    through: &'static str,
) -> Result<String, Problem> {
    let reconciler = state
        .reconciler
        .clone()
        .ok_or_else(|| Problem::new(503, "this server reads no domains"))?;
    let configuration = state.store.read(settings::load).await?;
    let connection = configuration
        .connections
        .into_iter()
        .find(|c| c.settings.name == connection)
        .ok_or_else(|| Problem::new(404, "there is no connection of this name"))?;
    let extent = if full {
        Extent::Full
    } else {
        Extent::Incremental
    };
    let cause = format!("{} at the {through}", actor.name);
    let begun = reconciler
        .begin(&connection, extent, &cause, false)
        .await
        .map_err(problem)?;
    let run = begun.id().to_owned();
    let detail = json!({"connection": connection.settings.name, "full": full, "run": run});
    let act = NewAudit {
        connection_id: Some(connection.id),
        ..NewAudit::act(state.clock.now(), &actor.name, "sync", &detail, through)
    };
    // What goes wrong from here on stands in the table of runs.
    tokio::spawn(async move {
        if let Err(error) = reconciler.go_on(begun, None).await {
            tracing::warn!(connection = %connection.settings.name, %error, "a run that somebody asked for failed");
        }
    });
    state.store.write(move |tx| audit::append(tx, &act)).await?;
    Ok(run)
}

fn problem(error: reconcile::Error) -> Problem {
    match error {
        reconcile::Error::Store(error) => error.into(),
        reconcile::Error::Busy => Problem::new(
            409,
            "a run of this connection is under way: wait for its end",
        ),
        other => Problem::new(422, other.to_string()),
    }
}
