//! What follows from a failure. The only reader of [`Failure`].

use std::time::Duration;

use rand::RngExt;

use crate::clock::Micros;
use crate::domain::Failure;
use crate::store::work::Health;

/// Failures in a row after which a target is left alone for a while.
const BREAKER_FAILURES: i32 = 5;
/// A record that keeps failing is tried this often at least.
const LONGEST_ITEM_WAIT: Duration = Duration::from_secs(300);
/// A target that is down is tried this often at least.
const LONGEST_TARGET_WAIT: Duration = Duration::from_secs(60);
/// A refused credential is tried this often at least; seldom, because repeated failures lock accounts
/// (the products answer them with a CAPTCHA).
const LONGEST_CREDENTIAL_WAIT: Duration = Duration::from_secs(3600);
/// After so many looks at something that is not there, a person should look.
const GONE_ATTEMPTS: i32 = 5;

/// After so many looks at a name that another user's work was to set free, a person should look: two users
/// may have swapped names, and neither can go first.
const BEHIND_ATTEMPTS: i32 = 10;

/// What to do with the item and the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Try this record again at `due_at`; the target failed (`target_down_until`: its breaker opens).
    Again {
        /// When.
        due_at: Micros,
        /// When the target is tried again if it is now considered down.
        target_down_until: Option<Micros>,
    },
    /// Leave the whole target alone until then; the record did nothing wrong.
    Wait {
        /// Until when.
        until: Micros,
    },
    /// Stop the target loudly; look again at `retry_at`.
    Stop {
        /// When.
        retry_at: Micros,
    },
    /// Look at the target again before the next attempt.
    LookAgain {
        /// When.
        due_at: Micros,
    },
    /// Keep the record with the product's words until it changes or a person asks.
    Reject,
}

/// Decides. `random` is in `0.0..1.0`.
pub(super) fn verdict(
    failure: &Failure,
    attempts: i32,
    health: &Health,
    now: Micros,
    random: f64,
) -> Verdict {
    let at = |wait: Duration| now + i64::try_from(wait.as_micros()).unwrap_or(i64::MAX / 4);
    match failure {
        Failure::Transient { .. } | Failure::Unreachable { .. } => {
            let failures = health.failures + 1;
            let down = failures >= BREAKER_FAILURES;
            Verdict::Again {
                due_at: at(backoff(attempts, LONGEST_ITEM_WAIT, random)),
                target_down_until: down.then(|| {
                    at(backoff(
                        failures - BREAKER_FAILURES,
                        LONGEST_TARGET_WAIT,
                        random,
                    ))
                }),
            }
        }
        Failure::Throttled { after, .. } => {
            let wait = after
                .unwrap_or_else(|| backoff(health.failures.max(1), LONGEST_TARGET_WAIT, random));
            Verdict::Wait {
                until: at(wait.max(Duration::from_millis(50))),
            }
        }
        Failure::Unauthorized { .. } => Verdict::Stop {
            retry_at: at(backoff(
                health.failures + 5,
                LONGEST_CREDENTIAL_WAIT,
                random,
            )),
        },
        Failure::Gone { .. } if attempts + 1 < GONE_ATTEMPTS => Verdict::LookAgain {
            due_at: at(backoff(attempts - 1, LONGEST_ITEM_WAIT, random)),
        },
        Failure::Gone { .. } | Failure::Rejected { .. } => Verdict::Reject,
    }
}

/// When an item is tried again that somebody else's work has to make room for. `None`: it was tried often
/// enough, and a person should look.
pub(super) fn behind(attempts: i32, now: Micros, random: f64) -> Option<Micros> {
    let wait = backoff(attempts - 1, LONGEST_ITEM_WAIT, random);
    (attempts < BEHIND_ATTEMPTS).then(|| now + i64::try_from(wait.as_micros()).unwrap_or(0))
}

/// Exponential with jitter: 1 s, 2 s, 4 s, … up to `longest`, each shortened by up to a half, so that
/// records that failed together do not come back together.
pub(super) fn backoff(attempts: i32, longest: Duration, random: f64) -> Duration {
    let exponent = attempts.clamp(-1, 16);
    let full = Duration::from_secs_f64(2f64.powi(exponent)).min(longest);
    full.mul_f64(1.0 - random / 2.0)
}

/// The randomness of [`verdict`] outside tests.
pub(super) fn random() -> f64 {
    rand::rng().random_range(0.0..1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(failures: i32) -> Health {
        Health {
            state: "up".to_owned(),
            failures,
            retry_at: None,
            last_error: None,
            last_success_at: None,
        }
    }

    fn transient() -> Failure {
        Failure::Transient {
            text: "HTTP 500".to_owned(),
        }
    }

    #[test]
    fn waits_double_and_are_bounded() {
        let waits: Vec<u64> = (0..12)
            .map(|n| backoff(n, LONGEST_ITEM_WAIT, 0.0).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(backoff(3, LONGEST_ITEM_WAIT, 1.0), Duration::from_secs(4));
    }

    #[test]
    fn the_fifth_failure_in_a_row_opens_the_breaker() {
        let open = |failures| match verdict(&transient(), 0, &health(failures), 0, 0.0) {
            Verdict::Again {
                target_down_until, ..
            } => target_down_until,
            other => panic!("{other:?}"),
        };
        assert_eq!(open(3), None);
        assert_eq!(open(4), Some(1_000_000));
        assert_eq!(open(40), Some(60_000_000));
    }

    #[test]
    fn a_request_to_wait_is_honoured_to_the_second() {
        let failure = Failure::Throttled {
            after: Some(Duration::from_secs(7)),
            text: "HTTP 429".to_owned(),
        };
        assert_eq!(
            verdict(&failure, 0, &health(0), 1, 0.9),
            Verdict::Wait { until: 7_000_001 }
        );
    }

    #[test]
    fn a_refused_credential_is_tried_seldom() {
        let failure = Failure::Unauthorized {
            text: "HTTP 401".to_owned(),
        };
        assert_eq!(
            verdict(&failure, 0, &health(0), 0, 0.0),
            Verdict::Stop {
                retry_at: 32_000_000
            }
        );
        assert_eq!(
            verdict(&failure, 0, &health(50), 0, 0.0),
            Verdict::Stop {
                retry_at: 3_600_000_000
            }
        );
    }
}
