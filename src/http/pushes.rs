//! When each identity provider wrote last: silence is noticed by it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::State;
use crate::clock::Micros;
use crate::domain::ConnectionId;
use crate::store::{self, figures};

/// How exactly it is known: one write to the database in that time, whatever the traffic.
const STEP: Micros = 60 * 1_000_000;

/// What this process has written down.
#[derive(Debug, Clone, Default)]
pub(super) struct Pushes(Arc<Mutex<HashMap<ConnectionId, Micros>>>);

impl Pushes {
    /// Notes that a connection writes now.
    pub(super) async fn note(&self, state: &State, connection: &ConnectionId) {
        let now = state.clock.now();
        {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if known.get(connection).is_some_and(|at| now - at < STEP) {
                return;
            }
            known.insert(connection.clone(), now);
        }
        let id = connection.clone();
        let noted = state
            .store
            .write(move |tx| -> Result<(), store::Error> { figures::note_push(tx, &id, now) })
            .await;
        if let Err(error) = noted {
            tracing::warn!(%error, "the time of a push was not noted");
        }
    }
}
