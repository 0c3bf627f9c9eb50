//! `usher status`

use serde_json::json;

use super::{Context, output, pause};
use crate::clock::{ago, rfc3339};
use crate::domain::{Connection, Expiry};
use crate::reconcile::Counts;
use crate::store::work::{self, TargetStatus};
use crate::store::{self, AnyConn, drift, pause as stopped, runs, settings};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// As JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let now = context.clock.now();
    let (statuses, configuration, drifts, missed, paused_people) = context
        .store
        .read(|conn| -> Result<_, store::Error> {
            let configuration = settings::load(conn)?;
            let missed = missed_pushes(conn, &configuration.connections)?;
            Ok((
                work::status(conn)?,
                configuration,
                drift::open(conn)?,
                missed,
                stopped::paused_users(conn)?,
            ))
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
            .map(|(target, expiry)| {
                let mut shown = as_json(target, expiry.as_ref());
                let drift = drifts.iter().find(|(id, _)| *id == target.target_id);
                shown["drift"] = json!(drift.map_or(0, |(_, count)| *count));
                shown
            })
            .collect();
        let missed: serde_json::Map<String, serde_json::Value> = missed
            .into_iter()
            .map(|(name, count)| (name, json!(count)))
            .collect();
        return output::json(&json!({
            "targets": targets, "missed_pushes": missed, "paused_people": paused_people,
        }));
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
            "GRACE",
            "OLDEST",
            "LAST SUCCESS",
            "TOKEN",
        ],
        targets
            .iter()
            .map(|(t, expiry)| {
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
                        .map_or_else(|| "-".to_owned(), |at| ago(now - at)),
                    t.health
                        .last_success_at
                        .map_or_else(|| "never".to_owned(), |at| format!("{} ago", ago(now - at))),
                    expiry.as_ref().map_or_else(|| "-".to_owned(), Expiry::left),
                ]
            })
            .collect(),
    );
    for (target, _) in &targets {
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
    if paused_people > 0 {
        output::line(&format!(
            "{paused_people} people are paused; `usher explain` says of each by whom, and the page People lists them"
        ));
    }
    for (id, count) in drifts {
        if let Some((target, _)) = targets.iter().find(|(t, _)| t.target_id == id) {
            output::line(&format!(
                "{}: {count} accounts were changed by hand; `usher drift` shows them",
                target.name
            ));
        }
    }
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
    for (name, count) in missed.iter().filter(|(_, count)| *count > 0) {
        output::line(&format!(
            "{name}: the last reading found {count} changes that a push should have brought; `usher runs` shows them"
        ));
    }
    for (target, expiry) in &targets {
        if let Some(advice) = expiry.as_ref().and_then(Expiry::advice) {
            output::line(&format!("{}: {advice}", target.name));
        }
    }
    Ok(())
}

/// For each connection that is read: what the last whole reading found that no push had brought.
fn missed_pushes(
    conn: &mut AnyConn,
    connections: &[Connection],
) -> Result<Vec<(String, u64)>, store::Error> {
    let mut found = Vec::new();
    for connection in connections.iter().filter(|it| it.settings.pull.is_some()) {
        let runs = runs::list(conn, Some(&connection.id), None, 100)?;
        let last = runs
            .iter()
            .find(|run| run.kind != "user" && run.state == "done");
        if let Some(run) = last {
            let counts: Counts = serde_json::from_str(&run.counts).unwrap_or_default();
            found.push((connection.settings.name.clone(), counts.missed_pushes));
        }
    }
    Ok(found)
}

fn as_json(target: &TargetStatus, expiry: Option<&Expiry>) -> serde_json::Value {
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
        "token": expiry,
    })
}
