//! The budget of requests: a domain's limits are shared with everybody else on it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The least that the timer tells apart.
const TICK: Duration = Duration::from_millis(1);

/// Hands out turns at a steady pace.
#[derive(Debug)]
pub(super) struct Pace {
    step: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            step: Duration::from_secs(1) / per_second.max(1),
            next: Mutex::new(None),
        }
    }

    /// Waits for a turn. One that is nearer than the timer can tell (a millisecond) is there: the next one is counted
    /// from when this one should have been, so the pace is kept.
    pub(super) async fn turn(&self) {
        let now = Instant::now();
        let turn = self.take(now);
        if turn.saturating_duration_since(now) >= TICK {
            tokio::time::sleep_until(turn).await;
        }
    }

    fn take(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next.map_or(now, |next| next.max(now));
        *next = Some(turn + self.step);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_a_step_apart_and_are_not_saved_up() {
        let pace = Pace::new(4);
        let now = Instant::now();
        let step = Duration::from_millis(250);
        assert_eq!(pace.take(now), now);
        assert_eq!(pace.take(now), now + step);
        let later = now + Duration::from_secs(60);
        assert_eq!(pace.take(later), later);
        assert_eq!(pace.take(later), later + step);
    }
}
