//! What pages and API share about inbound credentials.

use super::State;
use super::edit;
use super::problem::Problem;
use crate::auth::credential::{self, By, Error, Kind, Made};
use crate::auth::seat::Actor;
use crate::clock::Micros;

const DAY: Micros = 86_400_000_000;

/// Makes a credential for a connection.
pub(super) async fn create(
    state: &State,
    actor: &Actor,
    connection: &str,
    kind: Kind,
    days: Option<u32>,
    through: &str,
) -> Result<Made, Problem> {
    let connection = edit::stored_connection(state, connection).await?.id;
    let expires_at = days.map(|days| state.clock.now() + Micros::from(days) * DAY);
    let by = By {
        actor: &actor.name,
        cause: through,
    };
    credential::create(&state.store, &state.clock, connection, kind, expires_at, by)
        .await
        .map_err(problem)
}

/// Makes one to take the place of another, which is taken for so many days still.
pub(super) async fn rotate(
    state: &State,
    actor: &Actor,
    id: &str,
    days: u32,
    through: &str,
) -> Result<Made, Problem> {
    let by = By {
        actor: &actor.name,
        cause: through,
    };
    let ends_at = state.clock.now() + Micros::from(days) * DAY;
    credential::rotate(&state.store, &state.clock, id, ends_at, by)
        .await
        .map_err(problem)
}

/// Ends one.
pub(super) async fn revoke(
    state: &State,
    actor: &Actor,
    id: &str,
    through: &str,
) -> Result<(), Problem> {
    let by = By {
        actor: &actor.name,
        cause: through,
    };
    if credential::revoke(&state.store, &state.clock, id, by).await? {
        Ok(())
    } else {
        Err(problem(Error::Missing))
    }
}

fn problem(error: Error) -> Problem {
    match error {
        Error::Store(error) => error.into(),
        Error::Missing => Problem::new(404, "there is no such credential (any more)"),
        Error::Input(text) => edit::missing("label", text),
    }
}
