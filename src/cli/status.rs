//! `usher status`

use serde_json::json;

use super::{Context, output};
use crate::clock::{Micros, rfc3339};
use crate::domain::Expiry;
use crate::store::work::{self, TargetStatus};
use crate::store::{self, settings};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let now = context.clock.now();
    let (statuses, configuration) = context
        .store
        .read(|conn| -> Result<_, store::Error> {
            Ok((work::status(conn)?, settings::load(conn)?))
        })
        .await?;
    let targets: Vec<(TargetStatus, Option<Expiry>)> = statuses
        .into_iter()
        .map(|status| {
            let mut all = configuration.targets.iter();
            let target = all.find(|target| target.id == status.target_id);
            let expiry = target.and_then(|target| target.settings.expiry(now));
            (status, expiry)
        })
        .collect();
    if arguments.json {
        let targets: Vec<serde_json::Value> = targets
            .iter()
            .map(|(target, expiry)| as_json(target, expiry.as_ref()))
            .collect();
        return output::json(&json!({ "targets": targets }));
    }
    if targets.is_empty() {
        output::note("there is no target yet; make one with `usher apply`");
        return Ok(());
    }
    output::table(
        &[
            "TARGET",
            "STATE",
            "PENDING",
            "WAITING",
            "HELD",
            "FAILED",
            "SHADOW",
            "OLDEST",
            "LAST SUCCESS",
            "TOKEN",
        ],
        targets
            .iter()
            .map(|(t, expiry)| {
                vec![
                    t.name.clone(),
                    t.health.state.clone(),
                    t.pending.to_string(),
                    t.waiting.to_string(),
                    t.held.to_string(),
                    t.failed.to_string(),
                    t.shadow.to_string(),
                    t.oldest_pending_at
                        .map_or_else(|| "-".to_owned(), |at| age(now - at)),
                    t.health
                        .last_success_at
                        .map_or_else(|| "never".to_owned(), rfc3339),
                    expiry.as_ref().map_or_else(|| "-".to_owned(), Expiry::left),
                ]
            })
            .collect(),
    );
    for (target, _) in targets.iter().filter(|(t, _)| t.health.state != "up") {
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
    for (target, expiry) in &targets {
        if let Some(advice) = expiry.as_ref().and_then(Expiry::advice) {
            output::line(&format!("{}: {advice}", target.name));
        }
    }
    Ok(())
}

fn as_json(target: &TargetStatus, expiry: Option<&Expiry>) -> serde_json::Value {
    json!({
        "name": target.name,
        "state": target.health.state,
        "pending": target.pending,
        "waiting": target.waiting,
        "held": target.held,
        "failed": target.failed,
        "shadow": target.shadow,
        "oldest_pending_at": target.oldest_pending_at.map(rfc3339),
        "last_success_at": target.health.last_success_at.map(rfc3339),
        "last_error": target.health.last_error,
        "retry_at": target.health.retry_at.map(rfc3339),
        "token": expiry,
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
