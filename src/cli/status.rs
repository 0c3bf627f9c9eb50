//! `usher status`

use serde_json::json;

use super::{Context, output, pause};
use crate::clock::{Micros, rfc3339};
use crate::store::work::{self, TargetStatus};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let targets = context.store.read(work::status).await?;
    if arguments.json {
        let targets: Vec<serde_json::Value> = targets.iter().map(as_json).collect();
        return output::json(&json!({ "targets": targets }));
    }
    if targets.is_empty() {
        output::note("there is no target yet; make one with `usher apply`");
        return Ok(());
    }
    let now = context.clock.now();
    output::table(
        &[
            "TARGET",
            "STATE",
            "PENDING",
            "WAITING",
            "HELD",
            "FAILED",
            "SHADOW",
            "GRACE",
            "OLDEST",
            "LAST SUCCESS",
        ],
        targets
            .iter()
            .map(|t| {
                vec![
                    t.name.clone(),
                    if t.pause.is_some() {
                        "paused".to_owned()
                    } else {
                        t.health.state.clone()
                    },
                    t.pending.to_string(),
                    t.waiting.to_string(),
                    t.held.to_string(),
                    t.failed.to_string(),
                    t.shadow.to_string(),
                    t.grace.to_string(),
                    t.oldest_pending_at
                        .map_or_else(|| "-".to_owned(), |at| age(now - at)),
                    t.health
                        .last_success_at
                        .map_or_else(|| "never".to_owned(), rfc3339),
                ]
            })
            .collect(),
    );
    for target in &targets {
        if let Some(by) = &target.pause {
            output::line(&format!(
                "{}: {}; `usher resume` lets it go on",
                target.name,
                pause::words(by)
            ));
        }
        if target.braked > 0 {
            output::line(&format!(
                "{}: brakes hold something of {} people; `usher held` shows it",
                target.name, target.braked
            ));
        }
    }
    for target in targets.iter().filter(|t| t.health.state != "up") {
        output::line(&format!(
            "{}: {}{}",
            target.name,
            target
                .health
                .last_error
                .as_deref()
                .unwrap_or("no reason recorded"),
            target
                .health
                .retry_at
                .map_or_else(String::new, |at| format!(
                    "; tried again at {}",
                    rfc3339(at)
                )),
        ));
    }
    Ok(())
}

fn as_json(target: &TargetStatus) -> serde_json::Value {
    json!({
        "name": target.name,
        "state": target.health.state,
        "pending": target.pending,
        "waiting": target.waiting,
        "held": target.held,
        "held_by_brakes": target.braked,
        "paused": target.pause.as_ref().map(|pause| json!({
            "since": rfc3339(pause.at),
            "by": pause.by,
            "reason": pause.reason,
        })),
        "failed": target.failed,
        "shadow": target.shadow,
        "grace": target.grace,
        "oldest_pending_at": target.oldest_pending_at.map(rfc3339),
        "last_success_at": target.health.last_success_at.map(rfc3339),
        "last_error": target.health.last_error,
        "retry_at": target.health.retry_at.map(rfc3339),
    })
}

fn age(micros: Micros) -> String {
    let seconds = micros / 1_000_000;
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}
