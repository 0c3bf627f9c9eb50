//! The only place that reads the time. Everything else takes a [`Clock`] or an instant.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Microseconds since 1970-01-01T00:00:00Z, as the database stores instants.
pub type Micros = i64;

/// A source of time.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that a test moves by hand.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands still at `now` until it is moved.
    pub fn manual(now: Micros) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(now)))
    }

    /// The present instant.
    pub fn now(&self) -> Micros {
        match self {
            #[expect(
                clippy::disallowed_methods,
                reason = "this is the one place that reads time"
            )]
            Self::System => Timestamp::now().as_microsecond(),
            Self::Manual(now) => now.load(Ordering::SeqCst),
        }
    }

    /// Moves a manual clock forward; a system clock is left alone.
    pub fn advance_ms(&self, ms: i64) {
        if let Self::Manual(now) = self {
            now.fetch_add(ms * 1000, Ordering::SeqCst);
        }
    }
}

/// RFC 3339 in UTC with milliseconds, as SCIM `dateTime` and all output write instants.
pub fn rfc3339(at: Micros) -> String {
    Timestamp::from_microsecond(at).map_or_else(|_| at.to_string(), |t| format!("{t:.3}"))
}

/// How long something lasted, in words: `12 s`, `5 min`, `3 h`, `2 d`.
pub fn ago(micros: Micros) -> String {
    let seconds = micros / 1_000_000;
    match seconds {
        ..60 => format!("{} s", seconds.max(0)),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Reads an RFC 3339 instant.
pub fn parse_rfc3339(text: &str) -> Option<Micros> {
    text.parse::<Timestamp>()
        .ok()
        .map(Timestamp::as_microsecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_in_utc_with_milliseconds() {
        let at = parse_rfc3339("2026-11-24T01:02:03.456+01:00").unwrap();
        assert_eq!(rfc3339(at), "2026-11-24T00:02:03.456Z");
    }
}
