//! Where list pages ended, so that the next page need not be counted up to.
//!
//! `startIndex` (RFC 7644 section 3.4.2.4) makes a database skip everything before the page. An identity
//! provider that imports asks for one page after the other, so remembering the last id of a page makes the
//! next one as cheap as the first; and nothing is left out when a resource before it disappears meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::ConnectionId;

/// How many page ends are remembered.
const MAX: usize = 1024;

/// Whose list, of what, and the index that the next page starts at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) connection: ConnectionId,
    pub(super) endpoint: &'static str,
    pub(super) filter: Option<String>,
    pub(super) start_index: u64,
}

/// The memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Hints(Arc<Mutex<HashMap<Place, String>>>);

impl Hints {
    /// The id before this place, if the page before it was served by this process.
    pub(super) fn before(&self, place: &Place) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(place)
            .cloned()
    }

    /// Remembers that the page before `place` ended with `id`.
    pub(super) fn remember(&self, place: Place, id: String) {
        let mut hints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if hints.len() >= MAX {
            hints.clear();
        }
        hints.insert(place, id);
    }
}
