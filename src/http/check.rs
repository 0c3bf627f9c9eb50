//! What pages and API share about trying out targets and connections.

use std::time::Duration;

use super::State;
use super::problem::Problem;
use crate::converge::Check;
use crate::domain::{Connection, Target};
use crate::reconcile::Step;

/// How long somebody waits for it at the most. Clients have limits of their own; this is for all steps together.
const PATIENCE: Duration = Duration::from_secs(45);

/// Tries a target; the error says in words what is wrong.
pub(super) async fn target(state: &State, target: &Target) -> Result<Check, String> {
    let check = state.engine.check(&target.settings);
    match tokio::time::timeout(PATIENCE, check).await {
        Ok(outcome) => outcome,
        Err(_) => Err(late()),
    }
}

/// Tries what reading a connection needs.
pub(super) async fn connection(
    state: &State,
    connection: &Connection,
) -> Result<Vec<Step>, Problem> {
    let reconciler = state
        .reconciler
        .as_ref()
        .ok_or_else(|| Problem::new(503, "this server reads no domains"))?;
    let check = reconciler.check(connection);
    Ok(match tokio::time::timeout(PATIENCE, check).await {
        Ok(steps) => steps,
        Err(_) => vec![Step {
            what: "the domain",
            outcome: Err(late()),
        }],
    })
}

fn late() -> String {
    format!(
        "no answer within {} s: is the address right, and may this host reach it?",
        PATIENCE.as_secs()
    )
}
