//! How fast one target is asked. The settings are the upper limit; below it the pace follows what the target says: a
//! request to slow down halves what is asked at the same time, a pause that it asks for is kept, and a bucket that it
//! tells to be nearly empty is only taken from as fast as it fills. What goes well lets the pace creep up again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::slowdown::Bucket;

/// A pause that is not longer than this is waited for where it is met; a longer one is for the caller to plan with.
const PATIENCE: Duration = Duration::from_secs(5);

/// So many requests that went well, for each that is asked at the same time, let one more be asked.
const WELL: f64 = 10.0;

/// One at a time and still too fast: the first and the longest distance between two requests.
const SPACING: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// The most that a target is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// At the same time.
    pub concurrency: u32,
    /// In a second.
    pub requests_per_second: Option<u32>,
}

/// The pace of one target.
#[derive(Debug)]
pub(super) struct Pace {
    /// Whoever holds it is the next to start.
    turn: tokio::sync::Mutex<()>,
    /// There is room for another one.
    room: Notify,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limits: Limits,
    in_flight: u32,
    /// How many may be in flight. Grows by parts of one.
    allowed: f64,
    /// Between two requests, beyond what the limits say.
    spacing: Duration,
    /// The same, as long as the target's bucket is nearly empty.
    filling: Duration,
    next_at: Option<Instant>,
    closed_until: Option<Instant>,
    slowed_at: Option<Instant>,
}

/// Why a request cannot start yet.
#[derive(Debug, PartialEq, Eq)]
enum Wait {
    ForRoom,
    Until(Instant),
    /// The target asked for a pause.
    Closed(Instant),
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct InFlight<'a> {
    pace: &'a Pace,
    started_at: Instant,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut state = self.pace.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        drop(state);
        self.pace.room.notify_one();
    }
}

impl InFlight<'_> {
    /// The target asked to slow down.
    pub(super) fn refused(&self, pause: Option<Duration>) {
        let now = Instant::now();
        self.pace.state().refused(self.started_at, now, pause);
    }

    /// The target answered, and perhaps told of its bucket.
    pub(super) fn answered(&self, bucket: Option<Bucket>) {
        self.pace.state().answered(bucket);
    }
}

