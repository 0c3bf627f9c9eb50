//! When something is done again: a span of time, or cron with five fields in UTC.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use croner::Cron;

use super::section::span_of_time;

/// Reading a domain more often than this only costs its budget.
const LEAST_S: u64 = 60;
const MOST_S: u64 = 31 * 24 * 3600;

/// A parsed schedule.
#[derive(Debug, Clone)]
pub enum Schedule {
    /// So many microseconds after the beginning of the last time.
    Every(i64),
    /// At these minutes.
    Cron(Box<Cron>),
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if !text.contains(' ') {
            return match span_of_time(text) {
                Some(seconds) if (LEAST_S..=MOST_S).contains(&seconds) => {
                    Ok(Self::Every(i64::try_from(seconds).unwrap_or(i64::MAX) * 1_000_000))
                }
                Some(_) => Err("`schedule` should be 1m to 744h".to_owned()),
                None => Err(
                    "`schedule` should be a number with s, m or h, as in \"30m\", or cron with five \
                     fields, as in \"*/30 * * * *\""
                        .to_owned(),
                ),
            };
        }
        let fields = text.split_whitespace().count();
        if fields != 5 {
            return Err(format!(
                "`schedule` has {fields} fields; cron has five: minute, hour, day, month, weekday"
            ));
        }
        text.parse()
            .map(|cron| Self::Cron(Box::new(cron)))
            .map_err(|e| format!("`schedule` is no cron expression: {e}"))
    }
}

impl Schedule {
    /// The first time after `last`, both in microseconds. `None`: never again.
    pub fn next_after(&self, last: i64) -> Option<i64> {
        match self {
            Self::Every(span) => last.checked_add(*span),
            Self::Cron(cron) => {
                let last: DateTime<Utc> = DateTime::from_timestamp_micros(last)?;
                let next = cron.find_next_occurrence(&last, false).ok()?;
                Some(next.timestamp_micros())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, last: &str) -> String {
        let last: DateTime<Utc> = last.parse().unwrap();
        let schedule: Schedule = schedule.parse().unwrap();
        let next = schedule.next_after(last.timestamp_micros()).unwrap();
        format!("{:?}", DateTime::from_timestamp_micros(next).unwrap())
    }

    #[test]
    fn spans_and_cron_say_when() {
        assert_eq!(next("30m", "2026-11-25T10:07:00Z"), "2026-11-25T10:37:00Z");
        assert_eq!(
            next("15 3 * * *", "2026-11-25T10:07:00Z"),
            "2026-11-26T03:15:00Z"
        );
        assert_eq!(
            next("*/20 * * * *", "2026-11-25T10:20:00Z"),
            "2026-11-25T10:40:00Z"
        );
    }

    #[test]
    fn what_is_no_schedule_is_told_apart() {
        let wrong = |text: &str| text.parse::<Schedule>().unwrap_err();
        assert!(wrong("soon").contains("\"30m\""));
        assert!(wrong("10s").contains("1m to 744h"));
        assert!(wrong("* * *").contains("3 fields"));
        assert!(wrong("61 * * * *").contains("no cron expression"));
    }
}
