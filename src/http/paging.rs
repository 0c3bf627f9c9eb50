//! What earlier list pages found out: where they ended, and how many resources there are.
//!
//! `startIndex` (RFC 7644 section 3.4.2.4) makes a database skip everything before the page. An identity
//! provider that imports asks for one page after the other, so remembering the last id of a page makes the
//! next one as cheap as the first; and nothing is left out when a resource before it disappears meanwhile.
//!
//! What was counted (a total, or the place of a page that nobody reached page by page) holds only until a
//! resource comes or goes, so it is kept with the store's number for that (`Store::population`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::ConnectionId;

/// How many page ends are remembered, and how many totals.
const MAX: usize = 1024;

/// Whose list, and of what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct List {
    pub(super) connection: ConnectionId,
    pub(super) endpoint: &'static str,
    pub(super) filter: Option<String>,
}

/// The memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Hints(Arc<Mutex<Memory>>);

#[derive(Debug, Default)]
struct Memory {
    /// The id before the page that starts at this index. With a population: only while that is the same.
    before: HashMap<(List, u64), (String, Option<u64>)>,
    /// Of lists without a filter.
    totals: HashMap<List, (u64, u64)>,
}

impl Hints {
    /// The id before the page at this index, if it is known.
    pub(super) fn before(
        &self,
        list: &List,
        start_index: u64,
        population: Option<u64>,
    ) -> Option<String> {
        let memory = self.memory();
        let (id, counted) = memory.before.get(&(list.clone(), start_index))?;
        (counted.is_none() || *counted == population).then(|| id.clone())
    }

    /// Remembers that a page ended with `id` just before `start_index`.
    pub(super) fn page_ended(&self, list: List, start_index: u64, id: String) {
        self.remember(list, start_index, id, None);
    }

    /// Remembers that `id` was counted to be just before `start_index`.
    pub(super) fn counted_up_to(
        &self,
        list: List,
        start_index: u64,
        id: String,
        population: Option<u64>,
    ) {
        // A filter may look at attributes, which change without anything coming or going.
        if population.is_some() && list.filter.is_none() {
            self.remember(list, start_index, id, population);
        }
    }

    /// How many there are in a list without a filter, if nothing came or went since that was counted.
    pub(super) fn total(&self, list: &List, population: Option<u64>) -> Option<u64> {
        let (total, counted) = *self.memory().totals.get(list)?;
        (Some(counted) == population).then_some(total)
    }

    /// Remembers a total. `population` was read before it was counted.
    pub(super) fn counted(&self, list: List, total: u64, population: Option<u64>) {
        if let (Some(population), None) = (population, &list.filter) {
            let mut memory = self.memory();
            if memory.totals.len() >= MAX {
                memory.totals.clear();
            }
            memory.totals.insert(list, (total, population));
        }
    }

    fn remember(&self, list: List, start_index: u64, id: String, population: Option<u64>) {
        let mut memory = self.memory();
        if memory.before.len() >= MAX {
            memory.before.clear();
        }
        memory.before.insert((list, start_index), (id, population));
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(filter: Option<&str>) -> List {
        List {
            connection: ConnectionId::from("c"),
            endpoint: "Users",
            filter: filter.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn what_was_counted_holds_until_something_comes_or_goes() {
        let hints = Hints::default();
        hints.counted(list(None), 7, Some(1));
        assert_eq!(hints.total(&list(None), Some(1)), Some(7));
        assert_eq!(hints.total(&list(None), Some(2)), None);
        hints.counted_up_to(list(None), 101, "x".to_owned(), Some(1));
        assert_eq!(
            hints.before(&list(None), 101, Some(1)),
            Some("x".to_owned())
        );
        assert_eq!(hints.before(&list(None), 101, Some(2)), None);
    }

    #[test]
    fn where_a_page_ended_holds_on() {
        let hints = Hints::default();
        hints.page_ended(list(None), 101, "x".to_owned());
        assert_eq!(
            hints.before(&list(None), 101, Some(2)),
            Some("x".to_owned())
        );
        assert_eq!(hints.before(&list(None), 201, Some(2)), None);
    }

    #[test]
    fn totals_of_filters_and_of_shared_databases_are_not_kept() {
        let hints = Hints::default();
        hints.counted(list(Some("active eq true")), 7, Some(1));
        assert_eq!(hints.total(&list(Some("active eq true")), Some(1)), None);
        hints.counted(list(None), 7, None);
        assert_eq!(hints.total(&list(None), None), None);
        for (filter, population) in [(None, None), (Some("active eq true"), Some(1))] {
            hints.counted_up_to(list(filter), 101, "x".to_owned(), population);
            assert_eq!(hints.before(&list(filter), 101, population), None);
        }
    }
}
