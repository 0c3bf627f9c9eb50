//! How often wrong secrets were shown: whoever keeps trying is told to wait.
//!
//! Only wrong ones are held up. Secrets have 256 random bits, so nobody finds one by trying; a right one must not
//! be locked out because somebody else shows wrong ones in its name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Micros;

/// How many wrong secrets of one name are answered in a window.
const MAX: u32 = 10;
/// The window.
const WINDOW: Micros = 60 * 1_000_000;
/// How many names are remembered at the most.
const REMEMBERED_MAX: usize = 1024;

/// The memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Attempts(Arc<Mutex<HashMap<String, Counted>>>);

#[derive(Debug, Clone, Copy)]
struct Counted {
    since: Micros,
    count: u32,
}

impl Attempts {
    /// Notes a wrong secret. `Some`: too many; for how many seconds to wait.
    pub(super) fn failed(&self, name: &str, now: Micros) -> Option<u32> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED_MAX && !all.contains_key(name) {
            all.retain(|_, counted| now - counted.since < WINDOW);
            if all.len() >= REMEMBERED_MAX {
                all.clear();
            }
        }
        let counted = all.entry(name.to_owned()).or_insert(Counted {
            since: now,
            count: 0,
        });
        if now - counted.since >= WINDOW {
            *counted = Counted {
                since: now,
                count: 0,
            };
        }
        counted.count = counted.count.saturating_add(1);
        let left = (counted.since + WINDOW - now).div_euclid(1_000_000) + 1;
        (counted.count > MAX).then(|| u32::try_from(left).unwrap_or(60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends() {
        let attempts = Attempts::default();
        for _ in 0..MAX {
            assert_eq!(attempts.failed("a", 0), None);
        }
        assert_eq!(attempts.failed("a", 30_000_000), Some(31));
        assert_eq!(attempts.failed("b", 30_000_000), None);
        assert_eq!(attempts.failed("a", WINDOW), None);
    }

    #[test]
    fn memory_is_bounded() {
        let attempts = Attempts::default();
        for n in 0..5000 {
            attempts.failed(&format!("n{n}"), 0);
        }
        assert!(attempts.0.lock().unwrap().len() <= REMEMBERED_MAX);
    }
}
