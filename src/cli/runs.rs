//! `usher runs`

use anyhow::bail;
use serde_json::{Value, json};

use super::{Context, output, sync};
use crate::clock::rfc3339;
use crate::reconcile::Counts;
use crate::store::drift::{self, Comparison};
use crate::store::runs::{self, Run};
use crate::store::settings;

/// Lines of one run.
const MOST: i64 = 100_000;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Show this run with everything that it changed.
    pub(super) run: Option<String>,
    /// Only runs of this connection.
    #[arg(long)]
    pub(super) connection: Option<String>,
    /// So many of the latest.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=1000))]
    pub(super) limit: i64,
    /// As JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    if let Some(id) = arguments.run {
        return one(context, id, arguments.json).await;
    }
    let connection = match &arguments.connection {
        Some(name) => Some(sync::named(context, name).await?.id),
        None => None,
    };
    let limit = arguments.limit;
    let found = context
        .store
        .read(move |conn| runs::list(conn, connection.as_ref(), None, limit))
        .await?;
    let names = context.store.read(settings::load).await?.connections;
    let name_of = |run: &Run| {
        let found = names.iter().find(|it| it.id.as_str() == run.connection_id);
        found.map_or_else(|| run.connection_id.clone(), |it| it.settings.name.clone())
    };
    if arguments.json {
        let runs: Vec<Value> = found
            .iter()
            .map(|run| as_json(run, &name_of(run)))
            .collect();
        return output::json(&json!({ "runs": runs }));
    }
    if found.is_empty() {
        output::line("there is no run yet; make one with `usher sync CONNECTION`");
        return Ok(());
    }
    let rows = found.iter().map(|run| {
        let counts = counts_of(run);
        vec![
            run.id.clone(),
            name_of(run),
            run.kind.clone(),
            rfc3339(run.started_at),
            run.state.clone(),
            counts.changes().to_string(),
            counts.missed_pushes.to_string(),
            run.message.clone().unwrap_or_default(),
        ]
    });
    output::table(
        &[
            "run",
            "connection",
            "kind",
            "began",
            "state",
            "changes",
            "missed pushes",
            "",
        ],
        rows.collect(),
    );
    Ok(())
}

async fn one(context: &Context, id: String, as_json_too: bool) -> anyhow::Result<()> {
    let wanted = id.clone();
    let Some(run) = context
        .store
        .read(move |conn| runs::get(conn, &wanted))
        .await?
    else {
        bail!("there is no run {id:?}");
    };
    let results = sync::results_of(context, &id, MOST).await?;
    let wanted = id.clone();
    let comparisons = context
        .store
        .read(move |conn| drift::of_run(conn, &wanted))
        .await?;
    if as_json_too {
        let mut shown = as_json(&run, &run.connection_id);
        shown["results"] = results
            .iter()
            .map(|it| {
                json!({"subject": it.subject, "id": it.subject_id, "change": it.change,
                    "detail": it.detail, "missed_push": it.missed_push})
            })
            .collect();
        shown["comparisons"] = comparisons
            .iter()
            .map(|it| {
                json!({"target_id": it.target_id, "over": it.is_over, "note": it.note,
                    "counts": it.compared})
            })
            .collect();
        return output::json(&shown);
    }
    output::line(&format!(
        "{} run, {}, began {}: {}",
        run.kind,
        run.cause,
        rfc3339(run.started_at),
        run.state
    ));
    if let Some(text) = &run.message {
        output::line(text);
    }
    output::table(&["what", "how many"], sync::counted(&counts_of(&run)));
    sync::show_results(&results, MOST, &id);
    let targets = context.targets(None).await.unwrap_or_default();
    for comparison in comparisons {
        let target = targets.iter().find(|it| it.id == comparison.target_id);
        let name = target.map_or(comparison.target_id.as_str(), |it| {
            it.settings.name.as_str()
        });
        output::line(&compared(name, &comparison));
    }
    Ok(())
}

/// What the comparison of a target with the ledger came to.
fn compared(name: &str, comparison: &Comparison) -> String {
    let counts = comparison.compared;
    let note = comparison.note.as_deref().unwrap_or_default();
    if !comparison.is_over {
        return format!("{name}: to be compared with what Usher left there {note}");
    }
    let mut words = format!(
        "{name}: {} accounts and {} groups compared, {} accounts changed by hand",
        counts.accounts, counts.groups, counts.differing
    );
    for (number, what) in [
        (counts.pushed, "put right"),
        (counts.accepted, "accepted"),
        (counts.asked, "to be decided (`usher drift`)"),
        (counts.unverified, "may differ, and are looked at next time"),
    ] {
        if number > 0 {
            words.push_str(&format!("; {number} {what}"));
        }
    }
    if !note.is_empty() {
        words.push_str(&format!("; {note}"));
    }
    words
}

/// Counts of another version may lack some.
fn counts_of(run: &Run) -> Counts {
    serde_json::from_str(&run.counts).unwrap_or_default()
}

fn as_json(run: &Run, connection: &str) -> Value {
    json!({
        "id": run.id, "connection": connection, "kind": run.kind, "cause": run.cause, "state": run.state,
        "started_at": rfc3339(run.started_at), "ended_at": run.ended_at.map(rfc3339),
        "message": run.message, "counts": counts_of(run),
    })
}