impl Pace {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            turn: tokio::sync::Mutex::default(),
            room: Notify::new(),
            state: Mutex::new(State {
                limits,
                in_flight: 0,
                allowed: f64::from(limits.concurrency.max(1)),
                spacing: Duration::ZERO,
                filling: Duration::ZERO,
                next_at: None,
                closed_until: None,
                slowed_at: None,
            }),
        }
    }

    /// Waits for its turn. `Err`: the target asked for a pause that lasts so much longer.
    pub(super) async fn start(&self) -> Result<InFlight<'_>, Duration> {
        let _turn = self.turn.lock().await;
        loop {
            let now = Instant::now();
            let outcome = self.state().start(now);
            match outcome {
                Ok(()) => {
                    return Ok(InFlight {
                        pace: self,
                        started_at: now,
                    });
                }
                Err(Wait::ForRoom) => self.room.notified().await,
                Err(Wait::Closed(until)) if until - now > PATIENCE => return Err(until - now),
                Err(Wait::Closed(until) | Wait::Until(until)) => {
                    tokio::time::sleep_until(until).await;
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn start(&mut self, now: Instant) -> Result<(), Wait> {
        if let Some(until) = self.closed_until.filter(|until| *until > now) {
            return Err(Wait::Closed(until));
        }
        // One is always allowed.
        if self.in_flight > 0 && f64::from(self.in_flight + 1) > self.allowed {
            return Err(Wait::ForRoom);
        }
        if let Some(at) = self.next_at.filter(|at| *at > now) {
            return Err(Wait::Until(at));
        }
        self.in_flight += 1;
        let least = self
            .limits
            .requests_per_second
            .map_or(Duration::ZERO, |n| Duration::from_secs(1) / n.max(1));
        self.next_at = Some(now + least.max(self.spacing).max(self.filling));
        Ok(())
    }

    fn refused(&mut self, started_at: Instant, now: Instant, pause: Option<Duration>) {
        if let Some(pause) = pause {
            let until = now + pause;
            self.closed_until = Some(self.closed_until.map_or(until, |known| known.max(until)));
        }
        // Many may be refused at once: that is one word, not many.
        if self.slowed_at.is_some_and(|at| at > started_at) {
            return;
        }
        self.slowed_at = Some(now);
        if self.allowed < 2.0 {
            let (first, longest) = SPACING;
            self.spacing = (self.spacing * 2).clamp(first, longest);
        }
        self.allowed = (self.allowed / 2.0).max(1.0);
    }

    fn answered(&mut self, bucket: Option<Bucket>) {
        let most = f64::from(self.limits.concurrency.max(1));
        self.allowed = (self.allowed + 1.0 / (WELL * self.allowed)).min(most);
        self.spacing = match self.spacing.mul_f64(0.9) {
            shorter if shorter < SPACING.0 / 20 => Duration::ZERO,
            shorter => shorter,
        };
        if let Some(bucket) = bucket {
            let nearly_empty = f64::from(bucket.remaining) <= most;
            self.filling = if nearly_empty {
                bucket.fills_every
            } else {
                Duration::ZERO
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace(concurrency: u32, requests_per_second: Option<u32>) -> (Pace, Instant) {
        let limits = Limits {
            concurrency,
            requests_per_second,
        };
        (Pace::new(limits), Instant::now())
    }

    #[test]
    fn no_more_than_allowed_at_the_same_time() {
        let (pace, now) = pace(2, None);
        let mut state = pace.state();
        assert_eq!(state.start(now), Ok(()));
        assert_eq!(state.start(now), Ok(()));
        assert_eq!(state.start(now), Err(Wait::ForRoom));
        state.in_flight = 1;
        assert_eq!(state.start(now), Ok(()));
    }

    #[test]
    fn no_more_than_allowed_in_a_second() {
        let (pace, now) = pace(32, Some(10));
        let mut state = pace.state();
        assert_eq!(state.start(now), Ok(()));
        let next = now + SECOND / 10;
        assert_eq!(state.start(now), Err(Wait::Until(next)));
        assert_eq!(state.start(next), Ok(()));
    }

    #[test]
    fn slows_down_once_for_all_that_was_under_way_and_creeps_up_again() {
        let (pace, now) = pace(8, None);
        let mut state = pace.state();
        let later = now + SECOND;
        for _ in 0..8 {
            state.refused(now, later, None);
        }
        assert!((state.allowed - 4.0).abs() < 0.01, "{}", state.allowed);
        state.refused(later, later + SECOND, None);
        state.refused(later + SECOND, later + SECOND * 2, None);
        assert!((state.allowed - 1.0).abs() < 0.01, "{}", state.allowed);
        assert_eq!(state.spacing, Duration::ZERO);
        state.refused(later + SECOND * 2, later + SECOND * 3, None);
        assert_eq!(state.spacing, SPACING.0);
        for _ in 0..200 {
            state.answered(None);
        }
        assert!(
            state.allowed > 2.0 && state.allowed < 8.0,
            "{}",
            state.allowed
        );
        assert_eq!(state.spacing, Duration::ZERO);
        for _ in 0..1000 {
            state.answered(None);
        }
        assert!((state.allowed - 8.0).abs() < 0.01, "{}", state.allowed);
    }

    #[test]
    fn a_bucket_that_is_nearly_empty_is_taken_from_as_it_fills() {
        let (pace, now) = pace(8, None);
        let mut state = pace.state();
        let bucket = |remaining| {
            Some(Bucket {
                remaining,
                fills_every: SECOND / 5,
            })
        };
        state.answered(bucket(8));
        assert_eq!(state.start(now), Ok(()));
        assert_eq!(state.start(now), Err(Wait::Until(now + SECOND / 5)));
        state.answered(bucket(60));
        assert_eq!(state.start(now + SECOND / 5), Ok(()));
        assert_eq!(state.start(now + SECOND / 5), Ok(()));
    }

    #[tokio::test]
    async fn a_pause_that_was_asked_for_is_kept() {
        let (pace, _) = pace(8, None);
        pace.start().await.unwrap().refused(Some(SECOND * 60));
        let left = pace.start().await.unwrap_err();
        assert!(left > SECOND * 58, "{left:?}");
    }

    #[tokio::test]
    async fn whoever_waits_for_room_gets_it() {
        let (pace, _) = pace(1, None);
        let first = pace.start().await.unwrap();
        let (second, ()) = tokio::join!(pace.start(), async { drop(first) });
        assert_eq!(pace.state().in_flight, 1);
        drop(second.unwrap());
        assert_eq!(pace.state().in_flight, 0);
    }
}
