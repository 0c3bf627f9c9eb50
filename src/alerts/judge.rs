//! What is wrong: a pure function of how things stand.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::clock::{Micros, ago};
use crate::domain::{AlertSettings, Expiry};
use crate::store::alerts::Finding;
use crate::store::figures::Figures;

const DAY: Micros = 86_400 * 1_000_000;

/// Everything that an administrator should know now.
pub fn judge(figures: &Figures, settings: &AlertSettings, now: Micros) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |key: String, stage: i64, text: String| {
        found.push(Finding {
            key,
            stage: i32::try_from(stage).unwrap_or(0),
            text,
        });
    };
    for connection in &figures.connections {
        let name = &connection.name;
        let pushes = figures
            .credentials
            .iter()
            .any(|c| c.connection == *name && c.scheme != "hook");
        let last = connection.pushed_at.unwrap_or(connection.created_at);
        if let Some(limit) = settings.no_push_s
            && pushes
            && now - last > micros(limit)
        {
            // Not for how long: the text is to stay the same while it lasts.
            add(
                format!("no push from {name}"),
                0,
                format!(
                    "{name} has pushed nothing for more than {}: is its application still active in the domain?",
                    ago(micros(limit))
                ),
            );
        }
        if let Some(run) = &connection.last_run
            && run.state != "done"
        {
            let why = run.message.as_deref().unwrap_or("see `usher runs`");
            add(
                format!("run of {name}"),
                0,
                format!(
                    "the last reading of {name} is {}, and removed nothing: {why}",
                    run.state
                ),
            );
        }
        let missed = connection
            .last_run
            .as_ref()
            .map_or(0, |run| missed(&run.counts));
        if missed > 0 {
            add(
                format!("drift at {name}"),
                0,
                format!(
                    "the last reading of {name} found {missed} changes that no push had brought"
                ),
            );
        }
    }
    for target in &figures.targets {
        let name = &target.name;
        let quiet = target
            .health
            .last_success_at
            .map_or(Micros::MAX, |at| now - at);
        if let Some(limit) = settings.unreachable_s
            && target.health.state != "up"
            && quiet > micros(limit)
        {
            let why = target.health.last_error.as_deref().unwrap_or("no answer");
            add(
                format!("target {name}"),
                0,
                format!("{name} is {}: {why}", target.health.state),
            );
        }
        if let Some(limit) = settings.backlog_s
            && target
                .oldest_pending_at
                .is_some_and(|at| now - at > micros(limit))
        {
            let stopped = match &target.pause {
                Some(pause) => format!(" ({} stopped it)", pause.by),
                None => String::new(),
            };
            add(
                format!("backlog of {name}"),
                0,
                format!(
                    "work for {name} waits for more than {}{stopped}",
                    ago(micros(limit))
                ),
            );
        }
        if target.braked > 0 {
            let reasons: Vec<&str> = figures
                .tripped
                .iter()
                .filter(|brake| brake.target_id == target.target_id.as_str())
                .map(|brake| brake.reason.as_str())
                .collect();
            let why = if reasons.is_empty() {
                String::new()
            } else {
                format!(" ({})", reasons.join("; "))
            };
            add(
                format!("brake at {name}"),
                0,
                format!("a brake holds removals at {name}{why}: see `usher held`"),
            );
        }
    }
    for (target, on) in &figures.token_ends {
        let end = Expiry::of(*on, now);
        if let Some(stage) = end.warning {
            add(
                format!("token of {target}"),
                stage,
                ends(&format!("the token of {target}"), &end),
            );
        }
    }
    let inbound = figures.credentials.iter().map(|c| {
        let what = format!("a credential ({}) of {}", c.scheme, c.connection);
        (&c.id, what, c.created_at, c.expires_at)
    });
    let tokens = figures.api_tokens.iter().map(|t| {
        let what = format!("the API token {:?}", t.label);
        (&t.id, what, t.created_at, t.expires_at)
    });
    for (id, what, created_at, expires_at) in inbound.chain(tokens) {
        let Some(expires_at) = expires_at else {
            continue;
        };
        let end = Expiry::of(day(expires_at), now);
        // What was made for a week is no news on its first day.
        let is_news = |stage: &i64| expires_at - created_at > stage * DAY;
        if let Some(stage) = end.warning.filter(is_news) {
            add(format!("credential {id}"), stage, ends(&what, &end));
        }
    }
    found
}

fn ends(what: &str, end: &Expiry) -> String {
    match end.warning {
        Some(0) => format!("{what} ended on {}", end.on),
        Some(1) => format!("{what} ends on {}, within a day", end.on),
        Some(days) => format!("{what} ends on {}, within {days} days", end.on),
        None => format!("{what} ends on {}", end.on),
    }
}

fn micros(seconds: u64) -> Micros {
    i64::try_from(seconds).unwrap_or(i64::MAX / 1_000_000) * 1_000_000
}

fn day(at: Micros) -> Date {
    let at = Timestamp::from_microsecond(at).unwrap_or(Timestamp::MAX);
    TimeZone::UTC.to_datetime(at).date()
}

/// How many changes a run found that a push should have brought.
fn missed(counts: &str) -> u64 {
    let counts: serde_json::Value = serde_json::from_str(counts).unwrap_or_default();
    counts["missed_pushes"].as_u64().unwrap_or(0)
}
