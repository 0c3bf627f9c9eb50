//! The end of a token's life. No product tells it, so the administrator states it.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};
use serde::Serialize;

/// Days before the end from which on it is warned of, each time more urgently.
const STAGES: [i64; 4] = [30, 14, 7, 1];

/// What is left of a token's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Expiry {
    /// The first day on which it does not work any more (UTC).
    #[serde(rename = "expires")]
    pub on: Date,
    /// Days until then; negative once it is over.
    pub days_left: i64,
    /// 30, 14, 7 or 1: it is over within so many days. 0: it is over. `None`: there is time.
    pub warning: Option<i64>,
}

impl Expiry {
    /// As of `now`, in microseconds since 1970.
    pub fn of(on: Date, now: i64) -> Self {
        let now = Timestamp::from_microsecond(now).unwrap_or(Timestamp::MAX);
        let today = TimeZone::UTC.to_datetime(now).date();
        let days_left = today
            .until((Unit::Day, on))
            .map_or(0, |span| i64::from(span.get_days()));
        let warning = if days_left <= 0 {
            Some(0)
        } else {
            let reached = STAGES.iter().rev().find(|stage| days_left <= **stage);
            reached.copied()
        };
        Self {
            on,
            days_left,
            warning,
        }
    }

    /// What is left, for a table.
    pub fn left(&self) -> String {
        match self.days_left {
            ..=0 => "expired".to_owned(),
            1 => "1 day".to_owned(),
            days => format!("{days} days"),
        }
    }

    /// What to do about it, if it is time to.
    pub fn advice(&self) -> Option<String> {
        self.warning?;
        let when = match self.days_left {
            ..=0 => format!("expired on {}", self.on),
            _ => format!("expires on {}, in {}", self.on, self.left()),
        };
        Some(format!(
            "the token {when}: make a new one in the product, give it to the server, and state its end as \
             `token_expires`"
        ))
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn at(text: &str) -> Expiry {
        let now = text.parse::<Timestamp>().unwrap().as_microsecond();
        Expiry::of(date(2027, 3, 1), now)
    }

    #[test]
    fn warnings_come_at_30_14_7_and_1_days_and_when_it_is_over() {
        let expected = [
            ("2026-03-01T00:00:00Z", 365, None),
            ("2027-01-29T23:59:59Z", 31, None),
            ("2027-01-30T00:00:00Z", 30, Some(30)),
            ("2027-02-14T12:00:00Z", 15, Some(30)),
            ("2027-02-15T00:00:00Z", 14, Some(14)),
            ("2027-02-21T23:59:59Z", 8, Some(14)),
            ("2027-02-22T00:00:00Z", 7, Some(7)),
            ("2027-02-27T00:00:00Z", 2, Some(7)),
            ("2027-02-28T23:59:59Z", 1, Some(1)),
            ("2027-03-01T00:00:00Z", 0, Some(0)),
            ("2028-03-01T00:00:00Z", -366, Some(0)),
        ];
        for (now, days_left, warning) in expected {
            let expiry = at(now);
            assert_eq!(
                (expiry.days_left, expiry.warning),
                (days_left, warning),
                "{now}"
            );
            assert_eq!(expiry.advice().is_some(), warning.is_some(), "{now}");
        }
    }

    #[test]
    fn words_say_when() {
        assert_eq!(at("2026-11-25T00:00:00Z").left(), "96 days");
        let tomorrow = at("2027-02-28T10:00:00Z").advice().unwrap();
        assert!(
            tomorrow.starts_with("the token expires on 2027-03-01, in 1 day: "),
            "{tomorrow}"
        );
        let over = at("2027-03-02T00:00:00Z");
        assert_eq!(over.left(), "expired");
        assert!(
            over.advice()
                .unwrap()
                .starts_with("the token expired on 2027-03-01: ")
        );
    }

    #[test]
    fn instants_out_of_range_do_no_harm() {
        assert_eq!(Expiry::of(date(2027, 3, 1), i64::MAX).warning, Some(0));
        assert_eq!(Expiry::of(Date::MAX, 0).warning, None);
    }
}
