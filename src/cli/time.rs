//! Times as people type them.

use std::time::Duration;

use crate::clock::{Micros, parse_rfc3339};

/// `90s`, `15m`, `2h`, `7d`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let number: u64 = text[..text.len() - unit.len_utf8()].parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    // Longer than that is for ever, and would not fit into microseconds.
    (number <= 100 * 366 * 86_400 / seconds).then(|| Duration::from_secs(number * seconds))
}

/// An instant: RFC 3339, a date (its beginning in UTC), or how long ago.
pub(super) fn instant(text: &str, now: Micros) -> Result<Micros, String> {
    if let Some(ago) = duration(text) {
        return Ok(now - i64::try_from(ago.as_micros()).unwrap_or(0));
    }
    parse_rfc3339(text)
        .or_else(|| parse_rfc3339(&format!("{text}T00:00:00Z")))
        .ok_or_else(|| {
            format!(
                "{text:?} is no time; write 2h (so long ago), 2026-11-25, or 2026-11-25T08:30:00Z"
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let now = parse_rfc3339("2026-11-25T12:00:00Z").unwrap();
        for (text, wanted) in [
            ("2h", "2026-11-25T10:00:00Z"),
            ("30m", "2026-11-25T11:30:00Z"),
            ("1d", "2026-11-24T12:00:00Z"),
            ("2026-11-20", "2026-11-20T00:00:00Z"),
            ("2026-11-20T08:30:00+01:00", "2026-11-20T07:30:00Z"),
        ] {
            assert_eq!(instant(text, now).ok(), parse_rfc3339(wanted), "{text}");
        }
        for wrong in ["", "h", "yesterday", "-2h", "99999999999999d", "2hé"] {
            assert!(instant(wrong, now).is_err(), "{wrong}");
        }
    }
}
