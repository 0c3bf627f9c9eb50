//! How long a server asks to wait: `Retry-After` (RFC 9110 section 10.2.3), or what the Data Center products say of
//! their token bucket.

use std::time::Duration;

use jiff::fmt::rfc2822;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use crate::clock::Clock;

/// No server may stop Usher for longer than this.
const LONGEST: Duration = Duration::from_secs(3600);

/// The wait asked for. `None` if the server does not say.
pub(super) fn after(headers: &HeaderMap, clock: &Clock) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let asked = text(RETRY_AFTER.as_str()).and_then(|value| {
        // The server's own clock, if it tells: it wrote the date by it.
        let now = text(DATE.as_str())
            .and_then(instant)
            .unwrap_or_else(|| clock.now().div_euclid(1_000_000));
        seconds(value).or_else(|| u64::try_from(instant(value)? - now).ok())
    });
    // With tokens left the products send 0, which says nothing about when the next one comes.
    asked
        .filter(|s| *s > 0)
        .or_else(|| {
            text("X-RateLimit-Interval-Seconds")
                .and_then(seconds)
                .filter(|s| *s > 0)
        })
        .map(|s| Duration::from_secs(s).min(LONGEST))
}

/// What a product tells of its token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    /// Tokens that are left.
    pub(super) remaining: u32,
    /// How long it takes for another one.
    pub(super) fills_every: Duration,
}

impl Bucket {
    /// Reads the headers. `None` if they do not tell all of it.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u32>().ok();
        let remaining = number("X-RateLimit-Remaining")?;
        let tokens = number("X-RateLimit-FillRate").filter(|n| *n > 0)?;
        let interval = number("X-RateLimit-Interval-Seconds").filter(|n| *n > 0)?;
        Some(Self {
            remaining,
            fills_every: Duration::from_secs(interval.into()).min(LONGEST) / tokens,
        })
    }
}

/// Whole seconds, rounded up.
fn seconds(value: &str) -> Option<u64> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let more = fraction.bytes().any(|b| b != b'0');
    if !fraction.bytes().all(|b| b.is_ascii_digit()) || !whole.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Too many digits are a long time, not a mistake.
    (!whole.is_empty()).then(|| {
        whole
            .parse::<u64>()
            .unwrap_or(u64::MAX)
            .saturating_add(u64::from(more))
    })
}

/// An HTTP-date (RFC 9110 section 5.6.7) as seconds since 1970.
fn instant(value: &str) -> Option<i64> {
    rfc2822::DateTimeParser::new()
        .parse_timestamp(value)
        .ok()
        .map(|t| t.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::parse_rfc3339;

    fn wait(headers: &[(&'static str, &str)]) -> Option<u64> {
        let map = headers
            .iter()
            .map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()))
            .collect();
        let clock = Clock::manual(parse_rfc3339("2026-11-24T08:00:00Z").unwrap());
        after(&map, &clock).map(|d| d.as_secs())
    }

    #[test]
    fn seconds_dates_and_nonsense() {
        assert_eq!(wait(&[("retry-after", "30")]), Some(30));
        assert_eq!(wait(&[("retry-after", " 1.2 ")]), Some(2));
        assert_eq!(
            wait(&[("retry-after", "Tue, 24 Nov 2026 08:00:45 GMT")]),
            Some(45)
        );
        assert_eq!(
            wait(&[("retry-after", "Tue, 24 Nov 2026 07:00:00 GMT")]),
            None
        );
        assert_eq!(wait(&[("retry-after", "soon")]), None);
        assert_eq!(wait(&[("retry-after", "-5")]), None);
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn the_servers_own_clock_counts() {
        let headers = [
            ("retry-after", "Tue, 24 Nov 2026 12:00:10 GMT"),
            ("date", "Tue, 24 Nov 2026 12:00:00 GMT"),
        ];
        assert_eq!(wait(&headers), Some(10));
    }

    #[test]
    fn no_wait_is_longer_than_an_hour() {
        assert_eq!(wait(&[("retry-after", "86400")]), Some(3600));
        assert_eq!(
            wait(&[("retry-after", "99999999999999999999999")]),
            Some(3600)
        );
        assert_eq!(
            wait(&[("retry-after", "Tue, 24 Nov 2099 08:00:00 GMT")]),
            Some(3600)
        );
    }

    #[test]
    fn what_is_left_in_the_bucket_is_read() {
        let bucket = |headers: &[(&'static str, &'static str)]| {
            let map: HeaderMap = headers
                .iter()
                .map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()))
                .collect();
            Bucket::of(&map)
        };
        let all = [
            ("x-ratelimit-limit", "60"),
            ("x-ratelimit-remaining", "3"),
            ("x-ratelimit-fillrate", "5"),
            ("x-ratelimit-interval-seconds", "1"),
        ];
        let expected = Bucket {
            remaining: 3,
            fills_every: Duration::from_millis(200),
        };
        assert_eq!(bucket(&all), Some(expected));
        assert_eq!(bucket(&all[..3]), None);
        let never = [all[1], ("x-ratelimit-fillrate", "0"), all[3]];
        assert_eq!(bucket(&never), None);
    }

    #[test]
    fn the_bucket_speaks_where_retry_after_does_not() {
        let interval = ("x-ratelimit-interval-seconds", "60");
        assert_eq!(wait(&[interval]), Some(60));
        assert_eq!(wait(&[("retry-after", "0"), interval]), Some(60));
        assert_eq!(wait(&[("retry-after", "5"), interval]), Some(5));
    }
}
