//! The latest request of each connection, so that whoever sets one up sees it arrive.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Micros;
use crate::domain::ConnectionId;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arrival {
    /// When.
    pub(super) at: Micros,
    /// Method and path.
    pub(super) what: String,
}

/// What this process has seen since it started.
#[derive(Debug, Clone, Default)]
pub(super) struct Arrivals(Arc<Mutex<HashMap<ConnectionId, Arrival>>>);

impl Arrivals {
    /// Notes a request.
    pub(super) fn note(&self, connection: &ConnectionId, arrival: Arrival) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(connection.clone(), arrival);
    }

    /// The latest one.
    pub(super) fn latest(&self, connection: &ConnectionId) -> Option<Arrival> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(connection).cloned()
    }
}
